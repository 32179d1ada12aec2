"""Schema of report.json: its keys with their types and descriptions.

docs/reference/report-json.md is generated from these declarations, and report.typ reads the keys. Fractions are from 0
to 1, losses are cross-entropies in nats, times are in seconds. New keys may be added at any time; `schema_version` rises
when a key is removed, renamed or changes its meaning.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from reviver.runs.schema import Rollback
from reviver.settings.validation import Record
from reviver.text import leaves_bounds

SCHEMA_VERSION = 3

Unit = Literal["fraction", "nats", "epoch", "count", "width", "negative slope"]
Shape = tuple[int, ...]


class Spread(Record):
    """One quantity over several runs."""

    values: tuple[float, ...] = Field(description="Value of each run, in the order of the runs.")
    mean: float = Field(description="Mean.")
    std: float | None = Field(description="Sample standard deviation; null for a single run.")
    min: float = Field(description="Minimum.")
    max: float = Field(description="Maximum.")
    median: float = Field(description="Median.")
    leaves_bounds: bool = Field(description="Whether mean ± std reaches beyond the values that the quantity can have.")

    @classmethod
    def from_values(cls, values: Sequence[float], low: float = 0.0, high: float = math.inf) -> "Spread":
        """Summarize the values of at least one run, of a quantity that lies between `low` and `high`."""
        return cls(
            values=tuple(values),
            mean=statistics.fmean(values),
            std=statistics.stdev(values) if len(values) > 1 else None,
            min=min(values),
            max=max(values),
            median=statistics.median(values),
            leaves_bounds=leaves_bounds(values, low, high),
        )

    def contains(self, value: float) -> bool:
        """Return whether `value` lies between minimum and maximum, up to rounding."""
        return self.min - 1e-9 <= value <= self.max + 1e-9


class TrainingRun(Record):
    """A training run."""

    name: str = Field(description="Name of the run folder, inside runs/.")
    seed: int = Field(description="Random seed.")
    epochs: int = Field(description="Passes over the training data.")
    updates: int = Field(description="Weight updates before the checkpoint that the report uses.")
    seconds: float = Field(description="Training time in seconds.")
    started: str = Field(description="Start date as YYYY-MM-DD.")
    command: str = Field(description="Command that trains a run with the same settings.")
    recorded_command: str = Field(description="Command that trained this run.")
    commit: str | None = Field(
        default=None, description="Commit of Reviver that trained this run; null if it is not recorded."
    )
    hardware: dict[str, Any] = Field(description="Machine: system, processor, cores, threads, memory_gb, device.")
    versions: dict[str, Any] = Field(description="Versions of Python, Reviver and its dependencies.")
    rollbacks: tuple[Rollback, ...] = Field(description="Returns to a checkpoint after a value that was not finite.")
    changes: tuple[str, ...] = Field(description='Environment changes at resumes, such as "threads was 4 and is 2".')


class ModuleParameters(Record):
    """Parameters of one module."""

    module: str = Field(description="Module name; empty for the network itself.")
    kind: str = Field(description="Module class.")
    names: tuple[str, ...] = Field(description="Parameter names.")
    shapes: tuple[Shape, ...] = Field(description="Shape of each parameter.")
    num_parameters: int = Field(description="Total number of elements.")


class NoDropout(Record):
    """Runs of the LSTM with the same settings except for hidden dropout, which is 0."""

    runs: tuple[TrainingRun, ...] = Field(description="Runs, in the order of their seeds.")
    final: dict[str, Spread] = Field(description="Metrics at the last epoch.")
    mean_of_last: dict[str, Spread] = Field(description="Mean over the last `num_last_epochs` epochs.")


class LSTMSection(Record):
    """The LSTM's runs, which differ only in their seed."""

    runs: tuple[TrainingRun, ...] = Field(description="Runs, in the order of their seeds.")
    settings: dict[str, Any] = Field(description="Settings of the runs; `seed` lists the seeds of all runs.")
    descriptions: dict[str, str] = Field(description="Description of each setting.")
    num_train_sequences: int = Field(description="Number of training palindromes.")
    num_validation_sequences: int = Field(description="Number of validation palindromes.")
    chance_accuracy: float = Field(description="Accuracy of random guessing.")
    chance_loss: float = Field(description="Loss of random guessing.")
    example: tuple[int, ...] = Field(description="Digits of one validation palindrome.")
    forget_bias: float = Field(description="Initial bias of the forget gate.")
    parameters: tuple[ModuleParameters, ...] = Field(description="Parameters of the network.")
    num_parameters: int = Field(description="Total number of elements of all parameters.")
    final: dict[str, Spread] = Field(
        description="Metrics at the last epoch: train_loss, train_accuracy, validation_loss, validation_accuracy."
    )
    best: dict[str, Spread] = Field(description="Lowest loss and highest accuracy, each at its own epoch.")
    mean_of_last: dict[str, Spread] = Field(description="Mean over the last `num_last_epochs` epochs.")
    num_last_epochs: int = Field(description="Number of epochs that this mean is taken over: 10, or all if fewer.")
    best_validation_accuracy: Spread = Field(description="Highest validation accuracy of each run.")
    train_accuracy_without_dropout: Spread = Field(description="Final training accuracy with dropout off.")
    no_dropout: NoDropout | None = Field(description="Runs trained without dropout; null if there are none.")


