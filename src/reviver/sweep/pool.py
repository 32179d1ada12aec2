"""Engine of a sweep: processes of this machine.

Each worker is a process with a pipe of its own, so one that dies takes no queue or lock with it. Its cell is run again by
a new process and goes on from what it saved. Workers stay for the next cell: they import torch once.
"""

import multiprocessing
import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

from reviver.errors import Interrupted, ReviverError
from reviver.sweep.cell import MAX_ATTEMPTS, Cell, Outcome
from reviver.sweep.claim import MAX_AGE
from reviver.sweep.execute import execute, give_up
from reviver.system import blocking_stop_signals, detach_from_terminal, unblock_termination, usable_cores
from reviver.text import one_line


class Pool:
    """Engine of a sweep that runs cells in processes of this machine.

    A thread per slot starts its process when it first needs it, and waits for its outcomes.

    Args:
        sweep_folder: folder of the sweep.
        jobs: number of cells that run at the same time; the number of cores if None.
        threads: threads per cell; the cores divided by `jobs` if None.
        max_age: see `execute`.

    Attributes:
        slots: number of cells that run at the same time.
    """

    def __init__(
        self, sweep_folder: Path, jobs: int | None = None, threads: int | None = None, *, max_age: float = MAX_AGE
    ) -> None:
        self.slots = jobs or usable_cores()
        self._sweep_folder = sweep_folder
        self._arguments = (sweep_folder, threads or max(1, usable_cores() // self.slots), max_age)
        self._executor = ThreadPoolExecutor(self.slots, "sweep")
        self._slot = threading.local()
        self._lock = threading.Lock()
        self._workers: set[_Worker] = set()
        self._is_stopping = False

    def submit(self, cell: Cell) -> Future[Outcome]:
        """Start a cell, or let it wait for a free slot."""
        return self._executor.submit(self._run, cell)

    def close(self, *, stop: bool) -> None:
        """Wait for the running cells, or with `stop` let them save and stop; then end all workers."""
        with self._lock:
            self._is_stopping = stop
            for worker in self._workers if stop else ():
                worker.process.terminate()
        self._executor.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.connection.close()
            worker.process.join()

    def pids(self) -> list[int]:
        """Return the process ids of the workers."""
        with self._lock:
            return [worker.process.pid for worker in self._workers if worker.process.pid is not None]

    def _run(self, cell: Cell) -> Outcome:
        """Run a cell in the process of this slot; again if it died, or was stopped by somebody else."""
        for _ in range(MAX_ATTEMPTS):
            worker = self._find_worker()
            if worker is None:
                break
            reply = worker.call(cell)
            if isinstance(reply, Exception):
                raise reply
            if isinstance(reply, Outcome) and reply.status != "stopped":
                return reply
            self._remove(worker)
        if self._is_stopping:
            return Outcome(cell.key, "stopped")
        problem = f"its worker died {MAX_ATTEMPTS} times (killed, or out of memory)"
        return give_up(self._sweep_folder, cell, f"{problem}; use fewer --jobs, and --retry-failed")

    def _find_worker(self) -> "_Worker | None":
        """Return the worker of this slot, a new one if there is none; None if the pool is stopping."""
        with self._lock:
            if self._is_stopping:
                return None
            worker: _Worker | None = getattr(self._slot, "worker", None)
            if worker is None:
                worker = self._slot.worker = _Worker(*self._arguments)
                self._workers.add(worker)
            return worker

    def _remove(self, worker: "_Worker") -> None:
        """Wait for the end of a worker, so that its claim is stale, and let the slot start another one."""
        worker.connection.close()
        worker.process.join()
        with self._lock:
            self._workers.discard(worker)
        self._slot.worker = None


class _Worker:
    """A process that runs cells, one after another."""

    def __init__(self, sweep_folder: Path, threads: int, max_age: float) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, connection = context.Pipe()
        self.process = context.Process(target=_work, args=(connection, sweep_folder, threads, max_age))
        with blocking_stop_signals():  # until the process has installed its handler
            self.process.start()
        connection.close()  # the process has its own; its end is noticed when no other is open

    def call(self, cell: Cell) -> Outcome | Exception | None:
        """Run a cell in the process; return its outcome, the error of `execute`, or None if the process has died."""
        try:
            self.connection.send(cell)
            reply: Outcome | Exception = self.connection.recv()
        except (EOFError, OSError):
            return None
        return reply


def _work(
    connection: "Connection[Outcome | Exception, Cell]", sweep_folder: Path, threads: int, max_age: float
) -> None:
    """Run the cells that arrive, until the pool closes the pipe or SIGTERM has stopped a cell."""
    signals: list[int] = []
    is_running = False

    def stop(number: int, _: FrameType | None) -> None:
        signals.append(number)  # an idle worker does not end: its slot may be about to send a cell
        if is_running:
            raise Interrupted("stopped", number)

    detach_from_terminal()
    signal.signal(signal.SIGTERM, stop)
    unblock_termination()
    while True:
        try:
            cell = connection.recv()
        except (EOFError, OSError):
            return
        reply: Outcome | Exception
        try:
            is_running = True
            if signals:
                raise Interrupted("stopped", signals[0])
            reply = execute(sweep_folder, cell, threads, max_age=max_age)
        except Interrupted:
            reply = Outcome(cell.key, "stopped")
        except Exception as error:
            reply = error if isinstance(error, ReviverError) else RuntimeError(one_line(error))
        finally:
            is_running = False
        try:
            connection.send(reply)
        except OSError:  # the parent has died
            return
        if isinstance(reply, Outcome) and reply.status == "stopped":
            return
