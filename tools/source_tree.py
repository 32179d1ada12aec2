"""The page docs/reference/source-tree.md, from the docstrings of all modules; docs/conf.py writes it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "reviver"
WEB = ROOT / "web" / "src"
INTRODUCTION = """\
# The source tree

Data flows one way: preset and settings → data → network → training → **run folder** → figures, evaluation, report.
What comes after the run folder reads only the run folder. `lstm/` and `gan/` do not import each other, `runs/` imports
neither, and nothing imports the command line. The layers of `[tool.importlinter]` in `pyproject.toml` list which room
may import which, and `make check` holds them.

Begin with [`recurrent/lstm_step.py`](../../src/reviver/recurrent/lstm_step.py) for the LSTM and with
[`gan/step.py`](../../src/reviver/gan/step.py) for the GAN.
"""


WEB_INTRODUCTION = """\
## The page of the explorer

`web/` has the sources of `src/reviver/explorer/template.html`, TypeScript modules that `make explorer` bundles.
`web/README.md` says how they are made.
"""


def page() -> str:
    """Return the page as Markdown: a section per folder, a row per module of Python, and of the explorer's page."""
    lines = [INTRODUCTION]
    for folder in (PACKAGE, *_folders(PACKAGE)):
        modules = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
        if modules:
            name = folder.relative_to(PACKAGE).as_posix()
            lines += [f"## {'reviver' if name == '.' else name}/", "", summary(folder / "__init__.py") + ".", ""]
            lines += ["| module | contents |", "|---|---|", *map(_row, modules), ""]
    lines.append(WEB_INTRODUCTION)
    for folder in (WEB, *sorted(path for path in WEB.rglob("*") if path.is_dir())):
        rows = [f"| `{path.name}` | {_escape(web_summary(path))} |" for path in sorted(folder.glob("*.ts*"))]
        if rows:
            lines += [
                f"### {folder.relative_to(ROOT).as_posix()}/",
                "",
                "| module | contents |",
                "|---|---|",
                *rows,
                "",
            ]
    return "\n".join(lines)


def summary(path: Path) -> str:
    """Return the first sentence of a module's docstring, which ruff asks for, without the full stop."""
    return _first_sentence(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")


def web_summary(path: Path) -> str:
    """Return the first sentence of the comment that a TypeScript module begins with, without the full stop.

    Raises:
        ValueError: if it begins with none.
    """
    comment = re.match(r"/\*\*(.*?)\*/", path.read_text(encoding="utf-8"), re.DOTALL)
    if not comment:
        raise ValueError(f"{path} begins with no comment; say in its first line what it holds")
    return _first_sentence(re.sub(r"^ \* ?", "", comment[1], flags=re.MULTILINE))


def _first_sentence(text: str) -> str:
    first = " ".join(text.split("\n\n", maxsplit=1)[0].split())
    return re.split(r"\.\s(?=[A-Z])", first, maxsplit=1)[0].rstrip(".:")


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


def _folders(parent: Path) -> Iterator[Path]:
    for folder in sorted(path for path in parent.iterdir() if (path / "__init__.py").exists()):
        yield folder
        yield from _folders(folder)


def _row(path: Path) -> str:
    name = path.relative_to(PACKAGE).as_posix()
    return f"| [`{name}`](../../src/reviver/{name}) | {_escape(summary(path))} |"
