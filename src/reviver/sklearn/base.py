"""What the estimators share: parameters, `fit` up to the training, outputs and pickling.

Shapes: N sequences, T steps of the longest, I channels per step, C outputs.
"""

from dataclasses import asdict, replace
from functools import partial
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted
from torch import Tensor

from reviver.data.sequences.examples import Examples
from reviver.data.sequences.labels import stratified_split
from reviver.data.sequences.standardization import Standardization
from reviver.files.pretrained import build_with_weights
from reviver.runs.devices import choose_device
from reviver.settings.fields import select
from reviver.settings.lstm_network import LSTMClassifierSpec
from reviver.sklearn.inputs import SequenceInput, read_sequences
from reviver.sklearn.training import FitSettings, Part, new_network, predict_outputs, train_network


class SequenceEstimator(BaseEstimator):  # type: ignore[misc]
    """Base of `SequenceClassifier`, which documents the parameters, and `SequenceRegressor`, which has these defaults."""

    _target: Literal["class", "number"]

    def __init__(
        self,
        *,
        hidden_size: int = 128,
        num_layers: int = 1,
        bidirectional: bool = True,
        pooling: str = "mean",
        patch_size: int | str = "auto",
        dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        hidden_dropout_kind: str = "step",
        max_epochs: int = 500,
        batch_size: int = 16,
        learning_rate: float = 2e-3,
        lr_schedule: str = "constant",
        max_norm: float = 1.0,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        patience: int = 200,
        channels_first: bool = False,
        random_state: int | np.random.RandomState | None = None,
        device: str = "cpu",
        verbose: int = 0,
    ) -> None:
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.pooling = pooling
        self.patch_size = patch_size
        self.dropout = dropout
        self.hidden_dropout = hidden_dropout
        self.hidden_dropout_kind = hidden_dropout_kind
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.lr_schedule = lr_schedule
        self.max_norm = max_norm
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.channels_first = channels_first
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "network_" in state:
            weights = self.network_.state_dict()
            state["network_"] = tensors_to_bytes({name: tensor.cpu().contiguous() for name, tensor in weights.items()})
            state["architecture_"] = asdict(self.architecture_)
            state["standardization_"] = self.standardization_.model_dump()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if "network_" in state:
            state["architecture_"] = spec = LSTMClassifierSpec(**state["architecture_"])
            state["standardization_"] = Standardization.model_validate(state["standardization_"])
            weights = tensors_from_bytes(state["network_"])
            shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
            build = partial(new_network, spec)
            state["network_"] = build_with_weights(
                build, shapes, lambda: weights, num_layers=spec.num_layers, origin="architecture_"
            ).eval()
        super().__setstate__(state)

    def _settings(self) -> FitSettings:
        """Return the checked parameters; numbers of numpy become those of Python."""
        values = self.get_params(deep=False).items()
        parameters = SimpleNamespace(
            **{name: value.item() if isinstance(value, np.generic) else value for name, value in values}
        )
        network = select(LSTMClassifierSpec, parameters, input_size=1, num_classes=1, patch_size=1)
        return select(FitSettings, parameters, network=network)

    def _read_fit_input(self, X: Any, y: Any, settings: FitSettings) -> SequenceInput:
        """Return the sequences X, one for each entry of y."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        data = read_sequences(self, X, channels_first=settings.channels_first, reset=True)
        check_consistent_length(data.x, y)
        return data

    def _read_weights(self, sample_weight: Any, data: SequenceInput) -> NDArray[np.float64]:
        """Return the weight of each sequence, [N]."""
        weights: NDArray[np.float64] = _check_sample_weight(sample_weight, data.x.numpy(), dtype=np.float64)
        if (weights < 0).any():
            raise ValueError(f"sample_weight must be at least 0, got {weights.min():g}")
        if not (weights > 0).any():
            raise ValueError("sample_weight must have a weight that is not zero")
        return weights

    def _fit_network(
        self,
        data: SequenceInput,
        targets: NDArray[Any],
        weights: NDArray[np.float64],
        *,
        num_outputs: int,
        settings: FitSettings,
    ) -> None:
        """Train on sequences with weights that are not zero, and set the attributes of the result.

        Args:
            data: sequences.
            targets: class indices [N] int64, or numbers [N] float64, which are standardized here.
            weights: weight of each sequence in the loss, [N].
            num_outputs: C.
            settings: checked parameters.
        """
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        strata = targets if self._target == "class" else np.zeros(len(targets))
        train_rows, validation_rows = _split(strata, settings, seed)
        try:
            self.standardization_ = Standardization.fit(data.x[train_rows], data.lengths[train_rows])
        except ValidationError as error:  # the squares of numbers below 1e-154 are 0
            raise ValueError("the values of X are too small to be standardized; multiply them by a constant") from error
        inputs = self.standardization_.apply(data.x, data.lengths).float()
        examples = Examples(inputs, data.lengths, self._encode_targets(targets, train_rows))

        def part(rows: Tensor) -> Part:
            chosen = torch.from_numpy(weights)[rows]
            is_equal = bool((chosen == chosen[0]).all())
            return Part(examples[rows], None if is_equal else (chosen / chosen.mean()).float())

        self.architecture_ = replace(
            settings.network,
            input_size=data.x.shape[2],
            num_classes=num_outputs,
            patch_size=settings.patch_size_for(int(data.lengths.max())),
        )
        fitted = train_network(
            self.architecture_,
            part(train_rows),
            None if validation_rows is None else part(validation_rows),
            target=self._target,
            settings=settings,
            seed=seed,
            score=self._score_outputs,
            log=(lambda text: print(f"[{type(self).__name__}] {text}")) if settings.verbose else None,  # noqa: T201
        )
        self.network_ = fitted.network
        self.history_ = fitted.history
        self.n_iter_ = len(fitted.history)
        self.best_epoch_ = fitted.best_epoch

    def _encode_targets(self, targets: NDArray[Any], train_rows: Tensor) -> Tensor:
        """Return the targets as the network is trained on them."""
        raise NotImplementedError

    def _score_outputs(self, outputs: Tensor, part: Part) -> float:
        """Return the score of the outputs of the network for a part."""
        raise NotImplementedError

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        """Return the outputs of the network for X, [N, C]."""
        check_is_fitted(self)
        data = read_sequences(self, X, channels_first=self.channels_first, reset=False)
        inputs = self.standardization_.apply(data.x, data.lengths).float()
        examples = Examples(inputs, data.lengths, torch.zeros(len(inputs)))
        return predict_outputs(self.network_.to(choose_device(self.device)), examples).numpy()


def _split(strata: NDArray[Any], settings: FitSettings, seed: int) -> tuple[Tensor, Tensor | None]:
    """Return the rows of the training part and, with early stopping, of the validation part."""
    if not settings.early_stopping:
        return torch.arange(len(strata)), None
    names = [str(value) for value in strata.tolist()]
    if len(set(names)) == len(names):
        found = "no class has two" if len(names) > 1 else "got 1 sample"
        raise ValueError(
            f"early_stopping needs at least 2 samples of a class, one of them for validation, and {found}; "
            "give more samples or early_stopping=False"
        )
    return stratified_split(names, 1 - settings.validation_fraction, seed)
