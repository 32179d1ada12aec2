"""Mutations that know a format: they change one field of a file and keep the rest valid."""

import gzip
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

from tests.fuzz.mutations import EXTREMES, mutated

Damage = Callable[[bytes, Random], bytes]
DEPTH = 100_000
"""Nesting that no parser can accept."""


def packed(layout: str, random: Random, *more: int) -> bytes:
    """Return an extreme integer in a layout of `struct`."""
    return struct.pack(layout, random.choice((*EXTREMES, *more)) % 256 ** struct.calcsize(layout))


# IDX, NumPy and ZIP


def idx(content: bytes, random: Random) -> bytes:
    """Change the magic number or a dimension."""
    field = random.randrange(1 + content[3])
    return content[: 4 * field] + packed(">I", random) + content[4 * field + 4 :]


def inside_gzip(damage: Damage) -> Damage:
    """Return a mutation of the uncompressed content, which is then compressed again."""
    return lambda content, random: gzip.compress(damage(gzip.decompress(content), random), mtime=0)


KINDS = ("|u1", "<f8", ">f4", "|O", "<U1000000000", "|V0", "|S0", "<M8[ns]", "<c16", "x", "", "|b1", "<i8", "<f2")
HEADERS = ("(" * 9000, "{}", "[1]", "'" * 3, "{'descr': " * 50, "9" * 9000, "-" * 9000 + "1")


def npy(content: bytes, random: Random) -> bytes:
    """Write another shape, dtype, order or text to the header, with the correct length."""
    (length,) = struct.unpack_from("<H", content, 8)
    header, data = content[10 : 10 + length].decode("latin1"), content[10 + length :]
    match random.randrange(5):
        case 0:
            sizes = [random.choice((*EXTREMES, -1, 3, 6)) for _ in range(random.choice((0, 1, 2, 3, 3, 4, 33, 65)))]
            header = re.sub(r"\(.*\)", f"({' '.join(f'{size},' for size in sizes)})", header)
        case 1:
            header = re.sub(r"'descr': '.*?'", f"'descr': {random.choice(KINDS)!r}", header)
        case 2:
            header = re.sub("True|False", random.choice(("True", "None", "3", "[]")), header)
        case 3:
            header = random.choice(HEADERS)
        case _:
            header = mutated(header.encode("latin1"), random).decode("latin1")
    text = header.encode("latin1")[: 2**16 - 1]
    return content[:8] + struct.pack("<H", len(text)) + text + data


NAMES = ("../x.npy", "/etc/x.npy", "C:\\x.npy", "x", "images.npy", "x.npy", "y.npy", "\0.npy", "ü" * 3000, "")
ZIP_FIELDS = (
    (b"PK\x01\x02", ((8, "<H"), (10, "<H"), (16, "<I"), (20, "<I"), (24, "<I"), (28, "<H"), (30, "<H"), (42, "<I"))),
    (b"PK\x05\x06", ((4, "<H"), (8, "<H"), (10, "<H"), (12, "<I"), (16, "<I"), (20, "<H"))),
)
"""Offsets and layouts of fields of an entry in the directory, and of the end record."""


def archive(content: bytes, random: Random) -> bytes:
    """Damage, rename, duplicate or recompress an array of an archive, or change its entry in the directory."""
    with zipfile.ZipFile(io.BytesIO(content)) as original:
        members = [(info.filename, original.read(info)) for info in original.infolist()]
    chosen = random.randrange(len(members))
    name, data = members[chosen]
    method = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    match random.randrange(6):
        case 0:
            members[chosen] = (name, npy(data, random))
        case 1:
            members[chosen] = (name, mutated(data, random))
        case 2:
            members[chosen] = (random.choice(NAMES), data)
        case 3:
            members.append((random.choice((name, *NAMES)), data))
        case 4:
            method = random.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
        case _:
            mark, fields = random.choice(ZIP_FIELDS)
            offset, layout = random.choice(fields)
            start = random.choice([found.start() for found in re.finditer(re.escape(mark), content)]) + offset
            return content[:start] + packed(layout, random) + content[start + struct.calcsize(layout) :]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as written:
        for name, data in members:
            written.writestr(zipfile.ZipInfo(name), data, method)
    return stream.getvalue()


