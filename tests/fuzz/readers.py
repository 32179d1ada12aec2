"""Table of readers: valid files to damage, and assertions about what is read."""

import dataclasses
import functools
import gzip
import json
import os
import signal
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import nn

from reviver.cli.app import build_app
from reviver.cli.settings import options_of, read_settings
from reviver.data.describe import SequenceData
from reviver.data.images.image_files import read_pixels
from reviver.data.images.image_set import load_images, load_test_images
from reviver.data.sequences.reader import read_sequences
from reviver.errors import ReviverError
from reviver.files import cache
from reviver.gan import networks
from reviver.gan.records import Comparison
from reviver.gan.scores.digit_classifier import DigitClassifier
from reviver.gan.scores.feature_extractor import FeatureExtractor
from reviver.gan.scores.monitor import describe_record, find_collapses, summarize
from reviver.gan.scores.train_classifier import save_classifier
from reviver.lstm import pretrained
from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.pretrained_classifier import PretrainedClassifier
from reviver.lstm.records import LSTMExtra
from reviver.runs import checkpoint
from reviver.runs.checkpoint import TrainingState, restore_checkpoint
from reviver.runs.folder import RunFolder
from reviver.runs.rng import make_rng
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan import training as gan_training
from reviver.train.gan.run import GANRun
from reviver.train.gan.snapshots import read_real_images
from reviver.train.gan.snapshots import read_snapshots as read_gan_snapshots
from reviver.train.loading import load
from reviver.train.lstm import stopping as lstm_stopping
from reviver.train.lstm import training as lstm_training
from reviver.train.lstm.snapshots import read_snapshots as read_lstm_snapshots
from tests.fuzz import mutations
from tests.fuzz.mutations import mutated
from tests.lstm_runs import override

Files = Mapping[str, bytes]

MAX_MESSAGE = 3000
"""Maximum length of an error in characters."""


@dataclass(frozen=True)
class Reader:
    """One reader."""

    write: Callable[[Path], object]
    """Writes valid files into an empty folder."""
    read: Callable[[Path], object]
    """Reads a file, and asserts what must hold if it can be read."""
    damage: tuple[mutations.Damage, ...] = ()
    """Mutations that know the format."""
    pattern: str = "*"
    """Glob pattern of the files to damage."""

    def prepare(self, folder: Path) -> Files:
        """Write the valid files, and return the content of those to damage by their names.

        Checksums are removed: an attacker could correct them, so a mutation must not stop there.
        """
        folder.mkdir(parents=True)
        self.write(folder)
        for path in folder.rglob("checksums.json"):
            path.unlink()
        found = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob(self.pattern))}
        assert found, f"no {self.pattern}"
        return found

    def damaged(self, files: Files, random: Random) -> tuple[str, bytes]:
        """Return the name of one of the files, and a damaged version of it; half of the mutations know the format."""
        name = random.choice(sorted(files))
        original = content = files[name]
        knows_format = bool(self.damage) and random.random() < 0.5
        if knows_format:
            content = random.choice(self.damage)(content, random)
        if not knows_format or random.random() < 0.2:
            content = mutated(content, random, [*files.values()])
        return name, content if content != original else content[:-1]

    def outcome(self, path: Path) -> str:
        """Return `value` if a file can be read, or `error` if it raises `ReviverError`.

        Raises:
            AssertionError: if the result or the message of the error is wrong.
        """
        try:
            self.read(path)
        except ReviverError as error:
            message = str(error)
            assert "\n" not in message, f"more than one line: {message[:200]!r}"
            assert len(message) < MAX_MESSAGE, f"{len(message)} characters: {message[:200]!r}"
            return "error"
        return "value"


# Images

SIZE = 6
PIXELS = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
GRAY = PIXELS[..., 0]


