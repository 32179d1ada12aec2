"""Settings from YAML or JSON files that are not trusted.

A file is small and names each setting with a plain value. Tags that would make objects are refused, as are aliases,
through which a few lines can stand for billions of values.
"""

from pathlib import Path
from typing import Any

import yaml

from reviver.untrusted import one_line, read_file

MAX_SETTINGS_BYTES = 1 << 16


def read_settings(path: Path) -> Any:
    """What a YAML or JSON file holds.

    Raises:
        OSError: if it is no regular file, or too large.
        ValueError: if it is neither YAML nor JSON, or has aliases or tags of objects.
    """
    content = read_file(path, MAX_SETTINGS_BYTES).decode("utf-8")
    try:
        return yaml.load(content, _PlainLoader)  # noqa: S506 (as safe as yaml.safe_load)
    except Exception as error:  # PyYAML raises KeyError, IndexError ... for tags that do not fit their values
        raise ValueError(one_line(error)) from error


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]
    """Makes numbers, texts, lists and mappings, and follows no alias."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose one node, see PyYAML."""
        if self.check_event(yaml.AliasEvent):
            raise ValueError("it has an alias, such as *name; write the value out")
        return super().compose_node(parent, index)
