"""Printed sheets: Markdown of the docs as PDF, through Typst.

The Markdown is CommonMark with tables and equations between dollars. Text reaches Typst as strings, never as markup.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import typst
from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.tree import SyntaxTreeNode

LAYOUT = Path(__file__).parents[1] / "docs" / "teach" / "sheet.typ"
EQUATION = re.compile(r"\$([^$]+)\$")
OPTION = re.compile(r"\s*\(([a-d])\) ")
LATEX = re.compile(r"\\[a-zA-Z]+|\\.|\d+(?:\.\d+)?|\S")
SAME_IN_TYPST = re.compile(
    "alpha|approx|beta|cos|epsilon|exp|lambda|lim|ln|log|max|min|mu|partial|sigma|sin|sum|tanh|theta|times"
)
"""Commands of LaTeX that Typst knows by the same name."""
SYMBOLS = {
    "cdot": "⋅",
    "ge": "≥",
    "infty": "∞",
    "le": "≤",
    "ne": "≠",
    "odot": "⊙",
    "to": "→",
    "lVert": "‖",
    "rVert": "‖",
}
"""Other commands, and what stands for them."""
FRACTIONS = {"frac": 2, "tfrac": 2, "sqrt": 1}
"""Commands with arguments, and their number."""


def write_sheet(text: str, path: Path, *, room: bool = False) -> None:
    """Write a page of Markdown, which begins with its title, as a PDF.

    With `room`, a sheet for students: a line for the name, and room to write below each item of a numbered list, or with
    options (a) to (d) a box before each.

    Raises:
        ValueError: if the page has Markdown or LaTeX that has no counterpart here.
    """
    title, body = text.removeprefix("# ").split("\n", 1)
    source = f'#import "sheet.typ": *\n#show: sheet.with(title: {quote(title)}, name: {str(room).lower()})\n'
    files = {"main": (source + to_typst(body, room=room)).encode(), "sheet.typ": LAYOUT.read_bytes()}
    path.write_bytes(typst.compile(files))


def to_typst(text: str, *, room: bool = False) -> str:
    """Return Markdown as Typst markup; for `room` and the errors see `write_sheet`."""
    parser = MarkdownIt("commonmark").enable("table")
    parser.inline.ruler.before("escape", "equation", _read_equation)
    return _convert(SyntaxTreeNode(parser.parse(text)), room=room)


def to_math(latex: str) -> str:
    """Return an equation in LaTeX as one in Typst.

    Raises:
        ValueError: if it has a command that is not in the tables of this module.
    """
    return _read_math(iter(LATEX.findall(latex)), "")


def quote(text: str) -> str:
    """Return a text as a string of Typst."""
    return json.dumps(text, ensure_ascii=False)


def _read_math(tokens: Iterator[str], end: str) -> str:
    """Return what stands before the token `end`."""
    parts = []
    for token in tokens:
        if token == end:
            break
        parts.append(_read_one(token, tokens))
    return re.sub(" (?=[_^])", "", " ".join(parts))


def _read_one(token: str, tokens: Iterator[str]) -> str:
    """Return what a token and its arguments mean."""
    name = token.removeprefix("\\")
    if token == "{":
        return _read_math(tokens, "}")
    if token in ("_", "^"):
        return f"{token}({_read_one(next(tokens), tokens)})"
    if token == name:
        return f"\\{token}" if token in '/,;#&~"' else token
    if name in FRACTIONS:
        arguments = [_read_one(next(tokens), tokens) for _ in range(FRACTIONS[name])]
        return f"{name.removeprefix('t')}({', '.join(arguments)})"
    if name not in SYMBOLS and not SAME_IN_TYPST.fullmatch(name):
        raise ValueError(f"the LaTeX command {token} is unknown; add it to tools/sheets.py")
    return SYMBOLS.get(name, name)


def _read_equation(state: StateInline, silent: bool) -> bool:
    """Rule of markdown-it: an equation between dollars."""
    match = EQUATION.match(state.src, state.pos)
    if match is None:
        return False
    if not silent:
        state.push("equation", "", 0).content = match[1]
    state.pos = match.end()
    return True


def _convert(node: SyntaxTreeNode, *, room: bool) -> str:
    """Return the markup of a part of a page."""
    if node.type == "text":
        return _text(node, room=room)
    inside = "".join(_convert(child, room=room) for child in node.children)
    if node.type == "list_item":
        has_room = room and node.parent is not None and node.parent.type == "ordered_list" and "#option" not in inside
        return f"block(breakable: false)[{inside}{'#answer' if has_room else ''}],"
    if node.type not in ELEMENTS:
        raise ValueError(f"a sheet cannot have the Markdown element {node.type}; add it to tools/sheets.py")
    return ELEMENTS[node.type](node, inside)


def _text(node: SyntaxTreeNode, *, room: bool) -> str:
    """Return a text as a string; with `room`, options of a question have boxes."""
    first, *rest = OPTION.split(node.content) if room else [node.content]
    options = (f"#option({quote(name)})#{quote(text)}" for name, text in zip(rest[::2], rest[1::2], strict=True))
    return f"#{quote(first)}" + "".join(options)


def _link(node: SyntaxTreeNode, inside: str) -> str:
    """Return a link; one to another page of the docs is no link in print."""
    address = str(node.attrs["href"])
    return f"#link({quote(address)})[{inside}]" if address.startswith("http") else f"#emph[{inside}]"


def _fence(node: SyntaxTreeNode, _: str) -> str:
    """Return a block of code; what is for the documentation site, such as `{toctree}`, is left out."""
    language = node.info.strip()
    return "" if language.startswith("{") else f"#raw({quote(node.content)}, lang: {quote(language)}, block: true)\n"


def _table(node: SyntaxTreeNode, inside: str) -> str:
    """Return a table; what is inside are its cells, row by row."""
    head = node.children[0].children[0]
    return f"#grid-of({len(head.children)}, {inside})\n"


ELEMENTS: Mapping[str, Callable[[SyntaxTreeNode, str], str]] = {
    **dict.fromkeys(("root", "inline", "thead", "tbody", "tr"), lambda _, inside: inside),
    **dict.fromkeys(("th", "td"), lambda _, inside: f"[{inside}],"),
    "softbreak": lambda *_: "\n",
    "code_inline": lambda node, _: f"#raw({quote(node.content)})",
    "equation": lambda node, _: f"${to_math(node.content)}$",
    "strong": lambda _, inside: f"#strong[{inside}]",
    "em": lambda _, inside: f"#emph[{inside}]",
    "link": _link,
    "paragraph": lambda _, inside: f"{inside}\n\n",
    "heading": lambda node, inside: f"#heading(level: {int(node.tag[1:]) - 1})[{inside}]\n",
    "fence": _fence,
    "bullet_list": lambda _, inside: f"#list({inside})\n",
    "ordered_list": lambda _, inside: f"#enum({inside})\n",
    "table": _table,
}
"""Functions of an element of Markdown and the markup inside it that return its markup."""
