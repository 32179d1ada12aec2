"""The pieces of an LSTM that an assignment asks for, and how each is checked.

A file defines `lstm_step(x, state, w)`, with `reset_weights(w)`, or a class `LSTMCell(input_size, hidden_size)`; a network
`Recaller(input_size, hidden_size, dropout)`; and `update(network, optimizer, x, targets, max_norm)`.

Shapes: B batch, T time, I input size, H hidden size, C classes.
"""

import copy
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from reviver.checker import layout
from reviver.checker import lstm_mistakes as wrong
from reviver.checker.compare import Quantities, compare, derivatives, sample, upstream
from reviver.checker.layout import Layout, find_layouts
from reviver.checker.pieces import Failure, Namespace, Piece
from reviver.lstm.cell import LSTMState, LSTMWeights, lstm_step
from reviver.text import short_repr

NUM_CLASSES = 10
EPOCHS, BATCH_SIZE = 20, 128
MIN_ACCURACY = 0.9
"""Validation accuracy after EPOCHS; correct LSTMs reach 100 % on one-hot palindromes of length 5, chance is 10 %."""


def random_weights(input_size: int, hidden_size: int) -> LSTMWeights:
    """Return weights of a cell that all differ, also U and its transpose."""
    shapes = [(hidden_size, input_size)] * 4 + [(hidden_size, hidden_size)] * 4 + [(hidden_size,)] * 4
    values = [0.7 * sample(seed, *shape) for seed, shape in enumerate(shapes)]
    return LSTMWeights(**dict(zip(LSTMWeights._fields, values, strict=False)), W_proj=None)


def by_name(w: LSTMWeights) -> dict[str, Tensor]:
    """Return the weights of a cell without a projection by name."""
    return {name: value for name, value in w._asdict().items() if value is not None}


def make_cells(names: Namespace) -> list[Callable[..., Any]]:
    """Return the step as functions (x, state, w), one for each layout that the weights of a class may have."""
    if "lstm_step" in names:
        return [names["lstm_step"]]
    return [
        partial(call_cell, names["LSTMCell"], found) for found in find_layouts(names["LSTMCell"](layout.I, layout.H))
    ]


def call_cell(cls: Callable[..., nn.Module], found: Layout, x: Tensor, state: LSTMState, w: LSTMWeights) -> Any:
    """Call a cell of class `cls` with weights; it takes x, h and c, or x and the state."""
    cell = cls(x.shape[1], state.h.shape[1])
    takes_both = len(inspect.signature(cell.forward).parameters) == 3
    return functional_call(cell, found.assemble(w), (x, *state) if takes_both else (x, state))


def read_step(result: Any) -> dict[str, Any]:
    """Return the gates, if there are any, and the state that a step returned."""
    if isinstance(result, tuple | list) and len(result) == 2:
        state, gates = (result, ()) if isinstance(result[0], Tensor) else result
        if isinstance(state, tuple | list) and len(state) == 2 and len(gates) in {0, 4}:
            return dict(zip("ifgo", gates, strict=False)) | {"c": state[1], "h": state[0]}
    raise Failure(f"a step must return a state (h, c) and gates (i, f, g, o), or h and c, got {short_repr(result)}")


def step_examples(is_square: bool) -> tuple[Tensor, LSTMState, LSTMWeights]:
    """Return input, state and weights of a step."""
    batch, inputs, hidden = (4, 4, 4) if is_square else (2, 3, 5)
    return sample(20, batch, inputs), LSTMState(*sample(21, 2, batch, hidden)), random_weights(inputs, hidden)


def check_step(names: Namespace) -> str:
    """Check the values of gates and state, the gradients, and that nothing is changed in place."""
    x, state, w = given = step_examples(False)

    def values(step: Callable[..., Any], is_square: bool) -> Quantities:
        found = read_step(step(*step_examples(is_square)))
        return {name: found[name] for name in "ifgoch" if name in found}

    def gradients(step: Callable[..., Any], is_square: bool) -> Quantities:
        def scalar(x: Tensor, h: Tensor, c: Tensor, **weights: Tensor) -> Tensor:
            result = read_step(step(x, LSTMState(h, c), LSTMWeights(**weights, W_proj=None)))
            return upstream({name: result[name] for name in "hc"})  # some steps return no gates

        return derivatives(scalar, {"x": x, "h": state.h, "c": state.c} | by_name(w), by_numbers=step is lstm_step)

    step = compare(values, make_cells(names), lstm_step, wrong.STEP_MISTAKES)
    before = copy.deepcopy(given)
    step(*given)
    pairs = zip((x, *state, *by_name(w).values()), (before[0], *before[1], *by_name(before[2]).values()), strict=True)
    if not all(torch.equal(now, then) for now, then in pairs):
        raise Failure("x, h, c or w is another tensor after the step than before", wrong.CHANGES_INPUTS)
    compare(gradients, [step], lstm_step, wrong.STEP_GRADIENT_MISTAKES)
    return "gates, state and gradients agree with the equations"


