"""The explorer: the page holds what the run has, rounds as it says, and is safe whatever a run is called."""

import base64
import dataclasses
import hashlib
import html
import json
import math
import os
import re
import shutil
import subprocess
import sys
import typing
import zlib
from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic.alias_generators import to_camel
from torch import Tensor, nn

from reviver import load
from reviver.cli import main
from reviver.data.images.image_set import ImageSet, from_pixels, load_images, load_mnist
from reviver.data.images.named import DATA_SETS
from reviver.errors import ConfigError, RunFolderError
from reviver.explorer import build, gan_images, manifest
from reviver.explorer.blocks import Blocks, deflate, encode_f16, encode_f32, encode_u8
from reviver.explorer.build import Page, build_page, explorer_page
from reviver.explorer.columns import MAX_ROWS, to_columns
from reviver.explorer.gan_images import CLASS_NAMES, class_names, spread
from reviver.explorer.gan_latents import principal_directions
from reviver.explorer.gan_snapshots import drop_repeated, moment_label, thin
from reviver.explorer.naming import name_runs
from reviver.explorer.networks import evaluate, fold
from reviver.gan.networks import NEGATIVE_SLOPE, Discriminator, Generator, one_hot
from reviver.gan.scores.digit_classifier import DigitClassifier
from reviver.gan.scores.train_classifier import save_classifier
from reviver.runs.folder import RunFolder
from reviver.settings.fields import override
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan import training
from reviver.train.gan.run import GANRun
from reviver.train.gan.snapshots import GANSnapshot
from reviver.train.lstm.training import train as train_lstm
from reviver.train.summary import command_of, format_seconds, name_of_path

ROOT = Path(__file__).parents[1]
TYPES = (ROOT / "web" / "src" / "types.js").read_text(encoding="utf-8")
HOSTILE = "<script>alert(1)</script> & \"double\" 'single' \n <!--data--> ☃ \udcff"[:-1].replace("/", "∕") + "x"
"""Name of a folder that would break a page which does not escape it."""


class Content(NamedTuple):
    """A page as its reader gets it: the manifest and the inflated blocks."""

    manifest: dict[str, Any]
    blocks: dict[str, bytes]


def read_page(page: str) -> Content:
    """Read the data of a page, as the script in it does."""
    found = re.findall(r'<script type="text/plain" id="([\w-]+)">([A-Za-z0-9+/=]*)</script>', page)
    blocks = {name: zlib.decompress(base64.b64decode(text, validate=True)) for name, text in found}
    assert len(blocks) == len(found)
    return Content(json.loads(blocks["manifest"]), blocks)


def read_tensor(data: bytes, spec: Mapping[str, Any]) -> NDArray[np.float64]:
    """Decode a tensor as types.js describes it."""
    count, offset, shape = math.prod(spec["shape"]), spec["offset"], spec["shape"]
    if spec["dtype"] == "f16":
        low, high = np.frombuffer(data, np.uint8, 2 * count, offset).reshape(2, count)
        halves = np.stack([low, high], 1).reshape(-1).view("<f2")
        numbers: NDArray[np.float64] = halves.astype(np.float64) * float(spec["scale"])
        return numbers.reshape(shape)
    kind = {"f32": "<f4", "u8": "u1"}[spec["dtype"]]
    assert spec["dtype"] == "u8" or offset % 4 == 0
    return np.frombuffer(data, kind, count, offset).astype(np.float64).reshape(shape)


def read_tensors(content: Content, block: Mapping[str, Any]) -> dict[str, Tensor]:
    """Decode all tensors of a block."""
    data = content.blocks[block["block"]]
    return {name: torch.from_numpy(read_tensor(data, spec)) for name, spec in block["tensors"].items()}


