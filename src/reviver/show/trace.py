"""Trace of a network on one sequence: its quantities and class probabilities at every step, and the gradients of an LSTM.

Shapes: T time, I input size, H hidden size, L layers, D directions (1 or 2), C classes.
"""

from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from reviver.errors import ConfigError
from reviver.recurrent.classifier import LSTMClassifier, RecurrentClassifier, RNNClassifier
from reviver.recurrent.custom_cells import States
from reviver.recurrent.reference import unroll
from reviver.settings.lstm import LSTMConfig
from reviver.settings.validation import check, refuse
from reviver.train.lstm.evaluation import encode_input

DIRECTIONS = ("forward", "backward")
PREFIX_CHUNK = 64
"""Number of prefixes of a sequence that a bidirectional network reads in a batch."""


class Trace(NamedTuple):
    """What a network computes on one sequence."""

    layers: list[dict[str, Tensor]]
    """Quantities of each layer and direction, [T, ...] each in the order of x: of an LSTM by name, else by title."""
    probabilities: Tensor
    """Class probabilities after each step, from the inputs up to that step, [T, C]."""
    rows: list[dict[str, Any]]
    """The layers, ready for JSON."""
    gradients: list[dict[str, Tensor]] | None = None
    """Of an LSTM `h`, ‖∂loss/∂h_t‖, and `c` of each layer and direction, [T]; the loss is that after the last step."""
    loss: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return prediction, probabilities and layers, and the loss of an LSTM."""
        loss = {} if self.loss is None else {"loss": self.loss}
        probabilities = self.probabilities.tolist()
        digit = int(self.probabilities[-1].argmax())
        return {"digit": digit, **loss, "probabilities": probabilities, "layers": self.rows}


def trace_digits(network: RecurrentClassifier, config: LSTMConfig, digits: list[int]) -> Trace:
    """Trace `network`, in eval mode, on a palindrome without its last digit; the target is the first digit."""
    x = encode_input(digits, network, config)
    if isinstance(network, LSTMClassifier):
        return trace_lstm(network, x, digits[0])
    return _trace_text(network, x) if isinstance(network, RNNClassifier) else _trace_states(network, x)


def trace_lstm(network: LSTMClassifier, x: Tensor, target: int) -> Trace:
    """Compute the forward pass of an LSTM in eval mode on x [1, T, I] step by step, and the gradients of the loss.

    The gradients are total derivatives, over all paths from a state to the loss: h_t acts through the gates of the next
    step and through the layers above; c_t acts also directly, through c_{t+1} = f_{t+1} ⊙ c_t + ...
    """
    if (network.pooling, network.patch_size) != ("last", 1):
        raise ConfigError(
            f"network must have pooling last and patch_size 1 for a trace, got {network.pooling} and {network.patch_size}: "
            "a trace shows the class after each step, which such a network does not have"
        )
    lstm = network.lstm
    h, c = (x.new_zeros(1, size, requires_grad=True) for size in (lstm.output_size, lstm.hidden_size))
    start = (h, c)  # [1, H] each; these require a gradient, so all states have one
    inputs = x.transpose(0, 1)  # [T, 1, I]
    cells: list[dict[str, list[Tensor]]] = []  # of each layer and direction, in the order of x
    cell = lstm.cell
    with torch.enable_grad():
        for layer in range(lstm.num_layers):
            outputs, final_h = [], []
            for reverse in (False, True)[: lstm.num_directions]:
                steps = {name: list[Tensor]() for name in cell.quantities}
                weights = lstm.gate_weights(layer, reverse).by_name()
                held = tuple(weights), [*weights.values()]
                output, (last_h, _) = unroll(cell, *held, inputs, start, None, lstm.options, None, reverse, steps)
                cells.append({name: found[::-1] if reverse else found for name, found in steps.items()})
                outputs.append(output)
                final_h.append(last_h)
            inputs = torch.cat(outputs, dim=-1)  # [T, 1, D·H]
        logits = network.output(torch.cat(final_h, dim=-1))  # [1, C]
        loss = functional.cross_entropy(logits, torch.tensor([target], device=x.device))
        found = torch.autograd.grad(loss, [state for name in "hc" for steps in cells for state in steps[name]])
    # In float32 the square of a gradient below 1e-23 would underflow to 0.
    norms = torch.cat([gradient.cpu().double().norm(dim=-1) for gradient in found])  # [2·D·L·T]
    gradients = [dict(zip("hc", each, strict=True)) for each in norms.view(2, len(cells), -1).unbind(1)]  # [T] each
    order = "ifgohc"  # of the panels of a figure
    layers = [{name: torch.cat(steps[name]).detach() for name in order} for steps in cells]
    rows = [
        {"layer": index // lstm.num_directions + 1, "direction": DIRECTIONS[index % lstm.num_directions]}
        | {f"gradient_{name}": values.tolist() for name, values in each.items()}
        for index, each in enumerate(gradients)
    ]
    probabilities = _prefix_probabilities(network, x, inputs[:, 0].detach())
    return Trace(layers, probabilities, rows, gradients, loss.item())


@torch.no_grad()
def _trace_text(network: RNNClassifier, x: Tensor) -> Trace:
    """Return all quantities of a cell that is a text on x [1, T, I]."""
    found = network.rnn.trace(x)
    texts = {name: f"{quantity.meaning} {name}".strip() for name, quantity in network.rnn.cell.quantities.items()}
    titles = {name: text[:1].upper() + text[1:] for name, text in texts.items()}
    layers = [{titles[name]: values[0] for name, values in layer.items()} for layer in found]
    rows = [
        {"layer": number, **{name: values[0].tolist() for name, values in layer.items()}}
        for number, layer in enumerate(found, 1)
    ]
    return Trace(layers, network(x, every_step=True)[0].softmax(-1), rows)


@torch.no_grad()
def _trace_states(network: RecurrentClassifier, x: Tensor) -> Trace:
    """Return the states of a user-defined cell on x [1, T, I]."""
    steps: list[list[States]] = []
    output, _ = network.recurrent(x, trace=steps)
    layers = [[torch.stack(values)[:, 0] for values in zip(*layer, strict=True)] for layer in steps]
    titles = ["Hidden state h", *(f"State {number}" for number in range(2, len(layers[0]) + 1))]
    rows = [{"layer": number, "state": [entry.tolist() for entry in layer]} for number, layer in enumerate(layers, 1)]
    named = [dict(zip(titles, layer, strict=True)) for layer in layers]
    return Trace(named, network.output(output[0]).softmax(-1), rows)


def find_layer(config: LSTMConfig, layer: int | None, direction: str) -> int:
    """Return the index in the layers of a trace of a layer, from 1, by default the last, and a direction."""
    layer = config.num_layers if layer is None else layer
    check("layer", layer, Annotated[int, Field(ge=1, le=config.num_layers)])
    if direction == "backward" and not config.bidirectional:
        refuse("direction", f"must be forward for a run that reads forward only, got {direction!r}")
    return (layer - 1) * (1 + config.bidirectional) + DIRECTIONS.index(direction)


@torch.no_grad()
def _prefix_probabilities(network: LSTMClassifier, x: Tensor, h: Tensor) -> Tensor:
    """Return the class probabilities [T, C] after each prefix of x [1, T, I]; h are the top layer's, [T, D·H]."""
    if not network.lstm.bidirectional:
        return network.output(h).softmax(dim=-1)
    # Backward, h_t depends on the later inputs, so the network reads each prefix again.
    chunks = torch.arange(1, x.shape[1] + 1).split(PREFIX_CHUNK)
    logits = [network(x[:, : int(n[-1])].repeat(len(n), 1, 1), n) for n in chunks]  # [n, C] each
    return torch.cat(logits).softmax(dim=-1)
