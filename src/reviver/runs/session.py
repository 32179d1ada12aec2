"""Training session: everything that a training loop needs around its steps.

A session locks the run folder, restores the state, writes metrics, saves checkpoints, shows progress, saves before it
stops at Ctrl-C or SIGTERM, rolls back to the last checkpoint after a NaN if the settings ask for it, and records the
final status. `open_run` creates or opens the folder.
"""

import dataclasses
import logging
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reviver.errors import DivergenceError, Interrupted, OutOfMemory, ReviverError, needing_train
from reviver.files.atomic import remove_leftovers
from reviver.launch import DEFAULT_TIMEOUT, choose_device, explaining_losses
from reviver.rng import seeding_default_rngs
from reviver.runs.checkpoint import TrainingState, prune_checkpoints, restore_checkpoint, save_checkpoint
from reviver.runs.distributed.world import ALONE, World, join_world
from reviver.runs.environment import versions
from reviver.runs.folder import RunFolder, is_restarted, refuse_existing
from reviver.settings.parts import BUILT_IN, Parts
from reviver.settings.validation import refuse
from reviver.system import handling_signals
from reviver.text import count

if TYPE_CHECKING:
    from reviver.progress import ProgressBar
    from reviver.runs.writer import RecordsWriter

ROLLBACK_LR_SCALE = 0.5
CHANGEABLE = ("on_nan", "max_rollbacks", "keep_checkpoints")
"""Settings that a resumed run may change: they do not affect what is learned before a NaN."""

LOCATIONS = ("data", "extractor")
"""Settings that a resumed run may change to where their files are now: run.json has a hash of the content."""

KEPT = "what was saved is kept"

_log = logging.getLogger(__name__)


