"""Measure the experiments of the explorer's panel Train over seeds, trained by Python instead of the page.

`web/src/panels/train/experiments.json` has their settings. `runs/experiments` keeps the trained networks, so the same command
continues after Ctrl-C. The page is built with the results: run `make explorer` afterwards.

    OMP_NUM_THREADS=1 python -m benchmarks experiments
"""

import json
import math
import re
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.measure import machine, trained
from reviver.data.images.image_set import from_pixels
from reviver.data.images.named import MNIST_30K, read_small_mnist
from reviver.gan.sampling import generate_samples
from reviver.recurrent.classifier import LSTMClassifier
from reviver.run import train_gan, train_lstm
from reviver.settings.gan import GANConfig
from reviver.train.lstm import training as lstm
from reviver.train.lstm.scoring import score

ROOT = Path(__file__).parents[1]
DEFINITIONS = ROOT / "web" / "src" / "panels" / "train" / "experiments.json"
RUNS = ROOT / "runs" / "experiments"
SEEDS = range(5)
IMAGES = 30_000
"""Images on which a page without runs trains a GAN."""
SAMPLES = 200
"""Samples, and real images, between which distances are measured."""
Settings = Mapping[str, Any]
"""Settings of a run by their names in the page, see web/src/train/settings.ts."""


class Exchanged:
    """Losses of a discriminator that learns to call generated images real, and of a generator that seeks that answer."""

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Return E[-log D(G(z))]."""
        return functional.softplus(-fake_logits).mean()

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Return ½ (E[-log(1 - D(x))] + E[-log D(G(z))])."""
        return (functional.softplus(real_logits).mean() + functional.softplus(-fake_logits).mean()) / 2


def to_python(settings: Settings) -> dict[str, Any]:
    """Return settings of the page as Python names and writes them."""
    found = {re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name): value for name, value in settings.items()}
    if "curriculum" in found:
        found["curriculum"] = found["curriculum"] == "on"
    return found


def measure_lstm(settings: Settings, seed: int, path: Path) -> dict[str, float]:
    """Train an LSTM; return its accuracy at length T and, of its last epoch, in training."""
    given = to_python(settings)
    forget_bias = given.pop("forget_bias", None)
    build = lstm.build_network

    def build_with_bias(*arguments: Any) -> Any:
        network = build(*arguments)
        if forget_bias is not None:
            assert isinstance(network, LSTMClassifier)
            with torch.no_grad():
                network.lstm.b_f.fill_(forget_bias)
        return network

    with patch.object(lstm, "build_network", build_with_bias):
        run = trained(train_lstm, path, seed=seed, device="cpu", **given)
    last = run.folder.read_metrics()[-1]
    task, config = run.task, run.config
    data = task.evaluation(config.length, 2000)[0] if config.curriculum else task.validation(config.length)
    return {
        "Accuracy, validation": score(run.network, data, task.target).accuracy,
        "Accuracy, training": last["train_accuracy"],
    }


def distance(images: Tensor) -> Tensor:
    """Return the mean distance of two images."""
    return torch.pdist(images.flatten(1)).mean()


def measure_gan(settings: Settings, seed: int, path: Path) -> dict[str, float]:
    """Train a GAN; return what D says at the end, and how far apart samples are."""
    given = {"preset": "original", **to_python(settings)}
    loss = Exchanged if given.pop("labels", "right") == "exchanged" else None
    run = trained(train_gan, path, loss=loss, data=MNIST_30K, eval_every=0, seed=seed, device="cpu", **given)
    last = run.folder.read_metrics()[-1]
    images, _ = generate_samples(run.generator, SAMPLES, seed)
    real = from_pixels(read_small_mnist().images[:SAMPLES])
    return {
        "D of real images": last["probability_real"],
        "D of generated images": last["probability_fake"],
        "Distance of samples (real: 100 %)": (distance(images) / distance(real)).item(),
    }


def measure(kind: str, settings: Settings, seed: int) -> dict[str, float]:
    """Train a network unless that is done, and return its measures, which are fractions."""
    values = {name: zlib.crc32(value.encode()) if name == "cell" else value for name, value in settings.items()}
    name = "-".join([kind, *(f"{name}-{value}" for name, value in values.items()), f"seed-{seed}"])
    found = (measure_lstm if kind == "lstm" else measure_gan)(settings, seed, RUNS / name)
    sys.stderr.write(f"{name}: {found}\n")
    return found


def main() -> dict[str, Any]:
    """Train and measure the two lines of all experiments."""
    torch.set_flush_denormal(True)
    results: dict[str, Any] = {}
    for kind, experiments in json.loads(DEFINITIONS.read_text(encoding="utf-8")).items():
        for one in experiments:
            first = dict(one["base"])
            if "updates" in one:
                first["epochs"] = math.ceil(one["updates"] * GANConfig.batch_size / IMAGES)
            settings = [first, first | one["change"]]
            found = [[measure(kind, line, seed) for seed in SEEDS] for line in settings]
            results[one["id"]] = {
                "settings": settings,
                "measures": {name: [[round(row[name], 4) for row in line] for line in found] for name in found[0][0]},
            }
    return {"title": "Experiments of the panel Train", "machine": machine(), "seeds": len(SEEDS), "results": results}
