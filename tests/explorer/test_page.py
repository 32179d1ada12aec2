"""The page of the explorer holds what the runs have, rounds as it says, and is safe whatever a run is called."""

import base64
import hashlib
import html
import json
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import reviver
from reviver import load
from reviver.data.images.image_set import from_pixels
from reviver.errors import ConfigError, RunFolderError
from reviver.explorer import gan_images
from reviver.explorer.blocks import fold
from reviver.explorer.gan_latents import principal_directions
from reviver.explorer.page import build_page
from reviver.files.atomic import write_text
from reviver.gan.interpolation import CONFIDENCE
from reviver.gan.networks import Generator
from reviver.gan.scores.feature_extractor import DigitClassifier
from reviver.gan.scores.train_classifier import save_classifier
from reviver.rng import make_rng
from reviver.run import GANRun
from reviver.runs.folder import RunFolder
from reviver.settings.gan import GANConfig
from reviver.train.gan.training import train
from tests.damage import edit_json
from tests.data.test_color_images import write_shapes
from tests.explorer.edits import load_some_images, read_layers, read_page, read_tensors
from tools.explorer_types import write_types

WEB = Path(__file__).parents[2] / "web"
HOSTILE = "<script>alert(1)</script> & \"double\" 'single' \n <!--data--> ☃ x".replace("/", "∕")
"""Name of a folder that would break a page which does not escape it."""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a conditional run with many options, of images in folders, with a classifier of its own."""
    folder = tmp_path_factory.mktemp("shapes")
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 5)):
        write_shapes(folder / "photos" / split, count, rng)
    torch.manual_seed(0)
    save_classifier(DigitClassifier(2, (3, 8, 8)).eval(), folder / "shapes.safetensors")
    config = GANConfig(data=str(folder / "photos"), image_size=8, latent_size=6, epochs=2, batch_size=8, eval_every=0)
    config = replace(config, conditional=True, extractor=str(folder / "shapes.safetensors"))
    config = replace(config, ema=0.5, precision="bf16", discriminator_dropout=0.3)
    train(config, folder / "shapes", device="cpu")
    return folder / "shapes"


@pytest.fixture(scope="module")
def color(small_page: Path) -> Path:
    """Return a run of color images without labels."""
    return small_page.parent / "color"


@pytest.fixture
def digits(explorer_page: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a run on MNIST."""
    monkeypatch.setattr(gan_images, "load_images", load_some_images)
    return explorer_page.parent / "gan"


def load_run(path: Path) -> GANRun:
    run = load(path)
    assert isinstance(run, GANRun)
    return run


def only_gan(page: str) -> Any:
    (gan,) = read_page(page).manifest["gans"]
    return gan


def fact(facts: list[dict[str, Any]], label: str) -> dict[str, Any]:
    (found,) = [entry for entry in facts if entry["label"] == label]
    return found


