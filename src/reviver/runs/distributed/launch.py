"""What `torchrun` tells a process in environment variables, readable without torch."""

import os
from pathlib import Path

from reviver.errors import ConfigError

DEFAULT_TIMEOUT = 1800.0
"""Default of the seconds that a process waits for the others."""


def is_launched() -> bool:
    """Return whether torchrun, or another launcher that sets the same variables, has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ or "RANK" in os.environ


def launched_size() -> int:
    """Return the number of processes that torchrun has started, 1 without torchrun."""
    return _read_count("WORLD_SIZE", 1) if is_launched() else 1


def launched_rank() -> int:
    """Return the rank of this process among them."""
    return _read_count("RANK", 0)


def local_rank() -> int:
    """Return the index of this process among those on its machine."""
    return _read_count("LOCAL_RANK", launched_rank())


def restart_count() -> int:
    """Return how often torchrun has restarted the processes."""
    return _read_count("TORCHELASTIC_RESTART_COUNT", 0)


def job_id() -> str | None:
    """Return a name that this process shares with those that it replaces after a restart; None without torchrun.

    It is the --rdzv-id of torchrun, or without one the folder of its logs, which is new for every torchrun.
    """
    name, error_file = os.environ.get("TORCHELASTIC_RUN_ID"), os.environ.get("TORCHELASTIC_ERROR_FILE")
    if name not in (None, "none"):
        return name
    return str(Path(error_file).parents[2]) if name and error_file else None  # FOLDER/attempt_N/LOCAL_RANK/error.json


def _read_count(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise ConfigError(f"environment variable {name} must be an integer ≥ 0, got {text!r}; start with torchrun")
    return int(text)
