"""Find the training loops of a submission, and run one on small batches with what it needs put in by its name."""

import argparse
import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.data import DataLoader, Dataset, TensorDataset

from reviver.checker.conventions import stands_for
from reviver.checker.loading import SourceFile
from reviver.checker.lstm_errors import lacks_name
from reviver.checker.standins import StandIn, give_images
from reviver.checker.watch import SeenEnough


def spelled(words: str, kinds: str) -> str:
    """Return the words for a network or its optimizer, joined with a kind in each way, as names are."""
    pairs = [(word, kind) for word in words.split() for kind in kinds.split()]
    return " ".join(
        form for word, kind in pairs for a, b in ((word, kind), (kind, word)) for form in (f"{a}_{b}", a + b)
    )


OF_D, OF_G = "d dis disc dsc discriminator critic", "g gen generator"
NETWORKS, OPTIMIZERS = "net network model", "optimizer optim opt solver"
ROLES = {
    "loader": "dataloader loader loader_train train_loader data_loader dataset train_dataloader trainloader data",
    "D": f"{OF_D} {spelled(OF_D, NETWORKS)}",
    "G": f"{OF_G} {spelled(OF_G, NETWORKS)}",
    "opt_D": spelled(OF_D, OPTIMIZERS),
    "opt_G": spelled(OF_G, OPTIMIZERS),
    "loss": "criterion loss adversarial_loss loss_func loss_fn bce adv_loss loss_function bce_loss criterion_g criterion_d",
    "shape": "image_shape img_shape x_dims shape img_dims input_shape output_shape",
    "settings": "config configs args opt opts params hparams cfg arg",
    "latent_dim": "noise_size latent_dim",
    "model": "model net network lstm rnn lstmmodel bilstm peeplstm gru vanillarnn textgenerationmodel",
    "optimizer": "optimizer opt optim",
}
"""Names of what a loop is given, as an argument or from outside, by what they stand for."""
LETTERS = {"zero_grad": "z", "backward": "b", "step": "s"}
LETTERS |= dict.fromkeys(("clip_grad_norm", "clip_grad_norm_", "clip_grad_value_"), "c")
"""The calls that make up an update."""
BATCH_SIZE = 64
SMALL: dict[str, Any] = dict.fromkeys(("batch_size", "input_length", "seq_length"), BATCH_SIZE)
SMALL |= {"device": "cpu", "dev": "cpu", "model_type": "LSTM", "seed": 1}
"""What every loop gets, by its name."""
WATCHED = [(Tensor, "backward"), *((nn.utils, name) for name in LETTERS if hasattr(nn.utils, name))]
WATCHED += [(functional, "binary_cross_entropy"), (functional, "binary_cross_entropy_with_logits")]
"""Functions of which calls are observed."""


class Loop(NamedTuple):
    """A function, or the code of a file, in which networks are trained."""

    source: SourceFile
    node: ast.stmt
    function: Callable[..., Any] | None
    is_gan: bool
    """Whether it steps two optimizers."""
    method: str = ""
    """What to call of an object, if the function is its class."""
    before: Mapping[str, Any] = {}
    """The names that the code saw when it ran, where that was seen."""


def find_loops(sources: Sequence[SourceFile]) -> Iterator[Loop]:
    """Yield the GAN loops that were seen to run; then those in which the text calls backward and step; then by functions."""
    for source in sources:
        yield from (Loop(source, node, None, True, "", names) for node, is_gan, names in source.trained if is_gan)
    for is_followed in (False, True):
        for source in sources:
            functions = {node.name: node for node in source.tree.body if isinstance(node, ast.FunctionDef)}
            for node in source.tree.body:
                calls = events(node, functions if is_followed else {})
                if {"b", "s"} <= {letter for letter, _ in calls}:
                    name, is_gan, method = (
                        getattr(node, "name", ""),
                        len({of for letter, of in calls if letter == "s"}) > 1,
                        training_method(node),
                    )
                    is_called = isinstance(node, ast.FunctionDef) or method
                    yield Loop(source, node, source.names.get(name) if is_called else None, is_gan, method)


def training_method(node: ast.AST) -> str:
    """Return the method of a class that trains, and that no other one that trains calls; empty if there is none."""
    methods = {each.name: each for each in getattr(node, "body", ()) if isinstance(each, ast.FunctionDef)}
    if not isinstance(node, ast.ClassDef):
        return ""
    used = {name: {getattr(each, "attr", "") for each in ast.walk(body)} for name, body in methods.items()}
    trains = {name for name, body in methods.items() if "s" in dict(events(body))}
    for _ in methods:
        trains |= {name for name in methods if used[name] & trains}
    return next((name for name in methods if name in trains and not any(name in used[each] for each in trains)), "")


def events(node: ast.AST, functions: Mapping[str, ast.AST] = {}) -> list[tuple[str, str]]:
    """Return the calls that make up an update by their letters, in the order of the text, with the objects they belong to.

    Those of `functions` are taken for what stands in them.
    """
    parts = [each for each in ast.walk(node) if isinstance(each, ast.Call | ast.Assign)]
    found = []
    for part in sorted(parts, key=lambda each: (each.lineno, each.col_offset)):
        of, _, name = ast.unparse(part.func if isinstance(part, ast.Call) else part.targets[0]).rpartition(".")
        is_call = name in LETTERS and isinstance(part, ast.Call)
        if is_call and "scheduler" not in of.lower() and (of or LETTERS[name] == "c"):
            found.append((LETTERS[name], of))
        elif (name == "grad" and isinstance(part, ast.Assign)) or (name == "zero_" and ".grad" in of):
            found.append(("z", of))  # p.grad = None, p.grad.zero_()
        elif name in functions and not of:
            found += [(letter, f"{name}.{of}") for letter, of in events(functions[name])]
    return found


