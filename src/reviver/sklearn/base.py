"""What the estimators share: `fit` up to the training, and outputs.

Shapes: N sequences, T steps of the longest, I channels per step, C outputs.
"""

from dataclasses import replace
from typing import Any, ClassVar, Literal, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)
from torch import Tensor

from reviver.data.sequences.examples import Examples
from reviver.data.sequences.labels import stratified_split
from reviver.data.sequences.standardization import Standardization
from reviver.launch import choose_device
from reviver.rng import seeding_default_rngs
from reviver.settings.fields import select
from reviver.settings.lstm_network import LSTMClassifierSpec, auto_patch_size
from reviver.settings.validation import check
from reviver.sklearn.fitting import PLAIN, Parameters, Subset, parameter_class, train_network
from reviver.sklearn.inputs import read_sequences
from reviver.train.lstm.scoring import compute_logits


@parameter_class
class SequenceEstimator(Parameters, BaseEstimator):  # type: ignore[misc]
    """Base of `SequenceClassifier`, which documents the parameters, and `SequenceRegressor`, which has these defaults."""

    _target: ClassVar[Literal["class", "number"]]
    _score_outputs: ClassVar[Any]
    """Method that returns the score of outputs of the network, a tensor, for a part, a `Subset`."""

    def _checked(self) -> Parameters:
        """Return the checked parameters, without those that a subclass adds; numbers of numpy become those of Python."""
        kinds = get_type_hints(Parameters, include_extras=True)
        values: dict[str, Any] = {name: getattr(self, name) for name in kinds}
        values = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
        for name, kind in kinds.items():
            check(name, values[name], kind)
        choose_device(values["device"])
        return Parameters(**values)

    def _read_fit_input(
        self, X: Any, y: Any, sample_weight: Any, dtype: str | None
    ) -> tuple[Examples, NDArray[Any], NDArray[np.float64]]:
        """Return the sequences X whose weight is not zero, y of each, [N], and the weights, [N]."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        data = read_sequences(self, X, channels_first=self.channels_first, reset=True)
        check_consistent_length(data.x, y)
        weights: NDArray[np.float64] = _check_sample_weight(
            sample_weight, data.x.numpy(), dtype=np.float64, ensure_non_negative=True
        )
        used = weights > 0
        if not used.any():
            raise ValueError("sample_weight must have a weight that is not zero")
        targets = column_or_1d(check_array(y, ensure_2d=False, dtype=dtype, input_name="y"), warn=True)
        return data[torch.from_numpy(used)], targets[used], weights[used]

    def _fit_network(
        self,
        data: Examples,
        targets: NDArray[Any],
        weights: NDArray[np.float64],
        parameters: Parameters,
        num_outputs: int,
    ) -> None:
        """Train, and set the attributes of the result; the targets are class indices [N] int64, or numbers [N] float64."""
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        strata = targets if self._target == "class" else np.zeros(len(targets))
        train_rows, validation_rows = _split(strata, parameters, seed)
        self.standardization_ = Standardization.fit(data.x[train_rows], data.lengths[train_rows])
        examples = replace(self._standardize(data), targets=self._encode_targets(targets, train_rows))

        def part(rows: Tensor) -> Subset:
            chosen = torch.from_numpy(weights)[rows]
            is_equal = bool((chosen == chosen[0]).all())
            return Subset(examples[rows], None if is_equal else (chosen / chosen.mean()).float())

        longest, patch_size = int(data.lengths.max()), parameters.patch_size
        plain: dict[str, Any] = {}
        if isinstance(parameters.cell, type):  # these are defaults of texts
            plain = {name: value for name, value in PLAIN.items() if getattr(self, name) == getattr(type(self), name)}
            patch_size = plain.pop("patch_size", patch_size)
        self.architecture_ = select(
            LSTMClassifierSpec,
            parameters,
            **plain,
            input_size=data.x.shape[2],
            num_classes=num_outputs,
            patch_size=auto_patch_size(longest) if patch_size == "auto" else min(patch_size, longest),
        )
        with seeding_default_rngs(seed, choose_device(parameters.device)):  # for user-defined cells
            validation = None if validation_rows is None else part(validation_rows)
            found = train_network(self, part(train_rows), validation, parameters, seed)
        self.network_, self.history_, self.best_epoch_ = found
        self.n_iter_ = len(self.history_)

    def _encode_targets(self, targets: NDArray[Any], train_rows: Tensor) -> Tensor:
        return torch.from_numpy(targets)

    def _standardize(self, data: Examples) -> Examples:
        return replace(data, x=self.standardization_.apply(data.x, data.lengths).float())

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        """Return the outputs of the network for X, [N, C]."""
        check_is_fitted(self)
        data = read_sequences(self, X, channels_first=self.channels_first, reset=False)
        network = self.network_.to(choose_device(self.device))
        return compute_logits(network, self._standardize(data)).double().numpy()


def _split(strata: NDArray[Any], parameters: Parameters, seed: int) -> tuple[Tensor, Tensor | None]:
    """Return the rows of the training part and, with early stopping, of the validation part."""
    if not parameters.early_stopping:
        return torch.arange(len(strata)), None
    names = [str(value) for value in strata.tolist()]
    if len(set(names)) == len(names):
        found = "no class has two" if len(names) > 1 else "got 1 sample"
        raise ValueError(f"early_stopping needs 2 samples of a class, and {found}; give more or early_stopping=False")
    numbers: dict[str, int] = {}  # in the order in which the classes come, which the random split depends on
    classes = torch.tensor([numbers.setdefault(name, len(numbers)) for name in names])
    return stratified_split(classes, 1 - parameters.validation_fraction, seed)
