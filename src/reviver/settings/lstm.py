"""Settings of an LSTM training run."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, PlainValidator

from reviver.settings.fields import (
    CHECKPOINTS,
    CURRICULUM,
    DATA,
    MODEL,
    OPTIMIZATION,
    REGULARIZATION,
    Count,
    CountOrZero,
    NonNegative,
    OnNaN,
    Positive,
    Precision,
    Probability,
    Seed,
    Text,
    lr_scale,
)
from reviver.settings.lstm_network import (
    CELLS,
    CellName,
    DropoutKind,
    PatchSize,
    Pooling,
    cell_label,
    is_cell_text,
)
from reviver.settings.parts import check_reference, is_reference
from reviver.settings.tasks import DEFINITIONS, TaskDefinition, TaskName
from reviver.settings.validation import MAX_INTEGER, MAX_VALUE, check, refuse, settings, show_value
from reviver.text import short_repr

WITHOUT_CLASSES = (
    "bidirectional",
    "pooling",
    "patch_size",
    "hidden_dropout_kind",
    "init",
    "activation_checkpoint_steps",
    "precision",
)
"""Settings that cells as classes do not support."""
MIN_BATCH_SIZE = 16
"""Minimum batch size of a curriculum, unless `batch_size` is smaller."""


def _check_cell(value: object) -> object:
    is_known = value in CELLS or is_cell_text(value)
    return value if is_known else check_reference(value, (*CELLS, "the file of a text, such as mine.cell"))


@settings
class LSTMConfig:
    """Settings of an LSTM training run. The defaults are the preset original."""

    task: Annotated[TaskName, DATA] = "palindrome"
    """Task: predict the last digit of a palindrome from all digits before it, or another task of memory."""
    data: Annotated[Text | None, DATA] = None
    """Custom data, labeled sequences: a .csv or .parquet with a row per sequence, an .npz, or a folder with x.npy and y.npy."""
    sequence_column: Annotated[Text, DATA] = "sequence"
    """Column of `data` with the sequences: numbers separated by spaces or commas, or lists (Parquet)."""
    label_column: Annotated[Text, DATA] = "label"
    """Column of `data` with the classes: text or integers."""
    length: Annotated[int, Field(ge=2, le=10_000_000), DATA] = 5
    """Sequence length T. Palindrome: the network reads the first T - 1 digits. Copy: steps to remember, of T + 20 in total.
    Otherwise the number of steps: 28 rows for row-mnist, 784 pixels for pixel-mnist (or 392, 196, 98 or 49 of downsampled
    images)."""
    encoding: Annotated[Literal["scalar", "onehot"], DATA] = "scalar"
    """Encoding of a symbol: one number (0 to 9 for a digit, as in the original), or a one-hot vector."""
    data_size: Annotated[int, Field(ge=2, le=MAX_INTEGER), DATA] = 100_000
    """Maximum number of palindromes or images, sampled without replacement if there are more. For other tasks: number of fresh
    sequences per epoch, training and validation together."""
    train_fraction: Annotated[float, Field(gt=0, lt=1), DATA] = 0.8
    """Fraction of the data for training; the rest is the validation set."""
    cell: Annotated[CellName | str, PlainValidator(_check_cell), MODEL] = "lstm"
    """Recurrent cell: a built-in one, see reviver lstm cells, your own equations in a file such as mine.cell, or a class, such
    as my_cell.py:Mine or torch.nn:LSTMCell. Classes run step by step, all others natively."""
    curriculum: Annotated[bool, CURRICULUM] = False
    """Length curriculum: start with short sequences and lengthen them up to `length` each time the validation accuracy reaches
    `threshold`."""
    start_length: Annotated[int, Field(ge=2, le=MAX_INTEGER), CURRICULUM] = 10
    """First length of the curriculum."""
    min_length_fraction: Annotated[float, Field(gt=0, le=1), CURRICULUM] = 0.5
    """Minimum sequence length as a fraction of the current length of the curriculum."""
    length_factor: Annotated[float, Field(gt=1), CURRICULUM] = 2.0
    """Factor between consecutive lengths of the curriculum."""
    jump_factor: Annotated[Annotated[float, Field(gt=1)] | None, CURRICULUM] = None
    """Validate before training: after a length passes, validate at lengths up to this factor longer, jump on while the
    threshold holds, and train only where it breaks. By default the curriculum trains at every length."""
    threshold: Annotated[float, Field(gt=0, le=1), CURRICULUM] = 0.99
    """Validation accuracy that ends a length of the curriculum, and the training at `length`."""
    last_threshold: Annotated[Annotated[float, Field(gt=0, le=1)] | None, CURRICULUM] = None
    """Validation accuracy that ends the training at `length`; by default `threshold`."""
    threshold_max_length: Annotated[Count | None, CURRICULUM] = None
    """Maximum length at which `threshold` holds: longer ones end at `last_threshold`, as `length` does. By default `threshold`
    holds at all lengths but `length`."""
    lr_length_exponent: Annotated[NonNegative, CURRICULUM] = 0.0
    """Exponent p: the learning rate at length T of the curriculum is scaled by (start_length / T)^p."""
    batch_steps: Annotated[Count, CURRICULUM] = 200_000
    """Maximum time steps per batch of the curriculum: longer sequences have smaller batches (at least 16) and fewer sequences
    per epoch."""
    hidden_size: Annotated[Count, MODEL] = 128
    """Hidden units H per layer."""
    num_layers: Annotated[Count, MODEL] = 1
    """Stacked layers."""
    bidirectional: Annotated[bool, MODEL] = False
    """Read the sequence in both directions."""
    pooling: Annotated[Pooling, MODEL] = "last"
    """Pooling of the hidden states over time for the class: the last one, mean, max, or attention (Yang et al. 2016)."""
    patch_size: Annotated[PatchSize, MODEL] = 1
    """Consecutive steps that enter the LSTM as one (patches, Nie et al. 2023): an integer, or auto for at most 32 patches of
    the longest sequence."""
    init: Annotated[Literal["report", "chrono"], MODEL] = "report"
    """Initial gate biases: forget gate 1 and others 0, or chrono initialization for 2 ... T steps (Tallec & Ollivier 2018)."""
    hidden_dropout: Annotated[Probability, REGULARIZATION] = 0.5
    """Probability of dropping a unit of the hidden state at a step."""
    hidden_dropout_kind: Annotated[DropoutKind, REGULARIZATION] = "step"
    """Hidden-state dropout: a new mask at every step, one mask per sequence (variational), or keep the previous value of a unit
    (zoneout)."""
    dropout: Annotated[Probability, REGULARIZATION] = 0.0
    """Probability of dropping a unit between two layers."""
    precision: Annotated[Precision, OPTIMIZATION] = "fp32"
    """Matmul precision of the LSTM: bf16 rounds the operands to bfloat16, which is faster on CPUs with bfloat16 instructions."""
    epochs: Annotated[Count, OPTIMIZATION] = 100
    """Passes over the training data."""
    patience: Annotated[Count | None, OPTIMIZATION] = None
    """Early stopping: epochs without an improvement of the best validation accuracy, or at equal accuracy of the loss, after
    which the training ends. Such a run is used with the weights of the last epoch that has its best validation accuracy."""
    batch_size: Annotated[Count, OPTIMIZATION] = 128
    """Sequences B per update."""
    optimizer: Annotated[Literal["rmsprop", "adam"], OPTIMIZATION] = "rmsprop"
    """Optimizer: RMSprop (Tieleman & Hinton 2012) or Adam (Kingma & Ba 2015)."""
    learning_rate: Annotated[Positive, OPTIMIZATION] = 1e-3
    """Learning rate of the optimizer."""
    lr_schedule: Annotated[Literal["constant", "cosine"], OPTIMIZATION] = "constant"
    """Learning-rate schedule: constant, or cosine decay to 0 at the last epoch (Loshchilov & Hutter 2017)."""
    max_norm: Annotated[Positive, OPTIMIZATION] = 10.0
    """Maximum gradient norm; larger gradients are clipped."""
    weight_decay: Annotated[NonNegative, OPTIMIZATION] = 0.0
    """Weight decay λ: the optimizer adds λ times the weights to their clipped gradient (L2 regularization)."""
    activation_checkpoint_steps: Annotated[Count | None, OPTIMIZATION] = None
    """Activation checkpointing: save the state for the backward pass only every k time steps. This takes less memory for very
    long sequences and about a third more time."""
    checkpoint_every: Annotated[Count, CHECKPOINTS] = 10
    """Epochs between checkpoints."""
    keep_checkpoints: Annotated[Count, CHECKPOINTS] = 2
    """Number of newest checkpoints to keep, besides the best."""
    on_nan: Annotated[OnNaN, CHECKPOINTS] = "stop"
    """Action if a loss or a weight is not finite: stop, or return to the last checkpoint and halve the learning rate."""
    max_rollbacks: Annotated[CountOrZero, CHECKPOINTS] = 3
    """Maximum number of returns to a checkpoint, with `on_nan` rollback."""
    seed: Annotated[Seed, OPTIMIZATION] = 0
    """Seed of the weights, the data, their split and order, and the dropout masks."""

    def __post_init__(self) -> None:
        """Check that the settings fit together."""
        if is_reference(self.cell) and (changed := self._changed(WITHOUT_CLASSES)):
            refuse("cell", f"{cell_label(self.cell)} does not support {changed}; leave it out")
        if self.task == "custom" and self.data is None:
            refuse("data", "must be a file for the task custom, got None; give one with --data")
        if self.task != "custom" and self.data is not None:
            found = short_repr(self.data, MAX_VALUE)
            refuse("data", f"must be None for the task {self.task}, got {found}; give it with the task custom only")
        if self.curriculum and self.patience is not None:
            refuse("patience", f"must be none with curriculum, which ends by its threshold, got {self.patience}")
        if not is_reference(self.task):
            self.check_task(DEFINITIONS[self.task])

    def _changed(self, names: Iterable[str]) -> str:
        """Return the first of these settings that is not the default, with its value; empty if all are."""
        changed = (name for name in names if getattr(self, name) != getattr(type(self), name))
        return next((f"{name} {show_value(getattr(self, name))}" for name in changed), "")

    def check_task(self, task: TaskDefinition) -> None:
        """Check that the settings fit the definition of the task; of a user-defined one its builder calls this."""
        if task.target == "class at every step" and (self.pooling, self.patch_size) != ("last", 1):
            problem = f"{self.task} has a class at every step, which is not possible with pooling or patches"
            refuse("task", f"{problem}; leave them out")
        task.check_length(self.length)
        if self.encoding == "onehot" and task.symbols is None:
            refuse("encoding", f"must be scalar for the task {self.task}, whose input is real-valued, got 'onehot'")
        if not self.curriculum:
            return
        if not task.has_curriculum:
            refuse("curriculum", f"must be false for the task {self.task}, which has one length, got True")
        check("start_length", self.start_length, Annotated[int, Field(ge=task.min_length)])
        allowed = task.lengths or self.lengths
        wrong = [length for length in self.lengths if length not in allowed]
        if wrong:
            problem = f"{self.start_length} with length_factor {self.length_factor} gives length {wrong[0]}"
            remedy = f"give start_length {allowed[0]} and length_factor 2"
            refuse("start_length", f"{problem}, which the task {self.task} does not have; {remedy}")

    @property
    def uses_dropout(self) -> bool:
        """Whether training drops units, of the hidden state or between layers."""
        return self.hidden_dropout > 0.0 or (self.dropout > 0.0 and self.num_layers > 1)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Lengths T of the training, in order: those of the curriculum, or `length` alone."""
        if not self.curriculum:
            return (self.length,)
        lengths = [min(self.start_length, self.length)]
        exact = float(lengths[0])
        while lengths[-1] < self.length:
            exact *= self.length_factor
            lengths.append(min(self.length, max(lengths[-1] + 1, round(exact))))
        return tuple(lengths)

    def threshold_at(self, length: int) -> float:
        """Return the validation accuracy that ends the training at `length` of a curriculum."""
        if self.last_threshold is None:
            return self.threshold
        is_beyond = self.threshold_max_length is not None and length > self.threshold_max_length
        return self.last_threshold if is_beyond or length == self.length else self.threshold

    def learning_rate_at(self, progress: float, length: int) -> float:
        """Return the learning rate at `length` after the fraction `progress` of the epochs, from 0 to 1."""
        rate = self.learning_rate
        if self.curriculum:
            rate *= (self.lengths[0] / length) ** self.lr_length_exponent
        return rate * lr_scale(self.lr_schedule, progress)

    def batch_size_at(self, length: int) -> int:
        """Return the batch size B for sequences of up to `length` steps."""
        if not self.curriculum:
            return self.batch_size
        return min(self.batch_size, max(MIN_BATCH_SIZE, self.batch_steps // length))

    def epoch_size_at(self, length: int) -> int:
        """Return the number of fresh sequences per epoch; the number of batches is the same at every length of a curriculum."""
        return max(1, round(self.data_size * self.train_fraction * self.batch_size_at(length) / self.batch_size))
