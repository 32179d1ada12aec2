"""Child process of `reviver.files.parquet`: it reads a Parquet file from stdin with pyarrow and writes frames to stdout.

It imports nothing of Reviver, so that it starts fast. A frame is DATA or ERROR, a number of bytes (8 bytes,
little-endian) and the bytes:

    the columns as JSON
    of each batch, for a column of lists:              counts int64 [n], numbers float32
                   for a column of text or integers:   codes int64 [n], lengths int64 [k], k different texts as UTF-8
    an empty frame at the end

    python -P parquet_child.py MEMORY_BYTES COLUMN...
"""

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

DATA, ERROR = b"d", b"e"
MAX_BATCH_ROWS = 4096
BATCH_BYTES = 1 << 25
"""Approximate number of bytes of a batch."""


def limit_memory(num_bytes: int) -> None:
    """Limit the memory that this process may allocate from now on, where the operating system can do that."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    with suppress(ImportError, OSError, ValueError):
        import resource

        num_bytes += int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (num_bytes, num_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def send(content: bytes, kind: bytes = DATA) -> None:
    """Write a frame."""
    sys.stdout.buffer.write(kind + len(content).to_bytes(8, "little") + content)


def find_kind(kind: Any) -> str:
    """Return `text`, `lists` or `integers`, or an empty text for a column of another type."""
    value = kind.value_type if types.is_dictionary(kind) else kind
    if types.is_string(value) or types.is_large_string(value) or types.is_string_view(value):
        return "text"
    if types.is_integer(kind) or types.is_null(kind):
        return "integers"
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return "lists" if is_list and (types.is_integer(kind.value_type) or types.is_floating(kind.value_type)) else ""


def send_lists(column: Any) -> None:
    """Write a column of lists of numbers; a null list is empty, a null number becomes NaN."""
    lists = column.cast(pa.large_list(pa.float64()), safe=False)
    send((np.diff(lists.offsets.to_numpy()) * ~lists.is_null().to_numpy(zero_copy_only=False)).astype("<i8").tobytes())
    with np.errstate(all="ignore"):  # overflow becomes inf, which the parent reports
        send(lists.flatten().to_numpy(zero_copy_only=False).astype("<f4").tobytes())


def send_texts(column: Any) -> None:
    """Write a column of text or integers, each different value once; a null is an empty text."""
    if not types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    used, codes = np.unique(column.indices.fill_null(-1).to_numpy(), return_inverse=True)
    texts = [("" if code < 0 else column.dictionary[code].as_py() or "").encode() for code in used.tolist()]
    send(codes.astype("<i8").tobytes())
    send(np.array([len(text) for text in texts], "<i8").tobytes())
    send(b"".join(texts))


def read(file: BinaryIO, columns: Sequence[str]) -> None:
    """Write the frames of the columns of a file."""
    with pq.ParquetFile(file) as parquet:
        schema, metadata = parquet.schema_arrow, parquet.metadata
        known = {name: schema.field(name).type for name in columns if schema.names.count(name) == 1}
        kinds = {name: (find_kind(kind), str(kind)[:200]) for name, kind in known.items()}
        send(json.dumps({"rows": metadata.num_rows, "names": schema.names, "kinds": kinds}).encode())
        size = 0
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            for leaf in map(group.column, range(group.num_columns)):
                if leaf.path_in_schema.split(".")[0] in columns:
                    size += max(leaf.total_uncompressed_size, 8 * leaf.num_values)
    batch_rows = max(1, min(MAX_BATCH_ROWS, BATCH_BYTES * metadata.num_rows // max(size, 1)))
    if len(known) < len(columns) or not all(kind for kind, _ in kinds.values()):
        return
    # As a dictionary, a repeated text takes as little memory as it takes space in the file.
    texts = [name for name in columns if kinds[name][0] == "text"]
    with pq.ParquetFile(file, read_dictionary=texts) as parquet:
        for batch in parquet.iter_batches(batch_rows, columns=list(columns), use_threads=False):
            for name in columns if len(batch) else ():
                (send_lists if kinds[name][0] == "lists" else send_texts)(batch.column(name))
    send(b"")


if __name__ == "__main__":
    limit_memory(int(sys.argv[1]))
    try:
        read(sys.stdin.buffer, sys.argv[2:])
    except MemoryError:
        send(f"it needs more than {int(sys.argv[1]) >> 20} MiB of memory".encode(), ERROR)
    except BaseException as error:  # pyarrow raises errors of many types for a damaged file
        send((str(error)[:1000] or type(error).__name__).encode("utf-8", "replace"), ERROR)
    sys.stdout.flush()
