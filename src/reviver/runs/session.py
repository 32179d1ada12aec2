"""A training session: what every training loop needs around its steps.

It opens or makes the run folder, holds its lock, restores the state, writes metrics, saves checkpoints,
shows progress, answers Ctrl-C and SIGTERM by saving first, and writes down how it ended.
"""

import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from reviver.config import from_mapping
from reviver.errors import ConfigError, DivergenceError, Interrupted
from reviver.runs.checkpoint import TrainingState, restore_checkpoint, save_checkpoint
from reviver.runs.folder import PointsWriter, RunFolder
from reviver.runs.progress import ProgressBar


class Session:
    """One session of a run. Made by `training_session`."""

    def __init__(self, folder: RunFolder, state: TrainingState, points: PointsWriter, progress: ProgressBar) -> None:
        self.folder = folder
        self.state = state
        self.progress = progress
        self._points = points
        self._stop_signal: int | None = None
        self._seconds_before = state.seconds
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds of training in all sessions of this run, without those of scoring."""
        return self._seconds_before + time.perf_counter() - self._started

    @property
    def stop_requested(self) -> bool:
        """Whether a signal asked to stop; `stop` after the current step."""
        return self._stop_signal is not None

    def log(self, **point: Any) -> None:
        """Append a point to the metrics, with its step and the seconds of training so far."""
        self._points.write("metrics", {"step": self.state.step, **point, "seconds": round(self.seconds, 3)})

    def log_scores(self, **point: Any) -> None:
        """Append a point to the scores, with its step."""
        self._points.write("scores", {"step": self.state.step, **point})

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Count the seconds of what is done inside as those of scoring, not of training; run.json has their sum."""
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        self._started += seconds
        before = self.folder.record.get("scoring_seconds", 0.0)
        self.folder.save_record(scoring_seconds=round(before + seconds, 3))

    def save(self) -> None:
        """Save a checkpoint.

        Raises:
            DivergenceError: if a weight is not finite; then nothing is saved.
        """
        for name, network in self.state.networks.items():
            if not all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values()):
                raise DivergenceError(f"step {self.state.step}: a weight of the {name} is not finite; {self.advice()}")
        self.state.seconds = self.seconds
        self._points.sync()
        save_checkpoint(self.folder.checkpoints, self.state, self._points.counts)

    def stop(self) -> None:
        """Save, then leave the loop with `Interrupted`."""
        assert self._stop_signal is not None
        self.save()
        raise Interrupted(
            f"{self.folder.path}: stopped at step {self.state.step} by {signal.Signals(self._stop_signal).name} and saved; "
            "go on with the same command and --resume",
            self._stop_signal,
        )

    def check_finite(self, history: Tensor, first_step: int, names: tuple[str, ...]) -> None:
        """Raise `DivergenceError` if a value in `history` [steps, names] is not finite; its row 0 is `first_step`."""
        bad = (~history.isfinite()).nonzero()
        if len(bad):
            row, column = bad[0].tolist()
            raise DivergenceError(
                f"step {first_step + row}: {names[column]} is {history[row, column].item()}; {self.advice()}"
            )

    def advice(self) -> str:
        """What to do when training has diverged."""
        kept = (
            "the last good checkpoint is kept"
            if (self.folder.checkpoints / "last.json").exists()
            else "no checkpoint was saved yet"
        )
        rate = self.folder.record["config"].get("learning_rate")
        return f"{kept}; try a --learning_rate lower than {rate} in a new --out"

    @contextmanager
    def _saving_signals(self) -> Iterator[None]:
        """Note the first SIGINT or SIGTERM for the loop to answer; a second one ends the process at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, frame: FrameType | None) -> None:
            if self._stop_signal is not None:
                raise KeyboardInterrupt
            self._stop_signal = number

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def training_session(
    folder: RunFolder,
    state: TrainingState,
    *,
    total: int,
    unit: str = "epochs",
    description: str,
    progress: bool,
    files: Sequence[str] = ("metrics",),
    on_resume: Callable[[], None] = lambda: None,
) -> Iterator[Session]:
    """Open a session on `folder`; `state` is brought to its last checkpoint, if it has one, then `on_resume` is called.

    The loop reports its progress in `unit`s, of which there are `total`, and writes the `files` of points.
    """
    with ExitStack() as stack:
        stack.enter_context(folder.locked())
        folder.note_machine(next(next(iter(state.networks.values())).parameters()).device)
        counts = restore_checkpoint(folder.checkpoints, state, files)
        for name in files:
            folder.keep_points(name, 0 if counts is None else counts[name])
        if counts is not None:
            on_resume()
        points = PointsWriter(folder, files, None if counts is None else state.step)
        stack.callback(points.close)
        bar = stack.enter_context(ProgressBar(description, total, unit, visible=progress))
        session = Session(folder, state, points, bar)
        stack.enter_context(session._saving_signals())
        folder.set_status("running")
        try:
            yield session
        except Interrupted:
            folder.set_status("interrupted")
            raise
        except BaseException as error:
            folder.set_status("failed", error=str(error) or type(error).__name__)
            raise
        folder.record.pop("error", None)
        folder.set_status("finished", seconds=round(session.seconds, 3))


def open_run(out: str | Path, kind: str, config: Any, device: torch.device, *, resume: bool) -> RunFolder:
    """Make a new run folder for `config`, or with `resume` open the one of an earlier session.

    Raises:
        RunFolderError: see `RunFolder.create` and `RunFolder.open`.
        ConfigError: if the folder's settings are damaged, or others than `config`; only `epochs` may have grown.
    """
    if not resume:
        return RunFolder.create(out, kind, config, device)
    folder = RunFolder.open(out, kind)
    stored = dataclasses.asdict(from_mapping(type(config), folder.record["config"]))
    wanted = dataclasses.asdict(config)
    for name, value in wanted.items():
        may_grow = name == "epochs" and value > stored[name]
        if stored[name] != value and not may_grow:
            raise ConfigError(
                f"{name}: {value!r} is not what this run has ({stored[name]!r}); leave it out to resume, or start in a new --out"
            )
    if wanted != stored:
        folder.save_record(config=wanted)
    return folder


def permutation(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """A random order of `count` examples on `device`; drawn on the CPU, so that it is the same on every device."""
    return torch.randperm(count, generator=generator).to(device)


def as_points(values: Tensor, names: tuple[str, ...]) -> Mapping[str, float]:
    """Pair the entries of a vector with their names."""
    return dict(zip(names, values.tolist(), strict=True))