def test_a_page_is_computed_on_the_cpu_wherever_the_run_is(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = load_run(shapes)
    assert not next(run.generator.parameters()).is_meta
    monkeypatch.setattr("reviver.train.opened.choose_device", torch.device)
    away = run.to("meta")  # which stands for a GPU: nothing can be computed there
    for network in (away.generator, away.discriminator):
        assert all(parameter.is_meta for parameter in network.parameters())
    monkeypatch.setattr(GANRun, "to", lambda _, device: {"cpu": run}[device])
    assert build_page([away]).html == build_page([run]).html


def test_the_types_of_the_scripts_are_those_of_the_manifest() -> None:
    assert (WEB / "src" / "kit" / "manifest.ts").read_text(encoding="utf-8") == write_types()


LAYERS = ("kit", "charts", "compute", "train", "gan", "lstm", "page", "panels")
"""Folders of web/src; each imports only from those before it, gan and lstm not from each other, no panel from another.

Data in JSON, the texts of cells and the frames of code may stand elsewhere.
"""


def test_the_sources_of_the_page_import_in_one_direction() -> None:
    sources = WEB / "src"
    for source in sorted(sources.rglob("*.ts*")):
        text, (layer, *rest) = source.read_text(encoding="utf-8"), source.relative_to(sources).parts
        assert len(text.splitlines()) <= 250, source
        for name in re.findall(r'from "(\.[^"]*(?<!\.json)(?<!\.cell)(?<!\.txt))"', text) if layer in LAYERS else []:
            target, *inner = (source.parent / name).resolve().relative_to(sources).parts
            is_upward = LAYERS.index(target) > LAYERS.index(layer)
            is_other = (
                target == "panels" and inner[0] != rest[0] != "index.ts" and (rest[0], inner[0]) != ("start", "train")
            )
            is_aside = {layer, target} == {"gan", "lstm"} or is_other  # Start shows a training of Train
            assert not is_upward, f"{source} imports {name}"
            assert not is_aside, f"{source} imports {name}"
    for panel in (sources / "panels").iterdir():
        imports = {
            source.stem: re.findall(r'from "\./(\w+)"', source.read_text(encoding="utf-8"))
            for source in panel.glob("*.ts*")
        }
        TopologicalSorter({name: set(names) & set(imports) for name, names in imports.items()}).prepare()  # no circle
        style = sources / "css" / f"{panel.name}.css"
        assert not style.exists() or len(style.read_text(encoding="utf-8").splitlines()) <= 170, style


def test_a_conditional_run_with_every_option(shapes: Path) -> None:
    content = read_page(build_page([load(shapes)]).html)
    (gan,) = content.manifest["gans"]
    blocks = [gan[network]["weights"] for network in ("generator", "discriminator", "classifier")]
    blocks += [gan["latents"], gan["training"], gan["test"]]
    assert {"manifest", *(block["block"] for block in blocks)} == set(content.blocks)
    latents, training, test = (read_tensors(content.blocks, block) for block in blocks[3:])
    assert (gan["noiseSize"], gan["latentSize"], gan["numClasses"]) == (6, 8, 2)
    assert gan["classNames"] == gan["labelNames"] == gan["classifier"]["classNames"] == ["disc", "square"]
    assert torch.equal(latents["grid"][:, 6:].argmax(1), torch.arange(25) % 2)
    assert torch.equal(latents["endpoints"][:, 6:].argmax(1), torch.tensor(gan["endpointClasses"]))
    assert sorted(gan["endpointClasses"]) == [0] * 6 + [1] * 6
    assert not latents["directions"][:, 6:].any()
    errors = {entry["network"]: entry["max"] for entry in gan["facts"]["rounding"]}
    assert errors.keys() == {"generator", "discriminator", "classifier"}  # each with its BatchNorm folded
    assert max(errors.values()) <= 1e-2
    logits = gan["logits"]
    assert logits["realSource"] == "test images"
    assert (len(logits["real"]), len(logits["fake"])) == (10, 500)
    assert torch.equal(training["labels"], torch.arange(24) % 2)  # spread over the classes
    assert test["images"].shape == (10, 3, 8, 8)
    assert fact(gan["facts"]["config"], "data") == {"label": "data", "value": "photos", "note": "changed"}
    assert fact(gan["facts"]["licenses"], "images: photos")["value"] == "your own data"
    assert str(shapes.parent) not in json.dumps(content.manifest)


@torch.no_grad()
def test_a_run_on_digits(digits: Path) -> None:
    run, classifier = load_run(digits), DigitClassifier.pinned()
    content = read_page(build_page([run], num_training=50).html)
    (gan,) = content.manifest["gans"]
    rounding = {entry["network"]: entry for entry in gan["facts"]["rounding"]}
    z = run.generator.sample_latents(2000, torch.Generator().manual_seed(1))
    images = run.generator(z)
    networks = ("generator", z, images.flatten(1)), ("discriminator", images, run.discriminator.logits(images))
    for network, inputs, outputs in networks:
        found = read_layers(content, gan[network])(inputs.flatten(1).double())
        error = found - outputs if network == "generator" else found.sigmoid() - outputs.sigmoid()
        assert float(error.abs().mean()) <= 1.2 * rounding[network]["mean"]
        assert rounding[network]["max"] / 3 <= float(error.abs().max()) <= 3 * rounding[network]["max"]
    assert rounding["generator"]["max"] <= 1e-2
    assert rounding["generator"]["mean"] <= 1e-4
    assert gan["classifier"]["classNames"] == gan["labelNames"] == list("0123456789")
    latents, training, test = (read_tensors(content.blocks, gan[name]) for name in ("latents", "training", "test"))
    confidences, predicted = classifier.probabilities(run.generator(latents["endpoints"].float())).max(1)
    assert confidences.min() >= CONFIDENCE - 1e-4
    assert predicted.tolist() == gan["endpointClasses"] == sorted(gan["endpointClasses"])
    assert training["images"].shape == (50, 1, 28, 28)
    assert torch.bincount(training["labels"].long()).tolist() == [5] * 10
    assert test["labels"].tolist() == [*range(10), *range(10)]
    predicted = classifier.probabilities(from_pixels(test["images"].to(torch.uint8))).argmax(1)
    assert (predicted == test["labels"]).sum() >= 18  # the labels belong to their images
    assert "50 of 12,000" in fact(gan["facts"]["run"], "training images in this page")["value"]


def test_images_change_most_along_the_principal_directions() -> None:
    generator = Generator(20, (1, 8, 8)).eval()
    weight = generator.state_dict()["layers.0.weight"]
    weight[:, [3, 11]] *= torch.tensor([20, 10])
    directions = principal_directions(generator, fold(generator.layers), seed=0)
    z = generator.double().sample_latents(32, make_rng(0, "explorer/directions")).double()
    jacobians = [torch.autograd.functional.jacobian(lambda z: generator(z[None]).flatten(), latent) for latent in z]
    _, vectors = torch.linalg.eigh(sum(jacobian.T @ jacobian for jacobian in jacobians))
    torch.testing.assert_close((directions @ vectors[:, [-1, -2]]).abs(), torch.eye(2).double(), rtol=0, atol=1e-6)
    one = Generator(1, (1, 4, 4)).eval()
    assert principal_directions(one, fold(one.layers), seed=0).tolist() == [[1.0], [0.0]]


def test_images_that_are_missing_changed_or_confidential(color: Path, tmp_path: Path) -> None:
    here = only_gan(build_page([load(color)]).html)
    assert (here["labelNames"], here["test"], here["classifier"]) == (None, None, None)
    assert here["logits"]["realSource"] == "training images"
    assert len(here["logits"]["real"]) == 41
    run = shutil.copytree(color, tmp_path / "color")
    np.savez(tmp_path / "color.npz", images=np.zeros((41, 12, 12, 3), dtype=np.uint8))
    write_text(tmp_path / "damaged" / "x.npy", "{")
    unreadable = "they are not on this machine, or cannot be read"
    notes = {"color.npz": "they have changed since the training", "gone": unreadable, "damaged": unreadable}
    for name, note in notes.items():
        edit_json(run / "run.json", config={"data": str(tmp_path / name)})
        gan = only_gan(build_page([load(run)]).html)
        assert (gan["training"], gan["test"]) == (None, None)
        assert gan["logits"] == {"real": [], "fake": here["logits"]["fake"], "realSource": ""}
        shown = fact(gan["facts"]["run"], "training images in this page")
        assert (shown["value"], shown["note"]) == ("none", note)
    private = only_gan(reviver.explore(color, with_data=False).html)
    assert private["training"] is private["test"] is None


def test_what_a_run_names_is_not_downloaded(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVIVER_DATA", str(tmp_path / "none"))
    monkeypatch.setattr("reviver.data.images.named._download", lambda *arguments: pytest.fail("it downloads"))
    run = shutil.copytree(digits, tmp_path / "digits")
    edit_json(run / "run.json", config={"data": "fashion-mnist"}, data={"name": "fashion-mnist"})
    gan = only_gan(build_page([load(run)]).html)
    assert gan["training"] is gan["classifier"] is None  # that of digits does not know shoes


def test_hostile_names_are_text_and_the_policy_allows_only_the_scripts_of_the_page(color: Path, tmp_path: Path) -> None:
    run = shutil.copytree(color, tmp_path / HOSTILE)
    command = "reviver gan train --data /home/ada/photos --out=/srv/ada/run"
    edit_json(run / "run.json", command=command, data={"name": HOSTILE}, error=HOSTILE)
    page = build_page([load(run)]).html
    gan = only_gan(page)
    assert gan["name"] == gan["facts"]["run"][0]["value"] == gan["runArgument"] == HOSTILE
    assert gan["facts"]["command"] == "reviver gan train --data photos --out=run"  # no private folders
    title = f"<title>{html.escape(f'Explorer of {HOSTILE}')}</title>"
    assert page.count("alert(1)") == page.count(title) == 1
    hashes = []
    for tag in ("script", "style"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        hashes.append(base64.b64encode(hashlib.sha256(text.encode()).digest()).decode())
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert html.unescape(policy).split("; ") == [
        "default-src 'none'",
        f"script-src 'sha256-{hashes[0]}' 'wasm-unsafe-eval'",
        f"style-src 'sha256-{hashes[1]}'",
        "img-src data: blob:",
        "worker-src blob:",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_the_command_gives_the_same_page_from_another_folder_and_process(
    shapes: Path, color: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shapes.parent)
    expected = build_page([load("shapes"), load(color.parent / "rnn")]).html
    command = [sys.executable, "-m", "reviver", "explore", str(shapes), str(color.parent / "rnn"), "--out", "a/b.html"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    done = subprocess.run([*command, "--json"], check=True, capture_output=True, env=environment, cwd=tmp_path)
    assert done.stderr.count(b"\n") == 2
    page = (tmp_path / "a" / "b.html").read_text(encoding="utf-8")
    assert page == expected
    result = json.loads(done.stdout)
    assert result["bytes"] == len(page.encode()) == sum(result["blocks"].values())
    assert set(result["blocks"]) == {"page", *read_page(page).blocks}


def test_runs_that_are_given_twice_still_train_or_cannot_be_shown(
    color: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shutil.copytree(color, tmp_path / "color")
    edit_json(path / "run.json", status="running")
    run = load_run(path)
    with RunFolder.open(path).locked(), pytest.raises(RunFolderError, match="color: is still training; wait until it"):
        build_page([run])
    page = build_page([load(color), load(color / ".." / "color"), run], num_training=0)
    assert "was given twice; the page has it once" in caplog.text
    assert "was killed while it trained; the page shows update 12" in caplog.text
    assert [gan["name"] for gan in read_page(page.html).manifest["gans"]] == ["color", "color (2)"]
    assert "gan-0-training" not in page.block_sizes
    monkeypatch.setattr("reviver.explorer.page.MAX_BYTES", len(page.html) - 1)
    with pytest.raises(ConfigError, match=r"^the page would have about \d MB, .*; give fewer runs, --training-im"):
        build_page([load(color), run], num_training=0)
    monkeypatch.undo()
    run.generator.state_dict()["layers.0.weight"][0, 0] = math.nan
    with pytest.raises(RunFolderError, match="color: has weights that are not finite, so there is nothing to show"):
        build_page([run])


def test_a_notebook_shows_the_page_in_a_sandboxed_frame(color: Path, tmp_path: Path) -> None:
    run = shutil.copytree(color.parent / "rnn", tmp_path / 'a "quoted" <run>')
    page = reviver.explore([run, load(color), run], training_images=0, height=500)
    assert page.html == build_page([load(run), load(color)], num_training=0).html
    frame = page._repr_html_()
    assert frame.startswith(
        '<iframe sandbox="allow-scripts allow-downloads" title="Explorer of color, a &quot;quoted&quot; &lt;'
    )
    assert 'height="500"' in frame
    assert f'srcdoc="{html.escape(page.html)}"></iframe>' in frame
    assert repr(page) == f'<Explorer of color, a "quoted" <run>, {len(page.html) / 1e6:.1f} MB>'
    page.save(tmp_path / "new" / "page.html")
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8") == page.html
    with pytest.raises(RunFolderError, match="cannot be written"):
        page.save(tmp_path)
    with pytest.raises(ConfigError, match=r"^height must be at least 100, got 3$"):
        reviver.explore(run, height=3)
