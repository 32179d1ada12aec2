"""Run folders of older schemas: what their run.json lacks, so that they load and resume as they were meant.

    schema 1    the first
    schema 2    on_nan, rollbacks, keep_checkpoints and last_threshold among the settings; checkpoints with checksums
    schema 3    ema_ramp among the settings of a GAN

A setting that came later gets the value that does what was done before there was one.
"""

from collections.abc import Callable
from typing import Any

SCHEMA = 3
"""Version of the folder's layout; raised when an older reader could misread a newer folder."""


def migrate(record: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a run.json of any schema up to ours as one of our schema."""
    for schema in range(record["schema"], SCHEMA):
        record = {**MIGRATIONS[schema](record), "schema": schema + 1}
    return record


def _from_1(record: dict[str, Any]) -> dict[str, Any]:
    later: dict[str, Any] = {"on_nan": "stop", "rollbacks": 3, "keep_checkpoints": 2}
    if record["kind"] == "lstm":
        later["last_threshold"] = None
    return {**record, "config": {**later, **record["config"]}}


def _from_2(record: dict[str, Any]) -> dict[str, Any]:
    later = {"ema_ramp": 0.0} if record["kind"] == "gan" else {}
    return {**record, "config": {**later, **record["config"]}}


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1, 2: _from_2}
"""By the schema that they bring to the next."""
