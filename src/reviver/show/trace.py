"""Trace of an LSTM classifier: gates, states, probabilities and gradients at every step.

Shapes: B batch, T time, I input size, H hidden size, L layers, D directions (1 or 2), C classes.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from reviver.cells.classifier import RNNClassifier
from reviver.errors import ConfigError
from reviver.lstm.cell import LSTMGates, LSTMState
from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.custom_cells import CellClassifier
from reviver.lstm.equations import unroll
from reviver.settings.lstm import LSTMConfig
from reviver.settings.validation import check, refuse
from reviver.train.lstm.evaluation import encode_input

DIRECTIONS = ("forward", "backward")
PREFIX_CHUNK = 64
"""Number of prefixes of a sequence that a bidirectional network reads in a batch."""


class LSTMTrace(NamedTuple):
    """Gates, candidate and states of a cell: [B, H] each of one step, or [T, B, H] of all steps in the order of x.

    h has the size of the projection if the cell has one.
    """

    i: Tensor
    f: Tensor
    g: Tensor
    o: Tensor
    c: Tensor
    h: Tensor


class ClassifierTrace(NamedTuple):
    """Intermediate values of an `LSTMClassifier`, and the gradients of its loss."""

    layers: list[LSTMTrace]
    """Trace of each cell, in the order of the state: layer 0 forward, layer 0 backward, layer 1 forward, ..."""
    num_directions: int
    """D."""
    probabilities: Tensor
    """Class probabilities after each step, from the inputs up to that step, [T, B, C]."""
    gradient_h: Tensor
    """‖∂loss/∂h_t‖ for each cell, [D·L, T, B]. The loss is the cross-entropy of a sequence after the last step."""
    gradient_c: Tensor
    """‖∂loss/∂c_t‖ for each cell, [D·L, T, B]."""
    loss: Tensor
    """Cross-entropy of the final logits, [B]."""

    def locate(self, index: int) -> tuple[int, str]:
        """Return the layer, counted from 1, and the direction of the cell at `index` of `layers`."""
        return index // self.num_directions + 1, DIRECTIONS[index % self.num_directions]


def trace(network: LSTMClassifier, x: Tensor, targets: Tensor) -> ClassifierTrace:
    """Compute the forward pass of `network` step by step, and the gradients of the loss.

    The gradients are total derivatives, over all paths from a state to the loss: h_t acts through the gates of the next
    step and through the layers above; c_t acts also directly, through c_{t+1} = f_{t+1} ⊙ c_t + ... The inputs x are
    [B, T, I], the target classes of the sequences [B] int64, and `network` is in eval mode.

    Raises:
        ConfigError: if `network` has no class after each step.
    """
    if (network.pooling, network.patch_size) != ("last", 1):
        raise ConfigError(
            f"network must have pooling last and patch_size 1 for a trace, got {network.pooling} and {network.patch_size}: "
            "a trace shows the class after each step, which such a network does not have"
        )
    lstm = network.lstm
    h, c = (x.new_zeros(len(x), size, requires_grad=True) for size in (lstm.output_size, lstm.hidden_size))
    start = LSTMState(h, c)  # [B, P], [B, H]; these require a gradient, so all states have one
    inputs = x.transpose(0, 1)  # [T, B, I]
    layers: list[list[LSTMTrace]] = []
    with torch.enable_grad():
        for layer in range(lstm.num_layers):
            outputs, final_h = [], []
            for reverse in (False, True)[: lstm.num_directions]:
                steps: list[tuple[LSTMGates, LSTMState]] = []
                w, options = lstm.stacked_weights(layer, reverse), lstm.options
                output, end = unroll(w, inputs, start, None, reverse=reverse, options=options, seed=None, trace=steps)
                cell = [LSTMTrace(*gates, c=state.c, h=state.h) for gates, state in steps]
                layers.append(cell[::-1] if reverse else cell)
                outputs.append(output)
                final_h.append(end.h)
            inputs = torch.cat(outputs, dim=-1)  # [T, B, D·H]
        logits = network.output(torch.cat(final_h, dim=-1))  # [B, C]
        loss = functional.cross_entropy(logits, targets, reduction="none")  # [B]
        cells = list(chain.from_iterable(layers))
        gradients = torch.autograd.grad(loss.sum(), [step.h for step in cells] + [step.c for step in cells])
    # In float32 the square of a gradient below 1e-23 would underflow to 0.
    norms = torch.stack([gradient.cpu().double().norm(dim=-1) for gradient in gradients])  # [2·D·L·T, B]
    gradient_h, gradient_c = norms.view(2, len(layers), len(inputs), -1)  # [D·L, T, B] each
    traces = [LSTMTrace(*(torch.stack(values).detach() for values in zip(*steps, strict=True))) for steps in layers]
    probabilities = _prefix_probabilities(network, x, inputs.detach())
    return ClassifierTrace(traces, lstm.num_directions, probabilities, gradient_h, gradient_c, loss.detach())


def trace_digits(network: LSTMClassifier, config: LSTMConfig, digits: list[int]) -> ClassifierTrace:
    """Trace `network` on a palindrome without its last digit; the target is the first digit."""
    x = encode_input(digits, network, config)
    return trace(network, x, torch.tensor(digits[:1], device=x.device))


class StateTrace(NamedTuple):
    """Quantities of a cell at every step: all of a text, by name, or the states of a user-defined class."""

    layers: list[list[Tensor]]
    """Of each layer and direction, in the order of the state, the quantities, [T, ...] each."""
    probabilities: Tensor
    """Class probabilities after each step, [T, C]."""
    titles: list[str]
    """What each quantity is, such as "Update gate z"."""
    names: Sequence[str] = ()
    """Names of the quantities of a text."""

    def to_json(self) -> dict[str, Any]:
        """Return prediction, probabilities and states, ready for JSON."""
        layers: list[dict[str, Any]] = []
        for number, layer in enumerate(self.layers, start=1):
            entries = [entry.tolist() for entry in layer]
            named = dict(zip(self.names, entries, strict=True)) if self.names else {"state": entries}
            layers.append({"layer": number, **named})
        probabilities = self.probabilities.tolist()
        return {"digit": int(self.probabilities[-1].argmax()), "probabilities": probabilities, "layers": layers}


@torch.no_grad()
def trace_states(network: CellClassifier | RNNClassifier, x: Tensor) -> StateTrace:
    """Return the quantities of a network in eval mode on one sequence, x [1, T, I]."""
    if isinstance(network, RNNClassifier):
        probabilities = network(x, every_step=True)[0].softmax(-1)
        traces = [[values[0] for values in found.values()] for found in network.rnn.trace(x)]
        quantities = network.rnn.cell.quantities
        meanings = [f"{quantity.meaning} {name}".strip() for name, quantity in quantities.items()]
        titles = [text[:1].upper() + text[1:] for text in meanings]
        return StateTrace(traces, probabilities, titles, [*quantities])
    steps: list[list[Any]] = []
    output, _ = network.recurrent(x, trace=steps)
    entries = [[(now,) if isinstance(now, Tensor) else now for now in layer] for layer in steps]
    layers = [[torch.stack(values)[:, 0] for values in zip(*layer, strict=True)] for layer in entries]
    titles = ["Hidden state h", *(f"State {number}" for number in range(2, len(layers[0]) + 1))]
    return StateTrace(layers, network.output(output[0]).softmax(-1), titles)


def find_layer(config: LSTMConfig, layer: int | None, direction: str) -> int:
    """Return the index in the layers of a trace of a layer, from 1, by default the last, and a direction."""
    layer = config.num_layers if layer is None else layer
    check("layer", layer, Annotated[int, Field(ge=1, le=config.num_layers)])
    if direction == "backward" and not config.bidirectional:
        refuse("direction", f"must be forward for a run that reads forward only, got {direction!r}")
    return (layer - 1) * (1 + config.bidirectional) + DIRECTIONS.index(direction)


def trace_to_json(trace: ClassifierTrace) -> dict[str, Any]:
    """Return prediction, loss, probabilities and gradient norms of the first sequence of a trace, ready for JSON."""
    gradients = zip(trace.gradient_h[..., 0].tolist(), trace.gradient_c[..., 0].tolist(), strict=True)
    layers = [
        dict(zip(("layer", "direction"), trace.locate(index), strict=True)) | {"gradient_h": h, "gradient_c": c}
        for index, (h, c) in enumerate(gradients)
    ]
    probabilities = trace.probabilities[:, 0]
    digit = int(probabilities[-1].argmax())
    return {"digit": digit, "loss": trace.loss[0].item(), "probabilities": probabilities.tolist(), "layers": layers}


@torch.no_grad()
def _prefix_probabilities(network: LSTMClassifier, x: Tensor, h: Tensor) -> Tensor:
    """Return the class probabilities [T, B, C] after each prefix of x [B, T, I]; h are the top layer's, [T, B, D·H]."""
    if not network.lstm.bidirectional:
        return network.output(h).softmax(dim=-1)
    # Backward, h_t depends on the later inputs, so the network reads each prefix again.
    batch, steps, _ = x.shape
    logits = []
    for lengths in torch.arange(1, steps + 1).split(PREFIX_CHUNK):
        prefixes = x[:, : int(lengths[-1])].repeat(len(lengths), 1, 1)  # [n·B, lengths[-1], I]
        chunk = network(prefixes, lengths.repeat_interleave(batch))  # [n·B, C]
        logits.append(chunk.view(len(lengths), batch, -1))
    return torch.cat(logits).softmax(dim=-1)
