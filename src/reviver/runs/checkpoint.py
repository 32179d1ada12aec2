"""Checkpoints: the state of a training run as safetensors and JSON. Nothing is ever unpickled.

    checkpoints/step-000700/networks.safetensors   weights and buffers, named NETWORK/PARAMETER
    checkpoints/step-000700/training.safetensors   states of optimizers and random number generators, recent losses
    checkpoints/step-000700/state.json             epoch, batch, step and other state that is not a tensor
    checkpoints/step-000700/checksums.json         SHA-256 of the files above
    checkpoints/last.json, best.json               {"step": 700}: pointers to the last and the best checkpoint

A folder without state.json contains only the best weights: it can be loaded, but not resumed.

A checkpoint is saved in this order: the state, the best weights, `best.json`, `last.json`; then old checkpoints are
removed. Each write is atomic and on disk before the next begins. So after a crash at any moment `last.json` points to a
complete checkpoint, and `recover_checkpoints` removes what was written after it.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from reviver.errors import RunFolderError
from reviver.files.atomic import atomic_folder, make_folder, previous_path, recover_interrupted_writes, write_json
from reviver.files.file_errors import damaged_run_file, explain_read_errors, explain_write_errors
from reviver.files.json import read_json
from reviver.files.read import open_file
from reviver.files.tensors import read_header, read_tensors
from reviver.runs.schema import Checksums, Extra, Pointer, position_model, validate
from reviver.settings.validation import Record
from reviver.text import one_line

NAME = re.compile(r"step-[0-9]{6,18}")
"""Name of the folder of a checkpoint; folders of other names stay."""
Networks = TypeVar("Networks", bound=tuple[nn.Module, ...])


@dataclass
class TrainingState:
    """Everything that a training loop changes, so that a resumed run continues bit for bit; mappings are by name."""

    networks: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer]
    rngs: Mapping[str, torch.Generator] = field(default_factory=dict)
    """Random number generators in use."""
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """Other tensors of the loop, such as the losses since the last line of metrics."""
    epoch: int = 0
    """Index of the current epoch."""
    batch: int = 0
    """Index of the next batch in the epoch."""
    step: int = 0
    """Updates made so far."""
    seconds: float = 0.0
    """Training time so far."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Other state that JSON can hold. `extra["best"]["step"]`, if present, is the step of the best weights."""
    best_networks: Mapping[str, Mapping[str, Tensor]] | None = None
    """State dicts of the best weights, until they are saved."""
    extra_model: type[Extra] = Extra
    """Model of `extra`."""

    @property
    def rollbacks(self) -> list[dict[str, Any]]:
        """Rollbacks so far, oldest first; see `reviver.runs.schema.Rollback`."""
        return [dict(rollback) for rollback in self.extra.get("rollbacks", ())]


def save_checkpoint(folder: Path, state: TrainingState, counts: Mapping[str, int], keep: int) -> None:
    """Save `state` as a checkpoint in `folder`, the `checkpoints` folder; its `best_networks` are saved and dropped.

    `counts` has the number of lines of each records file, such as `{"metrics": 12}`. Of the checkpoints the newest `keep`
    stay.

    Raises:
        RunFolderError: if a file cannot be written.
    """
    position = {
        "epoch": state.epoch,
        "batch": state.batch,
        "step": state.step,
        "seconds": state.seconds,
        **{f"{name}_count": count for name, count in counts.items()},
        "extra": state.extra,
    }
    position_model(state.extra_model).model_validate(position)  # never write what could not be read
    training = {
        "optimizer": {name: optimizer.state_dict()["state"] for name, optimizer in state.optimizers.items()},
        "generator": {name: rng.get_state() for name, rng in state.rngs.items()},
        "tensor": state.tensors,
    }
    content = {
        "networks.safetensors": to_bytes(_flatten({name: each.state_dict() for name, each in state.networks.items()})),
        "training.safetensors": to_bytes(_flatten(training)),
        "state.json": json.dumps(position, allow_nan=False).encode(),
    }
    _write_files(_step_folder(folder, state.step), content)
    if state.best_networks is not None:
        save_best(folder, state.extra["best"]["step"], state.best_networks)  # if it is this step, only the pointer
        state.best_networks = None
    write_json(folder / "last.json", {"step": state.step}, create_parent=False)
    prune_checkpoints(folder, keep)


