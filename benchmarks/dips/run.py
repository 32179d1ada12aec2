"""Measure the dips: training step by step over ten seeds, replays of every dip, and whole runs with other settings."""

import json
import sys
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from statistics import fmean, median
from typing import Any

import torch
from torch import Tensor

from benchmarks.dips.figure import dips_figure
from benchmarks.dips.replay import CHANGES, Past, find_sharpness, replay
from benchmarks.dips.settings import (
    AFTER,
    BEFORE,
    FIRST_EPOCH,
    LAST,
    OBSERVED_EPOCH,
    SEEDS,
    SHARPNESS_EPOCHS,
    VARIANT_SEEDS,
    VARIANTS,
    WINDOW,
)
from benchmarks.dips.updates import Training, Update, Weights, largest, norm
from benchmarks.measure import machine
from benchmarks.publish import PICTURES, ROOT
from reviver.figures import save_figure
from reviver.io.atomic import write_json
from reviver.lstm.presets import PRESETS
from reviver.lstm.scoring import score

KEPT = ROOT / "runs" / "dips"
"""Folder of finished parts."""


def is_dip(before: float, update: Update) -> bool:
    """Return whether an update is a dip, given the validation accuracy before it."""
    return update.epoch > FIRST_EPOCH and before >= BEFORE and update.accuracy <= AFTER


def describe_update(update: Update, lr: float) -> dict[str, Any]:
    """Return what matters of an update: its gradient beside √v, and its step in units of the learning rate."""
    v = torch.cat([v.flatten() for v in update.square_avg])
    return {
        "epoch": update.epoch,
        "batch": update.index,
        "size": len(update.batch),
        "accuracy": update.accuracy,
        "gradient_norm": norm(update.gradient),
        "root_v": float(v.sum().sqrt()),
        "step_norm": norm(update.step) / lr,
        "largest_step": largest(update.step) / lr,
    }


def margin(training: Training, logits: Tensor, digit: int) -> float:
    """Return how far the logit of `digit` lies above that of the next digit, as a mean over its validation sequences."""
    chosen = logits[training.validation.targets == digit]
    return float((chosen[:, digit] - chosen[:, digit + 1]).mean())


def count_errors(training: Training, logits: Tensor) -> dict[str, int]:
    """Return the number of wrong predictions of each kind, such as "8 as 9"."""
    targets, predictions = training.validation.targets, logits.argmax(1)
    wrong = predictions != targets
    pairs = zip(targets[wrong].tolist(), predictions[wrong].tolist(), strict=True)
    return dict(Counter(f"{target} as {prediction}" for target, prediction in pairs))


def measure_seed(seed: int) -> dict[str, Any]:
    """Train one seed, and return its last updates, its dips with their replays, and its sharpness."""
    training = Training(replace(PRESETS["report"], seed=seed))
    past: deque[Weights] = deque(maxlen=WINDOW)
    mean_gradient = [torch.zeros_like(parameter) for parameter in training.parameters]
    accuracies: list[float] = []
    averaged: list[float] = []
    updates, dips, trace, sharpness = [], [], [], {}
    for epoch in range(1, training.config.epochs + 1):
        weights: list[Weights] = []
        if epoch <= OBSERVED_EPOCH:
            training.train_epoch(epoch - 1)
            accuracies.append(score(training.network, training.validation, "class").accuracy)
        else:
            before = accuracies[-1]
            for update in training.updates(epoch - 1):
                past.append(update.square_avg)
                row = describe_update(update, training.config.learning_rate)
                row["dip"] = is_dip(before, update)
                if row["dip"]:
                    maxima = [torch.stack(values).amax(0) for values in zip(*past, strict=True)]
                    replays = replay(training, update, Past(maxima, mean_gradient))
                    assert replays["none"] == [update.accuracy], "a replay without a change is the update itself"
                    dips.append({**row, "errors": count_errors(training, update.logits), "replays": replays})
                mean_gradient = [0.9 * m + 0.1 * g for m, g in zip(mean_gradient, update.gradient, strict=True)]
                before = update.accuracy
                weights.append([w + s for w, s in zip(update.weights, update.step, strict=True)])
                if epoch > FIRST_EPOCH:
                    updates.append(row)
                if epoch > training.config.epochs - LAST:
                    trace.append(describe_margins(training, update))
            accuracies.append(before)
            averaged.append(average_accuracy(training, weights))
        if epoch in SHARPNESS_EPOCHS:
            sharpness[epoch] = find_sharpness(training, training.square_avg())
    return {
        "seed": seed,
        "accuracies": accuracies,
        "accuracies_of_averaged_weights": averaged[-2 * LAST :],
        "sharpness": sharpness,
        "dips": dips,
        "updates": updates,
        "trace": trace,
    }


