"""What describes a recurrent network: its options, and the arguments of each class as a frozen spec.

This module does not import torch, which the help of a command must not load.
"""

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import PlainValidator

from reviver.settings.fields import Count, CountOrZero, Precision, Probability, Text
from reviver.settings.validation import MAX_INTEGER, refuse, settings
from reviver.text import one_line, short_repr

DropoutKind = Literal["step", "variational", "zoneout"]
"""Dropout of the hidden state.

- `step`: drop each unit at each step with probability p and scale the others by 1 / (1 - p).
- `variational`: the same, with one mask for all steps of a sequence (Gal & Ghahramani 2016).
- `zoneout`: keep the previous value of each unit at each step with probability p (Krueger et al. 2017). In eval
  mode a unit takes the expected value, p times the previous value plus 1 - p times the new one.
"""

CellName = Literal[
    "lstm", "lstm-1997", "peephole", "coupled", "gru", "gru-cudnn", "minimal-gated", "rnn", "layer-norm", "slstm"
]
"""Names of the built-in cells: the files `cells/*.cell` of their texts."""
CELLS: tuple[str, ...] = get_args(CellName)


def is_cell_text(value: object) -> bool:
    """Return whether a value of the setting `cell` is a text: equations, in lines."""
    return isinstance(value, str) and "=" in value


def cell_label(cell: str) -> str:
    """Return a cell as messages name it: of a text, what its first comment has before a colon, or "text"."""
    if not is_cell_text(cell):
        return cell
    first = cell.strip().partition("\n")[0]
    title = first.removeprefix("#").partition(":")[0].strip() if first.startswith("#") else ""
    return title if 0 < len(title) <= 40 else "text"


def read_cell_text(path: str | Path) -> str:
    """Return the text of a cell in a file; raise a ConfigError if it cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        refuse("cell", f"{path} cannot be read ({reason}); name a text file")
    if not is_cell_text(text):
        refuse("cell", f"{path} has no equation; name the file of a text")
    return text


Pooling = Literal["last", "mean", "max", "attention"]


def _check_patch_size(value: object) -> object:
    if value != "auto" and (type(value) is not int or not 1 <= value <= MAX_INTEGER):
        raise ValueError(f"must be an integer of at least 1, or auto, got {short_repr(value)}")
    return value


PatchSize = Annotated[int | Literal["auto"], PlainValidator(_check_patch_size)]
"""Steps of a patch; `auto` stands for `auto_patch_size` of the longest sequence."""
AUTO_PATCHES = 32
"""Number of patches of the longest sequence that `auto_patch_size` aims at."""


def auto_patch_size(max_length: int) -> int:
    """Return the smallest patch size with which sequences of up to `max_length` steps have at most `AUTO_PATCHES` patches."""
    return -(-max_length // AUTO_PATCHES)


@settings
class LSTMOptions:
    """Options that `LSTM` and `LSTMClassifier` take as keyword arguments; a value out of range is a ConfigError."""

    hidden_dropout: Probability = 0.0
    """Probability p to drop a unit of the hidden state at a step, in [0, 1); only in training, except zoneout."""

    hidden_dropout_kind: DropoutKind = "step"
    """Dropout of the hidden state: `step`, `variational` or `zoneout`, see `DropoutKind`."""

    precision: Precision = "fp32"
    """Operands of matrix multiplications: `fp32` uses the dtype of the parameters, `bf16` rounds to bfloat16, which is
    faster on CPUs with bfloat16 instructions (see `reviver.recurrent.lstm.LSTM`)."""

    single_bias: bool = False
    """Have one bias per gate, as the equations do: `bias_hh` stays 0 and is a buffer, not a parameter."""

    activation_checkpoint_steps: Count | None = None
    """Save the state for the backward pass only every k steps and recompute the steps between: less memory for very
    long sequences, about a third more time. None saves every step. Only the native kernel uses it."""


OPTIONS = tuple(field.name for field in fields(LSTMOptions))


@settings
class _Stack:
    """Arguments of `LSTM` and `LSTMClassifier` alike, besides `LSTMOptions`."""

    input_size: Count
    hidden_size: Count
    num_layers: Count = 1
    dropout: Probability = 0.0
    bidirectional: bool = False


@settings
class LSTMSpec(LSTMOptions, _Stack):
    """Arguments of `LSTM`; a value out of range is a ConfigError."""

    bias: bool = True
    batch_first: bool = False
    proj_size: CountOrZero = 0


@settings
class LSTMClassifierSpec(LSTMOptions, _Stack):
    """Arguments of `LSTMClassifier`; a value out of range is a ConfigError."""

    single_bias: bool = True
    num_classes: Count
    pooling: Pooling = "last"
    patch_size: Count = 1


@settings
class RNNClassifierSpec(_Stack):
    """Arguments of `RNNClassifier`; a value out of range is a ConfigError."""

    cell: Text
    num_classes: Count
    pooling: Pooling = "last"
    patch_size: Count = 1
    hidden_dropout: Probability = 0.0
    hidden_dropout_kind: DropoutKind = "step"
    precision: Precision = "fp32"
    activation_checkpoint_steps: Count | None = None
