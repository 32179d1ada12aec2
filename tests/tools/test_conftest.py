"""The tests leave nothing in memory, also where a run of them was killed."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import remove_folders_of_killed_runs

TEST = "import os\n\ndef test(tmp_path):\n    (tmp_path / 'x').touch()\n    os.kill(os.getpid(), 9)\n"


def test_the_folders_of_a_killed_run_are_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TEST)
    environment = {**os.environ, "PYTEST_DEBUG_TEMPROOT": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", tmp_path, "test_it.py"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == -9, result.stdout
    (killed,) = tmp_path.glob("pytest-of-*/pytest-[0-9]*")
    assert (killed / "test0" / "x").exists()
    running = killed.with_name("pytest-9")
    running.mkdir()
    (running / ".lock").write_text(str(os.getpid()))
    remove_folders_of_killed_runs(tmp_path)
    assert (killed.exists(), running.exists()) == (False, True)
