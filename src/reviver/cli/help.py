"""Help of the commands: examples, and of a training command the values of a preset with the bounds of each setting."""

import dataclasses
import inspect
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from cyclopts.help import ColumnSpec, DefaultFormatter, DescriptionRenderer, HelpEntry, HelpPanel, NameRenderer

from reviver.settings.fields import choose_preset
from reviver.settings.validation import describe_bounds, describe_fields, show_value
from reviver.text import duration


class SettingsFormatter(DefaultFormatter):
    """Formatter that shows the values of the preset called `name` as defaults, with the bounds of each setting."""

    def __init__(self, presets: Mapping[str, Any], name: str) -> None:
        super().__init__(column_specs=wide_columns)
        preset = choose_preset(presets, name)
        self.values = {"preset": name, **dataclasses.asdict(preset)}
        self.descriptions = describe_fields(type(preset))
        self.bounds = describe_bounds(type(preset))

    def __call__(self, console: Any, options: Any, panel: HelpPanel) -> None:
        """Print one panel of the help; cyclopts calls this."""
        for index, entry in enumerate(panel.entries):
            name = entry.positive_names[0].removeprefix("--").replace("-", "_") if entry.positive_names else ""
            if name in self.values:
                default = "; ".join(filter(None, [show_value(self.values[name]), self.bounds.get(name)]))
                description = self.descriptions.get(name, entry.description)
                panel.entries[index] = entry.copy(default=default, description=description)
        super().__call__(console, options, panel)


def wide_columns(console: Any, options: Any, entries: Sequence[HelpEntry]) -> tuple[ColumnSpec, ...]:
    """Give option names 40 % of the line, so that the longest one does not wrap at 80 columns."""
    width = math.ceil(0.4 * console.width)
    names = ColumnSpec(renderer=NameRenderer(max_width=width), header="Option", style="cyclopts.name", max_width=width)
    return names, ColumnSpec(renderer=DescriptionRenderer(), header="Description", overflow="fold")


def find_preset(presets: Mapping[str, Any], arguments: Sequence[str]) -> str:
    """Return the last value of --preset in arguments that are not parsed yet, by default the first of `presets`."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    return [next(iter(presets)), *(value for option, value in itertools.pairwise(words) if option == "--preset")][-1]


def list_times(seconds: Mapping[str, float]) -> str:
    """Return the help of the option --preset: each preset with the time that it trains for."""
    times = ", ".join(f"{name} {duration(value)}" for name, value in seconds.items())
    return f"Settings to start from, with their time on two cores: {times}."


def examples(lines: str) -> str:
    """Return the paragraph of examples of a help text."""
    return "\n".join(["Examples:", *(f"  {line.strip()}" for line in inspect.cleandoc(lines).splitlines())])
