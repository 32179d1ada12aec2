"""How often the rules of `reviver.train.diagnosis` fire on short runs of the GAN that have collapsed, and on those that have not.

    python -m benchmarks diagnosis

Scores judge which have: those of a digit classifier, which the rules do not see. The runs are in runs/diagnosis; finished ones are
not repeated. The rule for an LSTM is measured on the report's, over as many seeds.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import ROOT, machine
from reviver.run import load, train_gan, train_lstm
from reviver.runs.folder import RunFolder
from reviver.train.diagnosis import RULES, diagnose

RUNS = ROOT / "runs" / "diagnosis"
SEEDS = range(10)
SHORT = {"data": "mnist-30k", "epochs": 3, "eval_every": 3}
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "quick without what holds it, at four times its learning rate": {
        "preset": "quick",
        "learning_rate": 4.8e-3,
        "lr_schedule": "constant",
        "final_lr_ratio": 0.0,
        "input_centering": "none",
        "shift_probability": 0.0,
    },
    "public-script": {"preset": "public-script"},
    "quick": {"preset": "quick"},
    "original at five times its learning rate": {"preset": "original", "learning_rate": 1e-3},
}
"""What collapses, or does not, within a few epochs."""
LSTM_SEEDS = range(20)


def trained(train: Callable[..., Any], folder: Path, seed: int, settings: Mapping[str, Any]) -> Any:
    """Return a finished run; train it, or go on with it, unless it is."""
    exists = (folder / "run.json").exists()
    if exists and RunFolder.open(folder).status == "finished":
        return load(folder)
    return train(out=folder, seed=seed, device="cpu", resume=exists, **settings)


def measure(what: str, changes: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Train a GAN unless that is done; return which rules fire, and whether the scores call it collapsed."""
    folder = RUNS / f"{what.replace(' ', '-').replace(',', '')}-{seed}"
    run = trained(train_gan, folder, seed, {**SHORT, **changes})
    found = diagnose(run.folder)
    has_collapsed = run.folder.read_scores()[-1]["warning"] is not None
    result = {"recipe": what, "seed": seed, "collapsed": has_collapsed}
    sys.stderr.write(f"{result} {[str(each) for each in found]}\n")
    return result | {"rules": [each.rule for each in found]}


def main() -> dict[str, Any]:
    """Train and diagnose all runs."""
    torch.set_flush_denormal(True)
    runs = [measure(what, changes, seed) for seed in SEEDS for what, changes in RECIPES.items()]
    dips = []
    for seed in LSTM_SEEDS:
        run = trained(train_lstm, RUNS / f"lstm-{seed}", seed, {})
        dips.append([str(each) for each in diagnose(run.folder)])
    rules = [name for name in RULES if name not in ("lines", "dip")]
    fired = {
        state: {"runs": len(chosen), "any": sum(bool(run["rules"]) for run in chosen)}
        | {rule: sum(rule in run["rules"] for run in chosen) for rule in rules}
        for state, chosen in (
            ("collapsed", [run for run in runs if run["collapsed"]]),
            ("healthy", [run for run in runs if not run["collapsed"]]),
        )
    }
    return {
        "title": "Rules of the diagnosis",
        "machine": machine(),
        "fired": fired,
        "runs": runs,
        "dips": {"runs": len(dips), "fired": sum(bool(each) for each in dips), "found": dips},
    }
