"""Cost of training by several processes, and a model of it."""

from typing import Any


def main() -> dict[str, Any]:
    """Measure, see `run`; imported late, since the scripts of this package do not need it."""
    from benchmarks.distributed.run import main as run

    return run()
