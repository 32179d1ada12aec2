"""Checkpoints: the state of a training run as safetensors and JSON. Nothing is ever unpickled.

    checkpoints/step-000700/networks.safetensors   weights and buffers, named NETWORK/PARAMETER
    checkpoints/step-000700/training.safetensors   optimisers, random generators, history of the losses
    checkpoints/step-000700/state.json             epoch, batch, step and what else is not a tensor
    checkpoints/step-000700/checksums.json         SHA-256 of the files above; checkpoints of schema 1 have none
    checkpoints/last.json, best.json               {"step": 700}: which one is which

A folder without state.json is a best checkpoint, kept to be used, not to be resumed.

A checkpoint is saved in this order: the best weights, the pointer to them, the state, the pointer to it; then what
is no longer needed is removed. Each of these is whole or not there, and durable before the next begins. So after a
crash at any moment `last` is a whole checkpoint, and `settle_checkpoints` removes what came after it.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from reviver.errors import RunFolderError
from reviver.io.files import (
    atomic_folder,
    clean_up,
    damaged,
    explain_write_errors,
    open_file,
    reading,
    replaced,
    sync,
    write_json,
)
from reviver.io.json import read_json
from reviver.io.tensors import read_header, read_tensors
from reviver.runs.schema import Checksums, Pointer, Position, validate
from reviver.text import one_line
from reviver.validation import Record

Networks = TypeVar("Networks", bound=tuple[nn.Module, ...])


@dataclass
class TrainingState:
    """All that a training loop changes, so that saving and restoring it loses nothing.

    Attributes:
        networks, optimizers, rngs: by name; rngs are the random number generators in use.
        tensors: by name; what else the loop carries, such as the losses since the last metrics line.
        epoch, batch, step: the next batch to train on, and the updates made so far.
        seconds: time spent in training so far.
        extra: what else the loop carries that JSON can hold; `best`, if it is there, has the `step` of the best weights.
        best_networks: state dicts by name of the best weights, until they are saved.
    """

    networks: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer]
    rngs: Mapping[str, torch.Generator] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)
    best_networks: Mapping[str, Mapping[str, Tensor]] | None = None

    @property
    def rollbacks(self) -> list[dict[str, Any]]:
        """The times that the run went back to a checkpoint, see session.py."""
        return [dict(one) for one in self.extra.get("rollbacks", ())]


def prepare_checkpoint(folder: Path, state: TrainingState, counts: Mapping[str, int], keep: int) -> Callable[[], None]:
    """Copy all of `state`, and return what writes the copy under `folder`, so that training can go on meanwhile.

    `counts` are the lines of each file of points. The newest `keep` checkpoints are kept. The best weights count as saved
    from here on. They are written in the order that the head of this file gives.
    """
    position = {
        "epoch": state.epoch,
        "batch": state.batch,
        "step": state.step,
        "seconds": state.seconds,
        **{f"{name}_count": count for name, count in counts.items()},
        "extra": state.extra,
    }
    Position.model_validate(position)  # what could not be read is not written
    text, step, best = json.dumps(position, allow_nan=False), state.step, state.extra.get("best")
    networks = _copy_tensors({name: one.state_dict() for name, one in state.networks.items()})
    training = _copy_tensors(
        {
            "optimizer": {name: one.state_dict()["state"] for name, one in state.optimizers.items()},
            "generator": {name: one.get_state() for name, one in state.rngs.items()},
            "tensor": state.tensors,
        }
    )
    best_networks, state.best_networks = state.best_networks, None

    def write() -> None:
        if best_networks is not None:
            assert best is not None
            save_best(folder, best["step"], best_networks)
        content = {
            "networks.safetensors": to_bytes(networks),
            "training.safetensors": to_bytes(training),
            "state.json": text.encode(),
        }
        _write_files(_step_folder(folder, step), content)
        write_json(folder / "last.json", {"step": step}, create_parent=False)
        prune_checkpoints(folder, keep)

    return write


def restore_checkpoint(folder: Path, state: TrainingState, names: Sequence[str] = ("metrics",)) -> dict[str, int]:
    """Bring `state` back to what `last` points at; returns how many lines each file of points in `names` had then.

    If there is no checkpoint yet, each had none, and `state` is left as it is: training starts at its beginning.

    Raises:
        RunFolderError: if the checkpoint is damaged or belongs to other networks.
    """
    if not (folder / "last.json").exists():
        return dict.fromkeys(names, 0)
    path = find_checkpoint(folder, "last")
    load_networks(path, state.networks)
    training = _load_tensors(path / "training.safetensors")
    _check_content(path / "state.json")
    position = _read_json(path / "state.json", Position)
    try:
        for name, optimizer in state.optimizers.items():
            slots: dict[int, dict[str, Tensor]] = {}
            for key, value in _select(training, f"optimizer/{name}/").items():
                index, slot = key.split("/")
                slots.setdefault(int(index), {})[slot] = value
            _check_slots(slots, optimizer)
            optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
        for name, generator in state.rngs.items():
            generator.set_state(training[f"generator/{name}"])
        for name, tensor in state.tensors.items():
            saved = training[f"tensor/{name}"]
            if saved.shape != tensor.shape:
                raise ValueError(f"{name} has the shape {list(saved.shape)}, not {list(tensor.shape)}")
            tensor.copy_(saved)
        counts = {name: position[f"{name}_count"] for name in names}
        for key in state.extra.keys() - {"best", "rollbacks"}:  # which come later than a loop begins
            position["extra"][key]
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise damaged(path, f"does not fit this run ({one_line(error)})") from error
    state.epoch, state.batch, state.step = position["epoch"], position["batch"], position["step"]
    state.seconds = float(position["seconds"])
    state.extra.clear()
    state.extra.update(position["extra"])
    state.best_networks = None
    return counts


def save_best(folder: Path, step: int, networks: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Keep the weights of `step` and point `best` at them; `networks` are state dicts by name."""
    if not _step_folder(folder, step).exists():
        _write_files(_step_folder(folder, step), {"networks.safetensors": to_bytes(_copy_tensors(networks))})
    write_json(folder / "best.json", {"step": step}, create_parent=False)


