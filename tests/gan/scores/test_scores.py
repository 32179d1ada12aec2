"""Scores: plausible on real images, deterministic, cached, without side effects, and the commands."""

import hashlib
import json
import random
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from reviver.cli import main
from reviver.data.images.image_set import ImageSet, from_pixels, to_pixels
from reviver.errors import ConfigError, DataError
from reviver.gan.networks import Generator
from reviver.gan.scores import metrics, reference_stats
from reviver.gan.scores.digit_classifier import DigitClassifier, weights_path
from reviver.gan.scores.feature_extractor import FeatureExtractor
from reviver.gan.scores.reference_stats import (
    Comparison,
    Reference,
    load_extractor,
    load_reference,
    load_reference_images,
)
from reviver.gan.scores.scores import Scores, describe, is_collapsed, nearest_grid, score_generator, score_images
from reviver.gan.scores.train_classifier import save_classifier
from reviver.runs.folder import RunFolder
from reviver.runs.rng import make_rng
from reviver.settings.gan import GANConfig
from reviver.train.gan.training import train
from reviver.train.loading import load
from tests.gan.scores.conftest import few_digits, mnist, shrink_mnist, write_idx

N = 150


@pytest.fixture(scope="module")
def small() -> Reference:
    reference = load_reference(N, None, few_digits("train"), few_digits("test"))
    assert len(reference.training_features.features) == 600  # fills their cache, too
    return reference


def noisy(amount: float) -> Tensor:
    """Return real training images, none of which is in the small reference, mixed with noise."""
    images = from_pixels(mnist().images[600 : 600 + N])
    noise = torch.rand(images.shape, generator=make_rng(1, "noise")) * 2 - 1
    return images * (1 - amount) + noise * amount


def test_scores_get_worse_with_the_images(small: Reference) -> None:
    noisy_rows = [score_images(noisy(amount), small).samples for amount in (0.3, 0.6)]
    rows = [small.real_baseline, *noisy_rows, small.noise_baseline]
    for names, is_reversed in ((("fid", "kid"), False), (("precision", "recall", "density", "coverage"), True)):
        for name in names:
            values = [getattr(row, name) for row in rows]
            assert values == sorted(values, reverse=is_reversed), name
    assert rows[0].coverage > 0.7
    assert rows[-1].coverage == 0
    assert small.real_baseline.class_kl < 0.2 < small.noise_baseline.class_kl
    assert len(small.real_baseline_fids) == 600 // N
    assert sum(small.real_baseline.class_counts) == 600
    assert small.real_baseline.fid == pytest.approx(np.mean(small.real_baseline_fids))


def test_scores_are_the_metrics_of_the_features(small: Reference) -> None:
    images, test = noisy(0.2), small.stats
    found, extracted = score_images(images, small).samples, small.extractor.extract(to_pixels(images))
    x = extracted.features.double()
    distances = torch.cdist(x, x).topk(6, largest=False).values[:, -1]
    assert found.spacing == pytest.approx(float(distances.median()), rel=1e-6)
    assert found.fid == metrics.frechet_distance(metrics.moments(x), metrics.moments(test.features))
    assert found.kid == metrics.polynomial_mmd(x, test.features)
    counts = torch.bincount(extracted.classes, minlength=10)
    assert found.class_counts == tuple(counts.tolist())
    fractions = torch.bincount(few_digits().labels, minlength=10).double() / 600
    assert found.class_kl == pytest.approx(metrics.kl_divergence(counts / N, fractions))


