"""The tests leave nothing in memory, also where a run of them was killed."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_folders_of_a_killed_run_are_removed_by_the_next(tmp_path: Path) -> None:
    killed, other = tmp_path / "test_killed.py", tmp_path / "test_other.py"
    killed.write_text("import os\n\ndef test(tmp_path):\n    (tmp_path / 'x').touch()\n    os.kill(os.getpid(), 9)\n")
    other.write_text("def test():\n    pass\n")
    environment = {**os.environ, "PYTEST_DEBUG_TEMPROOT": str(tmp_path)}
    for test, code in ((killed, -9), (other, 0)):
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.conftest",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            tmp_path,
        ]
        result = subprocess.run(
            [*command, test], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert result.returncode == code, result.stdout
        assert bool(list(tmp_path.glob("pytest-of-*/pytest-*/test0/x"))) == (test is killed)
