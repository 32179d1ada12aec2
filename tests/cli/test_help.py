"""Help: every command, option and setting is explained with examples that parse; what is imported, and public names."""

import contextlib
import dataclasses
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from cyclopts.completion.detect import ShellDetectionError

import reviver
from reviver.cli import main
from reviver.cli.app import COMMANDS, build_app, parse
from reviver.settings.validation import show_value
from tests.cli.tiny import PRESETS, TINY_LSTM

GROUPS = sorted({words[:length] for words in COMMANDS for length in range(len(words))})


def help_of(*words: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(output):
        assert main([*words, "--help"]) == 0
    return output.getvalue()


@pytest.mark.parametrize("words", [*COMMANDS, *GROUPS], ids=" ".join)
def test_every_command_has_help_and_examples_that_parse(words: tuple[str, ...]) -> None:
    text = help_of(*words)
    assert text.startswith("Usage: reviver")
    assert "ARGS" not in text.splitlines()[0]
    assert "docs/" not in text, "an installed package has no docs"
    examples = text.partition("Examples:\n")[2]
    assert " ".join(["reviver", *words]) in examples
    for line in examples.splitlines():
        assert line.startswith("  reviver"), "no line is too long"
        arguments = shlex.split(re.split(r"\s{2,}|>", line.strip().removeprefix("reviver "))[0])
        if "--help" not in arguments:
            parse([argument for argument in arguments if argument != "--resume"])  # no run exists here
    if words in COMMANDS:
        app = build_app()
        for word in words:
            app = app[word]
        for argument in app.assemble_argument_collection(parse_docstring=True):
            assert argument.children or argument.parameter.help, argument.name


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


def test_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    for shell in ("bash", "zsh", "fish"):
        script = build_app().generate_completion(shell=shell)
        for word in ("interpolate", "hidden-dropout", "recall-100000"):
            assert word in script

    def fail_to_detect() -> str:
        raise ShellDetectionError

    monkeypatch.setattr("cyclopts.completion.detect.detect_shell", fail_to_detect)
    assert main(["--install-completion"]) == 1


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
found = {name.split(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
print(*(name for name in found if not name.startswith("_")))
"""
    of_pydantic = {"pydantic", "pydantic_core", "annotated_types", "typing_inspection", "typing_extensions"}
    assert set(output_of(script, tmp_path)) - of_pydantic == {"reviver", "safetensors"}


def test_training_loads_no_compiler_which_is_still_there(tmp_path: Path) -> None:
    """It takes longer to import than the original's run takes to train."""
    script = f"""
import sys
from reviver.cli.app import main
from reviver.cli.options import preparing_training
code = main("lstm train {TINY_LSTM} --out run --quiet".split())
slow = {{"torch._dynamo", "sympy", "scipy", "sklearn", "pandas", "matplotlib.pyplot"}}
found = [name for name in sys.modules if name in slow or name.startswith("torch._dynamo")]
import torch
with preparing_training(""):
    usable = callable(torch._dynamo.optimize)
print("end", code, found, usable, torch._dynamo is sys.modules["torch._dynamo"], torch._dynamo.__file__ is not None)
"""
    words = output_of(script, tmp_path)
    assert words[words.index("end") :] == ["end", "0", "[]", "True", "True", "True"]


def test_public_names() -> None:
    for name in reviver.__all__:
        assert getattr(reviver, name).__name__ == name
    assert set(reviver.__all__) <= set(dir(reviver))
    with pytest.raises(AttributeError, match="module 'reviver' has no attribute 'nothing'"):
        _ = reviver.nothing
