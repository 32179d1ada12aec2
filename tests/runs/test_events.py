"""TensorBoard shows each metric, grid and hyperparameter of a run exactly once."""

import io
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reviver.runs.folder import RunFolder
from reviver.runs.writer import RecordsWriter
from tests.contents import events, records, tensorboard_hparams, tensorboard_values
from tests.lstm_runs import TINY, crash, interrupt
from tests.runs.small import GAN, disturb, narrow_gans, train, write_images


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return an undisturbed run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("undisturbed"))
        write_images()
        narrow_gans(patch.setattr)
        return RunFolder.open(train(GAN, "run").path.absolute())


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


def test_grids_equal_those_in_samples(gan: RunFolder) -> None:
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
    config = replace(TINY, seed=2**63 - 1)
    disturb(config, tmp_path / "run", 13, crash)
    assert not tensorboard_hparams(tmp_path / "run" / "tensorboard")["finished"]
    train(config, tmp_path / "run")
    shown = tensorboard_hparams(tmp_path / "run" / "tensorboard")
    expected = {name: value for name, value in asdict(config).items() if value is not None}
    assert shown["config"] == expected | {"seed": str(2**63 - 1)}, "float64 would round the seed"
    assert type(shown["config"]["bidirectional"]) is bool
    assert shown["metrics"] == ["train_loss", "train_accuracy", "validation_loss", "validation_accuracy"]
    assert shown["finished"]


@pytest.mark.parametrize(("action", "steps", "on_nan"), [(interrupt, (4, 3), "stop"), (crash, (2, 1), "rollback")])
@pytest.mark.usefixtures("images")
def test_disturbed_gan_shows_every_grid_once(action: Any, steps: tuple[int, ...], on_nan: Any, gan: RunFolder) -> None:
    """With rollbacks there is a checkpoint at step 0, to which a run may return more than once."""
    config = replace(GAN, on_nan=on_nan)
    for step in steps:
        disturb(config, "run", step, action)
    folder = train(config, "run")
    assert tensorboard_values(folder.path / "tensorboard") == tensorboard_values(gan.path / "tensorboard")
    assert tensorboard_hparams(folder.path / "tensorboard")["finished"]


def test_sessions_within_a_second_append_files_in_order(folder: RunFolder) -> None:
    events_folder = folder.path / "tensorboard"
    for value in (1.5, 2.5, 0.5):
        before = {path: path.read_bytes() for path in events_folder.glob("*")}
        writer = RecordsWriter(folder, first_step=5)
        writer.write("metrics", {"step": 5, "loss": value})
        writer.close()
        assert {path: path.read_bytes() for path in before} == before
    assert len([*events_folder.iterdir()]) == 3
    assert tensorboard_values(events_folder) == [(5, "loss", 0.5)]
