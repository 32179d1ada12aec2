"""What the tests of damaged files share."""

import json
import os
from pathlib import Path
from typing import Any


def edit_json(path: Path, **changes: Any) -> None:
    """Change values of a JSON file; objects such as `config` and `data` are merged."""
    record = json.loads(path.read_text())
    for name, value in changes.items():
        record[name] = record[name] | value if isinstance(record.get(name), dict) and isinstance(value, dict) else value
    path.write_text(json.dumps(record))


class Payload:
    """An object that makes the folder `was-run` when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("was-run",)
