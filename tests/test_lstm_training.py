"""Training of the LSTM: it learns, it is deterministic, and an interrupted run resumes bit for bit."""

import hashlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reviver.data.tasks.build import build_task
from reviver.data.tasks.palindromes import PalindromeTask, make_palindromes
from reviver.errors import ConfigError, DeviceError, DivergenceError, Interrupted, OutOfMemory, RunFolderError
from reviver.lstm import scoring
from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.scoring import score
from reviver.runs.checkpoint import find_checkpoint, load_networks
from reviver.runs.folder import RunFolder
from reviver.settings.fields import override
from reviver.settings.lstm import LSTMConfig
from reviver.settings.lstm_presets import PRESETS
from reviver.train.lstm import training
from reviver.train.lstm.training import build_network, train, train_step

TINY = LSTMConfig(length=3, encoding="onehot", hidden_size=8, epochs=4, batch_size=16, checkpoint_every=2)
"""20 updates, 5 an epoch; checkpoints after 10 and 20."""

CHANCE = 0.1


def fingerprint(folder: Path | RunFolder) -> dict[str, Any]:
    """Return digests of the checkpoints of a run, its state and its metrics, without the times."""
    path = folder.path if isinstance(folder, RunFolder) else folder
    checkpoints = path / "checkpoints"

    def digest(file_path: Path) -> str:
        return hashlib.sha256(file_path.read_bytes()).hexdigest()

    last, best = find_checkpoint(checkpoints, "last"), find_checkpoint(checkpoints, "best")
    return {
        "last": last.name,
        "best": best.name,
        "networks": digest(last / "networks.safetensors"),
        "training": digest(last / "training.safetensors"),
        "best networks": digest(best / "networks.safetensors"),
        "state": {**json.loads((last / "state.json").read_text()), "seconds": None},
        "metrics": [{**row, "seconds": None} for row in RunFolder.open(path).read_metrics()],
        "config": RunFolder.open(path).record["config"],
    }


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, action: Callable[[LSTMClassifier], None]) -> None:
    """Call `action` just before update `step`, counted from 1, of the next call of `train`."""
    calls = 0

    def counting(network: LSTMClassifier, *arguments: Any, **keywords: Any) -> training.StepResult:
        nonlocal calls
        calls += 1
        if calls == step:
            action(network)
        return train_step(network, *arguments, **keywords)

    monkeypatch.setattr(training, "train_step", counting)


def crash(_: LSTMClassifier) -> None:
    raise MemoryError("crash")


def interrupt(_: LSTMClassifier) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def terminate(_: LSTMClassifier) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = train(TINY, tmp_path_factory.mktemp("uninterrupted") / "run")
    assert folder.status == "finished"
    return fingerprint(folder)


# One update


def first_batch(config: LSTMConfig) -> tuple[Tensor, Tensor]:
    part = PalindromeTask(config).split.train[: config.batch_size]
    return part.encode(), part.targets


@pytest.mark.parametrize(("max_norm", "clipped"), [(1e-3, True), (1e3, False)])
def test_gradients_are_clipped_between_backward_and_step(max_norm: float, clipped: bool) -> None:
    """Plain descent with rate 1 moves the weights by exactly the gradient that the optimizer receives."""
    network = build_network(LSTMConfig(), build_task(LSTMConfig())).double()
    x, classes = first_batch(LSTMConfig())
    x = x.double()
    network.eval()  # no dropout, so that the gradient below is that of the update
    gradients = torch.autograd.grad(nn.functional.cross_entropy(network(x), classes), list(network.parameters()))
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    assert (norm > max_norm) == clipped
    before = [parameter.detach().clone() for parameter in network.parameters()]
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)  # of an earlier backward pass
    train_step(network, torch.optim.SGD(network.parameters(), lr=1.0), x, classes, max_norm=max_norm)
    scale = max_norm / norm if clipped else 1.0
    for old, parameter, gradient in zip(before, network.parameters(), gradients, strict=True):
        torch.testing.assert_close(old - parameter, scale * gradient, rtol=1e-5, atol=1e-12)


def test_an_update_returns_the_metrics_of_its_batch_before_it_with_dropout() -> None:
    network = build_network(LSTMConfig(), build_task(LSTMConfig()))
    x, classes = first_batch(LSTMConfig())
    with torch.no_grad():
        logits = network(x, rng=torch.Generator().manual_seed(3))
    optimizer = torch.optim.RMSprop(network.parameters())
    result = train_step(network, optimizer, x, classes, max_norm=10.0, rng=torch.Generator().manual_seed(3))
    torch.testing.assert_close(result.loss, nn.functional.cross_entropy(logits, classes))
    assert result.correct == (logits.argmax(1) == classes).sum()
    assert not result.loss.requires_grad


