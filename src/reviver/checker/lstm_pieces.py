"""The pieces of an LSTM that an assignment asks for, and how each is checked.

A file defines `lstm_step(x, state, w)`, with `reset_weights(w)`, or a class `LSTMCell(input_size, hidden_size)`; a network
`Recaller(input_size, hidden_size, dropout)`; and `update(network, optimizer, x, targets, max_norm)`.

Shapes: B batch, T time, I input size, H hidden size, C classes.
"""

import ast
import copy
import inspect
import re
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from reviver.checker import lstm_mistakes as wrong
from reviver.checker.compare import Program, Quantities, compare, derivatives, difference, sample, upstream
from reviver.checker.conventions import (
    FORMS,
    LSTM_KEYS,
    Form,
    LSTMSizes,
    build_module,
    loose_tensors,
    read_logits,
    stands_for,
)
from reviver.checker.layout import IS_STATE, LETTERS, Layout, by_name, count, find_layouts, infer_sizes
from reviver.checker.loading import StandIn
from reviver.checker.pieces import Failure, Mistake, Namespace, Piece, Unclear, describe, is_library, unparsed
from reviver.checker.updates import check_lstm_loop
from reviver.lstm.cell import LSTMState, LSTMWeights
from reviver.text import short_repr

NUM_CLASSES = 10
STATE = re.compile(r"^[hc](\d|_|x|$)|state|hidden|init|cell")
"""Names of the arguments of forward that may be the state before the first step."""
ELSEWHERE = "(?i)cuda|nvidia|device|StandIn"
"""Words in errors of what is not on this machine."""
UNUSABLE = "UnboundLocalError|NoneType|Boolean value of Tensor"
"""Errors of a forward that takes a state and cannot use any."""
EPOCHS, BATCH_SIZE = 20, 128
MIN_ACCURACY = 0.9
"""Validation accuracy after EPOCHS; correct LSTMs reach 100 % on one-hot palindromes of length 5, chance is 10 %."""


