"""Engine of a sweep: Ray Core, on this machine or on a cluster (Moritz et al. 2018, https://arxiv.org/abs/1712.05889).

A cell is a Ray task that needs as many CPUs as it has threads. Ray keeps the workers for the next cell, so each imports
torch once, and retries the task of a worker that died; the run then goes on from what it saved. All machines of a cluster
need the sweep folder at the same path, and Reviver.
"""

import os
import signal
import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from reviver.errors import ConfigError, ReviverError
from reviver.sweep.cell import MAX_ATTEMPTS, Cell, Outcome
from reviver.sweep.claim import MAX_AGE
from reviver.sweep.execute import give_up
from reviver.sweep.remote import import_library, run_cell
from reviver.system import usable_cores
from reviver.text import one_line

CONNECT_SECONDS = 5.0
"""Seconds to wait for the answer of a cluster's head node. Ray itself would wait for minutes."""
OBJECT_STORE_BYTES = 80 << 20
"""Shared memory of a local Ray: cells and outcomes are small. Ray would take 30 % of the memory; it asks for at least 75 MB."""


class RayEngine:
    """Engine of a sweep that runs cells as tasks of Ray.

    Ray is started on this machine, or joined at `address`. If this process uses Ray already, that is used, and left as
    it is by `close`.

    Args:
        sweep_folder: folder of the sweep.
        jobs: number of cells that run at the same time; as many as there are CPUs for if None.
        threads: threads per cell; None is 1 on a cluster, and the cores divided by `jobs` on this machine.
        address: `host:port` of the head node of a cluster, or `auto` for the cluster that runs on this machine; None
            to start Ray on this machine.
        max_age: see `execute`.

    Attributes:
        slots: number of cells that run at the same time.

    Raises:
        ConfigError: if Ray is not installed, there is no cluster at `address`, or no machine of it has `threads` CPUs.
    """

    def __init__(
        self,
        sweep_folder: Path,
        jobs: int | None = None,
        threads: int | None = None,
        address: str | None = None,
        *,
        max_age: float = MAX_AGE,
    ) -> None:
        self._ray = import_ray()
        self._owns_ray = not self._ray.is_initialized()
        if address is None:
            jobs = jobs or usable_cores()
            threads = threads or max(1, usable_cores() // jobs)
        threads = threads or 1
        if self._owns_ray:
            _start(self._ray, address, num_cpus=threads * (jobs or 1))
        try:
            available = _count_slots(self._ray, address, threads)
        except ConfigError:
            self._shut_down()
            raise
        self.slots = jobs or available
        self._sweep_folder = sweep_folder
        self._arguments = (sweep_folder.absolute(), threads, max_age, Path.cwd())
        self._task = self._ray.remote(num_cpus=threads, max_retries=MAX_ATTEMPTS - 1)(run_cell)
        self._executor = ThreadPoolExecutor(self.slots, "sweep")  # each thread waits for one task
        self._lock = threading.Lock()
        self._running: set[Any] = set()
        self._is_stopping = False

    def submit(self, cell: Cell) -> Future[Outcome]:
        """Start a cell, or let it wait for a free slot."""
        return self._executor.submit(self._run, cell)

    def close(self, *, stop: bool) -> None:
        """Wait for all cells, or with `stop` let the running ones save and stop; then leave Ray."""
        with self._lock:
            self._is_stopping = stop
            running = list(self._running) if stop else []
        for reference in running:
            self._ray.cancel(reference)  # raises SIGINT in the main thread of its worker, where the training handles it
        self._executor.shutdown()  # cells that still wait for a slot end as stopped
        self._shut_down()

    def _shut_down(self) -> None:
        if self._owns_ray:
            self._ray.shutdown()

    def _run(self, cell: Cell) -> Outcome:
        """Run a cell as a task; again if somebody else has stopped it."""
        errors = self._ray.exceptions
        for _ in range(MAX_ATTEMPTS):
            with self._lock:
                if self._is_stopping:
                    break
                reference = self._task.remote(cell, *self._arguments)
                self._running.add(reference)
            try:
                outcome: Outcome = self._ray.get(reference)
            except errors.TaskCancelledError:  # before the task could handle the signal
                continue
            except errors.RayTaskError as error:
                cause = error.cause
                raise cause if isinstance(cause, ReviverError) else ReviverError(f"Ray: {one_line(cause)}") from error
            except (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError):
                break
            except errors.RayError as error:
                raise ReviverError(f"Ray: {one_line(error)}; what was saved is kept") from error
            finally:
                with self._lock:
                    self._running.discard(reference)
            if outcome.status != "stopped":
                return outcome
        if self._is_stopping:
            return Outcome(cell.key, "stopped")
        problem = f"its worker died {MAX_ATTEMPTS} times (killed, or out of memory)"
        return give_up(self._sweep_folder, cell, f"{problem}; use fewer --jobs, and --retry-failed")


def import_ray() -> Any:
    """Return the module `ray`, with its usage statistics off.

    Raises:
        ConfigError: if it is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read at the import and by the processes that Ray starts
    return import_library("ray", "ray")


def check_address(address: str) -> None:
    """Check that a gRPC server, such as the head node of Ray, answers at `address`.

    A gRPC server answers the preface of an HTTP/2 connection with a SETTINGS frame (RFC 9113, section 3.4).

    Raises:
        ConfigError: if it does not within `CONNECT_SECONDS`.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536 or "/" in host:
        raise ConfigError(
            f"address must be HOST:PORT of the head node of a Ray cluster, or auto, got {address!r}", "address"
        )
    answer = b""
    problem = "what answers there is not Ray"
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") == "1":
                return
            connection.settimeout(CONNECT_SECONDS)
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
            answer = connection.recv(9)  # the header of a frame: length (3 bytes), type, flags, stream (4 bytes)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name with an empty or overlong label
        problem = one_line(error)
    if answer[3:4] != b"\x04":
        raise ConfigError(
            f"address {address!r} has no Ray cluster ({problem}); see ray status on its head node", "address"
        )


def _start(ray: Any, address: str | None, num_cpus: int) -> None:
    """Start Ray on this machine, or join a cluster.

    Raises:
        ConfigError: if there is no cluster at `address`.
    """
    if address not in (None, "auto"):
        assert address is not None
        check_address(address)
    local = {"num_cpus": num_cpus, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            # Without an address Ray would join whatever cluster it finds.
            **({"address": "local", **local} if address is None else {"address": address}),
            log_to_driver=False,
            logging_level="error",
        )
    except (ConnectionError, RuntimeError, TimeoutError) as error:
        if address is None:
            raise ReviverError(f"Ray could not be started: {one_line(error)}") from error
        problem = f"address {address!r} has no Ray cluster ({one_line(error)}); start one with ray start --head"
        raise ConfigError(problem, "address") from error
    finally:
        if is_main and handler is not None:  # Ray's handler would end this process before the cells are saved
            signal.signal(signal.SIGTERM, handler)
    with suppress(AttributeError):  # no setting turns off what Ray prints to stdout about every worker that dies
        ray._private.worker._worker_logs_enabled = False


def _count_slots(ray: Any, address: str | None, threads: int) -> int:
    """Return how many cells of `threads` threads the machines of Ray can run at the same time.

    Raises:
        ConfigError: if no machine has so many CPUs; Ray would wait for one forever.
    """
    cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    slots = sum(count // threads for count in cpus)
    if slots == 0:
        place = "this machine" if address is None else f"a machine of the cluster at {address}"
        raise ConfigError(
            f"threads must be at most {max(cpus, default=0)}, the CPUs of {place}, got {threads}", "threads"
        )
    return slots
