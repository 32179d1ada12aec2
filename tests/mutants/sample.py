"""Random mutants of the Python code: how many do the tests notice? `make mutants` runs it.

    python -m tests.mutants.sample [--seed N] [--size 600] [--processes N] [--again]

mutmut makes every mutant of the rooms in pyproject.toml and finds out which tests reach which function (minutes). Of all
mutants a sample is drawn, and each is tried by the tests that reach it, the quickest first, up to the first failure. A
mutant that hangs is ended, which counts as noticed. mutmut changes no function with a decorator, such as a property.
"""

import argparse
import random
import secrets
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

FOLDER = Path("mutants")
NOTICED = ("killed", "timeout", "segfault")
SECONDS = 60
"""Between two lines of counts."""


def mutmut(*arguments: str) -> str:
    """Return what a command of mutmut prints."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def read_results() -> dict[str, str]:
    """Return what became of each mutant, `not checked` of most."""
    lines = mutmut("results", "--all", "true").splitlines()
    return dict(line.strip().split(": ") for line in lines if ": " in line)


def run(names: list[str], processes: int) -> subprocess.Popen[bytes]:
    """Start mutmut with the mutants of these names."""
    with (FOLDER / "run.log").open("wb") as log:
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(processes), *names]
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def report(sample: list[str]) -> dict[str, str]:
    """Print how many of the sample were noticed so far, and return what became of each that was tried."""
    results = read_results()
    found = {name: results[name] for name in sample if results[name] != "not checked"}
    counts = Counter(found.values())
    noticed = sum(counts[status] for status in NOTICED)
    kinds = ", ".join(f"{number} {status}" for status, number in counts.most_common())
    share = f" ({100 * noticed / len(found):.1f} %)" if found else ""
    print(f"{len(found)} of {len(sample)} tried, {noticed} noticed{share}: {kinds}", flush=True)
    return found


def main() -> None:
    """Draw a sample, try it, and print each mutant that no test noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, help="of the sample; a new one by default")
    parser.add_argument("--size", type=int, default=600, help="mutants to try")
    parser.add_argument("--processes", type=int, default=2, help="mutants tried at a time")
    parser.add_argument("--again", action="store_true", help="keep what is known of tests and code that did not change")
    options = parser.parse_args()
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    if not options.again:
        shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(exist_ok=True)
    run(["none"], options.processes).wait()  # makes the mutants and maps the tests, then finds no mutant of this name
    if not (FOLDER / "mutmut-stats.json").exists():
        raise SystemExit(f"the tests fail without a mutant, see {FOLDER / 'run.log'}")
    names = sorted(read_results())
    sample = random.Random(seed).sample(names, min(options.size, len(names)))
    print(f"{len(sample)} of {len(names)} mutants", flush=True)
    process = run(sample, options.processes)
    while process.poll() is None:
        time.sleep(SECONDS)
        report(sample)
    found = report(sample)
    for name, status in sorted(found.items()):
        if status not in NOTICED:
            print(f"\n{mutmut('show', name)}")
    raise SystemExit(process.returncode or len(found) < len(sample))


if __name__ == "__main__":
    main()
