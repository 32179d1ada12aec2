"""Pages of docs name tests that exist, the sources name pages that exist, and the layer alone is light."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
SOURCES = [path for suffix in ("py", "typ", "cpp") for path in sorted((ROOT / "src").rglob(f"*.{suffix}"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_file_that_a_page_names_exists(page: Path) -> None:
    names = set(re.findall(r"\btest_\w+\.py\b", page.read_text(encoding="utf-8")))
    missing = {name for name in names if not any((ROOT / "tests").rglob(name))}
    assert not missing, f"{page.name} names {missing}; write the file's new name"


def test_every_page_that_a_source_names_exists() -> None:
    assert len(SOURCES) > 50
    for source in SOURCES:
        for page in re.findall(r"\bdocs/[\w/-]+\.md\b", source.read_text(encoding="utf-8")):
            assert (ROOT / page).exists(), f"{source.relative_to(ROOT)} names {page}; write the page's new name"


def test_the_page_of_promises_names_tests() -> None:
    text = (ROOT / "docs" / "explanation" / "robustness.md").read_text(encoding="utf-8")
    assert len(re.findall(r"\btest_\w+\.py\b", text)) >= 20


def test_the_layer_imports_only_pydantic_and_safetensors_beside_torch() -> None:
    script = (
        "import sys, torch, numpy; before = set(sys.modules); from reviver import LSTM; LSTM(3, 4, hidden_dropout=0.5);"
        "found = {name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names);"
        "print(*sorted(name for name in found if not name.startswith('_')))"
    )
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    of_pydantic = {"pydantic", "pydantic_core", "annotated_types", "typing_inspection", "typing_extensions"}
    assert set(found) - of_pydantic == {"reviver", "safetensors"}
