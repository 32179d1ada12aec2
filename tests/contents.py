"""All that a run folder holds, to the bit, but times: two runs are the same if this is."""

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TIMES = ("started", "updated", "seconds", "eval_seconds")


def contents(folder: Path) -> dict[str, Any]:
    """What each file of a run folder holds, by its path there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.parent.name != "tensorboard")
    folders = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_dir())
    return {
        "folders": folders,
        "tensorboard": tensorboard_points(folder / "tensorboard"),
        **{str(path.relative_to(folder)): content(path) for path in files},
    }


def content(path: Path) -> Any:
    """The content of one file, without times and what depends on them; as a hash where it is no JSON."""
    if path.name in ("run.json", "state.json"):
        record = json.loads(path.read_text())
        return {name: value for name, value in record.items() if name not in TIMES}
    if path.name == "checksums.json":
        return {name: value for name, value in json.loads(path.read_text()).items() if name != "state.json"}
    if path.suffix == ".jsonl":
        lines = path.read_text().removesuffix("\n").split("\n")
        return [{**json.loads(line), "seconds": None} for line in lines if line]
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tensorboard_points(folder: Path) -> list[tuple[int, str, Any]]:
    """What TensorBoard shows: step, tag, and number or image as a hash, in the order that they were written in.

    At the start of a session it forgets what earlier ones wrote at the session's first step or later.
    """
    from tensorboardX.proto.event_pb2 import SessionLog

    points: list[tuple[int, str, Any]] = []
    for event in events(folder):
        if event.HasField("session_log") and event.session_log.status == SessionLog.START:
            points = [point for point in points if point[0] < event.step]
        for one in event.summary.value:
            if one.HasField("image"):
                points.append((event.step, one.tag, hashlib.sha256(one.image.encoded_image_string).hexdigest()))
            elif not one.tag.startswith("_hparams_/") and one.tag != "seconds":
                points.append((event.step, one.tag, one.simple_value))
    return points


def tensorboard_hparams(folder: Path) -> dict[str, Any]:
    """What TensorBoard's table of hyperparameters shows: `config`, `metrics` and whether the run has `finished`.

    Of a tag that was written more than once, TensorBoard takes the first.
    """
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    shown: dict[str, Any] = {"finished": False}
    for event in events(folder):
        for one in event.summary.value:
            if not one.tag.startswith("_hparams_/"):
                continue
            assert one.metadata.plugin_data.plugin_name == "hparams"
            data = HParamsPluginData.FromString(one.metadata.plugin_data.content)
            if one.tag.endswith("/experiment"):
                shown.setdefault("names", [info.name for info in data.experiment.hparam_infos])
                shown.setdefault("metrics", [info.name.tag for info in data.experiment.metric_infos])
            elif one.tag.endswith("/session_start_info"):
                values = data.session_start_info.hparams.items()
                shown.setdefault("config", {name: getattr(value, value.WhichOneof("kind")) for name, value in values})
            else:
                assert one.tag.endswith("/session_end_info")
                shown["finished"] = True
    return shown


def events(folder: Path) -> Iterator[Any]:
    """The events of all sessions in the order in which TensorBoard reads them."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.iterdir()):
        yield from map(Event.FromString, records(path.read_bytes()))


def records(data: bytes) -> Iterator[bytes]:
    """The records of an event file, up to one that a crash tore."""
    from tensorboardX.record_writer import masked_crc32c

    place = 0
    while place + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        if place + 16 + length > len(data):
            return
        record = data[place + 12 : place + 12 + length]
        assert struct.unpack_from("<I", data, place + 8) == (masked_crc32c(data[place : place + 8]),)
        assert struct.unpack_from("<I", data, place + 12 + length) == (masked_crc32c(record),)
        yield record
        place += 16 + length
