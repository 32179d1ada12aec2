"""Snapshots while training: when, what is in them, the same after a resume or a rollback, and damaged ones."""

import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from reviver.data.images.image_set import from_pixels, load_images, to_pixels
from reviver.errors import Interrupted, OutOfMemory, RunFolderError
from reviver.gan import networks
from reviver.gan.networks import Discriminator, one_hot
from reviver.gan.sampling import generate
from reviver.runs import snapshots
from reviver.runs.folder import RunFolder
from reviver.runs.rng import make_rng
from reviver.runs.snapshots import find_snapshots
from reviver.settings.fields import override
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan import training as gan_training
from reviver.train.gan.run import GANRun
from reviver.train.gan.snapshots import (
    MAX_BYTES,
    MAX_IMAGES,
    NUM_MOMENTS,
    SnapshotWriter,
    choose_real_images,
    image_logits,
    read_real_images,
    read_snapshots,
    snapshot_steps,
)
from reviver.train.gan.training import train as train_gan
from reviver.train.loading import load
from reviver.train.lstm import snapshots as lstm_snapshots
from reviver.train.lstm.run import LSTMRun
from reviver.train.lstm.training import train as train_lstm
from tests.contents import contents
from tests.golden.make import NARROW
from tests.lstm_runs import TINY, crash, interrupt
from tests.runs.small import at_step

