"""The page of the explorer holds what the runs have, rounds as it says, and is safe whatever a run is called."""

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
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic.alias_generators import to_camel
from torch import Tensor, nn

import reviver
from reviver import load
from reviver.cli import main
from reviver.data.images.image_set import from_pixels, load_mnist
from reviver.data.images.named import DATA_SETS
from reviver.errors import ConfigError, RunFolderError
from reviver.explorer import build, gan_images, manifest
from reviver.explorer.blocks import Blocks, encode_f16, encode_f32, encode_u8
from reviver.explorer.build import Page, build_page, explorer_page
from reviver.explorer.gan_images import CLASS_NAMES, class_names
from reviver.explorer.gan_latents import choose_endpoints, principal_directions
from reviver.explorer.naming import name_runs
from reviver.explorer.networks import evaluate, fold
from reviver.gan.networks import NEGATIVE_SLOPE, Discriminator, Generator, one_hot
from reviver.gan.scores.digit_classifier import DigitClassifier
from reviver.gan.scores.train_classifier import save_classifier
from reviver.runs.folder import RunFolder
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan import training
from reviver.train.gan.run import GANRun
from reviver.train.lstm.training import train as train_lstm
from tests.explorer.edits import Content, inflate, load_some_images, read_page, read_tensors
from tests.lstm_runs import override

TYPES = (Path(__file__).parents[2] / "web" / "src" / "types.js").read_text(encoding="utf-8")
few_images = partial(load_some_images, count=200)
HOSTILE = "<script>alert(1)</script> & \"double\" 'single' \n <!--data--> ☃ x".replace("/", "∕")
"""Name of a folder that would break a page which does not escape it."""


