"""Training loops of submissions: they are run on small batches, and a GAN's gradients explained; else an LSTM's is read.

At each step of an optimizer the gradients that are there are written as a sum of known ones: of the loss for real images, for
generated ones as fake and as real, from this round and the one before. What the sum consists of says what the loop does.

Shapes: N images, P numbers of a gradient.
"""

import argparse
import ast
import copy
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.optimizer import register_optimizer_step_pre_hook

from reviver.checker import gan_mistakes as gan
from reviver.checker import lstm_mistakes as lstm
from reviver.checker.conventions import NAMES, stands_for
from reviver.checker.loading import SourceFile, StandIn, root
from reviver.checker.pieces import Failure, Finding, Mistake, Unclear, describe

BATCH, PART = 64, 20_000
"""Images in a batch, and numbers of a gradient that are compared."""
ROLES = {
    "loader": "dataloader loader loader_train train_loader data_loader dataset train_dataloader trainloader data",
    "D": "discriminator d dis disc netd d_net discriminator_net net_d model_d critic",
    "G": "generator g gen netg g_net generator_net net_g model_g",
    "opt_D": "optimizer_d opt_d d_solver d_optimizer optim_d optimizerd d_optim optimizer_discriminator d_opt dis_optimizer",
    "opt_G": "optimizer_g opt_g g_solver g_optimizer optim_g optimizerg g_optim optimizer_generator g_opt gen_optimizer",
    "loss": "criterion loss adversarial_loss loss_func loss_fn bce adv_loss loss_function bce_loss criterion_g criterion_d",
    "device": "device dev",
    "epochs": "num_epochs n_epochs epochs n_epoch epoch nr_epochs",
    "shape": NAMES["image"],
    "settings": NAMES["settings"],
    "batch_size": "batch_size",
    "latent_dim": "noise_size latent_dim",
    "model": "model net network lstm rnn",
    "optimizer": "optimizer opt optim",
    "kind": "model_type",
    "save_interval": "save_interval",
}
"""Names of the arguments of a loop, or of its options, by what they stand for."""
LETTERS = {"zero_grad": "z", "backward": "b", "step": "s"}
LETTERS |= dict.fromkeys(("clip_grad_norm", "clip_grad_norm_", "clip_grad_value_"), "c")
"""The calls that make up an update."""
READ = (
    (r"^[^z]*$", lstm.NOT_CLEARED, "there is no zero_grad in the loop"),
    (r"^[^z]*b[^b]*$", lstm.CLEARED_EARLY, "zero_grad stands between backward and step"),
    (r"c[^c]*b[^c]*$", lstm.NOT_CLIPPED, "the gradient is clipped {}"),
)
"""Mistakes in the calls from one step to the next: their order, and what is said."""
ERRORS = {
    "Using a target size": gan.TARGET_SHAPE,
    "modified by an inplace operation": gan.REUSED,
    "backward through the graph a second time": gan.REUSED,
}
"""Mistakes that torch finds."""


class Loop(NamedTuple):
    """A function, or the code of a file, in which networks are trained."""

    source: SourceFile
    node: ast.AST
    function: Callable[..., Any] | None

    @property
    def options(self) -> Any:
        """The options that the file has parsed, or those of its parser; None without."""
        values = self.source.names.values()
        parsers = (each.parse_args([]) for each in values if isinstance(each, argparse.ArgumentParser))
        return next((each for each in values if type(each).__name__ == "Namespace"), None) or next(parsers, None)


def find_loops(sources: Sequence[SourceFile]) -> Iterator[Loop]:
    """Yield the loops of a submission in which backward and step are called."""
    for source in sources:
        for node in source.tree.body:
            if {"b", "s"} <= {letter for letter, _ in events(node)}:
                yield Loop(source, node, source.names.get(node.name) if isinstance(node, ast.FunctionDef) else None)


