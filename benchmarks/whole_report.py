"""Time and peak memory of `reviver report` without finished runs, as a process of its own. Takes minutes."""

import tempfile
import time

from benchmarks.measure import machine, run_measured, summary


def main() -> dict[str, object]:
    """Run the command once; return its seconds and peak memory in GiB."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        status, peak_gb = run_measured(["reviver", "report", "--out", f"{folder}/report"])
        seconds = time.perf_counter() - started
    if status != 0:
        raise SystemExit(f"reviver report failed with status {status}")
    return {
        "title": "reviver report, including training",
        "machine": machine(),
        "seconds_per_run": {"ours": summary([seconds])},
        "peak_memory_gb": peak_gb,
    }
