"""The command-line application: its commands, and how it reports their errors.

Commands import torch only when they run, so that `--help` is fast.
"""

import contextlib
import inspect
import itertools
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, get_args

from cyclopts import App, ArgumentCollection, CoercionError, CycloptsError, Parameter
from cyclopts.annotations import resolve_optional

from reviver.cli import data, gan, lstm
from reviver.cli.explore import explore
from reviver.cli.export import export
from reviver.cli.help import SettingsFormatter
from reviver.cli.messages import explain
from reviver.cli.options import DEFAULTS, FigureCommon
from reviver.cli.plot import plot
from reviver.cli.report import report
from reviver.cli.settings import PRESETS, fill_settings
from reviver.cli.sweep import sweep
from reviver.errors import ConfigError, ReviverError
from reviver.runs.distributed.failure import record_failure
from reviver.runs.distributed.launch import is_launched
from reviver.settings.fields import choose_preset
from reviver.version import __version__

INTERRUPTED = 130
COMMANDS: dict[tuple[str, ...], Callable[..., None]] = {
    ("report",): report,
    ("lstm", "train"): lstm.train,
    ("lstm", "evaluate"): lstm.evaluate,
    ("lstm", "predict"): lstm.predict,
    ("lstm", "curve"): lstm.curve,
    ("lstm", "trace"): lstm.trace,
    ("gan", "train"): gan.train,
    ("gan", "sample"): gan.sample,
    ("gan", "interpolate"): gan.interpolate,
    ("gan", "project"): gan.project,
    ("gan", "evaluate"): gan.evaluate,
    ("gan", "train-extractor"): gan.train_extractor,
    ("data", "pack"): data.pack,
    ("sweep",): sweep,
    ("plot",): plot,
    ("explore",): explore,
    ("export",): export,
}


def build_app(arguments: Sequence[str] = ()) -> App:
    """Build the application.

    Args:
        arguments: command line; read only for --help with --preset, which shows the values of that preset.

    Raises:
        ConfigError: if the preset is unknown.
    """
    app = App(
        name="reviver",
        help="Train, evaluate and plot an LSTM written out gate by gate and a fully connected GAN.",
        help_epilogue=_examples(
            "reviver report                          train both and write the report",
            "reviver lstm train --out runs/lstm      train the LSTM of the original",
            'reviver lstm predict runs/lstm "1 2 3 2"',
            "reviver gan train --preset best --out runs/gan",
            "reviver gan interpolate runs/gan --from 3 --to 8",
            "reviver gan evaluate runs/gan",
            "reviver plot runs/lstm                  curves.png: loss and accuracy",
            "reviver explore runs/gan runs/lstm          try them out in a browser",
            "reviver export runs/lstm --format onnx --out lstm.onnx",
            "reviver --install-completion            complete with Tab: bash, zsh, fish",
        ),
        help_format="plaintext",
        version=f"reviver {__version__}",
        config=(fill_settings, check_integers),
        default_parameter=Parameter(negative_iterable=""),
    )
    app.register_install_completion_command(add_to_startup=True)
    groups: dict[tuple[str, ...], App] = {(): app}
    for name, network, evaluation in (("lstm", "an LSTM", " --length 5 --length 10"), ("gan", "a GAN", "")):
        examples = _examples(
            f"reviver {name} train --out runs/{name}",
            f"reviver {name} evaluate runs/{name}{evaluation}",
            f"reviver {name} train --help",
        )
        help_text = f"Train, evaluate and use {network}."
        groups[name,] = App(name=name, help=help_text, help_epilogue=examples, sort_key=1)
        app.command(groups[name,])
    example = _examples("reviver data pack photos/ --image-size 64 --out packed")
    groups["data",] = App(name="data", help="Prepare data for training.", help_epilogue=example, sort_key=1)
    command_with_help = tuple(arguments[:2]) if {"--help", "-h"} & set(arguments) else ()
    for words, function in COMMANDS.items():
        description, _, rest = inspect.cleandoc(function.__doc__ or "").partition("\nExamples:\n")
        example_lines, _, _ = rest.partition("\n\n")
        settings: dict[str, Any] = {}
        if words in PRESETS and words == command_with_help:
            preset = _find_preset(arguments)
            settings["help_formatter"] = SettingsFormatter(preset, choose_preset(PRESETS[words], preset))
        groups[words[:-1]].command(
            function,
            name=words[-1],
            help=description.strip(),
            help_epilogue=_examples(*(line.strip() for line in example_lines.splitlines())),
            sort_key=0,
            **settings,
        )
    app.command(groups["data",])
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: words after the program name; by default those of `sys.argv`.

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
        if sys.stdout is not None:  # None if the parent process closed it
            sys.stdout.flush()
    except SystemExit as stop:  # rich raises it if the reader of the help has closed the pipe
        return int(bool(stop.code) and "--install-completion" in arguments)
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in arguments and not isinstance(error, KeyboardInterrupt):
            traceback.print_exception(error)
        return report_failure(error)
    return 0


