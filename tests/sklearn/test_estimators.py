"""The estimators do what scikit-learn's own checks and tools expect, and refuse malformed input with a clear error."""

import importlib
import pickle
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator
from torch import nn

from reviver.errors import ConfigError
from reviver.settings.presets import LSTM_PRESETS
from reviver.sklearn import SequenceClassifier, SequenceRegressor
from reviver.sklearn.fitting import Subset

SMALL: dict[str, Any] = {"hidden_size": 8, "hidden_dropout": 0.0, "max_epochs": 20, "patch_size": 1}
SMALL |= {"learning_rate": 0.03, "early_stopping": False}
"""Parameters with which a fit takes little time."""
STOPPING = SMALL | {"early_stopping": True}

EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": "repeated samples are in other batches than one of twice the weight",
    "check_methods_subset_invariance": "float32 products depend on the batch size by 2e-7, and the check allows 1e-7",
}
"""The checks that the estimators do not pass everywhere, with the reasons."""


CHECKS = [
    *estimator_checks_generator(
        SequenceClassifier(**SMALL | {"max_epochs": 8}), expected_failed_checks=EXPECTED_FAILURES, mark="xfail"
    ),
    *(
        (estimator, check)
        for estimator, check in estimator_checks_generator(SequenceRegressor(**SMALL | {"max_epochs": 14}))
        if "regressor" in str(check)
    ),
]
"""All checks of the classifier, and those of a regressor; the rest runs the same code."""


