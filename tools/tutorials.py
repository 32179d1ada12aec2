"""Run the code of the tutorials and write what it prints and plots into them: `python -m tools.tutorials`.

A block of output directly below a block of Python is what that block prints. Figures that the code saves go to
docs/pictures/tutorials/. The tests run the same code.
"""

import contextlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).parents[1] / "docs"
TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))
SOLUTIONS = {page: DOCS / "teach" / f"solutions-{page.stem}.md" for page in TUTORIALS}
"""The solutions of the exercises of each tutorial, whose code continues that of the tutorial."""
PICTURES = DOCS / "pictures" / "tutorials"

FENCE = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    """The word behind the fence, empty if there is none."""
    code: str
    """The lines between the fences."""
    line: int
    """Line of the page on which the code begins, from 1."""
    span: tuple[int, int]
    """Begin and end of the code in the text of the page."""


class Outcome(NamedTuple):
    """What running a page gave."""

    names: dict[str, Any]
    """Global names after the last block."""
    text: str
    """The page with the output that the code printed."""


def find_blocks(text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a Markdown page, in order."""
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        yield Block(match["language"], match["code"], line, match.span("code"))


def run_page(
    page: Path, folder: Path, *, skip: Collection[str] = (), names: Mapping[str, Any] | None = None
) -> Outcome:
    """Run the blocks of Python of a page, one after the other in one namespace.

    Args:
        page: Markdown file.
        folder: working directory of the code, where its figures go.
        skip: texts; a block that has one of them is left out.
        names: names that the code may use, such as those of the page that it continues.

    Returns:
        The names that the code defined, and the page with its output filled in.

    Raises:
        Exception: whatever the code raises; the traceback names the page and the line.
    """
    import matplotlib as mpl
    import matplotlib.pyplot as plt
    import torch

    mpl.use("Agg")
    text = page.read_text(encoding="utf-8")
    known: dict[str, Any] = {"__name__": "__tutorial__", **(names or {})}
    parts, end, printed = [], 0, ""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as fast for networks this small, and the same numbers on every machine of a kind
    with torch.random.fork_rng(devices=[]), working_in(folder):
        for block in find_blocks(text):
            if block.language == "python" and not any(text in block.code for text in skip):
                source = "\n" * (block.line - 1) + block.code  # so that a traceback has the lines of the page
                with contextlib.redirect_stdout(io.StringIO()) as output:
                    exec(compile(source, str(page), "exec"), known)
                printed = output.getvalue()
            elif block.language == "text" and printed:
                parts += [text[end : block.span[0]], printed]
                end, printed = block.span[1], ""
    torch.set_num_threads(threads)
    plt.close("all")
    return Outcome(known, "".join([*parts, text[end:]]))


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Change the working directory for the time of a block."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def main() -> None:
    """Run all tutorials and the solutions of their exercises; rewrite their output and figures."""
    for page, solutions in SOLUTIONS.items():
        with tempfile.TemporaryDirectory() as folder:
            outcome = run_page(page, Path(folder))
            for picture in sorted(Path(folder).glob("*.png")):
                shutil.copyfile(picture, PICTURES / picture.name)
            page.write_text(outcome.text, encoding="utf-8")
            answers = run_page(solutions, Path(folder), names=outcome.names)
            solutions.write_text(answers.text, encoding="utf-8")


if __name__ == "__main__":
    main()