def read_images(path: Path) -> None:
    """Read images from a file, or from its folder."""
    source = path if path.suffix in (".npy", ".npz") else path.parent
    data = load_images(str(source), SIZE)
    assert data.images.dtype == torch.uint8
    assert data.images.shape[1] in (1, 3)
    assert data.images.shape[2:] == (SIZE, SIZE)
    assert len(data.images) >= 2
    if data.labels is not None:
        assert data.labels.shape == (len(data.images),)
        assert data.labels.dtype == torch.int64
        assert data.labels.min() >= 0


def read_labeled_arrays(path: Path) -> None:
    read_images(path)
    load_test_images(str(path), SIZE)


def write_idx(folder: Path, pack: Callable[[bytes], bytes] = bytes, ending: str = "") -> None:
    for name, array in (("train-images-idx3-ubyte", GRAY), ("train-labels-idx1-ubyte", np.arange(3, dtype=np.uint8))):
        header = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
        (folder / (name + ending)).write_bytes(pack(header + array.tobytes()))


def write_npy(folder: Path) -> None:
    np.save(folder / "gray.npy", GRAY)
    np.save(folder / "floats.npy", PIXELS.astype(">f4") / 255)


def write_image_npz(folder: Path) -> None:
    arrays = {"images": PIXELS, "labels": np.arange(3), "test_images": PIXELS, "test_labels": np.arange(3)}
    np.savez_compressed(folder / "packed.npz", **arrays)
    np.savez(folder / "stored.npz", **arrays)


def pictures(kind: str, *damage: mutations.Damage, read: Callable[[Path], object] = read_images) -> Reader:
    """Return a reader of two files to damage, and a valid one beside them."""

    def write(folder: Path) -> None:
        Image.fromarray(PIXELS[0]).save(folder / "good.png")
        for mode in ("RGB", "L"):
            Image.fromarray(PIXELS[1]).resize((23, 19)).convert(mode).save(folder / f"{mode}.{kind}", format=kind)

    return Reader(write, read, damage, "[RL]*")


def read_samples(path: Path) -> None:
    """Read a grid of samples."""
    pixels = read_pixels(path)
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 2 or pixels.shape[2] == 3


# Sequences

SEQUENCES = ["1 2 3", "0.5 -1e-3", "7", "1, 2, 3, 4"]
LABELS = ["a", "b", "a", "ü c"]


def read_table(path: Path) -> None:
    """Read labeled sequences."""
    table = read_sequences(path)
    count, steps, channels = table.x.shape
    assert min(count, steps, channels) > 0
    assert table.x.isfinite().all()
    assert table.labels is not None
    assert len(table.rows) == len(table.lengths) == len(table.labels) == count
    assert 1 <= table.lengths.min() <= table.lengths.max() <= steps
    assert (table.x[torch.arange(steps) >= table.lengths.unsqueeze(1)] == 0).all()
    assert all(label == label.strip() != "" for label in table.labels)


def write_csv(folder: Path) -> None:
    rows = [f'"{text}",{label}\r\n' for text, label in zip(SEQUENCES, LABELS, strict=True)]
    (folder / "set.csv").write_bytes("".join(["sequence,label\r\n", *rows]).encode())


def write_parquet(folder: Path) -> None:
    texts = pa.table({"sequence": SEQUENCES, "label": LABELS})
    lists = pa.table({"sequence": [[1.0, 2.0], [0.5], [3.0], [7.0, 8.0, 9.0]], "label": [1, 2, 1, 3]})
    pq.write_table(texts, folder / "text.parquet", use_dictionary=False, compression="none")
    pq.write_table(lists, folder / "packed.parquet", compression="zstd", data_page_version="2.0")


def write_sequence_npz(folder: Path) -> None:
    x = np.random.default_rng(1).normal(size=(3, 4, 2))
    np.savez_compressed(folder / "packed.npz", x=x, y=np.arange(3), lengths=np.array([1, 4, 2]))
    np.savez(folder / "stored.npz", x=x[..., 0].astype(np.float32), y=np.array(["a", "b", "ü"]))


