"""TensorBoard shows each metric, grid and hyperparameter of a run exactly once."""

import io
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.contents import events, records, tensorboard_hparams, tensorboard_values
from tests.lstm_runs import TINY, crash
from tests.runs.small import GAN, disturb, train


def test_scalars_equal_the_metrics(tmp_path: Path) -> None:
    folder = train(TINY, tmp_path / "run")
    expected = [
        (record["step"], name, pytest.approx(value))  # float32
        for record in folder.read_metrics()
        for name, value in record.items()
        if isinstance(value, float) and name != "seconds"
    ]
    assert len(expected) == 4 * 4
    assert tensorboard_values(folder.path / "tensorboard") == expected
    (path,) = (folder.path / "tensorboard").iterdir()
    assert sum(16 + len(record) for record in records(path.read_bytes())) == path.stat().st_size, "checksums are right"


@pytest.mark.usefixtures("images")
def test_grids_equal_those_in_samples() -> None:
    gan = train(GAN, "run")
    images = {
        event.step: np.asarray(Image.open(io.BytesIO(entry.image.encoded_image_string)).convert("L"))
        for event in events(gan.path / "tensorboard")
        for entry in event.summary.value
        if entry.tag == "samples"
    }
    assert {0, 6, 12} <= images.keys()
    for step in (0, 6, 12):
        enlarged = np.asarray(Image.open(gan.samples / f"epoch-{step // 3:04d}.png"))
        assert np.array_equal(enlarged[::14, ::14], images[step])
    assert len({pixels.tobytes() for pixels in images.values()}) == len(images)


def test_hyperparameters_equal_the_settings(tmp_path: Path) -> None:
    disturb(TINY, tmp_path / "run", 13, crash)
    assert not tensorboard_hparams(tmp_path / "run" / "tensorboard")["finished"]
    train(TINY, tmp_path / "run")
    shown = tensorboard_hparams(tmp_path / "run" / "tensorboard")
    expected = {name: value for name, value in asdict(TINY).items() if value is not None}
    assert shown["config"] == expected
    assert type(shown["config"]["bidirectional"]) is bool
    assert shown["metrics"] == ["train_loss", "train_accuracy", "validation_loss", "validation_accuracy"]
    assert shown["finished"]
