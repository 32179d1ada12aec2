"""What a session writes to its run folder: metrics, images, checkpoints. Of several processes, only rank 0 writes.

`RunWriter` writes; `SilentWriter` stands in for it on the other ranks, and only reads the last checkpoint.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reviver.io.atomic import recover_interrupted_writes
from reviver.runs.checkpoint import TrainingState, prepare_checkpoint, recover_checkpoints, restore_checkpoint
from reviver.runs.folder import MetricsWriter, RunFolder


class Writer(Protocol):
    """The interface of both writers."""

    def restore(self, state: TrainingState) -> None:
        """Restore `state` and the files to the last checkpoint, if there is one; also opens the files."""

    def write(self, name: str, record: Mapping[str, Any]) -> None:
        """Append a record to the metrics or scores, see `MetricsWriter.write`."""

    def write_image(self, step: int, tag: str, pixels: NDArray[np.uint8]) -> None:
        """Write an image to TensorBoard: uint8, [height, width] or [height, width, 3]."""

    def write_end(self, step: int) -> None:
        """Write to TensorBoard that the run has ended."""

    def save(self, state: TrainingState) -> None:
        """Copy `state`; a thread writes it as a checkpoint."""

    def raise_errors(self) -> None:
        """Raise the error of a checkpoint that could not be written; do not wait."""

    def finish(self) -> None:
        """Wait until the pending checkpoint is written."""

    def close(self) -> None:
        """Wait until the pending checkpoint is written, and close the files."""


class RunWriter:
    """Writer of a run folder.

    Args:
        folder: the run folder.
        files: names of the records files.
    """

    def __init__(self, folder: RunFolder, files: Sequence[str]) -> None:
        self._folder = folder
        self._files = files
        self._metrics: MetricsWriter | None = None
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None

    @property
    def metrics(self) -> MetricsWriter:
        """Writer of the records; it is there after `restore`."""
        assert self._metrics is not None, "restore opens the files"
        return self._metrics

    def restore(self, state: TrainingState) -> None:
        """Restore `state` and the files to the last checkpoint, if there is one.

        Raises:
            RunFolderError: if the checkpoint is damaged, or the folder cannot be written.
        """
        if self._metrics is not None:
            self.finish()
            self._metrics.close()
        folder, keep = self._folder, self._folder.record["config"]["keep_checkpoints"]
        counts = restore_checkpoint(folder.checkpoints, state, self._files)
        for path in (folder.path, folder.samples, folder.snapshots):
            recover_interrupted_writes(path)
        recover_checkpoints(folder.checkpoints, state.extra.get("best", {}).get("step"), keep)
        for name, count in counts.items():
            folder.truncate_records(name, count)
        # At step 0 a GAN writes its first grid again. At a later step, everything was logged before the checkpoint.
        self._metrics = MetricsWriter(folder, self._files, state.step + 1 if state.step else 0)

    def write(self, name: str, record: Mapping[str, Any]) -> None:
        """Append a record to the metrics or scores, see `MetricsWriter.write`."""
        self.metrics.write(name, record)

    def write_image(self, step: int, tag: str, pixels: NDArray[np.uint8]) -> None:
        """Write an image to TensorBoard: uint8, [height, width] or [height, width, 3]."""
        self.metrics.events.write_image(step, tag, pixels)

    def write_end(self, step: int) -> None:
        """Write to TensorBoard that the run has ended."""
        self.metrics.events.write_end(step)

    def save(self, state: TrainingState) -> None:
        """Copy `state`; a thread writes it as a checkpoint while training continues.

        Raises:
            RunFolderError: if the previous checkpoint could not be written.
        """
        metrics, keep = self.metrics, self._folder.record["config"]["keep_checkpoints"]
        write_checkpoint = prepare_checkpoint(self._folder.checkpoints, state, metrics.counts, keep)

        def write() -> None:
            metrics.sync()
            write_checkpoint()

        self._pending = self._thread.submit(write)

    def raise_errors(self) -> None:
        """Raise the error of a checkpoint that could not be written; do not wait."""
        if self._pending is not None and self._pending.done():
            self.finish()

    def finish(self) -> None:
        """Wait until the pending checkpoint is written.

        Raises:
            RunFolderError: if it could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait until the pending checkpoint is written, and close the files."""
        self._thread.shutdown()
        if self._metrics is not None:
            self._metrics.close()


class SilentWriter:
    """Stand-in for `RunWriter` that writes nothing.

    Args:
        folder: the run folder.
        files: names of the records files.
    """

    def __init__(self, folder: RunFolder, files: Sequence[str]) -> None:
        self._folder = folder
        self._files = files

    def restore(self, state: TrainingState) -> None:
        """Restore `state` from the last checkpoint, if there is one.

        Raises:
            RunFolderError: if the checkpoint is damaged.
        """
        restore_checkpoint(self._folder.checkpoints, state, self._files)

    def write(self, name: str, record: Mapping[str, Any]) -> None:
        """Write nothing."""

    def write_image(self, step: int, tag: str, pixels: NDArray[np.uint8]) -> None:
        """Write nothing."""

    def write_end(self, step: int) -> None:
        """Write nothing."""

    def save(self, state: TrainingState) -> None:
        """Drop the best weights, as `RunWriter` does once it has copied them."""
        state.best_networks = None

    def raise_errors(self) -> None:
        """Raise nothing."""

    def finish(self) -> None:
        """Wait for nothing."""

    def close(self) -> None:
        """Close nothing."""
