"""GAN inversion: finds the latents of generated images, also from files, without side effects."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from reviver.cli import main
from reviver.data.images.image_files import read_images
from reviver.data.images.image_set import to_pixels
from reviver.errors import DataError
from reviver.gan.inversion import project
from reviver.gan.networks import Generator
from reviver.settings.gan import GANConfig
from reviver.show.gan_figures import projection_figure
from reviver.train.gan.training import train


def small_generator() -> Generator:
    torch.manual_seed(0)
    generator = Generator(8, (1, 8, 8))
    for _ in range(20):
        generator(torch.randn(64, 8))  # BatchNorm's statistics
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(1.5)
    return generator.eval()


def test_the_latents_of_generated_images_are_found() -> None:
    generator = small_generator()
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        targets = generator(z)
        others = generator(torch.randn(300, 8, generator=torch.Generator().manual_seed(2)))
    projection = project(generator, targets, steps=300, starts=8)
    best_random = (
        (others[:, None] - targets).square().flatten(2).mean(2).sqrt().min(0).values
    )  # the best of 300 random latents
    assert (projection.errors < best_random / 4).all()
    with torch.no_grad():
        torch.testing.assert_close(generator(projection.latents), projection.images)
    expected = (projection.images - targets).square().flatten(1).mean(1).sqrt()
    torch.testing.assert_close(projection.errors, expected)


def test_a_projection_is_deterministic_and_has_no_side_effects() -> None:
    generator = small_generator().train()
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    state = torch.random.get_rng_state()
    targets = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(2)) * 2 - 1
    first, again = (project(generator, targets, steps=20, starts=4) for _ in range(2))
    assert torch.equal(first.latents, again.latents)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert generator.training
    assert all(parameter.grad is None for parameter in generator.parameters())
    for name, value in generator.state_dict().items():
        assert torch.equal(value, before[name])


def test_more_starts_are_not_worse() -> None:
    generator = small_generator()
    target = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(3)) * 2 - 1
    with_1, with_12 = (project(generator, target, steps=150, starts=starts).errors.item() for starts in (1, 12))
    assert with_12 <= with_1 + 1e-3


# Files and the command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projection")
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    np.savez(folder / "data.npz", images=images)
    train(
        GANConfig(data=str(folder / "data.npz"), image_size=8, latent_size=8, epochs=1, batch_size=16), folder / "run"
    )
    for name, pixels in zip(("a", "b"), images, strict=False):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def test_images_are_read_in_the_shape_of_the_run(folder: Path) -> None:
    pixels = read_images([folder / "a.png", folder / "b.png"], (1, 8, 8))
    expected: Tensor = torch.from_numpy(np.load(folder / "data.npz")["images"][:2])
    assert torch.equal(pixels[:, 0], expected)
    assert read_images([folder / "a.png"], (3, 4, 4)).shape == (1, 3, 4, 4)
    with pytest.raises(DataError, match=r"gone\.png: it cannot be read"):
        read_images([folder / "gone.png"], (1, 8, 8))


def test_project_saves_a_figure_and_prints_the_errors(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "projection.png"
    command = ["gan", "project", str(folder / "run"), str(folder / "a.png"), str(folder / "b.png"), "--out", str(out)]
    assert main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert out.stat().st_size > 1000
    assert len(result["errors"]) == len(result["latents"]) == 2
    assert all(0 < error < 2 for error in result["errors"])
    assert main(command) == 0
    assert capsys.readouterr().out.count("root-mean-square difference") == 2


def test_an_interpolation_between_two_images(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "interpolation.png"
    command = ["gan", "interpolate", str(folder / "run"), "--out", str(out), "--from-image", str(folder / "a.png")]
    assert main(command) == 2
    assert "--from-image must be given with to_image" in capsys.readouterr().err
    command += ["--to-image", str(folder / "b.png")]
    assert main(command) == 0
    assert out.stat().st_size > 1000


def test_the_figure_has_three_rows() -> None:
    targets = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(4)) * 2 - 1
    figure = projection_figure(targets, -targets, [0.1, 0.2, 0.3, 0.4])
    assert len(figure.axes) == 12
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == ["target", "projection", "difference"]
    assert to_pixels(targets).shape == (4, 1, 8, 8)
