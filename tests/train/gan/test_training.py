"""Training of the GAN: it learns, is repeatable to the bit with every recipe, and an interruption loses nothing."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from reviver.cli import main
from reviver.data.images.image_set import ImageSet, from_pixels, load_images, to_pixels
from reviver.errors import ConfigError, DataError, DivergenceError, Interrupted
from reviver.gan.ema import recompute_batch_norm
from reviver.gan.networks import Generator
from reviver.gan.sampling import generate, generate_samples
from reviver.gan.step import GANStepResult, gan_step
from reviver.rng import make_rng
from reviver.run import load
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.folder import RunFolder
from reviver.settings.gan import LOSSES, GANConfig, count_batches
from reviver.settings.presets import GAN_PRESETS
from reviver.train.gan import training
from reviver.train.gan.grids import tile
from reviver.train.gan.snapshots import read_snapshots
from reviver.train.gan.training import build_networks, build_optimizers, count_classes, train
from tests.lstm_runs import at_step, fingerprint, interrupt

BATCHES = 3


@pytest.mark.parametrize(("preset", "updates", "relative"), [("original", 12, 2e-3), ("best", 6, 2e-2)])
def test_the_first_losses_of_a_preset_are_the_golden_ones(
    preset: str, updates: int, relative: float, golden: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    """The tolerance covers another processor's rounding, which bf16 amplifies, and no change of the mathematics or the seeds."""
    results: list[GANStepResult] = []

    def recording(*arguments: Any, **keywords: Any) -> GANStepResult:
        results.append(gan_step(*arguments, **keywords))
        if len(results) == updates:
            interrupt(None)
        return results[-1]

    monkeypatch.setattr(training, "gan_step", recording)
    with pytest.raises(Interrupted):
        train(GAN_PRESETS[preset], tmp_path / "run")
    values = {name: [getattr(result, name).item() for result in results] for name in GANStepResult._fields}
    golden(f"gan_{preset}", values, relative=relative)


def test_both_networks_learn_digits(tmp_path: Path) -> None:
    """After 100 updates of the preset original, on 3200 images of MNIST."""
    np.save(tmp_path / "digits.npy", load_images("mnist").images[:3200].numpy())
    values = {"epochs": 2, "log_every": 1}
    run = load(
        train(replace(GAN_PRESETS["original"], data=str(tmp_path / "digits.npy"), **values), tmp_path / "run").path
    )
    test = from_pixels(load_images("mnist", split="test").images)
    with torch.no_grad():
        assert run.discriminator(torch.rand(500, 1, 28, 28) * 2 - 1).mean() < 0.25
        assert run.discriminator(test[:500]).mean() > 0.35
    untrained, _ = build_networks(run.config, (1, 28, 28))
    z = torch.randn(500, 100)
    before, after = (generate(one, z) for one in (untrained, run.generator))
    assert (before.mean(0) - test.mean(0)).square().mean().sqrt() > 0.7
    assert (after.mean(0) - test.mean(0)).square().mean().sqrt() < 0.4
    assert after.std(0).mean() > 0.1, "they differ"
    g_losses, d_losses = ([record[f"{name}_loss"] for record in run.metrics] for name in ("generator", "discriminator"))
    assert d_losses[0] == pytest.approx(0.69, abs=0.05)
    assert min(d_losses[:100]) < 0.45, "D learns to beat G"
    assert min(g_losses) < 0.6 < max(g_losses), "and G to beat D"


def test_samples_come_from_the_average_with_recomputed_statistics(
    tiny: GANConfig, uninterrupted: RunFolder, tmp_path: Path
) -> None:
    """The average and the statistics change nothing else."""
    config = replace(tiny, ema=0.9)
    plain, average = load(uninterrupted.path), load(train(config, tmp_path / "average").path)
    run = load(train(replace(config, batch_norm_samples=40), tmp_path / "run").path)
    weights = torch.nn.utils.parameters_to_vector
    assert not torch.equal(weights(run.generator.parameters()), weights(plain.generator.parameters()))
    assert torch.equal(weights(run.discriminator.parameters()), weights(plain.discriminator.parameters()))
    recompute_batch_norm(average.generator, 40, config.seed)
    expected = {name: value for name, value in average.generator.state_dict().items() if value.is_floating_point()}
    found = {name: run.generator.state_dict()[name] for name in expected}
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


# Conditional


def bars(count: int) -> ImageSet:
    """Images whose class is the position of their bright row: 1, 3 or 5."""
    labels = torch.arange(count) % 3
    images = torch.zeros(count, 1, 8, 8, dtype=torch.uint8)
    images[torch.arange(count), 0, 1 + 2 * labels] = 255
    return ImageSet(images, labels, "bars")


