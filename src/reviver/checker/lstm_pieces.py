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
from reviver.checker.compare import Quantities, compare, derivatives, upstream
from reviver.checker.layout import Layout, find_layouts
from reviver.checker.lstm_mistakes import (
    CHANGES_INPUTS,
    DROPOUT_IN_EVALUATION,
    DROPOUT_MISTAKES,
    HIDDEN_SIZE,
    INITIAL_MISTAKES,
    INPUT_SIZE,
    JOINED_XAVIER,
    NETWORK,
    SEQUENCE_GRADIENT_MISTAKES,
    SEQUENCE_MISTAKES,
    STEP,
    STEP_GRADIENT_MISTAKES,
    STEP_MISTAKES,
    TRAIN,
    TRAINING_MISTAKES,
    XAVIER,
    Initial,
    recall,
    wrong_update,
)
from reviver.checker.pieces import Failure, Namespace, Piece
from reviver.lstm.cell import LSTMState, LSTMWeights, lstm_step
from reviver.text import short_repr

NUM_CLASSES = 10
EPOCHS, BATCH_SIZE = 20, 128
MIN_ACCURACY = 0.9
"""Validation accuracy of one-hot palindromes of length 5 after EPOCHS, 14 % to 100 % above which a correct LSTM comes."""


def random_weights(input_size: int, hidden_size: int) -> LSTMWeights:
    """Return weights of a cell that all differ, also U and its transpose."""
    shapes = [(hidden_size, input_size)] * 4 + [(hidden_size, hidden_size)] * 4 + [(hidden_size,)] * 4
    values = [torch.randn(shape, generator=_rng(index)) * 0.7 for index, shape in enumerate(shapes)]
    return LSTMWeights(**dict(zip(LSTMWeights._fields, values, strict=False)), W_proj=None)


def tensors(w: LSTMWeights) -> dict[str, Tensor]:
    """Return the weights of a cell without a projection by name."""
    return {name: value for name, value in w._asdict().items() if value is not None}


def _rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_cells(names: Namespace) -> list[Callable[..., Any]]:
    """Return the step as functions (x, state, w), one for each layout that the weights of a class may have."""
    if "lstm_step" in names:
        return [names["lstm_step"]]
    cell = names["LSTMCell"](layout.I, layout.H)
    takes = len(inspect.signature(cell.forward).parameters)
    return [partial(call_cell, names["LSTMCell"], found, takes) for found in find_layouts(cell)]


def call_cell(cls: Callable[..., nn.Module], found: Layout, takes: int, x: Tensor, state: Any, w: LSTMWeights) -> Any:
    """Call a cell of class `cls` with weights; it takes x, h and c, or x and the state."""
    cell = cls(x.shape[1], state[0].shape[1])
    return functional_call(cell, found.assemble(w), (x, *state) if takes == 3 else (x, tuple(state)))


def read_step(result: Any) -> dict[str, Any]:
    """Return the gates, if there are any, and the state that a step returned."""
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Failure(f"a step must return the state and the gates, or h and c, got {short_repr(result)}")
    state, gates = (result, ()) if isinstance(result[0], Tensor) else result
    if not isinstance(state, tuple | list) or len(state) != 2 or len(gates) not in {0, 4}:
        raise Failure(f"a step must return a state (h, c) and gates (i, f, g, o), got {short_repr(result)}")
    found = dict(zip(("i", "f", "g", "o"), gates, strict=False)) | {"c": state[1], "h": state[0]}
    return {name: found[name] for name in ("i", "f", "g", "o", "c", "h") if name in found}


def step_examples(is_square: bool) -> tuple[Tensor, LSTMState, LSTMWeights]:
    """Return input, state and weights of a step."""
    batch, inputs, hidden = (4, 4, 4) if is_square else (2, 3, 5)
    x, h, c = (
        torch.randn(batch, size, generator=_rng(seed)) for seed, size in ((20, inputs), (21, hidden), (22, hidden))
    )
    return x, LSTMState(h, c), random_weights(inputs, hidden)