def find_checkpoint(folder: Path, which: str) -> Path:
    """Return the folder of the `last` or the `best` checkpoint under `folder`.

    Raises:
        RunFolderError: if there is none.
    """
    step = _read_pointer(folder, which)
    if step is None:
        raise RunFolderError(
            f"{folder.parent}: has no {which} checkpoint yet; train on with --resume until one is saved"
        )
    path = _step_folder(folder, step)
    return replaced(path) if not path.exists() and replaced(path).exists() else path


def load_networks(path: Path, networks: Mapping[str, nn.Module]) -> None:
    """Load the weights at the checkpoint `path` into `networks`.

    Raises:
        RunFolderError: if the file is damaged or its tensors do not fit.
    """
    tensors = _load_tensors(path / "networks.safetensors")
    for name, network in networks.items():
        try:
            network.load_state_dict(_select(tensors, f"{name}/"))
        except RuntimeError as error:
            raise _unfitting(path, name, one_line(error)) from error


def build_trained(path: Path, names: Sequence[str], build: Callable[[], Networks], layers: int = 0) -> Networks:
    """Return the networks that `build` makes by the settings in run.json, with the weights at the checkpoint `path`.

    Those settings are not trusted. So the shapes that they ask for, and the number of `layers`, are compared with the
    header of the weights before the networks take any memory. `names` are those of the networks there.

    Raises:
        RunFolderError: if the file is damaged, or its tensors have other names or shapes.
    """
    with reading(path / "networks.safetensors"):
        saved = read_header(path / "networks.safetensors").shapes
    if layers > len(saved):
        raise _unfitting(path, "network", f"it has {len(saved)} tensors for {layers} layers")
    try:
        with torch.device("meta"):
            wanted = build()
    except (RuntimeError, OverflowError, TypeError) as error:  # torch cannot count that far
        raise damaged(path.parents[1] / "run.json", f"its sizes are not possible ({one_line(error)})") from error
    for name, network in zip(names, wanted, strict=True):
        for key, tensor in network.state_dict().items():
            found, shape = saved.get(f"{name}/{key}"), tuple(tensor.shape)
            if found != shape:
                there = "is missing" if found is None else f"has the shape {list(found)}, not {list(shape)}"
                raise _unfitting(path, name, f"{key} {there}")
    networks = build()
    load_networks(path, dict(zip(names, networks, strict=True)))
    return networks


