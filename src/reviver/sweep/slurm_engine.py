"""Engine of a sweep: jobs of Slurm, submitted with submitit (https://github.com/facebookincubator/submitit).

Each cell is a job of its own, so that its time and memory are limited, accounted for and logged by the scheduler, and the
failure of a node costs one cell. A job that reaches its time limit, or is preempted, saves its run and is submitted again.
For many cells that are short beside the wait in the queue, start workers that share the sweep instead:
`sbatch --array=1-20 --wrap 'reviver sweep FILE.toml ...'`.

submitit writes its files, also logs, to the folder `slurm` of the sweep. They are pickles, which can run code when they are
read, so the folder is readable by its owner only, and only files of jobs that this engine submitted are read.
"""

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reviver.errors import ConfigError, ReviverError
from reviver.io.atomic import make_folder
from reviver.io.errors import explain_write_errors
from reviver.sweep.cell import MAX_ATTEMPTS, Cell, Outcome
from reviver.sweep.claim import MAX_AGE
from reviver.sweep.execute import give_up
from reviver.sweep.remote import import_library, run_job
from reviver.text import did_you_mean, one_line, short_repr

DEFAULT_JOBS = 100
"""Default number of jobs that wait or run at the same time."""
TIMEOUT_MINUTES = 60
"""Default time limit of a job. A run that takes longer is continued by the next job."""
MAX_JOBS_PER_CELL = 100
"""Maximum number of jobs that a cell gets, each after the last one was stopped: at its time limit, for example."""
POLL_SECONDS = {"slurm": 1.0, "local": 0.05}
"""Seconds between two looks at all jobs. submitit itself asks Slurm less often."""
COMMON_OPTIONS = ("gpus_per_node", "mem_gb", "name", "timeout_min")
"""Options that submitit names alike for all its executors; all others are those of `sbatch`, such as `partition`."""
SET_BY_ENGINE = ("cpus_per_task", "nodes", "ntasks_per_node", "tasks_per_node")
"""Options that the table may not set: a cell is one process with `threads` threads."""


@dataclass
class _Submitted:
    """A cell whose job waits or runs."""

    cell: Cell
    future: Future[Outcome]
    job: Any
    deaths: int = 0
    """Number of jobs that ended without an outcome."""
    stops: int = 0
    """Number of jobs that saved and stopped."""


