"""Judge a training loop by its updates: the order of an LSTM's, and where the losses of a GAN pull.

At each step of an optimizer the calls of backward are known whose gradients are there, and where each of them pulls what D
answers on real and on generated images. D should learn to tell them apart, and G to be taken for real.

Shapes: N images, P numbers of a gradient.
"""

import ast
import copy
import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise, product
from time import process_time
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from reviver.checker import gan_mistakes as gan
from reviver.checker import lstm_mistakes as lstm
from reviver.checker.loops import BATCH_SIZE, LETTERS, ROLES, Loop, events, run
from reviver.checker.lstm_errors import check_calls, mistake_of
from reviver.checker.pieces import Failure, Mistake, Namespace, Unclear, describe
from reviver.checker.standins import MISFIT, NUMBER, Images
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
ERRORS |= {"module 'torch": gan.NO_SUCH_NAME, "tensor.backward() got an unexpected": gan.NO_SUCH_NAME}
"""Mistakes that torch finds."""
MIN_CORRELATION, MIN_PIXELS = 0.3, 16
"""Images of so many pixels with less of a correlation with each of the data, and with each generated one, may be either."""
MAX_NUMBERS, MAX_SECONDS = 20_000, 15
"""Numbers of a gradient that are compared, and seconds of computing after which one step of each network is enough."""
BY_MODE = nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd
"""Layers that do another thing in training than in evaluation."""
MAX_WRONG = 0.35
"""The part of the gradients that may pull elsewhere: some labels flip, or have noise."""
SATURATING = "\nthe loss of G is the saturating one, log(1 - D(G(z))), as in algorithm 1"
RIGHT = ("", "\n0 is the label of real images, 1 of generated ones", SATURATING)
"""What is said of losses that are right."""


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


class Pull(NamedTuple):
    """Where the losses of a step pull what D answers on some images."""

    target: float
    """The answer that they want; infinite if they always want more, or less."""
    slope: float
    """How much more they pull near the target than far from it, from -1 to 1, if it is infinite."""

    @classmethod
    def of(cls, rows: Tensor) -> "Pull | None":
        """Return it for answers and the gradients by them [N, 2]; None if nothing pulls, or some here and some there."""
        answers, grads = rows[rows[:, 1] != 0].T
        if not len(answers):
            return None
        order = answers.argsort()
        answers, grads = answers[order], grads[order]
        falls, rises = (side.clamp(min=0).cumsum(0) for side in (-grads, grads))
        wrong = torch.cat(
            [falls[-1:], falls[-1] - falls + rises]
        )  # below each border more should be wanted, above it less
        best, total = int(wrong.argmin()), grads.abs().sum()
        target = [-math.inf, *((answers[1:] + answers[:-1]) / 2).tolist(), math.inf][best]
        slope = float((grads.abs() * torch.linspace(-1, 1, len(answers))).sum() / total) * (1 if best else -1)
        slope *= len(answers) > 1  # the mean of a batch
        return cls(target, slope) if wrong[best] < MAX_WRONG * total else None


