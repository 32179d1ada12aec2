"""Checkpoints: damage is named, old ones are removed."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save_file
from torch import nn

from reviver.errors import RunFolderError
from reviver.runs.checkpoint import (
    checkpoint_step,
    find_checkpoint,
    load_networks,
    restore_checkpoint,
    save_checkpoint,
)
from tests.contents import position
from tests.runs.small import small_state

STEP = "step-000002.safetensors"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder with a checkpoint of `small_state`."""
    save_checkpoint(tmp_path, small_state(), {"metrics": 0}, 2)
    return tmp_path


def check_restore_raises(path: Path, problem: str) -> None:
    with pytest.raises(
        RunFolderError, match=rf"{STEP}: cannot be read.*{problem}.*; the file is damaged, restore"
    ) as caught:
        restore_checkpoint(path, small_state())
    assert "\n" not in str(caught.value)


def test_a_damaged_checkpoint_is_named(saved: Path) -> None:
    path = saved / STEP
    content, weights, whole = path.read_bytes(), load(path.read_bytes()), position(path)
    for damaged in (content[: len(content) // 2], b"", b"\xff" * 32 + content[32:], b"[1, 2]", b"{}"):
        path.write_bytes(damaged)
        check_restore_raises(saved, "")
    torch.save(weights, path)
    check_restore_raises(saved, "")  # a pickle is never loaded
    save_file(weights, path)
    check_restore_raises(saved, "")
    del weights["rngs/noise"]
    save_file(weights, path, {"position": json.dumps(whole)})
    check_restore_raises(saved, "'rngs/noise'")


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
