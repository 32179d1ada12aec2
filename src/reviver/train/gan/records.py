"""What the files of a GAN's run folder hold, see `reviver.runs.schema`."""

from typing import Annotated

from pydantic import Field

from reviver.data.images.image_set import MAX_CLASSES, ImageData
from reviver.runs.schema import (
    ABSENT,
    Count,
    Epoch,
    Fraction,
    Kind,
    Line,
    Name,
    NonNegative,
    RunRecord,
    Seconds,
    Sha256,
    Step,
    Text,
)
from reviver.settings.validation import Record


class Centering(Record):
    """Centering of the inputs of a discriminator, see `reviver.gan.centering`."""

    scale: Annotated[float, Field(gt=0)]  # s
    mean_norm_sq: NonNegative  # ‖m‖², with the mean image m in [-1, 1]
    variance: NonNegative  # E‖x - m‖² of the training images x
    mean_sha256: Sha256  # of m, float64


class GANRecord(RunRecord):
    """Content of run.json."""

    data: ImageData = ABSENT
    centering: Centering = ABSENT  # of a run with the setting input_centering
    extractor_sha256: Sha256 = ABSENT  # of the weights of the feature extractor


class GANMetrics(Line):
    """Line of metrics.jsonl: means over the updates since the last line; null if not finite."""

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
    warning: Text | None  # mode collapse or low diversity, and the remedy; null if neither
    real_baseline: ComparedScores  # scores of the same number of real images
    noise_baseline: ComparedScores = ABSENT  # scores of the same number of images of uniform noise
    num_samples: Count  # number of samples
    k: Count  # number of the neighbor whose distance defines near
    data: Name  # name of the training data
    extractor: Name  # name of the feature extractor
    extractor_sha256: Sha256  # of the weights of the feature extractor


KIND = Kind(
    "gan", GANRecord, lambda name, _: GANScores if name == "scores" else GANMetrics, {"packing": 1}, {"networks": None}
)