def check_step(names: Namespace) -> str:
    """Check the values of gates and state, the gradients, and that nothing is changed in place."""

    def values(step: Callable[..., Any], is_square: bool) -> Quantities:
        return read_step(step(*step_examples(is_square)))

    step = compare(values, make_cells(names), lstm_step, STEP_MISTAKES)
    x, state, w = given = step_examples(False)
    before = copy.deepcopy(given)
    step(*given)
    pairs = zip((x, *state, *tensors(w).values()), (before[0], *before[1], *tensors(before[2]).values()), strict=True)
    if not all(torch.equal(now, then) for now, then in pairs):
        raise Failure("x, h, c or w is another tensor after the step than before", CHANGES_INPUTS)

    def gradients(step: Callable[..., Any], is_square: bool) -> Quantities:
        inputs = {"x": x, "h": state.h, "c": state.c} | tensors(w)

        def scalar(x: Tensor, h: Tensor, c: Tensor, **weights: Tensor) -> Tensor:
            result = read_step(step(x, LSTMState(h, c), LSTMWeights(**weights, W_proj=None)))
            return upstream({name: result[name] for name in "hc"})  # some steps return no gates

        return derivatives(scalar, inputs, by_numbers=step is lstm_step)

    compare(gradients, [step], lstm_step, STEP_GRADIENT_MISTAKES)
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
    found = find_layouts(names["Recaller"](layout.I, layout.H, dropout=0.0))
    for candidate in found:
        if {part.gates for part in candidate.parts.values() if part.kinds == ("out",)} != {"W", "b"}:
            raise Failure(f"a linear layer from H to {NUM_CLASSES} logits is missing")
    return [OwnRecaller(names["Recaller"], candidate) for candidate in found]


def sequence_examples(is_square: bool) -> tuple[Tensor, LSTMWeights, Tensor, Tensor]:
    """Return input, weights, W_out and b_out of a network; batch and time have the same size in the second examples."""
    batch, steps, inputs, hidden = (4, 4, 3, 5) if is_square else (2, 4, 3, 5)
    x = torch.randn(batch, steps, inputs, generator=_rng(30))
    W_out = torch.randn(NUM_CLASSES, hidden, generator=_rng(31))
    return x, random_weights(inputs, hidden), W_out, torch.randn(NUM_CLASSES, generator=_rng(32))


def check_sequence(names: Namespace) -> str:
    """Check the logits without dropout, for several lengths, and the gradients through all steps."""

    def logits(network: Callable[..., Any], is_square: bool) -> Quantities:
        x, *weights = sequence_examples(is_square)
        result = {"the logits": network(x, *weights)}
        return result if is_square else result | {"the logits after one step": network(x[:, :1], *weights)}

    network = compare(logits, make_networks(names), recall, SEQUENCE_MISTAKES)
    x, w, W_out, b_out = sequence_examples(False)

    def gradients(network: Callable[..., Any], is_square: bool) -> Quantities:
        inputs = {"x": x, "W_out": W_out} | tensors(w)

        def scalar(x: Tensor, W_out: Tensor, **weights: Tensor) -> Tensor:
            return upstream({"logits": network(x, LSTMWeights(**weights, W_proj=None), W_out, b_out)})

        return derivatives(scalar, inputs, by_numbers=network is recall)

    compare(gradients, [network], recall, SEQUENCE_GRADIENT_MISTAKES)
    return "logits and gradients over time agree with the equations"


def check_dropout(names: Namespace) -> str:
    """Check by the values that h takes after two steps over many equal rows, of units that do not see each other."""
    size, rows, p = NUM_CLASSES, 400, 0.3
    w = random_weights(1, size)
    w = w._replace(**{f"U_{gate}": getattr(w, f"U_{gate}").diagonal().diag() for gate in layout.LETTERS})
    x = torch.tensor([[0.8], [-0.6]]).expand(rows, 2, 1)  # [B, T, I]
    arguments = (x, w, torch.eye(size), torch.zeros(size))

    def values(network: Callable[..., Any], is_square: bool) -> Quantities:
        h = (network(*arguments, p) * 1e8).round() + 0.0  # [B, H]; as integers, so that rounding makes no new values
        return {f"values of unit {unit}": h[:, unit].unique() / 1e8 for unit in range(size)}

    networks = [network for network in make_networks(names) if _agrees(network)]
    compare(values, networks, recall, DROPOUT_MISTAKES, f"with p = {p}, h does not take the values that it should")
    network = names["Recaller"](layout.I, layout.H, dropout=p).eval()
    x = sequence_examples(False)[0]
    if not torch.equal(network(x), network(x)):
        raise Failure("in eval mode, the same input gives other logits each time", DROPOUT_IN_EVALUATION)
    return "h, at every step, in training only"


def _agrees(network: OwnRecaller) -> bool:
    examples = sequence_examples(False)
    return torch.allclose(network(*examples), recall(*examples))


