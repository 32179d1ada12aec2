"""Texts of published cells against a step written from the equations of each paper, in numpy and float64."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reviver import RNN

FOLDER = Path(__file__).parents[2] / "benchmarks" / "cell_texts" / "published"
Values = Mapping[str, Any]
INPUTS, UNITS, STEPS = 5, 7, 20


def sigmoid(v: Any) -> Any:
    return 1 / (1 + np.exp(-v))


def affine(w: Values, gate: str, x: Any, h: Any) -> Any:
    return w[f"W_{gate}"] @ x + w[f"U_{gate}"] @ h + w[f"b_{gate}"]


def janet(w: Values, x: Any, s: Values) -> Values:
    pre = affine(w, "f", x, s["h"])
    return {"h": sigmoid(pre) * s["h"] + (1 - sigmoid(pre - 1)) * np.tanh(affine(w, "c", x, s["h"]))}


def mutated(w: Values, s: Values, z: Any, r: Any, from_x: Any) -> Values:
    candidate = np.tanh(w["U_h"] @ (r * s["h"]) + from_x + w["b_h"])
    return {"h": candidate * z + s["h"] * (1 - z)}


def mut1(w: Values, x: Any, s: Values) -> Values:
    z, r = sigmoid(w["W_z"] @ x + w["b_z"]), sigmoid(affine(w, "r", x, s["h"]))
    return mutated(w, s, z, r, np.tanh(w["W_x"] @ x))


def mut2(w: Values, x: Any, s: Values) -> Values:
    r = sigmoid(w["W_x"] @ x + w["U_r"] @ s["h"] + w["b_r"])
    return mutated(w, s, sigmoid(affine(w, "z", x, s["h"])), r, w["W_h"] @ x)


def mut3(w: Values, x: Any, s: Values) -> Values:
    z = sigmoid(affine(w, "z", x, np.tanh(s["h"])))
    return mutated(w, s, z, sigmoid(affine(w, "r", x, s["h"])), w["W_h"] @ x)


def mgu2(w: Values, _: Any, s: Values) -> Values:
    f = sigmoid(w["U_f"] @ s["h"])
    return {"h": (1 - f) * s["h"] + f * np.tanh(affine(w, "h", _, f * s["h"]))}


def indrnn(w: Values, x: Any, s: Values) -> Values:
    return {"h": np.maximum(0, w["W_h"] @ x + w["u_h"] * s["h"] + w["b_h"])}


def sru(w: Values, x: Any, s: Values) -> Values:
    f, r = (sigmoid(w[f"W_{g}"] @ x + w[f"v_{g}"] * s["c"] + w[f"b_{g}"]) for g in "fr")
    c = f * s["c"] + (1 - f) * (w["W_c"] @ x)
    return {"c": c, "h": r * c + (1 - r) * (w["W_s"] @ x)}


def mingru(w: Values, x: Any, s: Values) -> Values:
    z = sigmoid(w["W_z"] @ x + w["b_z"])
    return {"h": (1 - z) * s["h"] + z * (w["W_h"] @ x + w["b_h"])}


def minlstm(w: Values, x: Any, s: Values) -> Values:
    f, i = (sigmoid(w[f"W_{g}"] @ x + w[f"b_{g}"]) for g in "fi")
    return {"h": f / (f + i) * s["h"] + i / (f + i) * (w["W_h"] @ x + w["b_h"])}


def lem(w: Values, x: Any, s: Values) -> Values:
    first, second = (sigmoid(affine(w, g, x, s["h"])) for g in "st")
    z = (1 - first) * s["z"] + first * np.tanh(affine(w, "z", x, s["h"]))
    return {"z": z, "h": (1 - second) * s["h"] + second * np.tanh(affine(w, "h", x, z))}


def nested_lstm(w: Values, x: Any, s: Values) -> Values:
    i, f, o = (sigmoid(affine(w, g, x, s["h"])) for g in "ifo")
    inner = {f"{new}_{g}": w[f"{old}_{g}"] for g in "ifoc" for new, old in zip("WUb", "VRd", strict=True)}
    inputs, hidden = i * np.tanh(affine(w, "c", x, s["h"])), f * s["c"]
    j, k, p = (sigmoid(affine(inner, g, inputs, hidden)) for g in "ifo")
    n = k * s["n"] + j * np.tanh(affine(inner, "c", inputs, hidden))
    c = p * np.tanh(n)
    return {"n": n, "c": c, "h": o * np.tanh(c)}


CELLS: Mapping[str, Callable[[Values, Any, Values], Values]] = {
    "janet": janet,
    "mut1": mut1,
    "mut2": mut2,
    "mut3": mut3,
    "mgu2": mgu2,
    "indrnn": indrnn,
    "sru": sru,
    "mingru": mingru,
    "minlstm": minlstm,
    "lem": lem,
    "nested-lstm": nested_lstm,
}


def test_each_text_has_a_step_from_its_paper() -> None:
    assert {path.stem for path in FOLDER.glob("*.cell")} == CELLS.keys()


@pytest.mark.parametrize("name", CELLS)
def test_a_text_computes_what_its_paper_says(name: str) -> None:
    torch.manual_seed(0)
    layer = RNN(FOLDER / f"{name}.cell", INPUTS, UNITS)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.uniform_(-0.5, 0.5)
    weights = {key.removeprefix("layers.0."): value.double().numpy() for key, value in layer.state_dict().items()}
    x = torch.randn(STEPS, 1, INPUTS)
    state: Values = dict.fromkeys(layer.cell.states, np.zeros(UNITS))
    expected = []
    for step in x[:, 0].double().numpy():
        state = CELLS[name](weights, step, state)
        expected.append(state["h"])
    output, _ = layer(x)
    np.testing.assert_allclose(output[:, 0].detach().numpy(), np.stack(expected), rtol=1e-5, atol=1e-5)
