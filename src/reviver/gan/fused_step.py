"""The training step of `step.py` with less work: one backward pass through the discriminator serves both losses.

The discriminator has no BatchNorm, so each logit l depends on its own input only. ∂l/∂a is computed once, layer by layer.
By the chain rule the gradient of any loss L is then that of the logits, weighted with ∂L/∂l:

    aₖ = Wₖ xₖ + bₖ,    xₖ₊₁ = fₖ ⊙ aₖ,    l = a of the last layer
    ∂l/∂aₖ = fₖ ⊙ (Wₖ₊₁ᵀ ∂l/∂aₖ₊₁)
    ∂L/∂Wₖ = Σ ∂L/∂l ∂l/∂aₖ xₖᵀ,    ∂L/∂bₖ = Σ ∂L/∂l ∂l/∂aₖ,    ∂L/∂x₀ = ∂L/∂l W₀ᵀ ∂l/∂a₀

with sums over the logits (Rumelhart, Hinton & Williams 1986). f is the derivative of the LeakyReLU, 1 or 0.2, times the
mask of dropout: the LeakyReLU is linear on either side of 0, so its value is its derivative times a.

Shapes: N real images and as many generated ones, C channels, H height, W width, Z latent size, K classes; P logits of
either, which are N, or N / m where the discriminator takes m images per input (packing).
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from reviver.distributed.rows import BatchRows, all_rows
from reviver.gan.closed_form_penalty import LinearPieces, penalty_gradients
from reviver.gan.generator_pass import pass_through
from reviver.gan.losses import LOSSES, Losses
from reviver.gan.networks import NEGATIVE_SLOPE, Discriminator, Generator
from reviver.gan.onednn import fast_matmul
from reviver.gan.optim import compute_network, compute_parameters
from reviver.gan.parallel import ParallelStep
from reviver.gan.pointwise import leaky_relu_, leaky_relu_backward_, scale_rows
from reviver.gan.shifts import Shifts
from reviver.gan.step_options import DEFAULTS, StepOptions, StepResult


@fast_matmul()
def fused_gan_step(
    G: Generator,
    D: Discriminator,
    opt_G: Optimizer,
    opt_D: Optimizer,
    real: Tensor,
    z: Tensor,
    loss: Losses = LOSSES["non-saturating"],
    *,
    options: StepOptions = DEFAULTS,
    labels: Tensor | None = None,
    rng: torch.Generator | None = None,
    parallel: ParallelStep | None = None,
) -> StepResult:
    """Compute `step.gan_step`, up to rounding; the arguments and the result are the same.

    In bf16 it computes with the bfloat16 copies of `MasterWeightAdam`, see `training.build_optimizers`: `opt_G` must be
    one, and `opt_D` unless the discriminator has spectral normalization.

    With several processes, the generator's gradients are exchanged while those of the discriminator are computed.
    """
    rows = all_rows(len(real) // D.packing) if parallel is None else parallel.rows  # of the logits
    dtype = torch.bfloat16 if options.precision == "bf16" else real.dtype
    compute_G, compute_D = compute_network(G, opt_G), compute_network(D, opt_D)
    generated = pass_through(compute_G, z.to(dtype), needs_gradients=options.update_generator)
    fake, shifts = generated.pixels.detach().view(-1, *compute_G.image_shape), None  # [N, C, H, W]
    if options.shift_probability:
        image_rows = rows.scaled(D.packing)
        real = Shifts(real, options.shift_probability, rng, image_rows).apply(real)
        shifts = Shifts(fake, options.shift_probability, rng, image_rows)
        fake = shifts.apply(fake)
    forward = discriminator_forward(compute_D, real, fake, labels, dtype=dtype, rng=rng, rows=rows)
    real_logits, fake_logits = forward.real_logits, forward.fake_logits  # [P, 1] each
    g_loss = loss.generator(real_logits, fake_logits)
    d_loss = loss.discriminator(real_logits, fake_logits)

    if options.update_generator:
        (grad_logits,) = torch.autograd.grad(rows.fraction * g_loss, fake_logits)
        grad_fake = forward.fake_gradient(grad_logits)
        if shifts is not None:
            grad_fake = shifts.pull_back(grad_fake)
        of_generator = generated.parameter_gradients(grad_fake.flatten(1).contiguous())
        set_gradients(compute_parameters(G, opt_G), of_generator)
        if parallel is not None:
            parallel.start_generator()
    grad_logits = torch.cat(torch.autograd.grad(rows.fraction * d_loss, (real_logits, fake_logits)))
    of_discriminator = forward.parameter_gradients(grad_logits)
    if options.penalty is not None:
        for parts in penalty_gradients(options.penalty, D, forward, real, fake, labels, rng=rng, rows=rows):
            of_discriminator = tuple(total.add_(part) for total, part in zip(of_discriminator, parts, strict=True))
    set_gradients(compute_parameters(D, opt_D), of_discriminator)
    result = StepResult.from_logits(g_loss, d_loss, real_logits, fake_logits)
    if parallel is not None:
        result = parallel.finish(result)

    if options.update_generator:
        opt_G.step()
    opt_D.step()
    return result


class DiscriminatorPass(NamedTuple):
    """A forward pass over real and generated images, with ∂l/∂a of every layer; lists are in the order of the layers."""

    discriminator: Discriminator
    weights: list[Tensor]
    """W of each layer, as a function of the discriminator's parameters."""
    inputs: list[Tensor]
    """x of each layer, [2P, inputs]: real images first, then generated ones."""
    masks: list[Tensor | None]
    """Of dropout after each hidden layer, [2P, outputs]."""
    logit_gradients: list[Tensor]
    """∂l/∂a of each layer, [2P, outputs]."""
    real_logits: Tensor
    """[P, 1]; a leaf that requires a gradient, as `fake_logits` is."""
    fake_logits: Tensor
    """[P, 1]."""

    @property
    def factors(self) -> list[Tensor]:
        """Derivative f of each hidden layer, [2P, outputs]; the step itself takes it from the signs of x."""
        sides = [x.sign().clamp(min=NEGATIVE_SLOPE) for x in self.inputs[1:]]
        return [side if mask is None else side * mask for side, mask in zip(sides, self.masks, strict=True)]

    def parameter_gradients(self, grad_logits: Tensor) -> tuple[Tensor, ...]:
        """Return ∂L/∂θ for each of the discriminator's parameters θ, from `grad_logits` ∂L/∂l, [2P, 1]."""
        outputs: list[Tensor] = []
        gradients: list[Tensor] = []
        for layer, weight, x, of_logits in zip(
            self.discriminator.linear_layers, self.weights, self.inputs, self.logit_gradients, strict=True
        ):
            grad_a, grad_bias = scale_rows(of_logits, grad_logits)
            outputs += (weight, layer.bias)
            gradients += ((grad_a.T @ x).to(weight.dtype), grad_bias.to(layer.bias.dtype))
        if all(output.is_leaf for output in outputs):  # the parameters themselves, in their order
            return tuple(gradients)
        # With spectral normalization the weights are functions of parameters.
        return torch.autograd.grad(outputs, list(self.discriminator.parameters()), gradients)

    def fake_gradient(self, grad_logits: Tensor) -> Tensor:
        """Return ∂L/∂x of the generated images, [N, C, H, W], from `grad_logits` ∂L/∂l of their logits, [P, 1]."""
        logit_gradients = self.logit_gradients[0][len(grad_logits) :]
        grad_a, _ = scale_rows(logit_gradients, grad_logits)
        return self.discriminator.image_gradient(grad_a @ self.weights[0].detach().to(grad_a.dtype))

    def linear_pieces(self, block: int) -> LinearPieces:
        """Return the linear pieces at the real images, `block` 0, or at the generated ones, `block` 1."""
        factors = [factor.chunk(2)[block] for factor in self.factors]
        logit_gradients = [gradient.chunk(2)[block] for gradient in self.logit_gradients]
        return LinearPieces(self.discriminator, self.weights, factors, logit_gradients)


