"""Scores: right by other people's code, the same twice and in any chunks, sensible on a real case, cached, undisturbing."""

import numpy as np
import prdc
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from reviver.gan import distances


def points(count: int, features: int = 12, seed: int = 0, spread: float = 1.0) -> Tensor:
    randomness = torch.Generator().manual_seed(seed)
    mixing = torch.randn(features, features, generator=randomness, dtype=torch.float64)
    return distances.snap(spread * torch.randn(count, features, generator=randomness, dtype=torch.float64) @ mixing)


class Given(nn.Module):
    """What torchmetrics takes for an extractor: the images are the features."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.num_features = features

    def forward(self, x: Tensor) -> Tensor:
        return x


# Right value


@pytest.mark.parametrize(("n", "m", "features"), [(300, 200, 12), (40, 60, 3), (30, 25, 40)])
def test_frechet_distance_is_that_of_torchmetrics_and_scipy(n: int, m: int, features: int) -> None:
    x, y = points(n, features, 1), points(m, features, 2, spread=1.3)
    ours = distances.frechet_distance(distances.moments(x), distances.moments(y))
    metric = FrechetInceptionDistance(feature=Given(features), normalize=True).set_dtype(torch.float64)
    metric.update(x, real=False)
    metric.update(y, real=True)
    root = scipy.linalg.sqrtm(np.cov(x.numpy().T) @ np.cov(y.numpy().T)).real
    trace = np.trace(np.cov(x.numpy().T) + np.cov(y.numpy().T) - 2 * root)
    by_scipy = np.square(x.numpy().mean(0) - y.numpy().mean(0)).sum() + trace
    relative = 1e-9 if min(n, m) > features else 1e-4  # theirs lose digits where a covariance is singular
    assert ours == pytest.approx(float(metric.compute()), rel=relative)
    assert ours == pytest.approx(by_scipy, rel=relative)


def test_frechet_distance_to_itself_is_zero_even_if_singular() -> None:
    for one in (points(300), points(5), torch.ones(7, 12, dtype=torch.float64)):
        assert distances.frechet_distance(distances.moments(one), distances.moments(one)) == pytest.approx(0, abs=1e-9)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save")
def test_kernel_distance_is_that_of_torchmetrics() -> None:
    x, y = points(150, seed=1), points(150, seed=2)
    metric = KernelInceptionDistance(feature=Given(12), subsets=1, subset_size=150).set_dtype(torch.float64)
    metric.update(x, real=False)
    metric.update(y, real=True)
    assert distances.kernel_distance(x, y) == pytest.approx(float(metric.compute()[0]), rel=1e-9)


@given(
    n=st.integers(7, 40),
    m=st.integers(7, 40),
    k=st.integers(1, 6),
    levels=st.integers(1, 1000),
    seed=st.integers(0, 99),
)
def test_neighbours_are_those_of_prdc(n: int, m: int, k: int, levels: int, seed: int) -> None:
    """With few levels many points are equal and many distances are ties."""
    randomness = torch.Generator().manual_seed(seed)
    x = torch.randint(0, levels + 1, (n, 3), generator=randomness).double()
    y = torch.randint(0, levels + 1, (m, 3), generator=randomness).double()
    theirs = prdc.compute_prdc(y.numpy(), x.numpy(), nearest_k=k)
    radii = distances.squared_radii(x, k), distances.squared_radii(y, k)
    ours = distances.compare_neighbours(x, radii[0], y, radii[1], k)._asdict()
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_neighbours_of_real_numbers_are_those_of_prdc() -> None:
    x, y = points(200, 20, 1), points(300, 20, 2)
    theirs = prdc.compute_prdc(y.numpy(), x.numpy(), nearest_k=5)
    radii = distances.squared_radii(x, 5), distances.squared_radii(y, 5)
    assert distances.compare_neighbours(x, radii[0], y, radii[1], 5)._asdict() == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
def test_chunks_do_not_matter(chunk: int) -> None:
    x, y = points(90, 128, 1), torch.cat([points(60, 128, 2), points(10, 128, 2)])  # ten of them twice
    radii = distances.squared_radii(x, 5), distances.squared_radii(y, 5)
    assert torch.equal(distances.squared_radii(y, 5, chunk=chunk), radii[1])
    whole = distances.compare_neighbours(x, radii[0], y, radii[1], 5)
    assert distances.compare_neighbours(x, radii[0], y, radii[1], 5, chunk=chunk) == whole
    assert distances.kernel_distance(x, y, chunk=chunk) == pytest.approx(distances.kernel_distance(x, y), rel=1e-12)
    for ours, expected in zip(distances.nearest(x, y, chunk=chunk), distances.nearest(x, y), strict=True):
        assert torch.equal(ours, expected)


def test_the_nearest_point_is_that_of_all_distances() -> None:
    x, y = points(50, seed=1).float(), points(70, seed=2).float()
    places, lengths = distances.nearest(x, y)
    expected = torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist").min(1)
    assert torch.equal(places, expected.indices)
    torch.testing.assert_close(lengths, expected.values)


def test_kl_divergence() -> None:
    even, half = torch.full((10,), 0.1).double(), torch.tensor([0.2] * 5 + [0.0] * 5).double()
    assert distances.kl_divergence(even, even) == 0
    assert distances.kl_divergence(half, even) == pytest.approx(np.log(2))
    assert distances.kl_divergence(even, half) == np.inf
