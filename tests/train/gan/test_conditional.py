"""The conditional GAN: samples have the class that they are conditioned on, and both networks get the label."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reviver import load
from reviver.cli import main
from reviver.data.images.image_set import ImageSet
from reviver.errors import DataError, RunFolderError
from reviver.gan.sampling import generate_samples
from reviver.runs.folder import RunFolder
from reviver.settings.gan import GANConfig
from reviver.train.gan import training
from reviver.train.gan.training import count_classes, train

CONFIG = GANConfig(conditional=True, latent_size=8, image_size=8, epochs=5, batch_size=32, learning_rate=1e-3, ema=0.9)


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
    generator = load(run.path).generator
    for index in (1, 2, None):
        images, latents = generate_samples(generator, 50, 0, index)
        rows = images[:, 0].mean(2)[:, 1::2]  # the brightness of rows 1, 3, 5, 7
        assert (rows.argmax(1) == latents[:, 8:].argmax(1)).float().mean() > 0.9
        assert index is None or latents[:, 8 + index].eq(1).all()


def test_sample_from_the_command_line(run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "grid.png"
    assert main(["gan", "sample", str(run.path), "--class", "2", "--num-samples", "4", "--out", str(out)]) == 0
    assert main(["gan", "sample", str(run.path), "--class", "3", "--out", str(out)]) == 2
    assert "--class must be at most 2, got 3" in capsys.readouterr().err


@pytest.mark.parametrize("labels", [None, torch.zeros(4).long(), torch.tensor([-1, 0, 1, 2]), torch.tensor([0, 1000])])
def test_images_without_classes_are_refused(labels: torch.Tensor | None) -> None:
    problem = r"^data must have labels (for a conditional GAN, got bars without|from 0 to K - 1 with K from 2 to 1000)"
    with pytest.raises(DataError, match=problem):
        count_classes(replace(bars(4), labels=labels))
    assert count_classes(replace(bars(4), labels=torch.tensor([0, 0, 1, 0]))) == 2


def test_a_run_that_was_killed_before_it_recorded_its_images_is_refused(run: RunFolder, tmp_path: Path) -> None:
    record = json.loads((run.path / "run.json").read_text())
    del record["data"]["image_shape"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(RunFolderError, match=r"run\.json: data\.image_shape is missing; the file is damaged"):
        load(tmp_path)