def run_mlp(content: Content, spec: Mapping[str, Any], x: Tensor) -> Tensor:
    """Compute a multilayer perceptron of the page in float64."""
    tensors = read_tensors(content, spec["weights"])
    for layer in spec["layers"]:
        x = x.double() @ tensors[layer["weight"]].T + tensors[layer["bias"]]
        slope = {"leaky-relu": spec["negativeSlope"], "none": 1.0, "tanh": 1.0}[layer["activation"]]
        x = torch.where(x > 0, x, slope * x)
        x = x.tanh() if layer["activation"] == "tanh" else x
    return x


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with small runs: `digits`, `plain` (unlabeled .npz), `shapes` (conditional and all options) and `lstm`."""
    folder = tmp_path_factory.mktemp("explorer")
    rng = np.random.default_rng(0)
    np.savez(folder / "gray.npz", images=rng.integers(0, 256, (40, 8, 8), dtype=np.uint8))
    for split, count in (("train", 12), ("test", 5)):
        for name in ("disc", "square"):
            (folder / "photos" / split / name).mkdir(parents=True)
            for index in range(count):
                write_image(folder / "photos" / split / name / f"{index}.png", rng)
    torch.manual_seed(0)
    save_classifier(DigitClassifier(2, (3, 8, 8)).eval(), folder / "shapes.safetensors")
    small = {"epochs": 2, "batch_size": 8, "sample_every": 1, "eval_every": 0, "log_every": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("REVIVER_CACHE", str(folder / "cache"))
        for module in (training, gan_images):
            patch.setattr(module, "load_images", few_digits)
        training.train(override(GANConfig(), {**small, "batch_size": 50}), "digits")
        patch.undo()
        patch.chdir(folder)
        gray = {"data": "gray.npz", "image_size": 8, "latent_size": 5}
        training.train(override(GANConfig(), small | gray), "plain")
        options: dict[str, Any] = {"conditional": True, "packing": 2, "ema": 0.5}
        options |= {"data": str(folder / "photos"), "extractor": str(folder / "shapes.safetensors")}
        options |= {"image_size": 8, "latent_size": 6, "precision": "bf16", "discriminator_dropout": 0.3}
        training.train(override(GANConfig(), small | options), "shapes")
        train_lstm(override(LSTMConfig(), {"length": 3, "data_size": 60, "epochs": 1, "hidden_size": 4}), "lstm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gan_images, "load_images", few_digits_or_load)
        yield folder


@pytest.fixture(scope="module")
def whole_page(home: Path) -> Page:
    """The page of `digits` and `lstm`."""
    return build_page([load(home / "digits"), load(home / "lstm")], num_training=50)


def few_digits(source: str, image_size: int = 28) -> ImageSet:
    """200 images in place of the 60 000 of MNIST, so that training takes a second."""
    digits = load_mnist("train")
    return ImageSet(digits.images[:200], digits.labels[:200] if digits.labels is not None else None, source)


def few_digits_or_load(source: str, image_size: int = 28) -> ImageSet:
    """Read what `few_digits` replaced in the training, and other images as they are."""
    return few_digits(source) if source == "mnist" else load_images(source, image_size)


def write_image(path: Path, rng: np.random.Generator) -> None:
    from PIL import Image

    Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)


def load_run(path: Path) -> GANRun:
    run = load(path)
    assert isinstance(run, GANRun)
    return run


def only_gan(page: str) -> dict[str, Any]:
    (gan,) = read_page(page).manifest["gans"]
    return typing.cast("dict[str, Any]", gan)


def fact(facts: list[dict[str, Any]], label: str) -> dict[str, Any]:
    (found,) = [entry for entry in facts if entry["label"] == label]
    return found


def edit_record(run: Path, **changes: Any) -> None:
    """Change run.json."""
    path = run / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# The contract with the scripts


def typedefs() -> dict[str, dict[str, str]]:
    """Return the properties of each object type in types.js, with their types."""
    types: dict[str, dict[str, str]] = {}
    for comment in re.findall(r"/\*\*(.*?)\*/", TYPES, re.DOTALL):
        name = re.search(r"@typedef \{object\} (\w+)", comment)
        if name:
            types[name[1]] = {}
            for text, key in re.findall(r"@property \{((?:[^{}]|\{[^{}]*\})*)\}\s*\[?(\w+)", comment):
                types[name[1]][key] = text
    return types


def keys(part: type[manifest.Part]) -> list[str]:
    return [to_camel(name) for name in part.model_fields]


def parts() -> list[type[manifest.Part]]:
    return manifest.Part.__subclasses__()


@pytest.mark.parametrize("part", parts(), ids=lambda part: part.__name__)
def test_the_types_of_the_scripts_have_the_keys_of_the_manifest(part: type[manifest.Part]) -> None:
    inline = {"LogitContext": ("GanContent", "logits"), "ChannelScale": ("LstmContent", "standardization")}
    if part.__name__ in inline:
        owner, name = inline[part.__name__]
        assert re.findall(r"(\w+):", typedefs()[owner][name]) == keys(part)
    else:
        assert list(typedefs()[part.__name__]) == keys(part)


def test_every_type_of_the_scripts_is_in_the_manifest() -> None:
    assert set(typedefs()) - {part.__name__ for part in parts()} == {"Lesson"}


def test_a_real_file_has_the_keys_of_the_types(home: Path) -> None:
    content = read_page(explorer_page([load(home / "shapes"), load(home / "lstm")]))
    types = typedefs()

    def check(value: dict[str, Any], name: str) -> None:
        assert list(value) == list(types[name]), name
        for key, entry in value.items():
            inner = re.match(r"(\w+)(\[\])?", types[name][key])
            if inner and inner[1] in types and entry is not None:
                for item in entry if inner[2] else [entry]:
                    check(item, inner[1])

    check(content.manifest, "Manifest")
    used = {"manifest"}
    for gan in content.manifest["gans"]:
        blocks = [gan["generator"]["weights"], gan["discriminator"]["weights"], gan["classifier"]["weights"]]
        for block in [*blocks, gan["latents"], gan["training"], gan["test"], gan["snapshots"]["data"]]:
            used.add(block["block"])
            read_tensors(content, block)
    for lstm in content.manifest["lstms"]:
        used |= {stage["weights"]["block"] for stage in lstm["stages"]}
    assert used == set(content.blocks)


# Encoding

FLOATS = st.floats(-(2.0**100), 2.0**100, width=32, allow_nan=False)
SHAPES = st.sampled_from([(0,), (1,), (3,), (2, 3), (0, 4), (3, 0), (4, 1, 3, 3)])


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Finite tensors of float32, also of zeros, huge or tiny numbers, and empty ones."""
    shape = draw(SHAPES)
    kind = draw(st.sampled_from([FLOATS, st.just(0.0), st.sampled_from([1e-45, -3e37, 8e37, 1.0, -0.0])]))
    numbers = draw(st.lists(kind, min_size=math.prod(shape), max_size=math.prod(shape)))
    return torch.tensor(numbers, dtype=torch.float32).reshape(shape)


