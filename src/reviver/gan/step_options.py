"""Options of a training step, and its result."""

from dataclasses import dataclass
from typing import NamedTuple, Self

from torch import Tensor

from reviver.gan.losses import LOSSES, Losses, choose_losses
from reviver.settings.fields import Precision
from reviver.settings.gan import GANConfig


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """What a step minimizes, and how. The defaults are the original's."""

    loss: Losses = LOSSES["non-saturating"]
    penalty: GANConfig | None = None
    """Settings of the penalties that are added to the discriminator's loss, see penalties.py; None: none in this step."""
    update_generator: bool = True
    """Update both networks, or the discriminator only."""
    shift_probability: float = 0.0
    precision: Precision = "fp32"
    """bf16: bfloat16 matmuls with float32 weights, by autocast."""

    @classmethod
    def from_config(cls, config: GANConfig, step: int, loss: Losses | None = None) -> Self:
        """Return the options of the step after `step` steps of a run; `loss` is that of the settings by default.

        The generator is updated in every step number k, 2k, 3k ..., with k = `discriminator_steps`. Penalties are added
        in the first step and then every `penalty_interval` steps.
        """
        has_penalty = config.r1 > 0 or config.gradient_penalty > 0
        is_penalty_due = has_penalty and step % config.penalty_interval == 0
        return cls(
            loss=loss or choose_losses(config.loss, config.label_smoothing),
            penalty=config if is_penalty_due else None,
            update_generator=(step + 1) % config.discriminator_steps == 0,
            shift_probability=config.shift_probability,
            precision=config.precision,
        )


DEFAULTS = StepOptions()


class GANStepResult(NamedTuple):
    """Losses, without penalties, and mean D(x) and D(G(z)) of one step before its update; scalars without a graph."""

    generator_loss: Tensor
    discriminator_loss: Tensor
    probability_real: Tensor
    probability_fake: Tensor

    @classmethod
    def from_logits(cls, g_loss: Tensor, d_loss: Tensor, real_logits: Tensor, fake_logits: Tensor) -> Self:
        """Return the result of a step with these losses, scalars, and logits, [N, 1] each."""
        real, fake = real_logits.detach(), fake_logits.detach()
        return cls(g_loss.detach(), d_loss.detach(), real.sigmoid().mean(), fake.sigmoid().mean())