class LoopSettings:
    """Options of a loop: those of its parser, with small numbers."""

    def __init__(self, options: Any, values: Mapping[str, Any]) -> None:
        self._options, self._values = options, values

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if re.search("config|setting|options", name.lower()):
            return self
        value = self._values.get("latent_dim" if stands_for(name, "Z") else name.lower())
        usual: Any = False if name == "cuda" else 10 if stands_for(name, "C") else 1
        if re.search(r"^lr|_lr$|rate|decay|beta", name.lower()):
            usual = 1e-3
        return value if isinstance(value, int | str) else getattr(self._options, name, usual)

    __getitem__ = __getattr__


def values_of(names: Mapping[str, Any], given: dict[str, Any], x: Tensor) -> dict[str, Any]:
    """Return what a loop on batches of x is given, by name: `given` by roles, the data, small numbers and options that have them."""
    parsers = (each.parse_args([]) for each in names.values() if isinstance(each, argparse.ArgumentParser))
    options = (each for each in names.values() if isinstance(each, argparse.Namespace))
    loader = DataLoader(TensorDataset(x, torch.arange(len(x)) % 2), BATCH_SIZE)
    values = {name: each for role, each in ({"loader": loader} | given).items() for name in ROLES[role].split()} | SMALL
    return values | dict.fromkeys(ROLES["settings"].split(), LoopSettings(next(chain(options, parsers), None), values))


def arguments_of(function: Any, names: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a function of a loop by their names, of which some may be a stand-in."""
    result = dict[str, Any]()
    for name, parameter in inspect.signature(function or (lambda: None)).parameters.items():
        if name.lower() in values:
            result[name] = values[name.lower()]
        elif callable(names.get(name)):
            result[name] = names[name]
        elif parameter.default is parameter.empty and re.search(r"lr|rate|beta|epoch|^n_|num", name.lower()):
            result[name] = getattr(values["args"], name)
        elif parameter.default is parameter.empty and parameter.kind in (0, 1, 3):
            result[name] = StandIn()
    return result


def run(
    loop: Loop,
    x: Tensor,
    given: dict[str, Any],
    step: Callable[[torch.optim.Optimizer], None],
    call: Callable[..., Any],
    watched: Iterable[tuple[Any, str]] = (),
) -> tuple[Exception | None, list[str]]:
    """Run a loop on batches of x, with `given` by roles, until a step of an optimizer raises SeenEnough.

    Of WATCHED and `watched` functions `call` is called instead, with name and function before its arguments. Return the error in
    which the loop ended, and the arguments that are unknown.
    """
    names, nodes, changed = loop.source.names, list(ast.walk(loop.source.tree)), dict(loop.before)
    values, text = values_of(names, given, x), ast.unparse(loop.source.tree)
    name = getattr(loop.node, "name", "")
    is_used = bool(name and re.search(rf"(?<!def )\b{name}\(", text))

    def is_lost(name: str) -> bool:
        return is_used and name not in names and lacks_name({"*sources": [loop.source]}, name)

    for name in {*names, *(each.id for each in nodes if isinstance(each, ast.Name))}:
        if isinstance(names.get(name), argparse.Namespace) and not loop.before:
            changed[name] = values["args"]
        elif isinstance(names.get(name), StandIn | NoneType) and name.lower() in values and not is_lost(name):
            value = values[name.lower()]
            changed[name] = type(value) if value is given.get("model") and name[0].isupper() else value

    def observed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: call(name, function, *args, **kwargs)

    patches = [(owner, name, observed(name, getattr(owner, name))) for owner, name in (*WATCHED, *watched)]

    def load(dataset: Any = None, *args: Any, **kwargs: Any) -> Any:
        is_own = isinstance(dataset, Dataset) and not isinstance(dataset, StandIn)
        return DataLoader(dataset, *args, **kwargs) if is_own else values["loader"]

    if not any(loop.node is node for node, *_ in loop.source.trained):  # one that was seen to run has its data
        patches.append((torch.utils.data, "DataLoader", load))
    for text in (each.value for each in nodes if isinstance(each, ast.Constant) and isinstance(each.value, str)):
        if re.fullmatch(r"(?!/|.*\.\.)[\w./{}%-]+/[\w.{}%-]*", text):
            Path(f"{text}x").parent.mkdir(parents=True, exist_ok=True)  # for figures and logs
    arguments = arguments_of(loop.function, names, values)
    unknown = [name for name, each in arguments.items() if isinstance(each, StandIn)]
    with ExitStack() as stack, torch.random.fork_rng(devices=[]):
        stack.callback(register_optimizer_step_pre_hook(lambda optimizer, *_: step(optimizer)).remove)
        stack.callback(register_module_forward_pre_hook(give_images).remove)
        for owner, name, function in patches:
            changed |= {name: function} if names.get(name) is getattr(owner, name) else {}
            stack.enter_context(mock.patch.object(owner, name, function))
        stack.enter_context(mock.patch.dict(names, changed))
        torch.set_default_dtype(torch.float32)
        try:
            if loop.function is not None:
                result = loop.function(**arguments)
                if loop.method:
                    train = getattr(result, loop.method)
                    train(**arguments_of(train, names, values))
            else:
                body = loop.node.body if isinstance(loop.node, ast.If) else [loop.node]
                exec(compile(ast.Module(body, []), names["__file__"], "exec"), names)  # noqa: S102
        except SeenEnough:
            pass
        except Exception as error:
            return error, unknown
    return None, unknown
