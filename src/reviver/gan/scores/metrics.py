"""Metrics of two sets of feature vectors: FID, KID, precision, recall, density, coverage; and of their classes.

Shapes: N generated (fake) images x, M real images y, D features, K classes; all float64.

Matrices [N, M] are computed in blocks of CHUNK rows, which bounds the memory. If the features are multiples of GRID (see
`snap`), every sum of products is exact. Then neither the block size nor the number of threads changes a distance, and
equal distances compare as equal.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

CHUNK = 256
"""Rows of a block of distances: 256 x 10 000 of them take 20 MB."""
GRID = 2.0**-16
"""Spacing of the grid. Squared distances of up to 128 features below 64 are then exact in the 53 bits of float64."""


class Moments(NamedTuple):
    """Mean [D] and covariance [D, D] of features."""

    mean: Tensor
    covariance: Tensor


class NearestNeighbors(NamedTuple):
    """Indices [Q] int64 of the nearest neighbors of Q queries in a set, and Euclidean distances to them, [Q] float64."""

    indices: Tensor
    distances: Tensor


def snap(features: Tensor) -> Tensor:
    """Round features to multiples of GRID."""
    return (features / GRID).round() * GRID


def moments(features: Tensor) -> Moments:
    """Return the mean and the unbiased covariance of features [N, D]."""
    return Moments(features.mean(0), torch.cov(features.T))


def frechet_distance(x: Moments, y: Moments) -> float:
    """Return the squared Fréchet distance of two normal distributions (Dowson & Landau 1982).

        |μ_x - μ_y|² + tr(Σ_x + Σ_y - 2 (Σ_x Σ_y)^½)

    With the moments of features it is FID (Heusel et al. 2017, eq. 6). The trace of the square root is computed as the sum
    of the singular values of Σ_x^½ Σ_y^½, which is accurate even if a covariance is singular.
    """
    singular_values = torch.linalg.svdvals(_matrix_sqrt(x.covariance) @ _matrix_sqrt(y.covariance))
    trace = x.covariance.trace() + y.covariance.trace() - 2 * singular_values.sum()
    return float(((x.mean - y.mean).square().sum() + trace).clamp(min=0))  # of equal moments, rounding may go below


def polynomial_mmd(x: Tensor, y: Tensor, mean_kernel_y: float | None = None, *, chunk: int = CHUNK) -> float:
    """Return the unbiased squared maximum mean discrepancy with the polynomial kernel of degree 3.

        MMD² = E k(x, x') + E k(y, y') - 2 E k(x, y),    k(a, b) = (a · b / D + 1)³

    With features x [N, D] and y [M, D] it is KID (Bińkowski et al. 2018, eq. 4), here over all pairs at once instead of
    over random subsets. `mean_kernel_y` is E k(y, y'), if it is known.
    """
    mean_kernel_y = mean_polynomial_kernel(y, chunk=chunk) if mean_kernel_y is None else mean_kernel_y
    mean_kernel_x = mean_polynomial_kernel(x, chunk=chunk)
    return mean_kernel_x + mean_kernel_y - 2 * mean_polynomial_kernel(x, y, chunk=chunk)


def mean_polynomial_kernel(x: Tensor, y: Tensor | None = None, *, chunk: int = CHUNK) -> float:
    """Return the mean of k(x_i, y_j) = (x_i · y_j / D + 1)³ over all pairs of rows of x [N, D] and y [M, D].

    Without y it is the mean of k(x_i, x_j) over all pairs i ≠ j.
    """
    total = torch.zeros((), dtype=torch.float64)
    columns = x if y is None else y
    for rows in x.split(chunk):
        base = (rows @ columns.T).div_(x.shape[1]).add_(1)  # [chunk, M]
        total += base.square().mul_(base).sum()
    if y is not None:
        return float(total) / (len(x) * len(y))
    total -= ((x.square().sum(1) / x.shape[1] + 1) ** 3).sum()  # the pairs i = j
    return float(total) / (len(x) * (len(x) - 1))


def squared_knn_radii(features: Tensor, k: int, *, chunk: int = CHUNK) -> Tensor:
    """Return the squared distance of each of the features [N, D] to its k-th nearest neighbor, k < N, without itself: [N]."""
    radii = []
    for start in range(0, len(features), chunk):
        rows = features[start : start + chunk]
        distances = _squared_distances(rows, features)
        distances.diagonal(start).zero_()
        radii.append(distances.topk(k + 1, dim=1, largest=False).values[:, -1])  # the first is the vector itself
    return torch.cat(radii)


def prdc(
    fake: Tensor, fake_radii: Tensor, real: Tensor, real_radii: Tensor, k: int, *, chunk: int = CHUNK
) -> dict[str, float]:
    """Return precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020).

    The ball B(x) around a feature vector reaches to its k-th nearest neighbor in its own set, see `squared_knn_radii`.

        precision = 1/N  Σ_i 1[x_i ∈ ∪_j B(y_j)]      fraction of the fake images that lie in a ball of a real one
        recall    = 1/M  Σ_j 1[y_j ∈ ∪_i B(x_i)]      fraction of the real images that lie in a ball of a fake one
        density   = 1/kN Σ_i Σ_j 1[x_i ∈ B(y_j)]      balls of real images around a fake one, relative to k
        coverage  = 1/M  Σ_j 1[∃ i: x_i ∈ B(y_j)]     fraction of the real images whose ball holds a fake one

    Features x are [N, D] and y [M, D], with squared radii [N] and [M].
    """
    num_balls = torch.zeros(len(fake), dtype=torch.int64)  # balls of real images around each fake one
    num_recalled = num_covered = 0
    for rows, radii in zip(real.split(chunk), real_radii.split(chunk), strict=True):
        distances = _squared_distances(rows, fake)  # [chunk, N]
        is_in_real_ball = distances < radii.unsqueeze(1)
        num_balls += is_in_real_ball.sum(0)
        num_covered += int(is_in_real_ball.any(1).sum())
        num_recalled += int((distances < fake_radii).any(1).sum())
    return {
        "precision": int((num_balls > 0).sum()) / len(fake),
        "recall": num_recalled / len(real),
        "density": int(num_balls.sum()) / (k * len(fake)),
        "coverage": num_covered / len(real),
    }


def nearest_neighbors(queries: Tensor, features: Tensor, *, chunk: int = 16 * CHUNK) -> NearestNeighbors:
    """Find the nearest of `features` [M, D] to each of `queries` [Q, D], in their precision; distances are in float64."""
    minimum = torch.full((len(queries),), math.inf, dtype=queries.dtype)
    indices = torch.zeros(len(queries), dtype=torch.int64)
    for start in range(0, len(features), chunk):
        rows = features[start : start + chunk].to(queries.dtype)
        # |row|² - 2 query · row: the squared distance without |query|², which is the same for all rows
        found = torch.addmm(rows.square().sum(1), queries, rows.T, alpha=-2).min(1)
        is_nearer = found.values < minimum
        minimum = torch.where(is_nearer, found.values, minimum)
        indices = torch.where(is_nearer, found.indices + start, indices)
    distances = (queries.double() - features[indices].double()).square().sum(1).sqrt()
    return NearestNeighbors(indices, distances)


def kl_divergence(p: Tensor, q: Tensor) -> float:
    """Return KL(p ‖ q) = Σ_k p_k log(p_k / q_k) of distributions [K], in nats; infinite if q_k = 0 where p_k > 0."""
    return float(torch.special.xlogy(p, torch.where(p > 0, p / q, 1.0)).sum())  # p / 0 is infinite, as it should be


def class_accuracy(predictions: Tensor, labels: Tensor, num_classes: int) -> tuple[float | None, ...]:
    """Return the fraction of the images labeled with each of K classes that are predicted to be of it, None without any.

    Predictions and labels are [N] int64.
    """
    counts = torch.bincount(labels, minlength=num_classes).tolist()
    num_correct = torch.bincount(labels[predictions == labels], minlength=num_classes).tolist()
    return tuple(hits / count if count else None for hits, count in zip(num_correct, counts, strict=True))


def _matrix_sqrt(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = vectors * values.clamp(min=0).sqrt() @ vectors.T
    return root


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Return |x_i|² + |y_j|² - 2 x_i · y_j of x [N, D] and y [M, D]: [N, M]."""
    squares = x.square().sum(1, keepdim=True) + y.square().sum(1)
    return squares.addmm_(x, y.T, alpha=-2).clamp_(min=0)
