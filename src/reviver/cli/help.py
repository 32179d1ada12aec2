"""The help of training commands: a preset's values as defaults, with the bounds of each setting."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from cyclopts.help import ColumnSpec, DefaultFormatter, DescriptionRenderer, HelpEntry, HelpPanel, NameRenderer

from reviver.validation import describe_bounds, describe_fields, show_value


class SettingsFormatter(DefaultFormatter):
    """Shows the values of the preset that the command line names as defaults, and bounds behind them."""

    def __init__(self, name: str, preset: Any) -> None:
        super().__init__(column_specs=wide_columns)
        self.values = {"preset": name, **dataclasses.asdict(preset)}
        self.meanings = describe_fields(type(preset))
        self.bounds = {field: describe_bounds(type(preset), field) for field in self.meanings}

    def __call__(self, console: Any, options: Any, panel: HelpPanel) -> None:
        """Print one panel, see cyclopts."""
        for index, entry in enumerate(panel.entries):
            name = entry.positive_names[0].removeprefix("--").replace("-", "_") if entry.positive_names else ""
            if name in self.values:
                default = "; ".join(filter(None, [show_value(self.values[name]), self.bounds.get(name)]))
                meaning = self.meanings.get(name, entry.description)
                panel.entries[index] = entry.copy(default=default, description=meaning)
        super().__call__(console, options, panel)


def wide_columns(console: Any, options: Any, entries: Sequence[HelpEntry]) -> tuple[ColumnSpec, ...]:
    """Give option names two fifths of the line, so that the longest is not broken on 80 columns."""
    width = math.ceil(0.4 * console.width)
    names = ColumnSpec(renderer=NameRenderer(max_width=width), header="Option", style="cyclopts.name", max_width=width)
    return names, ColumnSpec(renderer=DescriptionRenderer(), header="Description", overflow="fold")
