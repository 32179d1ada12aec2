"""A tiny run."""

import numpy as np
import pytest

from reviver.runs.folder import RunFolder
from reviver.settings.gan import GANConfig
from reviver.train.gan import training


@pytest.fixture(scope="package")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> GANConfig:
    """41 images of 8 x 8, in batches of 16, 16 and 9: 6 updates, a line of metrics after every second."""
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (41, 8, 8), dtype=np.uint8))
    return GANConfig(data=str(path), image_size=8, latent_size=16, epochs=2, batch_size=16, sample_every=3, log_every=2)


@pytest.fixture(scope="package")
def uninterrupted(tiny: GANConfig, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return training.train(tiny, tmp_path_factory.mktemp("uninterrupted") / "run")
