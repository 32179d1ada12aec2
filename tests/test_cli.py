"""The command line: what each command does, and the one-line errors of wrong use."""

import contextlib
import dataclasses
import errno
import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from cyclopts.completion.detect import ShellDetectionError
from PIL import Image

import reviver
from reviver.cli import app as cli
from reviver.cli import main
from reviver.cli.app import COMMANDS, build_app, join_flag_values
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.folder import SCHEMA, RunFolder
from reviver.settings.gan import GANConfig
from reviver.settings.gan_presets import PRESETS as GAN_PRESETS
from reviver.settings.lstm import LSTMConfig
from reviver.settings.lstm_presets import PRESETS as LSTM_PRESETS
from reviver.settings.validation import show_value

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
PRESETS = {"lstm": LSTM_PRESETS, "gan": GAN_PRESETS}
EVERY_PRESET = [(kind, name) for kind, presets in PRESETS.items() for name in presets]
TINY_LSTM = "--length 3 --epochs 2 --hidden-size 8"
TINY_GAN = "--data tiny.npz --image-size 8 --epochs 2 --batch-size 16 --latent-size 8 --log-every 3"
for_both_kinds = pytest.mark.parametrize(
    "train", [f"lstm train {TINY_LSTM}", f"gan train {TINY_GAN}"], ids=["lstm", "gan"]
)


class Result(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[[str], Result]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny run of each kind, `l` and `g`, damaged copies of them, and invalid files."""
    folder = tmp_path_factory.mktemp("workspace")
    with contextlib.chdir(folder):
        rng = np.random.default_rng(0)
        np.savez("tiny.npz", images=rng.integers(0, 256, (40, 8, 8), dtype=np.uint8))
        assert main([*shlex.split(f"lstm train {TINY_LSTM} --out l"), "--quiet"]) == 0
        assert main([*shlex.split(f"gan train {TINY_GAN} --out g"), "--quiet"]) == 0
        for name, record in (("newer", {"schema": SCHEMA + 1}), ("odd", {"config": {"length": 5}})):
            shutil.copytree("l", name)
            path = Path(name, "run.json")
            path.write_text(json.dumps(json.loads(path.read_text()) | record))
        shutil.copytree("g", "cut")
        weights = find_checkpoint(Path("cut", "checkpoints"), "last") / "networks.safetensors"
        weights.write_bytes(weights.read_bytes()[:-9])
        Path("empty").mkdir()
        Path("notes.txt").write_text("precious")
        Path("unknown.toml").write_text("lenght = 4\n")
        Path("wrong.toml").write_text('length = "abc"\n')
        Path("text.toml").write_text('length = "5"\n')
        Path("flag.toml").write_text("epochs = true\n")
        Path("table.toml").write_text("[length]\nvalue = 5\n")
        Path("infinite.toml").write_text("max_norm = inf\n")
        Path("named.toml").write_text('config = "other.toml"\n')
        Path("broken.toml").write_text("[1, 2")
        Path("twice.toml").write_text("length = 4\nlength = 5\n")
        Path("deep.toml").write_text("length = " + "[" * 60_000)
        Path("large.toml").write_text("length = " + "[" * (1 << 20))
        Path("number.json").write_text("3")
        Path("twice.json").write_text('{"length": 4, "length": 5}')
        Path("deep.json").write_text('{"length": ' + "[" * 60_000)
        Path("sweep.toml").write_text('command = "lstm train"\nseeds = 2\n')
        Path("axis.toml").write_text('command = "lstm train"\n[grid]\nlength = []\n')
        Path("code.yaml").write_text('length: !!python/object/apply:os.system ["touch was-run"]\n')
        Path("bytes.toml").write_bytes(bytes(range(128, 256)))
        Path("folder.toml").mkdir()
        os.mkfifo("pipe.toml")
        Path("pickle.npy").write_bytes(b"\x93NUMPY\x01\x00")
    return folder


@pytest.fixture
def run(workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in the workspace."""
    monkeypatch.chdir(workspace)

    def call(arguments: str) -> Result:
        capsys.readouterr()
        code = main(shlex.split(arguments))
        return Result(code, *capsys.readouterr())

    return call


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and modification time of everything in a folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size if path.is_file() else 0, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }


