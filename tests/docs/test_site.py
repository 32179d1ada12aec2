"""The documentation site: docstrings in Markdown become reStructuredText, links that lead nowhere are found."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tools import site


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("At each step t\n\n    i = σ(W_i x)\n\nof `W_i`.", "At each step t\n\n::\n\n    i = σ(W_i x)\n\nof ``W_i``."),
        (
            "Run.\n\nArgs:\n    x: input, see `reviver.load`.\n\nRaises:\n    DataError: if `x` is bad.",
            "Run.\n\nArgs:\n    x: input, see :py:obj:`reviver.load`.\n\nRaises:\n    DataError: if ``x`` is bad.",
        ),
        ("Run * a.\n\nExamples:\n  reviver report", "Run \\* a.\n\nExamples\n\n::\n\n  reviver report"),
    ],
)
def test_docstrings_become_restructured_text(text: str, expected: str) -> None:
    """Equations keep their lines, sections stay as napoleon reads them, examples are code, markup is escaped."""
    assert site.to_rst(text) == expected


def test_links_out_of_docs_lead_to_pages_of_the_site() -> None:
    page = ["[`m.py`](../../src/reviver/cli/app.py), [site](../index.md#a), [changes](../../CHANGELOG.md)"]
    site.rewrite_links(SimpleNamespace(config=SimpleNamespace(explorer="")), "tutorials/lstm", page)
    source = '<a href="../_modules/reviver/cli/app.html"><code class="docutils literal">m.py</code></a>'
    assert page == [f"{source}, [site](../index.md#a), [changes](../reference/changelog.md)"]


def test_problems_of_a_site_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<p id="x"><a href="b.html#y">b</a> <a href="#x">x</a> <a href="https://c.d">d</a>'
    )
    (tmp_path / "b.html").write_text('<script src="https://cdn.example/x.js"></script><a href="none.html">n</a>')
    assert sorted(site.find_problems(tmp_path)) == [
        "a.html links to b.html#y, which has no such anchor",
        "b.html links to none.html, which does not exist",
        "b.html loads https://cdn.example/x.js, which is not part of the site",
    ]
