"""Model of the time of a training step by p processes.

    step(p) = compute(B / p) · max(1, p / cores) + bytes · copy + Σ all_reduce(n, p)

    all_reduce(n, p) = 2 (p - 1) α + 2 (p - 1) / p · n / β

The second line is the ring algorithm of gloo (Patarasuk & Yuan 2009): 2 (p - 1) messages of n / p bytes one after
another, with latency α and bandwidth β. The sum goes over gradients and, with synchronized BatchNorm, its statistics.
Nothing overlaps in the model, so it is an upper bound where the generator's exchange hides behind computation.

compute is linear in the terms of `lstm_terms` and `gan_terms`, with coefficients ≥ 0 fitted to measured steps.

Shapes: B batch, T time, I input size, H hidden units, P parameters.
"""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import nnls

from reviver.gan.networks import DISCRIMINATOR_WIDTHS, GENERATOR_WIDTHS

FLOAT_BYTES = 4
INPUT_SIZE = 10
"""I: one-hot digits."""
CLASSES = 10
LATENT_SIZE = 100
NORMALISED_WIDTHS = GENERATOR_WIDTHS[1:]
"""Layers of the generator with BatchNorm."""


class Network(NamedTuple):
    """What connects the processes."""

    latency: float
    """α, seconds of a message of no size."""
    bandwidth: float
    """β, bytes per second."""

    def all_reduce(self, size: float, processes: int) -> float:
        """Return the seconds of an all-reduce of `size` bytes."""
        rounds = 2 * (processes - 1)
        return rounds * self.latency + rounds / processes * size / self.bandwidth


class Compute(NamedTuple):
    """Seconds of a step by one process: the sum of coefficients times terms."""

    coefficients: tuple[float, ...]

    def seconds(self, terms: Sequence[float]) -> float:
        """Return the seconds of a step with these terms."""
        return float(np.dot(self.coefficients, terms))


class Exchange(NamedTuple):
    """What a step exchanges: the bytes of each all-reduce."""

    gradients: tuple[float, ...]
    small: tuple[float, ...] = ()
    """The statistics of synchronized BatchNorm."""

    def seconds(self, network: Network, processes: int, copy: float) -> float:
        """Return the seconds of the exchange, and of filling the bucket at `copy` seconds per byte."""
        if processes == 1:
            return 0.0
        sizes = (*self.gradients, *self.small)
        return copy * sum(self.gradients) + sum(network.all_reduce(size, processes) for size in sizes)


def fit_network(processes: int, seconds: Mapping[int, float]) -> Network:
    """Fit latency and bandwidth to the measured seconds of an all-reduce by bytes, by least relative squares."""
    sizes = list(seconds)
    terms = [
        (Network(1, np.inf).all_reduce(size, processes), Network(0, 1).all_reduce(size, processes)) for size in sizes
    ]
    latency, inverse_bandwidth = fit(terms, list(seconds.values()))
    return Network(latency, 1 / inverse_bandwidth)


def fit(terms: Sequence[Sequence[float]], seconds: Sequence[float]) -> tuple[float, ...]:
    """Return coefficients ≥ 0 of `terms` with the least squares of the relative errors."""
    matrix = np.asarray(terms, dtype=np.float64) / np.asarray(seconds)[:, None]
    scale = matrix.max(0)  # terms differ by many orders of magnitude
    coefficients, _ = nnls(matrix / scale, np.ones(len(seconds)))
    return tuple((coefficients / scale).tolist())


def relative_errors(predicted: Sequence[float], measured: Sequence[float]) -> dict[str, Any]:
    """Return the median and the maximum of the absolute relative errors, and their number; None of no errors."""
    if not measured:
        return {"median": None, "max": None, "n": 0}
    errors = [abs(a / b - 1) for a, b in zip(predicted, measured, strict=True)]
    return {"median": median(errors), "max": max(errors), "n": len(errors)}


def lstm_parameters(H: int) -> int:
    """Return the number of parameters of the LSTM classifier with one-hot digits."""
    return 4 * H * (INPUT_SIZE + H + 1) + CLASSES * (H + 1)


def lstm_terms(B: float, T: int, H: int) -> tuple[float, ...]:
    """Return the terms of a step: a constant, time steps, elementwise work, multiply-adds, parameters."""
    return (1.0, T, B * T * H, B * T * 4 * H * (INPUT_SIZE + H), lstm_parameters(H))


def gan_parameters(image_size: int) -> tuple[int, int]:
    """Return the numbers of parameters of generator and discriminator for gray images."""
    pixels = image_size**2
    layers = zip((LATENT_SIZE, *GENERATOR_WIDTHS), (*GENERATOR_WIDTHS, pixels), strict=True)
    generator = sum((inputs + 1) * outputs for inputs, outputs in layers) + 2 * sum(NORMALISED_WIDTHS)
    layers = zip((pixels, *DISCRIMINATOR_WIDTHS), (*DISCRIMINATOR_WIDTHS, 1), strict=True)
    return generator, sum((inputs + 1) * outputs for inputs, outputs in layers)


def gan_terms(B: float, image_size: int) -> tuple[float, ...]:
    """Return the terms of a step: a constant, images, parameters, multiply-adds."""
    parameters = sum(gan_parameters(image_size))
    return (1.0, B, parameters, B * parameters)


def lstm_exchange(H: int) -> Exchange:
    """Return what a step of the LSTM exchanges."""
    return Exchange((FLOAT_BYTES * lstm_parameters(H),))


def gan_exchange(image_size: int, gradient_bytes: int) -> Exchange:
    """Return what a step of the GAN exchanges.

    Args:
        image_size: height and width of the images.
        gradient_bytes: bytes of a gradient: 4 in fp32, 2 in bf16.
    """
    generator, discriminator = gan_parameters(image_size)
    small = [FLOAT_BYTES * 2 * width for width in NORMALISED_WIDTHS for _ in ("forward", "backward")]
    return Exchange((gradient_bytes * generator, gradient_bytes * discriminator), tuple(small))


def activation_bytes(B: float, T: int, H: int, checkpoint_steps: int | None = None) -> float:
    """Return the bytes that the LSTM keeps for the backward pass, with its input.

    Without activation checkpointing: x, i, f, g, o, c and h of each step. With it: x and h of each step, h and c before
    every k steps, and i, f, g, o, c and h of k steps.
    """
    if checkpoint_steps is None:
        return FLOAT_BYTES * B * T * (INPUT_SIZE + 6 * H)
    k = checkpoint_steps
    return FLOAT_BYTES * B * (T * (INPUT_SIZE + H) + 2 * H * T / k + 6 * H * k)


def gan_bytes(B: float, image_size: int) -> float:
    """Return the bytes of a GAN in training: weights, gradients, bucket, two moments of Adam, and images of a step."""
    values = 5 * sum(gan_parameters(image_size))
    activations = B * (4 * image_size**2 + 4 * sum(GENERATOR_WIDTHS) + 6 * sum(DISCRIMINATOR_WIDTHS))
    return FLOAT_BYTES * (values + activations)
