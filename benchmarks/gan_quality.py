"""Scores of GAN recipes over seeds, evaluated during training. Takes hours.

    python -m benchmarks.gan_quality [GOAL ...] [--jobs N]

They are a sweep in runs/gan-quality. Finished runs are not repeated, so the same command resumes after Ctrl-C. At the
end docs/measurements/gan_quality.json, also after Ctrl-C, and the figure docs/pictures/gan-quality.png are updated.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.figure import Figure

from benchmarks.measure import ROOT, Goal, measure_goals, trained
from reviver.figures import CHANCE_COLOR, plain_log_ticks, save_figure, styled
from reviver.gan.scores.monitor import find_collapse
from reviver.run import train_gan
from reviver.sweep.trials import Trial

FIGURE = ROOT / "docs" / "pictures" / "gan-quality.png"
NUM_SAMPLES = 10_000
DRAWS = (1000, 1001, 1002)
"""Seeds of the noise of further evaluations after training; those during training use the seed of the run."""
SCORES = ("fid", "fid_ratio", "kid", "precision", "recall", "density", "coverage", "class_kl")


@dataclass(frozen=True)
class Recipe(Goal):
    """A preset with some settings changed.

    Attributes:
        is_plotted: Whether the figure shows the recipe; all of them would hide each other.
    """

    is_plotted: bool = True


SHORT, RARELY = {"epochs": 20}, {"eval_every": 10}
RECIPES = (
    Recipe("public-script", "public script, eps 0.8", changes=SHORT),
    Recipe("report", "report", preset="original", changes=SHORT),
    Recipe("best", "best", 5),
    Recipe("best-long", "best, 150 epochs", changes=RARELY),
    Recipe("best-longest", "best, 400 epochs", 1, changes=RARELY),
    Recipe("quick", "quick, on half of the images", 10, changes={"eval_every": 6}, is_plotted=False),
    Recipe("public-script-200", "public script, 200 epochs", 1, "public-script", is_plotted=False),
    Recipe("report-200", "report, 200 epochs", 1, "original", is_plotted=False),
)


def make_trial(recipe: Recipe, seed: int) -> Trial:
    """Return the trial that trains one seed of a recipe."""
    evaluation = {"eval_every": 4, "eval_samples": NUM_SAMPLES}
    settings = {"preset": recipe.preset or recipe.name, "seed": seed, **evaluation, **recipe.changes}
    return Trial(measure, {"settings": settings}, {"recipe": recipe.name, "seed": seed})


def measure(folder: Path, *, settings: dict[str, Any]) -> dict[str, Any]:
    """Train a run in `folder`, resume it, or read it if it is finished; return its results."""
    run = trained(train_gan, folder / "run", **settings)
    record, scores = run.folder.record, run.folder.read_scores()
    last = scores[-1]
    return {
        **settings,
        "epochs": last["epoch"],
        "seconds": record["seconds"],
        "threads": record["hardware"]["threads"],
        "eval_seconds": record["eval_seconds"],
        "class_fractions": [min(last["class_fractions"]), max(last["class_fractions"])],
        "collapsed": find_collapse(scores) is not None,
        **{name: last[name] for name in SCORES},
        "real_baseline": last["real_baseline"],
        "num_samples": last["num_samples"],
        "extractor": last["extractor"],
        "extractor_sha256": last["extractor_sha256"],
        "fid_draws": [evaluate(folder / "run", draw) for draw in DRAWS],
        # [seconds, FID]; all epochs take the same time
        "fid_curve": [[score["epoch"] / last["epoch"] * record["seconds"], score["fid"]] for score in scores],
    }


def evaluate(folder: Path, draw: int) -> float:
    """Return the FID of a finished run for a draw of noise, the seed `draw`."""
    words = [
        "gan",
        "evaluate",
        str(folder),
        "--num-samples",
        str(NUM_SAMPLES),
        "--seed",
        str(draw),
        "--json",
        "--quiet",
    ]
    result = subprocess.run([sys.executable, "-m", "reviver", *words], check=True, stdout=subprocess.PIPE)
    return float(json.loads(result.stdout)["samples"]["fid"])


def plot(recipes: Sequence[Mapping[str, Any]]) -> Figure:
    """Plot FID over the epochs of training: the median over the seeds of each recipe, and a band over all seeds."""
    with styled():
        figure = Figure(figsize=(6.3, 4.0))
        axes = figure.subplots()
        for recipe in recipes:
            rows = recipe["rows"]
            # of each evaluation, over the seeds
            evaluations = list(zip(*(row["fid_curve"] for row in rows), strict=True))
            epochs = [moment / rows[0]["seconds"] * rows[0]["epochs"] for moment, _ in rows[0]["fid_curve"]]
            fids = [[fid for _, fid in evaluation] for evaluation in evaluations]
            medians = [median(values) for values in fids]
            (line,) = axes.plot(epochs, medians, marker="o", markersize=2.5, label=recipe["what"])
            low, high = ([choose(values) for values in fids] for choose in (min, max))
            axes.fill_between(epochs, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        baseline_fid = recipes[0]["rows"][0]["real_baseline"]["fid"]
        axes.axhline(baseline_fid, color=CHANCE_COLOR, linestyle=":", linewidth=1.2, label="real images")
        axes.set(xlabel="epochs of training", ylabel="FID, lower is better", xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            plain_log_ticks(axis)
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def main() -> None:
    """Measure the recipes that the command line names, and update the figure."""
    goals = measure_goals("gan_quality", __doc__, "Scores of GAN recipes", RECIPES, make_trial)["goals"]
    plotted = [goals[recipe.name] for recipe in RECIPES if recipe.is_plotted and recipe.name in goals]
    if plotted:
        save_figure(plot(plotted), FIGURE)


if __name__ == "__main__":
    main()
