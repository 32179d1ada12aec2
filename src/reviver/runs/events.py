"""Event files for TensorBoard: metrics, scores, sample grids of a GAN, and hyperparameters.

tensorboardX builds and writes them. This is the writer inside its `SummaryWriter`, without the thread: `SummaryWriter.flush`
does not wait for that thread, so SIGKILL loses points that a checkpoint counts as written, and on a full disk the thread ends
and training waits for it forever.
"""

import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.summary import hparams, image, scalar

from reviver.files.atomic import make_folder
from reviver.files.file_errors import explain_write_errors
from reviver.system import sync

MAX_PIXELS = 1024
"""Maximum height and width of an image in pixels."""
MAX_EXACT = 2**53
"""Larger integers become text, since TensorBoard stores hyperparameters as float64."""


class EventFile:
    """The event file of one training session.

    The file of a resumed run begins as with the `purge_step` of `SummaryWriter`: TensorBoard drops everything that earlier
    sessions wrote at `first_step` or later. The table of hyperparameters has the settings `config` by name, and `metrics`.

    Raises:
        RunFolderError: from the methods, if the file cannot be written.
    """

    def __init__(self, folder: Path, first_step: int, config: Mapping[str, Any], metrics: Iterable[str]) -> None:
        make_folder(folder)
        number = len(list(folder.iterdir()))  # the names of files of the same second must differ
        values = {
            name: str(value) if isinstance(value, int) and abs(value) > MAX_EXACT else value
            for name, value in config.items()
        }
        experiment, start, self._end = hparams(values, dict.fromkeys(metrics, 0.0))
        self._folder = folder
        self._writer = EventsWriter(str(folder / "events"), f".{number:06d}")
        if number:
            self._writer.write_event(Event(step=first_step, session_log=SessionLog(status=SessionLog.START)))
        self._write(first_step, experiment)
        self._write(first_step, start)

    def write_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Append scalars by name at `step`."""
        self._write(
            step, Summary(value=[entry for name, value in values.items() for entry in scalar(name, value).value])
        )

    def write_image(self, step: int, tag: str, pixels: NDArray[np.uint8]) -> None:
        """Append an image, [height, width] or [height, width, channels]; one above `MAX_PIXELS` is subsampled."""
        stride = math.ceil(max(pixels.shape) / MAX_PIXELS)
        self._write(step, image(tag, pixels[::stride, ::stride], dataformats="HWC"[: pixels.ndim]))

    def write_end(self, step: int) -> None:
        """Append that the run has finished, for the table of hyperparameters."""
        self._write(step, self._end)

    def sync(self) -> None:
        """Flush all written events, and the name of the file, to disk."""
        with explain_write_errors(self._folder):
            self._writer.flush()
            sync(self._folder)

    def close(self) -> None:
        """Flush and close the file."""
        with explain_write_errors(self._folder):
            self._writer.close()

    def _write(self, step: int, summary: Summary) -> None:
        with explain_write_errors(self._folder):
            self._writer.write_event(Event(step=step, wall_time=time.time(), summary=summary))
