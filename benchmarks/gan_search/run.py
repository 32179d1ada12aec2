"""Measures the variants of the search; an idea takes minutes, a whole run as long as the preset `best`.

    python -m benchmarks.gan_search.run [VARIANT ...] [--seeds N] [--jobs N]

A *branch* is a run whose last epochs alone have the idea: all branches go on from the same state. So they differ by the
idea alone, late in training, and cost little. Their seeds change the order of the images and the noise after that state.
A *whole* run and a *short* run have the idea from the first epoch on. A short one has fewer epochs and costs less.

The runs are a sweep in runs/gan-search, one thread each. Finished runs are not repeated, so the same command resumes after
Ctrl-C. At the end docs/measurements/gan_search.json is updated, also after Ctrl-C.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from benchmarks.gan_search.judge import DRAWS, NUM_SAMPLES, Judge
from benchmarks.gan_search.prototype import Ideas, Prototype
from benchmarks.measure import measure_goals
from reviver.gan.config import GANConfig
from reviver.gan.data.image_set import load_mnist
from reviver.gan.presets import PRESETS
from reviver.io.atomic import atomic_write
from reviver.sweep.cell import Cell

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "runs" / "gan-search"
RESULTS = ROOT / "docs" / "measurements" / "gan_search.json"
START = {
    "learning_rate": 8e-4,
    "final_lr_ratio": 0.5,
    "batch_size": 128,
    "beta1": -0.3,
    "beta2": 0.999,
    "r1": 0.2,
    "penalty_interval": 2,
    "ema": 0.9998,
}
"""The settings that the search starts from, those of `best` of November 2026 with R1 every second update."""
RAMPUPS = (0.1, 0.05)
"""Averages of the generator that each run keeps; the first one is the start's."""
TRUNK_EPOCHS, BRANCH_EPOCHS, SHORT_EPOCHS, WHOLE_EPOCHS = 14, 4, 16, 34


@dataclass(frozen=True, kw_only=True)
class Variant:
    """An idea or a few. See `benchmarks.measure.Goal` for `name`, `what`, `seeds` and `target`."""

    name: str
    what: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that differ from START."""
    ideas: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `Ideas` that differ from the defaults."""
    epochs: int | None = None
    """Epochs of a run that has the idea from the first one on; None: a branch."""
    seeds: int = 1
    target: str = ""

    @property
    def kind(self) -> str:
        """One of branch, short and whole."""
        if self.epochs is None:
            return "branch"
        return "whole" if self.epochs == WHOLE_EPOCHS else "short"

    def __hash__(self) -> int:
        """Hash the name, which is unique."""
        return hash(self.name)


