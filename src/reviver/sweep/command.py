"""Cells that run a command of `reviver`: its options, and its result, the JSON that it prints."""

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cyclopts.argument import Argument

from reviver.cli import app
from reviver.cli.settings import PRESETS, options_of
from reviver.errors import ConfigError
from reviver.sweep.execute import check_not_training
from reviver.text import did_you_mean, one_line

NOT_IN_SWEEPS = ("out", "resume", "print_config", "json", "quiet", "debug")
"""Options that the sweep itself sets, or that suppress the result."""
LOG = "log.txt"
"""File for the warnings of a command."""

Words = tuple[str, ...]


def run(
    folder: Path, *, command: Sequence[str], options: Mapping[str, Any], evaluate: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Run a command of `reviver` in the folder of a cell; a training resumes.

    Args:
        folder: folder of the cell, for the files that the command writes.
        command: words of the command, such as `["lstm", "train"]`.
        options: options of the command by their names in a sweep file.
        evaluate: `command` and `options` of another command, which gets the run folder of the first.

    Returns:
        The result of the command; that of the other command is its value `evaluate`.

    Raises:
        ReviverError: from the command.
        Busy: if another process is training in the run folder.
    """
    result = _call(to_words(tuple(command), options, folder), folder)
    if evaluate is not None:
        words = to_words(tuple(evaluate["command"]), {"run": result["run"], **evaluate["options"]}, folder)
        result["evaluate"] = _call(words, folder)
    return result


def find_options(command: Words) -> dict[str, Argument]:
    """Return the options of a command by their names in a sweep file: `hidden_size`, or `run` for RUN.

    Raises:
        ConfigError: if the command is unknown, or has no result.
    """
    known = [words for words in app.COMMANDS if words != ("sweep",)]
    if command not in known:
        names = [" ".join(words) for words in known]
        text = " ".join(command)
        advice = did_you_mean(text, names) or f"choose from {', '.join(names)}"
        raise ConfigError(f"command {one_line(text, 60)!r} is unknown; {advice}")
    group = app.build_app()
    for word in command:
        group = group[word]
    arguments = options_of(group.assemble_argument_collection()).values()
    return {_name_of(argument): argument for argument in arguments}


def to_words(command: Words, options: Mapping[str, Any], folder: Path) -> list[str]:
    """Return the command line of a cell.

    Args:
        command: words of the command.
        options: its options by their names in a sweep file.
        folder: folder of the cell.

    Raises:
        ConfigError: if an option is unknown.
        Busy: if another process is training in the run folder.
    """
    known = find_options(command)
    positional, named = [], []
    for name, value in options.items():
        if name not in known:
            raise ConfigError(f"{name} is unknown; {did_you_mean(name, known) or 'see --help of the command'}")
        values = value if isinstance(value, list) else [value]
        option = known[name].name
        if option.startswith("-"):
            named += [f"{option}={_to_word(value)}" for value in values]
        else:
            positional += [_to_word(value) for value in values]
    return [*command, *positional, *named, *_output_words(command, known, folder), "--json", "--quiet"]


def _output_words(command: Words, known: Mapping[str, Argument], folder: Path) -> list[str]:
    """Return the options that let a command write into the folder of its cell."""
    if command in PRESETS:
        path = folder / "run"
        check_not_training(path)
        return [f"--out={path}", *(["--resume"] if (path / "run.json").exists() else [])]
    default = known["out"].field_info.default if "out" in known else None
    return [f"--out={folder / Path(default).name}"] if isinstance(default, str) else []


def _call(words: list[str], folder: Path) -> dict[str, Any]:
    """Run a command line and return the JSON that it prints; what it writes to stderr goes to `LOG`."""
    output = io.StringIO()
    with (
        (folder / LOG).open("a", encoding="utf-8") as log,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(log),
    ):
        app.run(words)
    result: dict[str, Any] = json.loads(output.getvalue())
    return result


def _name_of(argument: Argument) -> str:
    return argument.name.removeprefix("--").replace("-", "_").lower()


def _to_word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
