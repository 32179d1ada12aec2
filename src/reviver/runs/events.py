"""TensorBoard's event files: the numbers of metrics and scores, the grids of a GAN, and the hyperparameters.

Summaries are made as tensorboardX's SummaryWriter makes them. Only the file is our own, because tensorboardX writes
from a background thread, where an error is lost, and names files by the clock, so that they may be overwritten.

A record is its length, the checksum of that, an event (a protocol buffer), and the checksum of the event.
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

from reviver.io.files import explain_write_errors, make_folder

MAX_PIXELS = 1024
"""Height and width of an image at most."""
PREFIX = "events.out.tfevents."
MAX_EXACT = 2**53
"""Larger integers are shown as text, since hyperparameters are float64."""


class EventFile:
    """The event file of one session, in `folder`.

    TensorBoard reads files in the order of their names, which hold a time. Ours also rise if the clock was put back
    or two sessions began within a second. In a resumed run the file begins with a record that lets TensorBoard drop
    what earlier sessions wrote at `first_step` or later, after the checkpoint.
    """

    def __init__(self, folder: Path, first_step: int, config: Mapping[str, Any], metrics: Iterable[str]) -> None:
        make_folder(folder)
        numbers = [int(path.name.removeprefix(PREFIX)[:10]) for path in folder.glob(f"{PREFIX}{'[0-9]' * 10}*")]
        number = max([int(time.time()), *(number + 1 for number in numbers)])
        values = {
            name: str(value) if isinstance(value, int) and abs(value) > MAX_EXACT else value
            for name, value in config.items()
        }
        experiment, start, self._end = hparams(values, dict.fromkeys(metrics, 0.0))
        self._path = folder / f"{PREFIX}{number:010d}.reviver"
        with ExitStack() as opened:
            self._file = opened.enter_context(self._path.open("xb"))
            self._write(Event(file_version="brain.Event:2"))
            if numbers:
                self._write(Event(step=first_step, session_log=SessionLog(status=SessionLog.START)))
            self._write(Event(step=first_step, summary=experiment), Event(step=first_step, summary=start))
            opened.pop_all()

    def write_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Append the `values` at `step` by name."""
        summary = Summary(value=[one for name, value in values.items() for one in scalar(name, value).value])
        self._write(Event(step=step, summary=summary))

    def write_image(self, step: int, tag: str, pixels: NDArray[np.uint8]) -> None:
        """Append an image, [height, width] or [height, width, channels]; a large one without some of its pixels."""
        stride = math.ceil(max(pixels.shape) / MAX_PIXELS)
        summary = image(tag, pixels[::stride, ::stride], dataformats="HWC"[: pixels.ndim])
        self._write(Event(step=step, summary=summary))

    def write_end(self, step: int) -> None:
        """Append that the run has finished, for the table of hyperparameters."""
        self._write(Event(step=step, summary=self._end))

    def sync(self) -> None:
        """Make what was written durable."""
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
