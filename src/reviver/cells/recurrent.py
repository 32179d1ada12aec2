"""A recurrent layer of any cell that is a text, called as `torch.nn.GRU`.

Shapes: B batch, T time, I input size, H hidden size, L layers, D directions (1 or 2).
"""

from collections import namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from reviver.cells import interpreter, reference
from reviver.cells.grammar import Cell, load_cell
from reviver.cells.reference import States, reverse_steps
from reviver.errors import DataError
from reviver.lstm.dropout import draw_seed
from reviver.lstm.layer import checked_lengths, run_packed_sequence
from reviver.lstm.transforms import autocast_dtype
from reviver.rng import Rng, rand
from reviver.settings.fields import Probability
from reviver.settings.lstm_network import OPTIONS, DropoutKind, LSTMOptions
from reviver.settings.validation import check, refuse


class RNN(nn.Module):
    """Layers of a recurrent cell that is a text, such as that of `reviver lstm cells gru`.

    It is called as `torch.nn.GRU`: `output, state = layer(x)`. The state of a cell with one state is h, [D·L, B, H]; with
    more it is a named tuple in their order, `state.h`, `state.c`. The weights have the names of the text: `layer.W_r` of the
    first layer, `layer.layers[1].W_r` of any other; of two directions, these are the layers 0 forward, 0 backward, 1 ...
    Matrices begin Xavier-uniform, in the order of the text those on x, then the others; vectors begin at 0, or where
    their line in the text says. So `RNN("lstm", ...)` and `LSTM` have the same weights for the same seed.

    Args:
        cell: name of a built-in text, a text, a file `NAME.cell`, or a `Cell`.
        input_size: I.
        hidden_size: H, the units per layer and direction.
        num_layers: L; each layer reads the output of the layer below.
        batch_first: x and output are [B, T, ...] instead of [T, B, ...]; states are [D·L, B, H] either way.
        dropout: probability to drop a unit between two layers in training, in [0, 1].
        bidirectional: add a cell per layer that reads the sequence backward, and concatenate the outputs.
        hidden_dropout: probability to drop a unit of h at a step, in training, with the masks of `LSTM`.
        hidden_dropout_kind: "step", "variational" or "zoneout", see `LSTMOptions`.
        activation_checkpoint_steps: steps between the states that are saved for the backward pass, see `LSTMOptions`.
        device: device of the parameters.
        dtype: dtype of the parameters.
        rng: source of the initial weights; torch's default generator if None.

    Raises:
        ConfigError: if the text is wrong, with line and column, or an argument is out of range.
    """

    def __init__(
        self,
        cell: Cell | str | Path,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        hidden_dropout: float = 0.0,
        hidden_dropout_kind: DropoutKind = "step",
        activation_checkpoint_steps: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        rng: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.cell, self.input_size, self.hidden_size, self.num_layers = (
            load_cell(cell),
            input_size,
            hidden_size,
            num_layers,
        )
        self.batch_first, self.dropout, self.bidirectional = batch_first, dropout, bidirectional
        self.num_directions = 2 if bidirectional else 1
        check("dropout", dropout, Probability)
        self.options = LSTMOptions(
            hidden_dropout=hidden_dropout,
            hidden_dropout_kind=hidden_dropout_kind,
            activation_checkpoint_steps=activation_checkpoint_steps,
        )
        self.layers = nn.ModuleList()
        for layer in range(num_layers):
            size = input_size if layer == 0 else self.num_directions * hidden_size
            for _ in range(self.num_directions):
                shapes = self.cell.shapes(size, hidden_size)
                parameters = [(name, torch.empty(shape, device=device, dtype=dtype)) for name, shape in shapes.items()]
                self.layers.append(nn.ParameterDict(parameters))  # of pairs, whose order it keeps
        self.reset_parameters(rng)

    def __getattr__(self, name: str) -> Any:
        """Return a weight of the first layer, or an option, by its name."""
        if name in OPTIONS:
            return getattr(self.options, name)
        layers = self.__dict__["_modules"].get("layers")
        return layers[0][name] if layers and name in layers[0] else super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; an option becomes a part of `options`."""
        if name in OPTIONS:
            name, value = "options", replace(self.options, **{name: value})
        super().__setattr__(name, value)

    def weights(self, at: int) -> dict[str, Any]:
        """Return the weights by name of a layer and direction, in the order of the state: 0 forward, 0 backward, 1 ..."""
        return self.layers[at]._parameters

    def gate_biases(self) -> list[tuple[Tensor | None, Tensor]]:
        """Return the biases b_i, if there is one, and b_f of every cell; see `lstm.layer.chrono`."""
        if "b_f" not in self.cell.vectors:
            problem = f"must be report for the cell {self.cell.name}, whose text has no vector b_f, got 'chrono'"
            refuse("init", f"{problem}; name the bias of its forget gate so, or give its start as a line")
        return [(self.weights(at).get("b_i"), self.weights(at)["b_f"]) for at in range(len(self.layers))]

    @torch.no_grad()
    def reset_parameters(self, rng: torch.Generator | None = None) -> None:
        """Sample new weights for every layer."""
        for at in range(len(self.layers)):
            for name, weight in self.weights(at).items():
                if name in self.cell.matrices:
                    nn.init.xavier_uniform_(weight, generator=rng)
                else:
                    nn.init.constant_(weight, self.cell.vectors[name])

    def forward(
        self,
        input: Tensor | PackedSequence,  # noqa: A002
        hx: Tensor | Sequence[Tensor] | Mapping[str, Tensor] | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        rng: Rng = None,
    ) -> tuple[Any, Any]:
        """Run over a batch of sequences or over a single one.

        Args:
            input: [T, B, I], or [B, T, I] with `batch_first`, or [T, I] for a single sequence, with T at least 1; or a
                `PackedSequence`, then the output is one, too.
            hx: states before the first step: h, or a sequence of all states, or some by name; [D·L, B, H] each, without B
                for a single sequence; zeros where absent.
            lengths: number of steps of each sequence of the batch, from 1 to T, [B]; all T if None. The final state
                is the one after the last step of each sequence; the output after it is 0.
            rng: source of the dropout masks; torch's default generator if None.

        Returns:
            The hidden state of the top layer after each step, [T, B, D·H] in the layout of the input, and the final state.

        Raises:
            DataError: if a shape or a length does not fit.
        """
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise DataError("lengths must be None for a PackedSequence, which has its own; remove them")
            return run_packed_sequence(
                lambda padded, found: RNN.forward(self, padded, hx, found, rng), input, self.batch_first
            )
        dtype, batched = autocast_dtype(input), input.dim() == 3
        x = self._sequence(input)
        state = self._states(hx, x, batched)
        lengths = None if lengths is None else checked_lengths(lengths, x)
        x, finals = self._run(x, state, lengths, rng, None)
        entries = {name: [final[name] for final in finals] for name in self.cell.states}
        last = [
            (torch.stack(several) if len(several) > 1 else several[0][None]).to(dtype) for several in entries.values()
        ]
        x = (x if batched else x.squeeze(1)).to(dtype)
        last = last if batched else [entry.squeeze(1) for entry in last]
        return (
            x.transpose(0, 1) if self.batch_first and batched else x,
            last[0] if len(last) == 1 else _state_type(self.cell.states)(*last),
        )

    def trace(self, x: Tensor, hx: Any = None) -> list[dict[str, Tensor]]:
        """Return every quantity of every step by name in eval mode, in the layout of x, for each layer and direction."""
        batched, steps, traces = x.dim() == 3, self._sequence(x), list[dict[str, Tensor]]()
        self._run(steps, self._states(hx, steps, batched), None, None, traces)
        if batched and self.batch_first:
            return [{name: values.transpose(0, 1) for name, values in found.items()} for found in traces]
        return traces if batched else [{name: values.squeeze(1) for name, values in found.items()} for found in traces]

    def find_nan(self, x: Tensor) -> str:
        """Return which line of the text made the first NaN or infinite number of a batch, or an empty string."""
        time = 1 if self.batch_first and x.dim() == 3 else 0
        with torch.no_grad():
            traces = self.trace(x)
        for layer, found in enumerate(traces):
            for t in range(x.shape[time]):
                for name, (_, _, line, source) in self.cell.quantities.items():
                    if not found[name].select(time, t).isfinite().all():
                        place = f"line {line}" + (f" of layer {layer}" if len(traces) > 1 else "")
                        return f"cell {self.cell.name}, {place}: {source} made a NaN or infinite number at step {t + 1}"
        return ""

    def _run(
        self, x: Tensor, state: States, lengths: Tensor | None, rng: Rng, traces: list[dict[str, Tensor]] | None
    ) -> tuple[Tensor, list[States]]:
        """Run all layers over x [T, B, I]; return the output and the final states. With `traces` step by step, in eval mode."""
        training, finals = self.training and traces is None, list[States]()
        for layer in range(self.num_layers):
            outputs = []
            for reverse in (False, True)[: self.num_directions]:
                at = len(finals)
                before = {name: values[at] for name, values in state.items()}
                seed = draw_seed(rng) if training and self.options.hidden_dropout > 0.0 else None
                arguments = self.cell, self.weights(at), x, before, lengths, self.options, seed, reverse
                if traces is None:
                    output, after = interpreter.run(*arguments)
                else:
                    steps = {name: list[Tensor]() for name in self.cell.quantities}
                    output, after = reference.unroll(*arguments, steps)
                    found = {name: torch.stack(values) for name, values in steps.items()}
                    traces.append(
                        {name: reverse_steps(values, None) if reverse else values for name, values in found.items()}
                    )
                outputs.append(output)
                finals.append(after)
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)  # [T, B, D·H]
            if layer < self.num_layers - 1 and training and self.dropout > 0.0:
                uniform = rand(x.shape, rng, dim=1, device=x.device, dtype=x.dtype)
                x = x * (uniform >= self.dropout) / ((1.0 - self.dropout) or 1.0)
        return x, finals

    def _sequence(self, x: Tensor) -> Tensor:
        """Return an input as [T, B, I] in the dtype of the weights; raise a DataError if it does not fit."""
        weight = next(iter(self.weights(0).values()))
        time = 1 if self.batch_first and x.dim() == 3 else 0
        if x.dim() not in (2, 3) or x.shape[-1] != self.input_size or x.shape[time] == 0:
            raise DataError(
                f"x must be a batch of sequences with I = {self.input_size} numbers a step, got shape {list(x.shape)}"
            )
        if x.dtype != weight.dtype and not (torch._C._is_any_autocast_enabled() and x.is_floating_point()):
            raise DataError(f"x must be {weight.dtype} as the weights, got {x.dtype}")
        x = x.to(weight.dtype)
        if x.dim() == 2:
            return x.unsqueeze(1)
        return x.transpose(0, 1) if self.batch_first else x

    def _states(self, hx: Any, x: Tensor, batched: bool) -> States:
        """Return the states before the first step by name, [D·L, B, H] each; raise a DataError if they do not fit."""
        names, shape = self.cell.states, (len(self.layers), x.shape[1], self.hidden_size)
        if hx is None:
            hx = {}
        elif isinstance(hx, Tensor):
            hx = (hx,)
        if not isinstance(hx, Mapping):
            if len(hx) != len(names):
                raise DataError(f"hx must have the states {', '.join(names)}, got {len(hx)}")
            hx = dict(zip(names, hx, strict=True))
        if unknown := set(hx).difference(names):
            raise DataError(f"hx has an unknown state {min(unknown)}; the states are {', '.join(names)}")
        states = {}
        for name in names:
            entry = hx.get(name)
            entry = x.new_zeros(shape) if entry is None else entry if batched else entry.unsqueeze(1)
            if entry.shape != shape:
                raise DataError(f"state {name} must be {list(shape)}, got {list(entry.shape)}")
            states[name] = entry.to(x.dtype)
        return states

    def extra_repr(self) -> str:
        """Return what `print` shows."""
        return f"{self.cell.name}, {self.input_size}, {self.hidden_size}, num_layers={self.num_layers}; {self.cell.summary()}"


@cache
def _state_type(names: tuple[str, ...]) -> Any:
    """Return the class of named tuples of the states of a cell."""
    return namedtuple("State", names)