class Backward:
    """A call of backward: the answers of D on real and on generated images [N, 2], with the gradients by them."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Tensor]] = {"real": [], "fake": []}


Steps = Sequence[Sequence[Backward]]
"""The calls of backward whose gradients each step of a network takes."""


class GradientRecord:
    """Where the losses of a loop pull the answers of D, and whose gradients are there when an optimizer steps.

    The answers of D are replaced by other ones, spread over what it may answer, with the gradients of its own: so each loss shows
    what it wants whatever D says by now.
    """

    def __init__(self, G: nn.Module, D: nn.Module, images: Tensor, example: Sequence[Any]) -> None:
        self.is_probability = returns_probabilities(D, example)
        self.given, self.networks = {"G": G.train(), "D": D.train()}, dict[str, nn.Module]()
        self.roles = {kind(each): role for role, each in self.given.items()}  # a loop may build its own networks
        if type(G) is not type(D):
            self.roles |= {type(each): role for role, each in self.given.items() if type(each) is not nn.Sequential}
        sets = [torch.stack([each.image(index) for index in range(NUMBER)]) for each in Images.made[-4:]]
        self.real = [centered(each) for each in (images, *sets)]
        for network, *_ in Watch.seen.values():
            network.zero_grad()  # of what ran before
        self.fakes, self.current = list[tuple[Tensor, bool]](), Backward()
        """Generated images, and whether all noise of their batch was positive."""
        self.shown: dict[bool, list[Tensor]] = {True: [], False: []}
        """Generated and real images that D was given last."""
        self.signs, self.slopes, self.has_labels = set[bool](), list[Tensor](), False
        """Whether all noise was positive, of images that D was given; gradients by its answers."""
        self.is_running, self.is_certain = False, True
        self.held: dict[str, list[Backward]] = {"G": [], "D": []}
        """The calls of backward whose gradients a network has by now."""
        self.steps = list[tuple[str, list[Backward]]]()
        self.optimizers, self.end = list[int](), process_time() + MAX_SECONDS

    def call(self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Note a call of backward or of a network, and check the labels of a loss. Raises Failure for labels."""
        if name.startswith("binary") and len(args) > 1:
            self.has_labels = True
            self.check_labels(name, *args[:2])
        if name == "backward":
            return self.note_backward(lambda: function(*args, **kwargs))
        result = function(*args, **kwargs)
        if name != "forward" or not isinstance(result, Tensor):
            return result
        network, *inputs = args
        role = self.roles.get(kind(network)) or self.roles.get(type(network), "")
        if role and role not in self.networks:
            self.networks[role] = network
            for part in network.modules():  # what ran before may have made it too sure of its answers
                getattr(part, "reset_parameters", lambda: None)()
            result = function(*args, **kwargs)
        if role == "G":
            is_positive = bool(inputs) and isinstance(inputs[0], Tensor) and bool((inputs[0] >= 0).all())
            self.fakes = [*self.fakes[-3:], (result.detach(), is_positive)]
        elif role and self.networks[role] is network and result.requires_grad and inputs:
            is_fake = self.are_fake(inputs, len(inputs[0]))
            self.check_penalty(inputs[0].detach().flatten(1), bool(is_fake.any()))
            return self.spread(result, is_fake if result.numel() > 1 else is_fake.all()[None])
        return result

    def spread(self, answers: Tensor, is_fake: Tensor) -> Tensor:
        """Return other answers in place of those of D, which note the gradients by them."""
        low, high = (0.03, 0.97) if self.is_probability else (-3.0, 3.0)
        others = torch.linspace(low, high, answers.numel())[torch.randperm(answers.numel())].view(answers.shape)
        result = answers + (others.to(answers.dtype) - answers).detach()

        def note(grad: Tensor) -> None:
            self.slopes += [grad.detach()[grad != 0].abs()] * self.is_running
            by_logits = grad.detach().float() * (others * (1 - others) if self.is_probability else 1)
            rows = torch.stack([others, by_logits], -1).view(len(is_fake), -1, 2)
            for whose, mask in (("real", ~is_fake), ("fake", is_fake)) if self.is_running else ():
                self.current.rows[whose] += [rows[mask].flatten(0, 1)] * bool(mask.any())

        result.register_hook(note)
        return result

    def are_fake(self, inputs: Sequence[Any], number: int) -> Tensor:
        """Return which of a number of inputs of D are generated images, perhaps with noise, or a class behind them."""
        best = torch.zeros(2, number)
        for x in (
            each.detach().float()
            for each in inputs
            if isinstance(each, Tensor) and each.ndim > 1 and len(each) == number
        ):
            rows = x.flatten(1)
            for index, known in enumerate((self.real, [centered(each) for each, _ in self.fakes])):
                for each in known:
                    if rows.shape[1] >= each.shape[1] > MIN_PIXELS:
                        best[index] = best[index].maximum((centered(rows[:, : each.shape[1]]) @ each.T).amax(1))
            for fake, is_positive in self.fakes:  # the code may sample its data, points in a plane
                self.signs |= {is_positive} if torch.equal(rows, fake.flatten(1)) else set()
                if fake.flatten(1).shape[1] == rows.shape[1]:
                    best[1] = best[1].maximum((torch.cdist(rows, fake.flatten(1).float()) == 0).any(1).float())
        self.is_certain &= bool((best.amax(0) > MIN_CORRELATION).all())
        return best[1] > best[0].clamp(min=MIN_CORRELATION)

    def note_backward(self, backward: Callable[[], Any]) -> Any:
        """Call backward, and note which networks have other gradients after it."""
        self.drop_cleared()
        before = {name: gradient_of(each) for name, each in self.networks.items()}
        self.current, self.is_running = Backward(), True
        try:
            return backward()
        finally:
            self.is_running = False
            for name, each in before.items():
                if not torch.equal(each, gradient_of(self.networks[name])):
                    self.held[name].append(self.current)

    def drop_cleared(self) -> None:
        """Drop the calls of backward whose gradients are cleared."""
        for name, network in self.networks.items():
            if not bool(gradient_of(network).any()):
                self.held[name] = []

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Note the calls of backward whose gradients a step takes; two steps of each network are enough, or twelve in all."""
        self.drop_cleared()
        self.optimizers.append(id(optimizer))
        held = {id(each) for group in optimizer.param_groups for each in group["params"]}
        for name, network in self.networks.items():
            if any(id(each) in held for each in network.parameters()):
                self.steps.append((name, list(self.held[name])))
        numbers = [len(self.of(name)) for name in "GD"]
        is_late = process_time() > self.end + MAX_SECONDS * (not min(numbers))
        if min(numbers) > 1 or len(self.optimizers) > 11 or is_late:
            raise SeenEnough

    def of(self, name: str) -> list[list[Backward]]:
        """Return the calls of backward of each step of a network."""
        return [found for of, found in self.steps if of == name]

    def check_penalty(self, x: Tensor, is_fake: bool) -> None:
        """Check that points between real and generated images that D was given, [N, P], lie between them. Raises Failure."""
        for real, fake in product(self.shown[False], self.shown[True]):
            if real.shape == fake.shape == x.shape and x.shape[1] > 1:
                line = real - fake
                part = ((x - fake) * line).sum(1) / line.square().sum(1)
                if torch.allclose(fake + part[:, None] * line, x, atol=1e-4) and bool((part - 0.5).abs().max() > 0.51):
                    text = f"a point is at {part.min():.2g}, another at {part.max():.2g} of the line from 0 to 1"
                    raise Failure(text, gan.NOT_BETWEEN)
        self.shown[is_fake] = [*self.shown[is_fake][-2:], x]

    def check_labels(self, loss: str, values: Tensor, labels: Tensor) -> None:
        """Check that a loss can reach its labels, and gets no probabilities for logits. Raises Failure."""
        if loss.endswith("logits") and self.is_probability and len(values) > 1 and are_probabilities(values):
            raise Failure("D returns probabilities, which the loss takes for logits", gan.TWO_SIGMOIDS)
        if labels.shape == values.shape and labels.is_floating_point() and bool((labels > 1.0001).any()):
            raise Failure(f"a label is {labels.max():.3g}", gan.LABELS_ABOVE_ONE)


def centered(x: Tensor) -> Tensor:
    """Return images [N, ...] as rows of mean 0 and norm 1, whose products are correlations."""
    return functional.normalize(x.flatten(1) - x.flatten(1).mean(1, keepdim=True))


def gradient_of(network: nn.Module) -> Tensor:
    """Return at most MAX_NUMBERS of the gradient that a network has, as one vector [P]."""
    leaves = list(network.parameters())
    every = sum(each.numel() for each in leaves) // MAX_NUMBERS + 1
    found = [(torch.zeros_like(each) if each.grad is None else each.grad).flatten()[::every] for each in leaves]
    return torch.cat([torch.zeros(0), *found]).detach()


def are_probabilities(values: Tensor) -> bool:
    """Return whether all values lie between 0 and 1."""
    return bool(((values >= 0) & (values <= 1)).all())


def returns_probabilities(network: nn.Module, example: Sequence[Any]) -> bool:
    """Return whether a network returns numbers between 0 and 1 whatever its weights are."""
    before = copy.deepcopy(network.state_dict())
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for parameter in network.parameters():
            parameter.normal_()
        answers = network(*example)
    network.load_state_dict(before)
    return are_probabilities(answers)


def check_gan_loop(
    names: Namespace, G: nn.Module, D: nn.Module, images: Tensor, example: Sequence[Any], latent_dim: int
) -> str:
    """Check a loop of a GAN by running it on images, and by where its losses pull; D can be called with an example."""
    loop: Loop = names["GAN loop"]
    record, error, unknown = record_loop(loop, G, D, images, example, latent_dim)
    raise_known(names, error)
    if loop.before and error is not None:  # the file itself ends so
        check_calls(names, [error])
    of_G, of_D = record.of("G"), record.of("D")
    if of_G and not any(of_G) and unknown:  # it may have been the loss
        text = f"what should be the argument {unknown[0]} of the loop?"
        raise Unclear(text, "give it a default, or call what you need")
    if mistake := unclean(of_G, of_D):
        raise Failure("by the gradients that are there when an optimizer steps", mistake)
    check_text(loop, record.given)
    check_steps(record, error)
    verdict = misled(of_G, of_D, 0.08 if record.is_probability else 0.3)
    if verdict is gan.SATURATING and not names.get("*course"):
        verdict = SATURATING
    if isinstance(verdict, Mistake) and record.is_certain:
        raise Failure("by where the losses pull the answers of D", verdict)
    if verdict not in RIGHT:
        raise Unclear(
            "the losses pull the answers of D as those of no GAN that is known here", "use the losses of the text"
        )
    return "\n".join([f"both networks are updated, each by its own loss{verdict}", *dropped(loop, "to|cuda")])


def record_loop(
    loop: Loop, G: nn.Module, D: nn.Module, images: Tensor, example: Sequence[Any], latent_dim: int
) -> tuple[GradientRecord, Exception | None, list[str]]:
    """Run a loop on images in the form that it takes; return the record, the error in which it ended, and unknown arguments."""
    tries = list[tuple[GradientRecord, Exception | None, list[str]]]()
    if not loop.before and not Images.is_guessed:  # one that was seen has its data
        Images.forms, Images.form = [(tuple(images.shape[1:]), True)], 0
    for x, form in product((images, images.flatten(1)), (None, TensorDataset, Tensor.detach)):
        record = GradientRecord(G, D, images, example)
        given = record.given | {"latent_dim": latent_dim, "shape": tuple(images.shape[1:])}
        given |= {f"opt_{name}": torch.optim.SGD(each.parameters(), lr=0.02) for name, each in record.given.items()}
        given["loss"] = nn.BCELoss() if record.is_probability else nn.BCEWithLogitsLoss()
        given |= {"loader": DataLoader(form(x), BATCH_SIZE)} if form else {}  # type: ignore[arg-type]  # without labels
        watched = {(type(each), "forward") for each in (G, D)}
        tries.append((record, *run(loop, x, given, record.step, record.call, watched)))
        if loop.before or record.steps or not re.search(MISFIT, str(tries[-1][1])):
            break
    return max(tries, key=lambda found: len(found[0].steps))


def check_text(loop: Loop, networks: Mapping[str, nn.Module]) -> None:
    """Check what the text of a loop shows. Raises Failure."""
    if remarks := dropped(loop, "detach|clamp"):
        raise Failure(f"looks like: {remarks[0]}", gan.DROPPED)
    if name := left_in_evaluation(loop, networks):
        raise Failure(f"looks like: {name}.eval() in the loop, and no {name}.train()", gan.IN_EVALUATION)


def check_steps(record: GradientRecord, error: Exception | None) -> None:
    """Check which steps a loop took before it was stopped or ended in an error, and what D was given. Raises Failure or Unclear."""
    if error is not None and "Found dtype Long" in str(error):
        raise Unclear("labels are integers", "make the labels floats, as in torch.full((n, 1), 1.0)")
    if error is not None and len(record.steps) < 3:
        raise Unclear(f"the loop ended: {describe(error)}", "let train run on the CPU for one epoch of a small loader")
    if missing := " and ".join(name for name in "DG" if not record.of(name)):
        a, b, *rest = (*record.optimizers[-4:], 0, 0)
        if a != b and rest[:2] == [a, b] and missing in record.networks:  # they take turns
            raise Failure(f"two optimizers step, and none of them has the parameters of {missing}", gan.NOT_HELD)
        raise Unclear(f"no step of the optimizer of {missing} was seen", "call step of both optimizers for each batch")
    widths = [{each.shape[1] for each in record.shown[is_fake]} for is_fake in (True, False)]
    if all(widths) and not widths[0] & widths[1]:
        raise Failure(f"D gets images of {widths[0]} generated and of {widths[1]} real numbers", gan.OTHER_SIZE)
    if len(record.signs) > 1:
        raise Failure("all noise of some batches is positive, that of others is not", gan.OTHER_NOISE)
    if record.is_probability and not record.has_labels and record.slopes and all(map(is_constant, record.slopes)):
        raise Failure("its gradient is the same for every probability that D returns", gan.BOUNDED)


def unclean(of_G: Steps, of_D: Steps) -> Mistake | None:
    """Return the mistake that shows in which calls of backward gave the gradients of each step."""
    if any({*before} & {*after} for steps in (of_G, of_D) for before, after in pairwise(steps)):
        return gan.NEVER_CLEARED
    shared = {each for step in of_G for each in step} & {each for step in of_D for each in step}
    for steps, mistake in ((of_D, gan.KEPT), (of_G, gan.NO_DETACH)):
        for step in steps:
            if shared & {*step} and any(each.rows["fake"] for each in {*step} - shared):
                return mistake
    if any(len(step) > 1 and each.rows["real"] for step in of_G for each in shared & {*step}):
        return gan.NO_DETACH
    if any(of_G) != any(of_D) and of_G and of_D:
        return gan.NO_GRADIENT if any(of_D) else gan.NONE_FOR_D
    return None


def misled(of_G: Steps, of_D: Steps, margin: float) -> Mistake | str:
    """Return the mistake in where the losses pull; one of RIGHT if there is none, or else that it is not known."""
    pulls = [(pull_of(step, "real"), pull_of(step, "fake")) for step in of_D]
    pairs = [(real, fake) for real, fake in pulls if real and fake]
    if not pairs:  # one step for real images, another for generated ones
        real, fake = (next((pull for pull in each if pull), None) for each in zip(*pulls, strict=True))
        absent = [whose for whose in ("real", "fake") if not any(each.rows[whose] for step in of_D for each in step)]
        if len(absent) == 1:
            return gan.NO_FAKE if absent == ["fake"] else gan.NO_REAL
        pairs = [(real, fake)] if real and fake else []
    of_fake = [pull for step in of_G if (pull := pull_of(step, "fake"))]
    if not pairs or not of_fake:
        return "unknown"
    above = {comparison(real.target, fake.target, margin) for real, fake in pairs}
    first, asked = pairs[0], {comparison(pull.target, pairs[0][1].target, margin) for pull in of_fake}
    if above == {0}:
        return gan.SAME_TARGET
    if 1 in above and 1 in asked:
        return gan.SATURATING if all(pull.slope > 0.02 and math.isinf(pull.target) for pull in of_fake) else RIGHT[0]
    if 1 not in above and asked == {-1}:
        return RIGHT[1]
    return gan.EXCHANGED if (of_fake[0] if 1 in above else first[0]).slope < -0.02 else gan.WRONG_SIGN


def pull_of(step: Sequence[Backward], whose: str) -> Pull | None:
    """Return where the losses of a step pull what D answers on real or on generated images."""
    rows = [each for backward in step for each in backward.rows[whose]]
    return Pull.of(torch.cat(rows)) if rows else None


def comparison(target: float, other: float, margin: float) -> int:
    """Return 1 if a target is above another one, -1 if below, 0 if they are nearly the same."""
    return 0 if target == other or abs(target - other) < margin else 1 if target > other else -1


def raise_known(names: Namespace, error: Exception | None) -> None:
    """Raise the Failure that an error in which a loop ended shows, if there is one."""
    if isinstance(error, Failure):
        raise error
    for words, mistake in ERRORS.items():
        if error is not None and words in str(error).lower():
            raise Failure(describe(error), mistake)
    if error is not None and (shown := mistake_of(names, error)):
        raise Failure(describe(error), shown)


def is_constant(slopes: Tensor) -> bool:
    """Return whether gradients [N] are nearly the same."""
    return len(slopes) > 1 and bool(slopes.max() < 1.001 * slopes.min())


def left_in_evaluation(loop: Loop, networks: Mapping[str, nn.Module]) -> str:
    """Return the name of a network with dropout or BatchNorm that a loop calls eval of, and nothing in it train; else empty."""
    functions = {each.name: each for each in loop.source.tree.body if isinstance(each, ast.FunctionDef)}
    for node in ast.walk(loop.node):
        text = ast.unparse(node) if isinstance(node, ast.For | ast.While) else ""
        text += "".join(ast.unparse(each) for name, each in functions.items() if f"{name}(" in text)
        for name in re.findall(r"\b(\w+)\.eval\(\)", text):
            given = next((each for role, each in networks.items() if name.lower() in ROLES[role].split()), None)
            network = loop.before.get(name, loop.source.names.get(name, given))
            parts = network.modules() if isinstance(network, nn.Module) else ()
            if ".train(" not in text and any(isinstance(each, BY_MODE) for each in parts):
                return str(name)
    return ""


def dropped(loop: Loop, methods: str) -> list[str]:
    """Return the calls of methods in a loop whose result is dropped though they change nothing: of its images, or of any tensor."""
    nodes, found = list(ast.walk(loop.node)), []
    targets = [ast.unparse(each.target) for each in nodes if isinstance(each, ast.For)]
    for node in (each for each in nodes if isinstance(each, ast.Expr)):
        call = re.fullmatch(rf"((?!torch)\w+)([\w.]*)\.({methods})\(.*\)", ast.unparse(node), re.DOTALL)
        if call and (call[3] in ("detach", "clamp") or any(re.search(rf"\b{call[1]}\b", each) for each in targets)):
            found.append(f"line {node.lineno}: the result of {call[1]}{call[2]}.{call[3]}() is dropped")
    return found