def round_trip(**encoded: Any) -> dict[str, Tensor]:
    """Write tensors into a block between others, and read them."""
    blocks = Blocks()
    block = blocks.add_tensors("x", {"before": encode_u8(torch.tensor([7], dtype=torch.uint8)), **encoded})
    content = Content({}, {"x": zlib.decompress(base64.b64decode(blocks.texts["x"]))})
    return read_tensors(content, json.loads(block.model_dump_json()))


@given(tensors())
def test_half_precision_round_trip(values: Tensor) -> None:
    encoded, rounded = encode_f16(values)
    assert torch.equal(round_trip(x=encoded)["x"], rounded)
    assert rounded.shape == values.shape
    largest = float(values.double().abs().max()) if values.numel() else 0.0
    bound = torch.clamp(values.double().abs() * 2**-11, min=largest * 2**-24)
    assert ((rounded - values.double()).abs() <= bound).all()
    assert encoded.scale is not None
    assert math.frexp(encoded.scale)[0] == 0.5  # a power of two


@given(tensors())
def test_exact_round_trips(values: Tensor) -> None:
    pixels = (values.nan_to_num() % 256).to(torch.uint8)
    found = round_trip(x=encode_f32(values), y=encode_u8(pixels))
    assert torch.equal(found["x"], values.double())
    assert torch.equal(found["y"], pixels.double())


@given(st.binary(max_size=2000))
def test_deflate(data: bytes) -> None:
    assert zlib.decompress(deflate(data)) == data


def test_weights_deflate_better_than_with_the_default(home: Path) -> None:
    weights = encode_f16(fold(list(load_run(home / "digits").generator.layers))[-1].weight)[0].data
    assert len(deflate(weights)) < 0.99 * len(zlib.compress(weights, 9))


# Folding


def randomize(network: nn.Module) -> nn.Module:
    """Sample all weights and statistics of a network in float64, so that no term of the equations is 0."""
    network.double()
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                values = torch.randn(tensor.shape, generator=rng).double() * (0.1 if tensor.dim() > 1 else 0.5)
                tensor.copy_(values.abs() + 0.1 if name.endswith("running_var") else values)
    return network.eval()


@pytest.mark.parametrize("num_classes", [0, 3])
@torch.no_grad()
def test_the_folded_generator_is_the_generator(num_classes: int) -> None:
    generator = Generator(7, (3, 5, 4), num_classes=num_classes, batch_norm_eps=0.8)
    randomize(generator)
    z = torch.randn(6, generator.latent_size).double()
    found = evaluate(fold(list(generator.layers)), z, NEGATIVE_SLOPE)
    torch.testing.assert_close(found, generator(z).flatten(1), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("packing", "num_classes"), [(1, 0), (3, 0), (1, 4), (2, 4)])
@torch.no_grad()
def test_the_folded_discriminator_is_the_discriminator(packing: int, num_classes: int) -> None:
    options: dict[str, Any] = {"packing": packing, "num_classes": num_classes, "dropout": 0.5}
    discriminator = Discriminator((1, 4, 4), **options)
    randomize(discriminator)
    images = torch.randn(2 * packing, 1, 4, 4).double()
    labels = one_hot(torch.arange(2 * packing) % num_classes, num_classes).double() if num_classes else None
    found = evaluate(fold(list(discriminator.layers)), discriminator.pack(images, labels), NEGATIVE_SLOPE)
    torch.testing.assert_close(found, discriminator.logits(images, labels), rtol=0, atol=1e-12)


@torch.no_grad()
def test_the_folded_classifier_is_the_classifier() -> None:
    classifier = DigitClassifier(4, (3, 9, 11))
    randomize(classifier)
    images = torch.randn(3, 3, 9, 11).double()
    found = evaluate(fold([*classifier.features, classifier.head]), images)
    torch.testing.assert_close(found, classifier(images), rtol=0, atol=1e-12)


