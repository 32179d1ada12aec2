"""The check of own networks: correct solutions pass, and each well-known mistake is named."""

from collections.abc import Iterator
from typing import Any

import pytest

import reviver
from reviver.checker.assignment import PIECES
from reviver.checker.pieces import TUTORIALS, PieceOutcome, run_pieces
from reviver.errors import ConfigError
from tests.checker import gan_solutions, lstm_solutions
from tools.tutorials import DOCS

SOLUTIONS = {"lstm": lstm_solutions, "gan": gan_solutions}
STYLES = [(network, style) for network, module in SOLUTIONS.items() for style in module.STYLES]
CASES = [
    pytest.param(network, piece, name, edits, id=f"{piece}: {name}")
    for network, module in SOLUTIONS.items()
    for piece, mistakes in module.MISTAKES.items()
    for name, edits in mistakes.items()
]
PAIRS = [
    ("lstm", "lstm_step", "tanh(c) is missing in the hidden state", "the forget gate is missing in the cell state"),
    ("lstm", "lstm_step", "the biases are missing", "U is transposed"),
    ("lstm", "sequence", "the last step is left out", "there is a softmax before cross-entropy"),
    ("lstm", "sequence", "c is not carried but reset at every step", "the logits are computed from c"),
    ("lstm", "training", "the gradients are not cleared", "there is a softmax before cross-entropy"),
    ("gan", "gan_step", "BatchNorm is in evaluation mode", "all images have one noise vector"),
    ("gan", "gan_step", "G is not updated", "the step samples its own noise, not z"),
]
"""Two mistakes in one piece, in different parts of it."""


def check(network: str, text: str) -> Iterator[PieceOutcome]:
    names: dict[str, Any] = {}
    exec(compile(text, "solution.py", "exec"), names)
    return run_pieces(names, [piece for piece in PIECES if piece.network == network])


def edited(text: str, edits: str) -> str:
    for edit in edits.split(" && "):
        old, new = edit.split(" -> ")
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(("network", "style"), STYLES)
def test_a_correct_solution_passes(network: str, style: str) -> None:
    outcomes = list(check(network, SOLUTIONS[network].STYLES[style]))
    assert {outcome.piece: outcome.text for outcome in outcomes if outcome.status != "passed"} == {}
    assert len(outcomes) == 6


@pytest.mark.parametrize(("network", "piece", "name", "edits"), CASES)
def test_a_mistake_is_named(network: str, piece: str, name: str, edits: str) -> None:
    first = next(iter(SOLUTIONS[network].STYLES.values()))
    outcome = next(each for each in check(network, edited(first, edits)) if each.piece == piece)
    assert (outcome.status, outcome.mistake) == ("failed", name), outcome.text
    assert outcome.hint
    tutorial = (DOCS / "tutorials" / f"{network}.md").read_text(encoding="utf-8")
    assert f"\n## {outcome.section}\n" in tutorial
    assert tutorial.startswith(f"# {TUTORIALS[network]}\n")


@pytest.mark.parametrize(("network", "piece", "first", "second"), PAIRS)
def test_two_mistakes_in_different_parts_of_a_piece_are_named(
    network: str, piece: str, first: str, second: str
) -> None:
    module = SOLUTIONS[network]
    text = next(iter(module.STYLES.values()))
    for name in (first, second):
        text = edited(text, module.MISTAKES[piece][name])
    outcome = next(each for each in check(network, text) if each.piece == piece)
    assert outcome.mistake == f"two mistakes: {first}; {second}"


def test_a_notebook_checks_functions_by_name_or_arguments() -> None:
    def my_step(x: Any, state: Any, w: Any) -> Any:
        return reviver.lstm_step(x, state, w)

    for report in (reviver.check(my_step), reviver.check(lstm_step=my_step), reviver.check(reviver.lstm_step)):
        expected = "  lstm_step       right: gates, state and gradients agree with the equations"
        assert repr(report) == f"your code: 1 of 1 pieces pass\n{expected}"
    wrong = reviver.check(lstm_step=lambda x, h, c, w: (h, c))
    assert wrong.outcomes[0].text.startswith("called as the text says: TypeError: ")
    with pytest.raises(
        ConfigError, match=r"^len is no piece of an assignment; give it as NAME=len, NAME being one of "
    ):
        reviver.check(len)
