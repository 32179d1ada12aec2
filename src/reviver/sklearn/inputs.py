"""Reading of the sequences X that a user gives to an estimator.

Shapes: N sequences, T steps of the longest, I channels per step.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, validate_data
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from reviver.data.sequences.examples import Examples
from reviver.settings.validation import refuse


def read_sequences(estimator: BaseEstimator, X: Any, *, channels_first: bool, reset: bool) -> Examples:
    """Return the sequences X, a table [N, T], an array [N, T, I], or a list of N arrays [T_n] or [T_n, I], with targets 0.

    With `channels_first`, an array is [N, I, T], and an item of a list [I, T_n]. In `fit`, `reset` sets the attributes
    `n_features_in_`, `n_steps_in_`, `n_channels_in_` and, for a data frame, `feature_names_in_` of the estimator; otherwise
    X is compared with them. Another X is a ValueError, or a TypeError if it is sparse.
    """
    is_list = isinstance(X, (list, tuple)) or (isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1)
    # numpy makes an array of a list of lists of numbers
    if is_list and any(hasattr(item, "__array__") and np.ndim(item) > 0 for item in X):
        is_table, (x, lengths) = False, _read_list(X, channels_first)
    else:
        is_table = (X if hasattr(X, "ndim") else np.asarray(X)).ndim < 3
        if is_table:
            values = _read_table(estimator, X, reset)
        else:
            values = check_array(X, dtype="numeric", allow_nd=True, input_name="X")
            if values.ndim != 3 or 0 in values.shape:
                raise ValueError(f"X must be [N, T] or [N, T, I] with a step and a channel, got shape {values.shape}")
            values = values.transpose(0, 2, 1) if channels_first else values
        x = torch.from_numpy(_as_float(values))
        lengths = torch.full((len(x),), x.shape[1])
    channels = x.shape[2]
    if reset:
        estimator.n_channels_in_ = channels
        estimator.n_steps_in_ = x.shape[1] if is_table else None
        if not is_table:
            estimator.n_features_in_ = channels
            if hasattr(estimator, "feature_names_in_"):  # of a data frame that it was fitted on before
                del estimator.feature_names_in_
    elif channels != estimator.n_channels_in_:
        expected = f"{type(estimator).__name__} is expecting {estimator.n_channels_in_}"
        raise ValueError(f"X has {channels} channels per step, but {expected}; check channels_first")
    return Examples(x, lengths, torch.zeros(len(x)))


def _read_table(estimator: BaseEstimator, X: Any, reset: bool) -> NDArray[Any]:
    """Return the rows of X [N, T] as sequences of one channel [N, T, 1], all of the same length as in `fit`."""
    if reset or estimator.n_steps_in_ is not None:
        values = validate_data(estimator, X, reset=reset, dtype="numeric")
    else:  # fitted on sequences of any length
        values = check_array(X, dtype="numeric", estimator=estimator, input_name="X")
    table: NDArray[Any] = values[:, :, None]
    return table


def _read_list(X: Sequence[Any], channels_first: bool) -> tuple[Tensor, Tensor]:
    """Return a list of N arrays [T_n] or [T_n, I], padded with 0, and their lengths [N]."""
    arrays: list[NDArray[Any]] = []  # [T_n, I]
    for index, item in enumerate(X):
        array = np.asarray(item)
        if array.ndim not in (1, 2) or array.size == 0:
            refuse(f"X[{index}]", f"must be an array of steps, [T_n] or [T_n, I], got one of shape {array.shape}")
        arrays.append(array[:, None] if array.ndim == 1 else (array.T if channels_first else array))
        if arrays[-1].shape[1] != arrays[0].shape[1]:
            hint = "" if channels_first else "; arrays of channels first need channels_first=True"
            found = f"has {arrays[-1].shape[1]} channels per step and X[0] has {arrays[0].shape[1]}"
            refuse(f"X[{index}]", f"{found}; all sequences need the same channels{hint}")
    lengths = [len(array) for array in arrays]
    flat = torch.from_numpy(_as_float(check_array(np.concatenate(arrays), dtype="numeric", input_name="X")))
    return pad_sequence(flat.split(lengths), batch_first=True), torch.tensor(lengths)


def _as_float(values: NDArray[Any]) -> NDArray[Any]:
    """Return numbers as a new, contiguous array of float32 if they are float32, else float64."""
    dtype = np.float32 if values.dtype == np.float32 else np.float64
    return np.array(values, dtype=dtype, order="C", copy=True)
