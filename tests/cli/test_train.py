"""Training commands: settings from options, files and presets, what they print, and how runs go on."""

import contextlib
import dataclasses
import io
import json
import re
import shlex
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from reviver.cli import main
from reviver.cli.app import parse
from reviver.runs.folder import RunFolder
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.settings.presets import PRESETS
from tests.cli.tiny import TINY_GAN, TINY_LSTM, Run
from tests.lstm_runs import LENGTHS


def settings_of(arguments: str) -> Any:
    """Return the settings that a training command trains with."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main([*shlex.split(arguments), "--print-config"]) == 0
    config = {"lstm": LSTMConfig, "gan": GANConfig}[arguments.split(maxsplit=1)[0]]
    return config(**tomllib.loads(printed.getvalue()))


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, presets in PRESETS.items() for name in presets])
def test_every_preset_is_that_of_python_is_printed_read_back_and_trains(
    kind: str, name: str, run: Run, tmp_path: Path
) -> None:
    preset = PRESETS[kind][name]
    path = tmp_path / "settings.toml"
    path.write_text(run(f"{kind} train --preset {name} --print-config").out)
    assert settings_of(f"{kind} train --preset {name}") == settings_of(f"{kind} train --config {path}") == preset
    if name == {"lstm": "original", "gan": "best"}[kind]:
        assert settings_of(f"{kind} train") == preset
    changes: dict[str, Any] = {"epochs": 1, "data": "tiny.npz", "image_size": 8, "batch_norm_samples": 9}
    if kind == "lstm":
        changes = {"epochs": 1, "hidden_size": 8, "length": LENGTHS.get(preset.task, 3), "data_size": 200}
        if name == "series":  # which trains on a file, or on a task that is named
            changes["task"] = "parity"
    options = " ".join(f"--{setting} {value}" for setting, value in changes.items())
    result = run(f"{kind} train --preset={name} {options} --out {tmp_path / 'run'} --json")
    assert result.code == 0, result.err
    config = RunFolder.open(tmp_path / "run", kind).record["config"]
    assert config == dataclasses.asdict(preset) | changes


def test_the_folder_of_a_run_is_new_and_names_its_kind_preset_differences_and_seed(
    tmp_path: Path, workspace: Path
) -> None:
    lstm = f"lstm train --preset onehot {TINY_LSTM} --seed 3 --bidirectional --quiet"
    with contextlib.chdir(tmp_path):
        shutil.copy(workspace / "tiny.npz", "tiny.npz")
        longer = lstm.replace("--epochs 2", "--epochs 3 --resume")
        for arguments in (lstm, lstm, longer, f"gan train {TINY_GAN} --quiet"):
            assert main(shlex.split(arguments)) == 0
        name = "lstm-onehot-length3-hidden-size8-bidirectional-seed3"
        names = (name, f"{name}-2", "gan-best-data-tiny-image-size8-latent-size8-batch-size16-ed9c86-seed0")
        assert [len(RunFolder.open(f"runs/{name}").read_metrics()) for name in names] == [2, 3, 2]
        assert len(list(Path("runs").iterdir())) == 3


def test_the_command_is_recorded_and_options_accept_dashes_and_underscores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [*TINY_LSTM.split(), "--hidden_dropout", "0.25", "--batch-size=7", "--out", str(tmp_path / "a run")]
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/reviver", "lstm", "train", *arguments])
    assert main() == 0
    record = RunFolder.open(tmp_path / "a run").record
    assert shlex.split(record["command"]) == ["reviver", "lstm", "train", *arguments]
    assert (record["config"]["hidden_dropout"], record["config"]["batch_size"]) == (0.25, 7)


def test_options_override_the_file_and_that_overrides_the_preset(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('preset = "recall"\nout = "there"\nlength = 500\nmax_norm = 2\ncurriculum = true\n')
    recall = PRESETS["lstm"]["recall"]
    assert settings_of(f"lstm train --config {path}") == dataclasses.replace(recall, length=500, max_norm=2.0)
    assert parse(shlex.split(f"lstm train --config {path}"))[1].arguments["run"].out == "there"
    settings = settings_of(f"lstm train --config {path} --length 7 --no-curriculum")
    assert settings == dataclasses.replace(recall, length=7, max_norm=2.0, curriculum=False)
    settings = settings_of(f"lstm train --preset onehot --config {path}")
    assert settings == dataclasses.replace(PRESETS["lstm"]["onehot"], length=500, max_norm=2.0, curriculum=True)


def test_progress_time_and_advice_are_on_stderr_and_can_be_silenced(run: Run, tmp_path: Path) -> None:
    loud = run(f"lstm train {TINY_LSTM} --cell rnn --out {tmp_path / 'a run'}".replace("a run", "'a run'"))
    states, waiting = loud.err.splitlines()[:2]
    assert states.startswith("cell rnn: states h; matrices on x W; ")
    assert waiting == "the time that is left will be shown after the first updates"
    assert re.search(r"RNN T=3: 2/2 epochs  validation accuracy \d+\.\d%, train loss", loud.err)
    advice = loud.err.partition("next:\n")[2].splitlines()
    assert len(advice) == 3
    for line in advice:
        words = shlex.split(line)
        assert words[0] == "reviver"
        parse(words[1:])
        assert str(tmp_path / "a run") in words
    assert "train loss" not in loud.out
    quiet = run(f"gan train {TINY_GAN} --out {tmp_path / 'quiet'} --quiet")
    assert quiet.err == ""


def test_json_of_training_and_of_a_run_resumed_without_repeating_its_settings(run: Run, tmp_path: Path) -> None:
    for train in (f"lstm train {TINY_LSTM}", f"gan train {TINY_GAN}"):
        kind = train.split()[0]
        out = tmp_path / kind
        assert run(f"{train} --out {out}").code == 0
        result = run(f"{kind} train --epochs 3 --out {out} --resume --json")
        assert (result.code, "next:" in result.err) == (0, False)
        metrics = RunFolder.open(out).read_metrics()
        found = json.loads(result.out)
        assert (found["run"], found["last"], metrics[-1]["epoch"]) == (str(out), metrics[-1], 3)
        if kind == "lstm":
            accuracies = [record["validation_accuracy"] for record in metrics]
            assert found["best"]["validation_accuracy"] == max(accuracies)
            assert found["mean_of_last"]["validation_accuracy"] == pytest.approx(sum(accuracies) / 3)
