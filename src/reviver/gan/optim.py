"""Adam for GANs: with momentum that may be negative, and for networks that compute in bfloat16.

A network in bf16 has float32 master weights, which Adam updates, and a bfloat16 copy, which computes (Micikevicius et al.
2018). On a CPU `adam.cpp` updates the weights, and rounds them, in one pass over memory. Without a compiler, or on another
device, torch's Adam, and in bf16 two more passes, do the same.
"""

import copy
import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from reviver.native import FLAGS, NativeLibrary

Network = TypeVar("Network", bound=nn.Module)


class Call(ctypes.Structure):
    """The arguments of an update: the same fields in the same order as `Call` in `adam.cpp`, which explains them."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("tensors", "threads")),
        *((name, ctypes.c_double) for name in ("learning_rate", "beta1", "beta2", "eps", "step")),
        ("sizes", ctypes.POINTER(ctypes.c_int64)),
        *((name, ctypes.POINTER(ctypes.c_void_p)) for name in ("weights", "gradients", "means", "squares", "copies")),
    ]


UPDATE = NativeLibrary(
    "adam",
    Path(__file__).with_name("adam.cpp"),
    Call,
    ("update",),
    fallback="the native update of a GAN is not available, torch's slower one is used",
    flags=(*FLAGS, "-fno-math-errno"),
)


class NegativeMomentumAdam(Adam):
    """Adam (Kingma & Ba 2015) with β₁ in (-1, 1).

    Simultaneous gradient updates of two networks orbit the equilibrium. Positive momentum accelerates the rotation;
    negative momentum, β₁ < 0, damps it (Gidel et al. 2019).

    Args:
        network: the network whose parameters are updated.
        lr: learning rate.
        betas: β₁ in (-1, 1) and β₂ in [0, 1).
        native: use `adam.cpp` where it is available, or always torch's update.
    """

    def __init__(self, network: nn.Module, *, lr: float, betas: tuple[float, float], native: bool = True) -> None:
        super().__init__(network.parameters(), lr=lr, betas=(max(0.0, betas[0]), betas[1]), fused=True)
        # torch's update is right for β₁ < 0, but its constructor refuses it.
        self.param_groups[0]["betas"] = betas
        self._pairs: list[tuple[nn.Parameter, nn.Parameter]] = [(weight, weight) for weight in network.parameters()]
        self._plan: _Plan | None = None
        self._native = native

    @property
    def compute_parameters(self) -> list[nn.Parameter]:
        """The parameters that compute, and have the gradients."""
        return [parameter for _, parameter in self._pairs]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update the parameters that have a gradient."""
        is_native = (
            self._native
            and closure is None
            and all(weight.is_cpu and weight.dtype == torch.float32 for weight, _ in self._pairs)
        )
        native = UPDATE.library() if is_native else None
        if native is not None:
            self._native_step(native)
        else:
            self._torch_step(closure)

    def _torch_step(self, closure: Callable[[], Any] | None) -> None:
        super().step(closure)

    def _native_step(self, native: ctypes.CDLL) -> None:
        pairs = [pair for pair in self._pairs if pair[1].grad is not None]
        if not pairs:
            return
        addresses = [parameter.data_ptr() for pair in pairs for parameter in pair]
        plan = self._plan
        if plan is None or plan.state is not self.state or plan.addresses != addresses:
            plan = self._plan = self._make_plan(pairs, addresses)
        plan.steps.add_(1)
        # A list of its own: it keeps contiguous copies alive during the call.
        gradients = [parameter.grad.contiguous() for _, parameter in pairs if parameter.grad is not None]
        group, call = self.param_groups[0], plan.call
        call.threads = torch.get_num_threads()
        call.learning_rate, call.eps = group["lr"], group["eps"]
        call.beta1, call.beta2 = group["betas"]
        call.step = plan.steps[0].item()
        call.gradients = _pointers(gradients)
        native.reviver_adam_update(call)

    def _make_plan(self, pairs: list[tuple[nn.Parameter, nn.Parameter]], addresses: list[int]) -> "_Plan":
        """Return the arguments that stay the same from update to update; creates the state of a first update."""
        for weight, _ in pairs:
            if not self.state[weight]:
                moments = {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
                self.state[weight] = {"step": torch.zeros(()), **moments}
        states = [self.state[weight] for weight, _ in pairs]
        steps = torch.stack([state["step"] for state in states])
        for state, step in zip(states, steps, strict=True):
            state["step"] = step  # parts of one tensor, counted in one call
        call = Call(
            tensors=len(pairs),
            sizes=(ctypes.c_int64 * len(pairs))(*(weight.numel() for weight, _ in pairs)),
            weights=_pointers([weight for weight, _ in pairs]),
            means=_pointers([state["exp_avg"] for state in states]),
            squares=_pointers([state["exp_avg_sq"] for state in states]),
            copies=_pointers([None if parameter is weight else parameter for weight, parameter in pairs]),
        )
        return _Plan(self.state, addresses, steps, call)


class _Plan(NamedTuple):
    """What stays the same from update to update."""

    state: Any
    """The optimizer's state when the plan was made; a loaded checkpoint brings another."""
    addresses: list[int]
    """Of the weights and of the parameters that compute."""
    steps: Tensor
    """Number of updates of each parameter."""
    call: Call


class MasterWeightAdam(NegativeMomentumAdam, Generic[Network]):
    """`NegativeMomentumAdam` on float32 master weights, with the gradients of a bfloat16 copy of the network.

    Args:
        network: the network with the master weights, float32.
        lr: learning rate.
        betas: β₁ in (-1, 1) and β₂ in [0, 1).
    """

    def __init__(self, network: Network, *, lr: float, betas: tuple[float, float]) -> None:
        super().__init__(network, lr=lr, betas=betas)
        self._compute_network = bf16_copy(network)
        self._pairs = list(zip(network.parameters(), self._compute_network.parameters(), strict=True))
        self._versions = self._count_writes()

    @property
    def compute_network(self) -> Network:
        """The bfloat16 copy, see `bf16_copy`; it follows the master weights, also after a checkpoint is loaded."""
        if self._versions != self._count_writes():
            self._copy_weights()
        return self._compute_network

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update the master weights with the gradients of the parameters of `compute_network`, and the copy with them.

        Raises:
            ValueError: if no parameter of `compute_network` has a gradient.
        """
        if all(parameter.grad is None for _, parameter in self._pairs):
            raise ValueError("a parameter of compute_network must have a gradient, got none; use fused_gan_step")
        super().step(closure)

    def _torch_step(self, closure: Callable[[], Any] | None) -> None:
        for weight, parameter in self._pairs:
            if weight is not parameter:
                weight.grad = None if parameter.grad is None else parameter.grad.to(weight.dtype)
        super()._torch_step(closure)
        self._copy_weights()

    def _copy_weights(self) -> None:
        """Round the master weights into the bfloat16 copy."""
        with torch.no_grad():
            for weight, parameter in self._pairs:
                if weight is not parameter:
                    parameter.copy_(weight)
        self._versions = self._count_writes()

    def _count_writes(self) -> int:
        """Return how often torch has written to the master weights; `adam.cpp` does not count."""
        return sum(weight._version for weight, _ in self._pairs)


def compute_network(network: Network, optimizer: Optimizer) -> Network:
    """Return the network that computes: the bfloat16 copy of a `MasterWeightAdam`, or else `network` itself."""
    return optimizer.compute_network if isinstance(optimizer, MasterWeightAdam) else network


def compute_parameters(network: nn.Module, optimizer: Optimizer) -> list[nn.Parameter]:
    """Return the parameters of `compute_network`, in their order."""
    return optimizer.compute_parameters if isinstance(optimizer, NegativeMomentumAdam) else list(network.parameters())


def bf16_copy(network: Network) -> Network:
    """Return a copy of `network` with bfloat16 linear layers; BatchNorm layers and buffers are shared."""
    shared: dict[int, Any] = {id(layer): layer for layer in network.modules() if isinstance(layer, nn.BatchNorm1d)}
    shared |= {id(buffer): buffer for buffer in network.buffers()}
    result = copy.deepcopy(network, shared)
    for layer in result.modules():
        if isinstance(layer, nn.Linear):
            layer.bfloat16()
    return result


def _pointers(tensors: Sequence[Tensor | None]) -> ctypes.Array[ctypes.c_void_p]:
    """Return the addresses of the tensors' elements; None becomes a null pointer."""
    addresses = [None if tensor is None else tensor.data_ptr() for tensor in tensors]
    return (ctypes.c_void_p * len(addresses))(*addresses)
