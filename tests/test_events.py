"""TensorBoard shows each metric, grid and hyperparameter of a run exactly once."""

import dataclasses
import io
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.test_gan_training import at_step as at_gan_step
from tests.test_gan_training import send

from reviver.errors import Interrupted, OutOfMemory, RunFolderError
from reviver.runs import events as events_module
from reviver.runs.events import MAX_PIXELS, EventFile
from reviver.runs.folder import MetricsWriter, RunFolder
from reviver.settings.fields import override
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan.grids import tile
from reviver.train.gan.training import train as train_gan
from reviver.train.lstm.training import train as train_lstm
from tests.contents import events, tensorboard_hparams, tensorboard_values
from tests.lstm_runs import TINY, at_step, crash

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory) -> GANConfig:
    """Return settings for 12 updates, 3 per epoch; a checkpoint after each epoch, grids after epochs 0, 2 and 4."""
    folder = tmp_path_factory.mktemp("images")
    np.save(folder / "images.npy", np.random.default_rng(0).integers(0, 256, (41, 8, 8), dtype=np.uint8))
    settings = {"image_size": 8, "latent_size": 16, "epochs": 4, "batch_size": 16, "sample_every": 2, "log_every": 2}
    return GANConfig(data=str(folder / "images.npy"), **settings)


