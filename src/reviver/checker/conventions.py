"""How submissions want to be called: the names of their arguments, the forms of their inputs, and what they return.

Shapes: B batch, T time, I input size, H hidden size, C classes, N images, Z latent size.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from types import CodeType
from typing import Any, NamedTuple

from torch import Tensor, as_tensor, nn

from reviver.checker import lstm_mistakes as wrong
from reviver.checker.pieces import Failure, Unclear, describe
from reviver.checker.standins import StandIn
from reviver.checker.watch import Watch
from reviver.text import short_repr

ARGUMENTS = {
    "p": r"drop",
    "one": r"layer",
    "no": r"gradient_check|bidirectional|debug|verbose|save|linear|cuda|gpu|plot|batch_first",
    "yes": r"bias",
    "cpu": r"^dev",
    "B": r"batch|^bsz?$|^b$",
    "T": r"seq|len|step|time|^t$|^sl$",
    "C": r"(^|_)n?(out|class|cls|label|target|vocab|token|tag)|^[co](_|$)",
    "H": r"hid|cell_(size|dim)|latent|(^|_)lat(_|$)|unit|neuron|lstm|rnn|state|d_model|^h(_|$)",
    "I": r"(^|_)n?(in(?!it|t)|emb|feat)|^word_|^[xdi](_|$)|^dim$",
    "Z": r"latent|noise|^n?z|^dim(_z)?$|^in(put)?_(dim|size|features)$",
    "image": r"^((img|image|input|output)_)?shape$|^(x|img)_dims$",
    "pixels": r"pixels$|^(in|input|out|output|img|image|im|x|n)_(dim|size|features|len)(_flat)?$|^d_in(put)?$",
    "width": r"^((base|h|hidden|gen|disc)_(dim|size|features|channels?)|n?_?hidden|dim_h|feature(s|s_[dg]|_maps)|n[gd]?f|n(um)?_filters)$",
    "channels": r"^((img|image|num|n|in|out)_)?channels?(_(img|image))?$|^nc$",
    "settings": r"^(configs?|cfg|args?|opts?|h?params)$",
}
"""Names of the arguments of networks by what they stand for, the first that fits."""
EXAMPLES = {
    "T": "seq_length",
    "I": "input_dim",
    "H": "num_hidden",
    "C": "num_classes",
    "B": "batch_size",
    "p": "dropout",
    "Z": "latent_dim",
    "image": "image_shape",
}
LSTM_KEYS = ("p", "one", "no", "yes", "cpu", "B", "T", "C", "H", "I")
GENERATOR_KEYS = ("Z", "image", "pixels", "channels", "width", "B", "cpu", "no", "p")
FIXED = {"cpu": "cpu", "p": 0.0, "one": 1, "no": False, "yes": True, "image": (1, 28, 28), "pixels": 784}
FIXED |= {"channels": 1, "width": 16, "Z": 100, "B": 8}
ONLY_TORCH = "write class {}(nn.Module); PyTorch modules are checked, and the functions of reviver check --start"
SCALAR = "'int' object is not (subscriptable|iterable)|non-iterable int"
"""Words of the error of code that gets a number for a shape."""
OPTIONAL = ("no", "one", "channels", "width", "image")
"""What keeps the default that a class has."""


class LSTMSizes(NamedTuple):
    """Sizes of a comparison. They all differ, so that code which mixes up two of them shows it."""

    B: int = 6
    T: int = 5
    I: int = 3  # noqa: E741
    H: int = 8
    C: int = 7


@cache
def fits(name: str, key: str) -> bool:
    """Return whether the name of an argument can stand for a key."""
    return bool(re.search(ARGUMENTS[key], name.lower().strip("_")))


def stands_for(name: str, keys: Iterable[str], others: Iterable[str] = ()) -> str:
    """Return what an argument stands for, the first of `keys` that its name fits; empty if none.

    Z comes last if it is all that one of the `others` can stand for: beside latent_dim, input_dim is no latent size.
    """

    def fitting(name: str) -> list[str]:
        return [key for key in keys if fits(name, key)]

    has_other = ["Z"] in map(fitting, others)
    return next(iter(sorted(fitting(name), key=lambda key: key == "Z" and has_other)), "")


class Sizes:
    """All sizes under every name, for a class that takes one object with settings."""

    def __init__(self, values: Mapping[str, Any], keys: tuple[str, ...]) -> None:
        self._values, self._keys = values, keys

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not (key := stands_for(name, self._keys)):
            raise AttributeError(name)
        return self._values[key]

    __getitem__ = __getattr__


def build(cls: Callable[..., Any], keys: tuple[str, ...], values: Mapping[str, Any]) -> Any:
    """Call a class or function with arguments by their names; an unknown one keeps its default. Raises Unclear."""
    known, arguments = FIXED | dict(values), dict[str, Any]()
    parameters, seen = inspect.signature(cls).parameters, seen_arguments(cls)
    for name, parameter in parameters.items():
        key, default = stands_for(name, keys, parameters.keys() - {name}), parameter.default
        is_word = isinstance(default, bool | str) and key not in ("yes", "cpu")  # such as cell_type="lstm"
        is_word |= key == "yes" and isinstance(default, int | float) and not isinstance(default, bool)  # forget_bias=0
        if parameter.kind == parameter.VAR_KEYWORD and "__init__" in vars(cls):  # the names that the code looks up
            words = vars(cls)["__init__"].__code__.co_consts
            found = {word: stands_for(word, keys) for word in words if isinstance(word, str) and word.isidentifier()}
            arguments |= {word: known[key] for word, key in found.items() if key and key not in OPTIONAL}
        elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            pass
        elif key and (default is parameter.empty or not (is_word or key in OPTIONAL or keys is not LSTM_KEYS)):
            arguments[name] = known[key]
        elif default is parameter.empty and seen and name in seen:
            arguments[name] = seen[name]
        elif default is parameter.empty and stands_for(name, ["settings"]):
            arguments[name] = Sizes(known, keys)
        elif default is parameter.empty:
            choices = ", ".join(EXAMPLES[key] for key in keys if key in values)
            raise Unclear(
                f"what should be the argument {name} of {getattr(cls, '__name__', cls)}?",
                f"give {name} a default, or call it one of {choices}",
            )
    try:
        try:
            return cls(**arguments)
        except TypeError as error:  # what is called a size may be a shape
            if "pixels" not in keys or not re.search(SCALAR, str(error)):
                raise
            shapes = {name: FIXED["image"] for name, value in arguments.items() if value == FIXED["pixels"]}
            return cls(**arguments | shapes)
    except RuntimeError as error:
        if wrong.LEAF in str(error):
            raise Failure(describe(error), wrong.CHANGED_LEAF) from error
        raise


def seen_arguments(cls: Any) -> Mapping[str, Any]:
    """Return the arguments that the submission itself built a class with, by name."""
    found = Watch.built.get(cls)
    return inspect.signature(cls).bind(*found.args, **found.kwargs).arguments if found else {}


def build_module(cls: Callable[..., Any], keys: tuple[str, ...], values: Mapping[str, Any]) -> nn.Module:
    """Build a network. Raises Unclear, or NotImplementedError if it is still to be written."""
    base = next((each for each in getattr(cls, "__orig_bases__", ()) if isinstance(each, StandIn)), None)
    if base is not None:
        text = f"{cls.__name__} is built on {base._extract_mock_name()}, which is not there"
        raise Unclear(text, "hand in the file that defines it, too")
    module = build(cls, keys, values)
    if module is None:
        raise NotImplementedError
    if isinstance(module, nn.Module) and not {*module.parameters(), *loose_tensors(module).values()}:
        for path, part in module.named_modules():
            for name, each in vars(part).items():
                if isinstance(each, Tensor) and each.ndim > 1 and bool(each.any()):
                    text = f"{path}{'.' * bool(path)}{name} is a tensor without a gradient"
                    raise Failure(text, wrong.NO_PARAMETERS)
        raise NotImplementedError
    if not isinstance(module, nn.Module):
        raise Unclear(f"{cls.__name__} is no nn.Module", ONLY_TORCH.format(cls.__name__))
    if type(module).forward is nn.Module.forward:
        inner = [each.co_name for each in type(module).__init__.__code__.co_consts if isinstance(each, CodeType)]
        if "forward" in inner:
            raise Failure(f"{cls.__name__} has no forward", wrong.INNER_FORWARD)
    return module


def loose_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors with a gradient that a module holds beside its parameters, also in lists, dictionaries and layers."""
    found, known = dict[str, Tensor](), set(map(id, module.parameters()))
    held = [(f"{path}." * bool(path), vars(each)) for path, each in module.named_modules()]
    values = [(path + name, each) for path, names in held for name, each in names.items() if not name.startswith("_")]
    for name, value in values:  # which grows
        if id(value) in known:
            continue
        if isinstance(value, Tensor | list | tuple | dict | nn.Module):
            known.add(id(value))
        if isinstance(value, Tensor) and value.requires_grad:
            found[name] = value
        elif isinstance(value, list | tuple | dict):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            values += [(f"{name}[{key!r}]", each) for key, each in items]
        elif isinstance(value, nn.Module):  # in a plain list
            values += [(f"{name}.{key}", each) for key, each in value.named_parameters()]
            values += [(f"{name}.{key}", each) for key, each in vars(value).items() if not key.startswith("_")]
    return found


