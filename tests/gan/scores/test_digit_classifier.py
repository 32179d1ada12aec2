"""The digit classifier: its pinned weights, its accuracy, and the images that it takes."""

import hashlib
import json

import pytest
import torch

from reviver.data.images.image_set import from_pixels, load_mnist
from reviver.errors import DataError
from reviver.gan.scores.digit_classifier import DigitClassifier, weights_path


def test_the_pinned_classifier_classifies_digits_as_its_description_says() -> None:
    description = json.loads(weights_path().with_suffix(".json").read_text())
    assert hashlib.sha256(weights_path().read_bytes()).hexdigest() == description["sha256"]
    assert description["command"] == "python -m reviver.gan.scores.train_classifier"
    test, pinned = load_mnist("test"), DigitClassifier.pinned()
    images = from_pixels(test.images)
    probabilities = pinned.probabilities(images)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(10_000))
    accuracy = (probabilities.argmax(1) == test.labels).double().mean().item()
    assert accuracy >= 0.993
    assert accuracy == pytest.approx(description["test_accuracy"], abs=2e-4)
    assert not any(layer.training for layer in pinned.modules())
    one_by_one = torch.cat([pinned.probabilities(image) for image in images[:20].split(1)])
    torch.testing.assert_close(probabilities[:20], one_by_one, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [[2, 1, 8, 8], [2, 3, 28, 28], [2, 784], [28, 28]])
def test_images_of_another_shape_are_refused(shape: list[int]) -> None:
    problem = r"^images must have the shape \[N, 1, 28, 28\] for this classifier, got \[.*\]"
    with pytest.raises(DataError, match=problem):
        DigitClassifier()(torch.zeros(shape))
    with pytest.raises(DataError, match=r"^images must be at least 8 x 8 pixels to classify, got 8 x 7"):
        DigitClassifier(10, (1, 8, 7))