class LinearLayer(Record):
    """A linear layer of the GAN and the modules up to the next one."""

    inputs: int = Field(description="Input features.")
    outputs: int = Field(description="Output features.")
    followed_by: tuple[str, ...] = Field(description='Modules before the next linear layer, such as "LeakyReLU 0.2".')


class NetworkLayers(Record):
    """One network of the GAN."""

    layers: tuple[LinearLayer, ...] = Field(description="Linear layers.")
    parameters: tuple[ModuleParameters, ...] = Field(description="Parameters.")
    num_parameters: int = Field(description="Total number of elements of all parameters.")


class SampleGrid(Record):
    """A grid of generated images."""

    epoch: int = Field(description="Completed epochs.")
    update: int | None = Field(description="Updates so far, for a grid within an epoch; null at the end of an epoch.")


class DigitCounts(Record):
    """Digits that the classifier recognizes in a set of images."""

    num_images: int = Field(description="Number of images.")
    counts: tuple[int, ...] = Field(description="Images recognized as each digit, 0 to 9.")
    fraction: float = Field(description="Fraction of the images recognized as any digit.")
    standard_error: float = Field(description="Standard error of that fraction, from the number of images alone.")
    balanced_fraction: float = Field(description="That fraction, each digit capped at 0.1: one digit gives 0.1.")
    num_digits: int = Field(description="Number of different digits recognized.")

    @classmethod
    def from_counts(cls, num_images: int, counts: Sequence[int]) -> "DigitCounts":
        """Summarize `counts`, the images recognized as each digit, of `num_images` images."""
        fraction = sum(counts) / num_images
        return cls(
            num_images=num_images,
            counts=tuple(counts),
            fraction=fraction,
            standard_error=(fraction * (1 - fraction) / num_images) ** 0.5,
            balanced_fraction=sum(min(count, num_images / len(counts)) for count in counts) / num_images,
            num_digits=sum(count > 0 for count in counts),
        )


class Recognition(Record):
    """Digits recognized in generated and in real images."""

    min_confidence: float = Field(description="Minimum probability at which a digit counts as recognized.")
    untrained: DigitCounts = Field(description="Samples of the generator before training.")
    trained: DigitCounts = Field(description="Samples of the generator after training.")
    real: DigitCounts = Field(description="Real test images.")
    real_accuracy: float = Field(description="Accuracy of the classifier on these real images, at any confidence.")


class InterpolatedImages(Record):
    """Images between two latent vectors."""

    num_images: int = Field(description="Number of images, including both ends.")
    digits: tuple[int, ...] | None = Field(description="Predicted digit of each image; null without digits.")
    confidences: tuple[float, ...] | None = Field(description="Probability of that digit.")


