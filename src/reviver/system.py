"""What differs between operating systems, in one place: cores, memory, threads, signals, flushing of folders."""

import errno
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

WITHOUT_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
"""Errors of file systems without locks, such as some of clusters."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def usable_cores() -> int:
    """Return the number of logical cores that this process may use."""
    if hasattr(os, "process_cpu_count"):  # since Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def limit_spinning() -> None:
    """Let a waiting OpenMP thread sleep soon, unless the user has chosen threads or their waiting. Before torch loads.

    By default a thread of libgomp spins 300 000 times before it sleeps. Beside other busy programs this makes updates of
    small networks 10 to 100 times slower, since the thread that they wait for has no core.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "4000"


def memory_gb() -> float | None:
    """Return the main memory in GiB, or None where the system does not tell."""
    try:
        return float(round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1))
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None


@contextmanager
def handling_signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Call `handler` at SIGINT and SIGTERM inside; outside the main thread, change nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, handler) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, previous_handler in previous.items():
            signal.signal(number, previous_handler)


@contextmanager
def locking(path: Path, timeout: float = 0.0) -> Iterator[None]:
    """Hold the lock file `path`; the system releases it if the process dies. Wait for `timeout` seconds, forever if negative.

    A file system without locks gets a second file instead, with the process that holds it. If another process holds it, that is
    `filelock.Timeout`.
    """
    import filelock

    lock: filelock.BaseFileLock = filelock.FileLock(path)
    with warnings.catch_warnings(action="ignore"):  # filelock does the same for one of these errors, and warns
        try:
            lock.acquire(timeout)
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            lock = filelock.SoftFileLock(f"{path}.soft")
            lock.acquire(timeout)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def blocking_interrupt() -> Iterator[None]:
    """Keep Ctrl-C from processes that start inside. On Windows, which cannot block signals, change nothing."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def sync(path: Path) -> None:
    """Flush the content of a file, or the names in a folder, to disk."""
    is_posix = hasattr(os, "O_DIRECTORY")
    if path.is_dir() and not is_posix:  # Windows does not open folders
        return
    descriptor = os.open(path, os.O_RDONLY if is_posix else os.O_RDWR)  # Windows flushes only what is open for writing
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
