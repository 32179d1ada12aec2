"""Generator of the settings page in the docs and of settings/keywords.py, from the settings: python -m tools.settings_page."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from reviver.settings.fields import Group
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.settings.presets import PRESETS, SECONDS
from reviver.settings.tasks import DEFINITIONS, TASKS
from reviver.settings.validation import describe_bounds, describe_fields, show_value
from reviver.text import duration

ROOT = Path(__file__).parents[1]
PAGE, KEYWORDS = ROOT / "docs/reference/settings.md", ROOT / "src/reviver/settings/keywords.py"
PURPOSES = {
    "original": "The original's run.",
    "onehot": "Palindromes of 5 digits as one-hot vectors, which a few epochs solve.",
    "recall": "Hold a one-hot digit over 1000 steps.",
    "recall-scalar": "Hold a digit over 1000 steps, entered as one number.",
    "recall-10000": "Hold a one-hot digit over 10 000 steps.",
    "recall-100000": "Hold a one-hot digit over 100 000 steps.",
    "recall-1000000": "Hold a one-hot digit over a million steps.",
    **{name: DEFINITIONS[name].purpose for name in TASKS},
    "series": "Classify series of a file, which `data` names; the time is that of a few dozen.",
    "best": "Clear and diverse digits, by the original's networks and losses.",
    "best-long": "The same with a lower FID.",
    "best-longest": "The same with more recall and coverage.",
    "quick": "What the explorer's page trains by default, on half of the images, in single precision.",
    "short": "The original's run, cut off early.",
    "public-script": "Mode collapse, by the BatchNorm of the public script.",
}
"""A sentence on each preset."""


NAMED = ("task", "cell", "loss", "networks")
"""Settings that `train_lstm` and `train_gan` take by name."""


def main() -> None:
    """Write the page and the keywords."""
    PAGE.write_text(page(), encoding="utf-8")
    KEYWORDS.write_text(keywords(), encoding="utf-8")


def keywords() -> str:
    """Return the module of the settings as keyword arguments."""
    lines = [
        '"""The settings as keyword arguments, for editors and type checkers. Written by python -m tools.settings_page."""',
        "\nfrom typing import Literal, TypedDict",
    ]
    for name, cls in (("LSTM", LSTMConfig), ("GAN", GANConfig)):
        lines.append(f"\n\nclass {name}Keywords(TypedDict, total=False):")
        lines.append(f'    """Settings of `reviver.train_{name.lower()}`; those of `{name}Config`."""\n')
        lines += [f"    {key}: {_code(hint)}" for key, hint in get_type_hints(cls).items() if key not in NAMED]
    return "\n".join(lines) + "\n"


def _code(hint: Any) -> str:
    """Return the Python code of a type."""
    if get_origin(hint) is Literal:
        return f"Literal[{', '.join(map(json.dumps, get_args(hint)))}]"
    return " | ".join(map(_code, get_args(hint))) if get_args(hint) else {type(None): "None"}.get(hint, hint.__name__)


def page() -> str:
    """Return the page as Markdown: what stands before its first heading is left as it is."""
    introduction, heading, _ = PAGE.read_text(encoding="utf-8").partition("## reviver")
    assert heading, "the page has no heading of a command"
    lines = [introduction.rstrip("\n") + "\n"]
    for kind, presets in PRESETS.items():
        lines += [
            f"## reviver {kind} train",
            "",
            *_settings(type(presets["original"])),
            *_presets(presets, SECONDS[kind]),
        ]
    return "\n".join(lines)


def _settings(cls: type) -> Iterator[str]:
    """Yield the lines of a table for each group of settings."""
    hints, meanings, bounds = get_type_hints(cls, include_extras=True), describe_fields(cls), describe_bounds(cls)
    groups: dict[str, list[str]] = {}
    for field in dataclasses.fields(cls):
        (group,) = (item for item in get_args(hints[field.name]) if isinstance(item, Group))
        allowed = ", ".join(filter(None, [_kind(hints[field.name]), _in_signs(bounds[field.name])]))
        cells = (f"`{field.name}`", f"`{show_value(field.default)}`", allowed, _escaped(meanings[field.name]))
        groups.setdefault(group.name, []).append(f"| {' | '.join(cells)} |")
    for name, rows in groups.items():
        yield from (f"### {name}", "", "| setting | default | allowed | meaning |", "|---|---|---|---|", *rows, "")


def _presets(presets: Mapping[str, Any], seconds: Mapping[str, float]) -> Iterator[str]:
    """Yield the lines of a table with the purpose, the time and the changes of each preset."""
    yield from ("### Presets", "", "| preset | what it does | on two cores | changes |", "|---|---|---|---|")
    default = dataclasses.asdict(presets["original"])
    for name, preset in presets.items():
        values = dataclasses.asdict(preset)
        changed = [f"`{key}={show_value(value)}`" for key, value in values.items() if value != default[key]]
        time = duration(seconds[name])
        yield f"| `{name}` | {PURPOSES[name]} | {time} | {', '.join(changed) or 'the defaults'} |"
    yield ""


def _kind(hint: Any) -> str:
    """Describe the type of a setting: its choices, or integer, number, string, true or false."""
    if get_origin(hint) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(hint))
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(map(_kind, get_args(hint)))
    if hasattr(hint, "__metadata__"):
        return _kind(get_args(hint)[0])
    return {int: "integer", float: "number", str: "string", bool: "true or false", type(None): "none"}[hint]


def _in_signs(bounds: str) -> str:
    """Write bounds such as `at least 2` as ≥ 2."""
    for words, sign in (("at least", "≥"), ("greater than", ">"), ("at most", "≤"), ("less than", "<")):
        bounds = bounds.replace(f"{words} ", f"{sign}\N{NO-BREAK SPACE}")
    return bounds


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main()