def restore_checkpoint(folder: Path, state: TrainingState, names: Sequence[str] = ("metrics",)) -> dict[str, int]:
    """Restore `state` from the last checkpoint under `folder`; without a checkpoint, leave it unchanged.

    Returns:
        The number of lines that each of the records files `names` had when the checkpoint was saved; 0 without one.

    Raises:
        RunFolderError: if the checkpoint is damaged or belongs to other networks.
    """
    if not (folder / "last.json").exists() and not _restore_pointers(folder, state.extra_model):
        return dict.fromkeys(names, 0)
    path = find_checkpoint(folder, "last")
    load_networks(path, state.networks)
    training = _load_tensors(path / "training.safetensors")
    _verify_checksum(path / "state.json")
    position = _read_json(path / "state.json", position_model(state.extra_model))
    try:
        for name, optimizer in state.optimizers.items():
            slots: dict[int, dict[str, Tensor]] = {}
            for key, value in _remove_prefix(training, f"optimizer/{name}/").items():
                index, slot = key.split("/")
                slots.setdefault(int(index), {})[slot] = value
            _check_optimizer_state(slots, optimizer)
            optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
        for name, rng in state.rngs.items():
            rng.set_state(training[f"generator/{name}"])
        for name, tensor in state.tensors.items():
            saved = training[f"tensor/{name}"]
            if saved.shape != tensor.shape:
                raise ValueError(f"the shape of {name} must be {list(tensor.shape)}, got {list(saved.shape)}")
            tensor.copy_(saved)
        counts = {name: position[f"{name}_count"] for name in names}
        for key in state.extra.keys() - {"best", "improved", "rollbacks"}:  # these are optional
            position["extra"][key]  # raises KeyError if it is missing
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise damaged_run_file(path, f"does not fit this run ({one_line(error)})") from error
    state.epoch, state.batch, state.step = position["epoch"], position["batch"], position["step"]
    state.seconds = float(position["seconds"])
    state.extra.clear()
    state.extra.update(position["extra"])
    state.best_networks = None
    return counts


def _restore_pointers(folder: Path, extra_model: type[Extra]) -> bool:
    """Point to the newest checkpoint of a folder that has lost last.json; return whether there is one to go on with."""
    saved = [path for path in _step_folders(folder) if (path / "state.json").exists()]
    if not saved:
        return False
    extra = _read_json(saved[-1] / "state.json", position_model(extra_model))["extra"]
    best = extra.get("best", {}).get("step")
    if len(saved) == 1 and best is not None and not _step_folder(folder, best).exists():
        return False  # after a crash in the first save
    for name, step in (("best", best), ("last", checkpoint_step(saved[-1]))):
        if step is not None:
            write_json(folder / f"{name}.json", {"step": step}, create_parent=False)
    return True


