"""What all figures share: files, sizes and the dark background; and the figures that `reviver plot` makes of a run."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reviver.cli.app import main
from reviver.figures import figure_style, format_number, save_figure
from reviver.show.gan_figures import loss_curves
from reviver.show.lstm_figures import learning_curves
from reviver.show.report.results import GAN_METRICS

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


@pytest.mark.parametrize(("name", "files"), [("copy", ["curves"]), ("gan", ["curves", "samples"])])
def test_plot(name: str, files: list[str], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(f"plot {home / name} --out {tmp_path} --format svg --figure-width 8 --dark --json")) == 0
    paths = [tmp_path / f"{file}.svg" for file in files]
    assert json.loads(capsys.readouterr().out)["files"] == list(map(str, paths))
    assert sorted(tmp_path.iterdir()) == paths
    assert all('width="576pt"' in path.read_text() for path in paths)  # 8 inches
