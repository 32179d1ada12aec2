"""The LSTM classifier: an LSTM, pooling over time, and a linear layer.

Shapes: B batch, T time, I input size, H hidden size, D directions (1 or 2), k steps of a patch, C classes.
"""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from reviver.data.build import SequenceData
from reviver.errors import DataError
from reviver.files.pretrained import PretrainedMixin
from reviver.recurrent.grammar import Cell, load_cell
from reviver.recurrent.layers import checked_lengths, integer_lengths, is_inside
from reviver.recurrent.lstm import LSTM, TAGS
from reviver.recurrent.rnn import RNN
from reviver.recurrent.stepping import StepState, Stream, step
from reviver.rng import Rng
from reviver.settings.lstm_network import OPTIONS, LSTMClassifierSpec, Pooling, RNNClassifierSpec
from reviver.settings.validation import refuse


class RecurrentClassifier(PretrainedMixin, nn.Module):
    """Recurrent layers, and a linear layer that maps their pooled hidden states to class logits.

        logits = W_out p + b_out

        p = h_T                                     pooling "last": the final hidden state
        p = 1/T Σ_t h_t                             pooling "mean"
        p = max_t h_t                               pooling "max", unit by unit
        p = Σ_t a_t h_t                             pooling "attention" (Yang et al. 2016), with
        a = softmax_t(u_att · tanh(W_att h_t + b_att))

    h_t is the hidden state of the top layer after step t, both directions concatenated; the steps after the end of a
    sequence do not count. With "last", the backward direction contributes its state after it has read the whole
    sequence. Apply softmax to the logits for probabilities.

    A subclass adds its layers, and calls `add_output`. Parameters: theirs, `W_out` [C, D·H], `b_out` [C]; with attention
    `W_att` [D·H, D·H], `b_att` [D·H] and `u_att` [D·H].
    """

    _layers: ClassVar[str]
    """Name of the attribute with the recurrent layers."""
    _data_model, _tags = SequenceData, TAGS
    _call = "probabilities = network(x).softmax(-1)  # x [B, T, I]"

    def __init__(self, spec: LSTMClassifierSpec | RNNClassifierSpec) -> None:
        super().__init__()
        self.input_size, self.pooling, self.patch_size = spec.input_size, spec.pooling, spec.patch_size

    @property
    def recurrent(self) -> Any:
        """Recurrent layers, called as `LSTM`, with `options`, `num_layers`, `num_directions` and `hidden_size`."""
        return getattr(self, self._layers)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.recurrent, name) if name in OPTIONS else super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in OPTIONS:
            setattr(self.recurrent, name, value)
        else:
            super().__setattr__(name, value)

    def _spec_values(self) -> dict[str, Any]:
        """Return the arguments of the constructor: of the classifier itself, or else of its layers."""
        own = {"num_classes": len(self.W_out), "pooling": self.pooling, "patch_size": self.patch_size}
        own["input_size"] = self.input_size
        names = [field.name for field in fields(self._spec)]
        return {name: own[name] if name in own else getattr(self.recurrent, name) for name in names}

    def add_output(self, num_classes: int, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        """Add the layers after the recurrent ones, with new weights from torch's default generator."""

        def empty(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        features = self.recurrent.num_directions * self.recurrent.hidden_size
        self.W_out, self.b_out = empty(num_classes, features), empty(num_classes)
        if self.pooling == "attention":
            self.W_att, self.b_att, self.u_att = empty(features, features), empty(features), empty(features)
        self.reset_output()

    def reset_output(self, rng: torch.Generator | None = None) -> None:
        """Sample new weights for the layers after the recurrent ones from `rng`.

        Matrices are Xavier-uniform, `b_out` and `b_att` 0. `u_att` is 0, so attention begins as the mean.
        """
        for name, weight in self.named_parameters(recurse=False):
            if name.startswith("W"):
                nn.init.xavier_uniform_(weight, generator=rng)
            else:
                nn.init.zeros_(weight)

    def reset_parameters(self, rng: torch.Generator | None = None) -> None:
        """Sample new weights for all layers from `rng` (torch's default generator if None)."""
        self.recurrent.reset_parameters(rng)
        self.reset_output(rng)

    def weights_by_name(self) -> dict[str, Tensor]:
        """Return all weights by the names of the equations, such as `rnn.layers.0.W_r` and `W_out`."""
        return dict(self.named_parameters())

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | Sequence[int] | None = None,
        *,
        every_step: bool = False,
        rng: Rng = None,
    ) -> Tensor:
        """Return the logits of sequences x [B, T, I]: [B, C], or with `every_step` those after every step, [B, T, C].

        `lengths` is the number of steps of each sequence, [B], all T if None; `rng` the source of the dropout masks. `every_step`
        is for pooling "last" and patches of one step.

        Raises:
            DataError: if the shape of x or a length does not fit.
            ConfigError: if `every_step` does not fit the pooling or the patches.
        """
        if x.dim() != 3 or x.shape[-1] != self.input_size or x.shape[1] == 0:
            raise DataError(f"x must be [B, T, I] with I = {self.input_size}, got shape {list(x.shape)}")
        if every_step and (self.pooling, self.patch_size) != ("last", 1):
            problem = f"got True with pooling {self.pooling!r} and patch_size {self.patch_size}"
            refuse("every_step", f"must be False for a classifier that pools or patches the steps, {problem}")
        lengths = None if lengths is None else integer_lengths(lengths, x.device)
        x, lengths = self.patch(x, lengths)
        output, state = self.recurrent(x, None, lengths, rng=rng)
        if every_step:
            return self.output(output)
        if self.pooling == "last":
            return self.classify(state if isinstance(state, Tensor) else state[0])
        return self.output(self.pool(output, lengths))

    def step(self, x: Tensor, state: StepState | None = None) -> tuple[Tensor, StepState]:
        """Read a step x [B, I] of each sequence; return the logits [B, C] of the sequences so far, and the state after it.

            logits, state = network.step(x_t, state)

        `state` is None at the start. The logits are those of the whole sequences up to here, for every pooling; a patch that is
        not full counts as one that ends here.

        Raises:
            ConfigError: if the network is bidirectional, or samples dropout.
            DataError: if the shape of x does not fit.
        """
        return step(self, x, state)

    def stream(self) -> Stream:
        """Begin one sequence that arrives step by step, see `Stream`: `stream(x_t)` gives its logits so far."""
        return Stream(self)

    def patch(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return a batch x [B, T, I] as patches [B, ceil(T / k), k·I], and its lengths in patches.

        Steps after the end of a sequence become 0, whatever they hold: the last patch has some of them.
        """
        k = self.patch_size
        if k == 1:
            return x, lengths
        batch, steps, channels = x.shape
        patches = -(-steps // k)
        if lengths is not None:
            lengths = checked_lengths(lengths, x.transpose(0, 1))
            x = torch.where(is_inside(lengths, steps), x, 0.0)
        x = functional.pad(x, (0, 0, 0, patches * k - steps)).reshape(batch, patches, k * channels)
        return x, None if lengths is None else (lengths + k - 1) // k

    def pool(self, output: Tensor, lengths: Tensor | None) -> Tensor:
        """Return the hidden states of the top layer [B, T, D·H] pooled over the steps of each sequence, [B, D·H]."""
        steps = output.shape[1]
        inside = None if lengths is None else is_inside(lengths, steps)  # [B, T, 1]
        if self.pooling == "mean":  # the output after the end is 0
            return output.sum(1) / steps if lengths is None else output.sum(1) / lengths.unsqueeze(1)
        if self.pooling == "max":
            return (output if inside is None else output.masked_fill(~inside, -torch.inf)).amax(1)
        scores = torch.tanh(output @ self.W_att.T + self.b_att) @ self.u_att.unsqueeze(1)  # [B, T, 1]
        if inside is not None:
            scores = scores.masked_fill(~inside, -torch.inf)
        return (scores.softmax(1) * output).sum(1)

    def classify(self, h: Tensor) -> Tensor:
        """Return the logits [B, C] of the final hidden states [D·L, B, H], for pooling "last"."""
        return self.output(torch.cat(tuple(h[-self.recurrent.num_directions :]), dim=-1))

    def output(self, h: Tensor) -> Tensor:
        """Return the logits [..., C] of hidden states of the top layer, [..., D·H]."""
        return h @ self.W_out.T + self.b_out


class LSTMClassifier(RecurrentClassifier):
    """An LSTM and a linear layer that maps its pooled hidden states to class logits, see `RecurrentClassifier`.

    `num_classes` is C, `pooling` is "last", "mean", "max" or "attention", and `patch_size` is k, the number of consecutive
    steps that enter the LSTM as one step of k·I numbers (Nie et al. 2023): it takes ceil(T / k) steps, and the last patch is
    padded with 0. The other arguments and `options`, the fields of `LSTMOptions`, are those of `LSTM`; `single_bias` is True
    by default.

    Raises:
        ConfigError: if an argument is out of range, or an option is unknown.
    """

    _spec, _layers = LSTMClassifierSpec, "lstm"

    def __init__(
        self,
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
        spec = LSTMClassifierSpec(
            input_size=input_size,
            hidden_size=hidden_size,
            num_classes=num_classes,
            num_layers=num_layers,
            dropout=dropout,
            bidirectional=bidirectional,
            pooling=pooling,
            patch_size=patch_size,
            **options,
        )
        super().__init__(spec)
        flags: Any = {"batch_first": True, "bidirectional": bidirectional, "device": device, "dtype": dtype}
        chosen = {name: getattr(spec, name) for name in OPTIONS}
        self.lstm = LSTM(patch_size * input_size, hidden_size, num_layers, **flags, **chosen)
        self.lstm.dropout = dropout  # not in the constructor, which warns if a single layer makes it ineffective
        self.add_output(num_classes, device, dtype)

    def weights_by_name(self) -> dict[str, Tensor]:
        """Return views of all weights by the names of the equations, such as `lstm.layers.0.W_i` and `W_out`.

        The layers count the cells of `lstm` in the order of the state: layer 0 forward, layer 0 backward, layer 1 ...
        """
        weights: dict[str, Tensor] = {}
        for index, stacked in enumerate(self.lstm.all_stacked_weights()):
            weights |= {f"lstm.layers.{index}.{name}": view for name, view in stacked.by_gate().by_name().items()}
        return weights | {name: weight for name, weight in self.named_parameters() if "." not in name}


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
