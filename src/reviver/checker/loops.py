"""Training loops of submissions: a GAN's is run on two small batches and its gradients are explained; others are read.

At each step of an optimizer the gradients that are there are written as a sum of known ones: of the loss for real images, for
generated ones as fake and as real, from this round and the one before. What the sum consists of says what the loop does.

Shapes: N images, P numbers of a gradient.
"""

import ast
import builtins
import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional

from reviver.checker import gan_mistakes as gan
from reviver.checker import lstm_mistakes as lstm
from reviver.checker.conventions import NAMES, Sizes
from reviver.checker.loading import SourceFile, StandIn, root
from reviver.checker.pieces import Failure, Finding, Mistake, Unclear, describe

OPEN = open
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
    "args": "args opt config options opts arg hparams cfg params",
}
"""Names of the arguments of a loop by what they stand for."""
SIZES = ("batch_size", "noise_size", "latent_dim", "save_interval")
"""Arguments of a loop that its options have, too."""


class Loop(NamedTuple):
    """A function, or the code of a file, in which networks are trained."""

    source: SourceFile
    node: ast.AST
    function: Callable[..., Any] | None


def find_loops(sources: list[SourceFile]) -> Iterator[Loop]:
    """Yield the loops of a submission in which backward and step are called."""
    for source in sources:
        for node in source.tree.body:
            if {"backward", "step"} <= {name for name, _ in events(node)}:
                yield Loop(source, node, source.names.get(node.name) if isinstance(node, ast.FunctionDef) else None)


def events(node: ast.AST) -> list[tuple[str, str]]:
    """Return the calls that make up an update, in the order of the text, each with the object whose method it is."""
    found = []
    for each in ast.walk(node):
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute):
            name = "clip" if each.func.attr.startswith("clip_grad") else each.func.attr
            if name in ("zero_grad", "backward", "step", "clip") and "scheduler" not in ast.unparse(each.func).lower():
                found.append((each.lineno, each.col_offset, name, ast.unparse(each.func.value)))
        elif isinstance(each, ast.Call) and isinstance(each.func, ast.Name) and each.func.id.startswith("clip_grad"):
            found.append((each.lineno, each.col_offset, "clip", ""))
    return [(name, of) for _, _, name, of in sorted(found)]


def innermost(node: ast.AST) -> ast.AST:
    """Return the innermost loop that has both backward and step in it."""
    for each in ast.walk(node):
        if each is not node and isinstance(each, ast.For | ast.While):
            names = {name for name, _ in events(each)}
            if {"backward", "step"} <= names:
                return innermost(each)
    return node


def check_lstm_loop(loop: Loop) -> str:
    """Check the order of an update by reading the loop. A failure says that it looks like a mistake."""
    inner = innermost(loop.node)
    order = [name for name, of in events(inner)]
    if order.count("step") != 1:
        raise Unclear(
            f"line {getattr(inner, 'lineno', 1)}: the loop has {order.count('step')} optimizer steps, so that its order cannot be read",
            "write one update per batch: zero_grad, backward, clip, step",
        )
    start = order.index("step")
    cycle = order[start + 1 :] + order[: start + 1]  # from one step to the next
    if "zero_grad" not in cycle:
        fail(loop, "the gradients are not cleared", "there is no zero_grad in the loop")
    first_zero, last_back = cycle.index("zero_grad"), len(cycle) - 1 - cycle[::-1].index("backward")
    if first_zero > last_back:
        fail(loop, "the gradients are cleared before the step", "zero_grad stands between backward and step")
    if "clip" in cycle:
        if max(index for index, name in enumerate(cycle) if name == "clip") < last_back:
            after = order.index("clip") > start
            text = "after step" if after else "before backward"
            fail(loop, "the gradient is not clipped before the update", f"the gradient is clipped {text}")
        return "by reading: zero_grad, backward, clip, step"
    return Finding.of("by reading: zero_grad, backward, step", ["the gradient is not clipped"])


def fail(loop: Loop, name: str, text: str) -> None:
    """Raise a failure that was read, not run."""
    mistake = next((each for each in lstm.TRAINING_MISTAKES + lstm.READ_MISTAKES if each.name == name), None)
    raise Failure(f"looks like: {text} (line {getattr(innermost(loop.node), 'lineno', 1)}; read, not run)", mistake)


class LoopCall(NamedTuple):
    """A call of a network in the loop."""

    network: nn.Module
    """The network as it was then."""
    x: Tensor
    result: Tensor
    random_state: Tensor
    round: int
    is_attached: bool


