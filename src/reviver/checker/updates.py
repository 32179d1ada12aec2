"""Judge a training loop by its updates: the order of an LSTM's, and of what the gradients of a GAN consist.

At each step of an optimizer the gradients that are there are written as a sum of known ones: of the loss for real images and
for generated ones, each as real and as fake, since the step before and older. What the sum consists of says what the loop does.

Shapes: N images, P numbers of a gradient.
"""

import ast
import copy
import re
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from reviver.checker import gan_mistakes as gan
from reviver.checker import lstm_mistakes as lstm
from reviver.checker.loops import BATCH_SIZE, LETTERS, Loop, events, run
from reviver.checker.pieces import Failure, Mistake, Unclear, describe
from reviver.checker.standins import NUMBER, Images
from reviver.checker.watch import SeenEnough, Watch, kind

READ = (
    ("^0", lstm.NO_GRADIENT, "backward gives no parameter of the optimizer a gradient"),
    (r"^[^z]*$", lstm.NOT_CLEARED, "there is no zero_grad in the loop"),
    (r"^[^z]*b[^b]*$", lstm.CLEARED_EARLY, "zero_grad stands between backward and step"),
    (r"c[^c]*b[^c]*$", lstm.NOT_CLIPPED, "the gradient is clipped between step and backward"),
)
"""Mistakes in the calls from one step to the next: their order, and what is said."""
ERRORS = {"target size": gan.TARGET_SHAPE, "inplace operation": gan.REUSED, "a second time": gan.REUSED}
ERRORS |= {"context manager protocol": gan.NO_BRACKETS, "has no attribute '__enter__'": gan.NO_BRACKETS}
ERRORS |= {"module 'torch": gan.NO_SUCH_NAME}
"""Mistakes that torch finds."""
LASTING = (gan.NEVER_CLEARED, gan.KEPT, gan.NO_DETACH)
"""Mistakes even beside right updates; others may be a trick that is played now and then."""
MIN_CORRELATION, MIN_PIXELS = 0.3, 16
"""Images of so many pixels with less of a correlation with each of the data are generated ones."""
MAX_NUMBERS, MIN_FRACTION, MAX_RESIDUAL = 20_000, 0.45, 3e-6
"""Numbers of a gradient that are compared, the least weight of what it consists of (labels of 0.3 are no mistake), and what may
be left of it: float32 leaves less than 5e-7 of these losses, and at least 1.5e-5 of the gradient of D by least squares."""


def check_lstm_loop(loop: Loop) -> str:
    """Check the order of an update by running the loop; if it does not run, by reading it, and a failure begins with `looks like`."""
    calls, inner = run_updates(loop) or run_updates(loop, 1) or run_updates(loop, 10), innermost(loop.node)
    if ends_at_once(inner):
        raise Failure("the loop over the batches ends in its first round, by a return or break at its end", lstm.ENDS)
    by, how = "by running two updates", "two updates show: {}"
    if not calls:
        functions = {each.name: each for each in loop.source.tree.body if isinstance(each, ast.FunctionDef)}
        line, order = getattr(inner, "lineno", 1), "".join(letter for letter, _ in events(inner, functions))
        by, how = "by reading", f"looks like: {{}} (line {line}; read, not run)"
        if order.count("s") != 1:
            raise Unclear(
                f"line {line}: the loop has {order.count('s')} optimizer steps, so that its order cannot be read",
                "write one update per batch: zero_grad, backward, clip, step",
            )
        calls = order[order.index("s") + 1 :] + order[: order.index("s") + 1]
    for pattern, mistake, text in READ:
        if re.search(pattern, calls):
            raise Failure(how.format(text), mistake)
    if "c" in calls:
        return f"{by}: zero_grad, backward, clip, step"
    return f"{by}: zero_grad, backward, step\nthe gradient is not clipped"


def innermost(node: ast.AST) -> ast.AST:
    """Return the innermost loop that has both backward and step in it."""
    inner = (each for each in ast.walk(node) if each is not node and isinstance(each, ast.For | ast.While))
    return next((innermost(each) for each in inner if {"b", "s"} <= {letter for letter, _ in events(each)}), node)


def ends_at_once(loop: ast.AST) -> bool:
    """Return whether a return or break that no condition guards ends a loop in its first round, and no continue goes on before."""
    is_loop = isinstance(loop, ast.For | ast.While) and any(
        isinstance(each, ast.Return | ast.Break) for each in loop.body
    )
    return is_loop and not any(isinstance(each, ast.Continue) for each in ast.walk(loop))


