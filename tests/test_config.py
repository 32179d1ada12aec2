"""Settings: every field validates its values, and errors name the field, the value and the remedy."""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import pytest

from reviver.errors import ConfigError
from reviver.settings.fields import choose_preset, from_mapping, override
from reviver.settings.gan import GANConfig
from reviver.settings.gan_presets import PRESETS as GAN_PRESETS
from reviver.settings.lstm import LSTMConfig
from reviver.settings.lstm_presets import PRESETS as LSTM_PRESETS

WORDS = ("", "abc", None, 3, True, ["scalar"])
FLAGS = (0, 1, "true", None)
SEEDS = (-1, 2**63, 1.0, True, "0", None)


def not_integers_from(minimum: int, *more: Any) -> tuple[Any, ...]:
    """Return values that are no integers of at least `minimum`, and `more` bad values."""
    return (minimum - 1, -1, 1.5, float(minimum), True, "5", None, [5], math.nan, *more)


def not_numbers(*outside: float) -> tuple[Any, ...]:
    """Return values that are no finite numbers, and numbers `outside` the bounds."""
    return (*outside, math.nan, math.inf, -math.inf, 10**400, True, "0.5", None, [0.5], 1j)


BAD_VALUES: dict[type, dict[str, tuple[Any, ...]]] = {
    LSTMConfig: {
        "task": WORDS,
        "data": ("", 3, ["a.csv"]),
        "sequence_column": ("", None, 3),
        "label_column": ("", None, 3),
        "order": WORDS,
        "length": not_integers_from(2),
        "encoding": WORDS,
        "data_size": not_integers_from(2),
        "train_fraction": not_numbers(0, 1, 0.0, 1.0, -0.5, 2),
        "cell": WORDS,
        "curriculum": FLAGS,
        "start_length": not_integers_from(2),
        "min_length_fraction": not_numbers(0, 0.0, 1.1, -1),
        "length_factor": not_numbers(1, 1.0, 0, -2),
        "jump_factor": tuple(value for value in not_numbers(1, 1.0, 0.5, -2) if value is not None),
        "threshold": not_numbers(0, 0.0, 1.1, -1),
        "last_threshold": tuple(value for value in not_numbers(0, 0.0, 1.1, -1) if value is not None),
        "threshold_max_length": tuple(value for value in not_integers_from(1) if value is not None),
        "lr_length_exponent": not_numbers(-0.1),
        "batch_steps": not_integers_from(1),
        "bptt_steps": tuple(value for value in not_integers_from(1) if value is not None),
        "hidden_size": not_integers_from(1),
        "num_layers": not_integers_from(1),
        "bidirectional": FLAGS,
        "pooling": WORDS,
        "patch_size": not_integers_from(1, "Auto", ""),
        "init": WORDS,
        "hidden_dropout": not_numbers(-0.1, 1, 1.5),
        "hidden_dropout_kind": ["often", "", None],
        "dropout": not_numbers(-0.1, 1, 1.5),
        "precision": ["fp16", 16, None],
        "epochs": not_integers_from(1),
        "patience": tuple(value for value in not_integers_from(1) if value is not None),
        "batch_size": not_integers_from(1),
        "optimizer": WORDS,
        "learning_rate": not_numbers(0, 0.0, -1e-3),
        "lr_schedule": WORDS,
        "max_norm": not_numbers(0, -1.0),
        "activation_checkpoint_steps": tuple(value for value in not_integers_from(1) if value is not None),
        "checkpoint_every": not_integers_from(1),
        "keep_checkpoints": not_integers_from(1),
        "on_nan": WORDS,
        "max_rollbacks": not_integers_from(0),
        "seed": SEEDS,
    },
    GANConfig: {
        "data": ("", None, 3, ["mnist"]),
        "image_size": not_integers_from(4, 1025),
        "order": WORDS,
        "latent_size": not_integers_from(1),
        "conditional": FLAGS,
        "epochs": not_integers_from(1),
        "batch_size": not_integers_from(2),
        "learning_rate": not_numbers(0, 0.0, -1e-3),
        "beta1": not_numbers(-1, 1, 1.5),
        "beta2": not_numbers(-0.1, 1, 1.5),
        "discriminator_steps": not_integers_from(1),
        "lr_schedule": WORDS,
        "final_lr_ratio": not_numbers(-0.1, 1.1),
        "loss": WORDS,
        "label_smoothing": not_numbers(-0.1, 1, 1.5),
        "r1": not_numbers(-0.1),
        "gradient_penalty": not_numbers(-0.1),
        "penalty_interval": not_integers_from(1),
        "discriminator_dropout": not_numbers(-0.1, 1, 1.5),
        "input_centering": not_numbers(0, 0.0, -1.5, 1e7, "", "Auto"),
        "shift_probability": not_numbers(-0.1, 1.5),
        "packing": not_integers_from(1),
        "ema": not_numbers(-0.1, 1, 1.5),
        "ema_rampup": not_numbers(-0.1),
        "precision": WORDS,
        "batch_norm_eps": not_numbers(0, -1e-5),
        "sync_batch_norm": FLAGS,
        "batch_norm_samples": not_integers_from(0),
        "sample_every": not_integers_from(1),
        "eval_every": tuple(value for value in not_integers_from(0) if value is not None),
        "eval_samples": not_integers_from(6),
        "extractor": ("", 3, ["e"]),
        "log_every": not_integers_from(1),
        "checkpoint_every": not_integers_from(1),
        "keep_checkpoints": not_integers_from(1),
        "on_nan": WORDS,
        "max_rollbacks": not_integers_from(0),
        "seed": SEEDS,
    },
}

