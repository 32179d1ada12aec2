"""A classifier of any recurrent cell that is a text."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reviver.cells.grammar import Cell, load_cell
from reviver.cells.recurrent import RNN
from reviver.lstm.classifier import RecurrentClassifier
from reviver.settings.lstm_network import Pooling, RNNClassifierSpec


class RNNClassifier(RecurrentClassifier):
    """Layers of a cell that is a text, and a linear layer on their pooled hidden states, see `RecurrentClassifier`.

    `cell` and `options`, which are those of `LSTMOptions` but `single_bias`, are those of
    `RNN`; the other arguments are those of `LSTMClassifier`.

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
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        loaded = load_cell(cell)
        sizes: Any = {
            "input_size": input_size,
            "num_classes": num_classes,
            "pooling": pooling,
            "patch_size": patch_size,
        }
        stack: Any = {
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "dropout": dropout,
            "bidirectional": bidirectional,
        }
        RNNClassifierSpec(cell=loaded.text, **sizes, **stack, **options)  # checks them
        super().__init__(input_size, pooling, patch_size)
        self.rnn = RNN(
            loaded, patch_size * input_size, batch_first=True, device=device, dtype=dtype, **stack, **options
        )
        self.add_output(num_classes, device, dtype)

    def _spec_values(self) -> dict[str, Any]:
        """Return the arguments of the constructor; the cell is its text."""
        return super()._spec_values() | {"cell": self.rnn.cell.text}

    def weights_by_name(self) -> dict[str, Tensor]:
        """Return all weights by the names of the text, such as `rnn.layers.0.W_r`, and `W_out`."""
        return dict(self.named_parameters())