# Contents of a page


@pytest.mark.parametrize("name", ["digits", "plain", "shapes"])
@torch.no_grad()
def test_the_page_states_the_rounding_of_its_weights(home: Path, name: str, whole_page: Page) -> None:
    run = load_run(home / name)
    content = read_page(whole_page.html if name == "digits" else explorer_page([run]))
    (gan,) = content.manifest["gans"]
    rounding = {entry["network"]: entry for entry in gan["facts"]["rounding"]}
    assert list(rounding) == ["generator", "discriminator", *(["classifier"] if name != "plain" else [])]
    z = run.generator.sample_latents(2000, torch.Generator().manual_seed(1))
    images = run.generator(z)
    labels = run.generator.class_labels(z)
    inputs = run.discriminator.pack(images, labels)
    errors = {
        "generator": run_mlp(content, gan["generator"], z) - images.flatten(1),
        "discriminator": run_mlp(content, gan["discriminator"], inputs).sigmoid() - run.discriminator(images, labels),
    }
    for network, error in errors.items():
        stated = rounding[network]
        assert float(error.abs().mean()) <= 1.2 * stated["mean"]
        assert stated["max"] / 3 <= float(error.abs().max()) <= 3 * stated["max"]
    assert rounding["generator"]["max"] <= 1e-2
    assert rounding["generator"]["mean"] <= 1e-4


@torch.no_grad()
def test_a_conditional_run_with_every_option(home: Path) -> None:
    run = load_run(home / "shapes")
    content = read_page(explorer_page([run]))
    (gan,) = content.manifest["gans"]
    assert gan["imageShape"] == [3, 8, 8]
    assert (gan["noiseSize"], gan["latentSize"], gan["numClasses"], gan["packing"]) == (6, 8, 2, 2)
    assert gan["classNames"] == gan["labelNames"] == gan["classifier"]["classNames"] == ["disc", "square"]
    latents = read_tensors(content, gan["latents"])
    assert torch.equal(latents["grid"][:, 6:].argmax(1), torch.arange(25) % 2)
    assert torch.equal(latents["endpoints"][:, 6:].argmax(1), torch.tensor(gan["endpointClasses"]))
    assert sorted(gan["endpointClasses"]) == [0] * 6 + [1] * 6
    assert not latents["directions"][:, 6:].any()
    assert gan["logits"]["realSource"] == "test images"
    assert len(gan["logits"]["real"]) == 10 // 2  # pairs of the ten test images
    assert len(gan["logits"]["fake"]) == 500
    real = torch.tensor(gan["logits"]["real"])
    assert bool(real.isfinite().all())
    training_images = read_tensors(content, gan["training"])
    assert torch.equal(training_images["labels"], torch.arange(24) % 2)  # spread over the classes
    assert read_tensors(content, gan["test"])["images"].shape == (10, 3, 8, 8)
    assert len(gan["snapshots"]["moments"]) == len(read_tensors(content, gan["snapshots"]["data"])["images"])
    facts = gan["facts"]
    assert fact(facts["run"], "data")["value"] == "photos"
    assert fact(facts["run"], "images that the discriminator sees at once")["value"] == "2"
    assert fact(facts["config"], "data") == {"label": "data", "value": "photos", "note": "changed"}
    assert fact(facts["config"], "extractor")["value"] == "shapes.safetensors"
    assert fact(facts["config"], "beta1")["note"] is None
    assert fact(facts["licenses"], "images: photos")["value"] == "your own data"
    assert str(home) not in json.dumps(content.manifest)


@torch.no_grad()
def test_a_run_on_digits(whole_page: Page) -> None:
    content = read_page(whole_page.html)
    (gan,) = content.manifest["gans"]
    assert gan["classifier"]["classNames"] == gan["labelNames"] == list("0123456789")
    assert gan["classNames"] == []
    assert len(gan["endpointClasses"]) == 6  # after eight updates all images look alike
    assert len(gan["logits"]["real"]) == 500
    tensors = read_tensors(content, gan["training"])
    assert tensors["images"].shape == (50, 1, 28, 28)
    assert torch.bincount(tensors["labels"].long()).tolist() == [5] * 10
    test = read_tensors(content, gan["test"])
    assert test["labels"].tolist() == [*range(10), *range(10)]
    first = from_pixels(test["images"].to(torch.uint8))
    predicted = DigitClassifier.pinned().probabilities(first).argmax(1)
    assert (predicted == test["labels"]).sum() >= 18  # the labels belong to their images
    assert "by Yann LeCun" in fact(gan["facts"]["licenses"], "images: mnist")["note"]
    assert "50 of 200" in fact(gan["facts"]["run"], "training images in this page")["value"]
    assert fact(gan["facts"]["run"], "updates")["value"] == "8"
    assert fact(gan["facts"]["run"], "epochs")["value"] == "2"
    assert gan["facts"]["scores"] == []
    assert len(gan["metrics"]["step"]) == 8


