"""Snapshots: what a run looked like at some moments of its training, for looking back.

    snapshots/step-000700.safetensors   tensors after 700 updates; train/gan/snapshots.py and train/lstm/snapshots.py say which

Nothing is resumed from them. Each is written atomically, before the checkpoint of its update. So after a crash or a
rollback, training only has to remove those that are later than its last checkpoint, and writes them again.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from reviver.files.atomic import atomic_write, make_folder
from reviver.files.file_errors import damaged_run_file, explain_read_errors, explain_write_errors
from reviver.files.read import Header, read_header
from reviver.runs.checkpoint import StepFile, find_step_files
from reviver.runs.folder import RunFolder

MAX_SNAPSHOTS = 1000
"""Maximum number of snapshots that are read."""
MAX_TOTAL_BYTES = 1 << 30
"""Maximum size of all snapshots that are read."""


def write_snapshot(folder: RunFolder, step: int, tensors: Mapping[str, Tensor]) -> None:
    """Write a snapshot after `step` updates, of tensors on the CPU by name; `RunFolderError` if the folder was removed."""
    folder.check_present()
    with explain_write_errors(folder.snapshots):
        make_folder(folder.snapshots, create_parent=False)
    with atomic_write(folder.snapshots / f"step-{step:06d}.safetensors", create_parent=False) as temporary:
        temporary.write_bytes(to_bytes({name: tensor.contiguous() for name, tensor in tensors.items()}))


def find_snapshots(folder: RunFolder) -> list[StepFile]:
    """Return the snapshots of a run in the order of training."""
    return find_step_files(folder.snapshots)


def remove_later_snapshots(folder: RunFolder, step: int) -> None:
    """Remove the snapshots after `step` updates, to which training has returned."""
    for snapshot in find_snapshots(folder):
        if snapshot.step > step:
            with explain_write_errors(snapshot.path):
                snapshot.path.unlink()


def check_total_size(folder: RunFolder, files: Sequence[StepFile]) -> None:
    """Raise `RunFolderError` if snapshots are so many or so large that they would fill memory, before any is read."""
    with explain_read_errors(folder.snapshots):
        total = sum(file.path.stat().st_size for file in files)
    if len(files) > MAX_SNAPSHOTS or total > MAX_TOTAL_BYTES:
        raise damaged_run_file(
            folder.snapshots,
            f"must have at most {MAX_SNAPSHOTS} snapshots and {MAX_TOTAL_BYTES} bytes, got {len(files)} and {total}",
        )


def read_snapshot_header(path: Path) -> Header:
    """Return the header of a snapshot, no tensor is read; a damaged file is a `RunFolderError`."""
    with explain_read_errors(path):
        return read_header(path)


def read_snapshot(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of an untrusted snapshot; names, shapes or dtypes other than those of `expected` are an error."""
    found = read_snapshot_header(path).shapes
    for name in sorted({*found} ^ {*expected}):
        raise damaged_run_file(path, f"{name[:100]!r} is {'missing' if name in expected else 'not expected'}")
    for name, tensor in expected.items():
        if found[name] != tuple(tensor.shape):
            raise damaged_run_file(path, f"{name} has the shape {list(found[name])}, not {list(tensor.shape)}")
    with explain_read_errors(path):
        tensors = load_file(path)
    for name, tensor in tensors.items():
        if tensor.dtype != expected[name].dtype:
            raise damaged_run_file(path, f"{name} must be {expected[name].dtype}, got {tensor.dtype}")
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise damaged_run_file(path, f"{name} has numbers that are not finite")
    return tensors
