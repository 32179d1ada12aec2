"""The application: its commands, and what becomes of their errors.

Networks are imported only once a command runs, so that `--help` is quick.
"""

import contextlib
import inspect
import itertools
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from cyclopts import App, ArgumentCollection, CoercionError, CycloptsError, Parameter
from cyclopts.annotations import resolve_optional

import reviver
from reviver.cli import gan, lstm
from reviver.cli.help import SettingsFormatter
from reviver.cli.messages import explain
from reviver.cli.report import report
from reviver.cli.settings import PRESETS, fill_settings
from reviver.config import choose_preset
from reviver.errors import ConfigError, ReviverError

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
}


def build_app(arguments: Sequence[str] = ()) -> App:
    """Build the application. `arguments` are read only for --help with a --preset, whose values it then shows.

    Raises:
        ConfigError: if there is no such preset.
    """
    app = App(
        name="reviver",
        help="Train, measure and plot an LSTM written out gate by gate and a fully connected GAN.",
        help_epilogue=_examples(
            "reviver report                          train both, write the report",
            "reviver lstm train --out runs/lstm      train the LSTM of the report",
            'reviver lstm predict runs/lstm "1 2 3 2"',
            "reviver gan train --preset best --out runs/gan",
            "reviver gan interpolate runs/gan --from 3 --to 8",
            "reviver gan evaluate runs/gan",
            "reviver --install-completion            complete with Tab: bash, zsh, fish",
        ),
        help_format="plaintext",
        version=f"reviver {reviver.__version__}",
        config=(fill_settings, check_integers),
        default_parameter=Parameter(negative_iterable=""),
    )
    app.register_install_completion_command(add_to_startup=True)
    groups: dict[tuple[str, ...], App] = {(): app}
    for name, text in (("lstm", "Train and use the LSTM."), ("gan", "Train and use the GAN.")):
        groups[name,] = App(name=name, help=text, help_epilogue=_examples(f"reviver {name} train --help"), sort_key=1)
        app.command(groups[name,])
    helped = tuple(arguments[:2]) if {"--help", "-h"} & set(arguments) else ()
    for words, function in COMMANDS.items():
        description, _, rest = inspect.cleandoc(function.__doc__ or "").partition("\nExamples:\n")
        examples, _, _ = rest.partition("\n\n")
        settings: dict[str, Any] = {}
        if words in PRESETS and words == helped:
            preset = _preset_named(arguments)
            settings["help_formatter"] = SettingsFormatter(preset, choose_preset(PRESETS[words], preset))
        groups[words[:-1]].command(
            function,
            name=words[-1],
            help=description.strip(),
            help_epilogue=_examples(*(line.strip() for line in examples.splitlines())),
            sort_key=0,
            **settings,
        )
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code: 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    logging.basicConfig(format="%(message)s", handlers=[StderrHandler()], force=True)
    logging.getLogger("reviver").setLevel(logging.INFO)
    try:
        if not arguments:
            app = build_app()
            app.help_print(console=app.error_console)
            return ConfigError.exit_code
        run(arguments)
        if sys.stdout is not None:  # closed by whoever started us
            sys.stdout.flush()
    except SystemExit as end:  # rich raises it if whoever read the help has gone
        return int(bool(end.code) and "--install-completion" in arguments)
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in arguments and not isinstance(error, KeyboardInterrupt):
            traceback.print_exception(error)
        return report_failure(error)
    return 0


def run(arguments: Sequence[str]) -> None:
    """Parse `arguments` and call their command.

    Raises:
        ConfigError: if they are wrong.
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
        raise ConfigError(f"{' '.join(['reviver', *arguments])} needs a command; choose from {', '.join(choices)}")
    if "common" in bound.arguments and bound.arguments["common"].quiet:
        logging.getLogger("reviver").setLevel(logging.WARNING)
    command(*bound.args, **bound.kwargs)


def join_flag_values(arguments: Sequence[str]) -> list[str]:
    """Read `--curriculum false` as `--curriculum=false`: cyclopts takes a flag's value only behind an equals sign."""
    joined = list(arguments[:1])
    for option, value in itertools.pairwise(arguments):
        if value in ("true", "false") and option.startswith("--") and "=" not in option:
            joined[-1] = f"{option}={value}"
        else:
            joined.append(value)
    return joined


def check_integers(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse integers that are written otherwise, such as 2.0, 0x10 or 1_000. Cyclopts calls this before it converts."""
    for argument in arguments:
        if resolve_optional(argument.hint) in (int, list[int]):
            for token in argument.tokens:
                if token.value and not re.fullmatch(r"[+-]?[0-9]+", token.value):
                    raise CoercionError(token=token, argument=argument, target_type=int)


class StderrHandler(logging.Handler):
    """Writes to what `sys.stderr` is by then: a progress bar takes its place, so that lines come above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if sys.stderr is not None:  # closed by whoever started us
            with contextlib.suppress(OSError, ValueError):
                print(self.format(record), file=sys.stderr, flush=True)


def report_failure(error: BaseException) -> int:
    """Print in one line on stderr what went wrong; returns the exit code."""
    match error:
        case ConfigError(field=field) if field and str(error).startswith(field):
            option = "--" + field.replace("_", "-")
            message, exit_code = option + str(error).removeprefix(field), error.exit_code
        case ReviverError():
            message, exit_code = str(error), error.exit_code
        case KeyboardInterrupt():
            message, exit_code = "stopped by Ctrl-C", INTERRUPTED
        case BrokenPipeError():  # whoever read our output has gone
            discard_output()
            return 0
        case OSError():  # files that we write explain themselves, see runs/files.py
            if error.filename is None:
                discard_output()
            reason = error.strerror or error
            message = f"{error.filename or 'output'}: {reason}; put that right and run the command again"
            exit_code = 1
        case MemoryError() | RuntimeError() if isinstance(error, MemoryError) or "memory" in str(error):
            message, exit_code = "out of memory; use smaller sizes or batches", 1
        case _:
            message, exit_code = f"{type(error).__name__}: {error}; run again with --debug and report it", 1
    kind = "" if exit_code >= INTERRUPTED else "error: "
    print(f"{kind}{' '.join(message.split())}", file=sys.stderr)
    return exit_code


def discard_output() -> None:
    """Send what stdout still holds to nowhere, so that Python does not complain of it again as it ends."""
    if sys.stdout is not None:
        with contextlib.suppress(OSError, ValueError):  # it has no file, or is closed
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _preset_named(arguments: Sequence[str]) -> str:
    """The last value of --preset, before anything is parsed."""
    words = [word for one in arguments for word in (one.split("=", 1) if one.startswith("--preset=") else [one])]
    named = [value for option, value in itertools.pairwise(words) if option == "--preset"]
    return named[-1] if named else "report"


def _examples(*lines: str) -> str:
    return "\n".join(["Examples:", *(f"  {line}" for line in lines)])