BOUNDARY_VALUES: dict[type, list[dict[str, Any]]] = {
    LSTMConfig: [
        {"length": 2, "data_size": 2, "hidden_size": 1, "epochs": 1, "batch_size": 1, "checkpoint_every": 1},
        {"hidden_dropout": 0, "dropout": 0.0, "seed": 2**63 - 1, "learning_rate": 1, "train_fraction": 1e-9},
        {"patch_size": "auto", "pooling": "max", "patience": 1},
        {"hidden_dropout": 0.999, "dropout": 0.999, "seed": 0, "bidirectional": True, "length": 10_000},
    ],
    GANConfig: [
        {
            "image_size": 4,
            "latent_size": 1,
            "epochs": 1,
            "batch_size": 2,
            "sample_every": 1,
            "log_every": 1,
            "eval_every": 0,
        },
        {
            "image_size": 1024,
            "beta1": 0,
            "beta2": 0.0,
            "seed": 2**63 - 1,
            "batch_norm_eps": 1e-12,
            "data": "a/b",
            "eval_samples": 6,
            "input_centering": "auto",
        },
        {"input_centering": 1, "batch_norm_samples": 0},
    ],
}

PRESETS = {LSTMConfig: LSTM_PRESETS, GANConfig: GAN_PRESETS}
CONFIGS = list(BAD_VALUES)


@pytest.mark.parametrize("cls", CONFIGS)
def test_every_field_has_bad_values(cls: type) -> None:
    assert [field.name for field in dataclasses.fields(cls)] == list(BAD_VALUES[cls])


@pytest.mark.parametrize(
    ("cls", "field", "value"),
    [(cls, field, value) for cls, fields in BAD_VALUES.items() for field, values in fields.items() for value in values],
)
def test_a_bad_value_is_rejected(cls: type, field: str, value: Any) -> None:
    message = rf"^{field} must (be|not be) .+, got {re.escape(repr(value))}$"
    with pytest.raises(ConfigError, match=message) as caught:
        cls(**{field: value})
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    with pytest.raises(ConfigError, match=message):
        override(cls(), {field: value})


@pytest.mark.parametrize("cls", CONFIGS)
def test_values_at_the_bounds_are_accepted(cls: type) -> None:
    for values in BOUNDARY_VALUES[cls]:
        config = cls(**values)
        for name, value in values.items():
            assert getattr(config, name) == value