class SlurmEngine:
    """Engine of a sweep that runs each cell as a job of Slurm.

    Args:
        sweep_folder: folder of the sweep, on a file system that all nodes share.
        jobs: number of jobs that wait or run at the same time; `DEFAULT_JOBS` if None.
        threads: threads per cell, and `--cpus-per-task` of its job; 1 if None.
        options: options of the jobs: `COMMON_OPTIONS`, and those of `sbatch` with underscores, such as `partition`,
            `account`, `qos`, `constraint` and `setup`, a list of shell commands to run first. `cluster` is `slurm`, or
            `local` for jobs that are processes of this machine, to try a sweep without Slurm.
        max_age: see `execute`.

    Attributes:
        slots: number of jobs that wait or run at the same time.

    Raises:
        ConfigError: if submitit or the commands of Slurm are not installed, or an option is unknown or invalid.
        RunFolderError: if the folder of the jobs cannot be written.
    """

    def __init__(
        self,
        sweep_folder: Path,
        jobs: int | None = None,
        threads: int | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        max_age: float = MAX_AGE,
    ) -> None:
        self._submitit = import_library("submitit", "slurm")
        others = dict(options or {})
        cluster = others.pop("cluster", "slurm")
        if cluster not in list(POLL_SECONDS):
            raise ConfigError(f"slurm.cluster must be slurm or local, got {short_repr(cluster)}", "slurm")
        if cluster == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
            problem = "needs the commands sbatch and srun, which are not in PATH here"
            raise ConfigError(f"engine slurm {problem}; start the sweep on a login node of the cluster", "engine")
        folder = sweep_folder.absolute() / "slurm"
        with explain_write_errors(folder):
            make_folder(folder)
            folder.chmod(0o700)
        self.slots = jobs or DEFAULT_JOBS
        self._cluster = cluster
        self._executor = self._submitit.AutoExecutor(folder, cluster=cluster)
        self._set_options(threads or 1, others)
        self._sweep_folder = sweep_folder
        self._arguments = (sweep_folder.absolute(), threads or 1, max_age, Path.cwd())
        self._lock = threading.Lock()
        self._submitted: list[_Submitted] = []
        self._is_stopping = False
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="slurm", daemon=True)
        self._watcher.start()

    def submit(self, cell: Cell) -> Future[Outcome]:
        """Submit the job of a cell."""
        future: Future[Outcome] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            try:
                self._submitted.append(_Submitted(cell, future, self._start_job(cell)))
            except ReviverError as error:
                future.set_exception(error)
        return future

    def close(self, *, stop: bool) -> None:
        """Wait for the jobs, or with `stop` cancel those that wait and let the others save and stop."""
        with self._lock:
            self._is_stopping = stop
            jobs = [submitted.job for submitted in self._submitted] if stop else []
        for job in jobs:
            self._cancel(job)
        self._closed.set()
        self._watcher.join()

    def _set_options(self, threads: int, options: Mapping[str, Any]) -> None:
        """Set the options of all jobs.

        Raises:
            ConfigError: if an option is unknown or invalid.
        """
        known = {*COMMON_OPTIONS, *self._submitit.SlurmExecutor._valid_parameters()} - {
            *SET_BY_ENGINE,
            "job_name",
            "time",
        }
        defaults = {"name": "reviver", "timeout_min": TIMEOUT_MINUTES, "cpus_per_task": threads}
        if self._cluster == "local":
            defaults["timeout_min"] = 365 * 24 * 60  # the run is not worth stopping: nobody else waits for this machine
        self._executor.update_parameters(**defaults)
        for name, value in options.items():
            if name not in known:
                advice = did_you_mean(name, known) or f"choose from {', '.join(sorted(known))}"
                raise ConfigError(f"slurm.{short_repr(name)[1:-1]} is unknown; {advice}", "slurm")
            parameter = name if name in COMMON_OPTIONS else f"slurm_{name}"
            try:
                self._executor.update_parameters(**{parameter: value})
            except (AssertionError, NameError, TypeError, ValueError) as error:  # as submitit raises them
                raise ConfigError(
                    f"slurm.{name} is invalid, got {short_repr(value)}: {one_line(error)}", "slurm"
                ) from error

    def _start_job(self, cell: Cell) -> Any:
        """Submit a job.

        Raises:
            ReviverError: if Slurm refuses it.
        """
        try:
            with _blocking_interrupt():
                return self._executor.submit(run_job, cell, *self._arguments)
        except (self._submitit.core.utils.FailedJobError, OSError) as error:
            raise ReviverError(f"Slurm did not take the job: {one_line(error)}") from error

    def _watch(self) -> None:
        """Look at all jobs again and again, until `close` was called and none is left."""
        while self._submitted or not self._closed.is_set():
            for number, submitted in enumerate(list(self._submitted)):
                # One forced look asks Slurm for all jobs. Only a stop is worth it: jobs that end write their outcome.
                if submitted.job.done(force_check=self._is_stopping and number == 0):
                    self._settle(submitted)
            time.sleep(POLL_SECONDS[self._cluster])

    def _settle(self, submitted: _Submitted) -> None:
        """Give the outcome of a finished job to its future, or submit the job again."""
        try:
            outcome = self._find_outcome(submitted)
        except ReviverError as error:
            submitted.future.set_exception(error)
        else:
            if outcome is None:
                return
            submitted.future.set_result(outcome)
        with self._lock:
            self._submitted.remove(submitted)

    def _find_outcome(self, submitted: _Submitted) -> Outcome | None:
        """Return the outcome of the cell of a finished job, or None if another job was submitted for it.

        Raises:
            ReviverError: if the job could not read or write the sweep folder, or Slurm does not take the next job.
        """
        outcome = self._read(submitted.job)
        if outcome is not None and outcome.status != "stopped":
            return outcome
        if outcome is None:
            submitted.deaths += 1
        else:
            submitted.stops += 1
        with self._lock:
            if self._is_stopping:
                return Outcome(submitted.cell.key, "stopped")
            if submitted.deaths < MAX_ATTEMPTS and submitted.stops < MAX_JOBS_PER_CELL:
                submitted.job = self._start_job(submitted.cell)
                return None
        problem = f"{submitted.deaths} of its jobs died (killed, or out of memory), {submitted.stops} were stopped"
        advice = f"see {submitted.job.paths.stderr}, raise mem_gb or timeout_min in [slurm], and use --retry-failed"
        return give_up(self._sweep_folder, submitted.cell, f"{problem}; {advice}")

    def _read(self, job: Any) -> Outcome | None:
        """Return the outcome that a finished job wrote, or None if it died before.

        Raises:
            ReviverError: if the job could not read or write the sweep folder.
        """
        # submitit would wait for the file, as a network file system may show it late.
        if (self._cluster == "local" or self._is_stopping) and not job.paths.result_pickle.exists():
            return None
        errors = self._submitit.core.utils
        try:
            reply: Outcome | ReviverError = job.results()[0]
        except errors.FailedJobError as error:
            raise ReviverError(f"job {job.job_id} failed, see {job.paths.stderr}") from error
        except errors.UncompletedJobError:
            return None
        if isinstance(reply, ReviverError):
            raise reply
        return reply

    def _cancel(self, job: Any) -> None:
        """Remove a job that waits; ask one that runs to save and stop."""
        if self._cluster == "slurm":
            job.cancel(check=False)  # SIGTERM, and SIGKILL after KillWait seconds, 30 by default
        else:
            with suppress(ProcessLookupError):
                os.kill(int(job.job_id), signal.SIGTERM)  # job.cancel would kill the run after a second


@contextmanager
def _blocking_interrupt() -> Iterator[None]:
    """Block SIGINT in processes that start inside: Ctrl-C shall reach only the sweep, which stops its jobs."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
