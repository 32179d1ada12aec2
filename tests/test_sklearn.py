"""The estimators do what scikit-learn's own checks and tools expect, and refuse malformed input with a clear error."""

import copy
import pickle
import pickletools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from reviver.data.tasks.task import mean_loss
from reviver.settings.lstm_presets import PRESETS
from reviver.sklearn import SequenceClassifier, SequenceRegressor
from reviver.sklearn.training import Part

SMALL: dict[str, Any] = {
    "hidden_size": 8,
    "hidden_dropout": 0.0,
    "max_epochs": 20,
    "patch_size": 1,
    "learning_rate": 0.03,
    "early_stopping": False,
}
"""Parameters with which a fit takes little time."""
CHECKED = {**SMALL, "max_epochs": 8}
"""The same for scikit-learn's checks of the classifier, which fit hundreds of it and expect little of each."""


EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": "a repeated sample is in other batches than a sample of twice the "
    "weight; scikit-learn lists the same of its MLPClassifier",
    "check_methods_subset_invariance": "the check allows 1e-7; on some processors matrix products in float32 depend on the "
    "size of the batch by 2e-7",
}
"""The checks that the estimators do not pass everywhere, with the reasons."""


@parametrize_with_checks(
    [SequenceClassifier(**CHECKED), SequenceRegressor(**SMALL)], expected_failed_checks=lambda _: EXPECTED_FAILURES
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def classes_of(num: int = 40, steps: int = 12, channels: int = 2, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return sequences [N, T, I] that rise in the first channel if their label is "up", and fall otherwise."""
    rng = np.random.default_rng(seed)
    y = np.array(["down", "up"])[np.arange(num) % 2]
    slope = np.where(y == "up", 1.0, -1.0)[:, None]
    X = rng.normal(scale=0.5, size=(num, steps, channels))
    X[:, :, 0] += slope * np.linspace(-1, 1, steps)
    return 100 + 10 * X, y


def ragged(X: NDArray[Any], seed: int = 1) -> list[NDArray[Any]]:
    """Return sequences [N, T, I] cut to different lengths, at least half of T."""
    lengths = np.random.default_rng(seed).integers(X.shape[1] // 2, X.shape[1] + 1, size=len(X))
    return [sequence[:length] for sequence, length in zip(X, lengths, strict=True)]


@pytest.fixture(scope="module")
def fitted() -> SequenceClassifier:
    X, y = classes_of()
    return SequenceClassifier(**SMALL, random_state=0).fit(ragged(X), y)


# input


def test_every_layout_of_the_same_sequences_gives_the_same_result() -> None:
    X, y = classes_of(channels=1)
    table = X[:, :, 0]
    object_array = np.empty(len(X), dtype=object)
    object_array[:] = list(X)
    layouts: dict[str, tuple[Any, bool]] = {
        "table": (table, False),
        "table as nested list": (table.tolist(), False),
        "table in Fortran order": (np.asfortranarray(table), False),
        "array": (X, False),
        "array as nested list": (X.tolist(), False),
        "channels first": (X.transpose(0, 2, 1), True),
        "table beside channels first": (table, True),
        "list of [T]": (list(table), False),
        "list of [T, I]": (list(X), False),
        "tuple of [I, T]": (tuple(x.T for x in X), True),
        "list of tensors": ([torch.tensor(x) for x in X], False),
        "object array": (object_array, False),
        "tensor": (torch.tensor(X), False),
    }
    results = {}
    for name, (data, channels_first) in layouts.items():
        estimator = SequenceClassifier(**SMALL, random_state=0, channels_first=channels_first).fit(data, y)
        results[name] = estimator.predict_proba(data)
        assert estimator.n_channels_in_ == 1, name
        assert estimator.n_steps_in_ == (12 if "table" in name else None), name
    for name, result in results.items():
        np.testing.assert_array_equal(result, results["table"], err_msg=name)


def test_a_data_frame_gives_its_column_names() -> None:
    pandas = pytest.importorskip("pandas")
    X, y = classes_of(channels=1)
    frame = pandas.DataFrame(X[:, :, 0], columns=[f"step {t}" for t in range(12)])
    estimator = SequenceClassifier(**SMALL, random_state=0).fit(frame, pandas.Series(y))
    assert estimator.feature_names_in_.tolist() == [f"step {t}" for t in range(12)]
    assert estimator.score(frame, y) > 0.9
    estimator.fit(X, y)
    assert not hasattr(estimator, "feature_names_in_")


def test_the_length_of_other_sequences_and_the_padding_have_no_effect(fitted: SequenceClassifier) -> None:
    X = ragged(classes_of(seed=3)[0])
    alone = np.concatenate([fitted.predict_proba([x]) for x in X])
    np.testing.assert_allclose(fitted.predict_proba(X), alone, atol=1e-6)


def test_predictions_do_not_depend_on_the_number_of_sequences(fitted: SequenceClassifier) -> None:
    X = ragged(classes_of(seed=4)[0])
    expected = fitted.decision_function(X)
    for size in (1, 2, 7):
        parts = [fitted.decision_function(X[start : start + size]) for start in range(0, len(X), size)]
        np.testing.assert_allclose(np.concatenate(parts), expected, rtol=1e-5, atol=1e-5)


def test_outputs_are_those_of_torch_on_standardized_sequences() -> None:
    X, y = classes_of()
    estimator = SequenceClassifier(**SMALL, random_state=0, pooling="last", bidirectional=False).fit(X, y)
    standardized = StandardScaler().fit_transform(X.reshape(-1, 2)).reshape(X.shape)
    network = estimator.network_
    with torch.no_grad():
        _, (h, _) = network.lstm.to_torch()(torch.tensor(standardized, dtype=torch.float32))
        probabilities = (h[-1] @ network.W_out.T + network.b_out).softmax(1)
    np.testing.assert_allclose(estimator.predict_proba(X), probabilities.numpy(), atol=1e-5)
    np.testing.assert_allclose(np.exp(estimator.predict_log_proba(X)), estimator.predict_proba(X))
    odds = (probabilities[:, 1] / probabilities[:, 0]).log().numpy()
    np.testing.assert_allclose(estimator.decision_function(X), odds, atol=1e-4)


def test_large_offsets_are_subtracted_before_rounding_to_float32() -> None:
    X, y = classes_of()
    near = SequenceClassifier(**SMALL, random_state=0).fit(X, y)
    far = SequenceClassifier(**SMALL, random_state=0).fit(X + 2**30, y)
    np.testing.assert_allclose(far.predict_proba(X + 2**30), near.predict_proba(X), atol=1e-3)


# training


def test_the_classifier_learns_sequences_of_different_lengths(fitted: SequenceClassifier) -> None:
    X, y = classes_of(seed=5)
    assert fitted.score(ragged(X), y) > 0.95


def test_the_regressor_learns_in_the_units_of_the_target() -> None:
    X, _ = classes_of(num=80)
    y = X[:, :, 0].mean(axis=1)
    base = SequenceRegressor(**SMALL, random_state=0).fit(X[:60], y[:60])
    assert base.score(X[60:], y[60:]) > 0.8
    scaled = SequenceRegressor(**SMALL, random_state=0).fit(X[:60], 1000 * y[:60] - 5e6)
    np.testing.assert_allclose(scaled.predict(X), 1000 * base.predict(X) - 5e6, rtol=1e-3)


def test_a_constant_target_is_predicted() -> None:
    X, _ = classes_of()
    estimator = SequenceRegressor(**{**SMALL, "early_stopping": True}, random_state=0).fit(X, np.full(len(X), 7.5))
    np.testing.assert_allclose(estimator.predict(X), 7.5, atol=0.5)
    assert {record["validation_score"] for record in estimator.history_} == {0.0}


def test_the_same_random_state_gives_the_same_weights_and_torch_is_left_alone() -> None:
    X, y = classes_of()
    options = {**SMALL, "early_stopping": True, "hidden_dropout": 0.2, "dropout": 0.1, "num_layers": 2}
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        results.append(SequenceClassifier(**options, random_state=3).fit(X, y).decision_function(X))
        assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(results[0], results[1])
    from_state = SequenceClassifier(**options, random_state=np.random.RandomState(3)).fit(X, y)
    np.testing.assert_array_equal(from_state.decision_function(X), results[0])
    other = SequenceClassifier(**options, random_state=4).fit(X, y)
    assert not np.array_equal(other.decision_function(X), results[0])


@pytest.mark.parametrize("estimator_class", [SequenceClassifier, SequenceRegressor])
def test_early_stopping_keeps_the_best_epoch(estimator_class: Any) -> None:
    X, y = classes_of()
    if estimator_class is SequenceRegressor:
        y = X[:, -1, 1]
    options = {**SMALL, "max_epochs": 300, "early_stopping": True, "patience": 3, "lr_schedule": "constant"}
    options |= {"validation_fraction": 0.2, "pooling": "max"}  # its validation loss stops falling
    stopped = estimator_class(**options, random_state=0).fit(X, y)
    ranks = [(record["validation_score"], -record["validation_loss"]) for record in stopped.history_]
    scores = [score for score, _ in ranks]
    assert stopped.n_iter_ == len(ranks) == ranks.index(max(ranks)) + 1 + 3 < 300
    assert stopped.best_epoch_ == max(epoch for epoch, score in enumerate(scores, 1) if score == max(scores))
    again = estimator_class(**{**options, "max_epochs": stopped.best_epoch_}, random_state=0).fit(X, y)
    np.testing.assert_array_equal(again.predict(X), stopped.predict(X))


def test_the_validation_part_is_stratified_and_not_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[Part] = []

    def record(spec: Any, train: Part, validation: Part, **options: Any) -> None:
        parts.extend([train, validation])
        raise InterruptedError

    monkeypatch.setattr("reviver.sklearn.base.train_network", record)
    X, _ = classes_of(num=100)
    y = np.array([0] * 60 + [1] * 30 + [2] * 10)
    estimator = SequenceClassifier(validation_fraction=0.2, random_state=0)
    with pytest.raises(InterruptedError):
        estimator.fit(X, y)
    train, validation = parts
    assert torch.bincount(validation.examples.targets).tolist() == [12, 6, 2]
    assert torch.bincount(train.examples.targets).tolist() == [48, 24, 8]
    values = train.examples.x.flatten(0, 1).double()
    torch.testing.assert_close(values.mean(0), torch.zeros(2, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(values.std(0, correction=0), torch.ones(2, dtype=torch.float64), atol=1e-6, rtol=0)
    assert not (train.examples.x[:, None] == validation.examples.x[None]).all(-1).all(-1).any()


def test_class_weights_are_weights_of_the_samples() -> None:
    X, y = classes_of(num=30)
    y[:20] = "up"
    up = (y == "up").mean()
    expected = SequenceClassifier(**SMALL, random_state=0).fit(
        X, y, sample_weight=np.where(y == "up", 0.5 / up, 0.5 / (1 - up))
    )
    dictionary = {"up": 0.5 / up, "down": 0.5 / (1 - up)}
    for class_weight in ("balanced", dictionary):
        weighted = SequenceClassifier(**SMALL, random_state=0, class_weight=class_weight).fit(X, y)
        np.testing.assert_allclose(weighted.predict_proba(X), expected.predict_proba(X), atol=1e-5)
    plain = SequenceClassifier(**SMALL, random_state=0).fit(X, y)
    assert not np.allclose(plain.predict_proba(X), expected.predict_proba(X), atol=1e-3)


def test_a_weight_of_zero_leaves_a_sample_out() -> None:
    X, y = classes_of()
    weight = np.ones(len(X))
    weight[[0, 5, 7]] = 0
    estimator = SequenceClassifier(**{**SMALL, "early_stopping": True}, random_state=0)
    weighted = clone(estimator).fit(X, y, sample_weight=weight)
    removed = clone(estimator).fit(X[weight > 0], y[weight > 0])
    np.testing.assert_array_equal(weighted.predict_proba(X), removed.predict_proba(X))


def test_weights_multiply_the_loss_of_a_sequence() -> None:
    outputs, targets, weights = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0]), torch.rand(5)
    losses = -outputs.log_softmax(1)[torch.arange(5), targets]
    torch.testing.assert_close(mean_loss("class", outputs, targets, weights), (weights * losses).mean())
    steps = torch.randn(5, 4, 3), torch.randint(3, (5, 4))
    each = torch.stack([mean_loss("class at every step", x[None], y[None]) for x, y in zip(*steps, strict=True)])
    torch.testing.assert_close(mean_loss("class at every step", *steps, weights), (weights * each).mean())
    numbers = torch.randn(5)
    squares = (outputs[:, 0] - numbers) ** 2
    torch.testing.assert_close(mean_loss("number", outputs[:, :1], numbers, weights), (weights * squares).mean())
    torch.testing.assert_close(mean_loss("number", outputs[:, :1], numbers), squares.mean())


def test_verbose_prints_the_metrics_of_each_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = classes_of()
    SequenceClassifier(**{**SMALL, "max_epochs": 2, "early_stopping": True}, verbose=1).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("[SequenceClassifier] epoch 2, train loss ")
    assert "validation score" in lines[1]


def test_numbers_of_numpy_are_parameters() -> None:
    X, y = classes_of()
    options = {
        **SMALL,
        "hidden_size": np.int64(8),
        "learning_rate": np.float32(0.03),
        "early_stopping": np.bool_(False),
    }
    assert SequenceClassifier(**options, random_state=np.int64(0)).fit(X, y).n_iter_ == 20


# scikit-learn's tools


def test_works_in_a_pipeline_and_cross_validation() -> None:
    X, y = classes_of(channels=1)
    pipeline = make_pipeline(StandardScaler(), SequenceClassifier(**SMALL, random_state=0))
    scores = cross_val_score(pipeline, X[:, :, 0], y, cv=3)
    assert scores.mean() > 0.9
    lists = cross_val_score(SequenceClassifier(**SMALL, random_state=0), ragged(X), y, cv=StratifiedKFold(3))
    assert lists.mean() > 0.9


def test_grid_search_runs_on_two_processes() -> None:
    X, y = classes_of()
    grid = {"hidden_size": np.array([1, 8]), "pooling": ["mean", "last"]}
    search = GridSearchCV(SequenceClassifier(**SMALL, random_state=0), grid, cv=2, n_jobs=2, error_score="raise")
    search.fit(ragged(X), y)
    serial = clone(search).set_params(n_jobs=1).fit(ragged(X), y)
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], serial.cv_results_["mean_test_score"], atol=0.1)
    assert search.best_score_ > 0.9
    assert search.predict(ragged(X)).tolist() == search.best_estimator_.predict(ragged(X)).tolist()


def test_works_in_calibration_and_voting() -> None:
    X, y = classes_of(channels=1)
    table = X[:, :, 0]
    calibrated = CalibratedClassifierCV(SequenceClassifier(**SMALL, random_state=0), cv=2).fit(ragged(X), y)
    assert calibrated.score(ragged(X), y) > 0.9
    members = [("lstm", SequenceClassifier(**SMALL, random_state=0)), ("linear", LogisticRegression())]
    assert VotingClassifier(members, voting="soft").fit(table, y).score(table, y) > 0.9


# pickles


def _contents(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [item for child in value.values() for item in _contents(child)]
    return [item for child in value for item in _contents(child)] if isinstance(value, (list, tuple)) else [value]


def test_a_pickle_holds_plain_values_and_gives_the_same_predictions(fitted: SequenceClassifier) -> None:
    content = pickle.dumps(fitted)
    strings = [argument for _, argument, _ in pickletools.genops(content) if isinstance(argument, str)]
    assert not any("torch" in text or "pydantic" in text for text in strings)
    plain = (type(None), bool, int, float, str, bytes, np.ndarray)
    assert all(isinstance(value, plain) for value in _contents(fitted.__getstate__()))
    X = ragged(classes_of(seed=2)[0])
    expected = fitted.predict_proba(X)
    for other in (pickle.loads(content), copy.deepcopy(fitted)):
        np.testing.assert_array_equal(other.predict_proba(X), expected)
        assert other.get_params() == fitted.get_params()
        assert other.history_ == fitted.history_
    assert not hasattr(clone(fitted), "network_")
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(clone(fitted))).fit(X, ["a", "b"] * 20).classes_, ["a", "b"]
    )


LABELS = {
    "str": np.array(["b", "ä"]),
    "object": np.array(["b", "a"], dtype=object),
    "int": np.array([-1, 3], dtype=np.int32),
    "unsigned": np.array([0, 255], dtype=np.uint8),
    "float": np.array([1.0, 2.0]),
    "bool": np.array([False, True]),
}


@pytest.mark.parametrize("kind", LABELS)
def test_a_saved_classifier_is_the_same(kind: str, tmp_path: Path) -> None:
    X, y = classes_of(channels=1)
    labels = LABELS[kind][(y == "up").astype(int)]
    weight = dict.fromkeys(LABELS[kind], 2.0)
    options = {**SMALL, "early_stopping": True, "class_weight": weight, "hidden_size": np.int64(8)}
    estimator = SequenceClassifier(**options, random_state=0).fit(X[:, :, 0], labels)
    joblib.dump(estimator, tmp_path / "model.joblib")
    loaded = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(loaded.predict_proba(X), estimator.predict_proba(X))
    assert loaded.predict(X).tolist() == estimator.predict(X).tolist()
    assert loaded.get_params() == estimator.get_params()
    for name in ("history_", "n_iter_", "best_epoch_", "n_channels_in_", "n_steps_in_", "n_features_in_"):
        assert getattr(loaded, name) == getattr(estimator, name)
    assert set(vars(loaded)) == set(vars(estimator))
    with pytest.raises(ValueError, match="X has 5 features, but SequenceClassifier is expecting 12 features"):
        loaded.predict(X[:, :5, 0])
    assert loaded.fit(X, labels).score(X, labels) > 0.9


def test_a_saved_regressor_is_the_same() -> None:
    X, _ = classes_of()
    y = 1e6 + X[:, 0, 0]
    estimator = SequenceRegressor(**SMALL, random_state=5).fit(ragged(X), y)
    loaded = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(loaded.predict(ragged(X)), estimator.predict(ragged(X)))
    assert set(vars(loaded)) == set(vars(estimator))


def test_a_saved_estimator_keeps_the_column_names() -> None:
    pandas = pytest.importorskip("pandas")
    X, y = classes_of(channels=1)
    frame = pandas.DataFrame(X[:, :, 0], columns=[f"step {t}" for t in range(12)])
    loaded = pickle.loads(pickle.dumps(SequenceClassifier(**SMALL).fit(frame, y)))
    assert loaded.predict(frame).shape == (40,)
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(frame.rename(columns={"step 0": "start"}))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"num_layers": 10**9}, "tensors for the num_layers of architecture_"),
        ({"hidden_size": 2**62}, "does not describe one that can be built"),
        ({"hidden_size": 9}, "architecture_ describes another network"),
        ({"pooling": "attention"}, "is absent; architecture_ describes another network"),
        ({"patch_size": 0}, "patch_size must be at least 1, got 0"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change: Any, match: str, fitted: SequenceClassifier) -> None:
    state = fitted.__getstate__()
    state["architecture_"] |= change
    with pytest.raises(ValueError, match=match):
        SequenceClassifier().__setstate__(state)


# malformed input

GOOD, GOOD_Y = classes_of()
TABLE = GOOD[:, :, 0]


def _with(X: NDArray[Any], value: object, dtype: Any = float) -> NDArray[Any]:
    X = X.astype(dtype)
    X[3, 5] = value
    return X


BAD_X: dict[str, tuple[Any, type[Exception], str]] = {
    "NaN in a table": (_with(TABLE, np.nan), ValueError, "Input X contains NaN"),
    "infinity in a table": (_with(TABLE, np.inf), ValueError, "Input X contains infinity"),
    "NaN in an array": (_with(GOOD, np.nan), ValueError, r"NaN in sequence 3, step 5.*give a list of arrays"),
    "NaN in a list": (list(_with(GOOD, np.nan)), ValueError, r"Input X contains NaN in sequence 3, step 5"),
    "infinity in a list": (list(_with(TABLE, -np.inf)), ValueError, r"contains infinity in sequence 3, step 5"),
    "too large for float32": (_with(GOOD, 1e39), ValueError, "too large for dtype"),
    "text in a table": (_with(TABLE, "a", object), ValueError, "could not convert string to float: 'a'"),
    "text in a list": ([*TABLE[1:], np.array(["a", "b"])], ValueError, "arrays of bytes/strings"),
    "numbers as text": (TABLE.astype(str), ValueError, "arrays of bytes/strings"),
    "objects": (_with(TABLE, {"a": 1}, object), TypeError, "number"),
    "complex numbers": (TABLE + 1j, ValueError, "Complex data not supported"),
    "complex numbers in a list": (list(TABLE + 1j), ValueError, "Complex data not supported"),
    "empty list": ([], ValueError, "Found array with 0 sample|Expected 2D array, got 1D array"),
    "no sequences": (np.empty((0, 12, 2)), ValueError, "0 sample"),
    "no steps": (np.empty((40, 0, 2)), ValueError, r"at least one step and one channel, got .*\(40, 0, 2\)"),
    "one dimension": (TABLE[0], ValueError, "Expected 2D array, got 1D array"),
    "four dimensions": (GOOD[..., None], ValueError, "must have 2 or 3 dimensions.*got 4"),
    "ragged nested list": ([[1.0, 2.0], [3.0]], ValueError, "ragged list.*list of arrays"),
    "ragged steps": ([np.ones((3, 2)), [[1.0, 2.0], [3.0]]], ValueError, r"X\[1\] is a list.*make all of them arrays"),
    "lists among arrays": ([np.ones(3), [1.0, 2.0]], ValueError, r"X\[1\] is a list.*make all of them arrays"),
    "mixed dimensions": ([np.ones((3, 2)), np.ones(3)], ValueError, r"X\[1\] has 1 dimensions and X\[0\] has 2"),
    "three dimensions in a list": ([np.ones((3, 2, 1))], ValueError, r"X\[0\] must be an array of steps"),
    "mixed channels": ([np.ones((3, 2)), np.ones((3, 4))], ValueError, r"X\[1\] has 4 channels.*channels_first=True"),
    "empty sequence": ([np.ones((3, 2)), np.ones((0, 2))], ValueError, r"X\[1\] has 0 steps.*leave out empty"),
    "sparse": (sparse.csr_array(TABLE), TypeError, "[Ss]parse data was passed"),
    "text": ("sequences", ValueError, "Expected 2D array, got scalar|Expected 2D array"),
}


@pytest.mark.parametrize("estimator_class", [SequenceClassifier, SequenceRegressor])
@pytest.mark.parametrize("kind", BAD_X)
def test_malformed_sequences_are_refused(kind: str, estimator_class: Any, fitted: SequenceClassifier) -> None:
    X, error, match = BAD_X[kind]
    y = GOOD_Y if estimator_class is SequenceClassifier else np.arange(40.0)
    with pytest.raises(error, match=match):
        estimator_class(**SMALL).fit(X, y)
    with pytest.raises(error, match=match):
        fitted.predict(X)


BAD_Y: dict[str, tuple[Any, str]] = {
    "one class": (["up"] * 40, "at least 2 classes in y, got one class: 'up'"),
    "too few": (GOOD_Y[:-1], r"inconsistent numbers of samples: \[40, 39\]"),
    "missing": (None, "requires y to be passed, but the target y is None"),
    "continuous": (np.linspace(0, 1, 40), "Unknown label type: continuous"),
    "NaN": (np.where(GOOD_Y == "up", 1.0, np.nan), "Input y contains NaN"),
    "two columns": (np.zeros((40, 2), int), "y should be a 1d array"),
}


@pytest.mark.parametrize("kind", BAD_Y)
def test_malformed_labels_are_refused(kind: str) -> None:
    y, match = BAD_Y[kind]
    with pytest.raises(ValueError, match=match):
        SequenceClassifier(**SMALL).fit(GOOD, y)


@pytest.mark.parametrize(
    ("y", "match"),
    [
        (np.full(40, np.nan), "Input y contains NaN"),
        (np.full(40, np.inf), "Input y contains infinity"),
        (["up"] * 40, "could not convert string to float|bytes/strings"),
        (np.zeros((40, 2)), "y should be a 1d array"),
        (np.zeros(39), "inconsistent numbers of samples"),
        (None, "requires y to be passed"),
    ],
)
def test_malformed_targets_are_refused(y: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        SequenceRegressor(**SMALL).fit(GOOD, y)


def test_a_column_of_labels_is_read_with_a_warning() -> None:
    with pytest.warns(DataConversionWarning, match="column-vector y was passed"):
        SequenceClassifier(**SMALL).fit(GOOD, GOOD_Y[:, None])


BAD_PARAMETERS: dict[str, tuple[Any, str]] = {
    "hidden_size": (0, "hidden_size must be at least 1, got 0"),
    "num_layers": (1.5, "num_layers must be an integer, got 1.5"),
    "bidirectional": ("yes", "bidirectional must be true or false"),
    "pooling": ("median", "pooling must be last, mean, max or attention, got 'median'"),
    "patch_size": (0, "patch_size must be at least 1|patch_size"),
    "dropout": (1.0, "dropout must be less than 1"),
    "hidden_dropout": (-0.1, "hidden_dropout must be at least 0"),
    "hidden_dropout_kind": ("half", "hidden_dropout_kind must be step, variational or zoneout"),
    "max_epochs": (0, "max_epochs must be at least 1"),
    "batch_size": ("all", "batch_size must be an integer"),
    "learning_rate": (np.nan, "learning_rate must be"),
    "lr_schedule": ("linear", "lr_schedule must be constant or cosine"),
    "max_norm": (0.0, "max_norm must be greater than 0"),
    "early_stopping": (1, "early_stopping must be true or false"),
    "validation_fraction": (1.0, "validation_fraction must be less than 1"),
    "patience": (0, "patience must be at least 1"),
    "class_weight": ("equal", "class_weight must be None, 'balanced' or a dict, got 'equal'"),
    "channels_first": (None, "channels_first must be true or false"),
    "random_state": ("seed", "'seed' cannot be used to seed"),
    "device": ("tpu", "device must be one of auto, cpu, cuda"),
    "verbose": (-1, "verbose"),
}


def test_every_parameter_is_checked() -> None:
    assert set(BAD_PARAMETERS) == set(SequenceClassifier().get_params())
    assert set(BAD_PARAMETERS) - {"class_weight"} == set(SequenceRegressor().get_params())


@pytest.mark.parametrize("name", BAD_PARAMETERS)
def test_a_parameter_out_of_range_is_refused_in_fit(name: str) -> None:
    value, match = BAD_PARAMETERS[name]
    estimator = SequenceClassifier(**{**SMALL, name: value})
    with pytest.raises(ValueError, match=match):
        estimator.fit(GOOD, GOOD_Y)


@pytest.mark.parametrize(
    ("weight", "match"),
    [
        ({"up": 1.0, "sideways": 2.0}, "class_weight has 'sideways', which is no class of y"),
        ({"up": 0.0}, "class_weight must have numbers greater than 0, got 0.0"),
        ({"up": "heavy"}, "class_weight must have numbers greater than 0, got 'heavy'"),
    ],
)
def test_malformed_class_weights_are_refused(weight: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        SequenceClassifier(**SMALL, class_weight=weight).fit(GOOD, GOOD_Y)


@pytest.mark.parametrize(
    ("weight", "match"),
    [
        (-np.ones(40), "sample_weight must be at least 0, got -1"),
        (np.zeros(40), "zero"),
        (np.ones(39), r"sample_weight.shape == \(39,\)"),
        (np.full(40, np.nan), "contains NaN"),
        ((GOOD_Y == "up").astype(float), "got one class: 'up'"),
    ],
)
def test_malformed_sample_weights_are_refused(weight: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        SequenceClassifier(**SMALL).fit(GOOD, GOOD_Y, sample_weight=weight)


def test_labels_that_fit_did_not_have_are_refused_in_score(fitted: SequenceClassifier) -> None:
    y = np.where(np.arange(40) == 3, "sideways", GOOD_Y)
    with pytest.raises(ValueError, match=r"not there in fit: 'sideways'; known are 'down', 'up'"):
        fitted.score(GOOD, y)


def test_other_channels_are_refused_and_other_lengths_of_a_table(fitted: SequenceClassifier) -> None:
    with pytest.raises(ValueError, match="X has 3 channels per step, but SequenceClassifier is expecting 2"):
        fitted.predict(np.ones((4, 9, 3)))
    with pytest.raises(ValueError, match=r"X has 9 channels.*check channels_first"):
        fitted.predict(np.ones((4, 2, 9)))
    with pytest.raises(ValueError, match="X has 1 channels"):
        fitted.predict(TABLE)
    assert fitted.predict(GOOD[:, :7]).shape == (40,)
    table = SequenceClassifier(**SMALL).fit(TABLE, GOOD_Y)
    with pytest.raises(ValueError, match="X has 7 features, but SequenceClassifier is expecting 12 features as input"):
        table.predict(TABLE[:, :7])
    assert table.predict(list(TABLE[:, :7])).shape == (40,)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "decision_function"])
def test_an_unfitted_estimator_says_so(method: str) -> None:
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(SequenceClassifier(), method)(GOOD)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        SequenceClassifier().score(GOOD, GOOD_Y)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        SequenceRegressor().predict(GOOD)


def test_early_stopping_needs_two_samples_of_a_class() -> None:
    estimator = SequenceClassifier(**{**SMALL, "early_stopping": True})
    with pytest.raises(ValueError, match=r"early_stopping needs at least 2 samples of a class.*no class has two"):
        estimator.fit(GOOD[:2], GOOD_Y[:2])
    with pytest.raises(ValueError, match="got 1 sample"):
        SequenceRegressor(**{**SMALL, "early_stopping": True}).fit(GOOD[:1], [1.0])


def test_diverging_training_stops() -> None:
    with pytest.raises(ValueError, match=r"training diverged.*lower learning_rate"):
        SequenceClassifier(**{**SMALL, "learning_rate": 1e36, "max_norm": 1e30}).fit(GOOD, GOOD_Y)


def test_numbers_too_small_to_standardize_are_refused() -> None:
    with pytest.raises(ValueError, match="too small to be standardized"):
        SequenceClassifier(**SMALL).fit(GOOD * 1e-200, GOOD_Y)


# imports


def test_a_missing_scikit_learn_is_named() -> None:
    code = "import sys; sys.modules['sklearn'] = None; import reviver.sklearn"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "ImportError: reviver.sklearn needs scikit-learn, which is not installed; pip install scikit-learn" in (
        result.stderr
    )


def test_reviver_does_not_import_scikit_learn() -> None:
    code = "import sys, reviver, reviver.train.lstm.training; assert 'sklearn' not in sys.modules, 'imported'"
    subprocess.run([sys.executable, "-c", code], check=True)


# Defaults -----------------------------------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_preset_series() -> None:
    preset = asdict(PRESETS["series"])
    parameters = SequenceClassifier().get_params()
    shared = parameters.keys() & preset.keys()
    assert shared >= {
        "hidden_size",
        "bidirectional",
        "pooling",
        "patch_size",
        "batch_size",
        "learning_rate",
        "patience",
    }
    assert {name: parameters[name] for name in shared} == {name: preset[name] for name in shared}
    assert parameters["max_epochs"] == preset["epochs"]
    assert parameters["validation_fraction"] == pytest.approx(1 - preset["train_fraction"])
    differing = {"pooling", "hidden_dropout"}  # SequenceRegressor gives the reason
    regressor = SequenceRegressor().get_params()
    assert {name: regressor[name] for name in shared - differing} == {name: preset[name] for name in shared - differing}
