"""Training by one function, and what the run that it returns shows."""

import builtins
import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from torch import nn

import reviver
from reviver.cli import main
from reviver.errors import ConfigError, RunFolderError
from reviver.runs.folder import RunFolder

TINY: Any = {"length": 3, "epochs": 2, "hidden_size": 8, "data_size": 60, "progress": False}


def test_the_lstm_trains_as_on_the_command_line_and_shows_its_metrics(here: Path) -> None:
    run = reviver.train_lstm(**TINY, seed=3, cell="rnn")
    assert isinstance(run, reviver.LSTMRun)
    assert str(run.folder.path) == "runs/lstm-original-length3-data-size60-cell-rnn-hidden-size8-seed3"
    words = "lstm train --length 3 --epochs 2 --hidden-size 8 --data-size 60 --cell rnn --seed 3 --quiet --out same"
    assert main(words.split()) == 0
    same = RunFolder.open("same").read_metrics()
    table = run.table()
    assert table["validation_loss"] == [row["validation_loss"] for row in same]
    assert pd.DataFrame(table).to_dict("list") == table
    figure = run.plot()
    assert isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"^name must be curves, got 'scores'"):
        run.plot("scores")
    assert "<iframe" in run.explore(height=300)._repr_html_()


def test_a_run_fits_a_line_evaluates_and_predicts(tmp_path: Path) -> None:
    trained = reviver.train_lstm(tmp_path / "run", **TINY | {"length": np.int64(5), "encoding": "onehot"})
    run = reviver.load(tmp_path / "run", "lstm")
    assert repr(run).startswith("<LSTMRun '/")
    assert repr(run).endswith(", finished>")
    assert len(repr(run)) < 100
    evaluated = run.evaluate(length=np.int64(7), size=50)
    assert (evaluated.length, evaluated.score.size, run.evaluate().length) == (7, 50, 5)
    assert evaluated.score == trained.evaluate(7, 50).score
    assert run.predict("1 2 3 2") == run.predict([1, 2, 3, 2])
    assert sum(run.predict([1, 2]).probabilities) == pytest.approx(1)
    with pytest.raises(AttributeError, match="the run of an LSTM has no generator"):
        assert run.generator
    with pytest.raises(RunFolderError, match="holds a run of kind 'lstm', not 'gan'"):
        reviver.load(tmp_path / "run", "gan")


def test_a_preset_for_the_lstm_fits_other_cells(tmp_path: Path) -> None:
    rows = "".join(f'"{i % 3} {i % 5} 1",{"ab"[i % 2]}\n' for i in range(40))
    (tmp_path / "mine.csv").write_text("sequence,label\n" + rows)
    settings: Any = {"data": str(tmp_path / "mine.csv"), "epochs": 1, "progress": False}
    run = reviver.train_lstm(tmp_path / "run", "series", nn.GRUCell, **settings)
    assert (run.config.bidirectional, run.config.patch_size) == (False, 1)
    assert (run.config.task, run.task.output_size) == ("custom", 2)
    with pytest.raises(ConfigError, match="GRUCell does not support bidirectional true"):
        reviver.train_lstm(tmp_path / "other", "series", nn.GRUCell, bidirectional=True, **settings)


def test_a_notebook_shows_one_line_of_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = type("ZMQInteractiveShell", (), {})()  # as the kernel of Jupyter has it
    monkeypatch.setattr(builtins, "get_ipython", lambda: shell, raising=False)
    reviver.train_lstm(tmp_path / "run", **TINY | {"progress": True})
    shown = capsys.readouterr().out
    assert re.search(r"\rLSTM T=3: 2/2 epochs  validation accuracy .*\n$", shown)
    assert shown.count("\n") == 1


def test_editors_know_every_setting_with_its_type_and_default() -> None:
    for function, config in ((reviver.train_lstm, "length"), (reviver.train_gan, "latent_size")):
        parameters = inspect.signature(function).parameters
        assert (parameters["epochs"].annotation, parameters[config].annotation) == (int, int)
    assert inspect.signature(reviver.train_gan).parameters["epochs"].default == 34
