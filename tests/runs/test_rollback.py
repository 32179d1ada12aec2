"""With `on_nan="rollback"`, a run that diverges returns to its last checkpoint, with a lower learning rate."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_post_hook

from reviver.cli import main
from reviver.errors import DivergenceError, OutOfMemory
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.folder import RunFolder
from tests.contents import contents, tensorboard_values
from tests.lstm_runs import TINY, crash
from tests.runs.small import GAN, train

ROLLBACK = replace(TINY, on_nan="rollback", max_rollbacks=2)
"""20 updates, 5 an epoch, with a learning rate of 0.001; checkpoints after 10 and 20."""
ONE_ROLLBACK = [{"step": 14, "quantity": "train loss", "back_to": 10}]


@contextmanager
def diverging(
    at: int, limit: float = 0.0, after: Callable[[int, float], None] = lambda number, rate: None
) -> Iterator[list[float]]:
    """Set a weight of an LSTM or a generator to NaN at update `at` if the learning rate is above `limit`.

    Yields:
        The list of learning rates, one per update; `after` is called with the number and the rate of each.
    """
    rates: list[float] = []

    def spoil(optimizer: torch.optim.Optimizer, *_: object) -> None:
        bias = optimizer.param_groups[0]["params"][-1]
        if len(bias) == 1:  # of the discriminator
            return
        rates.append(optimizer.param_groups[0]["lr"])
        if optimizer.state[bias]["step"] == at and rates[-1] > limit:
            with torch.no_grad():
                bias[0] = math.nan
        after(len(rates), rates[-1])

    hook = register_optimizer_step_post_hook(spoil)
    try:
        yield rates
    finally:
        hook.remove()


@pytest.fixture(scope="module")
def rolled_back(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    with diverging(13, 6e-4):
        return train(ROLLBACK, tmp_path_factory.mktemp("rolled_back") / "run")


def test_rollback_restores_the_last_checkpoint_and_halves_the_learning_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rolled_back: RunFolder
) -> None:
    values = {name: value for name, value in vars(ROLLBACK).items() if value is not None and type(value) is not bool}
    options = [f"--{name}={value}" for name, value in values.items()]
    with diverging(13, 6e-4) as rates:
        assert main(["lstm", "train", *options, "--out", str(tmp_path / "run")]) == 0
    folder = RunFolder.open(tmp_path / "run")
    assert (folder.status, folder.record["rollbacks"]) == ("finished", ONE_ROLLBACK)
    assert rates == [1e-3] * 15 + [5e-4] * 10, "the epoch that diverged must be repeated"
    assert [record["step"] for record in folder.read_metrics()] == [5, 10, 15, 20]
    assert all(math.isfinite(record["train_loss"]) for record in folder.read_metrics())
    captured = capsys.readouterr()
    assert "step 14: train loss was not finite; returned to step 10 with half the learning rate" in captured.out
    warning = (
        "step 14: train loss is not finite; went back to step 10, with 0.5 times the learning rate (rollback 1 of 2)"
    )
    assert warning in captured.err
    assert contents(folder.path) == contents(rolled_back.path), "it is deterministic"


@pytest.mark.parametrize(("limit", "attempts"), [(1, "1 rollback"), (2, "2 rollbacks")])
def test_max_rollbacks_limits_the_rollbacks(limit: int, attempts: str, tmp_path: Path) -> None:
    message = f"^step 14: train loss is nan; {attempts} did not help; the last good checkpoint is kept; try a --learn"
    with diverging(13) as rates, pytest.raises(DivergenceError, match=message):
        train(replace(ROLLBACK, max_rollbacks=limit), tmp_path / "run")
    assert rates == [*[1e-3] * 15, *[5e-4] * 5, *[2.5e-4] * 5][: 15 + 5 * limit]
    folder = RunFolder.open(tmp_path / "run")
    assert (folder.status, folder.record["rollbacks"]) == ("failed", ONE_ROLLBACK * limit)
    assert find_checkpoint(folder.checkpoints, "last").stem == "step-000010"


@pytest.mark.parametrize("call", [14, 17])
def test_crash_before_or_after_a_rollback_resumes_bit_for_bit(
    call: int, tmp_path: Path, rolled_back: RunFolder
) -> None:
    with (
        diverging(13, 6e-4, lambda number, _: crash(None) if number == call else None),
        pytest.raises(OutOfMemory),
    ):
        train(ROLLBACK, tmp_path / "run")
    with diverging(13, 6e-4):
        folder = train(ROLLBACK, tmp_path / "run")
    assert contents(folder.path) == contents(rolled_back.path)


def test_diverged_run_can_be_resumed_with_rollbacks(tmp_path: Path) -> None:
    with diverging(13, 6e-4):
        with pytest.raises(DivergenceError, match="step 14: train loss is nan; the last good checkpoint is kept"):
            train(TINY, tmp_path / "run")
        folder = train(ROLLBACK, tmp_path / "run")
    assert (folder.status, folder.record["rollbacks"]) == ("finished", ONE_ROLLBACK)
    assert folder.record["config"]["on_nan"] == "rollback"


@pytest.mark.parametrize(
    ("at", "quantity"), [(2, "generator loss"), (8, "generator loss"), (12, "weight of the generator")]
)
@pytest.mark.usefixtures("images")
def test_gan_rolls_back_after_a_non_finite_loss_or_weight(at: int, quantity: str) -> None:
    with diverging(at, 1.5e-4) as rates:
        folder = train(replace(GAN, ema=0.9, on_nan="rollback"), "run")
    last_good = (at - 1) // 3 * 3
    (rollback,) = folder.record["rollbacks"]
    assert (rollback["quantity"], rollback["back_to"]) == (quantity, last_good)
    assert rates == [2e-4] * (last_good + 3) + [1e-4] * (12 - last_good)
    assert [record["step"] for record in folder.read_metrics()] == [2, 4, 6, 8, 10, 12]
    for path in folder.snapshot_files.values():
        assert all(tensor.isfinite().all() for tensor in load_file(path).values()), "none of NaN"
    samples = [step for step, tag, _ in tensorboard_values(folder.path / "tensorboard") if tag == "samples"]
    assert samples == sorted({*samples} | {0, 6, 12}), "each grid once, also the first"
