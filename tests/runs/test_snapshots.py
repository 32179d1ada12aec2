"""Snapshots while training: when, what is in them, the same after a resume or a rollback, and damaged ones."""

import copy
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
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
from reviver.errors import RunFolderError
from reviver.gan import networks
from reviver.gan.networks import Discriminator, one_hot
from reviver.gan.sampling import generate
from reviver.lstm.classifier import LSTMClassifier
from reviver.runs import snapshots
from reviver.runs.folder import RunFolder
from reviver.runs.rng import make_rng
from reviver.runs.snapshots import find_snapshots
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
from reviver.train.loading import load
from reviver.train.lstm import snapshots as lstm_snapshots
from reviver.train.lstm.run import LSTMRun
from tests.contents import contents
from tests.golden.make import NARROW
from tests.lstm_runs import TINY, crash, interrupt
from tests.runs.small import disturb, train

GAN = GANConfig(data="gray.npz", image_size=8, latent_size=8, epochs=3, batch_size=16, log_every=2, sample_every=3)
GANS = {
    "plain": GAN,
    "conditional": replace(GAN, conditional=True, ema=0.9, precision="bf16", discriminator_dropout=0.3),
    "color": replace(GAN, data="color.npz", packing=3, batch_size=12),
}


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


@pytest.fixture(scope="module")
def gans(data: Path) -> dict[str, GANRun]:
    """A run of each kind of GAN."""
    runs = {name: load(train(config, data / name).path) for name, config in GANS.items()}
    return {name: run for name, run in runs.items() if isinstance(run, GANRun)}


@pytest.fixture(params=GANS)
def gan(request: pytest.FixtureRequest, gans: dict[str, GANRun]) -> GANRun:
    return gans[request.param]


@pytest.fixture(scope="module")
def lstm(data: Path) -> LSTMRun:
    run = load(train(replace(TINY, epochs=6), data / "lstm").path)
    assert isinstance(run, LSTMRun)
    return run


@pytest.fixture
def copied(gans: dict[str, GANRun], lstm: LSTMRun, tmp_path: Path) -> dict[str, Any]:
    """Copies of a run of each network."""
    return {
        name: load(shutil.copytree(run.folder.path, tmp_path / name))
        for name, run in (("gan", gans["plain"]), ("lstm", lstm))
    }


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


def test_an_lstm_saves_its_weights(lstm: LSTMRun, tmp_path: Path) -> None:
    saved = lstm_snapshots.read_snapshots(lstm)
    accuracies = {row["step"]: row["validation_accuracy"] for row in lstm.metrics}
    assert [(row.epoch, row.step, row.validation_accuracy) for row in saved] == [
        (epoch, 5 * epoch, accuracies[5 * epoch]) for epoch in (1, 3, 4)
    ]
    assert not any(row.network.training for row in saved)
    weights = {}

    def keep(network: LSTMClassifier) -> None:
        weights.update(copy.deepcopy(network.state_dict()))
        crash(None)

    disturb(lstm.config, tmp_path / "run", 16, keep)
    for name, tensor in saved[1].network.state_dict().items():
        assert torch.equal(tensor, weights[name])
    assert not torch.equal(saved[0].network.b_out, saved[2].network.b_out)


# They change nothing, and are the same after an interruption


