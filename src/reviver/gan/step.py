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
from reviver.rows import all_rows
from reviver.runs.distributed.parallel_step import ParallelStep


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
    rng: torch.Generator | None = None,
    parallel: ParallelStep | None = None,
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
        parallel: the part of this process in a step by several. Images, z and labels are those of its rows, and the result
            is that of the whole batch.
    """
    rows = all_rows(len(real)) if parallel is None else parallel.rows
    with torch.autocast(real.device.type, torch.bfloat16, enabled=options.precision == "bf16"):
        real, fake = (shift(x, options.shift_probability, rng, rows) for x in (real, G(z)))
        # In one pass, as D has no BatchNorm.
        real_logits, fake_logits = D.logits(torch.cat([real, fake]), labels, rng, rows.repeated(2)).to(z.dtype).chunk(2)
        penalty = discriminator_penalty(options.penalty, D, real, fake.detach(), labels, rng, rows)
    g_loss = options.loss.generator(real_logits, fake_logits)
    d_loss = options.loss.discriminator(real_logits, fake_logits)
    opt_G.zero_grad()
    opt_D.zero_grad()
    if options.update_generator:
        (rows.fraction * g_loss).backward(inputs=list(G.parameters()), retain_graph=True)  # ∇_θG L_G
    (rows.fraction * (d_loss + penalty)).backward(inputs=list(D.parameters()))  # ∇_θD L_D
    result = GANStepResult.from_logits(g_loss, d_loss, real_logits, fake_logits)
    if parallel is not None:
        parameters = [*(G.parameters() if options.update_generator else ()), *D.parameters()]
        result = GANStepResult(*parallel.finish(parameters, torch.stack(result)))
    opt_G.step()  # changes nothing where G has no gradients
    opt_D.step()
    return result
