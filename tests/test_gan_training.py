"""Training of the GAN: it equals the usual loop, learns, is repeatable to the bit, and an interruption loses nothing."""

import copy
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from reviver.data.images.image_set import ImageSet, from_pixels, load_mnist, to_pixels
from reviver.errors import ConfigError, DataError, DeviceError, DivergenceError, Interrupted, RunFolderError
from reviver.gan.networks import Discriminator, Generator
from reviver.gan.sampling import generate
from reviver.gan.step import gan_step
from reviver.gan.step_options import StepOptions, StepResult
from reviver.runs.checkpoint import find_checkpoint, load_networks
from reviver.runs.folder import RunFolder
from reviver.runs.rng import make_rng
from reviver.settings.fields import override
from reviver.settings.gan import GANConfig, count_batches
from reviver.settings.gan_presets import PRESETS
from reviver.train.gan import training
from reviver.train.gan.grids import find_grids, remove_later_grids, save_grid
from reviver.train.gan.grids import read_images as read_grid_images
from reviver.train.gan.training import build_networks, build_optimizers, train
from reviver.train.loading import load

EPOCHS, BATCHES = 4, 3


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> GANConfig:
    """41 images of 8 x 8, in batches of 16, 16 and 9: 12 updates, a line of metrics after every second."""
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    images = np.random.default_rng(0).integers(0, 256, (41, 8, 8), dtype=np.uint8)
    np.savez(path, images=images)
    return GANConfig(
        data=str(path), image_size=8, latent_size=16, epochs=EPOCHS, batch_size=16, sample_every=3, log_every=2
    )


def fingerprint(folder: Path | RunFolder) -> dict[str, Any]:
    """All results of a run, bit for bit, without the seconds that it took."""
    path = folder.path if isinstance(folder, RunFolder) else folder
    last = find_checkpoint(path / "checkpoints", "last")
    hashed = [last / "networks.safetensors", last / "training.safetensors", *sorted((path / "samples").iterdir())]
    return {
        "files": {str(one.relative_to(path)): hashlib.sha256(one.read_bytes()).hexdigest() for one in hashed},
        "state": {**json.loads((last / "state.json").read_text()), "seconds": None},
        "metrics": [{**record, "seconds": None} for record in RunFolder.open(path).read_metrics()],
        "config": RunFolder.open(path).record["config"],
        "data": RunFolder.open(path).record["data"],
    }


Step = Callable[..., StepResult]


def wrap_step(monkeypatch: pytest.MonkeyPatch, wrapper: Callable[..., StepResult]) -> None:
    """Replace every step of `train` by `wrapper(step, generator, discriminator, ...)`."""
    monkeypatch.setattr(training, "gan_step", partial(wrapper, gan_step))


def at_step(monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[Generator], None]) -> None:
    """Call `action` just before the given update of the next call of `train`, counted from 1."""
    calls = 0

    def counting(step: Step, generator: Generator, *arguments: Any, **keywords: Any) -> StepResult:
        nonlocal calls
        calls += 1
        if calls == number:
            action(generator)
        return step(generator, *arguments, **keywords)

    wrap_step(monkeypatch, counting)


def send(number: signal.Signals) -> Callable[[Generator], None]:
    return lambda _: os.kill(os.getpid(), number)


