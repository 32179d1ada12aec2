"""Gradients of the penalties R1 and R2 in closed form, without differentiating twice.

The discriminator is piecewise linear: where no unit changes its side of 0, the factors fₖ of `fused_step.py` are constant.
The gradient of a logit with respect to the image is then a product of matrices, and linear in each weight by itself:

    δₖ = ∂l/∂aₖ = fₖ ⊙ (Wₖ₊₁ᵀ δₖ₊₁),    δ of the last layer = 1
    ∂l/∂image = Aᵀ W₀ᵀ δ₀

The inputs of the first layer are x₀ = A image + constant: A packs images, leaves labels out, and centers, see `pack`. The
penalty R = c/2 Σ ‖∂l/∂image‖², a sum over the images, is a network that runs through D from the logit to the image. Its
gradient follows by the chain rule in the other direction:

    u₀ = c A ∂l/∂image,      ∂R/∂W₀ = Σ δ₀ u₀ᵀ
    uₖ₊₁ = fₖ ⊙ (Wₖ uₖ),     ∂R/∂Wₖ₊₁ = Σ δₖ₊₁ uₖ₊₁ᵀ

The biases only decide the factors, so their gradient is 0. The step has the factors and δ already, so that three matmuls as
large as the first layer are all it takes. `penalties.py` has the same by autograd, to which tests compare it.

Shapes: N images, C channels, H height, W width, K classes; P logits, which are N, or N / m where the discriminator takes m
images per input (packing).
"""

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from reviver.distributed.rows import BatchRows
from reviver.gan.config import GANConfig
from reviver.gan.networks import NEGATIVE_SLOPE, Discriminator
from reviver.gan.penalties import discriminator_penalty

if TYPE_CHECKING:
    from reviver.gan.fused_step import DiscriminatorPass


class LinearPieces(NamedTuple):
    """The linear map of each input to its logit, as layers; lists are in the order of the layers."""

    discriminator: Discriminator
    weights: list[Tensor]
    """W of each layer, as a function of the discriminator's parameters."""
    factors: list[Tensor]
    """f of each hidden layer, [P, outputs]."""
    logit_gradients: list[Tensor]
    """δ = ∂l/∂a of each layer, [P, outputs]."""

    def image_gradients(self) -> Tensor:
        """Return ∂l/∂image, [N, C, H, W], at least in float32."""
        delta = self.logit_gradients[0]
        gradient = delta @ self.weights[0].detach().to(delta.dtype)  # ∂l/∂x₀
        return self.discriminator.image_gradient(gradient.to(_at_least_float32(gradient.dtype)))

    @torch.no_grad()
    def weight_gradients(self, coefficient: float) -> list[Tensor]:
        """Return ∂R/∂W of each layer for R = `coefficient` / 2 Σ ‖∂l/∂image‖², in the dtype of the matmuls."""
        deltas = self.logit_gradients
        u = self.discriminator.pack_direction(coefficient * self.image_gradients()).to(deltas[0].dtype)  # u₀
        gradients = [deltas[0].T @ u]
        for weight, factor, delta in zip(self.weights, self.factors, deltas[1:], strict=False):
            u = factor * functional.linear(u, weight.to(u.dtype))  # uₖ₊₁
            gradients.append(delta.T @ u)
        return gradients

    def parameter_gradients(self, coefficient: float) -> tuple[Tensor, ...]:
        """Return ∂R/∂θ for each of the discriminator's parameters θ; see `weight_gradients`."""
        gradients = self.weight_gradients(coefficient)
        # The weights are parameters, or with spectral normalization functions of them.
        return torch.autograd.grad(
            self.weights,
            list(self.discriminator.parameters()),
            [gradient.to(weight.dtype) for gradient, weight in zip(gradients, self.weights, strict=True)],
            materialize_grads=True,
        )


def penalty_gradients(
    config: GANConfig,
    discriminator: Discriminator,
    forward: "DiscriminatorPass",
    real: Tensor,
    fake: Tensor,
    labels: Tensor | None,
    *,
    rng: torch.Generator | None,
    rows: BatchRows,
) -> list[tuple[Tensor, ...]]:
    """Return the gradients of each penalty of `penalties.discriminator_penalty`, times the fraction of the rows.

    R1 and R2 reuse the pass of the losses. With dropout or spectral normalization they have one of their own, as by
    autograd, whose masks and estimates of singular values are new. The gradient penalty is by autograd.

    Args:
        config: the settings of the run.
        discriminator: D with the master weights.
        forward: the pass of the losses, perhaps through a bfloat16 copy of D.
        real: real images, [N, C, H, W].
        fake: generated images, [N, C, H, W], detached from the generator.
        labels: one-hot classes of the real and then of the generated images, [2N, K], for a conditional D.
        rng: generates the dropout masks and what the gradient penalty samples; by default torch's own.
        rows: rows of the logits of the real images among those of all processes.
    """
    computing, dtype = forward.discriminator, forward.inputs[0].dtype
    is_reusable = not computing.is_dropout_active and all(isinstance(one, nn.Parameter) for one in forward.weights)
    block_labels = (None, None) if labels is None else labels.chunk(2)
    gradients = []
    for block, (gamma, images) in enumerate(((config.r1, real), (config.r2, fake))):
        if gamma == 0:
            continue
        if is_reusable:
            pieces = forward.linear_pieces(block)
        else:
            pieces = linear_pieces(computing, images, block_labels[block], dtype=dtype, rng=rng, rows=rows)
        num_images = computing.packing * rows.total
        gradients.append(pieces.parameter_gradients(config.penalty_interval * gamma / num_images))
    if config.gradient_penalty > 0:
        rest = replace(config, r1=0.0, r2=0.0)
        penalty = rows.fraction * discriminator_penalty(rest, discriminator, real, fake, labels, rng, rows)
        parameters = list(discriminator.parameters())
        gradients.append(torch.autograd.grad(penalty, parameters, materialize_grads=True))
    return gradients


def linear_pieces(
    discriminator: Discriminator,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    dtype: torch.dtype | None = None,
    rng: torch.Generator | None = None,
    rows: BatchRows | None = None,
) -> LinearPieces:
    """Return the linear pieces at `images`, from a pass of their own with its own dropout masks.

    Args:
        discriminator: D.
        images: [N, C, H, W].
        labels: one-hot classes [N, K], for a conditional D.
        dtype: of the matmuls, by default that of the images.
        rng: generates the dropout masks; by default torch's own.
        rows: rows of the logits among those of all processes; by default all of them.

    Raises:
        DataError: if the shape of images or labels is wrong.
    """
    layers = discriminator.linear_layers
    weights = [layer.weight for layer in layers]  # once: spectral normalization refines its estimate at each access
    factors: list[Tensor] = []
    with torch.no_grad():
        x = discriminator.pack(images, labels).to(dtype or images.dtype)
        operands = [weight.to(x.dtype) for weight in weights]
        for weight, layer in zip(operands[:-1], layers[:-1], strict=True):
            a = functional.linear(x, weight, layer.bias.to(x.dtype))
            factor = a.sign().clamp(min=NEGATIVE_SLOPE)
            if discriminator.is_dropout_active:
                factor = factor * discriminator.dropout_mask(a, rng, rows)
            x = factor * a
            factors.append(factor)
        deltas = [x.new_ones(len(x), 1)]
        for weight, factor in zip(reversed(operands[1:]), reversed(factors), strict=True):
            deltas.insert(0, factor * (deltas[0] @ weight))
    return LinearPieces(discriminator, weights, factors, deltas)


def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
