"""Snapshots while training: when, what is in them, the same after a resume or a rollback."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from reviver.data.images.image_set import from_pixels, load_images, to_pixels
from reviver.gan.networks import one_hot
from reviver.gan.sampling import generate
from reviver.rng import make_rng
from reviver.run import GANRun, LSTMRun, load
from reviver.settings.gan import GANConfig
from reviver.train.gan import training as gan_training
from reviver.train.gan.snapshots import choose_real_images, read_snapshots
from reviver.train.lstm import snapshots as lstm_snapshots
from tests.lstm_runs import TINY, crash
from tests.runs.small import disturb, narrow_gans, train

GAN = GANConfig(
    data="images.npz", image_size=8, latent_size=8, epochs=3, batch_size=15, conditional=True, ema=0.9,
    precision="bf16", discriminator_dropout=0.3, log_every=2, sample_every=3,
)  # fmt: skip
"""9 updates, 3 an epoch."""


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Work in a folder with 41 images in color and their labels; with narrow networks."""
    path = tmp_path_factory.mktemp("snapshots")
    images = np.random.default_rng(0).integers(0, 256, (41, 8, 8, 3), np.uint8)
    np.savez(path / "images.npz", images=images, labels=np.arange(41) % 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        narrow_gans(patch.setattr)
        yield path


@pytest.fixture(scope="module")
def gan(data: Path) -> GANRun:
    run = load(train(GAN, data / "gan").path)
    assert isinstance(run, GANRun)
    return run


@pytest.fixture(scope="module")
def lstm(data: Path) -> LSTMRun:
    run = load(train(replace(TINY, epochs=6), data / "lstm").path)
    assert isinstance(run, LSTMRun)
    return run


def test_a_gan_saves_images_and_logits(gan: GANRun) -> None:
    """The first and the last snapshot agree with the networks of these moments, computed without the writer."""
    saved = read_snapshots(gan.folder)
    assert [(snapshot.step, round(3 * snapshot.epoch, 9)) for snapshot in saved] == [(step, step) for step in range(10)]
    data = load_images("images.npz", 8)
    assert data.labels is not None
    chosen = choose_real_images(41, 25, GAN.seed)
    assert len({*chosen.tolist()}) == 25
    assert torch.equal(chosen, torch.randperm(41, generator=make_rng(GAN.seed, "snapshots"))[:25])
    real = saved[0].real
    assert real is not None
    assert torch.equal(real, data.images[chosen])
    real_labels = one_hot(data.labels[chosen], 3)
    untrained = gan_training.build_networks(GAN, data.image_shape, 3)
    moments = ((saved[0], untrained), (saved[-1], (gan.generator, gan.discriminator)))
    for snapshot, (generator, discriminator) in moments:
        z = generator.sample_latents(25, make_rng(GAN.seed, "grid"), torch.arange(25) % 3)
        images = generate(generator, z)
        assert torch.equal(snapshot.images, to_pixels(images))
        discriminator.eval()
        for logits, batch, labels in (
            (snapshot.fake_logits, images, generator.class_labels(z)),
            (snapshot.real_logits, from_pixels(real), real_labels),
        ):
            assert labels is not None
            torch.testing.assert_close(logits, discriminator.logits(batch, labels)[:, 0], rtol=1e-4, atol=1e-5)


def test_an_lstm_saves_its_weights(lstm: LSTMRun, tmp_path: Path) -> None:
    saved = lstm_snapshots.read_snapshots(lstm.folder, lstm.network)
    accuracies = {row["step"]: row["validation_accuracy"] for row in lstm.metrics}
    assert [(row.epoch, row.step, row.validation_accuracy) for row in saved] == [
        (epoch, 5 * epoch, accuracies[5 * epoch]) for epoch in (1, 3, 4)
    ]
    assert not any(row.network.training for row in saved)
    weights: dict[str, Tensor] = {}

    def keep(network: Any) -> None:
        weights.update(copy.deepcopy(network.state_dict()))
        crash(None)

    disturb(lstm.config, tmp_path / "run", 16, keep)
    for name, tensor in saved[1].network.state_dict().items():
        assert torch.equal(tensor, weights[name])
