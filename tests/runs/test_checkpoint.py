"""Checkpoints: the whole state comes back, damage is noticed, old ones are removed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from reviver.errors import RunFolderError
from reviver.runs.checkpoint import (
    TrainingState,
    checkpoint_step,
    find_checkpoint,
    load_networks,
    prune_checkpoints,
    restore_checkpoint,
    save_best,
    save_checkpoint,
)
from tests.runs.small import small_state, update


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


def check_restore_raises(path: Path, match: str) -> str:
    """Return the text of the error."""
    with pytest.raises(RunFolderError, match=match) as caught:
        restore_checkpoint(path, small_state())
    assert "\n" not in str(caught.value)
    return str(caught.value)


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
    assert not list(tmp_path.rglob(".*"))


def test_restore_without_a_checkpoint_changes_nothing(tmp_path: Path) -> None:
    state, untouched = small_state(), small_state()
    assert restore_checkpoint(tmp_path, state) == {"metrics": 0}
    assert_same_state(state, untouched)
    for which in ("last", "best"):
        with pytest.raises(RunFolderError, match=f"has no {which} checkpoint yet; continue training with --resume"):
            find_checkpoint(tmp_path / "checkpoints", which)


STEP = "step-000002"
FILES = ("networks.safetensors", "training.safetensors", "state.json")


@pytest.mark.parametrize("name", ["last.json", *(f"{STEP}/{name}" for name in FILES)])
def test_damaged_checkpoint_raises(name: str, saved: Path) -> None:
    path = saved / name
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"\xff" * 32 + content[32:], b"[1, 2]", b"{}"):
        path.write_bytes(damaged)
        check_restore_raises(saved, rf"{path.name}: .* damaged, restore it or train again")
    if name == "last.json":
        return  # without a pointer there is no checkpoint, and the pointer has no checksum
    for bit in range(0, 8 * len(content), max(1, 8 * len(content) // 50)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        check_restore_raises(saved, "damaged, restore it or train again")
    path.unlink()
    check_restore_raises(saved, rf"{path.name}: .* damaged, restore it or train again")
    path.write_bytes(content)
    assert restore_checkpoint(saved, small_state()) == {"metrics": 0}


REMOVED = object()
INVALID_STATES: list[dict[str, Any]] = [
    *({"extra": value} for value in (3, {"rollbacks": [3]}, {"best": {}}, {"best": {"step": 3, "loss": 1}})),
    {"momentum": 1},
    {"step": 2**63 - 1 + 1e3},
    {"epoch": "x"},
    {"metrics_count": None},
    *({key: REMOVED} for key in ("epoch", "batch", "step", "seconds", "metrics_count", "extra")),
]


def test_invalid_key_of_a_pointer_or_the_state_raises(saved: Path, same_words: Callable[..., None]) -> None:
    path = saved / STEP / "state.json"
    path.with_name("checksums.json").unlink()
    content = json.loads(path.read_text())
    for change in INVALID_STATES:
        changed = {key: value for key, value in (content | change).items() if value is not REMOVED}
        path.write_text(json.dumps(changed))
        text = check_restore_raises(saved, rf"state\.json: {next(iter(change))}.*; the file is damaged, restore it or")
        same_words(text, str(change).replace(str(REMOVED), "removed"))
    for step in ("2", "../../outside", True, -1, 10**30):
        (saved / "last.json").write_text(json.dumps({"step": step}))
        same_words(
            check_restore_raises(saved, r"last\.json: (step must be|cannot be read).*; the file is damaged"), step
        )


def test_state_of_another_training_loop_raises(saved: Path) -> None:
    stages, history, optimizer = small_state(), small_state(), small_state()
    stages.extra["stage"] = 0
    history.tensors = {"history": torch.zeros(4)}
    optimizer.optimizers = {"network": torch.optim.Adam(optimizer.networks["other"].parameters())}
    smaller = small_state()
    smaller.optimizers = {"network": torch.optim.RMSprop([next(smaller.networks["network"].parameters())])}
    for state, problem in (
        (smaller, "the optimizer's state of parameter 1 differs .*"),
        (stages, "'stage'"),
        (history, r"the shape of history must be \[4\], got \[3\]"),
        (optimizer, "the optimizer's square_avg of parameter 0 has the shape .*"),
    ):
        with pytest.raises(RunFolderError, match=rf"step-000002: does not fit this run \({problem}\)"):
            restore_checkpoint(saved, state)


def test_weights_of_another_network_raise(saved: Path) -> None:
    for name, network in (("network", nn.Linear(3, 5)), ("critic", nn.Linear(3, 2))):
        with pytest.raises(RunFolderError, match=rf"step-000002: its weights do not fit the {name} of run\.json"):
            load_networks(saved / STEP, {name: network})
    (saved / STEP / "checksums.json").unlink()
    torch.save({"network/weight": torch.zeros(2, 3)}, saved / STEP / "networks.safetensors")
    check_restore_raises(saved, r"networks\.safetensors: cannot be read")  # a pickle is never loaded


def steps_on_disk(path: Path) -> list[int]:
    return sorted(int(found.name.removeprefix("step-")) for found in path.glob("step-*"))


def test_old_checkpoints_are_removed_except_the_best(tmp_path: Path) -> None:
    state = small_state()
    weights = {"network": state.networks["network"].state_dict()}
    (tmp_path / "step-5").mkdir()  # no checkpoint of the training
    for step in (10, 20, 30, 40):
        state.step = step
        if step == 10:
            state.extra["best"], state.best_networks = {"step": 7}, weights
        save_checkpoint(tmp_path, state, {"metrics": 0}, 2)
    assert steps_on_disk(tmp_path) == [5, 7, 30, 40]
    assert find_checkpoint(tmp_path, "best").name == "step-000007"
    save_best(tmp_path, 40, weights)  # the best is the last: it must remain resumable
    prune_checkpoints(tmp_path, 2)
    assert steps_on_disk(tmp_path) == [5, 30, 40]
    assert restore_checkpoint(tmp_path, small_state()) == {"metrics": 0}
    for step in (999_998, 999_999, 1_000_000, 1_000_001):  # the steps gain a digit
        state.step = step
        save_checkpoint(tmp_path, state, {"metrics": 0}, 3)
    assert steps_on_disk(tmp_path) == [5, 40, 999_999, 1_000_000, 1_000_001]
    path = find_checkpoint(tmp_path, "last")
    replaced = path.rename(path.with_name(f".{path.name}.old"))  # as a crash in a replacement leaves it
    for one, step in ((find_checkpoint(tmp_path, "last"), 1_000_001), (find_checkpoint(tmp_path, "best"), 40)):
        assert checkpoint_step(one) == step
    assert find_checkpoint(tmp_path, "last") == replaced


def test_lost_pointers_are_restored(saved: Path) -> None:
    state = small_state()
    state.step, state.extra["best"] = 5, {"step": 3}
    state.best_networks = {"network": state.networks["network"].state_dict()}
    save_checkpoint(saved, state, {"metrics": 4}, 1)
    for path in saved.glob("*.json"):
        path.unlink()
    assert restore_checkpoint(saved, small_state()) == {"metrics": 4}
    assert [find_checkpoint(saved, which).name for which in ("last", "best")] == ["step-000005", "step-000003"]
    (saved / "last.json").unlink()
    (saved / "step-000003").rename(saved / "gone")
    assert restore_checkpoint(saved, small_state()) == {"metrics": 0}, "as after a crash in the first save"
