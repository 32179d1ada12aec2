"""Scores: plausible on real images, deterministic, cached, without side effects, and the commands."""

import hashlib
import json
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import prdc
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from reviver.cli import main
from reviver.data.images import image_set
from reviver.data.images.image_set import ImageSet, from_pixels, to_pixels
from reviver.errors import ConfigError, DataError
from reviver.gan.networks import Generator
from reviver.gan.scores import metrics
from reviver.gan.scores.feature_extractor import DigitClassifier, FeatureExtractor, weights_path
from reviver.gan.scores.reference_stats import Comparison, Reference, compare_features, load_extractor, load_reference
from reviver.gan.scores.scores import (
    Scores,
    fid_ratio,
    is_collapsed,
    nearest_grid,
    score_generator,
    score_images,
    score_table,
)
from reviver.gan.scores.train_classifier import accuracy, save_classifier, train_classifier
from reviver.rng import make_rng
from reviver.run import load
from reviver.settings.gan import GANConfig
from reviver.train.gan.training import train
from tests.gan.scores.conftest import few_digits, mnist, shrink_mnist

N = 150
DOCS = Path(__file__).parents[3] / "docs" / "reference"


@pytest.fixture(scope="module")
def small() -> Reference:
    reference = load_reference(N, None, few_digits("train"), few_digits("test"))
    assert len(reference.training_features["features"]) == 600  # fills their cache, too
    return reference


def noisy(amount: float) -> Tensor:
    """Return real training images, none of which is in the small reference, mixed with noise."""
    images = from_pixels(mnist().images[600 : 600 + N])
    noise = torch.rand(images.shape, generator=make_rng(1, "noise")) * 2 - 1
    return images * (1 - amount) + noise * amount


def test_scores_are_the_metrics_of_the_features(small: Reference) -> None:
    images, test = noisy(0.2), small.stats
    found, extracted = score_images(images, small).samples, small.extractor.extract(to_pixels(images))
    x = extracted.features.double()
    distances = torch.cdist(x, x).topk(6, largest=False).values[:, -1]
    assert found.spacing == pytest.approx(float(distances.median()), rel=1e-6)
    assert found.fid == metrics.frechet_distance(metrics.moments(x), metrics.moments(test.features))
    assert found.kid == metrics.polynomial_mmd(x, test.features)
    expected = prdc.compute_prdc(test.features.numpy(), x.numpy(), nearest_k=5)
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected)
    counts = torch.bincount(extracted.classes, minlength=10)
    assert found.class_counts == tuple(counts.tolist())
    fractions = torch.bincount(few_digits().labels, minlength=10).double() / 600
    assert found.class_kl == pytest.approx(metrics.kl_divergence(counts / N, fractions))