class Form(NamedTuple):
    """A form of the input of a network that reads sequences."""

    name: str
    inputs: Callable[[Tensor], Sequence[Tensor]]
    """What the network is called with, once or at each step, for x [B, T, I]."""
    is_single: bool = False
    """Whether I = 1."""
    has_digits: bool = False
    """Whether it takes integers, which it embeds or encodes itself."""


PLACES: dict[str, Callable[[Tensor], Sequence[Tensor]]] = {
    "[B, T, {}]": lambda x: [x],
    "[T, B, {}]": lambda x: [x.transpose(0, 1)],
    "[B, T]": lambda x: [x[:, :, 0]],
    "[T, B]": lambda x: [x[:, :, 0].T],
    "[B, 1, T]": lambda x: [x.transpose(1, 2)],
}

INTEGERS = sorted(PLACES, key=lambda name: "{" in name)
FORMS = (
    *(Form(name.format("I"), inputs, "{" not in name) for name, inputs in PLACES.items()),
    *(Form(f"{name.format(1)} of integers", PLACES[name], has_digits=True) for name in INTEGERS),
    Form("[B, T, 1] of integers, which are single inputs", PLACES["[B, T, {}]"], True, True),
    Form("[B, I], step by step", lambda x: x.unbind(1)),
    Form("[B, 1, T, I]", lambda x: [x[:, None]]),
    Form("[T, I], one sequence at a time", lambda x: x.unbind(0)),
    Form("[T] of integers, one sequence at a time", lambda x: x[..., 0].unbind(0), has_digits=True),
)


