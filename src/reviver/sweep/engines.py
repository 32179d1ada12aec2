"""Engines of a sweep: processes of this machine, Ray Core (https://arxiv.org/abs/1712.05889), and Slurm by submitit.

An engine starts calls elsewhere, each of which runs a trial: `slots` at the same time, with `threads` each. `submit` returns a
future, of which `died` are the errors if its worker died; `poll` is the seconds between two looks at it. `close` lets the
running calls save and stop, and releases all workers. Machines of a cluster need Reviver, and the sweep folder at the same path.
"""

import importlib
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any, Literal, cast

from reviver.errors import ConfigError, ReviverError, import_library
from reviver.files.atomic import make_folder
from reviver.files.file_errors import explain_write_errors
from reviver.settings.validation import check, refuse
from reviver.sweep.trials import Ended
from reviver.system import blocking_interrupt, usable_cores
from reviver.text import one_line, short_repr

TrialCall = Callable[[], Ended]


class Pool:
    """Engine of `jobs` processes of this machine, by default one per core, with `threads` each, by default their share.

    The processes stay for the next trial, so that they import torch once. Each is an executor of its own, so that one that
    dies takes no other with it.
    """

    poll = 0.05
    died: tuple[type[Exception], ...] = (BrokenProcessPool,)

    def __init__(self, jobs: int | None = None, threads: int | None = None) -> None:
        self.slots = jobs or usable_cores()
        self.threads = threads or max(1, usable_cores() // self.slots)
        self._last: dict[ProcessPoolExecutor, Future[Ended]] = {}

    def submit(self, call: TrialCall) -> Future[Ended]:
        """Start a call in an idle process, or a new one."""
        for executor in [executor for executor, last in self._last.items() if last.done()]:
            with suppress(BrokenProcessPool):  # it has died
                return self._start(executor, call)
            del self._last[executor]
        return self._start(ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _prepare_process), call)

    def _start(self, executor: ProcessPoolExecutor, call: TrialCall) -> Future[Ended]:
        with blocking_interrupt():  # in the process, too
            self._last[executor] = executor.submit(_call_for_parent, call)
        return self._last[executor]

    def close(self, running: Sequence[Future[Ended]]) -> None:
        """Let these calls save and stop, and end all processes."""
        for process in multiprocessing.active_children() if running else ():
            process.terminate()
        for executor in self._last:
            executor.shutdown()


