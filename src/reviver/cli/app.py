"""The command-line application: its commands, how a command line is parsed and run, and how errors are reported.

Settings of a training are, by precedence, options, those of the settings file, then of the preset or the run to resume.

Commands import torch only when they run, so that `--help` is fast.
"""

import contextlib
import inspect
import logging
import os
import re
import signal
import sys
import tomllib
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from cyclopts import App, ArgumentCollection, CoercionError, CycloptsError, Parameter, Token
from cyclopts.annotations import resolve_optional

from reviver.cli import check, gan, lstm, show, sweep
from reviver.cli.help import CommandFormatter, SettingsFormatter, examples
from reviver.cli.messages import INTERRUPTED, describe_failure, explain
from reviver.cli.options import DEFAULTS, FigureCommon
from reviver.errors import ConfigError
from reviver.files.file_errors import reading
from reviver.files.read import parse_json
from reviver.launch import is_launched, record_failure
from reviver.settings import validation
from reviver.settings.presets import PRESETS
from reviver.settings.validation import refuse
from reviver.text import did_you_mean, escape_controls, short_repr
from reviver.train.start import find_start
from reviver.version import __version__

FUNCTIONS: Mapping[str, tuple[Callable[..., Any], ...]] = {
    "": (show.report, show.plot, show.compare, show.explore, show.export, check.check, sweep.sweep),
    "lstm": (lstm.train, lstm.evaluate, lstm.predict, lstm.curve, lstm.trace, lstm.cells),
    "gan": (gan.train, gan.sample, gan.interpolate, gan.project, gan.evaluate, gan.train_extractor),
}
"""Functions of the commands, which have their names, by group."""
COMMANDS = {
    (*group.split(), function.__name__.replace("_", "-")): function
    for group, functions in FUNCTIONS.items()
    for function in functions
}
"""The same by the words of the commands."""
NOT_IN_FILES = ("config", "parts", "print_config", "debug")
"""Options that a settings file cannot set."""
OPTIONAL = {
    ("check",): "[FILE...]",
    ("explore",): "[RUN...]",
    ("lstm", "cells"): "[CELL]",
    ("lstm", "predict"): "RUN [DIGITS]",
}
"""Arguments of commands of which some may be left out."""
GROUPS: Mapping[str, tuple[str, str]] = {
    "": (
        "Train, evaluate and plot an LSTM written out gate by gate and a fully connected GAN.",
        """
        reviver report                          train both and write the report
        reviver lstm train --out runs/lstm      train the LSTM of the original
        reviver lstm predict runs/lstm "1 2 3 2"
        reviver gan train --out runs/gan        train a GAN on MNIST, minutes
        reviver gan interpolate runs/gan --from 3 --to 8
        reviver gan evaluate runs/gan
        reviver plot runs/lstm                  curves.png: loss and accuracy
        reviver compare runs/sweep-cells        groups of runs, over their seeds
        reviver explore runs/gan runs/lstm          try them out in a browser
        reviver export runs/lstm --format onnx --out lstm.onnx
        reviver check --start lstm              write your own, and check it
        reviver --install-completion            complete with Tab: bash, zsh, fish
        """,
    ),
    "lstm": (
        "Train, evaluate and use an LSTM.",
        """
        reviver lstm train --out runs/lstm
        reviver lstm evaluate runs/lstm --length 5 --length 10
        reviver lstm train --help
        """,
    ),
    "gan": (
        "Train, evaluate and use a GAN.",
        """
        reviver gan train --out runs/gan
        reviver gan evaluate runs/gan
        reviver gan train --help
        """,
    ),
}
"""Help and examples of `reviver` and its groups of commands."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, by default that of `sys.argv`.

    Returns:
        Exit code: 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    logging.basicConfig(format="%(message)s", handlers=[StderrHandler()], force=True)
    logging.getLogger("reviver").setLevel(logging.INFO)
    try:
        if not arguments:
            app = build_app()
            app.help_print(console=app.error_console)
            return ConfigError.exit_code
        run(arguments)
        sys.stdout.flush()
    except SystemExit as stop:  # rich raises it if the reader of the help has closed the pipe
        return int(bool(stop.code) and "--install-completion" in arguments)
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in arguments and not isinstance(error, KeyboardInterrupt):
            traceback.print_exception(error)
        return report_failure(error, arguments)
    return 0


class Application(App):
    """Application whose completion in bash offers files where it has no words, as for RUN and --out."""

    def generate_completion(self, **options: Any) -> str:
        """Return the script that completes in a shell."""
        return super().generate_completion(**options).replace("\ncomplete -F", "\ncomplete -o default -F")


def build_app(arguments: Sequence[str] = ()) -> App:
    """Build the application for a command line, which is read only for --help with --preset, to show its values."""
    app = Application(
        name="reviver",
        help=GROUPS[""][0],
        help_epilogue=examples(GROUPS[""][1]),
        help_format="plaintext",
        version=f"reviver {__version__}",
        config=(check_integers, complete_settings),
        default_parameter=Parameter(negative_iterable=""),
        help_formatter=CommandFormatter(),
    )
    app.register_install_completion_command(add_to_startup=True)
    groups: dict[str, App] = {"": app}
    for name, (text, lines) in [*GROUPS.items()][1:]:
        groups[name] = App(name=name, help=text, help_epilogue=examples(lines), sort_key=1)
        app.command(groups[name])
    for words, function in COMMANDS.items():
        doc = inspect.cleandoc(function.__doc__ or "")
        text, _, rest = doc.partition("\nExamples:\n")
        settings: dict[str, Any] = {}
        if words[-1] == "train" and words == tuple(arguments[:2]) and {"--help", "-h"} & set(arguments):
            settings["help_formatter"] = SettingsFormatter(words[0], arguments)
        if words in OPTIONAL:  # which the library calls ARGS
            settings["usage"] = f"Usage: reviver {' '.join(words)} [OPTIONS] {OPTIONAL[words]}"
        groups[words[0] if len(words) > 1 else ""].command(
            function,
            name=words[-1],
            help=re.sub(r"(?<=[\w,])\n(?=\w)", " ", text.strip()),  # the help wraps lines itself
            help_epilogue=examples(rest.partition("\n\n")[0]),
            sort_key=0,
            **settings,
        )
    return app


def run(arguments: Sequence[str]) -> None:
    """Parse `arguments` and run their command; raise ConfigError if an argument is wrong."""
    command, bound = parse(arguments)
    common = bound.arguments.get("common", DEFAULTS)
    if common.quiet:
        logging.getLogger("reviver").setLevel(logging.WARNING)
    with common.figure_style() if isinstance(common, FigureCommon) else contextlib.nullcontext():
        command(*bound.args, **bound.kwargs)


def parse(arguments: Sequence[str]) -> tuple[Callable[..., Any], inspect.BoundArguments]:
    """Return the function of a command line and its arguments; raise ConfigError if one is wrong."""
    app = build_app(arguments)
    try:
        command, bound, _ = app.parse_args(normalize(arguments), print_error=False, exit_on_error=False, verbose=False)
    except CycloptsError as error:
        raise ConfigError(explain(error)) from error
    if command == app.help_print and not {"--help", "-h"} & set(arguments):
        _, [*_, group], _ = app.parse_commands(arguments)
        choices = ", ".join(name for name in group if not name.startswith("-"))
        raise ConfigError(f"{' '.join(['reviver', *arguments])} requires a command; choose from {choices}")
    return command, bound


def normalize(arguments: Sequence[str]) -> list[str]:
    """Return the words of a command line as cyclopts reads them.

    `--curriculum false` becomes `--curriculum=false`, and the ~ of `--out=~/run`, which shells leave, the home folder.
    """
    home = os.path.expanduser("~")  # noqa: PTH111  # a Path raises an error where there is no home
    words: list[str] = []
    for word in arguments:
        if word in ("true", "false") and words and re.fullmatch("--[^=]+", words[-1]):
            words[-1] += f"={word}"
        else:
            words.append(re.sub("^(--[^=]+=)~(?=/)", lambda found: found[1] + home, word))
    return words


def check_integers(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Accept only digits and a sign as an integer: cyclopts, which calls this before it converts, would round 2.6 to 3."""
    for argument in arguments:
        hint = resolve_optional(argument.hint)
        words = [word for part in get_args(hint) for word in get_args(part)]  # of a union such as int | Literal["auto"]
        if hint is int or int in get_args(hint):
            for token in argument.tokens:
                if token.value and token.value not in words and not re.fullmatch(r"[+-]?[0-9]+", token.value):
                    raise CoercionError(token=token, argument=argument, target_type=hint)


