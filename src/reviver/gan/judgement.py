"""One pass of the discriminator over real and drawn images together, forward and back, layer by layer.

The discriminator has no BatchNorm, so that each logit l depends on its own images alone. Its slopes, taken back through
the layers once, then serve the losses of both networks: by the chain rule the gradient of a loss L is that of the
logits, each weighted by its seed s = ∂L/∂l.

    aₖ = Wₖ xₖ + bₖ,    xₖ₊₁ = fₖ ⊙ aₖ,    l = a of the last layer
    ∂l/∂aₖ = fₖ ⊙ (Wₖ₊₁ᵀ ∂l/∂aₖ₊₁)
    ∂L/∂Wₖ = Σ s ∂l/∂aₖ xₖᵀ,    ∂L/∂bₖ = Σ s ∂l/∂aₖ,    ∂L/∂x₀ = s W₀ᵀ ∂l/∂a₀

with the sums over the logits (Rumelhart, Hinton & Williams 1986). f is the slope of the LeakyReLU, 1 or 0.2, times the
mask of dropout: the LeakyReLU is linear on either side of 0, so that its value is its slope times a.

Shapes: N real images and as many drawn ones, C channels, H height, W width, K classes; P logits of either, which are N,
or N / m where m images are judged together.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from reviver.gan.networks import NEGATIVE_SLOPE, Discriminator


class DiscriminatorPass(NamedTuple):
    """What a discriminator made of real and drawn images; the layers are in their order."""

    discriminator: Discriminator
    weights: list[Tensor]
    """W of each layer, as functions of the discriminator's parameters."""
    inputs: list[Tensor]
    """x of each layer, for the real images and behind them for the drawn ones."""
    slopes: list[Tensor]
    """∂l/∂a of each layer, likewise."""
    real_logits: Tensor
    """[P, 1], and so are those of the drawn images; a loss can be differentiated in either."""
    fake_logits: Tensor

    def parameter_gradients(self, seeds: Tensor) -> tuple[Tensor, ...]:
        """∂L/∂θ for each of the discriminator's parameters θ, from ∂L/∂l of all logits, [2 P, 1]."""
        layers = self.discriminator.linear_layers
        seeded = [slopes * seeds.to(slopes.dtype) for slopes in self.slopes]
        found = [*(mine.T @ x for mine, x in zip(seeded, self.inputs, strict=True)), *(mine.sum(0) for mine in seeded)]
        # The weights are parameters, or with spectral normalisation made of them.
        parts = [*self.weights, *(layer.bias for layer in layers)]
        gradients = [gradient.to(part.dtype) for gradient, part in zip(found, parts, strict=True)]
        return torch.autograd.grad(parts, list(self.discriminator.parameters()), gradients)

    def fake_gradient(self, seeds: Tensor) -> Tensor:
        """∂L/∂x of the drawn images, [N, C, H, W], from ∂L/∂l of their logits, [P, 1]."""
        slopes = self.slopes[0][len(seeds) :]
        gradient = (slopes * seeds.to(slopes.dtype)) @ self.weights[0].detach().to(slopes.dtype)
        return self.discriminator.unpacked(gradient)


def judge(
    discriminator: Discriminator,
    real: Tensor,
    fake: Tensor,
    real_labels: Tensor | None = None,
    fake_labels: Tensor | None = None,
    *,
    dtype: torch.dtype | None = None,
    generator: torch.Generator | None = None,
) -> DiscriminatorPass:
    """Show a discriminator real and drawn images [N, C, H, W], with their classes [N, K] if it judges them by class.

    Products are computed in `dtype`, by default that of the images; `generator` is the source of the dropout masks.

    Raises:
        DataError: if the shape of the images or classes does not fit.
    """
    layers = discriminator.linear_layers
    weights = [layer.weight for layer in layers]  # once: spectral normalisation refines its estimate at each look
    with torch.no_grad():
        packs = discriminator.packed(real, real_labels), discriminator.packed(fake, fake_labels)
        x = torch.cat([images.to(dtype or real.dtype) for images in packs])
        products = [weight.to(x.dtype) for weight in weights]
        inputs, factors = [x], []
        a = functional.linear(x, products[0], layers[0].bias.to(x.dtype))
        for weight, layer in zip(products[1:], layers[1:], strict=True):
            factor = a.sign().clamp(min=NEGATIVE_SLOPE)  # f
            if discriminator.drops:
                factor = factor * discriminator.dropout_mask(a, generator)
            x = factor * a
            a = functional.linear(x, weight, layer.bias.to(x.dtype))
            inputs.append(x)
            factors.append(factor)
        slopes = [torch.ones_like(a)]
        for weight, factor in zip(reversed(products[1:]), reversed(factors), strict=True):
            slopes.insert(0, factor * (slopes[0] @ weight))
    real_logits, fake_logits = a.to(real.dtype).chunk(2)
    return DiscriminatorPass(
        discriminator, weights, inputs, slopes, real_logits.requires_grad_(), fake_logits.requires_grad_()
    )
