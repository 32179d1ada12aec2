"""Cells of a sweep, and the driver."""

import json
import threading
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock

from reviver.errors import RunFolderError
from reviver.sweep import cells as cell_module
from reviver.sweep import driver
from reviver.sweep.cells import Cell, cell_folder, execute, read_outcome
from reviver.sweep.driver import run_cells
from tests.sweep.cells import InlineEngine, cell_of, wait_until

NINE = cell_of("square", x=3.0)


def test_the_key_of_a_cell_depends_on_its_settings_alone() -> None:
    first = Cell("a:b", {"x": 1, "y": [2]}, {"x": 1})
    assert first.key == Cell("a:b", {"y": [2], "x": 1}).key == "d3ffef23a1dd2fc7"
    assert len({first.key, Cell("a:c", {"x": 1, "y": [2]}).key, Cell("a:b", {"x": 1, "y": [3]}).key}) == 3


def test_each_cell_runs_once_and_failed_ones_again_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_module, "time", SimpleNamespace(perf_counter=count(0.0, 1.5).__next__))
    failing = [cell_of("refuse", value=3), cell_of("square", x=1e200), cell_of("nothing")]
    cells = [NINE, *failing, cell_of("square", x=4.0)]
    engine = InlineEngine()
    outcomes = run_cells(tmp_path, cells, engine)
    assert engine.cells == cells
    assert [(outcomes[cell.key].result or {})["square"] for cell in (NINE, cells[-1])] == [9, 16]
    assert {(outcome.seconds, outcome.attempts) for outcome in outcomes.values()} == {(1.5, 1)}
    assert [str(outcomes[cell.key].error)[:32] for cell in failing] == [
        *("value must be 1, got 3", "ValueError: Out of range float v", "AttributeError: module 'tests.sw"),
    ]
    traces = [(cell_folder(tmp_path, cell) / "traceback.txt").exists() for cell in cells]
    assert traces == [False, False, True, True, False], "of errors that are not the user's"
    assert json.loads((cell_folder(tmp_path, NINE) / "cell.json").read_text())["arguments"] == {"x": 3.0}
    again = InlineEngine()
    assert run_cells(tmp_path, cells, again) == outcomes
    assert again.cells == []
    run_cells(tmp_path, cells, again, retry_failed=True)
    assert again.cells == failing
    later = cell_of("square", x=5.0)
    found = run_cells(tmp_path, [NINE, later], again, select=lambda found: [later] if NINE.key in found else [NINE])
    assert found.keys() == {NINE.key, later.key}, "an outcome from before lets others start"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema": 2}, "schema must be 1, got 2"),
        ({"key": "other"}, "is the outcome of the cell 'other'; remove it"),
        (None, r"cannot be read .*; the file is damaged"),
    ],
)
def test_a_damaged_or_foreign_outcome_ends_the_sweep(change: Any, problem: str, tmp_path: Path) -> None:
    execute(tmp_path, NINE)
    path = cell_folder(tmp_path, NINE) / "outcome.json"
    path.write_text("{" if change is None else json.dumps(json.loads(path.read_text()) | change))
    assert isinstance(execute(tmp_path, NINE), RunFolderError)
    with pytest.raises(RunFolderError, match=rf"outcome\.json: {problem}"):
        run_cells(tmp_path, [NINE], InlineEngine())


def test_a_cell_of_another_machine_runs_once_its_lock_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other machine dies when this one has finished the second cell."""
    monkeypatch.setattr(driver, "BUSY_POLLS", 1)
    monkeypatch.setattr(InlineEngine, "poll", 0.01)
    cells = [cell_of("square", x=x) for x in (1.0, 2.0)]
    first, second = (cell_folder(tmp_path, cell) for cell in cells)
    first.mkdir(parents=True)
    lock = FileLock(first / "cell.lock", thread_local=False)
    lock.acquire()

    def die() -> None:
        wait_until((second / "outcome.json").exists)
        lock.release()

    engine, other = InlineEngine(), threading.Thread(target=die)
    other.start()
    outcomes = run_cells(tmp_path, cells, engine)
    other.join()
    assert {key: outcome.status for key, outcome in outcomes.items()} == {cell.key: "done" for cell in cells}
    assert engine.cells[:2] == cells
    assert [(folder / "calls").read_text() for folder in (first, second)] == ["x", "x"]


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "sweep").touch()
    problem = f"sweep/cells/{NINE.key}: cannot be written (Not a directory); a part of this path is a file; choose"
    assert problem in str(execute(tmp_path / "sweep", NINE))


@pytest.mark.parametrize(
    ("function", "error", "runs"),
    [("stop", "its job was stopped 100 times", 100), ("end", "its worker died 5 times", 5)],
)
def test_a_cell_without_an_outcome_does_not_run_forever(function: str, error: str, runs: int, tmp_path: Path) -> None:
    engine, cell = InlineEngine(), cell_of(function)
    (outcome,) = run_cells(tmp_path, [cell], engine).values()
    assert (outcome.status, outcome.attempts, len(engine.cells)) == ("failed", 5 if function == "end" else 1, runs)
    assert str(outcome.error).startswith(error)
    assert read_outcome(cell_folder(tmp_path, cell), cell) == outcome


def test_a_cell_that_exits_has_failed(tmp_path: Path) -> None:
    (outcome,) = run_cells(tmp_path, [cell_of("leave")], InlineEngine()).values()
    assert (outcome.status, outcome.error) == ("failed", "SystemExit: there is no GPU")
