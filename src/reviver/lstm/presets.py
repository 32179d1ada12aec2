"""Settings of an LSTM training run, and the named sets of them that results are quoted for."""

import math
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from reviver.config import (
    MAX_SEED,
    MAX_VALUE,
    ON_NAN,
    PRECISIONS,
    Precision,
    check_choice,
    check_flag,
    check_number,
    check_text,
    check_whole,
    schedule_factor,
)
from reviver.errors import ConfigError
from reviver.lstm.choices import DROPOUT_KINDS, DropoutKind
from reviver.untrusted import shown

TASKS = ("palindrome", "copy", "adding", "temporal-order", "parity", "row-mnist", "pixel-mnist", "own")
NUMBER_TASKS = ("adding", "row-mnist", "pixel-mnist", "own")
"""Tasks whose inputs are numbers, not symbols."""
SHORTEST = MappingProxyType({"temporal-order": 10})
"""The least length of a task, where it is not 2."""
IMAGE_LENGTHS = MappingProxyType({"row-mnist": (28,), "pixel-mnist": (49, 98, 196, 392, 784)})
"""The only lengths of a task that reads images."""
CELLS = ("lstm", "rnn")
INPUTS = ("scalar", "onehot")
OPTIMIZERS = ("rmsprop", "adam")
SCHEDULES = ("constant", "cosine")
INITS = ("report", "chrono")
MAX_LENGTHS = 10_000
"""The most lengths that training may go through."""
MIN_BATCH_SIZE = 16


def shortest(task: str) -> int:
    """The least length of a task."""
    return SHORTEST.get(task, 2)


def check_length(task: str, length: int) -> None:
    """Refuse a length that `task` does not have."""
    possible = IMAGE_LENGTHS.get(task)
    if possible is not None and length not in possible:
        given = " or ".join(map(str, possible))
        raise ConfigError(f"length: {length} is not possible for the task {task}; give {given}")
    if length < shortest(task):
        raise ConfigError(
            f"length: {length} is not possible for the task {task}; give a whole number of at least {shortest(task)}"
        )


