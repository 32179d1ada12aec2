"""A forward pass through the generator in training mode, and the gradients of its parameters, without autograd.

    a₀ = W₀ z + b₀,    x₁ = LeakyReLU(a₀)
    aₖ = Wₖ xₖ + bₖ,    xₖ₊₁ = LeakyReLU(BatchNorm(aₖ)),    image = tanh(a of the last layer)

The gradients follow by the chain rule, from the last layer to the first (Rumelhart, Hinton & Williams 1986). Between two
matmuls lies one pass of `pointwise.py`. Autograd computes the same, with more passes over memory and more calls.

Shapes: N images, C channels, H height, W width, Z latent size; layer k has I inputs and O outputs.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from reviver.gan.networks import Generator
from reviver.gan.pointwise import (
    BatchStatistics,
    batch_norm_leaky_relu,
    batch_norm_leaky_relu_backward_,
    leaky_relu_,
    leaky_relu_backward_sum_,
    tanh_backward_sum_,
)


class GeneratorPass(NamedTuple):
    """A forward pass with what the gradients need; lists are in the order of the layers."""

    linear_layers: list[nn.Linear]
    batch_norms: list[nn.BatchNorm1d]
    """Of all linear layers but the first and the last."""
    inputs: list[Tensor]
    """x of each linear layer, [N, I]."""
    outputs: list[Tensor]
    """a of each linear layer with BatchNorm, [N, O]."""
    statistics: list[BatchStatistics]
    """Of each BatchNorm."""
    pixels: Tensor
    """tanh of the last layer, [N, C·H·W]."""

    @torch.no_grad()
    def parameter_gradients(self, grad_pixels: Tensor) -> list[Tensor]:
        """Return ∂L/∂θ of each parameter θ, in the order of `Generator.parameters`; they take the dtypes of the parameters.

        Args:
            grad_pixels: ∂L/∂image, [N, C·H·W]; overwritten.
        """
        last, first = len(self.inputs) - 1, 0
        gradients: list[Tensor] = []  # in reversed order
        grad_a, grad_bias = tanh_backward_sum_(grad_pixels, self.pixels)
        for k in range(last, first, -1):
            x = self.inputs[k]
            gradients += (grad_bias, grad_a.T @ x)
            grad_x = grad_a @ self.linear_layers[k].weight
            if k - 1 == first:
                grad_a, grad_bias = leaky_relu_backward_sum_(grad_x, x)
                continue
            norm = k - 2
            of_norm = batch_norm_leaky_relu_backward_(
                grad_x, self.outputs[norm], x, self.batch_norms[norm], self.statistics[norm]
            )
            gradients += (of_norm.bias, of_norm.weight)
            grad_a, grad_bias = of_norm.x, of_norm.sum
        gradients += (grad_bias, grad_a.T @ self.inputs[first])
        return gradients[::-1]


class AutogradPass(NamedTuple):
    """A forward pass whose gradients are autograd's, for a generator that `can_pass` refuses."""

    generator: Generator
    pixels: Tensor
    """tanh of the last layer, [N, C·H·W]."""

    def parameter_gradients(self, grad_pixels: Tensor) -> list[Tensor]:
        """Return ∂L/∂θ of each parameter θ, from `grad_pixels` ∂L/∂image, [N, C·H·W]."""
        return list(torch.autograd.grad(self.pixels, list(self.generator.parameters()), grad_pixels))


def pass_through(generator: Generator, z: Tensor, *, needs_gradients: bool) -> GeneratorPass | AutogradPass:
    """Compute the images of latent vectors z [N, Z], by the faster of the two ways that the generator allows."""
    if can_pass(generator, z):
        return generator_forward(generator, z)
    with torch.set_grad_enabled(needs_gradients):
        return AutogradPass(generator, generator(z).flatten(1))


def can_pass(generator: Generator, z: Tensor) -> bool:
    """Return whether `generator_forward` computes what the generator does: torch's own BatchNorm, of at least two rows."""
    norms = [layer for layer in generator.layers if isinstance(layer, nn.BatchNorm1d)]
    return (
        z.is_cpu
        and z.dim() == 2
        and len(z) > 1
        and all(type(norm) is nn.BatchNorm1d and norm.training for norm in norms)
    )


@torch.no_grad()
def generator_forward(generator: Generator, z: Tensor) -> GeneratorPass:
    """Compute the images of latent vectors z [N, Z] with the statistics of the batch, and move the running ones.

    Args:
        generator: G, in training mode; see `can_pass`.
        z: latent vectors of the dtype of G's weights.

    Raises:
        DataError: if the shape of z is wrong.
    """
    generator.check_latents(z)
    linear_layers = [layer for layer in generator.layers if isinstance(layer, nn.Linear)]
    batch_norms = [layer for layer in generator.layers if isinstance(layer, nn.BatchNorm1d)]
    first, *middle, last = linear_layers
    x = leaky_relu_(functional.linear(z, first.weight, first.bias))
    inputs, outputs, statistics = [z, x], [], []
    for linear, norm in zip(middle, batch_norms, strict=True):
        a = functional.linear(x, linear.weight, linear.bias)
        x, of_batch = batch_norm_leaky_relu(a, norm)
        inputs.append(x)
        outputs.append(a)
        statistics.append(of_batch)
    pixels = functional.linear(x, last.weight, last.bias).tanh_()
    return GeneratorPass(linear_layers, batch_norms, inputs, outputs, statistics, pixels)