def describe_margins(training: Training, update: Update) -> dict[str, float]:
    """Return the validation accuracy after an update, and two margins; the time is in epochs, 1.0 at the end of the first."""
    fraction = (update.index + 1) / -(-len(training.train) // training.config.batch_size)
    margins = {str(digit): margin(training, update.logits, digit) for digit in (2, 8)}
    return {"epoch": update.epoch - 1 + fraction, "accuracy": update.accuracy, **margins}


def average_accuracy(training: Training, weights: Sequence[Weights]) -> float:
    """Return the validation accuracy of the mean of some weights."""
    now = [parameter.detach().clone() for parameter in training.parameters]
    training.set_weights([torch.stack(values).mean(0) for values in zip(*weights, strict=True)])
    accuracy = score(training.network, training.validation, "class").accuracy
    training.set_weights(now)
    return accuracy


def measure_variant(settings: Mapping[str, Any]) -> list[list[float]]:
    """Return the validation accuracy after every epoch of runs with some settings changed, over the seeds."""
    return [list(Training(replace(PRESETS["report"], seed=seed, **settings)).epochs()) for seed in VARIANT_SEEDS]


def summarise_runs(runs: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return the last, best and mean accuracy of some runs, and in how many of the last epochs they are in a dip."""
    return {
        "last": [run[-1] for run in runs],
        "best": [max(run) for run in runs],
        "mean_of_last": [fmean(run[-LAST:]) for run in runs],
        "dips": [sum(accuracy <= AFTER for accuracy in run[-2 * LAST :]) for run in runs],
    }


def summarise(seeds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the numbers of all seeds together."""
    dips = [dip for seed in seeds for dip in seed["dips"]]
    updates = [row for seed in seeds for row in seed["updates"]]
    followed = [after["accuracy"] >= BEFORE for seed in seeds for row, after in pairwise(seed["updates"]) if row["dip"]]
    errors = sum((Counter(dip["errors"]) for dip in dips), Counter[str]())
    sizes = sorted({row["size"] for row in updates}, reverse=True)
    return {
        "num_updates": len(updates),
        "num_dips": len(dips),
        "repaired": fmean(followed),
        "errors": dict(errors.most_common()),
        "by_size": {
            str(size): {
                "updates": sum(row["size"] == size for row in updates),
                "dips": sum(dip["size"] == size for dip in dips),
                "step_norm": median(row["step_norm"] for row in updates if row["size"] == size),
                "step_norm_of_dips": median(dip["step_norm"] for dip in dips if dip["size"] == size),
                "largest_step_of_dips": median(dip["largest_step"] for dip in dips if dip["size"] == size),
                "largest_step_of_others": median(
                    row["largest_step"] for row in updates if row["size"] == size and not row["dip"]
                ),
                "gradient_ratio": median(
                    row["gradient_norm"] / row["root_v"] for row in updates if row["size"] == size
                ),
                "gradient_ratio_of_dips": median(
                    dip["gradient_norm"] / dip["root_v"] for dip in dips if dip["size"] == size
                ),
            }
            for size in sizes
        },
        "root_v": [
            {name: find(row["root_v"] for row in seed["updates"]) for name, find in (("min", min), ("max", max))}
            for seed in seeds
        ],
        "clipped": {
            "dips": sum(dip["gradient_norm"] > 9.99 for dip in dips),
            "updates": sum(row["gradient_norm"] > 9.99 for row in updates),
        },
        "replays": {
            name: {
                "dips": fmean(accuracy <= AFTER for dip in dips for accuracy in dip["replays"][name]),
                "accuracy": fmean(accuracy for dip in dips for accuracy in dip["replays"][name]),
            }
            for name in CHANGES
        },
    }


def kept(name: str, measure: Callable[[], Any]) -> Any:
    """Return a part of the results: that of an earlier call, or a new one, which is kept."""
    path = KEPT / f"{name.strip('-').replace(' ', '-')}.json"
    if not path.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        write_json(path, measure())
        print(f"{name}: done", file=sys.stderr)
    return json.loads(path.read_text(encoding="utf-8"))


def main() -> dict[str, Any]:
    """Measure, draw the figure, and return the results. Finished parts are kept, so the same command continues."""
    torch.set_num_threads(1)
    seeds = [kept(f"seed {seed}", partial(measure_seed, seed)) for seed in SEEDS]
    variants = {"as in the report": summarise_runs([seed["accuracies"] for seed in seeds])}
    for name, settings in VARIANTS.items():
        variants[name] = summarise_runs(kept(name, partial(measure_variant, settings)))
    parts = ("seed", "accuracies", "accuracies_of_averaged_weights", "sharpness")
    result: dict[str, Any] = {
        "title": "Dips of the report's LSTM",
        "command": "python -m benchmarks dips",
        "machine": {**machine(), "threads": 1},
        "summary": summarise(seeds),
        "variants": variants,
        "trace": seeds[0]["trace"],
        "seeds": [{part: seed[part] for part in parts} for seed in seeds],
    }
    save_figure(dips_figure(result), PICTURES / "dips.png")
    return result
