"""README and docs are true: their numbers are those that were measured, their tree is the one there is."""

import re
from pathlib import Path

import pytest

from benchmarks.publish import PAGES, fill
from tools import settings_page

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_numbers_are_those_of_the_measurements(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert fill(text) == text, f"{page.name} differs from docs/measurements; run python -m benchmarks.publish"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


def test_readme_lists_every_module() -> None:
    tree = README.split("## The tree")[1].split("## A run folder")[0]
    source = ROOT / "src" / "reviver"
    modules = [path for path in source.rglob("*.py") if not path.name.startswith("__") and "report" not in path.parts]
    missing = [path.relative_to(source) for path in modules if path.name not in tree]
    assert not missing


def test_the_page_of_settings_is_current() -> None:
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.page(), "run python -m tools.settings_page"
