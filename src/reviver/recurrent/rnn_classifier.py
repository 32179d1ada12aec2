"""A classifier of any recurrent cell that is a text."""

from pathlib import Path
from typing import Any

import torch

from reviver.recurrent.classifier import RecurrentClassifier
from reviver.recurrent.grammar import Cell, load_cell
from reviver.recurrent.rnn import RNN
from reviver.settings.lstm_network import Pooling, RNNClassifierSpec


class RNNClassifier(RecurrentClassifier):
    """Layers of a cell that is a text, and a linear layer on their pooled hidden states, see `RecurrentClassifier`.

    `cell` and `options`, those of `LSTMOptions` but `single_bias`, are those of `RNN`; the others those of `LSTMClassifier`.

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
        stack: Any = {"num_layers": num_layers, "dropout": dropout, "bidirectional": bidirectional, **options}
        spec = RNNClassifierSpec(
            cell=loaded.text,
            input_size=input_size,
            hidden_size=hidden_size,
            num_classes=num_classes,
            pooling=pooling,
            patch_size=patch_size,
            **stack,
        )
        super().__init__(spec)
        width = patch_size * input_size
        self.rnn = RNN(loaded, width, hidden_size, batch_first=True, device=device, dtype=dtype, **stack)
        self.add_output(num_classes, device, dtype)

    def _spec_values(self) -> dict[str, Any]:
        return super()._spec_values() | {"cell": self.rnn.cell.text}
