"""Latents that the explorer starts from: those of the sample grid, end points, and principal directions.

Shapes: N latents, Z latent size, K classes, P pixels, E end points.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reviver.explorer.blocks import Blocks, encode_f32
from reviver.explorer.manifest import TensorBlock
from reviver.explorer.networks import FoldedLayer
from reviver.gan.interpolation import CONFIDENCE, NUM_DISTANT_CANDIDATES, most_robust
from reviver.gan.networks import NEGATIVE_SLOPE, Generator
from reviver.gan.sampling import generate_chunked
from reviver.gan.scores.digit_classifier import DigitClassifier
from reviver.runs.rng import make_rng
from reviver.train.gan.run import GANRun
from reviver.train.gan.training import GRID_SIZE

NUM_CANDIDATES = 1024
"""Random latents that end points are chosen from."""
MAX_CANDIDATES_PER_CLASS = 24
"""Of a class, these many are tested for robustness."""
PER_CLASS = 6
"""End points of each class, or in all for images without classes."""
MAX_ENDPOINTS = 240
"""With more classes than 40 there are fewer of each, at least one."""
NUM_DIRECTION_LATENTS = 32
MAX_DIRECTION_PIXELS = 2048
"""Of larger images, as many random pixels decide about the principal directions."""


class Endpoints(NamedTuple):
    """Latents [E, Z] that make good ends of an interpolation, and the class of each image, or None."""

    latents: Tensor
    classes: Sequence[int | None]


def embed_latents(
    run: GANRun, layers: Sequence[FoldedLayer], endpoints: Endpoints, name: str, blocks: Blocks
) -> TensorBlock:
    """Add the latents of a run to the data blocks; return where they are."""
    generator = run.generator
    num_classes = generator.num_classes
    grid_classes = torch.arange(GRID_SIZE) % num_classes if num_classes else None
    tensors = {
        "grid": encode_f32(generator.sample_latents(GRID_SIZE, make_rng(run.config.seed, "grid"), grid_classes)),
        "endpoints": encode_f32(endpoints.latents),
        "directions": encode_f32(principal_directions(generator, layers, run.config.seed)),
    }
    return blocks.add_tensors(name, tensors)


def choose_endpoints(run: GANRun, classifier: DigitClassifier | None) -> Endpoints:
    """Choose end points: the most robust of each class, or latents whose images differ much where no class is known."""
    generator, seed = run.generator, run.config.seed
    if generator.num_classes:
        return _of_condition(generator, classifier, seed)
    found = None if classifier is None else _of_classifier(generator, classifier, seed)
    return found or _distant(generator, seed)


def principal_directions(generator: Generator, layers: Sequence[FoldedLayer], seed: int) -> Tensor:
    """Return the two orthonormal directions d of the noise along which images change most, [2, Z].

    They maximize the mean of ‖J d‖² over random latents, where J = ∂x/∂z is the Jacobian of the generator, [P, Z]. So
    they are the first two eigenvectors of the mean of Jᵀ J. A random direction changes images less than half as much.
    `layers` are those of the generator, with its BatchNorm folded.
    """
    rng = make_rng(seed, "explorer/directions")
    z = generator.sample_latents(NUM_DIRECTION_LATENTS, rng)
    pixels = torch.randperm(math.prod(generator.image_shape), generator=rng)[:MAX_DIRECTION_PIXELS]
    *hidden, last = layers
    layers = [*hidden, FoldedLayer(last.weight[pixels], last.bias[pixels], last.activation)]
    layers = [FoldedLayer(layer.weight.float(), layer.bias.float(), layer.activation) for layer in layers]
    size = generator.noise_size
    total = torch.zeros(size, size).double()
    for latent in z.split(1):
        total += _squared_jacobian(layers, latent, size).double()
    _, vectors = torch.linalg.eigh(total)  # ascending eigenvalues
    directions = torch.zeros(2, generator.latent_size).double()
    found = vectors.T.flip(0)[:2]
    found = found * torch.where(found.sum(1, keepdim=True) < 0, -1.0, 1.0)  # a sign that no library chooses
    directions[: len(found), :size] = found
    return directions


def _squared_jacobian(layers: Sequence[FoldedLayer], z: Tensor, size: int) -> Tensor:
    """Return Jᵀ J with respect to the first `size` numbers of a latent z [1, Z], by forward differentiation."""
    x, tangent = z, torch.eye(size, z.shape[1])  # [size, Z]
    for layer in layers:
        tangent = tangent @ layer.weight.T
        x = nn.functional.linear(x, layer.weight, layer.bias)
        if layer.activation == "leaky-relu":
            tangent = tangent * torch.where(x > 0, 1.0, NEGATIVE_SLOPE)
            x = nn.functional.leaky_relu(x, NEGATIVE_SLOPE)
        elif layer.activation == "tanh":
            x = x.tanh()
            tangent = tangent * (1 - x**2)
    return tangent @ tangent.T


def _of_classifier(generator: Generator, classifier: DigitClassifier, seed: int) -> Endpoints | None:
    """Choose the most robust of each class that the generator generates with confidence; None if there is none."""
    z = generator.sample_latents(NUM_CANDIDATES, make_rng(seed, "endpoints"))
    images = generate_chunked(generator, z)
    confidences, predicted = classifier.probabilities(images).max(1)
    num_classes = classifier.head.out_features
    chosen: list[int] = []
    classes: list[int | None] = []
    for class_index in range(num_classes):
        found = ((predicted == class_index) & (confidences >= CONFIDENCE)).nonzero().flatten().tolist()
        if found:
            best = most_robust(classifier, images, found[:MAX_CANDIDATES_PER_CLASS], class_index)
            chosen += best[: _per_class(num_classes)]
            classes += [class_index] * len(best[: _per_class(num_classes)])
    return Endpoints(z[chosen], classes) if chosen else None


def _of_condition(generator: Generator, classifier: DigitClassifier | None, seed: int) -> Endpoints:
    """Choose latents of each class that the generator is conditioned on: the most robust, or else random ones."""
    num_classes = generator.num_classes
    per_class = _per_class(num_classes)
    is_known = classifier is not None and classifier.head.out_features == num_classes
    count = MAX_CANDIDATES_PER_CLASS if is_known else per_class
    labels = torch.arange(num_classes).repeat_interleave(count)
    z = generator.sample_latents(len(labels), make_rng(seed, "endpoints"), labels)
    chosen = list(range(len(z)))
    if classifier is not None and is_known:
        images = generate_chunked(generator, z)
        groups = [range(c * count, (c + 1) * count) for c in range(num_classes)]
        chosen = [k for c, group in enumerate(groups) for k in most_robust(classifier, images, group, c)[:per_class]]
    return Endpoints(z[chosen], labels[chosen].tolist())


def _distant(generator: Generator, seed: int) -> Endpoints:
    """Choose latents whose images differ much: first the two of `choose_distant_endpoints`, then the farthest from these."""
    z = generator.sample_latents(NUM_DISTANT_CANDIDATES, make_rng(seed, "endpoints"))
    images = generate_chunked(generator, z).flatten(1)
    distances = torch.cdist(images, images)
    chosen = [*divmod(int(distances.argmax()), len(z))]
    while len(chosen) < PER_CLASS:
        chosen.append(int(distances[chosen].amin(0).argmax()))
    return Endpoints(z[chosen], [None] * len(chosen))


def _per_class(num_classes: int) -> int:
    return max(1, min(PER_CLASS, MAX_ENDPOINTS // num_classes))