def test_scores_stand_beside_their_baselines(home: Path, tmp_path: Path) -> None:
    run = shutil.copytree(home / "plain", tmp_path / "plain")
    names = ("fid", "kid", "precision", "recall", "density", "coverage", "class_kl", "spacing")
    scores = dict.fromkeys(names, 0.5)
    record = {
        **scores,
        "step": 10,
        "epoch": 2,
        "class_fractions": [0.1] * 10,
        "fid_ratio": 2.0,
        "warning": None,
        "real_baseline": scores | {"fid": 0.25},
        "noise_baseline": scores | {"fid": 1234.5678},
        "num_samples": 2000,
        "k": 5,
        "data": "mnist",
        "extractor": "reviver digit classifier",
        "extractor_sha256": "0" * 64,
    }
    later = record | {"step": 11, "epoch": 3, "fid": 0.1}
    (run / "scores.jsonl").write_text(f"{json.dumps(record)}\n{json.dumps(later)}\n")
    gan = only_gan(explorer_page([load(run)], num_training=0))
    assert gan["facts"]["scores"][0] == {"name": "FID", "value": "0.5", "real": "0.25", "noise": "1235"}
    assert gan["facts"]["scoresNote"].startswith("2,000 samples against the test images, after epoch 2 (update 10).")
    assert gan["scores"]["step"] == [10]  # a record after the checkpoint does not belong to the networks in the page
    del record["noise_baseline"]
    (run / "scores.jsonl").write_text(f"{json.dumps(record | {'warning': 'mode collapse'})}\n")
    facts = only_gan(explorer_page([load(run)], num_training=0))["facts"]
    assert facts["scores"][0]["noise"] is None
    assert facts["scoresNote"].endswith("Warning: mode collapse.")


def test_endpoints_by_class(home: Path) -> None:
    """A generator of real digits has robust end points of each class."""
    run = load_run(home / "digits")
    digits = from_pixels(load_mnist("train").images[:3000])

    class Digits(Generator):
        def forward(self, z: Tensor) -> Tensor:
            return digits[(z[:, 0] * 1e4).long().abs() % len(digits)]

    generator = Digits()
    generator.layers.load_state_dict(run.generator.layers.state_dict())
    changed = dataclasses.replace(run, generator=generator.eval())
    from reviver.explorer.gan_latents import choose_endpoints

    classifier = DigitClassifier.pinned()
    endpoints = choose_endpoints(changed, classifier)
    assert list(endpoints.classes) == [index for index in range(10) for _ in range(6)]
    with torch.no_grad():
        predicted = classifier.probabilities(generator(endpoints.latents)).argmax(1)
    assert predicted.tolist() == list(endpoints.classes)


@torch.no_grad()
def test_images_change_most_along_the_principal_directions() -> None:
    torch.manual_seed(0)
    generator = Generator(20, (1, 8, 8))
    weight = generator.state_dict()["layers.0.weight"]
    weight[:, 3] *= 20
    weight[:, 11] *= 10
    generator.eval()
    directions = principal_directions(generator, fold(list(generator.layers)), seed=0)
    torch.testing.assert_close(directions @ directions.T, torch.eye(2).double(), rtol=0, atol=1e-6)
    assert directions.abs().argmax(1).tolist() == [3, 11]
    z = generator.sample_latents(100, torch.Generator().manual_seed(1))

    def change(direction: Tensor) -> float:
        return float((generator(z + 0.1 * direction.float()) - generator(z)).flatten(1).norm(dim=1).mean())

    random = torch.nn.functional.normalize(torch.randn(20), dim=0)
    assert change(directions[0]) > change(directions[1]) > 1.5 * change(random)


def test_one_latent_dimension_has_one_direction() -> None:
    generator = Generator(1, (1, 4, 4)).eval()
    directions = principal_directions(generator, fold(list(generator.layers)), seed=0)
    assert directions.tolist() == [[1.0], [0.0]]


# Images that are missing


