"""Help of the commands: examples, and of a training command the values of a preset with the bounds of each setting."""

import dataclasses
import inspect
import itertools
import math
from collections.abc import Sequence
from typing import Any

from cyclopts.help import ColumnSpec, DefaultFormatter, DescriptionRenderer, HelpEntry, HelpPanel, NameRenderer

from reviver.cli.options import SETTINGS
from reviver.settings.fields import groups_of
from reviver.settings.presets import PRESETS, SECONDS, choose_preset
from reviver.settings.validation import describe_bounds, show_value
from reviver.text import duration


class CommandFormatter(DefaultFormatter):
    """Formatter that wraps descriptions by the width of the console, not by the lines of the docstrings."""

    def __call__(self, console: Any, options: Any, panel: HelpPanel) -> None:
        """Print one panel of the help; cyclopts calls this."""
        panel.entries = [self.describe(entry) for entry in panel.entries]
        super().__call__(console, options, panel)

    def describe(self, entry: HelpEntry) -> HelpEntry:
        """Return an entry as it is printed."""
        text: Any = entry.description
        return entry.copy(description=" ".join(text.primary_renderable.plain.split()))


class SettingsFormatter(CommandFormatter):
    """Formatter that shows the settings by their groups, with the values of the preset of --preset and the bounds."""

    def __init__(self, kind: str, arguments: Sequence[str]) -> None:
        super().__init__(column_specs=wide_columns)
        name = find_preset(kind, arguments)
        preset = choose_preset(kind, name)
        self.groups = groups_of(type(preset))
        self.values = {"preset": name, **dataclasses.asdict(preset)}
        self.bounds = describe_bounds(type(preset))

    def __call__(self, console: Any, options: Any, panel: HelpPanel) -> None:
        """Print one panel of the help, that of the settings as one for each group."""
        if panel.title != SETTINGS.name:
            super().__call__(console, options, panel)
            return
        for group in sorted({*self.groups.values()}, key=lambda group: group.order):
            entries = [entry for entry in panel.entries if self.groups[_setting(entry)] == group]
            super().__call__(console, options, panel.copy(title=group.name, entries=entries))

    def describe(self, entry: HelpEntry) -> HelpEntry:
        """Return an entry with the value and the bounds of its setting."""
        entry, name = super().describe(entry), _setting(entry)
        if name not in self.values:
            return entry
        return entry.copy(default="; ".join(filter(None, [show_value(self.values[name]), self.bounds.get(name)])))


def _setting(entry: HelpEntry) -> str:
    """Return the name of the setting of an option."""
    return entry.positive_names[0].removeprefix("--").replace("-", "_") if entry.positive_names else ""


def wide_columns(console: Any, options: Any, entries: Sequence[HelpEntry]) -> tuple[ColumnSpec, ...]:
    """Give option names 40 % of the line, so that the longest one does not wrap at 80 columns."""
    width = math.ceil(0.4 * console.width)
    names = ColumnSpec(renderer=NameRenderer(max_width=width), header="Option", style="cyclopts.name", max_width=width)
    return names, ColumnSpec(renderer=DescriptionRenderer(), header="Description", overflow="fold")


def find_preset(kind: str, arguments: Sequence[str]) -> str:
    """Return the last value of --preset in arguments that are not parsed yet, by default the first of the kind."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    return [next(iter(PRESETS[kind])), *(value for option, value in itertools.pairwise(words) if option == "--preset")][
        -1
    ]


def list_times(kind: str) -> str:
    """Return the help of the option --preset: each preset with the time that it trains for."""
    times = ", ".join(f"{name} {duration(value)}" for name, value in SECONDS[kind].items())
    return f"Settings to start from, with their time on two cores: {times}."


def examples(lines: str) -> str:
    """Return the paragraph of examples of a help text."""
    return "\n".join(["Examples:", *(f"  {line.strip()}" for line in inspect.cleandoc(lines).splitlines())])
