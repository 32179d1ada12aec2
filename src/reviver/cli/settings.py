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

from reviver.errors import ConfigError
from reviver.files.read import parse_json
from reviver.settings.gan_presets import PRESETS as GAN_PRESETS
from reviver.settings.lstm_presets import PRESETS as LSTM_PRESETS
from reviver.settings.validation import check
from reviver.text import did_you_mean, one_line, short_repr
from reviver.train.start import find_start

PRESETS: Mapping[tuple[str, ...], Mapping[str, Any]] = {
    ("lstm", "train"): LSTM_PRESETS,
    ("gan", "train"): GAN_PRESETS,
}
"""Presets by command; the first is the default."""
NOT_IN_FILES = ("config", "parts", "print_config", "debug")
"""Options that a settings file cannot set."""


def complete_settings(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Complete the settings of a training command by those of its preset or run, and find its run folder.

    Cyclopts calls this before it converts the other arguments.
    """
    if commands not in PRESETS:
        return
    options = options_of(arguments)

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
                check(name, value, options[name].field_info.annotation)
                options[name].append(Token(keyword=name, implicit_value=value))
    presets = PRESETS[commands]
    preset, given = value_of("preset") or next(iter(presets)), {**filed, **typed}
    try:
        config, out, parts = find_start(
            commands[0], presets, preset, given, value_of("out"), resume=value_of("resume") or False
        )
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
        raise ConfigError(f"config must be a .toml or .json file, got {short_repr(str(path))}", field="config")
    try:
        content = path.read_text(encoding="utf-8")
        return tomllib.loads(content) if path.suffix.lower() == ".toml" else parse_json(content)
    except OSError as error:
        raise ConfigError(f"config {path} cannot be read ({error.strerror or error})", field="config") from error
    except (ValueError, RecursionError) as error:
        problem = "it is too deep" if isinstance(error, RecursionError) else one_line(error)
        kind = path.suffix[1:].upper()
        raise ConfigError(f"config {path} is not valid {kind} ({problem}); correct the file", field="config") from error


def print_settings(settings: Any) -> None:
    """Print settings as TOML, which --config reads; TOML has no null, so settings that are None are omitted."""
    values = {name: value for name, value in dataclasses.asdict(settings).items() if value is not None}
    sys.stdout.write(tomli_w.dumps(values))


def options_of(arguments: ArgumentCollection) -> dict[str, Argument]:
    """Return the options of a command by their Python names, which are those of the settings."""
    leaves = [argument for argument in arguments if not argument.children]
    return {argument.keys[-1] if argument.keys else argument.field_info.name: argument for argument in leaves}
