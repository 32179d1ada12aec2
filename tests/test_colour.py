"""Colour images from a folder of files to every output, by the command line."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from reviver.cli import main
from reviver.gan.data.image_set import ImageSet, load_images
from reviver.gan.evaluation.digit_classifier import DigitClassifier
from reviver.gan.evaluation.feature_extractor import FeatureExtractor
from reviver.gan.evaluation.train_classifier import accuracy, save_classifier, train_classifier
from reviver.report.results import read_gan

SIZE = 16


def draw_shape(name: str, randomness: np.random.Generator) -> Image.Image:
    """A bright disc or square somewhere on a dark ground."""
    dark, bright = randomness.integers(0, 60, 3), randomness.integers(120, 256, 3)
    image = Image.new("RGB", (SIZE, SIZE), tuple(dark.tolist()))
    x, y = randomness.integers(1, 7, 2).tolist()
    draw = ImageDraw.Draw(image)
    (draw.ellipse if name == "disc" else draw.rectangle)((x, y, x + 8, y + 8), fill=tuple(bright.tolist()))
    return image


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Shapes in `shapes/train/disc` and so on, a run of them and an extractor."""
    folder = tmp_path_factory.mktemp("colour")
    randomness = np.random.default_rng(0)
    for part, count in (("train", 40), ("test", 12)):
        for name in ("disc", "square"):
            home = folder / "shapes" / part / name
            home.mkdir(parents=True)
            for index in range(count):
                draw_shape(name, randomness).save(home / f"{index}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("REVIVER_CACHE", str(folder / "cache"))
        for arguments in (
            f"gan train --data shapes --image-size {SIZE} --epochs 2 --batch-size 16 --log-every 2 --out run",
            f"gan train-extractor --data shapes --image-size {SIZE} --epochs 1 --out shapes.safetensors",
        ):
            assert main([*shlex.split(arguments), "--quiet"]) == 0
        yield folder


@pytest.fixture
def call(workspace: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(arguments: str) -> dict[str, Any]:
        capsys.readouterr()
        assert main([*shlex.split(arguments), "--json", "--quiet"]) == 0
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


def colours(path: Path) -> bool:
    """Whether an image has any colour."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return bool((np.ptp(pixels, axis=2) > 20).any())


def test_training_keeps_the_colours(workspace: Path) -> None:
    data = json.loads((workspace / "run" / "run.json").read_text())["data"]
    assert (data["image_shape"], data["images"]) == ([3, SIZE, SIZE], 80)
    assert colours(workspace / "run" / "samples" / "epoch-0002.png")
    with Image.open(workspace / "run" / "samples" / "training.gif") as animation:
        assert animation.n_frames == 3
        animation.seek(2)
        assert (np.ptp(np.asarray(animation.convert("RGB")).astype(int), axis=2) > 20).any()


@pytest.mark.parametrize("ending", ["png", "pdf", "svg", "npz"])
def test_samples(ending: str, call: Any) -> None:
    assert call(f"gan sample run --num-samples 4 --out grid.{ending}")["shape"] == [4, 3, SIZE, SIZE]
    if ending == "png":
        assert colours(Path("grid.png"))
    if ending == "npz":
        assert np.load("grid.npz")["images"].shape == (4, 3, SIZE, SIZE)


def test_a_walk_and_a_projection(call: Any) -> None:
    assert call("gan interpolate run --out walk.png")["digits"] is None
    found = call("gan project run shapes/test/disc/0.png shapes/test/square/0.png --out found.png")
    assert len(found["errors"]) == 2
    assert colours(Path("walk.png"))
    assert colours(Path("found.png"))


def test_scores_through_an_extractor_of_these_images(call: Any) -> None:
    scores = call("gan evaluate run --extractor shapes.safetensors --num-samples 20 --out nearest.png")
    assert scores["real_baseline"]["fid"] < scores["noise_baseline"]["fid"]
    assert sum(scores["samples"]["classes"]) == 20
    assert len(scores["samples"]["classes"]) == 2
    assert colours(Path("nearest.png"))


def test_a_measured_walk_through_an_extractor_of_these_images(call: Any) -> None:
    ends = "--from-image shapes/test/disc/0.png --to-image shapes/test/square/0.png"
    result = call(
        f"gan interpolate run {ends} --metrics --num-pairs 2 --extractor shapes.safetensors --annotate --out walk.pdf"
    )
    assert set(result["digits"]) <= {0, 1}
    assert len(result["measured"]["paths"]["linear"]["probabilities"][0]) == 2


def test_the_report_gathers_what_applies(call: Any, workspace: Path) -> None:
    results = read_gan(workspace / "run")
    assert results.recognition is None, "the digit classifier knows no shapes"
    assert (results.interpolation.images.shape[1:], results.interpolation.digits) == ((3, SIZE, SIZE), None)


# Extractors of other images


@pytest.mark.parametrize("image_shape", [(1, 8, 8), (3, 8, 8), (3, 33, 33), (1, 28, 28)])
def test_an_extractor_remembers_the_shape_of_its_images(image_shape: tuple[int, int, int], tmp_path: Path) -> None:
    classifier = DigitClassifier(4, image_shape).eval()
    sha256 = save_classifier(classifier, tmp_path / "weights.safetensors")
    read = FeatureExtractor.read(tmp_path / "weights.safetensors")
    assert (read.classifier.image_shape, read.sha256) == (image_shape, sha256)
    for name, tensor in classifier.state_dict().items():
        assert (read.classifier.state_dict()[name] == tensor).all()
    assert not read.classifier.training


def test_a_shape_that_does_not_fit_the_weights_is_told(tmp_path: Path) -> None:
    from reviver.errors import DataError

    for claimed in ((3, 8, 8), (1, 1024, 1024), (1, 4, 4), (1, -9, 10**9)):
        classifier = DigitClassifier(4, (1, 8, 8))
        classifier.image_shape = claimed
        save_classifier(classifier, tmp_path / "weights.safetensors")
        with pytest.raises(DataError, match=r"^extractor: .* is not the weights of an extractor .*give a file that"):
            FeatureExtractor.read(tmp_path / "weights.safetensors")


def test_a_classifier_learns_colours(workspace: Path) -> None:
    data = load_images("shapes", SIZE)
    reds = data.images.clone()
    reds[data.labels == 1, 0], reds[data.labels == 0, 2] = 255, 255
    coloured = ImageSet(reds, data.labels, "coloured")
    assert accuracy(train_classifier(coloured, epochs=8), coloured) == 1
