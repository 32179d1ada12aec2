"""Settings: every field validates its values, and errors name the field, the value and the remedy."""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviver.errors import ConfigError
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import MIN_BATCH_SIZE, LSTMConfig
from reviver.settings.presets import GAN_PRESETS, LSTM_PRESETS
from reviver.settings.validation import describe_bounds

JUNK = (math.nan, -math.inf, 1j, [5])
"""Values that no field allows."""
BEYOND = {"at least": -1, "greater than": 0, "at most": 1, "less than": 0}
"""What makes a value of a bound, as the help says it, one that is not allowed."""
PRESETS = {LSTMConfig: LSTM_PRESETS, GANConfig: GAN_PRESETS}


@pytest.mark.parametrize("cls", PRESETS)
def test_bad_values_are_rejected_in_one_line(cls: Any) -> None:
    for field, bounds in describe_bounds(cls).items():
        found = re.findall(rf"({'|'.join(BEYOND)}) (\S+?)(?:, |$)", bounds)
        for value in (*JUNK, *(float(limit) + BEYOND[words] for words, limit in found)):
            message = rf"^{field} must (be|not be) .+, got {re.escape(repr(value))}$"
            with pytest.raises(ConfigError, match=message) as caught:
                cls(**{field: value})
            assert (caught.value.exit_code, caught.value.field) == (2, field)


@pytest.mark.parametrize("cls", PRESETS)
def test_a_config_is_strict_and_frozen(cls: Any) -> None:
    for values in ({"seed": "0"}, {"seed": True}, {"seed": 1.0}, {"batch_size": None}, {"learning_rate": True}):
        with pytest.raises(ConfigError, match="must be"):
            cls(**values)
    with pytest.raises(dataclasses.FrozenInstanceError):
        cls().seed = 3
    with pytest.raises(ConfigError, match=r"^epoch is unknown; did you mean epochs\?$"):
        dataclasses.replace(cls(), epoch=3)


def test_the_reports_settings() -> None:
    lstm, gan = LSTMConfig(), GANConfig()
    assert (LSTM_PRESETS["original"], GAN_PRESETS["original"]) == (lstm, gan)
    assert (lstm.length, lstm.epochs, lstm.batch_size, lstm.hidden_size, lstm.encoding) == (5, 100, 128, 128, "scalar")
    assert (lstm.learning_rate, lstm.max_norm, lstm.hidden_dropout, lstm.train_fraction) == (1e-3, 10.0, 0.5, 0.8)
    assert (lstm.data_size, lstm.num_layers, lstm.bidirectional, lstm.curriculum) == (100_000, 1, False, False)
    assert (gan.epochs, gan.batch_size, gan.latent_size, gan.image_size) == (200, 64, 100, 28)
    assert (gan.learning_rate, gan.beta1, gan.batch_norm_eps) == (2e-4, 0.5, 1e-5)


PIXELS: dict[str, Any] = {"task": "pixel-mnist", "length": 784}
CUSTOM: dict[str, Any] = {"task": "custom", "data": "x"}
COPY: dict[str, Any] = {"task": "copy", "encoding": "onehot"}
INVALID_COMBINATIONS: list[tuple[dict[str, Any], str]] = [
    ({"task": "temporal-order", "length": 9}, "length must be at least 10, got 9"),
    ({"task": "row-mnist", "length": 27}, "length must be 28 for the task row-mnist, got 27"),
    (PIXELS | {"length": 28}, "length must be 49 or 98 or 196 or 392 or 784 for the task pixel-mnist"),
    ({"task": "adding", "encoding": "onehot"}, "encoding must be scalar for the task adding, whose input is real-valued"),
    ({"task": "row-mnist", "length": 28, "curriculum": True}, "curriculum must be false for the task row-mnist, .* got True"),
    ({"task": "temporal-order", "length": 50, "curriculum": True, "start_length": 9}, "start_length must be at least 10"),
    (PIXELS | {"curriculum": True}, "start_length 10 with length_factor 2.0 gives length 10, .*; give start_length 49"),
    ({"curriculum": True, "patience": 5}, "patience must be none with curriculum"),
    ({"cell": "m:C", "precision": "bf16"}, "cell m:C does not support precision bf16; leave it out"),
    ({"cell": "m:C", "bidirectional": True}, "cell m:C does not support bidirectional true; leave it out"),
    (COPY | {"patch_size": "auto"}, "task copy has a class at every step"),
    (CUSTOM | {"encoding": "onehot"}, "encoding must be scalar for the task custom, .* got 'onehot'"),
    (CUSTOM | {"curriculum": True}, "curriculum must be false for the task custom, .* got True"),
    ({"task": "custom"}, "data must be a file for the task custom, got None; give one with --data"),
]  # fmt: skip
INVALID_COMBINATIONS_OF_THE_GAN: list[tuple[dict[str, Any], str]] = [
    ({"ema_rampup": 0.1}, "ema_rampup must be 0 without an average, got 0.1; give ema as well"),
    ({"loss": "hinge", "label_smoothing": 0.1}, "label_smoothing must be 0 for the loss hinge, .* got 0.1"),
]


