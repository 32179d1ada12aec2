"""Engines of sweeps on Ray and Slurm: the same outcomes as direct execution, dead workers, stops, wrong settings."""

import os
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from reviver.errors import ConfigError, Interrupted, ReviverError, RunFolderError
from reviver.runs.session import handling_signals
from reviver.sweep.cell import Cell, Engine, Outcome
from reviver.sweep.execute import cell_folder, execute
from reviver.sweep.ray_engine import RayEngine, check_address
from reviver.sweep.slurm_engine import SlurmEngine

SQUARE, FAIL, DIE_ONCE, DIE, WAIT = (
    f"tests.test_sweep_engines:{name}" for name in ("square", "fail", "die_once", "die", "wait_for_signal")
)


def square(folder: Path, *, x: float) -> dict[str, Any]:
    import torch

    (folder / "x.txt").write_text(str(x))
    threads = {"threads": torch.get_num_threads(), "variable": os.environ["OMP_NUM_THREADS"]}
    return {"square": x * x, "directory": str(Path.cwd()), **threads}


def fail(folder: Path, *, x: float) -> dict[str, Any]:
    raise ConfigError(f"x must be at least 1, got {x}", "x")


def die_once(folder: Path) -> dict[str, Any]:
    """Die as `kill -9` does, and go on from what the first call left."""
    if not (folder / "begun").exists():
        (folder / "begun").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"resumed": True}


def die(folder: Path) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def wait_for_signal(folder: Path) -> dict[str, Any]:
    """Wait for a signal, save, and stop, as training does."""
    received: list[int] = []
    with handling_signals(lambda number, _: received.append(number)):
        (folder / "begun").touch()
        while not received:
            time.sleep(0.01)
    (folder / "saved").touch()
    raise Interrupted("stopped", received[0])


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    """Start Ray once; the engines of this file use it and leave it."""
    from reviver.sweep.ray_engine import _start, import_ray

    ray = import_ray()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))  # for the workers
        _start(ray, None, num_cpus=4)
        yield
        ray.shutdown()


@pytest.fixture(params=["ray", "slurm"])
def open_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Engine]:
    """Return a function that opens an engine for two cells at a time, of two threads each."""
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
        return lambda folder: RayEngine(folder, jobs=2, threads=2)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    return lambda folder: SlurmEngine(folder, jobs=2, threads=2, options={"cluster": "local"})


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.02)


