"""What GANs reach: recipes over seeds, by their commands, scored as they train. Takes hours.

    python -m benchmarks.gan_quality [GOAL ...] [--seeds N] [--jobs N]

Runs stay in runs/gan-quality; those that are finished are not run again, so the same command goes on after Ctrl-C.
Results are kept in docs/measurements/gan_quality.json after each run, and drawn into docs/pictures/gan-quality.png.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from benchmarks.measure import measure_goals, trained
from reviver.figures import CHANCE_COLOR, plain_log_ticks, save_figure, styled
from reviver.gan.evaluation.monitor import find_collapse

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "runs" / "gan-quality"
RESULTS = ROOT / "docs" / "measurements" / "gan_quality.json"
PICTURE = ROOT / "docs" / "pictures" / "gan-quality.png"
SCORED = ("--eval-every", "4", "--eval-samples", "10000")
SCORES = ("fid", "fid_ratio", "kid", "precision", "recall", "density", "coverage", "class_kl")


class ReferenceStats(NamedTuple):
    """What the last scores of a run shall be; with `seconds`, those of training."""

    text: str
    fid: float | None = None
    precision: float = 0.0
    recall: float = 0.0
    coverage: float = 0.0
    seconds: float | None = None
    classes: tuple[float, float] = (0.0, 1.0)
    """Least and most share of any class."""


class Recipe(NamedTuple):
    """A preset with some settings changed."""

    name: str
    what: str
    preset: str
    changes: tuple[str, ...] = ()
    seeds: int = 3
    wanted: ReferenceStats | None = None
    is_drawn: bool = False
    """Whether the figure shows it; all of them would hide each other."""

    @property
    def target(self) -> str:
        """In words; empty if there is none."""
        return self.wanted.text if self.wanted else ""


THREE_MINUTES = ReferenceStats(
    "FID ≤ 8, recall ≥ .75, coverage ≥ .68, classes 7 to 13 %, ≤ 3 min",
    fid=8,
    recall=0.75,
    coverage=0.68,
    seconds=180,
    classes=(0.07, 0.13),
)
FIFTEEN_MINUTES = ReferenceStats(
    "FID ≤ 4, precision ≥ .82, recall ≥ .82, coverage ≥ .73, ≤ 15 min",
    fid=4,
    precision=0.82,
    recall=0.82,
    coverage=0.73,
    seconds=900,
)

RECIPES = (
    Recipe("public-script", "public script, eps 0.8", "public-script", ("--epochs", "20"), is_drawn=True),
    Recipe("report", "report", "report", ("--epochs", "20"), is_drawn=True),
    Recipe("best", "best", "best", seeds=10, wanted=THREE_MINUTES, is_drawn=True),
    Recipe("best-long", "best, longer", "best-long", wanted=FIFTEEN_MINUTES, is_drawn=True),
    Recipe("no-penalty", "best without R1", "best", ("--r1", "0"), is_drawn=True),
    Recipe("no-average", "best without moving average", "best", ("--ema", "0", "--ema-rampup", "0"), is_drawn=True),
    Recipe("no-ramp", "best, moving average of 0.998 throughout", "best", ("--ema", "0.998", "--ema-rampup", "0")),
    Recipe("no-momentum", "best with Adam's β₁ = 0", "best", ("--beta1", "0")),
    Recipe("momentum", "best with Adam's β₁ = 0.5", "best", ("--beta1", "0.5")),
    Recipe("falling", "best, learning rate decaying to 0", "best", ("--final-lr-ratio", "0"), is_drawn=True),
    Recipe("more-steps", "best, D learns from two batches for one of G", "best", ("--discriminator-steps", "2")),
    Recipe("fp32", "best in fp32", "best", ("--precision", "fp32")),
    Recipe("least-squares", "best, least squares", "best", ("--loss", "least-squares")),
    Recipe("hinge", "best, hinge", "best", ("--loss", "hinge")),
    Recipe("relativistic", "best, relativistic with R1 and R2", "best", ("--loss", "relativistic", "--r2", "0.2")),
    Recipe(
        "wasserstein",
        "best, Wasserstein with gradient penalty",
        "best",
        ("--loss", "wasserstein", "--r1", "0", "--gradient-penalty", "10"),
    ),
    Recipe("two-time-scales", "best, learning rate of D doubled", "best", ("--discriminator-learning-rate", "1.6e-3")),
    Recipe("dropout", "report with dropout 0.3 in D", "report", ("--epochs", "20", "--discriminator-dropout", "0.3")),
    Recipe("spectral-norm", "report with spectral norm in D", "report", ("--epochs", "20", "--spectral-norm")),
    Recipe("smoothing", "report with labels smoothed by 0.1", "report", ("--epochs", "20", "--label-smoothing", "0.1")),
    Recipe("packing", "report, packing of 2", "report", ("--epochs", "20", "--packing", "2")),
    Recipe("public-script-200", "public script, 200 epochs", "public-script", seeds=1),
    Recipe("report-200", "report, 200 epochs", "report", seeds=1),
)


def run(recipe: Recipe, seed: int) -> dict[str, Any]:
    """Train one seed of a recipe, or go on with it, or read it if it is finished; return what it reached."""
    folder = RUNS / f"{recipe.name}-seed{seed}"
    command = ["reviver", "gan", "train", "--preset", recipe.preset, *recipe.changes, *SCORED, "--seed", str(seed)]
    record, peak_gb = trained(command, folder)
    points = record.read_scores()
    seconds = record.record["seconds"]
    last = points[-1]
    row = {
        "seed": seed,
        "command": " ".join(command),
        "epochs": last["epoch"],
        "seconds": seconds,
        "threads": record.record["hardware"]["threads"],
        "peak_gb": peak_gb,
        "eval_seconds": record.record["eval_seconds"],
        "classes": [min(last["classes"]), max(last["classes"])],
        "collapsed": find_collapse(points) is not None,
        **{name: last[name] for name in SCORES},
        "floor": last["floor"],
        "n": last["n"],
        "extractor": last["extractor"],
        "extractor_sha256": last["extractor_sha256"],
        # every epoch takes as long as any other
        "points": [[point["epoch"] / last["epoch"] * seconds, point["fid"]] for point in points],
    }
    return row if recipe.wanted is None else {**row, "reached": is_reached(recipe.wanted, row)}


def is_reached(target: ReferenceStats, row: Mapping[str, Any]) -> bool:
    """Whether a run reached its target."""
    return (
        (target.fid is None or row["fid"] <= target.fid)
        and all(row[name] >= getattr(target, name) for name in ("precision", "recall", "coverage"))
        and (target.seconds is None or row["seconds"] <= target.seconds)
        and row["classes"][0] >= target.classes[0]
        and row["classes"][1] <= target.classes[1]
    )


def draw(recipes: Sequence[Mapping[str, Any]]) -> Figure:
    """FID over the seconds of training of the recipes that are drawn: the median seed, and a band over all."""
    with styled():
        figure = Figure(figsize=(6.3, 4.0))
        axes = figure.subplots()
        most_threads = max(row["threads"] for recipe in recipes for row in recipe["rows"])
        for recipe in recipes:
            runs = [[fid for _, fid in row["points"]] for row in recipe["rows"]]
            seconds = [
                median(moment)
                for moment in zip(*([at for at, _ in row["points"]] for row in recipe["rows"]), strict=True)
            ]
            at_once = list(zip(*runs, strict=True))
            threads = max(row["threads"] for row in recipe["rows"])
            label = recipe["what"]
            if threads < most_threads:
                label += f" ({threads} thread{'s' * (threads > 1)})"
            (line,) = axes.plot(seconds, [median(fids) for fids in at_once], marker="o", markersize=2.5, label=label)
            axes.fill_between(
                seconds,
                [min(fids) for fids in at_once],
                [max(fids) for fids in at_once],
                color=line.get_color(),
                alpha=0.2,
                linewidth=0,
            )
        floor = recipes[0]["rows"][0]["floor"]["fid"]
        axes.axhline(floor, color=CHANCE_COLOR, linestyle=":", linewidth=1.2, label="real images")
        axes.set(xlabel="seconds of training", ylabel="FID, lower is better", xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            plain_log_ticks(axis)
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def main() -> None:
    for results in measure_goals("benchmarks.gan_quality", __doc__, "What GANs reach", RESULTS, RECIPES, run):
        drawn = [results["goals"][one.name] for one in RECIPES if one.is_drawn and one.name in results["goals"]]
        if drawn:
            save_figure(draw(drawn), PICTURE)


if __name__ == "__main__":
    main()
