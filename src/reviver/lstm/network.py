"""LSTM networks made of cells: sequences, layers and directions.

Shapes: B batch, T time, I input size, H hidden size, P projection size (H if there is no projection), L layers,
D directions (1 or 2).
"""

import warnings
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, Unpack, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from reviver.config import Count
from reviver.distributed.rows import BatchRows
from reviver.errors import DataError
from reviver.io.hub import DownloadKeywords
from reviver.lstm import convert, kernel, pretrained, scan
from reviver.lstm.cell import LSTMCell, LSTMState
from reviver.lstm.dropout import apply_dropout, check_rows, draw_seed, hidden_masks, skip_rows
from reviver.lstm.options import LSTMKeywords, LSTMOptions, check_sizes
from reviver.lstm.precision import bf16_linear
from reviver.lstm.transforms import autocast_dtype, plain_values
from reviver.validation import check

Batch = TypeVar("Batch", Tensor, PackedSequence)


def unroll(
    cell: LSTMCell,
    x: Tensor,
    state: LSTMState,
    lengths: Tensor | None,
    *,
    reverse: bool,
    options: LSTMOptions,
    seed: Tensor | None,
) -> tuple[Tensor, LSTMState]:
    """Run a cell over a sequence, step by step.

    This is the reference that `kernel.unroll` is tested against.

    Args:
        cell: the cell.
        x: input, [T, B, I].
        state: state before the first step, h [B, P] and c [B, H].
        lengths: number of steps of each sequence of the batch, [B] int64; all T if None. After its last step a
            sequence keeps its state, and its output is 0.
        reverse: run from the last step to the first.
        options: dropout of the hidden state. The precision is that of `cell.linear`.
        seed: seed of the dropout masks in training, [] int64; None in eval mode.

    Returns:
        The hidden state after each step, [T, B, P] in the order of x, and the state after the last step.
    """
    masks = hidden_masks(x, cell.output_size, options, seed)  # [T, B, P] or None
    steps = range(len(x))
    outputs = [state.h] * len(x)
    for t in reversed(steps) if reverse else steps:
        new, _ = cell(x[t], state)
        if masks is not None:
            new = LSTMState(apply_dropout(new.h, state.h, masks[t], options.hidden_dropout_kind), new.c)
        if lengths is None:
            state, outputs[t] = new, new.h
        else:
            active = (t < lengths).unsqueeze(1)  # [B, 1]
            state = LSTMState(torch.where(active, new.h, state.h), torch.where(active, new.c, state.c))
            outputs[t] = torch.where(active, new.h, 0.0)
    return torch.stack(outputs), state


def skip_sequence(
    cell: LSTMCell,
    x: Tensor,
    state: LSTMState,
    lengths: Tensor | None,
    *,
    reverse: bool,
    options: LSTMOptions,
    seed: Tensor | None,
) -> tuple[Tensor, LSTMState]:
    """Return the output and the state of a batch without rows, [T, 0, P], without running its steps.

    Arguments and result are those of `unroll`. The result does not depend on the weights.
    """
    return x.new_zeros(len(x), 0, cell.output_size), state