def complete_settings(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Complete the settings of a training command by those of its preset or run, and find its run folder.

    Cyclopts calls this before it converts the other arguments.
    """
    if commands[-1:] != ("train",):
        return
    leaves = [argument for argument in arguments if not argument.children]
    options = {argument.keys[-1] if argument.keys else argument.field_info.name: argument for argument in leaves}

    def value_of(name: str) -> Any:
        return options[name].convert_and_validate() if options[name].tokens else None

    (settings,) = (argument for argument in arguments if argument.field_info.name == "settings")
    typed = {option.keys[-1]: option.convert() for option in settings.children if option.tokens}
    filed: dict[str, Any] = {}
    if (path := value_of("config")) is not None:
        for name, value in read_settings(Path(path)).items():
            if name in NOT_IN_FILES or name not in options:
                advice = did_you_mean(name, options.keys() - NOT_IN_FILES) or "see --help for the settings"
                raise ConfigError(f"{path}: {short_repr(name)[1:-1]} is unknown; {advice}")
            if options[name] in settings.children:
                filed[name] = value
            elif not options[name].tokens:
                validation.check(name, value, options[name].field_info.annotation)
                options[name].append(Token(keyword=name, implicit_value=value))
    preset, given = value_of("preset") or next(iter(PRESETS[commands[0]])), {**filed, **typed}
    try:
        config, out, parts = find_start(commands[0], preset, given, value_of("out"), resume=value_of("resume") or False)
    except ConfigError as error:
        if error.field not in filed.keys() - typed.keys():
            raise
        raise ConfigError(f"{path}: {error}") from error
    for option in (*settings.children, options["out"], options["parts"]):
        option.tokens.clear()
    settings.append(Token(keyword="settings", implicit_value=config))
    options["out"].append(Token(keyword="out", implicit_value=out))
    options["parts"].append(Token(keyword="parts", implicit_value=parts))


def read_settings(path: Path) -> dict[str, Any]:
    """Return the content of a settings file, TOML or JSON."""
    if path.suffix.lower() not in (".toml", ".json"):
        refuse("config", f"must be a .toml or .json file, got {short_repr(str(path))}")
    with reading(path, "give a valid TOML or JSON file", ConfigError):
        content = path.read_text(encoding="utf-8")
        return tomllib.loads(content) if path.suffix.lower() == ".toml" else parse_json(content)


class StderrHandler(logging.Handler):
    """Handler that writes to the current `sys.stderr`, which a progress bar replaces to keep lines above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if sys.stderr is not None:  # None if the parent process closed it
            with contextlib.suppress(OSError, ValueError):
                text, is_ours = self.format(record), record.name.startswith("reviver")  # others may have several lines
                print(escape_controls(text) if is_ours else text, file=sys.stderr, flush=True)


def report_failure(error: BaseException, arguments: Sequence[str]) -> int:
    """Print an error in one line on stderr, of several processes by rank 0 only, and return the exit code."""
    message, exit_code = describe_failure(error, arguments)
    if isinstance(error, OSError) and error.filename is None:
        # To the null device, so that Python does not fail again when it flushes stdout at exit.
        with contextlib.suppress(OSError, ValueError):  # stdout has no file descriptor, or is closed
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if is_launched():  # torchrun sends SIGTERM to all once one has failed
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if message and os.environ.get("RANK", "0") == "0":
        kind = "" if exit_code >= INTERRUPTED else "error: "
        logging.getLogger("reviver").error("%s%s", kind, " ".join(message.split()))
    if message and is_launched():
        record_failure(error)
    return exit_code