def run_mlp(content: Content, spec: Mapping[str, Any], x: Tensor) -> Tensor:
    """Compute a multilayer perceptron of the page in float64."""
    tensors = read_tensors(content.blocks, spec["weights"])
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
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "photos" / split / name / f"{index}.png")
    torch.manual_seed(0)
    save_classifier(DigitClassifier(2, (3, 8, 8)).eval(), folder / "shapes.safetensors")
    small = {"epochs": 2, "batch_size": 8, "sample_every": 1, "eval_every": 0, "log_every": 1}
    gray = {"data": "gray.npz", "image_size": 8, "latent_size": 5}
    options: dict[str, Any] = {"conditional": True, "packing": 2, "ema": 0.5, "image_size": 8, "latent_size": 6}
    options |= {"data": str(folder / "photos"), "extractor": str(folder / "shapes.safetensors")}
    options |= {"precision": "bf16", "discriminator_dropout": 0.3}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("REVIVER_CACHE", str(folder / "cache"))
        for module in (training, gan_images):
            patch.setattr(module, "load_images", few_images)
        training.train(override(GANConfig(), {**small, "batch_size": 50}), "digits")
        training.train(override(GANConfig(), small | gray), "plain")
        training.train(override(GANConfig(), small | options), "shapes")
        train_lstm(override(LSTMConfig(), {"length": 3, "data_size": 60, "epochs": 1, "hidden_size": 4}), "lstm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gan_images, "load_images", few_images)
        yield folder


@pytest.fixture(scope="module")
def whole_page(home: Path) -> Page:
    """The page of `digits` and `lstm`."""
    return build_page([load(home / "digits"), load(home / "lstm")], num_training=50)


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
    """Change run.json; `config` and `data` are changed key by key."""
    record = json.loads((run / "run.json").read_text())
    for name, value in changes.items():
        record[name] = record[name] | value if isinstance(value, dict) else value
    (run / "run.json").write_text(json.dumps(record))


# The contract with the scripts


def typedefs() -> dict[str, dict[str, str]]:
    """Return the properties of each object type in types.js, with their types."""
    types: dict[str, dict[str, str]] = {}
    for comment in re.findall(r"/\*\*(.*?)\*/", TYPES, re.DOTALL):
        name = re.search(r"@typedef \{object\} (\w+)", comment)
        if name:
            properties = re.findall(r"@property \{((?:[^{}]|\{[^{}]*\})*)\}\s*\[?(\w+)", comment)
            types[name[1]] = {key: text for text, key in properties}
    return types


def test_the_types_of_the_scripts_have_the_keys_of_the_manifest() -> None:
    inline = {"LogitContext": ("GanContent", "logits"), "ChannelScale": ("LstmContent", "standardization")}
    types, parts = typedefs(), manifest.Part.__subclasses__()
    for part in parts:
        keys = [to_camel(name) for name in part.model_fields]
        if part.__name__ in inline:
            owner, name = inline[part.__name__]
            assert re.findall(r"(\w+):", types[owner][name]) == keys
        else:
            assert list(types[part.__name__]) == keys, part.__name__
    assert set(types) - {part.__name__ for part in parts} == {"Lesson"}


def test_every_block_of_a_file_is_used(home: Path) -> None:
    content = read_page(explorer_page([load(home / "shapes"), load(home / "lstm")]))
    used = {"manifest"} | {stage["weights"]["block"] for lstm in content.manifest["lstms"] for stage in lstm["stages"]}
    for gan in content.manifest["gans"]:
        blocks = [gan[network]["weights"] for network in ("generator", "discriminator", "classifier")]
        for block in [*blocks, gan["latents"], gan["training"], gan["test"], gan["snapshots"]["data"]]:
            used.add(block["block"])
            read_tensors(content.blocks, block)
    assert used == set(content.blocks)


# Encoding


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Finite tensors of float32, also of zeros, huge or tiny numbers, and empty ones."""
    shape = draw(st.sampled_from([(0,), (1,), (3,), (2, 3), (0, 4), (3, 0), (4, 1, 3, 3)]))
    floats = st.floats(-(2.0**100), 2.0**100, width=32, allow_nan=False)
    kind = draw(st.sampled_from([floats, st.just(0.0), st.sampled_from([1e-45, -3e37, 8e37, 1.0, -0.0])]))
    numbers = draw(st.lists(kind, min_size=math.prod(shape), max_size=math.prod(shape)))
    return torch.tensor(numbers, dtype=torch.float32).reshape(shape)


@given(tensors())
def test_tensors_round_trip(values: Tensor) -> None:
    encoded, rounded = encode_f16(values)
    pixels = (values.nan_to_num() % 256).to(torch.uint8)
    blocks = Blocks()
    first = {"before": encode_u8(torch.tensor([7], dtype=torch.uint8))}  # the others must be aligned
    block = blocks.add_tensors("x", {**first, "f16": encoded, "f32": encode_f32(values), "u8": encode_u8(pixels)})
    found = read_tensors({"x": inflate(blocks.texts["x"])}, json.loads(block.model_dump_json()))
    assert torch.equal(found["f16"], rounded)
    assert torch.equal(found["f32"], values.double())
    assert torch.equal(found["u8"], pixels.double())
    exact = values.double()
    largest = float(exact.abs().max()) if values.numel() else 0.0
    assert ((rounded - exact).abs() <= torch.clamp(exact.abs() * 2**-11, min=largest * 2**-24)).all()
    assert encoded.scale is not None
    assert math.frexp(encoded.scale)[0] == 0.5  # a power of two


# Folding


def randomize(network: nn.Module) -> None:
    """Sample all weights and statistics of a network in float64, so that no term of the equations is 0."""
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in network.double().eval().state_dict().items():
            if tensor.is_floating_point():
                values = torch.randn(tensor.shape, generator=rng).double() * (0.1 if tensor.dim() > 1 else 0.5)
                tensor.copy_(values.abs() + 0.1 if name.endswith("running_var") else values)


def check_equal(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_folded_networks_are_the_networks() -> None:
    for num_classes in (0, 3):
        generator = Generator(7, (3, 5, 4), num_classes=num_classes, batch_norm_eps=0.8)
        randomize(generator)
        z = torch.randn(6, generator.latent_size).double()
        check_equal(evaluate(fold(list(generator.layers)), z, NEGATIVE_SLOPE), generator(z).flatten(1))
    for packing, num_classes in ((1, 0), (3, 0), (1, 4), (2, 4)):
        options: dict[str, Any] = {"packing": packing, "num_classes": num_classes, "dropout": 0.5}
        discriminator = Discriminator((1, 4, 4), **options)
        randomize(discriminator)
        images = torch.randn(2 * packing, 1, 4, 4).double()
        labels = one_hot(torch.arange(2 * packing) % num_classes, num_classes).double() if num_classes else None
        inputs = discriminator.pack(images, labels)
        found = evaluate(fold(list(discriminator.layers)), inputs, NEGATIVE_SLOPE)
        check_equal(found, discriminator.logits(images, labels))
    classifier = DigitClassifier(4, (3, 9, 11))
    randomize(classifier)
    images = torch.randn(3, 3, 9, 11).double()
    check_equal(evaluate(fold([*classifier.features, classifier.head]), images), classifier(images))


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
    images, labels = run.generator(z), run.generator.class_labels(z)
    inputs = run.discriminator.pack(images, labels)
    errors = {
        "generator": run_mlp(content, gan["generator"], z) - images.flatten(1),
        "discriminator": run_mlp(content, gan["discriminator"], inputs).sigmoid() - run.discriminator(images, labels),
    }
    for network, error in errors.items():
        assert float(error.abs().mean()) <= 1.2 * rounding[network]["mean"]
        assert rounding[network]["max"] / 3 <= float(error.abs().max()) <= 3 * rounding[network]["max"]
    assert rounding["generator"]["max"] <= 1e-2
    assert rounding["generator"]["mean"] <= 1e-4


@torch.no_grad()
def test_a_conditional_run_with_every_option(home: Path) -> None:
    content = read_page(explorer_page([load(home / "shapes")]))
    (gan,) = content.manifest["gans"]
    assert gan["imageShape"] == [3, 8, 8]
    assert (gan["noiseSize"], gan["latentSize"], gan["numClasses"], gan["packing"]) == (6, 8, 2, 2)
    assert gan["classNames"] == gan["labelNames"] == gan["classifier"]["classNames"] == ["disc", "square"]
    latents = read_tensors(content.blocks, gan["latents"])
    assert torch.equal(latents["grid"][:, 6:].argmax(1), torch.arange(25) % 2)
    assert torch.equal(latents["endpoints"][:, 6:].argmax(1), torch.tensor(gan["endpointClasses"]))
    assert sorted(gan["endpointClasses"]) == [0] * 6 + [1] * 6
    assert not latents["directions"][:, 6:].any()
    logits = gan["logits"]
    assert logits["realSource"] == "test images"
    assert (len(logits["real"]), len(logits["fake"])) == (10 // 2, 500)  # pairs of the ten test images
    assert all(map(math.isfinite, logits["real"]))
    labels = read_tensors(content.blocks, gan["training"])["labels"]
    assert torch.equal(labels, torch.arange(24) % 2)  # spread over the classes
    assert read_tensors(content.blocks, gan["test"])["images"].shape == (10, 3, 8, 8)
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
    embedded = read_tensors(content.blocks, gan["training"])
    assert embedded["images"].shape == (50, 1, 28, 28)
    assert torch.bincount(embedded["labels"].long()).tolist() == [5] * 10
    test = read_tensors(content.blocks, gan["test"])
    assert test["labels"].tolist() == [*range(10), *range(10)]
    predicted = DigitClassifier.pinned().probabilities(from_pixels(test["images"].to(torch.uint8))).argmax(1)
    assert (predicted == test["labels"]).sum() >= 18  # the labels belong to their images
    facts = gan["facts"]
    assert "by Yann LeCun" in fact(facts["licenses"], "images: mnist")["note"]
    assert "50 of 200" in fact(facts["run"], "training images in this page")["value"]
    assert (fact(facts["run"], "updates")["value"], fact(facts["run"], "epochs")["value"]) == ("8", "2")
    assert facts["scores"] == []
    assert len(gan["metrics"]["step"]) == 8
    moments = gan["snapshots"]["moments"]
    assert (moments[0]["label"], moments[-1]["label"]) == ("start", "epoch 2")
    assert all(len(moment["realLogits"]) == len(moment["fakeLogits"]) == 25 for moment in moments)
    snapshots = read_tensors(content.blocks, gan["snapshots"]["data"])
    assert snapshots["images"].shape == (len(moments), 25, 1, 28, 28)
    assert snapshots["real"].shape == (25, 1, 28, 28)


def test_scores_stand_beside_their_baselines(home: Path, tmp_path: Path) -> None:
    run = shutil.copytree(home / "plain", tmp_path / "plain")
    names = ("fid", "kid", "precision", "recall", "density", "coverage", "class_kl", "spacing")
    scores: dict[str, Any] = dict.fromkeys(names, 0.5)
    record = {**scores, "step": 10, "epoch": 2, "class_fractions": [0.1] * 10, "fid_ratio": 2.0, "warning": None}
    record |= {"real_baseline": scores | {"fid": 0.25}, "noise_baseline": scores | {"fid": 1234.5678}}
    record |= {"num_samples": 2000, "k": 5, "data": "mnist", "extractor": "digits", "extractor_sha256": "0" * 64}
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

    generator, classifier = Digits().eval(), DigitClassifier.pinned()
    endpoints = choose_endpoints(dataclasses.replace(run, generator=generator), classifier)
    assert list(endpoints.classes) == [index for index in range(10) for _ in range(6)]
    with torch.no_grad():
        predicted = classifier.probabilities(generator(endpoints.latents)).argmax(1)
    assert predicted.tolist() == list(endpoints.classes)


@torch.no_grad()
def test_images_change_most_along_the_principal_directions() -> None:
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

    assert change(directions[0]) > change(directions[1]) > 1.5 * change(nn.functional.normalize(torch.randn(20), dim=0))
    one = Generator(1, (1, 4, 4)).eval()
    assert principal_directions(one, fold(list(one.layers)), seed=0).tolist() == [[1.0], [0.0]]


def test_images_that_are_missing_or_changed(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    here = only_gan(explorer_page([load("plain")]))
    assert (here["labelNames"], here["test"], here["classifier"]) == (None, None, None)
    assert list(here["training"]["tensors"]) == ["images"]
    assert here["logits"]["realSource"] == "training images"
    assert len(here["logits"]["real"]) == 40
    monkeypatch.chdir(tmp_path)
    missing = only_gan(explorer_page([load(home / "plain")]))
    assert (missing["training"], missing["test"]) == (None, None)
    assert missing["logits"] == {"real": [], "fake": here["logits"]["fake"], "realSource": ""}
    shown = fact(missing["facts"]["run"], "training images in this page")
    assert (shown["value"], shown["note"]) == ("none", "they are not on this machine, or cannot be read")
    np.savez(tmp_path / "gray.npz", images=np.zeros((40, 8, 8), dtype=np.uint8))
    changed = only_gan(explorer_page([load(home / "plain")]))
    assert changed["training"] is None
    shown = fact(changed["facts"]["run"], "training images in this page")
    assert shown["note"] == "they have changed since the training"


def test_what_a_run_names_is_neither_downloaded_nor_guessed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVIVER_DATA", str(tmp_path / "none"))
    monkeypatch.setattr("reviver.data.images.named._download", lambda *arguments: pytest.fail("it downloads"))
    run = shutil.copytree(home / "digits", tmp_path / "digits")
    edit_record(run, config={"data": "fashion-mnist"}, data={"name": "fashion-mnist"})
    gan = only_gan(explorer_page([load(run)]))
    assert gan["training"] is gan["classifier"] is None  # that of digits does not know shoes
    assert fact(gan["facts"]["licenses"], "images: fashion-mnist")["value"] == "MIT"
    run = shutil.copytree(home / "shapes", tmp_path / "shapes")
    torch.manual_seed(1)
    save_classifier(DigitClassifier(2, (3, 8, 8)), tmp_path / "other.safetensors")
    for name in ("other.safetensors", "missing"):
        edit_record(run, config={"extractor": str(tmp_path / name)})
        gan = only_gan(explorer_page([load(run)]))
        assert gan["classifier"] is None
        assert gan["endpointClasses"] == [0] * 6 + [1] * 6  # by condition


@pytest.mark.parametrize("name", [*DATA_SETS, "mnist"])
def test_names_of_classes(name: str) -> None:
    count = {"emnist-balanced": 47, "emnist-letters": 26}.get(name, 10)
    assert len(set(CLASS_NAMES[name])) == count
    assert class_names(name, count) == CLASS_NAMES[name]
    assert class_names(name, 3) == ("0", "1", "2")


# Names and hostile content


def test_names_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [Path("a/gan"), tmp_path / "b" / "gan", Path("gan"), Path("-x"), Path(os.fsdecode(b"\xff"))]
    expected = [("gan", "a/gan"), ("gan (2)", "gan"), ("gan (3)", "gan"), ("-x", "./-x"), ("?", "?")]
    assert name_runs(paths) == expected


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("reviver gan train --data /home/ada/photos --out=/srv/ada/run", "reviver gan train --data photos --out=run"),
        ("reviver gan train --data 'my \n photos/a b'", "reviver gan train --data 'a b'"),
        ("reviver gan train --data '/home/ada/cut off", None),
        ("reviver gan train --data C:\\\\Users\\\\ada\\\\photos", "reviver gan train --data photos"),
    ],
)
def test_commands_name_no_folders(home: Path, tmp_path: Path, command: str, shown: str | None) -> None:
    run = shutil.copytree(home / "plain", tmp_path / "plain")
    edit_record(run, command=command)
    found = only_gan(explorer_page([load(run)], num_training=0))["facts"]["command"]
    assert "ada" not in found if shown is None else found == shown


class Elements(HTMLParser):
    """All start tags of a page with their attributes, and the text of each element."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str], list[str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}, []))

    def handle_data(self, data: str) -> None:
        if self.found:
            self.found[-1][2].append(data)


@pytest.fixture(scope="module")
def hostile_page(home: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of a run with a hostile name, classes, command and data."""
    run = shutil.copytree(home / "plain", tmp_path_factory.mktemp("hostile") / HOSTILE)
    edit_record(run, command=HOSTILE, data={"name": HOSTILE}, error=HOSTILE)
    return explorer_page([load(run), load(home / "lstm")])


def test_hostile_names_are_text_and_the_policy_allows_only_the_scripts_of_the_page(hostile_page: str) -> None:
    gan = only_gan(hostile_page)
    assert gan["name"] == gan["dataName"] == gan["runArgument"] == HOSTILE
    without_title = re.sub(r"<title>.*?</title>", "", hostile_page, flags=re.DOTALL)
    assert "alert(1)" not in without_title.replace(html.escape("<script>alert(1)<"), "")
    texts: dict[str, list[str]] = {"script": [], "style": [], "title": []}
    policy = ""
    for tag, attributes, text in Elements(hostile_page).found:
        if tag in texts and attributes.get("type") != "text/plain":
            texts[tag].append(text[0])
        if attributes.get("http-equiv") == "Content-Security-Policy":
            policy = attributes["content"]
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        for name in ("src", "href", "action", "srcset", "data", "poster"):
            assert re.match(r"#|data:|blob:", attributes.get(name, "#")), (tag, attributes)
    assert texts["title"] == [f"Explorer of {HOSTILE}, lstm"]
    (script,), (style,) = (
        [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts[tag]]
        for tag in ("script", "style")
    )
    assert policy.split("; ") == [
        "default-src 'none'",
        f"script-src 'sha256-{script}' 'wasm-unsafe-eval'",
        f"style-src 'sha256-{style}'",
        "img-src data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
    ]


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


def test_runs_that_are_given_twice_or_have_the_same_name(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = shutil.copytree(home / "plain", tmp_path / "plain")
    paths = [home / "plain", home / "lstm" / ".." / "plain", other]
    page = build_page([load(path) for path in paths], num_training=0)
    content = read_page(page.html)
    assert [gan["name"] for gan in content.manifest["gans"]] == ["plain", "plain (2)"]
    assert [gan["id"] for gan in content.manifest["gans"]] == ["gan-0", "gan-1"]
    assert "was given twice; the page has it once" in caplog.text
    assert set(page.block_sizes) == set(content.blocks)
    assert "gan-0-training" not in page.block_sizes
    assert 0 < len(page.html) - sum(page.block_sizes.values()) < 500_000


# Runs that cannot be shown, or only in part


def test_a_run_that_is_still_training(home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = shutil.copytree(home / "plain", tmp_path / "plain")
    edit_record(run, status="running")
    with RunFolder.open(run).locked(), pytest.raises(RunFolderError, match="plain: is still training; wait until it"):
        explorer_page([load(run)])
    facts = only_gan(explorer_page([load(run)]))["facts"]["run"]
    assert (fact(facts, "status")["value"], fact(facts, "epochs")["value"]) == ("killed while it trained", "2")
    assert "was killed while it trained; the page shows update 10" in caplog.text


def test_pages_that_cannot_be_made(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, lstm = load_run(home / "plain"), load(home / "lstm")
    size = len(explorer_page([run, lstm]))
    monkeypatch.setattr(build, "MAX_BYTES", size - 1)
    with pytest.raises(ConfigError, match=r"^the page would have about \d MB, .*; give fewer runs, or --training-im"):
        explorer_page([run, lstm])
    monkeypatch.setattr(build, "MAX_BYTES", 1000)
    with pytest.raises(ConfigError, match=r"plain: its networks are so large that the page would have about \d MB"):
        explorer_page([run])
    run.generator.state_dict()["layers.0.weight"][0, 0] = math.nan
    monkeypatch.undo()
    with pytest.raises(RunFolderError, match="plain: has weights that are not finite, so there is nothing to show"):
        explorer_page([run])


# The command, and notebooks

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
    if arguments in ("empty", "damaged") and not (home / arguments).exists():
        shutil.copytree(home / "plain", home / arguments)
    shutil.rmtree(home / "empty" / "checkpoints", ignore_errors=True)
    for path in (home / "damaged").rglob("networks.safetensors"):
        path.write_bytes(b"damaged")
    before = (home / "plain" / "run.json").read_bytes()
    code, out, err = call(arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert re.match(f"error: .*({problem})", err), err
    assert (home / "plain" / "run.json").read_bytes() == before


def test_a_notebook_shows_the_page_in_a_sandboxed_frame(home: Path, tmp_path: Path) -> None:
    run = shutil.copytree(home / "lstm", tmp_path / 'a "quoted" <run>')
    page = reviver.explore(run, height=500)
    ((tag, frame, _),) = Elements(page._repr_html_()).found
    assert (tag, frame["srcdoc"]) == ("iframe", page.html)
    assert page.html == explorer_page([load(run)])
    assert frame["sandbox"] == "allow-scripts allow-downloads"
    assert frame["title"] == 'Explorer of a "quoted" <run>'
    assert (frame["width"], frame["height"]) == ("100%", "500")
    assert repr(page) == f'<Explorer of a "quoted" <run>, {len(page.html) / 1e6:.1f} MB>'
    page.save(tmp_path / "new" / "page.html")
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8") == page.html
    with pytest.raises(RunFolderError, match="cannot be written"):
        page.save(tmp_path)


def test_options_of_a_notebook(home: Path, tmp_path: Path) -> None:
    run = load(home / "plain")
    page = reviver.explore([str(home / "plain"), load(home / "lstm")], training_images=0)
    assert page.html == explorer_page([run, load(home / "lstm")], num_training=0)
    private = reviver.explore(run, with_data=False).html
    whole, without = only_gan(explorer_page([run])), only_gan(private)
    assert "real" in whole["snapshots"]["data"]["tensors"]
    assert "real" not in without["snapshots"]["data"]["tensors"]
    assert without["training"] is without["test"] is None
    for runs, options, problem in (
        ([], {}, "^runs must hold at least one run, got none$"),
        (run, {"height": 3}, "^height must be at least 100, got 3$"),
        (run, {"training_images": -1}, "^training_images must be at least 0, got -1$"),
        (tmp_path / "nothing", {}, "does not exist"),
    ):
        with pytest.raises((ConfigError, RunFolderError), match=problem):
            reviver.explore(runs, **options)