def is_gan_loop(loop: Loop) -> bool:
    """Return whether a loop steps two optimizers."""
    return len({of for letter, of in events(loop.node) if letter == "s"}) > 1


def events(node: ast.AST) -> list[tuple[str, str]]:
    """Return the calls that make up an update by their letters, in the order of the text, with the objects they belong to."""
    calls = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
    found = []
    for call in sorted(calls, key=lambda each: (each.lineno, each.col_offset)):
        of, _, name = ast.unparse(call.func).rpartition(".")
        if name in LETTERS and "scheduler" not in of.lower() and (of or LETTERS[name] == "c"):
            found.append((LETTERS[name], of))
    return found


def innermost(node: ast.AST) -> ast.AST:
    """Return the innermost loop that has both backward and step in it."""
    inner = (each for each in ast.walk(node) if each is not node and isinstance(each, ast.For | ast.While))
    return next((innermost(each) for each in inner if {"b", "s"} <= {letter for letter, _ in events(each)}), node)


def check_lstm_loop(loop: Loop) -> str:
    """Check the order of an update by running the loop; if it does not run, by reading it, and a failure begins with `looks like`."""
    inner = innermost(loop.node)
    line, order = getattr(inner, "lineno", 1), "".join(letter for letter, _ in events(inner))
    if seen := next(filter(None, map(partial(run_updates, loop), ((), (1,), (10,)))), ""):
        how, after, before = ("two updates show: {}", "", seen)
    elif order.count("s") == 1:
        how, (before, _, after) = f"looks like: {{}} (line {line}; read, not run)", order.partition("s")
    else:
        raise Unclear(
            f"line {line}: the loop has {order.count('s')} optimizer steps, so that its order cannot be read",
            "write one update per batch: zero_grad, backward, clip, step",
        )
    for pattern, mistake, text in READ:
        if re.search(pattern, f"{after}{before}s"):
            raise Failure(how.format(text.format("after step" if "c" in after else "before backward")), mistake)
    by = "by running two updates" if seen else "by reading"
    if "c" in after + before:
        return f"{by}: zero_grad, backward, clip, step"
    return Finding.of(f"{by}: zero_grad, backward, step", ["the gradient is not clipped"])