# Images

CHUNKS = (b"zTXt", b"iCCP", b"iTXt", b"tRNS", b"PLTE", b"eXIf", b"acTL", b"fcTL", b"gAMA")


def png(content: bytes, random: Random) -> bytes:
    """Change, remove or add a chunk of a PNG, with correct checksums."""
    chunks, offset = [], 8
    while offset < len(content):
        (length,) = struct.unpack_from(">I", content, offset)
        chunks.append((content[offset + 4 : offset + 8], content[offset + 8 : offset + 8 + length]))
        offset += 12 + length
    index = random.randrange(len(chunks))
    kind, data = chunks[index]
    match random.randrange(6):
        case 0:
            sizes = packed(">I", random, 4000, 20_000) + packed(">I", random, 4000, 20_000)
            chunks[0] = (b"IHDR", sizes + chunks[0][1][8:])
        case 1:
            chunks[0] = (b"IHDR", chunks[0][1][:8] + random.randbytes(5))
        case 2 if kind == b"IDAT":
            chunks[index] = (kind, zlib.compress(mutated(zlib.decompress(data), random)))
        case 3:
            del chunks[index]
        case 4:
            text = random.choice((random.randbytes(30), b"x\0\0" + zlib.compress(bytes(10**6)), b""))
            chunks.insert(index, (random.choice(CHUNKS), text))
        case _:
            chunks[index] = (kind, mutated(data, random))
    parts = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return content[:8] + b"".join(parts)


def tiff(content: bytes, random: Random) -> bytes:
    """Change the tag, type, count or value of an entry in the directory of a TIFF."""
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    offset, layout = random.choice(((0, "<H"), (2, "<H"), (4, "<I"), (8, "<I"), (8, "<H")))
    entry = start + 2 + 12 * random.randrange(count) + offset
    value = packed(layout, random, 256, 257, 262, 273, 279, 322, 20_000)
    return content[:entry] + value + content[entry + len(value) :]


# JSON and TOML

VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 2, 3, 2**31, 2**53, 2**63 - 1, 2**63, 10**12, 10**30, 0.5, -0.5, 1e308, 5e-324),
    *("", "x", "x" * 1000, "\n", "\0", "\x1b[31m", "ü", "../../etc/passwd", "/etc/passwd", "5", "nan", "mnist"),
    *([], {}, [[]], [0], [1, 28, 28], {"": {}}, {"step": 1}, [None] * 1000, ["a", "b"], [0.5, 0.5]),
)


def json_value(content: bytes, random: Random) -> bytes:
    """Replace, remove, add or rename one value of a JSON object."""
    whole = json.loads(content)
    entries: list[tuple[Any, Any]] = []
    pending: list[Any] = [whole]
    while pending:
        parent = pending.pop()
        for key, child in list(parent.items() if isinstance(parent, dict) else enumerate(parent)):
            entries.append((parent, key))
            if isinstance(child, (dict, list)):
                pending.append(child)
    if not entries:
        return json.dumps(random.choice(VALUES)).encode()
    parent, key = random.choice(entries)
    match random.randrange(8):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[random.choice(("", "x", "../x", "\n" * 3, "k" * 2000, "__metadata__"))] = random.choice(VALUES)
        case 2 if isinstance(parent, dict):
            parent[random.choice([key, *parent])] = parent.pop(key)
        case _:
            parent[key] = random.choice(VALUES)
    return json.dumps(whole).encode()