VARIANTS = (
    Variant(name="start", what="centering alone", seeds=3),
    Variant(name="two-steps", what="two updates of D per update of G", settings={"discriminator_steps": 2}),
    Variant(name="batch-64", what="batches of 64", settings={"batch_size": 64}),
    Variant(name="batch-256", what="batches of 256 at the end", settings={"batch_size": 256}),
    Variant(name="beta2", what="β₂ = 0.99", settings={"beta2": 0.99}),
    Variant(name="less-r1", what="γ of R1 0.05 at the end", settings={"r1": 0.05}),
    Variant(name="more-r1", what="γ of R1 0.8 at the end", settings={"r1": 0.8}),
    Variant(name="lower-rate", what="learning rate falling to 0.2", settings={"final_lr_ratio": 0.2}),
    Variant(name="matching", what="feature matching, weight 1", ideas={"feature_matching": 1.0}),
    Variant(name="weak-matching", what="feature matching, weight 0.02", ideas={"feature_matching": 0.02}),
    Variant(
        name="relativistic",
        what="relativistic loss, γ of R1 and R2 0.1",
        settings={"loss": "relativistic", "r1": 0.1, "r2": 0.1},
    ),
    Variant(name="shifts", what="half of the images moved by up to a pixel before D", ideas={"shifts": 0.5}, seeds=2),
    Variant(
        name="shifts-lower-rate",
        what="the same, and a learning rate falling to 0.2",
        settings={"final_lr_ratio": 0.2},
        ideas={"shifts": 0.5},
    ),
    Variant(name="decay", what="weight decay 0.1 on D", ideas={"weight_decay": 0.1}),
    Variant(name="replay", what="a quarter of the loss of D on earlier samples", ideas={"replay": 0.25}),
    Variant(name="consistency", what="consistency under moves by a pixel (bCR)", ideas={"consistency": 1.0}),
    Variant(name="short-start", what="centering alone", epochs=SHORT_EPOCHS, seeds=2),
    Variant(
        name="short-lower-rate",
        what="learning rate falling to 0.3",
        settings={"final_lr_ratio": 0.3},
        epochs=SHORT_EPOCHS,
    ),
    Variant(
        name="short-slow-discriminator",
        what="learning rate of D 5.5e-4",
        settings={"discriminator_learning_rate": 5.5e-4},
        epochs=SHORT_EPOCHS,
    ),
    Variant(
        name="short-fast-generator",
        what="learning rate of G 1.2e-3",
        settings={"learning_rate": 1.2e-3, "discriminator_learning_rate": 8e-4},
        epochs=SHORT_EPOCHS,
    ),
    Variant(
        name="short-fast",
        what="learning rate 1.2e-3, falling to 0.2",
        settings={"learning_rate": 1.2e-3, "final_lr_ratio": 0.2},
        epochs=SHORT_EPOCHS,
        seeds=2,
    ),
    Variant(name="short-scale", what="s = 2.2", ideas={"scale": 2.2}, epochs=SHORT_EPOCHS),
    Variant(name="short-less-scale", what="s = 1.3", ideas={"scale": 1.3}, epochs=SHORT_EPOCHS),
    Variant(name="short-beta1", what="β₁ = -0.5", settings={"beta1": -0.5}, epochs=SHORT_EPOCHS),
    Variant(name="short-beta2", what="β₂ = 0.99", settings={"beta2": 0.99}, epochs=SHORT_EPOCHS),
    Variant(name="short-less-r1", what="γ of R1 0.1", settings={"r1": 0.1}, epochs=SHORT_EPOCHS),
    Variant(name="short-more-r1", what="γ of R1 0.4", settings={"r1": 0.4}, epochs=SHORT_EPOCHS),
    Variant(name="short-interval", what="R1 every 4th update", settings={"penalty_interval": 4}, epochs=SHORT_EPOCHS),
    Variant(name="short-shifts", what="moved images", ideas={"shifts": 0.5}, epochs=SHORT_EPOCHS),
    Variant(name="short-decay", what="weight decay 0.1 on D", ideas={"weight_decay": 0.1}, epochs=SHORT_EPOCHS),
    Variant(name="short-whitening", what="whitened to the power 0.3", ideas={"whitening": 0.3}, epochs=SHORT_EPOCHS),
    Variant(name="short-scaling", what="pixels scaled", ideas={"pixel_scaling": 0.5}, epochs=SHORT_EPOCHS),
    Variant(
        name="short-faster",
        what="learning rate 1.6e-3, falling to 0.2",
        settings={"learning_rate": 1.6e-3, "final_lr_ratio": 0.2},
        epochs=SHORT_EPOCHS,
    ),
    Variant(
        name="short-fast-both",
        what="learning rates 1.2e-3 of D and 1.8e-3 of G, falling to 0.2",
        settings={"learning_rate": 1.8e-3, "discriminator_learning_rate": 1.2e-3, "final_lr_ratio": 0.2},
        epochs=SHORT_EPOCHS,
    ),
    Variant(
        name="short-batch-256",
        what="batches of 256, 20 epochs, learning rate 1.6e-3, falling to 0.2",
        settings={"batch_size": 256, "learning_rate": 1.6e-3, "final_lr_ratio": 0.2},
        epochs=20,
    ),
    Variant(
        name="short-batch-192",
        what="batches of 192, 18 epochs, learning rate 1.4e-3, falling to 0.2",
        settings={"batch_size": 192, "learning_rate": 1.4e-3, "final_lr_ratio": 0.2},
        epochs=18,
    ),
    Variant(
        name="short-fast-shifts",
        what="learning rate 1.2e-3, falling to 0.2, and moved images",
        settings={"learning_rate": 1.2e-3, "final_lr_ratio": 0.2},
        ideas={"shifts": 0.5},
        epochs=SHORT_EPOCHS,
        seeds=2,
    ),
    Variant(name="whole-start", what="centering alone", epochs=WHOLE_EPOCHS, seeds=2),
    Variant(name="whole-shifts", what="moved images", ideas={"shifts": 0.5}, epochs=WHOLE_EPOCHS, seeds=2),
    Variant(
        name="whole-whitening", what="whitened to the power 0.3", ideas={"whitening": 0.3}, epochs=WHOLE_EPOCHS, seeds=2
    ),
    Variant(name="whole-scaling", what="pixels scaled", ideas={"pixel_scaling": 0.5}, epochs=WHOLE_EPOCHS, seeds=2),
    Variant(name="whole-noise", what="decaying noise before D", ideas={"noise": 0.3}, epochs=WHOLE_EPOCHS, seeds=2),
    Variant(
        name="whole-annealing",
        what="γ of R1 from 0.4 to 0.05",
        settings={"r1": 0.4},
        ideas={"final_r1": 0.05},
        epochs=WHOLE_EPOCHS,
        seeds=2,
    ),
)
START_NAMES = {"branch": "start", "short": "short-start", "whole": "whole-start"}
"""What branches, short runs and whole runs are compared with, by `Variant.kind`."""


