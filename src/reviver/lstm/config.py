"""Settings of an LSTM training run."""

import math
from types import MappingProxyType
from typing import Annotated, Literal, get_args

from pydantic import Field

from reviver.config import (
    CHECKPOINTS,
    CURRICULUM,
    DATA,
    MODEL,
    OPTIMISATION,
    REGULARISATION,
    Count,
    CountOrZero,
    NonNegative,
    OnNaN,
    Positive,
    Precision,
    Probability,
    Seed,
    Text,
)
from reviver.io.json import MAX_INTEGER
from reviver.lr_schedule import lr_scale
from reviver.lstm.options import DropoutKind
from reviver.text import short_repr
from reviver.validation import MAX_VALUE, check, refuse, settings

TaskName = Literal["palindrome", "copy", "adding", "temporal-order", "parity", "row-mnist", "pixel-mnist", "custom"]
TASKS: tuple[str, ...] = get_args(TaskName)
CONTINUOUS_TASKS = ("adding", "row-mnist", "pixel-mnist", "custom")
"""Tasks whose inputs are numbers, not symbols."""
MIN_LENGTHS = MappingProxyType({"temporal-order": 10})
"""The minimum length of a task, where it is not 2."""
IMAGE_LENGTHS = MappingProxyType({"row-mnist": (28,), "pixel-mnist": (49, 98, 196, 392, 784)})
"""The only lengths of a task that reads images."""
MAX_LENGTHS = 10_000
"""The most lengths that training may go through."""
MIN_BATCH_SIZE = 16


def shortest(task: str) -> int:
    """Return the minimum length of a task."""
    return MIN_LENGTHS.get(task, 2)


def check_length(task: str, length: int) -> None:
    """Refuse a length that `task` does not have.

    Raises:
        ConfigError: naming the lengths that it has.
    """
    possible = IMAGE_LENGTHS.get(task)
    if possible is None:
        check("length", length, Annotated[int, Field(ge=shortest(task))])
    elif length not in possible:
        allowed = " or ".join(map(str, possible))
        refuse("length", f"must be {allowed} for the task {task}, got {short_repr(length)}")


