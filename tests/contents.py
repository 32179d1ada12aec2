"""Contents of a run folder without times: runs are bit-for-bit equal if these are."""

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import deserialize, safe_open

TIMES = ("started", "updated", "seconds", "eval_seconds")


def contents(folder: Path) -> dict[str, Any]:
    """Return the content of each file of a run folder by its relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.parent.name != "tensorboard")
    folders = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_dir())
    return {
        "folders": folders,
        "tensorboard": tensorboard_values(folder / "tensorboard"),
        **{str(path.relative_to(folder)): content(path) for path in files},
    }


def content(path: Path) -> Any:
    """Return the content of a file without times and what depends on them, or a hash if it is not JSON."""
    if path.name == "run.json":
        record = json.loads(path.read_text())
        return {name: value for name, value in record.items() if name not in TIMES}
    if path.parent.name == "checkpoints" and path.suffix == ".safetensors":
        digest = hashlib.sha256()
        for name, tensor in sorted(deserialize(path.read_bytes())):
            digest.update(f"{name} {tensor['dtype']} {tensor['shape']}".encode() + tensor["data"])
        found = {name: value for name, value in position(path).items() if name not in TIMES}
        return {**found, "tensors": digest.hexdigest()}
    if path.suffix == ".jsonl":
        lines = path.read_text().removesuffix("\n").split("\n")
        return [{**json.loads(line), "seconds": None} for line in lines if line]
    return hashlib.sha256(path.read_bytes()).hexdigest()


def position(path: Path) -> dict[str, Any]:
    """Return the position in the metadata of a checkpoint."""
    with safe_open(path, "np") as file:
        found: dict[str, Any] = json.loads(file.metadata()["position"])
        return found


def tensorboard_values(folder: Path) -> list[tuple[int, str, Any]]:
    """Return what TensorBoard shows, in the order of writing: step, tag, and value, or the hash of an image.

    At the start of a session, TensorBoard drops everything that earlier sessions wrote at its first step or later.
    """
    from tensorboardX.proto.event_pb2 import SessionLog

    values: list[tuple[int, str, Any]] = []
    for event in events(folder):
        if event.HasField("session_log") and event.session_log.status == SessionLog.START:
            values = [value for value in values if value[0] < event.step]
        for entry in event.summary.value:
            if entry.HasField("image"):
                values.append((event.step, entry.tag, hashlib.sha256(entry.image.encoded_image_string).hexdigest()))
            elif not entry.tag.startswith("_hparams_/") and entry.tag != "seconds":
                values.append((event.step, entry.tag, entry.simple_value))
    return values


def tensorboard_hparams(folder: Path) -> dict[str, Any]:
    """Return the table of hyperparameters of TensorBoard: `config`, `metrics`, and whether the run `finished`.

    If a tag was written more than once, TensorBoard uses the first.
    """
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    shown: dict[str, Any] = {"finished": False}
    for event in events(folder):
        for entry in event.summary.value:
            if not entry.tag.startswith("_hparams_/"):
                continue
            assert entry.metadata.plugin_data.plugin_name == "hparams"
            data = HParamsPluginData.FromString(entry.metadata.plugin_data.content)
            if entry.tag.endswith("/experiment"):
                shown.setdefault("metrics", [info.name.tag for info in data.experiment.metric_infos])
            elif entry.tag.endswith("/session_start_info"):
                hparams = data.session_start_info.hparams.items()
                shown.setdefault("config", {name: getattr(value, value.WhichOneof("kind")) for name, value in hparams})
            else:
                assert entry.tag.endswith("/session_end_info")
                shown["finished"] = True
    return shown


def events(folder: Path) -> Iterator[Any]:
    """Yield the events of all sessions in the order in which TensorBoard reads them."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.iterdir()):
        yield from map(Event.FromString, records(path.read_bytes()))


def records(data: bytes) -> Iterator[bytes]:
    """Yield the records of an event file, up to one that a crash truncated or a loss of power damaged, as TensorBoard does."""
    from tensorboardX.record_writer import masked_crc32c

    offset = 0
    while offset + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, offset)
        if offset + 16 + length > len(data):
            return
        record = data[offset + 12 : offset + 12 + length]
        sums = struct.unpack_from("<I", data, offset + 8) + struct.unpack_from("<I", data, offset + 12 + length)
        if sums != (masked_crc32c(data[offset : offset + 8]), masked_crc32c(record)):
            return
        yield record
        offset += 16 + length
