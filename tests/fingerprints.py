"""Results of one process for bit-for-bit comparison: `python -m tests.fingerprints FOLDER NAME` writes them as tensors.

`OMP_NUM_THREADS` sets the number of threads; with several, the results with one thread follow, and those of training.
The networks are wide enough that torch and the native kernel divide their work between threads.
"""

import hashlib
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from reviver.data.build import build_task
from reviver.data.images.image_set import load_images, to_pixels
from reviver.gan.sampling import generate
from reviver.gan.scores.feature_extractor import DigitClassifier
from reviver.recurrent.dropout import draw_seed, dropout_masks
from reviver.recurrent.kernel import reference
from reviver.rng import make_rng
from reviver.runs.folder import RunFolder
from reviver.settings.presets import GAN_PRESETS, LSTM_PRESETS
from reviver.train.gan import training as gan
from reviver.train.lstm import training as lstm
from tests.lstm_runs import fingerprint

LSTM = replace(LSTM_PRESETS["original"], epochs=1)
GAN = replace(GAN_PRESETS["original"], epochs=1, batch_size=32, log_every=2)


def main() -> None:
    """Compute all results and write them by name; the tensor of a run contains the bytes of a SHA-256."""
    folder, name, num_threads = Path(sys.argv[1]), sys.argv[2], int(os.environ["OMP_NUM_THREADS"])
    torch.set_num_threads(num_threads)  # also if there are fewer cores
    results = random_numbers()
    save(folder / name, results if num_threads == 1 else results | forward_passes() | runs())
    if num_threads > 1 and not (folder / "one thread").exists():
        torch.set_num_threads(1)
        save(folder / "one thread", random_numbers() | forward_passes())


def save(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write the results, and the number of threads."""
    tensors["threads"] = torch.tensor(torch.get_num_threads())
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def runs() -> dict[str, Tensor]:
    """Return digests of short runs."""
    tensors = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "images.npz", images=load_images("mnist").images[:256, 0].numpy())
        for precision in ("fp32", "bf16"):
            config = replace(LSTM, precision=precision)
            tensors[f"run: lstm, {precision}"] = digest(lstm.train(config, folder / f"lstm-{precision}", device="cpu"))
            gan_config = replace(GAN, data=str(folder / "images.npz"), precision=precision)
            tensors[f"run: gan, {precision}"] = digest(gan.train(gan_config, folder / f"gan-{precision}", device="cpu"))
        with reference():
            tensors["run: lstm, equations"] = digest(lstm.train(LSTM, folder / "equations", device="cpu"))
    return tensors


def random_numbers() -> dict[str, Tensor]:
    """Return random numbers and initial weights."""
    task = build_task(LSTM)
    network = lstm.build_network(LSTM, task)
    generator, discriminator = gan.build_networks(GAN, (1, 28, 28))
    training, validation = task.training(0, LSTM.length), task.validation(LSTM.length)
    return {
        "integers: order": torch.randperm(60_000, generator=make_rng(0, "order/0")),
        "integers: palindromes": torch.cat([part.encode() for part in (training, validation)]).long(),
        "integers: last digits": torch.cat([training.targets, validation.targets]),
        "integers: masks": dropout_masks(draw_seed(make_rng(0, "dropout")), 5, 16, 32, 0.5, "step"),
        "floats: lstm weights": torch.cat([parameter.detach().flatten() for parameter in network.parameters()]),
        "floats: gan weights": torch.cat(
            [parameter.detach().flatten() for parameter in (*generator.parameters(), *discriminator.parameters())]
        ),
        "floats: noise": generator.sample_latents(3000, make_rng(0, "noise")),
    }


@torch.no_grad()
def forward_passes() -> dict[str, Tensor]:
    """Return outputs of networks with initial weights."""
    task = build_task(LSTM)
    network = lstm.build_network(LSTM, task).eval()
    generator, _ = gan.build_networks(GAN, (1, 28, 28))
    z = torch.linspace(-2, 2, 51_200).reshape(512, 100)
    images = generate(generator, z)
    outputs = {"forward: lstm": network(task.training(0, LSTM.length).encode()), "forward: pixels": to_pixels(images)}
    return outputs | {"forward: recognized": DigitClassifier.pinned().probabilities(images).argmax(1)}


def digest(folder: RunFolder) -> Tensor:
    """Return the SHA-256 of all that a run learned: weights, state of the optimizers, metrics, samples."""
    learned = fingerprint(folder)
    sha256 = hashlib.sha256(repr((learned["files"], learned["metrics"])).encode())
    return torch.frombuffer(bytearray(sha256.digest()), dtype=torch.uint8)


if __name__ == "__main__":
    main()