def check_initialization(names: Namespace) -> str:
    """Check the spread of new weights, each matrix by itself or W and U of a gate together, and the biases."""
    if "reset_weights" in names:
        w = random_weights(INPUT_SIZE, HIDDEN_SIZE)
        for value in tensors(w).values():
            value.fill_(torch.nan)
        names["reset_weights"](w)
        found = [measure(tensors(w))]
    else:
        cls = names.get("LSTMCell") or names["Recaller"]
        parameters = dict(cls(INPUT_SIZE, HIDDEN_SIZE).named_parameters())
        found = [measure(each.read(parameters, INPUT_SIZE)) for each in find_layouts(cls(layout.I, layout.H))]
    if any(is_close(values, Initial(*std, 1.0, 0.0)) for values in found for std in (XAVIER, JOINED_XAVIER)):
        return "Xavier weights, a forget bias of 1, other biases 0"
    for mistake in INITIAL_MISTAKES:
        if any(is_close(values, mistake.compute()) for values in found):
            raise Failure("new weights are not as they should be", mistake)
    W, U, b_f, b = (value.double().mean().item() for value in found[0])
    raise Failure(
        f"the standard deviations of W and U are {W:.2g} and {U:.2g}, should be {XAVIER[0]:.2g} and {XAVIER[1]:.2g}; "
        f"the mean of b_f is {b_f:.2g}, should be 1, and of other biases {b:.2g}, should be 0"
    )


def measure(w: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the standard deviations of the W and of the U, [4] each, the forget bias and the other biases."""
    stds = [torch.stack([w[f"{kind}_{gate}"].std() for gate in layout.LETTERS]) for kind in "WU"]
    return [*stds, w["b_f"], torch.cat([w[f"b_{gate}"] for gate in "ico"])]


def is_close(values: list[Tensor], expected: Initial) -> bool:
    """Return whether all values are those of an initialization, standard deviations up to 13 % of chance."""
    return all(
        right is None or bool(((value - right).abs() <= tolerance).all())
        for value, right, tolerance in zip(
            values, expected, (0.13 * expected.W, 0.13 * expected.U, 1e-6, 1e-6), strict=True
        )
    )


class OneMatrix(nn.Module):
    """A network of one matrix, whose updates show the gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(NUM_CLASSES, 8, generator=_rng(40)))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, C] of x [B, T, I]."""
        return functional.linear(x.flatten(1), self.weight)


def check_training(names: Namespace) -> str:
    """Check the weights after two updates, with and without clipping."""

    def weights(update: Callable[..., Any], is_square: bool) -> Quantities:
        result = {}
        for max_norm, how in ((100.0, "of a short gradient"), (0.3, "of a long gradient")):
            network = OneMatrix()
            optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
            for index in (1, 2):
                x = torch.randn(6, 4, 2, generator=_rng(40 + index))
                update(network, optimizer, x, torch.arange(6), max_norm)
                result[f"the weight after update {index} {how}"] = network.weight.detach().clone()
        return result

    compare(weights, [names["update"]], wrong_update, TRAINING_MISTAKES, tolerance=1e-5)  # torch adds 1e-6 to the norm
    return "the gradient is clipped and the weights are updated"


def palindromes() -> tuple[Tensor, Tensor]:
    """Return the inputs, one-hot [1000, 4, 10], and the last digits [1000] of all palindromes of length 5, shuffled."""
    numbers = torch.randperm(1000, generator=_rng(50))
    first, second, third = numbers // 100, numbers // 10 % 10, numbers % 10
    digits = torch.stack([first, second, third, second], dim=1)
    return functional.one_hot(digits, 10).to(torch.get_default_dtype()), first


def check_learning(names: Namespace) -> str:
    """Train for EPOCHS and check the validation accuracy."""
    torch.set_default_dtype(torch.float32)
    update = names.get("update", wrong_update)
    network = names["Recaller"](10, 64, dropout=0.0)
    optimizer = torch.optim.RMSprop(network.parameters(), lr=2e-3)
    x, targets = palindromes()
    for epoch in range(EPOCHS):
        for batch in torch.randperm(800, generator=_rng(60 + epoch)).split(BATCH_SIZE):
            update(network, optimizer, x[batch], targets[batch], 10.0)
    network.eval()
    with torch.no_grad():
        accuracy = (network(x[800:]).argmax(1) == targets[800:]).double().mean().item()
    if accuracy < MIN_ACCURACY:
        raise Failure(f"accuracy at T = 5 is {accuracy:.0%} after {EPOCHS} epochs, should be above {MIN_ACCURACY:.0%}")
    return f"accuracy at T = 5 is {accuracy:.0%} after {EPOCHS} epochs; chance is 10%"


LSTM_PIECES = (
    Piece("lstm_step", "lstm", ("lstm_step", "LSTMCell"), (), STEP, check_step),
    Piece("initialization", "lstm", ("reset_weights", "LSTMCell", "Recaller"), (), STEP, check_initialization),
    Piece("sequence", "lstm", ("Recaller",), ("lstm_step",), NETWORK, check_sequence),
    Piece("dropout", "lstm", ("Recaller",), ("sequence",), NETWORK, check_dropout),
    Piece("training", "lstm", ("update",), (), TRAIN, check_training),
    Piece("learning", "lstm", ("Recaller",), ("sequence", "training", "initialization"), TRAIN, check_learning),
)
