"""Settings of an LSTM training run, and the named sets of them that results are quoted for."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from reviver.config import MAX_SEED, check_choice, check_flag, check_number, check_whole
from reviver.lstm.choices import DROPOUT_KINDS, PRECISIONS, DropoutKind, Precision

TASKS = ("palindrome",)
INPUTS = ("scalar", "onehot")


@dataclass(frozen=True, kw_only=True)
class LSTMConfig:
    """Settings of one LSTM training run. The defaults are the report's."""

    task: Literal["palindrome"] = "palindrome"
    """What is learned: the last digit of a palindrome from all digits before it."""
    length: int = 5
    """T, the digits of a palindrome; the network reads the first T - 1 and predicts the last."""
    input: Literal["scalar", "onehot"] = "scalar"
    """How a digit enters the network: as one number 0 ... 9 (the report's way), or as ten 0/1 numbers."""
    data_size: int = 100_000
    """The most palindromes to use: all there are, if they are no more than this, else a sample without repeats."""
    train_fraction: float = 0.8
    """The part of the palindromes that is trained on; the rest validates."""
    hidden_size: int = 128
    """H, the units of a layer."""
    num_layers: int = 1
    """Layers on top of each other."""
    bidirectional: bool = False
    """Read the sequence in both directions."""
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
    learning_rate: float = 1e-3
    """Step size of RMSprop."""
    max_norm: float = 10.0
    """The norm that gradients are clipped to."""
    checkpoint_every: int = 10
    """Epochs between two checkpoints."""
    seed: int = 0
    """Fixes the weights, the split, the order of the data and the dropout masks."""

    def __post_init__(self) -> None:
        check_choice("task", self.task, TASKS)
        check_whole("length", self.length, minimum=2, maximum=10_000_000)
        check_choice("input", self.input, INPUTS)
        check_whole("data_size", self.data_size, minimum=2)
        check_number("train_fraction", self.train_fraction, above=0, below=1)
        check_whole("hidden_size", self.hidden_size, minimum=1)
        check_whole("num_layers", self.num_layers, minimum=1)
        check_flag("bidirectional", self.bidirectional)
        check_number("hidden_dropout", self.hidden_dropout, minimum=0, below=1)
        check_choice("hidden_dropout_kind", self.hidden_dropout_kind, DROPOUT_KINDS)
        check_number("dropout", self.dropout, minimum=0, below=1)
        check_choice("precision", self.precision, PRECISIONS)
        check_whole("epochs", self.epochs, minimum=1)
        check_whole("batch_size", self.batch_size, minimum=1)
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("max_norm", self.max_norm, above=0)
        check_whole("checkpoint_every", self.checkpoint_every, minimum=1)
        check_whole("seed", self.seed, minimum=0, maximum=MAX_SEED)

    @property
    def input_size(self) -> int:
        """I, the numbers that enter the network at each step."""
        return 1 if self.input == "scalar" else 10


PRESETS = MappingProxyType(
    {
        "report": LSTMConfig(),
        "onehot": LSTMConfig(input="onehot", epochs=20),
    }
)
"""`report`: the report's run. `onehot`: the same with one-hot digits, solved in a few epochs."""