GANS: dict[str, dict[str, Any]] = {
    "plain": {},
    "ema": {"ema": 0.9, "precision": "bf16"},
    "dropout": {"discriminator_dropout": 0.3},
    "packing": {"packing": 3, "batch_size": 12},
    "conditional": {"conditional": True},
    "color": {"data": "color.npz"},
}
GAN = GANConfig(data="gray.npz", image_size=8, latent_size=8, epochs=3, batch_size=16, log_every=2, sample_every=3)


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Work in a folder with 41 images, gray ones with labels and color ones; with narrow networks."""
    path = tmp_path_factory.mktemp("snapshots")
    rng = np.random.default_rng(0)
    gray, color = rng.integers(0, 256, (41, 8, 8), np.uint8), rng.integers(0, 256, (41, 8, 8, 3), np.uint8)
    np.savez(path / "gray.npz", images=gray, labels=np.arange(41) % 3)
    np.savez(path / "color.npz", images=color)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        for name, widths in NARROW.items():
            patch.setattr(networks, name, widths)
        yield path


@pytest.fixture(scope="module", params=GANS)
def gan(request: pytest.FixtureRequest, data: Path) -> GANRun:
    """A run of each kind of GAN."""
    folder = train_gan(override(GAN, GANS[request.param]), data / request.param)
    run = load(folder.path)
    assert isinstance(run, GANRun)
    return run


@pytest.fixture(scope="module")
def plain(data: Path) -> RunFolder:
    return train_gan(override(GAN, {"epochs": 20}), data / "many updates")


@pytest.fixture
def copied(plain: RunFolder, tmp_path: Path) -> RunFolder:
    return RunFolder.open(shutil.copytree(plain.path, tmp_path / "run"))


@pytest.fixture(scope="module")
def lstm(data: Path) -> LSTMRun:
    run = load(train_lstm(override(TINY, {"epochs": 6}), data / "lstm").path)
    assert isinstance(run, LSTMRun)
    return run


# When


@given(st.integers(1, 500), st.integers(2, 2000), st.integers(2, 300))
def test_moments_are_geometric_and_end_with_the_last_update(epochs: int, num_images: int, batch_size: int) -> None:
    config = GANConfig(epochs=epochs, batch_size=batch_size)
    last = epochs * gan_training.count_batches(num_images, batch_size)
    steps = sorted(snapshot_steps(config, num_images, (1, 28, 28)))
    if last == 0:  # no batch has two images
        return
    assert (steps[0], steps[-1]) == (0, last)
    assert len(steps) == min(NUM_MOMENTS, last + 1)
    gaps = np.diff(steps)
    assert (gaps >= 1).all()
    assert (np.diff(gaps) >= -1).all(), "gaps grow, up to rounding"


@pytest.mark.parametrize(("size", "expected"), [(28, 60), (128, 54), (1024, 4)])
def test_runs_with_large_images_save_fewer(size: int, expected: int) -> None:
    steps = snapshot_steps(GANConfig(), 60_000, (3, size, size))
    assert len(steps) == expected
    assert expected == 4 or expected * 25 * 3 * size**2 <= MAX_BYTES


@pytest.mark.parametrize(
    ("epochs", "expected"), [(1, [1]), (2, [1]), (6, [1, 3, 4]), (100, [1, 4, 16, 50, 64]), (128, [1, 4, 16, 64])]
)
def test_epochs_of_an_lstm(epochs: int, expected: list[int]) -> None:
    config = LSTMConfig(epochs=epochs)
    assert [epoch for epoch in range(1, epochs + 1) if lstm_snapshots.is_snapshot_due(epoch, config)] == expected


# What is in them


def test_a_gan_saves_images_and_logits(gan: GANRun) -> None:
    """The first and the last snapshot agree with the networks of these moments, computed without the writer."""
    config, folder = gan.config, gan.folder
    saved = read_snapshots(folder)
    last = config.epochs * gan_training.count_batches(41, config.batch_size, config.packing)
    assert [snapshot.step for snapshot in saved] == list(range(last + 1))
    assert [round(snapshot.epoch * last / config.epochs, 9) for snapshot in saved] == list(range(last + 1))
    data = load_images(config.data, 8)
    chosen = choose_real_images(41, 25, config.seed)
    real = read_real_images(folder)
    assert real is not None
    assert torch.equal(real, data.images[chosen])
    assert len({*chosen.tolist()}) == 25
    num_classes = gan.generator.num_classes
    untrained = gan_training.build_networks(config, data.image_shape, num_classes)
    for snapshot, (generator, discriminator) in (
        (saved[0], untrained),
        (saved[-1], (gan.generator, gan.discriminator)),
    ):
        classes = torch.arange(25) % num_classes if num_classes else None
        z = generator.sample_latents(25, make_rng(config.seed, "grid"), classes)
        images = generate(generator, z)
        assert torch.equal(snapshot.images, to_pixels(images))
        real_labels = None
        if num_classes:
            assert data.labels is not None
            real_labels = one_hot(data.labels[chosen], num_classes)
        discriminator.eval()
        for logits, batch, labels in (
            (snapshot.fake_logits, images, generator.class_labels(z)),
            (snapshot.real_logits, from_pixels(real), real_labels),
        ):
            for index in range(25):
                pack = [(index + offset) % 25 for offset in range(config.packing)]
                expected = discriminator.logits(batch[pack], None if labels is None else labels[pack])
                torch.testing.assert_close(logits[index], expected[0, 0], rtol=1e-4, atol=1e-5)


def test_logits_restore_the_mode() -> None:
    discriminator = Discriminator((1, 8, 8), dropout=0.5, packing=2).train()
    before = {name: tensor.clone() for name, tensor in discriminator.state_dict().items()}
    images, state = torch.rand(5, 1, 8, 8), torch.get_rng_state()
    logits = image_logits(discriminator, images)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(logits, image_logits(discriminator, images))
    assert logits.shape == (5,)
    assert not logits.requires_grad
    assert all(module.training for module in discriminator.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in discriminator.state_dict().items())
    image_logits(discriminator.eval(), images)
    assert not discriminator.training


def test_an_lstm_saves_its_weights(lstm: LSTMRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = lstm_snapshots.read_snapshots(lstm)
    accuracies = {row["step"]: row["validation_accuracy"] for row in lstm.metrics}
    assert [(row.epoch, row.step, row.validation_accuracy) for row in saved] == [
        (epoch, 5 * epoch, accuracies[5 * epoch]) for epoch in (1, 3, 4)
    ]
    assert not any(row.network.training for row in saved)
    at_step(monkeypatch, lstm.config, 16, interrupt)
    with pytest.raises(Interrupted):
        train_lstm(lstm.config, tmp_path / "run")
    expected: dict[str, Tensor] = load_file(tmp_path / "run" / "snapshots" / "step-000015.safetensors")
    for name, tensor in saved[1].network.state_dict().items():
        assert torch.equal(tensor, expected[f"network/{name}"])
    assert not torch.equal(saved[0].network.b_out, saved[2].network.b_out)


# They change nothing, and are the same after an interruption


def without_snapshots(folder: Path) -> dict[str, Any]:
    found = contents(folder)
    found["folders"] = [name for name in found["folders"] if name != "snapshots"]
    return {name: value for name, value in found.items() if not name.startswith("snapshots/")}


def test_a_gan_learns_the_same_without(gan: GANRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SnapshotWriter, "write", lambda self, step, epoch: None)
    folder = train_gan(gan.config, tmp_path / "run")
    assert not folder.snapshots.exists()
    assert contents(folder.path) == without_snapshots(gan.folder.path)


@pytest.mark.parametrize("action", [interrupt, crash])
def test_a_resumed_gan_has_the_same_snapshots(gan: GANRun, action: Callable[[object], None], tmp_path: Path) -> None:
    """It is stopped before its first checkpoint, which is after an epoch, and again later."""
    for number in (2, 4):
        with pytest.MonkeyPatch.context() as patch:
            at_step(patch, gan.config, number, action)
            with pytest.raises((Interrupted, OutOfMemory)):
                train_gan(gan.config, tmp_path / "run", resume=(tmp_path / "run").exists())
    leave_traces(RunFolder.open(tmp_path / "run"))
    train_gan(gan.config, tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == contents(gan.folder.path)


def leave_traces(folder: RunFolder) -> None:
    """Leave what a crash can leave: an unfinished file, and a snapshot of an update that was taken back."""
    (folder.snapshots / ".step-000003.safetensors.part").write_bytes(b"unfinished")
    shutil.copyfile(folder.snapshots / "step-000001.safetensors", folder.snapshots / "step-000008.safetensors")
    (folder.snapshots / "step-12345678.safetensors").write_bytes(b"beyond six digits")


@pytest.mark.parametrize("number", [3, 18])
def test_a_resumed_lstm_has_the_same_snapshots(lstm: LSTMRun, number: int, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, lstm.config, number, interrupt)
        with pytest.raises(Interrupted):
            train_lstm(lstm.config, tmp_path / "run")
    folder = RunFolder.open(tmp_path / "run")
    if folder.snapshots.exists():
        shutil.copyfile(find_snapshots(folder)[0].path, folder.snapshots / "step-000040.safetensors")
    train_lstm(lstm.config, tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == contents(lstm.folder.path)


def test_a_rollback_removes_later_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight becomes NaN in the second epoch; the snapshots of the second attempt are of a lower learning rate."""
    config = override(GAN, {"on_nan": "rollback", "data": "gray.npz"})
    step, seen = gan_training.gan_step, []

    def diverging(generator: Any, *arguments: Any, **keywords: Any) -> Any:
        result = step(generator, *arguments, **keywords)
        seen.append([file.step for file in find_snapshots(RunFolder.open(tmp_path / "run"))])
        if len(seen) == 5:
            with torch.no_grad():
                generator.layers[-2].bias[0] = math.nan
        return result

    monkeypatch.setattr(gan_training, "gan_step", diverging)
    folder = train_gan(config, tmp_path / "run")
    assert folder.rollbacks[0]["back_to"] == 3
    assert seen[4:8] == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3], [0, 1, 2, 3, 4]], "none of NaN"
    assert [snapshot.step for snapshot in read_snapshots(folder)] == list(range(10))