@dataclass(frozen=True, kw_only=True)
class LSTMConfig:
    """Settings of one LSTM training run. The defaults are the report's."""

    task: Literal["palindrome", "copy", "adding", "temporal-order", "parity", "row-mnist", "pixel-mnist", "own"] = (
        "palindrome"
    )
    """What is learned: the last digit of a palindrome from all digits before it, another task of docs/lstm.md, or `data`."""
    data: str | None = None
    """Own sequences, each with a class: a .csv, .parquet or .npz file, see docs/lstm.md."""
    sequence_column: str = "sequence"
    """The column of `data` that holds the sequences: numbers separated by spaces or commas, or lists (Parquet)."""
    label_column: str = "label"
    """The column of `data` that holds the classes: text or whole numbers."""
    length: int = 5
    """T: the digits of a palindrome, of which the network reads the first T - 1; of copy the steps to remember, of
    T + 20 in all; else the steps: 28 rows of row-mnist, 784 pixels of pixel-mnist (or 392, 196, 98 or 49 of smaller images)."""
    input: Literal["scalar", "onehot"] = "scalar"
    """How a digit or another symbol enters the network: as one number 0 ... 9 (the report's way), or as 0/1 numbers, one a symbol."""
    data_size: int = 100_000
    """The most palindromes or images to use: all there are, if they are no more than this, else a sample without
    repeats; of the other tasks, the fresh sequences of an epoch and the validation sequences together."""
    train_fraction: float = 0.8
    """The part of the data that is trained on; the rest validates."""
    cell: Literal["lstm", "rnn"] = "lstm"
    """The network: the LSTM, or a vanilla RNN (Elman 1990) to compare it with."""
    grow: bool = False
    """Begin with short sequences and lengthen them, up to `length`, each time validation passes `threshold`."""
    start_length: int = 10
    """With --grow, the first length."""
    shortest: float = 0.5
    """With --grow, the shortest sequences that are drawn, as a part of the present length."""
    growth: float = 2.0
    """With --grow, the factor from one length to the next."""
    threshold: float = 0.99
    """With --grow, the validation accuracy that ends a length, and at `length` the training."""
    last_threshold: float | None = None
    """With --grow, the validation accuracy that ends the training at `length`, where it is not `threshold`."""
    length_decay: float = 0.0
    """With --grow, p of the factor (start_length / T)^p of the step size at length T."""
    batch_steps: int = 200_000
    """With --grow, the most time steps of a batch: longer sequences come in smaller batches and fewer in an epoch, but in at least 16."""
    hidden_size: int = 128
    """H, the units of a layer."""
    num_layers: int = 1
    """Layers on top of each other."""
    bidirectional: bool = False
    """Read the sequence in both directions."""
    init: Literal["report", "chrono"] = "report"
    """Biases of the gates at first: forget gate 1, others 0, or so that units forget after 2 ... T steps (Tallec & Ollivier 2018)."""
    hidden_dropout: float = 0.5
    """Probability to drop a unit of the hidden state."""
    hidden_dropout_kind: DropoutKind = "step"
    """How the hidden state is dropped: anew at every step, with one mask for a whole sequence (variational), or by
    keeping the unit's previous value (zoneout)."""
    dropout: float = 0.0
    """Probability to drop a unit between two layers."""
    precision: Precision = "fp32"
    """Of the LSTM's products: bf16 rounds their factors to bfloat16, faster where the CPU has instructions for it."""
    epochs: int = 100
    """Passes over the training part."""
    batch_size: int = 128
    """B, the sequences of one update."""
    optimizer: Literal["rmsprop", "adam"] = "rmsprop"
    """What makes the updates: RMSprop (Tieleman & Hinton 2012) or Adam (Kingma & Ba 2015)."""
    learning_rate: float = 1e-3
    """Step size of the optimizer."""
    schedule: Literal["constant", "cosine"] = "constant"
    """The step size over the run: as it is, or falling to 0 at the last of the epochs along half a cosine (Loshchilov & Hutter 2017)."""
    max_norm: float = 10.0
    """The norm that gradients are clipped to."""
    checkpoint_steps: int | None = None
    """Keep the state for the backward pass only every so many time steps: less memory for very long sequences, a third more time."""
    checkpoint_every: int = 10
    """Epochs between two checkpoints."""
    keep_checkpoints: int = 2
    """The newest checkpoints that are kept; the best is kept besides."""
    on_nan: Literal["stop", "rollback"] = "stop"
    """If a loss or a weight is not finite: stop, or go back to the last checkpoint and on with half the step size."""
    rollbacks: int = 3
    """The most times that a run goes back, with `on_nan` rollback."""
    seed: int = 0
    """Fixes the weights, the split, the order of the data and the dropout masks."""

    def __post_init__(self) -> None:
        check_choice("task", self.task, TASKS)
        if self.data is not None:
            check_text("data", self.data)
        check_text("sequence_column", self.sequence_column)
        check_text("label_column", self.label_column)
        check_whole("length", self.length, minimum=2, maximum=10_000_000)
        check_choice("input", self.input, INPUTS)
        check_whole("data_size", self.data_size, minimum=2)
        check_number("train_fraction", self.train_fraction, above=0, below=1)
        check_choice("cell", self.cell, CELLS)
        if self.cell == "rnn" and (self.num_layers > 1 or self.bidirectional):
            raise ConfigError("cell: 'rnn' has one layer and one direction; leave out num_layers and bidirectional")
        if self.cell == "rnn" and (self.hidden_dropout_kind, self.precision, self.init) != ("step", "fp32", "report"):
            raise ConfigError(
                "cell: 'rnn' is compared with the report's network; leave out hidden_dropout_kind, precision and init"
            )
        check_flag("grow", self.grow)
        check_whole("start_length", self.start_length, minimum=2)
        check_number("shortest", self.shortest, above=0, maximum=1)
        check_number("growth", self.growth, above=1)
        check_number("threshold", self.threshold, above=0, maximum=1)
        if self.last_threshold is not None:
            check_number("last_threshold", self.last_threshold, above=0, maximum=1)
        check_number("length_decay", self.length_decay, minimum=0)
        check_whole("batch_steps", self.batch_steps, minimum=1)
        check_whole("hidden_size", self.hidden_size, minimum=1)
        check_whole("num_layers", self.num_layers, minimum=1)
        check_flag("bidirectional", self.bidirectional)
        check_choice("init", self.init, INITS)
        check_number("hidden_dropout", self.hidden_dropout, minimum=0, below=1)
        check_choice("hidden_dropout_kind", self.hidden_dropout_kind, DROPOUT_KINDS)
        check_number("dropout", self.dropout, minimum=0, below=1)
        check_choice("precision", self.precision, PRECISIONS)
        check_whole("epochs", self.epochs, minimum=1)
        check_whole("batch_size", self.batch_size, minimum=1)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_number("learning_rate", self.learning_rate, above=0)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_number("max_norm", self.max_norm, above=0)
        if self.checkpoint_steps is not None:
            check_whole("checkpoint_steps", self.checkpoint_steps, minimum=1)
        check_whole("checkpoint_every", self.checkpoint_every, minimum=1)
        check_whole("keep_checkpoints", self.keep_checkpoints, minimum=1)
        check_choice("on_nan", self.on_nan, ON_NAN)
        check_whole("rollbacks", self.rollbacks, minimum=0)
        check_whole("seed", self.seed, minimum=0, maximum=MAX_SEED)
        self._check_task()

    def _check_task(self) -> None:
        """Refuse settings that are possible, but not for this task."""
        if (self.task == "own") != (self.data is not None):
            raise ConfigError(
                f"data: {shown(self.data, MAX_VALUE)} does not go with the task {self.task}; give a file with --data for the task own, "
                "and none for other tasks"
            )
        check_length(self.task, self.length)
        if self.grow and math.log(self.length / self.start_length) > MAX_LENGTHS * math.log(self.growth):
            raise ConfigError(
                f"growth: {self.growth} is not possible from start_length {self.start_length} to length {self.length}, as it "
                f"leads through more than {MAX_LENGTHS} lengths; give a larger one"
            )
        if self.input == "onehot" and self.task in NUMBER_TASKS:
            raise ConfigError(
                f"input: 'onehot' is not possible for the task {self.task}, whose inputs are numbers; give scalar"
            )
        if self.grow and self.task in ("row-mnist", "own"):
            raise ConfigError(f"grow: True is not possible for the task {self.task}, which has one length; give false")
        if self.grow and self.start_length < shortest(self.task):
            raise ConfigError(
                f"start_length: {self.start_length} is not possible for the task {self.task}; "
                f"give a whole number of at least {shortest(self.task)}"
            )
        possible = IMAGE_LENGTHS.get(self.task, self.lengths)
        wrong = [length for length in self.lengths if length not in possible]
        if wrong:
            raise ConfigError(
                f"start_length: {self.start_length} is not possible for the task {self.task} with growth {self.growth}, "
                f"as it leads to length {wrong[0]}; give start_length 49 and growth 2"
            )

    @property
    def lengths(self) -> tuple[int, ...]:
        """The lengths that training goes through: one, or with `grow` those up to `length`."""
        if not self.grow:
            return (self.length,)
        lengths = [min(self.start_length, self.length)]
        exact = float(lengths[0])
        while lengths[-1] < self.length:
            exact *= self.growth
            lengths.append(min(self.length, max(lengths[-1] + 1, round(exact))))
        return tuple(lengths)

    def threshold_at(self, length: int) -> float:
        """The validation accuracy that ends a length."""
        if self.last_threshold is not None and length == self.length:
            return self.last_threshold
        return self.threshold

    def learning_rate_at(self, progress: float, length: int) -> float:
        """The step size at a length, after the part `progress` of the epochs, from 0 to 1."""
        rate = self.learning_rate
        if self.grow:
            rate *= (self.lengths[0] / length) ** self.length_decay
        return rate * schedule_factor(self.schedule, progress)

    def batch_size_at(self, length: int) -> int:
        """B for sequences of up to `length` steps."""
        if not self.grow:
            return self.batch_size
        return min(self.batch_size, max(MIN_BATCH_SIZE, self.batch_steps // length))

    def epoch_size_at(self, length: int) -> int:
        """The fresh sequences of an epoch: with `grow`, as many batches at every length."""
        return max(1, round(self.data_size * self.train_fraction * self.batch_size_at(length) / self.batch_size))


_RECALL = LSTMConfig(
    length=1000,
    input="onehot",
    grow=True,
    growth=2.15444,  # three lengths to a factor of ten
    threshold=0.995,
    length_decay=0.3,
    data_size=4000,
    max_norm=1.0,
    epochs=400,
)
_MEMORY = LSTMConfig(
    grow=True, data_size=4000, train_fraction=0.9, epochs=400, hidden_dropout=0.0, optimizer="adam", max_norm=1.0
)
_MNIST = LSTMConfig(
    data_size=60_000,
    train_fraction=0.95,
    hidden_dropout=0.0,
    optimizer="adam",
    schedule="cosine",
    max_norm=1.0,
    checkpoint_every=1,
)

PRESETS = MappingProxyType(
    {
        "report": LSTMConfig(),
        "onehot": LSTMConfig(input="onehot", epochs=20),
        "recall": _RECALL,
        "recall-scalar": replace(
            _RECALL, input="scalar", threshold=0.99, last_threshold=0.995, growth=1.5, length_decay=0.0
        ),
        "recall-10000": replace(_RECALL, length=10_000),
        "recall-100000": replace(_RECALL, length=100_000, checkpoint_steps=500),
        "copy": replace(
            _MEMORY, task="copy", length=500, input="onehot", start_length=2, batch_size=32, learning_rate=5e-3
        ),
        "adding": replace(
            _MEMORY,
            task="adding",
            length=750,
            growth=3.0,
            threshold=0.4,
            data_size=2000,
            init="chrono",
            epochs=80,
            batch_size=32,
            learning_rate=2e-3,
            schedule="cosine",
        ),
        "temporal-order": replace(
            _MEMORY,
            task="temporal-order",
            length=100,
            input="onehot",
            growth=1.5,
            hidden_dropout=0.5,
            batch_size=32,
            optimizer="rmsprop",
        ),
        "parity": replace(_MEMORY, task="parity", length=1000, input="onehot", start_length=2),
        "row-mnist": replace(_MNIST, task="row-mnist", length=28, epochs=10, learning_rate=2e-3),
        "pixel-mnist": replace(
            _MNIST,
            task="pixel-mnist",
            length=784,
            grow=True,
            start_length=49,
            threshold=0.94,
            last_threshold=0.98,
            length_decay=0.5,
            epochs=30,
            batch_size=32,
        ),
    }
)
"""
- `report`: the report's run.
- `onehot`: the same with one-hot digits, solved in a few epochs.
- `recall`: 1000 digits, from short sequences upward; `recall-scalar` with the digits as numbers, as in the report.
- `recall-10000`, `recall-100000`: the same for longer sequences.
- `copy`, `adding`, `temporal-order`, `parity`: memory tasks of the literature, from short sequences upward.
- `row-mnist`, `pixel-mnist`: handwritten digits, read row by row or pixel by pixel.
"""