def run(arguments: Sequence[str]) -> None:
    """Parse `arguments` and run their command.

    Raises:
        ConfigError: if an argument is wrong.
        ReviverError: from the command.
    """
    command, bound = parse(arguments)
    common = bound.arguments.get("common", DEFAULTS)
    if common.quiet:
        logging.getLogger("reviver").setLevel(logging.WARNING)
    with common.figure_style() if isinstance(common, FigureCommon) else contextlib.nullcontext():
        command(*bound.args, **bound.kwargs)


def parse(arguments: Sequence[str]) -> tuple[Callable[..., Any], inspect.BoundArguments]:
    """Return the function of a command line and its arguments.

    Raises:
        ConfigError: if an argument is wrong.
    """
    app = build_app(arguments)
    try:
        command, bound, _ = app.parse_args(
            join_flag_values(arguments), print_error=False, exit_on_error=False, verbose=False
        )
    except CycloptsError as error:
        raise ConfigError(explain(error)) from error
    if command == app.help_print and not {"--help", "-h"} & set(arguments):
        _, [*_, group], _ = app.parse_commands(arguments)
        choices = [name for name in group if not name.startswith("-")]
        raise ConfigError(f"{' '.join(['reviver', *arguments])} requires a command; choose from {', '.join(choices)}")
    return command, bound


def join_flag_values(arguments: Sequence[str]) -> list[str]:
    """Join `--curriculum false` to `--curriculum=false`, since cyclopts reads the value of a flag only after `=`."""
    joined = list(arguments[:1])
    for option, value in itertools.pairwise(arguments):
        if value in ("true", "false") and option.startswith("--") and "=" not in option:
            joined[-1] = f"{option}={value}"
        else:
            joined.append(value)
    return joined


def check_integers(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Accept only digits and a sign as an integer, not 2.0, 0x10 or 1_000. Cyclopts calls this before it converts.

    Raises:
        CoercionError: if an integer is written in another way.
    """
    for argument in arguments:
        hint = resolve_optional(argument.hint)
        words = [word for part in get_args(hint) for word in get_args(part)]  # of a union such as int | Literal["auto"]
        if hint is int or int in get_args(hint):
            for token in argument.tokens:
                if token.value and token.value not in words and not re.fullmatch(r"[+-]?[0-9]+", token.value):
                    raise CoercionError(token=token, argument=argument, target_type=hint)


class StderrHandler(logging.Handler):
    """Handler that writes to the current `sys.stderr`, which a progress bar replaces to keep lines above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if sys.stderr is not None:  # None if the parent process closed it
            with contextlib.suppress(OSError, ValueError):
                print(self.format(record), file=sys.stderr, flush=True)


def report_failure(error: BaseException) -> int:
    """Print an error in one line on stderr, and return the exit code.

    Of several processes that torchrun has started, only rank 0 prints.
    """
    message, exit_code = describe_failure(error)
    if is_launched():  # torchrun sends SIGTERM to all once one has failed
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if message and os.environ.get("RANK", "0") == "0":
        kind = "" if exit_code >= INTERRUPTED else "error: "
        print(f"{kind}{' '.join(message.split())}", file=sys.stderr, flush=True)
    if message and is_launched():
        record_failure(error)
    return exit_code


def describe_failure(error: BaseException) -> tuple[str, int]:
    """Return the message of an error, empty if there is nothing to print, and the exit code."""
    match error:
        case ConfigError(field=field) if field and str(error).startswith(field):
            option = "--" + field.replace("_", "-")
            message, exit_code = option + str(error).removeprefix(field), error.exit_code
        case ReviverError():
            message, exit_code = str(error), error.exit_code
        case KeyboardInterrupt():
            message, exit_code = "stopped by Ctrl-C", INTERRUPTED
        case BrokenPipeError():  # the reader of stdout has closed the pipe
            discard_output()
            return "", 0
        case OSError():  # not from a file that we write: files/read.py turns those into RunFolderError
            if error.filename is None:
                discard_output()
            reason = error.strerror or error
            message = f"{error.filename or 'output'}: {reason}; fix this and run the command again"
            exit_code = 1
        case MemoryError() | RuntimeError() if isinstance(error, MemoryError) or "memory" in str(error):
            message, exit_code = "out of memory; use smaller sizes or batches", 1
        case _:
            message, exit_code = f"{type(error).__name__}: {error}; run again with --debug, and report this bug", 1
    return message, exit_code


def discard_output() -> None:
    """Redirect stdout to the null device, so that Python does not fail again when it flushes stdout at exit."""
    if sys.stdout is not None:
        with contextlib.suppress(OSError, ValueError):  # stdout has no file descriptor, or is closed
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _find_preset(arguments: Sequence[str]) -> str:
    """Return the last value of --preset in arguments that are not parsed yet, by default `report`."""
    words: list[str] = []
    for argument in arguments:
        words += argument.split("=", 1) if argument.startswith("--preset=") else [argument]
    presets = [value for option, value in itertools.pairwise(words) if option == "--preset"]
    return presets[-1] if presets else "report"


def _examples(*lines: str) -> str:
    """Return the paragraph of examples of a help text."""
    return "\n".join(["Examples:", *(f"  {line}" for line in lines)])
