"""Parts of a model card: YAML front matter, tables and code in Markdown, safe for text from strangers."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

PLACEHOLDER = "user/name"
"""Stands in the code of a card for the folder or the repository of the model."""
INSTALL = (
    f"The code needs Reviver, the distribution `reviver-nn`; in a clone of it, `pip install .` installs it. Replace "
    f"`{PLACEHOLDER}` by the folder or the repository of this model."
)


def front_matter(values: Mapping[str, Any]) -> str:
    """Return the YAML block at the top of a card; values that are None are omitted.

    Each value is written as JSON, which is YAML, too.
    """
    lines = (f"{key}: {json.dumps(value)}" for key, value in values.items() if value is not None)
    return "\n".join(["---", *lines, "---"])


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def code_block(text: str, language: str = "") -> str:
    """Return a fenced block; the fence is longer than any in the text."""
    fence = _fence(text, 3)
    return f"{fence}{language}\n{text}\n{fence}"


def inline_code(text: str) -> str:
    """Return text of others as code within a line; the fence is longer than any in the text."""
    fence, space = _fence(text, 1), " " if "`" in text else ""
    return f"{fence}{space}{' '.join(text.split())}{space}{fence}"


def _fence(text: str, least: int) -> str:
    return "`" * max(least, 1 + max((len(run) for run in re.findall("`+", text)), default=0))


def escape(text: str) -> str:
    """Return text of others as Markdown that shows it literally, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|!~&$])", r"\\\1", " ".join(text.split()))


def join_sections(*sections: str) -> str:
    """Return sections with an empty line between, without those that are empty."""
    return "\n\n".join(filter(None, sections)) + "\n"


def _cell(text: str) -> str:
    """Return text on one line, without a bar that would end the cell."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))
