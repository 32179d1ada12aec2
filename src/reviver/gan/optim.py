"""Adam for the two players of a game, with momentum that may be negative; and the same for networks in bfloat16.

Such a network has weights in float32, and copies of them, rounded, that it computes with. `adam.cpp` updates the weights
and rounds them in one pass over memory; where it cannot be compiled, or not on a CPU, torch's own Adam and two passes more
do the same.
"""

import copy
import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Adam

from reviver.native import FLAGS, NativeLibrary

Network = TypeVar("Network", bound=nn.Module)


class Call(ctypes.Structure):
    """The arguments of an update, the same fields in the same order as `Call` in `adam.cpp`, where they are explain_write_errors."""

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
    fallback="the native update of a GAN in bf16 is not available, torch's slower one is used",
    flags=(*FLAGS, "-fno-math-errno"),
)


class NegativeMomentumAdam(Adam):
    """Adam (Kingma & Ba 2015) with β₁ in (-1, 1).

    Two players that learn from each other circle around what both seek. Momentum in the usual direction drives them on;
    against it, β₁ < 0, it takes back a part of the last step, which damps the circling (Gidel et al. 2019).
    """

    def __init__(self, network: nn.Module, *, lr: float, betas: tuple[float, float]) -> None:
        super().__init__(network.parameters(), lr=lr, betas=(max(0.0, betas[0]), betas[1]), fused=True)
        # torch computes with a β₁ below 0 as with any other, but lets none in here above.
        self.param_groups[0]["betas"] = betas


class MasterWeightAdam(NegativeMomentumAdam, Generic[Network]):
    """Adam on the weights of `network`, from gradients of its rounded copy, see `rounded`."""

    def __init__(self, network: Network, *, lr: float, betas: tuple[float, float]) -> None:
        super().__init__(network, lr=lr, betas=betas)
        self._rounded = bf16_copy(network)
        self._pairs = list(zip(network.parameters(), self._rounded.parameters(), strict=True))
        self._versions = self._count_changes()

    @property
    def rounded(self) -> Network:
        """The network with the weights and biases of its linear layers in bfloat16; other layers are the same objects.

        It follows the weights, also where a checkpoint was loaded into them.
        """
        if self._versions != self._count_changes():
            self._round()
        return self._rounded

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update the weights by the gradients that the parameters of `rounded` have, and round them anew."""
        native = UPDATE.library() if all(weight.is_cpu for weight, _ in self._pairs) else None
        if native is not None:
            self._step_at_once(native)
            return
        for weight, mine in self._pairs:
            if weight is not mine:
                weight.grad = None if mine.grad is None else mine.grad.to(weight.dtype)
        super().step(closure)
        self._round()

    def _step_at_once(self, native: ctypes.CDLL) -> None:
        moved = [pair for pair in self._pairs if pair[1].grad is not None]
        for weight, _ in moved:
            if not self.state[weight]:
                moments = {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
                self.state[weight] = {"step": torch.zeros(()), **moments}
        states = [self.state[weight] for weight, _ in moved]
        torch._foreach_add_([state["step"] for state in states], 1)
        gradients = [mine.grad.contiguous() for _, mine in moved if mine.grad is not None]
        group = self.param_groups[0]
        call = Call(
            *(len(moved), torch.get_num_threads(), group["lr"], *group["betas"], group["eps"]),
            states[0]["step"].item(),
            (ctypes.c_int64 * len(moved))(*(weight.numel() for weight, _ in moved)),
            _pointers([weight for weight, _ in moved]),
            _pointers(gradients),
            _pointers([state["exp_avg"] for state in states]),
            _pointers([state["exp_avg_sq"] for state in states]),
            _pointers([None if mine is weight else mine for weight, mine in moved]),
        )
        native.reviver_adam_update(call)

    def _round(self) -> None:
        with torch.no_grad():
            for weight, mine in self._pairs:
                if weight is not mine:
                    mine.copy_(weight)
        self._versions = self._count_changes()

    def _count_changes(self) -> int:
        """How often torch has written into the weights."""
        return sum(weight._version for weight, _ in self._pairs)


def bf16_copy(network: Network) -> Network:
    """Return `network` with linear layers in bfloat16; its other layers, and so BatchNorm's statistics, are shared."""
    shared = {id(layer): layer for layer in network.modules() if isinstance(layer, nn.BatchNorm1d)}
    result = copy.deepcopy(network, shared)
    for layer in result.modules():
        if isinstance(layer, nn.Linear):
            layer.bfloat16()
    return result


def _pointers(tensors: Sequence[Tensor | None]) -> ctypes.Array[ctypes.c_void_p]:
    addresses = [None if tensor is None else tensor.data_ptr() for tensor in tensors]
    return (ctypes.c_void_p * len(addresses))(*addresses)
