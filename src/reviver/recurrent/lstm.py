"""The LSTM layer: `torch.nn.LSTM` with dropout of the hidden state at every step, and a faster kernel.

Shapes: B batch, T time, I input size, H hidden size, P projection size (H if there is no projection), L layers,
D directions (1 or 2).
"""

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from reviver.data.build import SequenceData
from reviver.files.pretrained import PretrainedMixin
from reviver.recurrent import kernel
from reviver.recurrent.dropout import apply_dropout
from reviver.recurrent.grammar import built_in_cell
from reviver.recurrent.layers import RecurrentLayers
from reviver.recurrent.lstm_step import LSTMState, LSTMWeights, StackedWeights, lstm_step, reset_weights
from reviver.recurrent.reference import bf16_linear, run_steps
from reviver.rng import Rng, RowsRng
from reviver.settings.fields import Precision
from reviver.settings.lstm_network import DropoutKind, LSTMOptions, LSTMSpec
from reviver.settings.validation import refuse

TAGS = ("reviver", "recurrent-neural-network")
State = tuple[Tensor, Tensor]
"""h [D·L, B, P] and c [D·L, B, H]; without B for a single sequence."""
HELD = ("W_i W_f W_c W_o", "U_i U_f U_c U_o", "b_i b_f b_c b_o", "b_i b_f b_c b_o")
"""Weights of the text `lstm` that the tensors of `StackedWeights` hold."""