def discriminator_forward(
    discriminator: Discriminator,
    real: Tensor,
    fake: Tensor,
    labels: Tensor | None = None,
    *,
    dtype: torch.dtype | None = None,
    rng: torch.Generator | None = None,
    rows: BatchRows | None = None,
) -> DiscriminatorPass:
    """Compute the logits of real and generated images, and ∂l/∂a of every layer.

    Args:
        discriminator: D.
        real: real images, [N, C, H, W].
        fake: generated images, [N, C, H, W].
        labels: one-hot classes of the real and then of the generated images, [2N, K], for a conditional D.
        dtype: of the matmuls, by default that of the images.
        rng: generates the dropout masks; by default torch's own.
        rows: rows of the logits of the real images among those of all processes; by default all of them.

    Raises:
        DataError: if the shape of images or labels is wrong.
    """
    layers = discriminator.linear_layers
    rows = all_rows(len(real) // discriminator.packing) if rows is None else rows
    weights = [layer.weight for layer in layers]  # once: spectral normalization refines its estimate at each access
    real_labels, fake_labels = (None, None) if labels is None else labels.chunk(2)
    with torch.no_grad():
        packed = discriminator.pack(real, real_labels), discriminator.pack(fake, fake_labels)
        x = torch.cat([images.to(dtype or real.dtype) for images in packed])
        operands = [weight.to(x.dtype) for weight in weights]
        inputs, masks = [x], []
        a = functional.linear(x, operands[0], layers[0].bias.to(x.dtype))
        for weight, layer in zip(operands[1:], layers[1:], strict=True):
            x = leaky_relu_(a)
            mask = discriminator.dropout_mask(a, rng, rows.repeated(2)) if discriminator.is_dropout_active else None
            if mask is not None:
                x.mul_(mask)
            a = functional.linear(x, weight, layer.bias.to(x.dtype))
            inputs.append(x)
            masks.append(mask)
        logit_gradients = [torch.ones_like(a)]
        for weight, x, mask in zip(reversed(operands[1:]), reversed(inputs[1:]), reversed(masks), strict=True):
            of_x = logit_gradients[0] @ weight
            if mask is not None:
                of_x.mul_(mask)
            # x and a have the same sign, where x is not dropped.
            logit_gradients.insert(0, leaky_relu_backward_(of_x, x))
    real_logits, fake_logits = a.to(real.dtype).chunk(2)
    return DiscriminatorPass(
        discriminator,
        weights,
        inputs,
        masks,
        logit_gradients,
        real_logits.requires_grad_(),
        fake_logits.requires_grad_(),
    )


def set_gradients(parameters: Iterable[nn.Parameter], gradients: Iterable[Tensor]) -> None:
    """Set the gradient of each parameter, in place of that of the last step."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
