"""Settings of a GAN training run, and the named sets of them that results are quoted for."""

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from reviver.config import (
    MAX_SEED,
    ON_NAN,
    PRECISIONS,
    Precision,
    check_choice,
    check_flag,
    check_number,
    check_text,
    check_whole,
)
from reviver.errors import ConfigError

LOSSES = ("non-saturating", "least-squares", "hinge", "relativistic", "wasserstein")
SCHEDULES = ("constant", "linear", "cosine")
SCORE_EVERY = 5
"""Epochs between two scorings where an extractor is known and nothing else is said."""
MAX_SIZE = 1024
"""Of an image's height and width."""


@dataclass(frozen=True, kw_only=True)
class GANConfig:
    """Settings of one GAN training run. The defaults are the report's."""

    data: str = "mnist"
    """What is learned: `mnist` (built in), `fashion-mnist`, `kmnist`, `emnist-balanced`, `emnist-digits` or `emnist-letters`,
    or the path of an IDX folder, an image folder, an .npz or an .npy."""
    size: int = 28
    """Height and width of the images; other sizes are resized to it."""
    latent_size: int = 100
    """Z, the numbers of one noise vector z ~ N(0, I)."""
    conditional: bool = False
    """Give both networks the class of an image, so that images of a class can be ordered (Mirza & Osindero 2014); needs labels."""
    epochs: int = 200
    """Passes over the images."""
    batch_size: int = 64
    """N, the real and the generated images of one update."""
    learning_rate: float = 2e-4
    """Step size of Adam, for both networks."""
    beta1: float = 0.5
    """Adam's decay of the mean of the gradients; below 0 the last ones count against the next (negative momentum; Gidel et al. 2019)."""
    beta2: float = 0.999
    """Adam's decay of the mean of their squares."""
    discriminator_learning_rate: float | None = None
    """Step size of the discriminator where it has one of its own (two time scales; Heusel et al. 2017)."""
    discriminator_steps: int = 1
    """Batches that the discriminator learns from until the generator learns from one (k of Goodfellow et al. 2014, algorithm 1)."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """The step sizes over the run: as they are, or falling to `schedule_end` at the last epoch, in a line or along half a cosine."""
    schedule_end: float = 0.0
    """The part of the step sizes that is left where they fall."""
    loss: Literal["non-saturating", "least-squares", "hinge", "relativistic", "wasserstein"] = "non-saturating"
    """What both networks minimise, see gan/losses.py: the report's (Goodfellow et al. 2014), or another."""
    label_smoothing: float = 0.0
    """Taken off the target 1 of real images, with the non-saturating loss (one-sided; Salimans et al. 2016)."""
    r1: float = 0.0
    """Weight γ of the penalty γ/2 ‖∂l/∂x‖² at real images (Mescheder, Geiger & Nowozin 2018)."""
    r2: float = 0.0
    """Weight γ of the same penalty at drawn images."""
    gradient_penalty: float = 0.0
    """Weight λ of the penalty λ (‖∂l/∂x‖ - 1)² between real and drawn images (Gulrajani et al. 2017), for the Wasserstein loss."""
    penalty_every: int = 1
    """Updates between two with penalties, which then weigh so many times as much (Karras et al. 2020)."""
    discriminator_dropout: float = 0.0
    """Probability to drop a unit of the discriminator (Srivastava et al. 2014)."""
    spectral_norm: bool = False
    """Divide each weight of the discriminator by its largest singular value (Miyato et al. 2018)."""
    packing: int = 1
    """Images that the discriminator judges together (Lin et al. 2018)."""
    ema: float = 0.0
    """Decay, at each of its updates, of the moving average of the generator that samples are drawn from (Karras et al. 2018); 0: none."""
    ema_ramp: float = 0.0
    """Part of the updates so far that the average looks back over, while that is less than `ema` does; 0: `ema` throughout
    (Karras et al. 2020, limited data)."""
    precision: Precision = "fp32"
    """Of the networks' products: bf16 rounds their factors to bfloat16; weights, their average and Adam stay float32."""
    batch_norm_eps: float = 1e-5
    """Added to the variance in BatchNorm. A widely copied script sets 0.8 by mistake, which collapses the generator."""
    sample_every: int = 5
    """Epochs between two grids of samples from the same 25 noise vectors."""
    score_every: int | None = None
    """Epochs between two scorings of samples, 0: none; if not given 5 for MNIST at its own size or with `extractor`, else 0."""
    score_samples: int = 2000
    """N, the samples of one scoring, or as many as there are images; only scores of the same N can be compared."""
    extractor: str | None = None
    """File of `reviver gan extractor` that looks at the samples; if not given the digit classifier, for MNIST."""
    log_every: int = 100
    """Updates that one line of the metrics sums up, or all of an epoch if those are fewer."""
    checkpoint_every: int = 1
    """Epochs between two checkpoints."""
    keep_checkpoints: int = 2
    """The newest checkpoints that are kept."""
    on_nan: Literal["stop", "rollback"] = "stop"
    """If a loss or a weight is not finite: stop, or go back to the last checkpoint and on with half the step size."""
    rollbacks: int = 3
    """The most times that a run goes back, with `on_nan` rollback."""
    seed: int = 0
    """Fixes the weights, the order of the images and the noise."""

    def __post_init__(self) -> None:
        if not isinstance(self.data, str) or not self.data:
            raise ConfigError(f"data: {self.data!r} is not possible; give mnist or the path of a data set")
        check_whole("size", self.size, minimum=4, maximum=MAX_SIZE)
        check_whole("latent_size", self.latent_size, minimum=1)
        check_flag("conditional", self.conditional)
        check_whole("epochs", self.epochs, minimum=1)
        check_whole("batch_size", self.batch_size, minimum=2)
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("beta1", self.beta1, above=-1, below=1)
        check_number("beta2", self.beta2, minimum=0, below=1)
        if self.discriminator_learning_rate is not None:
            check_number("discriminator_learning_rate", self.discriminator_learning_rate, above=0)
        check_whole("discriminator_steps", self.discriminator_steps, minimum=1)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_number("schedule_end", self.schedule_end, minimum=0, maximum=1)
        check_choice("loss", self.loss, LOSSES)
        check_number("label_smoothing", self.label_smoothing, minimum=0, below=1)
        if self.label_smoothing and self.loss != "non-saturating":
            raise ConfigError(
                f"label_smoothing: {self.label_smoothing} is not possible for the loss {self.loss}, which has no labels; give 0"
            )
        for name in ("r1", "r2", "gradient_penalty"):
            check_number(name, getattr(self, name), minimum=0)
        check_whole("penalty_every", self.penalty_every, minimum=1)
        check_number("discriminator_dropout", self.discriminator_dropout, minimum=0, below=1)
        check_flag("spectral_norm", self.spectral_norm)
        check_whole("packing", self.packing, minimum=1)
        if self.batch_size % self.packing:
            raise ConfigError(
                f"packing: {self.packing} does not divide the batch_size {self.batch_size}; give numbers of which it does"
            )
        check_number("ema", self.ema, minimum=0, below=1)
        check_number("ema_ramp", self.ema_ramp, minimum=0)
        if self.ema_ramp and not self.ema:
            raise ConfigError(
                f"ema_ramp: {self.ema_ramp} is not possible without an average; give ema as well, such as 0.999"
            )
        check_choice("precision", self.precision, PRECISIONS)
        check_number("batch_norm_eps", self.batch_norm_eps, above=0)
        check_whole("sample_every", self.sample_every, minimum=1)
        if self.score_every is not None:
            check_whole("score_every", self.score_every, minimum=0)
        check_whole("score_samples", self.score_samples, minimum=6)  # more than the k = 5 neighbours
        if self.extractor is not None:
            check_text("extractor", self.extractor)
        check_whole("log_every", self.log_every, minimum=1)
        check_whole("checkpoint_every", self.checkpoint_every, minimum=1)
        check_whole("keep_checkpoints", self.keep_checkpoints, minimum=1)
        check_choice("on_nan", self.on_nan, ON_NAN)
        check_whole("rollbacks", self.rollbacks, minimum=0)
        check_whole("seed", self.seed, minimum=0, maximum=MAX_SEED)

    @property
    def scored_every(self) -> int:
        """Epochs between two scorings; 0: none."""
        if self.score_every is not None:
            return self.score_every
        is_known = self.extractor is not None or (self.data == "mnist" and self.size == 28)
        return SCORE_EVERY if is_known else 0

    @property
    def is_penalised(self) -> bool:
        """Whether the discriminator's slope costs anything."""
        return self.r1 > 0 or self.r2 > 0 or self.gradient_penalty > 0


_BEST = GANConfig(
    epochs=34,
    batch_size=128,
    learning_rate=8e-4,
    schedule="linear",
    schedule_end=0.5,
    beta1=-0.3,
    r1=0.2,
    penalty_every=8,
    ema=0.9998,
    ema_ramp=0.1,
    precision="bf16",
)

PRESETS = MappingProxyType(
    {
        "report": GANConfig(),
        "best": _BEST,
        "best-long": replace(_BEST, epochs=150, batch_size=64),
        "short": GANConfig(epochs=16, sample_every=1),
        "public-script": GANConfig(batch_norm_eps=0.8),
    }
)
"""
- `report`: the report's run, 200 epochs.
- `best`: the report's networks and losses trained so that they do not collapse, in minutes on two cores.
- `best-long`: the same for longer, by smaller batches: slower at first, and it goes further in an epoch.
- `short`: the report's run with fewer epochs, in minutes.
- `public-script`: the slip that collapses.
"""
