"""What generator and discriminator minimise: the report's loss, others to compare with, and penalties on gradients.

Shapes: N images, C channels, H height, W width. Logits l are the discriminator's log-odds before the sigmoid, [N, 1].
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from reviver.gan.networks import discriminator_loss, generator_loss


class Losses(NamedTuple):
    """A pair of losses: of the generator and of the discriminator, both from (real logits, fake logits) to a scalar."""

    generator: Callable[[Tensor, Tensor], Tensor]
    discriminator: Callable[[Tensor, Tensor], Tensor]


def least_squares_generator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """L_G = ½ E_z[(l(G(z)) - 1)²] (Mao et al. 2017, equation 9)."""
    return (fake_logits - 1).square().mean() / 2


def least_squares_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """L_D = ½ E_x[(l(x) - 1)²] + ½ E_z[l(G(z))²] (Mao et al. 2017, equation 9)."""
    return ((real_logits - 1).square().mean() + fake_logits.square().mean()) / 2


def hinge_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """L_D = E_x[max(0, 1 - l(x))] + E_z[max(0, 1 + l(G(z)))] (Lim & Ye 2017)."""
    return functional.relu(1 - real_logits).mean() + functional.relu(1 + fake_logits).mean()


def critic_generator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """L_G = -E_z[l(G(z))], of hinge (Lim & Ye 2017) and Wasserstein (Arjovsky et al. 2017)."""
    return -fake_logits.mean()


def wasserstein_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """L_D = E_z[l(G(z))] - E_x[l(x)] (Arjovsky et al. 2017); `slope_penalty` keeps it 1-Lipschitz (Gulrajani et al. 2017)."""
    return fake_logits.mean() - real_logits.mean()


def relativistic_generator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """L_G = E_{x,z}[-log σ(l(G(z)) - l(x))], over pairs (Jolicoeur-Martineau 2019)."""
    return functional.softplus(real_logits - fake_logits).mean()


def relativistic_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """L_D = E_{x,z}[-log σ(l(x) - l(G(z)))], over pairs (Jolicoeur-Martineau 2019)."""
    return functional.softplus(fake_logits - real_logits).mean()


def smoothed_discriminator(real_logits: Tensor, fake_logits: Tensor, smoothing: float) -> Tensor:
    """`discriminator_loss` with 1 - s instead of 1 as the target of real images (one-sided; Salimans et al. 2016, section 3.4).

    L_D = ½ (E_x[-(1 - s) log D(x) - s log(1 - D(x))] + E_z[-log(1 - D(G(z)))])
    """
    # softplus(-l) + s l is the cross-entropy to the target 1 - s
    return discriminator_loss(real_logits, fake_logits) + smoothing * real_logits.mean() / 2


LOSSES: Mapping[str, Losses] = MappingProxyType(
    {
        "non-saturating": Losses(lambda real, fake: generator_loss(fake), discriminator_loss),
        "least-squares": Losses(least_squares_generator, least_squares_discriminator),
        "hinge": Losses(critic_generator, hinge_discriminator),
        "relativistic": Losses(relativistic_generator, relativistic_discriminator),
        "wasserstein": Losses(critic_generator, wasserstein_discriminator),
    }
)
"""Non-saturating is Goodfellow et al. (2014), section 3, and the report's."""


def grad_norm_sq(logits: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return ‖∂l/∂x‖² of each image x of `images` [N, C, H, W], as a function of the discriminator's weights, [N]."""
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(logits(images).sum(), images, create_graph=True)
    return gradient.flatten(1).square().sum(1)


def slope_penalty(logits: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """E[(‖∂l/∂x‖ - 1)²] between real and drawn images, at x = u real + (1 - u) fake (Gulrajani et al. 2017, equation 3).

    `share` is u ~ U[0, 1], [N, 1, 1, 1].
    """
    between = share * real + (1 - share) * fake
    return (grad_norm_sq(logits, between).sqrt() - 1).square().mean()
