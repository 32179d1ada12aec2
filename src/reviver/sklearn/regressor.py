"""The regressor of sequences."""

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from torch import Tensor

from reviver.sklearn.base import SequenceEstimator
from reviver.sklearn.fitting import Subset, parameter_class


@parameter_class
class SequenceRegressor(RegressorMixin, SequenceEstimator):  # type: ignore[misc]
    """Predict a number for each sequence with an LSTM, as a scikit-learn estimator.

    Channels and targets are standardized with the mean and the standard deviation of the training part. The network of
    `LSTMClassifier` with one output is trained on the squared error. Predictions are in the units of y.

    X, the parameters and the attributes are those of `SequenceClassifier`, without `class_weight` and `classes_`. By default
    the pooling is "mean", and `hidden_dropout` is 0: its noise in the hidden states would blur the predicted numbers. The
    score is R².

    Attributes:
        network_: trained `LSTMClassifier` with one output, the standardized target.
        target_mean_: mean of y in the training part.
        target_scale_: standard deviation of y in the training part; 1 if y is constant.
    """

    _target = "number"

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on N sequences X with targets y [N].

        `sample_weight` [N] is the weight of each sequence in the loss; sequences of weight 0 are left out. The
        standardization does not use it.

        Raises:
            ValueError: if a parameter is out of range, or X or y is malformed.
            TypeError: if X is sparse.
        """
        parameters = self._checked()
        data, targets, weights = self._read_fit_input(X, y, sample_weight, dtype="numeric")
        self._fit_network(data, targets.astype(np.float64), weights, parameters, num_outputs=1)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the predicted target of each sequence of X, [N].

        Raises:
            NotFittedError: if the estimator is not fitted.
            ValueError: if X is malformed, or does not have the channels of `fit`.
        """
        result: NDArray[np.float64] = self._outputs(X)[:, 0] * self.target_scale_ + self.target_mean_
        return result

    def _encode_targets(self, targets: NDArray[Any], train_rows: Tensor) -> Tensor:
        train = targets[train_rows.numpy()]
        is_constant = train.min() == train.max()  # by the values: rounding of the mean would give a tiny deviation
        self.target_mean_ = float(train[0] if is_constant else train.mean())
        self.target_scale_ = 1.0 if is_constant else float(train.std())
        return torch.from_numpy((targets - self.target_mean_) / self.target_scale_).float()

    def _score_outputs(self, outputs: Tensor, part: Subset) -> float:
        """Return R² of the outputs; 0 if the targets are constant."""
        targets = part.examples.targets.double()
        weights = torch.ones_like(targets) if part.weights is None else part.weights.double()
        mean = (weights * targets).sum() / weights.sum()
        total = (weights * (targets - mean).square()).sum()
        residual = (weights * (targets - outputs[:, 0]).square()).sum()
        return float(1 - residual / total) if total > 0 else 0.0