def process(arguments: str, folder: Path, **settings: Any) -> subprocess.Popen[str]:
    """Start the command line as a child process in `folder`."""
    command = [sys.executable, "-m", "reviver", *shlex.split(arguments)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": ENVIRONMENT, **settings}
    return subprocess.Popen(command, cwd=folder, text=True, **streams)


# Help


def help_of(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    assert main([*words, "--help"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def words_of(text: str) -> str:
    """Return a help text on one line, without the frames of its panels."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())


GROUPS = sorted({words[:length] for words in COMMANDS for length in range(len(words))})


@pytest.mark.parametrize("words", [*COMMANDS, *GROUPS], ids=" ".join)
def test_every_command_has_help_with_examples(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(words, capsys)
    assert text.startswith("Usage: reviver")
    examples = text.partition("Examples:\n")[2]
    command = " ".join(["reviver", *words])
    assert examples
    assert all(line.startswith("  reviver") for line in examples.splitlines()), "no line is too long"
    assert command in examples


@pytest.mark.parametrize("words", [*COMMANDS, *GROUPS], ids=" ".join)
def test_examples_of_the_help_parse(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Examples use existing commands and options."""
    for line in help_of(words, capsys).partition("Examples:\n")[2].splitlines():
        arguments = shlex.split(re.split(r"\s{3,}|>", line.strip().removeprefix("reviver "))[0])
        if "--help" not in arguments:
            parsed = [argument for argument in arguments if argument != "--resume"]  # no run exists here
            build_app(parsed).parse_args(parsed, print_error=False, exit_on_error=False)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_of_a_command_is_explained(words: tuple[str, ...]) -> None:
    app = build_app()
    for word in words:
        app = app[word]
    for argument in app.assemble_argument_collection(parse_docstring=True):
        assert argument.children or argument.parameter.help, argument.name


@pytest.mark.parametrize(("words", "config"), [(("lstm", "train"), LSTMConfig), (("gan", "train"), GANConfig)])
def test_help_explains_every_setting(words: tuple[str, ...], config: type, capsys: pytest.CaptureFixture[str]) -> None:
    text = words_of(help_of(words, capsys))
    for field in dataclasses.fields(config):
        option = "--" + field.name.replace("_", "-")
        assert re.search(rf"{option} \S+ .*?[A-Z].*?\[default: {re.escape(show_value(field.default))}[;\]]", text), (
            option
        )
    assert "The defaults are the original's" in text
    for group in ("Model", "Data", "Optimization", "Regularization", "Checkpoints"):
        assert f" {group} " in text


@pytest.mark.parametrize(("words", "presets"), [(("lstm", "train"), LSTM_PRESETS), (("gan", "train"), GAN_PRESETS)])
def test_help_shows_the_values_of_a_preset(
    words: tuple[str, ...], presets: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, preset in presets.items():
        text = words_of(help_of((*words, "--preset", name), capsys))
        assert name in text
        assert re.search(rf"--epochs .*?\[default: {preset.epochs};", text)
        assert re.search(rf"--learning-rate .*?\[default: {preset.learning_rate:g};", text)


def test_help_shows_bounds_and_choices(capsys: pytest.CaptureFixture[str]) -> None:
    text = words_of(help_of(("gan", "train"), capsys))
    assert re.search(r"--image-size INT [^\[]*\[default: 28; at least 4, at most 1024\]", text)
    assert re.search(r"--lr-schedule CHOICE [^\[]*\[choices: constant, linear, cosine\]", text)


def test_completion_of_an_unknown_shell_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_to_detect() -> str:
        raise ShellDetectionError

    monkeypatch.setattr("cyclopts.completion.detect.detect_shell", fail_to_detect)
    assert main(["--install-completion"]) == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_and_options(shell: str) -> None:
    script = build_app().generate_completion(shell=shell)
    for word in ("interpolate", "hidden-dropout", "recall-100000"):
        assert word in script


def test_no_arguments_print_the_help_and_fail(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Usage: reviver")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"reviver {reviver.__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["-m", "reviver", "--help"], ["-m", "reviver", "--version"], ["-c", "import reviver"]]
)
def test_neither_help_nor_import_loads_torch_or_matplotlib(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "reviver" in imported
    assert not imported & {"torch", "matplotlib", "numpy", "PIL", "tensorboardX", "jinja2", "typst"}


def test_public_names() -> None:
    for name in reviver.__all__:
        assert getattr(reviver, name).__name__ == name
    assert set(reviver.__all__) <= set(dir(reviver))
    with pytest.raises(AttributeError, match="module 'reviver' has no attribute 'nothing'"):
        _ = reviver.nothing


# Training


@pytest.mark.parametrize(("kind", "name"), EVERY_PRESET)
def test_every_preset_trains(kind: str, name: str, run: Run, tmp_path: Path) -> None:
    preset = PRESETS[kind][name]
    changes: dict[str, Any] = {"epochs": 1, "data": "tiny.npz", "image_size": 8}
    if kind == "lstm":
        length = {"temporal-order": 10, "row-mnist": 28, "pixel-mnist": 49}.get(preset.task, 3)
        changes = {"epochs": 1, "hidden_size": 8, "length": length, "data_size": 200}
        if name == "series":  # which trains on a file, or on a task that is named
            changes["task"] = "parity"
    options = " ".join(f"--{setting} {value}" for setting, value in changes.items())
    result = run(f"{kind} train --preset={name} {options} --out {tmp_path / 'run'} --json")
    assert result.code == 0, result.err
    config = RunFolder.open(tmp_path / "run", kind).record["config"]
    assert config == dataclasses.asdict(preset) | changes


def test_the_folder_of_a_run_names_its_kind_preset_and_seed(run: Run, tmp_path: Path, workspace: Path) -> None:
    with contextlib.chdir(tmp_path):
        shutil.copy(workspace / "tiny.npz", "tiny.npz")
        assert main(shlex.split(f"lstm train --preset onehot {TINY_LSTM} --seed 3 --quiet")) == 0
        assert main(shlex.split(f"gan train {TINY_GAN} --quiet")) == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["gan-report-seed0", "lstm-onehot-seed3"]


def settings_of(arguments: str) -> Any:
    """Return the settings that a training command receives."""
    words = join_flag_values(shlex.split(arguments))
    _, bound, _ = build_app(words).parse_args(words, print_error=False, exit_on_error=False)
    return bound.arguments["settings"]


@pytest.mark.parametrize(("kind", "name"), EVERY_PRESET)
def test_a_command_receives_the_settings_that_python_has(kind: str, name: str) -> None:
    assert settings_of(f"{kind} train --preset {name} --out run") == PRESETS[kind][name]


def test_the_help_has_the_groups_of_the_settings_in_order(run: Run) -> None:
    titles = ["Run", "Data", "Model", "Optimization", "Curriculum", "Regularization", "Checkpoints", "Common"]
    text = run("lstm train --help").out
    assert [title for title in re.findall(r"^╭─ (\w+) ─", text, re.MULTILINE) if title in titles] == titles


@pytest.mark.parametrize(
    ("words", "value"),
    [("--curriculum", True), ("--curriculum false", False), ("--curriculum=true", True), ("--no-curriculum", False)],
)
def test_a_flag_needs_no_value(words: str, value: bool) -> None:
    for command in ("lstm train {} --seed 3", "lstm train --seed 3 {}"):
        settings = settings_of(command.format(words))
        assert (settings.curriculum, settings.seed) == (value, 3)


def test_options_accept_dashes_and_underscores(run: Run, tmp_path: Path) -> None:
    result = run(f"lstm train {TINY_LSTM} --hidden_dropout 0.25 --batch-size=7 --out {tmp_path / 'run'}")
    assert result.code == 0, result.err
    config = RunFolder.open(tmp_path / "run").record["config"]
    assert (config["hidden_dropout"], config["batch_size"]) == (0.25, 7)


def test_the_command_is_recorded(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = shlex.split(f"lstm train {TINY_LSTM} --quiet --out {tmp_path / 'a run'}".replace("a run", "'a run'"))
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/reviver", *arguments])
    assert main() == 0
    assert shlex.split(RunFolder.open(tmp_path / "a run").record["command"]) == ["reviver", *arguments]


@pytest.mark.parametrize(
    ("train", "kind"),
    [(f"lstm train --preset onehot {TINY_LSTM} --learning-rate 3e-4", "lstm"), (f"gan train {TINY_GAN}", "gan")],
)
def test_printed_settings_train_the_same_run(train: str, kind: str, run: Run, tmp_path: Path) -> None:
    printed = run(f"{train} --print-config")
    assert (printed.code, printed.err) == (0, "")
    (tmp_path / "settings.toml").write_text(printed.out)
    for name, arguments in (
        ("direct", train),
        ("file", f"{kind} train --config {tmp_path / 'settings.toml'}"),
        ("changed", f"{kind} train --config {tmp_path / 'settings.toml'} --epochs 1"),
    ):
        result = run(f"{arguments} --out {tmp_path / name} --quiet")
        assert result.code == 0, result.err
    direct, file, changed = (RunFolder.open(tmp_path / name).record["config"] for name in ("direct", "file", "changed"))
    assert file == direct
    assert changed == direct | {"epochs": 1}
    weights = [next((tmp_path / name).glob("checkpoints/step-*/networks.safetensors")) for name in ("direct", "file")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.parametrize(("kind", "name"), EVERY_PRESET)
def test_printed_settings_of_every_preset_read_back(kind: str, name: str, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(run(f"{kind} train --preset {name} --print-config").out)
    assert settings_of(f"{kind} train --config {path}") == PRESETS[kind][name]


def test_options_override_the_file_and_that_overrides_the_preset(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('preset = "recall"\nlength = 500\nmax_norm = 2\ncurriculum = true\n')
    recall = LSTM_PRESETS["recall"]
    assert settings_of(f"lstm train --config {path}") == dataclasses.replace(recall, length=500, max_norm=2.0)
    settings = settings_of(f"lstm train --config {path} --length 7 --no-curriculum")
    assert settings == dataclasses.replace(recall, length=7, max_norm=2.0, curriculum=False)
    settings = settings_of(f"lstm train --preset onehot --config {path}")
    assert settings == dataclasses.replace(LSTM_PRESETS["onehot"], length=500, max_norm=2.0, curriculum=True)


def test_a_settings_file_sets_out_and_resume(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(f'out = "{tmp_path / "run"}"\nlength = 3\nepochs = 2\nhidden_size = 8\nquiet = true\n')
    result = run(f"lstm train --config {path}")
    assert (result.code, result.err) == (0, "")
    path.write_text(f'out = "{tmp_path / "run"}"\nresume = true\nepochs = 3\nquiet = true\n')
    result = run(f"lstm train --config {path} --json")
    assert (result.code, json.loads(result.out)["last"]["epoch"]) == (0, 3)


def test_an_unreadable_settings_file_is_reported(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, limit: int) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("reviver.cli.settings.read_file", refuse)
    result = run("lstm train --config unknown.toml")
    assert (result.code, result.err) == (2, "error: --config unknown.toml cannot be read (Permission denied)\n")


def test_settings_may_be_json(run: Run, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({"length": 4, "epochs": 1, "hidden_size": 8}))
    result = run(f"lstm train --config {tmp_path / 'settings.json'} --out {tmp_path / 'run'} --quiet")
    assert result.code == 0, result.err
    assert RunFolder.open(tmp_path / "run").record["config"]["length"] == 4


@for_both_kinds
def test_a_run_is_resumed_without_repeating_its_settings(train: str, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run(f"{train} --out {out}").code == 0
    result = run(f"{train.split(maxsplit=1)[0]} train --epochs 3 --out {out} --resume --json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["last"]["epoch"] == 3
    assert RunFolder.open(out).record["config"]["epochs"] == 3


def test_progress_is_on_stderr_and_can_be_silenced(run: Run, tmp_path: Path) -> None:
    loud = run(f"lstm train {TINY_LSTM} --out {tmp_path / 'loud'}")
    assert re.search(r"LSTM T=3: .*2 epochs  train loss", loud.err)
    assert "train loss" not in loud.out
    quiet = run(f"lstm train {TINY_LSTM} --out {tmp_path / 'quiet'} --quiet")
    assert quiet.err == ""
    assert re.search(r"quiet: 2 epochs in .* s\n  train .*\n  validation .*\n  best ", quiet.out)


# Using a run


def test_results_as_json_are_one_line_on_stdout(run: Run, tmp_path: Path) -> None:
    for arguments in (
        f"lstm train {TINY_LSTM} --out {tmp_path / 'l'}",
        f"gan train {TINY_GAN} --out {tmp_path / 'g'}",
        "lstm evaluate l --length 3 --length 5",
        "lstm predict l '1 2'",
        f"lstm trace l '1 2' --out {tmp_path / 'trace.pdf'}",
        f"gan sample g --out {tmp_path / 'grid.png'}",
        f"gan interpolate g --out {tmp_path / 'strip.pdf'}",
    ):
        result = run(f"{arguments} --json")
        assert result.code == 0, result.err
        assert result.out.count("\n") == 1
        assert isinstance(json.loads(result.out), dict)


def test_json_of_training(run: Run, tmp_path: Path) -> None:
    result = json.loads(run(f"lstm train {TINY_LSTM} --out {tmp_path / 'l'} --json").out)
    metrics = RunFolder.open(tmp_path / "l").read_metrics()
    assert result["run"] == str(tmp_path / "l")
    assert result["last"] == metrics[-1]
    accuracies = [record["validation_accuracy"] for record in metrics]
    assert result["best"]["validation_accuracy"] == max(accuracies)
    assert result["mean_of_last"]["validation_accuracy"] == pytest.approx(sum(accuracies) / len(accuracies))
    result = json.loads(run(f"gan train {TINY_GAN} --out {tmp_path / 'g'} --json").out)
    assert result["last"] == RunFolder.open(tmp_path / "g").read_metrics()[-1]
    assert result["seconds"] > 0


def test_evaluate(run: Run) -> None:
    metrics = RunFolder.open("l").read_metrics()
    result = json.loads(run("lstm evaluate l --length 3 --length 4 --length 2 --size 50 --json").out)
    assert [row["length"] for row in result["results"]] == [3, 4, 2]
    assert [row["size"] for row in result["results"]] == [20, 50, 10]
    assert [row["origin"] for row in result["results"]] == [
        "validation set of the run",
        "fresh palindromes",
        "fresh palindromes",
    ]
    assert all(row["chance"] == 0.1 for row in result["results"])
    at_trained_length = result["results"][0]
    assert at_trained_length["accuracy"] == metrics[-1]["validation_accuracy"]
    assert at_trained_length["loss"] == pytest.approx(metrics[-1]["validation_loss"])
    text = run("lstm evaluate l").out
    assert text.count("\n") == 2
    assert "chance is 10%" in text
    assert "validation set of the run" in text


@pytest.mark.parametrize(
    ("task", "options", "trained", "header", "row"),
    [
        ("parity", "--length 6", "", "accuracy of the class, chance is 50%; loss: cross-entropy", 0.6931),
        (
            "copy",
            "--length 30",
            " (accuracy of all steps of a sequence, loss: cross-entropy per step)",
            "accuracy of all steps of a sequence, chance is 9.31e-08%; loss: cross-entropy per step",
            0.4159,
        ),
        (
            "adding",
            "--length 6",
            " (accuracy of numbers within 0.04, loss: squared error)",
            "accuracy of numbers within 0.04, chance is 7.84%; loss: squared error",
            0.1667,
        ),
    ],
)
def test_evaluate_uses_chance_and_baseline_of_the_task(
    task: str, options: str, trained: str, header: str, row: float, run: Run, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    result = run(f"lstm train --task {task} {options} --epochs 1 --hidden-size 8 --data-size 100 --out {out} --quiet")
    assert result.code == 0, result.err
    assert result.out.splitlines()[0].endswith(f" s{trained}")
    assert run(f"lstm evaluate {out} --size 20").out.splitlines()[0].endswith(f"   {header}")
    rows = json.loads(run(f"lstm evaluate {out} --size 20 --length 9 --length 30 --json").out)["results"]
    assert [(row["length"], row["size"], row["origin"]) for row in rows] == [
        (9, 20, "fresh sequences"),
        (30, 20, "fresh sequences"),
    ]
    assert rows[1]["baseline"] == pytest.approx(row, abs=1e-4)
    assert (rows[0]["baseline"] > rows[1]["baseline"]) == (task == "copy"), "its blanks are free"
    result = run(f"lstm predict {out} '1 2'")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"error: task must be palindrome to read digits, got {task}; measure this run by")


@pytest.mark.parametrize("digits", ["1 2", "1,2", "12", " 1, 2 "])
@pytest.mark.parametrize("checkpoint", ["last", "best"])
def test_predict(digits: str, checkpoint: str, run: Run) -> None:
    result = json.loads(run(f"lstm predict l '{digits}' --checkpoint {checkpoint} --json").out)
    assert result["digits"] == [1, 2]
    assert len(result["probabilities"]) == 10
    assert sum(result["probabilities"]) == pytest.approx(1)
    assert result["probabilities"][result["digit"]] == max(result["probabilities"])
    with torch.no_grad():
        logits = reviver.load("l", checkpoint=checkpoint).network(torch.tensor([[[1.0], [2.0]]]))
    assert result["probabilities"] == pytest.approx(logits.softmax(1)[0].tolist())


def test_predict_warns_about_an_untrained_length(run: Run) -> None:
    assert "trained on" not in run("lstm predict l '1 2'").out
    text = run("lstm predict l '1 2 3'").out
    assert text.startswith("next digit after 1 2 3: ")
    assert text.endswith("the network was trained on 2 digits, got 3\n")


@pytest.mark.parametrize("checkpoint", ["last", "best"])
def test_trace(checkpoint: str, run: Run, tmp_path: Path) -> None:
    arguments = f"'1 2 2' --checkpoint {checkpoint}"
    result = json.loads(run(f"lstm trace l {arguments} --out {tmp_path / 'trace.png'} --json").out)
    prediction = json.loads(run(f"lstm predict l {arguments} --json").out)
    assert result["out"] == str(tmp_path / "trace.png")
    assert (result["digits"], result["target"], result["digit"]) == ([1, 2, 2], 1, prediction["digit"])
    assert result["probabilities"][-1] == pytest.approx(prediction["probabilities"], abs=1e-6)
    assert [len(row) for row in result["probabilities"]] == [10, 10, 10]
    assert result["loss"] == pytest.approx(-np.log(prediction["probabilities"][1]), abs=1e-5)
    (layer,) = result["layers"]
    assert (layer["layer"], layer["direction"]) == (1, "forward")
    assert len(layer["gradient_h"]) == len(layer["gradient_c"]) == 3
    with Image.open(tmp_path / "trace.png") as image:
        assert image.width > 1000


def test_trace_writes_trace_pdf_by_default(run: Run, workspace: Path, tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        result = run(f"lstm trace {workspace / 'l'} '1 2'")
        assert (result.code, result.out) == (0, "trace.pdf\n")
        assert [path.name for path in tmp_path.iterdir()] == ["trace.pdf"]
        assert (tmp_path / "trace.pdf").read_bytes().startswith(b"%PDF")


def test_trace_of_a_layer_and_direction(run: Run, tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    assert run(f"lstm train {TINY_LSTM} --num-layers 2 --bidirectional true --out {deep} --quiet").code == 0
    figures = []
    for choice in ("", "--layer 2 --direction forward", "--layer 2 --direction backward", "--layer 1"):
        result = run(f"lstm trace {deep} '1 2' --out {tmp_path / 'new' / 'trace.svg'} {choice} --json")
        assert result.code == 0, result.err
        layers = [(layer["layer"], layer["direction"]) for layer in json.loads(result.out)["layers"]]
        assert layers == [(1, "forward"), (1, "backward"), (2, "forward"), (2, "backward")]
        figures.append((tmp_path / "new" / "trace.svg").read_bytes())
    assert figures[0] == figures[1]
    assert len(set(figures)) == 3


def test_samples_can_be_regenerated_from_their_latents(run: Run, tmp_path: Path) -> None:
    result = run(f"gan sample g --num-samples 30 --seed 4 --out {tmp_path / 'samples.npz'} --json")
    assert json.loads(result.out) == {"out": str(tmp_path / "samples.npz"), "shape": [30, 1, 8, 8], "seed": 4}
    with np.load(tmp_path / "samples.npz") as arrays:
        assert sorted(arrays) == ["images", "latents"]
        images, latents = arrays["images"], arrays["latents"]
    assert (images.dtype, images.shape) == (np.float32, (30, 1, 8, 8))
    assert (latents.dtype, latents.shape) == (np.float32, (30, 8))
    assert -1 <= images.min() < images.max() <= 1
    with torch.no_grad():
        regenerated = reviver.load("g").generator(torch.from_numpy(latents))
    np.testing.assert_allclose(images, regenerated.numpy(), rtol=1e-5, atol=1e-6)


def test_the_same_seed_gives_the_same_samples(run: Run, tmp_path: Path) -> None:
    for name, seed in (("a", "--seed 0"), ("b", ""), ("c", "--seed 1")):
        assert run(f"gan sample g {seed} --out {tmp_path / name}.png").code == 0
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b, "the run's seed is 0"
    assert a != c


def test_a_grid_of_samples(run: Run, tmp_path: Path) -> None:
    result = run(f"gan sample g --num-samples 25 --out {tmp_path / 'new' / 'grid.png'}")
    assert result.out == f"{tmp_path / 'new' / 'grid.png'}\n"
    with Image.open(tmp_path / "new" / "grid.png") as image:
        assert image.mode == "L"
        assert image.width == image.height
    for suffix, start in ((".pdf", b"%PDF"), (".svg", b"<?xml")):
        assert run(f"gan sample g --out {tmp_path / 'grid'}{suffix}").code == 0
        assert (tmp_path / f"grid{suffix}").read_bytes().startswith(start)


def test_an_interpolation(run: Run, tmp_path: Path) -> None:
    result = json.loads(run(f"gan interpolate g --path spherical --steps 3 --out {tmp_path / 'strip.pdf'} --json").out)
    assert result == {
        "out": str(tmp_path / "strip.pdf"),
        "path": "spherical",
        "seed": 0,
        "classes": None,
        "confidences": None,
    }
    assert (tmp_path / "strip.pdf").read_bytes().startswith(b"%PDF")


def test_interpolate_writes_interpolation_pdf_by_default(run: Run, workspace: Path, tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        assert main(["gan", "interpolate", str(workspace / "g")]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["interpolation.pdf"]


# Wrong use

WRONG = {
    # commands
    "foo": "^command 'foo' is unknown; choose from lstm, gan, report",
    "repot": r"^command 'repot' is unknown; did you mean report\?",
    "lstm": "^reviver lstm requires a command; choose from train, evaluate, predict, curve, trace",
    "gan trian": r"^command 'trian' is unknown; did you mean train\?",
    # options
    "--bogus": "^--bogus is unknown; see reviver --help",
    "lstm train --lenght 3": r"^--lenght is unknown; did you mean --length\?",
    "gan train --bogus=3": "^--bogus is unknown; see reviver gan train --help",
    "lstm train --epochs": "^--epochs requires a value; see reviver lstm train --help",
    "lstm evaluate l --length": "^--length requires a value; see reviver lstm evaluate --help",
    "lstm curve --network gru --out n": "^--network must be fixed, curriculum, chrono or rnn, got 'gru'",
    "lstm curve --length 1 --out n": "^--length must be at least 2, got 1",
    "lstm curve --seeds 0 --out n": "^--seeds must be at least 1, got 0",
    "lstm evaluate l --length 3 --out figure.gif": "^--out must end in one of .pdf, .svg, .png for a figure, got figure.gif",
    "lstm predict": "^RUN is missing; see reviver lstm predict --help",
    "gan sample": "^RUN is missing; see reviver gan sample --help",
    "lstm predict l 1 2": "^'2' is an unexpected argument .quote text that contains spaces.; see reviver lstm predict --help",
    "gan train --out ''": "^--out must not be empty, got ''",
    # presets and fields
    "lstm train --preset foo": "^--preset 'foo' is unknown; choose from report, onehot",
    "gan train --preset=foo --print-config": "^--preset 'foo' is unknown; choose from report, best, best-long, best-longest, short,",
    "lstm train --length 1": "^--length must be at least 2, got 1",
    "lstm train --length abc": "^--length must be an integer, got 'abc'",
    "lstm train --length 2.5": "^--length must be an integer, got '2.5'",
    "lstm train --length 99999999999999999999": "^--length must be at most 10000000, got 99999999999999999999",
    "lstm train --encoding words": "^--encoding must be scalar or onehot, got 'words'",
    "lstm train --hidden-dropout 1": "^--hidden-dropout must be less than 1, got 1.0",
    "lstm train --activation-checkpoint-steps many": "^--activation-checkpoint-steps must be an integer, got 'many'",
    "gan train --gradient-penalty slow": "^--gradient-penalty must be a number, got 'slow'",
    "gan train --packing 3": "^--packing must divide the batch_size 64, got 3",
    "gan train --loss hinge --label-smoothing 0.1": "^--label-smoothing must be 0 for the loss hinge, which has no labels, got 0.1",
    "lstm train --bidirectional perhaps": "^'perhaps' is an unexpected argument .quote text",
    "lstm train --learning-rate nan": "^--learning-rate must be greater than 0, got nan",
    "lstm train --learning-rate -1": "^--learning-rate must be greater than 0, got -1.0",
    "gan train --epochs 0": "^--epochs must be at least 1, got 0",
    "gan train --image-size 2": "^--image-size must be at least 4, got 2",
    "gan train --batch-size 1": "^--batch-size must be at least 2, got 1",
    "gan train --seed -1": "^--seed must be at least 0, got -1",
    # export
    "export l": "^--format is missing; see reviver export --help",
    "export l --format tflite": "^--format must be onnx or hub, got 'tflite'",
    "export nothing --format onnx": "^nothing: does not exist; give the folder that a train command wrote",
    "export l --format onnx --opset 5": "^--opset must be from 13, the first with all operators of the graph, to ",
    "export l --format onnx --opset 99999": "^--opset must be from 13, the first with all operators of the graph, to ",
    "export l --format hub --opset 13": "^--opset is only for the format onnx; leave it out",
    "export l --format onnx --license mit": "^--license is only for the model card of the format hub; leave it out",
    "export l --format onnx --out g": "^g: cannot be written",
    "export l --format hub --out g": "^g: exists already and is never overwritten; choose another --out",
    # packed data
    "data": "^reviver data requires a command; choose from pack",
    "data pack": "^SOURCE is missing; see reviver data pack --help",
    "data pack tiny.npz": "^--out is missing; see reviver data pack --help",
    "data pack tiny.npz --out empty": "^empty: exists already and is never overwritten; choose another --out",
    "data pack nothing --out p": "^data: nothing does not exist; give mnist",
    "data pack nothing.csv --out p": "^nothing.csv: does not exist; give a .csv, .parquet or .npz file",
    "data pack tiny.npz --image-size 2 --out p": "^--image-size must be at least 4, got 2",
    "data pack tiny.npz --kind sounds --out p": "^--kind must be images or sequences, got 'sounds'",
    "data pack tiny.npz --label-column y --out p": "^--label-column is only for sequences, and tiny.npz holds images",
    "data pack s.csv --image-size 8 --out p": "^--image-size is only for images, and s.csv holds sequences; leave it out",
    "data pack tiny.npz --kind sequences --out p": "^tiny.npz: there is no array 'x' among 'images'",
    "data pack tiny.npz --out notes.txt/p": "^notes.txt/p: cannot be written .*; a part of this path is a file",
    # the explorer
    "explore": "^RUN is missing; see reviver explore --help",
    "explore nothing": "^nothing: does not exist; give the folder that a train command wrote",
    "explore l --out empty": "^empty: cannot be written .Is a directory",
    "explore l --out notes.txt/e.html": "^notes.txt/e.html: cannot be written .*; a part of this path is a file",
    "explore l --training-images -1": "^--training-images must be at least 0, got -1",
    # sweeps
    "sweep": "^FILE is missing; see reviver sweep --help",
    "sweep nothing.toml": "^nothing.toml: cannot be read .No such file",
    "sweep empty": "^empty: cannot be read .",
    "sweep pipe.toml": "^pipe.toml: cannot be read .it is not a regular file",
    "sweep unknown.toml": "^unknown.toml: command is missing",
    "sweep broken.toml": "^broken.toml: is not valid TOML",
    "sweep axis.toml": "^axis.toml: grid.length must have at least 1 value, got an empty list",
    "sweep sweep.toml --engine dask": "^--engine must be pool, ray or slurm, got 'dask'",
    "sweep sweep.toml --jobs 0": "^--jobs must be at least 1, got 0",
    "sweep sweep.toml --address 127.0.0.1:6379": "^--address is only for --engine ray; leave it out",
    "sweep sweep.toml --out l": "^l: exists and is not the folder of a sweep; choose another --out",
    "sweep sweep.toml --out notes.txt": "^notes.txt: exists and is not the folder of a sweep",
    # settings files
    "lstm train --config nothing.toml": "^--config nothing.toml cannot be read .No such file",
    "lstm train --config empty": "^--config must be a .toml or .json file, got 'empty'",
    "lstm train --config code.yaml": "^--config must be a .toml or .json file, got 'code.yaml'",
    "lstm train --config folder.toml": "^--config folder.toml cannot be read .Is a directory",
    "lstm train --config pipe.toml": "^--config pipe.toml cannot be read .it is not a regular file",
    "lstm train --config ''": "^--config must not be empty",
    "lstm train --config=unknown.toml": r"^unknown.toml: lenght is unknown; did you mean length\?",
    "lstm train --config wrong.toml": "^wrong.toml: length must be an integer, got 'abc'",
    "lstm train --config text.toml": "^text.toml: length must be an integer, got '5'",
    "lstm train --config flag.toml": "^flag.toml: epochs must be an integer, got True",
    "lstm train --config table.toml": "^table.toml: length must be an integer, got {'value': 5}",
    "lstm train --config infinite.toml": "^infinite.toml: max_norm must be a finite number, got inf",
    "lstm train --config named.toml": "^named.toml: config is unknown",
    "lstm train --config broken.toml": "^--config broken.toml is not valid TOML .*; correct the file",
    "lstm train --config twice.toml": "^--config twice.toml is not valid TOML .*overwrite",
    "lstm train --config deep.toml": "^--config deep.toml is not valid TOML .it is too deep",
    "lstm train --config large.toml": "^--config large.toml cannot be read .it has 1048585 bytes",
    "lstm train --config bytes.toml": "^--config bytes.toml is not valid TOML",
    "lstm train --config number.json": "^--config number.json is not valid JSON .it is not a JSON object",
    "lstm train --config twice.json": "^--config twice.json is not valid JSON .it has the key .length. twice",
    "lstm train --config deep.json": "^--config deep.json is not valid JSON .it is deeper than 20 levels",
    "lstm train --config wrong.toml --config wrong.toml": "^--config may be given only once",
    "lstm train --length 3 --length 4": "^--length may be given only once",
    "lstm train --length=": "^--length must be an integer, got ''",
    "lstm train --length 0x10": "^--length must be an integer, got '0x10'",
    "lstm train --length 1_000": "^--length must be an integer, got '1_000'",
    "lstm train --learning-rate=": "^--learning-rate must be a number, got ''",
    "lstm train --data=": "^--data must not be empty",
    "lstm train --curriculum=perhaps": "^--curriculum must be true or false, got 'perhaps'",
    # data
    "gan train --data nothing --out n": "^data: nothing does not exist; give mnist, fashion-mnist, .*, an image folder, an .npz",
    "gan train --data notes.txt --out n": "^data: notes.txt is of an unknown kind",
    "gan train --data empty --out n": "^data: empty holds no IDX files and no images",
    "gan train --data pickle.npy --out n": "^pickle.npy: it cannot be read",
    "lstm predict l '1 x 2'": "^digits must be digits such as \"1 2 3 2\", got 'x' in '1 x 2'",
    "lstm predict l ''": "^digits must be digits such as .*, got nothing in ''",
    "lstm predict l '-1'": "^digits must be digits such as .*, got '-' in '-1'",
    "lstm evaluate l --length x": "^--length must be an integer, got 'x'",
    "lstm evaluate l --length 1": "^--length must be at least 2, got 1",
    "lstm evaluate l --length 4 --size 0": "^--size must be at least 1, got 0",
    # devices
    "lstm train --device cuda --out n": "^device 'cuda' is not available on this machine; use --device auto or --device cpu",
    "gan train --device cuda:7 --out n": "^device 'cuda:7' is not available on this machine",
    "gan sample g --device toaster": "^device must be one of auto, cpu, cuda, cuda:0, mps, got 'toaster'",
    # run folders
    "lstm train --out l": "^l: exists already and is never overwritten; choose another --out, or go on with --resume",
    "gan train --out notes.txt": "^notes.txt: exists already and is never overwritten",
    "lstm train --out notes.txt/run": "^notes.txt/run: cannot be written .Not a directory.; a part of this path is a file",
    "lstm train --out /proc/run": "^/proc/run: cannot be written",
    "lstm train --resume --out n": "^n: does not exist; give the folder that a train command wrote",
    "lstm train --resume --out empty": "^empty: has no run.json, so it is not a run folder",
    "lstm train --resume --out g": "^g: holds a run of kind 'gan', not 'lstm'; use the reviver gan commands",
    "lstm train --resume --out l --length 4": r"^--length is 3 in this run, got 4; leave it out to resume",
    "gan train --resume --out g --epochs 1": r"^--epochs is 2 in this run, got 1",
    "gan sample nothing": "^nothing: does not exist; give the folder that a train command wrote",
    "gan interpolate l": "^l: holds a run of kind 'lstm', not 'gan'; use the reviver lstm commands",
    "lstm predict newer '1 2'": r"^newer/run\.json: has schema 2, and this Reviver reads only schema 1; use the version",
    "lstm evaluate odd": "^odd/run.json: .* is missing; the run folder was damaged or written by another version",
    "gan sample cut": "^cut/checkpoints/.*networks.safetensors: cannot be read",
    "lstm predict l '1 2' --checkpoint first": "^--checkpoint must be last or best, got 'first'",
    # traces
    "lstm trace l": "^DIGITS is missing; see reviver lstm trace --help",
    "lstm trace l '1 x'": "^digits must be digits such as .*, got 'x' in '1 x'",
    f"lstm trace l {'1' * 10_001}": "^digits must be at most 10000 to be plotted, got 10001",
    "lstm trace l '1 2' --out trace.jpg": "^--out must end in one of .pdf, .svg, .png for a figure, got trace.jpg",
    "lstm trace nothing '1 2' --out trace": "^--out must end in one of .pdf, .svg, .png for a figure, got trace",
    "lstm trace nothing '1 2' --out notes.txt/t.pdf": "^notes.txt/t.pdf: cannot be written .*; a part of this path is a file",
    "lstm trace l '1 2' --out /proc/t.pdf": "^/proc/t.pdf: cannot be written",
    "lstm trace nothing '1 2'": "^nothing: does not exist; give the folder that a train command wrote",
    "lstm trace g '1 2'": "^g: holds a run of kind 'gan', not 'lstm'; use the reviver gan commands",
    "lstm trace l '1 2' --checkpoint first": "^--checkpoint must be last or best, got 'first'",
    "lstm trace l '1 2' --layer top": "^--layer must be an integer, got 'top'",
    "lstm trace l '1 2' --layer 2": "^--layer must be at most 1, got 2",
    "lstm trace l '1 2' --layer 0": "^--layer must be at least 1, got 0",
    "lstm trace l '1 2' --direction up": "^--direction must be forward or backward, got 'up'",
    "lstm trace l '1 2' --direction backward": "^--direction must be forward for a run that reads forward only, got 'backward'",
    # samples and interpolations
    "gan sample g --class 3": "^--class must be left out, since this run has no classes, got 3; train one with --conditional",
    "gan train --data tiny.npz --image-size 8 --conditional --out n": "^data must have labels for a conditional GAN, got tiny",
    "gan sample g --num-samples 0": "^--num-samples must be at least 1, got 0",
    "gan sample g --num-samples many": "^--num-samples must be an integer, got 'many'",
    "gan sample g --num-samples 3000": "^--num-samples must be at most 2500 for a grid, got 3000; or give an .npz as --out",
    "gan sample g --num-samples 99999999999 --out s.npz": "^--num-samples must be at most 33554432, got 99999999999",
    "gan sample g --seed -1": "^--seed must be at least 0, got -1",
    "gan sample g --out grid.jpg": "^--out must be .png, .pdf, .svg or .npz, got '.jpg'",
    "gan sample g --out notes.txt/grid.png": "^notes.txt/grid.png: cannot be written .*; a part of this path is a file",
    "gan sample g --out /proc/grid.png": "^/proc/grid.png: cannot be written",
    "gan interpolate g --out strip.docx": "^--out must end in one of .pdf, .svg, .png for a figure, got strip.docx",
    "gan interpolate g --from-image a.png": "^--from-image must be given with to_image, and the reverse; give both or neither",
    "gan project g": "^IMAGE is missing; see reviver gan project --help",
    "gan project g gone.png": "^gone.png: it cannot be read",
    "gan project g gone.png --out p.txt": "^--out must end in one of .pdf, .svg, .png for a figure, got p.txt",
    "gan interpolate g --path round": "^--path must be linear or spherical, got 'round'",
    "gan interpolate g --steps -1": "^--steps must be at least 0, got -1",
    "gan interpolate g --view A!": "^--view must have only letters, digits, - and _, got '!'; copy it again",
    "gan interpolate g --view AQAH": "^--view is damaged; copy it again from the explorer",
    "gan interpolate g --view ''": "^--view must not be empty",
    "gan interpolate g --view AQAH --seed 1": "^--seed must be left out, since view sets the ends, steps and path",
    "gan interpolate g --from 3 --to 8": "^--from must be left out, since this run did not learn MNIST at 28 x 28",
    # scores; more of them in gan/scores/test_scores.py
    "gan evaluate nothing": "^nothing: does not exist; give the folder that a train command wrote",
    "gan evaluate l": "^l: holds a run of kind 'lstm', not 'gan'; use the reviver lstm commands",
    "gan evaluate": "^RUN is missing; see reviver gan evaluate --help",
    "gan evaluate g": r"^data: the digit classifier does not know .tiny.npz. as images of \[1, 8, 8\]",
    "gan evaluate nothing --out nearest.jpg": "^--out must end in one of .pdf, .svg, .png for a figure, got nearest.jpg",
    "gan evaluate g --num-samples many": "^--num-samples must be an integer, got 'many'",
    "gan train-extractor": "^--data is missing; see reviver gan train-extractor --help",
    "gan train-extractor --data nothing": "^data: nothing does not exist; give mnist, fashion-mnist, ",
    "gan train-extractor --data tiny.npz --out notes.txt": "^--out notes.txt exists already and is never overwritten; choose another --out",
    "gan interpolate g --annotate": "^--annotate must be left out, since the classifier knows only digits, which this run did not learn",
}


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_use_prints_one_line_and_writes_nothing(arguments: str, run: Run, workspace: Path) -> None:
    before = snapshot(workspace)
    result = run(arguments)
    assert result.code == 2, result.err
    assert result.out == ""
    lines = result.err.splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("error: ")
    assert "Traceback" not in lines[0]
    assert re.search(WRONG[arguments], lines[0].removeprefix("error: ")), lines[0]
    assert snapshot(workspace) == before


def test_wrong_use_covers_every_command() -> None:
    for words in COMMANDS:
        assert words == ("report",) or any(arguments.startswith(" ".join(words)) for arguments in WRONG)


@pytest.mark.parametrize(
    "arguments", ["lstm train --length 1", "lstm train --length x", "gan sample nothing", "--bogus"]
)
def test_debug_shows_the_traceback_before_the_line(arguments: str, run: Run) -> None:
    result = run(f"{arguments} --debug")
    assert result.code == 2
    assert result.err.startswith("Traceback (most recent call last):\n")
    assert result.err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MemoryError(), 1, "error: out of memory; use smaller sizes or batches"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, "error: out of memory; use smaller"),
        (
            ZeroDivisionError("oh\nno"),
            1,
            "error: ZeroDivisionError: oh no; run again with --debug, and report this bug",
        ),
        (OSError(28, "No space left on device"), 1, "error: output: No space left on device; fix this"),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C"),
    ],
)
def test_unexpected_errors_print_one_line(
    error: BaseException, code: int, message: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: str, /) -> None:
        raise error

    monkeypatch.setitem(cli.COMMANDS, ("gan", "sample"), fail)
    result = run("gan sample g")
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith(message)
    assert result.err.count("\n") == 1


@for_both_kinds
def test_divergence_prints_one_line_with_its_step(train: str, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = run(f"{train} --quiet --learning-rate 1e30 --out {out}")
    assert (result.code, result.out) == (1, "")
    assert re.match(r"error: step \d+: .* try a --learning-rate lower than 1e\+30 in a new --out\n$", result.err)
    assert RunFolder.open(out).status == "failed"


# The system around it


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a mounted disk of 3 MB; skip the test where mounting is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    mounted = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("only an administrator can mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_reported_and_leaves_no_partial_files(small_disk: Path, run: Run) -> None:
    fill = small_disk / "fill"
    result = run(f"gan train {TINY_GAN} --quiet --out {small_disk / 'run'}")
    assert result.code == 2
    assert re.match(
        r"error: .*step-\d+: cannot be written \(No space left on device\); free some space .*--resume\)\n$",
        result.err,
    )
    folder = RunFolder.open(small_disk / "run")
    assert folder.status == "failed"
    assert not list(folder.checkpoints.iterdir())
    with contextlib.suppress(OSError):
        fill.write_bytes(bytes(3 << 20))
    before = {path.name for path in small_disk.iterdir()}
    for arguments in (
        f"gan sample g --num-samples 500 --out {small_disk / 'samples.npz'}",
        f"gan sample g --out {small_disk / 'grid.png'}",
        f"gan interpolate g --out {small_disk / 'strip.pdf'}",
        f"lstm trace l '1 2' --out {small_disk / 'trace.pdf'}",
        f"lstm train {TINY_LSTM} --quiet --out {small_disk / 'l'}",
    ):
        result = run(arguments)
        assert (result.code, result.out) == (2, "")
        assert re.match(r"error: .*: cannot be written \(No space left on device\); free some space", result.err)
        assert result.err.count("\n") == 1
    assert {path.name for path in small_disk.iterdir()} - {"l"} == before
    assert not (small_disk / "l").exists() or not list((small_disk / "l").iterdir())
    fill.unlink()
    assert run(f"lstm train {TINY_LSTM} --quiet --out {small_disk / 'l'}").code == 0


def wait_for(path: Path, child: subprocess.Popen[str]) -> None:
    """Wait until `path` has content; fail if the child exits first."""
    while not (path.exists() and path.stat().st_size):
        assert child.poll() is None, child.communicate()
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_training_after_saving(
    number: signal.Signals, code: int, workspace: Path, tmp_path: Path, run: Run
) -> None:
    out = tmp_path / "run"
    settings = TINY_GAN.replace("--epochs 2", "--epochs 100000")
    child = process(f"gan train {settings} --sample-every 100000 --checkpoint-every 100000 --out {out}", workspace)
    wait_for(out / "metrics.jsonl", child)
    child.send_signal(number)
    output, errors = child.communicate(timeout=60)
    assert (child.returncode, output) == (code, "")
    last = errors.splitlines()[-1]
    match = re.fullmatch(rf".*run: stopped at step (\d+) by {number.name} and saved; go on with .* --resume", last)
    assert match, errors
    assert "Traceback" not in errors
    assert RunFolder.open(out).status == "interrupted"
    assert json.loads((out / "checkpoints" / "last.json").read_text()) == {"step": int(match[1])}
    sampled = run(f"gan sample {out} --out {tmp_path / 'grid.png'}")
    assert sampled.code == 0, "the saved run is usable"


@pytest.mark.parametrize("arguments", ["lstm predict l '1 2'", "lstm train --help"])
def test_a_closed_pipe_is_no_error(arguments: str, workspace: Path) -> None:
    child = process(arguments, workspace)
    child.stdout.close()
    child.wait(timeout=60)
    assert (child.returncode, child.stderr.read()) == (0, "")
    child.stderr.close()


def test_a_full_output_device_is_reported(workspace: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with Path("/dev/full").open("w") as full:
        child = process("lstm predict l '1 2'", workspace, stdout=full)
        _, errors = child.communicate(timeout=60)
    assert child.returncode == 1
    assert errors.startswith("error: output: No space left on device")
    assert errors.count("\n") == 1


def on_terminal(arguments: str, folder: Path, **variables: str) -> str:
    """Run the command line on a pseudo-terminal, and return its output."""
    reader, terminal = pty.openpty()
    environment = {name: value for name, value in ENVIRONMENT.items() if name not in ("NO_COLOR", "CI", "FORCE_COLOR")}
    environment |= {"TERM": "xterm-256color", "COLUMNS": "100", **variables}
    child = process(arguments, folder, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    output = b""
    with contextlib.suppress(OSError):  # reading fails once the child has exited
        while chunk := os.read(reader, 4096):
            output += chunk
    os.close(reader)
    assert child.wait(timeout=60) == 0, output.decode()
    return output.decode()


@for_both_kinds
def test_a_terminal_shows_a_progress_bar_to_its_end(train: str, workspace: Path, tmp_path: Path) -> None:
    output = on_terminal(f"{train} --out {tmp_path / 'run'}", workspace)
    assert re.search(r"2(\.0)?/2", output)
    assert re.search(r"\x1b\[[0-9;]*3[0-9]", output), "in color"
    assert "\x1b[?25h" in output, "the cursor is visible again"


def test_no_color_disables_colour(workspace: Path, tmp_path: Path) -> None:
    output = on_terminal(f"lstm train {TINY_LSTM} --out {tmp_path / 'run'}", workspace, NO_COLOR="1")
    assert "2/2" in output
    assert not re.search(r"\x1b\[[0-9;]*m", output)
