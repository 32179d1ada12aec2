"""Migrations of run folders from older schemas, so that they load and resume as before.

    schema 1    the first
    schema 2    adds the settings on_nan, rollbacks, keep_checkpoints and last_threshold; checksums of checkpoints
    schema 3    adds the setting ema_ramp of a GAN
    schema 4    renames settings and keys to the terms of papers and PyTorch, see RENAMED; adds the setting fused of a GAN
    schema 5    adds the settings pooling, patch_size and patience of an LSTM
    schema 6    adds the setting order, and sync_batch_norm of a GAN
    schema 7    adds the settings jump_factor and bptt_steps of an LSTM, input_centering and batch_norm_samples of a GAN
    schema 8    adds the settings threshold_max_length of an LSTM, and shift_probability of a GAN

A setting that an older schema lacks gets the value that keeps the behavior of that schema.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

SCHEMA = 8
"""Version of the run folder; incremented when an older reader could misread a newer folder."""

RENAMED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "lstm": {
            "input": "encoding",
            "grow": "curriculum",
            "shortest": "min_length_fraction",
            "growth": "length_factor",
            "length_decay": "lr_length_exponent",
            "schedule": "lr_schedule",
            "checkpoint_steps": "activation_checkpoint_steps",
            "rollbacks": "max_rollbacks",
        },
        "gan": {
            "schedule": "lr_schedule",
            "schedule_end": "final_lr_ratio",
            "penalty_every": "penalty_interval",
            "ema_ramp": "ema_rampup",
            "score_every": "eval_every",
            "score_samples": "eval_samples",
            "rollbacks": "max_rollbacks",
            "size": "image_size",
        },
        "record": {"scoring_seconds": "eval_seconds"},
        "lstm data": {
            "sequences": "num_sequences",
            "longest": "max_length",
            "shares": "class_fractions",
        },
        "gan data": {"images": "num_images", "classes": "num_classes"},
        "scores": {"floor": "real_baseline", "n": "num_samples", "classes": "class_fractions"},
    }
)
"""Keys that schema 4 renamed, old to new: settings of each kind of run, run.json, its `data`, records of scores.jsonl."""


def migrate(record: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a run.json of any older schema in the current schema; validation must follow."""
    while type(record.get("schema")) is int and record["schema"] in MIGRATIONS and type(record.get("config")) is dict:
        record = {**MIGRATIONS[record["schema"]](record), "schema": record["schema"] + 1}
    return record


def migrate_scores(line: dict[str, Any]) -> dict[str, Any]:
    """Return a record of scores.jsonl with current keys. A resumed run can have records of two schemas."""
    return _rename(line, "scores") if "floor" in line else line


def _from_1(record: dict[str, Any]) -> dict[str, Any]:
    added: dict[str, Any] = {"on_nan": "stop", "rollbacks": 3, "keep_checkpoints": 2}
    if record.get("kind") == "lstm":
        added["last_threshold"] = None
    return {**record, "config": {**added, **record["config"]}}


def _from_2(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "config": {"ema_ramp": 0.0, **record["config"]}} if record.get("kind") == "gan" else record


def _from_3(record: dict[str, Any]) -> dict[str, Any]:
    kind = record.get("kind")
    if kind not in ("lstm", "gan"):
        return record
    record = _rename({**record, "config": _rename(record["config"], kind)}, "record")
    if record["config"].get("task") == "own":
        record["config"]["task"] = "custom"
    if kind == "gan":
        record["config"] = {"fused": True, **record["config"]}
    if isinstance(record.get("data"), dict):
        record["data"] = _rename(record["data"], f"{kind} data")
    return record


def _from_4(record: dict[str, Any]) -> dict[str, Any]:
    added = {"pooling": "last", "patch_size": 1, "patience": None}
    return {**record, "config": {**added, **record["config"]}} if record.get("kind") == "lstm" else record


def _from_5(record: dict[str, Any]) -> dict[str, Any]:
    added: dict[str, Any] = {"order": "full"}
    if record.get("kind") == "gan":
        added["sync_batch_norm"] = True
    return {**record, "config": {**added, **record["config"]}}


def _from_6(record: dict[str, Any]) -> dict[str, Any]:
    added: dict[str, dict[str, Any]] = {
        "lstm": {"jump_factor": None, "bptt_steps": None},
        "gan": {"input_centering": "none", "batch_norm_samples": 0},
    }
    return {**record, "config": {**added.get(record.get("kind", ""), {}), **record["config"]}}


def _from_7(record: dict[str, Any]) -> dict[str, Any]:
    added: dict[str, dict[str, Any]] = {"lstm": {"threshold_max_length": None}, "gan": {"shift_probability": 0.0}}
    return {**record, "config": {**added.get(record.get("kind", ""), {}), **record["config"]}}


def _rename(values: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Return `values` with the keys of schema 4. An unknown key stays, and validation refuses it."""
    return {RENAMED[part].get(key, key): value for key, value in values.items()}


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: _from_1,
    2: _from_2,
    3: _from_3,
    4: _from_4,
    5: _from_5,
    6: _from_6,
    7: _from_7,
}
"""Migration from each older schema to the next."""
