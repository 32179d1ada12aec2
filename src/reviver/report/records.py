"""What report.json holds, declared once: docs/reference/report-json.md lists these keys, and report.typ reads them.

Fractions are from 0 to 1, losses are cross-entropies in nats, times are seconds. Keys may be added; `schema_version`
rises when one changes its meaning or goes.
"""

import statistics
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from reviver.runs.schema import Rollback
from reviver.validation import Record

SCHEMA_VERSION = 1

Unit = Literal["fraction", "nats", "epoch", "count", "width", "slope"]
Shape = tuple[int, ...]


class Spread(Record):
    """The same quantity of several runs."""

    values: tuple[float, ...] = Field(description="Its value in each run, in the order of the runs.")
    mean: float = Field(description="Their mean.")
    std: float | None = Field(description="Their sample standard deviation; null for a single run.")
    min: float = Field(description="The lowest of them.")
    max: float = Field(description="The highest of them.")

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Sum up at least one value."""
        std = statistics.stdev(values) if len(values) > 1 else None
        return cls(values=tuple(values), mean=statistics.fmean(values), std=std, min=min(values), max=max(values))

    def holds(self, value: float) -> bool:
        """Return whether `value` lies between the lowest and the highest, up to rounding."""
        return self.min - 1e-9 <= value <= self.max + 1e-9


class Run(Record):
    """A training run."""

    name: str = Field(description="Name of its folder in runs/.")
    seed: int = Field(description="Its seed.")
    epochs: int = Field(description="Passes over its data.")
    updates: int = Field(description="Updates after which the weights were saved that this report measures.")
    seconds: float = Field(description="Seconds of training.")
    started: str = Field(description="Day on which it began, as YYYY-MM-DD.")
    command: str = Field(description="Command that trains a run like this one.")
    recorded_command: str = Field(description="Command that trained it.")
    hardware: dict[str, Any] = Field(description="Its machine: system, processor, cores, threads, memory_gb, device.")
    versions: dict[str, Any] = Field(description="Versions of the software.")
    rollbacks: tuple[Rollback, ...] = Field(description="Its returns to a checkpoint.")
    changes: tuple[str, ...] = Field(description='Resumes in another environment: "threads was 4 and is 2".')


class Parameters(Record):
    """Parameters of one module that have the same shapes."""

    module: str = Field(description="Name of the module; empty for the network itself.")
    kind: str = Field(description="Class of the module.")
    names: tuple[str, ...] = Field(description="Names of the parameters.")
    shapes: tuple[Shape, ...] = Field(description="Shape of each.")
    count: int = Field(description="Numbers in all of them.")


class LSTM(Record):
    """The runs of the LSTM, which differ in their seed only."""

    runs: tuple[Run, ...] = Field(description="The runs.")
    settings: dict[str, Any] = Field(description="Their settings; of `seed` the seeds of all runs.")
    meanings: dict[str, str] = Field(description="Meaning of each setting.")
    train_sequences: int = Field(description="Palindromes that are trained on.")
    validation_sequences: int = Field(description="Palindromes that validate.")
    chance_accuracy: float = Field(description="Accuracy of guessing, as a fraction.")
    chance_loss: float = Field(description="Loss of guessing.")
    example: tuple[int, ...] = Field(description="Digits of a palindrome of the validation part.")
    forget_bias: float = Field(description="Bias that the forget gate starts with.")
    parameters: tuple[Parameters, ...] = Field(description="Parameters of the network.")
    num_parameters: int = Field(description="Numbers in all parameters.")
    final: dict[str, Spread] = Field(
        description="Metrics at the last epoch: train_loss, train_accuracy, validation_loss, validation_accuracy."
    )
    best_validation_accuracy: Spread = Field(description="Highest validation accuracy of each run.")
    train_accuracy_without_dropout: Spread = Field(description="Training accuracy of the final weights, dropout off.")


class Layer(Record):
    """A linear layer of the GAN with what follows it."""

    inputs: int = Field(description="Its inputs.")
    outputs: int = Field(description="Its outputs.")
    followers: tuple[str, ...] = Field(description='What follows it up to the next, such as "LeakyReLU 0.2".')


class Network(Record):
    """One network of the GAN."""

    layers: tuple[Layer, ...] = Field(description="Its linear layers.")
    parameters: tuple[Parameters, ...] = Field(description="Its parameters.")
    num_parameters: int = Field(description="Numbers in all parameters.")


class Grid(Record):
    """A grid of generated images."""

    epoch: int = Field(description="Whole epochs of training before it.")
    update: int | None = Field(description="Updates before it, of a grid within an epoch; null at the end of one.")


class Recognition(Record):
    """What the digit classifier recognises among images."""

    size: int = Field(description="Images.")
    counts: tuple[int, ...] = Field(description="Images of each digit 0 to 9 that it is confident of.")
    fraction: float = Field(description="Fraction of the images that it is confident of.")
    standard_error: float = Field(description="Standard error of that fraction, from the number of images alone.")
    balanced: float = Field(description="That fraction, each digit counted for at most 0.1: one digit alone gives 0.1.")
    digits: int = Field(description="Digits that occur.")

    @classmethod
    def of(cls, size: int, counts: Sequence[int]) -> "Recognition":
        """Sum up how many of `size` images are recognised as each digit."""
        fraction = sum(counts) / size
        return cls(
            size=size,
            counts=tuple(counts),
            fraction=fraction,
            standard_error=(fraction * (1 - fraction) / size) ** 0.5,
            balanced=sum(min(count, size / len(counts)) for count in counts) / size,
            digits=sum(count > 0 for count in counts),
        )


class Recognitions(Record):
    """The digit classifier on generated and on real images."""

    confidence: float = Field(description="Probability from which on it counts as confident.")
    before: Recognition = Field(description="Samples of the untrained generator.")
    after: Recognition = Field(description="Samples of the trained generator.")
    real: Recognition = Field(description="Real test images.")
    real_accuracy: float = Field(description="Fraction of the real images whose label it names, at any confidence.")


class Interpolation(Record):
    """The images between two latent vectors."""

    images: int = Field(description="Images, the two ends included.")
    digits: tuple[int, ...] | None = Field(description="What the classifier takes each for; null if it was not asked.")
    confidences: tuple[float, ...] | None = Field(description="Probability that it gives to that digit.")


class Scores(Record):
    """The last scores of the samples that were taken while training."""

    count: int = Field(description="How often the samples were scored.")
    samples: int = Field(description="Samples of one scoring.")
    extractor: str = Field(description="Feature extractor.")
    extractor_sha256: str = Field(description="SHA-256 of its weights.")
    num_features: int = Field(description="Features of an image.")
    fid: float = Field(description="Fréchet distance of the samples to the real images.")
    fid_ratio: float = Field(description="That divided by the baseline.")
    coverage: float = Field(description="Fraction of the real images that samples come near to.")
    baseline_fid: float = Field(description="FID of as many real training images.")
    baseline_coverage: float = Field(description="Coverage of as many real training images.")
    collapsed_epochs: tuple[float, ...] = Field(description="Epochs of the scorings that found mode collapse.")
    collapse: str | None = Field(description="What is wrong at the last scoring; null if nothing is.")


class GAN(Record):
    """The run of the GAN."""

    run: Run = Field(description="The run.")
    settings: dict[str, Any] = Field(description="Its settings.")
    meanings: dict[str, str] = Field(description="Meaning of each setting.")
    data: str = Field(description="Name of the images.")
    images: int = Field(description="Images that are trained on.")
    image_shape: Shape = Field(description="Channels, height and width of an image.")
    script_epochs: int = Field(description="Epochs of the script that the original report follows.")
    generator: Network = Field(description="The generator.")
    discriminator: Network = Field(description="The discriminator.")
    grids: dict[str, Grid] = Field(description="The grids of figures 2 to 4: start, middle, end.")
    recognition: Recognitions | None = Field(description="Recognised digits; null if the run did not learn digits.")
    interpolation: Interpolation = Field(description="The images of figure 5.")
    last: dict[str, float | None] = Field(
        description="Last generator_loss, discriminator_loss, probability_real and probability_fake; null if not finite."
    )
    scores: Scores | None = Field(description="Scores of the samples; null if none were taken.")


class Row(Record):
    """A number of the original report beside ours."""

    unit: Unit = Field(description="Unit of both; `fraction` also of differences of fractions.")
    reported: float | None = Field(description="The original's number; null if it gives none.")
    place: str | None = Field(description="Section and paragraph of the original.")
    ours: Spread | None = Field(description="Ours; null if it was reached by no run.")
    runs: int = Field(description="Runs that were measured.")
    agrees: bool | None = Field(description="Whether the original's number lies in our range; null if it gives none.")
    outside: float | None = Field(description="Distance of the original's number from that range; 0 inside it.")
    distance_in_std: float | None = Field(description="Its distance from our mean in units of std; null without std.")


class StructureRow(Record):
    """Numbers of the original's networks or data beside ours, in which there is no chance."""

    unit: Unit = Field(description="Unit of both.")
    reported: tuple[float, ...] = Field(description="The original's numbers.")
    ours: tuple[float, ...] = Field(description="Ours.")
    agrees: bool = Field(description="Whether they are the same.")


class Comparison(Record):
    """The original report's numbers beside ours."""

    lstm: dict[str, Row | StructureRow] = Field(description="Rows about the LSTM, by the name of the quantity.")
    gan: dict[str, Row | StructureRow] = Field(description="Rows about the GAN, by the name of the quantity.")
    compared: int = Field(description="Rows in which both numbers are known.")
    agreeing: int = Field(description="Rows of these that agree.")


class Report(Record):
    """The whole of report.json."""

    schema_version: int = Field(description="Version of these keys.")
    reviver: str = Field(description="Version of Reviver that wrote the file.")
    lstm: LSTM = Field(description="The LSTM.")
    gan: GAN = Field(description="The GAN.")
    comparison: Comparison = Field(description="The original report's numbers beside ours.")