def read_logits(result: Any, sizes: LSTMSizes) -> Tensor:
    """Return what a network says about the last step, [B, C], or [B, H], of whatever it returned. Raises Unclear."""
    B, T = sizes.B, sizes.T
    for C in (sizes.C, sizes.H):
        parts: list[Any] = [result]
        while parts:
            part = parts.pop(0)
            shape = tuple(part.shape) if isinstance(part, Tensor) else ()
            if isinstance(part, dict):
                parts[:0] = part.values()
            elif isinstance(part, tuple | list):
                parts[:0] = part[::-1] if isinstance(part, list) else part
            elif shape in ((B, C), (C, B)):
                return as_tensor(part if shape == (B, C) else part.T)
            elif shape in ((B, T, C), (B, 1, C), (T, B, C), (1, B, C)):
                return as_tensor(part[:, -1] if shape[0] == B else part[-1])
    if result is None:
        raise NotImplementedError
    shown = list(result.shape) if isinstance(result, Tensor) else short_repr(result)
    raise Unclear(
        f"forward returns {shown} for {B} sequences, where one number per class was expected",
        "return the logits of the last step, [batch, classes]",
    )


def read_alone(result: Any, sizes: LSTMSizes) -> Tensor:
    """Return what a network says about the last step of one sequence, [C] or [H]. Raises Unclear."""
    parts = [result]
    while parts:
        part = parts.pop(0)
        if isinstance(part, tuple | list):
            parts[:0] = part
        elif isinstance(part, Tensor) and part.ndim and part.shape[-1] in (sizes.C, sizes.H):
            return part.reshape(-1, part.shape[-1])[-1]
    raise Unclear(
        f"forward returns {short_repr(result)} for one sequence", "return the logits of the last step, [classes]"
    )
