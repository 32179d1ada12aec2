"""The text of a cell: what follows from it, what is refused and how, and the numbers that other readers of texts compare with."""

import re

import pytest
import torch

from reviver import RNN
from reviver.errors import ConfigError
from reviver.recurrent.grammar import FOLDER, MAX_LINES, built_in_cell, load_cell, parse
from reviver.settings.lstm_network import CELLS

GRU = """
# mine: a GRU
r = sigmoid(W_r @ x + U_r @ h + b_r)     # reset gate
z = sigmoid(W_z @ x + U_z @ h + b_z)     # update gate
n = tanh(W_n @ x + U_n @ (r * h) + b_n)  # candidate
h = (1 - z) * n + z * h                  # hidden state
b_z: -1.5
"""


def test_a_name_read_before_its_line_is_state_and_swapped_lines_make_one():
    lines = GRU.strip().split("\n")
    assert parse("\n".join([*lines[:1], *lines[2:3], *lines[1:2], *lines[3:]])).states == ("h",)
    assert parse("\n".join([*lines[:1], *lines[3:4], *lines[1:3], *lines[4:]])).states == ("h", "r")
    assert parse("c = c + W_c @ x\nh = tanh(c)").states == ("h", "c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("h = tnh(W_h @ x)", "line 1, column 5: unknown function tnh; did you mean tanh?"),
        (
            "h = tanh(W_h @ x + U_h @ h_prev)",
            "line 1, column 26: h_prev would be a learned vector; the state before the step is read as h",
        ),
        (
            "c = c_t_1 + W_c @ x; h = c".replace("; ", "\n"),
            "line 1, column 5: c_t_1 would be a learned vector; the state before the step is read as c",
        ),
        ("h = tanh(W_h @ y)", "line 1, column 16: no line computes y; did you mean x?"),
        ("h = tanh(W_h @ x + U_h @ g)", "line 1, column 26: no line computes g; did you mean h?"),
        ("h = np.tanh(W_h @ x)", "line 1, column 5: write tanh, without np"),
        ("c = tanh(W_c @ x)", "no line computes h, the output"),
        ("h = tanh(W_h x)", "line 1, column 14: write @ between W_h and x"),
        ("h = tanh(W_h @ x + b)", "line 1, column 20: a learned bias is called b_…, such as b_h"),
        (
            "h = W_h @ x + W_h @ h",
            "line 1, column 15: W_h is a matrix [H, I] on x on line 1, and a matrix [H, H] here; take another name, or use *",
        ),
        ("h = W_h @ x + b_h\nb_g: 2", "line 2, column 1: no line reads a vector b_g"),
        (
            "r = sigmoid(W_r @ x)\nh = r * U_h @ h",
            "line 2, column 5: left of @ stands one matrix, got r * U_h; write r * (U_h @ h)",
        ),
        (
            "r = W_r @ x\nh = r @ h",
            "line 2, column 5: r is computed by the text on line 1, and a matrix [H, H] here",
        ),
        ("a = W_a @ x\nh = tanh(W_h @ x)", "line 1, column 1: a is never used"),
        ("h = tanh(x)", "line 1, column 10: x has I numbers, not H; write a matrix before it, such as W_x @ x"),
        ("h = tanh(U_h @ h)", "no line reads x"),
        ("h = W_h * h\nc = W_h @ x + h", "line 2, column 5: W_h is a vector on line 1, and a matrix [H, I] on x here"),
        ("h = W_h @ x\nh = tanh(h)", "line 2, column 1: h has line 1 already"),
        ("x = W_h @ h", "line 1, column 1: x is the input"),
        ("exp = W_h @ x", "line 1, column 1: exp is a function"),
        ("_h = W_h @ x", "line 1, column 1: _h begins with an underscore"),
        ("h = tanh", "line 1, column 5: tanh is a function, and a vector here; write tanh(v)"),
        ("h = max(W_h @ x)", "line 1, column 5: max has 2 arguments: max(a, b)"),
        ("h = tanh(W_h @ x", "line 1, column 9: this ( is never closed"),
        ("h = tanh(W_h x + b", "line 1, column 9: this ( is never closed"),
        ("h = W_h @ x)", "line 1, column 12: this ) closes no ("),
        ("  h = W_h @ x; c = 2", "line 1, column 1: has several statements"),
        ("import os", "line 1, column 1: is no assignment"),
        ("h, c = W_h @ x", "line 1, column 1: left of = stands one name"),
        ("h = W_h @ x ** 2", "line 1, column 11: x ** 2 is not part of a text"),
        ("h = [W_h @ x for x in y]", "line 1, column 5: [W_h @ x for x in y] is not part of a text"),
        ("h = __import__('os').system('ls')", "line 1, column 5: unknown function __import__"),
        ("h = W_h @ x / 0", "line 1, column 15: divides by 0"),
        ("h = W_h @ x * 1e99", "line 1, column 15: is not a number that a text can have"),
        ("h = W_h @ x\nb_h: c", "line 2, column 6: a vector begins at a number"),
        ("h = W_h @ x + \N{GREEK SMALL LETTER BETA}", "line 1, column 15: 'β' is no letter of a text"),
        ("h = W_h @ x" + " " * 300, "line 1, column 1: has 311 characters; a line has at most 200"),
        ("h = " + "-" * 50 + "(W_h @ x)", "is nested more than 32 deep"),
        ("\n".join(["h = W_h @ x", *["# more"] * MAX_LINES]), "has 65 lines; a text has at most 64"),
        ("h = " + "U_h @ (" * 7 + "tanh(W_h @ x)" + ")" * 7, "7 products that wait for one another; at most 6 may"),
    ],
)
def test_a_wrong_text_is_one_line_with_its_place_and_the_remedy(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        parse(text, "mine.cell")
    assert str(error.value).startswith("cell mine.cell")
    assert "\n" not in str(error.value)


def test_a_cell_comes_by_name_text_or_file(tmp_path):
    (tmp_path / "mine.cell").write_text(GRU)
    assert load_cell(tmp_path / "mine.cell").weights == load_cell(GRU).weights == load_cell("gru").weights
    cell = load_cell(str(tmp_path / "mine.cell"))
    assert (load_cell(cell), cell.name) == (cell, "mine.cell")
    with pytest.raises(ConfigError, match=r"cell must be .* got 'grus'; did you mean gru\?"):
        load_cell("grus")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_cell(tmp_path / "other.cell")
    (tmp_path / "bad.cell").write_bytes(b"h = \xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_cell(tmp_path / "bad.cell")


def test_every_built_in_text_says_what_its_lines_are_and_where_it_comes_from():
    assert {path.stem for path in FOLDER.glob("*.cell")} == {*CELLS}
    for name in CELLS:
        cell = built_in_cell(name)
        assert re.search(r"\b(19|20)\d\d\b", cell.title), name
        assert all(quantity.meaning for quantity in cell.quantities.values()), name


def test_what_a_text_means_in_numbers(golden):
    """The page reads the same file: names, order and shapes of weights, a step and its gradients."""

    def numbers(tensor: torch.Tensor) -> list[float]:
        return [round(value, 10) for value in tensor.flatten().tolist()]

    found = {}
    for name in CELLS:
        cell = built_in_cell(name)
        layer = RNN(cell, 2, 3, dtype=torch.float64)
        for at, weight in enumerate(layer.parameters()):
            weight.data = torch.sin(torch.arange(weight.numel(), dtype=torch.float64) + at).view(weight.shape) / 2
        x = torch.tensor([[[0.5, -1.0]], [[0.25, 2.0]]], dtype=torch.float64)  # [T, B, I]
        output, _ = layer(x)
        (output[-1] * torch.tensor([1.0, -2.0, 3.0])).sum().backward()
        found[name] = {
            "text": cell.text,
            "states": list(cell.states),
            "weights": {weight: list(shape) for weight, shape in cell.shapes(2, 3).items()},
            "vectors": cell.vectors,
            "output": numbers(output),
            "gradients": {weight: numbers(layer.weights(0)[weight].grad) for weight in cell.weights},
        }
    golden("cells", found)