class SampleScores(Record):
    """Scores of samples during training; those at the last evaluation."""

    num_evaluations: int = Field(description="Number of evaluations during training.")
    num_samples: int = Field(description="Samples per evaluation.")
    extractor: str = Field(description="Feature extractor.")
    extractor_sha256: str = Field(description="SHA-256 of its weights.")
    num_features: int = Field(description="Features per image.")
    fid: float = Field(description="Fréchet distance between the features of samples and of real test images.")
    fid_ratio: float | None = Field(description="FID divided by `real_baseline_fid`; null if that is 0.")
    coverage: float = Field(description="Fraction of the real images with a sample among their nearest neighbors.")
    real_baseline_fid: float = Field(description="FID of as many real training images.")
    real_baseline_coverage: float = Field(description="Coverage of as many real training images.")
    collapsed_epochs: tuple[float, ...] = Field(description="Epochs of the evaluations that found mode collapse.")
    collapse_warning: str | None = Field(description="Warning of the last evaluation; null without mode collapse.")


class GANSection(Record):
    """The GAN's run."""

    run: TrainingRun = Field(description="Run.")
    settings: dict[str, Any] = Field(description="Settings of the run.")
    descriptions: dict[str, str] = Field(description="Description of each setting.")
    data: str = Field(description="Name of the training images.")
    num_images: int = Field(description="Number of training images.")
    image_shape: Shape = Field(description="Channels, height and width of an image.")
    script_epochs: int = Field(description="Epochs of the script that the original follows.")
    generator: NetworkLayers = Field(description="Generator.")
    discriminator: NetworkLayers = Field(description="Discriminator.")
    grids: dict[str, SampleGrid] = Field(description="Grids of figures 2 to 4: start, middle, end.")
    recognition: Recognition | None = Field(description="Recognized digits; null if the run did not learn digits.")
    interpolation: InterpolatedImages = Field(description="Images of figure 5.")
    final: dict[str, float | None] = Field(
        description="Last metrics: generator_loss, discriminator_loss, probability_real and probability_fake; null if "
        "not finite."
    )
    scores: SampleScores | None = Field(description="Scores of samples; null without evaluations during training.")


class MeasuredRow(Record):
    """A number of the original beside the measured ones."""

    unit: Unit = Field(description="Unit of both numbers; `fraction` also for differences of fractions.")
    original: float | None = Field(description="Number that the original prints; null if it prints none.")
    section: str | None = Field(description="Section and paragraph of the original.")
    measured: Spread | None = Field(description="Measured numbers; null if no run has one.")
    num_runs: int = Field(description="Number of runs measured.")
    agrees: bool | None = Field(description="Whether that number lies in the range of the runs; null without one.")
    distance_to_range: float | None = Field(description="Distance of the original's number to that range; 0 inside it.")
    distance_in_std: float | None = Field(
        description="Distance to the mean in standard deviations; null without `std`."
    )


class StructureRow(Record):
    """Numbers of the original's networks beside those of the runs: given, not measured, whatever the seed is."""

    unit: Unit = Field(description="Unit of all numbers.")
    original: tuple[float, ...] | None = Field(description="Numbers that the original prints; null if it prints none.")
    measured: tuple[float, ...] = Field(description="Numbers of the runs.")
    agrees: bool | None = Field(description="Whether they are equal; null if the original prints none.")


class OriginalComparison(Record):
    """What the original prints beside the results of the runs."""

    lstm: dict[str, MeasuredRow | StructureRow] = Field(description="Rows about the LSTM, by the name of the quantity.")
    gan: dict[str, MeasuredRow | StructureRow] = Field(description="Rows about the GAN, by the name of the quantity.")
    num_compared: int = Field(description="Number of measured rows for which the original prints a number.")
    num_agreeing: int = Field(description="Number of these rows that agree.")


class Report(Record):
    """The whole of report.json."""

    schema_version: int = Field(description="Version of this schema.")
    reviver: str = Field(description="Version of Reviver that wrote the file.")
    commit: str | None = Field(default=None, description="Its commit; null if that is unknown.")
    lstm: LSTMSection = Field(description="LSTM.")
    gan: GANSection = Field(description="GAN.")
    comparison: OriginalComparison = Field(description="What the original prints beside the results of the runs.")
