"""Cells of a sweep: claims, execution, the pool, and the driver."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch

from reviver.errors import Interrupted, RunFolderError
from reviver.sweep import claim as claims
from reviver.sweep.cell import MAX_ATTEMPTS, Cell, Outcome
from reviver.sweep.claim import CLAIM, acquire, find_holder, read_holder
from reviver.sweep.driver import open_sweep, run_cells
from reviver.sweep.execute import cell_folder, execute, give_up, read_outcome
from reviver.sweep.pool import Pool
from tests.children import open_server
from tests.sweep_cells import InlineEngine, cell_of

ADD = cell_of("add", a=1, b=2)


@pytest.fixture(scope="module")
def server() -> ForkServerContext:
    return open_server("tests.sweep_cells")


def wait_until(condition: Callable[[], bool], seconds: float = 100.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def age(folder: Path, seconds: float) -> None:
    """Let the heartbeat of a claim be that old."""
    status = (folder / CLAIM).stat()
    os.utime(folder / CLAIM, (status.st_atime, time.time() - seconds))


# Claims


def test_a_claim_is_held_by_one_worker(tmp_path: Path) -> None:
    claim = acquire(tmp_path)
    assert claim is not None
    with claim:
        assert acquire(tmp_path) is None
        holder = find_holder(tmp_path)
        assert holder == claim.holder
        assert (holder.pid, holder.attempt) == (os.getpid(), 1)
    assert find_holder(tmp_path) is None
    assert acquire(tmp_path) is not None, "a claim that was given up can be taken"


def test_the_heartbeat_of_a_claim_is_renewed(tmp_path: Path) -> None:
    claim = acquire(tmp_path, interval=0.01)
    assert claim is not None
    with claim:
        age(tmp_path, 1000)
        wait_until(lambda: time.time() - (tmp_path / CLAIM).stat().st_mtime < 500)
        assert acquire(tmp_path) is None


def test_a_stale_claim_is_taken_over_and_its_worker_notices(tmp_path: Path) -> None:
    paused = acquire(tmp_path)
    assert paused is not None
    age(tmp_path, claims.MAX_AGE + 1)
    assert find_holder(tmp_path) is None
    claim = acquire(tmp_path)
    assert claim is not None
    assert claim.holder.attempt == 2
    recorded: list[str] = []
    assert not paused.end(lambda: recorded.append("paused"))
    assert claim.end(lambda: recorded.append("claim"))
    assert recorded == ["claim"]


def test_the_claim_of_another_machine_is_stale_only_by_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(claims, "_process_space", lambda: "another machine")
        patched.setattr(os, "getpid", lambda: 2**22 + 1)  # no process has this id
        assert acquire(tmp_path) is not None
    assert acquire(tmp_path) is None
    assert acquire(tmp_path, max_age=-1) is not None


def take(folder: Path, start: Any, results: Any) -> None:
    start.wait()
    claim = acquire(folder)
    results.put(None if claim is None else claim.holder.token)
    start.wait()  # no process ends, so that no claim becomes stale, until all have tried


@pytest.mark.parametrize("round_number", range(3))
def test_one_of_many_processes_takes_the_claim_of_a_dead_one(
    round_number: int, tmp_path: Path, server: ForkServerContext
) -> None:
    died = server.Process(target=acquire, args=(tmp_path,))
    died.start()
    died.join()
    assert read_holder(tmp_path) is not None
    start, results = server.Barrier(8), server.Queue()
    processes = [server.Process(target=take, args=(tmp_path, start, results)) for _ in range(8)]
    for process in processes:
        process.start()
    tokens = [results.get(timeout=100) for _ in processes]
    for process in processes:
        process.join()
    holder = read_holder(tmp_path)
    assert holder is not None
    assert [token for token in tokens if token is not None] == [holder.token]
    assert holder.attempt == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_the_claim_of_a_dead_process_is_stale_before_its_parent_notices(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from reviver.sweep.claim import acquire; acquire(Path(sys.argv[1]))"
    with subprocess.Popen([sys.executable, "-c", code, tmp_path]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # waits, and leaves the exit status
        os.kill(process.pid, 0)  # the process exists, as a zombie
        assert acquire(tmp_path) is not None
    assert process.returncode == 0


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"token": 5}', "\0"])
def test_a_damaged_claim_is_an_error(content: str, tmp_path: Path) -> None:
    (tmp_path / CLAIM).write_text(content)
    with pytest.raises(RunFolderError, match=r"claim\.json: .*; the file is damaged"):
        acquire(tmp_path)


# Execution


def test_a_cell_is_executed_once(tmp_path: Path) -> None:
    first, second = execute(tmp_path, ADD), execute(tmp_path, ADD)
    assert first == second
    assert first.status == "done"
    assert first.result is not None
    assert first.result["sum"] == 3
    folder = cell_folder(tmp_path, ADD)
    assert (folder / "calls").read_text() == "x"
    assert json.loads((folder / "cell.json").read_text())["arguments"] == {"a": 1, "b": 2}
    assert not (folder / CLAIM).exists()


def test_threads_are_those_of_the_cell(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    result = execute(tmp_path, ADD, threads=2).result
    assert result is not None
    assert result["threads"] == 2
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("cell", "error"),
    [
        (cell_of("refuse", value=3), "value must be 1, got 3"),
        (cell_of("crash"), "ZeroDivisionError: by zero"),
        (cell_of("add", a=1), "TypeError: add() missing 1 required positional argument: 'b'"),
        (cell_of("return_nan"), "ValueError: Out of range float values are not JSON compliant"),
        (
            Cell("tests.sweep_cells:nothing", {}),
            "AttributeError: module 'tests.sweep_cells' has no attribute 'nothing'",
        ),
    ],
)
def test_an_error_of_the_function_is_an_outcome(cell: Cell, error: str, tmp_path: Path) -> None:
    outcome = execute(tmp_path, cell)
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert outcome.error.startswith(error)
    assert read_outcome(cell_folder(tmp_path, cell), cell) == outcome
    assert (cell_folder(tmp_path, cell) / "traceback.txt").exists() == (error != "value must be 1, got 3")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_cell_which_can_go_on(number: int, tmp_path: Path) -> None:
    cell = cell_of("wait_for", path=str(tmp_path / "go"))
    folder = cell_folder(tmp_path, cell)

    def interrupt() -> None:
        wait_until((folder / "started").exists)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert execute(tmp_path, cell).status == "stopped"
    thread.join()
    assert not (folder / CLAIM).exists()
    (tmp_path / "go").touch()
    assert execute(tmp_path, cell).status == "done"


def test_a_cell_that_another_worker_runs_is_left_alone(tmp_path: Path) -> None:
    folder = cell_folder(tmp_path, ADD)
    folder.mkdir(parents=True)
    assert acquire(folder) is not None
    assert execute(tmp_path, ADD).status == "claimed"
    assert give_up(tmp_path, ADD, "its worker died").status == "claimed"
    age(folder, claims.MAX_AGE + 1)
    outcome = execute(tmp_path, ADD)
    assert (outcome.status, outcome.attempts) == ("done", 2)


def test_a_paused_worker_records_nothing(tmp_path: Path) -> None:
    """Two workers run the cell: the first was paused for longer than the maximum age."""
    cell = cell_of("wait_for", path=str(tmp_path / "go"))
    folder = cell_folder(tmp_path, cell)
    with ThreadPoolExecutor(2) as pool:
        paused = pool.submit(execute, tmp_path, cell)
        wait_until((folder / "started").exists)
        age(folder, claims.MAX_AGE + 1)
        other = pool.submit(execute, tmp_path, cell)
        wait_until(lambda: (holder := read_holder(folder)) is not None and holder.attempt == 2)
        (tmp_path / "go").touch()
        assert (paused.result().status, other.result().status) == ("claimed", "done")
    assert read_outcome(folder, cell) == other.result()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"status": "perfect"}, "status must be done or failed, got 'perfect'"),
        ({"extra": 1}, "extra is unknown"),
        ({"seconds": -1.0}, "seconds must be at least 0, got -1.0"),
        ({"schema": 2}, "schema must be 1, got 2"),
        ({"key": "other"}, "is the outcome of the cell 'other'; remove it"),
    ],
)
def test_a_damaged_or_foreign_outcome_is_an_error(change: dict[str, object], problem: str, tmp_path: Path) -> None:
    execute(tmp_path, ADD)
    path = cell_folder(tmp_path, ADD) / "outcome.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(RunFolderError, match=f"outcome.json: {problem}"):
        execute(tmp_path, ADD)
    path.write_text(path.read_text()[:-5])
    with pytest.raises(RunFolderError, match=r"outcome\.json: cannot be read .*; the file is damaged"):
        execute(tmp_path, ADD)


# The pool


def test_the_pool_survives_dead_workers(tmp_path: Path) -> None:
    """One pool for all, since each process takes seconds to start."""
    pool = Pool(tmp_path, jobs=2, threads=1)
    cells = [cell_of("add", a=index, b=0) for index in range(6)]
    futures = [pool.submit(cell) for cell in (cell_of("die", times=1), *cells, cell_of("crash"))]
    first, *added, crashed = (future.result() for future in futures)
    assert first.result == {"deaths": 1}
    assert first.attempts == 2
    assert [outcome.result["sum"] for outcome in added if outcome.result] == list(range(6))
    pids = {outcome.result["pid"] for outcome in added if outcome.result}
    assert len(pids) <= 2, "workers stay for the next cell"
    assert os.getpid() not in pids
    assert crashed.status == "failed"
    idle = {*pool.pids()}
    for pid in idle:
        os.kill(pid, signal.SIGKILL)
    running = pool.submit(cell_of("wait_for", path="nothing"))
    wait_until((cell_folder(tmp_path, cell_of("wait_for", path="nothing")) / "started").exists)
    pool.close(stop=True)
    assert running.result().status == "stopped"


def test_a_cell_whose_worker_always_dies_fails(tmp_path: Path) -> None:
    cell = cell_of("die", times=100)
    pool = Pool(tmp_path, jobs=1)
    outcome = pool.submit(cell).result()
    pool.close(stop=False)
    assert (outcome.status, outcome.attempts) == ("failed", MAX_ATTEMPTS)
    assert outcome.error is not None
    assert outcome.error.startswith(
        f"its worker died {MAX_ATTEMPTS} times (killed, or out of memory); use fewer --jobs"
    )
    assert read_outcome(cell_folder(tmp_path, cell), cell) == outcome


# The driver


def test_the_driver_runs_each_cell_once_and_failures_on_demand(tmp_path: Path) -> None:
    cells = [ADD, cell_of("refuse", value=3), cell_of("add", a=4, b=4)]
    engine = InlineEngine(tmp_path)
    outcomes = run_cells(tmp_path, cells, engine)
    assert [outcomes[cell.key].status for cell in cells] == ["done", "failed", "done"]
    assert engine.cells == cells
    again = InlineEngine(tmp_path)
    assert run_cells(tmp_path, cells, again) == outcomes
    assert again.cells == []
    run_cells(tmp_path, cells, again, retry_failed=True)
    assert again.cells == [cells[1]]


def test_the_driver_waits_for_the_cells_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reviver.sweep.driver.POLL_OTHERS", 0.0)
    cells = [cell_of("add", a=index, b=0) for index in range(3)]
    folders = [cell_folder(tmp_path, cell) for cell in cells]
    for folder in folders[:2]:
        folder.mkdir(parents=True)
        assert acquire(folder) is not None

    def finish_first_and_die() -> None:
        wait_until((folders[2] / "outcome.json").exists)
        (folders[0] / CLAIM).unlink()
        execute(tmp_path, cells[0])
        age(folders[1], claims.MAX_AGE + 1)

    thread = threading.Thread(target=finish_first_and_die)
    thread.start()
    engine = InlineEngine(tmp_path)
    outcomes = run_cells(tmp_path, cells, engine)
    thread.join()
    assert [outcome.status for outcome in outcomes.values()] == ["done"] * 3
    assert set(outcomes) == {cell.key for cell in cells}
    assert engine.cells[0] == cells[2], "first what nobody runs"
    assert all((folder / "calls").read_text() == "x" for folder in folders)


def test_cells_can_wait_for_the_outcomes_of_others(tmp_path: Path) -> None:
    first, second = cell_of("add", a=1, b=0), cell_of("add", a=2, b=0)

    def select(outcomes: Mapping[str, Outcome]) -> tuple[Sequence[Cell], Sequence[Cell]]:
        if first.key not in outcomes:
            return [first], [second]
        return [cell for cell in (second,) if cell.key not in outcomes], []

    engine = InlineEngine(tmp_path)
    engine.slots = 2
    run_cells(tmp_path, [second, first], engine, select=select)
    assert engine.cells == [first, second]


def test_a_cell_that_somebody_stops_ends_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.sweep_cells.execute", lambda _, cell: Outcome(cell.key, "stopped"))
    with pytest.raises(Interrupted, match="stopped, the runs are saved; go on with the same command") as caught:
        run_cells(tmp_path, [ADD], InlineEngine(tmp_path))
    assert caught.value.exit_code == 143


@pytest.mark.parametrize("name", ["notes.txt", "run.json"])
def test_a_folder_of_something_else_is_refused(name: str, tmp_path: Path) -> None:
    open_sweep(tmp_path / "new")
    open_sweep(tmp_path / "new")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / name).touch()
    for path in (tmp_path / "other", tmp_path / "other" / name):
        with pytest.raises(RunFolderError, match="exists and is not the folder of a sweep; choose another --out"):
            open_sweep(path)
