"""Settings of a training command, by precedence: options, settings file, then the preset or the run to resume."""

import dataclasses
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w
from cyclopts import App, ArgumentCollection, Token
from cyclopts.argument import Argument

from reviver.cli.options import declared_type
from reviver.errors import ConfigError
from reviver.files.json import parse_json
from reviver.files.read import read_file
from reviver.settings.gan_presets import PRESETS as GAN_PRESETS
from reviver.settings.lstm_presets import PRESETS as LSTM_PRESETS
from reviver.settings.validation import check
from reviver.text import did_you_mean, one_line, short_repr

PRESETS: Mapping[tuple[str, ...], Mapping[str, Any]] = {
    ("lstm", "train"): LSTM_PRESETS,
    ("gan", "train"): GAN_PRESETS,
}
"""Presets by command; the first is the default."""
MAX_SETTINGS_BYTES = 1 << 16
NOT_IN_FILES = ("config", "print_config", "debug")
"""Options that a settings file cannot set."""


def fill_from_file(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Set the options of a training command that are not given to the values in the file of --config, if there is one.

    Cyclopts calls this before it converts them.
    """
    options = options_of(arguments)
    if commands in PRESETS and options["config"].tokens:
        path = Path(options["config"].convert_and_validate())
        for name, value in read_settings(path, options).items():
            if not options[name].tokens:
                options[name].append(Token(keyword=name, implicit_value=value, source=str(path)))


def read_settings(path: Path, options: Mapping[str, Argument]) -> dict[str, Any]:
    """Return the values in a TOML or JSON file by their names in `options`, of which it may set all but NOT_IN_FILES."""
    if path.suffix.lower() not in (".toml", ".json"):
        raise ConfigError(f"config must be a .toml or .json file, got {short_repr(str(path))}", field="config")
    try:
        content = read_file(path, MAX_SETTINGS_BYTES)
        settings = tomllib.loads(content.decode()) if path.suffix.lower() == ".toml" else parse_json(content)
    except OSError as error:
        raise ConfigError(f"config {path} cannot be read ({error.strerror or error})", field="config") from error
    except (ValueError, RecursionError) as error:
        problem = "it is too deep" if isinstance(error, RecursionError) else one_line(error)
        kind = path.suffix[1:].upper()
        raise ConfigError(f"config {path} is not valid {kind} ({problem}); correct the file", field="config") from error
    known = [name for name in options if name not in NOT_IN_FILES]
    for name, value in settings.items():
        if name not in known:
            advice = did_you_mean(name, known) or "see --help for the settings"
            raise ConfigError(f"{path}: {short_repr(name)[1:-1]} is unknown; {advice}")
        try:
            check(name, value, declared_type(options[name]))
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
    return settings


def print_settings(settings: Any) -> None:
    """Print settings as TOML, which --config reads; TOML has no null, so settings that are None are omitted."""
    values = {name: value for name, value in dataclasses.asdict(settings).items() if value is not None}
    sys.stdout.write(tomli_w.dumps(values))


def options_of(arguments: ArgumentCollection) -> dict[str, Argument]:
    """Return the options of a command by their Python names, which are those of the settings."""
    leaves = [argument for argument in arguments if not argument.children]
    return {argument.keys[-1] if argument.keys else argument.field_info.name: argument for argument in leaves}
