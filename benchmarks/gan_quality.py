"""Scores of GAN recipes over seeds, evaluated during training. Takes hours.

    python -m benchmarks.gan_quality [GOAL ...] [--seeds N] [--jobs N]

They are a sweep in runs/gan-quality. Finished runs are not repeated, so the same command resumes after Ctrl-C. At the
end docs/measurements/gan_quality.json, also after Ctrl-C, and the figure docs/pictures/gan-quality.png are updated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from matplotlib.figure import Figure

from benchmarks.measure import ROOT, Goal, Row, json_of, measure_goals, trained
from reviver.figures import CHANCE_COLOR, plain_log_ticks, save_figure, styled
from reviver.gan.scores.monitor import find_collapse
from reviver.sweep.trials import Trial

FIGURE = ROOT / "docs" / "pictures" / "gan-quality.png"
NUM_SAMPLES = 10_000
DRAWS = (1000, 1001, 1002)
"""Seeds of the noise of further evaluations after training; those during training use the seed of the run."""
SCORES = ("fid", "fid_ratio", "kid", "precision", "recall", "density", "coverage", "class_kl")


def mean_fid(row: Row) -> float:
    """Return the FID of a run, over several draws of noise."""
    return fmean(row.get("fid_draws", [row["fid"]]))


def three_minutes(row: Row) -> bool:
    low, high = row["class_fractions"]
    is_diverse = row["recall"] >= 0.82 and row["coverage"] >= 0.74 and low >= 0.07 and high <= 0.13
    return mean_fid(row) <= 4.5 and is_diverse and row["seconds"] <= 180


def as_a_default(row: Row) -> bool:
    return mean_fid(row) <= 20 and not row["collapsed"]


def fifteen_minutes(row: Row) -> bool:
    is_good = min(row["precision"], row["recall"]) >= 0.82 and row["coverage"] >= 0.73
    return mean_fid(row) <= 2.8 and is_good and row["seconds"] <= 900


def near_real_images(row: Row) -> bool:
    return mean_fid(row) <= 1.15 * row["real_baseline"]["fid"]


@dataclass(frozen=True)
class Recipe(Goal):
    """A preset with some settings changed.

    Attributes:
        preset: Preset, if it is not `name`.
        changes: Options that change its settings.
        is_plotted: Whether the figure shows the recipe; all of them would hide each other.
        eval_every: Epochs between evaluations.
    """

    preset: str = ""
    changes: tuple[str, ...] = ()
    is_plotted: bool = True
    eval_every: int = 4


THREE_MINUTES = "FID ≤ 4.5, recall ≥ .82, coverage ≥ .74, classes 7 to 13 %, ≤ 3 min"
FIFTEEN_MINUTES = "FID ≤ 2.8, precision ≥ .82, recall ≥ .82, coverage ≥ .73, ≤ 15 min"
DEFAULT = "FID ≤ 20, not collapsed"
LONGEST = "FID ≤ 1.15 × that of real images"
SHORT = ("--epochs", "20")
RECIPES = (
    Recipe("public-script", "public script, eps 0.8", changes=SHORT),
    Recipe("report", "report", preset="original", changes=SHORT),
    Recipe("best", "best", 5, THREE_MINUTES, three_minutes),
    Recipe("best-long", "best, 150 epochs", 3, FIFTEEN_MINUTES, fifteen_minutes, eval_every=10),
    Recipe("best-longest", "best, 400 epochs", 1, LONGEST, near_real_images, eval_every=10),
    Recipe("quick", "quick, on half of the images", 10, DEFAULT, as_a_default, is_plotted=False, eval_every=6),
    Recipe("public-script-200", "public script, 200 epochs", 1, preset="public-script", is_plotted=False),
    Recipe("report-200", "report, 200 epochs", 1, preset="original", is_plotted=False),
)


def make_trial(recipe: Recipe, seed: int) -> Trial:
    """Return the trial that trains one seed of a recipe."""
    evaluation = ("--eval-every", str(recipe.eval_every), "--eval-samples", str(NUM_SAMPLES))
    command = ["reviver", "gan", "train", "--preset", recipe.preset or recipe.name, *recipe.changes, *evaluation]
    arguments = {"seed": seed, "command": [*command, "--seed", str(seed)]}
    return Trial(measure, arguments, {"recipe": recipe.name, "seed": seed})


def measure(folder: Path, *, seed: int, command: list[str]) -> dict[str, Any]:
    """Train a run in `folder`, resume it, or read it if it is finished; return its results."""
    trained_run, peak_gb = trained(command, folder / "run")
    record, scores = trained_run.record, trained_run.read_scores()
    last = scores[-1]
    return {
        "seed": seed,
        "command": " ".join(command),
        "epochs": last["epoch"],
        "seconds": record["seconds"],
        "threads": record["hardware"]["threads"],
        "peak_gb": peak_gb,
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
    result = json_of("gan", "evaluate", str(folder), "--num-samples", str(NUM_SAMPLES), "--seed", str(draw))
    return float(result["samples"]["fid"])


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
