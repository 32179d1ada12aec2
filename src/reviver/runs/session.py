"""A training session: what every training loop needs around its steps.

It opens or makes the run folder, holds its lock, restores the state, writes metrics, saves checkpoints,
shows progress, answers Ctrl-C and SIGTERM by saving first, goes back to the last checkpoint after a NaN where that
is asked for, and writes down how it ended.
"""

import dataclasses
import logging
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reviver.config import from_mapping
from reviver.errors import ConfigError, DivergenceError, Interrupted, OutOfMemory, ReviverError
from reviver.io.files import clean_up
from reviver.runs.checkpoint import TrainingState, prepare_checkpoint, restore_checkpoint, settle_checkpoints
from reviver.runs.folder import MetricsWriter, RunFolder
from reviver.runs.progress import ProgressBar
from reviver.runs.schema import MAX_TEXT

ROLLBACK_LR_SCALE = 0.5
"""Factor of the learning rate after a rollback."""
CHANGEABLE = ("on_nan", "max_rollbacks", "keep_checkpoints")
"""Settings that a resumed run may change: they do not say what is learned."""

_log = logging.getLogger(__name__)


class Session:
    """One session of a run. Made by `training_session`.

    A checkpoint is copied at once and written by a thread, while training goes on. What goes wrong there is raised
    by what is next of `log`, `save` and `finish`.
    """

    def __init__(self, folder: RunFolder, state: TrainingState, progress: ProgressBar, files: Sequence[str]) -> None:
        self.folder = folder
        self.state = state
        self.progress = progress
        self._files = files
        self._points = self._restore()
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None
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

    @property
    def lr_scale(self) -> float:
        """Factor of the learning rates: less after rollbacks."""
        return float(ROLLBACK_LR_SCALE ** len(self.state.rollbacks))

    def log(self, **point: Any) -> None:
        """Append a point to the metrics, with its step and the seconds of training so far."""
        if self._pending is not None and self._pending.done():
            self.finish()
        self._points.write("metrics", {"step": self.state.step, **point, "seconds": round(self.seconds, 3)})

    def log_scores(self, **point: Any) -> None:
        """Append a point to the scores, with its step."""
        self._points.write("scores", {"step": self.state.step, **point})

    def log_image(self, tag: str, pixels: NDArray[np.uint8]) -> None:
        """Show an image in TensorBoard at the present step: bytes, [height, width] or [height, width, 3]."""
        self._points.events.write_image(self.state.step, tag, pixels)

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Count the seconds of what is done inside as those of scoring, not of training; run.json has their sum."""
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        self._started += seconds
        before = self.folder.record.get("eval_seconds", 0.0)
        self.folder.save_record(eval_seconds=round(before + seconds, 3))

    def save(self) -> None:
        """Save a checkpoint: the state as it is now, while training goes on.

        Raises:
            DivergenceError: if a weight is not finite; then nothing is saved.
        """
        for name, network in self.state.networks.items():
            if not all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values()):
                problem = f"a weight of the {name} is not finite"
                raise self._diverged(self.state.step, f"weight of the {name}", problem)
        self.finish()
        self.folder.check_present()
        self.state.seconds = self.seconds
        points, keep = self._points, self.folder.record["config"]["keep_checkpoints"]
        write_checkpoint = prepare_checkpoint(self.folder.checkpoints, self.state, points.counts, keep)

        def write() -> None:
            points.sync()
            write_checkpoint()

        self._pending = self._writer.submit(write)

    def finish(self) -> None:
        """Wait until the checkpoint is written."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait for what is being written, and close the files."""
        self._writer.shutdown()
        self._points.close()

    def stop(self) -> None:
        """Save, then leave the loop with `Interrupted`."""
        assert self._stop_signal is not None
        self.save()
        self.finish()
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
            name = names[column]
            problem = f"{name} is {history[row, column].item()}"
            raise self._diverged(first_step + row, name.replace("_", " "), problem)

    def _diverged(self, step: int, quantity: str, problem: str) -> DivergenceError:
        """Return the error of a `quantity` that is not finite, with what to do."""
        with suppress(ReviverError):
            self.finish()
        count = len(self.state.rollbacks)
        tried = f"{count} rollback{'s' * (count > 1)} did not help; " if count else ""
        is_saved = (self.folder.checkpoints / "last.json").exists()
        kept = "the last good checkpoint is kept" if is_saved else "no checkpoint was saved yet"
        advice = f"try a --learning-rate lower than {self.folder.record['config'].get('learning_rate')} in a new --out"
        return DivergenceError(f"step {step}: {problem}; {tried}{kept}; {advice}", step, quantity)

    @contextmanager
    def rolling_back(self) -> Iterator[None]:
        """Answer a `DivergenceError` inside, if the settings ask for it: go back to the last checkpoint with a lower learning rate.

        The state then has it in its rollbacks, so that a later checkpoint and a resume know.
        """
        config = self.folder.record["config"]
        try:
            yield
        except DivergenceError as error:
            noted = self.state.rollbacks
            if config["on_nan"] != "rollback" or len(noted) >= config["max_rollbacks"]:
                raise
            self.finish()
            self._points.close()
            self._points = self._restore()
            noted.append({"step": error.step, "quantity": error.quantity, "back_to": self.state.step})
            self.state.extra["rollbacks"] = noted
            self.folder.save_record(rollbacks=noted)
            _log.warning(
                "step %d: %s is not finite; went back to step %d, with %g times the learning rate (rollback %d of %d)",
                *(error.step, error.quantity, self.state.step, self.lr_scale, len(noted), config["max_rollbacks"]),
            )

    def _restore(self) -> MetricsWriter:
        """Bring the state and the files back to the last checkpoint, if there is one; returns what appends to the files."""
        checkpoints, keep = self.folder.checkpoints, self.folder.record["config"]["keep_checkpoints"]
        counts = restore_checkpoint(checkpoints, self.state, self._files)
        for path in (self.folder.path, self.folder.samples):
            clean_up(path)
        settle_checkpoints(checkpoints, self.state.extra.get("best", {}).get("step"), keep)
        for name, count in counts.items():
            self.folder.truncate_records(name, count)
        # At step 0 a GAN shows its grid again; later, what was logged at the step of the checkpoint came before it.
        return MetricsWriter(self.folder, self._files, self.state.step + 1 if self.state.step else 0)

    def _note_signal(self, number: int, _: FrameType | None) -> None:
        """Note the first signal for the loop to answer; a second one ends the process at once."""
        if self._stop_signal is not None:
            raise KeyboardInterrupt
        self._stop_signal = number


