"""What the pages of a Parquet file that is not trusted take, before pyarrow reads them.

    PAR1        four bytes
    pages       for each column of each group of rows one after the other: a header, then numbers or text, mostly packed
    footer      where the pages of each column begin
    8 bytes     the length of the footer, PAR1

pyarrow unpacks a page into as much memory as the page's header asks for, whatever the footer says. Some footers end the
whole process as soon as a column's description is asked for: its size statistics contradict each other, and Python never
sees the error. Footer and headers are therefore read here, by Thrift's compact protocol, in which they are written.
"""

import struct
from collections.abc import Container, Iterator
from contextlib import suppress
from typing import Any, BinaryIO, NamedTuple

MAX_FOOTER = 1 << 22
MAX_PAGES = 100_000
"""Of all columns that are read."""
MAX_DEPTH = 20
HEADER_ROOMS = (1 << 12, 1 << 20)
"""Bytes that the header of a page may have: it is looked for in so many, then in more."""

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
WIDTHS = {I16: 16, I32: 32, I64: 64}
DATA, INDEX, DICTIONARY, DATA_2 = range(4)
"""Kinds of page."""

Fields = dict[int, tuple[int, Any]]
"""A Thrift struct: kind and value of each field."""


class Sizes(NamedTuple):
    """What columns take."""

    unpacked: int
    """Bytes of all pages."""
    numbers: int
    """Values, missing ones among them."""


def read_sizes(file: BinaryIO, columns: Container[int]) -> Sizes:
    """Add up the pages of some columns, given by their places among the leaves of the schema.

    Raises:
        ValueError: if the file is damaged.
    """
    size = file.seek(0, 2)
    unpacked = numbers = pages = 0
    for chunk in _chunks(_read_footer(file, size), columns):
        left, place = _field(chunk, 5, I64), _field(chunk, 9, I64)
        if 11 in chunk and 0 < _field(chunk, 11, I64) < place:
            place = _field(chunk, 11, I64)
        while left > 0:
            if not 0 <= place < size:
                raise ValueError(f"a page begins at byte {place} of {size}")
            page, length = _read_page_header(file, place)
            kind, takes, packed = (_field(page, field, I32) for field in (1, 2, 3))
            if min(takes, packed) < 0:
                raise ValueError("the size of a page is negative")
            if kind == DICTIONARY and _count(page, 7) > takes:
                raise ValueError("a dictionary claims more values than it has bytes")
            if kind in (DATA, DATA_2):
                count = _count(page, 5 if kind == DATA else 8)
                if not 0 <= count <= left:
                    raise ValueError(f"a page claims {count} values where the column has {left} more")
                left -= count
                numbers += count
            unpacked += takes
            place += length + packed
            pages += 1
            if pages > MAX_PAGES:
                raise ValueError(f"it has more than {MAX_PAGES} pages")
    return Sizes(unpacked, numbers)


def _read_footer(file: BinaryIO, size: int) -> Fields:
    file.seek(max(0, size - 8))
    end = file.read(8)
    if len(end) < 8 or end[4:] != b"PAR1":
        raise ValueError("it does not end as a Parquet file does")
    (length,) = struct.unpack("<I", end[:4])
    if length > min(MAX_FOOTER, size - 8):
        raise ValueError(f"its description claims a length of {length} bytes")
    file.seek(size - 8 - length)
    return _Compact(file.read(length)).read_struct()


def _chunks(footer: Fields, columns: Container[int]) -> Iterator[Fields]:
    """The description of the pages of each wanted column in each group of rows."""
    for group in _structs(footer, 4):
        for place, chunk in enumerate(_structs(group, 1)):
            if place in columns:
                if 1 in chunk:
                    raise ValueError("a column lies in another file")
                yield _field(chunk, 3, STRUCT)


def _read_page_header(file: BinaryIO, place: int) -> tuple[Fields, int]:
    """The header that begins at `place`, and its length."""
    for room in HEADER_ROOMS:
        file.seek(place)
        reader = _Compact(file.read(room))
        with suppress(_CutOffError):
            return reader.read_struct(), reader.place
    raise _CutOffError("it is cut off")


def _count(page: Fields, field: int) -> int:
    return int(_field(_field(page, field, STRUCT), 1, I32))


def _field(fields: Fields, number: int, kind: int) -> Any:
    """A field that must be there. One of another kind is none: pyarrow would pass over it."""
    found, value = fields.get(number, (0, None))
    if found != kind:
        raise ValueError(f"field {number} of its description is missing or of another kind")
    return value


def _structs(fields: Fields, number: int) -> list[Fields]:
    kind, values = _field(fields, number, LIST)
    if values and kind != STRUCT:
        raise ValueError("an entry of its description is of another kind")
    return values  # type: ignore[no-any-return]


class _CutOffError(ValueError):
    """The bytes end before what they describe."""


class _Compact:
    """Reads Thrift's compact protocol; `place` is the next byte."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.place = 0

    def read_struct(self, depth: int = 0) -> Fields:
        """Fields up to the byte 0. Each begins with a byte: how much its number is larger than the last one's, and its kind."""
        fields: Fields = {}
        number = 0
        while first := self._byte():
            step, kind = first >> 4, first & 15
            number = number + step if step else self._whole(16)
            if number in fields:
                raise ValueError("its description has a field twice")
            fields[number] = (kind, kind == TRUE if kind in (TRUE, FALSE) else self._value(kind, depth))
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError(f"it is deeper than {MAX_DEPTH} levels")
        if kind in WIDTHS:
            return self._whole(WIDTHS[kind])
        if kind in (BINARY, DOUBLE):
            return self._take(8 if kind == DOUBLE else self._varint())
        if kind == STRUCT:
            return self.read_struct(depth + 1)
        if kind in (LIST, SET):
            return self._list(depth + 1)
        if kind in (TRUE, FALSE, BYTE):
            return self._byte()
        raise ValueError("its description has a value of an unknown kind")  # or a map, which no Parquet file has

    def _list(self, depth: int) -> tuple[int, list[Any]]:
        """The kind of all values, and the values."""
        first = self._byte()
        count, kind = first >> 4, first & 15
        if count == 15:
            count = self._varint()
        if count > len(self.content) - self.place:  # each takes a byte at least
            raise _CutOffError("it is cut off")
        return kind, [self._value(kind, depth) for _ in range(count)]

    def _whole(self, bits: int) -> int:
        """A number whose last bit is its sign."""
        coded = self._varint()
        if coded >> bits:
            raise ValueError(f"its description has a number of more than {bits} bits")
        return (coded >> 1) ^ -(coded & 1)

    def _varint(self) -> int:
        """Seven bits a byte, the lowest first; the eighth says that more follow."""
        result = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            result |= (byte & 127) << shift
            if byte < 128:
                return result
        raise ValueError("its description has a number of more than 64 bits")

    def _byte(self) -> int:
        return self._take(1)[0]

    def _take(self, count: int) -> bytes:
        taken = self.content[self.place : self.place + count]
        if len(taken) < count:
            raise _CutOffError("it is cut off")
        self.place += count
        return taken