def settle_checkpoints(folder: Path, best_step: int | None, keep: int) -> None:
    """Bring `folder` back to what it was when its `last` checkpoint had been saved, if a process died in a later save.

    `best_step` is the step of the best weights that `last` knows.
    """
    if not folder.exists():
        return
    clean_up(folder)
    pointer = folder / "best.json"
    if best_step is None:
        with explain_write_errors(pointer):
            pointer.unlink(missing_ok=True)
    elif _read_pointer(folder, "best") not in (None, best_step):
        write_json(pointer, {"step": best_step}, create_parent=False)
    prune_checkpoints(folder, keep)


def prune_checkpoints(folder: Path, keep: int) -> None:
    """Remove full checkpoints but the newest `keep` up to `last`, and weights that were the best once."""
    last, best = _read_pointer(folder, "last"), _read_pointer(folder, "best")
    steps = sorted(folder.glob("step-*"), key=_order)
    kept = {_step_folder(folder, step) for step in (last, best) if step is not None}
    if last is not None:
        latest = _order(_step_folder(folder, last))
        full = [path for path in steps if _order(path) <= latest and (path / "state.json").exists()]
        kept |= set(full[-keep:])
    for path in steps:
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)


def _step_folder(folder: Path, step: int) -> Path:
    return folder / f"step-{step:06d}"


def _order(path: Path) -> tuple[int, str]:
    """Sorts the folders of steps by their step, also when it gains a digit."""
    return len(path.name), path.name


def _read_pointer(folder: Path, which: str) -> int | None:
    """The step that the `last` or the `best` checkpoint under `folder` has, or None if there is none."""
    path = folder / f"{which}.json"
    return int(_read_json(path, Pointer)["step"]) if path.exists() else None


def _read_json(path: Path, model: type[Record]) -> dict[str, Any]:
    """Read and validate a JSON file of a checkpoint."""
    with reading(path):
        value = read_json(path)
    validate(model, value, path)
    return value


def _load_tensors(path: Path) -> dict[str, Tensor]:
    with reading(path):
        tensors = read_tensors(path)
    _check_content(path)
    return tensors


def _unfitting(path: Path, name: str, problem: str) -> RunFolderError:
    return damaged(path, f"its weights do not fit the {name} of run.json ({problem})")


def _check_slots(slots: Mapping[int, Mapping[str, Tensor]], optimizer: torch.optim.Optimizer) -> None:
    """Refuse what an optimizer could not go on with: it keeps numbers, or tensors of its parameters' shapes."""
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    for index, values in slots.items():
        if not 0 <= index < len(parameters) or values.keys() != slots[min(slots)].keys():
            raise ValueError(f"the optimizer's state of parameter {index} is not that of the others")
        for key, value in values.items():
            if value.shape not in (torch.Size(), parameters[index].shape):
                raise ValueError(f"the optimizer's {key} of parameter {index} has the shape {list(value.shape)}")


def _check_content(path: Path) -> None:
    """Refuse a file of a checkpoint that is not what was saved."""
    sums = path.with_name("checksums.json")
    if not sums.exists():
        return
    wanted = _read_json(sums, Checksums).get(path.name)
    with reading(path), open_file(path) as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        raise damaged(path, "is not what was saved, its checksum differs")


def _write_files(path: Path, content: Mapping[str, bytes]) -> None:
    """Write a folder of files at `path`, with their checksums. A run folder that was removed is not made anew."""
    folder = path.parent
    with explain_write_errors(folder):
        if not folder.is_dir():
            folder.mkdir()
            sync(folder.parent)
    with atomic_folder(path) as temporary:
        for name, data in content.items():
            (temporary / name).write_bytes(data)
        sums = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
        (temporary / "checksums.json").write_text(json.dumps(sums, indent=2) + "\n")


def _copy_tensors(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, Tensor]:
    """Copy the tensors in nested mappings to the CPU, named by their keys: a/b/c."""
    copies: dict[str, Tensor] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            copies |= _copy_tensors(value, f"{prefix}{key}/")
        else:
            copies[f"{prefix}{key}"] = value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
    return copies


def _select(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, by the rest of their names."""
    return {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}
