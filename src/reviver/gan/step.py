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

import torch
from torch import Tensor
from torch.optim import Optimizer

from reviver.gan.networks import Discriminator, Generator
from reviver.gan.penalties import discriminator_penalty
from reviver.gan.shifts import shift
from reviver.gan.step_options import DEFAULTS, GANStepResult, StepOptions
from reviver.rows import Rng


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
    """
    opt_G.zero_grad()
    opt_D.zero_grad()
    result = backpropagate(G, D, real, z, options, labels, rng)
    opt_G.step()  # changes nothing where G has no gradients
    opt_D.step()
    return result


def backpropagate(
    G: Generator,
    D: Discriminator,
    real: Tensor,
    z: Tensor,
    options: StepOptions,
    labels: Tensor | None,
    rng: Rng,
    fraction: float = 1.0,
) -> GANStepResult:
    """Add the gradients of the losses, times `fraction`, to those of both networks, and return the losses.

    The other arguments are those of `gan_step`.
    """
    with torch.autocast(real.device.type, torch.bfloat16, enabled=options.precision == "bf16"):
        real, fake = (shift(x, options.shift_probability, rng) for x in (real, G(z)))
        real_logits, fake_logits = (logits.to(z.dtype) for logits in D.paired_logits(real, fake, labels, rng))
        penalty = discriminator_penalty(options.penalty, D, real, fake.detach(), labels, rng)
    g_loss = options.loss.generator(real_logits, fake_logits)
    d_loss = options.loss.discriminator(real_logits, fake_logits)
    if options.update_generator:
        (fraction * g_loss).backward(inputs=list(G.parameters()), retain_graph=True)  # ∇_θG L_G
    (fraction * (d_loss + penalty)).backward(inputs=list(D.parameters()))  # ∇_θD L_D
    return GANStepResult.from_logits(g_loss, d_loss, real_logits, fake_logits)
