"""The teaching kit: notebooks with the code and the output of the tutorials, exercises, and release notes."""

import re
from pathlib import Path
from typing import Any

import pytest

from tools.release import ROOT, release_notes
from tools.teaching import DOCS, notebook
from tools.tutorials import SOLUTIONS, TUTORIALS, find_blocks


@pytest.fixture(params=TUTORIALS, ids=lambda page: page.stem)
def page(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def cells_of(page: Path, kind: str) -> list[dict[str, Any]]:
    return [cell for cell in notebook(page)["cells"] if cell["cell_type"] == kind]


def test_a_notebook_has_the_code_and_the_output_of_its_tutorial(page: Path) -> None:
    blocks = list(find_blocks(page.read_text(encoding="utf-8")))
    cells = [cell for cell in cells_of(page, "code") if cell["source"]]
    assert [cell["source"] + "\n" for cell in cells] == [b.code for b in blocks if b.language == "python"]
    outputs = [output for cell in cells for output in cell["outputs"]]
    printed = [output["text"] for output in outputs if output["output_type"] == "stream"]
    assert printed == [block.code for block in blocks if block.language == "text"]
    for cell in cells:  # each output belongs to the code that makes it
        kinds = [output["output_type"] for output in cell["outputs"]]
        assert ("stream" in kinds) == ("print(" in cell["source"])
        assert ("display_data" in kinds) == (".savefig(" in cell["source"])


def test_a_notebook_travels_alone(page: Path) -> None:
    for cell in cells_of(page, "markdown"):
        assert re.findall(r"\]\((?!https?:)", cell["source"]) == []


def test_each_tutorial_has_exercises_with_solutions(page: Path) -> None:
    exercises = (DOCS / "teach" / f"exercises-{page.stem}.md").read_text(encoding="utf-8")
    numbers = [int(number) for number in re.findall(r"^(\d+)\. \*\*", exercises, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    solved = re.findall(r"^\*\*(\d+)\.\*\*", SOLUTIONS[page].read_text(encoding="utf-8"), re.MULTILINE)
    assert list(map(int, solved)) == numbers


def test_release_notes_are_the_newest_section() -> None:
    assert release_notes("# Changelog\n\n## 2.0\n\nnew\n\n## 1.0\n\nold\n").endswith("\n\nnew\n")
    assert len(release_notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))) > 100