def test_images_that_are_missing_or_changed(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    here = only_gan(explorer_page([load("plain")]))
    assert here["labelNames"] is None
    assert list(here["training"]["tensors"]) == ["images"]
    assert here["test"] is None  # the .npz has none
    assert here["classifier"] is None
    assert here["logits"]["realSource"] == "training images"
    assert len(here["logits"]["real"]) == 40
    monkeypatch.chdir(tmp_path)
    page = explorer_page([load(home / "plain")])
    missing = only_gan(page)
    assert (missing["training"], missing["test"]) == (None, None)
    assert missing["logits"] == {"real": [], "fake": here["logits"]["fake"], "realSource": ""}
    shown = fact(missing["facts"]["run"], "training images in this page")
    assert (shown["value"], shown["note"]) == ("none", "they are not on this machine, or cannot be read")
    np.savez(tmp_path / "gray.npz", images=np.zeros((40, 8, 8), dtype=np.uint8))
    changed = only_gan(explorer_page([load(home / "plain")]))
    assert changed["training"] is None
    assert (
        fact(changed["facts"]["run"], "training images in this page")["note"] == "they have changed since the training"
    )
    assert "generator" in changed


def test_a_named_data_set_is_not_downloaded(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVIVER_DATA", str(tmp_path / "none"))
    monkeypatch.setattr("reviver.data.images.named._download", lambda *arguments: pytest.fail("it downloads"))
    run = shutil.copytree(home / "digits", tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    edit_record(
        run, config=record["config"] | {"data": "fashion-mnist"}, data=record["data"] | {"name": "fashion-mnist"}
    )
    gan = only_gan(explorer_page([load(run)]))
    assert gan["training"] is None
    assert gan["classifier"] is None  # that of digits does not know shoes
    assert fact(gan["facts"]["licenses"], "images: fashion-mnist")["value"] == "MIT"


def test_an_extractor_that_is_missing_or_changed(home: Path, tmp_path: Path) -> None:
    run = shutil.copytree(home / "shapes", tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    other = tmp_path / "other.safetensors"
    torch.manual_seed(1)
    save_classifier(DigitClassifier(2, (3, 8, 8)), other)
    for path in (other, tmp_path / "missing"):
        edit_record(run, config=record["config"] | {"extractor": str(path)})
        gan = only_gan(explorer_page([load(run)]))
        assert gan["classifier"] is None
        assert gan["endpointClasses"] == [0] * 6 + [1] * 6  # by condition


@pytest.mark.parametrize("name", [*DATA_SETS, "mnist"])
def test_names_of_classes(name: str) -> None:
    count = {"emnist-balanced": 47, "emnist-letters": 26}.get(name, 10)
    assert len(set(CLASS_NAMES[name])) == count
    assert class_names(name, count) == CLASS_NAMES[name]
    assert class_names(name, 3) == ("0", "1", "2")


def test_spread_over_classes() -> None:
    labels = torch.tensor([0] * 50 + [1] * 3 + [3] * 10)
    chosen = spread(labels, 63, 12, torch.Generator().manual_seed(0))
    assert labels[chosen].tolist() == [0, 1, 3] * 3 + [0, 3, 0]
    assert len(set(chosen.tolist())) == 12
    assert len(spread(labels, 63, 100, torch.Generator())) == 63
    assert len(set(spread(None, 63, 12, torch.Generator()).tolist())) == 12


def test_large_images_take_little_room(home: Path) -> None:
    run = load_run(home / "digits")
    large = dataclasses.replace(run, generator=Generator(4, (3, 256, 256)))
    assert gan_images.default_num_training(run) == 2000
    assert gan_images.default_num_training(large) == (8 << 20) // (3 << 16)


# Moments of the training


def test_labels_of_moments() -> None:
    assert [
        moment_label(*moment) for moment in [(0, 0.0), (200, 0.4), (469, 1.0), (470, 1.002), (2345, 4.9999999)]
    ] == [
        "start",
        "update 200",
        "epoch 1",
        "update 470",
        "epoch 5",
    ]


@given(st.integers(0, 500), st.integers(2, 60))
def test_thinning_keeps_the_ends(length: int, count: int) -> None:
    chosen = thin(range(length), count)
    assert len(chosen) == min(length, count)
    assert chosen == sorted(set(chosen))
    if length:
        assert (chosen[0], chosen[-1]) == (0, length - 1)


def test_repeated_pictures_are_left_out() -> None:
    shown = [torch.full((2, 1, 3, 3), value, dtype=torch.uint8) for value in (1, 1, 1, 2, 2)]
    smaller = GANSnapshot(0, 0.0, shown[0][:1], None, None)
    snapshots = [GANSnapshot(step, step / 10, images, None, None) for step, images in enumerate(shown, 1)]
    assert [snapshot.step for snapshot in drop_repeated([smaller, *snapshots])] == [3, 5]


def test_snapshots_are_in_the_page(whole_page: Page) -> None:
    content = read_page(whole_page.html)
    snapshots = content.manifest["gans"][0]["snapshots"]
    labels = [moment["label"] for moment in snapshots["moments"]]
    assert (labels[0], labels[-1]) == ("start", "epoch 2")
    assert len(labels) <= 60
    tensors = read_tensors(content, snapshots["data"])
    assert tensors["images"].shape == (len(labels), 25, 1, 28, 28)
    assert tensors["real"].shape == (25, 1, 28, 28)
    for moment in snapshots["moments"]:
        assert len(moment["realLogits"]) == len(moment["fakeLogits"]) == 25


# Facts


def test_columns() -> None:
    records = [{"step": step, "loss": step / 3 if step else None, "text": "no"} for step in range(2 * MAX_ROWS + 1)]
    columns = to_columns(records)
    assert list(columns) == ["step", "loss"]
    assert columns["step"][:2] == [0, 3]
    assert columns["step"][-1] == 2 * MAX_ROWS
    assert columns["loss"][:3] == [None, 1.0, 2.0]
    assert to_columns([]) == {}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/home/ada/photos/", "photos"),
        ("C:\\Users\\ada\\photos", "photos"),
        ("photos", "photos"),
        ("/", "/"),
        ("..", ".."),
    ],
)
def test_names_of_paths(path: str, name: str) -> None:
    assert name_of_path(path) == name


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("reviver gan train --data /home/ada/photos --out=/srv/ada/run", "reviver gan train --data photos --out=run"),
        ("reviver gan train --data 'my \n photos/a b'", "reviver gan train --data 'a b'"),
        ("reviver gan train --data '/home/ada/cut off", "reviver gan train --data ''\"'\"'/home/ada/cut' off"),
    ],
)
def test_commands_name_no_folders(home: Path, command: str, shown: str) -> None:
    run = load_run(home / "plain")
    run.folder.record["command"] = command
    if "cut" in command:
        assert "/home" not in command_of(run)
    else:
        assert command_of(run) == shown