class Constant(nn.Module):
    """A network with the same logits for all sequences, in place of one that was not handed in."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(100))

    def forward(self, x: Tensor, *rest: Any) -> Tensor:
        """Return logits."""
        return self.logits.expand(len(x), -1)


def run_updates(loop: Loop, size: tuple[int, ...]) -> str:
    """Run a loop on batches [B, T, *size]; return what comes from the first step to the second, empty if there is none."""
    names, seen, parameters = loop.source.names, list[str](), list[Tensor]()
    options = loop.options
    small = {"batch_size": 8, "epochs": 1, "device": "cpu", "save_interval": 10**9, "kind": "LSTM"}
    time = next((getattr(options, name) for name in ("input_length", "seq_length") if hasattr(options, name)), 5)
    batches, network = [(torch.ones(8, time, *size), torch.zeros(8, dtype=torch.long))] * 3, Constant()
    given = {"settings": LoopSettings(options, small), "loader": batches, "loss": nn.CrossEntropyLoss()} | small
    given |= {"model": network, "optimizer": torch.optim.SGD(network.parameters(), lr=0.01)}

    def is_cleared() -> bool:
        return not any(each.grad is not None and bool(each.grad.any()) for each in parameters)

    def note(letter: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            seen.extend(["z"] * (letter == "b" and is_cleared()) + [letter])
            result = function(*args, **kwargs)
            if letter == "b" and parameters and is_cleared():
                raise ValueError("these batches have no gradient, so that nothing shows when it is cleared")
            return result

        return noted

    def on_step(optimizer: torch.optim.Optimizer, *args: Any) -> None:
        if parameters:
            seen[:] = ["b", "z"] if is_cleared() else seen
            raise SeenEnoughError
        parameters.extend(each for group in optimizer.param_groups for each in group["params"])
        seen.clear()

    changed = {name: given[role_of(name)] for name in names if role_of(name) == "settings" and names[name] is options}
    changed |= {
        name: Constant
        for name, each in names.items()
        if isinstance(each, StandIn) and re.search("lstm|rnn", name.lower())
    }
    clips = {name: note("c", getattr(nn.utils, name)) for name in LETTERS if hasattr(nn.utils, name)}
    changed |= {name: each for name, each in clips.items() if name in names}
    changed |= {"DataLoader": lambda *args, **kwargs: batches} if "DataLoader" in names else {}
    hook = register_optimizer_step_pre_hook(on_step)
    with ExitStack() as stack, suppress(Exception), torch.random.fork_rng(devices=[]):
        stack.callback(hook.remove)
        stack.enter_context(mock.patch.dict(names, changed))
        stack.enter_context(mock.patch.object(torch.utils.data, "DataLoader", return_value=batches))
        stack.enter_context(mock.patch.object(Tensor, "backward", note("b", Tensor.backward)))
        for name, each in clips.items():
            stack.enter_context(mock.patch.object(nn.utils, name, each))
        torch.set_default_dtype(torch.float32)
        function = loop.function or (lambda: None)
        wanted = inspect.signature(function).parameters.items()
        try:
            function(**{name: given.get(role_of(name), 1) for name, each in wanted if each.default is each.empty})
        except SeenEnoughError:
            return "".join(seen)
    return ""


class Part(NamedTuple):
    """Gradients of both networks by a loss, for the real or the generated images of a call of D, as real or as fake."""

    round: int
    whose: str
    target: str
    grads: dict[str, Tensor | None]


class UpdateRecord:
    """What a loop does: the gradients by the calls of D, the targets of its losses, and the gradients at each step."""

    def __init__(self, G: nn.Module, D: nn.Module, is_probability: bool) -> None:
        self.networks, self.is_probability, self.round = {"G": G, "D": D}, is_probability, -1
        self.parts: list[Part] = []
        self.fakes: list[Tensor] = []
        self.steps: list[tuple[str, int, int, Tensor | None]] = []
        self.targets: list[tuple[str, Tensor, Tensor]] = []
        for name, network in self.networks.items():
            network.forward = self.watch(name, network.forward)

    def watch(self, name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Return a forward that is recorded; some loops call it directly, so that hooks would miss it."""

        def watched(*args: Any, **kwargs: Any) -> Any:
            result = forward(*args, **kwargs)
            if name == "G" and isinstance(result, Tensor):
                self.fakes.append(result.detach().flatten(1))
            elif args and isinstance(args[0], Tensor) and isinstance(result, Tensor) and result.requires_grad:
                with suppress(RuntimeError):  # the graph of G is gone, which the loop itself will meet
                    self.parts += self.gradients(args[0].detach().flatten(1), result.flatten())
            return result

        return watched

    def gradients(self, rows: Tensor, values: Tensor) -> Iterator[Part]:
        """Yield the gradients by the losses of one call of D."""
        is_fake = torch.zeros(len(rows), dtype=torch.bool)
        for images in self.fakes:
            if images.shape[1] == rows.shape[1]:
                is_fake |= (torch.cdist(rows.double(), images.double()) < 1e-6).any(1)
        probability = values if self.is_probability else values.sigmoid()
        logs = {"real": -probability.clamp(1e-7).log(), "fake": -(1 - probability).clamp(1e-7).log()}
        parameters = {name: [*network.parameters()] for name, network in self.networks.items()}
        for whose, mask in (("real", ~is_fake), ("fake", is_fake)):
            for target, each in logs.items() if bool(mask.any()) and len(values) == len(mask) else ():
                loss = each[mask].mean()
                yield Part(
                    self.round,
                    whose,
                    target,
                    {
                        name: flat(torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True))
                        for name, leaves in parameters.items()
                    },
                )

    def step(self, name: str) -> None:
        """Keep the gradients at a step of the optimizer of a network."""
        gradient = flat(p.grad for p in self.networks[name].parameters())
        self.steps.append((name, self.round, len(self.parts), gradient))


