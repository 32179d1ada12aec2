"""Columns of an untrusted Parquet file, read by pyarrow in a child process with a memory limit.

pyarrow allocates as much memory for a page as the page's header asks for, and some damaged footers make it abort its
process. Whatever the child does, the caller gets the content of the columns or an error.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from pathlib import Path

from reviver.files.read import open_file

CHILD = Path(__file__).with_name("parquet_child.py")
ERROR = b"e"
ALLOCATORS = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}
"""Settings of the child: allocators that do not reserve more memory than they use."""
MEMORY_BYTES = 1 << 30
"""Memory that the child may allocate regardless of the size of the file: 1 GiB."""
MEMORY_RATIO = 32
"""Memory that the child may allocate beyond `MEMORY_BYTES`, per byte of the file."""
MAX_FRAME_BYTES = 4 << 30
"""Maximum size of what the child sends at a time."""
MAX_SECONDS = 60.0
"""Time that the child has to send something."""


def read_frames(path: Path, columns: Sequence[str]) -> Generator[bytes]:
    """Yield what the child sends about columns of a file, see `parquet_child`; close the iterator to end the child.

    Raises:
        OSError: if it is not a regular file.
        ValueError: if the file is damaged, or the child fails or exceeds a limit.
    """
    with open_file(path) as file:
        memory = MEMORY_BYTES + MEMORY_RATIO * file.seek(0, 2)
        file.seek(0)
        command = [sys.executable, "-P", str(CHILD), str(memory), *columns]
        with subprocess.Popen(  # noqa: S603
            command, env=os.environ | ALLOCATORS, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as child:
            try:
                while True:
                    header = _receive(child, 9)
                    length = int.from_bytes(header[1:], "little")
                    if length > MAX_FRAME_BYTES:
                        raise ValueError(f"a part of it has more than {MAX_FRAME_BYTES} bytes")
                    content = _receive(child, length)
                    if header[:1] == ERROR:
                        raise ValueError(content.decode("utf-8", "replace"))
                    yield content
            finally:
                child.kill()


def _receive(child: subprocess.Popen[bytes], count: int) -> bytes:
    """Return the next `count` bytes of the output of a child."""
    assert child.stdout is not None
    is_late = threading.Event()

    def stop() -> None:
        is_late.set()
        child.kill()

    timer = threading.Timer(MAX_SECONDS, stop)
    timer.start()
    try:
        content = child.stdout.read(count)
    finally:
        timer.cancel()
    if len(content) == count:
        return content
    if is_late.is_set():
        raise ValueError(f"reading takes more than {MAX_SECONDS:g} s")
    status = child.wait()
    raise ValueError(f"pyarrow ended by signal {-status}" if status < 0 else f"pyarrow ended with status {status}")
