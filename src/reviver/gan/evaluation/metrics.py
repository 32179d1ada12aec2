"""How far two sets of points are from each other: distances of distributions, and neighbours.

Shapes: N samples x, M reference points y, D features; all float64.

Matrices of N x M are only ever there in blocks of CHUNK rows. Where the points lie on a grid such that all sums of
products are exact (`snap` sees to it), neither the chunks nor the threads change a distance, and ties are ties.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

CHUNK = 256
"""Rows of a block of distances: 256 x 10 000 of them take 20 MB."""
GRID = 2.0**-16
"""Multiples of this below 64, of up to 128 features: their squared distances are exact in float64's 53 bits."""


class Moments(NamedTuple):
    """Mean [D] and covariance [D, D] of points."""

    mean: Tensor
    covariance: Tensor


class Neighbours(NamedTuple):
    """What k-nearest-neighbour balls say of samples beside reference points, see `compare_neighbours`."""

    precision: float
    recall: float
    density: float
    coverage: float


def snap(points: Tensor) -> Tensor:
    """Round points to multiples of GRID."""
    return (points / GRID).round() * GRID


def moments(points: Tensor) -> Moments:
    """Mean and unbiased covariance of points [N, D]."""
    return Moments(points.mean(0), torch.cov(points.T))


def frechet_distance(x: Moments, y: Moments) -> float:
    """Squared Fréchet distance of two normal distributions (Dowson & Landau 1982), of features: FID (Heusel et al. 2017).

        |m_x - m_y|² + tr(S_x + S_y - 2 (S_x S_y)^½)

    The trace of the root is the sum of the singular values of S_x^½ S_y^½, which keeps its digits where a
    covariance is singular.
    """
    singular_values = torch.linalg.svdvals(_root(x.covariance) @ _root(y.covariance))
    trace = x.covariance.trace() + y.covariance.trace() - 2 * singular_values.sum()
    return float((x.mean - y.mean).square().sum() + trace)


def _root(covariance: Tensor) -> Tensor:
    """The symmetric root of a symmetric matrix without negative eigenvalues."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = vectors * values.clamp(min=0).sqrt() @ vectors.T
    return root


def kernel_mean(x: Tensor, y: Tensor | None = None, *, chunk: int = CHUNK) -> float:
    """Mean of k(x_i, y_j) = (x_i · y_j / D + 1)³ over all pairs; without y over all pairs of different x_i, x_j."""
    total = torch.zeros((), dtype=torch.float64)
    others = x if y is None else y
    for rows in x.split(chunk):
        base = (rows @ others.T).div_(x.shape[1]).add_(1)  # [chunk, M]
        total += base.square().mul_(base).sum()
    if y is not None:
        return float(total) / (len(x) * len(y))
    total -= ((x.square().sum(1) / x.shape[1] + 1) ** 3).sum()
    return float(total) / (len(x) * (len(x) - 1))


def kernel_distance(x: Tensor, y: Tensor, y_mean: float | None = None, *, chunk: int = CHUNK) -> float:
    """Squared maximum mean discrepancy, unbiased, of features: KID (Bińkowski et al. 2018), over all pairs at once.

        E k(x, x') + E k(y, y') - 2 E k(x, y),    k(a, b) = (a · b / D + 1)³

    `y_mean` is E k(y, y') if it is known already.
    """
    y_mean = kernel_mean(y, chunk=chunk) if y_mean is None else y_mean
    return kernel_mean(x, chunk=chunk) + y_mean - 2 * kernel_mean(x, y, chunk=chunk)


def squared_radii(points: Tensor, k: int, *, chunk: int = CHUNK) -> Tensor:
    """Squared distance of each of the points [N, D] to its k-th nearest other point: [N]."""
    radii = []
    for start in range(0, len(points), chunk):
        rows = points[start : start + chunk]
        distances = _squared_distances(rows, points)
        distances.diagonal(start).zero_()
        radii.append(distances.topk(k + 1, dim=1, largest=False).values[:, -1])  # the point itself is the first
    return torch.cat(radii)


def compare_neighbours(
    x: Tensor, x_radii: Tensor, y: Tensor, y_radii: Tensor, k: int, *, chunk: int = CHUNK
) -> Neighbours:
    """Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020).

    A point's ball reaches up to its k-th nearest neighbour of its own set; `squared_radii` gives its size.

        precision   fraction of samples that lie in a ball of a reference point
        recall      fraction of reference points that lie in a ball of a sample
        density     balls of reference points that a sample lies in, on average, divided by k
        coverage    fraction of reference points whose ball holds a sample
    """
    containing = torch.zeros(len(x), dtype=torch.int64)  # balls of reference points around each sample
    recalled = covered = 0
    for rows, radii in zip(y.split(chunk), y_radii.split(chunk), strict=True):
        distances = _squared_distances(rows, x)  # [chunk, N]
        is_inside = distances < radii.unsqueeze(1)
        containing += is_inside.sum(0)
        covered += int(is_inside.any(1).sum())
        recalled += int((distances < x_radii).any(1).sum())
    return Neighbours(
        precision=int((containing > 0).sum()) / len(x),
        recall=recalled / len(y),
        density=int(containing.sum()) / (k * len(x)),
        coverage=covered / len(y),
    )


def nearest(queries: Tensor, points: Tensor, *, chunk: int = 16 * CHUNK) -> tuple[Tensor, Tensor]:
    """Of each of `queries` [Q, D] the place of the nearest of `points` [M, D], and its distance: [Q] each.

    Found in the precision of the queries, then measured in float64.
    """
    least = torch.full((len(queries),), math.inf, dtype=queries.dtype)
    places = torch.zeros(len(queries), dtype=torch.int64)
    for start in range(0, len(points), chunk):
        rows = points[start : start + chunk].to(queries.dtype)
        found = torch.addmm(rows.square().sum(1), queries, rows.T, alpha=-2).min(1)  # less |query|², the same for all
        is_nearer = found.values < least
        least = torch.where(is_nearer, found.values, least)
        places = torch.where(is_nearer, found.indices + start, places)
    return places, (queries.double() - points[places].double()).square().sum(1).sqrt()


def kl_divergence(p: Tensor, q: Tensor) -> float:
    """Σ p log(p / q) of two distributions over classes, in nats; infinite if p has a class that q lacks."""
    return float(torch.special.xlogy(p, p / q).sum()) if bool((q[p > 0] > 0).all()) else math.inf


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """|x_i|² + |y_j|² - 2 x_i · y_j, of x [N, D] and y [M, D]: [N, M]."""
    squares = x.square().sum(1, keepdim=True) + y.square().sum(1)
    return squares.addmm_(x, y.T, alpha=-2).clamp_(min=0)