def flat(grads: Any) -> Tensor | None:
    """Return gradients as one vector [P]; None if there is none."""
    found = [grad.flatten() for grad in grads if grad is not None]
    return torch.cat(found) if found else None


class Recording(torch.optim.SGD):
    """An optimizer that records its steps."""

    def __init__(self, network: nn.Module, name: str, record: UpdateRecord) -> None:
        super().__init__(network.parameters(), lr=0.02)
        self.name, self.record = name, record

    def step(self, closure: Any = None) -> Any:
        """Record the gradients, and update."""
        self.record.step(self.name)
        return super().step(closure)


class SeenEnoughError(Exception):
    """The loop asks for a second epoch."""


class Batches:
    """A loader of two batches of random images with labels."""

    def __init__(self, images: Tensor, record: UpdateRecord) -> None:
        self.images, self.record, self.dataset, self.batch_size = images, record, range(len(images)), BATCH

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.record.round > 0:
            raise SeenEnoughError
        for batch in self.images.chunk(2):
            self.record.round += 1
            yield batch.clone(), torch.zeros(len(batch), dtype=torch.long)


def role_of(name: str) -> str:
    """Return what an argument of a loop stands for by its name; empty if that is not known."""
    return next((role for role, names in ROLES.items() if name.lower() in names.split()), "")


class LoopSettings:
    """Options of a loop: those of its parser, with one epoch and few images."""

    def __init__(self, options: Any, small: dict[str, Any]) -> None:
        self._options, self._small = options, small

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        usual = False if name == "cuda" else 10 if stands_for(name, "C") else 1
        return self._small.get(role_of(name), getattr(self._options, name, usual))