@pytest.fixture(scope="module")
def expected(gan: GANConfig, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Return what TensorBoard shows of an undisturbed run."""
    return tensorboard_values(train_gan(gan, tmp_path_factory.mktemp("undisturbed") / "run").path / "tensorboard")


def decode(value: Any) -> Image.Image:
    return Image.open(io.BytesIO(value.image.encoded_image_string))


def steps_of(folder: Path, tag: str) -> list[int]:
    return [step for step, name, _ in tensorboard_values(folder) if name == tag]


def test_scalars_equal_the_metrics(tmp_path: Path) -> None:
    folder = train_lstm(TINY, tmp_path / "run")
    expected = [
        (record["step"], name, pytest.approx(value))  # float32
        for record in folder.read_metrics()
        for name, value in record.items()
        if isinstance(value, float) and name != "seconds"
    ]
    assert len(expected) == 4 * 4
    assert tensorboard_values(folder.path / "tensorboard") == expected


def test_grids_equal_those_in_samples(gan: GANConfig, tmp_path: Path) -> None:
    folder = train_gan(gan, tmp_path / "run")
    images = {
        event.step: np.asarray(decode(entry).convert("L"))
        for event in events(folder.path / "tensorboard")
        for entry in event.summary.value
        if entry.tag == "samples"
    }
    assert {0, 6, 12} <= images.keys()
    for step, pixels in images.items():
        assert pixels.shape == tile(torch.zeros(25, 1, 8, 8)).shape
        if step % 6 == 0:
            enlarged = np.asarray(Image.open(folder.samples / f"epoch-{step // 3:04d}.png"))
            assert np.array_equal(enlarged[::14, ::14], pixels)
    assert len({pixels.tobytes() for pixels in images.values()}) == len(images)


@pytest.mark.parametrize("shape", [(50, 70), (50, 70, 3), (2 * MAX_PIXELS, MAX_PIXELS, 3)])
def test_image_is_unchanged_or_subsampled(shape: tuple[int, ...], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    file = EventFile(tmp_path, 0, {}, ())
    file.write_image(3, "samples", pixels)
    file.close()
    *_, event = events(tmp_path)
    (value,) = event.summary.value
    found = np.asarray(decode(value).convert("RGB" if len(shape) == 3 else "L"))
    assert (event.step, value.image.height, value.image.width) == (3, *found.shape[:2])
    if max(shape) <= MAX_PIXELS:
        assert np.array_equal(found, pixels)
    else:
        assert found.shape == (MAX_PIXELS, MAX_PIXELS // 2, 3)


@pytest.mark.parametrize("is_finished", [False, True])
def test_hyperparameters_equal_the_settings(is_finished: bool, tmp_path: Path) -> None:
    config = override(TINY, {"seed": 2**63 - 1})
    with pytest.MonkeyPatch.context() as patch:
        if not is_finished:
            at_step(patch, 13, crash)
            with pytest.raises(OutOfMemory):
                train_lstm(config, tmp_path / "run")
        else:
            train_lstm(config, tmp_path / "run")
    shown = tensorboard_hparams(tmp_path / "run" / "tensorboard")
    expected = {name: value for name, value in dataclasses.asdict(config).items() if value is not None}
    assert shown["config"] == expected | {"seed": str(2**63 - 1)}, "float64 would round the seed"
    assert type(shown["config"]["bidirectional"]) is bool
    assert {*shown["names"]} == {*expected}
    assert shown["metrics"] == ["train_loss", "train_accuracy", "validation_loss", "validation_accuracy"]
    assert shown["finished"] == is_finished


@pytest.mark.parametrize("value", [None, True, "text", "", 10**30, -(10**30), 2**53, 0.1, 0, 1e300])
def test_any_value_of_a_setting_can_be_written(value: Any, tmp_path: Path) -> None:
    EventFile(tmp_path, 0, {"setting": value, "other": 1}, ["loss"]).close()
    shown = tensorboard_hparams(tmp_path)["config"]
    assert shown.pop("other") == 1
    assert shown == {} if value is None else str(shown["setting"]) == str(value) or shown["setting"] == value


def test_hyperparameters_of_an_evaluated_gan_include_its_scores(gan: GANConfig, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "gan", gan, CPU)
    MetricsWriter(folder, ("metrics", "scores")).close()
    metrics = tensorboard_hparams(folder.path / "tensorboard")["metrics"]
    losses = ["generator_loss", "discriminator_loss", "probability_real", "probability_fake"]
    scores = ["fid", "kid", "precision", "recall", "density", "coverage", "class_kl", "spacing"]
    assert metrics == [*losses, *scores]


@pytest.mark.parametrize("step", [1, 4, 7, 8, 12])
def test_interrupted_gan_shows_every_grid_once(step: int, gan: GANConfig, expected: list[Any], tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        at_gan_step(patch, step, send(signal.SIGINT))
        with pytest.raises(Interrupted):
            train_gan(gan, tmp_path / "run")
    folder = train_gan(gan, tmp_path / "run", resume=True)
    found = tensorboard_values(folder.path / "tensorboard")
    assert found == expected
    assert tensorboard_hparams(folder.path / "tensorboard")["finished"]


@pytest.mark.parametrize("rolls_back", [False, True])
@pytest.mark.parametrize("step", [1, 2, 5, 8])
def test_crashed_gan_shows_every_grid_once(
    step: int, rolls_back: bool, gan: GANConfig, expected: list[Any], tmp_path: Path
) -> None:
    """With rollbacks there is a checkpoint at step 0, to which a run may return more than once."""
    config = override(gan, {"on_nan": "rollback"}) if rolls_back else gan
    for resumes in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            at_gan_step(patch, step if not resumes else 1, crash)
            with pytest.raises(OutOfMemory):
                train_gan(config, tmp_path / "run", resume=resumes)
    folder = train_gan(config, tmp_path / "run", resume=True)
    assert tensorboard_values(folder.path / "tensorboard") == expected


def test_rollback_to_step_0_shows_the_first_grid_once(gan: GANConfig, tmp_path: Path) -> None:
    def spoil(networks: Any) -> None:
        with torch.no_grad():
            networks.layers[-2].bias[0] = torch.nan

    with pytest.MonkeyPatch.context() as patch:
        at_gan_step(patch, 2, spoil)
        folder = train_gan(override(gan, {"on_nan": "rollback"}), tmp_path / "run")
    assert folder.rollbacks[0]["back_to"] == 0
    assert steps_of(folder.path / "tensorboard", "generator_loss") == [2, 4, 6, 8, 10, 12]
    samples = steps_of(folder.path / "tensorboard", "samples")
    assert samples == sorted({*samples})
    assert {0, 6, 12} <= {*samples}


def test_sessions_append_files_with_increasing_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = []
    for now in (2_000_000_000.5, 2_000_000_000.5, 1_000_000_000.0):
        monkeypatch.setattr(events_module.time, "time", lambda now=now: now)
        before = {path: path.read_bytes() for path in sorted(tmp_path.iterdir())}
        file = EventFile(tmp_path, 5, {}, ())
        file.write_scalars(5, {"loss": 0.5})
        file.close()
        assert {path: path.read_bytes() for path in before} == before
        contents.append({*tmp_path.iterdir()} - before.keys())
    names = [path.name for new in contents for path in new]
    assert len(names) == 3
    assert names == sorted(names)
    assert tensorboard_values(tmp_path) == [(5, "loss", 0.5)]


@pytest.mark.parametrize("call", ["scalars", "image", "end"])
def test_full_disk_raises_run_folder_error(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = MetricsWriter(RunFolder.create(tmp_path / "run", "lstm", LSTMConfig(), CPU))
    calls = {
        "scalars": lambda: writer.write("metrics", {"step": 1, "loss": 0.5}),
        "image": lambda: writer.events.write_image(1, "samples", np.zeros((4, 4), dtype=np.uint8)),
        "end": lambda: writer.events.write_end(1),
    }
    with monkeypatch.context() as patch, Path("/dev/full").open("wb", buffering=0) as full:
        patch.setattr(writer.events, "_file", full)
        with pytest.raises(RunFolderError, match=r"run.*: cannot be written \(No space left on device\); free some"):
            calls[call]()
    writer.close()
