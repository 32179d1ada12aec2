"""Help of the training commands: the values of a preset as defaults, with the bounds of each setting."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from cyclopts.help import ColumnSpec, DefaultFormatter, DescriptionRenderer, HelpEntry, HelpPanel, NameRenderer

from reviver.settings.validation import describe_bounds, describe_fields, show_value


class SettingsFormatter(DefaultFormatter):
    """Formatter that shows the values of a preset as defaults, followed by the bounds of each setting.

    Args:
        name: name of the preset.
        preset: its settings, an LSTMConfig or a GANConfig.
    """

    def __init__(self, name: str, preset: Any) -> None:
        super().__init__(column_specs=wide_columns)
        self.values = {"preset": name, **dataclasses.asdict(preset)}
        self.descriptions = describe_fields(type(preset))
        self.bounds = {field: describe_bounds(type(preset), field) for field in self.descriptions}

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
