"""Color images, from a folder of files to every output of the command line."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from reviver.cli import main
from reviver.data.images.image_set import ImageSet, load_images
from reviver.errors import DataError
from reviver.gan import inversion
from reviver.gan.scores.digit_classifier import DigitClassifier
from reviver.gan.scores.feature_extractor import FeatureExtractor
from reviver.gan.scores.train_classifier import accuracy, save_classifier, train_classifier
from reviver.show.report.results import read_gan

SIZE = 16


def draw_shape(name: str, rng: np.random.Generator) -> Image.Image:
    """Return a bright disc or square at a random position on a dark background."""
    dark, bright = rng.integers(0, 60, 3), rng.integers(120, 256, 3)
    image = Image.new("RGB", (SIZE, SIZE), tuple(dark.tolist()))
    x, y = rng.integers(1, 7, 2).tolist()
    draw = ImageDraw.Draw(image)
    (draw.ellipse if name == "disc" else draw.rectangle)((x, y, x + 8, y + 8), fill=tuple(bright.tolist()))
    return image


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Shapes in `shapes/train/disc` and so on, a run of them and an extractor."""
    folder = tmp_path_factory.mktemp("color")
    rng = np.random.default_rng(0)
    for split, num_images in (("train", 40), ("test", 12)):
        for name in ("disc", "square"):
            class_folder = folder / "shapes" / split / name
            class_folder.mkdir(parents=True)
            for index in range(num_images):
                draw_shape(name, rng).save(class_folder / f"{index}.png")
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


def has_color(path: Path) -> bool:
    """Return whether an image has any color."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return bool((np.ptp(pixels, axis=2) > 20).any())


def test_training_keeps_the_colors(workspace: Path) -> None:
    data = json.loads((workspace / "run" / "run.json").read_text())["data"]
    assert (data["image_shape"], data["num_images"]) == ([3, SIZE, SIZE], 80)
    assert has_color(workspace / "run" / "samples" / "epoch-0002.png")
    with Image.open(workspace / "run" / "samples" / "training.gif") as animation:
        assert animation.n_frames == 3
        animation.seek(2)
        assert (np.ptp(np.asarray(animation.convert("RGB")).astype(int), axis=2) > 20).any()


def test_every_output_keeps_the_colors(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(inversion.project.__kwdefaults__, "steps", 10)
    for suffix in ("png", "npz"):
        assert call(f"gan sample run --num-samples 4 --out grid.{suffix}")["shape"] == [4, 3, SIZE, SIZE]
    assert np.load("grid.npz")["images"].shape == (4, 3, SIZE, SIZE)
    projection = call("gan project run shapes/test/disc/0.png shapes/test/square/0.png --out projection.png")
    assert len(projection["errors"]) == 2
    ends = "--from-image shapes/test/disc/0.png --to-image shapes/test/square/0.png"
    metrics = "--metrics --num-pairs 2 --extractor shapes.safetensors --annotate"
    result = call(f"gan interpolate run {ends} {metrics} --out interpolation.png")
    assert set(result["classes"]) <= {0, 1}
    assert len(result["metrics"]["paths"]["linear"]["probabilities"][0]) == 2
    assert call("gan interpolate run --out plain.png")["classes"] is None
    scores = call("gan evaluate run --extractor shapes.safetensors --num-samples 20 --out nearest.png")
    assert scores["real_baseline"]["fid"] < scores["noise_baseline"]["fid"]
    assert sum(scores["samples"]["class_counts"]) == 20
    assert len(scores["samples"]["class_counts"]) == 2
    assert all(has_color(Path(f"{name}.png")) for name in ("grid", "projection", "interpolation", "plain", "nearest"))


def test_the_report_leaves_out_digit_counts(call: Any, workspace: Path) -> None:
    results = read_gan(workspace / "run")
    assert results.recognition is None, "the digit classifier knows no shapes"
    assert (results.interpolation.images.shape[1:], results.interpolation.classes) == ((3, SIZE, SIZE), None)


# Extractors of other images


@pytest.mark.parametrize("image_shape", [(1, 8, 8), (3, 8, 8), (3, 33, 33), (1, 28, 28)])
def test_an_extractor_file_has_the_shape_of_its_images(image_shape: tuple[int, int, int], tmp_path: Path) -> None:
    classifier = DigitClassifier(4, image_shape).eval()
    sha256 = save_classifier(classifier, tmp_path / "weights.safetensors")
    extractor = FeatureExtractor.read(tmp_path / "weights.safetensors")
    assert (extractor.classifier.image_shape, extractor.sha256) == (image_shape, sha256)
    for name, tensor in classifier.state_dict().items():
        assert (extractor.classifier.state_dict()[name] == tensor).all()
    assert not extractor.classifier.training


def test_a_shape_that_does_not_fit_the_weights_is_refused(tmp_path: Path) -> None:
    for claimed in ((3, 8, 8), (1, 1024, 1024), (1, 4, 4), (1, -9, 10**9)):
        classifier = DigitClassifier(4, (1, 8, 8))
        classifier.image_shape = claimed
        save_classifier(classifier, tmp_path / "weights.safetensors")
        with pytest.raises(DataError, match=r"^extractor: .* is not the weights of an extractor .*give a file that"):
            FeatureExtractor.read(tmp_path / "weights.safetensors")


def test_a_classifier_learns_colors(workspace: Path) -> None:
    data = load_images("shapes", SIZE)
    images = data.images.clone()
    images[data.labels == 1, 0], images[data.labels == 0, 2] = 255, 255
    colored = ImageSet(images, data.labels, "colored")
    assert accuracy(train_classifier(colored, epochs=8), colored) == 1