def json_text(content: bytes, random: Random) -> bytes:
    """Nest a JSON text deeply, duplicate a key, or insert an invalid number."""
    text = content.decode()
    offset = random.choice([found.end() for found in re.finditer(r'":\s*', text)] or [0])
    before, after = text[:offset], text[offset:]
    match random.randrange(5):
        case 0:
            return (random.choice(("[", '{"a":')) * random.choice((50, 900, DEPTH)) + text).encode()
        case 1:
            nest = random.choice((15, 40, 900, 5000))
            return f'{before}{"[" * nest}{"]" * nest},"x": {after}'.encode()
        case 2:
            number = random.choice(("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "1" + "0" * 400, "-0", "1E5"))
            return f'{before}{number}, "x": {after}'.encode()
        case 3:
            name, start = random.choice(re.findall(r'"(\w+)":', text) or ["x"]), text.find("{") + 1
            return f'{text[:start]}"{name}": {json.dumps(random.choice(VALUES))}, {text[start:]}'.encode()
        case _:
            return random.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b" " * 10**6, b"\n")) + content


def json_lines(content: bytes, random: Random) -> bytes:
    """Damage one line of a file of JSON lines."""
    lines = content.split(b"\n")[:-1]
    chosen = random.randrange(len(lines))
    lines[chosen] = random.choice((json_value, json_text))(lines[chosen], random)
    return b"\n".join(lines) + random.choice((b"\n", b"\n", b"", b"\n{"))


TOML_VALUES = (
    *("[1, 2]", "{a = 1}", "{a.b = 1}", "[[1], ['x']]", "{}", "[]", "{a = {b = {}}}", "[{}, {}]", "{a = 1, a = 2}"),
    *("2020-01-01", "2020-13-45", "07:32:00", "2020-01-01T00:00:00Z", "1979-05-27 07:32:00.999999-07:00", "25:61:61"),
    *("0x1", "0b2", "0o8", "1_000", "1__0", "+1", "-0", "01", "1.", ".5", "1e999", "nan", "-inf", "+inf", "True", "no"),
    *('""', "''", '"""', "'''", '"\\u0000"', '"\\uD800"', '"\\x41"', '"\\U0010FFFF"', '"\\"', "'a\nb'", '"""\n\\\n  x"""'),
    *("9" * 5000, "1" + "0" * 400, "[" * 5000, "{a = " * 2000, "x" * 5000, '"' + "x" * 5000 + '"', "\t", "../../x", "#"),
)  # fmt: skip
TOML_LINES = ("---", "= 1", "a", "[", "]]", "[a", "[a.b]\n[a]", "x = ", *TOML_VALUES)


def toml(content: bytes, random: Random) -> bytes:
    """Change the value of a setting, duplicate a key, or add tables or an invalid line."""
    if content.startswith(b"{"):
        return random.choice((json_value, json_text))(content, random)
    lines = content.decode().splitlines()
    chosen = random.randrange(len(lines))
    name = lines[chosen].partition(" =")[0]
    match random.randrange(4):
        case 0:
            others = (lines[chosen], f"[{name}]", f"[[{name}]]", f"{name}.x = 1", f'"{name}" = 1')
            lines.insert(chosen, random.choice(others))
        case 1:
            dotted = "a." * random.choice((3, 900, 5000)) + "a"
            key = random.choice((dotted, '""', "'a b'", '"\\n"', "config", "ä", "-"))
            lines.insert(chosen, f"{key} = {random.choice(TOML_VALUES)}")
        case 2:
            lines.insert(chosen, random.choice(TOML_LINES))
        case _:
            lines[chosen] = f"{name} = {random.choice(TOML_VALUES)}"
    return ("\n".join(lines) + "\n").encode()


# Safetensors, Parquet and CSV

DTYPES = ("F32", "F64", "F16", "BF16", "I64", "I32", "U8", "BOOL", "F8_E4M3", "F4", "U64", "C64", "X", "", 3)


