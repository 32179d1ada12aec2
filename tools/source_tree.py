"""Write docs/reference/source-tree.md from the docstrings of all modules: `python -m tools.source_tree`."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "reviver"
PAGE = ROOT / "docs" / "reference" / "source-tree.md"
INTRODUCTION = """\
# The source tree

<!-- Written by python -m tools.source_tree; edit the first lines of the modules instead. -->

Data flows one way: preset and settings → data → network → training → **run folder** → figures, evaluation, report.
What comes after the run folder reads only the run folder. `lstm/` and `gan/` do not import each other, and nothing
imports the command line.

Begin with [`lstm/cell.py`](../../src/reviver/lstm/cell.py) for the LSTM and with
[`gan/step.py`](../../src/reviver/gan/step.py) for the GAN.
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """Return the page as Markdown: a section per folder, a row per module."""
    lines = [INTRODUCTION]
    for folder in (PACKAGE, *_folders(PACKAGE)):
        modules = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
        if modules:
            name = folder.relative_to(PACKAGE).as_posix()
            lines += [f"## {'reviver' if name == '.' else name}/", "", summary(folder / "__init__.py") + ".", ""]
            lines += ["| module | contents |", "|---|---|", *map(_row, modules), ""]
    return "\n".join(lines)


def summary(path: Path) -> str:
    """Return the first sentence of a module's docstring, without the full stop.

    Raises:
        ValueError: if it has no docstring.
    """
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not docstring:
        raise ValueError(f"{path} has no docstring; say in its first line what it holds")
    first = " ".join(docstring.split("\n\n")[0].split())
    return re.split(r"\.\s(?=[A-Z])", first, maxsplit=1)[0].rstrip(".")


def _folders(parent: Path) -> Iterator[Path]:
    for folder in sorted(path for path in parent.iterdir() if (path / "__init__.py").exists()):
        yield folder
        yield from _folders(folder)


def _row(path: Path) -> str:
    name = path.relative_to(PACKAGE).as_posix()
    text = summary(path).replace("|", "\\|")
    return f"| [`{name}`](../../src/reviver/{name}) | {text} |"


if __name__ == "__main__":
    main()
