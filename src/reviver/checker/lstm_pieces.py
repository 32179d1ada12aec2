"""The pieces of an LSTM that an assignment asks for, and how each is checked.

A file defines `lstm_step(x, state, w)`, with `reset_weights(w)`, or a class `LSTMCell(input_size, hidden_size)`; a network
`Recaller(input_size, hidden_size, dropout)`; and `update(network, optimizer, x, targets, max_norm)`.

Shapes: B batch, T time, I input size, H hidden size, C classes.
"""

import copy
import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from reviver.checker import layout
from reviver.checker import lstm_mistakes as wrong
from reviver.checker.compare import Quantities, compare, derivatives, difference, sample, upstream
from reviver.checker.conventions import (
    FORMS,
    LSTM_KEYS,
    Form,
    LSTMSizes,
    build,
    embedding_of,
    read_logits,
    sample_digits,
    stands_for,
)
from reviver.checker.layout import IS_STATE, Layout, find_layouts
from reviver.checker.loops import check_lstm_loop
from reviver.checker.pieces import Failure, Finding, Mistake, Namespace, Piece, Unclear, describe, is_library
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
    cls, sizes = names["LSTMCell"], LSTMSizes()
    cell = build(cls, LSTM_KEYS, sizes._asdict())
    return [partial(call_cell, cls, found) for found in find_layouts(shapes_of(cell), sizes.I, sizes)]


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters of a module."""
    return {name: tuple(value.shape) for name, value in module.named_parameters() if value.requires_grad}


def call_cell(cls: Callable[..., nn.Module], found: Layout, x: Tensor, state: LSTMState, w: LSTMWeights) -> Any:
    """Call a cell of class `cls` with weights; it takes x, h and c, or x and the state, by their names c before h."""
    sizes = LSTMSizes(B=len(x), I=x.shape[1], H=state.h.shape[1], T=1)
    cell = build(cls, LSTM_KEYS, sizes._asdict())
    arguments = [name.lower() for name in inspect.signature(cell.forward).parameters]
    ordered = state[::-1] if len(arguments) == 3 and "c" in arguments[1] and "h" not in arguments[1] else state
    weights = found.assemble(w, sample(31, sizes.C, sizes.H), sample(32, sizes.C))
    result = functional_call(cell, weights, (x, *ordered) if len(arguments) == 3 else (x, state))
    if isinstance(result, tuple | list) and len(result) == 3 and all(isinstance(each, Tensor) for each in result):
        result = result[1:]  # without an output
    if ordered is not state and isinstance(result, tuple | list) and all(isinstance(each, Tensor) for each in result):
        result = result[::-1]
    return result


def read_step(result: Any) -> dict[str, Any]:
    """Return the gates, if there are any, and the state that a step returned."""
    if isinstance(result, tuple | list) and len(result) == 2:
        first, second = result
        if (
            isinstance(first, Tensor) and isinstance(second, tuple | list) and len(second) == 2
        ):  # an output and the state
            state: Any = second[::-1] if second[1] is first else second
            gates: Any = ()
        else:
            state, gates = (result, ()) if isinstance(first, Tensor) else result
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

    cells = make_cells(names)
    if "lstm_step" not in names:
        try:
            read_step(cells[0](*step_examples(False)))
        except RuntimeError as error:  # of the code under test, which the check may have called in a wrong way
            raise Unclear(
                f"no way of calling {names['LSTMCell'].__name__} works: {describe(error)}",
                "write forward(x, h, c) or forward(x, (h, c)), which returns h and c",
            ) from error
    step = compare(values, cells, lstm_step, wrong.STEP_MISTAKES)
    before = copy.deepcopy(given)
    step(*given)
    pairs = zip((x, *state, *by_name(w).values()), (before[0], *before[1], *by_name(before[2]).values()), strict=True)
    if not all(torch.equal(now, then) for now, then in pairs):
        raise Failure("x, h, c or w is another tensor after the step than before", wrong.CHANGES_INPUTS)
    compare(gradients, [step], lstm_step, wrong.STEP_GRADIENT_MISTAKES)
    return "gates, state and gradients agree with the equations"


class Reading(NamedTuple):
    """A way to call a network that reads sequences."""

    cls: Callable[..., Any]
    form: Form
    sizes: LSTMSizes
    table: Tensor | None
    """What the network makes of a digit, [V, I], if it takes digits."""
    embedding: str
    """Name of the parameter with the table, empty if there is none."""
    states: Mapping[str, tuple[int, ...]]
    """Parameters that hold the state before the first step."""
    layouts: tuple[Layout, ...]
    has_output_bias: bool
    output: partial[Tensor] | None
    """What it makes of the logits, if that is asked for: the logarithms of probabilities, or probabilities."""

    def examples(self, time: int) -> tuple[Tensor, Tensor]:
        """Return input as the network takes it before its form, and numbers [B, T, I] as the equations take it."""
        sizes = self.sizes._replace(T=time)
        if self.table is None:
            x = sample(30, sizes.B, time, 1 if self.form.kind == "scalars" else sizes.I)
            return x, x
        digits = sample_digits(sizes, len(self.table))
        return digits, self.table[digits[:, :, 0]]

    def weights(self) -> tuple[LSTMWeights, Tensor, Tensor]:
        """Return random weights of the network."""
        input_size = self.examples(1)[1].shape[2]
        b_out = sample(32, self.sizes.C)
        if not self.has_output_bias:
            b_out = torch.zeros_like(b_out)
        return random_weights(input_size, self.sizes.H), sample(31, self.sizes.C, self.sizes.H), b_out


class OwnNetwork(NamedTuple):
    """A network as a function of its weights, called as `recall` is."""

    reading: Reading
    layout: Layout

    def build(self, time: int, p: float = 0.0) -> nn.Module:
        """Return the network of a new class for sequences of this length, in training mode if p > 0."""
        return build_network(self.reading.cls, self.reading.form, self.reading.sizes._replace(T=time), p).train(p > 0)

    def __call__(
        self, x: Tensor, w: LSTMWeights, W_out: Tensor, b_out: Tensor, p: float = 0.0, module: nn.Module | None = None
    ) -> Tensor:
        """Return the logits."""
        reading, sizes = self.reading, self.reading.sizes._replace(T=x.shape[1], B=len(x), C=len(W_out), H=len(w.W_i))
        tensors = self.layout.assemble(w, W_out, b_out)
        if reading.embedding and reading.table is not None:
            tensors[reading.embedding] = reading.table
        tensors |= {name: torch.zeros(shape) for name, shape in reading.states.items()}
        tensors = {
            name: each if each.requires_grad else each.clone().requires_grad_() for name, each in tensors.items()
        }
        if module is None:
            module = build_network(reading.cls, reading.form, sizes, p, x.shape[2] if reading.table is None else 0)
        inputs = reading.form.inputs(x.to(W_out.dtype))
        results = [functional_call(module.train(p > 0), tensors, (each,)) for each in inputs]
        return read_logits(results[-1], sizes)


def build_network(
    cls: Callable[..., Any], form: Form, sizes: LSTMSizes, p: float = 0.0, input_size: int = 0
) -> nn.Module:
    """Return a new network of a class, for these sizes."""
    inputs = 1 if form.kind == "scalars" else input_size or sizes.I
    network = build(cls, LSTM_KEYS, sizes._asdict() | {"I": inputs, "p": p})
    if not isinstance(network, nn.Module):
        raise Unclear(f"{cls.__name__} is no nn.Module", f"write class {cls.__name__}(nn.Module)")
    return network


def sums_to_one(values: Tensor) -> bool:
    """Return whether each row adds up to 1."""
    return bool(torch.allclose(values.sum(1), torch.ones(()).to(values.dtype), rtol=1e-4)) and bool((values >= 0).all())


def read_network(
    cls: Callable[..., Any], form: Form, sizes: LSTMSizes, is_asked_for_probabilities: bool = False
) -> Reading | None:
    """Return how a network is called in a form; None if the form is not its own. Raises what the network raises."""
    network = build_network(cls, form, sizes).eval()
    if not any(True for _ in network.parameters()):
        raise NotImplementedError
    if "C" not in {stands_for(name, LSTM_KEYS) for name in inspect.signature(cls).parameters}:
        sizes = sizes._replace(C=NUM_CLASSES)
    embedding, table, input_size = embedding_of(network), None, sizes.I
    if (embedding is not None) > (form.kind == "digits"):
        return None
    if form.kind == "digits":
        table = torch.eye(sizes.I)
        if embedding:
            table = sample(33, *embedding[1].weight.shape)
        input_size = table.shape[1]
    reading = Reading(cls, form, sizes, table, f"{embedding[0]}.weight" if embedding else "", {}, (), False, None)
    x = reading.examples(sizes.T)[0]
    logits = read_logits([network(each) for each in form.inputs(x.to(torch.get_default_dtype()))][-1], sizes)
    output = partial(torch.log_softmax, dim=1) if sums_to_one(logits.exp()) else None
    if is_asked_for_probabilities and sums_to_one(logits):
        output = partial(torch.softmax, dim=1)
    names, parameters = zip(
        *((name, each) for name, each in network.named_parameters() if each.requires_grad), strict=True
    )
    grads = torch.autograd.grad(logits.square().sum(), parameters, allow_unused=True) if logits.requires_grad else ()
    unused = frozenset(name for name, grad in zip(names, grads, strict=False) if grad is None)
    if form.kind == "scalars":  # the shapes tell more with a larger input
        with suppress(Exception):
            network = build_network(cls, Form("", form.place), sizes)
    shapes = shapes_of(network)
    if shapes.get(names[0]) and form.kind == "scalars" and shapes == shapes_of(build_network(cls, form, sizes)):
        input_size = 1
    shapes.pop(reading.embedding, None)
    layouts = tuple(find_layouts(shapes, input_size, sizes, unused))
    held = layouts[0].parts
    rest = {name: tuple(each.shape) for name, each in zip(names, parameters, strict=True) if name not in held}
    rest.pop(reading.embedding, None)
    states = {name: shape for name, shape in rest.items() if IS_STATE.search(name.lower())}
    others = [name for name in rest if name not in states and name not in unused]
    if others:
        raise Unclear(
            f"{others[0]} {list(rest[others[0]])} is no part of an LSTM with a linear layer behind it",
            "hand in the LSTM alone, with W, U and b of four gates and one output layer",
        )
    out = {part.gates for part in held.values() if part.kinds == ("out",)}
    if "W" not in out:
        raise Unclear(
            "a linear layer from H to the classes is missing", "let forward return the logits of the last step"
        )
    return reading._replace(states=states, layouts=layouts, has_output_bias="b" in out, output=output)


def read_forms(
    cls: Callable[..., Any], sizes: LSTMSizes, is_own: bool, is_probability: bool
) -> tuple[list[Reading], list[Exception]]:
    """Return the ways of calling a network that it accepts, and the errors of the others."""
    found, problems = list[Reading](), list[Exception]()
    for form in FORMS[:1] if is_own else FORMS:
        try:
            reading = read_network(cls, form, sizes, is_probability)
        except (NotImplementedError, Failure):
            raise
        except Exception as error:
            problems.append(error)
        else:
            found += [reading] if reading else []
    return found, problems


def check_sequence(names: Namespace) -> str:
    """Check the logits without dropout, for several lengths, and the gradients through all steps."""
    is_own = "Recaller" in names
    cls, first = names["Recaller" if is_own else "LSTM"], list[Exception]()
    is_probability = names.get("*course", {}).get("output") == "probabilities"
    differing = LSTMSizes()
    others = [differing._replace(T=differing.B)] * is_own + [
        differing._replace(B=differing.H),
        differing._replace(B=128),
    ]
    for dtype, tolerance in ((torch.float64, 1e-7), (torch.float32, 1e-3)):
        torch.set_default_dtype(dtype)
        for sizes in (differing, *others):
            readings, problems = read_forms(cls, sizes, is_own, is_probability)
            first = first or problems
            if readings:
                remarks = compare_readings(readings, is_own, tolerance)
                if sizes.is_square:
                    text = f"with {differing.B} sequences and {differing.H} units: {describe(furthest(first))}"
                    raise Failure(text, wrong.ONLY_EQUAL)
                if sizes.T != differing.T:
                    raise Failure(describe(furthest(first)))
                if sizes.B == 128:
                    remarks = (*remarks, "it works only for 128 sequences at a time")
                if dtype == torch.float32:
                    remarks = (*remarks, "it works in float32 only")
                return Finding.of("logits and gradients over time agree with the equations", remarks)
    error = furthest(first)
    if is_own or isinstance(error, Unclear):
        raise error
    raise Unclear(
        f"no way of calling {cls.__name__} works; with x {FORMS[0].name}: {describe(error)}",
        "write forward(x) for x [batch, time] or [batch, time, inputs], which returns [batch, classes]",
    )


def compare_readings(readings: Sequence[Reading], is_own: bool, tolerance: float) -> tuple[str, ...]:
    """Compare a network that may be called in several ways; return remarks if one agrees, else raise the clearest Failure."""
    failures = list[Failure]()
    for reading, is_named in [*((each, False) for each in readings), *((each, True) for each in readings)]:
        try:
            return compare_network(reading, is_own, tolerance, is_named)
        except Failure as failure:
            failures.append(failure)
            if failure.mistake and is_named:
                break
    clearest = next((each for each in failures if each.mistake), failures[0])
    if readings[0].sizes.is_square and clearest.mistake is None:
        raise Failure(f"only if batch and units are equal it runs, and then {clearest}", wrong.ONLY_EQUAL)
    raise clearest


def furthest(errors: Sequence[Exception]) -> Exception:
    """Return the error that says most: of the attempt that came furthest in the code, the first of several."""

    def depth(error: Exception) -> int:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno or 0 for frame in frames if not is_library(frame.filename)]
        return 10**6 * isinstance(error, Unclear) + max(lines, default=0)

    return max(errors, key=depth)


def compare_network(reading: Reading, is_own: bool, tolerance: float, is_named: bool) -> tuple[str, ...]:
    """Compare a network with the equations; return remarks, or raise Failure, with the likely mistake if `is_named`."""
    weights = reading.weights()

    def call(network: Callable[..., Any], time: int, *given: Any) -> Tensor:
        theirs, ours = reading.examples(time)
        if isinstance(network, OwnNetwork):
            return network(theirs, *given)
        value: Tensor = network(ours, *given)
        return reading.output(value) if reading.output and not is_own else value

    def logits(network: Callable[..., Any], is_square: bool) -> Quantities:
        result = {"the logits": call(network, reading.sizes.T, *weights).detach()}
        if not is_own:
            return result
        return result if is_square else result | {"the logits after one step": call(network, 1, *weights).detach()}

    def gradients(network: Callable[..., Any], is_square: bool) -> Quantities:
        def scalar(W_out: Tensor, **w: Tensor) -> Tensor:
            value = call(network, reading.sizes.T, LSTMWeights(**w, W_proj=None), W_out, weights[2])
            return upstream({"logits": value})

        return derivatives(scalar, {"W_out": weights[1]} | by_name(weights[0]), by_numbers=False)

    theirs = [OwnNetwork(reading, found) for found in reading.layouts]
    mistakes, alone = list[Mistake](), wrong.BORROWED_IN_SEQUENCE
    if is_named:
        check_randomness(theirs[0], weights, tolerance)
        mistakes = [wrong.ALONG_BATCH] * reading.sizes.is_square + [*wrong.SEQUENCE_MISTAKES]
        theirs = [each for each in theirs if each.layout.is_named] or theirs
    network = compare(logits, theirs, wrong.recall, mistakes, tolerance=tolerance, alone=alone if is_named else ())
    compare(gradients, [network], wrong.recall, wrong.SEQUENCE_GRADIENT_MISTAKES, tolerance=tolerance)
    check_reset(network, weights)
    remarks = [*network.layout.remarks] if not is_own else []
    if reading.form is not FORMS[0]:
        remarks.append(f"forward takes {reading.form.name}")
    if reading.output and not is_own:
        remarks.append(f"it returns the {reading.output.func.__name__} of the logits")
    return tuple(remarks)


def check_randomness(network: OwnNetwork, weights: tuple[LSTMWeights, Tensor, Tensor], tolerance: float) -> None:
    """Check that the same weights and input give the same numbers again in a new network.

    If they do not, but are right where no state has an effect, that is with closed forget gates and U = 0, the initial state is
    random.
    """
    reading, (w, *rest) = network.reading, weights
    theirs, ours = reading.examples(reading.sizes.T)
    assert w.b_f is not None
    closed = w._replace(b_f=w.b_f - 1e4, **{f"U_{gate}": torch.zeros_like(w.U_i) for gate in layout.LETTERS})

    def differs(w: LSTMWeights) -> bool:
        values = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            values.append(network(theirs, w, rest[0], rest[1]).detach())
        return not torch.equal(*values)

    if differs(w):
        right = wrong.recall(ours, closed, rest[0], rest[1])
        found = network(theirs, closed, rest[0], rest[1]).detach()
        is_state = not differs(closed) and not difference({"": found}, {"": right}, tolerance)
        raise Failure(
            "the same weights and sequences give other logits each time", wrong.RANDOM_STATE if is_state else None
        )


def check_reset(network: OwnNetwork, weights: tuple[LSTMWeights, Tensor, Tensor]) -> None:
    """Check that a network, which is right when it is called first, gives the same numbers when it is called again."""
    time = network.reading.sizes.T
    module, (w, W_out, b_out) = network.build(time), weights
    x = network.reading.examples(time)[0]
    first, second = (network(x, w, W_out, b_out, module=module).detach() for _ in range(2))
    if not torch.equal(first, second):
        text = "the same network gives other logits for the same sequences when it is called again"
        raise Failure(text, wrong.NEVER_RESET)


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

    reading = read_network(names["Recaller"], FORMS[0], LSTMSizes())
    assert reading is not None
    example, weights = reading.examples(4)[0], reading.weights()
    networks = [OwnNetwork(reading, each) for each in reading.layouts]
    networks = [net for net in networks if torch.allclose(net(example, *weights), wrong.recall(example, *weights))]
    text = f"in training with p = {p}, h does not take the values that it should"
    compare(values, networks, wrong.recall, wrong.DROPOUT_MISTAKES, text)
    network = networks[0].build(4, p).eval()
    if not torch.equal(network(example), network(example)):
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
        cls, small = names.get("LSTMCell") or names.get("Recaller") or names["LSTM"], LSTMSizes(C=NUM_CLASSES)
        parameters = dict(
            build(cls, LSTM_KEYS, small._asdict() | dict(zip("IH", sizes, strict=True))).named_parameters()
        )
        layouts = find_layouts(shapes_of(build(cls, LSTM_KEYS, small._asdict())), small.I, small)
        found = [measure(each.read(parameters, sizes[0])) for each in layouts]
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

    if "update" not in names:
        return check_lstm_loop(names["LSTM loop"])
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
    Piece("sequence", "lstm", ("Recaller", "LSTM"), ("lstm_step",), wrong.NETWORK, check_sequence),
    Piece("dropout", "lstm", ("Recaller",), ("sequence",), wrong.NETWORK, check_dropout),
    Piece("training", "lstm", ("update", "LSTM loop"), (), wrong.TRAIN, check_training),
    Piece("learning", "lstm", ("Recaller",), ("sequence", "training", "initialization"), wrong.TRAIN, check_learning),
)
