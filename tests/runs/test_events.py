"""TensorBoard shows each metric, grid and hyperparameter of a run exactly once."""

import io
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from reviver.errors import RunFolderError
from reviver.gan import networks
from reviver.runs import events as events_module
from reviver.runs.events import MAX_PIXELS, EventFile
from reviver.runs.folder import MetricsWriter, RunFolder
from tests.contents import events, records, tensorboard_hparams, tensorboard_values
from tests.golden.make import NARROW
from tests.lstm_runs import TINY, crash, interrupt
from tests.runs.small import CPU, GAN, at_step, disturb, train, write_images


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return an undisturbed run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("undisturbed"))
        write_images()
        for name, widths in NARROW.items():
            patch.setattr(networks, name, widths)
        return RunFolder.open(train(GAN, "run").path.absolute())


def decode(value: Any) -> Image.Image:
    return Image.open(io.BytesIO(value.image.encoded_image_string))


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
        event.step: np.asarray(decode(entry).convert("L"))
        for event in events(gan.path / "tensorboard")
        for entry in event.summary.value
        if entry.tag == "samples"
    }
    assert {0, 6, 12} <= images.keys()
    for step in (0, 6, 12):
        enlarged = np.asarray(Image.open(gan.samples / f"epoch-{step // 3:04d}.png"))
        assert np.array_equal(enlarged[::14, ::14], images[step])
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
    stride = math.ceil(max(shape) / MAX_PIXELS)
    assert np.array_equal(found, pixels[::stride, ::stride])


@pytest.mark.parametrize("is_finished", [False, True])
def test_hyperparameters_equal_the_settings(is_finished: bool, tmp_path: Path) -> None:
    config = replace(TINY, seed=2**63 - 1)
    disturb(config, tmp_path / "run", 13, crash)
    if is_finished:
        train(config, tmp_path / "run")
    shown = tensorboard_hparams(tmp_path / "run" / "tensorboard")
    expected = {name: value for name, value in asdict(config).items() if value is not None}
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


def test_hyperparameters_of_an_evaluated_gan_include_its_scores(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "gan", GAN, CPU)
    MetricsWriter(folder, ("metrics", "scores")).close()
    losses = ["generator_loss", "discriminator_loss", "probability_real", "probability_fake"]
    scores = ["fid", "kid", "precision", "recall", "density", "coverage", "class_kl", "spacing"]
    assert tensorboard_hparams(folder.path / "tensorboard")["metrics"] == [*losses, *scores]


@pytest.mark.parametrize(
    ("action", "steps", "on_nan"), [(interrupt, (4, 3), "stop"), (crash, (5, 1), "stop"), (crash, (2, 1), "rollback")]
)
@pytest.mark.usefixtures("images")
def test_disturbed_gan_shows_every_grid_once(action: Any, steps: tuple[int, ...], on_nan: Any, gan: RunFolder) -> None:
    """With rollbacks there is a checkpoint at step 0, to which a run may return more than once."""
    config = replace(GAN, on_nan=on_nan)
    for step in steps:
        disturb(config, "run", step, action)
    folder = train(config, "run")
    assert tensorboard_values(folder.path / "tensorboard") == tensorboard_values(gan.path / "tensorboard")
    assert tensorboard_hparams(folder.path / "tensorboard")["finished"]


@pytest.mark.usefixtures("images")
def test_rollback_to_step_0_shows_the_first_grid_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(network: Any) -> None:
        with torch.no_grad():
            network.layers[-2].bias[0] = torch.nan

    at_step(monkeypatch, GAN, 2, spoil)
    folder = train(replace(GAN, on_nan="rollback"), "run")
    assert folder.rollbacks[0]["back_to"] == 0
    values = tensorboard_values(folder.path / "tensorboard")
    assert [step for step, tag, _ in values if tag == "generator_loss"] == [2, 4, 6, 8, 10, 12]
    samples = [step for step, tag, _ in values if tag == "samples"]
    assert samples == sorted({*samples})
    assert {0, 6, 12} <= {*samples}


def test_sessions_append_files_with_increasing_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    for now in (2_000_000_000.5, 2_000_000_000.5, 1_000_000_000.0):
        monkeypatch.setattr(events_module.time, "time", lambda now=now: now)
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        file = EventFile(tmp_path, 5, {}, ())
        file.write_scalars(5, {"loss": 0.5})
        file.close()
        assert {path: path.read_bytes() for path in before} == before
        names += [path.name for path in {*tmp_path.iterdir()} - before.keys()]
    assert len(names) == 3
    assert names == sorted(names)
    assert tensorboard_values(tmp_path) == [(5, "loss", 0.5)]


@pytest.mark.parametrize("call", ["scalars", "image", "end"])
def test_full_disk_raises_run_folder_error(call: str, folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = MetricsWriter(folder)
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
