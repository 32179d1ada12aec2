"""Event files for TensorBoard: metrics, scores, sample grids of a GAN, and hyperparameters.

tensorboardX makes the summaries, as its SummaryWriter does, and a resumed session begins as with its `purge_step`. The
file is written here, because SummaryWriter writes from a thread: once the disk is full, the thread ends and training
waits for it forever; and its `flush` does not wait for the thread, so that SIGKILL loses points that a checkpoint counts
as written.

A record of the file is the length of an event, the checksum of the length, the event (a protocol buffer), and the
checksum of the event.
"""

import math
import os
import struct
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.summary import hparams, image, scalar

from reviver.files.atomic import make_folder
from reviver.files.file_errors import explain_write_errors
from reviver.system import sync

MAX_PIXELS = 1024
"""Maximum height and width of an image in pixels."""
PREFIX = "events.out.tfevents."
MAX_EXACT = 2**53
"""Larger integers become text, since TensorBoard stores hyperparameters as float64."""


class EventFile:
    """The event file of one training session.

    TensorBoard reads files in the order of their names, which contain the time. These names also increase if the clock
    was set back, or if two sessions began within a second. The file of a resumed run begins with an event that makes
    TensorBoard drop everything that earlier sessions wrote at `first_step` or later. The table of hyperparameters has the
    settings `config` by name, and `metrics`.

    Raises:
        RunFolderError: from the methods, if the file cannot be written.
    """

    def __init__(self, folder: Path, first_step: int, config: Mapping[str, Any], metrics: Iterable[str]) -> None:
        make_folder(folder)
        times = [int(path.name.removeprefix(PREFIX)[:10]) for path in folder.glob(f"{PREFIX}{'[0-9]' * 10}*")]
        name_time = max([int(time.time()), *(other + 1 for other in times)])
        values = {
            name: str(value) if isinstance(value, int) and abs(value) > MAX_EXACT else value
            for name, value in config.items()
        }
        experiment, start, self._end = hparams(values, dict.fromkeys(metrics, 0.0))
        self._path = folder / f"{PREFIX}{name_time:010d}.reviver"
        with ExitStack() as opened:
            self._file = opened.enter_context(self._path.open("xb"))
            self._write(Event(file_version="brain.Event:2"))
            if times:
                self._write(Event(step=first_step, session_log=SessionLog(status=SessionLog.START)))
            self._write(Event(step=first_step, summary=experiment), Event(step=first_step, summary=start))
            with explain_write_errors(folder):
                sync(folder)  # or a loss of power may lose the file, with points that a checkpoint counts as written
            opened.pop_all()

    def write_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Append scalars by name at `step`."""
        summary = Summary(value=[entry for name, value in values.items() for entry in scalar(name, value).value])
        self._write(Event(step=step, summary=summary))

    def write_image(self, step: int, tag: str, pixels: NDArray[np.uint8]) -> None:
        """Append an image, [height, width] or [height, width, channels]; one above `MAX_PIXELS` is subsampled."""
        stride = math.ceil(max(pixels.shape) / MAX_PIXELS)
        summary = image(tag, pixels[::stride, ::stride], dataformats="HWC"[: pixels.ndim])
        self._write(Event(step=step, summary=summary))

    def write_end(self, step: int) -> None:
        """Append that the run has finished, for the table of hyperparameters."""
        self._write(Event(step=step, summary=self._end))

    def sync(self) -> None:
        """Flush all written events to disk."""
        with explain_write_errors(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, *events: Event) -> None:
        with explain_write_errors(self._path):
            for event in events:
                event.wall_time = time.time()
                data = event.SerializeToString()
                for part in (struct.pack("<Q", len(data)), data):
                    self._file.write(part + struct.pack("<I", masked_crc32c(part)))
            self._file.flush()