class OwnRecaller:
    """A class `Recaller` as a function of its weights, called as `recall` is."""

    def __init__(self, cls: Callable[..., nn.Module], found: Layout) -> None:
        self.cls, self.layout = cls, found

    def __call__(self, x: Tensor, w: LSTMWeights, W_out: Tensor, b_out: Tensor, p: float = 0.0) -> Any:
        """Return the logits, in training mode if p > 0."""
        network = self.cls(x.shape[2], len(w.W_i), dropout=p).train(p > 0)
        return functional_call(network, self.layout.assemble(w, W_out, b_out), (x,))


def make_networks(names: Namespace) -> list[OwnRecaller]:
    """Return the network as functions, one for each layout that its weights may have."""
    layouts = find_layouts(names["Recaller"](layout.I, layout.H, dropout=0.0))
    if {part.gates for part in layouts[0].parts.values() if part.kinds == ("out",)} != {"W", "b"}:
        raise Failure(f"a linear layer from H to {NUM_CLASSES} logits is missing")
    return [OwnRecaller(names["Recaller"], found) for found in layouts]


def sequence_examples(is_square: bool) -> tuple[Tensor, LSTMWeights, Tensor, Tensor]:
    """Return input, weights, W_out and b_out of a network; batch and time have the same size in the second examples."""
    x = sample(30, 4 if is_square else 2, 4, layout.I)
    return x, random_weights(layout.I, layout.H), sample(31, NUM_CLASSES, layout.H), sample(32, NUM_CLASSES)


def check_sequence(names: Namespace) -> str:
    """Check the logits without dropout, for several lengths, and the gradients through all steps."""
    x, w, W_out, b_out = sequence_examples(False)

    def logits(network: Callable[..., Any], is_square: bool) -> Quantities:
        x, *weights = sequence_examples(is_square)
        result = {"the logits": network(x, *weights)}
        return result if is_square else result | {"the logits after one step": network(x[:, :1], *weights)}

    def gradients(network: Callable[..., Any], is_square: bool) -> Quantities:
        def scalar(x: Tensor, W_out: Tensor, **weights: Tensor) -> Tensor:
            return upstream({"logits": network(x, LSTMWeights(**weights, W_proj=None), W_out, b_out)})

        return derivatives(scalar, {"x": x, "W_out": W_out} | by_name(w), by_numbers=network is wrong.recall)

    network = compare(logits, make_networks(names), wrong.recall, wrong.SEQUENCE_MISTAKES)
    compare(gradients, [network], wrong.recall, wrong.SEQUENCE_GRADIENT_MISTAKES)
    return "logits and gradients over time agree with the equations"


def check_dropout(names: Namespace) -> str:
    """Check by the values that h takes after two steps over many equal rows, of units that do not see each other."""
    size, rows, p = NUM_CLASSES, 400, 0.3
    w = random_weights(1, size)
    w = w._replace(**{f"U_{gate}": getattr(w, f"U_{gate}").diagonal().diag() for gate in layout.LETTERS})
    x = torch.tensor([[0.8], [-0.6]]).expand(rows, 2, 1)  # [B, T, I]

    def values(network: Callable[..., Any], is_square: bool) -> Quantities:
        h = network(x, w, torch.eye(size), torch.zeros(size), p)  # [B, H]
        h = (h * 1e8).round() + 0.0  # rounding makes no new values, nor does a negative zero
        return {f"values of unit {unit}": h[:, unit].unique() / 1e8 for unit in range(size)}

    examples = sequence_examples(False)
    networks = [net for net in make_networks(names) if torch.allclose(net(*examples), wrong.recall(*examples))]
    text = f"in training with p = {p}, h does not take the values that it should"
    compare(values, networks, wrong.recall, wrong.DROPOUT_MISTAKES, text)
    network = names["Recaller"](layout.I, layout.H, dropout=p).eval()
    if not torch.equal(network(examples[0]), network(examples[0])):
        raise Failure("in eval mode, the same input gives other logits each time", wrong.DROPOUT_IN_EVALUATION)
    return "h, at every step, in training only"


