"""Engines of sweeps: the same outcomes on all three, dead workers, stops, wrong settings."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reviver.errors import ConfigError, Interrupted, ReviverError
from reviver.sweep.cell import Outcome, cell_folder, execute, read_outcome
from reviver.sweep.driver import run_cells
from reviver.sweep.engines import Engine, Pool, RayEngine, SlurmEngine
from tests.sweep.cells import cell_of, wait_until

OPENERS: dict[str, Callable[[Path], Engine]] = {
    "pool": lambda _: Pool(jobs=2, threads=2),
    "ray": lambda _: RayEngine(jobs=2, threads=2),
    "slurm": lambda folder: SlurmEngine(folder, jobs=2, threads=2, options={"cluster": "local"}),
}


@pytest.mark.parametrize("name", OPENERS)
def test_an_engine_runs_cells_as_direct_execution_does_and_lets_them_save_at_a_signal(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell waits for a signal all the time; the signal comes when the others have ended."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    monkeypatch.setenv("RAY_worker_niceness", "0")  # by default 15, which starves its workers on a busy machine
    waiting, dying, failing, threads = (cell_of(name) for name in ("wait_for_signal", "die", "crash", "count_threads"))
    squares = [cell_of("square", x=x) for x in (2.0, 3.0)]
    cells = [dying, *squares, failing, threads]
    paths = [cell_folder(tmp_path, cell) / "outcome.json" for cell in cells]

    def interrupt() -> None:
        wait_until(lambda: all(path.exists() for path in paths) and (cell_folder(tmp_path, waiting) / "begun").exists())
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Interrupted, match="stopped, the runs are saved; go on with the same command") as caught:
        run_cells(tmp_path, [waiting, *cells], OPENERS[name](tmp_path))
    thread.join()
    assert caught.value.exit_code == 143
    assert {path.name for path in cell_folder(tmp_path, waiting).iterdir()} >= {"begun", "saved"}
    assert read_outcome(cell_folder(tmp_path, waiting), waiting) is None
    found = {cell.key: execute(tmp_path, cell) for cell in cells}  # recorded, so not run again
    assert all((cell_folder(tmp_path, cell) / "calls").read_text() == "x" for cell in squares)
    outcomes = [outcome for outcome in found.values() if isinstance(outcome, Outcome)]
    assert [(one.status, one.attempts) for one in outcomes] == [
        *(("done", 2), ("done", 1), ("done", 1), ("failed", 1), ("done", 1)),
    ]
    results = [one.result or {} for one in outcomes]
    assert [result["square"] for result in results[1:3]] == [4.0, 9.0]
    assert {result["directory"] for result in results[1:3]} == {str(Path.cwd())}
    assert os.getpid() not in {result["pid"] for result in results[1:3]}
    assert outcomes[3].error == "ZeroDivisionError: by zero"
    assert results[4]["threads"] == [2, "2"]


def test_processes_of_the_pool_stay_and_are_replaced(tmp_path: Path) -> None:
    pool = Pool(jobs=1)
    pids = []
    for number in range(3):
        ended = pool.submit(tmp_path, cell_of("square", x=float(number)), 1).result()
        assert isinstance(ended, Outcome)
        pids.append((ended.result or {})["pid"])
        if number == 1:
            os.kill(pids[-1], signal.SIGKILL)
            (executor,) = pool._last
            wait_until(lambda executor=executor: bool(executor._broken))
    pool.close([])
    assert pids[0] == pids[1] != pids[2]


def test_processes_of_the_pool_save_and_end_after_their_parent_is_killed(tmp_path: Path) -> None:
    running, idle = cell_of("wait_for_signal"), cell_of("wait_for", path=str(tmp_path))
    script = (
        "import sys; from pathlib import Path; from reviver.sweep.driver import run_cells;"
        "from reviver.sweep.engines import Pool; from tests.sweep.cells import cell_of;"
        "cells = [cell_of('wait_for_signal'), cell_of('wait_for', path=sys.argv[1])];"
        "run_cells(Path(sys.argv[1]), cells, Pool(2))"
    )
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], stderr=subprocess.PIPE) as process:
        wait_until((cell_folder(tmp_path, running) / "begun").exists)
        wait_until((cell_folder(tmp_path, idle) / "outcome.json").exists)
        process.kill()
        assert process.stderr is not None
        # The end of the pipe comes after both processes have ended. Python warns that it removes their semaphores.
        assert b"Traceback" not in process.stderr.read()
    assert (cell_folder(tmp_path, running) / "saved").exists()


def test_a_machine_of_ray_must_have_the_cpus_of_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    calls: list[str] = []
    monkeypatch.setattr(ray, "init", lambda **options: calls.append(options["address"]))
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {}}])
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append("shutdown"))
    with pytest.raises(ConfigError, match=r"^threads must be at most 0, the CPUs of this machine, got 2"):
        RayEngine(jobs=1, threads=2)
    assert calls == ["local", "shutdown"]


@pytest.mark.parametrize("address", ["head", "head:port", "127.0.0.1:65536", "ray://head:10001", "127.0.0.1:{}"])
def test_an_address_without_a_cluster_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself would wait for minutes."""
    monkeypatch.setattr(pytest.importorskip("ray"), "init", None)  # a call would fail
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = address.format(server.getsockname()[1])
    with pytest.raises(ConfigError, match=rf"^address '{address}' has no Ray cluster \(.+\); give HOST:PORT") as caught:
        RayEngine(address=address)
    assert caught.value.field == "address"


