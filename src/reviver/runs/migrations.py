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
    """Return the content of a run.json of any schema up to ours as one of ours; damage is left to validation."""
    while type(record.get("schema")) is int and record["schema"] in MIGRATIONS and type(record.get("config")) is dict:
        config = MIGRATIONS[record["schema"]](record.get("kind"), record["config"])
        record = {**record, "config": config, "schema": record["schema"] + 1}
    return record


def _from_1(kind: object, config: dict[str, Any]) -> dict[str, Any]:
    later: dict[str, Any] = {"on_nan": "stop", "rollbacks": 3, "keep_checkpoints": 2}
    if kind == "lstm":
        later["last_threshold"] = None
    return {**later, **config}


def _from_2(kind: object, config: dict[str, Any]) -> dict[str, Any]:
    return {"ema_ramp": 0.0, **config} if kind == "gan" else config


MIGRATIONS: dict[int, Callable[[object, dict[str, Any]], dict[str, Any]]] = {1: _from_1, 2: _from_2}
"""By schema, what makes the settings of a kind of run those of the next schema."""
