"""The training of the GAN in the page against Python's: the same weights, images and latents, and losses within rounding."""

import base64
import hashlib
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic.alias_generators import to_camel
from torch import Tensor, nn
from torch.nn import functional

from reviver.data.images.image_set import load_images
from reviver.data.images.named import read_mnist
from reviver.explorer.page import build_page
from reviver.gan.sampling import generate
from reviver.rng import make_rng
from reviver.run import GANRun, load
from reviver.settings.gan import GANConfig
from reviver.settings.parts import Parts
from reviver.settings.presets import GAN_PRESETS
from reviver.train.gan.training import GRID_SIZE, build_networks, train
from reviver.version import __version__
from tests.explorer.node import compute, extract, needs_node, pack

pytestmark = needs_node

PYTHON = {"version": __version__, "ganConfig": asdict(GANConfig())}

TOLERANCE = 1e-6
"""Of losses of the first updates. Later ones part where an input of LeakyReLU is so near 0 that rounding gives its sign."""
UPDATES = {"original": 10, "quick": 2, "penalty": 5, "average": 10, "exchanged": 8}
"""Updates before the runs part on any processor; ten are a promise of the original only."""
REST = 8
"""Images of the last update."""


class Exchanged:
    """Losses of a discriminator that learns to call generated images real, and a generator that still seeks "real"."""

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return functional.softplus(-fake_logits).mean()

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return (functional.softplus(real_logits).mean() + functional.softplus(-fake_logits).mean()) / 2


EXCHANGED, PARTS = Parts.resolve({"loss": Exchanged})
ORIGINAL = GANConfig(epochs=1, log_every=1, eval_every=0, seed=7)
CONFIGS = {
    "original": ORIGINAL,
    "quick": replace(GAN_PRESETS["quick"], epochs=1, log_every=1, eval_every=0, penalty_interval=2, seed=7),
    "penalty": replace(ORIGINAL, r1=0.2, penalty_interval=2, beta1=-0.3, batch_size=32),
    "average": replace(ORIGINAL, ema=0.9, ema_rampup=0.5, discriminator_steps=2, batch_norm_eps=0.8, batch_size=16),
    "exchanged": replace(ORIGINAL, loss=EXCHANGED["loss"], batch_size=32),
}
SETTINGS = (
    *("r1", "penalty_interval", "beta1", "batch_size", "learning_rate", "ema", "ema_rampup", "discriminator_steps"),
    *("batch_norm_eps", "seed", "epochs", "input_centering", "lr_schedule", "final_lr_ratio"),
)


def digests(network: nn.Module) -> dict[str, str]:
    return {
        name: hashlib.sha256(parameter.detach().numpy().tobytes()).hexdigest()
        for name, parameter in network.named_parameters()
    }


def request(config: GANConfig, images: np.ndarray, **options: Any) -> dict[str, Any]:
    settings = {to_camel(name): getattr(config, name) for name in SETTINGS}
    settings["labels"] = "right" if config.loss == ORIGINAL.loss else "exchanged"
    return {"gan": settings, "images": base64.b64encode(images.tobytes()).decode("ascii"), **options}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_page_trains_what_python_trains(name: str, tmp_path: Path) -> None:
    config = CONFIGS[name]
    images = read_mnist().images[: config.batch_size * (UPDATES[name] - 1) + REST].numpy()
    (ours,) = compute("train", [request(config, images, updates=UPDATES[name])])
    generator, discriminator = build_networks(config, (1, 28, 28))
    assert ours["initial"] == {"G": digests(generator), "D": digests(discriminator)}
    np.save(tmp_path / "images.npy", images)
    config = replace(config, data=str(tmp_path / "images.npy"))
    run = load(train(config, tmp_path / "run", parts=PARTS, device="cpu").path)
    assert isinstance(run, GANRun)
    metrics = run.folder.read_metrics()
    theirs = [(line["generator_loss"], line["discriminator_loss"]) for line in metrics]
    torch.testing.assert_close(torch.tensor(ours["losses"]), torch.tensor(theirs), atol=TOLERANCE, rtol=0)
    z = run.generator.sample_latents(GRID_SIZE, make_rng(config.seed, "grid"))
    grid = generate(run.generator, z).flatten()
    torch.testing.assert_close(torch.tensor(ours["grid"]), grid, atol=1e-3, rtol=0)  # Adam enlarges rounding noise


