"""A process that dies ends the training of all with one line, and torchrun goes on with it."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from reviver.errors import ProcessLost
from reviver.runs.distributed.failure import describe_loss, explaining_losses
from reviver.runs.folder import RunFolder
from tests.distributed_session import OPTIONS, STEP
from tests.test_distributed_session import ENVIRONMENT, TORCHRUN, find_scenario, results

long = pytest.mark.skipif("REVIVER_LONG" not in os.environ, reason="REVIVER_LONG=1 kills processes at random moments")
LOST = "another process was lost or does not answer"


def train(out: Path, *options: str, epochs: int = 8, restarts: int = 0, **variables: str) -> subprocess.Popen[str]:
    """Start torchrun with a training into the folder `out`."""
    launch = ["--standalone", "--nproc-per-node", "2", "--max-restarts", str(restarts)]
    return subprocess.Popen(
        [
            *TORCHRUN,
            *launch,
            "-m",
            "tests.distributed_session",
            "train",
            *OPTIONS,
            "--epochs",
            str(epochs),
            "--out",
            out,
            *options,
        ],
        env=ENVIRONMENT | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_process_ends_the_training_with_one_line(tmp_path: Path) -> None:
    job = train(tmp_path / "run", KILL_RANK="1")
    _, stderr = job.communicate(timeout=300)
    assert job.returncode == 1
    (line,) = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith((f"error: step {STEP}: {LOST} (", f"error: step {STEP + 1}: {LOST} ("))
    assert line.endswith(
        "; the last checkpoint is kept; go on with the same command and --resume, or let torchrun do so with --max-restarts"
    )
    run = RunFolder.open(tmp_path / "run")
    assert run.status == "failed"
    assert LOST in run.record["error"]


def test_torchrun_goes_on_after_rank_0_is_killed(tmp_path: Path, shared_folder: Path) -> None:
    job = train(tmp_path / "run", restarts=1, KILL_RANK="0")
    stdout, stderr = job.communicate(timeout=300)
    assert job.returncode == 0, stderr
    assert stdout.startswith(f"{tmp_path / 'run'}: 8 epochs")
    assert results(tmp_path / "run") == results(find_scenario(shared_folder) / "undisturbed")


@pytest.mark.parametrize(
    ("message", "described"),
    [
        ("[/gloo/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:5", "Connection closed by peer [127.0.0.1]:5"),
        ("[/a/b.cc:1] Read error [::1]:5: Connection reset by peer. This is typical", "Read error [::1]:5: Connection reset by peer"),
        ("Timed out waiting 1000ms for recv operation to complete", "Timed out waiting 1000ms for recv operation to complete"),
    ],
)  # fmt: skip
def test_losses_are_recognized_and_described(message: str, described: str) -> None:
    assert describe_loss(RuntimeError(message)) == described
    with pytest.raises(ProcessLost, match=LOST), explaining_losses():
        raise RuntimeError(message)


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("connection")])
def test_other_errors_are_no_losses(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)), explaining_losses():
        raise error


# Long tests, by hand


def workers(job: subprocess.Popen[str]) -> dict[int, int]:
    """Return the process ids of the ranks that run now, from /proc."""
    ids = {}
    for child in Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split():
        variables = dict(
            line.split("=", 1) for line in Path(f"/proc/{child}/environ").read_text().split("\0") if "=" in line
        )
        if "RANK" in variables:
            ids[int(variables["RANK"])] = int(child)
    return ids


def wait_for_checkpoint(job: subprocess.Popen[str], out: Path) -> None:
    """Wait until the run has saved a checkpoint."""
    while not (out / "checkpoints" / "last.json").exists():
        assert job.poll() is None, job.communicate()
        time.sleep(0.05)


@long
@pytest.mark.parametrize("trial", range(10))
def test_a_process_killed_at_a_random_moment(trial: int, tmp_path: Path, undisturbed: Path) -> None:
    rng, out = random.Random(trial), tmp_path / "run"
    job = train(out, "--timeout", "30", epochs=300, restarts=1)
    if trial % 5:  # every fifth: at any moment, also before the first checkpoint
        wait_for_checkpoint(job, out)
        time.sleep(rng.uniform(0, 1))
    else:
        time.sleep(rng.uniform(2, 8))
    os.kill(workers(job)[trial % 2], signal.SIGKILL)
    _, stderr = job.communicate(timeout=300)
    assert job.returncode == 0, stderr
    assert results(out) == results(undisturbed)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that nobody disturbs."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    job = train(out, epochs=300)
    _, stderr = job.communicate(timeout=300)
    assert job.returncode == 0, stderr
    return out


@long
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_hangs_fails_the_others_after_the_timeout(rank: int, tmp_path: Path) -> None:
    out = tmp_path / "run"
    job = train(out, "--timeout", "4", epochs=100_000)
    wait_for_checkpoint(job, out)
    os.kill(workers(job)[rank], signal.SIGSTOP)  # torchrun kills it, once the other has failed
    _, stderr = job.communicate(timeout=120)
    assert LOST in stderr
    assert job.returncode == 1