def test_durations() -> None:
    assert [format_seconds(value) for value in (0.04, 59.94, 61, 3600, 7384)] == [
        "0.0 s",
        "59.9 s",
        "1 min 1 s",
        "1 h 0 min",
        "2 h 3 min",
    ]


def test_names_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [Path("a/gan"), tmp_path / "b" / "gan", Path("gan"), Path("-x"), Path(os.fsdecode(b"\xff"))]
    assert name_runs(paths) == [
        ("gan", "a/gan"),
        ("gan (2)", "gan"),
        ("gan (3)", "gan"),
        ("-x", "./-x"),
        ("?", "?"),
    ]


# The page


class Elements(HTMLParser):
    """All start tags of a page with their attributes, and the text of each script and style."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.is_open = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.texts.append("")
        self.is_open = True

    def handle_data(self, data: str) -> None:
        if self.is_open:
            self.texts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.is_open = False


@pytest.fixture(scope="module")
def hostile_page(home: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of a run with a hostile name, classes, command and data."""
    run = shutil.copytree(home / "plain", tmp_path_factory.mktemp("hostile") / HOSTILE)
    record = json.loads((run / "run.json").read_text())
    edit_record(run, command=HOSTILE, data=record["data"] | {"name": HOSTILE}, error=HOSTILE)
    return explorer_page([load(run), load(home / "lstm")])


