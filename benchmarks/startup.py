"""How long `reviver --help` takes, as a whole process."""

import subprocess
import sys

from benchmarks.measure import alternate, machine, summary

ROUNDS = 15
TARGET_SECONDS = 0.5


def main() -> dict[str, object]:
    """Measure, and return seconds a call."""

    def show_help() -> None:
        subprocess.run([sys.executable, "-m", "reviver", "--help"], check=True, stdout=subprocess.DEVNULL)

    return {
        "title": "reviver --help",
        "machine": machine(),
        "seconds_per_call": {"ours": summary(alternate({"help": show_help}, ROUNDS)["help"])},
        "target_seconds": TARGET_SECONDS,
    }
