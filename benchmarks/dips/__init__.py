"""Dips of the report's LSTM: which updates make validation accuracy fall, and what would have prevented them.

`python -m benchmarks dips` trains the preset `report` with ten seeds and looks at every update. It takes about half an
hour on one thread.
"""

from typing import Any


def main() -> dict[str, Any]:
    """Measure, see `run`; imported late, since the tables of this package do not need it."""
    from benchmarks.dips.run import main as run

    return run()
