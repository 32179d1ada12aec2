"""torch's own test inputs for torch.nn.LSTM give the same with reviver.LSTM."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from reviver import LSTM

# Read in a process of its own: importing torch's test utilities locks global flags of torch that our code sets.
READ_INPUTS = """
import itertools, sys, torch
from torch.testing._internal.common_modules import module_db
(info,) = [info for info in module_db if info.module_cls is torch.nn.LSTM]
found = []
for dtype, training in itertools.product(info.dtypes, (False, True)):
    torch.manual_seed(0)
    for item in info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=False, training=training):
        made, given = item.constructor_input, item.forward_input
        found.append([training, made.args, made.kwargs | {"dtype": dtype}, [*given.args, *given.kwargs.values()]])
torch.save(found, sys.argv[1])
"""


def run(lstm: nn.Module, inputs: list[Tensor]) -> dict[str, Tensor]:
    """Return output, state and all gradients of a call with x, or x, h and c, by torch's names."""
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]
    output, (h, c) = lstm(inputs[0], tuple(inputs[1:]) or None)
    sum((torch.linspace(-1, 1, t.numel(), dtype=t.dtype).view(t.shape) * t).sum() for t in (output, h, c)).backward()
    found = {"output": output.detach(), "h": h.detach(), "c": c.detach()}
    found |= {f"input {index}": tensor.grad for index, tensor in enumerate(inputs)}
    return found | {name: parameter.grad for name, parameter in lstm.named_parameters()}


# torch.nn.LSTM says so of itself.
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_equals_torch_on_torchs_inputs(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", READ_INPUTS, str(tmp_path / "inputs.pt")], check=True)
    cases = torch.load(tmp_path / "inputs.pt")
    assert len(cases) == 2 * 2 * 32
    for training, arguments, options, given in cases:
        torch.manual_seed(0)
        theirs = nn.LSTM(*arguments, **options).train(training)
        ours = LSTM(*arguments, **options).train(training)
        ours.load_state_dict(theirs.state_dict())
        inputs = [given[0], *(given[1] if len(given) == 2 else ())]
        is_single = inputs[0].dtype == torch.float32
        close = {"rtol": 1e-5, "atol": 1e-6} if is_single else {"rtol": 1e-10, "atol": 1e-12}
        torch.testing.assert_close(run(ours, inputs), run(theirs, inputs), **close)
