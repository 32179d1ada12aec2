"""Sweep files and `reviver sweep`: axes, wrong files, results, failures, and sweeps that are interrupted or killed."""

import json
import os
import re
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from reviver.cli import main
from reviver.cli.sweep import build_trials, sweep
from reviver.errors import ConfigError
from reviver.runs.folder import RunFolder
from reviver.sweep.spec import SweepFile, points_of
from tests.sweep.trials import wait_until

TINY = 'command = "lstm train"\n[settings]\nlength = 3\nepochs = 2\nhidden_size = 4\ndata_size = 200\n'


def points(**content: Any) -> list[dict[str, Any]]:
    return points_of(SweepFile.model_validate({"command": "lstm train", **content}))


def test_random_samples_are_within_their_bounds_and_keep_their_values() -> None:
    domains = {"learning_rate": {"min": 1e-4, "max": 1e-2, "log": True}, "hidden_size": {"min": 16, "max": 18}}
    table = {"samples": 30, **domains, "optimizer": ["adam", "rmsprop"]}
    many = points(random={**table, "samples": 300})
    assert len(many) == 300
    rates = sorted(point["learning_rate"] for point in many)
    assert 1e-4 <= rates[0] < 1.2e-4
    assert 9e-3 < rates[-1] <= 1e-2
    assert 8e-4 < rates[150] < 1.2e-3, "the logarithm is uniform"
    assert {repr(point["hidden_size"]) for point in many} == {"16", "17", "18"}
    assert {point["optimizer"] for point in many} == {"adam", "rmsprop"}
    few = points(random=table)
    assert few == many[:30]
    wider = points(random={**table, "max_norm": {"min": 1.0, "max": 2.0}})
    assert [{name: point[name] for name in few[0]} for point in wider] == few
    assert points(random={**table, "seed": 1}) != few


def test_a_sweep_has_all_combinations_once_and_seeds_change_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = points(grid={"a": [0, 1, 0], "b": [2, 3]}, seeds=2)
    assert grid == [{"a": a, "b": b, "seed": seed} for a, b, seed in product((0, 1), (2, 3), (0, 1))]
    zipped = points(seeds=[3, 5], zip={"d": [5, 10], "e": [6, 12]})
    assert zipped == [{"d": d, "e": e, "seed": seed} for d, e in ((5, 6), (10, 12)) for seed in (3, 5)]
    checked: list[str] = []
    monkeypatch.setattr("reviver.cli.sweep.check", lambda name, *_: checked.append(name))
    assert len(build_trials(SweepFile(command="lstm train", seeds=3, grid={"length": [3, 4]}), {}, Path())) == 6
    assert checked == ["length", "seed", "seed", "seed", "length"], "each value once, of as many trials as there are"