def test_the_preset_quick_is_that_of_the_page() -> None:
    (ours,) = compute("train", [{"quick": True}])
    names = {to_camel(field.name): field.name for field in fields(GANConfig)}
    quick = {names.get(name, name): value for name, value in ours.items()}
    assert quick.pop("labels") == "right"
    assert GAN_PRESETS["quick"] == replace(GANConfig(), **quick)


@pytest.mark.parametrize("name", [pytest.param("original", marks=pytest.mark.long), "average", "quick"])
def test_python_and_the_page_go_on_with_a_run_that_the_page_has_saved(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of an epoch; its next updates have the losses of the page's, also with images that only the page has."""
    monkeypatch.chdir(tmp_path)
    config = replace(CONFIGS[name], epochs=4, batch_size=32, log_every=100, eval_every=None, sample_every=5)
    images = read_mnist().images[:64].numpy()
    (ours,) = compute("train", [request(config, images, updates=8, saveAt=5, python=PYTHON)])
    extract(ours["folder"], tmp_path)
    (opened,) = compute("train", [{"open": ours["folder"], "updates": 3, "python": PYTHON}])
    assert opened["step"] == 5
    losses = [[update["generatorLoss"], update["discriminatorLoss"]] for update in opened["losses"]]
    assert losses == ours["losses"][5:]
    assert opened["recorded"] == ours["metrics"]
    saved = load(tmp_path / "saved")
    assert isinstance(saved, GANRun)
    assert (saved.step, saved.config) == (5, replace(config, data="saved/images.npy"))
    assert saved.plot()
    assert build_page([saved]).html
    run = load(train(saved.config, tmp_path / "saved", device="cpu", resume=True).path)
    theirs = run.folder.read_metrics()
    assert [line["step"] for line in theirs] == [2, 4, 6, 8]  # of two updates each
    for line, epoch in zip(theirs, ours["metrics"], strict=True):
        assert epoch["epoch"] == line["epoch"]
        for key in ("generator_loss", "discriminator_loss", "probability_real", "probability_fake"):
            assert epoch[to_camel(key)] == pytest.approx(line[key], abs=TOLERANCE)


def test_a_run_that_is_saved_before_its_first_line_has_something_to_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = replace(ORIGINAL, batch_size=16)
    (ours,) = compute("train", [request(config, read_mnist().images[:64].numpy(), updates=2, saveAt=2, python=PYTHON)])
    extract(ours["folder"], tmp_path)
    saved = load(tmp_path / "saved")
    (line,) = saved.metrics
    assert (line["step"], line["epoch"]) == (2, 0.5)
    assert line["generator_loss"] == pytest.approx(sum(loss for loss, _ in ours["losses"]) / 2)
    assert saved.plot()


def test_the_page_goes_on_with_a_run_of_python_on_the_same_images(tmp_path: Path) -> None:
    """Not without them: a sentence says what it learned from."""
    images = read_mnist().images[:64].numpy()
    np.save(tmp_path / "images.npy", images)
    config = replace(CONFIGS["average"], epochs=1, data=str(tmp_path / "images.npy"))
    train(config, tmp_path / "run", device="cpu")
    encoded = base64.b64encode(images.tobytes()).decode("ascii")
    file = {"open": pack(tmp_path / "run"), "updates": 4, "python": PYTHON}
    opened, other, none = compute(
        "train", [file | {"images": encoded}, file | {"images": encoded[: 4 * 784 * 8 // 3 * 3]}, file]
    )
    run = load(train(replace(config, epochs=2), tmp_path / "run", device="cpu", resume=True).path)
    assert isinstance(run, GANRun)
    theirs = [[line["generator_loss"], line["discriminator_loss"]] for line in run.metrics[4:]]
    ours = [[update["generatorLoss"], update["discriminatorLoss"]] for update in opened["losses"]]
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), atol=TOLERANCE, rtol=0)
    assert len(opened["recorded"]) == 8
    for wrong in (other, none):
        assert "images.npy, which this page does not have" in wrong["error"]


def test_the_page_prepares_gray_images_as_python_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = [(28, 28), (64, 64), (57, 101), (300, 200), (20, 31), (29, 28)]
    requests = []
    for number, shape in enumerate(shapes):
        image = rng.integers(0, 256, shape, np.uint8)
        Image.fromarray(image).save(tmp_path / f"{number}.png")
        requests.append({"gray": base64.b64encode(image.tobytes()).decode("ascii"), "width": shape[1]})
    ours = np.array(compute("train", requests), np.uint8).reshape(-1, 1, 28, 28)
    assert (ours == load_images(str(tmp_path)).images.numpy()).all()
