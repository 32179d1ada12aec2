"""The classifier of sequences."""

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor

from reviver.settings.fields import Probability
from reviver.settings.lstm_network import Pooling
from reviver.sklearn.base import SequenceEstimator
from reviver.sklearn.fitting import Subset, parameter_class
from reviver.text import one_line, short_repr


@parameter_class
class SequenceClassifier(ClassifierMixin, SequenceEstimator):  # type: ignore[misc]
    """Classify sequences with an LSTM, as a scikit-learn estimator.

    A channel is standardized with the mean and the standard deviation of the training part. An `LSTMClassifier` is
    trained on it with Adam (Kingma & Ba 2015) and clipped gradients.

    X is one of:

    - a table [N, T]: N sequences of T steps and one channel, such as a data frame with a column per step. `predict`
      then needs tables of the same T;
    - an array [N, T, I]: I channels per step. Another T is allowed in `predict`;
    - a list of N arrays [T_n] or [T_n, I], which may have different lengths.

    Args:
        cell: a built-in cell such as "gru", a text with its equations, or its file; or a class with the contract of torch's
            cells, see `reviver.recurrent.custom_cells`, which reads in one direction and without patches, and has the pooling
            "last": where these three parameters have their defaults, they become that.
        hidden_size: hidden units H per layer and direction.
        num_layers: stacked layers.
        bidirectional: read the sequences in both directions.
        pooling: pooling of the hidden states over time: "last", "mean", "max" or "attention".
        patch_size: number of consecutive steps that enter the LSTM as one; "auto" chooses it by the longest sequence.
        dropout: probability to drop a unit between two layers in training, in [0, 1).
        hidden_dropout: see `reviver.settings.lstm_network.LSTMOptions`.
        hidden_dropout_kind: "step", "variational" or "zoneout".
        max_epochs: maximum passes over the training part.
        batch_size: sequences per update.
        learning_rate: learning rate of Adam.
        lr_schedule: "constant", or "cosine" decay to 0 at `max_epochs`.
        max_norm: maximum norm of the gradient; a larger gradient is scaled down to it.
        early_stopping: hold out a validation part, stop when neither its score nor, at the same score, its loss
            improves, and keep the weights of the last epoch with the best score.
        validation_fraction: fraction of the samples in the validation part, which has the classes in about the
            frequencies of y.
        patience: epochs without improvement before training stops.
        class_weight: weights of the classes in the loss: None for 1, "balanced" for the inverse of their frequencies,
            or a dict from class labels to weights.
        channels_first: arrays are [N, I, T] and items of lists [I, T_n], as in aeon. Tables [N, T] stay.
        random_state: seed of the split, the weights, the order and the dropout masks: an integer for the same result
            in every call. Torch's global random number generator is neither read nor changed.
        device: "cpu", "cuda", "cuda:N", "mps", or "auto" for the first GPU if there is one.
        verbose: print the metrics of every epoch if it is not 0.

    Attributes:
        classes_: labels of the C classes, sorted.
        network_: trained `LSTMClassifier`.
        architecture_: arguments of the network.
        standardization_: mean and standard deviation of each channel.
        history_: metrics of each epoch: `epoch`, `train_loss` and, with early stopping, `validation_loss` and
            `validation_score`, the accuracy.
        n_iter_: number of epochs.
        best_epoch_: epoch that the weights are from, counted from 1.
        n_channels_in_: I.
        n_steps_in_: T if `fit` was given a table, None if sequences may have any length.
        n_features_in_: T if `fit` was given a table, else I.
        feature_names_in_: names of the columns, if `fit` was given a data frame.
    """

    _target = "class"

    pooling: Pooling = "last"
    hidden_dropout: Probability = 0.5
    class_weight: Any = None

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on N sequences X with class labels y [N], text or integers.

        `sample_weight` [N] is the weight of each sequence in the loss; sequences of weight 0 are left out. The
        standardization does not use it.

        Raises:
            ValueError: if a parameter is out of range, X or y is malformed, or y has fewer than two classes.
            TypeError: if X is sparse.
        """
        parameters = self._checked()
        data, labels, weights = self._read_fit_input(X, y, sample_weight, dtype=None)
        try:
            check_classification_targets(labels)
            self.classes_, indices = np.unique(labels, return_inverse=True)
        except TypeError as error:  # they cannot be sorted
            raise ValueError(f"y must have labels of one type, none of them missing ({one_line(error)})") from error
        if len(self.classes_) < 2:
            problem = "needs samples of at least 2 classes in y, got one class"
            raise ValueError(f"{type(self).__name__} {problem}: {short_repr(self.classes_[0].item())}")
        weights *= compute_class_weight(self.class_weight, classes=self.classes_, y=labels)[indices]
        self._fit_network(data, indices.astype(np.int64), weights, parameters, len(self.classes_))
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the logits of X, [N, C]; for two classes those of the second minus those of the first, [N].

        Raises:
            NotFittedError: if the estimator is not fitted.
            ValueError: if X is malformed, or does not have the channels of `fit`.
        """
        logits = self._outputs(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the logarithms of the class probabilities of X, [N, C]; see `decision_function` for errors."""
        return torch.from_numpy(self._outputs(X)).log_softmax(1).numpy()

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the class probabilities of X, [N, C]; see `decision_function` for errors."""
        return torch.from_numpy(self._outputs(X)).softmax(1).numpy()

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class label of each sequence of X, [N]; see `decision_function` for errors."""
        indices = self._outputs(X).argmax(1)  # before classes_, which an unfitted estimator lacks
        labels: NDArray[Any] = self.classes_[indices]
        return labels

    def _score_outputs(self, outputs: Tensor, part: Subset) -> float:
        is_correct = (outputs.argmax(1) == part.examples.targets).double()
        weights = torch.ones_like(is_correct) if part.weights is None else part.weights.double()
        return float((weights * is_correct).sum() / weights.sum())  # at most 1; of rounded weights the mean is not
