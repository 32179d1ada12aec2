"""Table of readers: valid files to damage, and assertions about what is read."""

import dataclasses
import gzip
import json
import struct
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

from reviver.cli.settings import read_settings
from reviver.data.describe import SequenceData
from reviver.data.images.image_set import load_images, load_test_images
from reviver.data.sequences.reader import read_sequences
from reviver.errors import ReviverError
from reviver.gan import networks
from reviver.gan.scores.digit_classifier import DigitClassifier
from reviver.gan.scores.feature_extractor import FeatureExtractor
from reviver.gan.scores.monitor import describe_record, find_collapses, summarize
from reviver.gan.scores.train_classifier import save_classifier
from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.pretrained import FAMILY, PretrainedClassifier
from reviver.rng import make_rng
from reviver.runs.folder import RunFolder
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan import training as gan_training
from reviver.train.gan.records import ComparedScores
from reviver.train.gan.run import GANRun
from reviver.train.gan.snapshots import read_snapshots as read_gan_snapshots
from reviver.train.loading import load
from reviver.train.lstm import stopping as lstm_stopping
from reviver.train.lstm import training as lstm_training
from reviver.train.lstm.snapshots import read_snapshots as read_lstm_snapshots
from tests.fuzz import mutations
from tests.fuzz.mutations import json_text, mutated, safetensors
from tests.lstm_runs import override

MAX_MESSAGE = 3000
"""Maximum length of an error in characters."""


@dataclass(frozen=True)
class Reader:
    """One reader."""

    read: Callable[[Path], object]
    """Reads a file, and asserts what must hold if it can be read."""
    pattern: str
    """Glob pattern of the files to damage, among those of `write_files`."""
    damage: tuple[mutations.Damage, ...] = ()
    """Mutations that know the format."""

    def damaged(self, files: Mapping[str, bytes], random: Random) -> tuple[str, bytes]:
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
        """Return `values` if a file can be read, or `errors` if it raises `ReviverError`.

        Raises:
            AssertionError: if the result or the message of the error is wrong.
        """
        try:
            self.read(path)
        except ReviverError as error:
            message = str(error)
            assert "\n" not in message, f"more than one line: {message[:200]!r}"
            assert len(message) < MAX_MESSAGE, f"{len(message)} characters: {message[:200]!r}"
            return "errors"
        return "values"


# Valid files

SIZE = 6
PIXELS = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
GRAY = PIXELS[..., 0]
PICTURES = ("png", "jpeg", "gif", "bmp", "tiff", "webp")
FOLDERS = ("idx", "idx-gzip", "npy", "images", *PICTURES, "tables", "sequences", "settings", "extractor")
RUNS = ("lstm", "gan", "custom")


def write_files(home: Path) -> None:
    """Write valid files of every format into folders of `home`, without the checksums, which an attacker could correct."""
    for name in FOLDERS:
        (home / name).mkdir(parents=True)
    write_images(home)
    texts = ["1 2 3", "0.5 -1e-3", "7", "1, 2, 3, 4"]
    rows = [f'"{text}",{label}\r\n' for text, label in zip(texts, ("a", "b", "a", "ü c"), strict=True)]
    (home / "tables" / "set.csv").write_bytes("".join(["sequence,label\r\n", *rows]).encode())
    strings = pa.table({"sequence": texts, "label": ["a", "b", "a", "ü c"]})
    lists = pa.table({"sequence": [[1.0, 2.0], [0.5], [3.0], [7.0, 8.0, 9.0]], "label": [1, 2, 1, 3]})
    pq.write_table(strings, home / "tables" / "text.parquet", use_dictionary=False, compression="none")
    pq.write_table(lists, home / "tables" / "packed.parquet", compression="zstd", data_page_version="2.0")
    x = np.random.default_rng(1).normal(size=(3, 4, 2))
    np.savez_compressed(home / "sequences" / "packed.npz", x=x, y=np.arange(3), lengths=np.array([1, 4, 2]))
    np.savez(home / "sequences" / "stored.npz", x=x[..., 0].astype(np.float32), y=np.array(["a", "b", "ü"]))
    write_runs(home)
    toml = 'length = 5\nencoding = "onehot"\nlearning_rate = 1e-3\ncurriculum = false\n'
    (home / "settings" / "lstm.toml").write_text(toml)
    (home / "settings" / "lstm.json").write_text('{"length": 5, "encoding": "onehot", "data": null}')
    save_classifier(DigitClassifier(3, (1, 8, 8)), home / "extractor" / "extractor.safetensors")
    values = {"task": "custom", "target": "class", "encoding": "scalar", "length": 3, "classes": ("a", "b")}
    data = SequenceData.model_validate({**values, "standardization": None})
    FAMILY.save(LSTMClassifier(1, 2, 2, pooling="attention", patch_size=2), home / "classifier", data=data)
    networks.Generator(3, (1, 4, 4), num_classes=2).save_pretrained(home / "generator")
    for path in home.rglob("checksums.json"):
        path.unlink()