def test_the_policy_allows_only_the_script_and_the_style_of_the_page(hostile_page: str) -> None:
    elements = Elements(hostile_page)
    executable, styles = [], []
    policy = ""
    for (tag, attributes), text in zip(elements.tags, elements.texts, strict=True):
        if tag == "script" and attributes.get("type") != "text/plain":
            executable.append(text)
        if tag == "style":
            styles.append(text)
        if attributes.get("http-equiv") == "Content-Security-Policy":
            policy = attributes["content"] or ""
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "action", "srcset", "data", "poster"):
            assert re.match(r"#|data:|blob:", attributes.get(name) or "#"), (tag, attributes)

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    (script,), (style,) = executable, styles
    assert policy.split("; ") == [
        "default-src 'none'",
        f"script-src {digest(script)} 'wasm-unsafe-eval'",
        f"style-src {digest(style)}",
        "img-src data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_hostile_names_are_text(hostile_page: str) -> None:
    gan = only_gan(hostile_page)
    assert gan["name"] == HOSTILE
    assert gan["dataName"] == HOSTILE
    assert gan["runArgument"] == HOSTILE
    assert "alert(1)" not in re.sub(r"<title>.*?</title>", "", hostile_page, flags=re.DOTALL).replace(
        html.escape("<script>alert(1)<"), ""
    )
    elements = Elements(hostile_page)
    (title,) = [text for (tag, _), text in zip(elements.tags, elements.texts, strict=True) if tag == "title"]
    assert title == f"Explorer of {HOSTILE}, lstm"


def test_the_same_runs_give_the_same_page(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from another folder, by another path, and from another process."""
    monkeypatch.chdir(home)
    relative = explorer_page([load("shapes"), load("lstm")])
    monkeypatch.chdir(tmp_path)
    assert explorer_page([load(home / "shapes"), load(home / "lstm")]) == relative
    out = tmp_path / "page.html"
    command = [sys.executable, "-m", "reviver", "explore", str(home / "shapes"), str(home / "lstm"), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    subprocess.run([*command, "--quiet"], check=True, env=environment)
    assert out.read_text(encoding="utf-8") == relative


def test_sizes(whole_page: Page) -> None:
    assert set(whole_page.block_sizes) == set(read_page(whole_page.html).blocks)
    assert 0 < len(whole_page.html) - sum(whole_page.block_sizes.values()) < 500_000


def test_runs_that_are_given_twice(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    page = build_page([load(home / "plain"), load(home / "lstm" / ".." / "plain")], num_training=0)
    assert len(read_page(page.html).manifest["gans"]) == 1
    assert "gan-0-training" not in page.block_sizes
    assert "was given twice; the page has it once" in caplog.text


def test_runs_of_the_same_name(home: Path, tmp_path: Path) -> None:
    other = shutil.copytree(home / "plain", tmp_path / "plain")
    gans = read_page(explorer_page([load(home / "plain"), load(other)])).manifest["gans"]
    assert [gan["name"] for gan in gans] == ["plain", "plain (2)"]
    assert [gan["id"] for gan in gans] == ["gan-0", "gan-1"]


# Runs that cannot be shown, or only in part


def test_a_run_that_is_still_training(home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = shutil.copytree(home / "plain", tmp_path / "plain")
    edit_record(run, status="running")
    with (
        RunFolder.open(run).locked(),
        pytest.raises(RunFolderError, match="plain: is still training; wait until it has"),
    ):
        explorer_page([load(run)])
    gan = only_gan(explorer_page([load(run)]))
    assert fact(gan["facts"]["run"], "status")["value"] == "killed while it trained"
    assert fact(gan["facts"]["run"], "epochs")["value"] == "2"
    assert "was killed while it trained; the page shows update 10" in caplog.text


def test_a_page_without_data(home: Path) -> None:
    whole, without = (only_gan(explorer_page([load(home / "plain")], with_data=value)) for value in (True, False))
    assert "real" in whole["snapshots"]["data"]["tensors"]
    assert "real" not in without["snapshots"]["data"]["tensors"]
    assert without["training"] is without["test"] is None


def test_weights_that_are_not_finite(home: Path) -> None:
    run = load_run(home / "plain")
    run.generator.state_dict()["layers.0.weight"][0, 0] = math.nan
    with pytest.raises(RunFolderError, match="plain: has weights that are not finite, so there is nothing to show"):
        explorer_page([run])


def test_pages_that_are_too_large(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = load_run(home / "plain")
    monkeypatch.setattr(build, "MAX_BYTES", 1000)
    with pytest.raises(ConfigError, match=r"plain: its networks are so large that the page would have about \d MB"):
        explorer_page([run])
    monkeypatch.undo()
    size = len(explorer_page([run, load(home / "lstm")]))
    monkeypatch.setattr(build, "MAX_BYTES", size - 1)
    with pytest.raises(
        ConfigError, match=r"^the page would have about \d MB, .*; give fewer runs, or --training-images 0$"
    ):
        explorer_page([run, load(home / "lstm")])


Call = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def call(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    def run(arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(home)
        capsys.readouterr()
        code = main(["explore", *arguments.split()])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_the_command(home: Path, call: Call) -> None:
    code, out, err = call("plain lstm --out pages/a.html --json")
    assert (code, err.count("\n")) == (0, 2)
    result = json.loads(out)
    page = (home / "pages" / "a.html").read_bytes()
    assert result["out"] == "pages/a.html"
    assert result["bytes"] == len(page) == sum(result["blocks"].values())
    assert set(result["blocks"]) == {"page", *read_page(page.decode()).blocks}
    code, out, err = call("plain --training-images 0 --quiet")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"explorer.html: \d\.\d MB\n", out)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("", "RUN is missing; see reviver explore --help"),
        ("plain gray.npz", "gray.npz: does not exist|gray.npz: has no run.json"),
        ("photos", "photos: has no run.json, so it is not a run folder"),
        ("plain --out photos", "photos: cannot be written .Is a directory"),
        ("plain --out plain/run.json", "--out must end in .html, got plain/run.json"),
        ("plain --training-images -1", "--training-images must be at least 0, got -1"),
        ("empty", "empty: has no last checkpoint yet"),
        ("damaged", "damaged.*checkpoint|damaged.*cannot be read"),
    ],
)
def test_wrong_use_is_one_line(home: Path, call: Call, arguments: str, problem: str) -> None:
    for name in ("empty", "damaged"):
        if not (home / name).exists():
            shutil.copytree(home / "plain", home / name)
    shutil.rmtree(home / "empty" / "checkpoints", ignore_errors=True)
    for path in (home / "damaged" / "checkpoints").rglob("networks.safetensors"):
        path.write_bytes(b"damaged")
    before = (home / "plain" / "run.json").read_bytes()
    code, out, err = call(arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert re.match(f"error: .*({problem})", err), err
    assert (home / "plain" / "run.json").read_bytes() == before


def test_help_imports_no_torch() -> None:
    code = "import sys; from reviver.cli import main; main(['explore', '--help']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
