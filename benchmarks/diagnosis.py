"""How often the rules of `reviver.train.diagnosis` fire on short runs of recipes of the GAN that collapse, and of some that do not.

    python -m benchmarks diagnosis

The rules are read at the end, and as the page reads them, at each snapshot. FID shows what a recipe made of its 4 epochs. The runs
are in runs/diagnosis; finished ones are not repeated. The rule for an LSTM is measured on the report's.
"""

from collections.abc import Mapping
from statistics import median
from typing import Any

import torch

from benchmarks.measure import ROOT, machine, trained
from reviver.run import train_gan, train_lstm
from reviver.train.diagnosis import RULES, diagnose, diagnose_gan, spread_of
from reviver.train.gan.snapshots import read_snapshots

RUNS = ROOT / "runs" / "diagnosis"
SEEDS = range(10, 20)
"""Others than those that the numbers of the rules were chosen on."""
SHORT = {"data": "mnist-30k", "epochs": 4, "eval_every": 4}
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
    "original": {"preset": "original"},
    "quick": {"preset": "quick"},
}
"""Two that collapse within a few epochs, and two that do not."""
LSTM_SEEDS = range(20)


def measure(what: str, changes: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Train a GAN unless that is done; return its FID, and which rules fire at its end and at any of its snapshots."""
    folder = RUNS / f"{what.replace(' ', '-').replace(',', '')}-{seed}"
    run = trained(train_gan, folder, seed=seed, device="cpu", **SHORT, **changes)
    metrics, (first, *others) = run.folder.read_metrics(), read_snapshots(run.folder)
    at_any_time = {
        finding.rule
        for snapshot in others
        for finding in diagnose_gan(
            [line for line in metrics if line["step"] <= snapshot.step], spread_of(snapshot.images, first.real)
        )
    }
    found = [finding.rule for finding in diagnose(run.folder)]
    fid = run.folder.read_scores()[-1]["fid"]
    return {"recipe": what, "seed": seed, "fid": fid, "rules": found, "at_any_time": sorted(at_any_time)}


def main() -> dict[str, Any]:
    """Train and diagnose all runs."""
    torch.set_flush_denormal(True)
    runs = [measure(what, changes, seed) for seed in SEEDS for what, changes in RECIPES.items()]
    dips = []
    for seed in LSTM_SEEDS:
        run = trained(train_lstm, RUNS / f"lstm-{seed}", seed=seed, device="cpu")
        dips.append([str(each) for each in diagnose(run.folder)])
    fired = {}
    for what in RECIPES:
        chosen = [run for run in runs if run["recipe"] == what]
        fired[what] = {
            "runs": len(chosen),
            "FID": median(run["fid"] for run in chosen),
            "at any time": sum(bool(run["at_any_time"]) for run in chosen),
            "at the end": sum(bool(run["rules"]) for run in chosen),
            **{rule: sum(rule in run["rules"] for run in chosen) for rule in RULES if rule != "dip"},
        }
    return {
        "title": "Rules of the diagnosis",
        "machine": machine(),
        "fired": fired,
        "runs": runs,
        "dips": {"runs": len(dips), "fired": sum(bool(each) for each in dips), "found": dips},
    }
