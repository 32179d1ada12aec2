"""What the documentation site needs beyond Sphinx: an extension that docs/conf.py names.

- A page for each module, from its docstrings, which are written in Markdown.
- The source tree, the changelog and the security policy as pages.
- Links to files of the repository: sources lead to their highlighted page.
- Equations as MathML.
- A check that every link of the built site leads somewhere.
"""

import ast
import functools
import os
import re
import textwrap
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from tools import source_tree

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "reviver"
MODULES = ROOT / "docs" / "reference" / "api"
"""Folder of the generated pages; git ignores it."""

COPIES = {"CHANGELOG.md": "reference/changelog.md", "SECURITY.md": "reference/security.md"}
"""Files at the root of the repository, and their pages below docs/; git ignores the pages."""

GENERATED = {"reference/source-tree.md": source_tree.page}
"""Pages below docs/ that git ignores, and the functions that return their text."""

PANEL = re.compile(r'(<a id="panel-(?P<id>\w+)"></a>[^*]*)\*(?P<title>[^*]+)\*')
"""A sentence about a panel of the explorer. Its title becomes a link where the site has the explorer."""
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
SECTION = re.compile(r"(Args|Attributes|Parameters|Returns|Raises|Yields|Examples?|Notes?):")
NAME = re.compile(r"reviver(\.\w+)+|[A-Z]+[a-z]\w+(\.\w+)*")
"""Code that may name a class, a function or a module, and becomes a link where it does."""
LETTER = re.compile(r"((?:^|: )\s*(?:[A-Za-z]|[ivxIVX]+))\.(?=\s|$)", re.MULTILINE)
"""A letter with a full stop, such as a size H, which reStructuredText would take for an item of a list."""
HIDDEN_COLON = "\ue000"
CODE = re.compile(r"(`+)(.+?)\1", re.DOTALL)


def setup(app: "Sphinx") -> dict[str, Any]:
    """Register the extension."""
    app.add_config_value("explorer", "", "html")  # address of the explorer from the root of the site, if it has one
    app.add_html_math_renderer("mathml", (inline_math, None), (display_math, None))
    app.connect("builder-inited", lambda _: write_pages())
    app.connect("source-read", rewrite_links)
    app.connect("autodoc-process-docstring", convert_docstring, priority=400)  # before napoleon reads the sections
    app.connect("autodoc-process-docstring", show_colons, priority=600)  # after napoleon
    app.connect("autodoc-skip-member", skip_member)
    app.connect("build-finished", check_site)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def find_modules() -> list[str]:
    """Return the names of all modules but the packages themselves, in the order of the tree."""
    paths = [path.relative_to(PACKAGE.parent).with_suffix("") for path in sorted(PACKAGE.rglob("*.py"))]
    return [".".join(path.parts) for path in paths if path.name not in ("__init__", "__main__")]


def write_pages() -> None:
    """Write the pages that git ignores: one per module, the source tree, changelog and security policy."""
    MODULES.mkdir(exist_ok=True)
    pages = {f"{name}.rst": _module_page(name) for name in find_modules()}
    for path in MODULES.glob("*.rst"):
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        _write_if_changed(MODULES / name, text)
    for page, text_of in GENERATED.items():
        _write_if_changed(ROOT / "docs" / page, text_of())
    for source, page in COPIES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        _write_if_changed(ROOT / "docs" / page, LINK.sub(functools.partial(_moved_link, page=page), text))


def _module_page(name: str) -> str:
    title = name.removeprefix("reviver.")
    return f"{title}\n{'=' * len(title)}\n\n.. automodule:: {name}\n   :members:\n   :show-inheritance:\n"


def _write_if_changed(path: Path, text: str) -> None:
    """Leave an equal file as it is, so that Sphinx does not read it again."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def _moved_link(match: re.Match[str], *, page: str) -> str:
    """Return a link of a file at the root as the copy of the file below docs/ needs it."""
    if "://" in match["target"]:
        return match[0]
    target = ROOT / "docs" / COPIES.get(match["target"], f"../{match['target']}")
    relative = os.path.relpath(target, (ROOT / "docs" / page).parent)
    return f"[{match['text']}]({relative}{match['anchor'] or ''})"


def rewrite_links(app: "Sphinx", docname: str, source: list[str]) -> None:
    """Point the links of a Markdown page that leave docs/ to what the site has in their place, and panels to theirs."""
    if (ROOT / "docs" / f"{docname}.md").exists():
        source[0] = LINK.sub(lambda match: _site_link(match, docname), source[0])
        if app.config.explorer:
            explorer = "../" * docname.count("/") + app.config.explorer
            source[0] = PANEL.sub(rf'\g<1><a href="{explorer}#\g<id>">\g<title></a>', source[0])


def _site_link(match: re.Match[str], docname: str) -> str:
    if "://" in match["target"]:
        return match[0]
    folder = (ROOT / "docs" / docname).parent
    target = Path(os.path.normpath(folder / match["target"]))
    if target.is_relative_to(PACKAGE) and target.suffix == ".py" and not target.name.startswith("__"):
        module = target.relative_to(PACKAGE.parent).with_suffix(".html").as_posix()
        text = re.sub(r"`([^`]+)`", r'<code class="docutils literal">\1</code>', match["text"])
        page = f"_modules/{module}"
        if not _has_definitions(target):
            page = f"reference/api/{module.removesuffix('.html').replace('/', '.')}.html"
        return f'<a href="{"../" * docname.count("/")}{page}">{text}</a>'
    copy = COPIES.get(os.path.relpath(target, ROOT))
    if copy:
        return f"[{match['text']}]({os.path.relpath(ROOT / 'docs' / copy, folder)}{match['anchor'] or ''})"
    return match[0]


def _has_definitions(path: Path) -> bool:
    """Return whether a module defines a function or a class, so that Sphinx makes a page of its source."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return path.exists() and any(isinstance(node, kinds) for node in ast.parse(path.read_text(encoding="utf-8")).body)