def test_real_images_score_well_and_noise_does_not(small: Reference) -> None:
    real, noise = small.real_baseline, small.noise_baseline
    assert real.fid < score_images(noisy(0.3), small).samples.fid < noise.fid
    assert (real.coverage > 0.7, noise.coverage) == (True, 0)
    assert real.class_kl < 0.2 < noise.class_kl
    assert (len(small.real_baseline_fids), sum(real.class_counts)) == (600 // N, 600)
    assert real.fid == pytest.approx(np.mean(small.real_baseline_fids))
    order = torch.randperm(600, generator=make_rng(0, "floor"))
    first = compare_features(small.extractor.extract(small.train_images[order[:N]]), small.stats)
    assert first.fid == small.real_baseline_fids[0], "the numbers of the cache and of earlier runs stay"
    pixels = torch.randint(0, 256, (N, 1, 28, 28), generator=make_rng(0, "ceiling"), dtype=torch.uint8)
    assert compare_features(small.extractor.extract(pixels), small.stats) == noise


def test_copies_of_training_images_are_found_and_score_like_real_images(small: Reference) -> None:
    chosen = torch.arange(N) * 3
    images = from_pixels(small.train_images[chosen])
    scores = score_images(images, small)
    assert 0.5 < scores.fid_ratio < 2
    assert fid_ratio(scores.samples, replace(small.real_baseline, fid=1e-16)) is None
    assert scores.warning is None
    for nearest in (scores.nearest_pixels, scores.nearest_features):
        assert nearest.indices == tuple(chosen[:25].tolist())
        assert (nearest.sample_quantiles, nearest.distances) == ((0, 0, 0), (0,) * 25)
    assert torch.equal(nearest_grid(images, scores, small), images[:25].repeat(3, 1, 1, 1))
    others = score_images(noisy(0), small)
    distances = torch.cdist(noisy(0).flatten(1).double(), from_pixels(small.train_images).flatten(1).double()) / 2
    quantiles = np.quantile(distances.amin(1), [0.1, 0.5, 0.9])
    assert others.nearest_pixels.sample_quantiles == pytest.approx(quantiles, rel=1e-5)
    for nearest in (others.nearest_pixels, others.nearest_features):
        assert nearest.sample_quantiles == pytest.approx(nearest.test_quantiles, rel=0.3)


def test_low_coverage_half_of_the_classes_and_repeated_images_are_a_mode_collapse(small: Reference) -> None:
    baseline = Comparison(2.5, 1.0, 0.93, 0.95, 0.9, 0.95, 0.0004, 9.8, class_counts=(1000,) * 10)
    for name, healthy, collapsed in (("coverage", 0.096, 0.094), ("class_kl", 0.69, 0.70)):
        assert not is_collapsed(replace(baseline, **{name: healthy}), baseline)
        assert is_collapsed(replace(baseline, **{name: collapsed}), baseline)
    scores = score_images(noisy(0)[torch.arange(N) % 5], small)
    assert scores.samples.recall == scores.samples.spacing == 0
    assert "the samples repeat few images; try a small --batch-norm-eps" in str(scores.warning)
    assert score_table(scores)[-1].startswith("warning: mode collapse: ")


def test_scores_are_deterministic_and_change_nothing_else(small: Reference) -> None:
    generator = Generator()
    generator(torch.randn(32, 100))
    before = [torch.get_rng_state(), *(value.clone() for value in generator.state_dict().values())]
    first, second, other = (score_generator(generator, N, seed, reference=small) for seed in (3, 3, 4))
    assert generator.training
    assert all(map(torch.equal, before, [torch.get_rng_state(), *generator.state_dict().values()]))
    assert first == second
    assert first.samples != other.samples
    assert is_collapsed(first.samples, small.real_baseline)


def test_the_cache_is_read_again(monkeypatch: pytest.MonkeyPatch, small: Reference) -> None:
    monkeypatch.setattr(FeatureExtractor, "extract", None)  # computing again is a TypeError
    arguments = {"num_samples": N, "extractor": None, "train": few_digits("train"), "test": few_digits("test")}
    again = load_reference(**arguments)
    assert (again.real_baseline, again.noise_baseline) == (small.real_baseline, small.noise_baseline)
    assert torch.equal(again.stats.radii, small.stats.radii)
    other = replace(small.extractor, sha256="0" * 64)
    changes = [("train", few_digits("train", 599)), ("test", few_digits("test", 299)), ("extractor", other)]
    for name, value in [("num_samples", N + 1), *changes]:
        with pytest.raises(TypeError, match="not callable"):
            load_reference(**(arguments | {name: value}))


def test_the_pinned_classifier_classifies_digits_as_its_description_says() -> None:
    extractor, test = FeatureExtractor.pinned(), mnist("test")
    description = json.loads(weights_path().with_suffix(".json").read_text())
    assert extractor.sha256 == hashlib.sha256(weights_path().read_bytes()).hexdigest() == description["sha256"]
    features, classes = extractor.extract(test.images)
    accuracy = (classes == test.labels).double().mean().item()
    assert accuracy >= 0.993
    assert accuracy == pytest.approx(description["test_accuracy"], abs=2e-4)
    assert torch.equal(features, metrics.snap(features))
    assert features.max() < 64, "metrics.GRID requires it"
    few = extractor.extract(test.images[150:157]).features  # in a batch of another size
    torch.testing.assert_close(few, features[150:157], rtol=0, atol=2 * metrics.GRID)
    probabilities = DigitClassifier.pinned().probabilities(from_pixels(test.images[:700]))
    assert torch.equal(probabilities.argmax(1), classes[:700])
    torch.testing.assert_close(probabilities.sum(1), torch.ones(700))


# The command line


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labeled images, an extractor and a run of them; images without labels; a run of MNIST."""
    folder = tmp_path_factory.mktemp("workspace")
    np.savez(folder / "color.npz", images=np.zeros((40, 3, 8, 8), dtype=np.uint8))
    images = np.zeros((40, 8, 8), dtype=np.uint8)
    np.savez(folder / "untested.npz", images=images, labels=np.arange(40) % 2, test_images=images)
    np.savez(folder / "unlabeled.npz", images=images, test_images=images, test_labels=np.arange(40) % 2)
    digits = {prefix: few_digits(split) for prefix, split in (("", "train"), ("test_", "test"))}
    arrays = {f"{prefix}images": data.images[:, 0].numpy() for prefix, data in digits.items()}
    arrays |= {f"{prefix}labels": data.labels.numpy() for prefix, data in digits.items() if data.labels is not None}
    np.savez(folder / "ten.npz", **arrays)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        shrink_mnist(patch)
        for name, data in (("digits", "mnist"), ("custom", "ten.npz")):
            train(GANConfig(data=data, epochs=1, batch_size=100, eval_every=0), name, device="cpu")
        assert main(shlex.split("gan train-extractor --data ten.npz --epochs 1 --out custom.safetensors --quiet")) == 0
    return folder


@pytest.fixture
def run(workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs a command in the workspace, where MNIST is small: exit code, output, errors."""
    monkeypatch.chdir(workspace)
    shrink_mnist(monkeypatch)
    return lambda arguments: (main(shlex.split(arguments)), *capsys.readouterr())


def test_evaluate_prints_the_scores_as_json_and_as_a_table_beside_both_baselines_with_a_grid(
    run: Any, small: Reference, tmp_path: Path
) -> None:
    code, out, err = run(f"gan evaluate digits --num-samples {N} --seed 2 --json")
    assert (code, err, out.count("\n")) == (0, "", 1)
    result = json.loads(out)
    expected = score_generator(load("digits").generator, N, 2, reference=small)
    assert result == {"run": "digits", "seed": 2, "out": None} | json.loads(json.dumps(asdict(expected)))
    assert {field.name for field in fields(Scores)} <= set(result)
    page = (DOCS / "gan-scores.md").read_text(encoding="utf-8")
    assert not [key for key in (*result, *result["samples"], *result["nearest_pixels"]) if f"`{key}`" not in page]

    code, out, _ = run(f"gan evaluate digits --num-samples {N} --out {tmp_path / 'new' / 'nearest.pdf'}")
    lines = out.splitlines()
    assert (code, lines[-1]) == (0, str(tmp_path / "new" / "nearest.pdf"))
    assert Path(lines[-1]).read_bytes().startswith(b"%PDF")
    (line,) = [line for line in lines if line.startswith("FID ")]
    baselines = [small.real_baseline.fid, small.noise_baseline.fid]
    assert [float(text) for text in line.split()[2:4]] == pytest.approx(baselines, abs=6e-3)


WRONG = {
    "gan evaluate digits --num-samples 5": "--num-samples must be at least 6, got 5",
    "gan evaluate digits --num-samples 601": "--num-samples must be at most 600, got 601",
    "gan evaluate digits --seed -1": "--seed must be at least 0, got -1",
    "gan evaluate custom": r"the digit classifier does not know 'ten.npz' as images of \[1, 28, 28\], so there",
    "gan train-extractor --out x --data color.npz": "--data color.npz has no test images",
    "gan train-extractor --out x --data untested.npz": "--data the test images of untested have no labels; give",
    "gan train-extractor --out x --data unlabeled.npz": "--data the training images of unlabeled have no labels; give",
    "gan train-extractor --out x --data ten.npz --epochs 0": "--epochs must be at least 1, got 0",
    "gan train-extractor --out x --data ten.npz --image-size 7": "--image-size must be at least 8, got 7",
    "gan interpolate custom --extractor custom.safetensors --from 10": "--from must be at most 9, got 10",
    "gan interpolate custom --extractor custom.safetensors --from -1": "--from must be at least 0, got -1",
}


def test_wrong_use_is_an_error_of_one_line_before_any_work(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FeatureExtractor, "extract", None)
    before = sorted(Path().iterdir())
    for arguments, problem in WRONG.items():
        code, out, err = run(arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), arguments
        assert re.match(f"error: {problem}", err), err
    assert sorted(Path().iterdir()) == before


def test_changed_images_and_a_changed_extractor_are_refused(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy("custom.safetensors", "copy.safetensors")
    config = GANConfig(data="ten.npz", epochs=1, batch_size=300, eval_every=0, extractor="copy.safetensors")
    folder = train(config, "followed", device="cpu")
    recorded = hashlib.sha256(Path("custom.safetensors").read_bytes()).hexdigest()
    assert folder.record["extractor_sha256"] == recorded
    save_classifier(DigitClassifier(10), Path("copy.safetensors"))
    for command in ("gan evaluate followed --num-samples 60", "gan interpolate followed"):
        problem = "copy.safetensors is not the file that this run recorded; restore it, or give another"
        assert run(command)[::2] == (2, f"error: {problem} --extractor\n")
    problem = r"^extractor: 'copy\.safetensors' is not what this run began with; put the old file back to"
    with pytest.raises(DataError, match=problem):
        train(replace(config, epochs=3), "followed", device="cpu", resume=True)
    code, out, _ = run("gan evaluate followed --extractor custom.safetensors --num-samples 60 --json")
    assert (code, json.loads(out)["extractor_sha256"]) == (0, recorded)
    with pytest.raises(ConfigError, match=r"takes images of \[1, 28, 28\], and this run generates \[3, 8, 8\]; train"):
        load_extractor("color.npz", (3, 8, 8), "custom.safetensors")
    images = ImageSet(few_digits().images, few_digits().labels.clamp(max=6), "few")
    with pytest.raises(DataError, match="has images of 7 classes and the extractor knows 10"):
        load_reference(60, load_extractor("ten.npz", (1, 28, 28), "custom.safetensors"), images, few_digits())
    del folder.record["extractor_sha256"]  # as in a record from elsewhere, which may name any file
    folder.save_record()
    assert run("gan evaluate followed --num-samples 60")[0] == 2
    monkeypatch.setattr(image_set, "load_images", lambda data, size: few_digits("train", 599))
    problem = "mnist has changed since this run was trained on it; restore the old images"
    assert run("gan evaluate digits --num-samples 60")[::2] == (2, f"error: {problem}\n")


# Extractors


def bars(count: int) -> ImageSet:
    """Images of 8 x 9 pixels in color whose class is the position of their bright row: 1, 3 or 5."""
    labels = torch.arange(count) % 3
    images = torch.zeros(count, 3, 8, 9, dtype=torch.uint8)
    images[torch.arange(count), :, 1 + 2 * labels] = 200
    return ImageSet(images, labels, "bars")


def test_an_extractor_learns_the_classes_and_comes_back_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: Callable[..., None]
) -> None:
    losses: list[tuple[int, float]] = []
    torch.manual_seed(1)  # must not matter
    classifier = train_classifier(bars(300), 3, progress=lambda *report: losses.append(report))
    assert [epoch for epoch, _ in losses] == [1, 2, 3]
    assert losses[2][1] < losses[0][1] < 1.2
    golden("extractor", {"losses": [loss for _, loss in losses]}, relative=1e-2)
    assert not classifier.training
    assert accuracy(classifier, bars(30)) == 1.0
    test = bars(30)
    assert accuracy(classifier, replace(test, labels=(test.labels > 0).long())) == pytest.approx(2 / 3)  # type: ignore[operator]
    digest = save_classifier(classifier, tmp_path / "bars.safetensors")
    again = FeatureExtractor.read(tmp_path / "bars.safetensors")
    assert (again.name, again.sha256) == ("bars", digest)
    assert digest == hashlib.sha256((tmp_path / "bars.safetensors").read_bytes()).hexdigest()
    images = from_pixels(test.images)
    torch.testing.assert_close(again.classifier.probabilities(images), classifier.probabilities(images))
    assert torch.equal(again.extract(test.images).classes, test.labels)
    other = train_classifier(bars(300), 3)
    assert all(map(torch.equal, other.state_dict().values(), classifier.state_dict().values())), "the same bits"
    weights = load_file(tmp_path / "bars.safetensors")
    save_file(weights | {"head.weight": torch.zeros(2, 128)}, tmp_path / "e.safetensors", {"image_shape": "3 x 8 x 9"})
    with pytest.raises(DataError, match=r"e\.safetensors: cannot be read \(.*size mismatch for head"):
        FeatureExtractor.read(tmp_path / "e.safetensors")
    for shape in ("3 x 8", "3 x 7 x 9", f"3 x {10**20} x 8", "a"):
        save_file(weights, tmp_path / "e.safetensors", {"image_shape": shape})
        with pytest.raises(DataError, match=r"\); give a file that reviver gan train-extractor wrote$"):
            FeatureExtractor.read(tmp_path / "e.safetensors")