def test_samples_have_the_class_that_they_are_conditioned_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "load_images", lambda source, size: bars(960))
    config = GANConfig(
        conditional=True, latent_size=8, image_size=8, epochs=5, batch_size=32, learning_rate=1e-3, ema=0.9
    )
    generator = load(train(config, tmp_path / "run").path).generator
    for index in (1, 2, None):
        images, latents = generate_samples(generator, 50, 0, index)
        rows = images[:, 0].mean(2)[:, 1::2]  # the brightness of rows 1, 3, 5, 7
        assert (rows.argmax(1) == latents[:, 8:].argmax(1)).float().mean() > 0.9
        assert index is None or latents[:, 8 + index].eq(1).all()
    assert main(["gan", "sample", str(tmp_path / "run"), "--class", "3"]) == 2
    assert "--class must be 0, 1, 2, got '3'" in capsys.readouterr().err


def test_images_without_classes_are_refused() -> None:
    problem = r"^data must have labels (for a conditional GAN, got bars without|from 0 to K - 1 with K from 2 to 1000)"
    for labels in (None, torch.zeros(4).long(), torch.tensor([-1, 0, 1, 2]), torch.tensor([0, 1000])):
        with pytest.raises(DataError, match=problem):
            count_classes(replace(bars(4), labels=labels))
    assert count_classes(replace(bars(4), labels=torch.tensor([0, 0, 1, 0]))) == 2


# Steps, metrics and batches


@pytest.mark.parametrize("beta1", [0.5, 0.0, -0.3])
def test_the_optimizers_follow_the_equations_of_adam_for_any_beta1(beta1: float, tiny: GANConfig) -> None:
    """Kingma & Ba (2015), algorithm 1, in double precision."""
    config = replace(tiny, beta1=beta1)
    optimizers = build_optimizers(config, *build_networks(config, (1, 8, 8)))
    for optimizer in optimizers:
        optimizer.param_groups[0]["lr"] = config.learning_rate
        weight = optimizer.param_groups[0]["params"][0]
        expected = weight.detach().double()
        m = v = torch.zeros_like(expected)
        rng = torch.Generator().manual_seed(1)
        for t in range(1, 21):
            weight.grad = torch.randn(weight.shape, generator=rng)
            optimizer.step()
            m = beta1 * m + (1 - beta1) * weight.grad.double()
            v = 0.999 * v + 0.001 * weight.grad.double() ** 2
            m_hat, v_hat = m / (1 - beta1**t), v / (1 - 0.999**t)
            expected -= config.learning_rate * m_hat / (v_hat.sqrt() + 1e-8)
            torch.testing.assert_close(weight.detach().double(), expected, rtol=1e-6, atol=1e-6)


