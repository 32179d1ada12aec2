"""The schema of the JSON in a run folder: run.json, metrics.jsonl, scores.jsonl, and the metadata of checkpoints.

Whatever reads these files validates them.
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from reviver.errors import RunFolderError
from reviver.untrusted import MAX_JSON_INTEGER
from reviver.validation import Record, find_problem

MAX_TEXT = 100_000
"""Characters of a text such as an error or a command line."""
MAX_CLASSES = 1000
"""Classes of a conditional GAN."""
ABSENT: Any = None
"""Default of a key that a file may lack; null is refused all the same where the key's type has no null."""

Count = Annotated[int, Field(ge=0, le=MAX_JSON_INTEGER)]
Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Name = Annotated[str, Field(max_length=1000)]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Side = Annotated[int, Field(ge=1, le=1024)]
Texts = Annotated[list[Name | None], Field(min_length=2, max_length=2)]
Counts = Annotated[list[Count | None], Field(min_length=2, max_length=2)]

Step = Annotated[Count, Field(description="Updates so far.")]
Epoch = Annotated[Count, Field(description="Epochs so far.")]
Sequences = Annotated[Count, Field(description="Training sequences seen so far.")]
Length = Annotated[Count, Field(description="Time steps of the epoch's sequences.")]
Seconds = Annotated[NonNegative, Field(description="Seconds of training so far, without scoring.")]
Accuracy = Annotated[Fraction, Field(description="Fraction of correct answers.")]
Loss = Annotated[float, Field(description="Mean loss: nats, or the squared error of a number.")]
Time = Annotated[str, Field(max_length=100, description="UTC, ISO 8601.")]

Model = TypeVar("Model", bound=Record)


class Machine(Record):
    """The hardware and system that a run computes on."""

    processor: Name
    """Model of the processor."""
    cores: Count | None = None
    """Logical cores; null if unknown."""
    threads: Count
    """Threads that torch computes with."""
    memory_gb: NonNegative = ABSENT
    """Main memory in GiB."""
    device: Name
    """`cpu`, `mps`, or the name of a GPU."""
    system: Name
    """Operating system and architecture."""


class Change(Record):
    """A resume in another environment: what differs, as the value before and the value after."""

    at: Time = ABSENT
    processor: Texts = ABSENT
    threads: Counts = ABSENT
    device: Texts = ABSENT
    system: Texts = ABSENT
    reviver: Texts = ABSENT
    torch: Texts = ABSENT
    numpy: Texts = ABSENT


class Rollback(Record):
    """A return to the last checkpoint."""

    step: Count
    """Update at which a value was not finite."""
    quantity: Name
    """That value, such as `train loss`."""
    back_to: Count
    """Update of the checkpoint."""


class Measured(Record):
    """The accuracy of a run of the recall curve on fresh sequences."""

    sequences: Count = ABSENT
    """Sequences it was measured on."""
    accuracy: Accuracy


class ImageData(Record):
    """The images of a GAN run."""

    name: Name
    """Name of the data set, or of the file or folder."""
    images: Count
    """Number of training images."""
    image_shape: Annotated[list[Side], Field(min_length=3, max_length=3)] = ABSENT
    """Channels, height and width."""
    classes: Annotated[int, Field(ge=2, le=MAX_CLASSES)] = ABSENT
    """Number of classes of a conditional run."""
    sha256: Sha256
    """Hash of the pixels."""


class RunRecord(Record):
    """run.json. Keys that an interrupted or older run lacks are optional."""

    schema_version: Annotated[int, Field(ge=1)] = Field(alias="schema")
    """Version of the folder's layout, see migrations.py."""
    kind: Literal["lstm", "gan"]
    """Network that is trained."""
    status: Literal["running", "finished", "interrupted", "failed"] = "running"
    """State of training; a killed run stays `running`."""
    config: dict[str, Any]
    """Every setting."""
    command: Text = ABSENT
    """Command line."""
    started: Time = ABSENT
    updated: Time = ABSENT
    seconds: Seconds = ABSENT
    scoring_seconds: NonNegative = ABSENT
    """Seconds of scoring."""
    versions: dict[Name, Name] = ABSENT
    """Versions of Python and of packages."""
    hardware: Machine = ABSENT
    """Machine that the run began on."""
    extractor_sha256: Sha256 = ABSENT
    """Hash of the weights of the feature extractor."""
    error: Text = ABSENT
    """Message of the error that ended a failed run."""
    rollbacks: list[Rollback] = ABSENT
    """Returns to a checkpoint, oldest first."""
    changes: list[Change] = ABSENT
    """Resumes in another environment, oldest first."""
    measured: Measured = ABSENT
    """Accuracy, of a run of the recall curve."""

    @model_validator(mode="after")
    def _check_seconds(self) -> "RunRecord":
        if self.status == "finished" and self.seconds is None:
            raise ValueError("seconds is missing, and the run has finished")
        return self


class LSTMRecord(RunRecord):
    """run.json of an LSTM."""

    data: dict[str, Any] | None = None
    """Custom data, see `lstm.tasks.own`."""


class GANRecord(RunRecord):
    """run.json of a GAN."""

    data: ImageData = ABSENT
    """Training images."""


