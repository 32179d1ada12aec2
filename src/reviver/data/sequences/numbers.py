"""Parsing of a text with numbers, such as a field of a CSV file."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from reviver.text import short_repr

CHUNK_CHARACTERS = 1 << 16
"""Number of characters of a long text that are split at a time."""


def parse_numbers(text: str) -> NDArray[np.float64]:
    """Return the numbers of a text that are separated by commas or, without commas, by whitespace.

    Raises:
        ValueError: if a part is not a number, or empty. The message names the part and its step, counted from 1.
    """
    try:
        if "_" in text:  # which float() would ignore
            raise ValueError
        return np.fromiter(map(float, split_parts(text)), np.float64)
    except ValueError as error:
        raise ValueError(_describe_first_error(text)) from error


def split_parts(text: str) -> Iterable[str]:
    """Return the parts of a text between commas or, without commas, between whitespace."""
    return chain.from_iterable(_split_chunks(text, "," if "," in text else None))


def _split_chunks(text: str, separator: str | None) -> Iterator[list[str]]:
    """Split a long text chunk by chunk, because a list of all parts takes fifty times the memory of the text."""
    ends = re.compile(separator or r"\s")
    start = 0
    while found := ends.search(text, start + CHUNK_CHARACTERS):
        yield text[start : found.start()].split(separator)
        start = found.end()
    yield text[start:].split(separator)


def _describe_first_error(text: str) -> str:
    for step, part in enumerate(split_parts(text), 1):
        if not part.strip():
            return f"there is nothing at step {step}, between two commas"
        with suppress(ValueError):
            if "_" not in part:
                float(part)
                continue
        return f"{short_repr(part.strip())} at step {step} is no number"
    return "the numbers cannot be read"
