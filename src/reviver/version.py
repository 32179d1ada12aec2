"""The version of Reviver, apart from `reviver` itself, which knows every other module."""

import functools
import importlib.metadata
import json
import subprocess
from contextlib import suppress
from pathlib import Path

__version__ = "0.1.0"


@functools.cache
def find_commit() -> str | None:
    """Return the commit of this package, with `-dirty` if its files have changed since; None if that is unknown.

    It is known in a clone, and if pip has installed the package from a repository.
    """
    root = Path(__file__).parents[2]
    with suppress(OSError, subprocess.SubprocessError):
        if (root / ".git").exists():
            command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
            found = subprocess.run(command, capture_output=True, check=True, text=True, timeout=10)  # noqa: S603
            return found.stdout.strip()[:60] or None
    with suppress(importlib.metadata.PackageNotFoundError, ValueError, KeyError, TypeError):
        text = importlib.metadata.distribution("reviver-nn").read_text("direct_url.json")
        return str(json.loads(text or "")["vcs_info"]["commit_id"])[:12]
    return None