def safetensors(content: bytes, random: Random) -> bytes:
    """Change the entry of a tensor in the header, or the length of the header."""
    (length,) = struct.unpack_from("<Q", content)
    text, data = content[8 : 8 + length], content[8 + length :]
    entries = json.loads(text)
    names = [name for name in entries if name != "__metadata__"]
    entry = entries[random.choice(names)]
    shape = entry["shape"]
    match random.randrange(9):
        case 0:
            entry["data_offsets"] = list(entries[random.choice(names)]["data_offsets"])  # those of another tensor
        case 1:
            entry["data_offsets"][random.randrange(2)] = random.choice((*EXTREMES, -1, 0.5, "0", None))
        case 2:
            entry["shape"] = [random.choice((*EXTREMES, -1, 1, 2)) for _ in range(random.choice((0, 1, 2, 3, 40)))]
        case 3:
            entry["shape"] = random.choice((shape[::-1], [*shape, 1], [1, *shape], shape[1:]))
        case 4:
            entry["dtype"] = random.choice(DTYPES)
        case 5:
            entries["__metadata__"] = random.choice(VALUES)
        case 6:
            return struct.pack("<Q", random.choice((*EXTREMES, length - 1, length + 1))) + content[8:]
        case 7:
            changed = random.choice((json_value, json_text))(text, random)
            return struct.pack("<Q", len(changed)) + changed + data
        case _:
            entries[random.choice(names)] = entries.pop(random.choice(names))
    changed = json.dumps(entries).encode()
    return struct.pack("<Q", len(changed)) + changed + data


def any_checkpoint(content: bytes, random: Random) -> bytes:
    """Damage a file of a checkpoint according to its format."""
    return (random.choice((json_value, json_text)) if content[:1] == b"{" else safetensors)(content, random)


VARINTS = (
    b"\xff\xff\xff\xff\x0f",
    b"\xff" * 9 + b"\x01",
    b"\x80" * 9 + b"\x01",
    b"\0",
    b"\x02",
    b"\xfe\xff\xff\xff\x0f",
    b"\x80",
)


def parquet(content: bytes, random: Random) -> bytes:
    """Insert an extreme number into a page or into the footer, mostly with the correct length."""
    (length,) = struct.unpack("<I", content[-8:-4])
    pages, footer = bytearray(content[: -8 - length]), bytearray(content[-8 - length : -8])
    part = random.choice((pages, footer, footer))
    for _ in range(random.choice((1, 1, 2))):
        start = random.randrange(len(part))
        part[start : start + random.choice((0, 1, 1, 2, 5))] = random.choice(VARINTS)
    length = random.choice((len(footer), len(footer), len(footer), *EXTREMES)) % 2**32
    return bytes(pages) + bytes(footer) + struct.pack("<I", length) + b"PAR1"


CSV_VALUES = (
    *('"', '""', ",", "\r", "\n", '"\n', "\0", "\t", ";", "[", "]", "1_0", "1e999", "nan", "inf", "-", "0x1", "1 2 3"),
    *("1,2", "=1+1", "ü", "\ufeff", "1 " * 10_000, "," * 10_000, "\n" * 10_000, '"' * 10_001, "x" * 300, "９"),
    *("\u2028", "\x85", "\x1b[31m"),
)


def rows(content: bytes, random: Random) -> bytes:
    """Insert an odd text into a row, exchange its fields, or repeat or remove a row."""
    lines = content.decode().splitlines(keepends=True)
    chosen = random.randrange(len(lines))
    match random.randrange(5):
        case 0:
            del lines[chosen]
        case 1:
            lines.insert(chosen, random.choice(lines) * random.choice((1, 1, 300)))
        case 2:
            fields = lines[chosen].split(",")
            lines[chosen] = ",".join(random.sample(fields, len(fields)))
        case _:
            line, offset = lines[chosen], random.randint(0, len(lines[chosen]))
            lines[chosen] = line[:offset] + random.choice(CSV_VALUES) + line[offset:]
    return "".join(lines).encode()
