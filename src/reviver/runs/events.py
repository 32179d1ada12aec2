"""TensorBoard's event files: the points of the metrics once more.

Each session of a run writes a file of its own. A record is its length, the checksum of that, an event (a
protocol buffer of TensorBoard), and the checksum of the event.
"""

import os
import struct
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from reviver.runs.files import make_folder

PREFIX = "events.out.tfevents."


class EventFile:
    """The event file of one session, in `folder`.

    TensorBoard reads the files in the order of their names, which hold a time. Ours also rise if the clock was put
    back or two sessions began within a second.

    What earlier sessions wrote at `first_step` or later was not saved and is made anew. A record says so.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        make_folder(folder)
        numbers = [int(path.name.removeprefix(PREFIX)[:10]) for path in folder.glob(f"{PREFIX}{'[0-9]' * 10}*")]
        number = max([int(time.time()), *(number + 1 for number in numbers)])
        with ExitStack() as opened:
            self._file = opened.enter_context((folder / f"{PREFIX}{number:010d}.reviver").open("xb"))
            self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
            if numbers:
                start = SessionLog(status=SessionLog.START)
                self._write(Event(wall_time=time.time(), step=first_step, session_log=start))
            self._file.flush()
            opened.pop_all()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append one event with the `values` at `step`."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(Event(wall_time=time.time(), step=step, summary=Summary(value=scalars)))
        self._file.flush()

    def sync(self) -> None:
        """Make what was written durable."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, event: Any) -> None:
        from tensorboardX.record_writer import masked_crc32c

        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        checksums = (struct.pack("<I", masked_crc32c(part)) for part in (length, data))
        self._file.write(b"".join((length, next(checksums), data, next(checksums))))