@pytest.mark.parametrize("cls", CONFIGS)
def test_a_config_is_frozen_and_keyword_only(cls: type) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        cls().seed = 3
    with pytest.raises(TypeError, match="positional"):
        cls(3)


@pytest.mark.parametrize("cls", CONFIGS)
def test_the_preset_report_is_the_default(cls: type) -> None:
    assert choose_preset(PRESETS[cls], "original") == cls()


@pytest.mark.parametrize(("cls", "name"), [(cls, name) for cls, presets in PRESETS.items() for name in presets])
def test_every_preset_is_found_and_survives_a_run_folder(cls: type, name: str) -> None:
    config = choose_preset(PRESETS[cls], name)
    assert isinstance(config, cls)
    assert from_mapping(cls, dataclasses.asdict(config)) == config


def test_the_reports_settings() -> None:
    lstm, gan = LSTMConfig(), GANConfig()
    assert (lstm.length, lstm.epochs, lstm.batch_size, lstm.hidden_size, lstm.encoding) == (5, 100, 128, 128, "scalar")
    assert (lstm.learning_rate, lstm.max_norm, lstm.hidden_dropout, lstm.train_fraction) == (1e-3, 10.0, 0.5, 0.8)
    assert (lstm.data_size, lstm.num_layers, lstm.bidirectional, lstm.curriculum) == (100_000, 1, False, False)
    assert (gan.epochs, gan.batch_size, gan.latent_size, gan.image_size) == (200, 64, 100, 28)
    assert (gan.learning_rate, gan.beta1, gan.beta2, gan.batch_norm_eps) == (2e-4, 0.5, 0.999, 1e-5)


@pytest.mark.parametrize("cls", CONFIGS)
@pytest.mark.parametrize("name", ["nope", "", "Report"])
def test_an_unknown_preset_is_rejected(cls: type, name: str) -> None:
    presets = ", ".join(PRESETS[cls])
    with pytest.raises(
        ConfigError, match=f"^preset {name!r} is unknown; (choose from {presets}|did you mean report.)$"
    ):
        choose_preset(PRESETS[cls], name)


@pytest.mark.parametrize("cls", CONFIGS)
def test_presets_are_immutable(cls: type) -> None:
    with pytest.raises(TypeError, match="does not support item assignment"):
        PRESETS[cls]["original"] = cls(epochs=1)


@pytest.mark.parametrize("cls", CONFIGS)
def test_override_changes_only_the_given_settings(cls: type) -> None:
    before = cls()
    after = override(before, {"epochs": 3, "seed": 9})
    assert (after.epochs, after.seed) == (3, 9)
    assert dataclasses.replace(after, epochs=before.epochs, seed=before.seed) == before
    assert before == cls()
    assert override(before, {}) == before


@pytest.mark.parametrize("cls", CONFIGS)
def test_override_rejects_an_unknown_name(cls: type) -> None:
    with pytest.raises(ConfigError, match=r"^epoch is unknown; did you mean epochs\?$"):
        override(cls(), {"epoch": 3})


@pytest.mark.parametrize("cls", CONFIGS)
def test_from_mapping_rejects_a_missing_key(cls: type) -> None:
    for name in BAD_VALUES[cls]:
        values = dataclasses.asdict(cls())
        del values[name]
        with pytest.raises(ConfigError, match=f"^{name} is missing; the run folder was damaged"):
            from_mapping(cls, values)


@pytest.mark.parametrize("cls", CONFIGS)
def test_from_mapping_rejects_an_unknown_key(cls: type) -> None:
    values = {**dataclasses.asdict(cls()), "warmup": 3}
    with pytest.raises(ConfigError, match=r"^warmup is unknown; .* another version"):
        from_mapping(cls, values)


