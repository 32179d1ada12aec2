"""Looking inside an LSTM: its gates, states and probabilities at every step, and what the loss still asks of them.

Shapes: B batch, T time, I input size, H hidden size, L layers, D directions (1 or 2), C classes.
"""

from itertools import chain
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from reviver.errors import ConfigError, DataError
from reviver.lstm.cell import LSTMCell, LSTMState
from reviver.lstm.config import LSTMConfig
from reviver.lstm.dropout import apply_dropout, hidden_masks
from reviver.lstm.evaluation import as_input
from reviver.lstm.network import LSTM, LSTMClassifier
from reviver.lstm.options import LSTMOptions
from reviver.validation import check

DIRECTIONS = ("forward", "backward")
MAX_STEPS = 10_000
"""All steps are in memory at once, and more could not be told apart."""
CHUNK = 64


class LSTMTrace(NamedTuple):
    """What a layer computes in one direction: [B, H] each at one step, [T, B, H] of all steps in the order of x."""

    i: Tensor
    f: Tensor
    g: Tensor
    o: Tensor
    c: Tensor
    h: Tensor


class ClassifierTrace(NamedTuple):
    """What an `LSTMClassifier` computes on the way from x to its logits."""

    layers: list[LSTMTrace]
    """Ordered as `LSTM.layers` are: layer 0 forward, layer 0 backward, layer 1 forward, ..."""
    num_directions: int
    """D"""
    probabilities: Tensor
    """The probability of each class after each step, from the inputs up to there: [T, B, C]."""
    gradient_h: Tensor
    """‖∂loss/∂h_t‖, [D·L, T, B]; loss is the final cross-entropy of a row of the batch."""
    gradient_c: Tensor
    """‖∂loss/∂c_t‖, [D·L, T, B]."""
    loss: Tensor
    """Cross-entropy of the final logits against the right class, [B]."""

    def place(self, index: int) -> tuple[int, str]:
        """Say which layer, counted from 1, and which direction stands at `index` of `layers`."""
        return index // self.num_directions + 1, DIRECTIONS[index % self.num_directions]


def trace(network: LSTMClassifier, x: Tensor, classes: Tensor) -> ClassifierTrace:
    """Run `network` over x [B, T, I] by its equations and keep everything; `classes` [B] are the right ones.

    h_t acts on the loss through the gates of the next step (and the layers above), c_t also directly through
    c_{t+1} = f_{t+1} ⊙ c_t + ...: their gradients are the total ones, over all those paths.

    Raises:
        ConfigError: if `network` is in training mode, where dropout would blur what it computes.
    """
    if network.training:
        raise ConfigError("network must not be in training mode; call network.eval() before a trace")
    lstm = network.lstm
    start = x.new_zeros(len(x), lstm.hidden_size, requires_grad=True)  # [B, H]; so that all states have gradients
    inputs = x.transpose(0, 1)  # [T, B, I]
    layers: list[list[LSTMTrace]] = []
    with torch.enable_grad():
        for cells in lstm.cells_by_layer():
            layers += [
                _trace_cell(cell, inputs, LSTMState(start, start), reverse=direction == 1, options=lstm.options)
                for direction, cell in enumerate(cells)
            ]
            outputs = [torch.stack([step.h for step in steps]) for steps in layers[-lstm.num_directions :]]
            inputs = torch.cat(outputs, dim=-1)  # [T, B, D·H]
        final_h = [outputs[0][-1], *(output[0] for output in outputs[1:])]
        logits = network.output(torch.cat(final_h, dim=-1))  # [B, C]
        loss = functional.cross_entropy(logits, classes, reduction="none")  # [B]
        steps = list(chain.from_iterable(layers))
        gradients = torch.autograd.grad(loss.sum(), [step.h for step in steps] + [step.c for step in steps])
    norms = torch.stack([gradient.cpu().double().norm(dim=-1) for gradient in gradients])  # [2·D·L·T, B]
    gradient_h, gradient_c = norms.view(2, len(layers), len(inputs), -1)  # [D·L, T, B] each
    kept = [LSTMTrace(*(torch.stack(values).detach() for values in zip(*steps, strict=True))) for steps in layers]
    probabilities = _probabilities(network, x, inputs.detach())
    return ClassifierTrace(kept, lstm.num_directions, probabilities, gradient_h, gradient_c, loss.detach())


