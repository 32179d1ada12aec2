"""A run of a GAN on small images, for the commands."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reviver.settings.gan import GANConfig
from reviver.train.gan.training import train


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `run`, of images of 8 x 8 pixels and Z = 8, and two of its images, a.png and b.png."""
    folder = tmp_path_factory.mktemp("small")
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    np.save(folder / "images.npy", images)
    for name, pixels in zip(("a", "b"), images, strict=False):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    config = GANConfig(data=str(folder / "images.npy"), image_size=8, latent_size=8, epochs=1, batch_size=16)
    train(config, folder / "run", device="cpu")
    return folder
