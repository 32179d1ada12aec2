"""Compare a submitted LSTM over whole sequences: its numbers, its gradients, and its state from call to call.

Shapes: B batch, T time, I input size, H hidden size, C classes.
"""

import ast
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import product
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from reviver.checker import lstm_mistakes as wrong
from reviver.checker.compare import Program, Quantities, compare, derivatives, sample, upstream
from reviver.checker.conventions import FORMS, LSTM_KEYS, Form, LSTMSizes, build, seen_arguments, stands_for
from reviver.checker.layout import LETTERS, Layout, by_name, count
from reviver.checker.lstm_errors import check_attributes, furthest, judge_errors
from reviver.checker.lstm_graph import GraphOfSteps, Sigmoids, read_graph
from reviver.checker.lstm_reading import Reading, read_network, sizes_of, starts, state_arguments
from reviver.checker.pieces import Failure, Namespace, Unclear, describe, unparsed
from reviver.checker.standins import StandIn
from reviver.checker.watch import Watch
from reviver.recurrent.lstm_step import LSTMWeights

FIRST = next(each for each in wrong.SEQUENCE_MISTAKES if each.name == "the logits are those of the first step")
UNUSABLE = "UnboundLocalError|NoneType|Boolean value of Tensor"
"""Errors of a forward that takes a state and cannot use any."""
FILLS = r"(?<!_)_\(|\binit\b|\.data\b|\.load"
"""What in a text may fill memory."""


def check_sequence(names: Namespace) -> str:
    """Check a network over sequences by its numbers; one that cannot be called with ours by its graph."""
    if not {"Recaller", "LSTM"} & names.keys():
        return check_graph(names, "LSTM", Unclear("no class has the gates of an LSTM", "call it LSTM"))
    try:
        text = check_numbers(names)
    except Unclear as problem:
        text = check_graph(names, "LSTM", problem)
    check_examples({names.get(role) for role in ("LSTM", "LSTMCell")})
    return text