class LSTM(nn.Module):
    """A multi-layer LSTM with the arguments of `torch.nn.LSTM`.

    With the same weights it computes the same as `torch.nn.LSTM`, except for `hidden_dropout` and `precision` "bf16",
    which torch's does not have. The equations are those of `LSTMCell`.

    Args:
        input_size: I.
        hidden_size: H, the units per layer and direction.
        num_layers: L; each layer reads the output of the layer below.
        bias: whether the cells have biases.
        batch_first: x and output are [B, T, ...] instead of [T, B, ...]; states are [D·L, B, ...] either way.
        dropout: probability to drop a unit between two layers in training, in [0, 1].
        bidirectional: add a cell per layer that reads the sequence backward, and concatenate the outputs.
        proj_size: P, the size of the hidden state after a projection, less than H; 0 for no projection. The native
            kernel does not compute projections: such a layer runs step by step in Python. That takes about as long
            as torch's layer, and up to twice as long as the kernel without a projection.
        device: device of the parameters.
        dtype: dtype of the parameters.
        **options: fields of `LSTMOptions`: `hidden_dropout`, `hidden_dropout_kind`, `precision` and
            `activation_checkpoint_steps`. Hidden dropout acts on h, after the projection.

    Attributes:
        layers: cells in the order of the state: layer 0 forward, layer 0 backward, layer 1 forward, ...
        options: the `LSTMOptions` of all cells.

    `load_state_dict` accepts the parameter names of `torch.nn.LSTM`, too (see `convert.translate_torch_names`).

    Raises:
        ConfigError: if an argument is out of range.
        TypeError: if an option is unknown.
    """

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
        **options: Unpack[LSTMKeywords],
    ) -> None:
        super().__init__()
        check_sizes(input_size, hidden_size, bias, proj_size)
        check("num_layers", num_layers, Count)
        check("batch_first", batch_first, bool)
        check("dropout", dropout, Annotated[float, Field(ge=0, le=1)])
        check("bidirectional", bidirectional, bool | Literal[0, 1])
        if dropout > 0.0 and num_layers == 1:
            warnings.warn(
                f"dropout acts between layers, so dropout {dropout} has no effect with num_layers 1; give at least 2 layers, "
                "or hidden_dropout",
                stacklevel=2,
            )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bool(bidirectional)
        self.proj_size = proj_size
        self.options = LSTMOptions(**options)
        linear = bf16_linear if self.options.precision == "bf16" else functional.linear
        self.layers = nn.ModuleList(
            LSTMCell(size, hidden_size, bias, device, dtype, proj_size=proj_size, linear=linear)
            for size in [input_size] + [self.num_directions * self.output_size] * (num_layers - 1)
            for _ in range(self.num_directions)
        )

    @property
    def num_directions(self) -> int:
        """D: 2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def output_size(self) -> int:
        """Size of the hidden state h of a cell: P with a projection, else H."""
        return self.proj_size or self.hidden_size

    @property
    def cells(self) -> list[LSTMCell]:
        """The modules of `layers`, typed."""
        return cast("list[LSTMCell]", list(self.layers))

    def cells_by_layer(self) -> list[list[LSTMCell]]:
        """Return the D cells of each layer, forward first."""
        cells, D = self.cells, self.num_directions
        return [cells[begin : begin + D] for begin in range(0, len(cells), D)]

    def reset_parameters(self, rng: torch.Generator | None = None) -> None:
        """Sample new weights for every cell, see `LSTMCell.reset_parameters`."""
        for cell in self.cells:
            cell.reset_parameters(rng)

    def flatten_parameters(self) -> None:
        """Do nothing; for code that calls it for `torch.nn.LSTM`."""

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The weights of each cell as `torch.nn.LSTM` has them.

        They are copies, through which gradients pass to the parameters: a penalty on them works, a change in place
        has no effect. A cell has W [4·H, I], U [4·H, P], with biases b [4·H] and 0 [4·H], with a projection W_proj [P, H].
        """
        return [convert.torch_weights(cell) for cell in self.cells]

    def forward(
        self,
        x: Batch,
        state: LSTMState | tuple[Tensor, Tensor] | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        *,
        rng: torch.Generator | None = None,
        rows: BatchRows | None = None,
        hx: LSTMState | tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Batch, LSTMState]:
        """Run over a batch of sequences or over a single one.

        Args:
            x: [T, B, I], or [B, T, I] with `batch_first`, or [T, I] for a single sequence, with T at least 1; or a
                `PackedSequence`, then the output is one, too.
            state: (h, c) before the first step, [D·L, B, P] and [D·L, B, H], without B for a single sequence; zeros if
                None.
            lengths: number of steps of each sequence of the batch, from 1 to T, [B]; all T if None. The final state
                is the one after the last step of each sequence; the output after it is 0.
            rng: source of the dropout masks; torch's default generator if None.
            rows: rows of a larger batch that x holds. The masks are then those of these rows in a pass over the whole
                batch, and `rng` advances as it does there. x may have no row; then nothing is computed, and the result
                does not depend on the weights. None if x is the whole batch.
            hx: the state under torch's name, for calls with `hx=`.

        Returns:
            The hidden state of the top layer after each step, [T, B, D·P] in the layout of x, and the final state
            of all cells, [D·L, B, P] and [D·L, B, H]. In training with hidden dropout, h is the state after dropout.

        Raises:
            DataError: if a shape, a dtype or a length does not fit.
        """
        state = hx if state is None else state
        if isinstance(x, PackedSequence):
            if lengths is not None:
                raise DataError("lengths must be None for a PackedSequence, which has its own; remove them")
            return self._run_packed(x, state, rng, rows)
        return self._run(x, state, lengths, rng, rows)

    def _run_packed(
        self,
        x: PackedSequence,
        state: LSTMState | tuple[Tensor, Tensor] | None,
        rng: torch.Generator | None,
        rows: BatchRows | None,
    ) -> tuple[PackedSequence, LSTMState]:
        """Run over a `PackedSequence`; the output has its order of rows, which nothing sorts again."""
        padded, lengths = pad_packed_sequence(x, self.batch_first)
        output, last = self._run(padded, state, lengths, rng, rows)
        if x.sorted_indices is not None:
            output = output.index_select(0 if self.batch_first else 1, x.sorted_indices)
            lengths = lengths[x.sorted_indices.cpu()]
        packed = pack_padded_sequence(output, lengths, self.batch_first, enforce_sorted=True)
        return PackedSequence(packed.data, *x[1:]), last

    def _run(
        self,
        x: Tensor,
        state: LSTMState | tuple[Tensor, Tensor] | None,
        lengths: Tensor | Sequence[int] | None,
        rng: torch.Generator | None,
        rows: BatchRows | None,
    ) -> tuple[Tensor, LSTMState]:
        """Compute `forward` for a tensor."""
        batched, dtype = x.dim() == 3, autocast_dtype(x)
        x, h, c = self._as_time_first(x, state)  # [T, B, I], [D·L, B, P], [D·L, B, H]
        lengths = None if lengths is None else self._checked_lengths(lengths, x)
        drops_hidden = self.training and self.options.hidden_dropout > 0.0
        if rows is not None:
            check_rows(rows, x.shape[1])
        is_skipped = rows is not None and len(rows) == 0

        finals: list[LSTMState] = []  # [B, P] and [B, H] each
        for layer, cells in enumerate(self.cells_by_layer()):
            outputs = []
            for direction, cell in enumerate(cells):
                start = LSTMState(h[len(finals)], c[len(finals)])  # [B, P], [B, H]
                seed = draw_seed(rng) if drops_hidden else None
                if seed is not None and rows is not None:
                    seed = skip_rows(seed, rows.begin)
                native = not cell.proj_size and kernel.applies(x, *start, *cell.weights()) and x.shape[1] > 0
                run = kernel.unroll if native else scan.unroll if torch.compiler.is_exporting() else unroll
                run = skip_sequence if is_skipped else run
                output, final = run(
                    cell, x, start, lengths, reverse=direction == 1, options=self.options, seed=seed
                )  # [T, B, P], ([B, P], [B, H])
                outputs.append(output)
                finals.append(final)
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)  # [T, B, D·P]
            if self.training and self.dropout > 0.0 and layer < self.num_layers - 1:
                if rows is None:
                    uniform = torch.rand(x.shape, device=x.device, dtype=x.dtype, generator=rng)
                else:
                    uniform = rows.rand(x.shape, dim=1, device=x.device, dtype=x.dtype, rng=rng)
                x = x * (uniform >= self.dropout) / ((1.0 - self.dropout) or 1.0)  # all 0 for dropout 1

        last = LSTMState(*(torch.stack(states) for states in zip(*finals, strict=True)))  # [D·L, B, P], [D·L, B, H]
        if x.dtype != dtype:
            x, last = x.to(dtype), LSTMState(last.h.to(dtype), last.c.to(dtype))
        if not batched:
            return x.squeeze(1), LSTMState(last.h.squeeze(1), last.c.squeeze(1))
        return x.transpose(0, 1) if self.batch_first else x, last

    def _checked_lengths(self, lengths: Tensor | Sequence[int], x: Tensor) -> Tensor:
        """Validate the lengths of a batch x [T, B, I]; return them as int64 [B] on the device of x."""
        steps, batch, _ = x.shape
        checked = torch.as_tensor(lengths, dtype=torch.int64, device=x.device)
        if checked.shape != (batch,):
            raise DataError(f"lengths must have the shape [B] = [{batch}], got {list(checked.shape)}")
        values = checked if torch.compiler.is_compiling() else plain_values(checked)
        outside = ((values < 1) | (values > steps)).any()
        if torch.compiler.is_compiling():  # the graph checks them when it runs
            torch._assert_async(~outside, "lengths must be from 1 to T, the number of steps of x")
        elif bool(outside):
            raise DataError(f"lengths must be from 1 to T = {steps}, got {values.tolist()}")
        return checked

    def _as_time_first(
        self, x: Tensor, state: LSTMState | tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Validate the arguments of a call; return x as [T, B, I] and the initial h [D·L, B, P] and c [D·L, B, H]."""
        time = 1 if self.batch_first and x.dim() == 3 else 0
        if x.dim() not in (2, 3) or x.shape[-1] != self.input_size or x.shape[time] == 0:
            allowed = f"{'[B, T, I]' if self.batch_first else '[T, B, I]'} or [T, I] with I = {self.input_size}"
            raise DataError(f"x must be {allowed} and T at least 1, got shape {list(x.shape)}")
        dtype = cast("LSTMCell", self.layers[0]).W_i.dtype
        if x.dtype != dtype and not torch._C._is_any_autocast_enabled():
            raise DataError(f"x must have the dtype of the parameters, {dtype}, got {x.dtype}; give x.to({dtype})")
        batch = () if x.dim() == 2 else (x.shape[1 - time],)
        depth = self.num_directions * self.num_layers
        shapes = (depth, *batch, self.output_size), (depth, *batch, self.hidden_size)
        if state is None:
            h = x.new_zeros(shapes[0])
            c = x.new_zeros(shapes[1]) if self.proj_size else h
        else:
            h, c = state
            for name, size, tensor, shape in zip("hc", "PH" if self.proj_size else "HH", (h, c), shapes, strict=True):
                if tensor.shape != shape:
                    axes = f"[D·L, B, {size}]" if batch else f"[D·L, {size}]"
                    raise DataError(f"{name} must have the shape {axes} = {list(shape)}, got {list(tensor.shape)}")
        if x.dim() == 2:
            return x.unsqueeze(1), h.unsqueeze(1), c.unsqueeze(1)
        return x.transpose(0, 1) if self.batch_first else x, h, c

    @classmethod
    def from_torch(cls, lstm: nn.LSTM, **options: Unpack[LSTMKeywords]) -> Self:
        """Return an LSTM with the weights of a `torch.nn.LSTM`, see `convert.from_torch`."""
        return convert.from_torch(cls, lstm, **options)

    def to_torch(self) -> nn.LSTM:
        """Return a `torch.nn.LSTM` with these weights, see `convert.to_torch`."""
        return convert.to_torch(self)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Load weights, in torch's names too; called by `load_state_dict` of this network or of one around it."""
        metadata, _, missing, _, errors = arguments
        assign = metadata.get("assign_to_params_buffers", False)
        convert.translate_torch_names(self, state_dict, prefix, missing, errors, assign=assign)
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and README.md into `folder`, see `reviver.lstm.pretrained.save`."""
        pretrained.save(self, folder)

    @classmethod
    def from_pretrained(cls, source: str | Path, **download: Unpack[DownloadKeywords]) -> Self:
        """Return a saved network from a folder or a repository, see `reviver.lstm.pretrained.load`."""
        return pretrained.load(cls, source, **download)

    def extra_repr(self) -> str:
        """Return the arguments that `print` shows: the sizes, and those that are not the defaults."""
        names = ("proj_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
        defaults = {"num_layers": 1, "bias": True}
        values = {name: getattr(self, name) for name in names if getattr(self, name) != defaults.get(name, 0)}
        values |= {f.name: value for f in fields(self.options) if (value := getattr(self.options, f.name)) != f.default}
        return ", ".join([f"{self.input_size}", f"{self.hidden_size}", *(f"{n}={v}" for n, v in values.items())])
