"""Losses of the generator and the discriminator.

Each function is one objective L, written above its code, which minimizes exactly that. The default pair is the
report's; the others are there to compare with.

Shapes: P logits of real images and as many of generated ones, [P, 1]. A logit is the discriminator's log-odds of
"real", before the sigmoid: D(x) = σ(l(x)).
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from reviver.settings.parts import BUILT_IN, CustomClass, Parts, explaining, is_reference
from reviver.settings.validation import refuse

Loss = Callable[[Tensor, Tensor], Tensor]
"""A function of (real logits, fake logits), [P, 1] each, that returns a scalar."""


class Losses(NamedTuple):
    """The losses of both networks, and what settings, figures and explorer ask of them."""

    generator: Loss
    discriminator: Loss
    smoothed: Callable[..., Tensor] | None = None
    """Loss of the discriminator with label smoothing s, of a cross-entropy: its sigmoid D(x) estimates the probability
    that x is real, which is 1/2 at the equilibrium. None for other losses."""
    is_negative: bool = False
    """Whether a loss may be below 0."""


def non_saturating_generator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return L_G = E_z[-log D(G(z))]  (Goodfellow et al. 2014, section 3).

    -log σ(l) = softplus(-l) does not overflow; the logarithm of a rounded probability would.
    """
    return softplus(-fake_logits).mean()


def cross_entropy_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return L_D = ½ (E_x[-log D(x)] + E_z[-log(1 - D(G(z)))])  (Goodfellow et al. 2014, equation 1)."""
    return (softplus(-real_logits).mean() + softplus(fake_logits).mean()) / 2


def smoothed_discriminator(real_logits: Tensor, fake_logits: Tensor, smoothing: float) -> Tensor:
    """Return the cross-entropy with the target 1 - s for real images (Salimans et al. 2016, section 3.4).

    L_D = ½ (E_x[-(1 - s) log D(x) - s log(1 - D(x))] + E_z[-log(1 - D(G(z)))])
    """
    # softplus(-l) + s l is the cross-entropy to the target 1 - s.
    return cross_entropy_discriminator(real_logits, fake_logits) + smoothing * real_logits.mean() / 2


def least_squares_generator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return L_G = ½ E_z[(l(G(z)) - 1)²]  (Mao et al. 2017, equation 9)."""
    return (fake_logits - 1).square().mean() / 2


def least_squares_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return L_D = ½ E_x[(l(x) - 1)²] + ½ E_z[l(G(z))²]  (Mao et al. 2017, equation 9)."""
    return ((real_logits - 1).square().mean() + fake_logits.square().mean()) / 2


def critic_generator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return L_G = -E_z[l(G(z))], of hinge (Lim & Ye 2017) and Wasserstein (Arjovsky et al. 2017)."""
    return -fake_logits.mean()


def hinge_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return L_D = E_x[max(0, 1 - l(x))] + E_z[max(0, 1 + l(G(z)))]  (Lim & Ye 2017)."""
    return (1 - real_logits).relu().mean() + (1 + fake_logits).relu().mean()


def wasserstein_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return L_D = E_z[l(G(z))] - E_x[l(x)]  (Arjovsky et al. 2017).

    It presumes a 1-Lipschitz l; `penalties.gradient_penalty` keeps l close to that.
    """
    return fake_logits.mean() - real_logits.mean()


def relativistic_generator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return L_G = E_{x,z}[-log σ(l(G(z)) - l(x))], over pairs of images (Jolicoeur-Martineau 2019)."""
    return softplus(real_logits - fake_logits).mean()


def relativistic_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return L_D = E_{x,z}[-log σ(l(x) - l(G(z)))], over pairs of images (Jolicoeur-Martineau 2019)."""
    return softplus(fake_logits - real_logits).mean()


LOSSES: Mapping[str, Losses] = MappingProxyType(
    {
        "non-saturating": Losses(non_saturating_generator, cross_entropy_discriminator, smoothed_discriminator),
        "least-squares": Losses(least_squares_generator, least_squares_discriminator),
        "hinge": Losses(critic_generator, hinge_discriminator, is_negative=True),
        "relativistic": Losses(relativistic_generator, relativistic_discriminator),
        "wasserstein": Losses(critic_generator, wasserstein_discriminator, is_negative=True),
    }
)
"""The losses by name; non-saturating is the original's."""


CUSTOM = Losses(critic_generator, wasserstein_discriminator, is_negative=True)
"""What is known of a user-defined loss, besides its functions."""


def describe_losses(name: str) -> Losses:
    """Return what figures and explorer ask of a loss: LOSSES[name], or of a user-defined one what all have."""
    return LOSSES.get(name, CUSTOM)


def choose_losses(name: str, label_smoothing: float = 0.0, parts: Parts = BUILT_IN) -> Losses:
    """Return LOSSES[name], with label smoothing s above 0 as `smoothed`, or those of the user-defined class.

    A class that is not in `parts`, or breaks the contract, is a ConfigError.
    """
    if is_reference(name):
        return custom_losses(parts.require("loss", name))
    losses = LOSSES[name]
    if label_smoothing > 0 and losses.smoothed is not None:
        return losses._replace(discriminator=partial(losses.smoothed, smoothing=label_smoothing))
    return losses


def custom_losses(part: CustomClass) -> Losses:
    """Return the losses of a class or an instance with two functions of the logits, `generator` and `discriminator`, after a trial."""
    with explaining("loss", part, f"{part.name}()"):
        loss = part.build()
    for name in ("generator", "discriminator"):
        logits = torch.linspace(-2, 2, 8).view(2, 4, 1).requires_grad_()
        with explaining("loss", part, f"{name}(real_logits, fake_logits)"):
            found = getattr(loss, name)(*logits)
        problem = "must return a scalar for logits [4, 1], got "
        if not isinstance(found, torch.Tensor) or found.dim():
            kind = f"shape {[*found.shape]}" if isinstance(found, torch.Tensor) else f"a {type(found).__name__}"
            refuse("loss", f"{part.name}: {name} {problem}{kind}; take the mean of a tensor")
        if not found.isfinite():
            refuse("loss", f"{part.name}: {name} {problem}{found.item()} for logits from -2 to 2")
        if not found.requires_grad:
            refuse("loss", f"{part.name}: {name} {problem}one without a gradient; use torch alone, and detach nothing")
    return CUSTOM._replace(generator=loss.generator, discriminator=loss.discriminator)