@pytest.mark.parametrize("cls", CONFIGS)
def test_from_mapping_validates_the_values(cls: type) -> None:
    with pytest.raises(ConfigError, match=r"^epochs must be an integer, got '3'; the run folder was damaged"):
        from_mapping(cls, {**dataclasses.asdict(cls()), "epochs": "3"})


INVALID_COMBINATIONS: list[tuple[dict[str, Any], str]] = [
    ({"task": "temporal-order", "length": 9}, "length must be at least 10, got 9"),
    ({"task": "row-mnist"}, "length must be 28 for the task row-mnist, got 5"),
    ({"task": "row-mnist", "length": 27}, "length must be 28 for the task row-mnist, got 27"),
    ({"task": "pixel-mnist", "length": 28}, "length must be 49 or 98 or 196 or 392 or 784 for the task pixel-mnist"),
    (
        {"task": "adding", "encoding": "onehot"},
        "encoding must be scalar for the task adding, whose input is real-valued",
    ),
    ({"task": "row-mnist", "length": 28, "encoding": "onehot"}, "encoding must be scalar for the task row-mnist"),
    (
        {"task": "row-mnist", "length": 28, "curriculum": True},
        "curriculum must be false for the task row-mnist, .* got True",
    ),
    (
        {"task": "temporal-order", "length": 50, "curriculum": True, "start_length": 9},
        "start_length must be at least 10, got 9",
    ),
    (
        {"task": "pixel-mnist", "length": 784, "curriculum": True},
        "start_length 10 with length_factor 2.0 gives length 10, which the task pixel-mnist .*; give start_length 49",
    ),
    (
        {"task": "pixel-mnist", "length": 784, "curriculum": True, "start_length": 49, "length_factor": 3.0},
        "start_length 49 with length_factor 3.0 gives length 147, which the task pixel-mnist .*; give start_length 49",
    ),
    ({"cell": "rnn", "num_layers": 2}, "cell rnn supports one layer and one direction; leave out num_layers"),
    ({"cell": "rnn", "precision": "bf16"}, "cell rnn supports only the defaults of these; leave out"),
    ({"data": "a.csv"}, "data must be None for the task palindrome, got 'a.csv'"),
    ({"task": "custom"}, "data must be a file for the task custom, got None; give one with --data"),
]


@pytest.mark.parametrize(("values", "message"), INVALID_COMBINATIONS)
def test_invalid_combinations_are_rejected(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}") as caught:
        LSTMConfig(**values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"task": "temporal-order", "length": 10},
        {"task": "temporal-order", "length": 10, "curriculum": True},
        {"task": "row-mnist", "length": 28},
        {"task": "pixel-mnist", "length": 49},
        {"task": "pixel-mnist", "length": 784, "curriculum": True, "start_length": 49, "length_factor": 4.0},
        {"task": "pixel-mnist", "length": 784, "start_length": 10},
        {"task": "copy", "length": 2, "encoding": "scalar"},
        {"task": "parity", "length": 2, "curriculum": True, "start_length": 2},
    ],
)
def test_valid_combinations_are_accepted(values: dict[str, Any]) -> None:
    assert LSTMConfig(**values).lengths[-1] == values["length"]


def test_the_learning_rate_is_constant_or_decays_along_a_cosine() -> None:
    constant, cosine = LSTMConfig(learning_rate=0.3), LSTMConfig(learning_rate=0.3, lr_schedule="cosine")
    assert [constant.learning_rate_at(progress, 5) for progress in (0.0, 0.4, 1.0)] == [0.3, 0.3, 0.3]
    rates = [cosine.learning_rate_at(progress, 5) for progress in (0.0, 1 / 3, 0.5, 2 / 3, 1.0)]
    assert rates == pytest.approx([0.3, 0.225, 0.15, 0.075, 0.0])


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(GANConfig)])
def test_the_docs_say_when_to_change_a_setting_of_the_gan(name: str) -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference" / "gan-training.md").read_text(encoding="utf-8")
    rows = [row for row in page.splitlines() if row.startswith("| `--") and f"`--{name.replace('_', '-')}" in row]
    assert rows
