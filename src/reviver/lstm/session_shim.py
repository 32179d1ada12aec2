"""Stand-in until the session knows the world: processes other than rank 0 write to a temporary folder."""

import tempfile
from pathlib import Path
from typing import Any

from reviver.runs import folder as _folder
from reviver.runs import session as _session
from reviver.runs.session import Session

_stop: dict[int, bool] = {}


def refuse_existing(out: str | Path, *, world: Any) -> None:
    """Stand in for the function of this name."""
    if world.is_main:
        _folder.refuse_existing(out)


def open_run(out: str | Path, *arguments: Any, resume: bool, world: Any, **keywords: Any) -> Any:
    """Stand in for the function of this name."""
    if not world.is_main:
        out, resume = tempfile.mkdtemp(prefix="reviver-rank-"), False
    return _session.open_run(out, *arguments, resume=resume, **keywords)


def training_session(*arguments: Any, world: Any, progress: bool, **keywords: Any) -> Any:
    """Stand in for the function of this name."""
    return _session.training_session(*arguments, progress=progress and world.is_main, **keywords)


def _stop_flag(self: Session) -> float:
    return float(self._stop_signal is not None)


def _agree(self: Session, total: float) -> None:
    _stop[id(self)] = total > 0
    if total > 0 and self._stop_signal is None:
        self._stop_signal = 15


Session.stop_flag = property(_stop_flag)  # type: ignore[attr-defined]
Session.agree = _agree  # type: ignore[attr-defined]