class UpdateRecord:
    """What a loop does: the calls of its networks, the targets of its losses, and the gradients at each step."""

    def __init__(self, G: nn.Module, D: nn.Module) -> None:
        self.networks = {"G": G, "D": D}
        self.calls: dict[str, list[LoopCall]] = {"G": [], "D": []}
        self.steps: list[tuple[str, int, int, dict[str, Tensor | None]]] = []
        self.targets: list[tuple[str, Tensor, Tensor]] = []
        self.round = -1
        self.real = torch.zeros(0)
        for name, network in self.networks.items():
            network.forward = self.watch(name, network.forward)

    def watch(self, name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Return a forward that keeps its calls; some loops call it directly, so that hooks would miss it."""

        def watched(*args: Any, **kwargs: Any) -> Any:
            state, network = torch.get_rng_state(), self.networks[name]
            result = forward(*args, **kwargs)
            if args and isinstance(args[0], Tensor) and isinstance(result, Tensor):
                mine = network.__dict__.pop("forward")
                with suppress(RuntimeError):  # a module that keeps results cannot be copied
                    kept = copy.deepcopy(network)
                    x = args[0].detach().clone()
                    call = LoopCall(kept, x, result.detach().clone(), state, self.round, args[0].requires_grad)
                    self.calls[name].append(call)
                network.forward = mine
            return result

        return watched

    def step(self, name: str) -> None:
        """Keep the gradients at a step of the optimizer of a network."""
        grads = {each: flat([p.grad for p in self.networks[each].parameters()]) for each in "GD"}
        self.steps.append((name, self.round, len(self.calls["D"]), grads))


def flat(grads: list[Tensor | None]) -> Tensor | None:
    """Return gradients as one vector [P]; None if there is none."""
    return None if all(g is None for g in grads) else torch.cat([g.flatten() for g in grads if g is not None])


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

    def __iter__(self) -> "Batches":
        if self.record.round > 0:
            raise SeenEnoughError
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        """Return the next batch."""
        if self.record.round > 0:
            raise StopIteration
        self.record.round += 1
        batch = self.images.chunk(2)[self.record.round]
        self.record.real = batch
        return batch.clone(), torch.zeros(len(batch), dtype=torch.long)


def role_of(name: str) -> str:
    """Return what an argument of a loop stands for by its name; empty if that is not known."""
    return next((role for role, names in ROLES.items() if name.lower() in names.split()), "")


def unknown_arguments(loop: Loop) -> list[str]:
    """Return the arguments of a loop that get a stand-in."""
    assert loop.function is not None
    parameters = inspect.signature(loop.function).parameters.items()
    needed = [name for name, each in parameters if each.default is each.empty and not role_of(name)]
    return [name for name in needed if not callable(loop.source.names.get(name)) and name not in SIZES]


def arguments_of(loop: Loop, given: dict[str, Any], options: Any) -> dict[str, Any]:
    """Return the arguments of a loop, by their names. Raises Unclear."""
    assert loop.function is not None
    result = {}
    for name, parameter in inspect.signature(loop.function).parameters.items():
        role = role_of(name)
        if role in given:
            result[name] = given[role]
        elif role == "args":
            result[name] = options
        elif name in SIZES:
            result[name] = getattr(options, name)
        elif callable(loop.source.names.get(name)):
            result[name] = loop.source.names[name]
        elif parameter.default is parameter.empty and parameter.kind in (0, 1, 3):
            result[name] = StandIn()
    if not {"D", "G"} <= {role_of(name) for name in result}:
        raise Unclear(
            "the loop takes no generator and discriminator", "write train(dataloader, discriminator, generator, ...)"
        )
    return result


class LoopSettings(Sizes):
    """Options of a loop: those of its parser, with one epoch and few images."""

    def __init__(self, options: Any, latent_size: int) -> None:
        object.__setattr__(self, "_options", options)
        object.__setattr__(self, "latent_size", latent_size)

    def __getattr__(self, name: str) -> Any:
        small = {"batch_size": BATCH, "latent_dim": self.latent_size, "noise_size": self.latent_size}
        small |= {"save_interval": 10**9, "n_epochs": 1, "num_epochs": 1, "epochs": 1, "device": "cpu", "cuda": False}
        if name in small:
            return small[name]
        try:
            return getattr(self._options, name)
        except AttributeError:
            if name.startswith("__"):
                raise
            return 1


def run_loop(
    loop: Loop, G: nn.Module, D: nn.Module, shape: tuple[int, ...], latent_size: int
) -> tuple[UpdateRecord, Any]:
    """Run a loop on two batches; return what it does, and the error in which it ended."""
    record = UpdateRecord(G, D)
    images = torch.rand(2 * BATCH, *shape) * 2 - 1
    names, losses = loop.source.names, ("binary_cross_entropy", "binary_cross_entropy_with_logits")
    options = next((each for each in names.values() if type(each).__name__ == "Namespace"), None)
    settings = LoopSettings(options, latent_size)
    text = ast.unparse(loop.source.tree)
    with_logits = "BCEWithLogitsLoss" in text and "BCELoss(" not in text
    given = {
        "loader": Batches(images, record),
        "D": D,
        "G": G,
        "device": torch.device("cpu"),
        "epochs": 1,
        "shape": (BATCH, *shape),
    }
    given |= {"opt_D": Recording(D, "D", record), "opt_G": Recording(G, "G", record)}
    given["loss"] = nn.BCEWithLogitsLoss() if with_logits else nn.BCELoss()
    changed: dict[str, Any] = {
        name: settings for name, each in names.items() if each is options and options is not None
    }
    changed |= {name: settings for name in ("args", "ARGS", "opt", "config") if names.get(name, 0) is None}
    changed |= {name: 1 for name in ROLES["epochs"].split() if isinstance(names.get(name), int)}

    def watch(name: str) -> Callable[..., Any]:
        original = getattr(functional, name)

        def wrapped(input: Any, target: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: A002
            if isinstance(target, Tensor):
                record.targets.append((name, input.detach(), target.detach()))
            return original(input, target, *args, **kwargs)

        return wrapped

    error = None
    with ExitStack() as stack, torch.random.fork_rng(devices=[]):
        stack.enter_context(mock.patch.dict(names, changed))
        stack.enter_context(mock.patch.object(builtins, "open", open_for_writing))
        for name in losses:
            stack.enter_context(mock.patch.object(functional, name, watch(name)))
        try:
            assert loop.function is not None
            loop.function(**arguments_of(loop, given, settings))
        except (Unclear, SeenEnoughError) as end:
            if isinstance(end, Unclear):
                raise
        except Exception as problem:
            error = problem
    return record, error


def open_for_writing(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
    """Open a file as `open` does; a folder to write to is made."""
    if set(mode) & set("wax"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    return OPEN(path, mode, *args, **kwargs)


def check_gan_loop(loop: Loop, G: nn.Module, D: nn.Module, shape: tuple[int, ...], latent_size: int) -> str:
    """Check a loop of a GAN by running it, and by what its gradients consist of."""
    if loop.function is None:
        raise Unclear("the training stands in no function", "write train(dataloader, discriminator, generator, ...)")
    record, error = run_loop(loop, G.train(), D.train(), shape, latent_size)
    if error is not None:
        text = str(error)
        for words, mistake in (
            ("Using a target size", gan.TARGET_SHAPE),
            ("modified by an inplace operation", gan.REUSED),
            ("backward through the graph a second time", gan.REUSED),
        ):
            if words in text:
                raise Failure(describe(error), mistake)
    check_targets(record)
    verdicts = [verdict for step in record.steps for verdict in explain(record, *step)]
    if gan.NO_GRADIENT in verdicts and (unknown := unknown_arguments(loop)):  # a stand-in has no gradient
        raise Unclear(
            f"what should be the argument {unknown[0]} of the loop?", "give it a default, or call what you need"
        )
    if named := [each for each in verdicts if isinstance(each, Mistake)]:
        first = (
            gan.NEVER_CLEARED if gan.NEVER_CLEARED in named else named[0]
        )  # what is kept for a round is kept at once, too
        raise Failure("by the gradients that are there when an optimizer steps", first)
    if remarks := dropped(loop, ("detach", "clamp")):
        raise Failure(f"looks like: {remarks[0]}", gan.DROPPED)
    if "Found dtype Long" in str(error):
        raise Unclear("labels are integers", "make the labels floats, as in torch.full((n, 1), 1.0)")
    steps = {name for name, *_ in record.steps}
    if error is not None and len(record.steps) < 3:
        raise Unclear(f"the loop ended: {describe(error)}", "let train run on the CPU for one epoch of a small loader")
    if steps != {"G", "D"}:
        missing = " and ".join(sorted({"G", "D"} - steps))
        raise Unclear(f"no step of the optimizer of {missing} was seen", "call step of both optimizers for each batch")
    if "right" not in verdicts or "" in verdicts:
        raise Unclear("the gradients are those of no loss that is known here", "use the losses of the text")
    return Finding.of("both networks are updated, each by its own loss", dropped(loop, ("to", "cuda")))


def check_targets(record: UpdateRecord) -> None:
    """Check what losses got: labels, and logits or probabilities."""
    for name, x, target in record.targets:
        if name.endswith("logits") and len(x) > 1 and bool(((x > 0) & (x < 1)).all()) and is_probability(record):
            raise Failure("D returns probabilities, which the loss takes for logits", gan.TWO_SIGMOIDS)
        if target.numel() and bool((target > 1.0001).any()):
            raise Failure(f"a label is {target.max():.3g}", gan.LABELS_ABOVE_ONE)


def is_probability(record: UpdateRecord) -> bool:
    """Return whether what D returned lies between 0 and 1."""
    return bool(record.calls["D"]) and all(bool(((c.result >= 0) & (c.result <= 1)).all()) for c in record.calls["D"])


def explain(record: UpdateRecord, name: str, round_: int, num_calls: int, grads: dict[str, Tensor | None]) -> list[Any]:
    """Return what the gradient of a network at a step consists of: a mistake, or `right`; nothing if it is not known."""
    gradient = grads[name]
    if gradient is None or not bool(gradient.any()):
        return [gan.NO_GRADIENT] if name == "G" else []
    vectors, kinds = [], []
    for call in record.calls["D"][:num_calls]:
        if call.round < round_ - 1:
            continue
        for kind, vector in gradients_of(record, call, name):
            if vector is not None and vector.shape == gradient.shape and bool(vector.any()):
                vectors.append(vector)
                kinds.append((call.round == round_, *kind))
    if not vectors:
        return []
    picked = torch.linspace(0, len(gradient) - 1, min(PART, len(gradient))).long()
    matrix, right = torch.stack(vectors, 1)[picked].double(), gradient[picked].double()
    scale = matrix.norm(dim=0).clamp(min=1e-30)
    solution = torch.linalg.lstsq(matrix / scale, right[:, None], driver="gelsd", rcond=1e-7).solution[:, 0]
    if (matrix / scale @ solution - right).norm() > 1e-2 * right.norm():
        return []
    share = solution / scale
    large = share.abs() > 0.03 * share.abs().max()
    found = {(*kind, "+" if value > 0 else "-") for kind, value, keep in zip(kinds, share, large, strict=True) if keep}
    return [judge(name, found)]


def judge(name: str, found: set[tuple[Any, ...]]) -> Any:
    """Return the mistake that parts of a gradient show, or `right`: (is of this round, whose images, as what, sign)."""
    now = {part[1:] for part in found if part[0]}
    before = {part[1:] for part in found if not part[0]}
    fake_as_fake, fake_as_real, real_as_real = ("fake", "fake", "+"), ("fake", "real", "+"), ("real", "real", "+")
    tests = {
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


def gradients_of(record: UpdateRecord, call: LoopCall, name: str) -> Iterator[tuple[tuple[str, str], Tensor | None]]:
    """Yield the gradients of a network by the losses of one call of D, for real images and for generated ones."""
    rows = call.x.flatten(1)
    source, index = find_rows(record, call, rows)
    is_real = index < 0
    if name == "G" and (source is None or not call.is_attached):
        return
    network = copy.deepcopy(call.network)
    x, parameters = call.x, list(network.parameters())
    if name == "G":
        assert source is not None
        generator = copy.deepcopy(source.network)
        parameters = list(generator.parameters())
        torch.set_rng_state(source.random_state)
        images = generator(source.x).flatten(1)
        x = torch.where(is_real[:, None], rows, images[index.clamp(min=0)]).view(call.x.shape)
    torch.set_rng_state(call.random_state)
    values = network(x).flatten()
    probability = values if is_probability(record) else values.sigmoid()
    logs = {"real": -probability.clamp(1e-7).log(), "fake": -(1 - probability).clamp(1e-7).log()}
    for whose, mask in (("real", is_real), ("fake", ~is_real)):
        for target, each in logs.items():
            if bool(mask.any()) and len(values) == len(mask):
                grads = torch.autograd.grad(each[mask].mean(), parameters, retain_graph=True, allow_unused=True)
                yield (whose, target), flat(list(grads))


def find_rows(record: UpdateRecord, call: LoopCall, rows: Tensor) -> tuple[LoopCall | None, Tensor]:
    """Return the call of G whose images D saw, and which of them each row is, -1 for another image."""
    for made in reversed(record.calls["G"]):
        images = made.result.flatten(1)
        if images.shape[1] == rows.shape[1]:
            near = torch.cdist(rows.double(), images.double()) < 1e-6
            if bool(near.any()):
                return made, torch.where(near.any(1), near.double().argmax(1), torch.tensor(-1))
    return None, torch.full((len(rows),), -1)


def dropped(loop: Loop, methods: tuple[str, ...]) -> list[str]:
    """Return the calls of methods of the images in a loop whose result is dropped though they change nothing."""
    images = {
        name.id
        for each in ast.walk(loop.node)
        if isinstance(each, ast.For)
        for name in ast.walk(each.target)
        if isinstance(name, ast.Name)
    }
    found = []
    for node in ast.walk(loop.node):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Attribute)
        ):
            function = node.value.func
            is_tensor = function.attr in ("detach", "clamp") or root(function.value) in images
            if function.attr in methods and is_tensor and root(function.value) not in ("torch", ""):
                found.append(f"line {node.lineno}: the result of {ast.unparse(function)}() is dropped")
    return found