def save_best(folder: Path, step: int, networks: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Save the best weights, those of `step`, and point `best.json` to them; `networks` are state dicts by name."""
    if not _step_folder(folder, step).exists():
        _write_files(_step_folder(folder, step), {"networks.safetensors": to_bytes(_flatten(networks))})
    write_json(folder / "best.json", {"step": step}, create_parent=False)


def find_checkpoint(folder: Path, which: str) -> Path:
    """Return the path of the checkpoint `which`, `last` or `best`, in `folder`; none is a `RunFolderError`."""
    step = _read_pointer(folder, which)
    if step is None:
        raise RunFolderError(
            f"{folder.parent}: has no {which} checkpoint yet; continue training with --resume until one is saved"
        )
    path = _step_folder(folder, step)
    previous = previous_path(path)  # is there if a crash interrupted the replacement of `path`
    return previous if not path.exists() and previous.exists() else path


def checkpoint_step(path: Path) -> int:
    """Return the update at which the checkpoint at `path`, from `find_checkpoint`, was saved."""
    return int(path.name.removesuffix(".old").rpartition("step-")[2])


def load_networks(path: Path, networks: Mapping[str, nn.Module]) -> None:
    """Load the weights of the checkpoint at `path` into `networks`, given by name.

    Raises:
        RunFolderError: if the file is damaged, or its tensors have other names or shapes.
    """
    tensors = _load_tensors(path / "networks.safetensors")
    for name, network in networks.items():
        try:
            network.load_state_dict(_remove_prefix(tensors, f"{name}/"))
        except RuntimeError as error:
            raise _mismatch_error(path, name, one_line(error)) from error


def build_trained(path: Path, names: Sequence[str], build: Callable[[], Networks], layers: int = 0) -> Networks:
    """Build networks from the settings in run.json, and load their weights from the checkpoint at `path`.

    The settings are not trusted. So the shapes that they imply, and the number of layers, are compared with the header
    of the weights before any memory is allocated.

    Args:
        path: folder of the checkpoint.
        names: names of the networks in the checkpoint, in the order of `build`'s result.
        build: function that builds the networks from the settings.
        layers: number of layers in the settings; each has at least one tensor.

    Raises:
        RunFolderError: if the file is damaged, or its tensors have other names or shapes.
    """
    weights = path / "networks.safetensors"
    with explain_read_errors(weights):
        saved = read_header(weights).shapes
    if layers > len(saved):
        raise _mismatch_error(path, "network", f"it has {len(saved)} tensors for {layers} layers")
    try:
        with torch.device("meta"):
            expected = build()
    except (RuntimeError, OverflowError, TypeError) as error:  # a size beyond the integers of torch
        raise damaged_run_file(path.parents[1] / "run.json", f"its sizes are too large ({one_line(error)})") from error
    for name, network in zip(names, expected, strict=True):
        for key, tensor in network.state_dict().items():
            found, shape = saved.get(f"{name}/{key}"), tuple(tensor.shape)
            if found != shape:
                problem = "is missing" if found is None else f"has the shape {list(found)}, not {list(shape)}"
                raise _mismatch_error(path, name, f"{key} {problem}")
    networks = build()
    load_networks(path, dict(zip(names, networks, strict=True)))
    return networks


def recover_checkpoints(folder: Path, best_step: int | None, keep: int) -> None:
    """Undo what an interrupted save left in `folder` after its last checkpoint, whose best weights are of `best_step`."""
    if not folder.exists():
        return
    recover_interrupted_writes(folder)
    pointer = folder / "best.json"
    if best_step is None:
        with explain_write_errors(pointer):
            pointer.unlink(missing_ok=True)
    elif _read_pointer(folder, "best") not in (None, best_step):
        write_json(pointer, {"step": best_step}, create_parent=False)
    prune_checkpoints(folder, keep)


def prune_checkpoints(folder: Path, keep: int) -> None:
    """Remove all checkpoints except the best, and the newest `keep` that can be resumed, up to the last."""
    last, best = _read_pointer(folder, "last"), _read_pointer(folder, "best")
    steps = _step_folders(folder)
    kept = {_step_folder(folder, step) for step in (last, best) if step is not None}
    if last is not None:
        latest = _sort_key(_step_folder(folder, last))
        resumable = [path for path in steps if _sort_key(path) <= latest and (path / "state.json").exists()]
        kept |= set(resumable[-keep:])
    for path in steps:
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)


def _step_folder(folder: Path, step: int) -> Path:
    return folder / f"step-{step:06d}"


def _step_folders(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("step-*") if NAME.fullmatch(path.name)), key=_sort_key)


def _sort_key(path: Path) -> tuple[int, str]:
    """Return the key that sorts folders by step, also beyond the six digits that are zero-padded."""
    return len(path.name), path.name


def _read_pointer(folder: Path, which: str) -> int | None:
    """Return the step of the `last` or `best` checkpoint under `folder`, or None if there is none."""
    path = folder / f"{which}.json"
    return int(_read_json(path, Pointer)["step"]) if path.exists() else None


def _read_json(path: Path, model: type[Record]) -> dict[str, Any]:
    """Read and validate a JSON file of a checkpoint."""
    with explain_read_errors(path):
        value = read_json(path)
    validate(model, value, path)
    return value


def _load_tensors(path: Path) -> dict[str, Tensor]:
    with explain_read_errors(path):
        tensors = read_tensors(path)
    _verify_checksum(path)
    return tensors


def _mismatch_error(path: Path, name: str, problem: str) -> RunFolderError:
    return damaged_run_file(path, f"its weights do not fit the {name} of run.json ({problem})")


def _check_optimizer_state(slots: Mapping[int, Mapping[str, Tensor]], optimizer: torch.optim.Optimizer) -> None:
    """Raise `ValueError` unless each value is a scalar or has the shape of its parameter; `slots` are by parameter index."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, values in slots.items():
        if not 0 <= index < len(parameters) or values.keys() != slots[min(slots)].keys():
            raise ValueError(f"the optimizer's state of parameter {index} differs from that of the others")
        for key, value in values.items():
            if value.shape not in (torch.Size(), parameters[index].shape):
                raise ValueError(f"the optimizer's {key} of parameter {index} has the shape {list(value.shape)}")


def _verify_checksum(path: Path) -> None:
    """Raise `RunFolderError` if the checksum of a file is not that in checksums.json."""
    sums = path.with_name("checksums.json")
    if not sums.exists():
        return
    expected = _read_json(sums, Checksums).get(path.name)
    with explain_read_errors(path), open_file(path) as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise damaged_run_file(path, "has changed since it was saved, its checksum differs")


def _write_files(path: Path, content: Mapping[str, bytes]) -> None:
    """Write a folder of files at `path`, with their checksums; if the run folder was removed, fail instead of recreating it."""
    with explain_write_errors(path.parent):
        make_folder(path.parent, create_parent=False)
    with atomic_folder(path) as temporary:
        for name, data in content.items():
            (temporary / name).write_bytes(data)
        sums = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
        (temporary / "checksums.json").write_text(json.dumps(sums, indent=2) + "\n")


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
