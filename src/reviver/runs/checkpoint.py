"""Checkpoints: the state of a training run in one safetensors file. Nothing is ever unpickled.

    checkpoints/step-000700.safetensors   everything that a training loop changes, after 700 updates
    checkpoints/best.safetensors          the best weights

    networks/NETWORK/NAME              parameters and buffers
    optimizers/NETWORK/INDEX/NAME      state of the optimizer of a network, by the index of the parameter
    rngs/NAME                          random number generators
    tensors/NAME                       other tensors, such as recent losses

The metadata has the position as JSON, see `save_checkpoint`; that of the best weights is their update with its metrics.
The file with the highest step is the last checkpoint.

Each file is written atomically and is on disk before the next one: the best weights, then the checkpoint. After a crash at
any moment the checkpoint before is there, and training from it finds the same best weights again.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from reviver.errors import RunFolderError
from reviver.files.atomic import atomic_write, make_folder
from reviver.files.file_errors import explain_read_errors, explain_write_errors
from reviver.files.read import parse_json, read_metadata

NAME = re.compile(r"step-([0-9]+)\.safetensors")
BEST = "best.safetensors"
POSITION = ("epoch", "batch", "step", "seconds")


@dataclass
class TrainingState:
    """Everything that a training loop changes, so that a resumed run continues bit for bit; mappings are by name."""

    networks: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer]
    rngs: dict[str, torch.Generator] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """Other tensors of the loop, such as the losses since the last line of metrics."""
    epoch: int = 0
    """Index of the current epoch."""
    batch: int = 0
    """Index of the next batch in the epoch."""
    step: int = 0
    """Updates made so far."""
    seconds: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)
    """Other state that JSON can hold. `extra["best"]`, if present, has the `step` and the metrics of the best weights."""
    best_networks: Mapping[str, Mapping[str, Tensor]] | None = None
    """State dicts of the best weights, until they are saved."""

    @property
    def rollbacks(self) -> list[dict[str, Any]]:
        """Rollbacks so far, oldest first; see `reviver.runs.records.Rollback`."""
        return [dict(rollback) for rollback in self.extra.get("rollbacks", ())]


def save_checkpoint(folder: Path, state: TrainingState, counts: Mapping[str, int], keep: int) -> None:
    """Save `state` as a checkpoint in `folder`, the `checkpoints` folder; its `best_networks` are saved and dropped.

    `counts` has the number of lines of each records file, such as `{"metrics": 12}`. Of the checkpoints the newest `keep`
    stay. A run folder that was removed is not recreated: that is a RunFolderError.
    """
    position = {
        **{name: getattr(state, name) for name in POSITION},
        **{f"{name}_count": count for name, count in counts.items()},
        "extra": state.extra,
    }
    content = {
        "networks": {name: network.state_dict() for name, network in state.networks.items()},
        "optimizers": {name: optimizer.state_dict()["state"] for name, optimizer in state.optimizers.items()},
        "rngs": {name: rng.get_state() for name, rng in state.rngs.items()},
        "tensors": state.tensors,
    }
    if state.best_networks is not None:
        write_tensors(folder / BEST, {"networks": state.best_networks}, state.extra["best"])
        state.best_networks = None
    write_tensors(folder / f"step-{state.step:06d}.safetensors", content, position)
    prune_checkpoints(folder, keep)


def restore_checkpoint(folder: Path, state: TrainingState, names: Sequence[str] = ("metrics",)) -> dict[str, int]:
    """Restore `state` from the last checkpoint in `folder`; without a checkpoint, leave it unchanged.

    Return the number of lines that each of the records files `names` had when it was saved; 0 without one. A checkpoint that is
    damaged or belongs to other networks is a RunFolderError.
    """
    if not find_step_files(folder):
        return dict.fromkeys(names, 0)
    path = find_checkpoint(folder, "last")
    with explain_read_errors(path):
        tensors, position = load_file(path), _read_position(path)
        _load_networks(tensors, state.networks)
        for name, optimizer in state.optimizers.items():
            slots: dict[int, dict[str, Tensor]] = {}
            for key, value in _remove_prefix(tensors, f"optimizers/{name}/").items():
                index, slot = key.split("/")
                slots.setdefault(int(index), {})[slot] = value
            optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
        for name, rng in state.rngs.items():
            rng.set_state(tensors[f"rngs/{name}"])
        for name, tensor in state.tensors.items():
            tensor.copy_(tensors[f"tensors/{name}"])
        counts = {name: position[f"{name}_count"] for name in names}
        for name in POSITION:
            setattr(state, name, position[name])
        state.extra.clear()
        state.extra.update(position["extra"])
    state.best_networks = None
    return counts


def find_step_files(folder: Path) -> dict[int, Path]:
    """Return the files `step-N.safetensors` in `folder` by their update, in the order of training; skip others."""
    matches = {path: NAME.fullmatch(path.name) for path in folder.glob("step-*")}
    return dict(sorted((int(match[1]), path) for path, match in matches.items() if match))


def find_checkpoint(folder: Path, which: str) -> Path:
    """Return the file of the checkpoint `which`, `last` or `best`, in `folder`; none is a `RunFolderError`."""
    if which == "best" and (folder / BEST).exists():
        return folder / BEST
    found = find_step_files(folder)
    if which == "best" or not found:
        raise RunFolderError(
            f"{folder.parent}: has no {which} checkpoint yet; continue training with --resume until one is saved"
        )
    return found[max(found)]


def checkpoint_step(path: Path) -> int:
    """Return the update at which the checkpoint at `path`, from `find_checkpoint`, was saved."""
    with explain_read_errors(path):
        return int(_read_position(path)["step"])


def load_networks(path: Path, networks: Mapping[str, nn.Module]) -> None:
    """Load the weights of the checkpoint at `path` into `networks` by name; RunFolderError if they do not fit."""
    with explain_read_errors(path):
        _load_networks(load_file(path), networks)


def _load_networks(tensors: Mapping[str, Tensor], networks: Mapping[str, nn.Module]) -> None:
    for name, network in networks.items():
        network.load_state_dict(_remove_prefix(tensors, f"networks/{name}/"))


def prune_checkpoints(folder: Path, keep: int) -> None:
    """Remove all checkpoints but the best and the newest `keep`."""
    for path in [*find_step_files(folder).values()][:-keep]:
        with suppress(OSError):  # the next save tries again
            path.unlink()


def write_tensors(path: Path, content: Mapping[str, Any], position: Mapping[str, Any] | None = None) -> None:
    """Write nested mappings of tensors to a file, whose folder is created in a run folder that exists."""
    metadata = None if position is None else {"position": json.dumps(position, allow_nan=False)}
    data = to_bytes(_flatten(content), metadata)
    with explain_write_errors(path.parent):
        make_folder(path.parent, create_parent=False)
    with atomic_write(path, create_parent=False) as temporary:
        temporary.write_bytes(data)


def _read_position(path: Path) -> dict[str, Any]:
    return parse_json(read_metadata(path).get("position", ""))


def _flatten(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, Tensor]:
    """Return the tensors in nested mappings, named by their keys: a/b/c."""
    tensors: dict[str, Tensor] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            tensors |= _flatten(value, f"{prefix}{key}/")
        else:
            tensors[f"{prefix}{key}"] = value.detach().cpu().contiguous()
    return tensors


def _remove_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix`, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
