"""Checkpoints: the whole state comes back, damage is named, old ones are removed."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save_file
from torch import nn

from reviver.errors import RunFolderError
from reviver.runs.checkpoint import (
    TrainingState,
    checkpoint_step,
    find_checkpoint,
    load_networks,
    restore_checkpoint,
    save_checkpoint,
)
from tests.contents import position
from tests.runs.small import small_state, update

STEP = "step-000002.safetensors"


def assert_same_state(first: TrainingState, second: TrainingState) -> None:
    states = [
        {
            "networks": {name: network.state_dict() for name, network in state.networks.items()},
            "optimizers": {name: each.state_dict()["state"] for name, each in state.optimizers.items()},
            "rngs": {name: rng.get_state() for name, rng in state.rngs.items()},
            "tensors": dict(state.tensors),
        }
        for state in (first, second)
    ]
    torch.testing.assert_close(*states, rtol=0, atol=0)
    assert (first.epoch, first.batch, first.step) == (second.epoch, second.batch, second.step)
    assert (first.seconds, first.extra) == (second.seconds, second.extra)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder with a checkpoint of `small_state`."""
    save_checkpoint(tmp_path, small_state(), {"metrics": 0}, 2)
    return tmp_path


def check_restore_raises(path: Path, match: str, state: TrainingState | None = None) -> None:
    with pytest.raises(RunFolderError, match=match) as caught:
        restore_checkpoint(path, state or small_state())
    assert "\n" not in str(caught.value)


def test_checkpoint_restores_the_whole_state(tmp_path: Path) -> None:
    state = small_state()
    state.epoch, state.seconds = 7, 12.5
    save_checkpoint(tmp_path, state, {"metrics": 42}, 2)
    fresh = small_state(seed=1)
    assert restore_checkpoint(tmp_path, fresh) == {"metrics": 42}
    assert_same_state(state, fresh)
    update(state)
    update(fresh)
    assert_same_state(state, fresh)
    assert [path.name for path in tmp_path.iterdir()] == [STEP]


def test_restore_without_a_checkpoint_changes_nothing(tmp_path: Path) -> None:
    state, untouched = small_state(), small_state()
    assert restore_checkpoint(tmp_path, state) == {"metrics": 0}
    assert_same_state(state, untouched)
    for which in ("last", "best"):
        with pytest.raises(RunFolderError, match=f"has no {which} checkpoint yet; continue training with --resume"):
            find_checkpoint(tmp_path / "checkpoints", which)


def test_a_damaged_checkpoint_is_named(saved: Path) -> None:
    path = saved / STEP
    content, weights, whole = path.read_bytes(), load(path.read_bytes()), position(path)
    for damaged in (content[: len(content) // 2], b"", b"\xff" * 32 + content[32:], b"[1, 2]", b"{}"):
        path.write_bytes(damaged)
        check_restore_raises(saved, rf"{STEP}: .* damaged, restore it or train again")
    torch.save(weights, path)
    check_restore_raises(saved, rf"{STEP}: cannot be read")  # a pickle is never loaded
    save_file(weights, path)
    check_restore_raises(saved, rf"{STEP}: cannot be read")
    del weights["rngs/noise"]
    save_file(weights, path, {"position": json.dumps(whole)})
    check_restore_raises(saved, rf"{STEP}: cannot be read \('rngs/noise'\)")


def test_a_checkpoint_of_other_networks_is_named(saved: Path) -> None:
    for name, network in (("network", nn.Linear(3, 5)), ("critic", nn.Linear(3, 2))):
        with pytest.raises(RunFolderError, match=rf"{STEP}: cannot be read \(Error.* in loading state_dict"):
            load_networks(saved / STEP, {name: network})
    state = small_state()
    state.tensors = {"history": torch.zeros(4)}
    check_restore_raises(saved, rf"{STEP}: cannot be read \(The size of tensor a", state)


def test_old_checkpoints_are_removed_except_the_best(tmp_path: Path) -> None:
    state = small_state()
    weights = {"network": state.networks["network"].state_dict()}
    (tmp_path / "step-5").mkdir()  # no checkpoint of the training
    for step in (7, 20, 999_998, 999_999, 1_000_000, 1_000_001):  # the steps gain a digit
        state.step = step
        if step == 7:
            state.extra["best"], state.best_networks = {"step": 7}, weights
        save_checkpoint(tmp_path, state, {"metrics": 0}, 3)
    names = ["best", "step-1000000", "step-1000001", "step-999999"]
    assert sorted(path.stem for path in tmp_path.glob("*.safetensors")) == names
    assert (tmp_path / "step-5").is_dir()
    assert [checkpoint_step(find_checkpoint(tmp_path, which)) for which in ("last", "best")] == [1_000_001, 7]
    network = nn.Linear(3, 2)
    load_networks(find_checkpoint(tmp_path, "best"), {"network": network})
    assert torch.equal(network.weight, weights["network"]["weight"])
