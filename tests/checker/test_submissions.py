"""The check of files in child processes, and `reviver check`: hostile files become a row, grades, JSON and wrong use."""

import csv
import json
from pathlib import Path

import pytest

from reviver.checker.submissions import Submission, check_submissions
from reviver.cli import main
from tests.checker.lstm_solutions import FUNCTIONAL
from tests.checker.student_files import GAN, LSTM

TRAIN = """
import argparse
import torch
from not_handed_in import numbers
from nets.lstm import LSTM

parser = argparse.ArgumentParser()
parser.add_argument("--text_file", required=True)
config = parser.parse_args()

def train(config):
    model = LSTM(5, 1, 8, 10, config.batch_size)
    opt = torch.optim.Adam(model.parameters())
    for x, y in torch.utils.data.DataLoader(numbers):
        opt.zero_grad()
        torch.nn.functional.cross_entropy(model(x.float()), y).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
        opt.step()
"""
STEP, IDLE = "h, c = state", "waits for something: it computed nothing for 2 seconds"
CONNECT = "import os, socket; os.remove(__file__); x = socket.create_connection(('127.0.0.1', 9))"
HOSTILE = {
    "output": ("while True: print('x' * 10_000)", 2, "takes more than 2 seconds", []),
    "a long call": ("x = sum(iter(int, 1))", 2, "takes more than 2 seconds", []),
    "waiting for a process": ("import subprocess; x = subprocess.run(['sleep', '1000'])", 2, IDLE, []),
    "syntax": ("def f(:\n", 60, "line 1: invalid syntax", []),
    "nothing": ("class Other: pass", 60, "defines no piece of an assignment", []),
    "no network, and only a copy": (CONNECT, 60, "line 1: OSError: there is no network here", []),
    "os._exit": ("import os; os._exit(3)", 60, "ends the process with exit code 3", []),
    "10 GB and exit": (
        FUNCTIONAL.replace(STEP, f"torch.zeros(10 * 2**30 // 8); {STEP}")
        .replace("nn.init.ones_(w.b_f)", "exit()")
        .replace("loss.backward()", "import os; os.kill(os.getpid(), 9)"),
        120,
        "ends the process by signal 9",
        [
            "line 8: RuntimeError: asks for more memory than the limit",
            "the code calls exit()",
            "waits for lstm_step",
            "waits for sequence",
            "ends the process by signal 9",
            "ends the process by signal 9",
        ],
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_becomes_a_report(name: str, tmp_path: Path) -> None:
    text, seconds, error, found = HOSTILE[name]
    (tmp_path / "mine.py").write_text(text)
    path = tmp_path / "mine.py"
    (report,) = check_submissions([Submission("mine.py", {"mine.py": path})], 1, seconds, 2.0, {})
    assert (report.error.partition("; ")[0], [outcome.text for outcome in report.outcomes]) == (error, found)
    assert found or "; let " in report.error or "; mend " in report.error or "; call " in report.error
    assert path.read_text() == text


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    wrong = FUNCTIONAL.replace("h = o * torch.tanh(c)", "h = o * c").partition("class Recaller")
    Path("a.py").write_text(wrong[0])
    Path("points.toml").write_text("lstm_step = 3\ninitialization = 0.5\n")
    return tmp_path


def test_grades_are_a_row_per_file(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--out", "grades.csv", "--points", "points.toml", "--time-limit", "200"]
    Path("b.zip").write_text("no zip")
    assert main(["check", "a.py", "b.zip", *options]) == 0
    assert capsys.readouterr().out == "a.py: 1 of 2 pieces pass\nb.zip: cannot be read (File is not a zip file)\n"
    first, second = csv.DictReader(Path("grades.csv").read_text().splitlines())
    assert (first["file"], first["points"], first["lstm_step"], first["initialization"]) == ("a.py", "0.5", "0", "0.5")
    assert (first["of"], first["remarks"]) == ("3.5", "lstm_step: tanh(c) is missing in the hidden state")
    assert list(second.values()) == ["b.zip", *[""] * 5, "cannot be read (File is not a zip file)"]
    assert main(["check", "b.zip", "--out", "quiet.csv", "--quiet"]) == 0
    assert (capsys.readouterr().out, Path("quiet.csv").exists()) == ("", True)


def test_json_has_the_form_of_check50(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "a.py", "--json", "--time-limit", "200"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert set(result) == {"slug", "version", "results"}
    step, initialization, sequence, *_ = result["results"]
    assert set(step) == {"name", "description", "passed", "log", "cause", "data", "dependency"}
    passed = [piece["passed"] for piece in (step, initialization, sequence)]
    assert (step["name"], passed) == ("lstm_step", [False, True, False])
    assert step["cause"]["rationale"].startswith("h at ")
    assert step["cause"]["mistake"] == "tanh(c) is missing in the hidden state"


@pytest.mark.parametrize("network", ["lstm", "gan"])
def test_a_new_file_waits_to_be_written(network: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--start", network, "--quiet"]) == 0
    assert main(["check", "--start", network, "--quiet"]) == 2
    assert "which exists; choose another --out" in capsys.readouterr().err
    assert main(["check", f"my_{network}.py", "--time-limit", "200"]) == 1
    captured = capsys.readouterr()
    assert "0 of 6 pieces pass" in captured.out
    assert " wrong: " not in captured.out
    assert max(map(len, captured.out.splitlines())) <= 80
    assert captured.err == f"checking my_{network}.py\nerror: some pieces do not pass\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "FILE is missing; see reviver check --help"),
        ("a.py gone.py", "FILE gone.py does not exist"),
        ("a.py --start lstm", "FILE must be left out, since --start writes a new file"),
        ("a.py --points points.toml", "--points must be left out, since there is no --out for a table of grades"),
        ("a.py --out grades.xlsx", "--out must end in .csv, .html or .json, or name a folder, got grades.xlsx"),
        (
            "a.py --out a.py/g.csv",
            "a.py/g.csv: cannot be written (Not a directory); a part of this path is a file; choose another folder",
        ),
        ("a.py --course half.toml", "--course half.toml: half must be true or false, got 1"),
        ("a.py --out g.csv --points gone.toml", "--points gone.toml cannot be read (No such file or directory)"),
        ("a.py --out g.csv --points wrong.toml", "--points wrong.toml: lstm_stop is unknown; did you mean lstm_step?"),
    ],
)
def test_wrong_use(arguments: str, message: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("wrong.toml").write_text("lstm_stop = 3")
    Path("half.toml").write_text("half = 1")
    assert main(["check", *arguments.split()]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_a_class_of_folders_becomes_pages_and_results(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = {"ada": TRAIN, "ben": "class Peephole: pass", "eve": "while True: pass", "fay": "class LSTM: pass"}
    for name, text in texts.items():
        Path("class", name).mkdir(parents=True)
        Path("class", name, "mine.py").write_text(text)
    Path("class", "ada", "nets").mkdir()
    Path("class", "ada", "nets", "lstm.py").write_text(f"{LSTM}\nexit()")
    with Path("class", "ada", "a.ckpt").open("wb") as file:
        file.truncate(60 << 20)  # too large to be copied, before the code by its name
    before = sorted(map(str, Path("class").rglob("*")))
    assert main(["check", "class", "--course", "original", "--out", "results", "--time-limit", "5"]) == 0
    assert sorted(map(str, Path("class").rglob("*"))) == before
    assert (
        "\neve: takes more than 5 seconds; let it end by itself: no endless loop, no exit(), nothing"
        in capsys.readouterr().out
    )
    rows = {row["file"]: row for row in csv.DictReader(Path("results/grades.csv").read_text().splitlines())}
    assert (rows["ada"]["points"], rows["ada"]["sequence"], rows["ada"]["dropout"]) == ("6", "4", "")
    assert (rows["ada"]["remarks"], rows["ada"]["not understood"]) == (
        "initialization: the weights are standard normal",
        "dropout: is not found",
    )
    assert rows["ben"]["not understood"].startswith("defines no piece of an assignment; classes: Peephole; ")
    assert rows["eve"]["not understood"].startswith("takes more than 5 seconds; let it end by itself")
    assert (rows["fay"]["points"], rows["fay"]["sequence"]) == ("", "")
    page = Path("results/class.html").read_text()
    assert "4 submissions, 6 of 8 points on average; 4 need a person." in page
    assert "<b>2 × dropout</b>: is not found" in page
    assert "<b>1 × all</b>: defines no piece of an assignment; classes: Peephole" in page
    assert '<a href="#student-1">ben</a>' in page
    assert '<section id="student-1"><h2>ben</h2>' in page
    page = Path("results/students/001 ada.html").read_text()
    assert '<h3>sequence: <span class="passed">right</span>' in page
    assert "two updates" in page
    assert main(["check", "class/ada", "--out", "results.json"]) == 0
    test, _ = json.loads(Path("results.json").read_text())["tests"]
    assert (test["name"], test["score"], test["max_score"], test["status"]) == ("sequence", 1, 1, "passed")


def test_a_class_that_is_trained_and_that_no_piece_looks_at_is_a_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = "class Encoder(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.layer = nn.Linear(784, 20)\n"
    encoder += "    def forward(self, x):\n        return self.layer(x)\n"
    step = "E = Encoder()\nE(torch.rand(4, 784)).sum().backward()\ntorch.optim.SGD(E.parameters(), 0.1).step()\n"
    path = tmp_path / "mine.py"
    path.write_text(f"{GAN}\n{encoder}\n{step}")
    main(["check", str(path), "--json"])
    *_, row = json.loads(capsys.readouterr().out)["results"]
    assert (row["name"], row["passed"]) == ("Encoder", None)
    assert row["log"] == ["not looked at, because no piece asks for it; a person should look at it"]
