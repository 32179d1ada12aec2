"""Settings of tiny runs with a curriculum, carried states or early stopping."""

import pytest

from reviver.settings.fields import override
from reviver.settings.lstm import LSTMConfig

CURRICULUM = LSTMConfig(
    curriculum=True,
    length=9,
    start_length=3,
    length_factor=1.5,
    threshold=0.3,
    encoding="onehot",
    hidden_size=16,
    data_size=400,
    batch_size=32,
    batch_steps=160,
    learning_rate=1e-2,
    epochs=40,
    checkpoint_every=3,
)


@pytest.fixture(scope="session")
def curriculum_configs() -> dict[str, LSTMConfig]:
    """Return settings by name.

    curriculum: lengths 3, 4, 7 and 9, with batches of 32, 32, 22 and 17;
    jumping: lengths 3, 4, 7, 10, 15, 23, 34 and 40, of which a jump goes on three;
    truncated: palindromes five times as long as the gradient reaches;
    patient: 5 updates an epoch, early stopping; it learns, and then its accuracy moves up and down.
    """
    truncated = {"length": 40, "start_length": 5, "length_factor": 2.0, "bptt_steps": 8, "hidden_dropout": 0.1}
    truncated |= {"threshold": 0.9, "data_size": 700, "batch_steps": 200_000, "max_norm": 1.0, "epochs": 60}
    patient = LSTMConfig(length=3, encoding="onehot", hidden_size=8, epochs=60, patience=3, batch_size=16)
    return {
        "curriculum": CURRICULUM,
        "jumping": override(CURRICULUM, {"length": 40, "jump_factor": 4.0, "threshold": 0.5, "epochs": 60}),
        "truncated": override(CURRICULUM, truncated),
        "patient": override(patient, {"checkpoint_every": 4, "learning_rate": 0.1}),
    }