def test_engine_runs_cells_as_direct_execution_does(
    open_engine: Callable[[Path], Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("ray_engine", "slurm_engine"):
        monkeypatch.setattr(f"reviver.sweep.{module}.MAX_ATTEMPTS", 2)
    cells = [
        Cell(SQUARE, {"x": 3.0}),
        Cell(FAIL, {"x": 0.5}),
        Cell(DIE_ONCE, {}),
        Cell(DIE, {}),
        Cell(SQUARE, {"x": 1.0}),
    ]
    square_cell, fail_cell, *_, damaged_cell = cells
    damaged = cell_folder(tmp_path / "engine", damaged_cell)
    damaged.mkdir(parents=True)
    (damaged / "outcome.json").write_text("{")
    engine = open_engine(tmp_path / "engine")
    assert engine.slots == 2
    futures = [engine.submit(cell) for cell in cells]
    engine.close(stop=False)
    *outcomes, resumed, dead = [future.result(timeout=0) for future in futures[:4]]
    expected = [execute(tmp_path / "direct", cell, 2) for cell in (square_cell, fail_cell)]
    assert [replace(outcome, seconds=0) for outcome in outcomes] == [replace(one, seconds=0) for one in expected]
    assert outcomes[0].result == {"square": 9.0, "directory": str(Path.cwd()), "threads": 2, "variable": "2"}
    assert (cell_folder(tmp_path / "engine", square_cell) / "x.txt").read_text() == "3.0"
    assert (resumed.status, resumed.result, resumed.attempts) == ("done", {"resumed": True}, 2)
    assert (dead.status, dead.attempts) == ("failed", 2)
    assert dead.error is not None
    assert "died" in dead.error
    assert "--retry-failed" in dead.error
    for cell, outcome in zip(cells, [*outcomes, resumed, dead], strict=False):
        assert execute(tmp_path / "engine", cell, 2) == outcome  # recorded, so not run again
    with pytest.raises(RunFolderError, match=r"outcome\.json"):
        futures[4].result(timeout=0)


def test_stop_lets_running_cells_save(open_engine: Callable[[Path], Engine], tmp_path: Path) -> None:
    cell = Cell(WAIT, {})
    engine = open_engine(tmp_path)
    future = engine.submit(cell)
    folder = cell_folder(tmp_path, cell)
    wait_until((folder / "begun").exists)
    engine.close(stop=True)
    assert future.result(timeout=0) == Outcome(cell.key, "stopped", seconds=ANY, host=ANY)
    assert (folder / "saved").exists()
    assert not (folder / "outcome.json").exists()
    assert not (folder / "claim.json").exists()


@pytest.mark.usefixtures("ray_cluster")
def test_ray_stops_cells_that_wait_for_a_slot(tmp_path: Path) -> None:
    cells = [Cell(WAIT, {}, {"number": number}) for number in range(3)]
    engine = RayEngine(tmp_path, jobs=1, threads=1)
    futures = [engine.submit(cell) for cell in cells]
    wait_until((cell_folder(tmp_path, cells[0]) / "begun").exists)
    engine.close(stop=True)
    assert [future.result(timeout=0).status for future in futures] == ["stopped"] * 3


@pytest.mark.usefixtures("ray_cluster")
def test_ray_knows_how_many_cells_fit(tmp_path: Path) -> None:
    engine = RayEngine(tmp_path, address="auto", threads=2)
    assert engine.slots == 2
    engine.close(stop=False)
    with pytest.raises(
        ConfigError, match="threads must be at most 4, the CPUs of a machine of the cluster at auto, got 5"
    ):
        RayEngine(tmp_path, address="auto", threads=5)


@pytest.mark.usefixtures("ray_cluster")
def test_head_node_answers() -> None:
    import ray

    check_address(ray.get_runtime_context().gcs_address)


@pytest.mark.parametrize(
    "address", ["", "head", "head:", "head:port", "head:0", "head:65536", "ray://head:10001", ":6379"]
)
def test_address_must_be_host_and_port(address: str) -> None:
    with pytest.raises(ConfigError, match=r"^address must be HOST:PORT .*, or auto, got") as caught:
        check_address(address)
    assert caught.value.field == "address"


@pytest.mark.parametrize("answer", [None, b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_address_without_a_cluster(answer: bytes | None) -> None:
    """Nobody listens, the server closes the connection, the server is another one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        if answer is None:
            server.close()
        else:
            threading.Thread(target=_answer, args=(server, answer), daemon=True).start()
        with pytest.raises(ConfigError, match=f"^address '{address}' has no Ray cluster") as caught:
            check_address(address)
    assert caught.value.field == "address"


def _answer(server: socket.socket, content: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(100)
        connection.sendall(content)


def test_silent_server_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reviver.sweep.ray_engine.CONNECT_SECONDS", 0.1)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(ConfigError, match=r"has no Ray cluster .*timed out"),
    ):
        check_address(f"127.0.0.1:{server.getsockname()[1]}")


@pytest.mark.parametrize(
    ("engine", "library", "extra"), [(RayEngine, "ray", "ray"), (SlurmEngine, "submitit", "slurm")]
)
def test_missing_library_names_the_extra(
    engine: Callable[[Path], Engine], library: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        ConfigError, match=f"^engine {extra} needs the library {library}, the extra {extra} of"
    ) as caught:
        engine(tmp_path)
    assert caught.value.field == "engine"


def test_slurm_needs_sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="sbatch and srun, which are not in PATH") as caught:
        SlurmEngine(tmp_path)
    assert caught.value.field == "engine"
    assert not any(tmp_path.iterdir())


@pytest.fixture
def fake_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an sbatch into PATH that refuses every job, and return its folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    problem = "echo 'sbatch: error: invalid partition specified: gpu' >&2\nexit 1"
    for name in ("sbatch", "srun"):
        (folder / name).write_text(f'#!/bin/sh\ncp "$1" "{folder}/script"\n{problem}\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def test_slurm_writes_options_into_the_batch_script(fake_slurm: Path, tmp_path: Path) -> None:
    options = {"partition": "gpu", "timeout_min": 30, "mem_gb": 4, "account": "lab", "setup": ["module load python"]}
    engine = SlurmEngine(tmp_path, threads=3, options=options)
    future = engine.submit(Cell(SQUARE, {"x": 1.0}))
    engine.close(stop=False)
    with pytest.raises(ReviverError, match=r"Slurm did not take the job: .*invalid partition"):
        future.result(timeout=0)
    lines = (fake_slurm / "script").read_text().splitlines()
    expected = ["partition=gpu", "time=30", "mem=4GB", "account=lab", "cpus-per-task=3", "job-name=reviver"]
    assert {f"#SBATCH --{option}" for option in expected} <= set(lines)
    assert "module load python" in lines
    assert stat.S_IMODE((tmp_path / "slurm").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partitio": "gpu"}, r"^slurm\.partitio is unknown; did you mean partition\?"),
        ({"cluster": ["lsf"]}, r"^slurm\.cluster must be slurm or local, got \['lsf'\]"),
        ({"nodes": 2}, r"^slurm\.nodes is unknown"),
        ({"timeout_min": "an hour"}, r"^slurm\.timeout_min is invalid, got 'an hour'"),
    ],
)
def test_slurm_options_are_checked(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        SlurmEngine(tmp_path, options={"cluster": "local", **options})
    assert caught.value.field == "slurm"