def random_weights(input_size: int, hidden_size: int) -> LSTMWeights:
    """Return weights of a cell that all differ, also U and its transpose."""
    shapes = [(hidden_size, input_size)] * 4 + [(hidden_size, hidden_size)] * 4 + [(hidden_size,)] * 4
    scale = 0.7 * min(1, (8 / hidden_size) ** 0.5)  # more units would saturate
    return LSTMWeights(*(scale * sample(seed, *shape) for seed, shape in enumerate(shapes)), None)  # type: ignore[call-arg]


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters of a module."""
    return {name: tuple(value.shape) for name, value in module.named_parameters() if value.requires_grad}


class SubmittedCell(NamedTuple):
    """A class of a cell as a step: it takes x, h and c, or x and the state, by their names c before h."""

    cls: Callable[..., Any]
    layout: Layout

    def __call__(self, x: Tensor, state: LSTMState, w: LSTMWeights) -> Any:
        """Return what the cell returns, without an output."""
        sizes = sizes_for(self.cls, LSTMSizes(B=len(x), I=x.shape[1], H=state[0].shape[1], T=1))
        cell = build_module(self.cls, LSTM_KEYS, sizes._asdict())
        first, *second = (each.name.lower() for each in state_arguments(cell))
        order = -1 if second and "c" in first and "h" not in first else 1
        weights = self.layout.assemble(cell, w, sample(31, sizes.C, sizes.H), sample(32, sizes.C))
        result = functional_call(cell, weights, (x, *state[::order]) if second else (x, state))
        if isinstance(result, tuple | list) and all(isinstance(each, Tensor) for each in result):
            result = result[-2:][::order]
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
    try:
        read_step(cells[0](*step_examples(False)))
    except (RuntimeError, TypeError, ValueError) as error:  # of the code under test, perhaps called in a wrong way
        raise Unclear(
            f"no way of calling {cls.__name__} works: {describe(error)}",
            "write forward(x, h, c) or forward(x, (h, c)), which returns h and c",
        ) from error
    return cells


def read_step(result: Any) -> dict[str, Any]:
    """Return the gates, if there are any, and the state that a step returned."""
    if isinstance(result, tuple | list) and len(result) == 2:
        state, gates = result
        if isinstance(gates, Tensor):
            state, gates = result, ()
        elif isinstance(state, Tensor) and isinstance(gates, tuple | list):  # an output and the state
            state, gates = gates[::-1] if gates[-1] is state else gates, ()
        if isinstance(state, tuple | list) and len(state) == 2 and len(gates) in {0, 4}:
            return dict(zip("ifgo", gates, strict=False)) | {"c": state[1], "h": state[0]}
    raise Failure(f"a step must return a state (h, c) and gates (i, f, g, o), or h and c, got {short_repr(result)}")


def doubtful(failure: Failure, layouts: Iterable[Layout]) -> Failure | Unclear:
    """Return a failure, or Unclear if it is no known mistake and no name tells the gates: weights may have been read wrongly."""
    if failure.mistake or any(each.is_named for each in layouts):
        return failure
    text = f"the numbers are those of no order of the gates, and of no mistake that is known here: {failure}"
    return Unclear(text, "name the weights by their gates, such as W_f and b_f")


def step_examples(is_square: bool) -> tuple[Tensor, LSTMState, LSTMWeights]:
    """Return input, state and weights of a step."""
    batch, inputs, hidden = (4, 4, 4) if is_square else (2, 3, 5)
    return sample(20, batch, inputs), LSTMState(*sample(21, 2, batch, hidden)), random_weights(inputs, hidden)


def check_step(names: Namespace) -> str:
    """Check the values of gates and state, the gradients, and that nothing is changed in place."""

    def values(step: Callable[..., Any], is_square: bool) -> Quantities:
        found = read_step(step(*step_examples(is_square)))
        return {name: found[name] for name in "ifgoch" if name in found}

    def gradients(step: Callable[..., Any], is_square: bool) -> Quantities:
        def scalar(x: Tensor, h: Tensor, c: Tensor, **weights: Tensor) -> Tensor:
            result = read_step(step(x, LSTMState(h, c), LSTMWeights(**weights, W_proj=None)))
            return upstream(torch.cat([result["h"], result["c"]]))  # some steps return no gates

        return derivatives(scalar, {"x": x, "h": state.h, "c": state.c} | by_name(w))

    steps = find_steps(names)
    try:
        step = compare(values, steps, wrong.step, wrong.STEP_MISTAKES)
    except Failure as failure:
        if "lstm_step" in names:
            raise
        raise doubtful(failure, [each.layout for each in steps]) from failure
    x, state, w = given = step_examples(False)
    before = copy.deepcopy(given)
    step(*given)
    now, then = ({"x": each[0], **each[1]._asdict(), **by_name(each[2])} for each in (given, before))
    if difference(now, then, 0):
        raise Failure("x, h, c or w is another tensor after the step than before", wrong.CHANGES_INPUTS)
    compare(gradients, [step], wrong.step, wrong.STEP_GRADIENT_MISTAKES)
    return "gates, state and gradients agree with the equations"


class Reading(NamedTuple):
    """A way to call a network that reads sequences."""

    cls: Callable[..., Any]
    form: Form
    sizes: LSTMSizes
    table: Tensor | None = None
    """What the network makes of a digit, [V, I], if it takes digits."""
    embedding: str = ""
    """Name of the parameter with the table, empty if there is none."""
    layouts: tuple[Layout, ...] = ()
    outputs: str = "Vv"
    """Which parts of the output layer it has; an LSTM without one returns h."""
    output: str = ""
    """What it makes of the logits, if that is asked for: `log_softmax` or `softmax`."""
    extra: int = 0
    """Steps that the network is built for beyond those of x."""

    def examples(self, time: int) -> tuple[Tensor, Tensor]:
        """Return input as the network takes it before its form, and numbers [B, T, I] as the equations take it."""
        B, I = self.sizes.B, 1 if self.form.is_single else self.sizes.I  # noqa: E741
        if self.table is None:
            x = sample(30, B, time, I)
            return x, x
        rng = torch.Generator().manual_seed(30)
        lowest = 2 if len(self.table) > 4 else 1  # 0 and 1 may stand for no digit
        digits = torch.randint(lowest, min(len(self.table), 10), (B, time, 1), generator=rng)
        return digits, self.table[digits[:, :, 0]]

    def weights(self) -> tuple[LSTMWeights, Tensor, Tensor]:
        """Return random weights of the network."""
        w, sizes = random_weights(self.examples(1)[1].shape[2], self.sizes.H), self.sizes
        W_out = sample(31, sizes.C, sizes.H) if "V" in self.outputs else torch.eye(sizes.H)
        return w, W_out, sample(32, sizes.C) * ("v" in self.outputs)

    def build(self, time: int, p: float = 0.0) -> nn.Module:
        """Return a new network for sequences of a length, in training mode if p > 0."""
        sizes = self.sizes._asdict() | {"p": p, "T": time + self.extra} | ({"I": 1} if self.form.is_single else {})
        return build_module(self.cls, LSTM_KEYS, sizes).train(p > 0)

    def call(self, network: nn.Module, x: Tensor, *start: Any, tensors: dict[str, Tensor] | None = None) -> Tensor:
        """Return the logits of a network after the last step, with its parameters or others, from a state if it is given."""
        results = [functional_call(network, tensors or {}, (each, *start)) for each in self.form.inputs(x)]
        return read_logits(results[-1], self.sizes._replace(T=x.shape[1]))

    def call_from_zero(self, network: nn.Module, x: Tensor, tensors: dict[str, Tensor] | None = None) -> Tensor:
        """Return the logits from zeros, which are given if forward needs a state. Raises what the first way to give it raises."""
        needed = [each for each in state_arguments(network) if each.default is each.empty]
        errors = list[Exception]()
        for start in starts(torch.zeros(2, len(x), self.sizes.H), len(needed)):
            try:
                return self.call(network, x, *start, tensors=tensors)
            except Exception as error:
                errors.append(error)
        raise errors[0]

    def fill(self, network: nn.Module, layout: Layout, *weights: Any) -> dict[str, Tensor]:
        """Return the parameters of a network with weights in a layout."""
        tensors = layout.assemble(network, *weights)
        if self.embedding and self.table is not None:
            tensors[self.embedding] = self.table.clone()
        return {name: each.requires_grad_() for name, each in tensors.items()}

    def logits(self, network: Program | Layout, x: tuple[Tensor, Tensor], *weights: Any, **options: Any) -> Tensor:
        """Return the logits of a new network in a layout for examples, or of a program in its place; with dropout p."""
        if isinstance(network, Layout):
            module = self.build(x[0].shape[1], **options)
            return self.call_from_zero(module, x[0], self.fill(module, network, *weights))
        value: Tensor = network(x[1], *weights, **options)
        return getattr(value, self.output)(1) if self.output else value


def state_arguments(network: nn.Module) -> list[inspect.Parameter]:
    """Return the arguments of forward after the input that it needs, or that may be a state."""
    _, *others = inspect.signature(network.forward).parameters.values()
    return [each for each in others if each.default is each.empty or STATE.search(each.name)]


def starts(state: Tensor, number: int) -> Sequence[tuple[Any, ...]]:
    """Return the ways to give a state, h and c [2, B, H], as a number of arguments: also as [1, B, H], or h alone."""
    pairs = [tuple(state), tuple(state[:, None])]
    if number == 1:
        return [(pairs[0],), (pairs[1],), (state[0],)]
    return pairs if number else [()]


def sums_to_one(values: Tensor) -> bool:
    """Return whether each row adds up to 1."""
    return bool(torch.allclose(values.sum(1), torch.ones(()).to(values.dtype), rtol=1e-4)) and bool((values >= 0).all())


def sizes_of(cls: Callable[..., Any]) -> str:
    """Return which of H, I and C the constructor of a network takes."""
    parameters = inspect.signature(cls).parameters.values()
    takes_all = any(each.kind == each.VAR_KEYWORD or stands_for(each.name, ["settings"]) for each in parameters)
    return "HI" * takes_all + "".join(stands_for(each.name, LSTM_KEYS) for each in parameters)


def sizes_for(cls: Callable[..., Any], sizes: LSTMSizes) -> LSTMSizes:
    """Return the sizes of a cell; what is called C is the one of I and H that no other argument is."""
    given = sizes_of(cls)
    missing = [size for key, size in (("I", sizes.I), ("H", sizes.H)) if key not in given]
    return sizes._replace(C=missing[0]) if missing and "C" in given else sizes


def read_network(names: Namespace, form: Form, sizes: LSTMSizes) -> Reading | None:
    """Return how a network is called in a form; None if the form is not its own. Raises what the network raises."""
    is_own, cls = "Recaller" in names, names.get("Recaller") or names["LSTM"]
    given = sizes_of(cls)
    sizes = sizes if "C" in given else sizes._replace(C=NUM_CLASSES)
    reading = Reading(cls, form, sizes)
    network = reading.build(sizes.T)
    check_parameters(names, network)
    embedding = next(((name, each) for name, each in network.named_modules() if isinstance(each, nn.Embedding)), None)
    if embedding is not None:
        if not form.has_digits:
            return None
        reading = reading._replace(table=sample(33, *embedding[1].weight.shape), embedding=f"{embedding[0]}.weight")
    elif not form.is_single:
        sizes = infer_sizes(shapes_of(network), sizes, given.replace("I", "") if form.has_digits else given)
        reading = reading._replace(sizes=sizes, table=torch.eye(sizes.I) if form.has_digits else None)
    with torch.no_grad():
        for parameter in network.parameters():  # which may not be initialized yet
            parameter.normal_()
    logits = reading.call_from_zero(network, reading.examples(sizes.T)[0])
    unused = set[str]()
    with suppress(RuntimeError):  # such as one without gradients
        logits.square().sum().backward()
        unused = {name for name, each in network.named_parameters() if each.requires_grad and each.grad is None}
    if not is_own and sums_to_one(logits.exp()):
        reading = reading._replace(output="log_softmax")
    if not is_own and names.get("*course", {}).get("output") == "probabilities" and sums_to_one(logits):
        reading = reading._replace(output="softmax")
    reading = find_weights(reading, shapes_of(network), unused, has_output=is_own or "C" in given)
    if logits.shape[1] != reading.sizes.C:
        raise Unclear(f"forward returns {logits.shape[1]} numbers, not one per class", "return the logits")
    return reading


def check_parameters(names: Namespace, network: nn.Module) -> None:
    """Check that the weights of a network are parameters, unless its training may know where they are."""
    loose = [name for name, each in loose_tensors(network).items() if each.ndim == 2]
    is_known = "optim." in unparsed(names) and ".parameters()" not in unparsed(names)
    if len(loose) > 3 and not is_known and torch.get_default_dtype() == torch.float32:  # where .float() changes nothing
        raise Failure(f"{loose[0]} is no parameter", wrong.NO_PARAMETERS)


def find_weights(
    reading: Reading, own: Mapping[str, tuple[int, ...]], unused: set[str], *, has_output: bool
) -> Reading:
    """Return a reading with the layouts of its `own` parameters. Raises Unclear if they are not those of an LSTM."""
    sizes, shapes, input_size = reading.sizes, own, reading.examples(1)[1].shape[2]
    if reading.form.is_single or sizes.I == sizes.H:  # the shapes tell more with another input size
        usual = sizes._replace(I=LSTMSizes().I)
        shapes = shapes_of(reading._replace(form=FORMS[0], sizes=usual).build(sizes.T))
        input_size = input_size if shapes == own else usual.I
    shapes = {name: shape for name, shape in shapes.items() if name != reading.embedding}
    layouts = tuple(find_layouts(shapes, input_size, sizes, unused))
    parts = layouts[0].parts
    for name in shapes.keys() - parts.keys() - unused:
        if not IS_STATE.search(name.lower()):
            raise Unclear(
                f"{name} {list(own[name])} is no part of an LSTM with a linear layer behind it",
                "hand in the LSTM alone, with W, U and b of four gates and one output layer",
            )
    outputs = "".join(part.kinds for part in parts.values() if part.kinds in "Vv")
    if not outputs and not has_output:
        sizes = sizes._replace(C=sizes.H)
    elif "V" not in outputs:
        text = "a linear layer from H to the classes is missing"
        raise Unclear(text, "let forward return the logits of the last step")
    return reading._replace(sizes=sizes, layouts=layouts, outputs=outputs)


def check_sequence(names: Namespace) -> str:
    """Check the logits without dropout, for several lengths, and the gradients through all steps."""
    is_own, first = "Recaller" in names, dict[tuple[Form, torch.dtype], Exception]()
    usual = LSTMSizes()
    others = [usual._replace(T=usual.B)] * is_own + [usual._replace(B=usual.H), usual._replace(B=128)]
    others += [usual._replace(I=usual.H)] * (not is_own and {"I", "H"} <= set(sizes_of(names["LSTM"])))
    for (dtype, tolerance), sizes in product(((torch.float64, 1e-7), (torch.float32, 1e-3)), (usual, *others)):
        torch.set_default_dtype(dtype)
        readings = list[Reading]()
        for form in FORMS[:1] if is_own else FORMS:
            try:
                readings += filter(None, [read_network(names, form, sizes)])
            except (NotImplementedError, Failure):
                raise
            except Exception as error:
                first.setdefault((form, dtype), error)
        if not readings:
            continue
        try:
            reading = compare_readings(names, readings, tolerance)
        except (Failure, Unclear):
            if sizes.I != sizes.H:
                raise
            continue
        remarks = check_again(names, reading)
        if sizes.H in (sizes.B, sizes.I):
            problem = first.get((readings[0].form, dtype)) or furthest(first.values())
            text = f"with {usual.B} sequences, {usual.I} inputs and {usual.H} units: {describe(problem)}"
            raise Failure(text, wrong.ONLY_EQUAL["B" if sizes.B == sizes.H else "I"])
        if sizes.T != usual.T:
            raise Failure(describe(furthest(first.values())))
        remarks += ["it works only for 128 sequences at a time"] * (sizes.B == 128)
        remarks += ["it works in float32 only"] * (dtype == torch.float32)
        return "\n".join(["logits and gradients over time agree with the equations", *remarks])
    problem, cls = furthest(first.values()), names.get("Recaller") or names["LSTM"]
    if mistake := mistake_of(names, cls, problem):
        raise Failure(describe(problem), mistake) from problem
    if is_own or isinstance(problem, Unclear):
        raise problem
    if is_called_as_usual(names, cls, problem):
        shown = {form.name: describe(error) for (form, _), error in first.items()}
        known = ", ".join(f"{size} = {number}" for size, number in usual._asdict().items())
        texts = {shown[name]: name for name in ("[B, T]", "[B, T, I]")}  # once, if they are the same
        mistake = wrong.LOST if overwrites(names, cls) else None
        each = "; ".join(f"for {name}: {text}" for text, name in texts.items())
        raise Failure(f"forward raises for every x ({known}); {each}", mistake)
    form = next(form for (form, _), error in first.items() if error is problem)
    raise Unclear(
        f"no way of calling {cls.__name__} works; with x {form.name}: {describe(problem)}",
        "write forward(x) for x [batch, time] or [batch, time, inputs], which returns [batch, classes]",
    )


def compare_readings(names: Namespace, readings: Sequence[Reading], tolerance: float) -> Reading:
    """Compare a network that may be called in several ways; return the one that agrees, else raise the clearest Failure."""
    is_own, agreeing, failures = "Recaller" in names, list[Reading](), list[Failure]()
    cls = readings[0].cls.__name__
    calls = re.findall(rf"(?<!class )\b{cls}\((?:\w+=)?[\w.]+( \+ 1)?", unparsed(names))
    readings = [each._replace(extra=extra) for extra in (0, 1)[: 1 + any(calls)] for each in readings]
    for reading in readings:
        try:
            layout = compare(partial(values, reading, is_own), reading.layouts, wrong.recall, (), tolerance=tolerance)
            agreeing.append(reading._replace(layouts=(layout,)))
        except Failure as failure:
            failures.append(failure)
    if agreeing:
        failures.clear()
    for reading in agreeing:
        mistakes = wrong.SEQUENCE_GRADIENT_MISTAKES
        try:
            compare(partial(gradients, reading), reading.layouts, wrong.recall, mistakes, tolerance=tolerance)
            return reading
        except Failure as failure:
            is_overwritten = "modified by an inplace operation" in str(failure)
            failures.append(Failure(str(failure), wrong.OVERWRITTEN) if is_overwritten else failure)
    for with_pairs, reading in () if agreeing else product((False, True), readings):
        try:
            explain(reading, is_own, tolerance, with_pairs=with_pairs)
        except Failure as failure:
            failures.append(failure)
            if failure.mistake:
                break  # pairs of mistakes take long
    clearest = next((each for each in failures if each.mistake), failures[0])
    if clearest.mistake is None and readings[0].sizes.B == readings[0].sizes.H:
        raise Failure(f"only if batch and units are equal it runs, and then {clearest}", wrong.ONLY_EQUAL["B"])
    if clearest.mistake is None and ("*guessed" in names or count(readings[0].layouts[0].parts)["W"] == 1):
        raise Unclear(f"{cls} may be no LSTM: {clearest}", "call the network LSTM")
    is_for_a_length = readings[0].outputs or "T" in sizes_of(readings[0].cls)
    if clearest.mistake == wrong.LEFT_OUT and not is_own and not calls and is_for_a_length:
        text = "it reads one step fewer than seq_length, which is right if its training gives one more"
        raise Unclear(text, "hand in the training, too, or read all seq_length steps")
    raise clearest if agreeing or is_own else doubtful(clearest, readings[0].layouts)


def values(reading: Reading, is_own: bool, network: Program | Layout, is_square: bool) -> Quantities:
    """Return the logits of a network in a layout, or of a program in its place, and those after one step if it `is_own`."""
    times = {"the logits" if reading.outputs else "the last h": reading.sizes.T}
    times |= {"the logits after one step": 1} if is_own and not is_square else {}
    examples = {name: reading.examples(time) for name, time in times.items()}
    return {name: reading.logits(network, x, *reading.weights()).detach() for name, x in examples.items()}


def gradients(reading: Reading, network: Program | Layout, is_square: bool) -> Quantities:
    """Return the gradients of a network in a layout, or of a program in its place, by each weight."""
    w, W_out, b_out = reading.weights()
    times = (
        (reading.sizes.T,) if reading.outputs else (reading.sizes.T, 1)
    )  # one that returns h is asked for that of each step

    def scalar(W_out: Tensor = W_out, **w: Tensor) -> Tensor:
        weights = LSTMWeights(**w, W_proj=None), W_out, b_out
        return torch.stack(
            [upstream(reading.logits(network, reading.examples(time), *weights)) for time in times]
        ).sum()

    return derivatives(scalar, ({"W_out": W_out} if reading.outputs else {}) | by_name(w))


def explain(reading: Reading, is_own: bool, tolerance: float, *, with_pairs: bool) -> None:
    """Raise the Failure that explains why no layout of a reading agrees with the equations, by a mistake, or also by pairs."""
    check_randomness(reading)
    layouts = [each for each in reading.layouts if each.is_named] or reading.layouts
    mistakes = (*[wrong.BIAS_PER_ROW] * (reading.sizes.B == reading.sizes.H), *wrong.SEQUENCE_MISTAKES)
    is_small = reading.sizes.H <= 64  # for others pairs would take long
    alone = wrong.BORROWED if is_small else ()
    mistakes, alone = (mistakes, alone) if is_small and with_pairs else ((), (*mistakes, *alone))
    compare(partial(values, reading, is_own), layouts, wrong.recall, mistakes, tolerance=tolerance, alone=alone)


def check_again(names: Namespace, reading: Reading) -> list[str]:
    """Check that a network that agrees gives the same when it is called again; return all remarks."""
    (layout,), is_own, x = reading.layouts, "Recaller" in names, reading.examples(reading.sizes.T)
    module = reading.build(reading.sizes.T)
    remarks = [] if is_own else list(layout.remarks)
    remarks += [f"{name} is not initialized here" for name, each in module.named_parameters() if each.isnan().any()]
    before = [dict(vars(each)) for each in module.modules()]
    tensors = reading.fill(module, layout, *reading.weights())
    first = reading.call_from_zero(module, x[0], tensors)

    def again() -> bool:
        return torch.equal(first, reading.call_from_zero(module, x[0], tensors))

    if not again():
        if not is_reset(names, reading, module, before, again):
            text = "the same network gives other logits for the same sequences when it is called again"
            raise Failure(text, wrong.NEVER_RESET)
        remarks.append("the state is kept until something else resets it")
    remarks += [f"forward takes {reading.form.name}"] * (reading.form is not FORMS[0])
    remarks += [f"it returns the {reading.output} of the logits"] * bool(reading.output)
    return remarks + ([] if is_own or reading.form.name.endswith("step") else check_start(reading, module, first))


def check_start(reading: Reading, module: nn.Module, first: Tensor) -> list[str]:
    """Return a remark if a state that is given before the first step, if forward takes one, has not its effect."""
    x, weights, sizes = reading.examples(reading.sizes.T), reading.weights(), reading.sizes
    results, errors, number = list[Tensor](), list[Exception](), len(state_arguments(module))
    for start in starts(sample(50, 2, sizes.B, sizes.H), number) if number in (1, 2) else ():
        h, c = start if number == 2 else start[0] if isinstance(start[0], tuple) else (start[0], 0 * start[0])
        right = reading.logits(wrong.recall, x, *weights, state=(h.view(sizes.B, -1), c.view(sizes.B, -1)))
        try:
            found = reading.call(module, x[0], *start, tensors=reading.fill(module, reading.layouts[0], *weights))
            if torch.allclose(found, right, rtol=1e-3):
                return []
            results.append(found)
        except Exception as error:
            errors.append(error)
    if not results + errors:
        return []
    if not results and all(re.search(UNUSABLE, describe(each)) for each in errors):
        raise Failure(f"with a state before the first step: {describe(errors[0])}", wrong.STATE_UNUSABLE)
    text = " has another effect than in the equations" if results else f": {describe(errors[0])}"
    text = " is ignored" if any(torch.allclose(each, first, rtol=1e-3) for each in results) else text
    return [f"a state that is given before the first step{text}"]


def mistake_of(names: Namespace, cls: Callable[..., Any], error: Exception) -> Mistake | None:
    """Return the mistake that an error of a network shows, however it is called; None if the call may be wrong."""
    if isinstance(error, AttributeError) and lacks_attribute(names, cls, error):
        return wrong.NOT_SET
    if type(error) is NameError and lacks_name(names, error.name or ""):
        return wrong.NOT_DEFINED
    return wrong.CHANGED_LEAF if "a leaf Variable that requires grad" in str(error) else None


def is_called_as_usual(names: Namespace, cls: Any, error: Exception) -> bool:
    """Return whether no call can be right: forward of an LSTM itself raises, takes x alone, and its class says all its sizes."""
    forward = cls.forward
    if isinstance(error, NameError | AttributeError | AssertionError) or re.search(ELSEWHERE, str(error)):
        return False  # what is missing may be somewhere else, and a network may assert sizes
    if "sigmoid" not in unparsed(names).lower():  # without gates it is no LSTM
        return False
    is_inside = any(frame.name == "forward" for frame in traceback.extract_tb(error.__traceback__))
    is_whole = not any(isinstance(forward.__globals__.get(name), StandIn) for name in forward.__code__.co_names)
    is_plain = len(inspect.signature(forward).parameters) == 2 and set("THC") <= set(sizes_of(cls))
    return is_inside and is_whole and is_plain


def overwrites(names: Namespace, cls: type) -> bool:
    """Return whether a loop over an index sets it again, or sets the sequence to the step that the index reads: x = x[t]."""
    classes = [
        each for source in names["*sources"] for each in source.tree.body if getattr(each, "name", "") == cls.__name__
    ]
    loops = [each for node in classes for each in ast.walk(node) if isinstance(each, ast.For)]
    for loop in loops:
        index = ast.unparse(loop.target)
        for node in (each for each in ast.walk(loop) if isinstance(each, ast.Assign)):
            name, value = ast.unparse(node.targets[0]), ast.unparse(node.value)
            if name == index or re.match(rf"{re.escape(name)}\[[^]]*\b{index}\b", value):
                return True
    return False


def lacks_attribute(names: Namespace, cls: Callable[..., Any], error: AttributeError) -> bool:
    """Return whether a network reads an attribute of its own that is not there yet, and nothing else may set."""
    if type(error.obj) is not cls or getattr(cls, "__bases__", ()) != (nn.Module,):
        return False
    is_new = any(frame.name == "__init__" for frame in traceback.extract_tb(error.__traceback__))
    return is_new or not re.search(rf"\.{error.name}\b[^=\n]* = ", unparsed(names))


def lacks_name(names: Namespace, name: str) -> bool:
    """Return whether nothing in a submission, outside functions and classes, defines a name or may import it.

    A notebook may define it in a cell that is no Python, so that this is not known.
    """
    sources, functions = names.get("*sources", ()), (ast.FunctionDef, ast.ClassDef)
    if any(source.names["__file__"].endswith(".ipynb") for source in sources):
        return False
    top = [each for source in sources for each in source.tree.body]
    text = "\n".join(f"{each.name} = 0" if isinstance(each, functions) else ast.unparse(each) for each in top)
    return not re.search(rf"\b({name}|import \*)(?!\w)", text) and f"global {name}" not in unparsed(names)


def is_reset(
    names: Namespace, reading: Reading, module: nn.Module, before: Sequence[Any], again: Callable[[], bool]
) -> bool:
    """Return whether something resets the state that a network keeps: a method of it, the training, or None as a sign to."""
    pairs = zip(before, map(vars, module.modules()), strict=True)
    kept = {name: old.get(name, 0) for old, new in pairs for name in new if old.get(name, 0) is not new[name]}
    nodes = [node for source in names.get("*sources", ()) for node in source.tree.body]
    text = "\n".join(ast.unparse(node) for node in nodes if getattr(node, "name", "") != reading.cls.__name__)
    if any(re.search(rf"\.{name} = ", text) for name in kept):
        return True
    for name in vars(reading.cls):
        for arguments in ((), (reading.sizes.B,)) if name != "forward" and not name.startswith("__") else ():
            with suppress(Exception):
                getattr(module, name)(*arguments)
                if again():
                    return True
    return "LSTM loop" not in names and None in kept.values()


def furthest(errors: Iterable[Exception]) -> Exception:
    """Return the error that says most: of the attempt that came furthest in the code, the first of several."""

    def depth(error: Exception) -> int:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno or 0 for frame in frames if not is_library(frame.filename)]
        return 10**6 * isinstance(error, Unclear) + max(lines, default=0)

    return max(errors, key=depth)


def check_randomness(reading: Reading) -> None:
    """Check that the same weights and input give the same numbers again in a new network.

    If they do not, but do where no state has an effect, that is with closed forget gates and U = 0, the initial state is random.
    """
    (w, *rest), x = reading.weights(), reading.examples(reading.sizes.T)
    assert w.b_f is not None
    closed = w._replace(b_f=w.b_f - 1e4, **{f"U_{gate}": torch.zeros_like(w.U_i) for gate in LETTERS})

    def value(w: LSTMWeights, seed: int) -> Tensor:
        torch.manual_seed(seed)
        return reading.logits(reading.layouts[0], x, w, *rest).detach()

    if not bool(value(w, 0).isfinite().all()):
        raise Failure("the logits are nan if memory that is not set is nan", wrong.UNINITIALIZED)
    if not torch.equal(value(w, 0), value(w, 1)):
        text = "the same weights and sequences give other logits each time"
        raise Failure(text, wrong.RANDOM_STATE if torch.allclose(value(closed, 0), value(closed, 1)) else None)


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
    Piece("sequence", "lstm", ("Recaller", "LSTM"), ("lstm_step",), wrong.NETWORK, check_sequence),
    Piece("dropout", "lstm", ("Recaller",), ("sequence",), wrong.NETWORK, check_dropout),
    Piece("training", "lstm", ("update", "LSTM loop"), (), wrong.TRAIN, check_training),
    Piece("learning", "lstm", ("Recaller",), ("sequence", "training", "initialization"), wrong.TRAIN, check_learning),
)
