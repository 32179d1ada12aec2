"""Module that the server of test_failures.py imports: it completes a run of each kind, so that children start fast."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan.training import train as train_gan
from reviver.train.lstm.training import train as train_lstm

torch.set_num_threads(1)
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    np.save(folder / "images.npy", np.zeros((4, 8, 8), dtype=np.uint8))
    train_lstm(LSTMConfig(length=2, hidden_size=2, epochs=1), folder / "lstm", device="cpu")
    train_gan(GANConfig(data=str(folder / "images.npy"), image_size=8, epochs=1), folder / "gan", device="cpu")
