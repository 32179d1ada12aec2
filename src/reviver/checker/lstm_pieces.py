"""The pieces of an LSTM that an assignment asks for, and how each is checked.

A file defines `lstm_step(x, state, w)`, with `reset_weights(w)`, or a class `LSTMCell(input_size, hidden_size)`; a network
`Recaller(input_size, hidden_size, dropout)`; and `update(network, optimizer, x, targets, max_norm)`.

Shapes: B batch, T time, I input size, H hidden size, C classes.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from reviver.checker import lstm_mistakes as wrong
from reviver.checker.compare import Program, Quantities, compare, derivatives, difference, sample, upstream
from reviver.checker.conventions import FORMS, LSTM_KEYS, LSTMSizes, build_module, loose_tensors
from reviver.checker.layout import LETTERS, Layout, by_name, find_layouts
from reviver.checker.lstm_errors import mistake_of
from reviver.checker.lstm_reading import (
    NUM_CLASSES,
    random_weights,
    read_network,
    shapes_of,
    sizes_for,
    state_arguments,
)
from reviver.checker.lstm_sequence import check_graph, check_sequence, doubtful
from reviver.checker.pieces import Failure, Namespace, Piece, Unclear, describe
from reviver.checker.standins import Images
from reviver.checker.updates import check_lstm_loop
from reviver.recurrent.lstm_step import LSTMState, LSTMWeights
from reviver.text import short_repr

EPOCHS, BATCH_SIZE = 20, 128
MIN_ACCURACY = 0.9
"""Validation accuracy after EPOCHS; correct LSTMs reach 100 % on one-hot palindromes of length 5, chance is 10 %."""


class SubmittedCell(NamedTuple):
    """A class of a cell as a step: it takes x, h and c, or x and the state, by their names c before h."""

    cls: Callable[..., Any]
    layout: Layout
    is_single: bool = False
    """Whether it takes the vectors of one example."""

    def __call__(self, x: Tensor, state: LSTMState, w: LSTMWeights) -> Any:
        """Return what the cell returns, without an output."""
        sizes = sizes_for(self.cls, LSTMSizes(B=len(x), I=x.shape[1], H=state[0].shape[1], T=1))
        cell = build_module(self.cls, LSTM_KEYS, sizes._asdict())
        first, *second = (each.name.lower() for each in state_arguments(cell))
        order = -1 if second and "c" in first and "h" not in first else 1
        weights = self.layout.assemble(cell, w, sample(31, sizes.C, sizes.H), sample(32, sizes.C))

        def call(x: Tensor, h: Tensor, c: Tensor) -> Any:
            return functional_call(cell, weights, (x, *(h, c)[::order]) if second else (x, LSTMState(h, c)))

        if self.is_single:
            rows = [call(*each) for each in zip(x, *state, strict=True)]
            result: Any = [torch.stack(each) for each in zip(*(each[:2] for each in rows), strict=True)]
        else:
            result = call(x, *state)
        if isinstance(result, tuple | list) and all(isinstance(each, Tensor) for each in result[:2]):
            states = [each for each in result if isinstance(each, Tensor) and each.shape == state[0].shape]
            result = (states[:2] if len(states) > 3 else states[-2:])[::order]  # gates, or an output before
        return result


def find_steps(names: Namespace) -> Sequence[Any]:
    """Return the step, or a class of a cell as one, for each layout that its weights may have. Raises Unclear."""
    if "lstm_step" in names:
        return [names["lstm_step"]]
    cls, sizes = names["LSTMCell"], LSTMSizes()
    known = sizes_for(cls, sizes)
    cell = build_module(cls, LSTM_KEYS, known._asdict())
    sizes = sizes if known == sizes else sizes._replace(C=0)  # without an output
    cells = [SubmittedCell(cls, layout) for layout in find_layouts(shapes_of(cell), sizes.I, sizes)]
    errors = list[Exception]()
    for tried in (cells, [each._replace(is_single=True) for each in cells]):
        try:
            read_step(tried[0](*step_examples(False)))
            return tried
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, NameError) as error:
            errors.append(error)
    first = errors[0]  # of the code under test, perhaps called in a wrong way
    if "Boolean value of Tensor" in str(first):
        raise Failure(describe(first), wrong.STATE_UNUSABLE) from first
    if mistake := mistake_of(names, first):
        raise Failure(describe(first), mistake) from first
    raise Unclear(
        f"no way of calling {cls.__name__} works: {describe(first)}",
        "write forward(x, h, c) or forward(x, (h, c)), which returns h and c",
    ) from first


def build_cell(names: Namespace) -> nn.Module:
    """Build the class of a cell."""
    cls = names["LSTMCell"]
    return build_module(cls, LSTM_KEYS, sizes_for(cls, LSTMSizes())._asdict())


def unset_tensor(module: nn.Module) -> str:
    """Return a tensor of a module that is no parameter and that nothing has filled; empty if there is none."""
    held = (item for each in module.modules() for item in vars(each).items())
    return next((name for name, each in held if isinstance(each, Tensor) and bool(each.isnan().any())), "")


def read_step(result: Any) -> dict[str, Any]:
    """Return the gates, if there are any, and the state that a step returned."""
    if isinstance(result, tuple | list) and len(result) == 2:
        state, gates = result
        if isinstance(gates, Tensor):
            state, gates = result, ()
        elif isinstance(state, Tensor) and isinstance(gates, tuple | list):  # an output and the state
            state, gates = gates[::-1] if gates[-1] is state else gates, ()
        elif isinstance(gates, tuple | list) and len(gates) == 3:  # without that of the output
            gates = ()
        if isinstance(state, tuple | list) and len(state) == 2 and len(gates) in {0, 4}:
            return dict(zip("ifgo", gates, strict=False)) | {"c": state[1], "h": state[0]}
    raise Failure(f"a step must return a state (h, c) and gates (i, f, g, o), or h and c, got {short_repr(result)}")


def step_examples(is_square: bool) -> tuple[Tensor, LSTMState, LSTMWeights]:
    """Return input, state and weights of a step."""
    batch, inputs, hidden = (4, 4, 4) if is_square else (2, 3, 5)
    return sample(20, batch, inputs), LSTMState(*sample(21, 2, batch, hidden)), random_weights(inputs, hidden)


def step_values(step: Callable[..., Any], is_square: bool) -> Quantities:
    """Return what a step returns for examples."""
    found = read_step(step(*step_examples(is_square)))
    return {name: found[name] for name in "ifgoch" if name in found}


def check_step(names: Namespace) -> str:
    """Check a step by its numbers; a cell that cannot be called with ours by the graph in which it was seen."""
    try:
        return check_step_numbers(names)
    except Unclear as problem:
        return check_graph(names, "LSTMCell", problem)


def check_step_numbers(names: Namespace) -> str:
    """Check the values of gates and state, the gradients, and that nothing is changed in place."""

    def gradients(step: Callable[..., Any], is_square: bool) -> Quantities:
        def scalar(x: Tensor, h: Tensor, c: Tensor, **weights: Tensor) -> Tensor:
            result = read_step(step(x, LSTMState(h, c), LSTMWeights(**weights, W_proj=None)))
            return upstream(torch.cat([result["h"], result["c"]]))  # some steps return no gates

        return derivatives(scalar, {"x": x, "h": state.h, "c": state.c} | by_name(w))

    steps = find_steps(names)
    try:
        step = compare(step_values, steps, wrong.step, wrong.STEP_MISTAKES, alone=wrong.BORROWED)
    except Failure as failure:
        if "lstm_step" in names:
            raise
        if "nan, should be" in str(failure) and (unset := unset_tensor(build_cell(names))):
            raise Failure(f"{unset} is memory that nothing fills: {failure}", wrong.UNFILLED) from failure
        raise doubtful(failure, [each.layout for each in steps]) from failure
    x, state, w = given = step_examples(False)
    before = copy.deepcopy(given)
    step(*given)
    now, then = ({"x": each[0], **each[1]._asdict(), **by_name(each[2])} for each in (given, before))
    if difference(now, then, 0):
        raise Failure("x, h, c or w is another tensor after the step than before", wrong.CHANGES_INPUTS)
    compare(gradients, [step], wrong.step, wrong.STEP_GRADIENT_MISTAKES)
    aside = f"\n{names['*aside']} around it was not looked at" if "*aside" in names else ""
    return f"gates, state and gradients agree with the equations{aside}"


def check_dropout(names: Namespace) -> str:
    """Check by the values that h takes after two steps over many equal rows, of units that do not see each other."""
    p, reading = 0.3, read_network(names, FORMS[0], LSTMSizes(B=400))
    assert reading is not None
    w, W_out, b_out = weights = reading.weights()
    diagonal = w._replace(**{f"U_{gate}": getattr(w, f"U_{gate}").diagonal().diag() for gate in LETTERS})
    x = reading.examples(2)[0][:1].expand(400, -1, -1) * torch.tensor(
        [1.0, 0.0, 0.0]
    )  # dropout of x has few values, too

    def values(network: Program | Layout, is_square: bool) -> Quantities:
        h = reading.logits(network, (x, x), diagonal, torch.eye(*W_out.shape), 0 * b_out, p=p)[:, : reading.sizes.H]
        h = (h * 1e8).round() + 0.0  # rounding makes no new values, nor does a negative zero
        return {f"values of unit {index}": column.unique() / 1e8 for index, column in enumerate(h.unbind(1))}

    examples = reading.examples(4)
    right = reading.logits(wrong.recall, examples, *weights)
    layouts = [each for each in reading.layouts if torch.allclose(reading.logits(each, examples, *weights), right)]
    text = f"in training with p = {p}, h does not take the values that it should"
    compare(values, layouts, wrong.recall, wrong.DROPOUT_MISTAKES, text)
    network = reading.build(4, p).eval()
    if not torch.equal(network(examples[0]), network(examples[0])):
        raise Failure("in eval mode, the same input gives other logits each time", wrong.DROPOUT_IN_EVALUATION)
    return "h, at every step, in training only"


def check_initialization(names: Namespace) -> str:
    """Check the spread of new weights, each matrix by itself or W and U of a gate together, and the biases."""
    if "reset_weights" in names:
        w = random_weights(wrong.I, wrong.H)
        for value in by_name(w).values():
            value.fill_(torch.nan)
        names["reset_weights"](w)
        found = [wrong.Initial.of(by_name(w))]
    else:
        cls, small = names.get("LSTMCell") or names.get("Recaller") or names["LSTM"], LSTMSizes(C=NUM_CLASSES)
        large = small._replace(I=wrong.I, H=wrong.H)
        layouts = find_layouts(shapes_of(build_module(cls, LSTM_KEYS, small._asdict())), small.I, small)
        module = build_module(cls, LSTM_KEYS, large._asdict())
        found = [wrong.Initial.of(each.read(module)) for each in layouts]
    if any(each.is_close(right) for each in found for right in (wrong.XAVIER, wrong.JOINED_XAVIER)):
        return "Xavier weights, a forget bias of 1, other biases 0"
    W, U, b_f, b = (value.mean().item() for value in found[0])
    text = (
        f"the standard deviations of W and U are {W:.2g} and {U:.2g}, should be {wrong.XAVIER.W:.2g} and "
        f"{wrong.XAVIER.U:.2g}; b_f is {b_f:.2g} on average, should be 1, and the other biases {b:.2g}, should be 0"
    )
    raise Failure(
        text, next((m for m in wrong.INITIAL_MISTAKES if any(each.is_close(m.change) for each in found)), None)
    )


def check_training(names: Namespace) -> str:
    """Check the weights of a linear layer after two updates by SGD, which show the gradient, with and without clipping."""
    if "update" not in names:
        if lost := "*seen" in names and names["*seen"].unheld(loose_tensors):
            raise Failure(f"{lost} gets a gradient, and no optimizer has it", wrong.NOT_HELD)
        if not Images.made and "*seen" in names and (text := names["*seen"].broadcast()):
            raise Failure(text, wrong.BROADCAST)
        return check_lstm_loop(names["LSTM loop"])

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

    # torch adds 1e-6 to the norm
    compare(weights, [names["update"]], wrong.update, wrong.TRAINING_MISTAKES, tolerance=1e-5)
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
            names.get("update", wrong.update)(network, optimizer, x[batch], targets[batch], 10.0)
    with torch.no_grad():
        accuracy = (network.eval()(x[800:]).argmax(1) == targets[800:]).double().mean().item()
    text = f"accuracy at T = 5 is {accuracy:.0%} after {EPOCHS} epochs"
    if accuracy < MIN_ACCURACY:
        raise Failure(f"{text}, should be at least {MIN_ACCURACY:.0%}")
    return f"{text}; chance is 10%"


LSTM_PIECES = (
    Piece("lstm_step", "lstm", ("lstm_step", "LSTMCell"), (), wrong.STEP, check_step),
    Piece(
        "initialization",
        "lstm",
        ("reset_weights", "LSTMCell", "Recaller", "LSTM"),
        (),
        wrong.STEP,
        check_initialization,
    ),
    Piece("sequence", "lstm", ("Recaller", "LSTM", "*steps"), ("lstm_step",), wrong.NETWORK, check_sequence),
    Piece("dropout", "lstm", ("Recaller",), ("sequence",), wrong.NETWORK, check_dropout),
    Piece("training", "lstm", ("update", "LSTM loop"), (), wrong.TRAIN, check_training),
    Piece("learning", "lstm", ("Recaller",), ("sequence", "training", "initialization"), wrong.TRAIN, check_learning),
)
