"""Replays of a dipping update with one thing changed: what would have kept the accuracy?"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.dips.updates import Training, Update, Weights, copy, norm
from reviver.lstm.scoring import score
from reviver.lstm.tasks.palindromes import Palindromes

ALPHA, EPS = 0.99, 1e-8
"""Decay of v, and the number added to √v: the defaults of `torch.optim.RMSprop`, which the preset uses."""
NUM_DRAWS = 8
"""Random draws (dropout masks, signs) of a replay that has some."""


class Past(NamedTuple):
    """What replays need of the updates before.

    Attributes:
        max_square_avg: maximum of v over the last 100 updates, by element.
        mean_gradient: Adam's m, the running mean of the gradients with decay 0.9, not corrected for its start.
    """

    max_square_avg: Weights
    mean_gradient: Weights


def rmsprop_step(
    gradient: Sequence[Tensor], square_avg: Sequence[Tensor], lr: float, eps: float = EPS, *, adds_square: bool = True
) -> Weights:
    """Return the step of RMSprop, -lr · g / (√v + eps), with v = α v + (1 - α) g² as torch computes it.

    Args:
        gradient: g.
        square_avg: v before the update.
        lr: learning rate.
        eps: number added to √v.
        adds_square: add g² to v first.
    """
    steps = []
    for g, v in zip(gradient, square_avg, strict=True):
        new_v = (v * ALPHA).addcmul_(g, g, value=1 - ALPHA) if adds_square else v
        steps.append(torch.zeros_like(g).addcdiv_(g, new_v.sqrt().add_(eps), value=-lr))
    return steps


def find_gradient(training: Training, data: Palindromes, seed: int | Tensor | None) -> Weights:
    """Return the clipped gradient on `data` with dropout masks of a seed or of a state of their generator; None: no dropout."""
    rng = torch.Generator()
    if isinstance(seed, Tensor):
        rng.set_state(seed)
    elif seed is not None:
        rng.manual_seed(seed)
    if seed is None:
        training.network.eval()
    logits = training.network(data.encode(), rng=rng)
    training.network.train()
    gradient = torch.autograd.grad(functional.cross_entropy(logits, data.targets), training.parameters)
    scale = min(1.0, training.config.max_norm / (norm(gradient) + 1e-6))
    return [scale * g for g in gradient]


Change = Callable[[Training, Update, Past, int], Weights]
"""Step instead of that of an update; the last argument is the number of a random draw. The network has the weights before
the update."""


def _clipped(update: Update, max_norm: float) -> Weights:
    return [g * min(1.0, max_norm / norm(update.gradient)) for g in update.gradient]


def _scaled(training: Training, update: Update, factor: float) -> Weights:
    return rmsprop_step(update.gradient, update.square_avg, training.config.learning_rate * factor)


def _capped(update: Update, limit: float) -> Weights:
    return [step.clamp(-limit, limit) for step in update.step]


def _shortened(update: Update, limit: float) -> Weights:
    factor = norm(_capped(update, limit)) / norm(update.step)
    return [factor * step for step in update.step]


def _random_signs(update: Update, draw: int) -> Weights:
    rng = torch.Generator().manual_seed(draw)
    return [step * (2.0 * torch.randint(0, 2, step.shape, generator=rng) - 1.0) for step in update.step]


def _along_gradient(update: Update) -> Weights:
    scale = norm(update.step) / norm(update.gradient)
    return [-scale * g for g in update.gradient]


CHANGES: Mapping[str, tuple[Change, int]] = MappingProxyType(
    {
        "none": (lambda t, u, p, n: _scaled(t, u, 1.0), 1),
        "learning rate × 1/2": (lambda t, u, p, n: _scaled(t, u, 1 / 2), 1),
        "learning rate × 1/4": (lambda t, u, p, n: _scaled(t, u, 1 / 4), 1),
        "gradient clipped at norm 1": (
            lambda t, u, p, n: rmsprop_step(_clipped(u, 1.0), u.square_avg, t.config.learning_rate),
            1,
        ),
        "√v at its maximum of the last 100 updates": (
            lambda t, u, p, n: rmsprop_step(u.gradient, p.max_square_avg, t.config.learning_rate),
            1,
        ),
        "eps = 0.01": (lambda t, u, p, n: rmsprop_step(u.gradient, u.square_avg, t.config.learning_rate, 0.01), 1),
        "every weight moves by at most the learning rate": (lambda t, u, p, n: _capped(u, t.config.learning_rate), 1),
        "the whole step shortened as much": (lambda t, u, p, n: _shortened(u, t.config.learning_rate), 1),
        "Adam's mean of the gradients (β₁ = 0.9)": (
            lambda t, u, p, n: rmsprop_step(
                [0.9 * m + 0.1 * g for m, g in zip(p.mean_gradient, u.gradient, strict=True)],
                [ALPHA * v + (1 - ALPHA) * g * g for v, g in zip(u.square_avg, u.gradient, strict=True)],
                t.config.learning_rate,
                adds_square=False,
            ),
            1,
        ),
        "other dropout masks": (
            lambda t, u, p, n: rmsprop_step(find_gradient(t, u.batch, n), u.square_avg, t.config.learning_rate),
            NUM_DRAWS,
        ),
        "no dropout": (
            lambda t, u, p, n: rmsprop_step(find_gradient(t, u.batch, None), u.square_avg, t.config.learning_rate),
            1,
        ),
        "all training sequences in the batch": (
            lambda t, u, p, n: rmsprop_step(find_gradient(t, t.train, n), u.square_avg, t.config.learning_rate),
            NUM_DRAWS // 2,
        ),
        "random signs of the same step": (lambda t, u, p, n: _random_signs(u, n), NUM_DRAWS),
        "along the gradient, as far": (lambda t, u, p, n: _along_gradient(u), 1),
    }
)
"""Changes of an update, and how many random draws each has."""


def replay(training: Training, update: Update, past: Past) -> dict[str, list[float]]:
    """Return the validation accuracy after the update with each of `CHANGES`, for each of its random draws.

    The network has its weights again afterwards.
    """
    now = copy(training.parameters)
    accuracies: dict[str, list[float]] = {}
    for name, (change, num_draws) in CHANGES.items():
        accuracies[name] = []
        for draw in range(num_draws):
            training.set_weights(update.weights)
            step = change(training, update, past, draw)
            training.set_weights([w + s for w, s in zip(update.weights, step, strict=True)])
            accuracies[name].append(score(training.network, training.validation, "class").accuracy)
    training.set_weights(now)
    return accuracies


def find_sharpness(training: Training, square_avg: Sequence[Tensor], iterations: int = 12, num_masks: int = 2) -> float:
    """Return the eigenvalue of largest magnitude of D^½ H D^½, where D = lr / (√v + eps) is the step per gradient of each weight.

    H is the Hessian of the training loss with fixed dropout masks, averaged over `num_masks` of them. On a quadratic loss,
    updates with that D diverge along the eigenvector if the eigenvalue exceeds 2 (Cohen et al. 2022, adaptive edge of
    stability). The power iteration takes products with H by central differences of gradients.
    """
    now = copy(training.parameters)
    scales = [(training.config.learning_rate / (v.sqrt() + EPS)).sqrt() for v in square_avg]
    rng = torch.Generator().manual_seed(0)
    vector = [torch.randn(w.shape, generator=rng) for w in now]
    eigenvalue = 0.0

    def mean_gradient(shift: Weights) -> Weights:
        training.set_weights([w + d for w, d in zip(now, shift, strict=True)])
        x, targets = training.train.encode(), training.train.targets
        losses = [
            functional.cross_entropy(training.network(x, rng=torch.Generator().manual_seed(seed)), targets)
            for seed in range(num_masks)
        ]
        return list(torch.autograd.grad(torch.stack(losses).mean(), training.parameters))

    for _ in range(iterations):
        length = norm(vector)
        direction = [v / length * s for v, s in zip(vector, scales, strict=True)]
        epsilon = 2e-3 / norm(direction)
        after = mean_gradient([epsilon * d for d in direction])
        before = mean_gradient([-epsilon * d for d in direction])
        product = [(a - b) / (2 * epsilon) * s for a, b, s in zip(after, before, scales, strict=True)]
        eigenvalue = float(sum((p * v).sum() for p, v in zip(product, vector, strict=True)) / length)
        vector = product
    training.set_weights(now)
    nn.Module.zero_grad(training.network)
    return eigenvalue