def convert_docstring(_app: "Sphinx", what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Turn a docstring from Markdown into reStructuredText, in place."""
    text = to_rst("\n".join(lines))
    if what in ("property", "attribute", "data"):  # napoleon would take what stands before a colon for their type
        text = text.replace(": ", HIDDEN_COLON)
    lines[:] = text.split("\n")


def show_colons(_app: "Sphinx", _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Put back the colons that `convert_docstring` hid."""
    lines[:] = [line.replace(HIDDEN_COLON, ": ") for line in lines]


def skip_member(_app: "Sphinx", _what: str, _name: str, obj: Any, _skip: bool, _options: Any) -> bool | None:
    """Leave out the fields of a NamedTuple that have no docstring of their own."""
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None


def to_rst(text: str) -> str:
    """Turn Markdown with Google's sections into reStructuredText.

    Paragraphs with indented lines outside of a section are equations or code and keep their lines; backticks mark code.
    """
    result: list[str] = []
    in_section = in_literal = False
    for paragraph in re.split(r"\n[ \t]*\n", text):
        first, *rest = paragraph.strip("\n").split("\n")
        if first == "Examples:":
            result += [first[:-1], "::", "\n".join(rest)]
            continue
        is_indented = first.startswith("  ")
        if not is_indented:
            in_section, in_literal = SECTION.fullmatch(first) is not None, False
        is_table = not is_indented and any(line.startswith("  ") for line in rest) and not first.startswith("- ")
        if in_section or not (is_indented or is_table):
            result.append(_inline(paragraph))
            continue
        if not in_literal:
            result.append("::")
        result.append(paragraph if is_indented else textwrap.indent(paragraph, "    "))
        in_literal = is_indented
    return "\n\n".join(result)


def _inline(text: str) -> str:
    """Escape what reStructuredText would take for markup, and write code as it wants it."""
    parts, end = [], 0
    for match in CODE.finditer(text):
        code = match[2]
        parts.append(_escaped(text[end : match.start()]))
        parts.append(f":py:obj:`{code}`" if NAME.fullmatch(code) else f"``{code}``")
        if text[match.end() : match.end() + 1].isalnum():
            parts.append("\\ ")
        end = match.end()
    return "".join([*parts, _escaped(text[end:])])


def _escaped(text: str) -> str:
    text = re.sub(r"([\\*|]|(?<=\w)_(?!\w))", r"\\\1", text)
    return LETTER.sub(r"\1\\.", text)


def inline_math(translator: "HTML5Translator", node: "nodes.math") -> None:
    """Write an equation of a line as MathML."""
    _write_math(translator, node.astext(), "inline")


def display_math(translator: "HTML5Translator", node: "nodes.math_block") -> None:
    """Write an equation of its own as MathML."""
    translator.body.append('<div class="math-block">')
    _write_math(translator, node.astext(), "block")
    translator.body.append("</div>\n")


def _write_math(translator: "HTML5Translator", latex: str, display: str) -> None:
    from docutils import nodes
    from latex2mathml.converter import convert

    html = convert(latex.strip(), display=display)
    translator.body.append(re.sub(r"<mi>(?=\w{2})", '<mi mathvariant="normal">', html))  # log, tanh: upright
    raise nodes.SkipNode


class References(HTMLParser):
    """Collects the anchors of a page and what it refers to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.anchors = set(re.findall(r'\bid:"(\w+)"', html))  # panels of the explorer
        self.targets: list[str] = []
        self.loaded: list[str] = []
        """What the browser loads by itself: scripts, styles, images."""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect one tag."""
        values = dict(attrs)
        if values.get("id"):
            self.anchors.add(values["id"] or "")
        for name in ("href", "src"):
            if values.get(name):
                (self.targets if tag == "a" else self.loaded).append(values[name] or "")


def find_problems(site: Path) -> Iterator[str]:
    """Yield what is wrong with the links of a built site, and what it would load from elsewhere."""
    pages = {path: References(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, references in pages.items():
        name = path.relative_to(site)
        for target in references.loaded:
            if urlsplit(target).netloc:
                yield f"{name} loads {target}, which is not part of the site"
        for target in (*references.targets, *references.loaded):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            found = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
            if not found.exists():
                yield f"{name} links to {target}, which does not exist"
            elif parts.fragment and found in pages and unquote(parts.fragment) not in pages[found].anchors:
                yield f"{name} links to {target}, which has no such anchor"


def check_site(app: "Sphinx", error: Exception | None) -> None:
    """Warn of every link that leads nowhere; with warnings as errors, the build fails."""
    from sphinx.util import logging

    if error is None and app.builder.format == "html":
        for problem in sorted(set(find_problems(Path(app.outdir)))):
            logging.getLogger(__name__).warning("%s", problem)