# Run folders

LSTM = LSTMConfig(hidden_size=3, epochs=1, data_size=20)
GAN = GANConfig(image_size=SIZE, latent_size=4, epochs=1, batch_size=2, eval_every=0, ema=0.9)
CUSTOM = LSTMConfig(task="custom", data="own.csv", hidden_size=2, num_layers=2, epochs=1)
RUNS = ("lstm", "gan", "custom")
"""Folders of the runs."""


def narrow() -> None:
    """Reduce the widths of the GAN for the whole process, since large weights are slow to damage."""
    networks.GENERATOR_WIDTHS, networks.DISCRIMINATOR_WIDTHS = (4, 4, 4, 4), (4, 4)


def write_runs(folder: Path) -> None:
    """Train a tiny run of each kind, with scores in the form of gan/scores/monitor.py."""
    (folder / "own.csv").write_text("sequence,label\n" + "1 2,a\n2 1 3,b\n" * 10)
    np.save(folder / "images.npy", GRAY)
    lstm_training.train(LSTM, folder / "lstm", device="cpu")
    gan_training.train(replace(GAN, data=str(folder / "images.npy")), folder / "gan", device="cpu")
    lstm_training.train(replace(CUSTOM, data=str(folder / "own.csv")), folder / "custom", device="cpu")
    scores = dict.fromkeys(Comparison.model_fields, 0.5)
    record = {**scores, "class_fractions": [0.25, 0.75], "fid_ratio": 1.5, "warning": None, "real_baseline": scores}
    record |= {"num_samples": 100, "k": 5, "data": "images", "extractor": "x.safetensors", "extractor_sha256": "0" * 64}
    lines = (json.dumps({"step": step, "epoch": step, **record}) + "\n" for step in (1, 2, 3))
    (folder / "gan" / "scores.jsonl").write_text("".join(lines))


def runs(pattern: str, read: Callable[[Path], object], *damage: mutations.Damage) -> Reader:
    return Reader(write_runs, read, damage, f"*/{pattern}")


def read_run(path: Path) -> None:
    """Load the run that a file belongs to, and run its network."""
    home = next(parent for parent in path.parents if parent.name in RUNS)
    for which in ("last", "best") if path.name == "best.json" else ("last",):
        run = load(home, checkpoint=which)
        with torch.no_grad():
            if isinstance(run, GANRun):
                z = run.generator.sample_latents(2, make_rng(0, "fuzz"))
                assert run.generator(z).shape == (2, *run.generator.image_shape)
            else:
                logits = run.network(torch.zeros(2, 3, run.task.input_size))
                assert logits.shape == (2, run.task.output_size)


def read_snapshots(path: Path) -> None:
    """Read all snapshots of the run that a file belongs to."""
    run = load(path.parents[1])
    if not isinstance(run, GANRun):
        for row in read_lstm_snapshots(run):
            assert row.network.state_dict().keys() == run.network.state_dict().keys()
        return
    real = read_real_images(run.folder)
    assert real is not None
    for snapshot in read_gan_snapshots(run.folder):
        assert snapshot.images.shape[1:] == real.shape[1:] == run.generator.image_shape
        assert bool(snapshot.fake_logits.isfinite().all())


def read_records(path: Path) -> None:
    """Read and summarize the records of a run."""
    folder = RunFolder.open(path.parent)
    metrics = folder.read_metrics()
    if folder.kind == "lstm":
        max(metrics, key=lstm_stopping.rank, default=None)
    scores = folder.read_scores()
    find_collapses(scores)
    summarize(scores)
    assert all(describe_record(score) for score in scores)


def small_state() -> TrainingState:
    """Return a state with every kind of content."""
    torch.manual_seed(0)
    network, other = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), nn.Linear(2, 2)
    adam, rmsprop = torch.optim.Adam(network.parameters(), fused=True), torch.optim.RMSprop(other.parameters())
    return TrainingState(
        networks={"network": network, "other": other},
        optimizers={"network": adam, "other": rmsprop},
        rngs={"noise": make_rng(0, "noise")},
        tensors={"history": torch.zeros(3)},
        extra_model=LSTMExtra,
    )