def check_examples(classes: Collection[Any]) -> None:
    """Check that in what a file runs around its classes no example of a batch has a part in the result of another. Raises Failure."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    for network, (x, *rest), _ in Watch.seen.values():
        is_batch = x.ndim == 2 + x.is_floating_point() and 1 < x.shape[1] != x.shape[0]
        results = list[Any]()
        with suppress(Exception), torch.no_grad():
            for each in (x, x, x.roll(1, 0)) if is_batch else ():
                torch.manual_seed(0)
                results.append(network.eval()(each, *rest))
        is_row = all(isinstance(each, Tensor) and each.ndim == 2 and len(each) == len(x) for each in results)
        first, again, other = results if len(results) == 3 and is_row else [torch.zeros(1)] * 3
        is_around = any(type(part) in classes for part in network.modules())
        if (
            is_around
            and torch.equal(first, again)
            and not torch.allclose(first.roll(1, 0), other, rtol=1e-3, atol=1e-5)
        ):
            text = f"what {type(network).__name__} returns for a sequence depends on the others of its batch"
            raise Failure(text, wrong.MIXED)
    torch.set_default_dtype(dtype)


def check_graph(names: Namespace, role: str, problem: Unclear) -> str:
    """Check a network, or a cell, by the graph of the loss that was seen, or else of what it returns. Raises Failure or Unclear."""
    cls: Any = names.get(role)
    own = {id(each) for seen in [Watch.first(cls)] if seen for each in seen.network.parameters()}
    for finding in Watch.findings:
        is_telling = max(finding.lengths) > 1 or isinstance(finding.problem, Failure)
        if is_telling and (cls is None or own & set(map(id, finding.weights))):
            return finding.verdict("in its graph")
    for network, inputs, least in runs(names, cls) if role == "LSTM" and cls is not None else ():
        found = None
        with suppress(Exception), Sigmoids() as computed:
            found = read_graph(tensors(network.eval()(*inputs)))
        if found and max(found.lengths) == 1 < least and computed.number >= least * found.sigmoids:
            raise Failure(f"of {least} steps only one has a part in what {cls.__name__} returns", wrong.RESET)
        if found and max(found.lengths) >= least:
            return found.verdict("in the graph of what it returns")
    if cls is not None:
        check_attributes(names, cls)
    raise problem


def find_functions(sources: Sequence[Any]) -> GraphOfSteps | None:
    """Return what the graph of a function of inputs [T, B, I], state and weights shows, made by other functions of a file."""
    sizes = LSTMSizes()._asdict()
    for source in sources:
        texts = {node.name: ast.unparse(node) for node in source.tree.body if isinstance(node, ast.FunctionDef)}
        steps = [name for name, text in texts.items() if re.search("sigmoid", text) and re.search("tanh", text)]
        makers = ([name for name in texts if re.search(word, name)] for word in ("param|weight", "state|hidden|init"))
        unknown = [name for name, each in source.names.items() if isinstance(each, StandIn)]
        known = {name: sizes[key] for name in unknown if (key := stands_for(name, "CHIBT"))}
        for names in product(steps, *makers):
            with suppress(Exception), patch.dict(source.names, known):
                step, make_weights, begin = (source.names[name] for name in names)
                w = [*build(make_weights, LSTM_KEYS, sizes)]
                H = next(len(each) for each in w if each.ndim == 2 and len(each) == len(each.T))
                state = build(begin, LSTM_KEYS, {**sizes, "H": H})
                found = read_graph(tensors(step(torch.randn(sizes["T"], len(state[0]), len(w[0])), state, w)))
                if found and max(found.lengths) == sizes["T"]:
                    return found
    return None


def runs(names: Namespace, cls: Any) -> Iterator[tuple[nn.Module, tuple[Any, ...], int]]:
    """Yield a network as its file built and called it, or else with what its names say; inputs, and the least number of steps."""
    seen = names.get("*seen")
    if seen and cls in seen.built and (found := seen.first(cls)):
        inputs = found.inputs
        with suppress(Exception):
            yield seen.built[cls].call(cls), inputs, min(inputs[0].shape[:2])
    for sizes, form in product((LSTMSizes(), LSTMSizes(C=1)), FORMS):  # one number stands for any, by broadcasting
        with suppress(Exception):
            network = Reading(cls, form, sizes).build(sizes.T)
            x = (
                torch.randint(0, 2, (sizes.B, sizes.T, 1))
                if form.has_digits
                else torch.randn(sizes.B, sizes.T, sizes.I)
            )
            needed = [each for each in state_arguments(network) if each.default is each.empty]
            for start in starts(torch.zeros(2, sizes.B, sizes.H), len(needed)):
                yield network, (form.inputs(x)[0], *start), sizes.T


def tensors(value: Any) -> list[Tensor]:
    """Return the tensors in nested tuples, lists and dictionaries, each once."""
    if isinstance(value, Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return list({id(each): each for part in parts for each in tensors(part)}.values())


def check_numbers(names: Namespace) -> str:
    """Check the logits without dropout, for several lengths, and the gradients through all steps."""
    is_own, first = "Recaller" in names, dict[tuple[Form, torch.dtype], Exception]()
    usual = LSTMSizes()
    others = [usual._replace(T=usual.B)] * is_own + [usual._replace(B=usual.H), usual._replace(B=128)]
    others += [] if is_own else [usual._replace(T=number) for number in numbers_of(names["LSTM"])]
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
        if is_own and sizes.T != usual.T:
            raise Failure(describe(furthest(first.values())))
        remarks += [f"it reads {sizes.T} steps"] * (sizes.T != usual.T)
        remarks += ["it works only for 128 sequences at a time"] * (sizes.B == 128)
        remarks += ["it works in float32 only"] * (dtype == torch.float32)
        return "\n".join(["logits and gradients over time agree with the equations", *remarks])
    raise judge_errors(names, names.get("Recaller") or names["LSTM"], first)


def compare_readings(names: Namespace, readings: Sequence[Reading], tolerance: float) -> Reading:
    """Compare a network that may be called in several ways; return the one that agrees, else raise the clearest Failure."""
    is_own, agreeing, failures = "Recaller" in names, list[Reading](), list[Failure]()
    cls = readings[0].cls.__name__
    calls = re.findall(rf"(?<!class )\b{cls}\((?:\w+=)?[\w.]+( \+ 1)?", unparsed(names))
    extras = (0, 1)[: 1 + (any(calls) or reads_fewer(readings[0].cls))]
    readings = [each._replace(extra=extra) for extra in extras for each in readings]
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
    needed = [each for each in state_arguments(readings[0].build(readings[0].sizes.T)) if each.default is each.empty]
    if clearest.mistake is FIRST and needed:
        raise Unclear("it reads one step and takes the state before it", "hand in what calls it for each step, too")
    if clearest.mistake == wrong.LEFT_OUT and not is_own and not calls and is_for_a_length:
        text = "it reads one step fewer than seq_length, which is right if its training gives one more"
        raise Unclear(text, "hand in the training, too, or read all seq_length steps")
    raise clearest if agreeing or is_own else doubtful(clearest, readings[0].layouts)


def numbers_of(cls: Any) -> list[int]:
    """Return the numbers in the code of forward that may be how many steps it reads."""
    code = getattr(getattr(cls, "forward", None), "__code__", None)
    return [each for each in getattr(code, "co_consts", ()) if type(each) is int and 5 < each < 200][:2]


def reads_fewer(cls: Any) -> bool:
    """Return whether a network was seen to get sequences of one step fewer than it was built for."""
    found, given = Watch.first(cls), seen_arguments(cls)
    times = [value for name, value in given.items() if stands_for(name, LSTM_KEYS) == "T" and isinstance(value, int)]
    shape = found.inputs[0].shape[:2] if found else ()
    return any(time - 1 in shape and time not in shape for time in times)


def doubtful(failure: Failure, layouts: Iterable[Layout]) -> Failure | Unclear:
    """Return a failure, or Unclear if it is no known mistake and no name tells the gates: weights may have been read wrongly."""
    if failure.mistake or any(each.is_named for each in layouts):
        return failure
    text = f"the numbers are those of no order of the gates, and of no mistake that is known here: {failure}"
    return Unclear(text, "name the weights by their gates, such as W_f and b_f")


def values(reading: Reading, is_own: bool, network: Program | Layout, is_square: bool) -> Quantities:
    """Return the logits of a network in a layout, or of a program in its place, and those after one step if it `is_own`."""
    times = {"the logits" if reading.outputs else "the last h": reading.sizes.T}
    times |= {"the logits after one step": 1} if is_own and not is_square else {}
    examples = {name: reading.examples(time) for name, time in times.items()}
    return {name: reading.logits(network, x, *reading.weights()).detach() for name, x in examples.items()}


def gradients(reading: Reading, network: Program | Layout, is_square: bool) -> Quantities:
    """Return the gradients of a network in a layout, or of a program in its place, by each weight."""
    w, W_out, b_out = reading.weights()
    is_fixed = bool(reading.outputs) or reading.sizes.T != LSTMSizes().T
    times = (
        (reading.sizes.T,) if is_fixed else (reading.sizes.T, 1)
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
    unset = [name for name, each in module.named_parameters() if each.isnan().any()]
    seen = Watch.first(reading.cls)
    was_unset = seen is not None and any(
        bool(each.isnan().any()) for name, each in seen.network.named_parameters() if name in unset
    )
    if unset and (was_unset or ("LSTM loop" in names and not re.search(FILLS, unparsed(names)))):
        raise Failure(f"{unset[0]} is memory, whatever stood there before", wrong.UNFILLED)
    remarks += [f"{name} is not initialized here" for name in unset]
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
    """Return a remark if forward takes a state before the first step, but not as the equations do. Raises Failure if it can use none."""
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
