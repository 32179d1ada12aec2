"""Settings of a GAN training run."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from reviver.settings.fields import (
    CHECKPOINTS,
    DATA,
    EVALUATION,
    MODEL,
    OPTIMIZATION,
    REGULARIZATION,
    Count,
    CountOrZero,
    NonNegative,
    OnNaN,
    Positive,
    Precision,
    Probability,
    Seed,
    Text,
    lr_scale,
)
from reviver.settings.parts import name_or_reference
from reviver.settings.validation import MAX_INTEGER, refuse, settings

LOSSES = ("non-saturating", "least-squares", "hinge", "relativistic", "wasserstein")
"""Names of the losses; `reviver.gan.losses.LOSSES` has them."""
if TYPE_CHECKING:
    LossName = str
else:
    LossName = Annotated[Literal[LOSSES] | str, name_or_reference(*LOSSES)]
DIGITS = ("mnist", "mnist-30k")
"""Data of which the digit classifier is the feature extractor."""
EVAL_EVERY = 5
"""Epochs between evaluations by default, where there is a feature extractor."""
MAX_IMAGE_SIZE = 1024
"""Maximum height and width of an image, in pixels."""


@settings
class GANConfig:
    """Settings of a GAN training run. The defaults are the preset original; the command line starts from best."""

    data: Annotated[Text, DATA] = "mnist"
    """Training images: `mnist`, `mnist-30k` (its first half in four gray levels; both built in), `fashion-mnist`, `kmnist`,
    `emnist-balanced`, `emnist-digits` or `emnist-letters`, or the path of an IDX folder, an image folder, an .npz, an .npy or a
    folder with x.npy."""
    image_size: Annotated[int, Field(ge=4, le=MAX_IMAGE_SIZE), DATA] = 28
    """Height and width of the images; others are resized."""
    latent_size: Annotated[Count, MODEL] = 100
    """Dimensions Z of the latent vector z ~ N(0, I)."""
    conditional: Annotated[bool, MODEL] = False
    """Condition both networks on the class label (Mirza & Osindero 2014); needs labels."""
    networks: Annotated[Text | None, MODEL] = None
    """File with the classes `Generator` and `Discriminator` of your own, such as my_gan.py; by default the original's."""
    epochs: Annotated[Count, OPTIMIZATION] = 200
    """Passes over the images."""
    batch_size: Annotated[int, Field(ge=2, le=MAX_INTEGER), OPTIMIZATION] = 64
    """Real and generated images N per update."""
    learning_rate: Annotated[Positive, OPTIMIZATION] = 2e-4
    """Learning rate of Adam, for both networks."""
    beta1: Annotated[float, Field(gt=-1, lt=1), OPTIMIZATION] = 0.5
    """Adam's decay β₁ of the gradient mean; below 0, negative momentum, it damps how the networks circle each other
    (Gidel et al. 2019)."""
    discriminator_steps: Annotated[Count, OPTIMIZATION] = 1
    """Discriminator updates per generator update (k of Goodfellow et al. 2014, algorithm 1)."""
    lr_schedule: Annotated[Literal["constant", "linear", "cosine"], OPTIMIZATION] = "constant"
    """Learning-rate schedule: constant, or linear or cosine decay to `final_lr_ratio`."""
    final_lr_ratio: Annotated[float, Field(ge=0, le=1), OPTIMIZATION] = 0.0
    """Final learning rate as a fraction of the initial one."""
    loss: Annotated[LossName, OPTIMIZATION] = "non-saturating"
    """Loss of both networks, see gan/losses.py: the original's (Goodfellow et al. 2014), or another."""
    label_smoothing: Annotated[Probability, REGULARIZATION] = 0.0
    """One-sided label smoothing: subtracted from the target 1 of real images, with the non-saturating loss (Salimans et al. 2016)."""
    r1: Annotated[NonNegative, REGULARIZATION] = 0.0
    """Weight γ of the gradient penalty γ/2 ‖∂l/∂x‖² at real images (Mescheder, Geiger & Nowozin 2018)."""
    gradient_penalty: Annotated[NonNegative, REGULARIZATION] = 0.0
    """Weight λ of the penalty λ (‖∂l/∂x‖ - 1)² between real and generated images (Gulrajani et al. 2017), for the Wasserstein loss."""
    penalty_interval: Annotated[Count, REGULARIZATION] = 1
    """Apply penalties every k updates, scaled by k (lazy regularization; Karras et al. 2020)."""
    discriminator_dropout: Annotated[Probability, REGULARIZATION] = 0.0
    """Probability of dropping a unit of the discriminator (Srivastava et al. 2014)."""
    input_centering: Annotated[Literal["none", "auto"], OPTIMIZATION] = "none"
    """Show the discriminator the image x: none, or auto for s (x - m) with m the mean training image and
    s = √(E‖x‖² / E‖x - m‖²) (LeCun et al. 1998, "Efficient BackProp", section 4.3). What is saved for use is the
    equivalent discriminator of x."""
    shift_probability: Annotated[float, Field(ge=0, le=1), REGULARIZATION] = 0.0
    """Probability of shifting an image, real or generated, by up to a 28th of its side, a pixel of MNIST, before the
    discriminator sees it (Zhao et al. 2020, "Differentiable augmentation")."""
    ema: Annotated[Probability, OPTIMIZATION] = 0.0
    """Decay of the exponential moving average of the generator that samples come from (Karras et al. 2018); 0: none."""
    ema_rampup: Annotated[NonNegative, OPTIMIZATION] = 0.0
    """EMA horizon as a fraction of the updates so far, capped by `ema`; 0: `ema` throughout (Karras et al. 2020, limited data)."""
    precision: Annotated[Precision, OPTIMIZATION] = "fp32"
    """Matmul precision: bf16 is bfloat16 operands with float32 weights, EMA and Adam state."""
    batch_norm_eps: Annotated[Positive, MODEL] = 1e-5
    """Added to the variance in BatchNorm. A widely copied script sets 0.8 by mistake, which collapses the generator."""
    batch_norm_samples: Annotated[CountOrZero, OPTIMIZATION] = 0
    """Latent vectors from which the statistics of BatchNorm are recomputed at the end of the training, 0: keep the running
    averages (Izmailov et al. 2018, section 3.2)."""
    sample_every: Annotated[Count, EVALUATION] = 5
    """Epochs between grids of samples from the same 25 latent vectors."""
    eval_every: Annotated[CountOrZero | None, EVALUATION] = None
    """Epochs between evaluations, 0: none; by default 5 for MNIST at its own size or with `extractor`, else 0."""
    eval_samples: Annotated[int, Field(ge=6, le=MAX_INTEGER), EVALUATION] = 2000  # more than the k = 5 neighbors
    """Samples N per evaluation, or as many as there are images; only scores of the same N can be compared."""
    extractor: Annotated[Text | None, EVALUATION] = None
    """Feature extractor: a file from `reviver gan train-extractor`; by default the digit classifier, for MNIST."""
    log_every: Annotated[Count, EVALUATION] = 100
    """Updates per line of the metrics, at most an epoch."""
    checkpoint_every: Annotated[Count, CHECKPOINTS] = 1
    """Epochs between checkpoints."""
    keep_checkpoints: Annotated[Count, CHECKPOINTS] = 2
    """Number of newest checkpoints to keep."""
    on_nan: Annotated[OnNaN, CHECKPOINTS] = "stop"
    """If a loss or a weight is not finite: stop, or return to the last checkpoint and halve the learning rate."""
    max_rollbacks: Annotated[CountOrZero, CHECKPOINTS] = 3
    """Maximum number of returns to a checkpoint, with `on_nan` rollback."""
    seed: Annotated[Seed, OPTIMIZATION] = 0
    """Seed of the weights, the order of the images and the latent vectors."""

    def __post_init__(self) -> None:
        """Refuse settings that are allowed alone, but not together."""
        if self.label_smoothing and self.loss != "non-saturating":
            problem = f"must be 0 for the loss {self.loss}, which has no labels, got {self.label_smoothing}"
            refuse("label_smoothing", problem)
        if self.networks is not None:
            for name in ("discriminator_dropout", "batch_norm_eps"):
                if (value := getattr(self, name)) != getattr(type(self), name):
                    refuse(name, f"must be left out with networks of your own, which set it themselves, got {value}")
        if self.ema_rampup and not self.ema:
            problem = f"must be 0 without an average, got {self.ema_rampup}; give ema as well, such as 0.999"
            refuse("ema_rampup", problem)

    @property
    def eval_interval(self) -> int:
        """Epochs between evaluations; 0: none."""
        if self.eval_every is not None:
            return self.eval_every
        is_known = self.extractor is not None or (self.data in DIGITS and self.image_size == 28)
        return EVAL_EVERY if is_known else 0

    def learning_rate_at(self, progress: float) -> float:
        """Return the learning rate of both networks after the fraction `progress` of the epochs, from 0 to 1."""
        return self.learning_rate * lr_scale(self.lr_schedule, progress, self.final_lr_ratio)


def count_batches(num_images: int, batch_size: int) -> int:
    """Return the batches per epoch. A last one of a single image is left out, since BatchNorm needs two."""
    full, rest = divmod(num_images, batch_size)
    return full + (rest >= 2)
