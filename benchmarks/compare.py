"""Speed of the working tree, as a ratio to that of another commit: the same trainings in alternation.

Each training is a new process. Its seconds are those in run.json: without start-up, and without evaluation.

    python -m benchmarks.compare COMMIT [--rounds N]
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import ratio, summary
from reviver.files.read import read_json

ROOT = Path(__file__).parents[1]
TRAININGS = {
    "LSTM, preset original": "lstm train",
    "LSTM, 5 epochs at T = 100": "lstm train --length 100 --epochs 5 --data-size 5000",
    "GAN, an epoch of the preset original": "gan train --preset original --epochs 1",
    "GAN, an epoch of the preset best": "gan train --preset best --epochs 1",
}


def train(tree: Path, command: str) -> float:
    """Train with the code in `tree`, and return the seconds of training."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "reviver", *command.split(), "--quiet", "--out", f"{folder}/run"]
        environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
        subprocess.run(words, env=environment, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        return float(read_json(Path(folder, "run", "run.json"))["seconds"])


def main() -> None:
    """Print the seconds of both trees and their ratio, for each training."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("commit", help="commit to compare the working tree with")
    parser.add_argument("--rounds", type=int, default=7, help="trainings of each kind with each tree")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", other, options.commit], cwd=ROOT, check=True)
        try:
            for name, command in TRAININGS.items():
                pairs = [(train(ROOT, command), train(other, command)) for _ in range(options.rounds)]
                ours, theirs = ([pair[index] for pair in pairs] for index in (0, 1))
                ratios = ratio(ours, theirs)
                print(
                    f"{name}: {summary(ours)['median']:.2f} s, {options.commit} {summary(theirs)['median']:.2f} s, "
                    f"ratio {ratios['median']:.3f} ({ratios['min']:.3f} to {ratios['max']:.3f}), n = {options.rounds}",
                    flush=True,
                )
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", other], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
