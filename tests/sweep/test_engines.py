"""Engines of sweeps: the same outcomes on all three, dead workers, stops, wrong settings."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reviver.errors import ConfigError, Interrupted, ReviverError
from reviver.sweep.driver import run_trials
from reviver.sweep.engines import Pool, RayEngine, SlurmEngine
from reviver.sweep.trials import Outcome, Trial, execute, trial_folder
from tests.sweep import trials as functions
from tests.sweep.trials import wait_until


@pytest.fixture
def short_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let Ray write into a folder that is removed; its path is short, since it holds sockets."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield


@pytest.mark.usefixtures("short_folder")
@pytest.mark.parametrize(
    "start",
    [
        lambda _: Pool(jobs=2, threads=2),
        lambda _: RayEngine(jobs=2, threads=2),
        lambda folder: SlurmEngine(folder, jobs=2, threads=2, options={"cluster": "local"}),
    ],
    ids=["pool", "ray", "slurm"],
)
def test_an_engine_runs_trials_in_processes_replaces_dead_ones_and_lets_trials_save_at_a_signal(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trial waits all the time, and the signal comes when the others have ended."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    monkeypatch.setenv("RAY_worker_niceness", "0")  # by default 15, which starves its workers on a busy machine
    waiting, dying, square = (
        Trial(functions.wait_for, {"path": str(tmp_path / "go")}),
        Trial(functions.die, {}),
        Trial(functions.square, {"x": 3.0}),
    )
    folder = trial_folder(tmp_path, waiting)
    paths = [folder / "begun", *(trial_folder(tmp_path, trial) / "outcome.json" for trial in (dying, square))]

    def interrupt() -> None:
        wait_until(lambda: all(path.exists() for path in paths))
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Interrupted, match="stopped, the runs are saved; go on with the same command") as caught:
        run_trials(tmp_path, [waiting, dying, square], start(tmp_path))
    thread.join()
    assert caught.value.exit_code == 143
    assert capsys.readouterr().out == "", "stdout is for results"
    assert (folder / "saved").exists()
    (tmp_path / "go").touch()
    outcomes = [execute(tmp_path, trial) for trial in (waiting, dying, square)]
    counts = [(one.status, one.attempts) for one in outcomes if isinstance(one, Outcome)]
    assert counts == [("done", 1), ("done", 2), ("done", 1)]
    assert (trial_folder(tmp_path, square) / "calls").read_text() == "x"  # its outcome was recorded
    result = json.loads(paths[-1].read_text())["result"]
    assert result | {"square": 9.0, "directory": str(Path.cwd()), "threads": "2"} == result
    assert result["pid"] != os.getpid()


def test_processes_of_the_pool_stay_for_the_next_trial_and_save_after_their_parent_is_killed(tmp_path: Path) -> None:
    trials = [
        Trial(functions.wait_for, {"path": str(tmp_path / "never")}),
        *(Trial(functions.square, {"x": x}) for x in (1.0, 2.0)),
    ]
    calls = [(trial.function.__name__, trial.arguments) for trial in trials]
    script = (
        "import sys; from pathlib import Path; from reviver.sweep.trials import Trial; from tests.sweep import trials;"
        "from reviver.sweep.driver import run_trials; from reviver.sweep.engines import Pool;"
        f"run_trials(Path(sys.argv[1]), [Trial(getattr(trials, name), arguments) for name, arguments in {calls}], Pool(2))"
    )
    running, *squares = (trial_folder(tmp_path, trial) for trial in trials)
    outcomes = [folder / "outcome.json" for folder in squares]
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], stderr=subprocess.PIPE) as process:
        wait_until(lambda: all(path.exists() for path in (running / "begun", *outcomes)))
        process.kill()
        assert process.stderr is not None
        # The end of the pipe comes after both processes have ended. Python warns that it removes their semaphores.
        assert b"Traceback" not in process.stderr.read()
    assert (running / "saved").exists()
    assert len({json.loads(path.read_text())["result"]["pid"] for path in outcomes}) == 1


def test_wrong_options_of_ray_are_refused_before_it_would_wait_for_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "init", lambda **_: None)
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {}}])
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with pytest.raises(ConfigError, match=r"^threads must be at most 0, the CPUs of this machine, got 2"):
        RayEngine(jobs=1, threads=2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"127.0.0.1:{server.getsockname()[1]}"
    for address in ("head:port", "127.0.0.1:65536", closed):
        with pytest.raises(ConfigError, match=rf"^address '{address}' has no Ray cluster \(.+\); give HOST:PORT"):
            RayEngine(address=address)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"^engine ray needs the library ray, the extra ray of reviver-nn"):
        RayEngine()


def test_options_of_slurm_reach_the_batch_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in for sbatch keeps the script and refuses the job."""
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text(f'#!/bin/sh\ncp "$1" "{tmp_path}/script"\necho "invalid partition" >&2\nexit 1\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    options = {"partition": "gpu", "timeout_min": 30, "mem_gb": 4, "setup": ["module load python"]}
    with pytest.raises(ReviverError, match=r"Slurm did not take the job: .*invalid partition"):
        run_trials(tmp_path, [Trial(functions.square, {"x": 1.0})], SlurmEngine(tmp_path, threads=3, options=options))
    lines = (tmp_path / "script").read_text().splitlines()
    expected = ["partition=gpu", "time=30", "mem=4GB", "cpus-per-task=3", "job-name=reviver"]
    assert {"module load python", *(f"#SBATCH --{option}" for option in expected)} <= set(lines)
    assert stat.S_IMODE((tmp_path / "slurm").stat().st_mode) == 0o700


def test_wrong_options_of_slurm_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    wrong: dict[str, dict[str, Any]] = {
        "engine slurm needs the commands sbatch and srun, which are not in PATH here; start": {"cluster": "slurm"},
        r"slurm\.cluster must be slurm or local, got \['lsf'\]": {"cluster": ["lsf"]},
        r"slurm\.partitio is unknown or invalid, got 'gpu'": {"partitio": "gpu"},
        r"slurm\.timeout_min is unknown or invalid, got 'an hour'": {"timeout_min": "an hour"},
    }
    for message, option in wrong.items():
        with pytest.raises(ConfigError, match=f"^{message}"):
            SlurmEngine(tmp_path, options={"cluster": "local", **option})
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ConfigError, match=r"^engine slurm needs the library submitit, the extra slurm of reviver-nn"):
        SlurmEngine(tmp_path)
