"""The rule that decides whether a call of `LSTM` runs in `torch.nn.LSTM`.

torch computes what it can and the kernel does not compute faster. It cannot drop units of the hidden state; it has no
rules for `torch.func`, forward-mode AD and, in float32 on a CPU, second derivatives; and in exported programs it fixes
the number of steps. The measurements behind the rule are in docs/measurements/lstm_dispatch.json.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from reviver.lstm import kernel
from reviver.lstm.transforms import is_transformed

if TYPE_CHECKING:
    from reviver.lstm.layer import LSTM


AMX_HIDDEN_SIZE = 512
"""Smallest hidden size at which torch's float32 inference is faster than the kernel on a processor with AMX."""


def torch_runs(layer: "LSTM", x: Tensor | PackedSequence) -> bool:
    """Return whether `torch.nn.LSTM` runs a layer over an input of full length.

    - never: with hidden dropout in training, with zoneout, with bf16 operands, inside `kernel.reference()`, a transform
      or `torch.export`
    - always else: on other devices than a CPU (cuDNN), in other dtypes than float32, with a projection, and while
      `torch.jit` traces
    - float32 on a CPU: where no gradient is needed and the kernel is not available; on a processor with AMX also under
      autocast, and from `AMX_HIDDEN_SIZE` units on where no gradient is needed
    """
    options, data = layer.options, x.data if isinstance(x, PackedSequence) else x
    changes_h = options.hidden_dropout > 0.0 and (layer.training or options.hidden_dropout_kind == "zoneout")
    if changes_h or options.precision != "fp32" or kernel.is_switched_off():
        return False
    if is_transformed() or torch.compiler.is_exporting():
        return False
    is_float32 = data.is_cpu and layer.weight_ih_l0.dtype == torch.float32
    if not is_float32 or layer.proj_size or torch._C._get_tracing_state():
        return True
    return not torch.compiler.is_compiling() and _is_faster(layer.hidden_size)


def _is_faster(hidden_size: int) -> bool:
    """Return whether torch is faster than the kernel in float32 on a CPU."""
    has_amx = torch.cpu._is_amx_tile_supported()
    if torch.is_autocast_enabled("cpu"):
        return has_amx and torch.get_autocast_dtype("cpu") == torch.bfloat16
    is_large = has_amx and hidden_size >= AMX_HIDDEN_SIZE
    return not torch.is_grad_enabled() and (is_large or not kernel.available())