def test_copies_of_training_images_are_found_and_score_like_real_images(small: Reference) -> None:
    chosen = torch.arange(N) * 3
    images = from_pixels(small.train_images[chosen])
    scores = score_images(images, small)
    assert 0.5 < scores.fid_ratio < 2
    assert scores.warning is None
    for nearest in (scores.nearest_pixels, scores.nearest_features):
        assert nearest.indices == tuple(chosen[:25].tolist())
        assert nearest.sample_quantiles == (0, 0, 0)
        assert nearest.distances == (0,) * 25
        assert min(nearest.test_quantiles) > 0.5
    assert torch.equal(nearest_grid(images, scores, small), images[:25].repeat(3, 1, 1, 1))
    others = score_images(noisy(0), small)
    distances = torch.cdist(noisy(0).flatten(1).double(), from_pixels(small.train_images).flatten(1).double()) / 2
    quantiles = np.quantile(distances.amin(1), [0.1, 0.5, 0.9])
    assert others.nearest_pixels.sample_quantiles == pytest.approx(quantiles, rel=1e-5)
    for nearest in (others.nearest_pixels, others.nearest_features):
        assert nearest.sample_quantiles == pytest.approx(nearest.test_quantiles, rel=0.3)


def test_low_coverage_half_of_the_classes_and_repeated_images_are_a_mode_collapse(small: Reference) -> None:
    baseline = Comparison(2.5, 1.0, 0.93, 0.95, 0.9, 0.95, 0.0004, 9.8, class_counts=(1000,) * 10)
    for name, value, expected in (
        ("coverage", 0.95, False),
        ("coverage", 0.094, True),
        ("coverage", 0.096, False),
        ("class_kl", 0.70, True),
        ("class_kl", 0.69, False),
    ):
        assert is_collapsed(replace(baseline, **{name: value}), baseline) == expected
    scores = score_images(noisy(0)[torch.arange(N) % 5], small)
    assert scores.samples.recall == scores.samples.spacing == 0
    assert "the samples repeat few images; try a small --batch-norm-eps" in str(scores.warning)
    assert describe(scores)[-1].startswith("warning: mode collapse: ")