def make_cell(variant: Variant, seed: int) -> Cell:
    """Return the cell that measures one seed of a variant."""
    arguments = {
        "seed": seed,
        "settings": {**START, **variant.settings},
        "ideas": dict(variant.ideas),
        "epochs": variant.epochs,
    }
    return Cell("benchmarks.gan_search.run:measure", arguments, {"variant": variant.name, "seed": seed})


def measure(
    folder: Path, *, seed: int, settings: dict[str, Any], ideas: dict[str, Any], epochs: int | None
) -> dict[str, Any]:
    """Train a variant and score it; keep its averages in `folder`."""
    torch.set_num_threads(1)
    shared = folder.parents[1] / "shared"
    shared.mkdir(exist_ok=True)
    if epochs is not None:
        trained = Prototype(make_config(seed, settings, epochs), Ideas(**ideas), load_mnist("train"), RAMPUPS)
        trained.train()
        first = 0
    else:
        state = load_trunk(shared)
        config = make_config(seed, settings, TRUNK_EPOCHS + BRANCH_EPOCHS)
        trained = Prototype(config, Ideas(**ideas), load_mnist("train"), RAMPUPS)
        if seed:
            state["rng"] = trained.rng.get_state()  # otherwise the noise is the same for every seed
        trained.load_state({**state, "cpu_seconds": 0.0})
        trained.train(first := TRUNK_EPOCHS)
    judge = Judge(shared)
    scores = {}
    for rampup, average in trained.averages.items():
        with atomic_write(folder / f"average-{rampup}.pt") as temporary:
            torch.save(average.state_dict(), temporary)
        scores[str(rampup)] = judge.score(average, neighbors=epochs is not None)
    real = {name: judge.reference(name, "train").confident for name in judge.extractors}
    return {
        "seed": seed,
        "settings": settings,
        "ideas": asdict(Ideas(**ideas)),
        "epochs": trained.config.epochs,
        "epochs_with_idea": trained.config.epochs - first,
        "cpu_seconds": trained.cpu_seconds,
        "num_samples": NUM_SAMPLES,
        "draws": list(DRAWS),
        "split": "train",
        "confident_real": real,
        "scores": scores,
    }


def make_config(seed: int, settings: dict[str, Any], epochs: int) -> GANConfig:
    """Return the settings of a run."""
    return replace(PRESETS["best"], **settings, shift_probability=0.0, seed=seed, epochs=epochs)


def load_trunk(folder: Path) -> dict[str, Any]:
    """Return the state after the epochs that all branches share; train them first if need be."""
    path = folder / "trunk-0.pt"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            config = make_config(0, START, TRUNK_EPOCHS + BRANCH_EPOCHS)
            trunk = Prototype(config, Ideas(), load_mnist("train"), RAMPUPS)
            trunk.train(last=TRUNK_EPOCHS)
            with atomic_write(path) as temporary:
                torch.save(trunk.state(), temporary)
        state: dict[str, Any] = torch.load(path, weights_only=True)
    return state


def main() -> None:
    """Measure the variants that the command line names."""
    title = "Ideas for the preset best"
    measure_goals("benchmarks.gan_search.run", __doc__, title, RUNS, RESULTS, VARIANTS, make_cell)


if __name__ == "__main__":
    main()
