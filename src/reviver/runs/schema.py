"""The schema of the JSON in a run folder: run.json, metrics.jsonl, scores.jsonl, and the metadata of checkpoints.

Every reader of these files validates them. The comment on a key gives its meaning and unit, its type gives its range.
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from reviver.files.errors import damaged_run_file
from reviver.settings.validation import MAX_INTEGER, Record, find_problem

SCHEMA = 1
"""Version of the run folder, in run.json; it stays 1 until the first release."""
MAX_TEXT = 100_000
"""Maximum length of a text such as an error or a command line, in characters."""
MAX_CLASSES = 1000
"""Maximum number of classes of a conditional GAN."""
ABSENT: Any = None
"""Default of a key that a file may lack. It does not make null valid: that depends on the type of the key."""

Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Name = Annotated[str, Field(max_length=1000)]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Side = Annotated[int, Field(ge=1, le=1024)]
Texts = Annotated[list[Name | None], Field(min_length=2, max_length=2)]
Counts = Annotated[list[Count | None], Field(min_length=2, max_length=2)]

Step = Count  # updates so far
Epoch = Count  # epochs so far
Sequences = Count  # training sequences seen so far
Length = Count  # time steps of the epoch's sequences
Seconds = NonNegative  # of training so far, without evaluation
Accuracy = Fraction  # fraction of correct predictions
Loss = float  # mean loss: cross-entropy in nats, or squared error
Time = Annotated[str, Field(max_length=100)]  # UTC, ISO 8601


class Machine(Record):
    """Hardware and system that a run computes on."""

    processor: Name  # model of the processor
    cores: Count | None = None  # logical cores; null if unknown
    threads: Count  # threads that torch computes with
    memory_gb: NonNegative = ABSENT  # main memory in GiB
    device: Name  # `cpu`, `mps`, or the name of a GPU
    system: Name  # operating system and architecture
    native: Name = ABSENT  # build of the native code, such as `prebuilt x86-64-v3`; `none` if it is not used
    processes: Annotated[int, Field(ge=1, le=MAX_INTEGER)] = ABSENT  # that train together; absent: one
    backend: Name = ABSENT  # through which they communicate, gloo or nccl


class Change(Record):
    """Resume in another environment: each value that differs, as [before, after]."""

    at: Time = ABSENT
    processor: Texts = ABSENT
    threads: Counts = ABSENT
    device: Texts = ABSENT
    system: Texts = ABSENT
    native: Texts = ABSENT
    processes: Counts = ABSENT
    backend: Texts = ABSENT
    reviver: Texts = ABSENT
    torch: Texts = ABSENT
    numpy: Texts = ABSENT


class Rollback(Record):
    """Rollback to the last checkpoint after a value that was not finite."""

    step: Count = Field(description="Update at which a value was not finite.")
    quantity: Name = Field(description="That value, such as `train loss`.")
    back_to: Count = Field(description="Update of the checkpoint.")


class Measured(Record):
    """Accuracy of a run of the recall curve on new sequences."""

    sequences: Count = ABSENT
    accuracy: Accuracy


class ImageData(Record):
    """Training images of a GAN."""

    name: Name  # of the data set, or of the file or folder
    num_images: Count  # number of training images
    image_shape: Annotated[list[Side], Field(min_length=3, max_length=3)] = ABSENT  # channels, height, width
    num_classes: Annotated[int, Field(ge=2, le=MAX_CLASSES)] = ABSENT  # number of classes of a conditional run
    sha256: Sha256  # of the pixels


class Centering(Record):
    """Centering of the inputs of a discriminator, see `reviver.gan.centering`."""

    scale: Annotated[float, Field(gt=0)]  # s
    mean_norm_sq: NonNegative  # ‖m‖², with the mean image m in [-1, 1]
    variance: NonNegative  # E‖x - m‖² of the training images x
    mean_sha256: Sha256  # of m, float64


class RunRecord(Record):
    """Content of run.json. Keys that an interrupted run lacks are optional."""

    schema_version: Annotated[int, Field(ge=SCHEMA, le=SCHEMA)] = Field(alias="schema")  # version of the run folder
    kind: Literal["lstm", "gan"]
    status: Literal["running", "finished", "interrupted", "failed"] = "running"  # a killed run stays `running`
    config: dict[str, Any]  # every setting
    command: Text = ABSENT  # command line
    started: Time = ABSENT
    updated: Time = ABSENT
    seconds: Seconds = ABSENT
    eval_seconds: NonNegative = ABSENT
    versions: dict[Name, Name] = ABSENT  # of Python and of packages
    hardware: Machine = ABSENT  # on which the run began
    extractor_sha256: Sha256 = ABSENT  # of the weights of the feature extractor
    error: Text = ABSENT  # message of the error that ended a failed run
    rollbacks: list[Rollback] = ABSENT  # oldest first
    changes: list[Change] = ABSENT  # oldest first
    measured: Measured = ABSENT  # of a run of the recall curve

    @model_validator(mode="after")
    def _check_seconds(self) -> "RunRecord":
        if self.status == "finished" and self.seconds is None:
            raise ValueError("seconds is missing, and the run has finished")
        return self


class LSTMRecord(RunRecord):
    """Content of run.json of an LSTM."""

    data: dict[str, Any] | None = None  # custom data, see `reviver.data.sequences.task`


class GANRecord(RunRecord):
    """Content of run.json of a GAN."""

    data: ImageData = ABSENT
    centering: Centering = ABSENT  # of a run with the setting input_centering


class LSTMMetrics(Record):
    """Record of metrics.jsonl of an LSTM: one epoch. Training metrics are with dropout, validation metrics without."""

    step: Step
    epoch: Epoch
    sequences: Sequences
    train_loss: Loss
    train_accuracy: Accuracy
    validation_loss: Loss
    validation_accuracy: Accuracy
    seconds: Seconds


class CurriculumMetrics(Record):
    """Record of metrics.jsonl of an LSTM with a length curriculum: an epoch, or a validation without training."""

    step: Step
    epoch: Epoch
    sequences: Sequences
    length: Length
    validation_sequences: Count = ABSENT  # number of validation sequences
    train_loss: Loss | None  # null for a validation without training
    train_accuracy: Accuracy | None  # the same
    validation_loss: Loss
    validation_accuracy: Accuracy
    seconds: Seconds


class GANMetrics(Record):
    """Record of metrics.jsonl of a GAN: means over the updates since the last record; null if not finite."""

    step: Step
    epoch: NonNegative  # epochs so far, with a fraction
    generator_loss: float | None  # value of the generator's objective
    discriminator_loss: float | None  # value of the discriminator's objective
    probability_real: Fraction | None  # D(x) of training images
    probability_fake: Fraction | None  # D(G(z)) of generated images
    seconds: Seconds


class Comparison(Record):
    """Scores of generated or real images, compared with the test images; docs/reference/gan-scores.md defines each score."""

    fid: float  # Fréchet distance; 0 is best
    kid: float  # kernel distance; 0 is best, an estimate can be slightly negative
    precision: Fraction  # fraction of images near test images
    recall: Fraction  # fraction of test images near images
    density: NonNegative  # images near each test image, relative to k; about 1 for real images
    coverage: Fraction  # fraction of test images with an image near
    class_kl: float  # KL divergence of the classes from those of the training data, in nats
    spacing: NonNegative  # median distance of an image to its k-th nearest, in units of the features


class Scores(Comparison):
    """Record of scores.jsonl."""

    step: Step
    epoch: Epoch
    class_fractions: Annotated[list[Fraction], Field(max_length=MAX_CLASSES)]  # fraction of the samples in each class
    fid_ratio: float | None  # FID as a multiple of that of real images; null if not finite
    warning: Text | None  # mode collapse or low diversity, and the remedy; null if neither
    real_baseline: Comparison  # scores of the same number of real images
    noise_baseline: Comparison = ABSENT  # scores of the same number of images of uniform noise
    num_samples: Count  # number of samples
    k: Count  # number of the neighbor whose distance defines near
    data: Name  # name of the training data
    extractor: Name  # name of the feature extractor
    extractor_sha256: Sha256  # of the weights of the feature extractor


class Best(Record):
    """An epoch of an LSTM with its validation."""

    step: Step
    epoch: Epoch
    length: Length
    validation_accuracy: Accuracy
    validation_loss: Loss


class Extra(Record):
    """State of a training loop beyond its tensors and counters; each loop uses some of the keys."""

    stage: Count = ABSENT  # number of lengths of the curriculum that have passed
    broken: Count | None = ABSENT  # index of the shortest length known to break, see `reviver.train.lstm.curriculum`
    sequences: Sequences = ABSENT
    best: Best = ABSENT
    improved: Best = ABSENT  # last improvement, with early stopping
    rollbacks: list[Rollback] = ABSENT  # oldest first


class Position(Record):
    """Content of state.json: the position at which training continues."""

    epoch: Count  # of the next batch, from 0
    batch: Count  # index of the next batch in its epoch
    step: Step
    seconds: Seconds
    metrics_count: Count  # lines of metrics.jsonl
    scores_count: Count = ABSENT  # lines of scores.jsonl, of a run that writes them
    extra: Extra


class Pointer(Record):
    """Content of last.json and best.json."""

    step: Count  # update of the checkpoint


class Checksums(Record):
    """Content of checksums.json: SHA-256 of each file of a checkpoint. A folder with only the best weights lacks two of them."""

    networks: Sha256 = Field(alias="networks.safetensors")
    training: Sha256 = Field(default=ABSENT, alias="training.safetensors")
    state: Sha256 = Field(default=ABSENT, alias="state.json")


def validate(model: type[Record], value: Mapping[str, Any], location: object) -> None:
    """Validate the JSON object `value` against `model`; `location` is its file, or its file and line.

    Raises:
        RunFolderError: naming the first invalid key.
    """
    try:
        model.model_validate(value)
    except ValidationError as error:
        known = tuple(field.alias or name for name, field in model.model_fields.items())
        raise damaged_run_file(location, find_problem(error, known)) from error


def record_model(record: Mapping[str, Any]) -> type[RunRecord]:
    """Return the model of a run.json, given its content."""
    return GANRecord if record.get("kind") == "gan" else LSTMRecord


def line_model(record: Mapping[str, Any], name: str) -> type[Record]:
    """Return the model of the records of NAME.jsonl, given the content of the run.json beside it."""
    if name == "scores":
        return Scores
    if record["kind"] == "gan":
        return GANMetrics
    return CurriculumMetrics if record["config"].get("curriculum") else LSTMMetrics


NOT_COMPARED = ("step", "epoch", "sequences", "length", "validation_sequences", "seconds")
"""Keys of records that do not compare runs: they say when, and on what, the others were measured."""


def metric_names(record: Mapping[str, Any], names: Collection[str]) -> list[str]:
    """Return the keys in the records of `names` that compare runs, in the order of the models."""
    metrics = [*line_model(record, "metrics").model_fields, *(Comparison.model_fields if "scores" in names else ())]
    return [name for name in metrics if name not in NOT_COMPARED]
