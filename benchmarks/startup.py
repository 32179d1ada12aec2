"""Time of `reviver --help` and the help of subcommands, as a whole process."""

import subprocess
import sys

from benchmarks.measure import alternate, machine, summary

ROUNDS = 15
COMMANDS = ("--help", "lstm train --help", "gan train --help --preset best")


def main() -> dict[str, object]:
    """Run the benchmark, and return seconds per call."""

    def show_help(command: str) -> None:
        subprocess.run([sys.executable, "-m", "reviver", *command.split()], check=True, stdout=subprocess.DEVNULL)

    seconds = alternate({command: lambda command=command: show_help(command) for command in COMMANDS}, ROUNDS)
    return {
        "title": "reviver --help",
        "machine": machine(),
        "seconds_per_call": {f"reviver {command}": summary(values) for command, values in seconds.items()},
    }
