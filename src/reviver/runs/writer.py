"""Writer of the records of a run: lines of JSON, and the same for TensorBoard, with sample grids and hyperparameters.

tensorboardX builds and writes the event files. `EventsWriter` is the writer inside its `SummaryWriter`, without the thread:
`SummaryWriter.flush` does not wait for that thread, so SIGKILL loses points that a checkpoint counts as written, and on a
full disk the thread ends and training waits for it forever.
"""

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.summary import hparams, image, scalar

from reviver.files.atomic import make_folder
from reviver.files.file_errors import explain_write_errors
from reviver.runs.folder import RunFolder
from reviver.system import sync

MAX_PIXELS = 1024
"""Maximum height and width of an image in pixels."""


class RecordsWriter:
    """Writer of the records files `names` of a run and of one event file, that of this session.

    The event file of a resumed run begins as with the `purge_step` of `SummaryWriter`: TensorBoard drops everything that
    earlier sessions wrote at `first_step` or later. Its table of hyperparameters has the settings and what the records compare.
    `counts` is the number of lines of each records file by name.
    """

    def __init__(self, folder: RunFolder, names: Sequence[str] = ("metrics",), first_step: int = 0) -> None:
        self.counts = {name: len(folder.read_records(name)) for name in names}
        self._folder = folder
        self._events_folder = folder.path / "tensorboard"
        metrics = [metric for name in names for metric in folder.line_model(name).compared]
        experiment, start, self._end = hparams(folder.record["config"], dict.fromkeys(metrics, 0.0))
        with explain_write_errors(folder.path), ExitStack() as opened:
            self._files = {
                name: opened.enter_context(folder.records_path(name).open("a", encoding="utf-8")) for name in names
            }
            make_folder(self._events_folder)
            number = len(list(self._events_folder.iterdir()))  # the names of files of the same second must differ
            self._events = EventsWriter(str(self._events_folder / "events"), f".{number:06d}")
            opened.callback(self._events.close)
            if number:
                self._events.write_event(Event(step=first_step, session_log=SessionLog(status=SessionLog.START)))
            self._write_summary(first_step, experiment)
            self._write_summary(first_step, start)
            self._opened = opened.pop_all()

    def write(self, name: str, record: Mapping[str, Any]) -> None:
        """Append a record with a `step` to NAME.jsonl and TensorBoard, with null for numbers that are not finite."""
        clean = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in record.items()
        }
        with explain_write_errors(self._folder.records_path(name)):
            self._files[name].write(json.dumps(clean, allow_nan=False) + "\n")
            self._files[name].flush()
        numbers = {key: value for key, value in clean.items() if isinstance(value, float)}
        entries = [entry for key, value in numbers.items() for entry in scalar(key, value).value]
        self._write_summary(record["step"], Summary(value=entries))
        self.counts[name] += 1

    def write_image(self, step: int, tag: str, pixels: NDArray[np.uint8]) -> None:
        """Show an image in TensorBoard, [height, width] or [height, width, 3]; one above `MAX_PIXELS` is subsampled."""
        stride = math.ceil(max(pixels.shape) / MAX_PIXELS)
        self._write_summary(step, image(tag, pixels[::stride, ::stride], dataformats="HWC"[: pixels.ndim]))

    def write_end(self, step: int) -> None:
        """Show in the table of hyperparameters that the run has finished."""
        self._write_summary(step, self._end)

    def sync(self) -> None:
        """Flush all that was written to disk."""
        for name, file in self._files.items():
            with explain_write_errors(self._folder.records_path(name)):
                os.fsync(file.fileno())
        with explain_write_errors(self._events_folder):
            self._events.flush()
            sync(self._events_folder)

    def close(self) -> None:
        """Close all files."""
        with explain_write_errors(self._folder.path):
            self._opened.close()

    def _write_summary(self, step: int, summary: Summary) -> None:
        with explain_write_errors(self._events_folder):
            self._events.write_event(Event(step=step, wall_time=time.time(), summary=summary))
