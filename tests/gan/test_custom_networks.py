"""Networks of one's own in the GAN: from a file or as classes, and never out of a run folder."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import reviver
from reviver.cli import main
from reviver.gan.inversion import project

MINE = """
from torch import nn


class Generator(nn.Module):
    def __init__(self, latent_size, image_shape):
        super().__init__()
        channels, height, width = image_shape
        self.layers = nn.Sequential(
            nn.Linear(latent_size, 8 * height * width // 4), nn.Unflatten(1, (8, height // 2, width // 2)),
            nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, channels, 4, 2, 1), nn.Tanh(),
        )

    def forward(self, z):
        return self.layers(z)


class Discriminator(nn.Module):
    def __init__(self, image_shape):
        super().__init__()
        channels, height, width = image_shape
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.LeakyReLU(0.2), nn.Dropout(0.2),
            nn.Flatten(), nn.Linear(8 * height * width // 4, 1), nn.Flatten(0),
        )

    def forward(self, x):
        return self.layers(x)
"""
TRAIN = (
    "gan train --networks mine.py --data tiny.npz --image-size 8 --batch-size 16 --latent-size 8 --log-every 1 --quiet"
)


@pytest.fixture(autouse=True)
def workspace(here: Path) -> Path:
    Path("mine.py").write_text(MINE)
    np.savez("tiny.npz", images=np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8))
    return here


def run(words: str) -> int:
    return main(shlex.split(words))


def test_they_train_sample_interpolate_and_project_and_a_run_keeps_their_file() -> None:
    """With what the preset best has: R1, centered inputs, EMA, bf16, recomputed statistics."""
    assert run(f"{TRAIN} --epochs 2 --batch-norm-samples 20 --out r") == 0
    assert Path("r/parts/mine.py").read_text() == MINE
    for command in ("gan sample r --out s.npz", "gan interpolate r --out i.png", "plot r"):
        assert run(f"{command} --networks mine.py --quiet") == 0
    loaded = reviver.load("r", networks="mine.py")
    assert isinstance(loaded, reviver.GANRun)
    with np.load("s.npz") as arrays, torch.no_grad():
        np.testing.assert_allclose(loaded.generator(torch.from_numpy(arrays["latents"])), arrays["images"], atol=1e-6)
        assert loaded.discriminator(torch.from_numpy(arrays["images"])).shape == (25, 1)
    target = loaded.generator(loaded.generator.sample_latents(1, torch.Generator())).detach()
    assert project(loaded.generator, target, steps=30).errors.item() < 0.3


WRONG = {
    "no such class": (MINE.replace("class Discriminator", "class Judge"), "mine.py must have a class Discriminator; define it"),
    "no arguments": (MINE.replace("self, image_shape", "self"), r"Discriminator\(image_shape\) raised TypeError"),
    "no module": (MINE.replace("class Discriminator(nn.Module)", "class Discriminator(dict)"), "must be a torch.nn.Module"),
    "other shape": (MINE.replace("return self.layers(z)", "return self.layers(z)[:, :, 1:]"), r"G\(z\) must have the shape \[3, 1, 8, 8\]"),
    "no tanh": (MINE.replace("nn.Tanh()", "nn.Softplus(), nn.Threshold(9, 3)"), r"G\(z\) must be in \[-1, 1\], got up to 3"),
    "a number": (MINE.replace("return self.layers(x)", "return 3"), r"D\(x\) must .* got a int"),
    "one logit": (MINE.replace("return self.layers(x)", "return self.layers(x).sum()"), r"Discriminator: D\(x\) must have the shape \[3\]"),
    "detached": (MINE.replace("return self.layers(z)", "return self.layers(z).detach()"), "Generator: must return .* with a gradient"),
    "no syntax": ("class Generator(", "mine.py cannot be run: SyntaxError"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_networks_that_break_the_contract_are_refused_before_anything_is_written(
    case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text, message = WRONG[case]
    Path("mine.py").write_text(text)
    assert run(f"{TRAIN} --out r") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --networks ")
    assert error.count("\n") == 1
    assert re.search(message, error), error
    assert not Path("r").exists()


def test_what_networks_set_themselves_is_no_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"{TRAIN} --discriminator-dropout 0.1 --out r") == 2
    assert "--discriminator-dropout must be left out with networks of your own" in capsys.readouterr().err


CONDITIONAL = """
import torch
from torch import nn


class Generator(nn.Module):
    def __init__(self, latent_size, image_shape, num_classes):
        super().__init__()
        self.noise = nn.Linear(latent_size, 64)
        self.shift = nn.Linear(num_classes, 1, bias=False)
        self.image_shape = image_shape

    def forward(self, z, labels):
        return (0.05 * self.noise(z) + self.shift(labels)).tanh().unflatten(1, self.image_shape)


class Discriminator(nn.Module):
    def __init__(self, image_shape, num_classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64 + num_classes, 16), nn.LeakyReLU(), nn.Linear(16, 1), nn.Flatten(0))

    def forward(self, x, labels):
        return self.layers(torch.cat([x.flatten(1), labels], 1))
"""


def test_networks_of_a_conditional_run_get_the_class_which_a_folder_names(capsys: pytest.CaptureFixture[str]) -> None:
    """Images of cats are dark and those of dogs bright."""
    Path("mine.py").write_text(CONDITIONAL)
    rng = np.random.default_rng(0)
    for name, level in (("cats", 20), ("dogs", 200)):
        (Path("pets") / name).mkdir(parents=True)
        for index in range(20):
            pixels = rng.integers(level, level + 30, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(Path("pets", name, f"{index}.png"))
    train = (
        TRAIN.replace("tiny.npz", "pets") + " --preset original --conditional --learning-rate 0.02 --epochs 40 --out r"
    )
    assert run(train) == 0
    means = {}
    for name in ("cats", "dogs", "1"):
        assert run(f"gan sample r --class {name} --networks mine.py --num-samples 50 --out s.npz --quiet") == 0
        with np.load("s.npz") as arrays:
            means[name] = arrays["images"].mean()
    assert means["cats"] < -0.3 < 0.3 < means["dogs"] == means["1"]
    capsys.readouterr()
    assert run("gan sample r --class birds --networks mine.py --out s.npz") == 2
    assert capsys.readouterr().err == "error: --class must be cats, dogs, got 'birds'\n"
