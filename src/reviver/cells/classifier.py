"""A classifier of any recurrent cell that is a text.

Shapes: B batch, T time, I input size, H hidden size, D directions (1 or 2), C classes.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reviver.cells.grammar import Cell, load_cell
from reviver.cells.recurrent import RNN
from reviver.lstm.classifier import RecurrentClassifier
from reviver.settings.lstm_network import DropoutKind, Pooling, RNNClassifierSpec


class RNNClassifier(RecurrentClassifier):
    """Layers of a cell that is a text, and a linear layer on their pooled hidden states, see `RecurrentClassifier`.

    Args:
        cell: see `RNN`.
        input_size: I.
        hidden_size: H.
        num_classes: C.
        num_layers: L.
        dropout: probability to drop a unit between two layers in training, in [0, 1).
        bidirectional: read the sequence in both directions.
        pooling: pooling of the hidden states over time: "last", "mean", "max" or "attention".
        patch_size: number of consecutive steps that enter the layers as one, see `LSTMClassifier`.
        hidden_dropout: see `RNN`.
        hidden_dropout_kind: see `RNN`.
        activation_checkpoint_steps: see `RNN`.
        device: device of the parameters.
        dtype: dtype of the parameters.

    Raises:
        ConfigError: if the text is wrong, or an argument is out of range.
    """

    _spec, _layers = RNNClassifierSpec, "rnn"

    def __init__(
        self,
        cell: Cell | str | Path,
        input_size: int,
        hidden_size: int,
        num_classes: int,
        num_layers: int = 1,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        pooling: Pooling = "last",
        patch_size: int = 1,
        hidden_dropout: float = 0.0,
        hidden_dropout_kind: DropoutKind = "step",
        activation_checkpoint_steps: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        loaded = load_cell(cell)
        RNNClassifierSpec(
            cell=loaded.text,
            input_size=input_size,
            hidden_size=hidden_size,
            num_classes=num_classes,
            num_layers=num_layers,
            dropout=dropout,
            bidirectional=bidirectional,
            pooling=pooling,
            patch_size=patch_size,
            hidden_dropout=hidden_dropout,
            hidden_dropout_kind=hidden_dropout_kind,
            activation_checkpoint_steps=activation_checkpoint_steps,
        )
        super().__init__(input_size, pooling, patch_size)
        self.rnn = RNN(
            loaded,
            patch_size * input_size,
            hidden_size,
            num_layers,
            batch_first=True,
            dropout=dropout,
            bidirectional=bidirectional,
            hidden_dropout=hidden_dropout,
            hidden_dropout_kind=hidden_dropout_kind,
            activation_checkpoint_steps=activation_checkpoint_steps,
            device=device,
            dtype=dtype,
        )
        self.add_output(num_classes, device, dtype)

    @property
    def state_sizes(self) -> list[tuple[int, ...]]:
        """Shapes of the states for one sequence."""
        return [(self.rnn.hidden_size,)] * len(self.rnn.cell.states)

    def _spec_values(self) -> dict[str, Any]:
        """Return the arguments of the constructor; the cell is its text."""
        return super()._spec_values() | {"cell": self.rnn.cell.text}

    def weights_by_name(self) -> dict[str, Tensor]:
        """Return all weights by the names of the text, such as `rnn.layers.0.W_r`, and `W_out`."""
        return dict(self.named_parameters())