def _prepare_process() -> None:
    """Prepare a process of the pool: Ctrl-C reaches only the parent, and the process ends with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)  # lets a run save, and ends an idle process


def _call_for_parent(call: TrialCall) -> Ended:
    ended = call()
    if (parent := multiprocessing.parent_process()) is not None and not parent.is_alive():
        os._exit(0)
    return ended


class RayEngine:
    """Engine of tasks of Ray, started on this machine, or joined at `address`: the head node `host:port`, or `auto`.

    At most `jobs` trials run at the same time, by default as many as there are CPUs for. Each reserves `threads` CPUs, by
    default 1 on a cluster, and the cores divided by `jobs` here.
    """

    poll = 0.05

    def __init__(self, jobs: int | None = None, threads: int | None = None, address: str | None = None) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read at the import and by the processes that Ray starts
        problem = "engine ray needs the library ray, the extra ray of reviver-nn"
        self._ray = ray = cast("Any", import_library("ray", problem, "engine"))
        found = ("WorkerCrashedError", "NodeDiedError", "OutOfMemoryError", "TaskCancelledError")
        self.died: tuple[type[Exception], ...] = tuple(getattr(ray.exceptions, name) for name in found)
        # Without an address Ray would join whatever cluster it finds.
        options: dict[str, Any] = {"address": address or "local", "log_to_driver": False, "logging_level": "error"}
        if address is None:
            jobs = jobs or usable_cores()
            threads = threads or max(1, usable_cores() // jobs)
            # Trials and outcomes are small. Ray would take 30 % of the memory for them; it asks for at least 75 MB.
            memory = 80 << 20
            options |= {"num_cpus": threads * jobs, "include_dashboard": False, "object_store_memory": memory}
        self.threads = threads = threads or 1
        try:
            if address is not None and address != "auto":
                host, _, port = address.rpartition(":")
                socket.create_connection((host.strip("[]"), int(port)), 5.0).close()  # Ray would wait for two minutes
            ray.init(**options)
        except (OSError, OverflowError, RuntimeError, ValueError) as error:
            if address is None:
                raise ReviverError(f"Ray could not be started: {one_line(error)}") from error
            remedy = "give HOST:PORT of its head node, or auto where ray start --head was called"
            problem = f"address {address!r} has no Ray cluster ({one_line(error)})"
            raise ConfigError(f"{problem}; {remedy}", "address") from error
        cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        self.slots = jobs or sum(count // threads for count in cpus)
        if threads > max(cpus):  # Ray would wait for such a machine forever
            ray.shutdown()
            place = "this machine" if address is None else f"a machine of the cluster at {address}"
            refuse("threads", f"must be at most {max(cpus)}, the CPUs of {place}, got {threads}")
        self._output = redirect_stdout(sys.stderr)  # Ray prints there that a worker has died
        self._output.__enter__()
        self._task = ray.remote(num_cpus=threads, max_retries=0)(_call_in)  # the driver counts the attempts

    def submit(self, call: TrialCall) -> Future[Ended]:
        """Submit the task of a call."""
        return cast("Future[Ended]", self._task.remote(Path.cwd(), call).future())

    def close(self, running: Sequence[Any]) -> None:
        """Let these tasks save and stop, and leave Ray."""
        for future in running:
            self._ray.cancel(future.object_ref)  # SIGINT in the main thread of its worker
        wait(running)
        self._ray.shutdown()
        self._output.__exit__(None, None, None)


def _call_in(directory: Path, call: TrialCall) -> Ended:
    """Call in the working directory of the sweep, which relative paths in the settings of a trial start from."""
    with suppress(OSError):  # the paths of a trial may all be absolute
        os.chdir(directory)
    return call()


class SlurmEngine:
    """Engine of jobs of Slurm. A job that reaches its time limit or is preempted saves its run, and another one goes on.

    At most `jobs` jobs wait or run at the same time, by default 100. Each has `threads` CPUs, by default 1. The options are
    `gpus_per_node`, `mem_gb`, `name` and `timeout_min`, and those of `sbatch` with underscores, such as `partition` and
    `setup`, a list of shell commands to run first. `cluster` is `slurm`, or `local` to try a sweep without Slurm. submitit's
    files are pickles, which can run code when they are read, so only the owner may enter their folder.
    """

    def __init__(
        self, sweep_folder: Path, jobs: int | None = None, threads: int | None = None, options: Mapping[str, Any] = {}
    ) -> None:
        problem = "engine slurm needs the library submitit, the extra slurm of reviver-nn"
        submitit: Any = import_library("submitit", problem, "engine")
        self.died: tuple[type[Exception], ...] = (submitit.core.utils.UncompletedJobError,)
        self._refused = (submitit.core.utils.FailedJobError, OSError)
        options = {"cluster": "slurm", "name": "reviver", "timeout_min": 60} | dict(options)
        cluster = options.pop("cluster")
        check("slurm.cluster", cluster, Literal["slurm", "local"])
        if cluster == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
            problem = "slurm needs the commands sbatch and srun, which are not in PATH here"
            refuse("engine", f"{problem}; start the sweep on a login node of the cluster")
        folder = sweep_folder.absolute() / "slurm"
        with explain_write_errors(folder):
            make_folder(folder)
            folder.chmod(0o700)
        self._is_local = cluster == "local"
        self.slots, self.poll, self.threads = jobs or 100, 0.05 if self._is_local else 1.0, threads or 1
        self._executor = submitit.AutoExecutor(folder, cluster=cluster)
        for name, value in options.items():
            # submitit names these alike for all its executors.
            prefix = "" if name in ("gpus_per_node", "mem_gb", "name", "timeout_min") else "slurm_"
            try:
                self._executor.update_parameters(**{prefix + name: value})
            except (AssertionError, NameError, TypeError, ValueError) as error:  # as submitit raises them
                problem = f"slurm.{short_repr(name)[1:-1]} is unknown or invalid, got {short_repr(value)}"
                raise ConfigError(f"{problem}: {one_line(error)}", "slurm") from error
        self._executor.update_parameters(cpus_per_task=self.threads, nodes=1, tasks_per_node=1)

    def submit(self, call: TrialCall) -> Any:
        """Submit the job of a call."""
        try:
            with blocking_interrupt():
                job = self._executor.submit(_call_in_job, call)
        except self._refused as error:
            raise ReviverError(f"Slurm did not take the job: {one_line(error)}") from error
        if self._is_local:
            job._results_timeout_s = 0  # only a network file system shows the result of a job late
        return job

    def close(self, running: Sequence[Any]) -> None:
        """Remove the jobs that wait, and let those that run save and stop."""
        for job in running:
            if not self._is_local:
                job.cancel(check=False)  # SIGTERM, and SIGKILL after KillWait seconds, 30 by default
            else:
                with suppress(ProcessLookupError):
                    os.kill(int(job.job_id), signal.SIGTERM)  # job.cancel would kill the run after a second
        while not all(job.done(force_check=job is running[0]) for job in running):
            time.sleep(self.poll)  # one forced look asks Slurm for all jobs


def _call_in_job(call: TrialCall) -> Ended:
    """Call in a job. The signal that Slurm sends before the time of a job is over lets the trial save and stop."""
    number = signal.Signals[f"SIG{importlib.import_module('submitit').JobEnvironment.USR_SIG}"]
    signal.signal(number, lambda *_: signal.raise_signal(signal.SIGTERM))  # submitit would end the process
    return call()


Engine = Pool | RayEngine | SlurmEngine
