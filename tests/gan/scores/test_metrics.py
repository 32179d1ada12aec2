"""Metrics: equal to scipy, torchmetrics, prdc and brute force, whatever the size of the chunks."""

import math

import joblib
import prdc
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from reviver.gan.scores import metrics


def random_features(num_vectors: int, features: int = 12, seed: int = 0, spread: float = 1.0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(features, features, generator=rng, dtype=torch.float64)
    return metrics.snap(spread * torch.randn(num_vectors, features, generator=rng, dtype=torch.float64) @ mixing)


def identity_extractor(features: int) -> nn.Module:
    """Return a feature extractor for torchmetrics whose features are its input."""
    extractor = nn.Identity()
    extractor.num_features = features  # type: ignore[assignment]
    return extractor


@pytest.mark.parametrize(("n", "m", "features"), [(300, 200, 12), (30, 25, 40)])
def test_frechet_distance_equals_torchmetrics_and_is_zero_to_itself(n: int, m: int, features: int) -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance  # a second to import, for one process

    x, y = random_features(n, features, 1), random_features(m, features, 2, spread=1.3)
    result = metrics.frechet_distance(metrics.moments(x), metrics.moments(y))
    metric = FrechetInceptionDistance(feature=identity_extractor(features), normalize=True).set_dtype(torch.float64)
    metric.update(x, real=False)
    metric.update(y, real=True)
    relative = 1e-9 if min(n, m) > features else 1e-4  # the other loses precision where a covariance is singular
    assert result == pytest.approx(float(metric.compute()), rel=relative)
    for one in (x, x[:5], random_features(6, 128, 3), torch.ones(7, 12, dtype=torch.float64)):
        assert 0 <= metrics.frechet_distance(metrics.moments(one), metrics.moments(one)) < 1e-9


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save")
def test_polynomial_mmd_equals_torchmetrics() -> None:
    from torchmetrics.image.kid import KernelInceptionDistance

    x, y = random_features(150, seed=1), random_features(150, seed=2)
    metric = KernelInceptionDistance(feature=identity_extractor(12), subsets=1, subset_size=150)
    metric.set_dtype(torch.float64)
    metric.update(x, real=False)
    metric.update(y, real=True)
    expected = pytest.approx(float(metric.compute()[0]), rel=1e-9)
    assert metrics.polynomial_mmd(x, y) == metrics.polynomial_mmd(x, y, metrics.mean_polynomial_kernel(y)) == expected


def compute_prdc(x: Tensor, y: Tensor, k: int, **chunk: int) -> dict[str, float]:
    radii = metrics.squared_knn_radii(x, k, **chunk), metrics.squared_knn_radii(y, k, **chunk)
    return metrics.prdc(x, radii[0], y, radii[1], k, **chunk)


@given(data=st.data(), k=st.integers(1, 8), levels=st.integers(1, 1000), seed=st.integers(0, 99))
def test_prdc_equals_the_package_prdc(data: st.DataObject, k: int, levels: int, seed: int) -> None:
    """With few levels many features are equal and many distances are ties."""
    sizes = st.integers(k + 2, 40)  # the package partitions at index k + 1, so it needs k + 2 images
    n, m = data.draw(sizes, label="n"), data.draw(sizes, label="m")
    rng = torch.Generator().manual_seed(seed)
    x, y = (torch.randint(0, levels + 1, (count, 3), generator=rng).double() for count in (n, m))
    with joblib.parallel_config("sequential"):  # the package starts eight threads for each matrix
        expected = prdc.compute_prdc(y.numpy(), x.numpy(), nearest_k=k)
    assert compute_prdc(x, y, k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
def test_the_chunk_size_does_not_change_metrics(chunk: int) -> None:
    x, y = random_features(90, 128, 1), random_features(60, 128, 2)
    y = torch.cat([y, y[:10]])  # ten of them twice
    assert compute_prdc(x, y, 5, chunk=chunk) == compute_prdc(x, y, 5)
    assert metrics.polynomial_mmd(x, y, chunk=chunk) == pytest.approx(metrics.polynomial_mmd(x, y), rel=1e-12)
    y = y[:60]
    y[0] = x[7]  # the first of the first chunk is the nearest of one
    indices, distances = metrics.nearest_neighbors(x.float(), y.float(), chunk=chunk)
    expected = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").min(1)
    assert torch.equal(indices, expected.indices)
    torch.testing.assert_close(distances, expected.values)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 1)), min_size=2, max_size=9).filter(lambda x: x[0][0] > 0.1))
def test_kl_divergence_equals_scipy(pairs: list) -> None:
    p, q = torch.tensor(pairs, dtype=torch.float64).T
    p, q = p / p.sum(), q / q.sum()
    assert metrics.kl_divergence(p, q) == pytest.approx(scipy.stats.entropy(p, q), abs=1e-9)
    q = q * torch.tensor([0.0, *[1.0] * (len(q) - 1)])
    assert metrics.kl_divergence(p, q) == math.inf
    p, q = torch.tensor([[0.5, 0.5, 0.0], [0.25, 0.75, 0.0]]).double()  # a class that neither has
    assert metrics.kl_divergence(p, q) == pytest.approx(scipy.stats.entropy(p, q))


def test_class_accuracy() -> None:
    classes, labels = torch.tensor([0, 1, 1, 2, 2, 2, 3]), torch.tensor([0, 1, 2, 2, 2, 0, 4])
    assert metrics.class_accuracy(classes, labels, 6) == (0.5, 1.0, 2 / 3, None, 0.0, None)