class Constant(nn.Module):
    """A network with the same logits for all sequences, in place of one that was not handed in."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.logits, self.is_called = nn.Parameter(torch.zeros(100)), False

    def forward(self, x: Tensor, *rest: Any) -> Tensor:
        """Return logits."""
        self.is_called = True
        return self.logits.expand(len(x), -1)


def run_updates(loop: Loop, *size: int) -> str:
    """Run a loop on batches [B, T, *size]; return its calls from the first step to the second, empty if there is none."""
    calls, parameters, network = list[str](), list[Tensor](), Constant()

    def is_cleared() -> bool:
        return not any(each.grad is not None and bool(each.grad.any()) for each in parameters)

    def call(name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        calls.extend([*"z" * (name == "backward" and is_cleared()), LETTERS.get(name, "")])
        result = function(*args, **kwargs)
        if name == "backward" and parameters and is_cleared():  # nothing shows when it is cleared
            is_cut = all(each.grad is None for each in parameters) and (
                network.is_called or parameters[0] is not network.logits
            )
            calls[:] = ["0s"] * is_cut
            raise SeenEnough
        return result

    def step(optimizer: torch.optim.Optimizer) -> None:
        if parameters:
            if "b" in calls:
                calls[:] = ["bzs"] if is_cleared() else [*calls, "s"]
            raise SeenEnough
        calls.clear()
        parameters.extend(each for group in optimizer.param_groups for each in group["params"])

    given = {
        "loss": nn.CrossEntropyLoss(),
        "model": network,
        "optimizer": torch.optim.SGD(network.parameters(), lr=0.01),
    }
    x = torch.ones(3 * BATCH_SIZE, BATCH_SIZE, *size)  # as long as wide: some loops transpose it
    run(loop, x, given, step, call)
    text = "".join(calls)
    return text if text.endswith("s") else ""


class GradientRecord:
    """The gradients of known losses by the networks of a GAN, and what the gradients at each step of an optimizer consist of."""

    def __init__(self, G: nn.Module, D: nn.Module, images: Tensor, example: Tensor, *, has_squares: bool) -> None:
        self.is_probability = returns_probabilities(D, example)
        self.given, self.networks = {"G": G.train(), "D": D.train()}, dict[str, nn.Module]()
        self.roles = {kind(each): role for role, each in self.given.items()}  # a loop may build its own networks
        sets = [torch.stack([each.image(index) for index in range(NUMBER)]) for each in Images.made[-4:]]
        self.real = [centered(each) for each in (images, *sets)]
        for network, *_ in Watch.seen.values():
            network.zero_grad()  # of what ran before
        self.fakes, self.has_squares = list[Tensor](), has_squares
        self.parts: dict[str, list[tuple[str, Tensor]]] = {"G": [], "D": []}
        self.verdicts: dict[str, list[Mistake | str]] = {"G": [], "D": []}

    def call(self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Keep the gradients by the losses of what D returns. Raises Failure for labels of a loss."""
        if name.startswith("binary") and len(args) > 1:
            return function(args[0], self.check_labels(name, *args[:2]), *args[2:], **kwargs)
        result = function(*args, **kwargs)
        if name == "forward" and isinstance(result, Tensor):
            network, *inputs = args
            role = self.roles.get(kind(network), "")
            is_known = bool(role) and self.networks.setdefault(role, network) is network
            if role == "G":
                self.fakes = [*self.fakes[-3:], result.detach()]
            if is_known and role == "D" and result.requires_grad and inputs:
                with suppress(RuntimeError):  # the graph of G is gone, which the loop itself will meet
                    self.keep_gradients(inputs[0].detach(), result.flatten())
        return result

    def check_labels(self, loss: str, values: Tensor, labels: Tensor) -> Tensor:
        """Return the labels of a loss without noise. Raises Failure if it cannot reach them, or gets probabilities for logits."""
        if loss.endswith("logits") and self.is_probability and len(values) > 1 and are_probabilities(values):
            raise Failure("D returns probabilities, which the loss takes for logits", gan.TWO_SIGMOIDS)
        if labels.shape != values.shape or not labels.is_floating_point():  # the loss itself says so
            return labels
        if bool((labels > 1.0001).any()):
            raise Failure(f"a label is {labels.max():.3g}", gan.LABELS_ABOVE_ONE)
        for group in (labels > 0.5, labels <= 0.5):
            labels = labels.where(~group, labels[group].mean())
        return labels

    def keep_gradients(self, x: Tensor, values: Tensor) -> None:
        """Keep the gradients by the losses of what D says [N] of x, its real and its generated images, as both."""
        rows = x.flatten(1)  # which begin with an image if a class stands behind it
        data = [each for each in self.real if rows.shape[1] >= each.shape[1] > MIN_PIXELS]
        if data:
            likeness = [(centered(rows[:, : each.shape[1]]) @ each.T).amax(1) for each in data]
            is_fake = torch.stack(likeness).amax(0) < MIN_CORRELATION
        else:  # the code samples them itself
            is_generated = any(torch.equal(each.flatten(), x.flatten()) for each in self.fakes)
            is_fake = torch.full((len(x),), is_generated)
        probability = values if self.is_probability else values.sigmoid()
        known = [("real", -probability.clamp(1e-12).log()), ("fake", -(1 - probability).clamp(1e-12).log())]
        known += [("real", (values - 1).square()), ("fake", values.square())] * self.has_squares
        for whose, mask in (("real", ~is_fake), ("fake", is_fake)):
            for target, losses in known if bool(mask.any()) else ():
                for name, network in self.networks.items():
                    self.parts[name].append((f"{whose} as {target}", gradient_of(network, losses[mask].mean())))

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Explain the gradient of the network of an optimizer; two of each network are enough, or twelve in all."""
        held = {id(each) for group in optimizer.param_groups for each in group["params"]}
        for name, network in self.networks.items():
            if any(id(each) in held for each in network.parameters()):
                sign = -1 if any(group.get("maximize") for group in optimizer.param_groups) else 1
                self.verdicts[name].append(self.explain(name, sign * gradient_of(network)))
                self.parts[name] = [("old", each) for _, each in self.parts[name]]
        numbers = [len(found) for found in self.verdicts.values()]
        if min(numbers) > 1 or sum(numbers) > 11:
            raise SeenEnough

    def explain(self, name: str, gradient: Tensor) -> Mistake | str:
        """Return what the gradient of a network consists of: a mistake, or what is right; empty if it is not known."""
        if not bool(gradient.any()):
            return gan.NO_GRADIENT if name == "G" else ""
        found = self.parts_of(name, gradient)
        meanings = (each for who, parts, each in gan.LOOP if name in who and {*parts.split(", ")} <= found)
        return next(meanings, "other" * bool(found))

    def parts_of(self, name: str, gradient: Tensor) -> set[str]:
        """Return the names of the known gradients that add up to this one; empty if none do."""
        known = [(part, each) for part, each in self.parts[name] if len(each) == len(gradient) and bool(each.any())]
        if not known:
            return set()
        reals, fakes = ([each for part, each in known if part == which] for which in ("real as real", "fake as fake"))
        for real, fake in (
            product(reals, fakes) if name == "D" else ()
        ):  # which may cancel so far that little else is left
            for loss in (real + fake, (real + fake) / 2):
                if (loss - gradient).norm() <= MAX_RESIDUAL / 10 * real.norm():
                    return {"real as real", "fake as fake"}
        matrix = torch.stack([each for _, each in known], 1)
        matrix, norms = matrix / matrix.norm(dim=0), matrix.norm(dim=0)
        lengths = torch.linalg.lstsq(matrix, gradient[:, None], driver="gelsd", rcond=1e-7).solution[:, 0]
        if (matrix @ lengths - gradient).norm() > MAX_RESIDUAL * gradient.norm():
            return set()
        lengths[lengths.abs() < 1e-3 * gradient.norm()] = 0  # what is that short is noise, whatever its weight
        weights = dict[str, float]()
        for (part, _), weight in zip(known, (lengths / norms).tolist(), strict=True):
            weights[part] = weights.get(part, 0) + (abs(weight) if part == "old" else weight)
        least = MIN_FRACTION * max(map(abs, weights.values()))
        return {"-" * (weight < 0) + part for part, weight in weights.items() if abs(weight) > least}


def centered(x: Tensor) -> Tensor:
    """Return images [N, ...] as rows of mean 0 and norm 1, whose products are correlations."""
    return functional.normalize(x.flatten(1) - x.flatten(1).mean(1, keepdim=True))


def gradient_of(network: nn.Module, loss: Tensor | None = None) -> Tensor:
    """Return at most MAX_NUMBERS of the gradient of a loss as one vector [P]; without a loss, of that which is there."""
    leaves = [each for each in network.parameters() if each.requires_grad]
    grads: Any = [each.grad for each in leaves]
    if loss is not None and leaves:
        grads = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
    every = sum(each.numel() for each in leaves) // MAX_NUMBERS + 1
    found = [(leaf * 0 if grad is None else grad).flatten()[::every] for leaf, grad in zip(leaves, grads, strict=True)]
    return torch.cat([torch.zeros(0), *found]).detach().double()


def are_probabilities(values: Tensor) -> bool:
    """Return whether all values lie between 0 and 1."""
    return bool(((values >= 0) & (values <= 1)).all())


def returns_probabilities(network: nn.Module, example: Tensor) -> bool:
    """Return whether a network returns numbers between 0 and 1 whatever its weights are."""
    network = copy.deepcopy(network)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for parameter in network.parameters():
            parameter.normal_()
        return are_probabilities(network(example))


def check_gan_loop(loop: Loop, G: nn.Module, D: nn.Module, images: Tensor, example: Tensor, latent_dim: int) -> str:
    """Check a loop of a GAN by running it on images, and by what its gradients consist of; D can be called with an example."""
    text = ast.unparse(loop.source.tree)
    record = GradientRecord(
        G,
        D,
        images,
        example,
        has_squares=bool(re.search(r"MSELoss|mse_loss|\*\* 2", text)) and not re.search("BCE|binary_cross|log", text),
    )
    given = record.given | {"latent_dim": latent_dim, "shape": (BATCH_SIZE, *images.shape[1:])}
    given |= {f"opt_{name}": torch.optim.SGD(each.parameters(), lr=0.02) for name, each in record.given.items()}
    given["loss"] = nn.BCEWithLogitsLoss() if "BCEWithLogitsLoss" in text and "BCELoss(" not in text else nn.BCELoss()
    error, unknown = run(loop, images, given, record.step, record.call, {(type(each), "forward") for each in (G, D)})
    raise_known(error)
    of_G, of_D = map(set, record.verdicts.values())
    if of_G == {gan.NO_GRADIENT} and unknown:  # it may have been the loss
        text = f"what should be the argument {unknown[0]} of the loop?"
        raise Unclear(text, "give it a default, or call what you need")
    right = "both networks are updated, each by its own loss" + "; it is least squares" * record.has_squares
    if of_G == of_D == {gan.EXCHANGED}:
        return f"{right}\n0 is the label of real images, 1 of generated ones"
    mistakes = [
        each
        for found in record.verdicts.values()
        for each in found
        if isinstance(each, Mistake) and not {"right", "other"} & {*found}
    ]
    for mistake in (*LASTING, *mistakes):
        if mistake in of_G | of_D:
            raise Failure("by the gradients that are there when an optimizer steps", mistake)
    if remarks := dropped(loop, "detach|clamp"):
        raise Failure(f"looks like: {remarks[0]}", gan.DROPPED)
    if error is not None and "Found dtype Long" in str(error):
        raise Unclear("labels are integers", "make the labels floats, as in torch.full((n, 1), 1.0)")
    if error is not None and sum(map(len, record.verdicts.values())) < 3:
        raise Unclear(f"the loop ended: {describe(error)}", "let train run on the CPU for one epoch of a small loader")
    if missing := " and ".join(name for name, found in record.verdicts.items() if not found):
        raise Unclear(f"no step of the optimizer of {missing} was seen", "call step of both optimizers for each batch")
    if "other" in of_G | of_D or "right" not in of_G or not ("right" in of_D or {"real", "fake"} <= of_D):
        raise Unclear("the gradients are those of no loss that is known here", "use the losses of the text")
    return "\n".join([right, *dropped(loop, "to|cuda")])


def raise_known(error: Exception | None) -> None:
    """Raise the Failure that an error in which a loop ended shows, if there is one."""
    if isinstance(error, Failure):
        raise error
    for words, mistake in ERRORS.items():
        if error is not None and words in str(error).lower():
            raise Failure(describe(error), mistake)


def dropped(loop: Loop, methods: str) -> list[str]:
    """Return the calls of methods in a loop whose result is dropped though they change nothing: of its images, or of any tensor."""
    nodes, found = list(ast.walk(loop.node)), []
    targets = [ast.unparse(each.target) for each in nodes if isinstance(each, ast.For)]
    for node in (each for each in nodes if isinstance(each, ast.Expr)):
        call = re.fullmatch(rf"((?!torch)\w+)([\w.]*)\.({methods})\(.*\)", ast.unparse(node), re.DOTALL)
        if call and (call[3] in ("detach", "clamp") or any(re.search(rf"\b{call[1]}\b", each) for each in targets)):
            found.append(f"line {node.lineno}: the result of {call[1]}{call[2]}.{call[3]}() is dropped")
    return found
