"""A recurrent layer of any cell that is a text, called as `torch.nn.GRU`.

Shapes: B batch, T time, I input size, H hidden size, L layers, D directions (1 or 2).
"""

import copyreg
from collections import namedtuple
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.rnn import PackedSequence

from reviver.errors import DataError
from reviver.recurrent import kernel
from reviver.recurrent.grammar import Cell, load_cell
from reviver.recurrent.layers import RecurrentLayers
from reviver.recurrent.reference import unroll
from reviver.recurrent.torch_layers import TORCH_CELLS, find_torch_cell, join, split
from reviver.rng import Rng
from reviver.settings.fields import Precision, Probability
from reviver.settings.lstm_network import DropoutKind, LSTMOptions
from reviver.settings.validation import check, refuse


class RNN(RecurrentLayers):
    """Layers of a recurrent cell that is a text, such as that of `reviver lstm cells gru`.

    It is called as `torch.nn.GRU`: `output, state = layer(x)`. The state of a cell with one state is h, [D·L, B, H]; with
    more it is a named tuple in their order, `state.h`, `state.c`. The weights have the names of the text: `layer.W_r` of the
    first layer, `layer.layers[1].W_r` of any other; of two directions, these are the layers 0 forward, 0 backward, 1 ...
    `RNN("lstm", ...)` and `LSTM` have the same weights for the same seed, see `cells.grammar`, and the same dropout masks.

    `cell` is the name of a built-in text, a text, a file `NAME.cell`, or a `Cell`; `rng` is the source of the initial weights,
    torch's default generator if None. The other arguments are those of `LSTM`.

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
        precision: Precision = "fp32",
        activation_checkpoint_steps: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        rng: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.cell = load_cell(cell)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.batch_first, self.dropout, self.bidirectional = batch_first, dropout, bidirectional
        self.num_directions, self.state_sizes = 2 if bidirectional else 1, (hidden_size,) * len(self.cell.states)
        check("dropout", dropout, Probability)
        self.options = LSTMOptions(
            hidden_dropout=hidden_dropout,
            hidden_dropout_kind=hidden_dropout_kind,
            precision=precision,
            activation_checkpoint_steps=activation_checkpoint_steps,
        )
        self.layers = nn.ModuleList()
        for name in self.cell.weights:
            if hasattr(self, name) or hasattr(nn.ParameterDict, name):
                problem = f"{name} is an attribute of every layer, so no weight can have this name"
                refuse("cell", f"{self.cell.name}: {problem}; take another one, such as W_{name.strip('_')}")
        for layer in range(num_layers):
            size = input_size if layer == 0 else self.num_directions * hidden_size
            for _ in range(self.num_directions):
                shapes = self.cell.shapes(size, hidden_size)
                parameters = [(name, torch.empty(shape, device=device, dtype=dtype)) for name, shape in shapes.items()]
                self.layers.append(nn.ParameterDict(parameters))  # of pairs, whose order it keeps
        self._cells = [*self.layers]  # a ModuleList takes a microsecond an index
        self._torch_cell = find_torch_cell(self.cell)
        self.reset_parameters(rng)

    @classmethod
    def from_torch(cls, layer: nn.RNNBase, **options: Any) -> Self:
        """Return the text of a `torch.nn.LSTM`, `GRU` or `RNN` with copies of its weights; two biases are added where they act alike.

        `options` are `hidden_dropout` and so on, see `LSTMOptions`. A projection is a ConfigError: no text has one.
        """
        if layer.mode not in TORCH_CELLS or layer.proj_size:
            what = f"proj_size {layer.proj_size}" if layer.mode in TORCH_CELLS else layer.mode
            refuse("layer", f"must be a torch.nn.LSTM, GRU or RNN without a projection, got {what}; keep it in torch")
        sizes = layer.input_size, layer.hidden_size, layer.num_layers
        weight: Any = layer.weight_ih_l0
        kept = {name: getattr(layer, name) for name in ("batch_first", "dropout", "bidirectional")}
        make: Any = cls
        made: Self = make(
            TORCH_CELLS[layer.mode].cell, *sizes, **kept, device=weight.device, dtype=weight.dtype, **options
        )
        with torch.no_grad():
            for at, cell in enumerate(made._cells):
                reverse = "_reverse" if at % made.num_directions else ""
                found = split(layer.mode, layer, f"_l{at // made.num_directions}{reverse}")
                for name, parameter in cell._parameters.items():
                    parameter.copy_(found.get(str(name), torch.zeros(())))  # of a layer without biases 0
        return made.train(layer.training)

    def __getattr__(self, name: str) -> Any:
        """Return a weight of the first layer, or an option, by its name."""
        layers = self.__dict__["_modules"].get("layers")
        return layers[0][name] if layers and name in layers[0] else super().__getattr__(name)

    def weights(self, at: int) -> dict[str, Any]:
        """Return the weights by name of a layer and direction, in the order of the state: 0 forward, 0 backward, 1 ..."""
        weights: dict[str, Any] = self._cells[at]._parameters
        return weights

    @property
    def weight_dtype(self) -> torch.dtype:
        """Dtype of the weights."""
        return next(iter(self.weights(0).values())).dtype  # type: ignore[no-any-return]

    def gate_biases(self) -> list[tuple[Tensor | None, Tensor]]:
        """Return the biases b_i, if there is one, and b_f of every cell; see `layers.chrono`."""
        if "b_f" not in self.cell.vectors:
            problem = f"must be report for the cell {self.cell.name}, whose text has no vector b_f, got 'chrono'"
            refuse("init", f"{problem}; name the bias of its forget gate so, or give its start as a line")
        return [(self.weights(at).get("b_i"), self.weights(at)["b_f"]) for at in range(len(self.layers))]

    @torch.no_grad()
    def reset_parameters(self, rng: torch.Generator | None = None) -> None:
        """Sample new weights for every layer: matrices Xavier-uniform, vectors where their line in the text says."""
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
        """Run over a batch of sequences or over a single one, see `LSTM.forward`.

        `hx` are the states before the first step: h, or a sequence of all states, or some by name; [D·L, B, H] each, without B
        for a single sequence; zeros where absent.

        Raises:
            DataError: if a shape or a length does not fit.
        """
        if isinstance(input, PackedSequence):
            return self.run_packed(input, lengths, lambda padded, found: RNN.forward(self, padded, hx, found, rng))
        before = self._states(input, hx)
        by_torch = lengths is None and self._torch_cell is not None and kernel.torch_runs(self, self.options, input)
        output, states = self.run_batch(input, before, lengths, rng, self._run_torch if by_torch else self.run_layers)
        return output, states[0] if len(states) == 1 else make_state(self.cell.states, *states)

    def _run_torch(
        self, x: Tensor, start: Sequence[Tensor], lengths: None, rng: Rng
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Run all cells by the layer of torch with this cell; arguments and result are those of `run_layers`."""
        assert self._torch_cell is not None
        mode, ours = self._torch_cell  # names of this text for those of torch's
        states = TORCH_CELLS[mode].cell.states
        flags: dict[str, Any] = {"dropout": self.dropout, "bidirectional": self.bidirectional, "device": "meta"}
        if mode.startswith("RNN"):
            flags["nonlinearity"] = mode.removeprefix("RNN_").lower()
        make: Any = TORCH_CELLS[mode].layer
        layer = make(self.input_size, self.hidden_size, self.num_layers, **flags).train(self.training)
        joined = [weight for at in range(len(self._cells)) for weight in join(mode, ours, self.weights(at))]
        weights = dict(zip((name for name, _ in layer.named_parameters()), joined, strict=True))
        before = dict(zip(self.cell.states, start, strict=True))
        hx = tuple(before[ours[name]].contiguous() for name in states)
        output, end = functional_call(layer, weights, (x, hx if len(states) > 1 else hx[0]))
        after = dict(zip((ours[name] for name in states), end if len(states) > 1 else (end,), strict=True))
        return output, [after[name] for name in self.cell.states]

    def held_weights(self, at: int) -> tuple[tuple[str, ...], list[Tensor]]:
        """Return the names and weights of a cell, see `RecurrentLayers`."""
        weights = self.weights(at)
        return tuple(weights), [*weights.values()]

    def trace(self, x: Tensor, hx: Any = None) -> list[dict[str, Tensor]]:
        """Return every quantity of every step by name in eval mode, in the layout of x, for each layer and direction."""
        traces: list[dict[str, Tensor]] = []

        def run_cell(at: int, *inputs: Any) -> Any:
            steps = {name: list[Tensor]() for name in self.cell.quantities}
            reverse = at % self.num_directions == 1
            of_layer, start, lengths, _ = inputs
            names, weights = self.held_weights(at)
            result = unroll(self.cell, names, weights, of_layer, start, lengths, self.options, None, reverse, steps)
            order = slice(None, None, -1 if reverse else 1)
            traces.append(
                {name: self.in_layout(torch.stack(found[order]), x.dim() == 3) for name, found in steps.items()}
            )
            return result

        self.run_batch(x, self._states(x, hx), None, None, partial(self.run_layers, run_cell=run_cell))
        return traces

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

    def _states(self, x: Tensor, hx: Any) -> list[Tensor | None]:
        """Return the states before the first step, None where absent; raise a DataError if they or x do not fit."""
        if not self.fits(x):
            what = f"{self.weight_dtype} as the weights, a batch of sequences with I = {self.input_size} numbers a step"
            raise DataError(f"x must be {what}, got shape {list(x.shape)} of {x.dtype}")
        names, batch = self.cell.states, [x.shape[0 if self.batch_first else 1]] if x.dim() == 3 else []
        hx = (hx,) if isinstance(hx, Tensor) else {} if hx is None else hx
        if not isinstance(hx, Mapping) and len(hx) == len(names):
            hx = dict(zip(names, hx, strict=True))
        if not isinstance(hx, Mapping) or not set(hx) <= set(names):
            found = ", ".join(hx) if isinstance(hx, Mapping) else len(hx)
            raise DataError(f"hx must have the states {', '.join(names)}, got {found}")
        shape = [len(self._cells), *batch, self.hidden_size]
        for name, entry in hx.items():
            if entry is not None and [*entry.shape] != shape:
                raise DataError(f"state {name} must be {shape}, got {list(entry.shape)}")
        return [hx.get(name) for name in names]

    def extra_repr(self) -> str:
        """Return what `print` shows."""
        return f"{self.cell.name}, {self.input_size}, {self.hidden_size}, num_layers={self.num_layers}; {self.cell.summary()}"


@cache
def _state_type(names: tuple[str, ...]) -> Any:
    made: Any = namedtuple("State", names)  # type: ignore[misc]
    copyreg.pickle(made, lambda state: (make_state, (names, *state)))  # copies and pickles, too, know the names
    return made


def make_state(names: tuple[str, ...], *values: Tensor) -> Any:
    """Return the states of a cell as a named tuple."""
    return _state_type(names)(*values)


torch.serialization.add_safe_globals([make_state])  # torch.load takes a state that torch.save wrote
