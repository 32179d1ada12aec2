"""Generator of settings/keywords.py, the settings as typed keyword arguments: python -m tools.keywords."""

from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig

PAGE = Path(__file__).parents[1] / "src" / "reviver" / "settings" / "keywords.py"
HEAD = '''\
"""The settings as keyword arguments, so that editors and type checkers know them. Written by python -m tools.keywords."""

from typing import Literal, TypedDict
'''
PARTS = ("cell", "task", "loss", "networks")
"""Settings that the functions name, since they also take classes."""


def page() -> str:
    """Return the source of the module."""
    return HEAD + "".join(_keywords(cls) for cls in (LSTMConfig, GANConfig))


def _keywords(cls: Any) -> str:
    name, hints = cls.__name__.removesuffix("Config"), get_type_hints(cls)
    lines = [f"    {field.name}: {_show(hints[field.name])}\n" for field in fields(cls) if field.name not in PARTS]
    return (
        f"\n\nclass {name}Keywords(TypedDict, total=False):\n"
        f'    """Settings of `reviver.train_{name.lower()}`; those of `{cls.__name__}`."""\n\n' + "".join(lines)
    )


def _show(hint: Any) -> str:
    """Return a type as source."""
    if get_origin(hint) is Literal:
        return "Literal[" + ", ".join(f'"{value}"' for value in get_args(hint)) + "]"
    if get_args(hint):
        return " | ".join(map(_show, get_args(hint)))
    return "None" if hint is type(None) else str(hint.__name__)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
