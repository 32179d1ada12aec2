"""The training step of `reviver.gan.fused_step` with ideas that the package does not have, to find out which ones pay.

Without any idea it computes what `fused_gan_step` computes, bit for bit; tests/test_gan_search.py compares them, and each
gradient with autograd.

Shapes: N real images and as many generated ones, X = 784 pixels, Z latent size.
"""

import copy
from dataclasses import dataclass
from time import process_time
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from reviver.gan.config import GANConfig
from reviver.gan.data.image_set import ImageSet, from_pixels
from reviver.gan.ema import update_ema
from reviver.gan.fused_step import set_gradients
from reviver.gan.losses import choose_losses
from reviver.gan.networks import NEGATIVE_SLOPE
from reviver.gan.onednn import fast_matmul
from reviver.gan.optim import compute_network
from reviver.gan.training import build_models, learning_rates
from reviver.packed.order import epoch_order
from reviver.runs.rng import make_rng

SIDE = 28
BACKGROUND = -1.0
REPLAY_SIZE = 8192
"""Generated images that the replay remembers."""
WHITENING_EPS = 0.05
"""Added to variances before they are divided by; the mean variance of a pixel of MNIST is 0.27."""


@dataclass(frozen=True, kw_only=True)
class Ideas:
    """What a variant does beyond its settings. The defaults are the starting point of the search: centring alone."""

    scale: float = 1.7
    """The discriminator sees `scale` (x - m), m the mean training image; 0: it sees x."""
    whitening: float = 0.0
    """Power w: the discriminator sees S^(-w/2) (x - m), S the covariance of the pixels; 1 would be whitening."""
    pixel_scaling: float = 0.0
    """The same with the variance of each pixel instead of S."""
    final_r1: float | None = None
    """γ of R1 at the end of the run, reached at a constant rate of decay; None: constant."""
    weight_decay: float = 0.0
    """Decoupled decay of the discriminator's weights (Loshchilov & Hutter 2019), times the learning rate."""
    shifts: float = 0.0
    """Probability of moving an image, real or generated, by at most a pixel before the discriminator (Zhao et al. 2020)."""
    noise: float = 0.0
    """Standard deviation of noise on the images before the discriminator, decaying linearly to 0 (Sønderby et al. 2017)."""
    consistency: float = 0.0
    """Weight of the squared difference of the logits of an image and the moved image (bCR; Zhao et al. 2021)."""
    replay: float = 0.0
    """Weight of earlier generated images in the discriminator's loss (Shrivastava et al. 2017)."""
    feature_matching: float = 0.0
    """Weight of |mean features of real - of generated images|² in the generator's loss, the discriminator's last hidden
    layer giving the features (Salimans et al. 2016)."""


