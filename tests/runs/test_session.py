"""Sessions: time and settings; devices that a run begins with."""

from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from reviver.errors import ConfigError, DeviceError, ProcessLost, RunFolderError
from reviver.launch import choose_device, job_id
from reviver.runs import session as session_module
from reviver.runs.distributed.world import join_world
from reviver.runs.folder import RunFolder, refuse_existing
from reviver.runs.session import Session, open_run, training_session
from reviver.settings.lstm import LSTMConfig
from tests.runs.small import small_state


def begin(folder: RunFolder) -> AbstractContextManager[Session]:
    return training_session(folder, small_state(), total=1, description="", progress=False)


def test_training_time_adds_up_over_sessions_without_evaluation(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(session_module.time, "perf_counter", lambda: clock[0])
    for times in (1, 2):
        with begin(folder) as session:
            before = session.seconds
            with session.evaluating():
                clock[0] += 3.0
            assert session.seconds == before
            clock[0] += 0.5
            session.save()
        record = RunFolder.open(folder.path).record
        assert (record["eval_seconds"], record["seconds"]) == (3.0 * times, 0.5 * times)


def test_resume_with_other_settings(folder: RunFolder) -> None:
    config, before = LSTMConfig(epochs=150, keep_checkpoints=5), folder.record_path.read_bytes()
    opened = open_run(folder.path, "lstm", config, resume=True)
    assert folder.record_path.read_bytes() == before, "another process may train in the folder"
    with begin(opened):
        pass
    changed = RunFolder.open(folder.path)
    assert changed.read_config(LSTMConfig) == config
    before = folder.record_path.read_bytes()
    with pytest.raises(ConfigError, match=r"^epochs is 150 in this run, got 100; leave it out to resume, or start in"):
        open_run(folder.path, "lstm", LSTMConfig(), resume=True)
    assert folder.record_path.read_bytes() == before
    changed.record["config"]["epochs"] = "x"
    changed.save_record()
    problem = r"run\.json: cannot be read \(epochs must be an integer, got 'x'\); the file is damaged"
    with pytest.raises(RunFolderError, match=problem):
        open_run(folder.path, "lstm", LSTMConfig(), resume=True)


@pytest.mark.parametrize(
    ("name", "local_rank", "expected"),
    [("cuda", 1, "cuda:1"), ("auto", 0, "cuda:0"), ("cuda", 2, "device 'cuda:2' is not available"), ("cpu", 1, "cpu")],
)
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


def test_a_process_that_finds_no_others_says_so_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(key, value)
    problem = r"^could not connect with the other processes \(The client socket has timed out .*\); start all 2 of them"
    with pytest.raises(ProcessLost, match=problem), join_world(torch.device("cpu"), 0.2):
        pytest.fail("nobody is there")


def test_only_a_restart_of_the_same_torchrun_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", "/logs/none_a/attempt_0/0/error.json")
    assert job_id() == "/logs/none_a"
    folder = RunFolder.create(tmp_path / "run", "lstm", asdict(LSTMConfig()))
    with pytest.raises(RunFolderError, match="exists already"):
        refuse_existing(folder.path)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    refuse_existing(folder.path)
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", "/logs/none_b/attempt_1/0/error.json")
    with pytest.raises(RunFolderError, match="exists already"):
        refuse_existing(folder.path)