def write_images(home: Path) -> None:
    """Write images as IDX, NumPy and image files; beside damaged image files there is a valid one."""
    for name, array in (("train-images-idx3-ubyte", GRAY), ("train-labels-idx1-ubyte", np.arange(3, dtype=np.uint8))):
        content = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()
        (home / "idx" / name).write_bytes(content)
        (home / "idx-gzip" / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
    np.save(home / "npy" / "gray.npy", GRAY)
    np.save(home / "npy" / "floats.npy", PIXELS.astype(">f4") / 255)
    arrays = {"images": PIXELS, "labels": np.arange(3), "test_images": PIXELS, "test_labels": np.arange(3)}
    np.savez_compressed(home / "images" / "packed.npz", **arrays)
    np.savez(home / "images" / "stored.npz", **arrays)
    for kind in PICTURES:
        Image.fromarray(PIXELS[0]).save(home / kind / "good.png")
        for mode in ("RGB", "L"):
            image = Image.fromarray(PIXELS[1]).resize((23, 19)).convert(mode)
            image.save(home / kind / f"{mode}.{kind}", format=kind)


def write_runs(home: Path) -> None:
    """Train a narrow run of each kind, with scores in the form of gan/scores/monitor.py."""
    networks.GENERATOR_WIDTHS, networks.DISCRIMINATOR_WIDTHS = (4, 4, 4, 4), (4, 4)  # large weights are slow to damage
    (home / "own.csv").write_text("sequence,label\n" + "1 2,a\n2 1 3,b\n" * 10)
    gan = GANConfig(data=str(home / "npy" / "gray.npy"), image_size=SIZE, latent_size=4, epochs=1, batch_size=2)
    lstm = LSTMConfig(hidden_size=3, epochs=1, data_size=20)
    custom = LSTMConfig(task="custom", data=str(home / "own.csv"), hidden_size=2, num_layers=2, epochs=1)
    lstm_training.train(lstm, home / "lstm", device="cpu")
    lstm_training.train(custom, home / "custom", device="cpu")
    gan_training.train(replace(gan, eval_every=0, ema=0.9), home / "gan", device="cpu")
    scores = dict.fromkeys(ComparedScores.model_fields, 0.5)
    record = {**scores, "class_fractions": [0.25, 0.75], "fid_ratio": 1.5, "warning": None, "real_baseline": scores}
    record |= {"num_samples": 100, "k": 5, "data": "images", "extractor": "x.safetensors", "extractor_sha256": "0" * 64}
    lines = (json.dumps({"step": step, "epoch": step, **record}) + "\n" for step in (1, 2, 3))
    (home / "gan" / "scores.jsonl").write_text("".join(lines))


# Readers


def read_images(path: Path) -> None:
    """Read images from a file, or from its folder."""
    source = path if path.suffix in (".npy", ".npz") else path.parent
    data = load_images(str(source), SIZE)
    assert (data.images.dtype, data.images.shape[2:]) == (torch.uint8, (SIZE, SIZE))
    assert data.images.shape[1] in (1, 3)
    assert len(data.images) >= 2
    assert data.labels is None or (len(data.labels) == len(data.images) and data.labels.min() >= 0)
    if path.suffix == ".npz":
        load_test_images(str(path), SIZE)


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
        for row in read_lstm_snapshots(run.folder, run.network):
            assert row.network.state_dict().keys() == run.network.state_dict().keys()
        return
    snapshots = read_gan_snapshots(run.folder)
    assert snapshots[0].real is not None
    for snapshot in snapshots:
        assert snapshot.images.shape[1:] == snapshots[0].real.shape[1:] == run.generator.image_shape
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


def read_config(path: Path) -> None:
    """Read the settings of a training command."""
    settings = read_settings(path)
    names = {field.name for field in dataclasses.fields(LSTMConfig)}
    override(LSTMConfig(), {name: value for name, value in settings.items() if name in names})


def read_extractor(path: Path) -> None:
    """Read a feature extractor, and apply it."""
    extractor = FeatureExtractor.read(path)
    output = extractor.forward(torch.zeros(1, *extractor.classifier.image_shape))
    assert output.logits.shape == (1, extractor.classifier.head.out_features)


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


GZIP = (mutations.inside_gzip(mutations.idx), mutations.inside_gzip(mutated))
READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "idx": Reader(read_images, "idx/*", (mutations.idx,)),
        "idx-gzip": Reader(read_images, "idx-gzip/*", GZIP),
        "npy": Reader(read_images, "npy/*", (mutations.npy,)),
        "images-npz": Reader(read_images, "images/*"),
        **{kind: Reader(read_images, f"{kind}/[RL]*") for kind in PICTURES},
        "csv": Reader(read_table, "tables/*.csv", (mutations.csv_rows,)),
        "parquet": Reader(read_table, "tables/*.parquet"),
        "sequences-npz": Reader(read_table, "sequences/*"),
        "run.json": Reader(read_run, "*/run.json", (json_text,)),
        "pointers": Reader(read_run, "*/checkpoints/*.json", (json_text,)),
        "weights": Reader(read_run, "*/checkpoints/*/networks.safetensors", (safetensors,)),
        "snapshots": Reader(read_snapshots, "*/snapshots/*.safetensors", (safetensors,)),
        "points": Reader(read_records, "*/*.jsonl", (json_text,)),
        "settings": Reader(read_config, "settings/*", (mutations.toml, json_text)),
        "extractor": Reader(read_extractor, "extractor/*", (safetensors,)),
        "pretrained-config": Reader(read_pretrained, "*/config.json", (json_text,)),
        "pretrained-weights": Reader(read_pretrained, "*/model.safetensors", (safetensors,)),
    }
)
