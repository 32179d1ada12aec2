"""What run.json and each line of metrics.jsonl and scores.jsonl must say, so that whoever reads them need not ask."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from reviver.untrusted import shown

Facts = Mapping[str, tuple[str, Callable[[Any], bool]]]
"""By name: what is expected, in words and as a check."""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_object_of(facts: Facts) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and not find_lack(value, facts)


def _is_list_of(facts: Facts) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(_is_object_of(facts), value))


COUNT = ("a whole number from 0", _is_count)
NUMBER = ("a number", _is_number)
MAYBE = ("a number or null", lambda value: value is None or _is_number(value))
"""What was not finite is null."""
TEXT = ("text", lambda value: isinstance(value, str))
MAYBE_TEXT = ("text or null", lambda value: value is None or isinstance(value, str))
NUMBERS = ("a list of numbers", lambda value: isinstance(value, list) and all(map(_is_number, value)))

COMPARISON: Facts = dict.fromkeys(
    ("fid", "kid", "precision", "recall", "density", "coverage", "class_kl", "spacing"), NUMBER
)
FLOOR = ("an object of the scores of real images", _is_object_of(COMPARISON))

LSTM_METRICS: Facts = {
    **dict.fromkeys(("step", "epoch", "sequences"), COUNT),
    **dict.fromkeys(("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "seconds"), NUMBER),
}
GROWING_METRICS: Facts = {**LSTM_METRICS, "length": COUNT}
GAN_METRICS: Facts = {
    "step": COUNT,
    "epoch": NUMBER,
    "seconds": NUMBER,
    **dict.fromkeys(("generator_loss", "discriminator_loss", "probability_real", "probability_fake"), MAYBE),
}
SCORES: Facts = {
    **COMPARISON,
    **dict.fromkeys(("step", "epoch", "n", "k"), COUNT),
    **dict.fromkeys(("data", "extractor", "extractor_sha256"), TEXT),
    "fid_ratio": MAYBE,
    "warning": MAYBE_TEXT,
    "classes": NUMBERS,
    "floor": FLOOR,
}


RECORD: Facts = {
    **dict.fromkeys(("status", "command", "started", "updated", "error", "extractor_sha256"), TEXT),
    **dict.fromkeys(("seconds", "scoring_seconds"), NUMBER),
    "versions": (
        "an object of versions",
        lambda value: isinstance(value, dict) and all(isinstance(version, str) for version in value.values()),
    ),
    "hardware": (
        "an object that describes a machine",
        _is_object_of({"threads": COUNT, **dict.fromkeys(("processor", "device", "system"), TEXT)}),
    ),
    "rollbacks": (
        "a list of steps back",
        _is_list_of({"step": COUNT, "quantity": TEXT, "back_to": COUNT}),
    ),
    "changes": ("a list of objects", _is_list_of({})),
    "measured": ("an object with an accuracy", _is_object_of({"accuracy": NUMBER})),
}
"""Of run.json, where it is there; what configures a run is checked where that is made."""
GAN_RECORD: Facts = {
    **RECORD,
    "data": ("an object that describes images", _is_object_of({"name": TEXT, "sha256": TEXT, "images": COUNT})),
}


def find_damage(record: Mapping[str, Any]) -> str:
    """The first thing in a run.json that is not as it must be, in words; empty if there is none."""
    facts = GAN_RECORD if record["kind"] == "gan" else RECORD
    there = {*record, "seconds"} if record.get("status") == "finished" else record.keys()
    return find_lack(record, {name: fact for name, fact in facts.items() if name in there})


def facts_of(record: Mapping[str, Any], name: str) -> Facts:
    """What the points `name` of a run say, by its run.json."""
    if name == "scores":
        return SCORES
    if record["kind"] == "gan":
        return GAN_METRICS
    return GROWING_METRICS if record["config"].get("grow") else LSTM_METRICS


def find_lack(point: Mapping[str, Any], facts: Facts) -> str:
    """The first thing that a point lacks, in words; empty if it says all that it must."""
    for name, (expected, is_right) in facts.items():
        if name not in point:
            return f"has no {name}"
        if not is_right(point[name]):
            return f"has {name} {shown(point[name])}, which is not {expected}"
    return ""
