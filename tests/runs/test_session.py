"""Sessions: status, time, scores and settings; devices and random numbers that a run begins with."""

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch

from reviver.errors import ConfigError, DeviceError, DivergenceError, Interrupted, ReviverError, RunFolderError
from reviver.runs import session as session_module
from reviver.runs.checkpoint import TrainingState, find_checkpoint, restore_checkpoint
from reviver.runs.devices import choose_device, describe_changes, find_changes
from reviver.runs.distributed.launch import job_id
from reviver.runs.distributed.world import ALONE, World
from reviver.runs.folder import RunFolder, refuse_existing
from reviver.runs.rng import make_rng
from reviver.runs.session import Session, open_run, training_session
from reviver.settings.lstm import LSTMConfig
from tests.runs.small import CPU, small_state


def begin(folder: RunFolder, state: TrainingState, *files: str) -> AbstractContextManager[Session]:
    return training_session(folder, state, total=1, description="", progress=False, files=("metrics", *files))


def test_non_finite_weight_is_never_saved(folder: RunFolder) -> None:
    state = small_state()

    def run() -> None:
        with begin(folder, state) as session:
            session.save()
            state.step = 3
            state.networks["other"][1].running_var.fill_(float("inf"))
            session.save()

    with pytest.raises(
        DivergenceError, match="step 3: a weight of the other is not finite; the last good checkpoint is"
    ):
        run()
    assert folder.status == "failed"
    assert find_checkpoint(folder.checkpoints, "last").name == "step-000002"


def test_session_records_the_final_status(folder: RunFolder) -> None:
    state = small_state()
    with begin(folder, state) as session:
        assert RunFolder.open(folder.path).status == "running"
        session.log(epoch=1, loss=0.5)
        session.save()
    assert RunFolder.open(folder.path).status == "finished"
    (record,) = folder.read_records("metrics")
    assert (record["step"], record["epoch"], record["loss"]) == (2, 1, 0.5)

    def stopped_run() -> None:
        with begin(folder, state) as session:
            assert not session.stop_requested
            os.kill(os.getpid(), signal.SIGTERM)
            assert session.stop_requested
            session.stop()

    with pytest.raises(Interrupted, match="stopped at step 2 by SIGTERM and saved"):
        stopped_run()
    assert RunFolder.open(folder.path).status == "interrupted"
    with pytest.raises(AssertionError), begin(folder, state):
        raise AssertionError
    record = RunFolder.open(folder.path).record
    assert (record["status"], record["error"]) == ("failed", "AssertionError")


def test_scores_have_their_own_file_and_are_truncated_on_resume(folder: RunFolder) -> None:
    state = small_state()
    with begin(folder, state, "scores") as session:
        session.log(loss=0.5)
        session.log_scores(fid=3.5, real_baseline={"fid": 2.0})
        session.save()
        session.log_scores(fid=2.5)  # after the last checkpoint
    assert [record["fid"] for record in folder.read_records("scores")] == [3.5, 2.5]
    with begin(folder, state, "scores") as session:
        assert folder.read_records("scores") == [{"step": 2, "fid": 3.5, "real_baseline": {"fid": 2.0}}]
        assert len(folder.read_records("metrics")) == 1
        session.log_scores(fid=2.25)
        session.save()
    assert [record["fid"] for record in folder.read_records("scores")] == [3.5, 2.25]
    assert restore_checkpoint(folder.checkpoints, state, ("metrics", "scores")) == {"metrics": 1, "scores": 2}
    with pytest.raises(RunFolderError, match=r"step-000002: does not fit this run .*other_count"):
        restore_checkpoint(folder.checkpoints, state, ("other",))


def test_training_time_adds_up_over_sessions_without_evaluation(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(session_module.time, "perf_counter", lambda: clock[0])
    for times in (1, 2):
        with begin(folder, small_state()) as session:
            before = session.seconds
            with session.evaluating():
                clock[0] += 3.0
            assert session.seconds == before
            clock[0] += 0.5
            session.save()
        record = RunFolder.open(folder.path).record
        assert (record["eval_seconds"], record["seconds"]) == (3.0 * times, 0.5 * times)


def test_resume_with_other_settings(folder: RunFolder) -> None:
    config = LSTMConfig(epochs=150, keep_checkpoints=5)
    open_run(folder.path, "lstm", config, CPU, resume=True)
    changed = RunFolder.open(folder.path)
    assert changed.read_config(LSTMConfig) == config
    before = (folder.path / "run.json").read_bytes()
    with pytest.raises(
        ConfigError, match=r"^epochs is 150 in this run, got 100; leave it out to resume, or start in a new"
    ):
        open_run(folder.path, "lstm", LSTMConfig(), CPU, resume=True)
    assert (folder.path / "run.json").read_bytes() == before
    changed.record["config"]["epochs"] = "x"
    changed.save_record()
    with pytest.raises(
        ConfigError, match=r"^epochs must be an integer, got 'x'; the run folder was damaged or written"
    ):
        open_run(folder.path, "lstm", LSTMConfig(), CPU, resume=True)


def random_numbers(seed: int, purpose: str) -> list[float]:
    return torch.rand(4, generator=make_rng(seed, purpose)).tolist()


def test_rng_depends_only_on_seed_and_purpose(golden: Callable[..., None]) -> None:
    before = torch.get_rng_state()
    purposes = ("weights", "split", "dropout", "order/0", "order/1", "order/10")
    numbers = {
        (seed, purpose): tuple(random_numbers(seed, purpose)) for seed in (0, 1, 2**63 - 1) for purpose in purposes
    }
    assert len(set(numbers.values())) == len(numbers)
    assert numbers[0, "weights"] == tuple(random_numbers(0, "weights"))
    golden("rngs", {f"{seed}/{purpose}": list(values) for (seed, purpose), values in numbers.items()}, relative=1e-6)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["", "gpu", "tpu", "meta", "cpu:1", "cuda:x", "CPU", "xpu", "cpu "])
def test_unknown_or_unavailable_device_is_refused(name: str) -> None:
    with pytest.raises(DeviceError, match=f"^device must be one of auto, cpu, cuda, cuda:0, mps, got {name!r}"):
        choose_device(name)
    message = "^device 'cuda:99' is not available on this machine; use --device auto or --device cpu"
    with pytest.raises(DeviceError, match=message):
        choose_device("cuda:99")


def all_errors(cls: type[ReviverError] = ReviverError) -> list[type[ReviverError]]:
    return [cls, *(error for child in cls.__subclasses__() for error in all_errors(child))]


@pytest.mark.parametrize("cls", all_errors())
def test_every_error_has_an_exit_code(cls: type[ReviverError]) -> None:
    error = Interrupted("stopped", signal.SIGINT) if cls is Interrupted else cls("message")
    assert error.exit_code in (1, 2, 130)
    assert str(error) in ("message", "stopped")


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
    folder = RunFolder.create(tmp_path / "run", "lstm", LSTMConfig(), torch.device("cpu"))
    refuse_existing(folder.path, World(restarts=1))
    with pytest.raises(RunFolderError, match="exists already"):
        refuse_existing(folder.path, ALONE)
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", "/logs/none_b/attempt_1/0/error.json")
    with pytest.raises(RunFolderError, match="exists already"):
        refuse_existing(folder.path, World(restarts=1))
