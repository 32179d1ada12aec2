"""Mutations of files of any format, determined by a random number generator."""

import re
import struct
from collections.abc import Sequence
from random import Random

EXTREMES = (
    *(0, 1, 127, 128, 255, 2**15, 2**16 - 1, 10**6),
    *(2**31 - 1, 2**31, 2**32 - 1, 10**12, 2**63 - 1, 2**63, 2**64 - 1),
)
"""Replacements for integers: limits of types and of memory."""
ENDS = 128
"""Bytes at both ends of a file, where most formats store their layout; they get more mutations."""
KINDS = ("bit", "bit", "integer", "integer", "bytes", "insert", "delete", "cut", "double", "digits", "splice", "token")


def mutated(content: bytes, random: Random, others: Sequence[bytes] = (), tokens: Sequence[bytes] = ()) -> bytes:
    """Return `content` with one to six mutations; `others` are files to splice with, `tokens` texts to insert."""
    result = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        start = random_offset(len(result), random)
        end = min(len(result), start + random.choice((1, 2, 4, 8, 30, 300)))
        match random.choice(KINDS):
            case "bit" if result:
                result[min(start, len(result) - 1)] ^= 1 << random.randrange(8)
            case "integer":
                size = random.choice("BHIQ")
                number = random.choice(EXTREMES) % (1 << 8 * struct.calcsize(size))
                integer = struct.pack(random.choice("<>") + size, number)
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
            case "token" if tokens:
                result[start : random.choice((start, end))] = random.choice(tokens)
    return bytes(result)


def random_offset(length: int, random: Random) -> int:
    """Return an offset in a file of `length` bytes."""
    near = min(length, ENDS)
    return random.choice((random.randint(0, length), random.randint(0, near), random.randint(length - near, length)))
