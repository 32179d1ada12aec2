"""The command-line application: its commands, and how a command line is parsed.

Commands import torch only when they run, so that `--help` is fast.
"""

import contextlib
import inspect
import io
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from cyclopts import App, ArgumentCollection, CoercionError, CycloptsError, Parameter
from cyclopts.annotations import resolve_optional

from reviver.cli import check, data, gan, lstm, show
from reviver.cli.help import CommandFormatter, SettingsFormatter, examples, find_preset
from reviver.cli.messages import explain
from reviver.cli.options import DEFAULTS, FigureCommon
from reviver.cli.settings import PRESETS, complete_settings
from reviver.errors import ConfigError
from reviver.version import __version__

Commands = Mapping[tuple[str, ...], Callable[..., None]]
COMMANDS: Commands = {
    ("report",): show.report,
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
    ("plot",): show.plot,
    ("compare",): show.compare,
    ("explore",): show.explore,
    ("export",): show.export,
    ("check",): check.check,
}
"""Functions of the commands by their words: of all that a sweep can run, see `program.ALL_COMMANDS`."""
OPTIONAL = {("check",): "FILE", ("explore",): "RUN"}
"""Arguments of commands that may be left out."""
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
    "data": ("Prepare data for training.", "reviver data pack photos/ --image-size 64 --out packed"),
}
"""Help and examples of `reviver` and its groups of commands."""


def build_app(arguments: Sequence[str] = (), commands: Commands = COMMANDS) -> App:
    """Build the application for a command line, which is read only for --help with --preset, to show its values."""
    app = App(
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
    groups = {"": app}
    for name, (text, lines) in [*GROUPS.items()][1:]:
        groups[name] = App(name=name, help=text, help_epilogue=examples(lines), sort_key=1)
        app.command(groups[name])
    for words, function in commands.items():
        doc = inspect.cleandoc(function.__doc__ or "")
        text, _, rest = doc.partition("\nExamples:\n")
        settings: dict[str, Any] = {}
        if words in PRESETS and words == tuple(arguments[:2]) and {"--help", "-h"} & set(arguments):
            settings["help_formatter"] = SettingsFormatter(PRESETS[words], find_preset(PRESETS[words], arguments))
        if words in OPTIONAL:  # which the library calls ARGS
            settings["usage"] = f"Usage: reviver {words[0]} [OPTIONS] [{OPTIONAL[words]}...]"
        groups[words[0] if len(words) > 1 else ""].command(
            function,
            name=words[-1],
            help=re.sub(r"(?<=\w)\n(?=\w)", " ", text.strip()),  # the help wraps lines itself
            help_epilogue=examples(rest.partition("\n\n")[0]),
            sort_key=0,
            **settings,
        )
    return app


def run(arguments: Sequence[str], commands: Commands = COMMANDS) -> None:
    """Parse `arguments` and run their command; raise ConfigError if an argument is wrong."""
    command, bound = parse(arguments, commands)
    common = bound.arguments.get("common", DEFAULTS)
    if common.quiet:
        logging.getLogger("reviver").setLevel(logging.WARNING)
    with common.figure_style() if isinstance(common, FigureCommon) else contextlib.nullcontext():
        command(*bound.args, **bound.kwargs)


def parse(arguments: Sequence[str], commands: Commands = COMMANDS) -> tuple[Callable[..., Any], inspect.BoundArguments]:
    """Return the function of a command line and its arguments; raise ConfigError if one is wrong."""
    app = build_app(arguments, commands)
    try:
        command, bound, _ = app.parse_args(normalize(arguments), print_error=False, exit_on_error=False, verbose=False)
    except CycloptsError as error:
        raise ConfigError(explain(error)) from error
    if command == app.help_print and not {"--help", "-h"} & set(arguments):
        _, [*_, group], _ = app.parse_commands(arguments)
        choices = ", ".join(name for name in group if not name.startswith("-"))
        raise ConfigError(f"{' '.join(['reviver', *arguments])} requires a command; choose from {choices}")
    return command, bound


def check_words(arguments: Sequence[str], commands: Commands = COMMANDS) -> None:
    """Check a command line without running it, and the settings of a training together; a wrong one is a ConfigError."""
    if tuple(arguments[:2]) not in PRESETS:
        parse(arguments, commands)
        return
    command, bound = parse([*arguments, *({"--print-config"} - {*arguments})], commands)
    with contextlib.redirect_stdout(io.StringIO()):
        command(*bound.args, **bound.kwargs)


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
    """Accept only digits and a sign as an integer, not 2.0, 0x10 or 1_000. Cyclopts calls this before it converts."""
    for argument in arguments:
        hint = resolve_optional(argument.hint)
        words = [word for part in get_args(hint) for word in get_args(part)]  # of a union such as int | Literal["auto"]
        if hint is int or int in get_args(hint):
            for token in argument.tokens:
                if token.value and token.value not in words and not re.fullmatch(r"[+-]?[0-9]+", token.value):
                    raise CoercionError(token=token, argument=argument, target_type=hint)
