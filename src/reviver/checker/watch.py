"""Watch a submission run: which networks it builds, with what, and how it calls them; and cut its training short."""

import inspect
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.optim.optimizer import register_optimizer_step_post_hook

MAX_STEPS, MAX_SECONDS = 4, 8
"""Steps of optimizers, and seconds of computing, after which a statement is cut."""


class SeenEnough(BaseException):
    """The code has shown what it does."""


class Built(NamedTuple):
    """How a network was built."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def call(self, cls: Any) -> Any:
        """Build it once more."""
        return cls(*self.args, **self.kwargs)


class Watch:
    """The networks that a submission builds and calls while it is loaded."""

    built: ClassVar[dict[Any, Built]] = {}
    called: ClassVar[dict[Any, tuple[Any, ...]]] = {}

    def __enter__(self) -> "Watch":
        self._init = nn.Module.__init__
        self.built.clear()
        self.called.clear()
        begin, watch = self._init, self

        def init(self: nn.Module, *args: Any, **options: Any) -> None:
            watch.note(self, sys._getframe(1))
            begin(self, *args, **options)

        setattr(nn.Module, "__init__", init)  # noqa: B010
        self._hook = register_module_forward_hook(lambda module, args, result: watch.call(module, args))
        return self

    def __exit__(self, *error: object) -> None:
        setattr(nn.Module, "__init__", self._init)  # noqa: B010
        self._hook.remove()

    def note(self, module: nn.Module, frame: Any) -> None:
        """Keep the arguments of the outermost constructor of a module, which runs in a frame, the first of its class."""
        cls, outermost = type(module), None
        while frame is not None and frame.f_code.co_name == "__init__" and module in list(frame.f_locals.values())[:1]:
            outermost, frame = frame, frame.f_back
        if outermost is None or cls in self.built or cls.__module__.startswith("torch."):
            return
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

    def call(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Keep what a network is called with first."""
        if type(module) not in self.called and args and isinstance(args[0], Tensor):
            self.called[type(module)] = tuple(each.detach() if isinstance(each, Tensor) else each for each in args)


@contextmanager
def cut(stepped: set[int]) -> Iterator[None]:
    """Cut what runs in this context after a few steps of optimizers or seconds; `stepped` gets the optimizers that stepped."""
    number = 0

    def step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        nonlocal number
        stepped.add(id(optimizer))
        number += 1
        if number >= MAX_STEPS:
            raise SeenEnough

    def stop(*_: Any) -> None:
        raise SeenEnough

    hook, timers = register_optimizer_step_post_hook(step), dict[Any, Any]()
    if hasattr(signal, "setitimer"):  # of computing, and of waiting
        timers = {signal.SIGPROF: signal.ITIMER_PROF, signal.SIGALRM: signal.ITIMER_REAL}
    before = {signum: signal.signal(signum, stop) for signum in timers}
    try:
        for factor, timer in enumerate(timers.values(), 1):
            signal.setitimer(timer, factor * MAX_SECONDS)
        yield
    except SeenEnough:
        pass
    finally:
        hook.remove()
        for signum, timer in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(signum, before[signum])
