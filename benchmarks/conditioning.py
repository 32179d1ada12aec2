"""The conditioning of the discriminator's inputs on MNIST, and what it does to learning: figure and numbers for the docs.

    python -m benchmarks.conditioning

Writes docs/measurements/conditioning.json and docs/pictures/conditioning.png. Takes a few minutes.

The second part trains the discriminator alone, to tell MNIST from images of a normal distribution with the same mean and
the same covariance, clipped to [-1, 1]. So neither the mean nor the variances tell them apart. Gradient descent has the
best learning rate of a grid, for each of the two kinds of inputs; Adam has that of the preset `best` for both.
"""

import json
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.optim import SGD, Optimizer

from benchmarks.measure import machine
from reviver.figures import plain_log_ticks, save_figure, styled
from reviver.gan.centering import CenteredDiscriminator, ImageMoments, centering_scale, image_moments
from reviver.gan.data.image_set import from_pixels, load_mnist
from reviver.gan.losses import LOSSES
from reviver.gan.onednn import fast_matmul
from reviver.gan.optim import NegativeMomentumAdam
from reviver.gan.presets import PRESETS
from reviver.io.atomic import write_json
from reviver.runs.rng import make_rng

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "measurements" / "conditioning.json"
FIGURE = ROOT / "docs" / "pictures" / "conditioning.png"
UPDATES, BATCH, SEEDS = 200, 128, 3
RECORD_EVERY = 10
"""Updates per point of a curve, the mean of their losses."""
LEARNING_RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Grid of gradient descent."""
KINDS = {"plain": "images x", "centered": "centered, s (x − m)"}


def second_moments(x: Tensor, moments: ImageMoments, scale: float) -> dict[str, Tensor]:
    """Return the eigenvalues of E[x xᵀ] of images x [N, 784] and of centered ones, [784] each, largest first."""
    m = moments.mean.flatten()
    moment = (x.T @ x).double() / len(x)
    values = {"plain": moment, "centered": scale**2 * (moment - torch.outer(m, m))}
    return {name: torch.linalg.eigvalsh(matrix).flip(0) for name, matrix in values.items()}


def gaussian_images(x: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Return images [n, 784] of a normal distribution with mean and covariance of x [N, 784], clipped to [-1, 1]."""
    covariance = torch.cov(x.T.double())
    values, vectors = torch.linalg.eigh(covariance)
    factor = (vectors * values.clamp(min=0).sqrt()).float()
    return (x.mean(0) + torch.randn(count, len(factor), generator=rng) @ factor.T).clamp(-1, 1)


@fast_matmul()
def train_alone(
    seed: int,
    kind: str,
    optimizer: Callable[[CenteredDiscriminator], Optimizer],
    real: Tensor,
    fake: Tensor,
    scale: float,
) -> list[float]:
    """Train a discriminator to tell images `real` from `fake`, [N, 784] each; return its losses, see RECORD_EVERY."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = CenteredDiscriminator()
    if kind == "centered":
        network.set_centering(MOMENTS.mean, scale)
    chosen, rng = optimizer(network), make_rng(seed, "conditioning")
    losses: list[float] = []
    for _ in range(UPDATES):
        batch = [
            images[torch.randint(len(images), (BATCH,), generator=rng)].view(-1, 1, 28, 28) for images in (real, fake)
        ]
        loss = LOSSES["non-saturating"].discriminator(*network.logits(torch.cat(batch)).chunk(2))
        chosen.zero_grad()
        loss.backward()
        chosen.step()
        losses.append(loss.item())
        if not isfinite(losses[-1]):
            return [losses[-1]]
    return [mean(losses[start : start + RECORD_EVERY]) for start in range(0, UPDATES, RECORD_EVERY)]


def adam(network: CenteredDiscriminator) -> Optimizer:
    """Return the optimizer of the preset `best`."""
    best = PRESETS["best"]
    return NegativeMomentumAdam(network, lr=best.learning_rate, betas=(best.beta1, best.beta2))


def descent(learning_rate: float) -> Callable[[CenteredDiscriminator], Optimizer]:
    """Return a function that returns the optimizer of gradient descent."""
    return lambda network: SGD(network.parameters(), lr=learning_rate)


def measure() -> dict[str, Any]:
    """Compute the spectra, and train with both kinds of inputs."""
    x = from_pixels(load_mnist().images).flatten(1)
    scale = centering_scale("auto", MOMENTS)
    spectra = second_moments(x, MOMENTS, scale)
    fake = gaussian_images(x, 20_000, make_rng(0, "conditioning/images"))
    curves: dict[str, Any] = {}
    for kind in KINDS:
        grid = {rate: train_alone(0, kind, descent(rate), x, fake, scale) for rate in LEARNING_RATES}
        finals = {rate: losses[-1] for rate, losses in grid.items() if isfinite(losses[-1])}
        best = min(finals, key=finals.__getitem__)
        curves[kind] = {
            "learning_rate": best,
            "grid": {str(rate): finals.get(rate) for rate in LEARNING_RATES},  # None: diverged
            "descent": [
                grid[best],
                *(train_alone(seed, kind, descent(best), x, fake, scale) for seed in range(1, SEEDS)),
            ],
            "adam": [train_alone(seed, kind, adam, x, fake, scale) for seed in range(SEEDS)],
        }
    return {
        "title": "Conditioning of the discriminator's inputs, MNIST",
        "command": "python -m benchmarks.conditioning",
        "scale": scale,
        "mean_norm_sq": MOMENTS.mean_norm_sq,
        "variance": MOMENTS.variance,
        "largest_component": spectra["centered"][0].item() / scale**2,
        "spectra": {name: [float(f"{value:.4g}") for value in values.tolist()] for name, values in spectra.items()},
        "updates": UPDATES,
        "record_every": RECORD_EVERY,
        "curves": curves,
        "machine": machine(),
    }


def plot(result: dict[str, Any]) -> Figure:
    """Plot the spectra, and the losses of the discriminator over its updates, means over the seeds."""
    with styled():
        figure = Figure(figsize=(6.3, 3.7))
        left, right = figure.subplots(1, 2)
        for (kind, label), color, marker in zip(KINDS.items(), ("C0", "C1"), ("o", "s"), strict=True):
            values = result["spectra"][kind][:100]
            left.plot(range(1, len(values) + 1), values, color=color, marker=marker, markersize=3, label=label)
            for optimizer, line in (("descent", "-"), ("adam", "--")):
                losses = [mean(values) for values in zip(*result["curves"][kind][optimizer], strict=True)]
                updates = [(number + 1) * result["record_every"] for number in range(len(losses))]
                name = {"descent": "gradient descent", "adam": "Adam"}[optimizer]
                input_name = {"plain": "x", "centered": "s (x − m)"}[kind]
                right.plot(
                    updates, losses, line, color=color, marker=marker, markersize=3, label=f"{name}, {input_name}"
                )
        left.set(xlabel="eigenvalue number", ylabel="eigenvalue of the second moment", xscale="log", yscale="log")
        right.set(xlabel="updates of D alone", ylabel="loss of D", yscale="log")
        for axis in (left.xaxis, left.yaxis, right.yaxis):
            plain_log_ticks(axis)
        for axes in (left, right):
            axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=1)
    return figure


def main() -> None:
    """Measure, and write the result and the figure."""
    result = measure()
    write_json(RESULTS, result)
    save_figure(plot(json.loads(RESULTS.read_text(encoding="utf-8"))), FIGURE)


MOMENTS = image_moments(load_mnist())

if __name__ == "__main__":
    main()
