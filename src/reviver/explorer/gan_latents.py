"""Latents that the explorer starts from: those of the sample grid, end points, and principal directions.

Shapes: N latents, Z latent size, K classes, P pixels, E end points.
"""

import copy
import math

import torch
from torch import Tensor, nn

from reviver.explorer.blocks import Blocks, encode_f32
from reviver.explorer.manifest import TensorBlock
from reviver.gan.interpolation import CONFIDENCE, choose_distant_endpoints, most_robust
from reviver.gan.networks import Generator
from reviver.gan.sampling import generate_chunked
from reviver.gan.scores.feature_extractor import DigitClassifier
from reviver.rng import make_rng
from reviver.train.gan.training import GRID_SIZE
from reviver.train.opened import OpenedRun

NUM_CANDIDATES = 1024
"""Random latents that end points are chosen from."""
MAX_CANDIDATES = 24
"""Of a class, these many are tested for robustness."""
PER_CLASS = 6
"""End points of each class, or in all for images without classes."""
MAX_ENDPOINTS = 240
"""With more classes than 40 there are fewer of each, at least one."""
NUM_DIRECTION_LATENTS = 32
MAX_DIRECTION_PIXELS = 2048
"""Of larger images, as many random pixels decide about the principal directions."""


def embed_latents(run: OpenedRun, folded: nn.Sequential, endpoints: Tensor, name: str, blocks: Blocks) -> TensorBlock:
    """Add the latents of a run to the data blocks; return where they are."""
    generator = run.generator
    num_classes = generator.num_classes
    grid_classes = torch.arange(GRID_SIZE) % num_classes if num_classes else None
    tensors = {
        "grid": encode_f32(generator.sample_latents(GRID_SIZE, make_rng(run.config.seed, "grid"), grid_classes)),
        "endpoints": encode_f32(endpoints),
        "directions": encode_f32(principal_directions(generator, folded, run.config.seed)),
    }
    return blocks.add_tensors(name, tensors)


def choose_endpoints(run: OpenedRun, classifier: DigitClassifier | None) -> tuple[Tensor, list[int | None]]:
    """Return end points [E, Z] and their classes: the most robust, or latents whose images differ much if no class is known.

    A conditional generator whose classes the classifier does not know gets random latents of each class.
    """
    generator, rng = run.generator, make_rng(run.config.seed, "endpoints")
    if generator.num_classes:
        labels = torch.arange(generator.num_classes).repeat_interleave(MAX_CANDIDATES)
        z = generator.sample_latents(len(labels), rng, labels)
        groups = torch.arange(len(z)).view(generator.num_classes, -1).tolist()
        is_known = classifier is not None and classifier.head.out_features == generator.num_classes
        classifier = classifier if is_known else None
        images = generate_chunked(generator, z) if is_known else z  # nobody looks at them
    elif classifier is not None:
        z = generator.sample_latents(NUM_CANDIDATES, rng)
        images = generate_chunked(generator, z)
        confidences, predicted = classifier.probabilities(images).max(1)
        predicted[confidences < CONFIDENCE] = -1
        groups = [(predicted == c).nonzero().flatten().tolist() for c in range(classifier.head.out_features)]
    else:
        groups = []
    per_class = max(1, min(PER_CLASS, MAX_ENDPOINTS // max(1, len(groups))))
    chosen: list[int] = []
    classes: list[int | None] = []
    for index, group in enumerate(groups):
        best = most_robust(classifier, images, group[:MAX_CANDIDATES], index) if classifier and group else group
        chosen += best[:per_class]
        classes += [index] * len(best[:per_class])
    if chosen:
        return z[chosen], classes
    return choose_distant_endpoints(generator, run.config.seed, PER_CLASS), [None] * PER_CLASS


def principal_directions(generator: Generator, folded: nn.Sequential, seed: int) -> Tensor:
    """Return the two orthonormal directions d of the noise along which images change most, [2, Z].

    They maximize the mean of ‖J d‖² over random latents, where J = ∂x/∂z is the Jacobian of the generator, [P, Z]. So
    they are the first two eigenvectors of the mean of Jᵀ J. A random direction changes images less than half as much.
    `folded` has the layers of the generator, see `blocks.fold`.
    """
    rng = make_rng(seed, "explorer/directions")
    z = generator.sample_latents(NUM_DIRECTION_LATENTS, rng)
    pixels = torch.randperm(math.prod(generator.image_shape), generator=rng)[:MAX_DIRECTION_PIXELS]
    network = copy.deepcopy(folded).float()
    last: nn.Linear = network[-2]  # type: ignore[assignment]
    last.weight.data, last.bias.data = last.weight[pixels], last.bias[pixels]
    size = generator.noise_size
    total = torch.zeros(size, size).double()
    for x in z.split(1):
        tangent = torch.eye(size, x.shape[1])  # Jᵀ so far, [size, ...]
        for layer in network:
            x = layer(x)  # noqa: PLW2901
            if isinstance(layer, nn.Linear):
                tangent = tangent @ layer.weight.T
            elif isinstance(layer, nn.LeakyReLU):
                tangent = tangent * torch.where(x > 0, 1.0, layer.negative_slope)
            else:
                tangent = tangent * (1 - x**2)
        total += (tangent @ tangent.T).double()
    _, vectors = torch.linalg.eigh(total)  # ascending eigenvalues
    directions = torch.zeros(2, generator.latent_size).double()
    found = vectors.T.flip(0)[:2]
    found = found * torch.where(found.sum(1, keepdim=True) < 0, -1.0, 1.0)  # a sign that no library chooses
    directions[: len(found), :size] = found
    return directions