@pytest.mark.parametrize(("name", "library"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_library_names_the_extra(
    name: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=f"^engine {name} needs the library {library}, the extra {name} of") as caught:
        OPENERS[name](tmp_path)
    assert caught.value.field == "engine"


def test_options_of_slurm_reach_the_batch_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in for sbatch refuses every job."""
    folder = tmp_path / "bin"
    folder.mkdir()
    problem = "echo 'sbatch: error: invalid partition specified: gpu' >&2\nexit 1"
    for name in ("sbatch", "srun"):
        (folder / name).write_text(f'#!/bin/sh\ncp "$1" "{folder}/script"\n{problem}\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    options = {"partition": "gpu", "timeout_min": 30, "mem_gb": 4, "account": "lab", "setup": ["module load python"]}
    with pytest.raises(ReviverError, match=r"Slurm did not take the job: .*invalid partition"):
        run_cells(tmp_path, [cell_of("square", x=1.0)], SlurmEngine(tmp_path, threads=3, options=options))
    lines = (folder / "script").read_text().splitlines()
    expected = ["partition=gpu", "time=30", "mem=4GB", "account=lab", "cpus-per-task=3", "job-name=reviver"]
    assert {f"#SBATCH --{option}" for option in expected} <= set(lines)
    assert "module load python" in lines
    assert stat.S_IMODE((tmp_path / "slurm").stat().st_mode) == 0o700


WRONG: dict[str, dict[str, Any]] = {
    "engine slurm needs the commands sbatch and srun, which are not in PATH here; start the": {"cluster": "slurm"},
    r"slurm\.partitio is unknown or invalid, got 'gpu'": {"partitio": "gpu"},
    r"slurm\.cluster must be slurm or local, got \['lsf'\]": {"cluster": ["lsf"]},
    r"slurm\.timeout_min is unknown or invalid, got 'an hour'": {"timeout_min": "an hour"},
}


@pytest.mark.parametrize("message", WRONG)
def test_options_of_slurm_are_checked(message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=f"^{message}") as caught:
        SlurmEngine(tmp_path, options={"cluster": "local", **WRONG[message]})
    assert caught.value.field == ("slurm" if message.startswith("slurm") else "engine")
    assert not any((tmp_path / "slurm").glob("*"))