def trace_digits(network: LSTMClassifier, config: LSTMConfig, digits: list[int]) -> ClassifierTrace:
    """Run `network` over one palindrome without its last digit; the right class is the first digit.

    Raises:
        DataError: if there is no digit, one is not in 0 ... 9, or there are more than `MAX_STEPS`.
    """
    if len(digits) > MAX_STEPS:
        raise DataError(f"digits must be at most {MAX_STEPS} to be plotted, got {len(digits)}")
    x = as_input(digits, network, config)
    return trace(network, x, torch.tensor(digits[:1], device=x.device))


def find_layer(lstm: LSTM, layer: int | None = None, direction: str = "forward") -> int:
    """Return where in `LSTM.layers` a layer is; `layer` counts from 1, the top one is the default.

    Raises:
        ConfigError: if there is no such layer or direction.
    """
    layer = lstm.num_layers if layer is None else layer
    check("layer", layer, Annotated[int, Field(ge=1, le=lstm.num_layers)])
    check("direction", direction, Literal[DIRECTIONS])
    if DIRECTIONS.index(direction) >= lstm.num_directions:
        problem = f"direction must be forward for a run that reads forward only, got {direction!r}"
        raise ConfigError(problem, field="direction")
    return (layer - 1) * lstm.num_directions + DIRECTIONS.index(direction)


def numbers_of(trace: ClassifierTrace) -> dict[str, Any]:
    """The prediction, the probabilities and the gradients of the first sequence of a trace, as JSON has them."""
    layers = []
    for index, (h, c) in enumerate(
        zip(trace.gradient_h[..., 0].tolist(), trace.gradient_c[..., 0].tolist(), strict=True)
    ):
        layer, direction = trace.place(index)
        layers.append({"layer": layer, "direction": direction, "gradient_h": h, "gradient_c": c})
    probabilities = trace.probabilities[:, 0].tolist()
    digit = max(range(len(probabilities[-1])), key=probabilities[-1].__getitem__)
    return {"digit": digit, "loss": trace.loss[0].item(), "probabilities": probabilities, "layers": layers}


def _trace_cell(cell: LSTMCell, x: Tensor, state: LSTMState, *, reverse: bool, options: LSTMOptions) -> list[LSTMTrace]:
    """Compute what `network.unroll` does in eval mode; return every step in the order of x."""
    masks = hidden_masks(x, cell.hidden_size, options, None)  # [T, B, H] or None
    steps: list[LSTMTrace] = []
    x_t = x.unbind()  # the gradient of x[t] alone would be as large as x
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        new, gates = cell(x_t[t], state)
        if masks is not None:
            new = LSTMState(apply_dropout(new.h, state.h, masks[t], options.hidden_dropout_kind), new.c)
        state = new
        steps.append(LSTMTrace(gates.i, gates.f, gates.g, gates.o, state.c, state.h))
    return steps[::-1] if reverse else steps


@torch.no_grad()
def _probabilities(network: LSTMClassifier, x: Tensor, h: Tensor) -> Tensor:
    """The probabilities after each step, [T, B, C], of inputs x [B, T, I] with the top layer's outputs h [T, B, D·H].

    Reading forward only, h_t has seen the inputs up to t and no others. Backward it has seen the later ones, so
    the network reads each beginning of x anew.
    """
    if not network.lstm.bidirectional:
        return network.output(h).softmax(dim=-1)
    batch, steps, _ = x.shape
    finals = []
    for lengths in torch.arange(1, steps + 1).split(CHUNK):
        beginnings = x[:, : int(lengths[-1])].repeat(len(lengths), 1, 1)  # [CHUNK·B, up to T, I]
        logits = network(beginnings, lengths.repeat_interleave(batch))  # [CHUNK·B, C]
        finals.append(logits.view(len(lengths), batch, -1))
    return torch.cat(finals).softmax(dim=-1)
