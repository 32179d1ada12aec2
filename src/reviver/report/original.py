"""The numbers of the original report, each with the place where it stands there."""

from typing import NamedTuple


class Reported(NamedTuple):
    """A number of the original report."""

    value: float
    place: str


TRAIN_ACCURACY = Reported(0.8575, "1.3, third paragraph")
VALIDATION_ACCURACY = Reported(0.9950, "1.3, third paragraph")
TRAIN_LOSS = Reported(0.3915, "1.3, third paragraph")
VALIDATION_LOSS = Reported(0.1444, "1.3, third paragraph")


BREAKTHROUGH_FROM = Reported(0.40, "1.3, first paragraph")
BREAKTHROUGH_TO = Reported(0.55, "1.3, first paragraph")
BREAKTHROUGH_EPOCHS = (Reported(12, "1.3, first paragraph"), Reported(15, "1.3, first paragraph"))
STABLE_ACCURACY = Reported(0.75, "1.3, second paragraph")
STABLE_EPOCH = Reported(60, "1.3, second paragraph")
PERFECT_EPOCH = Reported(80, "1.3, third paragraph")

TRAIN_SEQUENCES, VALIDATION_SEQUENCES = 800, 200
"""Not said there; the only split of the 1000 palindromes in which both accuracies are whole fractions near 80/20."""

GENERATOR_WIDTHS = (128, 256, 512, 1024, 784)
DISCRIMINATOR_WIDTHS = (512, 256, 1)
NORMALISED_WIDTHS = (256, 512, 1024)
NEGATIVE_SLOPE = 0.2
GAN_EPOCHS = 200
"""Not said there; the default of the course's script that the report follows."""