def test_a_gan_learns_the_same_without(
    gans: dict[str, GANRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SnapshotWriter, "write", lambda self, step, epoch: None)
    folder = train(GANS["conditional"], tmp_path / "run")
    assert not folder.snapshots.exists()
    expected = contents(gans["conditional"].folder.path)
    expected["folders"].remove("snapshots")
    assert contents(folder.path) == {name: value for name, value in expected.items() if "snapshots/" not in name}


def test_a_resumed_gan_has_the_same_snapshots(gan: GANRun, tmp_path: Path) -> None:
    """It is stopped before its first checkpoint, which is after an epoch, and again later."""
    for number, action in ((2, interrupt), (4, crash)):
        disturb(gan.config, tmp_path / "run", number, action)
    # What a crash can leave: an unfinished file, and snapshots of updates that were taken back.
    folder = RunFolder.open(tmp_path / "run").snapshots
    (folder / ".step-000003.safetensors.part").write_bytes(b"unfinished")
    shutil.copyfile(folder / "step-000001.safetensors", folder / "step-000008.safetensors")
    (folder / "step-12345678.safetensors").write_bytes(b"beyond six digits")
    train(gan.config, tmp_path / "run")
    assert contents(tmp_path / "run") == contents(gan.folder.path)


def test_a_resumed_lstm_has_the_same_snapshots(lstm: LSTMRun, tmp_path: Path) -> None:
    disturb(lstm.config, tmp_path / "run", 18, interrupt)
    folder = RunFolder.open(tmp_path / "run")
    shutil.copyfile(find_snapshots(folder)[0].path, folder.snapshots / "step-000040.safetensors")
    train(lstm.config, tmp_path / "run")
    assert contents(tmp_path / "run") == contents(lstm.folder.path)


def test_a_rollback_removes_later_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight becomes NaN in the second epoch; the snapshots of the second attempt are of a lower learning rate."""
    config = replace(GAN, on_nan="rollback")
    step, seen = gan_training.gan_step, []

    def diverging(generator: Any, *arguments: Any, **keywords: Any) -> Any:
        result = step(generator, *arguments, **keywords)
        seen.append([file.step for file in find_snapshots(RunFolder.open(tmp_path / "run"))])
        if len(seen) == 5:
            with torch.no_grad():
                generator.layers[-2].bias[0] = math.nan
        return result

    monkeypatch.setattr(gan_training, "gan_step", diverging)
    folder = train(config, tmp_path / "run")
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


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


READERS: dict[str, Callable[[Any], Any]] = {
    "gan": lambda run: read_snapshots(run.folder),
    "real": lambda run: read_real_images(run.folder),
    "lstm": lstm_snapshots.read_snapshots,
}
DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    ("gan", lambda path: path.write_bytes(path.read_bytes()[:-3]), "cannot be read"),
    ("gan", lambda path: path.write_bytes(b""), "cannot be read"),
    ("gan", replace_by_folder, "cannot be read"),
    ("gan", change(images=None), "must have 1 to 25 images, got 0"),
    ("gan", change(images=torch.zeros(26, 1, 8, 8, dtype=torch.uint8)), "1 to 25 images, got 26"),
    ("gan", change(images=torch.zeros(25, 3, 8, 8, dtype=torch.uint8)), r"images has the shape \[25, 3"),
    ("gan", change(fake_logits=None), "'fake_logits' is missing"),
    ("gan", change(more=torch.zeros(2)), "'more' is not expected"),
    ("gan", change(epoch=torch.tensor(3)), "epoch must be torch.float64, got torch.int64"),
    ("gan", change(real_logits=torch.full((25,), math.nan)), "real_logits has numbers that are not finite"),
    ("gan", change(epoch=torch.tensor(-1.0, dtype=torch.float64)), "epoch must be at least 0, got -1"),
    ("real", change(real=None), "'real' is missing"),
    ("lstm", change(epoch=torch.tensor(0)), "epoch must be at least 1"),
    ("lstm", change(validation_accuracy=torch.tensor(1.5, dtype=torch.float64)), "from 0 to 1, got 1 and 1.5"),
    ("lstm", change(**{"network/b_out": torch.zeros(3)}), r"network/b_out has the shape \[3\], not \[10\]"),
    ("lstm", change(**{"network/b_out": None}), "'network/b_out' is missing"),
]


@pytest.mark.parametrize(("reader", "damage", "problem"), DAMAGE)
def test_damaged_snapshots(reader: str, damage: Callable[[Path], object], problem: str, copied: dict[str, Any]) -> None:
    run = copied["lstm" if reader == "lstm" else "gan"]
    path = find_snapshots(run.folder)[0].path
    damage(path)
    with pytest.raises(RunFolderError, match=f"{path.name}: .*{problem}.*; the file is damaged") as caught:
        READERS[reader](run)
    assert "\n" not in str(caught.value)
    if reader == "real":
        assert read_snapshots(run.folder)


@pytest.mark.parametrize(
    ("limit", "value", "problem"),
    [
        ("MAX_SNAPSHOTS", 1, "at most 1 snapshots and 1073741824 bytes, got"),
        ("MAX_TOTAL_BYTES", 1000, "and 1000 bytes"),
    ],
)
def test_limits(limit: str, value: int, problem: str, copied: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_IMAGES == gan_training.GRID_SIZE
    monkeypatch.setattr(snapshots, limit, value)
    for reader, read in READERS.items():
        with pytest.raises(RunFolderError, match=f"snapshots: must have .*{problem}"):
            read(copied["lstm" if reader == "lstm" else "gan"])


def test_other_files_are_skipped(copied: dict[str, Any]) -> None:
    folder = copied["gan"].folder
    expected = find_snapshots(folder)
    for name in ("notes.txt", "step-1.safetensors", "step-abcdef.safetensors", ".step-000001.safetensors.part"):
        (folder.snapshots / name).write_bytes(b"")
    assert find_snapshots(folder) == expected
