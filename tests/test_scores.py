"""Metrics and scores: equal to other implementations, deterministic, plausible on real images, cached, without side effects."""

import dataclasses
import hashlib
import json
import random
import re
import shlex
import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

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

from reviver.cli import main
from reviver.data.images.image_set import ImageSet, from_pixels, load_mnist
from reviver.errors import ConfigError, DataError
from reviver.files import cache
from reviver.gan.scores import metrics, reference_stats
from reviver.gan.scores.digit_classifier import DigitClassifier
from reviver.gan.scores.feature_extractor import FeatureExtractor
from reviver.gan.scores.reference_stats import (
    Comparison,
    Reference,
    class_fractions,
    load_extractor,
    load_reference,
    load_reference_images,
)
from reviver.gan.scores.scores import Scores, describe, is_collapsed, nearest_grid, score_generator, score_images
from reviver.gan.scores.train_classifier import save_classifier
from reviver.gan.step import gan_step
from reviver.runs.folder import RunFolder
from reviver.runs.rng import make_rng
from reviver.settings.gan import GANConfig
from reviver.train.gan.training import build_networks, build_optimizers, train

N = 150


def random_features(num_vectors: int, features: int = 12, seed: int = 0, spread: float = 1.0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(features, features, generator=rng, dtype=torch.float64)
    return metrics.snap(spread * torch.randn(num_vectors, features, generator=rng, dtype=torch.float64) @ mixing)


class IdentityExtractor(nn.Module):
    """Feature extractor for torchmetrics whose features are its input."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.num_features = features

    def forward(self, x: Tensor) -> Tensor:
        return x


# Metrics against other implementations


@pytest.mark.parametrize(("n", "m", "features"), [(300, 200, 12), (40, 60, 3), (30, 25, 40)])
def test_frechet_distance_equals_torchmetrics_and_scipy(n: int, m: int, features: int) -> None:
    x, y = random_features(n, features, 1), random_features(m, features, 2, spread=1.3)
    result = metrics.frechet_distance(metrics.moments(x), metrics.moments(y))
    metric = FrechetInceptionDistance(feature=IdentityExtractor(features), normalize=True).set_dtype(torch.float64)
    metric.update(x, real=False)
    metric.update(y, real=True)
    root = scipy.linalg.sqrtm(np.cov(x.numpy().T) @ np.cov(y.numpy().T)).real
    trace = np.trace(np.cov(x.numpy().T) + np.cov(y.numpy().T) - 2 * root)
    by_scipy = np.square(x.numpy().mean(0) - y.numpy().mean(0)).sum() + trace
    relative = 1e-9 if min(n, m) > features else 1e-4  # the others lose precision where a covariance is singular
    assert result == pytest.approx(float(metric.compute()), rel=relative)
    assert result == pytest.approx(by_scipy, rel=relative)


def test_frechet_distance_to_itself_is_zero_even_if_singular() -> None:
    for features in (random_features(300), random_features(5), torch.ones(7, 12, dtype=torch.float64)):
        assert metrics.frechet_distance(metrics.moments(features), metrics.moments(features)) == pytest.approx(
            0, abs=1e-9
        )


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save")
def test_polynomial_mmd_equals_torchmetrics() -> None:
    x, y = random_features(150, seed=1), random_features(150, seed=2)
    metric = KernelInceptionDistance(feature=IdentityExtractor(12), subsets=1, subset_size=150).set_dtype(torch.float64)
    metric.update(x, real=False)
    metric.update(y, real=True)
    assert metrics.polynomial_mmd(x, y) == pytest.approx(float(metric.compute()[0]), rel=1e-9)


@given(data=st.data(), k=st.integers(1, 8), levels=st.integers(1, 1000), seed=st.integers(0, 99))
def test_prdc_equals_the_package_prdc(data: st.DataObject, k: int, levels: int, seed: int) -> None:
    """With few levels many features are equal and many distances are ties."""
    sizes = st.integers(k + 2, 40)  # the package partitions at index k + 1, so it needs k + 2 images
    n, m = data.draw(sizes, label="n"), data.draw(sizes, label="m")
    rng = torch.Generator().manual_seed(seed)
    x = torch.randint(0, levels + 1, (n, 3), generator=rng).double()
    y = torch.randint(0, levels + 1, (m, 3), generator=rng).double()
    expected = prdc.compute_prdc(y.numpy(), x.numpy(), nearest_k=k)
    radii = metrics.squared_knn_radii(x, k), metrics.squared_knn_radii(y, k)
    result = metrics.prdc(x, radii[0], y, radii[1], k)._asdict()
    assert result == pytest.approx(expected, abs=1e-12)


def test_prdc_of_continuous_features_equals_the_package_prdc() -> None:
    x, y = random_features(200, 20, 1), random_features(300, 20, 2)
    expected = prdc.compute_prdc(y.numpy(), x.numpy(), nearest_k=5)
    radii = metrics.squared_knn_radii(x, 5), metrics.squared_knn_radii(y, 5)
    assert metrics.prdc(x, radii[0], y, radii[1], 5)._asdict() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
def test_the_chunk_size_does_not_change_metrics(chunk: int) -> None:
    x, y = (
        random_features(90, 128, 1),
        torch.cat([random_features(60, 128, 2), random_features(10, 128, 2)]),
    )  # ten of them twice
    radii = metrics.squared_knn_radii(x, 5), metrics.squared_knn_radii(y, 5)
    assert torch.equal(metrics.squared_knn_radii(y, 5, chunk=chunk), radii[1])
    expected_prdc = metrics.prdc(x, radii[0], y, radii[1], 5)
    assert metrics.prdc(x, radii[0], y, radii[1], 5, chunk=chunk) == expected_prdc
    assert metrics.polynomial_mmd(x, y, chunk=chunk) == pytest.approx(metrics.polynomial_mmd(x, y), rel=1e-12)
    for result, expected in zip(
        metrics.nearest_neighbors(x, y, chunk=chunk), metrics.nearest_neighbors(x, y), strict=True
    ):
        assert torch.equal(result, expected)


def test_nearest_neighbors_equal_those_of_the_distance_matrix() -> None:
    x, y = random_features(50, seed=1).float(), random_features(70, seed=2).float()
    indices, distances = metrics.nearest_neighbors(x, y)
    expected = torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist").min(1)
    assert torch.equal(indices, expected.indices)
    torch.testing.assert_close(distances, expected.values)


def test_kl_divergence() -> None:
    uniform, half = torch.full((10,), 0.1).double(), torch.tensor([0.2] * 5 + [0.0] * 5).double()
    assert metrics.kl_divergence(uniform, uniform) == 0
    assert metrics.kl_divergence(half, uniform) == pytest.approx(np.log(2))
    assert metrics.kl_divergence(uniform, half) == np.inf


# Scores of real images


def small_mnist(split: str, num_images: int) -> ImageSet:
    """Return the first images of MNIST."""
    data = load_mnist(split)
    assert data.labels is not None
    return ImageSet(data.images[:num_images], data.labels[:num_images], "mnist")


@pytest.fixture(autouse=True, scope="module")
def temporary_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the tests away from the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("REVIVER_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def small() -> Reference:
    reference = load_reference(N, None, small_mnist("train", 600), small_mnist("test", 300))
    assert len(reference.training_features.features) == 600  # fills their cache, too
    return reference


def noisy(amount: float) -> Tensor:
    """Return real training images, none of which is in the small reference, mixed with noise."""
    images = from_pixels(load_mnist("train").images[600 : 600 + N])
    noise = torch.rand(images.shape, generator=make_rng(1, "noise")) * 2 - 1
    return images * (1 - amount) + noise * amount


def untrained() -> Any:
    return build_networks(GANConfig(), (1, 28, 28))[0]


def test_scores_get_worse_with_the_images(small: Reference) -> None:
    rows = [
        small.real_baseline,
        *(score_images(noisy(amount), small).samples for amount in (0.3, 0.6)),
        small.noise_baseline,
    ]
    for name in ("fid", "kid"):
        values = [getattr(row, name) for row in rows]
        assert values == sorted(values), name
    for name in ("precision", "recall", "density", "coverage"):
        values = [getattr(row, name) for row in rows]
        assert values == sorted(values, reverse=True), name
    assert rows[0].coverage > 0.7
    assert rows[-1].coverage == 0
    assert small.real_baseline.class_kl < 0.2 < small.noise_baseline.class_kl
    assert len(small.real_baseline_fids) == 600 // N
    assert sum(small.real_baseline.class_counts) == 600
    assert small.real_baseline.fid == pytest.approx(np.mean(small.real_baseline_fids))


def test_real_images_score_like_the_real_baseline(small: Reference) -> None:
    scores = score_images(noisy(0), small)
    assert 0.5 < scores.fid_ratio < 2
    assert scores.warning is None
    for nearest in (scores.nearest_pixels, scores.nearest_features):
        assert nearest.sample_quantiles == pytest.approx(nearest.test_quantiles, rel=0.3)


def test_copies_of_training_images_are_found(small: Reference) -> None:
    chosen = torch.arange(N) * 3
    scores = score_images(from_pixels(small.train_images[chosen]), small)
    for nearest in (scores.nearest_pixels, scores.nearest_features):
        assert nearest.indices == tuple(chosen[:25].tolist())
        assert nearest.sample_quantiles == (0, 0, 0)
        assert min(nearest.test_quantiles) > 0.5
    grid = nearest_grid(from_pixels(small.train_images[chosen]), scores, small)
    assert torch.equal(grid[:25], grid[25:50])
    assert torch.equal(grid[:25], grid[50:])


def test_five_repeated_images_are_a_mode_collapse(small: Reference) -> None:
    scores = score_images(noisy(0)[torch.arange(N) % 5], small)
    assert is_collapsed(scores.samples, small.real_baseline)
    assert scores.samples.recall == scores.samples.spacing == 0
    assert scores.warning is not None
    assert "the samples repeat few images; try a small --batch-norm-eps" in scores.warning
    assert describe(scores)[-1].startswith("warning: mode collapse: ")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"coverage": 0.094}, True),
        ({"coverage": 0.096}, False),
        ({"class_kl": 0.70}, True),
        ({"class_kl": 0.69}, False),
    ],
)
def test_mode_collapse_is_low_coverage_or_half_of_the_classes(changes: dict[str, float], expected: bool) -> None:
    baseline = Comparison(2.5, 1.0, 0.93, 0.95, 0.9, 0.95, 0.0004, 9.8, class_counts=(1000,) * 10)
    assert is_collapsed(dataclasses.replace(baseline, **changes), baseline) == expected


def test_an_untrained_generator_is_a_mode_collapse(small: Reference) -> None:
    scores = score_generator(untrained(), N, reference=small)
    assert small.real_baseline.fid < scores.samples.fid < small.noise_baseline.fid
    assert is_collapsed(scores.samples, small.real_baseline)
    assert scores.samples.coverage < 0.05


def test_scores_are_deterministic_and_name_what_they_depend_on(small: Reference) -> None:
    first, second, other = (score_generator(untrained(), N, seed, reference=small) for seed in (3, 3, 4))
    assert first == second
    assert first.samples != other.samples
    assert first.extractor_sha256 == "48f37b9f527252e629c2c09520806a2f1dad531ef6ddbb38e517aad44a4c2a93"
    text = "\n".join(describe(first))
    for part in (
        f"{N} samples against the 300 test images of mnist",
        first.extractor_sha256,
        "x real data",
        "k = 5",
    ):
        assert part in text
    json.dumps(first.as_dict(), allow_nan=False)


def test_images_of_another_shape_or_number_are_refused(small: Reference) -> None:
    with pytest.raises(
        DataError, match=r"images must have the shape \[150, 1, 28, 28\] for this reference, got \[150, 3, 28, 28\]"
    ):
        score_images(torch.zeros(N, 3, 28, 28), small)
    with pytest.raises(DataError, match=r"for this reference, got \[9, 1, 28, 28\]"):
        score_generator(untrained(), 9, reference=small)
    for num_samples in (5, 601):
        with pytest.raises(ConfigError, match=rf"^num_samples must be at (least 6|most 600), got {num_samples}$"):
            load_reference(num_samples, None, small_mnist("train", 600), small_mnist("test", 300))


def test_scoring_does_not_change_training(small: Reference) -> None:
    def train_networks(*, scored: bool) -> list[Tensor]:
        config = GANConfig()
        networks = build_networks(config, (1, 28, 28))
        optimizers = build_optimizers(config, *networks)
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002
        random.seed(0)
        for _ in range(3):
            gan_step(*networks, *optimizers, noisy(0)[:32], torch.randn(32, 100))
            if scored:
                score_generator(networks[0], N, reference=small)
            assert networks[0].training
        after = torch.tensor([*torch.rand(3).tolist(), float(np.random.rand()), random.random()])  # noqa: NPY002
        tensors = [*networks[0].state_dict().values(), *networks[1].state_dict().values(), after]
        return [tensor.clone() for tensor in tensors]

    for unscored, scored in zip(train_networks(scored=False), train_networks(scored=True), strict=True):
        assert torch.equal(unscored, scored)


def test_features_do_not_depend_on_the_batch() -> None:
    extractor, pixels = FeatureExtractor.pinned(), load_mnist("test").images[:200]
    assert not extractor.classifier.training
    batch, few = extractor.extract(pixels), extractor.extract(pixels[150:157])
    torch.testing.assert_close(batch.features[150:157], few.features, rtol=0, atol=2 * metrics.GRID)
    assert torch.equal(batch.features, metrics.snap(batch.features))
    assert batch.features.max() < 64, "metrics.GRID requires it"
    labels = load_mnist("test").labels
    assert labels is not None
    assert (batch.classes == labels[:200]).float().mean() > 0.97


# The cache


def test_the_cache_is_read_again(monkeypatch: pytest.MonkeyPatch, small: Reference) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(FeatureExtractor, "extract", fail)
    again = load_reference(N, None, small_mnist("train", 600), small_mnist("test", 300))
    assert (again.real_baseline, again.noise_baseline) == (small.real_baseline, small.noise_baseline)
    assert torch.equal(again.stats.radii, small.stats.radii)
    for changed in (
        {"num_samples": N + 1},
        {"train": small_mnist("train", 599)},
        {"test": small_mnist("test", 299)},
        {"extractor": dataclasses.replace(small.extractor, sha256="0" * 64)},
    ):
        arguments = {
            "num_samples": N,
            "extractor": None,
            "train": small_mnist("train", 600),
            "test": small_mnist("test", 300),
        }
        with pytest.raises(AssertionError, match="computed again"):
            load_reference(**(arguments | changed))


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "other", "removed"])
def test_a_damaged_cache_is_recomputed(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVIVER_CACHE", str(tmp_path / "new"))
    calls = []

    def build() -> dict[str, Tensor]:
        calls.append(1)
        return {"a": torch.arange(1000.0), "b": torch.tensor(2.5, dtype=torch.float64), "c": torch.zeros(0, 3)}

    assert torch.equal(cache.cached("name", build)["a"], torch.arange(1000.0))
    assert torch.equal(cache.cached("name", build)["b"], torch.tensor(2.5, dtype=torch.float64))
    assert len(calls) == 1
    (path,) = (tmp_path / "new").iterdir()
    content = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(content[:-9])
        case "flipped":
            path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        case "emptied":
            path.write_bytes(b"")
        case "other":
            path.write_bytes(b"PK" + bytes(100))
        case "removed":
            path.unlink()
    assert torch.equal(cache.cached("name", build)["a"], torch.arange(1000.0))
    assert len(calls) == 2
    assert path.read_bytes() == content
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["name.safetensors"]


def test_a_cache_folder_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REVIVER_CACHE", str(tmp_path / "file"))
    assert cache.cached("name", lambda: {"a": torch.ones(1)}) == {"a": torch.ones(1)}
    assert "cannot be cached" in caplog.text


# The command line


def write_idx(path: Path, array: np.ndarray) -> None:
    magic = 0x800 | array.ndim
    path.write_bytes(struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.astype(np.uint8).tobytes())


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labeled images, an extractor and a run of them; a run of MNIST; runs without an extractor."""
    folder = tmp_path_factory.mktemp("workspace")
    (folder / "idx").mkdir()
    for prefix, data in (("train", small_mnist("train", 600)), ("t10k", small_mnist("test", 300))):
        assert data.labels is not None
        write_idx(folder / "idx" / f"{prefix}-images-idx3-ubyte", data.images[:, 0].numpy())
        write_idx(folder / "idx" / f"{prefix}-labels-idx1-ubyte", data.labels.numpy())
    (folder / "unlabeled").mkdir()
    write_idx(folder / "unlabeled" / "train-images-idx3-ubyte", small_mnist("train", 40).images[:, 0].numpy())
    np.savez(folder / "color.npz", images=np.zeros((40, 3, 8, 8), dtype=np.uint8))
    (folder / "notes.txt").write_text("precious")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("reviver.data.images.image_set.load_mnist", lambda split: small_mnist(split, 600))
        for name, data in (("digits", "mnist"), ("custom", "idx"), ("plain", "unlabeled")):
            train(GANConfig(data=data, epochs=1, batch_size=100, eval_every=0), name, device="cpu")
        train(GANConfig(data="color.npz", image_size=8, epochs=1), "color", device="cpu")
        assert main(shlex.split("gan train-extractor --data idx --epochs 2 --out custom.safetensors --quiet")) == 0
    return folder


@pytest.fixture
def run(workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs a command in the workspace, where MNIST is small."""
    monkeypatch.chdir(workspace)
    monkeypatch.setattr(reference_stats, "load_images", lambda data, size: small_mnist("train", 600))
    monkeypatch.setattr(reference_stats, "load_test_images", lambda data, size: small_mnist("test", 300))

    def call(arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(shlex.split(arguments))
        return code, *capsys.readouterr()

    return call


def test_evaluate_as_json_equals_score_generator(run: Any, small: Reference) -> None:
    from reviver.train.loading import load

    code, out, err = run(f"gan evaluate digits --num-samples {N} --seed 2 --json")
    assert (code, err) == (0, "")
    assert out.count("\n") == 1
    result = json.loads(out)
    expected = score_generator(load("digits").generator, N, 2, reference=small)
    assert result == {"run": "digits", "seed": 2, "out": None} | json.loads(json.dumps(expected.as_dict()))
    assert {field.name for field in dataclasses.fields(Scores)} <= set(result)
    page = (Path(__file__).parents[1] / "docs" / "reference" / "gan-scores.md").read_text(encoding="utf-8")
    undocumented = [key for key in (*result, *result["samples"], *result["nearest_pixels"]) if f"`{key}`" not in page]
    assert not undocumented


def test_evaluate_prints_each_score_beside_both_baselines(run: Any, small: Reference) -> None:
    code, out, _ = run(f"gan evaluate digits --num-samples {N}")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "digits, seed 0"
    for name in ("FID", "KID", "precision", "recall", "density", "coverage", "class KL (nats)"):
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        assert len(line.removeprefix(name).split()) >= 3
    assert f"{small.real_baseline.fid:.2f}" in out


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_evaluate_saves_a_grid_of_nearest_images(suffix: str, start: bytes, run: Any, tmp_path: Path) -> None:
    code, out, err = run(f"gan evaluate digits --num-samples {N} --out {tmp_path / 'new' / 'nearest'}{suffix}")
    assert code == 0, err
    assert out.endswith(f"nearest{suffix}\n")
    assert (tmp_path / "new" / f"nearest{suffix}").read_bytes().startswith(start)


def test_other_images_are_evaluated_with_their_own_extractor(workspace: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(workspace)
    assert main(shlex.split("gan evaluate custom --extractor custom.safetensors --num-samples 60 --quiet")) == 0
    extractor = load_extractor("idx", (1, 28, 28), "custom.safetensors")
    train_set, test_set = load_reference_images(extractor, "idx", 28)
    assert (extractor.name, len(train_set.images), len(test_set.images)) == ("custom", 600, 300)
    assert extractor.sha256 != FeatureExtractor.pinned().sha256


def test_an_extractor_has_as_many_classes_as_its_data(workspace: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(workspace)
    data = small_mnist("train", 600)
    assert data.labels is not None
    extractor = FeatureExtractor.read(Path("custom.safetensors"))
    assert class_fractions(data, extractor).sum() == pytest.approx(1)
    few = data.labels < 7
    with pytest.raises(DataError, match="has images of 7 classes and the extractor knows 10"):
        class_fractions(ImageSet(data.images[few], data.labels[few], "few"), extractor)


WRONG = {
    "gan evaluate digits --num-samples 5": "--num-samples must be at least 6, got 5",
    "gan evaluate digits --num-samples 601": "--num-samples must be at most 600, got 601",
    "gan evaluate digits --seed -1": "--seed must be at least 0, got -1",
    "gan evaluate digits --out nearest.gif": "--out must end in one of .pdf, .svg, .png for a figure, got nearest.gif",
    "gan evaluate digits --out notes.txt/n.png": "notes.txt/n.png: cannot be written",
    "gan evaluate digits --extractor nothing": "--extractor nothing is not the weights of an extractor .No such file",
    "gan evaluate digits --extractor notes.txt": "--extractor notes.txt is not the weights of an extractor",
    "gan evaluate custom": r"the digit classifier does not know 'idx' as images of \[1, 28, 28\], so there",
    "gan evaluate color": r"the digit classifier does not know 'color.npz' as images of \[3, 8, 8\], so there",
    "gan train-extractor --out notes.txt --data idx": "--out notes.txt exists already and is never overwritten",
    "gan train-extractor --out notes.txt/x --data idx": "notes.txt/x: cannot be written",
    "gan train-extractor --out x --data unlabeled": "--data unlabeled has no test images to compare with; put t10k-images",
    "gan train-extractor --out x --data color.npz": "--data color.npz has no test images",
    "gan train-extractor --out x --data idx --epochs 0": "--epochs must be at least 1, got 0",
    "gan train-extractor --out x --data idx --image-size 7": "--image-size must be at least 8, got 7",
    "gan evaluate color --extractor custom.safetensors": r"--extractor custom.safetensors takes images of \[1, 28, 28\], and this run",
    "gan interpolate custom --metrics": "the digit classifier does not know 'idx' .*; train an extractor on labeled images",
    "gan interpolate custom --extractor custom.safetensors --from 10": "--from must be at most 9, got 10",
    "gan interpolate digits --metrics --num-pairs -1": "--num-pairs must be at least 0, got -1",
    "gan interpolate digits --num-pairs 5": "--num-pairs needs --metrics; add it, or leave out num_pairs",
    "gan train-extractor --out x": "--data is missing; see reviver gan train-extractor --help",
}


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_use_is_an_error_of_one_line_before_any_work(arguments: str, run: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(FeatureExtractor, "extract", None)
    before = sorted(Path().iterdir())
    code, out, err = run(arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    assert re.match(WRONG[arguments], err.removeprefix("error: ")), err
    assert sorted(Path().iterdir()) == before


def test_changed_images_are_refused(run: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(reference_stats, "load_images", lambda data, size: small_mnist("train", 599))
    code, _, err = run(f"gan evaluate digits --num-samples {N}")
    assert code == 2
    assert err == "error: mnist has changed since this run was trained on it; restore the old images\n"


def test_a_changed_extractor_is_refused(workspace: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(workspace)
    shutil.copy("custom.safetensors", "copy.safetensors")
    config = GANConfig(data="idx", epochs=2, batch_size=300, eval_every=0, extractor="copy.safetensors")
    folder = train(replace(config, epochs=1), "followed", device="cpu")
    recorded = folder.record["extractor_sha256"]
    assert recorded == hashlib.sha256(Path("custom.safetensors").read_bytes()).hexdigest()
    train(config, "followed", device="cpu", resume=True)
    save_classifier(DigitClassifier(10), Path("copy.safetensors"))
    for command in ("gan evaluate followed --num-samples 60", "gan interpolate followed --metrics"):
        assert main(shlex.split(command)) == 2
        assert capsys.readouterr().err == (
            "error: copy.safetensors is not the file that this run recorded; restore it, or give another "
            "--extractor\n"
        )
    with pytest.raises(
        DataError, match=r"^extractor: 'copy\.safetensors' has changed since this run began; put the old"
    ):
        train(replace(config, epochs=3), "followed", device="cpu", resume=True)
    assert main(shlex.split("gan evaluate followed --extractor custom.safetensors --num-samples 60 --json")) == 0
    assert json.loads(capsys.readouterr().out)["extractor_sha256"] == recorded
    folder = RunFolder.open("followed")
    del folder.record["extractor_sha256"]  # as in a record from elsewhere, which may name any file
    folder.save_record()
    assert main(shlex.split("gan evaluate followed --num-samples 60")) == 2


def test_images_without_labels_are_refused(workspace: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(workspace)
    with pytest.raises(DataError, match="data: unlabeled has no labels, which scores need; give an IDX folder"):
        load_reference_images(load_extractor("unlabeled", (1, 28, 28), "custom.safetensors"), "unlabeled", 28)


@pytest.mark.parametrize(
    ("settings", "folder"),
    [
        ({"REVIVER_CACHE": "/a"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/reviver"),
        ({"REVIVER_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/reviver"),
    ],
)
def test_the_cache_folder_follows_the_environment(
    settings: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REVIVER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert str(cache.cache_folder()) == folder
