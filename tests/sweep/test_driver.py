"""Cells of a sweep, and the driver."""

import json
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from filelock import FileLock

from reviver.errors import RunFolderError
from reviver.sweep import driver
from reviver.sweep.cell import Cell, Ended, Outcome, cell_folder, execute, read_outcome
from reviver.sweep.driver import open_sweep, run_cells
from tests.sweep.cells import InlineEngine, cell_of, wait_until

NINE = cell_of("square", x=3.0)


def run(folder: Path, cell: Cell) -> Outcome:
    ended = execute(folder, cell)
    assert isinstance(ended, Outcome)
    return ended


def test_the_key_of_a_cell_depends_on_its_settings_alone() -> None:
    first = Cell("a:b", {"x": 1, "y": [2]}, {"x": 1})
    assert first.key == Cell("a:b", {"y": [2], "x": 1}).key == "d3ffef23a1dd2fc7"
    assert len({first.key, Cell("a:c", {"x": 1, "y": [2]}).key, Cell("a:b", {"x": 1, "y": [3]}).key}) == 3


@pytest.mark.parametrize(
    ("cell", "error"),
    [
        (cell_of("refuse", value=3), "value must be 1, got 3"),
        (cell_of("crash"), "ZeroDivisionError: by zero"),
        (cell_of("return_nan"), "ValueError: Out of range float values are not JSON compliant"),
        (cell_of("nothing"), "AttributeError: module 'tests.sweep.cells' has no attribute 'nothing'"),
    ],
)
def test_an_error_of_the_function_is_an_outcome(cell: Cell, error: str, tmp_path: Path) -> None:
    started = time.perf_counter()
    outcome = run(tmp_path, cell)
    assert outcome.seconds <= time.perf_counter() - started + 0.001  # rounded
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert outcome.error.startswith(error)
    assert read_outcome(cell_folder(tmp_path, cell), cell) == outcome
    assert (cell_folder(tmp_path, cell) / "traceback.txt").exists() == (error != "value must be 1, got 3")


def test_a_signal_stops_a_cell_which_can_go_on(tmp_path: Path) -> None:
    cell = cell_of("wait_for", path=str(tmp_path / "go"))

    def interrupt() -> None:
        wait_until((cell_folder(tmp_path, cell) / "begun").exists)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert execute(tmp_path, cell) == "stopped"
    thread.join()
    (tmp_path / "go").touch()
    assert run(tmp_path, cell).status == "done"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"status": "perfect"}, "status must be done or failed, got 'perfect'"),
        ({"extra": 1}, "extra is unknown"),
        ({"seconds": -1.0}, "seconds must be at least 0, got -1.0"),
        ({"schema": 2}, "schema must be 1, got 2"),
        ({"key": "other"}, "is the outcome of the cell 'other'; remove it"),
        (None, r"cannot be read .*; the file is damaged"),
    ],
)
def test_a_damaged_or_foreign_outcome_ends_the_sweep(
    change: dict[str, object] | None, problem: str, tmp_path: Path
) -> None:
    run(tmp_path, NINE)
    path = cell_folder(tmp_path, NINE) / "outcome.json"
    path.write_text("{" if change is None else json.dumps(json.loads(path.read_text()) | change))
    assert isinstance(execute(tmp_path, NINE), RunFolderError)
    with pytest.raises(RunFolderError, match=rf"outcome\.json: {problem}"):
        run_cells(tmp_path, [NINE], InlineEngine())


# The driver


def test_the_driver_runs_each_cell_once_and_failures_on_demand(tmp_path: Path) -> None:
    cells = [NINE, cell_of("refuse", value=3), cell_of("square", x=4.0)]
    engine = InlineEngine()
    outcomes = run_cells(tmp_path, cells, engine)
    assert [outcomes[cell.key].status for cell in cells] == ["done", "failed", "done"]
    assert (outcomes[NINE.key].result or {})["square"] == 9
    assert engine.cells == cells
    assert json.loads((cell_folder(tmp_path, NINE) / "cell.json").read_text())["arguments"] == {"x": 3.0}
    again = InlineEngine()
    assert run_cells(tmp_path, cells, again) == outcomes
    assert again.cells == []
    run_cells(tmp_path, cells, again, retry_failed=True)
    assert again.cells == [cells[1]]
    assert all((cell_folder(tmp_path, cell) / "calls").read_text() == "x" for cell in (cells[0], cells[2]))


def test_machines_that_share_a_sweep_run_each_cell_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine runs the first two cells: it finishes the first, and dies in the second."""
    monkeypatch.setattr(driver, "BUSY_POLLS", 1)
    monkeypatch.setattr(InlineEngine, "poll", 0.01)
    cells = [cell_of("square", x=x) for x in (1.0, 2.0, 3.0)]
    folders = [cell_folder(tmp_path, cell) for cell in cells]
    locks = [FileLock(folder / "cell.lock", thread_local=False) for folder in folders[:2]]
    for lock in locks:
        Path(lock.lock_file).parent.mkdir(parents=True)
        lock.acquire()
    engine = InlineEngine()

    def finish_first_and_die() -> None:
        wait_until((folders[2] / "outcome.json").exists)
        locks[0].release()
        execute(tmp_path, cells[0])
        locks[1].release()

    other = threading.Thread(target=finish_first_and_die)
    other.start()
    outcomes = run_cells(tmp_path, cells, engine)
    other.join()
    assert {key: outcome.status for key, outcome in outcomes.items()} == {cell.key: "done" for cell in cells}
    assert engine.cells[:3] == cells
    assert all((folder / "calls").read_text() == "x" for folder in folders)


def test_cells_can_wait_for_the_outcomes_of_others(tmp_path: Path) -> None:
    first, second, never = (cell_of("square", x=x) for x in (1.0, 2.0, 3.0))

    def select(outcomes: Mapping[str, Outcome]) -> Sequence[Cell]:
        return [second] if first.key in outcomes else [first]

    engine = InlineEngine()
    outcomes = run_cells(tmp_path, [never, second, first], engine, select=select)
    assert engine.cells == [first, second]
    assert [*outcomes] == [first.key, second.key]


@pytest.mark.parametrize(
    ("ended", "error", "runs"), [("stopped", "its job was stopped 100 times", 100), ("died", "its worker died 5 ", 5)]
)
def test_a_cell_without_an_outcome_is_run_again_but_not_forever(
    ended: Ended, error: str, runs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: object, **__: object) -> Ended:
        if ended == "died":
            raise EOFError
        return ended

    class Engine(InlineEngine):
        died = (EOFError,)

        def submit(self, sweep_folder: Path, cell: Cell, attempts: int) -> object:  # type: ignore[override]
            future = super().submit(sweep_folder, cell, attempts)
            monkeypatch.setattr(future, "result", end)
            return future

    monkeypatch.setattr("tests.sweep.cells.execute", lambda *_, **__: None)
    engine = Engine()
    (outcome,) = run_cells(tmp_path, [NINE], engine).values()
    assert (outcome.status, outcome.attempts, len(engine.cells)) == ("failed", 5 if ended == "died" else 1, runs)
    assert str(outcome.error).startswith(error)
    assert read_outcome(cell_folder(tmp_path, NINE), NINE) == outcome


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    open_sweep(tmp_path / "new")
    open_sweep(tmp_path / "new")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").touch()
    for path in (tmp_path / "other", tmp_path / "other" / "run.json"):
        with pytest.raises(RunFolderError, match="exists and is not the folder of a sweep; choose another --out"):
            open_sweep(path)