@pytest.mark.parametrize(("estimator", "check"), CHECKS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def classes_of(num: int = 40, steps: int = 12, channels: int = 2, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return sequences [N, T, I] that rise in the first channel if their label is "up", and fall otherwise."""
    rng = np.random.default_rng(seed)
    y = np.array(["down", "up"])[np.arange(num) % 2]
    X = rng.normal(scale=0.5, size=(num, steps, channels))
    X[:, :, 0] += np.where(y == "up", 1.0, -1.0)[:, None] * np.linspace(-1, 1, steps)
    return 100 + 10 * X, y


def ragged(X: NDArray[Any], seed: int = 1) -> list[NDArray[Any]]:
    """Return sequences [N, T, I] cut to different lengths, at least half of T."""
    lengths = np.random.default_rng(seed).integers(X.shape[1] // 2, X.shape[1] + 1, size=len(X))
    return [sequence[:length] for sequence, length in zip(X, lengths, strict=True)]


GOOD, GOOD_Y = classes_of()
TABLE = GOOD[:, :, 0]


@pytest.fixture(scope="module")
def fitted() -> SequenceClassifier:
    return SequenceClassifier(**SMALL, random_state=0).fit(ragged(GOOD), GOOD_Y)


# Input


def test_every_layout_of_the_same_sequences_gives_the_same_result() -> None:
    X = TABLE[:, :, None]
    layouts: dict[str, tuple[Any, bool]] = {
        "table": (TABLE, False),
        "table as nested list": (TABLE.tolist(), False),
        "table in Fortran order, beside channels first": (np.asfortranarray(TABLE), True),
        "array": (X, False),
        "channels first": (X.transpose(0, 2, 1), True),
        "list of [T]": (list(TABLE), False),
        "tuple of [I, T]": (tuple(x.T for x in X), True),
        "list of tensors [T, I]": ([torch.tensor(x) for x in X], False),
    }
    results = []
    for name, (data, channels_first) in layouts.items():
        parameters = SMALL | {"max_epochs": 2, "channels_first": channels_first, "random_state": 0}
        estimator = SequenceClassifier(**parameters).fit(data, GOOD_Y)
        results.append(estimator.predict_proba(data))
        np.testing.assert_array_equal(results[-1], results[0], err_msg=name)
        assert estimator.n_channels_in_ == 1, name
        assert estimator.n_steps_in_ == (12 if "table" in name else None), name


def test_predictions_depend_neither_on_other_sequences_nor_on_their_number(fitted: SequenceClassifier) -> None:
    X = ragged(classes_of(seed=4)[0])
    expected = fitted.decision_function(X)
    for size in (1, 7):
        parts = [fitted.decision_function(X[start : start + size]) for start in range(0, len(X), size)]
        np.testing.assert_allclose(np.concatenate(parts), expected, rtol=1e-5, atol=1e-5)


def test_outputs_are_those_of_torch_on_standardized_sequences() -> None:
    estimator = SequenceClassifier(**SMALL, random_state=0, pooling="last", bidirectional=False).fit(GOOD, GOOD_Y)
    standardized = StandardScaler().fit_transform(GOOD.reshape(-1, 2)).reshape(GOOD.shape)
    network = estimator.network_
    with torch.no_grad():
        _, (h, _) = network.lstm.to_torch()(torch.tensor(standardized, dtype=torch.float32))
        probabilities = (h[-1] @ network.W_out.T + network.b_out).softmax(1)
    np.testing.assert_allclose(estimator.predict_proba(GOOD), probabilities.numpy(), atol=1e-5)
    np.testing.assert_allclose(np.exp(estimator.predict_log_proba(GOOD)), estimator.predict_proba(GOOD))
    odds = (probabilities[:, 1] / probabilities[:, 0]).log().numpy()
    np.testing.assert_allclose(estimator.decision_function(GOOD), odds, atol=1e-4)
    assert estimator.predict(GOOD).tolist() == np.where(odds > 0, "up", "down").tolist()
    far = clone(estimator).fit(GOOD + 2**30, GOOD_Y)  # offsets are subtracted before rounding to float32
    np.testing.assert_allclose(far.predict_proba(GOOD + 2**30), estimator.predict_proba(GOOD), atol=1e-3)


# Training


def test_the_estimators_learn_new_sequences_in_the_units_of_the_target(fitted: SequenceClassifier) -> None:
    X, y = classes_of(seed=5)
    assert fitted.score(ragged(X), y) > 0.95
    X, _ = classes_of(num=80)
    numbers = X[:, :, 0].mean(axis=1)
    base = SequenceRegressor(**SMALL, random_state=0).fit(X[:60], numbers[:60])
    assert base.score(X[60:], numbers[60:]) > 0.8
    scaled = SequenceRegressor(**SMALL, random_state=0).fit(X[:60], 1000 * numbers[:60] - 5e6)
    np.testing.assert_allclose(scaled.predict(X), 1000 * base.predict(X) - 5e6, rtol=1e-3)
    constant = SequenceRegressor(**STOPPING, random_state=0).fit(X, np.full(len(X), 7.5))
    np.testing.assert_allclose(constant.predict(X), 7.5, atol=0.5)
    assert {record["validation_score"] for record in constant.history_} == {0.0}


def test_the_same_random_state_gives_the_same_weights_and_torch_is_left_alone() -> None:
    options = STOPPING | {"hidden_dropout": 0.2, "dropout": 0.1, "num_layers": 2, "max_epochs": 5}
    results = []
    for seed, state in enumerate((3, np.int64(3), np.random.RandomState(3), 4)):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        estimator = SequenceClassifier(**options, random_state=state).fit(GOOD, GOOD_Y)
        results.append(estimator.decision_function(GOOD))
        assert torch.equal(torch.get_rng_state(), before)
    for other in results[1:3]:
        np.testing.assert_array_equal(other, results[0])
    assert not np.array_equal(results[3], results[0])


@pytest.mark.parametrize("estimator_class", [SequenceClassifier, SequenceRegressor])
def test_early_stopping_keeps_the_best_epoch(estimator_class: Any, capsys: pytest.CaptureFixture[str]) -> None:
    y = GOOD_Y if estimator_class is SequenceClassifier else GOOD[:, -1, 1]
    options = STOPPING | {"max_epochs": 300, "patience": 3, "validation_fraction": 0.2}
    options |= {"pooling": "max"}  # its validation loss stops falling
    stopped = estimator_class(**options, random_state=0).fit(GOOD, y)
    ranks = [(record["validation_score"], -record["validation_loss"]) for record in stopped.history_]
    scores = [score for score, _ in ranks]
    assert stopped.n_iter_ == len(ranks) == ranks.index(max(ranks)) + 1 + 3 < 300
    assert stopped.best_epoch_ == max(epoch for epoch, score in enumerate(scores, 1) if score == max(scores))
    again = estimator_class(**options | {"max_epochs": stopped.best_epoch_}, random_state=0, verbose=1).fit(GOOD, y)
    np.testing.assert_array_equal(again.predict(GOOD), stopped.predict(GOOD))
    assert capsys.readouterr().out.count("epoch ") == again.n_iter_


def test_the_validation_part_is_stratified_and_not_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[Subset] = []

    def record(estimator: Any, train: Subset, validation: Subset, *options: Any) -> None:
        parts.extend([train, validation])
        raise InterruptedError

    monkeypatch.setattr("reviver.sklearn.base.train_network", record)
    y = np.array([0] * 60 + [1] * 30 + [2] * 10)
    with pytest.raises(InterruptedError):
        SequenceClassifier(validation_fraction=0.2, random_state=0).fit(classes_of(num=100)[0], y)
    (train, _), (validation, _) = parts
    assert torch.bincount(validation.targets).tolist() == [12, 6, 2]
    assert torch.bincount(train.targets).tolist() == [48, 24, 8]
    values = train.x.flatten(0, 1).double()
    torch.testing.assert_close(values.mean(0), torch.zeros(2, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(values.std(0, correction=0), torch.ones(2, dtype=torch.float64), atol=1e-6, rtol=0)
    assert not (train.x[:, None] == validation.x[None]).all(-1).all(-1).any()


def test_class_weights_are_weights_of_the_samples() -> None:
    y = np.where(np.arange(40) < 26, "up", GOOD_Y)
    up = (y == "up").mean()
    dictionary = {"up": 0.5 / up, "down": 0.5 / (1 - up)}
    estimator = SequenceClassifier(**SMALL, random_state=0)
    expected = clone(estimator).fit(GOOD, y, sample_weight=[dictionary[label] for label in y]).predict_proba(GOOD)
    for class_weight in ("balanced", dictionary):
        weighted = clone(estimator).set_params(class_weight=class_weight).fit(GOOD, y)
        np.testing.assert_allclose(weighted.predict_proba(GOOD), expected, atol=1e-5)
    assert not np.allclose(estimator.fit(GOOD, y).predict_proba(GOOD), expected, atol=1e-3)


@pytest.mark.parametrize(("estimator_class", "y"), [(SequenceClassifier, GOOD_Y), (SequenceRegressor, GOOD[:, -1, 1])])
def test_a_weight_of_zero_leaves_a_sample_out_and_the_validation_score_is_weighted_as_by_scikit_learn(
    estimator_class: Any, y: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = np.where(np.isin(np.arange(40), [0, 5, 7]), 0.0, 1.0)
    estimator = estimator_class(**STOPPING | {"max_epochs": 5}, random_state=0)
    weighted = clone(estimator).fit(GOOD, y, sample_weight=weight)
    removed = clone(estimator).fit(GOOD[weight > 0], y[weight > 0])
    np.testing.assert_array_equal(weighted.predict(GOOD), removed.predict(GOOD))
    assert weighted.history_ == removed.history_
    weight, rows = np.linspace(0.1, 2, 40), torch.arange(0, 40, 3)
    monkeypatch.setattr("reviver.sklearn.base._split", lambda *_: (torch.arange(40), rows))
    fitted = estimator_class(**STOPPING | {"max_epochs": 1}, random_state=0).fit(GOOD, y, sample_weight=weight)
    expected = fitted.score(GOOD[rows], y[rows], sample_weight=weight[rows])
    assert fitted.history_[0]["validation_score"] == pytest.approx(expected, rel=1e-4)
    fitted = estimator_class(**STOPPING, random_state=0).fit(GOOD, y, sample_weight=weight)
    best = max(record["validation_score"] for record in fitted.history_)
    assert best == 1 if estimator_class is SequenceClassifier else best < 1


def test_the_defaults_are_those_of_the_preset_series() -> None:
    preset = asdict(LSTM_PRESETS["series"])
    preset |= {"max_epochs": preset["epochs"], "validation_fraction": pytest.approx(1 - preset["train_fraction"])}
    parameters, regressor = SequenceClassifier().get_params(), SequenceRegressor().get_params()
    shared = parameters.keys() & preset.keys()
    assert shared >= {"hidden_size", "pooling", "patch_size", "batch_size", "learning_rate", "patience", "max_epochs"}
    assert {name: parameters[name] for name in shared} == {name: preset[name] for name in shared}
    differing = {"pooling": "mean", "hidden_dropout": 0.0}  # SequenceRegressor gives the reason
    assert {name: regressor[name] for name in shared} == {name: preset[name] for name in shared} | differing


# Pickles


def test_a_text_is_trained_and_saved(tmp_path: Path) -> None:
    path = tmp_path / "mine.cell"
    path.write_text("h = tanh(W_h @ x + U_h @ h + b_h)  # hidden state")
    estimator = SequenceClassifier(**STOPPING | {"cell": str(path), "random_state": 0}).fit(GOOD, GOOD_Y)
    assert (estimator.network_.pooling, estimator.network_.rnn.num_directions) == ("last", 2)
    saved = pickle.dumps(estimator)
    path.unlink()
    np.testing.assert_array_equal(pickle.loads(saved).predict_proba(GOOD), estimator.predict_proba(GOOD))


def test_a_cell_of_a_class_is_trained_and_saved() -> None:
    cell = nn.LSTMCell
    options = STOPPING | {"cell": cell, "random_state": 0}
    estimator = SequenceClassifier(**options).fit(GOOD, GOOD_Y)
    assert isinstance(estimator.network_.layers.cells[0], cell)
    saved = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(saved.predict_proba(GOOD), estimator.predict_proba(GOOD))
    with pytest.raises(ConfigError, match="cell supports only bidirectional=False, pooling='last' and patch_size=1"):
        SequenceClassifier(cell=cell, pooling="max").fit(GOOD, GOOD_Y)


# Malformed input


def _with(X: NDArray[Any], value: float) -> NDArray[Any]:
    X = X.copy()
    X[3, 5] = value
    return X


BAD_X: list[tuple[Any, type[Exception], str]] = [
    (_with(GOOD, np.nan), ValueError, "Input X contains NaN"),
    ([np.ones(2), np.array([np.nan, 1])], ValueError, "Input X contains NaN"),
    (list(_with(TABLE, -np.inf)), ValueError, "Input X contains infinity"),
    ([*TABLE[1:], np.array(["a", "b"])], ValueError, "arrays of bytes/strings"),
    (np.empty((40, 0, 2)), ValueError, r"with a step and a channel, got shape \(40, 0, 2\)"),
    (GOOD[..., None], ValueError, r"X must be \[N, T\] or \[N, T, I\] .*got shape"),
    ([np.ones((3, 2)), np.ones((3, 4))], ValueError, r"X\[1\] has 4 channels.*channels_first=True"),
    ([np.ones((3, 2)), np.ones((0, 2))], ValueError, r"X\[1\] must be an array of steps.*shape \(0, 2\)"),
]
BAD_FITS: list[tuple[Any, dict[str, Any], str]] = [
    (["up"] * 40, {}, "at least 2 classes in y, got one class: 'up'"),
    (["up", None] * 20, {}, "y must have labels of one type, none of them missing"),
    (GOOD_Y, {"sample_weight": -np.ones(40)}, "Negative values"),
    (GOOD_Y, {"sample_weight": np.zeros(40)}, "zero"),
]


def test_malformed_sequences_labels_targets_and_weights_are_refused(fitted: SequenceClassifier) -> None:
    for X, error, match in BAD_X:
        for method in (fitted.predict, lambda X: SequenceClassifier(**SMALL).fit(X, GOOD_Y)):
            with pytest.raises(error, match=match):
                method(X)
    for y, options, match in BAD_FITS:
        with pytest.raises(ValueError, match=match):
            SequenceClassifier(**SMALL).fit(GOOD, y, **options)
    with pytest.raises(ValueError, match=r"X has 9 channels per step, but Sequence.* is .*check channels_first"):
        fitted.predict(np.ones((4, 2, 9)))


class Smoothed(SequenceClassifier):
    def __init__(self, width: int = 3) -> None:
        super().__init__(**SMALL)
        self.width = width


def test_every_parameter_is_checked_in_fit_but_those_of_a_subclass() -> None:
    assert clone(Smoothed(width=5)).fit(GOOD, GOOD_Y).get_params() == {"width": 5}
    parameters = SequenceClassifier().get_params()
    assert parameters.keys() - {"class_weight"} == SequenceRegressor().get_params().keys()
    wrong: list[tuple[str, Any, str]] = [(name, [5], name) for name in parameters.keys() - {"random_state"}]
    wrong += [("random_state", "seed", "'seed' cannot be used to seed"), ("device", "tpu", "must be one of auto")]
    wrong += [("validation_fraction", 1.0, "must be less than 1"), ("class_weight", {"up": "heavy"}, "heavy")]
    for name, value, problem in wrong:
        with pytest.raises(ValueError, match=problem):
            SequenceClassifier(**SMALL | {name: value}).fit(GOOD, GOOD_Y)


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(ValueError, match=r"early_stopping needs 2 samples of a class.*no class has two"):
        SequenceClassifier(**STOPPING).fit(GOOD[:2], GOOD_Y[:2])
    for kind, y in ((SequenceClassifier, GOOD_Y), (SequenceRegressor, GOOD[:, 0, 0])):
        with pytest.raises(ValueError, match=r"training diverged.*lower learning_rate"):
            kind(**SMALL | {"learning_rate": 1e36, "max_norm": 1e30}).fit(GOOD, y)


def test_without_scikit_learn_an_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "reviver.sklearn")
    problem = "^reviver.sklearn needs scikit-learn, which is not installed; pip install scikit-learn$"
    with pytest.raises(ImportError, match=problem):
        importlib.import_module("reviver.sklearn")
