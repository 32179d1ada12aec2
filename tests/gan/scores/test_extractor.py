"""Extractors of features: their training, the images that they see, their files, and the table of the scores that they give."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from reviver.data.images.image_set import ImageSet, from_pixels
from reviver.errors import ConfigError, DataError
from reviver.gan.scores.feature_extractor import DigitClassifier, FeatureExtractor
from reviver.gan.scores.reference_stats import Comparison
from reviver.gan.scores.scores import NearestDistances, Scores, score_table
from reviver.gan.scores.train_classifier import accuracy, save_classifier, train_classifier


def bars(count: int) -> ImageSet:
    """Images of 8 x 9 pixels in color whose class is the position of their bright row: 1, 3 or 5."""
    labels = torch.arange(count) % 3
    images = torch.zeros(count, 3, 8, 9, dtype=torch.uint8)
    images[torch.arange(count), :, 1 + 2 * labels] = 200
    return ImageSet(images, labels, "bars")


def test_an_extractor_learns_the_classes_and_comes_back_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: Callable[..., None]
) -> None:
    losses: list[tuple[int, float]] = []
    torch.manual_seed(1)  # must not matter
    classifier = train_classifier(bars(300), 3, progress=lambda *report: losses.append(report))
    assert [epoch for epoch, _ in losses] == [1, 2, 3]
    assert losses[2][1] < losses[0][1] < 1.2
    golden("extractor", {"losses": [loss for _, loss in losses]}, relative=1e-2)
    assert not classifier.training
    assert accuracy(classifier, bars(30)) == 1.0
    test = bars(30)
    assert accuracy(classifier, replace(test, labels=(test.labels > 0).long())) == pytest.approx(2 / 3)  # type: ignore[operator]
    digest = save_classifier(classifier, tmp_path / "bars.safetensors")
    again = FeatureExtractor.read(tmp_path / "bars.safetensors")
    assert (again.name, again.sha256) == ("bars", digest)
    assert digest == hashlib.sha256((tmp_path / "bars.safetensors").read_bytes()).hexdigest()
    images = from_pixels(test.images)
    torch.testing.assert_close(again.classifier.probabilities(images), classifier.probabilities(images))
    assert torch.equal(again.extract(test.images).classes, test.labels)
    other = train_classifier(bars(300), 3)
    assert all(map(torch.equal, other.state_dict().values(), classifier.state_dict().values())), "the same bits"
    weights = load_file(tmp_path / "bars.safetensors")
    save_file(weights | {"head.weight": torch.zeros(2, 128)}, tmp_path / "e.safetensors", {"image_shape": "3 x 8 x 9"})
    with pytest.raises(DataError, match=r"e\.safetensors: cannot be read \(.*size mismatch for head"):
        FeatureExtractor.read(tmp_path / "e.safetensors")
    for shape in ("3 x 8", "3 x 7 x 9", f"3 x {10**20} x 8", "a"):
        save_file(weights, tmp_path / "e.safetensors", {"image_shape": shape})
        with pytest.raises(DataError, match=r"\); give a file that reviver gan train-extractor wrote$"):
            FeatureExtractor.read(tmp_path / "e.safetensors")


def test_images_of_unusable_classes_or_sizes_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"^data: .*bars has no labels, which an extractor learns; give an IDX folder with"
    ):
        train_classifier(replace(bars(6), labels=None))
    with pytest.raises(ConfigError, match=r"^epochs must be at least 1, got 0$"):
        train_classifier(bars(6), 0)
    for shape in ((1, 7, 8), (1, 8, 7)):
        with pytest.raises(DataError, match=f"at least 8 x 8 pixels to classify, got {shape[1]} x {shape[2]}$"):
            DigitClassifier(2, shape)


TABLE = """\
200 samples against the 100 test images of shapes
extractor: mine, sha256 abc
                         samples   real data       noise
FID                        12.50        5.00      200.00   2.5 x real data
KID                        0.250       0.100       4.000
precision                  0.700       0.900       0.100
recall                     0.600       0.800       0.200
density                    0.500       0.950       0.300
coverage                   0.400       0.850       0.150
class KL (nats)           0.0125      0.0005      1.5000
class accuracy 0: 50.0%  1: –
classes 0: 75.0%  1: 25.0%
distance to the nearest training image: 10 %, median and 90 %
of 30 samples and of test images:
  by pixels   samples    1.00    2.00    3.00   test    1.50    2.50    3.50
  by features samples   10.00   20.00   30.00   test   15.00   25.00   35.00
real baseline: mean of 2 x 200 training images,
with FID from 4.00 to 6.00
noise baseline: 200 images of uniform noise
k = 5. This FID and KID cannot be compared with those of Inception."""


def test_a_table_of_scores_has_what_is_needed_to_quote_them() -> None:
    numbers = (12.5, 0.25, 0.7, 0.6, 0.5, 0.4, 0.0125, 9.0), (5.0, 0.1, 0.9, 0.8, 0.95, 0.85, 0.0005, 8.0)
    samples, real = (Comparison(*row, class_counts=(150, 50)) for row in numbers)
    noise = Comparison(200.0, 4.0, 0.1, 0.2, 0.3, 0.15, 1.5, 7.0, class_counts=(200, 0))
    pixels = NearestDistances((1.0, 2.0, 3.0), (1.5, 2.5, 3.5), (), ())
    features = NearestDistances((10.0, 20.0, 30.0), (15.0, 25.0, 35.0), (), ())
    known = {"num_samples": 200, "data": "shapes", "num_test_images": 100, "extractor": "mine", "k": 5}
    baselines = {"real_baseline": real, "real_baseline_fids": (6.0, 4.0), "noise_baseline": noise}
    nearest = {"num_searched": 30, "nearest_pixels": pixels, "nearest_features": features}
    scores = Scores(
        **known, extractor_sha256="abc", samples=samples, **baselines, **nearest, class_accuracy=(0.5, None),
        fid_ratio=2.5, warning=None,
    )  # type: ignore[arg-type]  # fmt: skip
    assert "\n".join(score_table(scores)) == TABLE
    lines = score_table(replace(scores, class_accuracy=None, fid_ratio=None, real_baseline=replace(real, fid=0.0)))
    assert [line for line in TABLE.splitlines() if line not in lines] == [TABLE.splitlines()[i] for i in (3, 10)]