def test_few_training_images_are_repeated() -> None:
    chosen = choose_real_images(4, 25, 0)
    assert sorted({*chosen.tolist()}) == [0, 1, 2, 3]
    assert torch.equal(chosen[:21], chosen[4:])


# Damaged files


def change(**changes: Tensor | None) -> Callable[[Path], None]:
    """Return a function that replaces tensors of a snapshot, or removes them."""

    def act(path: Path) -> None:
        tensors = {**load_file(path), **changes}
        save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)

    return act


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut": (cut, "cannot be read"),
    "empty": (lambda path: path.write_bytes(b"") and None, "cannot be read"),
    "a folder": (replace_by_folder, "cannot be read"),
    "no images": (change(images=None), "must have 1 to 25 images, got 0"),
    "too many images": (change(images=torch.zeros(26, 1, 8, 8, dtype=torch.uint8)), "1 to 25 images, got 26"),
    "other images": (change(images=torch.zeros(25, 3, 8, 8, dtype=torch.uint8)), r"images has the shape \[25, 3"),
    "no logits": (change(fake_logits=None), "'fake_logits' is missing"),
    "another tensor": (change(more=torch.zeros(2)), "'more' is not expected"),
    "other dtype": (change(epoch=torch.tensor(3)), "epoch must be torch.float64, got torch.int64"),
    "not finite": (change(real_logits=torch.full((25,), math.nan)), "real_logits has numbers that are not finite"),
    "negative epoch": (change(epoch=torch.tensor(-1.0, dtype=torch.float64)), "epoch must be at least 0, got -1"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_snapshots_of_a_gan(case: str, copied: RunFolder) -> None:
    damage, problem = DAMAGE[case]
    damage(copied.snapshots / "step-000010.safetensors")
    with pytest.raises(RunFolderError, match=f"step-000010.safetensors: .*{problem}.*; the file is damaged") as caught:
        read_snapshots(copied)
    assert "\n" not in str(caught.value)


def test_real_images_that_are_missing(copied: RunFolder) -> None:
    change(real=None)(copied.snapshots / "step-000000.safetensors")
    assert read_snapshots(copied)
    with pytest.raises(RunFolderError, match="'real' is missing; the file is damaged"):
        read_real_images(copied)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"epoch": torch.tensor(0)}, "epoch must be at least 1"),
        ({"validation_accuracy": torch.tensor(1.5, dtype=torch.float64)}, "from 0 to 1, got 1 and 1.5"),
        ({"network/b_out": torch.zeros(3)}, r"network/b_out has the shape \[3\], not \[10\]"),
        ({"network/b_out": None}, "'network/b_out' is missing"),
    ],
)
def test_damaged_snapshots_of_an_lstm(
    changes: dict[str, Tensor | None], problem: str, lstm: LSTMRun, tmp_path: Path
) -> None:
    run = load(shutil.copytree(lstm.folder.path, tmp_path / "run"))
    assert isinstance(run, LSTMRun)
    change(**changes)(run.folder.snapshots / "step-000005.safetensors")
    with pytest.raises(RunFolderError, match=problem):
        lstm_snapshots.read_snapshots(run)


def test_limits(copied: RunFolder, lstm: LSTMRun, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_IMAGES == gan_training.GRID_SIZE
    monkeypatch.setattr(snapshots, "MAX_SNAPSHOTS", 1)
    for read in (lambda: read_snapshots(copied), lambda: read_real_images(copied)):
        with pytest.raises(
            RunFolderError, match="snapshots: must have at most 1 snapshots and 1073741824 bytes, got 60"
        ):
            read()
    with pytest.raises(RunFolderError, match="snapshots: must have at most"):
        lstm_snapshots.read_snapshots(lstm)
    monkeypatch.setattr(snapshots, "MAX_SNAPSHOTS", 100)
    monkeypatch.setattr(snapshots, "MAX_TOTAL_BYTES", 1000)
    with pytest.raises(RunFolderError, match="and 1000 bytes"):
        read_snapshots(copied)


def test_other_files_are_skipped(copied: RunFolder) -> None:
    expected = find_snapshots(copied)
    for name in ("notes.txt", "step-1.safetensors", "step-abcdef.safetensors", ".step-000001.safetensors.part"):
        (copied.snapshots / name).write_bytes(b"")
    assert find_snapshots(copied) == expected