class LSTM(PretrainedMixin, RecurrentLayers, nn.LSTM):
    """A `torch.nn.LSTM` with dropout of the hidden state at every step.

    It has torch's arguments, parameters, state dict, errors and results; `cell.lstm_step` has its equations. New weights
    are not torch's but those of `cell.reset_weights`: Xavier-uniform matrices and a forget bias of 1.

    The weights by the names of the equations are views of the parameters: `layer.W_i`, `layer.U_f`, `layer.b_o` and so on
    of the first layer, forward; `layer.gate_weights(layer=1, reverse=True).W_i` of any other. Without `single_bias` there
    are two biases per gate, and `layer.b_o` is a copy of their sum: to set one, change `layer.bias_ih_l0`.

    Args:
        input_size: I.
        hidden_size: H, the units per layer and direction.
        num_layers: L; each layer reads the output of the layer below.
        bias: whether the cells have biases.
        batch_first: x and output are [B, T, ...] instead of [T, B, ...]; states are [D·L, B, ...] either way.
        dropout: probability to drop a unit between two layers in training, in [0, 1].
        bidirectional: add a cell per layer that reads the sequence backward, and concatenate the outputs.
        proj_size: P, the size of the hidden state after a projection, less than H; 0 for no projection. The native kernel
            does not compute projections: with hidden dropout such a layer runs step by step in Python.
        device: device of the parameters.
        dtype: dtype of the parameters.
        hidden_dropout: see `LSTMOptions`, as for the arguments below, which are attributes, too; all but `single_bias` can
            be assigned: `lstm.hidden_dropout = 0.1`. It acts on h, after the projection.
        hidden_dropout_kind: "step", "variational" or "zoneout".
        precision: "fp32" or "bf16".
        single_bias: have one bias per gate.
        activation_checkpoint_steps: steps between the states that are saved for the backward pass.

    Raises:
        ConfigError: if an option is out of range.
        Exception: torch's own, if another argument is wrong.
    """

    _spec, _data_model, _tags = LSTMSpec, SequenceData, TAGS
    _call = "output, state = network(x)  # x [B, T, I]"

    cell = built_in_cell("lstm")
    options: LSTMOptions

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        hidden_dropout: float = 0.0,
        hidden_dropout_kind: DropoutKind = "step",
        precision: Precision = "fp32",
        single_bias: bool = False,
        activation_checkpoint_steps: int | None = None,
    ) -> None:
        self.options = LSTMOptions(  # before torch calls reset_parameters
            hidden_dropout=hidden_dropout,
            hidden_dropout_kind=hidden_dropout_kind,
            precision=precision,
            single_bias=single_bias,
            activation_checkpoint_steps=activation_checkpoint_steps,
        )
        self.num_directions = 2 if bidirectional else 1  # no property: subclasses of torch's layer often set it
        flags: Any = bias, batch_first, dropout, bidirectional, proj_size, device, dtype
        super().__init__(input_size, hidden_size, num_layers, *flags)
        self.state_sizes = self.output_size, hidden_size
        if single_bias:
            for name in self._second_biases():
                zeros = getattr(self, name).detach()
                delattr(self, name)
                self.register_buffer(name, zeros)
                setattr(self, name, zeros)  # torch's layer takes note of it

    # Weights --------------------------------------------------------------------------------------------------------

    @property
    def output_size(self) -> int:
        """Size of the hidden state h of a cell: P with a projection, else H."""
        return self.proj_size or self.hidden_size

    def _second_biases(self) -> list[str]:
        return [name for name in self._flat_weights_names if name.startswith("bias_hh")]

    def stacked_weights(self, layer: int = 0, reverse: bool = False) -> StackedWeights:
        """Return the parameters of a layer and direction as they are stored, without `bias_hh` if there is a single bias."""
        suffix = f"_l{layer}{'_reverse' if reverse else ''}"

        def weight(kind: str) -> Any:
            parameter = self._parameters.get(kind + suffix)  # quick; a computed weight is an attribute
            return getattr(self, kind + suffix) if parameter is None else parameter

        return StackedWeights(
            weight("weight_ih"),
            weight("weight_hh"),
            weight("bias_ih") if self.bias else None,
            weight("bias_hh") if self.bias and not self.options.single_bias else None,
            weight("weight_hr") if self.proj_size else None,
        )

    def all_stacked_weights(self) -> list[StackedWeights]:
        """Return the parameters of each cell, in the order of the state: layer 0 forward, layer 0 backward, layer 1 ..."""
        directions = (False, True)[: self.num_directions]
        return [self.stacked_weights(layer, reverse) for layer in range(self.num_layers) for reverse in directions]

    def weights(self, at: int) -> dict[str, Tensor]:
        """Return the weights by name of a layer and direction, in the order of the state: 0 forward, 0 backward, 1 ..."""
        return self.gate_weights(at // self.num_directions, at % self.num_directions == 1).by_name()

    def gate_weights(self, layer: int = 0, reverse: bool = False) -> LSTMWeights:
        """Return the weights of a layer and direction by the names of the equations, see `LSTM`."""
        return self.stacked_weights(layer, reverse).by_gate()

    @torch.no_grad()
    def gate_biases(self) -> list[tuple[Tensor | None, Tensor]]:
        """Return views of the biases b_i and b_f of every cell, each the only one of its gate: the second ones become 0."""
        for name in self._second_biases():
            getattr(self, name).zero_()
        weights = [stacked._replace(b_hh=None).by_gate() for stacked in self.all_stacked_weights()]
        return [(w.b_i, w.b_f) for w in weights if w.b_f is not None]

    def __getattr__(self, name: str) -> Any:
        """Return a weight of the first layer, forward, by its name in the equations, or an option by its name."""
        return getattr(self.gate_weights(), name) if name in LSTMWeights._fields else super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; an option becomes a part of `options`."""
        if name == "single_bias" and value != self.options.single_bias:
            refuse(name, f"must stay; get another layer by LSTM.from_torch(lstm, single_bias={value})")
        super().__setattr__(name, value)

    @torch.no_grad()
    def reset_parameters(self, rng: torch.Generator | None = None) -> None:
        """Sample new weights for every cell, see `cell.reset_weights`. Of two biases the second becomes 0."""
        for stacked in self.all_stacked_weights():
            reset_weights(stacked._replace(b_hh=None).by_gate(), rng)
        for name in self._second_biases():
            getattr(self, name).zero_()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Load weights; if the layer has a single bias, it gets the sum of two. Called by `load_state_dict`."""
        if self.options.single_bias:
            for name in self._second_biases():
                ih, hh = prefix + name.replace("hh", "ih"), prefix + name
                first, second = state_dict.get(ih), state_dict.get(hh)
                if isinstance(first, Tensor) and isinstance(second, Tensor) and first.shape == second.shape:
                    state_dict[ih], state_dict[hh] = first + second, torch.zeros_like(second)
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    # Forward pass ---------------------------------------------------------------------------------------------------

    def forward(
        self,
        input: Tensor | PackedSequence,  # noqa: A002
        hx: State | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        rng: Rng = None,  # not keyword-only: torch's ONNX exporter by tracing passes all by position
    ) -> tuple[Any, State]:
        """Run over a batch of sequences or over a single one.

        Args:
            input: [T, B, I], or [B, T, I] with `batch_first`, or [T, I] for a single sequence, with T at least 1; or a
                `PackedSequence`, then the output is one, too.
            hx: (h, c) before the first step, [D·L, B, P] and [D·L, B, H], without B for a single sequence; zeros if None.
            lengths: number of steps of each sequence of the batch, from 1 to T, [B]; all T if None. The final state
                is the one after the last step of each sequence; the output after it is 0.
            rng: source of the dropout masks; torch's default generator if None.

        Returns:
            The hidden state of the top layer after each step, [T, B, D·P] in the layout of the input, and the final state
            of all cells, [D·L, B, P] and [D·L, B, H]. In training with hidden dropout, h is the state after dropout.

        Raises:
            DataError: if a length does not fit.
            Exception: torch's own, if a shape or a dtype does not fit.
        """
        if isinstance(input, torch.fx.Proxy):  # while torch.fx traces, a leaf as all modules of torch.nn
            tracer: Any = input.tracer
            return tracer.create_proxy("call_module", tracer.path_of_module(self), (input, hx, lengths, rng), {})
        has_masks = rng is not None and self.training and self.dropout > 0.0 and self.num_layers > 1  # between layers
        torch_runs = not isinstance(rng, RowsRng) and not has_masks and kernel.torch_runs(self, self.options, input)
        if torch_runs and lengths is None:
            return super().forward(input, hx)
        if isinstance(input, PackedSequence):
            return self.run_packed(input, lengths, lambda padded, found: LSTM.forward(self, padded, hx, found, rng))
        if not self.fits(input) or not self._fits_state(input, hx):
            return super().forward(input, hx)  # raises torch's error
        run = self._run_torch if torch_runs and not input.is_meta else self.run_layers
        output, (h, c) = self.run_batch(input, (None, None) if hx is None else hx, lengths, rng, run)
        return output, (h, c)

    def _fits_state(self, x: Tensor, hx: State | None) -> bool:
        batch = [x.shape[0 if self.batch_first else 1]] if x.dim() == 3 else []
        sizes = [(self.num_layers * self.num_directions, *batch, size) for size in self.state_sizes]
        return hx is None or [hx[0].shape, hx[1].shape] == sizes

    def _run_torch(
        self, x: Tensor, start: Sequence[Tensor], lengths: Tensor, rng: Rng
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Run all cells by torch; arguments and result are those of `run_layers`."""
        if x.shape[1] == 0:
            return self.run_layers(x, start, lengths, rng)
        packed = pack_padded_sequence(x, lengths.cpu(), enforce_sorted=False)
        sequence, state = nn.LSTM.forward(self, packed, (start[0], start[1]))
        return pad_packed_sequence(sequence, total_length=len(x))[0], state

    def held_weights(self, at: int) -> tuple[tuple[str, ...], list[Tensor]]:
        """Return the stacked tensors of a cell, and the weights of the text that each holds, see `RecurrentLayers`."""
        stacked = self.stacked_weights(at // self.num_directions, at % self.num_directions == 1)
        tensors = [tensor for tensor in stacked[:4] if tensor is not None]
        return HELD[: len(tensors)], tensors

    def run_cell(
        self, at: int, x: Tensor, start: Sequence[Tensor], lengths: Tensor | None, seed: Tensor | None
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Run a cell, see `RecurrentLayers`; one with a projection, which no text has, step by step."""
        if not self.proj_size:
            return super().run_cell(at, x, start, lengths, seed)
        reverse = at % self.num_directions == 1
        weights = self.stacked_weights(at // self.num_directions, reverse)
        linear = bf16_linear if self.options.precision == "bf16" else functional.linear

        def step(x_t: Tensor, before: Sequence[Tensor], mask: Tensor | None) -> LSTMState:
            new, _ = lstm_step(x_t, LSTMState(*before), weights.by_gate(), linear)
            h = new.h if mask is None else apply_dropout(new.h, before[0], mask, self.options.hidden_dropout_kind)
            return LSTMState(h, new.c)

        return run_steps(step, x, start, lengths, reverse=reverse, options=self.options, seed=seed)

    # Conversion and saving ------------------------------------------------------------------------------------------

    def _arguments(self: nn.LSTM) -> dict[str, Any]:
        """Return the arguments of torch's constructor but `dropout`, which warns if a single layer makes it ineffective."""
        names = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "bidirectional", "proj_size")
        weight = self.weight_ih_l0
        return {name: getattr(self, name) for name in names} | {"device": weight.device, "dtype": weight.dtype}

    @classmethod
    def from_torch(cls, lstm: nn.LSTM, **options: Any) -> Self:
        """Return an LSTM with copies of the weights of a `torch.nn.LSTM`, its arguments, dtype, device and mode.

        `options` are fields of `LSTMOptions`; the others are those of `lstm` if it is one of ours. With `single_bias` the
        two biases of a gate are added.
        """
        kept = asdict(lstm.options) if isinstance(lstm, LSTM) else {}
        result = cls(**LSTM._arguments(lstm), **(kept | options))
        result.dropout = lstm.dropout
        result.load_state_dict({name: getattr(lstm, name) for name in lstm._flat_weights_names})
        return result.train(lstm.training)

    def to_torch(self) -> nn.LSTM:
        """Return a plain `torch.nn.LSTM` with copies of these weights, for tools that know only its own class.

        It lacks the dropout of the hidden state, and the rounding of "bf16". Zoneout, which changes the outputs in eval mode,
        too, is a ConfigError.
        """
        if self.options.hidden_dropout_kind == "zoneout" and self.options.hidden_dropout > 0.0:
            problem = "must be step or variational for a torch.nn.LSTM, got 'zoneout', which acts in eval mode, too"
            refuse("hidden_dropout_kind", f"{problem}; keep the reviver LSTM, or train without zoneout")
        result = nn.LSTM(**self._arguments())
        result.dropout = self.dropout
        result.load_state_dict({name: getattr(self, name) for name in self._flat_weights_names})
        return result.train(self.training)

    def __prepare_scriptable__(self) -> nn.LSTM:
        """Return the layer that `torch.jit.script` compiles in its place; raise ConfigError with hidden dropout."""
        if self.options.hidden_dropout > 0.0:
            problem = f"must be 0 for torch.jit.script, got {self.options.hidden_dropout}"
            refuse("hidden_dropout", f"{problem}; script lstm.to_torch(), which has none, or use torch.export")
        return self.to_torch()

    def extra_repr(self) -> str:
        """Return the arguments that `print` shows: torch's, and the options that are not the defaults."""
        values = [(field, getattr(self.options, field.name)) for field in fields(self.options)]
        options = [f"{field.name}={value}" for field, value in values if value != field.default]
        return ", ".join([super().extra_repr(), *options])
