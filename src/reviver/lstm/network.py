"""The LSTM, written out gate by gate, and a classifier on top of it.

Shapes: B batch, T time, I input size, H hidden size, L layers, D directions (1 or 2), C classes.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self, TypedDict, TypeVar, Unpack, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from reviver.config import Count, Precision, Probability
from reviver.errors import ConfigError, DataError
from reviver.lstm import operator
from reviver.lstm.choices import DropoutKind
from reviver.lstm.dropout import draw_seed, dropout_masks
from reviver.lstm.precision import rounded_linear
from reviver.validation import check

Batch = TypeVar("Batch", Tensor, PackedSequence)


class LSTMState(NamedTuple):
    """The recurrent state after a step.

    Attributes:
        h: hidden state, [D·L, B, H] ([D·L, H] for a sequence without batch); in training with hidden dropout,
            the dropped-out one.
        c: cell state, of the same shape.
    """

    h: Tensor
    c: Tensor


class LSTMGates(NamedTuple):
    """The gates of a layer and its cell candidate at a step, [B, H] each."""

    i: Tensor
    f: Tensor
    g: Tensor
    o: Tensor


class LayerOptions(TypedDict, total=False):
    """What all layers of a network have in common.

    Attributes:
        hidden_dropout: probability to drop a unit of the hidden state at a step, in training; 0 by default.
        hidden_dropout_kind: "step" (default), "variational" or "zoneout", see `reviver.lstm.choices.DropoutKind`.
        precision: "fp32" (default) multiplies in the network's dtype, "bf16" rounds the operands of each matrix
            multiplication to bfloat16, which is faster where the CPU has instructions for it; see `reviver.lstm.precision`.
        checkpoint_steps: where the native operator trains, keep only the state every so many steps and compute
            the rest again: less memory for very long sequences, a third more time. None (default) keeps everything.
    """

    hidden_dropout: float
    hidden_dropout_kind: DropoutKind
    precision: Precision
    checkpoint_steps: int | None


class LSTMLayer(nn.Module):
    """One layer of an LSTM in one direction.

    Hochreiter & Schmidhuber (1997) with the forget gate of Gers et al. (2000). At each step t

        i_t = σ(W_i x_t + U_i h_{t-1} + b_i)        input gate
        f_t = σ(W_f x_t + U_f h_{t-1} + b_f)        forget gate
        g_t = tanh(W_c x_t + U_c h_{t-1} + b_c)     cell candidate
        o_t = σ(W_o x_t + U_o h_{t-1} + b_o)        output gate
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
        h_t = m_t ⊙ o_t ⊙ tanh(c_t)

    where m_t is the dropout mask of the hidden state: all ones except in training with `hidden_dropout` p > 0, when each
    unit of each step is 0 with probability p and 1 / (1 - p) otherwise. The masked h_t is both the layer's output and
    what the next step sees. With `hidden_dropout_kind` "variational" one mask serves all steps of a sequence; with
    "zoneout" h_t = m_t ⊙ o_t ⊙ tanh(c_t) + (1 - m_t) ⊙ h_{t-1} with m_t of 0 and 1, and outside training m_t is 1 - p
    everywhere (see `reviver.lstm.dropout`). With `precision` "bf16" the operands of every matrix multiplication, in the
    backward pass too, are rounded to bfloat16 (see `reviver.lstm.precision`).

    On a CPU in float32 `reviver.lstm.operator` computes the same, masks included, as one native operator.

    Parameters: `W_*` [H, I], `U_*` [H, H], `b_*` [H] for * in i, f, c, o.

    Raises:
        ConfigError: if an argument is out of range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        hidden_dropout: float = 0.0,
        hidden_dropout_kind: DropoutKind = "step",
        precision: Precision = "fp32",
        checkpoint_steps: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check("input_size", input_size, Count)
        check("hidden_size", hidden_size, Count)
        check("hidden_dropout", hidden_dropout, Probability)
        check("hidden_dropout_kind", hidden_dropout_kind, DropoutKind)
        check("precision", precision, Precision)
        check("checkpoint_steps", checkpoint_steps, Count | None)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.hidden_dropout = hidden_dropout
        self.hidden_dropout_kind = hidden_dropout_kind
        self.precision = precision
        self.checkpoint_steps = checkpoint_steps

        def empty(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        I, H = input_size, hidden_size  # noqa: E741
        self.W_i, self.U_i, self.b_i = empty(H, I), empty(H, H), empty(H)
        self.W_f, self.U_f, self.b_f = empty(H, I), empty(H, H), empty(H)
        self.W_c, self.U_c, self.b_c = empty(H, I), empty(H, H), empty(H)
        self.W_o, self.U_o, self.b_o = empty(H, I), empty(H, H), empty(H)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh weights from `generator` (torch's own by default).

        Xavier-uniform weights (Glorot & Bengio 2010), each matrix on its own, keep the scale of signals
        and gradients through a step. b_f = 1 keeps the forget gates open at first, so that the cell
        remembers before it has learned to (Gers et al. 2000; Jozefowicz et al. 2015). Other biases are 0.
        """
        for matrix in (self.W_i, self.W_f, self.W_c, self.W_o, self.U_i, self.U_f, self.U_c, self.U_o):
            nn.init.xavier_uniform_(matrix, generator=generator)
        for bias in (self.b_i, self.b_c, self.b_o):
            nn.init.zeros_(bias)
        nn.init.ones_(self.b_f)

    def gates(self, x: Tensor, h: Tensor) -> LSTMGates:
        """Open the gates of a step: x [B, I], h before the step [B, H]."""
        linear = rounded_linear if self.precision == "bf16" else functional.linear
        i = torch.sigmoid(linear(x, self.W_i) + linear(h, self.U_i) + self.b_i)  # [B, H]
        f = torch.sigmoid(linear(x, self.W_f) + linear(h, self.U_f) + self.b_f)  # [B, H]
        g = torch.tanh(linear(x, self.W_c) + linear(h, self.U_c) + self.b_c)  # [B, H]
        o = torch.sigmoid(linear(x, self.W_o) + linear(h, self.U_o) + self.b_o)  # [B, H]
        return LSTMGates(i, f, g, o)

    def step(self, x: Tensor, h: Tensor, c: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Advance the state by one step: x [B, I], h and c [B, H], mask [B, H] or None; returns the new h and c."""
        return self.update(self.gates(x, h), h, c, mask)

    def update(self, gates: LSTMGates, h: Tensor, c: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the new h and c of a step whose gates are open; the arguments of `step`."""
        i, f, g, o = gates
        c = f * c + i * g  # [B, H]
        h_previous, h = h, o * torch.tanh(c)  # [B, H]
        if mask is not None:
            h = mask * h  # [B, H]
            if self.hidden_dropout_kind == "zoneout":
                h = h + (1.0 - mask) * h_previous  # [B, H]
        return h, c

    def forward(
        self,
        x: Tensor,
        h: Tensor,
        c: Tensor,
        lengths: Tensor | None = None,
        *,
        reverse: bool = False,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run over a whole sequence.

        Args:
            x: input, [T, B, I].
            h: hidden state before the first step, [B, H].
            c: cell state before the first step, [B, H].
            lengths: steps that each row of the batch has, int64, [B]; all T by default. Beyond them the state
                stays as it is and the output is 0.
            reverse: begin at the last step and go back.
            generator: source of the dropout masks; torch's own by default.

        Returns:
            The hidden state after each step, [T, B, H] in the order of x, and the final h and c.
        """
        seed = draw_seed(generator) if self.training and self.hidden_dropout > 0.0 else None  # []
        weights = self._weights()
        if operator.applies(x, h, c, *weights):
            return operator.lstm(
                *(x, h, c, weights, lengths),
                reverse=reverse,
                dropout=self.hidden_dropout,
                kind=self._kind(seed),
                seed=None if seed is None else seed.cpu(),
                checkpoint_steps=self.checkpoint_steps,
                precision=self.precision,
            )

        masks = self._masks(x, seed)  # [T, B, H] or None
        steps = range(len(x))
        outputs = [h] * len(x)
        for t in reversed(steps) if reverse else steps:
            h_new, c_new = self.step(x[t], h, c, None if masks is None else masks[t])
            if lengths is None:
                h, c, outputs[t] = h_new, c_new, h_new
            else:
                runs = (t < lengths).unsqueeze(1)  # [B, 1]
                h, c = torch.where(runs, h_new, h), torch.where(runs, c_new, c)  # [B, H]
                outputs[t] = torch.where(runs, h_new, 0.0)
        return torch.stack(outputs), h, c

    def _weights(self) -> list[Tensor]:
        """The weights in the order in which the operator takes them."""
        return [
            *(self.W_i, self.W_f, self.W_c, self.W_o),
            *(self.U_i, self.U_f, self.U_c, self.U_o),
            *(self.b_i, self.b_f, self.b_c, self.b_o),
        ]

    def _masks(self, x: Tensor, seed: Tensor | None) -> Tensor | None:
        """Return the masks m of all steps of x, [T, B, H], or None for all ones."""
        steps, batch, _ = x.shape
        if seed is not None:
            options = self.hidden_size, self.hidden_dropout, self.hidden_dropout_kind
            return dropout_masks(seed.to(x.device), steps, batch, *options).to(x.dtype)
        if self.hidden_dropout_kind == "zoneout" and self.hidden_dropout > 0.0:
            return x.new_full((1, 1, 1), 1.0 - self.hidden_dropout).expand(steps, batch, self.hidden_size)
        return None

    def _kind(self, seed: Tensor | None) -> str:
        """Return what happens to the hidden state, as `operator.KINDS` has it."""
        if seed is not None:
            return self.hidden_dropout_kind
        return "zoneout_mean" if self.hidden_dropout_kind == "zoneout" and self.hidden_dropout > 0.0 else "none"

    def extra_repr(self) -> str:
        """What `print` shows."""
        shown = f"{self.input_size}, {self.hidden_size}, hidden_dropout={self.hidden_dropout}"
        return shown if self.precision == "fp32" else f"{shown}, precision={self.precision}"


class LSTM(nn.Module):
    """Layers of `LSTMLayer`, called as `torch.nn.LSTM` is.

    Args:
        input_size: I, numbers that enter at each step.
        hidden_size: H, units of each layer and direction.
        num_layers: L; each layer reads the outputs of the one below.
        batch_first: x and output are [B, T, ...] instead of [T, B, ...]. States are [D·L, B, H] either way.
        dropout: probability to drop a unit between two layers, in training.
        bidirectional: each layer also reads the sequence from its end; outputs are concatenated.
        options: keywords of each layer, see `LayerOptions`.

    Without `hidden_dropout` it computes what `torch.nn.LSTM` with the same weights does. Its `layers`
    are ordered as the state is: layer 0 forward, layer 0 backward, layer 1 forward, ...

    Raises:
        ConfigError: if an argument is out of range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__()
        check("num_layers", num_layers, Count)
        check("dropout", dropout, Probability)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.batch_first = batch_first
        self.dropout = dropout
        self.bidirectional = bidirectional
        self.hidden_dropout = options.get("hidden_dropout", 0.0)
        self.hidden_dropout_kind = options.get("hidden_dropout_kind", "step")
        self.precision = options.get("precision", "fp32")
        self.layers = nn.ModuleList(
            LSTMLayer(size, hidden_size, device=device, dtype=dtype, **options)
            for size in [input_size] + [self.num_directions * hidden_size] * (num_layers - 1)
            for _ in range(self.num_directions)
        )

    @property
    def num_directions(self) -> int:
        """D: 2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh weights for every layer, see `LSTMLayer.reset_parameters`."""
        for layer in self._lstm_layers():
            layer.reset_parameters(generator)

    def forward(
        self,
        x: Batch,
        state: LSTMState | tuple[Tensor, Tensor] | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[Batch, LSTMState]:
        """Run over a batch of sequences, or over one.

        Args:
            x: [T, B, I], or [B, T, I] with `batch_first`, or [T, I] for one sequence, T and B at least 1; or a
                `PackedSequence`, and then the output is one.
            state: (h, c) before the first step, [D·L, B, H] each ([D·L, H] for one sequence); zeros by default.
            lengths: steps that each sequence of the batch has, from 1 to T, [B]; all T by default. The final state
                is the one after a sequence's last step; the output beyond it is 0.
            generator: source of the dropout masks; torch's own by default.

        Returns:
            The top layer's hidden state after each step, [T, B, D·H] in the layout of x, and the final
            `LSTMState` of all layers.

        Raises:
            DataError: if a shape or a length does not fit.
        """
        if isinstance(x, PackedSequence):
            if lengths is not None:
                raise DataError("lengths: a PackedSequence has its own; give none")
            padded, lengths = pad_packed_sequence(x, self.batch_first)
            padded, last = self(padded, state, lengths, generator=generator)
            packed = pack_padded_sequence(padded, lengths, self.batch_first, enforce_sorted=False)
            return PackedSequence(packed.data, *x[1:]), last

        batched = x.dim() == 3
        x, h, c = self._as_time_first(x, state)
        lengths = None if lengths is None else self._checked_lengths(lengths, x)

        finals: list[list[Tensor]] = []  # h and c of each layer after its last step, [B, H] each
        for level, layers in enumerate(self._levels()):
            outputs = []
            for direction, layer in enumerate(layers):
                start = h[len(finals)], c[len(finals)]  # [B, H] each
                output, *final = layer(x, *start, lengths, reverse=direction == 1, generator=generator)
                outputs.append(output)
                finals.append(final)
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)  # [T, B, D·H]
            if self.training and self.dropout > 0.0 and level < self.num_layers - 1:
                uniform = torch.rand(x.shape, device=x.device, dtype=x.dtype, generator=generator)
                x = x * (uniform >= self.dropout) / (1.0 - self.dropout)

        last = LSTMState(*(torch.stack(states) for states in zip(*finals, strict=True)))  # [D·L, B, H] each
        if not batched:
            return x.squeeze(1), LSTMState(last.h.squeeze(1), last.c.squeeze(1))
        return x.transpose(0, 1) if self.batch_first else x, last

    def _checked_lengths(self, lengths: Tensor | Sequence[int], x: Tensor) -> Tensor:
        """Check the lengths of the rows of x [T, B, I]; return them as int64 [B] on x's device."""
        steps, batch, _ = x.shape
        checked = torch.as_tensor(lengths, dtype=torch.int64, device=x.device)
        if checked.shape != (batch,):
            raise DataError(f"lengths must have the shape [B] = [{batch}], got {list(checked.shape)}")
        if bool(((checked < 1) | (checked > steps)).any()):
            raise DataError(f"lengths must be from 1 to T = {steps}, got {checked.tolist()}")
        return checked

    def _as_time_first(
        self, x: Tensor, state: LSTMState | tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Check the shapes of a call; return x as [T, B, I] and the initial h and c as [D·L, B, H]."""
        if x.dim() not in (2, 3) or x.shape[-1] != self.input_size or 0 in x.shape:
            allowed = f"{'[B, T, I]' if self.batch_first else '[T, B, I]'} or [T, I] with I = {self.input_size}"
            raise DataError(f"x must be {allowed} and no empty axis, got shape {list(x.shape)}")
        if x.dim() == 2:
            x = x.unsqueeze(1)
            state = None if state is None else (state[0].unsqueeze(1), state[1].unsqueeze(1))
        elif self.batch_first:
            x = x.transpose(0, 1)
        shape = (len(self.layers), x.shape[1], self.hidden_size)
        if state is None:
            zeros = x.new_zeros(shape)
            return x, zeros, zeros
        for name, tensor in zip(("h", "c"), state, strict=True):
            if tensor.shape != shape:
                raise DataError(f"{name} must have the shape [D·L, B, H] = {list(shape)}, got {list(tensor.shape)}")
        return x, state[0], state[1]

    @classmethod
    def from_torch(cls, lstm: nn.LSTM, **options: Unpack[LayerOptions]) -> Self:
        """Return an `LSTM` with the weights of a `torch.nn.LSTM`; torch's two biases of a gate are added.

        Raises:
            ConfigError: if `lstm` has a projection (`proj_size`), which these equations do not have.
        """
        if lstm.proj_size:
            raise ConfigError(f"proj_size must be 0, got {lstm.proj_size}; give a torch.nn.LSTM without a projection")
        sizes = lstm.input_size, lstm.hidden_size, lstm.num_layers
        ours = cls(*sizes, lstm.batch_first, lstm.dropout, lstm.bidirectional, **options).to(lstm.all_weights[0][0])
        with torch.no_grad():
            for layer, (W, U, *biases) in zip(ours._lstm_layers(), lstm.all_weights, strict=True):
                b = biases[0] + biases[1] if lstm.bias else W.new_zeros(4 * lstm.hidden_size)
                theirs = (*W.chunk(4), *U.chunk(4), *b.chunk(4))  # in our order, but that torch calls c "g"
                for our_weight, their_weight in zip(layer._weights(), theirs, strict=True):
                    our_weight.copy_(their_weight)
        return ours.train(lstm.training)

    def to_torch(self) -> nn.LSTM:
        """Return a `torch.nn.LSTM` with these weights.

        It has no hidden dropout and multiplies in its dtype; in eval mode and without bf16 outputs are equal.
        """
        layers = self._lstm_layers()
        sizes = self.input_size, self.hidden_size, self.num_layers
        theirs = nn.LSTM(*sizes, True, self.batch_first, self.dropout, self.bidirectional).to(layers[0].W_i)
        with torch.no_grad():
            for layer, their_weights in zip(layers, theirs.all_weights, strict=True):
                W, U, b = (torch.cat(layer._weights()[k : k + 4]) for k in (0, 4, 8))
                for their_weight, our_weight in zip(their_weights, (W, U, b, torch.zeros_like(b)), strict=True):
                    their_weight.copy_(our_weight)
        return theirs.train(self.training)

    def _lstm_layers(self) -> list[LSTMLayer]:
        return cast("list[LSTMLayer]", list(self.layers))

    def _levels(self) -> list[list[LSTMLayer]]:
        """The layers, those of both directions together."""
        layers, D = self._lstm_layers(), self.num_directions
        return [layers[begin : begin + D] for begin in range(0, len(layers), D)]


class LSTMClassifier(nn.Module):
    """An LSTM whose final hidden state a linear layer turns into class scores.

        logits = W_out h_T + b_out

    h_T is the top layer's hidden state after the last step, both directions' concatenated. The arguments
    are those of `LSTM` with `num_classes` C; x is always batch first. Apply softmax for probabilities.

    Parameters: those of `lstm`, `W_out` [C, D·H], `b_out` [C].
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_classes: int,
        num_layers: int = 1,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__()
        check("num_classes", num_classes, Count)
        sizes = input_size, hidden_size, num_layers
        self.lstm = LSTM(*sizes, True, dropout, bidirectional, device=device, dtype=dtype, **options)
        features = self.lstm.num_directions * hidden_size
        self.W_out = nn.Parameter(torch.empty(num_classes, features, device=device, dtype=dtype))
        self.b_out = nn.Parameter(torch.empty(num_classes, device=device, dtype=dtype))
        self.reset_output()

    def reset_output(self, generator: torch.Generator | None = None) -> None:
        """Draw a fresh output layer: Xavier-uniform W_out, zero b_out."""
        nn.init.xavier_uniform_(self.W_out, generator=generator)
        nn.init.zeros_(self.b_out)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh weights for the LSTM and the output layer from `generator` (torch's own by default)."""
        self.lstm.reset_parameters(generator)
        self.reset_output(generator)

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        every_step: bool = False,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Map sequences to class scores.

        Args:
            x: sequences, [B, T, I].
            lengths: steps that each sequence has, [B]; all T by default.
            every_step: return the scores after every step, not only after the last.
            generator: source of the dropout masks; torch's own by default.

        Returns:
            Logits, [B, C], or with `every_step` [B, T, C].

        Raises:
            DataError: if the shape of x or a length does not fit.
        """
        if x.dim() != 3:
            raise DataError(f"x must be [B, T, I] with I = {self.lstm.input_size}, got shape {list(x.shape)}")
        output, state = self.lstm(x, None, lengths, generator=generator)
        return self.output(output) if every_step else self.read_out(state)

    def read_out(self, state: LSTMState) -> Tensor:
        """Return the logits [B, C] of a final state."""
        return self.output(torch.cat(tuple(state.h[-self.lstm.num_directions :]), dim=-1))

    def output(self, h: Tensor) -> Tensor:
        """Return the logits [..., C] of hidden states of the top layer, [..., D·H]."""
        return h @ self.W_out.T + self.b_out
