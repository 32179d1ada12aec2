"""Training of the GAN: it learns, is repeatable to the bit, and an interruption loses nothing."""

import hashlib
import math
import os
import re
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reviver.data.images.image_set import from_pixels, load_mnist
from reviver.errors import ConfigError, DataError, DeviceError, DivergenceError, Interrupted, RunFolderError
from reviver.gan.batch_norm_statistics import recompute_batch_norm
from reviver.gan.networks import Generator
from reviver.gan.sampling import generate
from reviver.gan.step import gan_step
from reviver.gan.step_options import StepResult
from reviver.runs.checkpoint import find_checkpoint, load_networks
from reviver.runs.folder import RunFolder
from reviver.settings.fields import override
from reviver.settings.gan import GANConfig, count_batches
from reviver.settings.gan_presets import PRESETS
from reviver.train.gan import training
from reviver.train.gan.training import build_networks, train
from reviver.train.loading import load

EPOCHS, BATCHES = 2, 3
Fingerprint = Callable[[RunFolder], dict[str, Any]]
BeforeUpdate = Callable[[int, Callable[[Generator], object]], None]


def stop(_: Generator, number: signal.Signals = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("preset", "updates", "relative"), [("original", 12, 2e-3), ("best", 6, 2e-2)])
def test_the_first_losses_of_a_preset_are_the_golden_ones(
    preset: str, updates: int, relative: float, golden: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    """The tolerance covers another processor's rounding, which bf16 amplifies, and no change of the mathematics or the seeds."""
    results: list[StepResult] = []

    def recording(*arguments: Any, **keywords: Any) -> StepResult:
        results.append(gan_step(*arguments, **keywords))
        if len(results) == updates:
            os.kill(os.getpid(), signal.SIGINT)
        return results[-1]

    monkeypatch.setattr(training, "gan_step", recording)
    with pytest.raises(Interrupted):
        train(PRESETS[preset], tmp_path / "run")
    values = {name: [getattr(result, name).item() for result in results] for name in StepResult._fields}
    golden(f"gan_{preset}", values, relative=relative)


def test_both_networks_learn_digits(tmp_path: Path) -> None:
    """After 200 updates of the preset original, on 3200 images of MNIST."""
    np.save(tmp_path / "digits.npy", load_mnist("train").images[:3200].numpy())
    changes = {"data": str(tmp_path / "digits.npy"), "epochs": 4, "log_every": 1, "checkpoint_every": 4}
    folder = train(override(PRESETS["original"], changes), tmp_path / "run")
    run = load(folder.path)
    test = from_pixels(load_mnist("test").images)
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


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains_and_few_images_give_a_line_of_metrics_an_epoch(
    name: str, tiny: GANConfig, tmp_path: Path
) -> None:
    folder = train(
        override(PRESETS[name], {"data": tiny.data, "image_size": 8, "epochs": 1, "batch_size": 16}), tmp_path / "run"
    )
    assert folder.status == "finished"
    assert [(record["step"], record["epoch"]) for record in folder.read_metrics()] == [(BATCHES, 1)]
    sha256 = hashlib.sha256(np.load(tiny.data)["images"].tobytes()).hexdigest()
    assert folder.record["data"] == {"name": "tiny", "num_images": 41, "image_shape": [1, 8, 8], "sha256": sha256}


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_samples_come_from_the_average_with_recomputed_statistics(
    ema: float, tiny: GANConfig, uninterrupted: RunFolder, tmp_path: Path
) -> None:
    plain = load(uninterrupted.path)
    config = override(tiny, {"ema": ema})
    run = load(train(override(config, {"batch_norm_samples": 40}), tmp_path / "run").path)
    weights = torch.nn.utils.parameters_to_vector
    same = torch.equal(weights(run.generator.parameters()), weights(plain.generator.parameters()))
    assert same == (ema == 0)
    assert torch.equal(weights(run.discriminator.parameters()), weights(plain.discriminator.parameters()))
    recomputed = load(train(config, tmp_path / "plain").path).generator if ema else plain.generator
    assert not torch.equal(recomputed.layers[3].running_mean, run.generator.layers[3].running_mean)
    recompute_batch_norm(recomputed, 40, config.seed)
    expected = {name: value for name, value in recomputed.state_dict().items() if value.is_floating_point()}
    found = {name: run.generator.state_dict()[name] for name in expected}
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


# Steps, metrics and batches


def test_batches_metrics_and_learning_rates(tiny: GANConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each image is used once an epoch, a line of metrics is the mean of its updates, and G learns from every 3rd batch."""
    steps: list[tuple[tuple[Any, ...], StepResult, float]] = []

    def recording(*arguments: Any, **keywords: Any) -> StepResult:
        steps.append((arguments, gan_step(*arguments, **keywords), arguments[2].param_groups[0]["lr"]))
        return steps[-1][1]

    monkeypatch.setattr(training, "gan_step", recording)
    averaged = list[int]()
    monkeypatch.setattr(training, "update_ema", lambda *arguments, **_: averaged.append(arguments[2]))
    changes = {"lr_schedule": "linear", "final_lr_ratio": 0.25, "discriminator_steps": 3, "beta1": 0.3, "ema": 0.9}
    config = override(tiny, changes)
    records = train(config, tmp_path / "run").read_metrics()
    batches = [arguments[4] for arguments, *_ in steps]
    data = from_pixels(torch.from_numpy(np.load(tiny.data)["images"]))[:, None]
    epochs = [torch.cat(batches[:BATCHES]), torch.cat(batches[BATCHES:])]
    assert not torch.equal(*epochs)
    for epoch in epochs:
        assert sorted(image.numpy().tobytes() for image in epoch) == sorted(one.numpy().tobytes() for one in data)
    assert [rate for *_, rate in steps] == pytest.approx([config.learning_rate * (1 - 0.75 * k / 6) for k in range(6)])
    assert [(record["step"], record["epoch"]) for record in records] == [(2, 2 / 3), (4, 4 / 3), (6, 2)]
    results = torch.stack([torch.stack(result) for _, result, _ in steps]).view(-1, 2, 4).mean(1)
    for record, means in zip(records, results.tolist(), strict=True):
        assert [record[name] for name in StepResult._fields] == pytest.approx(means)
    assert averaged == [1, 2], "updates of G"
    for optimizer, updates in zip(steps[0][0][2:4], (2, 6), strict=True):
        (group,) = optimizer.param_groups
        assert (optimizer.state[group["params"][0]]["step"], group["betas"]) == (updates, (0.3, 0.999))
        assert group["lr"] == pytest.approx(config.learning_rate * (1 - 0.75 * 5 / 6))


BATCH_COUNTS = [
    *((2, 2, 1, 1), (3, 2, 1, 1), (4, 2, 1, 2), (41, 16, 1, 3)),
    *((33, 16, 1, 2), (2, 64, 1, 1), (66, 32, 4, 2), (68, 32, 4, 3)),
]


def test_a_last_batch_of_a_single_image_or_without_a_pack_is_left_out() -> None:
    assert [count_batches(*row[:3]) for row in BATCH_COUNTS] == [row[3] for row in BATCH_COUNTS]


# The same bits


def test_a_run_that_goes_on_for_more_epochs_has_the_same_bits_and_another_seed_others(
    tiny: GANConfig, uninterrupted: RunFolder, fingerprint: Fingerprint, tmp_path: Path
) -> None:
    torch.manual_seed(123)  # which nothing may depend on
    train(override(tiny, {"epochs": 1}), tmp_path / "again")
    for _ in range(2):  # the second time there is nothing to do
        assert fingerprint(train(tiny, tmp_path / "again", resume=True)) == fingerprint(uninterrupted)
    other = fingerprint(train(override(tiny, {"seed": 1}), tmp_path / "run"))["files"]
    assert not set(other.values()) & set(fingerprint(uninterrupted)["files"].values())


def test_a_run_stopped_after_every_step_ends_with_the_same_bits(
    tiny: GANConfig, uninterrupted: RunFolder, fingerprint: Fingerprint, before_update: BeforeUpdate, tmp_path: Path
) -> None:
    for step in range(1, EPOCHS * BATCHES + 1):
        number = (signal.SIGINT, signal.SIGTERM)[step % 2]
        before_update(1, partial(stop, number=number))
        problem = f"stopped at step {step} by {number.name} and saved; go on with"
        with pytest.raises(Interrupted, match=problem) as caught:
            train(tiny, tmp_path / "run", resume=step > 1)
        assert caught.value.exit_code == 128 + number
        assert RunFolder.open(tmp_path / "run").status == "interrupted"
    before_update(0, stop)
    folder = train(tiny, tmp_path / "run", resume=True)
    assert folder.status == "finished"
    assert fingerprint(folder) == fingerprint(uninterrupted)


@pytest.mark.parametrize("checkpoint_every", [1, 3])
def test_a_crash_after_or_before_the_first_checkpoint_resumes_to_the_same_bits(
    checkpoint_every: int,
    tiny: GANConfig,
    uninterrupted: RunFolder,
    fingerprint: Fingerprint,
    before_update: BeforeUpdate,
    tmp_path: Path,
) -> None:
    config = override(tiny, {"checkpoint_every": checkpoint_every})

    def crash(_: Generator) -> None:
        raise MemoryError("crash")

    before_update(5, crash)
    with pytest.raises(MemoryError):
        train(config, tmp_path / "run")
    folder = RunFolder.open(tmp_path / "run")
    assert (folder.status, len(folder.read_metrics())) == ("failed", 2)
    resumed = train(config, tmp_path / "run", resume=True)
    assert "error" not in resumed.record
    assert {**fingerprint(resumed), "config": None} == {**fingerprint(uninterrupted), "config": None}


# Refusals


def test_resuming_with_other_settings_or_images_is_refused(
    tiny: GANConfig, fingerprint: Fingerprint, tmp_path: Path
) -> None:
    path = tmp_path / "images.npy"
    np.save(path, np.zeros((41, 8, 8), dtype=np.uint8))
    config = override(tiny, {"data": str(path)})
    before = fingerprint(train(config, tmp_path / "run"))
    for name, value in {"seed": 5, "epochs": 1, "batch_norm_eps": 0.8, "log_every": 3}.items():
        with pytest.raises(ConfigError, match=f"^{name} is .* in this run, got .*; leave it out to resume"):
            train(override(config, {name: value}), tmp_path / "run", resume=True)
    assert fingerprint(RunFolder.open(tmp_path / "run")) == before
    for shape in ((41, 8, 8), (40, 8, 8), (41, 3, 8, 8)):
        np.save(path, np.ones(shape, dtype=np.uint8))
        with pytest.raises(DataError, match=r"^data: '.*images.npy' has changed since this run began; put the old"):
            train(override(config, {"epochs": 3}), tmp_path / "run", resume=True)
    after = fingerprint(RunFolder.open(tmp_path / "run"))
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
    (tmp_path / "notes.txt").write_text("precious")
    with pytest.raises(RunFolderError, match="exists already and is never overwritten"):
        train(override(tiny, {"data": "nothing"}), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


# Divergence


def spoil(generator: Generator, value: float = float("nan")) -> None:
    with torch.no_grad():
        generator.layers[-2].bias[0] = value


def test_divergence_is_reported_with_its_step(tiny: GANConfig, tmp_path: Path) -> None:
    problem = r"^step \d+: .* no checkpoint was saved yet; try a --learning-rate lower than 1e\+20"
    with pytest.raises(DivergenceError, match=problem):
        train(override(tiny, {"learning_rate": 1e20}), tmp_path / "run")
    record = RunFolder.open(tmp_path / "run").record
    assert record["status"] == "failed"
    assert re.match(r"step \d+: ", record["error"])


@pytest.mark.parametrize(
    ("step", "value", "stops", "problem"),
    [
        (4, math.nan, False, "step 4: .*"),
        (5, math.nan, False, "step 5: .*"),
        (5, math.nan, True, "step 5: .*"),  # a stop does not save
        # tanh maps an infinite weight to a white pixel, so the losses are finite.
        (5, math.inf, False, "step 6: a weight of the generator is not finite"),
    ],
)
def test_a_value_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    step: int, value: float, stops: bool, problem: str, tiny: GANConfig, before_update: BeforeUpdate, tmp_path: Path
) -> None:
    before_update(step, lambda generator: (spoil(generator, value), stop(generator) if stops else None))
    with pytest.raises(DivergenceError, match=f"^{problem}; the last good checkpoint is kept; try a --learning"):
        train(tiny, tmp_path / "run")
    folder = RunFolder.open(tmp_path / "run")
    assert folder.status == "failed"
    last = find_checkpoint(folder.checkpoints, "last")
    assert last.name == "step-000003"
    generator, discriminator = build_networks(tiny, (1, 8, 8))
    load_networks(last, {"generator": generator, "discriminator": discriminator})
    assert all(value.isfinite().all() for value in generator.state_dict().values())
    assert all(np.isfinite(record["generator_loss"]) for record in folder.read_metrics())