@contextmanager
def noting_signals(note: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Call `note` at SIGINT and SIGTERM while this lasts; outside the main thread signals stay as they are."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
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
) -> Iterator[Session]:
    """Open a session on `folder`; `state` is brought to its last checkpoint, if it has one.

    The loop reports its progress in `unit`s, of which there are `total`, and writes the `files` of points.
    """
    with ExitStack() as stack:
        stack.enter_context(folder.locked())
        folder.record_environment(next(next(iter(state.networks.values())).parameters()).device)
        bar = stack.enter_context(ProgressBar(description, total, unit, visible=progress))
        session = Session(folder, state, bar, files)
        stack.callback(session.close)
        stack.enter_context(noting_signals(session._note_signal))
        folder.record.pop("rollbacks", None)  # a checkpoint may be older than the last of them
        folder.set_status("running", **({"rollbacks": state.rollbacks} if state.rollbacks else {}))
        try:
            with _explaining_memory(state):
                if folder.record["config"]["on_nan"] == "rollback" and not (folder.checkpoints / "last.json").exists():
                    session.save()  # so that there is always one to go back to
                yield session
                session.finish()
                session._points.events.write_end(state.step)
        except Interrupted:
            folder.set_status("interrupted")
            raise
        except BaseException as error:
            with suppress(Exception):
                session.finish()
            with suppress(ReviverError):
                folder.set_status("failed", error=(str(error) or type(error).__name__)[:MAX_TEXT])
            raise
        folder.record.pop("error", None)
        folder.set_status("finished", seconds=round(session.seconds, 3))


@contextmanager
def _explaining_memory(state: TrainingState) -> Iterator[None]:
    """Raise the error that says what to do if memory runs out inside."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        is_shortage = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not is_shortage and not re.search("can't allocate memory|not enough memory", str(error)):
            raise
        what = (str(error).strip() or "MemoryError").splitlines()[0]
        raise OutOfMemory(
            f"step {state.step + 1}: memory ran out ({what}); what was saved is kept: free some memory and go on with "
            "--resume, or start in a new --out with a smaller --batch-size"
        ) from error


def open_run(out: str | Path, kind: str, config: Any, device: torch.device, *, resume: bool) -> RunFolder:
    """Make a new run folder for `config`, or with `resume` open the one of an earlier session.

    Raises:
        RunFolderError: see `RunFolder.create` and `RunFolder.open`.
        ConfigError: if the folder's settings are damaged, or others than `config`; only `epochs` may have grown, and
            those of `CHANGEABLE` may differ.
    """
    if not resume:
        return RunFolder.create(out, kind, config, device)
    folder = RunFolder.open(out, kind)
    stored = dataclasses.asdict(from_mapping(type(config), folder.record["config"]))
    wanted = dataclasses.asdict(config)
    for name, value in wanted.items():
        may_differ = name in CHANGEABLE or (name == "epochs" and value > stored[name])
        if stored[name] != value and not may_differ:
            raise ConfigError(
                f"{name} is {stored[name]!r} in this run, got {value!r}; leave it out to resume, or start in a new --out",
                field=name,
            )
    if wanted != stored:
        folder.save_record(config=wanted)
    return folder


def permutation(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """A random order of `count` examples on `device`; drawn on the CPU, so that it is the same on every device."""
    return torch.randperm(count, generator=generator).to(device)
