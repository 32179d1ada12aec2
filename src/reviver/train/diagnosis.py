"""What goes wrong in a run, by the rules of rules.json, which the explorer's page has too.

The rules of a GAN read its metrics, means over up to 100 updates each, and how far apart the latest samples are; that of an LSTM
the validation accuracy of its epochs. A loss that is not finite ends a training by itself. `python -m benchmarks diagnosis`
measures how often they fire.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor

from reviver.runs.folder import RunFolder
from reviver.train.gan.snapshots import read_snapshots

Records = Sequence[Mapping[str, Any]]
RULES: Mapping[str, Any] = json.loads((files("reviver") / "train" / "rules.json").read_text(encoding="utf-8"))


class Finding(NamedTuple):
    """A rule that fires."""

    rule: str
    epoch: float
    """Where it first fires."""
    text: str
    remedy: str

    def __str__(self) -> str:
        """Return the finding as one sentence."""
        return f"epoch {self.epoch:.3g}: {self.text}; {self.remedy}"


def diagnose(folder: RunFolder) -> list[Finding]:
    """Return what goes wrong in a run, by its metrics and, of a GAN, its latest samples."""
    metrics = folder.read_metrics()
    if folder.kind == "lstm":
        return diagnose_lstm(metrics)
    steps = [*folder.snapshot_files]
    snapshots = read_snapshots(folder, {steps[0], steps[-1]}) if steps else []
    spread = None
    if snapshots and snapshots[0].real is not None:
        spread = spread_of(snapshots[-1].images, snapshots[0].real)
    return diagnose_gan(metrics, spread)


def diagnose_gan(metrics: Records, spread: float | None = None) -> list[Finding]:
    """Return what goes wrong in a GAN with these metrics; `spread` is that of its latest samples, see `spread_of`."""
    found = [finding for finding in (_jump(metrics), _wins(metrics)) if finding]
    if spread is not None and len(metrics) >= RULES["alike"]["lines"] and spread < RULES["alike"]["ratio"]:
        found.append(_finding("alike", metrics[-1]["epoch"]))
    return found


def diagnose_lstm(metrics: Records) -> list[Finding]:
    """Return what goes wrong in an LSTM with these metrics of its epochs: whether it ends in a dip, after it had learned."""
    rule = RULES["dip"]
    same = [record for record in metrics if record.get("length") == metrics[-1].get("length")]  # of a curriculum
    values = [record["validation_accuracy"] for record in same[-rule["window"] :]]
    if not values or max(values) < rule["level"] or values[-1] > max(values) - rule["fall"]:
        return []
    best, value = (f"{100 * each:.1f}" for each in (max(values), values[-1]))
    return [_finding("dip", metrics[-1]["epoch"], best=best, value=value)]


def spread_of(samples: Tensor, real: Tensor) -> float:
    """Return how far a sample is from the one most like it, as a fraction of the same of real images; both are [N, C, H, W]."""
    mine, theirs = (_closest(images.flatten(1).float()).mean() for images in (samples, real))
    return (mine / theirs).item()  # not finite if real images repeat


def _closest(images: Tensor) -> Tensor:
    return torch.cdist(images, images, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(torch.inf).amin(1)


def _jump(metrics: Records) -> Finding | None:
    rule = RULES["jump"]
    for end in range(rule["lines"], len(metrics)):
        for network, key in (("G", "generator_loss"), ("D", "discriminator_loss")):
            before = median(record[key] for record in metrics[max(0, end - rule["window"]) : end])
            if metrics[end][key] > rule["factor"] * before:
                return _finding("jump", metrics[end]["epoch"], network=network, value=f"{metrics[end][key]:.2f}")
    return None


def _wins(metrics: Records) -> Finding | None:
    rule = RULES["wins"]
    limit, count = rule["probability"], 0
    for record in metrics:
        is_sure = record["probability_real"] >= limit and record["probability_fake"] <= 1 - limit
        count = count + 1 if is_sure else 0
        if count == rule["lines"]:
            return _finding("wins", record["epoch"])
    return None


def _finding(rule: str, epoch: float, **values: str) -> Finding:
    return Finding(rule, epoch, RULES[rule]["text"].format(**values), RULES[rule]["remedy"])
