"""The records of a run folder: run.json and the lines of records files, of both networks.

Every reader of these files validates them. The comment on a key gives its meaning and unit, its type gives its range.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from reviver.errors import RunFolderError
from reviver.files.file_errors import RUN_REMEDY
from reviver.files.read import Model, validate_record
from reviver.settings.fields import CountOrZero as Count
from reviver.settings.fields import NonNegative
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.settings.validation import Record

SCHEMA = 1
"""Version of the run folder, in run.json; it stays 1 until the first release."""
REMOVED = frozenset({"order", "bptt_steps", "on_nan", "max_rollbacks"})
"""Names of former settings, which a run.json may have and which are ignored where a network no longer has them."""
ABSENT: Any = None
"""Default of a key that a file may lack. It does not make null valid: that depends on the type of the key."""

Fraction = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

Step = Count  # updates so far
Epoch = Count  # epochs so far
Seconds = NonNegative  # of training so far, without evaluation


class CustomPart(Record):
    """File of a user-defined class."""

    file: str  # its name in `parts/`
    sha256: Sha256  # SHA-256 of it


class Rollback(Record):
    """Rollback to the last checkpoint after a value that was not finite."""

    step: Step  # at which a value was not finite
    quantity: str  # that value, such as `train loss`
    back_to: Step  # of the checkpoint


class RunRecord(Record):
    """Content of run.json. Keys that an interrupted run lacks are optional."""

    schema_version: Annotated[int, Field(ge=SCHEMA, le=SCHEMA)] = Field(alias="schema")  # version of the run folder
    kind: Literal["lstm", "gan"]
    status: Literal["running", "finished", "interrupted", "failed"] = "running"  # a killed run stays `running`
    config: dict[str, Any]  # every setting
    command: str = ABSENT  # command line
    started: str = ABSENT  # UTC, ISO 8601
    updated: str = ABSENT  # the same
    job: str = ABSENT  # torchrun that began the run, until it has finished
    seconds: Seconds = ABSENT
    eval_seconds: NonNegative = ABSENT
    versions: dict[str, str] = ABSENT  # of Python and of packages
    hardware: dict[str, Any] = ABSENT  # on which the run began, see `reviver.runs.environment.describe_machine`
    parts: dict[str, CustomPart] = ABSENT  # user-defined classes by their setting, see settings/parts.py
    error: str = ABSENT  # message of the error that ended a failed run
    rollbacks: list[Rollback] = ABSENT  # oldest first
    changes: list[dict[str, Any]] = ABSENT  # of the environment at resumes: [before, after] by key


class Line(Record):
    """One line of a records file."""

    compared: ClassVar[tuple[str, ...]] = ()  # keys that compare runs: TensorBoard's table of hyperparameters has them


MAX_CLASSES = 1000
"""Maximum number of classes of a conditional GAN."""
Side = Annotated[int, Field(ge=1, le=1024)]


class ImageData(Record):
    """Training images."""

    name: str  # of the data set, or of the file or folder
    num_images: Count  # number of training images
    image_shape: Annotated[list[Side], Field(min_length=3, max_length=3)] = ABSENT  # channels, height, width
    num_classes: Annotated[int, Field(ge=2, le=MAX_CLASSES)] = ABSENT  # number of classes of a conditional run
    sha256: Sha256  # of the pixels


Accuracy = Fraction  # fraction of correct predictions
Loss = float  # mean loss: cross-entropy in nats, or squared error


class LSTMRecord(RunRecord):
    """Content of run.json of an LSTM."""

    data: dict[str, Any] | None = None  # custom data, see `reviver.data.sequences.custom`
    measured: dict[str, float] = ABSENT  # accuracy of a run of the recall curve, on `sequences` new sequences


class _Validated(Line):
    """Line of metrics.jsonl: an epoch. Training metrics are with dropout, validation metrics without."""

    compared = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")

    step: Step
    epoch: Epoch
    sequences: Count  # training sequences seen so far
    validation_loss: Loss
    validation_accuracy: Accuracy
    seconds: Seconds


class LSTMMetrics(_Validated):
    """Line of metrics.jsonl of a run without a length curriculum."""

    train_loss: Loss
    train_accuracy: Accuracy


class CurriculumMetrics(_Validated):
    """Line of metrics.jsonl of a run with a length curriculum: an epoch, or a validation without training."""

    length: Count  # time steps of the epoch's sequences
    validation_sequences: Count = ABSENT  # number of validation sequences
    train_loss: Loss | None  # null for a validation without training
    train_accuracy: Accuracy | None  # the same


class GANRecord(RunRecord):
    """Content of run.json of a GAN."""

    data: ImageData = ABSENT
    centering: dict[str, Any] = ABSENT  # with the setting input_centering, see `reviver.gan.centering.center_inputs`
    extractor_sha256: Sha256 = ABSENT  # of the weights of the feature extractor


class GANMetrics(Line):
    """Line of metrics.jsonl of a GAN: means over the updates since the last line; null if not finite."""

    compared = ("generator_loss", "discriminator_loss", "probability_real", "probability_fake")

    step: Step
    epoch: NonNegative  # epochs so far, with a fraction
    generator_loss: float | None  # value of the generator's objective
    discriminator_loss: float | None  # value of the discriminator's objective
    probability_real: Fraction | None  # D(x) of training images
    probability_fake: Fraction | None  # D(G(z)) of generated images
    seconds: Seconds


class ComparedScores(Line):
    """Scores of generated or real images, compared with the test images; docs/reference/gan-scores.md defines each score."""

    fid: float  # Fréchet distance; 0 is best
    kid: float  # kernel distance; 0 is best, an estimate can be slightly negative
    precision: Fraction  # fraction of images near test images
    recall: Fraction  # fraction of test images near images
    density: NonNegative  # images near each test image, relative to k; about 1 for real images
    coverage: Fraction  # fraction of test images with an image near
    class_kl: float  # KL divergence of the classes from those of the training data, in nats
    spacing: NonNegative  # median distance of an image to its k-th nearest, in units of the features


class GANScores(ComparedScores):
    """Line of scores.jsonl."""

    compared = tuple(ComparedScores.model_fields)

    step: Step
    epoch: Epoch
    class_fractions: Annotated[list[Fraction], Field(max_length=MAX_CLASSES)]  # fraction of the samples in each class
    fid_ratio: float | None  # FID as a multiple of that of real images; null if that is 0, or not finite
    warning: str | None  # mode collapse or low diversity, and the remedy; null if neither
    real_baseline: ComparedScores  # scores of the same number of real images
    noise_baseline: ComparedScores = ABSENT  # scores of the same number of images of uniform noise
    num_samples: Count  # number of samples
    k: Count  # number of the neighbor whose distance defines near
    data: str  # name of the training data
    extractor: str  # name of the feature extractor
    extractor_sha256: Sha256  # of the weights of the feature extractor


class Kind(NamedTuple):
    """A kind of run: those of one network."""

    config: type[LSTMConfig | GANConfig]
    record: type[RunRecord]
    line: Callable[[str, Mapping[str, Any]], type[Line]]
    """Function of the name of a records file and of `config` that returns the model of its lines."""


KINDS = {
    "lstm": Kind(LSTMConfig, LSTMRecord, lambda _, config: CurriculumMetrics if config["curriculum"] else LSTMMetrics),
    "gan": Kind(GANConfig, GANRecord, lambda name, _: GANScores if name == "scores" else GANMetrics),
}


def find_kind(record: Mapping[str, Any]) -> Kind:
    """Return the kind of the run with the run.json `record`; if it has no known one, one whose validation says so."""
    return KINDS.get(str(record.get("kind")), KINDS["lstm"])


def validate(model: type[Model], value: object, location: object) -> Model:
    """Return the record that a value of a run's file describes; raise `RunFolderError` with the first invalid key."""
    return validate_record(model, value, location, RUN_REMEDY, RunFolderError)
