"""Cells as text in the page against Python's: grammar, order of weights, a step and its gradients."""

import json
import math
import re
from pathlib import Path

import pytest

from tests.explorer.node import compute, needs_node

pytestmark = needs_node

GOLDEN = Path(__file__).parents[1] / "golden" / "cells.json"


def test_the_page_reads_and_computes_the_texts_as_python() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    requests = []
    for cell in golden.values():
        weights = {
            name: [math.sin(k + at) / 2 for k in range(math.prod(shape))]
            for at, (name, shape) in enumerate(cell["weights"].items())
        }
        requests.append(
            {"text": cell["text"], "weights": weights, "x": [[0.5, -1.0], [0.25, 2.0]], "gradient": [1.0, -2.0, 3.0]}
        )
    for (name, cell), found in zip(golden.items(), compute("cells", requests), strict=True):
        assert found["states"] == cell["states"], name
        assert [*found["matrices"], *found["vectors"]] == list(cell["weights"]), name
        assert found["vectors"] == cell["vectors"], name
        assert found["output"] == pytest.approx(cell["output"][-3:], abs=1e-6), name
        assert found["traced"] == pytest.approx(cell["output"], abs=1e-9), name
        for weight, gradient in cell["gradients"].items():
            assert found["gradients"][weight] == pytest.approx(gradient, rel=1e-4, abs=2e-6), (name, weight)


WRONG = [
    ("h = tanh(W @ x + U @ h", 1, 9, "This \\( is never closed"),
    ("h = tanh(W x + b", 1, 9, "This \\( is never closed"),
    ("h = W @ x / 0", 1, 13, "This divides by 0\\."),
    ("h = W @ x * 1e400", 1, 13, "Write a finite number, such as 0\\.5\\."),
    ("h = W @ x)", 1, 10, "This \\) closes no \\("),
    ("h = tanh(W_z x)", 1, 14, "Write @ between W_z and x\\."),
    ("h = W_z x", 1, 9, "Write @ between W_z and x\\."),
    ("h = np.tanh(W @ x)", 1, 5, "Write tanh, without np\\."),
    ("h = W @ x + b", 1, 13, "A learned bias is called b_…, such as b_h\\."),
    ("h = tanhh(W @ x)", 1, 5, "tanhh is not a function"),
    ("h = tanh(W @ x + q)", 1, 18, "No line computes q"),
    ("h = W @ x + h_prev", 1, 13, "h_prev would be a learned vector; the state before the step is read as h\\."),
    ("h = tanh(x)", 1, 10, "write a matrix before it"),
    ("h = tanh(W @ x)\nh = W @ x", 2, 1, "Line 1 has h already"),
    ("h = W @ x * $", 1, 13, "not part of a text"),
    ("c = W @ x", 1, 1, "No line computes h, the output\\."),
    ("h = tanh(W @ x)\nb_q: 1", 2, 1, "No line reads a vector b_q"),
    ("h = W @ x @ h", 1, 11, "Left of @ stands one matrix"),
    ("i = W @ x\nh = tanh(V @ x)", 1, 1, "i is never used\\."),
]
"""Text, line, column, and what is said there."""


def test_a_wrong_text_gets_a_sentence_at_its_place() -> None:
    found = compute("cells", [{"text": text} for text, *_ in WRONG])
    for one, (text, line, column, sentence) in zip(found, WRONG, strict=True):
        assert (one["line"], one["column"]) == (line, column), text
        assert re.search(sentence, one["error"]), text
