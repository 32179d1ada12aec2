"""Runs of several processes: one folder, one stop, one error; resume equals an undisturbed run, also after a death."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from reviver.runs.checkpoint import find_checkpoint, find_step_files
from reviver.runs.folder import RunFolder
from reviver.train.lstm.training import train
from tests.contents import content
from tests.runs.distributed.training import CONFIG, OPTIONS, STEP, attempt_all, complete
from tests.runs.small import run_group

LOST = "another process was lost or does not answer"
TWO = ["--standalone", "--nproc-per-node", "2"]


def results(folder: Path) -> dict[str, Any]:
    """Return the results of a run that do not depend on the time it took."""
    run = RunFolder.open(folder)
    return {
        "last": content(find_checkpoint(run.checkpoints, "last")),
        "metrics": [{**row, "seconds": 0} for row in run.read_metrics()],
    }


@pytest.fixture(scope="module")
def folder(server: ForkServerContext, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the runs of `attempt_all` by two processes."""
    folder = tmp_path_factory.mktemp("runs")
    assert run_group(server, attempt_all, folder, 2) == [0, 0]
    return folder


def test_processes_share_a_run_its_errors_and_its_stop(folder: Path) -> None:
    errors, others = (json.loads((folder / f"errors-{rank}.json").read_text()) for rank in range(2))
    assert errors == others
    assert errors["undisturbed"] == errors["resumed"] == errors["half"] == ""
    assert "undisturbed: exists already and is never overwritten; choose another --out" in errors["existing"]
    assert errors["settings"] == (
        "ConfigError: learning_rate must be the same on all processes, got 0.001 on rank 0 and 0.002 on rank 1; start all "
        "with the same command, data and versions"
    )
    assert not (folder / "settings").exists()
    assert f"stopped at step {STEP + 1} by SIGTERM and saved" in errors["stopped"], "the next update carries the flag"
    assert results(folder / "stopped") == results(folder / "undisturbed")
    record = RunFolder.open(folder / "undisturbed").record
    assert record["status"] == "finished"
    assert (record["hardware"]["processes"], record["hardware"]["backend"]) == (2, "gloo")


def test_a_run_of_two_processes_resumes_with_one(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = train(CONFIG, shutil.copytree(folder / "half", tmp_path / "half"), device="cpu", resume=True)
    assert run.status == "finished"
    assert run.record["changes"][-1]["processes"] == [2, 1]
    assert "processes was 2 and is 1" in caplog.text
    expected = [row["train_loss"] for row in RunFolder.open(folder / "undisturbed").read_metrics()]
    assert [row["train_loss"] for row in run.read_metrics()] == pytest.approx(expected, rel=1e-5)


def start(launch: list[str], out: Path, *options: str, epochs: int = 8, **variables: str) -> subprocess.Popen[str]:
    """Start torchrun with the command line of `training`."""
    command = [sys.executable, "-m", "torch.distributed.run", *launch, "-m", "tests.runs.distributed.training"]
    command += ["train", *OPTIONS, "--epochs", str(epochs), "--out", str(out), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.long
def test_torchrun_restarts_what_died_and_reports_one_line(
    server: ForkServerContext, folder: Path, tmp_path: Path
) -> None:
    """Rank 0 is killed; after the restart, rank 1 is killed in the same update."""
    job = start([*TWO, "--max-restarts", "1"], tmp_path / "run", KILL_RANKS="0 1")
    _, stderr = job.communicate()
    assert job.returncode == 1
    (line,) = [line for line in stderr.splitlines() if line.startswith("error: ")]
    run = RunFolder.open(tmp_path / "run")
    error = run.record["error"]
    assert line.startswith(f"error: {error}")  # what torchrun logs may follow, in the same pipe
    assert error.startswith(f"{LOST} (")
    assert error.endswith("; go on with the same command and --resume, or torchrun with --max-restarts")
    assert run.status == "failed"
    assert "job" in run.record
    assert run_group(server, complete, tmp_path, 2) == [0, 0]
    assert results(run.path) == results(folder / "undisturbed")
    assert "job" not in RunFolder.open(run.path).record


@pytest.mark.long
def test_two_machines_equal_two_processes_of_one(folder: Path, tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{server.getsockname()[1]}"
    launch = ["--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "static", "--rdzv-endpoint", endpoint]
    agents = [start([*launch, "--node-rank", str(rank)], tmp_path / "run") for rank in range(2)]
    outputs = [agent.communicate() for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], outputs
    assert [bool(stdout) for stdout, _ in outputs] == [True, False], "rank 0 alone prints the result"
    assert "LSTM T=5, 2 processes (gloo)" in outputs[0][1]
    assert results(tmp_path / "run") == results(folder / "undisturbed")


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_hangs_fails_the_others_after_the_timeout(rank: int, tmp_path: Path) -> None:
    job = start(TWO, tmp_path / "run", "--timeout", "4", epochs=100_000)
    while not find_step_files(tmp_path / "run" / "checkpoints"):
        assert job.poll() is None, job.communicate()
        time.sleep(0.05)
    for child in Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split():
        if f"RANK={rank}" in Path(f"/proc/{child}/environ").read_text().split("\0"):
            os.kill(int(child), signal.SIGSTOP)  # torchrun kills it, once the other has failed
    _, stderr = job.communicate()
    assert LOST in stderr
    assert job.returncode == 1
