"""What the tests of damaged and hostile files share."""

import json
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def edit_json(path: Path, **changes: Any) -> None:
    """Change values of a JSON file; objects such as `config` and `data` are merged."""
    record = json.loads(path.read_text())
    for name, value in changes.items():
        record[name] = record[name] | value if isinstance(record.get(name), dict) and isinstance(value, dict) else value
    path.write_text(json.dumps(record))


def npy_claiming(shape: str, content: bytes = b"") -> bytes:
    """Return an .npy of bytes that claims a shape."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


@contextmanager
def memory_limit(megabytes: int = 60) -> Iterator[None]:
    """Assert that Python and NumPy allocate less than that inside."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * 10**6
    finally:
        tracemalloc.stop()
