"""Cells of a user: they train, resume, evaluate and are traced as ours, and no code comes out of a run folder."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reviver.cli import main
from reviver.errors import ConfigError
from reviver.recurrent.classifier import LSTMClassifier
from reviver.recurrent.custom_cells import CellClassifier
from reviver.settings.lstm_network import LSTMClassifierSpec
from reviver.settings.parts import CustomClass, Parts
from reviver.train.lstm.training import train
from tests.lstm_runs import TINY, fingerprint

CELL = """
import torch
from torch import nn


class Mine(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.linear = nn.Linear(input_size + hidden_size, hidden_size)

    def forward(self, x, state):
        h = x.new_zeros(len(x), self.hidden_size) if state is None else state
        return torch.tanh(self.linear(torch.cat([x, h], dim=1)))
"""


def classifier_of(cls: type, input_size: int, hidden_size: int, num_classes: int, **options: Any) -> CellClassifier:
    sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_classes": num_classes}
    return CellClassifier(CustomClass(cls), LSTMClassifierSpec(**sizes, **options))


@pytest.fixture
def mine(here: Path) -> str:
    """Return the reference of a cell in the working folder."""
    Path("my_cell.py").write_text(CELL)
    return "my_cell.py:Mine"


def test_torchs_lstm_cell_computes_the_same_as_ours() -> None:
    own = classifier_of(nn.LSTMCell, 3, 5, 4, num_layers=2).eval()
    ours = LSTMClassifier(3, 5, 4, num_layers=2, single_bias=False).eval()
    with torch.no_grad():
        for layer, cell in enumerate(own.layers.cells):
            for name, weight in cell.named_parameters():
                getattr(ours.lstm, f"{name}_l{layer}").copy_(weight)
        ours.W_out.copy_(own.W_out)
        ours.b_out.copy_(own.b_out)
        x, lengths = torch.randn(6, 7, 3), torch.tensor([7, 1, 3, 7, 2, 5])
        x[1, 1:] = torch.nan  # beyond its end
        for some in (None, lengths):
            for every_step in (False, True):
                rows = slice(2, None) if some is None else slice(None)
                expected = ours(x[rows], some, every_step=every_step)
                torch.testing.assert_close(own(x[rows], some, every_step=every_step), expected)


def test_dropout_acts_on_h_at_every_step_in_training_only() -> None:
    class Counter(nn.Module):
        def __init__(self, input_size: int, hidden_size: int) -> None:
            super().__init__()
            self.size = hidden_size

        def forward(self, x: Tensor, state: Tensor | None) -> Tensor:
            return torch.ones(len(x), self.size) if state is None else state + 1

    network, x = classifier_of(Counter, 1, 500, 2, hidden_dropout=0.5), torch.zeros(1, 3, 1)
    assert network.eval().layers(x)[0][0, :, 0].tolist() == [1, 2, 3]
    output = network.train().layers(x, rng=torch.Generator().manual_seed(0))[0][0]
    assert {*output[0].tolist()} == {0.0, 2.0}
    assert {*output[1].tolist()} == {0.0, 2.0, 6.0}, "a dropped unit counts on from 0"
    assert {*output[2].tolist()} == {0.0, 2.0, 6.0, 14.0}


RANDOM = CELL.replace("torch.tanh(", "nn.functional.dropout(torch.tanh(").replace(
    "dim=1)))", "dim=1))), 0.3, self.training)"
)


def test_randomness_inside_a_cell_comes_from_the_seed(mine: str) -> None:
    """That a run which is killed resumes to the same bits, tests/runs/test_failures.py shows."""
    Path("my_cell.py").write_text(RANDOM)
    config, parts = replace(TINY, cell=mine), Parts.load(cell=mine)
    whole = fingerprint(train(config, "whole", parts=parts))
    torch.rand(3)
    before = torch.random.get_rng_state()
    assert fingerprint(train(config, "again", parts=parts)) == whole
    assert torch.equal(torch.random.get_rng_state(), before)
    other = train(replace(config, seed=1), "other", parts=parts)
    assert fingerprint(other)["metrics"] != whole["metrics"]


def test_a_cell_sees_each_running_row_once_and_no_padding() -> None:
    seen: list[int] = []

    class Watching(nn.GRUCell):
        def forward(self, x: Tensor, state: Tensor | None = None) -> Tensor:
            seen.append(len(x))
            assert (x != 7).all(), "padding"
            return super().forward(x, state)

    network = classifier_of(Watching, 2, 4, 3).eval()
    x, lengths = torch.randn(3, 5, 2), torch.tensor([5, 1, 3])
    x[1, 1:], x[2, 3:] = 7.0, 7.0
    seen.clear()
    _, (h,) = network.layers(x, None, lengths)
    assert seen == [3, 2, 2, 1, 1]
    for row, length in enumerate(lengths.tolist()):
        _, (alone,) = network.layers(x[row : row + 1, :length])
        torch.testing.assert_close(h[:, row : row + 1], alone)


def test_trace_and_prediction(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    train = f"lstm train --length 3 --epochs 1 --hidden-size 4 --encoding onehot --num-layers 2 --out run --cell {mine}"
    assert main(train.split()) == 0
    assert main(f"lstm predict run 12 --cell {mine} --json".split()) == 0
    assert main(f"lstm trace run 12 --cell {mine} --json --out trace.png".split()) == 0
    trace = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [len(layer["state"][0]) for layer in trace["layers"]] == [2, 2], "two layers, two steps"
    assert Path("trace.png").exists()


HEAD = """
import torch
from torch import nn


class Mine(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.b = b

"""


OTHER = "    def forward(self, x, state):\n        s = x.new_zeros(len(x), self.b) if state is None else state\n        {}\n"
BAD = {
    "class Min: pass": "my_cell.py must have a class Mine; did you mean Min",
    "def Mine(): pass": "must have a class Mine; define it",
    "class Mine(": "cannot be run: SyntaxError: .* \\(line 1\\)",
    "1 / 0": "cannot be run: ZeroDivisionError: division by zero \\(my_cell.py, line 1\\)",
    "class Mine: pass": "Mine\\(input_size, hidden_size\\) raised TypeError: Mine\\(\\) takes no arguments",
    "class Mine:\n    def __init__(self, a, b): pass": "must be a subclass of torch.nn.Module, got one of object",
    HEAD + "    def forward(self, x): return x": "cell\\(x, state\\) of x .* and 8 units at step 1 raised TypeError",
    HEAD + "    def forward(self, x, state): return x.new_zeros(2, 2)": r"must return h of shape \[3, 8\], got \[2, 2\]",
    HEAD + OTHER.format("s += 0.1 * x.mean(1, keepdim=True); return s"): "must not change x and state in place, .* at step 2",
    HEAD + OTHER.format("x *= 2; return s + x.mean(1, keepdim=True)"): "must not change x and state in place, .* at step 1",
    HEAD + OTHER.format("return (s + x.mean()).detach()"): "must return h with a gradient, got one that is detached from x",
    HEAD + OTHER.format("return (s + x.mean()).detach().numpy()"): "got a ndarray",
    HEAD + "    def forward(self, x, state): h = x.new_zeros(len(x), self.b) + x.mean(); return h, (h, h)": r"got \(Tensor, tuple\)",
    HEAD + """
        self.count = 0
    def forward(self, x, state):
        self.count += 1
        return x.new_zeros(len(x), self.b) + x.mean() * self.count
""": "keep all state in what it returns, and none on self",
    HEAD + "    def forward(self, x, state): return [x]": "must return h .* or a tuple of tensors .* got a list",
}  # fmt: skip


@pytest.mark.parametrize("content", BAD)
def test_a_wrong_cell_is_one_line_before_anything_is_written(content: str, mine: str) -> None:
    Path("my_cell.py").write_text(content)
    with pytest.raises(ConfigError, match=BAD[content]) as error:
        train(replace(TINY, cell=mine), "run", parts=Parts.load(cell=mine))
    assert "\n" not in str(error.value)
    assert not Path("run").exists()