def test_invalid_combinations_are_rejected() -> None:
    cases: dict[Any, list[Any]] = {LSTMConfig: INVALID_COMBINATIONS, GANConfig: INVALID_COMBINATIONS_OF_THE_GAN}
    for cls, values, message in [(cls, *case) for cls, combinations in cases.items() for case in combinations]:
        with pytest.raises(ConfigError, match=rf"^{message}.*\Z"):  # in one line
            cls(**values)


# Values that follow from settings


@given(start=st.integers(2, 50), length=st.integers(2, 10**6), length_factor=st.floats(1.01, 100))
def test_lengths_increase_up_to_length(start: int, length: int, length_factor: float) -> None:
    settings: dict[str, Any] = {"start_length": start, "length": length, "length_factor": length_factor}
    lengths = LSTMConfig(curriculum=True, **settings).lengths
    assert lengths[0] == min(start, length)
    assert lengths[-1] == length
    assert list(lengths) == sorted(set(lengths))
    exact = [start * length_factor**k for k in range(len(lengths))]
    assert all(number >= min(length, bound - 1) for number, bound in zip(lengths, exact, strict=True))
    assert LSTMConfig(**settings).lengths == (length,)


def test_long_sequences_have_smaller_batches_but_as_many() -> None:
    config = LSTM_PRESETS["recall-100000"]
    batches = [-(-config.epoch_size_at(length) // config.batch_size_at(length)) for length in config.lengths]
    assert set(batches) == {28}
    assert config.batch_size_at(100_000) == MIN_BATCH_SIZE
    assert config.batch_size_at(2000) == 100


def test_lengths_beyond_a_maximum_have_the_last_threshold() -> None:
    config = LSTMConfig(curriculum=True, length=9, start_length=3, length_factor=1.5, threshold=0.5)
    assert config.lengths == (3, 4, 7, 9)
    for last_threshold, threshold_max_length, thresholds in (  # by hand
        (None, 4, [0.5, 0.5, 0.5, 0.5]),
        (0.25, None, [0.5, 0.5, 0.5, 0.25]),
        (0.25, 4, [0.5, 0.5, 0.25, 0.25]),
        (0.75, 9, [0.5, 0.5, 0.5, 0.75]),
    ):
        changes: dict[str, Any] = {"last_threshold": last_threshold, "threshold_max_length": threshold_max_length}
        changed = dataclasses.replace(config, **changes)
        assert [changed.threshold_at(length) for length in config.lengths] == thresholds


@pytest.mark.parametrize(
    ("schedule", "final_ratio", "expected"),
    [
        ("constant", 0.0, (1.0, 1.0, 1.0, 1.0)),
        ("linear", 0.0, (1.0, 0.75, 0.5, 0.0)),
        ("linear", 0.5, (1.0, 0.875, 0.75, 0.5)),  # 0.5 + 0.5 · (1 - t)
        ("cosine", 0.0, (1.0, 0.8535533905932737, 0.5, 0.0)),  # (1 + cos π/4) / 2 = (1 + √½) / 2
        ("cosine", 0.5, (1.0, 0.9267766952966369, 0.75, 0.5)),
    ],
)
def test_learning_rates_at_the_start_a_quarter_the_middle_and_the_end(
    schedule: Any, final_ratio: float, expected: tuple[float, ...]
) -> None:
    times = (0.0, 0.25, 0.5, 1.0)
    gan = GANConfig(learning_rate=0.5, lr_schedule=schedule, final_lr_ratio=final_ratio)
    assert [gan.learning_rate_at(time) for time in times] == pytest.approx([rate / 2 for rate in expected], abs=1e-15)
    if schedule != "linear" and not final_ratio:
        lstm = LSTMConfig(learning_rate=0.3, lr_schedule=schedule)
        rates = [lstm.learning_rate_at(time, 5) for time in times]
        assert rates == pytest.approx([0.3 * rate for rate in expected], abs=1e-15)
        longer = dataclasses.replace(lstm, curriculum=True, length=40, lr_length_exponent=0.5)
        assert longer.learning_rate_at(0.5, 40) == pytest.approx(0.3 * expected[2] / 2)  # (10 / 40)^0.5


def test_the_docs_say_when_to_change_a_setting_of_the_gan() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "gan-training.md").read_text(encoding="utf-8")
    rows = [row for row in page.splitlines() if row.startswith("| `--")]
    for field in dataclasses.fields(GANConfig):
        assert any(f"`--{field.name.replace('_', '-')}" in row for row in rows), field.name
