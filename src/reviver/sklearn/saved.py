"""Files of fitted estimators: one safetensors file, with a JSON record in its header.

Nothing is unpickled, and every value is checked before it is used.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator
from safetensors.torch import save_file
from torch import Tensor

from reviver.config import Count, Positive
from reviver.errors import DataError
from reviver.io.atomic import atomic_write
from reviver.io.json import parse_json
from reviver.io.tensors import read_header, read_tensors
from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.tasks.custom.standardisation import Standardisation
from reviver.lstm.tasks.task import TargetKind
from reviver.sklearn.network import Architecture, check_shapes, trained_network
from reviver.text import one_line, short_repr
from reviver.validation import Record, find_problem

METADATA_KEY = "reviver.sklearn"
"""Key of the record in the metadata of the file."""

LABEL_KINDS = {"b": "bool", "i": "int64", "u": "uint64", "f": "float64", "U": "str", "O": "object"}
"""Type of class labels in a file, by numpy's kind of dtype."""


class Labels(Record):
    """Class labels, an array of numpy."""

    dtype: Literal["bool", "int64", "uint64", "float64", "str", "object"]
    values: Annotated[list[bool | int | float | str], Field(min_length=2)]

    @classmethod
    def from_array(cls, labels: NDArray[Any]) -> Self:
        """Return the record of class labels.

        Raises:
            ValueError: if a label is neither text nor a number.
        """
        values = labels.tolist()
        for value in values:
            if not isinstance(value, (bool, int, float, str)):
                raise ValueError(f"class labels must be text or numbers to be saved, got {short_repr(value)}")
        return cls(dtype=LABEL_KINDS[labels.dtype.kind], values=values)  # type: ignore[arg-type]

    def to_array(self) -> NDArray[Any]:
        """Return the labels as an array.

        Raises:
            ValueError: if they are not sorted, not distinct, or not of their dtype.
        """
        array = np.array(self.values, dtype=self.dtype)
        if array.tolist() != self.values or not np.array_equal(np.unique(array), array):
            raise ValueError("classes must be distinct, sorted and of their dtype")
        return array


class SavedEstimator(Record):
    """Record of a fitted estimator."""

    version: Literal[1] = 1
    target: Literal["class", "number"]
    """Kind of estimator: "class" for a classifier, "number" for a regressor."""
    parameters: dict[str, Any]
    """Parameters of the estimator; `class_weight` as a list of pairs if it is a dict."""
    architecture: Architecture
    standardisation: Standardisation
    classes: Labels | None = None
    target_mean: float = 0.0
    target_scale: Positive = 1.0
    history: Annotated[list[dict[str, int | float]], Field(min_length=1)]
    best_epoch: Count
    n_channels_in: Count
    n_steps_in: Count | None
    n_features_in: Count
    feature_names_in: list[str] | None = None

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        outputs = 1 if self.target == "number" else len(self.classes.values) if self.classes else 0
        channels = self.n_channels_in
        if self.architecture.num_classes != outputs:
            raise ValueError(f"has {self.architecture.num_classes} outputs for {outputs} classes or numbers")
        if not self.architecture.input_size == len(self.standardisation.mean) == channels:
            raise ValueError(f"has {channels} channels, and other parts have another number")
        names = self.feature_names_in
        if names is not None and len(names) != self.n_features_in:
            raise ValueError(f"has {len(names)} feature names for {self.n_features_in} features")
        return self


class LoadedEstimator(NamedTuple):
    """Content of a file."""

    record: SavedEstimator
    classes: NDArray[Any] | None
    parameters: dict[str, Any]
    network: LSTMClassifier


def write_estimator(path: Path, record: SavedEstimator, weights: dict[str, Tensor]) -> None:
    """Write a fitted estimator.

    Raises:
        ValueError: if a parameter cannot be written as JSON.
        RunFolderError: if the file cannot be written.
    """
    try:
        text = json.dumps(record.model_dump(mode="json"), ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"the parameters cannot be saved ({one_line(error)}); give text and numbers") from error
    with atomic_write(path) as temporary:
        save_file(weights, temporary, metadata={METADATA_KEY: text})


def read_estimator(path: Path, target: TargetKind, names: tuple[str, ...]) -> LoadedEstimator:
    """Return the fitted estimator in a file that is not trusted.

    Args:
        path: the file.
        target: "class" or "number".
        names: names of the estimator's parameters.

    Raises:
        OSError: if the file does not exist, or is not a regular file.
        DataError: if it is damaged, or holds another kind of estimator.
    """
    try:
        header = read_header(path)
        if METADATA_KEY not in header.metadata:
            raise ValueError("it has no record of an estimator")
        record = SavedEstimator.model_validate(parse_json(header.metadata[METADATA_KEY].encode()))
        if record.target != target:
            raise ValueError(f"it holds a {'regressor' if record.target == 'number' else 'classifier'}")
        if set(record.parameters) != set(names):
            wrong = min(set(record.parameters) ^ set(names))
            raise ValueError(
                f"its parameter {short_repr(wrong)} is {'unknown' if wrong in record.parameters else 'missing'}"
            )
        check_shapes(record.architecture, header.shapes)
        network = trained_network(record.architecture, read_tensors(path))
        classes = None if record.classes is None else record.classes.to_array()
        return LoadedEstimator(record, classes, _decode_parameters(record.parameters), network)
    except ValidationError as error:
        raise DataError(f"{path}: its {find_problem(error)}; restore the file or save the estimator again") from error
    except ValueError as error:
        problem = one_line(error)
        raise DataError(f"{path}: {problem}; give a file that `save` of this estimator wrote") from error


def encode_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return parameters as JSON has them; a random state that is no integer becomes None."""
    result = {name: value.item() if isinstance(value, np.generic) else value for name, value in parameters.items()}
    if isinstance(result["random_state"], np.random.RandomState):
        result["random_state"] = None
    weight = result.get("class_weight")
    if isinstance(weight, dict):
        result["class_weight"] = [
            [key.item() if isinstance(key, np.generic) else key, float(value)] for key, value in weight.items()
        ]
    return result


def _decode_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return parameters as the estimator takes them.

    Raises:
        ValueError: if `random_state` or `class_weight` is malformed; the others are checked with the settings.
    """
    state, weight = parameters["random_state"], parameters.get("class_weight")
    if not (state is None or type(state) is int):
        raise ValueError("random_state must be an integer or null")
    if weight is None or weight == "balanced":
        return parameters
    try:
        pairs = {key: value for key, value in weight if isinstance(key, (str, int, float)) and type(value) is float}
    except (TypeError, ValueError):
        pairs = {}
    if not isinstance(weight, list) or not pairs or len(pairs) != len(weight):
        raise ValueError("class_weight must be null, balanced or a list of pairs")
    return {**parameters, "class_weight": pairs}
