"""GAN inversion: finds the latents of generated images, also from files, without side effects."""

import copy
import json
from functools import partial
from pathlib import Path

import pytest
import torch

from reviver.cli import main
from reviver.errors import ConfigError, DataError
from reviver.gan.inversion import project, project_files
from reviver.gan.networks import Generator
from reviver.show.gan_figures import projection_figure


def small_generator() -> Generator:
    generator = Generator(8, (1, 8, 8))
    for _ in range(20):
        generator(torch.randn(64, 8))  # BatchNorm's statistics
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(1.5)
    return generator.eval()


def test_the_latents_of_generated_images_are_found() -> None:
    generator = small_generator()
    with torch.no_grad():
        targets, others = generator(torch.randn(3, 8)), generator(torch.randn(300, 8))
    projection = project(generator, targets, steps=300, starts=8)
    best_random = (others[:, None] - targets).square().flatten(2).mean(2).sqrt().min(0).values
    assert (projection.errors < best_random / 4).all()
    with torch.no_grad():
        torch.testing.assert_close(generator(projection.latents), projection.images)
    expected = (projection.images - targets).square().flatten(1).mean(1).sqrt()
    torch.testing.assert_close(projection.errors, expected)


def test_a_projection_is_deterministic_and_has_no_side_effects() -> None:
    generator = small_generator().train()
    before = copy.deepcopy(generator.state_dict())
    targets = torch.rand(2, 1, 8, 8) * 2 - 1
    state = torch.random.get_rng_state()
    first, again, other = (project(generator, targets, seed=seed, steps=20, starts=4) for seed in (0, 0, 1))
    assert torch.equal(first.latents, again.latents)
    assert not torch.equal(first.latents, other.latents)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert generator.training
    assert torch.equal(first.latents, project(copy.deepcopy(generator).eval(), targets, steps=20, starts=4).latents)
    assert all(parameter.grad is None for parameter in generator.parameters())
    torch.testing.assert_close(dict(generator.state_dict()), dict(before), rtol=0, atol=0)


def test_the_result_of_the_best_start_is_kept_for_each_image() -> None:
    """With more starts, the first ones are the same."""
    generator, targets = small_generator(), torch.rand(2, 1, 8, 8) * 2 - 1
    errors = [project(generator, targets[:1], steps=60, starts=starts).errors.item() for starts in (2, 12)]
    assert errors[1] <= errors[0] + 1e-3
    both = project(generator, targets, steps=60, starts=12)
    assert both.errors[0].item() == pytest.approx(errors[1], abs=0.1)


def test_files_that_cannot_be_projected_are_refused(small_run: Path) -> None:
    wrong = [
        (DataError, r"gone\.png: it cannot be read", [small_run / "gone.png"], 0),
        (ConfigError, "^the number of images must be from 1 to 64, got 0", [], 0),
        (ConfigError, "^the number of images must be from 1 to 64, got 65", [small_run / "a.png"] * 65, 0),
        (ConfigError, r"^seed must be at least 0, got -1", [small_run / "a.png"], -1),
    ]
    for kind, problem, paths, seed in wrong:
        with pytest.raises(kind, match=problem):
            project_files(small_generator(), paths, seed)


def test_the_commands_draw_images_from_files(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small_run)
    monkeypatch.setattr("reviver.gan.inversion.project", partial(project, steps=20, starts=2))
    figures = tmp_path / "projection.png", tmp_path / "row.png"
    assert main(["gan", "project", "run", "a.png", "b.png", "--out", str(figures[0]), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert len(result["errors"]) == len(result["latents"]) == 2
    assert all(0 < error < 2 for error in result["errors"])
    assert main(["gan", "project", "run", "a.png", "b.png", "--out", str(figures[0])]) == 0
    assert capsys.readouterr().out.count("root-mean-square difference") == 2
    command = ["gan", "interpolate", "run", "--out", str(figures[1]), "--from-image", "a.png"]
    assert main(command) == 2
    assert "--from-image must be given with to_image" in capsys.readouterr().err
    assert main([*command, "--to-image", "b.png"]) == 0
    assert min(path.stat().st_size for path in figures) > 1000


def test_the_figure_has_three_rows() -> None:
    targets = torch.rand(2, 1, 8, 8) * 2 - 1
    figure = projection_figure(targets, -targets, [0.1, 0.2])
    assert len(figure.axes) == 6
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == ["target", "projection", "difference"]
