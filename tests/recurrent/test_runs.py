"""Runs of texts: run.json has the text, and every command takes it from there, without code and without its file."""

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import reviver
from reviver.cli import main
from reviver.errors import ConfigError, DivergenceError, Interrupted
from reviver.settings.lstm import LSTMConfig
from reviver.train.lstm.training import train
from tests.fingerprints import fingerprint
from tests.lstm_runs import at_step, terminate
from tests.runs.small import OWN

TEXT = """# mine: a GRU whose candidate is normalized
r = sigmoid(W_r @ x + U_r @ h + b_r)       # reset gate
z = sigmoid(W_z @ x + U_z @ h + b_z)       # update gate
n = tanh(W_n @ x + U_n @ (r * h) + b_n)    # candidate
m = 0.9 * m + z * n                        # memory
h = (1 - z) * normalize(m) + z * h         # hidden state
b_z: -1
"""
TINY = LSTMConfig(length=5, epochs=2, data_size=120, batch_size=16, hidden_size=8, hidden_dropout=0.2, cell=TEXT)
CURRICULUM = replace(TINY, curriculum=True, start_length=4, length=6, threshold=0.01, encoding="onehot")


@pytest.fixture(autouse=True)
def folder(here: Path) -> Path:
    (here / "mine.cell").write_text(TEXT)
    return here


def test_a_run_is_used_without_anything_from_its_author(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "lstm train --cell mine.cell --length 5 --epochs 2 --data-size 120 --hidden-size 8 --out run"
    assert main(words.split()) == 0
    error = capsys.readouterr().err
    assert "cell mine: states h, m; matrices on x W_r, W_z, W_n" in error
    assert "vectors b_r, b_z = -1, b_n" in error
    (folder / "mine.cell").unlink()
    assert json.loads(Path("run/run.json").read_text())["config"]["cell"] == TEXT
    assert not Path("run/parts").exists()
    for command in (
        *("lstm evaluate run --length 7", "lstm predict run '1 2 3 2'", "lstm trace run '1 2 3 2' --out trace.png"),
        *("plot run", "explore run --out page.html", "export run --format onnx --out m.onnx"),
        *("lstm train --out run --resume --epochs 3", "export run --format hub --out hub"),
    ):
        assert main(shlex.split(command)) == 0, command
    capsys.readouterr()
    assert main(["lstm", "trace", "run", "1 2 3 2", "--out", "trace.png", "--json"]) == 0
    layer = json.loads(capsys.readouterr().out)["layers"][0]
    assert [*layer] == ["layer", "r", "z", "n", "m", "h"]
    run: Any = reviver.load("run")
    x = torch.randn(3, 5, 1)
    torch.testing.assert_close(reviver.RNNClassifier.from_pretrained("hub")(x), run.network(x))


@pytest.mark.parametrize(
    "config",
    [
        replace(TINY, num_layers=2, bidirectional=True, pooling="attention", dropout=0.1),
        replace(TINY, hidden_dropout_kind="zoneout", patch_size=2),
        CURRICULUM,
        replace(CURRICULUM, cell="slstm"),
    ],
    ids=["layers", "zoneout", "curriculum", "slstm"],
)
def test_texts_train_and_resume_bit_for_bit(config: LSTMConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(config, "whole")
    with monkeypatch.context() as patch:
        at_step(patch, 3, terminate)
        with pytest.raises(Interrupted, match="SIGTERM"):
            train(config, "cut")
    assert fingerprint(train(config, "cut", resume=True)) == fingerprint(whole)


def test_opening_a_run_runs_no_code(folder: Path) -> None:
    train(TINY, "run")
    record = json.loads(Path("run/run.json").read_text())
    for text in ("h = __import__('os').system('touch ran')", "h = W_h @ x\nimport os", "h = [print(1) for i in W_h]"):
        Path("run/run.json").write_text(json.dumps({**record, "config": {**record["config"], "cell": text}}))
        with pytest.raises(reviver.errors.RunFolderError, match=r"run.json: cell text, line \d, column \d"):
            reviver.load("run")
    assert not (folder / "ran").exists()


def test_a_sweep_has_texts_and_classes_as_an_axis(folder: Path, inline_sweeps: None) -> None:
    (folder / "sweep.toml").write_text(
        'command = "lstm train"\nseeds = 1\n[settings]\nlength = 5\nepochs = 1\ndata_size = 60\nhidden_size = 4\n'
        '[grid]\ncell = ["lstm", "mine.cell", "own.py:Cell"]\n'
    )
    (folder / "own.py").write_text(OWN)
    assert main(["sweep", "sweep.toml", "--out", "out", "--quiet"]) == 0
    cells = {json.loads(path.read_text())["config"]["cell"] for path in Path("out").rglob("run.json")}
    assert cells == {"lstm", TEXT, "own.py:Cell"}


def test_a_settings_file_holds_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lstm", "train", "--cell", "mine.cell", "--print-config"]) == 0
    Path("lstm.toml").write_text(capsys.readouterr().out)
    words = "lstm train --config lstm.toml --length 5 --epochs 1 --data-size 60 --hidden-size 4 --out run --quiet"
    assert main(words.split()) == 0
    assert reviver.load("run").config.cell == TEXT


def test_chrono_initialization_sets_the_biases_that_a_text_names(capsys: pytest.CaptureFixture[str]) -> None:
    words = "lstm train --length 50 --epochs 1 --data-size 60 --hidden-size 40 --init chrono --quiet --out"
    assert main([*words.split(), "run", "--cell", "peephole", "--learning-rate", "1e-9"]) == 0
    layer: Any = reviver.load("run").network
    keeps = torch.sigmoid(layer.rnn.b_f.detach())
    assert float(keeps.min()) >= 0.49
    assert float(keeps.max()) > 0.9
    torch.testing.assert_close(layer.rnn.b_i, -layer.rnn.b_f)
    assert main([*words.split(), "other", "--cell", "gru"]) == 2
    assert "init must be report for the cell gru, whose text has no vector b_f, got 'chrono'" in capsys.readouterr().err
    assert not Path("other").exists()
    words = "lstm train --preset adding --cell gru --epochs 1 --data-size 60 --length 10 --quiet --out gru"
    assert main(words.split()) == 0


def test_a_nan_names_the_line_that_made_it(caplog: pytest.LogCaptureFixture) -> None:
    config = replace(TINY, cell="a = W_a @ x + U_a @ h\nb = a / (c_0 * a)\nh = tanh(b)")
    with pytest.raises(DivergenceError):
        train(config, "run")
    assert "cell text, line 2: b = a / (c_0 * a) made a NaN or infinite number at step 1" in caplog.text


def test_the_built_in_cells_are_listed_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lstm", "cells", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cells"]["lstm"]["parameters"] == 71168
    assert main(["lstm", "cells", "gru", "--input-size", "3", "--hidden-size", "5"]) == 0
    text = capsys.readouterr().out
    assert "h = (1 - z) * n + z * h" in text
    assert "states h; matrices on x W_r, W_z, W_n" in text
    assert "135 weights for 3 inputs and 5 units" in text
    assert main(["lstm", "cells", "mine.cell", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["states"] == ["h", "m"]
    with pytest.raises(ConfigError, match="did you mean gru"):
        reviver.train_lstm(cell="gruu")


def test_grammar_is_read_without_torch() -> None:
    code = "import reviver.recurrent.grammar, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
