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
from reviver.sweep import driver, engines
from reviver.sweep.cell import Outcome, cell_folder, execute
from reviver.sweep.driver import run_cells
from reviver.sweep.engines import Engine, Pool, RayEngine, SlurmEngine, check_address
from tests.sweep.cells import cell_of, wait_until

OPENERS: dict[str, Callable[[Path], Engine]] = {
    "pool": lambda _: Pool(jobs=2, threads=2),
    "ray": lambda _: RayEngine(jobs=2, threads=2),
    "slurm": lambda folder: SlurmEngine(folder, jobs=2, threads=2, options={"cluster": "local"}),
}


@pytest.fixture(params=OPENERS)
def open_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Engine]:
    """Return a function that opens an engine for two cells at a time, of two threads each."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    monkeypatch.setenv("RAY_worker_niceness", "0")  # by default 15, which starves its workers on a busy machine
    return OPENERS[request.param]


def test_an_engine_runs_cells_as_direct_execution_does(
    open_engine: Callable[[Path], Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(driver.LIMITS, "died", 2)
    squares = [cell_of("square", x=x) for x in (1.0, 2.0, 3.0)]
    failing, dying, dead = cell_of("refuse", value=3), cell_of("die", times=1), cell_of("die", times=100)
    cells = [dying, *squares, failing, dead]
    found = run_cells(tmp_path, cells, open_engine(tmp_path))
    results = [found[cell.key].result or {} for cell in squares]
    assert [result["square"] for result in results] == [1.0, 4.0, 9.0]
    assert all(result["threads"] == [2, "2"] and result["directory"] == str(Path.cwd()) for result in results)
    assert os.getpid() not in {result["pid"] for result in results}
    assert all((cell_folder(tmp_path, cell) / "calls").read_text() == "x" for cell in squares)
    assert (found[failing.key].status, found[failing.key].error) == ("failed", "value must be 1, got 3")
    assert (found[dying.key].result, found[dying.key].attempts) == ({"deaths": 1}, 2)
    assert (found[dead.key].status, found[dead.key].attempts) == ("failed", 2)
    assert "its worker died" in str(found[dead.key].error)
    assert all(execute(tmp_path, cell) == found[cell.key] for cell in cells), "recorded, so not run again"


def test_a_signal_lets_running_cells_save(open_engine: Callable[[Path], Engine], tmp_path: Path) -> None:
    cell = cell_of("wait_for_signal")
    folder = cell_folder(tmp_path, cell)

    def interrupt() -> None:
        wait_until((folder / "begun").exists)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Interrupted, match="stopped, the runs are saved; go on with the same command") as caught:
        run_cells(tmp_path, [cell, cell_of("square", x=1.0)], open_engine(tmp_path))
    thread.join()
    assert caught.value.exit_code == 143
    assert (folder / "saved").exists()
    assert not (folder / "outcome.json").exists()


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


@pytest.mark.parametrize(
    "address", ["", "head", "head:", "head:port", "head:0", "head:65536", "ray://head:10001", ":6379"]
)
def test_an_address_must_be_host_and_port(address: str) -> None:
    with pytest.raises(ConfigError, match=r"^address must be HOST:PORT .*, or auto, got"):
        check_address(address)


@pytest.mark.parametrize("answer", [None, b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"silence"])
def test_an_address_without_a_cluster_is_refused(answer: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens, the server closes the connection, is another one, or does not answer."""

    def reply() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(100)
            connection.sendall(answer or b"")

    monkeypatch.setattr(engines, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        if answer is None:
            server.close()
        elif answer != b"silence":
            threading.Thread(target=reply, daemon=True).start()
        with pytest.raises(ConfigError, match=f"^address '{address}' has no Ray cluster") as caught:
            check_address(address)
    assert caught.value.field == "address"


@pytest.mark.parametrize(("name", "library"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_library_names_the_extra(
    name: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=f"^engine {name} needs the library {library}, the extra {name} of") as caught:
        OPENERS[name](tmp_path)
    assert caught.value.field == "engine"


def test_slurm_needs_sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="sbatch and srun, which are not in PATH"):
        SlurmEngine(tmp_path)
    assert not any(tmp_path.iterdir())


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partitio": "gpu"}, r"^slurm\.partitio is unknown or invalid, got 'gpu'"),
        ({"cluster": ["lsf"]}, r"^slurm\.cluster must be slurm or local, got \['lsf'\]"),
        ({"timeout_min": "an hour"}, r"^slurm\.timeout_min is unknown or invalid, got 'an hour'"),
    ],
)
def test_options_of_slurm_are_checked(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        SlurmEngine(tmp_path, options={"cluster": "local", **options})
    assert caught.value.field == "slurm"
