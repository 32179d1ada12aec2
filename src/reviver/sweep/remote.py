"""What workers of Ray and Slurm run, and the libraries of these engines.

Nothing here imports torch before a worker has set the number of its threads.
"""

import importlib
import os
import signal
from contextlib import suppress
from pathlib import Path
from types import FrameType, ModuleType

from reviver.errors import ConfigError, Interrupted, ReviverError
from reviver.sweep.cell import Cell, Outcome


def import_library(name: str, engine: str) -> ModuleType:
    """Return the library of an engine.

    Args:
        name: name of the library.
        engine: name of the engine, which is also that of the extra.

    Raises:
        ConfigError: if the library is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        remedy = f"pip install {name}, or in a clone pip install '.[{engine}]'"
        problem = f"engine {engine} needs the library {name}, the extra {engine} of reviver-nn: {remedy}"
        raise ConfigError(problem, field="engine") from error


def run_cell(cell: Cell, sweep_folder: Path, threads: int, max_age: float, directory: Path) -> Outcome:
    """Run a cell in the process of a worker.

    Args:
        cell: the cell.
        sweep_folder: folder of the sweep, absolute, on a file system that all machines share.
        threads: threads to compute with.
        max_age: see `execute`.
        directory: working directory of the sweep, which relative paths in the settings of a cell start from.
    """
    os.environ["OMP_NUM_THREADS"] = str(threads)  # before torch is imported, which creates its threads
    with suppress(OSError):  # the paths of a cell may all be absolute
        os.chdir(directory)
    from reviver.sweep.execute import execute

    return execute(sweep_folder, cell, threads, max_age=max_age)


def run_job(cell: Cell, sweep_folder: Path, threads: int, max_age: float, directory: Path) -> Outcome | ReviverError:
    """Run a cell in a job of Slurm; see `run_cell`.

    SIGTERM, and the signal that submitit lets Slurm send before the time of a job is over, make the cell save and stop.

    Returns:
        The outcome, or an error of `execute`.
    """
    from submitit import JobEnvironment

    def stop(number: int, _: FrameType | None) -> None:
        raise Interrupted("stopped", number)

    # submitit ignores SIGTERM, and at its own signal it would end the process before the run is saved.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.Signals[f"SIG{JobEnvironment.USR_SIG}"], lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        return run_cell(cell, sweep_folder, threads, max_age, directory)
    except Interrupted:
        return Outcome(cell.key, "stopped")
    except ReviverError as error:
        return error
