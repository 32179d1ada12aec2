"""Watch a submission run: which networks it builds, with what, and how it calls them; and cut its training short."""

import inspect
import math
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from time import process_time
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook

from reviver.checker.lstm_graph import GraphOfSteps, read_graph
from reviver.checker.lstm_mistakes import UNFILLED
from reviver.checker.pieces import Failure
from reviver.checker.standins import give_images

MAX_STEPS, MAX_SECONDS, MAX_IDLE = 4, 8, 10
"""Steps of optimizers, seconds of computing, and seconds of waiting, after which a statement is cut."""
MAX_ROUNDS = 2
"""How often it gets those seconds if it learns so slowly that an optimizer stepped less often."""


class SeenEnough(BaseException):
    """The code has shown what it does."""


class Built(NamedTuple):
    """How a network was built."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def call(self, cls: Any) -> Any:
        """Build it once more."""
        return cls(*self.args, **self.kwargs)


class Seen(NamedTuple):
    """A network when it was called first."""

    network: nn.Module
    inputs: tuple[Any, ...]
    numbers: tuple[int, int] = (0, 0)
    """How many numbers it took and returned for each example."""


def kind(network: nn.Module) -> Any:
    """Return what networks of one kind share: their class and their shapes."""
    return type(network), tuple(tuple(each.shape) for each in network.parameters())


class Watch:
    """The networks that a submission builds and calls while it is loaded."""

    built: ClassVar[dict[Any, Built]] = {}
    seen: ClassVar[dict[Any, Seen]] = {}
    """The first network of each kind that was called."""
    optimizers: ClassVar[list[torch.optim.Optimizer]] = []
    """Those that stepped."""
    errors: ClassVar[list[Exception]] = []
    """Those in which statements ended."""
    num_backward: ClassVar[int] = 0
    """How often backward was called."""
    findings: ClassVar[list[GraphOfSteps]] = []
    """What the graphs of the first losses show of an LSTM."""

    def __enter__(self) -> "Watch":
        self._init = nn.Module.__init__
        self._backward = Tensor.backward
        for each in (self.built, self.seen, self.optimizers, self.errors, self.findings):
            each.clear()
        begin, backward, watch = self._init, self._backward, self

        def read(loss: Tensor, *args: Any, **options: Any) -> None:
            Watch.num_backward += 1
            if len(watch.findings) < MAX_STEPS and (finding := read_graph([loss])):
                is_unset = not watch.findings and any(bool(each.isnan().any()) for each in finding.weights)
                problem = Failure("a weight is memory, whatever stood there before", UNFILLED) if is_unset else None
                watch.findings.append(finding._replace(problem=problem or finding.problem))
            backward(loss, *args, **options)

        def init(self: nn.Module, *args: Any, **options: Any) -> None:
            watch.note(self, sys._getframe(1))
            begin(self, *args, **options)

        self._catch = warnings.catch_warnings(record=True)
        self._warned = self._catch.__enter__()
        warnings.simplefilter("always")
        self.forwards = dict[Any, Any]()
        setattr(nn.Module, "__init__", init)  # noqa: B010
        setattr(Tensor, "backward", read)  # noqa: B010
        self._hooks = [register_module_forward_hook(watch.call), register_module_forward_pre_hook(give_images)]
        return self

    def __exit__(self, *error: object) -> None:
        setattr(nn.Module, "__init__", self._init)  # noqa: B010
        setattr(Tensor, "backward", self._backward)  # noqa: B010
        for hook in self._hooks:
            hook.remove()
        self._catch.__exit__(None, None, None)
        for cls, forward in self.forwards.items():
            cls.forward = forward

    def note(self, module: nn.Module, frame: Any) -> None:
        """Keep the arguments of the outermost constructor of a module, which runs in a frame, the first of its class."""
        cls, outermost = type(module), None
        while frame is not None and frame.f_code.co_name == "__init__" and module in list(frame.f_locals.values())[:1]:
            outermost, frame = frame, frame.f_back
        if outermost is None or cls in self.built or cls.__module__.startswith("torch."):
            return
        if forward := vars(cls).get("forward"):  # which some call by its name

            @wraps(forward)
            def watched(network: Any, *args: Any, **options: Any) -> Any:
                result = forward(network, *args, **options)
                self.call(network, args, result)
                return result

            self.forwards[cls], cls.forward = forward, watched
        with suppress(TypeError, ValueError, KeyError):
            args, kwargs = list[Any](), dict[str, Any]()
            for name, each in inspect.signature(cls).parameters.items():
                value = outermost.f_locals[name]
                match each.kind:
                    case each.VAR_POSITIONAL:
                        args += value
                    case each.VAR_KEYWORD:
                        kwargs |= value
                    case each.KEYWORD_ONLY:
                        kwargs[name] = value
                    case _:
                        args.append(value)
            self.built[cls] = Built(tuple(args), kwargs)

    def call(self, module: nn.Module, args: tuple[Any, ...], result: Any) -> None:
        """Keep what a network is called with first."""
        if args and isinstance(args[0], Tensor) and (key := kind(module)) not in self.seen:
            inputs = tuple(each.detach() if isinstance(each, Tensor) else each for each in args)
            sizes = [each.numel() // len(args[0]) for each in (args[0], result)] if is_rows(args[0], result) else (0, 0)
            self.seen[key] = Seen(module, inputs, (sizes[0], sizes[1]))

    @classmethod
    def first(cls, kind: Any) -> Seen | None:
        """Return the first network of a class that was called, one that is trained before others."""
        found, held = [each for each in cls.seen.values() if type(each.network) is kind], cls.held()
        return min(
            found, key=lambda each: not any(id(part) in held for part in each.network.parameters()), default=None
        )

    @classmethod
    def held(cls) -> set[int]:
        """Return the identities of the tensors that an optimizer has that stepped."""
        return {
            id(each) for optimizer in cls.optimizers for group in optimizer.param_groups for each in group["params"]
        }

    def broadcast(self) -> str:
        """Return what torch says of a loss that compares each answer with each target; empty if none does."""
        texts = [str(each.message) for each in self._warned or () if "Using a target size" in str(each.message)]
        for text in texts:
            shapes = [
                [int(n) for n in found.split(",") if n.strip()] for found in re.findall(r"Size\(\[(.*?)\]\)", text)[:2]
            ]
            if torch.broadcast_shapes(*shapes).numel() > max(map(math.prod, shapes)):
                return text.partition(". ")[0]
        return ""

    def unheld(self, loose_tensors: Any) -> str:
        """Return a matrix of a network that gets a gradient and that no optimizer has, though one has others of it."""
        held = self.held()
        for network, *_ in self.seen.values():
            own = dict(network.named_parameters()) | loose_tensors(network)
            if held & set(map(id, own.values())):
                lost = (
                    name
                    for name, each in own.items()
                    if each.ndim > 1 and each.grad is not None and id(each) not in held
                )
                if name := next(lost, ""):
                    return name
        return ""


def is_rows(x: Tensor, result: Any) -> bool:
    """Return whether a result is a tensor with as many rows as x."""
    return isinstance(result, Tensor) and x.ndim > 1 and result.ndim > 0 and 0 < len(x) == len(result)


@contextmanager
def cut(stepped: set[int]) -> Iterator[None]:
    """Cut what runs in this context after a few steps of optimizers or seconds; `stepped` gets the optimizers that stepped."""
    number = 0

    def step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        nonlocal number
        stepped.add(id(optimizer))
        Watch.optimizers.append(optimizer)
        number += 1
        if number >= MAX_STEPS * (1 if len(stepped) > 1 else 3):  # D may learn more often than G
            raise SeenEnough

    used, num_backward, rounds = process_time(), Watch.num_backward, 0

    def stop(signum: int, _: Any) -> None:
        nonlocal used, rounds
        before, used = used, process_time()
        rounds += signum == signal.SIGPROF
        is_slow = Watch.num_backward > num_backward and number < MAX_ROUNDS and rounds < MAX_ROUNDS
        if (signum == signal.SIGPROF and not is_slow) or used < before + 0.1:  # how busy the machine is does not matter
            raise SeenEnough

    hook, timers = register_optimizer_step_post_hook(step), dict[Any, Any]()
    if hasattr(signal, "setitimer"):  # of computing, and of waiting
        timers = {signal.SIGPROF: signal.ITIMER_PROF, signal.SIGALRM: signal.ITIMER_REAL}
    before = {signum: signal.signal(signum, stop) for signum in timers}
    try:
        for seconds, timer in zip((MAX_SECONDS, MAX_IDLE), timers.values(), strict=False):
            signal.setitimer(timer, seconds, seconds)
        yield
    except SeenEnough:
        pass
    finally:
        hook.remove()
        for signum, timer in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(signum, before[signum])