@pytest.fixture(scope="module")
def uninterrupted(tiny: GANConfig, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = train(tiny, tmp_path_factory.mktemp("uninterrupted") / "run")
    assert folder.status == "finished"
    return folder


# One update


def random_batch(seed: int = 2) -> tuple[Tensor, Tensor]:
    """Nine real images and latent vectors in float64."""
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(9, 1, 8, 8, generator=rng).double() * 2 - 1, torch.randn(9, 100, generator=rng).double()


def networks_and_optimizers(seed: int = 0) -> tuple[Any, ...]:
    config = GANConfig(seed=seed, learning_rate=1e-3)
    generator, discriminator = build_networks(config, (1, 8, 8))
    generator.double()
    discriminator.double()
    return generator, discriminator, *build_optimizers(config, generator, discriminator)


def usual_step(
    generator: Generator,
    discriminator: Discriminator,
    generator_optimizer: torch.optim.Optimizer,
    discriminator_optimizer: torch.optim.Optimizer,
    real: Tensor,
    z: Tensor,
) -> tuple[Tensor, Tensor]:
    """The step of the public script: it updates G, and then D on the images from before that update."""
    loss = nn.BCELoss()
    valid, fake = torch.ones(len(z), 1, dtype=real.dtype), torch.zeros(len(z), 1, dtype=real.dtype)
    generator_optimizer.zero_grad()
    images = generator(z)
    g_loss = loss(discriminator(images), valid)
    g_loss.backward()
    generator_optimizer.step()
    discriminator_optimizer.zero_grad()
    d_loss = (loss(discriminator(real), valid) + loss(discriminator(images.detach()), fake)) / 2
    d_loss.backward()
    discriminator_optimizer.step()
    return g_loss.detach(), d_loss.detach()


def test_updates_equal_those_of_the_usual_loop() -> None:
    models = networks_and_optimizers()
    generator, discriminator, _, _ = usual = networks_and_optimizers()
    plain = (
        *(generator, discriminator),
        *(torch.optim.Adam(one.parameters(), lr=1e-3, betas=(0.5, 0.999)) for one in (generator, discriminator)),
    )
    rng = torch.Generator().manual_seed(1)
    for count in (16, 16, 7, 16, 2, 16):
        real = torch.rand(count, 1, 8, 8, dtype=torch.float64, generator=rng) * 2 - 1
        z = torch.randn(count, 100, dtype=torch.float64, generator=rng)
        result = gan_step(*models, real, z)
        g_loss, d_loss = usual_step(*plain, real, z)
        torch.testing.assert_close((result.generator_loss, result.discriminator_loss), (g_loss, d_loss))
    for network, usual_network in zip(models[:2], usual[:2], strict=True):
        for (name, value), expected in zip(
            network.state_dict().items(), usual_network.state_dict().values(), strict=True
        ):
            # A bias before BatchNorm has no gradient but rounding errors, which Adam blows up to some 1e-8.
            torch.testing.assert_close(value, expected, rtol=1e-7, atol=1e-7, msg=lambda text, n=name: f"{n}: {text}")


def test_probabilities_are_those_before_the_update() -> None:
    generator, discriminator, *optimizers = networks_and_optimizers()
    real, z = random_batch()
    before = (discriminator(real).mean(), discriminator(generator(z)).mean())
    result = gan_step(generator, discriminator, *optimizers, real, z)
    torch.testing.assert_close((result.probability_real, result.probability_fake), before)
    assert not any(value.requires_grad or value.dim() for value in result)


@pytest.mark.parametrize("frozen", ["generator", "discriminator"])
def test_no_gradient_leaks_from_one_network_into_the_other(frozen: str) -> None:
    """With plain gradient descent and a learning rate of 1, weights change by the gradient of the network's own loss."""
    generator, discriminator, *_ = networks_and_optimizers()
    rates = {"generator": 1.0, "discriminator": 1.0, frozen: 0.0}
    optimizers = (
        torch.optim.SGD(generator.parameters(), lr=rates["generator"]),
        torch.optim.SGD(discriminator.parameters(), lr=rates["discriminator"]),
    )
    real, z = random_batch()
    losses = {
        "generator": lambda: -discriminator(generator(z)).log().mean(),
        "discriminator": lambda: (
            -(discriminator(real).log().mean() + (1 - discriminator(generator(z))).log().mean()) / 2
        ),
    }
    for name, network in (("generator", generator), ("discriminator", discriminator)):
        gradients = torch.autograd.grad(losses[name](), list(network.parameters()))
        network.expected = [p.detach() - rates[name] * g for p, g in zip(network.parameters(), gradients, strict=True)]
        for parameter in network.parameters():
            parameter.grad = torch.full_like(parameter, 100.0)  # what an earlier backward pass left behind
    gan_step(generator, discriminator, *optimizers, real, z)
    for network in (generator, discriminator):
        for parameter, expected in zip(network.parameters(), network.expected, strict=True):
            torch.testing.assert_close(parameter.detach(), expected, rtol=1e-9, atol=1e-12)


def test_an_update_of_the_discriminator_alone_is_the_same_for_it() -> None:
    real, z = random_batch()
    both, alone = networks_and_optimizers(), networks_and_optimizers()
    before = copy.deepcopy(list(alone[0].parameters()))
    results = [gan_step(*both, real, z), gan_step(*alone, real, z, options=StepOptions(update_generator=False))]
    assert results[0] == results[1]
    assert all(map(torch.equal, both[1].parameters(), alone[1].parameters()))
    assert all(map(torch.equal, alone[0].parameters(), before))
    assert not any(map(torch.equal, both[0].parameters(), before))


def test_the_generator_learns_from_every_kth_batch(
    tiny: GANConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    updated: list[bool] = []

    def recording(step: Step, generator: Generator, *arguments: Any, **keywords: Any) -> StepResult:
        before = copy.deepcopy(list(generator.parameters()))
        result = step(generator, *arguments, **keywords)
        updated.append(not all(map(torch.equal, generator.parameters(), before)))
        return result

    wrap_step(monkeypatch, recording)
    train(override(tiny, {"discriminator_steps": 3}), tmp_path / "run")
    assert updated == [number % 3 == 2 for number in range(len(updated))]
    assert len(updated) > 3


@pytest.mark.parametrize("is_training", [True, False])
def test_generate_uses_eval_mode_and_restores_the_mode(is_training: bool) -> None:
    generator = Generator(16, (1, 8, 8))
    generator(torch.randn(32, 16))
    generator.train(is_training)
    statistics = {name: value.clone() for name, value in generator.named_buffers()}
    z = torch.randn(6, 16)
    images = generate(generator, z)
    assert generator.training == is_training
    assert all(layer.training == is_training for layer in generator.modules())
    assert not images.requires_grad
    torch.testing.assert_close(images, generator.eval()(z), rtol=0, atol=0)
    torch.testing.assert_close(dict(generator.named_buffers()), statistics, rtol=0, atol=0)


def test_generate_restores_the_mode_after_an_error() -> None:
    generator = Generator(16, (1, 8, 8))
    with pytest.raises(DataError):
        generate(generator, torch.zeros(2, 3))
    assert generator.training


@pytest.mark.parametrize(("preset", "updates", "relative"), [("original", 12, 2e-3), ("best", 6, 2e-2)])
def test_the_first_losses_of_a_preset_are_the_golden_ones(
    preset: str,
    updates: int,
    relative: float,
    golden: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The tolerance covers another processor's rounding, which bf16 amplifies, and no change of the mathematics or the seeds."""
    results: list[StepResult] = []

    def recording(step: Step, *arguments: Any, **keywords: Any) -> StepResult:
        results.append(step(*arguments, **keywords))
        if len(results) == updates:
            os.kill(os.getpid(), signal.SIGINT)
        return results[-1]

    wrap_step(monkeypatch, recording)
    with pytest.raises(Interrupted):
        train(PRESETS[preset], tmp_path / "run")
    names = StepResult._fields
    values = {name: [getattr(result, name).item() for result in results] for name in names}
    golden(f"gan_{preset}", values, relative=relative)


# It learns


@pytest.fixture(scope="module")
def mnist_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Both networks of the report after 200 updates, on 3200 images of MNIST."""
    folder = tmp_path_factory.mktemp("mnist")
    np.save(folder / "digits.npy", load_mnist("train").images[:3200].numpy())
    config = override(
        PRESETS["original"], {"data": str(folder / "digits.npy"), "epochs": 4, "log_every": 1, "checkpoint_every": 4}
    )
    return train(config, folder / "run")


def test_the_discriminator_tells_real_images_from_noise(mnist_run: RunFolder) -> None:
    run = load(mnist_run.path)
    real = from_pixels(load_mnist("test").images[:500])
    with torch.no_grad():
        noise = torch.rand(500, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
        assert run.discriminator(noise).mean() < 0.25
        assert run.discriminator(real).mean() > 0.35


def test_the_mean_generated_image_comes_near_to_the_mean_digit(mnist_run: RunFolder) -> None:
    run = load(mnist_run.path)
    untrained, _ = build_networks(run.config, (1, 28, 28))
    mean_digit = from_pixels(load_mnist("test").images).mean(0)
    z = torch.randn(500, 100, generator=torch.Generator().manual_seed(0))
    before, after = (
        (generate(one, z).mean(0) - mean_digit).square().mean().sqrt() for one in (untrained, run.generator)
    )
    assert before > 0.7
    assert after < 0.4


def test_generated_images_differ(mnist_run: RunFolder) -> None:
    images = generate(load(mnist_run.path).generator, torch.randn(500, 100, generator=torch.Generator().manual_seed(0)))
    assert images.std(0).mean() > 0.1


def test_at_first_each_network_learns_to_beat_the_other(mnist_run: RunFolder) -> None:
    records = mnist_run.read_metrics()
    assert records[0]["discriminator_loss"] == pytest.approx(0.69, abs=0.05)
    assert min(record["discriminator_loss"] for record in records[:100]) < 0.45
    assert (
        min(record["generator_loss"] for record in records) < 0.6 < max(record["generator_loss"] for record in records)
    )


# A run's files


def test_grids_are_saved_at_the_start_the_middle_the_end_and_the_interval(uninterrupted: RunFolder) -> None:
    names = sorted(path.name for path in uninterrupted.samples.glob("*.png"))
    assert names == ["epoch-0000.png", "epoch-0002.png", "epoch-0003.png", "epoch-0004.png"]


@pytest.mark.parametrize(
    ("epochs", "sample_every", "expected_epochs"),
    [(1, 5, [0, 1]), (2, 9, [0, 1, 2]), (5, 9, [0, 2, 5]), (6, 4, [0, 3, 4, 6]), (3, 1, [0, 1, 2, 3])],
)
def test_epochs_of_grids(
    tiny: GANConfig, epochs: int, sample_every: int, expected_epochs: list[int], tmp_path: Path
) -> None:
    folder = train(override(tiny, {"epochs": epochs, "sample_every": sample_every}), tmp_path / "run")
    grids = sorted(folder.samples.glob("epoch-*.png"))
    assert [int(path.stem.removeprefix("epoch-")) for path in grids] == expected_epochs
    with Image.open(folder.samples / "training.gif") as animation:
        assert animation.n_frames == len(expected_epochs)
        assert animation.info["loop"] == 0


def test_the_report_saves_grids_at_the_start_the_middle_and_the_end() -> None:
    config = PRESETS["original"]
    epochs = [epoch for epoch in range(1, config.epochs + 1) if training.is_grid_due(epoch, config)]
    assert {5, 100, 195, 200} <= set(epochs)


def test_grids_are_of_the_same_25_noise_vectors_in_eval_mode(tiny: GANConfig, uninterrupted: RunFolder) -> None:
    """The last grid has the images of the last checkpoint and the run's fixed latent vectors, pixel for pixel."""
    from reviver.data.images.image_files import read_pixels
    from reviver.train.gan.grids import tile

    z = torch.randn(25, tiny.latent_size, generator=make_rng(tiny.seed, "grid"))
    untrained, _ = build_networks(tiny, (1, 8, 8))
    for epoch, generator in ((0, untrained), (EPOCHS, load(uninterrupted.path).generator)):
        grid = tile(generate(generator, z))
        assert grid.shape == (5 * 10 + 2, 5 * 10 + 2)
        saved = read_pixels(uninterrupted.samples / f"epoch-{epoch:04d}.png")
        factor = len(saved) // len(grid)
        np.testing.assert_array_equal(saved, grid.repeat(factor, 0).repeat(factor, 1))


@pytest.fixture(scope="module")
def early(tiny: GANConfig, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """20 updates an epoch, the first sampled epoch the second one: grids within epochs at updates 10 and 20."""
    return train(override(tiny, {"batch_size": 2, "sample_every": 4}), tmp_path_factory.mktemp("early") / "run")


EARLY = ["epoch-0000.png", "epoch-0000_update-000010.png", "epoch-0000_update-000020.png"]


def test_grids_are_saved_within_the_first_epochs(early: RunFolder) -> None:
    names = sorted(path.name for path in early.samples.glob("*.png"))
    assert names == [*EARLY, "epoch-0002.png", "epoch-0004.png"]
    assert [(grid.epoch, grid.update) for grid in find_grids(early.samples)] == [
        (0, None), (0, 10), (0, 20), (2, None), (4, None),
    ]  # fmt: skip
    with Image.open(early.samples / "training.gif") as animation:
        assert animation.n_frames == 5


def test_a_grid_within_an_epoch_is_of_the_weights_of_that_update(
    tiny: GANConfig, early: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = override(tiny, {"batch_size": 2, "sample_every": 4})
    at_step(monkeypatch, 10, send(signal.SIGINT))
    with pytest.raises(Interrupted, match="stopped at step 10"):
        train(config, tmp_path / "run")
    z = torch.randn(25, tiny.latent_size, generator=make_rng(tiny.seed, "grid"))
    expected = generate(load(tmp_path / "run").generator, z)
    assert torch.equal(to_pixels(read_grid_images(early.samples / EARLY[1], (1, 8, 8))), to_pixels(expected))


def test_grids_within_epochs_change_no_bit_of_the_run(
    tiny: GANConfig, early: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "early_grid_updates", lambda config, batches: frozenset())
    without = fingerprint(train(override(tiny, {"batch_size": 2, "sample_every": 4}), tmp_path / "run"))
    full = fingerprint(early)
    assert {*full["files"]} - {*without["files"]} == {f"samples/{name}" for name in EARLY[1:]}
    only = {"samples/training.gif", *(f"samples/{name}" for name in EARLY[1:])}
    assert {name: sha for name, sha in full["files"].items() if name not in only} == {
        name: sha for name, sha in without["files"].items() if name not in only
    }
    assert {**full, "files": None} == {**without, "files": None}


@pytest.mark.parametrize("step", [5, 10, 15, 20, 30])
def test_grids_within_epochs_are_the_same_after_a_resume(
    step: int, tiny: GANConfig, early: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = override(tiny, {"batch_size": 2, "sample_every": 4})
    at_step(monkeypatch, step, send(signal.SIGINT))
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run")
    later = tmp_path / "run" / "samples" / "epoch-0001_update-000035.png"  # of a stretch that was taken back
    shutil.copyfile(early.samples / EARLY[0], later)
    assert fingerprint(train(config, tmp_path / "run", resume=True)) == fingerprint(early)


def test_grids_of_a_stretch_that_was_taken_back_are_removed(early: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(early.samples, tmp_path / "samples")
    remove_later_grids(tmp_path / "samples", 2, 40)
    assert [path.name for path in sorted((tmp_path / "samples").glob("*.png"))] == [*EARLY, "epoch-0002.png"]
    remove_later_grids(tmp_path / "samples", 0, 15)
    assert [path.name for path in sorted((tmp_path / "samples").glob("*.png"))] == EARLY[:2]


@pytest.mark.parametrize(
    ("epochs", "sample_every", "batches", "expected"),
    [(34, 5, 469, {10, 20, 50, 100, 200, 500, 1000, 2000}), (200, 1, 12, {10}), (4, 4, 10, {10}), (1, 1, 3, set())],
)
def test_updates_of_grids_within_epochs(epochs: int, sample_every: int, batches: int, expected: set[int]) -> None:
    assert training.early_grid_updates(GANConfig(epochs=epochs, sample_every=sample_every), batches) == expected


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 9), (3, 12, 20), (1, 130, 130)])
@pytest.mark.parametrize("columns", [None, 1])
def test_images_of_a_grid_are_read_back(shape: tuple[int, int, int], columns: int | None, tmp_path: Path) -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, *shape), dtype=np.uint8))
    save_grid(from_pixels(pixels), tmp_path / "grid.png", columns)
    assert torch.equal(to_pixels(read_grid_images(tmp_path / "grid.png", shape)), pixels)
    with pytest.raises(DataError, match="holds no grid of images of shape"):
        read_grid_images(tmp_path / "grid.png", (shape[0], shape[1] + 1, shape[2]))


def test_a_line_of_metrics_is_the_mean_of_its_updates(
    tiny: GANConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results: list[list[float]] = []

    def recording(step: Step, *arguments: Any, **keywords: Any) -> StepResult:
        result = step(*arguments, **keywords)
        results.append(torch.stack(result).tolist())
        return result

    wrap_step(monkeypatch, recording)
    records = train(tiny, tmp_path / "run").read_metrics()
    assert len(results) == EPOCHS * BATCHES
    assert [record["step"] for record in records] == [2, 4, 6, 8, 10, 12]
    assert [record["epoch"] for record in records] == pytest.approx([2 / 3, 4 / 3, 2, 8 / 3, 10 / 3, 4])
    for record, pair in zip(records, np.array(results).reshape(-1, 2, 4).mean(1), strict=True):
        assert [record[name] for name in StepResult._fields] == pytest.approx(list(pair))


def test_few_images_give_a_line_of_metrics_an_epoch(tiny: GANConfig, tmp_path: Path) -> None:
    records = train(override(tiny, {"log_every": 10**12, "epochs": 2}), tmp_path / "run").read_metrics()
    assert [(record["step"], record["epoch"]) for record in records] == [(BATCHES, 1), (2 * BATCHES, 2)]


@pytest.mark.parametrize(
    ("images", "batch_size", "batches"), [(2, 2, 1), (3, 2, 1), (4, 2, 2), (41, 16, 3), (33, 16, 2), (2, 64, 1)]
)
def test_a_last_batch_of_a_single_image_is_left_out(images: int, batch_size: int, batches: int) -> None:
    assert count_batches(images, batch_size) == batches


def test_every_image_is_used_once_an_epoch(tiny: GANConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[Tensor] = []

    def recording(step: Step, *arguments: Any, **keywords: Any) -> StepResult:
        batches.append(arguments[4])
        return step(*arguments, **keywords)

    wrap_step(monkeypatch, recording)
    train(override(tiny, {"epochs": 2}), tmp_path / "run")
    data = from_pixels(torch.from_numpy(np.load(tiny.data)["images"]))[:, None]
    epochs = [torch.cat(batches[:BATCHES]), torch.cat(batches[BATCHES:])]
    assert not torch.equal(*epochs)
    for epoch in epochs:
        assert sorted(image.numpy().tobytes() for image in epoch) == sorted(one.numpy().tobytes() for one in data)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains(name: str, tiny: GANConfig, tmp_path: Path) -> None:
    small = {"data": tiny.data, "image_size": 8, "epochs": 1, "batch_size": 16, "log_every": 1}
    folder = train(override(PRESETS[name], small), tmp_path / "run")
    assert folder.status == "finished"
    assert len(folder.read_metrics()) == BATCHES


def test_a_colour_run(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (10, 3, 9, 9), dtype=np.uint8)
    np.save(tmp_path / "color.npy", images)
    config = GANConfig(data=str(tmp_path / "color.npy"), image_size=9, epochs=1, batch_size=4)
    folder = train(config, tmp_path / "run")
    run = load(folder.path)
    assert run.generator.image_shape == (3, 9, 9)
    with Image.open(folder.samples / "epoch-0001.png") as grid:
        assert grid.mode == "RGB"


# The same bits


def test_the_same_run_twice_gives_the_same_bits(tiny: GANConfig, uninterrupted: RunFolder, tmp_path: Path) -> None:
    torch.manual_seed(123)  # which nothing may depend on
    assert fingerprint(train(tiny, tmp_path / "again")) == fingerprint(uninterrupted)


def test_another_seed_gives_another_run(tiny: GANConfig, uninterrupted: RunFolder, tmp_path: Path) -> None:
    files = fingerprint(train(override(tiny, {"seed": 1}), tmp_path / "run"))["files"]
    assert not set(files.values()) & set(fingerprint(uninterrupted)["files"].values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [1, 4, 6, 11])
def test_a_signal_stops_the_run_after_saving_and_it_resumes_to_the_same_bits(
    step: int,
    number: signal.Signals,
    tiny: GANConfig,
    uninterrupted: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_step(monkeypatch, step, send(number))
    with pytest.raises(Interrupted, match=f"stopped at step {step} by {number.name} and saved; go on with") as caught:
        train(tiny, tmp_path / "run")
    assert caught.value.exit_code == 128 + number
    assert RunFolder.open(tmp_path / "run").status == "interrupted"
    folder = train(tiny, tmp_path / "run", resume=True)
    assert folder.status == "finished"
    assert fingerprint(folder) == fingerprint(uninterrupted)


def test_a_run_stopped_after_every_step_ends_with_the_same_bits(
    tiny: GANConfig, uninterrupted: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(EPOCHS * BATCHES):
        at_step(monkeypatch, 1, send(signal.SIGINT))
        with pytest.raises(Interrupted, match=f"stopped at step {step + 1} by SIGINT"):
            train(tiny, tmp_path / "run", resume=step > 0)
    monkeypatch.undo()
    folder = train(tiny, tmp_path / "run", resume=True)
    assert fingerprint(folder) == fingerprint(uninterrupted)


def test_a_crash_between_checkpoints_resumes_to_the_same_bits(
    tiny: GANConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = override(tiny, {"checkpoint_every": 3, "sample_every": 1})

    def crash(_: Generator) -> None:
        raise MemoryError("crash")

    at_step(monkeypatch, 8, crash)
    with pytest.raises(MemoryError):
        train(config, tmp_path / "run")
    assert RunFolder.open(tmp_path / "run").status == "failed"
    assert len(RunFolder.open(tmp_path / "run").read_metrics()) == 3
    monkeypatch.undo()
    resumed = train(config, tmp_path / "run", resume=True)
    assert "error" not in resumed.record
    assert fingerprint(resumed) == fingerprint(train(config, tmp_path / "other"))


INTERRUPTING = """
import os, signal, sys
from reviver.cli import main
from reviver.gan import training
number, step, calls = int(sys.argv[1]), training.gan_step, 0
def counting(*arguments, **keywords):
    global calls
    calls += 1
    if calls == number:
        os.kill(os.getpid(), signal.SIGKILL if sys.argv[2] == "SIGKILL" else signal.SIGINT)
    return step(*arguments, **keywords)
training.gan_step = counting
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGKILL"])
def test_a_process_stopped_at_a_random_step_resumes_to_the_same_bits(
    number: str, tiny: GANConfig, uninterrupted: RunFolder, tmp_path: Path
) -> None:
    fields = override(tiny, {}).__dict__.items()
    settings = [f"--{name}={value}" for name, value in fields if value is not None] + [
        f"--out={tmp_path / 'run'}",
        "--quiet",
    ]
    step = random.randint(1, EPOCHS * BATCHES)
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}

    def run(step: int, *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", INTERRUPTING, str(step), number, "gan", "train", *settings, *more]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    first = run(step)
    assert first.returncode == (130 if number == "SIGINT" else -signal.SIGKILL), first.stderr
    second = run(0, "--resume")
    assert second.returncode == 0, f"stopped at step {step}: {second.stderr}"
    assert fingerprint(tmp_path / "run") == fingerprint(uninterrupted), f"stopped at step {step}"


def test_a_finished_run_goes_on_for_more_epochs(tiny: GANConfig, uninterrupted: RunFolder, tmp_path: Path) -> None:
    train(override(tiny, {"epochs": 2, "sample_every": 1}), tmp_path / "run")
    folder = train(override(tiny, {"sample_every": 1}), tmp_path / "run", resume=True)
    ours, others = fingerprint(folder), fingerprint(uninterrupted)
    assert ours["metrics"] == others["metrics"]
    networks = next(name for name in others["files"] if name.endswith("networks.safetensors"))
    assert ours["files"][networks] == others["files"][networks]


def test_resuming_a_finished_run_changes_nothing(tiny: GANConfig, tmp_path: Path) -> None:
    before = fingerprint(train(tiny, tmp_path / "run"))
    assert fingerprint(train(tiny, tmp_path / "run", resume=True)) == before


# Refusals


@pytest.mark.parametrize("change", [{"seed": 5}, {"epochs": 2}, {"batch_norm_eps": 0.8}, {"log_every": 3}])
def test_resuming_with_other_settings_is_refused(
    change: dict[str, Any], tiny: GANConfig, uninterrupted: RunFolder
) -> None:
    before = fingerprint(uninterrupted)
    (field,) = change
    with pytest.raises(ConfigError, match=f"^{field} is .* in this run, got .*; leave it out to resume"):
        train(override(tiny, change), uninterrupted.path, resume=True)
    assert fingerprint(uninterrupted) == before


@pytest.mark.parametrize("shape", [(41, 8, 8), (40, 8, 8), (41, 3, 8, 8)])
def test_resuming_with_other_images_is_refused(shape: tuple[int, ...], tiny: GANConfig, tmp_path: Path) -> None:
    path = tmp_path / "images.npy"
    np.save(path, np.zeros((41, 8, 8), dtype=np.uint8))
    config = override(tiny, {"data": str(path), "epochs": 1})
    before = fingerprint(train(config, tmp_path / "run"))
    np.save(path, np.ones(shape, dtype=np.uint8))
    with pytest.raises(DataError, match=r"^data: '.*images.npy' has changed since this run began; put the old images"):
        train(override(config, {"epochs": 2}), tmp_path / "run", resume=True)
    after = fingerprint(tmp_path / "run")
    assert {**after, "config": None} == {**before, "config": None}
    load(tmp_path / "run")


def test_what_cannot_be_trained_writes_nothing(tiny: GANConfig, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.npz does not exist"):
        train(override(tiny, {"data": str(tmp_path / "nothing.npz")}), tmp_path / "run")
    with pytest.raises(DeviceError, match=r"device must be one of auto, cpu, .*, got 'tpu'"):
        train(tiny, tmp_path / "run", device="tpu")
    with pytest.raises(RunFolderError, match="run: does not exist"):
        train(tiny, tmp_path / "run", resume=True)
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_refused_before_the_data_is_read(tiny: GANConfig, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("precious")
    with pytest.raises(RunFolderError, match="exists already and is never overwritten"):
        train(override(tiny, {"data": "nothing"}), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


# Divergence


def spoil(value: float) -> Callable[[Generator], None]:
    def change(generator: Generator) -> None:
        with torch.no_grad():
            generator.layers[-2].bias[0] = value

    return change


def test_divergence_is_reported_with_its_step(tiny: GANConfig, tmp_path: Path) -> None:
    with pytest.raises(
        DivergenceError, match=r"^step \d+: .* no checkpoint was saved yet; try a --learning-rate lower than 1e\+20"
    ):
        train(override(tiny, {"learning_rate": 1e20}), tmp_path / "run")
    record = RunFolder.open(tmp_path / "run").record
    assert record["status"] == "failed"
    assert re.match(r"step \d+: ", record["error"])


@pytest.mark.parametrize("step", [7, 8, 12])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    step: int, tiny: GANConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(monkeypatch, step, spoil(float("nan")))
    with pytest.raises(DivergenceError, match=f"^step {step}: .*; the last good checkpoint is kept; try a --learning"):
        train(tiny, tmp_path / "run")
    folder = RunFolder.open(tmp_path / "run")
    assert folder.status == "failed"
    last = find_checkpoint(folder.checkpoints, "last")
    assert last.name == f"step-{(step - 1) // BATCHES * BATCHES:06d}"
    generator, discriminator = build_networks(tiny, (1, 8, 8))
    load_networks(last, {"generator": generator, "discriminator": discriminator})
    assert all(value.isfinite().all() for value in generator.state_dict().values())
    assert all(np.isfinite(record["generator_loss"]) for record in folder.read_metrics())


def test_weights_that_are_not_finite_are_reported_even_if_the_losses_are_finite(
    tiny: GANConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tanh maps an infinite weight to a white pixel."""
    at_step(monkeypatch, 8, spoil(float("inf")))
    with pytest.raises(DivergenceError, match=r"^step 9: a weight of the generator is not finite; the last good"):
        train(tiny, tmp_path / "run")
    assert find_checkpoint(tmp_path / "run" / "checkpoints", "last").name == "step-000006"


def test_a_run_that_is_stopped_after_diverging_does_not_save(
    tiny: GANConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil_and_stop(generator: Generator) -> None:
        spoil(float("nan"))(generator)
        os.kill(os.getpid(), signal.SIGINT)

    at_step(monkeypatch, 5, spoil_and_stop)
    with pytest.raises(DivergenceError, match=r"^step 5: "):
        train(tiny, tmp_path / "run")
    assert find_checkpoint(tmp_path / "run" / "checkpoints", "last").name == "step-000003"


def test_the_data_on_the_device_is_the_data_of_the_run(tiny: GANConfig, uninterrupted: RunFolder) -> None:
    images = np.load(tiny.data)["images"]
    data = ImageSet(torch.from_numpy(images)[:, None], None, "tiny")
    assert uninterrupted.record["data"] == {
        "name": data.name,
        "num_images": 41,
        "image_shape": [1, 8, 8],
        "sha256": hashlib.sha256(images.tobytes()).hexdigest(),
    }