class Session:
    """One session of a run; `training_session` creates it.

    All processes that train together call the same methods; only rank 0 writes.
    """

    def __init__(
        self,
        folder: RunFolder,
        state: TrainingState,
        progress: "ProgressBar",
        files: Sequence[str],
        signals: list[int],
    ) -> None:
        self.folder = folder
        self.state = state
        self.progress = progress
        self.world = folder.world
        self._files = files
        self._metrics: RecordsWriter | None = None  # only on rank 0
        self._signals = signals  # received by this process
        self._stop_agreed = False
        self._restore()
        self._seconds_before = state.seconds
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Training time in all sessions of this run in seconds, without evaluation."""
        return self._seconds_before + time.perf_counter() - self._started

    @property
    def stop_flag(self) -> float:
        """1 if a signal asked this process to stop, else 0; the loop adds the flags of all processes for `agree`."""
        return float(bool(self._signals))

    def agree(self, total_of_flags: float) -> None:
        """Take the sum of the `stop_flag`s of all processes at this step, so that all stop at the same one."""
        self._stop_agreed = total_of_flags > 0

    @property
    def stop_requested(self) -> bool:
        """Whether a signal asked to stop, of several processes after `agree`; the loop then calls `stop` after the step."""
        return self._stop_agreed if self.world.size > 1 else bool(self._signals)

    @property
    def lr_scale(self) -> float:
        """Factor of the learning rate: 1, multiplied by `ROLLBACK_LR_SCALE` at each rollback."""
        return float(ROLLBACK_LR_SCALE ** len(self.state.rollbacks))

    def log(self, **values: Any) -> None:
        """Append a record to the metrics, with the step and the training time so far."""
        if self._metrics is not None:
            self._metrics.write("metrics", {"step": self.state.step, **values, "seconds": round(self.seconds, 3)})

    def log_scores(self, **values: Any) -> None:
        """Append a record to the scores, with the step."""
        if self._metrics is not None:
            self._metrics.write("scores", {"step": self.state.step, **values})

    def log_image(self, tag: str, pixels: NDArray[np.uint8]) -> None:
        """Write an image to TensorBoard at the current step: uint8, [height, width] or [height, width, 3]."""
        if self._metrics is not None:
            self._metrics.write_image(self.state.step, tag, pixels)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Count the time spent inside as evaluation instead of training; run.json has the total as `eval_seconds`."""
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        self._started += seconds
        before = self.folder.record.get("eval_seconds", 0.0)
        self.folder.save_record(eval_seconds=round(before + seconds, 3))

    def save(self) -> None:
        """Save the current state as a checkpoint, for which all processes wait; DivergenceError if a weight is not finite."""
        self.state.seconds = self.seconds
        self.world.call_on_main(self._save)
        self.state.best_networks = None

    def _save(self) -> None:
        assert self._metrics is not None, "rank 0 writes"
        for name, network in self.state.networks.items():
            if not all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values()):
                problem = f"a weight of the {name} is not finite"
                raise self._diverged(self.state.step, f"weight of the {name}", problem)
        self._metrics.sync()
        keep = self.folder.record["config"]["keep_checkpoints"]
        save_checkpoint(self.folder.checkpoints, self.state, self._metrics.counts, keep)

    def close(self) -> None:
        """Close the files."""
        if self._metrics is not None:
            self._metrics.close()

    def stop(self) -> None:
        """Save a checkpoint, then raise `Interrupted`."""
        received = self.world.gather(self._signals[:1])
        self.save()  # nobody may exit before: torchrun ends the others when one does
        number = max(number for numbers in received for number in numbers)
        raise Interrupted(
            f"{self.folder.path}: stopped at step {self.state.step} by {signal.Signals(number).name} and saved; "
            "go on with the same command and --resume",
            number,
        )

    def check_finite(self, history: Tensor, first_step: int, names: tuple[str, ...]) -> None:
        """Raise `DivergenceError` if a value of `history` [steps, quantities] is not finite; `names` are the quantities."""
        not_finite = (~history.isfinite()).nonzero()
        if len(not_finite):
            row, column = not_finite[0].tolist()
            problem = f"{names[column]} is {history[row, column].item()}"
            raise self._diverged(first_step + row, names[column].replace("_", " "), problem)

    def _diverged(self, step: int, quantity: str, problem: str) -> DivergenceError:
        rollbacks = self.state.rollbacks
        attempts = f"{count(len(rollbacks), 'rollbacks')} did not help; " if rollbacks else ""
        is_saved = self.folder.has_checkpoint
        kept = "the last good checkpoint is kept" if is_saved else "no checkpoint was saved yet"
        advice = f"try a --learning-rate lower than {self.folder.record['config'].get('learning_rate')} in a new --out"
        return DivergenceError(f"step {step}: {problem}; {attempts}{kept}; {advice}", step, quantity)

    @contextmanager
    def rolling_back(self) -> Iterator[None]:
        """Roll back to the last checkpoint if a `DivergenceError` is raised inside, and lower the learning rate.

        The rollback becomes part of the state, so that a resumed run keeps the lower learning rate. The error passes if `on_nan`
        is `stop` or there were `max_rollbacks` already.
        """
        config = self.folder.record["config"]
        try:
            yield
        except DivergenceError as error:
            rollbacks = self.state.rollbacks
            if config["on_nan"] != "rollback" or len(rollbacks) >= config["max_rollbacks"]:
                raise
            self._restore()
            rollbacks.append({"step": error.step, "quantity": error.quantity, "back_to": self.state.step})
            self.state.extra["rollbacks"] = rollbacks
            self.folder.save_record(rollbacks=rollbacks)
            if not self.world.is_main:
                return
            _log.warning(
                "step %d: %s is not finite; went back to step %d, with %g times the learning rate (rollback %d of %d)",
                *(error.step, error.quantity, self.state.step, self.lr_scale, len(rollbacks), config["max_rollbacks"]),
            )

    def _restore(self) -> None:
        """Restore the state and the files to the last checkpoint, if there is one: first rank 0, which writes."""
        self.close()
        self.world.call_on_main(self._restore_files)
        if not self.world.is_main:
            restore_checkpoint(self.folder.checkpoints, self.state, self._files)

    def _restore_files(self) -> None:
        from reviver.runs.writer import RecordsWriter  # needs tensorboardX, which readers of runs do without

        folder = self.folder
        for path in (folder.path, folder.samples, folder.snapshots, folder.checkpoints):
            remove_leftovers(path)
        for name, lines in restore_checkpoint(folder.checkpoints, self.state, self._files).items():
            folder.truncate_records(name, lines)
        prune_checkpoints(folder.checkpoints, folder.record["config"]["keep_checkpoints"])
        # At step 0 a GAN writes its first grid again. At a later step, everything was logged before the checkpoint.
        self._metrics = RecordsWriter(folder, self._files, self.state.step + 1 if self.state.step else 0)


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
    native: str | None = None,
) -> Iterator[Session]:
    """Run a training session in `folder`, and record how it ended; `state` is restored from the last checkpoint.

    The loop writes the records files `files`. For `total`, `unit`, `description` and `progress` see `ProgressBar`, for
    `native` see `RunFolder.record_environment`.
    """
    world = folder.world
    if world.size > 1:
        description += f", {world.size} processes ({world.backend})"
    signals: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        # A worker of a sweep may get SIGTERM twice, also from the driver. Of several processes none may leave alone.
        if signals and number == signal.SIGINT and world.size == 1:
            signal.default_int_handler(number, frame)
        signals.append(number)

    from reviver.progress import ProgressBar

    with ExitStack() as stack:
        stack.enter_context(handling_signals(remember))
        world.call_on_main(lambda: stack.enter_context(folder.locked()))
        folder.record_environment(next(next(iter(state.networks.values())).parameters()).device, native)
        bar = stack.enter_context(ProgressBar(description, total, unit, visible=progress and world.is_main))
        session = Session(folder, state, bar, files, signals)
        stack.callback(session.close)
        folder.record.pop("error", None)
        folder.record.pop("rollbacks", None)  # the checkpoint may be older than the last rollback
        folder.set_status("running", **({"rollbacks": state.rollbacks} if state.rollbacks else {}))
        try:
            with _explain_failures(state):
                rolls_back = folder.record["config"]["on_nan"] == "rollback"
                if rolls_back and not world.call_on_main(lambda: folder.has_checkpoint):
                    session.save()  # so that a rollback is always possible
                yield session
                if session._metrics is not None:
                    session._metrics.write_end(state.step)
        except BaseException as error:
            if isinstance(error, Interrupted):
                folder.set_status("interrupted")
            else:
                with suppress(ReviverError):
                    folder.set_status("failed", error=str(error) or type(error).__name__)
            raise
        folder.record.pop("job", None)
        folder.set_status("finished", seconds=round(session.seconds, 3))


