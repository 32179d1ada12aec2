"""What goes wrong in a run: when the rules fire, and that the page has the same."""

from typing import Any

import pytest
import torch

from reviver.train.diagnosis import diagnose_gan, diagnose_lstm, spread_of
from tests.explorer.node import compute, needs_node

HEALTHY = {"generator_loss": 0.8, "discriminator_loss": 0.6, "probability_real": 0.55, "probability_fake": 0.45}
SURE = HEALTHY | {"probability_real": 0.98, "probability_fake": 0.03}


def lines(*records: dict[str, float]) -> list[dict[str, Any]]:
    return [record | {"step": 100 * number, "epoch": number / 2} for number, record in enumerate(records, 1)]


LSTM = [{"epoch": number, "validation_accuracy": 1.0} for number in range(1, 12)]
UNLEARNED = [{"epoch": number, "validation_accuracy": 0.1 + 0.15 * (number == 9)} for number in range(1, 12)]
CASES = {
    "healthy": (lines(*[HEALTHY] * 12), 0.9, []),
    "jump": (lines(*[HEALTHY] * 8, HEALTHY | {"generator_loss": 18.7}, HEALTHY), 0.9, ["jump"]),
    "jump of D": (lines(*[HEALTHY] * 8, HEALTHY | {"discriminator_loss": 2.0}), 0.9, ["jump"]),
    "slow growth": (lines(*[HEALTHY | {"generator_loss": 0.8 * 1.1**k} for k in range(40)]), 0.9, []),
    "D wins": (lines(*[HEALTHY] * 6, *[SURE] * 3), 0.9, ["wins"]),
    "D wins for a moment": (lines(*[HEALTHY] * 6, SURE, SURE, HEALTHY, SURE), 0.9, []),
    "alike": (lines(*[HEALTHY] * 15), 0.1, ["alike"]),
    "alike at the start": (lines(*[HEALTHY] * 14), 0.1, []),
    "nothing yet": ([], 0.0, []),
}


@pytest.mark.parametrize("name", CASES)
def test_rules_of_a_gan(name: str) -> None:
    metrics, spread, rules = CASES[name]
    assert [finding.rule for finding in diagnose_gan(metrics, spread)] == rules


def test_an_lstm_ends_in_a_dip() -> None:
    assert diagnose_lstm(LSTM) == []
    (finding,) = diagnose_lstm([*LSTM, {"epoch": 12, "validation_accuracy": 0.9}])
    assert (finding.rule, finding.epoch) == ("dip", 12)
    assert "from 100.0 % to 90.0 %" in finding.text
    assert diagnose_lstm([*LSTM, {"epoch": 12, "validation_accuracy": 0.9, "length": 20}]) == []  # of a curriculum
    assert diagnose_lstm(UNLEARNED) == []  # accuracy at chance goes up and down


def test_spread_is_that_of_real_images_or_less() -> None:
    real = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    assert spread_of(real, real) == 1
    assert spread_of(real[:1].expand(5, -1, -1, -1), real) == 0
    assert spread_of(real[[0, 0, 1, 1, 1]], real) == 0  # two images, far from each other, again and again


@needs_node
def test_the_page_has_the_same_rules() -> None:
    lstm = [*LSTM, {"epoch": 12, "validation_accuracy": 0.9}]
    requests = [{"diagnose": {"lines": metrics, "spread": spread}} for metrics, spread, _ in CASES.values()]
    *ours, dip, none = compute("train", [*requests, *({"diagnose": {"epochs": each}} for each in (lstm, UNLEARNED))])
    for found, (metrics, spread, _) in zip(ours, CASES.values(), strict=True):
        assert found == [finding._asdict() for finding in diagnose_gan(metrics, spread)]
    assert dip == [finding._asdict() for finding in diagnose_lstm(lstm)]
    assert none == diagnose_lstm(UNLEARNED)
