"""Claims: each cell of a sweep is run by one worker, also when workers on several machines share the sweep folder.

A claim is the file claim.json in the folder of the cell. Its worker renews the time of the file, the heartbeat. A claim is
stale if its heartbeat is too old, or if its process was on this machine and is gone. Claims are taken, taken over and
given up only while claim.lock is locked, so two workers that see the same stale claim cannot both take it.

A worker that was paused longer than the maximum age may have lost its claim. It notices that before it records an outcome,
because the claim has another token by then.
"""

import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from reviver.config import Count
from reviver.errors import RunFolderError
from reviver.io.atomic import write_json
from reviver.io.errors import explain_read_errors, explain_write_errors
from reviver.io.json import read_json
from reviver.runs.schema import validate
from reviver.validation import Record

CLAIM, LOCK = "claim.json", "claim.lock"
MAX_AGE = 60.0
"""Age of a heartbeat in seconds, from which a claim is stale."""
INTERVAL = 5.0
"""Seconds between two heartbeats."""
EXITING = 0x4
"""PF_EXITING of Linux: the process is being taken down."""
LOCK_TIMEOUT = 20.0
"""Seconds to wait for another worker that examines the same claim."""


class Holder(Record):
    """Content of claim.json: the worker that holds a claim."""

    token: str
    """Random text, different in each claim."""
    host: str
    """Name of the machine, for messages."""
    processes: str
    """Name of the space of process ids, which differs between machines, containers and boots."""
    pid: int
    """Id of the process."""
    attempt: Count
    """Number of the call, from 1: one more than in the stale claim that it replaces."""


class Claim:
    """A claim that this process holds; a context manager that renews it inside and gives it up at the end."""

    def __init__(self, folder: Path, holder: Holder, interval: float) -> None:
        self.holder = holder
        self._folder = folder
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.end()

    def end(self, record: Callable[[], None] = lambda: None) -> bool:
        """Call `record` and give up the claim, unless another worker has taken it over.

        Args:
            record: function that writes what this worker found out; no other worker holds the cell meanwhile.

        Returns:
            Whether this process held the claim still.
        """
        with locked(self._folder):
            if not self.is_held():
                return False
            record()
            (self._folder / CLAIM).unlink()
        return True

    def is_held(self) -> bool:
        """Return whether no other worker has taken over the claim."""
        holder = read_holder(self._folder)
        return holder is not None and holder.token == self.holder.token

    def _renew(self) -> None:
        # Without the lock: at worst this renews the claim of the worker that has just taken over.
        while not self._ended.wait(self._interval):
            with suppress(OSError, RunFolderError):  # such as a network file system that is away for a moment
                if not self.is_held():
                    return
                os.utime(self._folder / CLAIM)


def acquire(folder: Path, max_age: float = MAX_AGE, interval: float = INTERVAL) -> Claim | None:
    """Claim a cell.

    Args:
        folder: folder of the cell, which exists.
        max_age: age of a heartbeat in seconds, from which the claim of another worker is taken over.
        interval: seconds between two heartbeats of the new claim.

    Returns:
        The claim, or None if another worker holds one.

    Raises:
        RunFolderError: if the claim of another worker is damaged, or the folder cannot be written.
    """
    with locked(folder):
        found = read_holder(folder)
        if found is not None and not _is_stale(folder, found, max_age):
            return None
        holder = Holder(
            token=secrets.token_hex(8),
            host=socket.gethostname(),
            processes=_process_space(),
            pid=os.getpid(),
            attempt=1 if found is None else found.attempt + 1,
        )
        write_json(folder / CLAIM, holder.model_dump(), create_parent=False)
    return Claim(folder, holder, interval)


def find_holder(folder: Path, max_age: float = MAX_AGE) -> Holder | None:
    """Return the worker that runs the cell in `folder`, or None if there is none or its claim is stale."""
    if not (folder / CLAIM).exists():  # no lock for what a sweep asks most often
        return None
    with locked(folder):
        found = read_holder(folder)
        return None if found is None or _is_stale(folder, found, max_age) else found


def read_holder(folder: Path) -> Holder | None:
    """Return the content of the claim of a cell, or None if there is no claim.

    Raises:
        RunFolderError: if the claim is damaged.
    """
    path = folder / CLAIM
    try:
        with explain_read_errors(path):
            content = read_json(path)
    except RunFolderError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    validate(Holder, content, path)
    return Holder.model_validate(content)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the claim of a cell, which takes moments.

    Raises:
        RunFolderError: if the folder cannot be written, or another worker does not release the lock.
    """
    lock = FileLock(folder / LOCK, timeout=LOCK_TIMEOUT)
    with explain_write_errors(folder):
        try:
            lock.acquire()
        except Timeout as error:
            problem = f"another worker has locked it for {LOCK_TIMEOUT:.0f} s"
            raise RunFolderError(f"{folder / LOCK}: {problem}; continue or end that worker if it is paused") from error
    try:
        yield
    finally:
        lock.release()


def _is_stale(folder: Path, holder: Holder, max_age: float) -> bool:
    """Return whether the claim of `holder` may be taken over; the lock must be held.

    Both times are those of the file system, since the clocks of two machines may differ.
    """
    if holder.processes == _process_space() and not _is_running(holder.pid):
        return True
    os.utime(folder / LOCK)
    now = (folder / LOCK).stat().st_mtime
    with (folder / CLAIM).open("rb") as file:  # a network file system looks for the newest time when a file is opened
        return now - os.fstat(file.fileno()).st_mtime > max_age


def _is_running(pid: int) -> bool:
    """Return whether a process of this machine runs; True where the system does not tell."""
    if os.name != "posix":  # os.kill would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # a process of another user
        return True
    return not _is_exiting(pid)


def _is_exiting(pid: int) -> bool:
    """Return whether a process has died or is about to, although its parent has not asked for its exit status yet.

    Ray retries a cell as soon as it hears that the worker has gone, which may be earlier. Only Linux tells.
    """
    try:
        _, _, fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except OSError:
        return False
    state, _, _, _, _, _, flags, *_ = fields.split()  # proc_pid_stat(5), from its third field
    return state in "ZX" or int(flags) & EXITING != 0


@cache
def _process_space() -> str:
    """Return a name of the space in which a process id names one process."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)