class LSTMMetrics(Record):
    """A line of metrics.jsonl of an LSTM: an epoch, with dropout in training and without it in validation."""

    step: Step
    epoch: Epoch
    sequences: Sequences
    train_loss: Loss
    train_accuracy: Accuracy
    validation_loss: Loss
    validation_accuracy: Accuracy
    seconds: Seconds


class CurriculumMetrics(LSTMMetrics):
    """The same of a run whose sequences grow longer."""

    length: Length


class GANMetrics(Record):
    """A line of metrics.jsonl of a GAN: means over the last updates; what was not finite is null."""

    step: Step
    epoch: NonNegative
    """Epochs so far, with a fraction."""
    generator_loss: float | None
    """Value of the generator's objective."""
    discriminator_loss: float | None
    """Value of the discriminator's objective."""
    probability_real: Fraction | None
    """D(x) of training images."""
    probability_fake: Fraction | None
    """D(G(z)) of generated images."""
    seconds: Seconds


class Comparison(Record):
    """Generated or real images against the test images; docs/gan.md defines each score."""

    fid: float
    """Fréchet distance; 0 is best."""
    kid: float
    """Kernel distance; 0 is best, and a little less by chance."""
    precision: Fraction
    """Fraction of images near test images."""
    recall: Fraction
    """Fraction of test images near images."""
    density: NonNegative
    """Images near each test image, relative to k; about 1 for real images."""
    coverage: Fraction
    """Fraction of test images with an image near."""
    class_kl: float
    """KL divergence of the classes from those of the training data, in nats."""
    spacing: NonNegative
    """Median distance of an image to its k-th nearest, in units of the features."""


class Scores(Comparison):
    """A line of scores.jsonl."""

    step: Step
    epoch: Epoch
    classes: Annotated[list[Fraction], Field(max_length=MAX_CLASSES)]
    """Fraction of the samples in each class."""
    fid_ratio: float | None
    """FID as a multiple of that of real images; null if not finite."""
    warning: Text | None
    """Problem of the samples and its remedy, if they lack variety."""
    floor: Comparison
    """Scores of as many real images."""
    n: Count
    """Number of samples."""
    k: Count
    """Neighbour that defines near."""
    data: Name
    """Name of the training data."""
    extractor: Name
    """Name of the feature extractor."""
    extractor_sha256: Sha256
    """Hash of its weights."""


class Best(Record):
    """The best epoch of an LSTM so far, by its validation."""

    step: Step
    epoch: Epoch
    length: Length
    validation_accuracy: Accuracy
    validation_loss: Loss


class Extra(Record):
    """The state of a training loop beyond its tensors and counters; each key where the loop has it."""

    stage: Count = ABSENT
    """Lengths of the curriculum that were passed."""
    sequences: Sequences = ABSENT
    best: Best = ABSENT
    """Best epoch so far."""
    rollbacks: list[Rollback] = ABSENT
    """Returns to a checkpoint, oldest first."""


class Position(Record):
    """state.json: where training goes on."""

    epoch: Count
    """Epoch of the next batch, from 0."""
    batch: Count
    """Index of the next batch in its epoch."""
    step: Step
    seconds: Seconds
    metrics_count: Count
    """Lines of metrics.jsonl."""
    scores_count: Count = ABSENT
    """Lines of scores.jsonl, of a run that writes them."""
    extra: Extra
    """Further state of the training loop."""


class Pointer(Record):
    """last.json and best.json."""

    step: Count
    """Update whose checkpoint is meant."""


class Checksums(Record):
    """checksums.json: SHA-256 of each file of a checkpoint. The best weights are kept without the other two."""

    networks: Sha256 = Field(alias="networks.safetensors")
    training: Sha256 = Field(default=ABSENT, alias="training.safetensors")
    state: Sha256 = Field(default=ABSENT, alias="state.json")


def validate(model: type[Model], value: Mapping[str, Any], where: object) -> Model:
    """Return the JSON object `value` as a `model`; `where` names the file, and the line.

    Raises:
        RunFolderError: naming the first key that is wrong.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        known = tuple(field.alias or name for name, field in model.model_fields.items())
        problem = find_problem(error, known)
        raise RunFolderError(f"{where}: {problem}; the file is damaged, restore it or train again") from error


def record_model(record: Mapping[str, Any]) -> type[RunRecord]:
    """Return the model of a run.json."""
    return GANRecord if record.get("kind") == "gan" else LSTMRecord


def line_model(record: Mapping[str, Any], name: str) -> type[Record]:
    """Return the model of the lines of NAME.jsonl, by the run.json beside it."""
    if name == "scores":
        return Scores
    if record["kind"] == "gan":
        return GANMetrics
    return CurriculumMetrics if record["config"].get("grow") else LSTMMetrics


def metric_names(record: Mapping[str, Any], names: Collection[str]) -> list[str]:
    """Return the keys of the lines of NAME.jsonl that compare runs."""
    metrics = [*line_model(record, "metrics").model_fields, *(Comparison.model_fields if "scores" in names else ())]
    return [name for name in metrics if name not in ("step", "epoch", "sequences", "length", "seconds")]