@contextmanager
def _explain_failures(state: TrainingState) -> Iterator[None]:
    """Convert the errors inside that the environment causes: lost processes, and memory that ran out."""
    try:
        with explaining_losses(f"; {KEPT}; go on with the same command and --resume, or torchrun with --max-restarts"):
            yield
    except (MemoryError, RuntimeError) as error:
        is_shortage = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not is_shortage and not re.search("can't allocate memory|not enough memory", str(error)):
            raise
        problem = (str(error).strip() or "MemoryError").splitlines()[0]
        raise OutOfMemory(
            f"step {state.step + 1}: memory ran out ({problem}); {KEPT}: free some memory and go on with "
            "--resume, or start in a new --out with a smaller --batch-size"
        ) from error


class Start(NamedTuple):
    """What a training begins with, in each of its processes."""

    out: str | Path
    parts: Parts
    world: World
    device: torch.device
    default_rngs: Mapping[str, torch.Generator]
    """Those of torch, seeded; only user-defined classes use them."""
    resume: bool
    progress: bool


def trainer(function: Callable[[Any, Start], RunFolder]) -> Callable[..., RunFolder]:
    """Decorate a function of settings and a `Start` that trains a run: see `train` inside for what callers give."""

    def train(
        config: Any,
        out: str | Path,
        *,
        parts: Parts = BUILT_IN,
        device: str = "auto",
        resume: bool = False,
        progress: bool = False,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> RunFolder:
        """Train with the settings `config`, and write and return the run folder `out`, which must not exist unless `resume`.

        Several processes that torchrun has started train together, each with a part of every batch. The first of them
        writes the folder; each waits `timeout` seconds for the others. On the same machine and with the same number of threads
        and processes a resumed run is bit for bit an uninterrupted one.

        Raises:
            ConfigError, DataError, DeviceError, RunFolderError: before anything is written.
            DivergenceError: if a loss is not finite.
            Interrupted: after SIGINT or SIGTERM, once the state is saved.
            ProcessLost: if another process died or does not answer.
        """
        chosen = choose_device(device)
        with join_world(chosen, timeout) as world, seeding_default_rngs(config.seed, chosen) as rngs:
            if not resume:
                world.call_on_main(lambda: refuse_existing(out))
            return function(config, Start(out, parts, world, chosen, rngs, resume, progress))

    return train


def open_run(out: str | Path, kind: str, config: Any, *, resume: bool, world: World = ALONE) -> RunFolder:
    """Create a run folder, or open one to `resume`, or that processes which torchrun has restarted had begun.

    Rank 0 does so, and its error is raised by all: see `RunFolder.create` and `RunFolder.open`, and a ConfigError if the
    settings in the folder differ from `config`. Only larger `epochs`, `CHANGEABLE` and `LOCATIONS` may differ.
    """
    with needing_train("training"):
        from reviver import progress  # noqa: F401  before anything is written
        from reviver.runs import writer  # noqa: F401
    requested = dataclasses.asdict(config)
    world.require_same({"kind": kind, **requested, "resume": resume, **versions()})

    def create_or_open() -> dict[str, Any]:
        if not (resume or is_restarted(out)):
            return RunFolder.create(out, kind, requested, world).record
        folder = RunFolder.open(out, kind)
        stored = dataclasses.asdict(folder.read_config(type(config)))
        for name, value in requested.items():
            may_differ = name in CHANGEABLE or (name == "epochs" and value > stored[name])
            may_differ |= name in LOCATIONS and None not in (stored[name], value)
            if stored[name] != value and not may_differ:
                problem = f"is {stored[name]!r} in this run, got {value!r}"
                refuse(name, f"{problem}; leave it out to resume, or start in a new --out")
        return {**folder.record, "config": requested}  # which the session writes, once it has the lock

    return RunFolder(Path(out), world.call_on_main(create_or_open), world)