def test_batches_metrics_and_learning_rates(tiny: GANConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each image is used once an epoch, a line of metrics is the mean of its updates, and G learns from every 3rd batch."""
    steps: list[tuple[tuple[Any, ...], GANStepResult, float]] = []
    batches = list[Tensor]()

    def recording(*arguments: Any, **keywords: Any) -> GANStepResult:
        batches.append(arguments[4])
        steps.append((arguments, gan_step(*arguments, **keywords), arguments[2].param_groups[0]["lr"]))
        return steps[-1][1]

    monkeypatch.setattr(training, "gan_step", recording)
    averaged = list[int]()
    monkeypatch.setattr(training, "update_ema", lambda *arguments, **_: averaged.append(arguments[2]))
    config = replace(tiny, lr_schedule="linear", final_lr_ratio=0.25, discriminator_steps=3, beta1=0.3, ema=0.9)
    records = train(config, tmp_path / "run").read_metrics()
    data = from_pixels(torch.from_numpy(np.load(tiny.data)["images"]))[:, None]
    epochs = [torch.cat(batches[:BATCHES]), torch.cat(batches[BATCHES:])]
    assert not torch.equal(*epochs)
    for epoch in epochs:
        assert sorted(image.numpy().tobytes() for image in epoch) == sorted(one.numpy().tobytes() for one in data)
    assert [rate for *_, rate in steps] == pytest.approx([config.learning_rate * (1 - 0.75 * k / 6) for k in range(6)])
    assert [(record["step"], record["epoch"]) for record in records] == [(2, 2 / 3), (4, 4 / 3), (6, 2)]
    results = torch.stack([torch.stack(result) for _, result, _ in steps]).view(-1, 2, 4).mean(1)
    for record, means in zip(records, results.tolist(), strict=True):
        assert [record[name] for name in GANStepResult._fields] == pytest.approx(means)
    assert averaged == [1, 2], "updates of G"
    for optimizer, updates in zip(steps[0][0][2:4], (2, 6), strict=True):
        (group,) = optimizer.param_groups
        assert (optimizer.state[group["params"][0]]["step"], group["betas"]) == (updates, (0.3, 0.999))


def test_a_last_batch_of_a_single_image_is_left_out() -> None:
    alone = [count_batches(*sizes) for sizes in ((2, 2), (3, 2), (4, 2), (41, 16), (33, 16), (2, 64))]
    assert alone == [1, 1, 2, 3, 2, 1]


# The same bits


def test_a_run_that_goes_on_for_more_epochs_has_the_same_bits_and_another_seed_others(
    tiny: GANConfig, uninterrupted: RunFolder, tmp_path: Path
) -> None:
    torch.manual_seed(123)  # which nothing may depend on
    train(replace(tiny, epochs=1), tmp_path / "again")
    for _ in range(2):  # the second time there is nothing to do
        assert fingerprint(train(tiny, tmp_path / "again", resume=True)) == fingerprint(uninterrupted)
    other = fingerprint(train(replace(tiny, seed=1), tmp_path / "run"))["weights"]
    assert not set(other.values()) & set(fingerprint(uninterrupted)["weights"].values())


RECIPES: dict[str, dict[str, Any]] = {
    "least-squares": {"beta1": -0.3},
    "hinge": {"lr_schedule": "linear"},
    "relativistic": {"r1": 1.0, "penalty_interval": 2},
    "wasserstein": {"gradient_penalty": 10.0, "discriminator_dropout": 0.3, "ema": 0.9},
    "centering": {"input_centering": "auto", "r1": 0.3, "label_smoothing": 0.1},
    "bf16": {"precision": "bf16", "input_centering": "auto", "r1": 0.3, "batch_norm_samples": 50},
    "steps": {"discriminator_steps": 2, "lr_schedule": "cosine", "ema": 0.99, "ema_rampup": 0.3},
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_and_resumes_to_the_same_bits(
    name: str, tiny: GANConfig, uninterrupted: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(tiny, **({"loss": name} if name in LOSSES else {}), **RECIPES[name])
    whole = fingerprint(train(config, tmp_path / "whole"))
    at_step(monkeypatch, 4, interrupt, "gan_step", training)
    with pytest.raises(Interrupted, match="stopped at step 4 by SIGINT and saved"):
        train(config, tmp_path / "run")
    assert fingerprint(train(config, tmp_path / "run", resume=True)) == whole
    assert all(torch.tensor(list((record | {"seconds": 0}).values())).isfinite().all() for record in whole["metrics"])
    assert whole["weights"] != fingerprint(uninterrupted)["weights"], "the settings do something"


# Refusals


def test_resuming_with_other_images_is_refused(tiny: GANConfig, tmp_path: Path) -> None:
    path = tmp_path / "images.npy"
    np.save(path, np.zeros((41, 8, 8), dtype=np.uint8))
    config = replace(tiny, data=str(path))
    before = fingerprint(train(config, tmp_path / "run"))
    for shape in ((41, 8, 8), (40, 8, 8), (41, 3, 8, 8)):
        np.save(path, np.ones(shape, dtype=np.uint8))
        with pytest.raises(DataError, match=r"^data: '.*images.npy' is not what this run began with; put the old"):
            train(replace(config, epochs=3), tmp_path / "run", resume=True)
    after = fingerprint(RunFolder.open(tmp_path / "run"))
    assert {**after, "config": None} == {**before, "config": None}


def test_images_that_do_not_fit_the_settings_are_refused_before_anything_is_written(
    tiny: GANConfig, tmp_path: Path
) -> None:
    np.save(tmp_path / "equal.npy", np.full((5, 8, 8), 7, dtype=np.uint8))
    with pytest.raises(ConfigError, match=r"^input_centering must be none if all images are equal"):
        train(replace(tiny, data=str(tmp_path / "equal.npy"), input_centering="auto"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Divergence


@pytest.mark.parametrize(
    ("step", "value", "stops", "problem"),
    [
        (4, math.nan, False, "step 4: .*"),
        (5, math.nan, True, "step 5: .*"),  # a stop does not save
        # tanh maps an infinite weight to a white pixel, so the losses are finite.
        (5, math.inf, False, "step 6: a weight of the generator is not finite"),
    ],
)
def test_a_value_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    step: int, value: float, stops: bool, problem: str, tiny: GANConfig, tmp_path: Path, monkeypatch: Any
) -> None:
    def spoil(generator: Generator) -> None:
        with torch.no_grad():
            generator.layers[-2].bias[0] = value
        if stops:
            interrupt(generator)

    at_step(monkeypatch, step, spoil, "gan_step", training)
    with pytest.raises(DivergenceError, match=f"^{problem}; the last good checkpoint is kept; try a --learning"):
        train(tiny, tmp_path / "run")
    folder = RunFolder.open(tmp_path / "run")
    assert folder.status == "failed"
    assert find_checkpoint(folder.checkpoints, "last").stem == "step-000003"
    assert all(value.isfinite().all() for value in load(folder.path).generator.state_dict().values())


# Grids of samples


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
