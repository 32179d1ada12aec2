"""Extractors of features: their training, the images that they see, their files, and the table of the scores that they give."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from reviver.data.images.image_set import ImageSet, from_pixels
from reviver.errors import DataError
from reviver.gan.scores.feature_extractor import FeatureExtractor
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