def test_the_first_losses_of_the_report_preset_equal_the_golden_file(
    golden: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tolerance allows the rounding of another processor, but no change of the mathematics or the seeds."""
    losses = []

    def recording(*arguments: Any, **keywords: Any) -> training.StepResult:
        result = train_step(*arguments, **keywords)
        losses.append(result.loss.item())
        return result

    monkeypatch.setattr(training, "train_step", recording)
    folder = train(override(PRESETS["original"], {"epochs": 2}), tmp_path / "run")
    assert len(losses) == 14
    metrics = folder.read_metrics()
    values = {
        "losses": losses,
        **{key: [row[key] for row in metrics] for key in ("train_loss", "validation_loss")},
    }
    golden("lstm_report", values, relative=1e-4)


# Score


@pytest.mark.parametrize("is_training", [True, False])
def test_score_is_the_mean_over_all_sequences_without_dropout(
    is_training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "MAX_EVALUATION_BATCH", 64)  # 1000 sequences: the last batch is a part of one
    network = build_network(LSTMConfig(hidden_size=16), PalindromeTask(LSTMConfig())).train(is_training)
    data = make_palindromes(5, 1000, torch.Generator())
    measured = score(network, data, "class")
    assert network.training == is_training
    network.eval()
    logits = network(data.encode())
    assert measured.loss == pytest.approx(nn.functional.cross_entropy(logits, data.targets).item(), rel=1e-5)
    assert measured.accuracy == (logits.argmax(1) == data.targets).sum().item() / 1000
    assert measured.size == 1000


# Runs


def test_it_learns_with_onehot_digits(tmp_path: Path) -> None:
    folder = train(override(PRESETS["onehot"], {"epochs": 6, "learning_rate": 3e-3}), tmp_path / "run")
    metrics = folder.read_metrics()
    assert metrics[0]["validation_accuracy"] < 0.9
    assert metrics[-1]["validation_accuracy"] >= 0.99
    assert metrics[-1]["validation_loss"] < 0.1


def test_it_learns_with_scalar_digits(tmp_path: Path) -> None:
    folder = train(override(PRESETS["original"], {"epochs": 12}), tmp_path / "run")
    metrics = folder.read_metrics()
    assert metrics[-1]["validation_accuracy"] > 3 * CHANCE
    assert metrics[-1]["train_loss"] < metrics[0]["train_loss"] - 0.3


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains(name: str, tmp_path: Path) -> None:
    config = override(PRESETS[name], {"epochs": 1, "hidden_size": 4, "data_size": 40, "train_fraction": 0.8})
    folder = train(config, tmp_path / "run")
    (row,) = folder.read_metrics()
    for part, size in (("train", config.train_fraction * 40), ("validation", (1 - config.train_fraction) * 40)):
        num_correct = row[f"{part}_accuracy"] * round(size)
        assert num_correct == pytest.approx(round(num_correct), abs=1e-5), (
            "the accuracy is a fraction of the number of sequences"
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"num_layers": 2, "dropout": 0.3},
        {"bidirectional": True},
        {"num_layers": 2, "bidirectional": True},
        {"batch_size": 1, "data_size": 12},
        {"batch_size": 10_000},
        {"length": 2, "hidden_dropout": 0.0},
        {"length": 200, "data_size": 20},
    ],
)
def test_every_kind_of_network_and_data_trains(changes: dict[str, Any], tmp_path: Path) -> None:
    folder = train(override(TINY, {"epochs": 1, **changes}), tmp_path / "run")
    assert [row["epoch"] for row in folder.read_metrics()] == [1]


def test_a_run_writes_the_metrics_of_each_epoch_and_its_record(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    metrics = uninterrupted["metrics"]
    assert [(row["epoch"], row["step"]) for row in metrics] == [(1, 5), (2, 10), (3, 15), (4, 20)]
    for row in metrics:
        assert set(row) == {
            "step", "epoch", "sequences", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "seconds",
        }  # fmt: skip
    folder = RunFolder.open(train(TINY, tmp_path / "run").path, "lstm")
    assert folder.record["status"] == "finished"
    assert folder.record["config"]["length"] == 3
    assert folder.record["seconds"] > 0
    assert any((folder.path / "tensorboard").iterdir())


@pytest.mark.parametrize("which", ["last", "best"])
def test_the_score_of_a_checkpoint_equals_the_metrics(which: str, tmp_path: Path) -> None:
    folder = train(override(TINY, {"epochs": 5, "learning_rate": 0.02}), tmp_path / "run")
    metrics = folder.read_metrics()
    expected = metrics[-1]
    if which == "best":
        expected = max(metrics, key=lambda row: (row["validation_accuracy"], -row["validation_loss"]))
    path = find_checkpoint(folder.checkpoints, which)
    assert path.name == f"step-{expected['step']:06d}"
    network = LSTMClassifier(10, 8, 10, hidden_dropout=0.5)
    load_networks(path, {"network": network})
    measured = score(network, PalindromeTask(TINY).split.validation, "class")
    assert measured.accuracy == expected["validation_accuracy"]
    assert measured.loss == pytest.approx(expected["validation_loss"], rel=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_run_twice_gives_the_same_bits(threads: int, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        torch.manual_seed(1)
        first = train(override(PRESETS["original"], {"epochs": 2}), tmp_path / "first")
        torch.manual_seed(2)  # the default generator of torch is not used
        second = train(override(PRESETS["original"], {"epochs": 2}), tmp_path / "second")
    finally:
        torch.set_num_threads(before)
    assert fingerprint(first) == fingerprint(second)


def test_another_seed_gives_another_run(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    other = fingerprint(train(override(TINY, {"seed": 1}), tmp_path / "run"))
    assert other["networks"] != uninterrupted["networks"]
    assert other["metrics"] != uninterrupted["metrics"]


def test_training_outside_the_main_thread(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    """A thread of a notebook cannot handle signals, but it can train."""
    thread = threading.Thread(target=train, args=(TINY, tmp_path / "run"))
    thread.start()
    thread.join()
    assert fingerprint(tmp_path / "run") == uninterrupted


# Interruptions


STEPS = [1, 5, 10, 11, 13, 20]
"""Of 20 updates: the first and the last, within an epoch and at its end, around the checkpoint after update 10."""


@pytest.mark.parametrize("step", STEPS)
def test_a_crashed_run_resumes_to_the_same_bits(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, Any]
) -> None:
    at_step(monkeypatch, step, crash)
    message = (
        rf"^step {step}: memory ran out \(crash\); what was saved is kept: free some memory and go on with --resume, or"
    )
    with pytest.raises(OutOfMemory, match=message) as caught:
        train(TINY, tmp_path / "run")
    folder = RunFolder.open(tmp_path / "run")
    assert (folder.status, folder.record["error"]) == ("failed", str(caught.value))
    monkeypatch.undo()
    resumed = train(TINY, tmp_path / "run", resume=True)
    assert fingerprint(resumed) == uninterrupted
    assert resumed.status == "finished"
    assert "error" not in resumed.record


@pytest.mark.parametrize(
    ("step", "action", "name", "exit_code"),
    [*((step, interrupt, "SIGINT", 130) for step in STEPS), (12, terminate, "SIGTERM", 143)],
)
def test_a_signal_stops_the_run_after_saving_and_it_resumes_to_the_same_bits(
    step: int,
    action: Callable[[LSTMClassifier], None],
    name: str,
    exit_code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    uninterrupted: dict[str, Any],
) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    at_step(monkeypatch, step, action)
    message = f"stopped at step {step} by {name} and saved; go on with the same command and --resume"
    with pytest.raises(Interrupted, match=message) as caught:
        train(TINY, tmp_path / "run")
    assert caught.value.exit_code == exit_code
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    folder = RunFolder.open(tmp_path / "run")
    assert folder.status == "interrupted"
    assert find_checkpoint(folder.checkpoints, "last").name == f"step-{step:06d}"
    monkeypatch.undo()
    assert fingerprint(train(TINY, tmp_path / "run", resume=True)) == uninterrupted


def test_a_run_stopped_after_every_step_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, Any]
) -> None:
    for step in range(1, 21):
        at_step(monkeypatch, 1, interrupt)
        with pytest.raises(Interrupted, match=f"stopped at step {step} "):
            train(TINY, tmp_path / "run", resume=step > 1)
    monkeypatch.undo()
    assert fingerprint(train(TINY, tmp_path / "run", resume=True)) == uninterrupted


def test_a_second_signal_ends_the_run_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, Any]
) -> None:
    def twice(network: LSTMClassifier) -> None:
        interrupt(network)
        interrupt(network)

    at_step(monkeypatch, 13, twice)
    with pytest.raises(KeyboardInterrupt):
        train(TINY, tmp_path / "run")
    monkeypatch.undo()
    assert find_checkpoint(tmp_path / "run" / "checkpoints", "last").name == "step-000010"
    assert fingerprint(train(TINY, tmp_path / "run", resume=True)) == uninterrupted


KILLED_RUN = """
import os, signal, sys
import torch
from reviver.lstm import training
from reviver.settings.lstm import LSTMConfig

torch.set_num_threads(1)
calls, train_step = 0, training.train_step

def kill_at_17(*arguments, **keywords):
    global calls
    calls += 1
    if calls == 17:
        os.kill(os.getpid(), signal.SIGKILL)
    return train_step(*arguments, **keywords)

training.train_step = kill_at_17
training.train(LSTMConfig(**CONFIG), sys.argv[1])
"""


def test_a_killed_process_leaves_a_run_that_resumes_to_the_same_bits(
    tmp_path: Path, uninterrupted: dict[str, Any]
) -> None:
    code = KILLED_RUN.replace("CONFIG", repr(uninterrupted["config"]))
    process = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], check=False, capture_output=True)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    folder = RunFolder.open(tmp_path / "run")
    assert folder.status == "running", "a killed process cannot write its status"
    # A power failure may also leave these.
    with folder.records_path("metrics").open("a") as file:
        file.write('{"step": 20, "epo')
    torn = folder.checkpoints / ".step-000020.part"
    torn.mkdir(parents=True)  # the thread that writes the first checkpoint may not have started
    (torn / "networks.safetensors").write_bytes(b"\0")
    assert fingerprint(train(TINY, tmp_path / "run", resume=True)) == uninterrupted
    assert not torn.exists()


# Resuming


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    train(TINY, tmp_path / "run")
    assert fingerprint(train(TINY, tmp_path / "run", resume=True)) == uninterrupted


def test_a_finished_run_continues_for_more_epochs(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    train(override(TINY, {"epochs": 2}), tmp_path / "run")
    assert fingerprint(train(TINY, tmp_path / "run", resume=True)) == uninterrupted


@pytest.mark.parametrize("changes", [{"epochs": 3}, {"seed": 1}, {"learning_rate": 0.5}, {"hidden_size": 9}])
def test_resuming_with_other_settings_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    folder = train(TINY, tmp_path / "run")
    before = fingerprint(folder)
    ((name, value),) = changes.items()
    with pytest.raises(ConfigError, match=f"^{name} is .* in this run, got {value}; leave it out to resume"):
        train(override(TINY, changes), tmp_path / "run", resume=True)
    assert fingerprint(folder) == before


def test_resuming_a_missing_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="run: does not exist; give the folder that a train command wrote"):
        train(TINY, tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_an_existing_run_is_never_overwritten(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    train(TINY, tmp_path / "run")
    with pytest.raises(RunFolderError, match="run: exists already and is never overwritten; choose another --out"):
        train(override(TINY, {"seed": 3}), tmp_path / "run")
    assert fingerprint(tmp_path / "run") == uninterrupted


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_device_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(
        DeviceError, match="device 'cuda' is not available on this machine; use --device auto or --device cpu"
    ):
        train(TINY, tmp_path / "run", device="cuda")
    assert not (tmp_path / "run").exists()


# Divergence


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(
    value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poison(network: LSTMClassifier) -> None:
        with torch.no_grad():
            network.b_out[:5] = value

    at_step(monkeypatch, 13, poison)
    value_text = "nan" if math.isnan(value) else "inf"
    message = (
        rf"^step 13: train loss is {value_text}; the last good checkpoint is kept; "
        rf"try a --learning-rate lower than 0\.001 in a new --out$"
    )
    with pytest.raises(DivergenceError, match=message) as caught:
        train(TINY, tmp_path / "run")
    assert caught.value.exit_code == 1
    folder = RunFolder.open(tmp_path / "run")
    assert (folder.status, folder.record["error"]) == ("failed", str(caught.value))
    path = find_checkpoint(folder.checkpoints, "last")
    assert path.name == "step-000010"
    network = LSTMClassifier(10, 8, 10)
    load_networks(path, {"network": network})
    assert all(parameter.isfinite().all() for parameter in network.parameters())
    assert [row["step"] for row in folder.read_metrics()] == [5, 10]


def test_a_run_that_is_stopped_after_diverging_does_not_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def poison_and_stop(network: LSTMClassifier) -> None:
        interrupt(network)
        with torch.no_grad():
            network.b_out.fill_(float("nan"))

    at_step(monkeypatch, 13, poison_and_stop)
    with pytest.raises(DivergenceError, match="step 13: train loss is nan"):
        train(TINY, tmp_path / "run")
    assert find_checkpoint(tmp_path / "run" / "checkpoints", "last").name == "step-000010"


@pytest.mark.parametrize("rate", [1e36, 1e38])
def test_a_learning_rate_that_diverges_within_one_update_is_reported(rate: float, tmp_path: Path) -> None:
    config = LSTMConfig(length=2, epochs=3, checkpoint_every=1, learning_rate=rate)  # one update per epoch
    message = (
        rf"^step 1: validation loss is (nan|inf); no checkpoint was saved yet; .* lower than {re.escape(str(rate))} "
    )
    with pytest.raises(DivergenceError, match=message):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints" / "last.json").exists()