def update(state: TrainingState) -> None:
    x = torch.randn(4, 3, generator=state.rngs["noise"])
    state.networks["other"](state.networks["network"](x)).pow(2).sum().backward()
    for optimizer in state.optimizers.values():
        optimizer.step()
    state.step += 1


def write_checkpoint(folder: Path) -> None:
    state = small_state()
    update(state)
    best = {"step": 1, "epoch": 1, "length": 5, "validation_accuracy": 0.5, "validation_loss": 2.3}
    rollbacks = [{"step": 3, "quantity": "train loss", "back_to": 1}]
    state.extra |= {"stage": 0, "sequences": 48, "best": best, "rollbacks": rollbacks}
    checkpoint.save_checkpoint(folder, state, {"metrics": 1}, 2)


def read_state(path: Path) -> None:
    """Restore a checkpoint, and make one more update."""
    state = small_state()
    counts = restore_checkpoint(path.parents[1], state)
    assert min(state.epoch, state.batch, state.step, *counts.values()) >= 0
    if "best" in state.extra:
        assert all(isinstance(value, (int, float)) for value in lstm_stopping.rank(state.extra["best"]))
    assert all(rollback["step"] >= 0 and isinstance(rollback["quantity"], str) for rollback in state.rollbacks)
    update(state)


def damage_checkpoint(content: bytes, random: Random) -> bytes:
    """Damage a file of a checkpoint according to its format."""
    return (mutations.json_text if content[:1] == b"{" else mutations.safetensors)(content, random)


# Settings

SETTINGS = (
    'length = 5\nencoding = "onehot"\nlearning_rate = 1e-3\ncurriculum = false\nepochs = 3\nhidden_dropout = 0.5\n'
)
OPTIONS = options_of(build_app()["lstm"]["train"].assemble_argument_collection())


def write_settings(folder: Path) -> None:
    (folder / "lstm.toml").write_text(SETTINGS)
    (folder / "lstm.json").write_text('{"length": 5, "encoding": "onehot", "data": null}')


def read_config(path: Path) -> None:
    """Read the settings of a training command."""
    settings = read_settings(path, OPTIONS)
    names = {field.name for field in dataclasses.fields(LSTMConfig)}
    override(LSTMConfig(), {name: value for name, value in settings.items() if name in names})


# Tensors


def write_extractor(folder: Path) -> None:
    torch.manual_seed(0)
    save_classifier(DigitClassifier(3, (1, 8, 8)), folder / "extractor.safetensors")


def read_extractor(path: Path) -> None:
    """Read a feature extractor, and apply it."""
    extractor = FeatureExtractor.read(path)
    shape = extractor.classifier.image_shape
    output = extractor.forward(torch.zeros(1, *shape))
    assert output.logits.shape == (1, extractor.classifier.head.out_features)


def write_pretrained(folder: Path) -> None:
    """Save a network of each kind."""
    values = {"task": "custom", "target": "class", "encoding": "scalar", "length": 3, "classes": ("a", "b")}
    data = SequenceData.model_validate({**values, "standardization": None})
    pretrained.save(LSTMClassifier(1, 2, 2, pooling="attention", patch_size=2), folder / "classifier", data=data)
    networks.Generator(3, (1, 4, 4), num_classes=2).save_pretrained(folder / "generator")


