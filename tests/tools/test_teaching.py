"""The teaching kit: notebooks with the code and the output of the tutorials, exercises, and release notes."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import reviver
from tools.release import ROOT, release_notes
from tools.teaching import DOCS, notebook, write_lessons, write_sheets
from tools.tutorials import SOLUTIONS, TUTORIALS, find_blocks


@pytest.fixture(params=TUTORIALS, ids=lambda page: page.stem)
def page(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def cells_of(page: Path, kind: str) -> list[dict[str, Any]]:
    return [cell for cell in notebook(page)["cells"] if cell["cell_type"] == kind]


def test_a_notebook_has_the_code_and_the_output_of_its_tutorial(page: Path) -> None:
    blocks = list(find_blocks(page.read_text(encoding="utf-8")))
    *cells, _ = [cell for cell in cells_of(page, "code") if cell["source"]]
    assert [cell["source"] + "\n" for cell in cells] == [b.code for b in blocks if b.language == "python"]
    outputs = [output for cell in cells for output in cell["outputs"]]
    printed = [output["text"] for output in outputs if output["output_type"] == "stream"]
    assert printed == [block.code for block in blocks if block.language == "text"]
    for cell in cells:  # each output belongs to the code that makes it
        kinds = [output["output_type"] for output in cell["outputs"]]
        assert ("stream" in kinds) == ("print(" in cell["source"])
        assert ("display_data" in kinds) == (".savefig(" in cell["source"])


def test_the_check_of_a_notebook_passes_for_the_code_of_the_tutorial(page: Path) -> None:
    *code, check = [cell["source"] for cell in cells_of(page, "code") if cell["source"]]
    tree = ast.parse("\n".join(code))
    tree.body = [
        node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom | ast.ClassDef | ast.FunctionDef)
    ]
    names: dict[str, Any] = {"reviver": reviver}
    exec(compile(tree, "notebook.py", "exec"), names)
    report = eval(check.splitlines()[-1], names)
    statuses = [outcome.status for outcome in report.outcomes]
    assert statuses == ["passed"] * max(2, len(statuses)), report


def test_a_notebook_travels_alone(page: Path) -> None:
    for cell in cells_of(page, "markdown"):
        assert re.findall(r"\]\((?!https?:)", cell["source"]) == []


def test_each_tutorial_has_exercises_with_solutions(page: Path) -> None:
    exercises = (DOCS / "teach" / f"exercises-{page.stem}.md").read_text(encoding="utf-8")
    numbers = [int(number) for number in re.findall(r"^(\d+)\. \*\*", exercises, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    solved = re.findall(r"^\*\*(\d+)\.\*\*", SOLUTIONS[page].read_text(encoding="utf-8"), re.MULTILINE)
    assert list(map(int, solved)) == numbers


def test_sheets_for_students_have_no_answers_and_all_sheets_are_written(tmp_path: Path) -> None:
    students, teachers = tmp_path / "students", tmp_path / "teachers"
    students.mkdir()
    teachers.mkdir()
    write_sheets(students, teachers)
    assert {path.name for path in students.iterdir()} == {"quiz.pdf", "worksheet-gan.pdf", "worksheet-lstm.pdf"}
    kinds = [f"{kind}-{network}.pdf" for kind in ("lesson", "solutions") for network in ("gan", "lstm")]
    assert {path.name for path in teachers.iterdir()} == {"quiz-key.pdf", *kinds}
    key = re.compile(r"\b1 [a-d], 2 [a-d], 3 [a-d]")
    assert key.search((DOCS / "teach" / "quiz-key.md").read_text(encoding="utf-8"))
    assert not key.search((DOCS / "teach" / "quiz.md").read_text(encoding="utf-8"))


def test_the_kit_needs_neither_the_tools_of_developers_nor_a_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["make", "--dry-run", "--always-make", "teach", f"VENV={tmp_path}"]
    plan = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "requirements-report.lock" in plan
    assert not re.search(r"requirements\.lock|npm|chromium", plan)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (write_lessons(tmp_path / "explorer.html", tmp_path) or "").startswith("Chromium")
    monkeypatch.delitem(sys.modules, "tools.chromium", raising=False)
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    assert (write_lessons(tmp_path / "explorer.html", tmp_path) or "").startswith("the package playwright")


def test_release_notes_are_the_newest_section() -> None:
    assert release_notes("# Changelog\n\n## 2.0\n\nnew\n\n## 1.0\n\nold\n").endswith("\n\nnew\n")
    assert len(release_notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))) > 100
