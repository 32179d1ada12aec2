"""The numbers of the original report, each with the place where it stands there."""

from typing import NamedTuple


class Reported(NamedTuple):
    """A number of the original report, as fractions and epochs; `place` is its section and paragraph."""

    value: float
    place: str


TRAIN_ACCURACY = Reported(0.8575, "1.3, third paragraph")
VALIDATION_ACCURACY = Reported(0.9950, "1.3, third paragraph")
TRAIN_LOSS = Reported(0.3915, "1.3, third paragraph")
VALIDATION_LOSS = Reported(0.1444, "1.3, third paragraph")
ACCURACY_GAP = Reported(VALIDATION_ACCURACY.value - TRAIN_ACCURACY.value, "1.3, third paragraph")

BREAKTHROUGH = ((0.40, Reported(12, "1.3, first paragraph")), (0.55, Reported(15, "1.3, first paragraph")))
"""Validation accuracies, and the epochs at which they are reached."""
STABLE_ACCURACY, STABLE_EPOCH = 0.75, Reported(60, "1.3, second paragraph")
"""The training accuracy that is exceeded after this epoch."""
PERFECT_EPOCH = 80
"""Validation accuracy is "frequently" 100 % after it (1.3, third paragraph)."""

TRAIN_SEQUENCES, VALIDATION_SEQUENCES = 800, 200
"""Not given there; the only split of the 1000 palindromes in which both accuracies are whole fractions near 80/20."""

GENERATOR_WIDTHS = (128, 256, 512, 1024, 784)
DISCRIMINATOR_WIDTHS = (512, 256, 1)
NORMALISED_WIDTHS = (256, 512, 1024)
NEGATIVE_SLOPE = 0.2
GAN_EPOCHS = 200
"""Not given there; the default of the course's script that the report follows."""
