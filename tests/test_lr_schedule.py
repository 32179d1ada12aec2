"""Learning-rate schedules: values computed by hand."""

import pytest

from reviver.settings.fields import override
from reviver.settings.gan import GANConfig
from reviver.settings.lr_schedule import lr_scale
from reviver.train.gan.training import learning_rate


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
def test_scale_at_the_start_a_quarter_the_middle_and_the_end(
    schedule: str, final_ratio: float, expected: tuple[float, ...]
) -> None:
    scales = [lr_scale(schedule, progress, final_ratio) for progress in (0.0, 0.25, 0.5, 1.0)]
    assert scales == pytest.approx(expected, abs=1e-15)


def test_the_learning_rate_of_a_gan_follows_the_schedule() -> None:
    config = GANConfig(learning_rate=1e-3)
    assert learning_rate(config, 0.7) == 1e-3
    linear = override(config, {"lr_schedule": "linear"})
    assert learning_rate(linear, 0.75) == pytest.approx(0.25e-3)
    half = override(linear, {"final_lr_ratio": 0.5})
    assert learning_rate(half, 0.75) == pytest.approx(0.625e-3)
    cosine = override(config, {"lr_schedule": "cosine"})
    assert learning_rate(cosine, 0.5) == pytest.approx(0.5e-3)
    assert learning_rate(cosine, 1.0) == pytest.approx(0.0, abs=1e-12)