def read_pretrained(path: Path) -> None:
    """Read the network that a file belongs to, and run it."""
    if path.parent.name == "generator":
        generator = networks.Generator.from_pretrained(path.parent)
        with torch.no_grad():
            images = generator(generator.sample_latents(2, make_rng(0, "fuzz")))
        assert images.shape == (2, *generator.image_shape)
        return
    network = LSTMClassifier.from_pretrained(path.parent)
    x = torch.zeros(2, 3, network.input_size, dtype=network.W_out.dtype)
    with torch.no_grad():
        assert network(x).shape == (2, len(network.W_out))
    classifier = PretrainedClassifier.from_pretrained(path.parent)
    assert classifier.data.classes is not None
    assert set(classifier.predict([[0.0, 1.0], [2.0]])) <= set(classifier.data.classes)


CACHED = {"a": torch.arange(6.0).view(2, 3), "b": torch.arange(3)}


def write_cache(folder: Path) -> None:
    os.environ["REVIVER_CACHE"] = str(folder)
    cache.cached("cached", lambda: CACHED)


def read_cache(path: Path) -> None:
    """Read cached tensors; a damaged file counts as an error."""

    def build() -> dict[str, torch.Tensor]:
        raise ReviverError("nothing is cached")

    found = cache.cached(path.stem, build)
    assert found.keys() == CACHED.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in CACHED.items())


JSON, TENSORS = mutations.json_text, mutations.safetensors
READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "idx": Reader(write_idx, read_images, (mutations.idx,)),
        "idx-gzip": Reader(
            functools.partial(write_idx, pack=functools.partial(gzip.compress, mtime=0), ending=".gz"),
            read_images,
            (mutations.inside_gzip(mutations.idx), mutations.inside_gzip(mutated)),
        ),
        "npy": Reader(write_npy, read_images, (mutations.npy,)),
        "images-npz": Reader(write_image_npz, read_labeled_arrays, (mutations.archive,)),
        "png": pictures("png", mutations.png),
        "jpeg": pictures("jpeg"),
        "gif": pictures("gif"),
        "bmp": pictures("bmp"),
        "tiff": pictures("tiff", mutations.tiff),
        "webp": pictures("webp"),
        "grids": pictures("png", mutations.png, read=read_samples),
        "csv": Reader(write_csv, read_table, (mutations.csv_rows,)),
        "parquet": Reader(write_parquet, read_table, (mutations.parquet,)),
        "sequences-npz": Reader(write_sequence_npz, read_table, (mutations.archive,)),
        "run.json": runs("run.json", read_run, JSON),
        "pointers": runs("checkpoints/*.json", read_run, JSON),
        "weights": runs("checkpoints/*/networks.safetensors", read_run, TENSORS),
        "snapshots": runs("snapshots/*.safetensors", read_snapshots, TENSORS),
        "points": runs("*.jsonl", read_records, JSON),
        "checkpoint": Reader(write_checkpoint, read_state, (damage_checkpoint,), "*/[st][tr]a*"),
        "settings": Reader(write_settings, read_config, (mutations.toml, JSON)),
        "extractor": Reader(write_extractor, read_extractor, (TENSORS,)),
        "pretrained-config": Reader(write_pretrained, read_pretrained, (JSON,), "*/config.json"),
        "pretrained-weights": Reader(write_pretrained, read_pretrained, (TENSORS,), "*/model.safetensors"),
        "cache": Reader(write_cache, read_cache, (TENSORS,)),
    }
)


# Faulty readers that test the supervisor


def faulty(act: Callable[[Path], object]) -> Reader:
    """Return a reader that does something if its file is damaged."""
    numbers = bytes(range(10))
    return Reader(
        lambda folder: (folder / "numbers").write_bytes(numbers), lambda path: path.read_bytes() == numbers or act(path)
    )


def spin(path: Path) -> None:
    while path.exists():
        pass


FAULTY: Mapping[str, Reader] = MappingProxyType(
    {
        "grows": faulty(lambda _: np.ones(400 << 17)),  # 400 MiB
        "fails": faulty(lambda _: {}["name"]),
        "crashes": faulty(lambda _: os.kill(os.getpid(), signal.SIGSEGV)),
        "hangs": faulty(lambda _: time.sleep(3600)),
        "spins": faulty(spin),
    }
)
