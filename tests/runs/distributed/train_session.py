"""Runs of several processes, which fail in several ways.

`python -m tests.runs.distributed.train_session train ...` is `reviver lstm train ...` in which processes are killed.
"""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch.distributed as dist

from reviver.__main__ import main as reviver
from reviver.errors import ReviverError
from reviver.runs.session import Session
from reviver.settings.lstm import LSTMConfig
from reviver.train.lstm.training import train

CONFIG = LSTMConfig(hidden_size=2, data_size=20, batch_size=6, epochs=8, checkpoint_every=2)
"""Settings of all runs: 3 updates per epoch, 24 in total."""
CURRICULUM = replace(
    CONFIG, curriculum=True, length=40, start_length=4, jump_factor=4.0, threshold=0.01, on_nan="rollback"
)
"""A curriculum whose first epoch is followed by validations up to the last length; it also saves before the first epoch."""
OPTIONS = ["--hidden-size", "2", "--data-size", "20", "--batch-size", "6", "--checkpoint-every", "2"]
"""The same for the command line, without --epochs."""
STEP = 16
"""Update in which a process gets a signal; the checkpoint before it is that of update 12."""


def signal_at(step: int, rank: int, number: signal.Signals, patch: pytest.MonkeyPatch) -> None:
    """Let the process of `rank` send itself a signal in an update, after its all-reduce."""
    agree = Session.agree

    def agree_and_signal(session: Session, total: float) -> None:
        agree(session, total)
        if session.state.step + 1 == step and session.world.rank == rank:
            os.kill(os.getpid(), number)

    patch.setattr(Session, "agree", agree_and_signal)


def attempt(folder: Path, config: LSTMConfig = CONFIG, *, resume: bool = False) -> str:
    """Train, and return the error, if there is one."""
    try:
        train(config, folder, device="cpu", resume=resume, timeout=60)
    except ReviverError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def attempt_all(folder: Path) -> None:
    """Train and fail in several ways, and write the errors of each rank to FOLDER/errors-RANK.json."""
    rank = dist.get_rank()
    errors = {
        "undisturbed": attempt(folder / "undisturbed"),
        "existing": attempt(folder / "undisturbed"),
        "settings": attempt(folder / "settings", replace(CONFIG, learning_rate=0.001 * (1 + rank))),
    }
    with pytest.MonkeyPatch.context() as patch:
        signal_at(STEP, 1, signal.SIGTERM, patch)
        errors["stopped"] = attempt(folder / "stopped")
    errors["resumed"] = attempt(folder / "stopped", resume=True)
    errors["curriculum"] = attempt(folder / "curriculum", CURRICULUM)
    errors["half"] = attempt(folder / "half", replace(CONFIG, epochs=4))
    (folder / f"errors-{rank}.json").write_text(json.dumps(errors))


def complete(folder: Path) -> None:
    """Resume FOLDER/run."""
    assert attempt(folder / "run", resume=True) == ""


if __name__ == "__main__":
    ranks = dict(enumerate(os.environ.get("KILL_RANKS", "").split()))  # by the number of restarts
    if (killed := ranks.get(int(os.environ["TORCHELASTIC_RESTART_COUNT"]))) is not None:
        signal_at(STEP, int(killed), signal.SIGKILL, pytest.MonkeyPatch())
    sys.argv[1:1] = ["lstm"]
    reviver()