def arguments_of(loop: Loop, given: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the arguments of a loop, by their names, and those that get a stand-in. Raises Unclear."""
    if loop.function is None:
        raise Unclear("the training stands in no function", "write train(dataloader, discriminator, generator, ...)")
    result, unknown = dict[str, Any](), list[str]()
    for name, parameter in inspect.signature(loop.function).parameters.items():
        if role_of(name) in given:
            result[name] = given[role_of(name)]
        elif callable(loop.source.names.get(name)):
            result[name] = loop.source.names[name]
        elif parameter.default is parameter.empty and parameter.kind in (0, 1, 3):
            result[name] = StandIn()
            unknown.append(name)
    if not {"D", "G"} <= {role_of(name) for name in result}:
        raise Unclear(
            "the loop takes no generator and discriminator", "write train(dataloader, discriminator, generator, ...)"
        )
    return result, unknown


def run_loop(loop: Loop, record: UpdateRecord, images: Tensor, latent_size: int) -> tuple[Exception | None, list[str]]:
    """Run a loop on two batches; return the error in which it ended, and the arguments that got a stand-in."""
    names, text = loop.source.names, ast.unparse(loop.source.tree)
    options = loop.options
    small = {"batch_size": BATCH, "latent_dim": latent_size, "save_interval": 10**9, "epochs": 1, "device": "cpu"}
    settings = LoopSettings(options, small)
    G, D = record.networks.values()
    given = small | {
        "loader": Batches(images, record),
        "D": D,
        "G": G,
        "shape": (BATCH, *images.shape[1:]),
        "settings": settings,
    }
    given |= {"opt_D": Recording(D, "D", record), "opt_G": Recording(G, "G", record), "device": torch.device("cpu")}
    given["loss"] = nn.BCEWithLogitsLoss() if "BCEWithLogitsLoss" in text and "BCELoss(" not in text else nn.BCELoss()
    changed: dict[str, Any] = {name: settings for name, each in names.items() if each is options and each is not None}
    changed |= {
        name: settings for name in ROLES["settings"].split() if names.get(name.upper(), names.get(name, 0)) is None
    }
    changed |= {name: 1 for name in ROLES["epochs"].split() if isinstance(names.get(name), int)}
    arguments, unknown = arguments_of(loop, given)

    def watch(name: str) -> Callable[..., Any]:
        original = getattr(functional, name)

        def wrapped(input: Any, target: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: A002
            if isinstance(target, Tensor):
                record.targets.append((name, input.detach(), target.detach()))
            return original(input, target, *args, **kwargs)

        return wrapped

    for each in ast.walk(loop.source.tree):
        match each:
            case ast.Constant(value=str(path)) if re.fullmatch(r"(?!/|.*\.\.)[\w./{}%-]+", path):
                Path(path).parent.mkdir(parents=True, exist_ok=True)  # for figures and logs
    with ExitStack() as stack, torch.random.fork_rng(devices=[]):
        stack.enter_context(mock.patch.dict(names, changed))
        for name in ("binary_cross_entropy", "binary_cross_entropy_with_logits"):
            stack.enter_context(mock.patch.object(functional, name, watch(name)))
        try:
            assert loop.function is not None
            loop.function(**arguments)
        except SeenEnoughError:
            pass
        except Exception as error:
            return error, unknown
    return None, unknown


def are_probabilities(values: Tensor) -> bool:
    """Return whether all values lie between 0 and 1."""
    return bool(((values >= 0) & (values <= 1)).all())


def check_gan_loop(loop: Loop, G: nn.Module, D: nn.Module, images: Tensor, example: Tensor, latent_size: int) -> str:
    """Check a loop of a GAN by running it on images, and by what its gradients consist of; D can be called with an example."""
    with torch.no_grad():  # logits would be large
        is_probability = are_probabilities(copy.deepcopy(D.train())(1e3 * example))
    record = UpdateRecord(G.train(), D.train(), is_probability)
    error, unknown = run_loop(loop, record, images, latent_size)
    for words, mistake in ERRORS.items():
        if words in str(error):
            raise Failure(describe(error or Exception()), mistake)
    for name, x, target in record.targets:
        if name.endswith("logits") and len(x) > 1 and is_probability and are_probabilities(x):
            raise Failure("D returns probabilities, which the loss takes for logits", gan.TWO_SIGMOIDS)
        if target.numel() and bool((target > 1.0001).any()):
            raise Failure(f"a label is {target.max():.3g}", gan.LABELS_ABOVE_ONE)
    verdicts = [explain(record, *step) for step in record.steps]
    if gan.NO_GRADIENT in verdicts and unknown:  # a stand-in has no gradient
        advice = "give it a default, or call what you need"
        raise Unclear(f"what should be the argument {unknown[0]} of the loop?", advice)
    if named := [
        each for each in verdicts if isinstance(each, Mistake)
    ]:  # what is kept for a round is kept at once, too
        first = gan.NEVER_CLEARED if gan.NEVER_CLEARED in named else named[0]
        raise Failure("by the gradients that are there when an optimizer steps", first)
    if remarks := dropped(loop, ("detach", "clamp")):
        raise Failure(f"looks like: {remarks[0]}", gan.DROPPED)
    if "Found dtype Long" in str(error):
        raise Unclear("labels are integers", "make the labels floats, as in torch.full((n, 1), 1.0)")
    if error is not None and len(record.steps) < 3:
        raise Unclear(f"the loop ended: {describe(error)}", "let train run on the CPU for one epoch of a small loader")
    if missing := sorted({"G", "D"} - {name for name, *_ in record.steps}):
        text = f"no step of the optimizer of {' and '.join(missing)} was seen"
        raise Unclear(text, "call step of both optimizers for each batch")
    if "right" not in verdicts or "" in verdicts:
        raise Unclear("the gradients are those of no loss that is known here", "use the losses of the text")
    return Finding.of("both networks are updated, each by its own loss", dropped(loop, ("to", "cuda")))


def explain(
    record: UpdateRecord, name: str, round_: int, num_parts: int, gradient: Tensor | None
) -> Mistake | str | None:
    """Return what the gradient of a network at a step consists of: a mistake, or `right`; None if it is not known."""
    if gradient is None or not bool(gradient.any()):
        return gan.NO_GRADIENT if name == "G" else None
    parts = [part for part in record.parts[:num_parts] if part.round >= round_ - 1]
    vectors = [part.grads[name] for part in parts]
    known = [
        (part, v)
        for part, v in zip(parts, vectors, strict=True)
        if v is not None and len(v) == len(gradient) and bool(v.any())
    ]
    if not known:
        return None
    picked = torch.linspace(0, len(gradient) - 1, min(PART, len(gradient))).long()
    matrix, right = torch.stack([v[picked] for _, v in known], 1).double(), gradient[picked].double()
    scale = matrix.norm(dim=0).clamp(min=1e-30)
    solution = torch.linalg.lstsq(matrix / scale, right[:, None], driver="gelsd", rcond=1e-7).solution[:, 0]
    if (matrix / scale @ solution - right).norm() > 1e-2 * right.norm():
        return None
    share = solution / scale
    found = set()
    for (part, _), value in zip(known, share, strict=True):
        if value.abs() > 0.03 * share.abs().max():
            found.add((part.round == round_, part.whose, part.target, "+" if value > 0 else "-"))
    return judge(name, found)


def judge(name: str, found: set[tuple[Any, ...]]) -> Mistake | str:
    """Return the mistake that parts of a gradient show, or `right`: (is of this round, whose images, as what, sign)."""
    now = {part[1:] for part in found if part[0]}
    before = {part[1:] for part in found if not part[0]}
    fake_as_fake, fake_as_real, real_as_real = ("fake", "fake", "+"), ("fake", "real", "+"), ("real", "real", "+")
    tests: dict[str, tuple[tuple[Mistake | str, bool], ...]] = {
        "G": (
            (gan.WRONG_SIGN, fake_as_real not in now and ("fake", "real", "-") in now),
            (gan.SATURATING, fake_as_real not in now and ("fake", "fake", "-") in now),
            (gan.EXCHANGED, fake_as_real not in now),
            (gan.NO_DETACH, fake_as_fake in now | before),
            (gan.NEVER_CLEARED, bool(before)),
        ),
        "D": (
            (gan.NEVER_CLEARED, bool({fake_as_fake, real_as_real} & before)),
            (gan.KEPT, fake_as_real in now | before and {real_as_real, fake_as_fake} <= now),
            (gan.EXCHANGED, ("real", "fake", "+") in now and real_as_real not in now),
            (gan.WRONG_SIGN, {("real", "real", "-"), ("fake", "fake", "-")} <= now),
            ("", not {real_as_real, fake_as_fake} <= now),
        ),
    }
    return next((mistake for mistake, is_so in tests[name] if is_so), "right")


def dropped(loop: Loop, methods: tuple[str, ...]) -> list[str]:
    """Return the calls of methods of the images in a loop whose result is dropped though they change nothing."""
    nodes, found = list(ast.walk(loop.node)), []
    targets = [name for each in nodes if isinstance(each, ast.For) for name in ast.walk(each.target)]
    images = {name.id for name in targets if isinstance(name, ast.Name)}
    for node in nodes:
        match node:
            case ast.Expr(value=ast.Call(func=ast.Attribute(attr=name, value=value) as function)) if name in methods:
                owner = root(value)
                if owner in images or (owner not in ("torch", "") and name in ("detach", "clamp")):
                    found.append(f"line {node.lineno}: the result of {ast.unparse(function)}() is dropped")
    return found