def test_scores_are_deterministic_name_what_they_depend_on_and_change_nothing_else(small: Reference) -> None:
    generator = Generator()
    generator(torch.randn(32, 100))
    before = [value.clone() for value in generator.state_dict().values()]
    states = torch.get_rng_state(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    first, second, other = (score_generator(generator, N, seed, reference=small) for seed in (3, 3, 4))
    assert generator.training
    assert all(map(torch.equal, before, generator.state_dict().values()))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (str(np.random.get_state()), random.getstate()) == states[1:]  # noqa: NPY002

    assert first == second
    assert first.samples != other.samples
    assert small.real_baseline.fid < first.samples.fid < small.noise_baseline.fid
    assert is_collapsed(first.samples, small.real_baseline)
    assert first.extractor_sha256 == "48f37b9f527252e629c2c09520806a2f1dad531ef6ddbb38e517aad44a4c2a93"
    text = "\n".join(describe(first))
    for part in (f"{N} samples against the 300 test images of mnist", first.extractor_sha256, "x real data", "k = 5"):
        assert part in text
    json.dumps(first.as_dict(), allow_nan=False)


def test_images_of_another_shape_or_number_are_refused(small: Reference) -> None:
    for shape, found in (((150, 3, 28, 28), "150, 3"), ((9, 1, 28, 28), "9, 1")):
        with pytest.raises(DataError, match=rf"the shape \[150, 1, 28, 28\] for this reference, got \[{found}, 28"):
            score_images(torch.zeros(shape), small)
    for num_samples in (5, 601):
        with pytest.raises(ConfigError, match=rf"^num_samples must be at (least 6|most 600), got {num_samples}$"):
            load_reference(num_samples, None, few_digits("train"), few_digits("test"))


def test_the_cache_is_read_again(monkeypatch: pytest.MonkeyPatch, small: Reference) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(FeatureExtractor, "extract", fail)
    arguments = {"num_samples": N, "extractor": None, "train": few_digits("train"), "test": few_digits("test")}
    again = load_reference(**arguments)
    assert (again.real_baseline, again.noise_baseline) == (small.real_baseline, small.noise_baseline)
    assert torch.equal(again.stats.radii, small.stats.radii)
    for changed in (
        {"num_samples": N + 1},
        {"train": few_digits("train", 599)},
        {"test": few_digits("test", 299)},
        {"extractor": replace(small.extractor, sha256="0" * 64)},
    ):
        with pytest.raises(AssertionError, match="computed again"):
            load_reference(**(arguments | changed))


# The digit classifier


def test_the_pinned_classifier_classifies_digits_as_its_description_says() -> None:
    extractor, classifier, test = FeatureExtractor.pinned(), DigitClassifier.pinned(), mnist("test")
    description = json.loads(weights_path().with_suffix(".json").read_text())
    assert extractor.sha256 == hashlib.sha256(weights_path().read_bytes()).hexdigest() == description["sha256"]
    assert description["command"] == "python -m reviver.gan.scores.train_classifier"
    features, classes = extractor.extract(test.images)
    accuracy = (classes == test.labels).double().mean().item()
    assert accuracy >= 0.993
    assert accuracy == pytest.approx(description["test_accuracy"], abs=2e-4)
    assert torch.equal(features, metrics.snap(features))
    assert features.max() < 64, "metrics.GRID requires it"
    few = extractor.extract(test.images[150:157]).features  # in a batch of another size
    torch.testing.assert_close(few, features[150:157], rtol=0, atol=2 * metrics.GRID)
    images = from_pixels(test.images[:700])
    probabilities = classifier.probabilities(images)
    assert torch.equal(probabilities.argmax(1), classes[:700])
    torch.testing.assert_close(probabilities.sum(1), torch.ones(700))
    torch.testing.assert_close(classifier.probabilities(images[:1]), probabilities[:1], rtol=1e-4, atol=1e-6)
    assert not any(layer.training for one in (classifier, extractor.classifier) for layer in one.modules())
    for shape in ([2, 1, 8, 8], [2, 3, 28, 28], [2, 784], [28, 28]):
        with pytest.raises(
            DataError, match=r"^images must have the shape \[N, 1, 28, 28\] for this classifier, got \["
        ):
            classifier(torch.zeros(shape))
    with pytest.raises(DataError, match=r"^images must be at least 8 x 8 pixels to classify, got 8 x 7"):
        DigitClassifier(10, (1, 8, 7))


# The command line


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labeled images, an extractor and a run of them; a run of MNIST; a run without an extractor."""
    folder = tmp_path_factory.mktemp("workspace")
    for name in ("idx", "unlabeled"):
        (folder / name).mkdir()
        for split, prefix in (("train", "train"), ("test", "t10k")):
            data = few_digits(split)
            write_idx(folder / name / f"{prefix}-images-idx3-ubyte", data.images[:, 0].numpy())
            if name == "idx" and data.labels is not None:
                write_idx(folder / name / f"{prefix}-labels-idx1-ubyte", data.labels.numpy())
    np.savez(folder / "color.npz", images=np.zeros((40, 3, 8, 8), dtype=np.uint8))
    (folder / "notes.txt").write_text("precious")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        shrink_mnist(patch)
        for name, data in (("digits", "mnist"), ("custom", "idx")):
            train(GANConfig(data=data, epochs=1, batch_size=100, eval_every=0), name, device="cpu")
        train(GANConfig(data="color.npz", image_size=8, epochs=1), "color", device="cpu")
        assert main(shlex.split("gan train-extractor --data idx --epochs 1 --out custom.safetensors --quiet")) == 0
    return folder


@pytest.fixture
def run(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[int, str, str]]:
    """Return a function that runs a command in the workspace, where MNIST is small."""
    monkeypatch.chdir(workspace)
    shrink_mnist(monkeypatch)

    def call(arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(shlex.split(arguments))
        return code, *capsys.readouterr()

    return call


def test_evaluate_prints_the_scores_as_json_and_as_a_table_beside_both_baselines_with_a_grid(
    run: Any, small: Reference, tmp_path: Path
) -> None:
    code, out, err = run(f"gan evaluate digits --num-samples {N} --seed 2 --json")
    assert (code, err, out.count("\n")) == (0, "", 1)
    result = json.loads(out)
    expected = score_generator(load("digits").generator, N, 2, reference=small)
    assert result == {"run": "digits", "seed": 2, "out": None} | json.loads(json.dumps(expected.as_dict()))
    assert {field.name for field in fields(Scores)} <= set(result)
    page = (Path(__file__).parents[3] / "docs" / "reference" / "gan-scores.md").read_text(encoding="utf-8")
    assert not [key for key in (*result, *result["samples"], *result["nearest_pixels"]) if f"`{key}`" not in page]

    code, out, _ = run(f"gan evaluate digits --num-samples {N} --out {tmp_path / 'new' / 'nearest.pdf'}")
    lines = out.splitlines()
    assert (code, lines[0], lines[-1]) == (0, "digits, seed 0", str(tmp_path / "new" / "nearest.pdf"))
    assert Path(lines[-1]).read_bytes().startswith(b"%PDF")
    for name, key in (("FID", "fid"), ("recall", "recall"), ("coverage", "coverage"), ("class KL (nats)", "class_kl")):
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        numbers = [float(text) for text in line.removeprefix(name).split()[1:3]]
        baselines = [getattr(row, key) for row in (small.real_baseline, small.noise_baseline)]
        assert numbers == pytest.approx(baselines, abs=6e-3)


def test_other_images_are_evaluated_with_their_own_extractor(run: Any) -> None:
    assert run("gan evaluate custom --extractor custom.safetensors --num-samples 60 --quiet")[0] == 0
    extractor = load_extractor("idx", (1, 28, 28), "custom.safetensors")
    train_set, test_set = load_reference_images(extractor, "idx", 28)
    assert (extractor.name, len(train_set.images), len(test_set.images)) == ("custom", 600, 300)
    assert extractor.sha256 == hashlib.sha256(Path("custom.safetensors").read_bytes()).hexdigest()
    data = few_digits()
    few = data.labels < 7
    with pytest.raises(DataError, match="has images of 7 classes and the extractor knows 10"):
        load_reference(60, extractor, ImageSet(data.images[few], data.labels[few], "few"), data)
    with pytest.raises(DataError, match="data: unlabeled has no labels, which scores need; give an IDX folder"):
        load_reference_images(extractor, "unlabeled", 28)


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
    "gan train-extractor --out x --data unlabeled": "--data unlabeled has no labels, which an extractor learns",
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
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert re.match(f"error: {WRONG[arguments]}", err), err
    assert sorted(Path().iterdir()) == before


def test_changed_images_and_a_changed_extractor_are_refused(run: Any, monkeypatch: Any) -> None:
    shutil.copy("custom.safetensors", "copy.safetensors")
    config = GANConfig(data="idx", epochs=2, batch_size=300, eval_every=0, extractor="copy.safetensors")
    folder = train(replace(config, epochs=1), "followed", device="cpu")
    recorded = folder.record["extractor_sha256"]
    assert recorded == hashlib.sha256(Path("custom.safetensors").read_bytes()).hexdigest()
    train(config, "followed", device="cpu", resume=True)
    save_classifier(DigitClassifier(10), Path("copy.safetensors"))
    for command in ("gan evaluate followed --num-samples 60", "gan interpolate followed --metrics"):
        problem = "copy.safetensors is not the file that this run recorded; restore it, or give another"
        assert run(command)[::2] == (2, f"error: {problem} --extractor\n")
    problem = r"^extractor: 'copy\.safetensors' has changed since this run began; put the old"
    with pytest.raises(DataError, match=problem):
        train(replace(config, epochs=3), "followed", device="cpu", resume=True)
    code, out, _ = run("gan evaluate followed --extractor custom.safetensors --num-samples 60 --json")
    assert (code, json.loads(out)["extractor_sha256"]) == (0, recorded)
    folder = RunFolder.open("followed")
    del folder.record["extractor_sha256"]  # as in a record from elsewhere, which may name any file
    folder.save_record()
    assert run("gan evaluate followed --num-samples 60")[0] == 2
    monkeypatch.setattr(reference_stats, "load_images", lambda data, size: few_digits("train", 599))
    problem = "mnist has changed since this run was trained on it; restore the old images"
    assert run("gan evaluate digits --num-samples 60")[::2] == (2, f"error: {problem}\n")
