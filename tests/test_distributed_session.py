"""Sessions of several processes: one folder, one stop, one error; resume equals an undisturbed run."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from reviver.errors import ConfigError, DeviceError, RunFolderError
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.devices import choose_device, describe_machine
from reviver.runs.distributed.launch import job_id
from reviver.runs.distributed.world import ALONE, World
from reviver.runs.environment import describe_changes, find_changes
from reviver.runs.folder import JOB_FILE, RunFolder, refuse_existing
from reviver.train.lstm.training import train
from tests.distributed_session import CONFIG, CURRICULUM, OPTIONS, STEP

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


def results(folder: Path) -> dict[str, Any]:
    """Return the results of a run that do not depend on the time it took."""
    run = RunFolder.open(folder)
    last = find_checkpoint(run.checkpoints, "last")
    return {
        "step": last.name,
        "networks": (last / "networks.safetensors").read_bytes(),
        "training": (last / "training.safetensors").read_bytes(),
        "metrics": [{**row, "seconds": 0} for row in run.read_metrics()],
    }


def find_scenario(shared: Path) -> Path:
    """Return the folder of the runs of `tests.distributed_session.scenario` by two processes.

    Args:
        shared: folder that all test processes share; the first one trains the runs.
    """
    folder, done = shared / "distributed-session", shared / "distributed-session.done"
    with FileLock(shared / "distributed-session.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            command = [*TORCHRUN, "--standalone", "--nproc-per-node", "2", "-m", "tests.distributed_session"]
            command += ["scenario", str(folder)]
            ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)
            assert ended.returncode == 0, ended.stderr
            done.touch()
    return folder


@pytest.fixture(scope="module")
def folder(shared_folder: Path) -> Path:
    return find_scenario(shared_folder)


@pytest.fixture
def errors(folder: Path) -> list[dict[str, str]]:
    """Return the errors of the runs by rank."""
    return [json.loads((folder / f"errors-{rank}.json").read_text()) for rank in range(2)]


def test_all_processes_raise_the_same_errors(errors: list[dict[str, str]]) -> None:
    assert errors[0] == errors[1]
    assert errors[0]["undisturbed"] == errors[0]["resumed"] == ""
    assert errors[0]["existing"].endswith(
        "undisturbed: exists already and is never overwritten; choose another --out, or go on with --resume"
    )
    assert errors[0]["settings"] == (
        "ConfigError: learning_rate must be the same on all processes, got 0.001 on rank 0 and 0.002 on rank 1; start all "
        "with the same command, data and versions"
    )


def test_nothing_is_written_if_the_settings_differ(folder: Path) -> None:
    assert not (folder / "settings").exists()


def test_a_signal_to_one_process_stops_all_and_the_run_resumes(folder: Path, errors: list[dict[str, str]]) -> None:
    assert (
        f"stopped at step {STEP + 1} by SIGTERM and saved" in errors[0]["stopped"]
    )  # the next update carries the flag
    assert results(folder / "stopped") == results(folder / "undisturbed")


def test_several_processes_validate_before_they_train_as_one_does(folder: Path, tmp_path: Path) -> None:
    train(CURRICULUM, tmp_path / "run", device="cpu")
    runs = [RunFolder.open(path).read_metrics() for path in (folder / "curriculum", tmp_path / "run")]
    assert [row["length"] for row in runs[0]] == [4, 16, 40]
    assert [row["train_loss"] is None for row in runs[0]] == [False, True, True]
    for together, alone in zip(*runs, strict=True):
        for name in alone.keys() - {"seconds"}:
            assert together[name] == (alone[name] if alone[name] is None else pytest.approx(alone[name], rel=1e-5))


def test_run_json_records_the_processes(folder: Path) -> None:
    record = RunFolder.open(folder / "undisturbed").record
    assert record["status"] == "finished"
    assert (record["hardware"]["processes"], record["hardware"]["backend"]) == (2, "gloo")
    assert not (folder / "undisturbed" / JOB_FILE).exists()


def test_a_run_of_two_processes_resumes_with_one(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = train(CONFIG, folder / "half", device="cpu", resume=True)
    assert run.status == "finished"
    assert run.record["changes"][-1]["processes"] == [2, 1]
    assert "processes was 2 and is 1" in caplog.text
    losses, expected = (
        [row["train_loss"] for row in RunFolder.open(folder / name).read_metrics()] for name in ("half", "undisturbed")
    )
    assert losses == pytest.approx(expected, rel=1e-5)


def test_two_machines_equal_two_processes_of_one(folder: Path, tmp_path: Path) -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    agents = [
        subprocess.Popen(
            [*TORCHRUN, "--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(rank), "--rdzv-backend", "static",
             "--rdzv-endpoint", endpoint, "-m", "tests.distributed_session", "train", *OPTIONS, "--epochs", "8", "--out", tmp_path / "run"],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    outputs = [agent.communicate(timeout=300) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], outputs
    assert [bool(stdout) for stdout, _ in outputs] == [True, False], "rank 0 alone prints the result"
    assert "LSTM T=5, 2 processes (gloo)" in outputs[0][1]
    assert results(tmp_path / "run") == results(folder / "undisturbed")


def free_port() -> int:
    """Return a port that nobody uses now."""
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


# Without other processes


def test_hardware_names_the_processes_of_more_than_one() -> None:
    cpu = torch.device("cpu")
    assert "processes" not in describe_machine(cpu)
    assert "backend" not in describe_machine(cpu)
    machine = describe_machine(cpu, world=World(0, 4, "gloo"))
    assert (machine["processes"], machine["backend"]) == (4, "gloo")


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ({"processes": 2, "backend": "gloo"}, {"processes": 4, "backend": "gloo"}, "processes was 2 and is 4"),
        ({}, {"processes": 2, "backend": "gloo"}, "processes was 1 and is 2"),
        ({"processes": 2, "backend": "gloo"}, {}, "processes was 2 and is 1"),
        ({"processes": 2, "backend": "gloo"}, {"processes": 2, "backend": "nccl"}, "backend was gloo and is nccl"),
        ({"processes": 2, "backend": "gloo"}, {"processes": 2, "backend": "gloo"}, ""),
    ],
)
def test_changes_of_the_world_are_found(before: dict[str, Any], after: dict[str, Any], text: str) -> None:
    assert describe_changes(find_changes({"hardware": before}, {"hardware": after})) == text


@pytest.mark.parametrize(
    ("name", "local_rank", "expected"),
    [("cuda", 1, "cuda:1"), ("auto", 0, "cuda:0"), ("cuda", 2, "needs a GPU for each process, got 2"),
     ("cuda:0", 0, "must be cuda for several processes"), ("cpu", 1, "cpu")],
)  # fmt: skip
def test_each_process_gets_a_gpu(name: str, local_rank: int, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for key, value in {"RANK": local_rank, "LOCAL_RANK": local_rank, "WORLD_SIZE": 3}.items():
        monkeypatch.setenv(key, str(value))
    if " " in expected:
        with pytest.raises(DeviceError, match=expected):
            choose_device(name)
    else:
        assert str(choose_device(name)) == expected


@pytest.mark.parametrize("value", ["two", "-1", ""])
def test_a_wrong_environment_variable_is_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", value)
    with pytest.raises(ConfigError, match=f"WORLD_SIZE must be an integer ≥ 0, got '{value}'"):
        choose_device("cpu")


def test_only_a_restart_of_the_same_torchrun_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", "/logs/none_a/attempt_0/0/error.json")
    assert job_id() == "/logs/none_a"
    folder = RunFolder.create(tmp_path / "run", "lstm", replace(CONFIG), torch.device("cpu"))
    refuse_existing(folder.path, World(restarts=1))
    with pytest.raises(RunFolderError, match="exists already"):
        refuse_existing(folder.path, ALONE)
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", "/logs/none_b/attempt_1/0/error.json")
    with pytest.raises(RunFolderError, match="exists already"):
        refuse_existing(folder.path, World(restarts=1))