WRONG = {
    "": "command is missing",
    'command = "lstm evaluate"': "command must be lstm train or gan train, got 'lstm evaluate'",
    'command = "lstm train"\nseeds = 0': "seeds must be at least 1, got 0",
    "[settings]\ndevice = 2020-01-01\n": "device must be text, got datetime.date",
    '[settings]\nlength = "5"\n': "length must be an integer, got '5'",
    "[settings]\nout = 'x'\n": "settings.out is unknown; see --help of the command for the settings",
    "[zip]\nepochs = [1, 2]\nlength = [3]\n": "zip must have lists of one length, but epochs has 2, length has 1 values",
    "[random]\nlength = [3]\n": "random.samples must be an integer, got None",
    "[random]\nsamples = 2\nlength = 3\n": "random.length must be an object, got 3, or a list of choices",
    "[random]\nsamples = 2\nlength = {min = 3, max = 2}\n": "random.length must have a max above its min, .* got 3 to 2",
    "seeds = 300\n[settings]\ncell = 'torch.nn:GRUCell'\n[grid]\nprecision = ['bf16']\n": "cell .* does not support",
    "[evaluate]\ncommand = 'gan evaluate'\n": "evaluate.command must be lstm evaluate, got 'gan evaluate'",
    "[evaluate]\ncommand = 'lstm evaluate'\nsettings = {lenght = 3}\n": r"evaluate.settings.lenght is unknown; did you mean length\?",
    f"[settings]\ntask = 'temporal-order'\n[grid]\nhidden_size = {[*range(1, 31)]}\n": (
        r"length must be at least 10, got 5$"
    ),
    "a = " + "[" * 60_000: "cannot be read",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_a_wrong_file_is_refused_in_one_line(text: str, here: Path) -> None:
    has_command = not text or text.startswith("command")
    Path("wrong.toml").write_text(text if has_command else f'command = "lstm train"\n{text}')
    with pytest.raises(ConfigError, match=f"^wrong.toml: {WRONG[text]}") as caught:
        sweep("wrong.toml")
    assert "\n" not in str(caught.value)
    assert not Path("runs").exists()


def test_a_sweep_writes_its_results_also_if_a_trial_fails(
    here: Path, capsys: pytest.CaptureFixture[str], inline_sweeps: None
) -> None:
    text = TINY + 'cell = "rnn"\n[grid]\ninit = ["report", "chrono"]\n[evaluate]\ncommand = "lstm evaluate"\n'
    Path("layers.toml").write_text(text + "settings = {length = [3, 4], size = 50}\n")
    outputs = []
    for _ in range(2):
        assert main(["sweep", "layers.toml", "--device", "cpu", "--json", "--quiet"]) == 1
        outputs.append(capsys.readouterr())
    assert outputs[0] == outputs[1], "trials do not run again"
    result = json.loads(outputs[0].out)
    assert (result["trials"], result["done"], result["failed"]) == (2, 1, 1)
    assert result["summary"]["measure"] == "evaluate.results.0.accuracy"
    assert [row["init"] for row in result["summary"]["settings"]] == ["report", "chrono"]
    assert "cell rnn, whose text has no vector b_f" in result["summary"]["failures"][0]["error"]
    problem = r"error: 1 of 2 trials failed; see runs/sweep-layers/trials/\w+, and run them again with --retry-failed\n"
    assert re.fullmatch(problem, outputs[0].err)
    for name in ("table.parquet", "summary.json", "summary.pdf", "summary.png"):
        assert Path("runs/sweep-layers", name).stat().st_size > 0
    trials = [json.loads(path.read_text()) for path in Path("runs/sweep-layers/trials").glob("*/trial.json")]
    assert all(trial["arguments"]["settings"]["device"] == "cpu" for trial in trials)


def test_settings_are_compared_on_one_task(here: Path, capsys: pytest.CaptureFixture[str], inline_sweeps: None) -> None:
    Path("cells.toml").write_text(TINY + '[grid]\ntask = ["parity", "palindrome"]\ncell = ["rnn", "gru"]\n')
    assert main(["sweep", "cells.toml", "--json", "--quiet"]) == 0
    summaries = json.loads(capsys.readouterr().out)["summaries"]
    assert [*summaries] == ["parity", "palindrome"]
    for task, summary in summaries.items():
        assert {row["task"] for row in summary["settings"]} == {task}
        assert Path(f"runs/sweep-cells/summary-{task}.pdf").stat().st_size > 0


def test_presets_of_a_gan_are_compared_in_one_table(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, inline_sweeps: None
) -> None:
    def run_trial(_: Path, *, settings: dict[str, Any], **__: Any) -> dict[str, Any]:
        return {"scores": {"fid": {"quick": 15.0, "original": 30.0}[settings["preset"]]}}

    monkeypatch.setattr("reviver.cli.sweep.run_trial", run_trial)
    Path("presets.toml").write_text('command = "gan train"\n[grid]\npreset = ["original", "quick"]\n')
    assert main(["sweep", "presets.toml", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["best"]["preset"] == "quick"


def test_ctrl_c_saves_the_trials(tmp_path: Path) -> None:
    file, out = tmp_path / "sweep.toml", tmp_path / "out"
    file.write_text("seeds = 2\n" + TINY.replace("epochs = 2", "epochs = 100000\ncheckpoint_every = 100000"))
    command = [sys.executable, "-m", "reviver", "sweep", str(file), "--out", str(out), "--jobs", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            wait_until(lambda: any(path.stat().st_size for path in out.glob("trials/*/run/metrics.jsonl")))
        finally:
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert errors.endswith(f"{out}: stopped, the runs are saved; go on with the same command\n")
    assert "Traceback" not in errors
    (run,) = (RunFolder.open(path) for path in out.glob("trials/*/run"))
    assert run.status == "interrupted"


def test_paths_are_relative_to_the_file_and_checked_before_the_first_trial(here: Path) -> None:
    folder = here / "there"
    folder.mkdir()
    (folder / "cells.py").write_text("from torch.nn import GRUCell as Mine\n\n\nclass Other(Mine):\n    pass\n")
    (folder / "a.csv").write_text("sequence,label\n1 2,a\n3 4,b\n")
    grid = {"cell": ["lstm", "cells.py:Other"]}
    trials = build_trials(SweepFile(command="lstm train", grid=grid, settings={"data": "a.csv"}), {}, Path("there"))
    settings = [trial.arguments["settings"] for trial in trials]
    assert [(one["cell"], one["data"]) for one in settings] == [
        ("lstm", "there/a.csv"),
        ("there/cells.py:Other", "there/a.csv"),
    ]
    assert [trial.axes["cell"] for trial in trials] == grid["cell"], "tables have the words of the file"
    for name, value in (("cell", "gone.py:Other"), ("data", "gone.csv")):
        with pytest.raises(
            ConfigError, match=rf"^{name} there/gone\.\w+ does not exist; paths in the file are relative"
        ):
            build_trials(SweepFile(command="lstm train", grid={name: [value]}), {}, Path("there"))