@settings
class LSTMConfig:
    """Settings of one LSTM training run. The defaults are the report's."""

    task: Annotated[TaskName, DATA] = "palindrome"
    """Task: predict the last digit of a palindrome from all digits before it, or another task of docs/reference/lstm.md."""
    data: Annotated[Text | None, DATA] = None
    """Your own labelled sequences: a .csv, .parquet or .npz file, see docs/how-to/train-on-your-sequences.md."""
    sequence_column: Annotated[Text, DATA] = "sequence"
    """Column of `data` with the sequences: numbers separated by spaces or commas, or lists (Parquet)."""
    label_column: Annotated[Text, DATA] = "label"
    """Column of `data` with the classes: text or integers."""
    length: Annotated[int, Field(ge=2, le=10_000_000), DATA] = 5
    """Sequence length T. Palindrome: the network reads the first T - 1 digits. Copy: steps to remember, of T + 20 in all.
    Otherwise steps: 28 rows of row-mnist, 784 pixels of pixel-mnist (or 392, 196, 98 or 49 of smaller images)."""
    encoding: Annotated[Literal["scalar", "onehot"], DATA] = "scalar"
    """Encoding of a symbol: one number 0 ... 9 (the report's), or one-hot."""
    data_size: Annotated[int, Field(ge=2, le=MAX_INTEGER), DATA] = 100_000
    """Maximum number of palindromes or images, sampled without replacement if there are more; of the other tasks, fresh
    sequences per epoch, training and validation together."""
    train_fraction: Annotated[float, Field(gt=0, lt=1), DATA] = 0.8
    """Fraction of the data to train on; the rest validates."""
    cell: Annotated[Literal["lstm", "rnn"], MODEL] = "lstm"
    """Network: the LSTM, or a vanilla RNN (Elman 1990) to compare it with."""
    curriculum: Annotated[bool, CURRICULUM] = False
    """Length curriculum: start with short sequences and lengthen them up to `length` each time validation passes `threshold`."""
    start_length: Annotated[int, Field(ge=2, le=MAX_INTEGER), CURRICULUM] = 10
    """First length of the curriculum."""
    min_length_fraction: Annotated[float, Field(gt=0, le=1), CURRICULUM] = 0.5
    """Minimum sequence length as a fraction of the current length of the curriculum."""
    length_factor: Annotated[float, Field(gt=1), CURRICULUM] = 2.0
    """Factor from one length of the curriculum to the next."""
    threshold: Annotated[float, Field(gt=0, le=1), CURRICULUM] = 0.99
    """Validation accuracy that ends a length of the curriculum, and at `length` the training."""
    last_threshold: Annotated[Annotated[float, Field(gt=0, le=1)] | None, CURRICULUM] = None
    """Validation accuracy that ends the training at `length`; by default `threshold`."""
    lr_length_exponent: Annotated[NonNegative, CURRICULUM] = 0.0
    """Exponent p: the learning rate at length T of the curriculum is scaled by (start_length / T)^p."""
    batch_steps: Annotated[Count, CURRICULUM] = 200_000
    """Maximum time steps per batch of the curriculum: longer sequences come in smaller batches (at least 16) and fewer per epoch."""
    hidden_size: Annotated[Count, MODEL] = 128
    """Hidden units H per layer."""
    num_layers: Annotated[Count, MODEL] = 1
    """Stacked layers."""
    bidirectional: Annotated[bool, MODEL] = False
    """Read the sequence in both directions."""
    init: Annotated[Literal["report", "chrono"], MODEL] = "report"
    """Initial gate biases: forget gate 1 and others 0, or chrono initialisation for 2 ... T steps (Tallec & Ollivier 2018)."""
    hidden_dropout: Annotated[Probability, REGULARISATION] = 0.5
    """Probability of dropping a unit of the hidden state."""
    hidden_dropout_kind: Annotated[DropoutKind, REGULARISATION] = "step"
    """Hidden-state dropout: a new mask at every step, one mask per sequence (variational), or keeping the unit's previous
    value (zoneout)."""
    dropout: Annotated[Probability, REGULARISATION] = 0.0
    """Probability of dropping a unit between two layers."""
    precision: Annotated[Precision, OPTIMISATION] = "fp32"
    """Matmul precision of the LSTM: bf16 rounds the operands to bfloat16, faster where the CPU has instructions for it."""
    epochs: Annotated[Count, OPTIMISATION] = 100
    """Passes over the training part."""
    batch_size: Annotated[Count, OPTIMISATION] = 128
    """Sequences B per update."""
    optimizer: Annotated[Literal["rmsprop", "adam"], OPTIMISATION] = "rmsprop"
    """Optimizer: RMSprop (Tieleman & Hinton 2012) or Adam (Kingma & Ba 2015)."""
    learning_rate: Annotated[Positive, OPTIMISATION] = 1e-3
    """Learning rate of the optimizer."""
    lr_schedule: Annotated[Literal["constant", "cosine"], OPTIMISATION] = "constant"
    """Learning-rate schedule: constant, or cosine decay to 0 at the last epoch (Loshchilov & Hutter 2017)."""
    max_norm: Annotated[Positive, OPTIMISATION] = 10.0
    """Maximum gradient norm; larger gradients are clipped."""
    activation_checkpoint_steps: Annotated[Count | None, OPTIMISATION] = None
    """Activation checkpointing: keep the state only every k time steps for the backward pass. Less memory for very long
    sequences, a third more time."""
    checkpoint_every: Annotated[Count, CHECKPOINTS] = 10
    """Epochs between checkpoints."""
    keep_checkpoints: Annotated[Count, CHECKPOINTS] = 2
    """Number of newest checkpoints to keep, besides the best."""
    on_nan: Annotated[OnNaN, CHECKPOINTS] = "stop"
    """If a loss or a weight is not finite: stop, or return to the last checkpoint and halve the learning rate."""
    max_rollbacks: Annotated[CountOrZero, CHECKPOINTS] = 3
    """Maximum number of returns to a checkpoint, with `on_nan` rollback."""
    seed: Annotated[Seed, OPTIMISATION] = 0
    """Seed of the weights, the split, the order of the data and the dropout masks."""

    def __post_init__(self) -> None:
        """Refuse settings that are allowed, but not together."""
        if self.cell == "rnn" and (self.num_layers > 1 or self.bidirectional):
            refuse("cell", "rnn has one layer and one direction; leave out num_layers and bidirectional")
        if self.cell == "rnn" and (self.hidden_dropout_kind, self.precision, self.init) != ("step", "fp32", "report"):
            refuse("cell", "rnn is compared with the report's network; leave out hidden_dropout_kind, precision, init")
        if (self.task == "custom") != (self.data is not None):
            advice = "give a file with --data for the task own, and none for other tasks"
            refuse("data", f"{short_repr(self.data, MAX_VALUE)} does not go with the task {self.task}; {advice}")
        check_length(self.task, self.length)
        if self.encoding == "onehot" and self.task in CONTINUOUS_TASKS:
            refuse("encoding", f"must be scalar for the task {self.task}, whose inputs are numbers, got 'onehot'")
        if self.curriculum:
            self._check_curriculum()

    def _check_curriculum(self) -> None:
        if self.task in ("row-mnist", "custom"):
            refuse("curriculum", f"must be false for the task {self.task}, which has one length, got True")
        check("start_length", self.start_length, Annotated[int, Field(ge=shortest(self.task))])
        if math.log(self.length / self.start_length) > MAX_LENGTHS * math.log(self.length_factor):
            way = f"from start_length {self.start_length} to length {self.length}"
            refuse(
                "length_factor",
                f"{self.length_factor} leads {way} through more than {MAX_LENGTHS} lengths; give a larger one",
            )
        possible = IMAGE_LENGTHS.get(self.task, self.lengths)
        wrong = [length for length in self.lengths if length not in possible]
        if wrong:
            problem = f"{self.start_length} leads to length {wrong[0]} with growth {self.length_factor}"
            advice = "give start_length 49 and growth 2"
            refuse("start_length", f"{problem}, which the task {self.task} does not have; {advice}")

    @property
    def lengths(self) -> tuple[int, ...]:
        """Lengths that training goes through: one, or with `grow` those up to `length`."""
        if not self.curriculum:
            return (self.length,)
        lengths = [min(self.start_length, self.length)]
        exact = float(lengths[0])
        while lengths[-1] < self.length:
            exact *= self.length_factor
            lengths.append(min(self.length, max(lengths[-1] + 1, round(exact))))
        return tuple(lengths)

    def threshold_at(self, length: int) -> float:
        """Return the validation accuracy that ends a length."""
        if self.last_threshold is not None and length == self.length:
            return self.last_threshold
        return self.threshold

    def learning_rate_at(self, progress: float, length: int) -> float:
        """Return the learning rate at a length, after the part `progress` of the epochs, from 0 to 1."""
        rate = self.learning_rate
        if self.curriculum:
            rate *= (self.lengths[0] / length) ** self.lr_length_exponent
        return rate * lr_scale(self.lr_schedule, progress)

    def batch_size_at(self, length: int) -> int:
        """Return B for sequences of up to `length` steps."""
        if not self.curriculum:
            return self.batch_size
        return min(self.batch_size, max(MIN_BATCH_SIZE, self.batch_steps // length))

    def epoch_size_at(self, length: int) -> int:
        """Return the fresh sequences of an epoch: with `grow`, as many batches at every length."""
        return max(1, round(self.data_size * self.train_fraction * self.batch_size_at(length) / self.batch_size))
