"""What torch does around a call of the LSTM: transforms of `torch.func`, forward-mode AD, autocast."""

from collections.abc import Iterable

import torch
from torch import Tensor


def is_transformed() -> bool:
    """Return whether a transform of `torch.func` (grad, vmap, jvp, ...) or forward-mode AD runs this code."""
    in_transform = torch._C._functorch.maybe_current_level() is not None
    return in_transform or torch.autograd.forward_ad._current_level >= 0


# torch.compile evaluates the function when it traces, and recompiles where the transforms differ.
is_transformed._dynamo_marked_constant = True  # type: ignore[attr-defined]


def is_batched(tensors: Iterable[object]) -> bool:
    """Return whether `vmap` runs this code over one of the tensors, as for `is_grads_batched` of `torch.autograd.grad`."""
    kinds = torch._C._functorch.is_batchedtensor, torch._C._functorch.is_legacy_batchedtensor
    return any(isinstance(tensor, Tensor) and any(kind(tensor) for kind in kinds) for tensor in tensors)


def plain_values(tensor: Tensor) -> Tensor:
    """Return the tensor below the wrappers of `torch.func`: under vmap, the one of the whole batch."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor


def autocast_dtype(tensor: Tensor) -> torch.dtype:
    """Return the dtype of the results for an input: as in `torch.nn.LSTM`, that of autocast, unless it is float64."""
    kind = tensor.device.type
    if tensor.dtype == torch.float64 or kind == "meta" or not torch.is_autocast_enabled(kind):
        return tensor.dtype
    return torch.get_autocast_dtype(kind)
