"""Mutations of files, determined by a random number generator: of any bytes, and of one field of a format.

The latter keep the rest of a file valid, so that the damage reaches what lies behind its lengths and its compression.
"""

import gzip
import json
import re
import struct
from collections.abc import Callable, Sequence
from random import Random

Damage = Callable[[bytes, Random], bytes]

EXTREMES = (
    *(0, 1, 127, 128, 255, 2**15, 2**16 - 1, 10**6),
    *(2**31 - 1, 2**31, 2**32 - 1, 10**12, 2**63 - 1, 2**63, 2**64 - 1),
)
"""Replacements for integers: limits of types and of memory."""
ENDS = 128
"""Bytes at both ends of a file, where most formats store their layout; they get more mutations."""
KINDS = ("bit", "bit", "integer", "integer", "bytes", "insert", "delete", "cut", "double", "digits", "splice")


def mutated(content: bytes, random: Random, others: Sequence[bytes] = ()) -> bytes:
    """Return `content` with one to six mutations; `others` are files to splice with."""
    result = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        start = random_offset(len(result), random)
        end = min(len(result), start + random.choice((1, 2, 4, 8, 30, 300)))
        match random.choice(KINDS):
            case "bit" if result:
                result[min(start, len(result) - 1)] ^= 1 << random.randrange(8)
            case "integer":
                integer = packed(random.choice("<>") + random.choice("BHIQ"), random)
                result[start : start + len(integer)] = integer
            case "bytes":
                result[start:end] = random.randbytes(end - start)
            case "insert":
                result[start:start] = random.randbytes(random.choice((1, 2, 4, 30)))
            case "delete":
                del result[start:end]
            case "cut":
                del result[start:]
            case "double":
                result[start:start] = result[start:end] * random.choice((1, 1, 2, 50))
            case "digits" if numbers := list(re.finditer(rb"\d+", result)):
                chosen = random.choice(numbers)
                number = random.choice((*map(str, EXTREMES), "-1", "1e999", "0.5", "9" * 5000))
                result[chosen.start() : chosen.end()] = number.encode()
            case "splice" if others:
                other = random.choice(others)
                result[start:] = other[random_offset(len(other), random) :]
    return bytes(result)


def random_offset(length: int, random: Random) -> int:
    """Return an offset in a file of `length` bytes."""
    near = min(length, ENDS)
    return random.choice((random.randint(0, length), random.randint(0, near), random.randint(length - near, length)))


def packed(layout: str, random: Random, *more: int) -> bytes:
    """Return an extreme integer in a layout of `struct`."""
    return struct.pack(layout, random.choice((*EXTREMES, *more)) % 256 ** struct.calcsize(layout))


# Text: JSON, TOML, CSV, and the headers of binary formats

TOKENS = (
    *("NaN", "nan", "Infinity", "-inf", "1e999", "-0", "5e-324", "0x1", "1_0", "1 2 3", "1,2", "2020-13-45", "25:61:61"),
    *("", " ", "\0", "\n", "\r", "\t", "\x1b[31m", "\ufeff", "\u2028", "ü", "９", "../../etc/passwd", "=1+1", "mnist"),
    *('"', '""', "'", "'''", '"""', '"\\ud800"', '"\\n"', ",", ":", ";", "}", "]", "[a", "= 1", "x = ", "---", "config"),
    *("[" * 5000, "[" * 100_000, '{"a":' * 900, '{"a":' * 100_000, "{a = " * 2000, "a." * 5000 + "a = 1\n"),
    *("9" * 5000, "1" + "0" * 400, "x" * 2000, "1 " * 10_000, "," * 10_000, "\n" * 10_000, " " * 10**6),
    *("[" * depth + "]" * depth for depth in (15, 40, 900)),
    *("{}", "{a = 1}", "[{}, {}]", "()", "(3,)", "(3,6,6)", "(6,6,3)", "True", "None", "[1]", "[2, 3]", "[-1]", "[true, 2]"),
    *map(repr, ("|u1", "<f8", ">f4", "|O", "<U1000000000", "|V0", "<M8[ns]", "<c16", "|b1", "<i8")),
    *map(json.dumps, (None, True, -1, 0.5, 10**30, 1e308, "5", [[]], {"": {}}, {"step": 1}, [None] * 1000, ["a", "b"])),
    *map(json.dumps, ("F64", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "F4", "X")),
    *map(str, EXTREMES),
)  # fmt: skip
"""Values, punctuation and names of every format of text, and what is too long or too deep."""


def tokens(*patterns: bytes) -> Damage:
    """Return a mutation that replaces, removes, doubles or precedes a token: by one of `TOKENS`, or by another token."""
    values = [value.encode() for value in TOKENS]

    def damage(content: bytes, random: Random) -> bytes:
        found = [match.span() for match in re.finditer(random.choice(patterns), content)] or [(0, len(content))]
        begin, end = random.choice(found)
        other = content[slice(*random.choice(found))]
        value = random.choice((*random.choices(values, k=3), other, other * random.choice((1, 300)), b""))
        return content[:begin] + value + content[random.choice((begin, end, end, end)) :]

    return damage


def after_length(layout: str, offset: int, damage: Damage) -> Damage:
    """Return a mutation of the text after its length, which is at an offset, and sometimes of the length."""

    def damage_text(content: bytes, random: Random) -> bytes:
        start = offset + struct.calcsize(layout)
        (length,) = struct.unpack_from(layout, content, offset)
        text = damage(content[start : start + length], random)
        size = struct.pack(layout, len(text) % 256 ** struct.calcsize(layout))
        size = packed(layout, random, length - 1, length + 1) if random.random() < 0.1 else size
        return content[:offset] + size + text + content[start + length :]

    return damage_text


json_text = tokens(
    *(
        rb'"[^"]*": ?[^][{},]*,?',
        rb'"(?:[^"\\]|\\.)*"',
        rb"[-\d.]+",
        rb'(?<=": )[^][{},]+',
        rb"\{[^{}]*\}",
        rb"\[[^][]*\]",
    )
)
safetensors = after_length(
    "<Q", 0, tokens(rb"\[[^][]*\]", rb'(?<=:)"\w+"', rb"\d+", rb'"[^"]*"(?=:\{)', rb'"[^"]*":\{[^{}]*\},?')
)
toml = tokens(rb"[^\n]*\n", rb"(?<== ).*", rb"\w+(?= =)")
csv_rows = tokens(rb"[^\n]*\n", rb"[^,\r\n]+", rb".")
npy = after_length("<H", 8, tokens(rb"\(.*?\)", rb"'[^' ]*'", rb"True|False", rb"\d+"))


# Binary formats


def idx(content: bytes, random: Random) -> bytes:
    """Change the magic number or a dimension."""
    offset = 4 * random.randrange(1 + content[3])
    return content[:offset] + packed(">I", random) + content[offset + 4 :]


def inside_gzip(damage: Damage) -> Damage:
    """Return a mutation of the uncompressed content, which is then compressed again."""
    return lambda content, random: gzip.compress(damage(gzip.decompress(content), random), mtime=0)
