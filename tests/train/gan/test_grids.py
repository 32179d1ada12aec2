"""Grids of samples: when they are saved, and what they show."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reviver.data.images.image_set import to_pixels
from reviver.errors import Interrupted
from reviver.gan.sampling import generate
from reviver.rng import make_rng
from reviver.run import load
from reviver.runs.folder import RunFolder
from reviver.settings.gan import GANConfig
from reviver.train.gan import training
from reviver.train.gan.grids import grid_at, tile
from reviver.train.gan.snapshots import read_snapshots
from reviver.train.gan.training import build_networks, train
from tests.lstm_runs import at_step, fingerprint, interrupt


def test_grids_are_of_the_same_25_noise_vectors_in_eval_mode(tiny: GANConfig, uninterrupted: RunFolder) -> None:
    """The last grid has the images of the last checkpoint and the run's fixed latent vectors, pixel for pixel."""
    z = torch.randn(25, tiny.latent_size, generator=make_rng(tiny.seed, "grid"))
    untrained, _ = build_networks(tiny, (1, 8, 8))
    for epoch, generator in ((0, untrained), (2, load(uninterrupted.path).generator)):
        grid = tile(generate(generator, z))
        assert grid.shape == (5 * 10 + 2, 5 * 10 + 2)
        with Image.open(uninterrupted.samples / f"epoch-{epoch:04d}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), grid.repeat(14, 0).repeat(14, 1))


def test_grids_within_the_first_epochs_are_animated_and_the_same_after_a_resume(
    tiny: GANConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """14 updates an epoch, the first sampled epoch the second one: grids within epochs at updates 10 and 20."""
    config = replace(tiny, batch_size=3, sample_every=4, epochs=4)
    early = train(config, tmp_path / "early")
    names = ["0000", "0000_update-000010", "0001_update-000020", "0002", "0004"]
    assert sorted(path.name for path in early.samples.glob("*.png")) == [f"epoch-{name}.png" for name in names]
    with Image.open(early.samples / "training.gif") as animation:
        assert (animation.n_frames, animation.info["loop"]) == (5, 0)
        pixels = np.asarray(animation.convert("L"))
    caption = pixels[pixels.shape[1] :]  # below the square grid
    assert (caption[0, 0], caption[-1, -1], caption.min() < 64) == (255, 255, True), "dark words on white"
    at_step(monkeypatch, 10, interrupt, "gan_step", training)
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run")
    # The grid is of the weights of that update.
    z = torch.randn(25, tiny.latent_size, generator=make_rng(tiny.seed, "grid"))
    expected = generate(load(tmp_path / "run").generator, z)
    with Image.open(early.samples / "epoch-0000_update-000010.png") as image:
        np.testing.assert_array_equal(np.asarray(image)[::14, ::14], tile(expected))
    (snapshot,) = read_snapshots(early, [10])
    assert torch.equal(snapshot.images, to_pixels(expected)), "the same sample, kept once"
    for later in names[2:]:  # of a stretch that was taken back
        shutil.copyfile(early.samples / "epoch-0000.png", tmp_path / "run" / "samples" / f"epoch-{later}.png")
    at_step(monkeypatch, 1, interrupt, "gan_step", training)
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", resume=True)
    assert len(list((tmp_path / "run" / "samples").glob("*.png"))) == 2
    assert fingerprint(train(config, tmp_path / "run", resume=True)) == fingerprint(early)
    shutil.rmtree(early.samples)
    assert train(config, early.path, resume=True).status == "finished"


def test_grids_are_saved_at_the_interval_in_the_middle_at_the_end_and_at_first_within_epochs() -> None:
    for epochs, sample_every, expected in ((1, 5, [1]), (2, 9, [1, 2]), (5, 9, [2, 5]), (6, 4, [3, 4, 6])):
        config = GANConfig(epochs=epochs, sample_every=sample_every)
        assert [epoch for epoch in range(epochs + 1) if grid_at(3 * epoch, config, 3) == (epoch, None)] == [
            0,
            *expected,
        ]
    for epochs, batches, updates in ((34, 469, [10, 20, 50, 100, 200, 500, 1000, 2000]), (4, 10, [10]), (1, 3, [])):
        grids = [grid_at(step, GANConfig(epochs=epochs, sample_every=5), batches) for step in range(epochs * batches)]
        assert [grid.update for grid in grids if grid and grid.update] == updates
