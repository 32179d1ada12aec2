"""The conditional GAN: samples have the class that they are conditioned on, and both networks get the label."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from reviver import load
from reviver.cli import main
from reviver.data.images.image_set import ImageSet, load_mnist
from reviver.errors import ConfigError, DataError, RunFolderError
from reviver.gan.networks import Discriminator, Generator
from reviver.gan.sampling import generate_samples
from reviver.gan.scores import reference_stats
from reviver.gan.step import gan_step
from reviver.gan.step_options import StepOptions
from reviver.runs.folder import RunFolder
from reviver.settings.fields import override
from reviver.settings.gan import GANConfig
from reviver.train.gan import training
from reviver.train.gan.training import (
    build_networks,
    build_optimizers,
    count_classes,
    join_labels,
    train,
)

CONFIG = GANConfig(conditional=True, latent_size=8, image_size=8, epochs=8, batch_size=32, learning_rate=1e-3, ema=0.9)


def bars(count: int) -> ImageSet:
    """Images whose class is the position of their bright row: 1, 3 or 5."""
    labels = torch.arange(count) % 3
    images = torch.zeros(count, 1, 8, 8, dtype=torch.uint8)
    images[torch.arange(count), 0, 1 + 2 * labels] = 255
    return ImageSet(images, labels, "bars")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training, "load_images", lambda source, size: bars(960))
        return train(CONFIG, tmp_path_factory.mktemp("conditional") / "run")


def test_samples_have_the_class_that_they_are_conditioned_on(run: RunFolder) -> None:
    loaded = load(run.path)
    for index in range(3):
        images, latents = generate_samples(loaded.generator, 50, 0, index)
        assert torch.equal(latents[:, 8:].argmax(1), torch.full((50,), index))
        rows = images[:, 0].mean(2)[:, 1::2]  # the brightness of rows 1, 3, 5, 7
        assert (rows.argmax(1) == index).float().mean() > 0.9


def test_without_a_class_every_class_is_generated(run: RunFolder) -> None:
    loaded = load(run.path)
    images, latents = generate_samples(loaded.generator, 300, 0)
    assert images.shape == (300, 1, 8, 8)
    assert latents.shape == (300, 8 + 3)
    assert (latents[:, 8:].sum(0) > 60).all()


def test_sample_from_the_command_line(run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "grid.png"
    assert main(["gan", "sample", str(run.path), "--class", "2", "--num-samples", "4", "--out", str(out)]) == 0
    assert main(["gan", "sample", str(run.path), "--class", "3", "--out", str(out)]) == 2
    assert "--class must be at most 2, got 3" in capsys.readouterr().err


def test_the_input_of_the_discriminator_is_an_image_and_its_label() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator((1, 2, 2), num_classes=3)
    images, labels = torch.randn(4, 1, 2, 2), torch.eye(3)[[0, 1, 2, 0]]
    expected = discriminator.layers(torch.cat([images.flatten(1), labels], 1))
    torch.testing.assert_close(discriminator.logits(images, labels), expected)
    for wrong in (None, torch.zeros(4, 2)):
        with pytest.raises(DataError, match=r"^labels must have shape \[N, 3\], got (None|\[4, 2\])"):
            discriminator.logits(images, wrong)


@pytest.mark.parametrize("penalties", [{}, {"r1": 1.0}, {"loss": "wasserstein", "gradient_penalty": 1.0}])
@pytest.mark.parametrize("packing", [1, 2])
def test_every_penalty_takes_labels(penalties: dict[str, object], packing: int) -> None:
    config = override(CONFIG, {**penalties, "packing": packing})
    networks = build_networks(config, (1, 8, 8), 3)
    data = bars(32)
    z = networks[0].sample_latents(32, torch.Generator().manual_seed(0))
    real = data.images.float() / 127.5 - 1
    labels = join_labels(torch.eye(3)[data.labels], networks[0], z)
    options = StepOptions.from_config(config, 0)
    result = gan_step(*networks, *build_optimizers(config, *networks), real, z, options=options, labels=labels)
    assert torch.stack(result).isfinite().all()


def test_latents_of_an_unconditional_generator_have_no_class() -> None:
    generator = Generator(5, (1, 4, 4))
    expected = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(generator.sample_latents(3, torch.Generator().manual_seed(1)), expected)
    with pytest.raises(ConfigError, match=r"^class must be left out, since this run has no classes, got 1"):
        generate_samples(generator, 3, 0, 1)


@pytest.mark.parametrize("labels", [None, torch.zeros(4, dtype=torch.int64), torch.tensor([-1, 0, 1, 2])])
def test_images_without_classes_are_refused(labels: torch.Tensor | None) -> None:
    with pytest.raises(
        DataError,
        match=r"^data must have labels (for a conditional GAN, got bars without labels|from 0 to K - 1 with K from 2 to 1000)",
    ):
        count_classes(dataclasses.replace(bars(4), labels=labels))


@pytest.mark.parametrize("classes", [None, 1, True, "3", 10**6])
def test_a_damaged_number_of_classes_is_refused(classes: object, run: RunFolder, tmp_path: Path) -> None:
    record = json.loads((run.path / "run.json").read_text())
    record["data"]["num_classes"] = classes
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(RunFolderError, match=r"run\.json: data\.num_classes must be .*; the file is damaged"):
        load(tmp_path)


@pytest.mark.parametrize("key", ["num_classes", "image_shape"])
def test_a_run_without_its_classes_or_shape_opens_and_does_not_load(key: str, run: RunFolder, tmp_path: Path) -> None:
    record = json.loads((run.path / "run.json").read_text())
    del record["data"][key]
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert RunFolder.open(tmp_path).read_metrics() == []
    with pytest.raises(RunFolderError, match=rf"run\.json: data\.{key} is missing; the file is damaged, restore"):
        load(tmp_path)


def test_scores_have_the_class_accuracy() -> None:
    from reviver.gan.scores.metrics import class_accuracy

    classes, labels = torch.tensor([0, 1, 1, 2, 2, 2]), torch.tensor([0, 1, 2, 2, 2, 0])
    assert class_accuracy(classes, labels) == pytest.approx((0.5, 1.0, 2 / 3))


def test_the_command_prints_the_class_accuracy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def some(part: str = "train") -> ImageSet:
        whole = load_mnist(part)
        assert whole.labels is not None
        return ImageSet(whole.images[:300], whole.labels[:300], "mnist")

    monkeypatch.setenv("REVIVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(training, "load_images", lambda source, size: some())
    monkeypatch.setattr(reference_stats, "load_images", lambda source, size: some())
    monkeypatch.setattr(reference_stats, "load_test_images", lambda source, size: some("test"))
    train(GANConfig(conditional=True, epochs=1, batch_size=100, latent_size=8, eval_every=0), tmp_path / "run")
    assert main(["gan", "evaluate", str(tmp_path / "run"), "--num-samples", "100", "--json"]) == 0
    accuracy = json.loads(capsys.readouterr().out)["class_accuracy"]
    assert len(accuracy) == 10
    assert all(0 <= share <= 1 for share in accuracy)
    assert main(["gan", "evaluate", str(tmp_path / "run"), "--num-samples", "100"]) == 0
    assert "class accuracy 0: " in capsys.readouterr().out
