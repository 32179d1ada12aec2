"""Time and peak memory of `reviver report` without finished runs, as a process of its own. Takes minutes."""

import os
import subprocess
import sys
import tempfile
import time

from benchmarks.measure import machine, summary

TARGET_SECONDS = 360.0
TARGET_GB = 2.0


def main() -> dict[str, object]:
    """Run the command once; return its seconds and peak memory in GB."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "reviver", "report", "--out", f"{folder}/report"]
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
    if status != 0:
        raise SystemExit(f"reviver report failed with status {status}")
    return {
        "title": "reviver report, including training",
        "machine": machine(),
        "seconds_per_run": {"ours": summary([seconds])},
        "target_seconds": TARGET_SECONDS,
        "peak_memory_gb": usage.ru_maxrss / 2**20,
        "target_gb": TARGET_GB,
    }
