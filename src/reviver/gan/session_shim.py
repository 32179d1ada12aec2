"""Temporary: a session of several processes until `reviver.runs.session` has it. Ranks above 0 write to a scratch folder."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from reviver.distributed.world import World
from reviver.runs import session as real
from reviver.runs.folder import RunFolder


def open_run(
    out: str | Path, kind: str, config: Any, device: torch.device, *, world: World, **options: Any
) -> RunFolder:
    """Call `session.open_run`."""
    if not world.is_main:
        out = Path(tempfile.mkdtemp()) / "run"
    return real.open_run(out, kind, config, device, **options)


@contextmanager
def training_session(folder: RunFolder, state: Any, *, world: World, progress: bool, **options: Any) -> Iterator[Any]:
    """Call `session.training_session`."""
    with real.training_session(folder, state, progress=progress and world.is_main, **options) as session:
        yield _Session(session)


class _Session:
    def __init__(self, session: real.Session) -> None:
        self._session = session
        self._agreed: bool | None = None

    @property
    def stop_flag(self) -> float:
        return float(self._session.stop_requested)

    @property
    def stop_requested(self) -> bool:
        return self._session.stop_requested if self._agreed is None else self._agreed

    def agree(self, total: float) -> None:
        self._agreed = total > 0

    def stop(self) -> None:
        self._session._stop_signal = self._session._stop_signal or 15
        self._session.stop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)
