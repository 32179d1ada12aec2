"""How a submitted LSTM is called, and what its parameters are: the ways to read it.

Shapes: B batch, T time, I input size, H hidden size, C classes.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from reviver.checker import lstm_mistakes as wrong
from reviver.checker.compare import Program, sample
from reviver.checker.conventions import (
    FORMS,
    LSTM_KEYS,
    Form,
    LSTMSizes,
    build_module,
    loose_tensors,
    read_alone,
    read_logits,
    stands_for,
)
from reviver.checker.layout import IS_STATE, Layout, find_layouts, infer_sizes
from reviver.checker.pieces import Failure, Namespace, Unclear, unparsed
from reviver.recurrent.lstm_step import LSTMWeights

NUM_CLASSES = 10
STATE = re.compile(r"^[hc](\d|_|x|$)|state|hidden|init|cell")
"""Names of the arguments of forward that may be the state before the first step."""


def random_weights(input_size: int, hidden_size: int) -> LSTMWeights:
    """Return weights of a cell that all differ, also U and its transpose."""
    shapes = [(hidden_size, input_size)] * 4 + [(hidden_size, hidden_size)] * 4 + [(hidden_size,)] * 4
    scale = 0.7 * min(1, (8 / hidden_size) ** 0.5)  # more units would saturate
    return LSTMWeights(*(scale * sample(seed, *shape) for seed, shape in enumerate(shapes)), None)  # type: ignore[call-arg]


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters of a module."""
    return {name: tuple(value.shape) for name, value in module.named_parameters() if value.requires_grad}


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
        if self.form.name.endswith("at a time"):
            return torch.stack([read_alone(each, self.sizes) for each in results])
        return read_logits(results[-1], self.sizes._replace(T=x.shape[1]))

    def call_from_zero(self, network: nn.Module, x: Tensor, tensors: dict[str, Tensor] | None = None) -> Tensor:
        """Return the logits from zeros, which are given if forward needs a state. Raises what the first way to give it raises."""
        needed = [each for each in state_arguments(network) if each.default is each.empty]
        errors = list[Exception]()
        for start in (
            *starts(torch.zeros(2, len(x), self.sizes.H), len(needed)),
            *[(None,) * len(needed)] * any(needed),
        ):
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
    """Return which sizes the constructor of a network takes."""
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
        name, table = f"{embedding[0]}.weight", sample(33, *embedding[1].weight.shape)
        shapes = {each: shape for each, shape in shapes_of(network).items() if each != name}
        sizes = infer_sizes(shapes, sizes._replace(I=table.shape[1]), given + "I")._replace(I=sizes.I)
        reading = reading._replace(sizes=sizes, table=table, embedding=name)
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
    reading = find_weights(reading, shapes_of(network), unused, has_output=is_own or {"C", "H"} <= set(given))
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
