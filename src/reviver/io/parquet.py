"""Sizes of the pages of an untrusted Parquet file, read before pyarrow reads the file.

    PAR1        four bytes
    pages       of each column of each row group, one after the other: a header, then values, mostly compressed
    footer      metadata, with the position of the pages of each column
    8 bytes     length of the footer, PAR1

pyarrow allocates as much memory for a page as the page's header asks for, whatever the footer says. And some footers,
whose size statistics contradict each other, make pyarrow abort the process as soon as it describes a column, so that
Python cannot catch the error. Footer and page headers are therefore parsed here. Both are structs in Thrift's compact
protocol (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md); their fields are numbered
as in https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

import struct
from collections.abc import Container, Iterator
from contextlib import suppress
from typing import Any, BinaryIO, NamedTuple

MAX_FOOTER_BYTES = 1 << 22
MAX_PAGES = 100_000
"""Maximum number of pages of all columns that are read."""
MAX_DEPTH = 20
"""Maximum nesting of structs and lists."""
PAGE_HEADER_BYTES = (1 << 12, 1 << 20)
"""Bytes to read for a page header: first the fewer, then the more if the header is longer."""

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
"""Types of the compact protocol."""
INTEGER_BITS = {I16: 16, I32: 32, I64: 64}
DATA_PAGE, INDEX_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = range(4)
"""Types of a page."""

Fields = dict[int, tuple[int, Any]]
"""A struct: type and value of each field by its number."""


class PageSizes(NamedTuple):
    """Totals over the pages of some columns."""

    uncompressed_bytes: int
    num_values: int
    """Number of values, with the missing ones."""


def read_page_sizes(file: BinaryIO, columns: Container[int]) -> PageSizes:
    """Return the total size of the pages of `columns`, which are indices of leaves of the schema.

    Raises:
        ValueError: if the file is damaged.
    """
    file_size = file.seek(0, 2)
    uncompressed_bytes = num_values = pages = 0
    for chunk in _column_chunks(_read_footer(file, file_size), columns):
        values_left, offset = _field(chunk, 5, I64), _field(chunk, 9, I64)
        if 11 in chunk and 0 < _field(chunk, 11, I64) < offset:  # the page of the dictionary comes first
            offset = _field(chunk, 11, I64)
        while values_left > 0:
            if not 0 <= offset < file_size:
                raise ValueError(f"a page begins at byte {offset} of {file_size}")
            page, header_size = _read_page_header(file, offset)
            page_type, page_bytes, compressed_bytes = (_field(page, number, I32) for number in (1, 2, 3))
            if min(page_bytes, compressed_bytes) < 0:
                raise ValueError("the size of a page is negative")
            if page_type == DICTIONARY_PAGE and _value_count(page, 7) > page_bytes:
                raise ValueError("a dictionary claims more values than it has bytes")
            if page_type in (DATA_PAGE, DATA_PAGE_V2):
                count = _value_count(page, 5 if page_type == DATA_PAGE else 8)
                if not 0 <= count <= values_left:
                    raise ValueError(f"a page claims {count} values where the column has {values_left} more")
                values_left -= count
                num_values += count
            uncompressed_bytes += page_bytes
            offset += header_size + compressed_bytes
            pages += 1
            if pages > MAX_PAGES:
                raise ValueError(f"it has more than {MAX_PAGES} pages")
    return PageSizes(uncompressed_bytes, num_values)


def _read_footer(file: BinaryIO, file_size: int) -> Fields:
    file.seek(max(0, file_size - 8))
    end = file.read(8)
    if len(end) < 8 or end[4:] != b"PAR1":
        raise ValueError("it does not end as a Parquet file does")
    (length,) = struct.unpack("<I", end[:4])
    if length > min(MAX_FOOTER_BYTES, file_size - 8):
        raise ValueError(f"its footer claims a length of {length} bytes")
    file.seek(file_size - 8 - length)
    return CompactReader(file.read(length)).read_struct()


def _column_chunks(footer: Fields, columns: Container[int]) -> Iterator[Fields]:
    """Yield the metadata of each column of `columns` in each row group."""
    for row_group in _structs(footer, 4):
        for index, chunk in enumerate(_structs(row_group, 1)):
            if index in columns:
                if 1 in chunk:
                    raise ValueError("a column is stored in another file")
                yield _field(chunk, 3, STRUCT)


def _read_page_header(file: BinaryIO, offset: int) -> tuple[Fields, int]:
    """Return the page header that begins at `offset`, and its length in bytes."""
    for length in PAGE_HEADER_BYTES:
        file.seek(offset)
        reader = CompactReader(file.read(length))
        with suppress(_TruncatedError):
            return reader.read_struct(), reader.position
    raise _TruncatedError("it is truncated")


def _value_count(page: Fields, number: int) -> int:
    """Return the number of values in a page; field `number` is the part of the header for its type."""
    return int(_field(_field(page, number, STRUCT), 1, I32))


def _field(fields: Fields, number: int, expected: int) -> Any:
    """Return a required field. A field of another type counts as missing, since pyarrow would ignore it."""
    found, value = fields.get(number, (0, None))
    if found != expected:
        raise ValueError(f"field {number} of its metadata is missing or of another type")
    return value


def _structs(fields: Fields, number: int) -> list[Fields]:
    """Return a required field that is a list of structs."""
    item_type, values = _field(fields, number, LIST)
    if values and item_type != STRUCT:
        raise ValueError("an entry of its metadata is of another type")
    return values  # type: ignore[no-any-return]


class _TruncatedError(ValueError):
    """The bytes end before the value that they encode."""


class CompactReader:
    """Parser of Thrift's compact protocol.

    Attributes:
        content: the bytes.
        position: index of the next byte.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.position = 0

    def read_struct(self, depth: int = 0) -> Fields:
        """Return the fields of a struct, which ends with a zero byte.

        Each field begins with a byte: the difference of its number from the previous one (0 if the number follows),
        and its type.

        Raises:
            ValueError: if the bytes are damaged or end too early.
        """
        fields: Fields = {}
        number = 0
        while first := self._byte():
            difference, kind = first >> 4, first & 15
            number = number + difference if difference else self._integer(16)
            if number in fields:
                raise ValueError("its metadata has a field twice")
            fields[number] = (kind, kind == TRUE if kind in (TRUE, FALSE) else self._value(kind, depth))
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError(f"it is deeper than {MAX_DEPTH} levels")
        if kind in INTEGER_BITS:
            return self._integer(INTEGER_BITS[kind])
        if kind in (BINARY, DOUBLE):
            return self._bytes(8 if kind == DOUBLE else self._varint())
        if kind == STRUCT:
            return self.read_struct(depth + 1)
        if kind in (LIST, SET):
            return self._list(depth + 1)
        if kind in (TRUE, FALSE, BYTE):
            return self._byte()
        raise ValueError("its metadata has a value of an unknown type")  # or a map, which Parquet does not use

    def _list(self, depth: int) -> tuple[int, list[Any]]:
        """Return the type of the items, and the items."""
        first = self._byte()
        count, kind = first >> 4, first & 15
        if count == 15:
            count = self._varint()
        if count > len(self.content) - self.position:  # each item has at least a byte
            raise _TruncatedError("it is truncated")
        return kind, [self._value(kind, depth) for _ in range(count)]

    def _integer(self, bits: int) -> int:
        """Return a signed integer in zigzag encoding: the last bit is its sign."""
        encoded = self._varint()
        if encoded >> bits:
            raise ValueError(f"its metadata has an integer of more than {bits} bits")
        return (encoded >> 1) ^ -(encoded & 1)

    def _varint(self) -> int:
        """Return an unsigned integer: seven bits per byte, the lowest first; the eighth is set if more bytes follow."""
        result = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            result |= (byte & 127) << shift
            if byte < 128:
                return result
        raise ValueError("its metadata has an integer of more than 64 bits")

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _bytes(self, count: int) -> bytes:
        found = self.content[self.position : self.position + count]
        if len(found) < count:
            raise _TruncatedError("it is truncated")
        self.position += count
        return found
