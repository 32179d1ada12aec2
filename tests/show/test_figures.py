"""What all figures share: files, sizes and the dark background; and the figures that `reviver plot` makes of a run."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from reviver.cli.app import main
from reviver.figures import figure_style, format_number, plain_log_ticks, save_figure
from reviver.show.gan_figures import loss_curves, strip_figure
from reviver.show.lstm_figures import confusion_figure, learning_curves
from reviver.show.report.results import GAN_METRICS
from reviver.train.lstm.classification import classification_report

METRICS = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
RUNS = [[{"epoch": epoch, **dict.fromkeys(METRICS, value)} for epoch in (1, 2)] for value in (1.0, 0.5)]


def test_width_font_size_and_background(tmp_path: Path) -> None:
    sizes, corners = {}, {}
    slide = {"width": 10.0, "font_size": 18.0, "dark": True}
    for name, style in {"page": {}, "slide": slide, "column": {"width": 3.2}}.items():
        with figure_style(**style):
            figure = learning_curves(RUNS)
            save_figure(figure, tmp_path / f"{name}.png")
        boxes = [axes.get_tightbbox() for axes in figure.axes]
        assert not boxes[0].overlaps(boxes[1]), "labels stay apart"
        sizes[name] = figure.axes[0].title.get_fontsize()
        pixels = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"))
        assert pixels.shape[1] == pytest.approx(200 * style.get("width", 6.3), abs=1)
        corners[name] = pixels[0, 0].max()
    assert sizes == {"page": 9, "slide": 18, "column": 9}
    assert corners["slide"] < 40 < corners["page"] == 255


def test_negative_losses_single_points_and_missing_glyphs_show(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    losses = loss_curves([{"epoch": 1, **dict.fromkeys(GAN_METRICS, -1.0)}], "wasserstein").axes[0]
    assert (losses.get_ylabel(), losses.get_ylim()[0] < -1) == ("wasserstein loss", True)
    smoothed = loss_curves([{"epoch": 1, **dict.fromkeys(GAN_METRICS, 0.5)}], label_smoothing=0.2).axes[1]
    assert smoothed.lines[-1].get_ydata()[0] == 0.4, "equal logits of real and generated images minimize L_D there"
    assert list(map(format_number, (0, 0.5, 999.4, 999.6))) == ["0", "0.5", "999", "1\u2009000"], "no exponent"
    figure = learning_curves([RUNS[0][:1]])
    assert losses.lines[0].get_marker() == figure.axes[0].lines[0].get_marker() == "o"
    assert (figure.axes[0].get_xticks().tolist(), figure.axes[0].get_ylim()[1] > 2.4) == ([0, 1, 2], True)
    for dropout, label in ((True, "training (with dropout)"), (False, "training")):
        assert learning_curves(RUNS, dropout=dropout).axes[0].get_legend_handles_labels()[1][0] == label
    figure.suptitle("日本")
    save_figure(figure, tmp_path / "a.pdf")
    assert re.fullmatch(r".*a.pdf: Glyph .* missing from font.*; Glyph .*", caplog.messages[0])


def test_labels_are_enough_exact_and_inside_the_figure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for low, high in ((99, 121), (5.08, 5.26), (2.1, 9.9), (5, 20), (7, 13)):
        axes = Figure().subplots(subplot_kw={"xscale": "log", "xlim": (low, high)})
        plain_log_ticks(axes.xaxis)
        shown = {tick: text.get_text() for tick, text in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)}
        assert len([tick for tick in shown if low <= tick <= high]) > 1
        assert [float(text) for text in shown.values()] == pytest.approx(list(shown))
    for count, font_size in ((2, 9.0), (9, 14.0), (30, 9.0)):
        with figure_style(font_size=font_size):
            figure = strip_figure(torch.zeros(count, 1, 4, 4), ["3\n100%"] * count)
        figure.draw_without_rendering()
        assert 0 <= figure.axes[0].xaxis.label.get_window_extent().y0 / figure.dpi < 0.2  # inches
        files = [tmp_path / name for name in ("a.png", "a.svg", "b.png")]
        for path in files:  # a file does not move the axes of the next one
            save_figure(figure, path)
        assert files[0].read_bytes() == files[2].read_bytes()
    assert caplog.messages == []
    logits, names = torch.eye(2), tuple("long " * 9 + name for name in "ab")
    report = classification_report(logits, torch.arange(2), names, (0.5, 0.5))
    assert len({label.get_text() for label in confusion_figure(report).axes[0].get_xticklabels()}) == 2


@pytest.mark.parametrize(("name", "files"), [("copy", ["curves"]), ("gan", ["curves", "samples"])])
def test_plot(name: str, files: list[str], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(f"plot {home / name} --out {tmp_path} --format svg --figure-width 8 --dark --json")) == 0
    paths = [tmp_path / f"{file}.svg" for file in files]
    assert json.loads(capsys.readouterr().out)["files"] == list(map(str, paths))
    assert sorted(tmp_path.iterdir()) == paths
    assert all('width="576pt"' in path.read_text() for path in paths)  # 8 inches