def shift_table() -> Tensor:
    """Return the sources of the pixels under the nine moves by at most a pixel, [9, X]; X stands for the background.

    Move 8 - i is the opposite of move i.
    """
    pixels = torch.arange(SIDE * SIDE).view(1, SIDE, SIDE)
    padded = functional.pad(pixels, (1, 1, 1, 1), value=SIDE * SIDE)
    moves = [padded[0, 1 - dy : 1 - dy + SIDE, 1 - dx : 1 - dx + SIDE] for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return torch.stack(moves).flatten(1)


SHIFTS = shift_table()
STAY = len(SHIFTS) // 2


def shift(images: Tensor, moves: Tensor, background: float = BACKGROUND) -> Tensor:
    """Move each of the images [N, X] by its move [N], an index into SHIFTS."""
    padded = functional.pad(images, (0, 1), value=background)
    return padded.gather(1, SHIFTS[moves])


class InputMap:
    """The map from images to the inputs of the discriminator: y = ((x - m) s) P.

    Args:
        images: the training images, [T, X].
        ideas: `scale`, `whitening` and `pixel_scaling` choose m, s and P; the last two keep E |y|².
    """

    def __init__(self, images: Tensor, ideas: Ideas) -> None:
        self.mean = images.mean(0) if ideas.scale else torch.zeros(images.shape[1])
        self.scale = torch.tensor(ideas.scale or 1.0)
        self.mixing: Tensor | None = None
        if ideas.pixel_scaling:
            variance = images.var(0)
            self.scale = self.scale * _flattening(variance, ideas.pixel_scaling)
        if ideas.whitening:
            centered = images - self.mean
            values, vectors = torch.linalg.eigh((centered.T @ centered / len(images)).double())
            factors = _flattening(values.clamp(min=0), ideas.whitening)
            self.mixing = ((vectors * factors) @ vectors.T).float()

    def apply(self, images: Tensor) -> Tensor:
        """Return the inputs [N, X] of images [N, X]."""
        inputs = (images - self.mean) * self.scale
        return inputs if self.mixing is None else inputs @ self.mixing

    def pull_back(self, gradients: Tensor) -> Tensor:
        """Return the gradient with respect to the images from that with respect to the inputs, [N, X] each."""
        if self.mixing is not None:
            gradients = gradients.float() @ self.mixing.T
        return gradients * self.scale

    def metric(self, gradients: Tensor) -> Tensor:
        """Return half the gradient of |`pull_back`(g)|² in g, [N, X]."""
        gradients = self.pull_back(gradients.float()) * self.scale
        return gradients if self.mixing is None else gradients @ self.mixing


def _flattening(variances: Tensor, power: float) -> Tensor:
    """Return variances^(-power/2), times a constant so that the sum of the variances stays the same."""
    factors = (variances + WHITENING_EPS) ** (-power / 2)
    return factors * (variances.sum() / (variances * factors.square()).sum()).sqrt()


class Prototype:
    """A training run of a variant.

    Args:
        config: the settings; of the losses, non-saturating and relativistic are meant.
        ideas: what the settings cannot express.
        data: the training images, 28 x 28.
        rampups: `ema_rampup` of each average of the generator that is kept, in place of that of `config`.

    Attributes:
        averages: the average of the generator for each of `rampups`.
        cpu_seconds: processor time of the updates so far.
    """

    def __init__(self, config: GANConfig, ideas: Ideas, data: ImageSet, rampups: tuple[float, ...]) -> None:
        self.config, self.ideas, self.data = config, ideas, data
        self.models = build_models(config, data.image_shape, 0, torch.device("cpu"))
        self.averages = {rampup: copy.deepcopy(self.models.generator) for rampup in rampups}
        self.cpu_seconds = 0.0
        self.loss = choose_losses(config.loss)
        self.dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
        self.images = from_pixels(data.images).flatten(1)
        self.map = InputMap(self.images, ideas)
        self.rng = make_rng(config.seed, "noise")
        self.idea_rng = make_rng(config.seed, "augmentation")
        self.replayed: Tensor | None = None
        self.updates = 0

    def train(self, first: int = 0, last: int | None = None) -> None:
        """Train for the epochs from `first` until before `last`, by default until the end."""
        for epoch in range(first, self.config.epochs if last is None else last):
            self.train_epoch(epoch)

    def state(self) -> dict[str, Any]:
        """Return what a run goes on from; the memory of the replay starts anew."""
        parts = self._parts()
        return {
            **{name: part.state_dict() for name, part in parts.items()},
            "rng": self.rng.get_state(),
            "updates": self.updates,
            "cpu_seconds": self.cpu_seconds,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from the state of another run, with the settings of this one."""
        betas = [optimizer.param_groups[0]["betas"] for optimizer in self.models[2:4]]
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        for optimizer, own in zip(self.models[2:4], betas, strict=True):
            optimizer.param_groups[0]["betas"] = own
        self.rng.set_state(state["rng"])
        self.updates, self.cpu_seconds = state["updates"], state["cpu_seconds"]

    def _parts(self) -> dict[str, Any]:
        averages = {f"average-{rampup}": average for rampup, average in self.averages.items()}
        return {**dict(zip(self.models._fields[:4], self.models[:4], strict=True)), **averages}

    def train_epoch(self, epoch: int) -> None:
        """Train on all images once."""
        config, models = self.config, self.models
        order = epoch_order("full", self.data.block_edges, make_rng(config.seed, f"order/{epoch}"))
        batches = order.split(config.batch_size)
        started = process_time()
        for number, indices in enumerate(batches):
            progress = (epoch + number / len(batches)) / config.epochs
            rates = learning_rates(config, progress)
            for optimizer, rate in zip((models.opt_generator, models.opt_discriminator), rates, strict=True):
                optimizer.param_groups[0]["lr"] = rate
            z = models.generator.sample_latents(len(indices), self.rng)
            self.step(self.images[indices], z, progress)
            done, rest = divmod(self.updates, config.discriminator_steps)
            if rest == 0:
                for rampup, average in self.averages.items():
                    update_ema(average, models.generator, done, decay=config.ema, rampup=rampup)
        self.cpu_seconds += process_time() - started

    @fast_matmul()
    def step(self, real: Tensor, z: Tensor, progress: float) -> None:
        """Update both networks once.

        Args:
            real: real images, [N, X].
            z: latent vectors, [N, Z].
            progress: fraction of the run that is done.
        """
        config, ideas, models = self.config, self.ideas, self.models
        generator = compute_network(models.generator, models.opt_generator)
        discriminator = compute_network(models.discriminator, models.opt_discriminator)
        updates_generator = (self.updates + 1) % config.discriminator_steps == 0
        with torch.set_grad_enabled(updates_generator):
            fake = generator(z.to(self.dtype)).flatten(1)
        size = len(real)
        both = torch.cat([real, fake.detach().float()])
        moves = None
        if ideas.shifts:
            is_moved = torch.rand(len(both), generator=self.idea_rng) < ideas.shifts
            moves = torch.where(is_moved, self._random_moves(len(both)), STAY)
            seen = shift(both, moves)
        else:
            seen = both
        noise = ideas.noise * (1 - progress)
        if noise:
            seen = seen + noise * torch.randn(seen.shape, generator=self.idea_rng)
        inputs = [self.map.apply(seen).to(self.dtype)]
        if ideas.consistency:
            inputs.append(self.map.apply(shift(both, self._random_moves(len(both)))).to(self.dtype))
        if ideas.replay:
            inputs.append(self._replay(inputs[0][size:]))

        forward = Forward(discriminator.linear_layers, torch.cat(inputs))
        logits = forward.logits.float().requires_grad_()
        grad_g = torch.autograd.grad(self._generator_loss(logits, size), logits)[0]
        grad_d = torch.autograd.grad(self._discriminator_loss(logits, size), logits)[0]
        if updates_generator:
            rows = slice(size, 2 * size)
            grad_a = forward.grad_a1[rows] * grad_g[rows].to(self.dtype)
            if ideas.feature_matching:
                grad_a = grad_a + ideas.feature_matching * forward.feature_matching_gradient(size)
            grad_fake = self.map.pull_back(grad_a @ forward.weights[0])
            if moves is not None:
                grad_fake = shift(grad_fake, len(SHIFTS) - 1 - moves[rows], 0.0)
            parameters = list(generator.parameters())
            set_gradients(parameters, torch.autograd.grad(fake, parameters, grad_fake.to(fake.dtype)))
        gradients = forward.parameter_gradients(grad_d.to(self.dtype))
        if self.updates % config.penalty_interval == 0:
            for gamma, rows in ((self._r1(progress), slice(size)), (config.r2, slice(size, 2 * size))):
                if gamma:
                    forward.add_penalty_gradients(gradients, rows, gamma * config.penalty_interval, self.map)
        set_gradients(discriminator.parameters(), gradients)
        if updates_generator:
            models.opt_generator.step()
        models.opt_discriminator.step()
        if ideas.weight_decay:
            rate = models.opt_discriminator.param_groups[0]["lr"]
            with torch.no_grad():
                for layer in models.discriminator.linear_layers:
                    layer.weight.mul_(1 - rate * ideas.weight_decay)
        self.updates += 1

    def _r1(self, progress: float) -> float:
        first, final = self.config.r1, self.ideas.final_r1
        return first if final is None else float(first * (final / first) ** progress)

    def _random_moves(self, count: int) -> Tensor:
        return torch.randint(len(SHIFTS), (count,), generator=self.idea_rng)

    def _replay(self, fake: Tensor) -> Tensor:
        """Return a quarter as many earlier inputs as there are generated ones, [N / 4, X], and remember some new ones."""
        if self.replayed is None:
            self.replayed = fake.repeat(REPLAY_SIZE // len(fake) + 1, 1)[:REPLAY_SIZE].clone()
        chosen = torch.randint(REPLAY_SIZE, (len(fake) // 4,), generator=self.idea_rng)
        earlier = self.replayed[chosen]
        self.replayed[chosen] = fake[: len(chosen)]
        return earlier

    def _generator_loss(self, logits: Tensor, size: int) -> Tensor:
        return self.loss.generator(logits[:size], logits[size : 2 * size])

    def _discriminator_loss(self, logits: Tensor, size: int) -> Tensor:
        ideas, real, fake = self.ideas, logits[:size], logits[size : 2 * size]
        loss = self.loss.discriminator(real, fake)
        if ideas.replay:
            earlier = logits[-(size // 4) :]
            loss = (1 - ideas.replay) * loss + ideas.replay * self.loss.discriminator(real, earlier)
        if ideas.consistency:
            difference = logits[: 2 * size] - logits[2 * size : 4 * size]
            loss = loss + ideas.consistency * difference.square().sum() / size
        return loss


def _leaky_relu_backward(grad: Tensor, y: Tensor) -> Tensor:
    """Return ∂l/∂x for y = LeakyReLU(x); its slope is rounded less than in a product with bfloat16 factors."""
    return torch.where(y > 0, grad, NEGATIVE_SLOPE * grad)


class Forward:
    """A forward pass of the discriminator, with the gradient of each logit; see `reviver.gan.fused_step` for the letters.

    Args:
        layers: the three linear layers.
        x: inputs of the first layer, [rows, X].
    """

    @torch.no_grad()
    def __init__(self, layers: list[torch.nn.Linear], x: Tensor) -> None:
        self.weights = [layer.weight.to(x.dtype).detach() for layer in layers]
        biases = [layer.bias.to(x.dtype) for layer in layers]
        self.inputs, self.factors = [x], []
        for weight, bias in zip(self.weights[:-1], biases[:-1], strict=True):
            a = functional.linear(self.inputs[-1], weight, bias)
            self.factors.append(a.sign().clamp(min=NEGATIVE_SLOPE))
            self.inputs.append(functional.leaky_relu(a, NEGATIVE_SLOPE))
        self.logits = functional.linear(self.inputs[-1], self.weights[-1], biases[-1])
        self.grad_a2 = _leaky_relu_backward(self.weights[2], self.inputs[2])
        self.grad_a1 = _leaky_relu_backward(self.grad_a2 @ self.weights[1], self.inputs[1])

    def parameter_gradients(self, grad_logits: Tensor) -> list[Tensor]:
        """Return the gradients of W and b of each layer, in order, from those of the logits, [rows, 1]."""
        grad_a = [self.grad_a1 * grad_logits, self.grad_a2 * grad_logits, grad_logits]
        return [
            gradient
            for of_layer, x in zip(grad_a, self.inputs, strict=True)
            for gradient in (of_layer.T @ x, of_layer.sum(0))
        ]

    @torch.no_grad()
    def add_penalty_gradients(self, gradients: list[Tensor], rows: slice, gamma: float, input_map: InputMap) -> None:
        """Add the gradients of γ/2 E |∂l/∂x|² over some rows, in closed form.

        The network is linear around almost every input, so ∂l/∂x is a product of weights and of factors f that do not
        change with the weights: ∂l/∂y = W₁ᵀ f₁ W₂ᵀ f₂ w₃. The biases have no part in it.
        """
        grad_a1, grad_a2 = self.grad_a1[rows], self.grad_a2[rows]
        f1, f2 = (factor[rows] for factor in self.factors)
        w1, w2, _ = self.weights
        grad = (input_map.metric(grad_a1 @ w1) * (gamma / len(grad_a1))).to(grad_a1.dtype)
        gradients[0] += grad_a1.T @ grad
        back = f1 * (grad @ w1.T)
        gradients[2] += grad_a2.T @ back
        gradients[4] += (f2 * (back @ w2.T)).sum(0, keepdim=True)

    @torch.no_grad()
    def feature_matching_gradient(self, size: int) -> Tensor:
        """Return the gradient of |mean real - mean generated features|² in a of the first layer, [size, 512]."""
        features = self.inputs[2].float()
        fake = slice(size, 2 * size)
        difference = 2 * (features[fake].mean(0) - features[:size].mean(0)) / size
        weighted = self.factors[1][fake] * difference.to(self.factors[1].dtype)
        return self.factors[0][fake] * (weighted @ self.weights[1])
