"""Help: every command, option and setting is explained, and every example runs; what is imported, and public names."""

import contextlib
import dataclasses
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import reviver
from reviver.cli import main
from reviver.cli.app import COMMANDS, build_app, parse
from reviver.data.images.named import Digits, read_mnist
from reviver.settings.gan import GANConfig
from reviver.settings.presets import PRESETS, SECONDS
from reviver.settings.validation import show_value

MEASUREMENTS = Path(__file__).parents[2] / "docs" / "measurements"
GROUPS = sorted({words[:length] for words in COMMANDS for length in range(len(words))})


@cache
def help_of(*words: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(output):
        assert main([*words, "--help"]) == 0
    return output.getvalue()


def examples_of(words: tuple[str, ...]) -> list[str]:
    return help_of(*words).partition("Examples:\n")[2].splitlines()


def arguments_of(example: str) -> list[str]:
    return shlex.split(re.split(r"\s{2,}|>", example.strip().removeprefix("reviver "))[0])


@pytest.mark.parametrize("words", [*COMMANDS, *GROUPS], ids=" ".join)
def test_every_command_has_help_and_examples_that_parse(words: tuple[str, ...]) -> None:
    text = help_of(*words)
    assert text.startswith("Usage: reviver")
    assert "ARGS" not in text.splitlines()[0]
    assert "docs/" not in text, "an installed package has no docs"
    examples = examples_of(words)
    assert " ".join(["reviver", *words]) in "\n".join(examples)
    for line in examples:
        assert line.startswith("  reviver"), "no line is too long"
        arguments = arguments_of(line)
        if "--help" not in arguments:
            known = ["gru" if word == "mine.cell" else word for word in arguments if word != "--resume"]
            parse(known)  # no run and no file exist here
    if words in COMMANDS:
        app = build_app()
        for word in words:
            app = app[word]
        for argument in app.assemble_argument_collection(parse_docstring=True):
            assert argument.children or argument.parameter.help.strip(), argument.name


@pytest.mark.parametrize(("kind", "name"), [("lstm", None), ("lstm", "recall"), ("gan", None), ("gan", "original")])
def test_help_of_training_explains_every_setting_with_the_values_of_a_preset(kind: str, name: str | None) -> None:
    whole = help_of(kind, "train", *(["--preset", name] if name else []))
    text = " ".join(re.sub(r"[│╭╮╰╯─]|--no-[\w-]+", " ", whole).split())
    preset = PRESETS[kind][name or next(iter(PRESETS[kind]))]
    for field in dataclasses.fields(preset):
        option, value = "--" + field.name.replace("_", "-"), re.escape(show_value(getattr(preset, field.name)))
        assert re.search(rf"{option} [^\[]*?[A-Z].*?\[default: {value}[;\]]", text), option
    if (kind, name) == ("gan", None):
        assert re.search(r"--image-size INT [^\[]*\[default: 28; at least 4, at most 1024\]", text)
        assert re.search(r"--preset \S+ Settings to start from, with their time on two cores: best 5 min, ", text)


def test_times_of_presets_are_those_of_the_measurements() -> None:
    """Within a factor of 1.5 of what docs/measurements have, since machines differ."""
    checked = set()
    epoch = json.loads((MEASUREMENTS / "gan_epoch.json").read_text())["seconds_per_epoch"]["ours"]["median"]
    student = json.loads((MEASUREMENTS / "first_quarter.json").read_text())["student"]
    alone = sum(seconds for step, seconds in student.items() if "reviver gan train" in step)
    for kind, file in (("lstm", "recall"), ("gan", "gan_quality")):
        seconds = SECONDS[kind]
        assert seconds.keys() == PRESETS[kind].keys()
        goals = json.loads((MEASUREMENTS / f"{file}.json").read_text())["goals"]
        for name, preset in PRESETS[kind].items():
            rows = goals.get({"original": "report"}.get(name, name), {"rows": []})["rows"]
            if kind == "gan" and preset.batch_size == GANConfig().batch_size:
                rows = [{"seconds": epoch, "epochs": 1}]
            if name.startswith("best"):  # the runs of gan_quality share the cores
                rows = [{"seconds": alone, "epochs": PRESETS["gan"]["best"].epochs}]
            scales = [1 if kind == "lstm" else preset.epochs / row["epochs"] for row in rows]
            measured = [row["seconds"] * scale for row, scale in zip(rows, scales, strict=True)]
            if measured:
                assert min(measured) / 1.5 <= seconds[name] <= 1.5 * max(measured), name
                checked.add(name)
    assert len(checked) > 12


@pytest.fixture(scope="module")
def example_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a folder with the runs and files that examples name, and an MNIST of 64 images."""
    folder = tmp_path_factory.mktemp("examples")
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for name in ("photos/1", "photos/2", "photos/3", "a", "b", "three", "eight"):
        Image.fromarray(rng.integers(0, 256, (70, 70), dtype=np.uint8)).save(folder / f"{name}.png")
    arrays = {"images": rng.integers(0, 256, (40, 28, 28), dtype=np.uint8), "labels": np.arange(40) % 10}
    np.savez(folder / "labeled.npz", **arrays, test_images=arrays["images"], test_labels=arrays["labels"])
    rows = "".join(f'"{rng.random()} {rng.random()} {rng.random()}",{"ab"[i % 2]}\n' for i in range(40))
    for name in ("mine", "test", "new"):
        (folder / f"{name}.csv").write_text("sequence,label\n" + rows)
    (folder / "learning-rates.toml").write_text(
        'command = "lstm train"\n[settings]\nlength = 3\nepochs = 1\nhidden_size = 4\n[grid]\nlearning_rate = [1e-3]\n'
    )
    digits = {part: Digits(*(array[:64] for array in read_mnist(part))) for part in ("train", "test")}
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr("reviver.data.images.image_set.read_mnist", lambda part="train": digits[part])
        for name, words in RUNS.items():
            assert main([*shlex.split(words), *shortened(shlex.split(words)), "--out", f"runs/{name}", "--quiet"]) == 0
        extractor = "gan train-extractor --data labeled.npz --epochs 1 --out fashion.safetensors --quiet"
        assert main(extractor.split()) == 0
        for copy in ("deep", "long", "recall"):
            shutil.copytree("runs/lstm", f"runs/{copy}")
        shutil.copytree("runs/mine", "runs/patients")
        shutil.copytree("runs/lstm", "runs/sweep-cells/trials/0/run")
        yield folder


RUNS = {
    "lstm": "lstm train",
    "rnn": "lstm train --cell rnn",
    "mine": "lstm train --preset series --data mine.csv",
    "gan": "gan train",
    "fashion": "gan train --data labeled.npz",
    "conditional": "gan train --conditional",
}
"""Trainings of the runs that examples name."""


def options_in(text: str) -> dict[str, str]:
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


SHORTER = {
    "lstm train": options_in("--epochs 1 --hidden-size 8 --data-size 60"),
    "gan train": options_in("--epochs 1 --batch-size 16 --latent-size 8 --batch-norm-samples 9 --eval-samples 9"),
    "gan evaluate": options_in("--num-samples 20"),
    "gan sample": options_in("--num-samples 25"),
    "gan train-extractor": options_in("--epochs 1"),
    "lstm curve": options_in("--sequences 64 --jobs 1"),
}
"""Options that shorten the examples of a command."""
REPLACED = {"fashion-mnist": "labeled.npz", "$(cat digits.txt)": "1 2 3 2"}
"""Words of examples that this test replaces."""
NOT_RUN = (
    *("report", "sweep learning-rates.toml --", "lstm curve$", "lstm benchmark", "--install", "series.parquet"),
    *("--from 3", "interpolate runs/fashion", "--stream", "--view CODE", "check my", "check submissions"),
    *(r"\*", r"mine\.cell"),
)
"""Examples that need hours, a cluster, pyarrow, a shell, stdin, own code, or a GAN that has learned digits, or change the shell."""


def shortened(arguments: list[str]) -> list[str]:
    options = SHORTER.get(" ".join(arguments[:2]), {})
    return [word for option, value in options.items() if option not in arguments for word in (option, value)]


HEAVY = [
    "lstm trace",
    "lstm curve",
    "lstm benchmark",
    "gan project",
    "gan interpolate",
    "plot",
    "compare",
    "sweep",
    "explore",
]
"""Commands whose examples take seconds each; tests of their own run these commands quicker."""


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(words, marks=[pytest.mark.long] * (" ".join(words) in HEAVY))
        for words in [*COMMANDS, *GROUPS]
        if words
    ],
    ids=" ".join,
)
def test_examples_run(words: tuple[str, ...], example_folder: Path) -> None:
    for line in examples_of(words):
        arguments = arguments_of(line)
        if "--help" in arguments or any(re.search(part, " ".join(arguments)) for part in NOT_RUN):
            continue
        options = SHORTER.get(" ".join(arguments[:2]), {})
        values = [options.get(option, value) for option, value in zip(["", *arguments], arguments, strict=False)]
        values = [REPLACED.get(value, value) for value in values]
        if arguments[1].startswith("train") and "--out" in values and "--resume" not in values:
            path = Path(values[values.index("--out") + 1])
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
        assert main([*values, *shortened(values)]) == 0, line


def test_completion(here: Path) -> None:
    scripts = {shell: build_app().generate_completion(shell=shell) for shell in ("bash", "zsh", "fish")}
    for script in scripts.values():
        for word in ("interpolate", "hidden-dropout", "recall-100000"):
            assert word in script

    Path("my_run").mkdir()
    Path("script").write_text(scripts["bash"])
    typed = "COMP_WORDS=(reviver plot my) COMP_CWORD=2; _reviver; echo words: ${COMPREPLY[@]}; complete -p reviver"
    found = subprocess.run(
        ["bash", "-c", f"source ./script; {typed}"], capture_output=True, text=True, check=True
    ).stdout
    assert found == "words:\ncomplete -o default -F _reviver reviver\n", "bash completes files where there are no words"


def test_no_arguments_print_the_help_and_fail(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err[:14]) == ("", "Usage: reviver")
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"reviver {reviver.__version__}\n"


def output_of(script: str, folder: Path) -> list[str]:
    """Return the words that a script prints in a new interpreter."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=folder)
    return done.stdout.split()


def test_what_needs_no_network_loads_no_torch_and_the_layer_only_pydantic_and_safetensors(tmp_path: Path) -> None:
    script = """
import contextlib, io, sys
import reviver
from reviver.cli.app import main
with contextlib.redirect_stdout(io.StringIO()):
    codes = [main(["lstm", "train", option]) for option in ("--help", "--print-config")]
print(codes == [0, 0], *{"torch", "matplotlib", "numpy", "PIL", "tensorboardX", "jinja2", "typst"} & set(sys.modules))
"""
    assert output_of(script, tmp_path) == ["True"]
    script = """
import sys, torch, numpy
before = set(sys.modules)
from reviver import LSTM
LSTM(3, 4, hidden_dropout=0.5)
old, new = ({name.split(".")[0] for name in names} for names in (before, set(sys.modules)))
found = new - old - set(sys.stdlib_module_names)
print(*(name for name in found if not name.startswith("_")))
"""
    of_pydantic = {"pydantic", "pydantic_core", "annotated_types", "typing_inspection", "typing_extensions"}
    assert set(output_of(script, tmp_path)) - of_pydantic == {"reviver", "safetensors"}