def check_initialization(names: Namespace) -> str:
    """Check the spread of new weights, each matrix by itself or W and U of a gate together, and the biases."""
    sizes = (wrong.INPUT_SIZE, wrong.HIDDEN_SIZE)
    if "reset_weights" in names:
        w = random_weights(*sizes)
        for value in by_name(w).values():
            value.fill_(torch.nan)
        names["reset_weights"](w)
        found = [measure(by_name(w))]
    else:
        cls = names.get("LSTMCell") or names["Recaller"]
        parameters = dict(cls(*sizes).named_parameters())
        found = [measure(each.read(parameters, sizes[0])) for each in find_layouts(cls(layout.I, layout.H))]
    if any(is_close(values, right) for values in found for right in (wrong.XAVIER, wrong.JOINED_XAVIER)):
        return "Xavier weights, a forget bias of 1, other biases 0"
    W, U, b_f, b = (value.mean().item() for value in found[0])
    text = (
        f"the standard deviations of W and U are {W:.2g} and {U:.2g}, should be {wrong.XAVIER.W:.2g} and "
        f"{wrong.XAVIER.U:.2g}; b_f is {b_f:.2g} on average, should be 1, and the other biases {b:.2g}, should be 0"
    )
    names_it = (m for m in wrong.INITIAL_MISTAKES if any(is_close(values, m.compute()) for values in found))
    raise Failure(text, next(names_it, None))


def measure(w: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the standard deviations of the W and of the U, [4] each, the forget bias and the other biases."""
    stds = [torch.stack([w[f"{kind}_{gate}"].std() for gate in layout.LETTERS]) for kind in "WU"]
    return [*stds, w["b_f"], torch.cat([w[f"b_{gate}"] for gate in "ico"])]


def is_close(values: list[Tensor], expected: wrong.Initial) -> bool:
    """Return whether all values are those of an initialization, standard deviations up to 13 % of chance."""
    tolerances = (0.13 * expected.W, 0.13 * expected.U, 1e-6, 1e-6)
    return all(
        right is None or bool(((value - right).abs() <= tolerance).all())
        for value, right, tolerance in zip(values, expected, tolerances, strict=True)
    )


def check_training(names: Namespace) -> str:
    """Check the weights of a linear layer after two updates by SGD, which show the gradient, with and without clipping."""

    def weights(update: Callable[..., Any], is_square: bool) -> Quantities:
        result = {}
        for max_norm, length in ((100.0, "short"), (0.3, "long")):
            linear = nn.Linear(8, NUM_CLASSES, bias=False)
            linear.load_state_dict({"weight": sample(40, NUM_CLASSES, 8)})
            network = nn.Sequential(nn.Flatten(), linear)
            optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
            for index in (1, 2):
                update(network, optimizer, sample(40 + index, 6, 4, 2), torch.arange(6), max_norm)
                name = f"the weight after update {index} with a {length} gradient"
                result[name] = linear.weight.detach().clone()
        return result

    update = names["update"]
    compare(
        weights, [update], wrong.wrong_update, wrong.TRAINING_MISTAKES, tolerance=1e-5
    )  # torch adds 1e-6 to the norm
    return "the gradient is clipped and the weights are updated"


def check_learning(names: Namespace) -> str:
    """Train for EPOCHS on all palindromes of length 5, one-hot, and check the validation accuracy."""
    torch.set_default_dtype(torch.float32)
    numbers = torch.randperm(1000)
    targets, second, third = numbers // 100, numbers // 10 % 10, numbers % 10
    x = functional.one_hot(torch.stack([targets, second, third, second], dim=1), 10).float()  # [1000, 4, 10]
    network = names["Recaller"](10, 64, dropout=0.0)
    optimizer = torch.optim.RMSprop(network.parameters(), lr=2e-3)
    for _ in range(EPOCHS):
        for batch in torch.randperm(800).split(BATCH_SIZE):
            names.get("update", wrong.wrong_update)(network, optimizer, x[batch], targets[batch], 10.0)
    with torch.no_grad():
        accuracy = (network.eval()(x[800:]).argmax(1) == targets[800:]).double().mean().item()
    text = f"accuracy at T = 5 is {accuracy:.0%} after {EPOCHS} epochs"
    if accuracy < MIN_ACCURACY:
        raise Failure(f"{text}, should be at least {MIN_ACCURACY:.0%}")
    return f"{text}; chance is 10%"


LSTM_PIECES = (
    Piece("lstm_step", "lstm", ("lstm_step", "LSTMCell"), (), wrong.STEP, check_step),
    Piece("initialization", "lstm", ("reset_weights", "LSTMCell", "Recaller"), (), wrong.STEP, check_initialization),
    Piece("sequence", "lstm", ("Recaller",), ("lstm_step",), wrong.NETWORK, check_sequence),
    Piece("dropout", "lstm", ("Recaller",), ("sequence",), wrong.NETWORK, check_dropout),
    Piece("training", "lstm", ("update",), (), wrong.TRAIN, check_training),
    Piece("learning", "lstm", ("Recaller",), ("sequence", "training", "initialization"), wrong.TRAIN, check_learning),
)
