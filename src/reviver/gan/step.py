"""The training step of a GAN as a textbook writes it (Goodfellow et al. 2014, algorithm 1).

The generator G maps noise z ~ N(0, I) to images. The discriminator D returns the probability that an image is real,
D(x) = σ(l(x)) with the logit l. One step has three parts:

    1. Take a minibatch of real images x and of noise z.
    2. Descend the gradient ∇_θD L_D;  in the original L_D = ½ (E_x[-log D(x)] + E_z[-log(1 - D(G(z)))]).
    3. Descend the gradient ∇_θG L_G;  in the original L_G = E_z[-log D(G(z))].

The updates are simultaneous: both gradients are taken at the weights before the step, on the same z. The script that the
report follows, gan.py of PyTorch-GAN, computes the same: it updates G first, but gives D the images from before that
update. Algorithm 1 alternates: it updates D k times, and then G, on fresh z and against the updated D.

Shapes: N images, C channels, H height, W width, Z latent size, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from reviver.gan.losses import LOSSES, Losses
from reviver.gan.networks import Discriminator, Generator
from reviver.gan.penalties import Penalties, discriminator_penalty
from reviver.rng import Rng, rand
from reviver.settings.fields import Precision

SIDE = 28
"""Longer side of an image, in pixels, for each pixel of a shift. In smaller images a pixel would cut off strokes at the edge."""


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """What a step minimizes, and how. The defaults are the original's."""

    loss: Losses = LOSSES["non-saturating"]
    penalty: Penalties | None = None
    """Weights of the penalties that are added to the discriminator's loss, see penalties.py; None: none in this step."""
    update_generator: bool = True
    """Update both networks, or the discriminator only."""
    shift_probability: float = 0.0
    precision: Precision = "fp32"
    """bf16: bfloat16 matmuls with float32 weights, by autocast."""


DEFAULTS = StepOptions()


class GANStepResult(NamedTuple):
    """Losses, without penalties, and mean D(x) and D(G(z)) of one step before its update; scalars without a graph."""

    generator_loss: Tensor
    discriminator_loss: Tensor
    probability_real: Tensor
    probability_fake: Tensor


def gan_step(
    G: Generator,
    D: Discriminator,
    opt_G: Optimizer,
    opt_D: Optimizer,
    real: Tensor,
    z: Tensor,
    *,
    options: StepOptions = DEFAULTS,
    labels: Tensor | None = None,
    rng: Rng = None,
    fraction: float = 1.0,
    gather: Callable[..., tuple[Tensor, ...]] | None = None,
) -> GANStepResult:
    """Update both networks once, or the discriminator only, and return the losses before the update.

    Args:
        G: the generator, in training mode.
        D: the discriminator, in training mode.
        opt_G: the optimizer of G's parameters.
        opt_D: the optimizer of D's parameters.
        real: real images x, [N, C, H, W] in [-1, 1].
        z: latent vectors, [N, Z].
        options: losses, penalty, shifts, precision, and whether G is updated.
        labels: one-hot classes of the real and then of the generated images, [2N, K], for conditional networks.
        rng: generates the shifts, the dropout masks and what the penalties sample; by default torch's own.
        fraction: fraction of the batch that these images are, of one of several processes.
        gather: adds the gradients of all processes; it returns the losses of the whole batch.
    """
    opt_G.zero_grad()
    opt_D.zero_grad()
    with torch.autocast(real.device.type, torch.bfloat16, enabled=options.precision == "bf16"):
        real, fake = (shift(x, options.shift_probability, rng) for x in (real, G(z)))
        real_logits, fake_logits = (logits.to(z.dtype) for logits in D.paired_logits(real, fake, labels, rng))
        penalty = discriminator_penalty(options.penalty, D, real, fake.detach(), labels, rng)
    g_loss = options.loss.generator(real_logits, fake_logits)
    d_loss = options.loss.discriminator(real_logits, fake_logits)
    if options.update_generator:
        (fraction * g_loss).backward(inputs=list(G.parameters()), retain_graph=True)  # ∇_θG L_G
    (fraction * (d_loss + penalty)).backward(inputs=list(D.parameters()))  # ∇_θD L_D
    probabilities = (logits.detach().sigmoid().mean() for logits in (real_logits, fake_logits))
    result = GANStepResult(g_loss.detach(), d_loss.detach(), *probabilities)
    if gather is not None:
        parameters = [*(G.parameters() if options.update_generator else ()), *D.parameters()]
        result = GANStepResult(*gather(parameters, torch.stack(result)))
    opt_G.step()  # changes nothing where G has no gradients
    opt_D.step()
    return result


def shift(images: Tensor, probability: float, rng: Rng) -> Tensor:
    """Return images [N, C, H, W], each with some probability shifted in each direction by at most a 28th of the longer side.

    The discriminator, which sees real and generated images alike, can learn the training images by heart; shifted images make
    that harder (Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training"). If a part of the images stays
    in place, the distribution of the shifted images determines that of the images, so the generator does not learn to shift
    (Karras et al. 2020, "Training generative adversarial networks with limited data", section 2.2).

    A random shift may also be none. Pixels from outside repeat those at the edge. The result is differentiable.
    """
    if probability == 0:
        return images
    height, width = images.shape[2:]
    reach = max(height, width) // SIDE
    side = 2 * reach + 1
    drawn = rand((len(images),), rng, device=images.device) / probability  # below 1: shifted
    numbers = torch.where(drawn < 1, (drawn * side**2).long().clamp(max=side**2 - 1), side**2 // 2)[:, None]  # [N, 1]
    y = torch.arange(height, device=images.device) - (numbers // side - reach)  # [N, H], the row that each comes from
    x = torch.arange(width, device=images.device) - (numbers % side - reach)  # [N, W]
    sources = y.clamp(0, height - 1)[:, :, None] * width + x.clamp(0, width - 1)[:, None]  # [N, H, W]
    return images.flatten(2).gather(2, sources.flatten(1)[:, None].expand(-1, images.shape[1], -1)).view_as(images)
