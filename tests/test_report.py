"""The report: built from tiny runs, the same twice, with every number in both of its files."""

import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest

from reviver.errors import RunFolderError
from reviver.gan import images
from reviver.gan import training as gan_training
from reviver.gan.presets import PRESETS, GANConfig
from reviver.gan.training import train as train_gan
from reviver.gan.watch import find_collapses
from reviver.lstm.presets import LSTMConfig
from reviver.lstm.training import train as train_lstm
from reviver.report import build
from reviver.report.build import NUM_SEEDS, ReportFiles, build_report, check_run, make_report, write_files
from reviver.report.comparison import gan_rows, lstm_rows, place
from reviver.report.content import write_report
from reviver.report.evidence import GANEvidence, LSTMEvidence, Recognition, gather_gan, gather_lstm
from reviver.report.formulas import DEPTH, HEIGHT, draw_formula, read_formula
from reviver.report.gan_part import gan_sections
from reviver.report.model import (
    Bullets,
    Equations,
    Figure,
    Paragraph,
    Report,
    Span,
    Table,
    as_string,
    find,
    plain,
    prose,
)
from reviver.report.numbers import Spread, coarse_percent, loss, percent, seconds, whole
from reviver.report.settings_part import _runs, _settings_table, command_of
from reviver.report.structure import read_layers

LSTM = LSTMConfig(hidden_size=8, epochs=3)
GAN = GANConfig(epochs=1, batch_size=64, log_every=5, score_every=0)
VOID = {"img", "meta", "source", "col", "br", "link", "hr"}


class Built(NamedTuple):
    out: Path
    lstm: LSTMEvidence
    gan: GANEvidence
    report: Report
    files: ReportFiles
    html: str


@pytest.fixture(scope="module", autouse=True)
def few_images() -> Iterator[None]:
    """Training sees the first images of MNIST only."""
    mnist = images.load_mnist("train")
    few = images.ImageSet(mnist.images[:512], None, "mnist")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            gan_training,
            "load_images",
            lambda source, size: few if source == "mnist" else images.load_images(source, size),
        )
        yield


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    out = tmp_path_factory.mktemp("report")
    lstm_paths = [out / "runs" / f"lstm-seed{seed}" for seed in (0, 1)]
    for seed, path in enumerate(lstm_paths):
        train_lstm(dataclasses.replace(LSTM, seed=seed), path, device="cpu")
    gan_path = out / "runs" / "gan-seed0"
    train_gan(GAN, gan_path, device="cpu")
    lstm, gan = gather_lstm(lstm_paths), gather_gan(gan_path)
    files = write_files(out, lstm, gan)
    return Built(out, lstm, gan, write_report(lstm, gan), files, files.html.read_text(encoding="utf-8"))


class Page(HTMLParser):
    """Collects the addresses and the text of a page, and checks that its elements are nested."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.anchors: list[str | None] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [values[name] or "" for name in ("src", "href", "srcset", "action", "data") if name in values]
        self.anchors += [values["id"]] if "id" in values else []
        if tag == "img":
            self.images.append(values)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)


def squeeze(text: str) -> str:
    return re.sub(r"[\s\u00a0\u202f\u00ad]+|-\n", "", text)


def numbers_of_the_comparison(built: Built) -> Iterator[str]:
    for row in [*lstm_rows(built.lstm), *gan_rows(built.gan)]:
        yield as_string(row.reported)
        yield as_string(row.ours)


def test_every_number_of_the_comparison_is_on_the_page(built: Built) -> None:
    text = squeeze("".join(Page(built.html).words))
    for number in numbers_of_the_comparison(built):
        assert squeeze(number) in text


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="needs pdftotext")
def test_every_number_of_the_comparison_is_in_the_pdf(built: Built) -> None:
    text = subprocess.run(
        ["pdftotext", "-raw", built.files.pdf, "-"], capture_output=True, check=True, text=True
    ).stdout
    text = squeeze(text)
    for number in numbers_of_the_comparison(built):
        assert squeeze(number) in text
    for section in built.report.sections:
        assert squeeze(section.title) in text
    for figure in find(built.report, Figure):
        assert (squeeze(figure.label + ".") in text) == (figure.kind != "animation")


def test_the_report_says_what_gives_the_same_bits(built: Built) -> None:
    [section] = [one for one in built.report.sections if one.title == "The same bits"]
    text = "\n".join(as_string(item) for bullets in find(section, Bullets) for item in bullets.items)
    hardware = built.gan.run.folder.record["hardware"]
    assert f"with {hardware['threads']} threads on this machine ({hardware['processor']}, device cpu)" in text
    assert "Resumed otherwise" not in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([{"at": "2026-11-25", "threads": [4, 2]}], "in runs/lstm-seed0, threads was 4 and is 2."),
        (
            [{"threads": [4, 2], "torch": ["2.10", "`2.11` {x}"]}],
            "threads was 4 and is 2, torch was 2.10 and is `2.11` {x}.",
        ),
        ([{"threads": 2}, {}], None),
    ],
)
def test_the_report_says_where_a_run_went_on_otherwise(
    changes: object, said: str | None, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(built.lstm.runs[0].folder.record, "changes", changes)
    items = [
        as_string(item) for bullets in find(write_report(built.lstm, built.gan), Bullets) for item in bullets.items
    ]
    resumed = [item for item in items if "Resumed otherwise than begun" in item]
    assert len(resumed) == (said is not None)
    assert said is None or said in resumed[0]


def test_pdf_is_whole(built: Built) -> None:
    data = built.files.pdf.read_bytes()
    assert data.startswith(b"%PDF-")
    assert data.rstrip().endswith(b"%%EOF")


def test_page_needs_nothing_else(built: Built) -> None:
    page = Page(built.html)
    for address in page.addresses:
        assert address.startswith(("data:", "#"))
    assert "url(" not in built.html
    assert "@import" not in built.html
    assert "<script" not in built.html
    assert '<html lang="en">' in built.html


def test_page_is_accessible(built: Built) -> None:
    page = Page(built.html)
    assert all(image.get("alt") for image in page.images)
    assert len(page.anchors) == len(set(page.anchors))
    for address in page.addresses:
        assert not address.startswith("#") or address[1:] in page.anchors


def test_report_has_figures_one_to_five_and_all_files(built: Built) -> None:
    figures = find(built.report, Figure)
    labels = [figure.label for figure in figures]
    assert len(labels) == len(set(labels))
    assert {f"Figure {number}" for number in range(1, 6)} <= set(labels)
    for figure in figures:
        endings = ("gif",) if figure.kind == "animation" else ("pdf", "png")
        for ending in endings:
            assert (built.out / "figures" / f"{figure.name}.{ending}").stat().st_size > 500
    assert (built.out / "figures" / "interpolation.pdf").exists()


def test_tables_are_rectangular_and_numbered(built: Built) -> None:
    tables = find(built.report, Table)
    assert [table.label for table in tables] == [f"Table {number}" for number in range(1, len(tables) + 1)]
    for table in tables:
        assert len(table.header) == len(table.align) == len(table.widths)
        assert all(len(row) == len(table.header) for row in table.rows)


def test_every_setting_is_shown(built: Built) -> None:
    shown = {as_string(row[0]) for table in find(built.report, Table) for row in table.rows}
    for config in (LSTM, GAN):
        assert {field.name for field in dataclasses.fields(config)} <= shown


def test_rebuilding_gives_the_same_bytes(built: Built) -> None:
    pdf = built.files.pdf.read_bytes()
    paths = [run.folder.path for run in built.lstm.runs]
    again = build_report(built.out, paths, built.gan.run.folder.path)
    assert again.html.read_text(encoding="utf-8") == built.html
    assert again.pdf.read_bytes() == pdf
    assert not list(built.out.rglob("*.part"))


def test_one_seed_has_no_spread(built: Built) -> None:
    lstm = gather_lstm([built.lstm.runs[0].folder.path])
    text = " ".join(as_string(row.ours) for row in lstm_rows(lstm))
    assert "±" not in text
    assert "one seed" in as_string(find(write_report(lstm, built.gan), Table)[3].caption)


def test_parameters_are_those_of_the_networks(built: Built) -> None:
    table = find(built.report, Table)[0]
    total = sum(parameter.numel() for parameter in built.lstm.runs[0].network.parameters())
    assert as_string(table.rows[-1][-1]) == whole(total)
    assert [layer.outputs for layer in read_layers(built.gan.run.generator)] == [128, 256, 512, 1024, 784]
    assert read_layers(built.gan.run.discriminator)[-1].followers == ("Sigmoid",)


def test_runs_on_other_images_are_reported_without_digits(built: Built, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 12, 12), dtype=np.uint8)
    name = "a <b>&\" #eval $x$ `y` {z} 'images'.npz"
    np.savez(tmp_path / name, images=noise)
    train_gan(
        dataclasses.replace(GAN, data=str(tmp_path / name), size=12, batch_size=16), tmp_path / "gan", device="cpu"
    )
    files = build_report(tmp_path, [built.lstm.runs[0].folder.path], tmp_path / "gan")
    page = Page(files.html.read_text(encoding="utf-8"))
    assert name in "".join(page.words)
    assert gather_gan(tmp_path / "gan").judgement is None


OTHERS = {"kid": 0.1, "density": 0.9, "class_kl": 0.2}
FLOOR = OTHERS | {"fid": 3.5, "precision": 0.93, "recall": 0.9, "coverage": 0.71, "spacing": 9.8}
POINT = OTHERS | {
    "fid": 612.3,
    "fid_ratio": 174.9,
    "precision": 0.99,
    "recall": 0.0,
    "coverage": 0.004,
    "spacing": 0.2,
    "floor": FLOOR,
}
POINT |= {
    "step": 1,
    "k": 5,
    "data": "mnist",
    "classes": [0.1] * 10,
    "n": 2000,
    "extractor": "reviver digit classifier",
    "extractor_sha256": "48f37b9f" * 8,
}


def points_of(*warnings: str | None) -> list[dict[str, Any]]:
    """Scores at epochs 5, 10 ... that warned so."""
    return [POINT | {"epoch": 5 * place, "warning": text} for place, text in enumerate(warnings, start=1)]


def test_scores_are_drawn_and_a_collapse_is_told(built: Built, tmp_path: Path) -> None:
    shutil.copytree(built.gan.run.folder.path, tmp_path / "run")
    points = points_of(*["collapsed: bad; try {x} --learning-rate"] * 3)
    (tmp_path / "run" / "scores.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
    gan = gather_gan(tmp_path / "run")
    files = write_files(tmp_path, built.lstm, gan)
    text = squeeze("".join(Page(files.html.read_text(encoding="utf-8")).words))
    for sentence in (
        "At the end FID is 612.3, 174.9 times the 3.5 of as many real training images, and coverage is 0.4 %, theirs 71 %",
        "The generator is collapsed at the end, and at 2 of 3 scorings, first after epoch 10. The last one says: collapsed: bad",
        "Shaded: collapsed. Extractor: reviver digit classifier, SHA-256 48f37b9f48f3",
    ):
        assert squeeze(sentence) in text
    for ending in ("pdf", "svg", "png"):
        assert (tmp_path / "figures" / f"gan-scores.{ending}").stat().st_size > 5000
    assert {figure.label for figure in find(write_report(built.lstm, gan), Figure)} >= {"Figure E", "Figure F"}


def test_a_run_that_did_not_collapse_or_came_back_is_told_so(built: Built) -> None:
    def told(*warnings: str | None) -> str:
        points = points_of(*warnings)
        gan = dataclasses.replace(built.gan, scores=points, collapses=find_collapses(points))
        return str(write_report(built.lstm, gan))

    assert "collapsed" not in told(None, None)
    assert "Figure F" in told(None, None)
    assert "at 1 of 3 scorings, first after epoch 10, and came back." in told("collapsed", "collapsed", None)


def test_a_run_without_scores_shows_none(built: Built) -> None:
    assert "Figure F" not in {figure.label for figure in find(built.report, Figure)}
    assert not (built.out / "figures" / "gan-scores.png").exists()


def test_runs_that_do_not_belong_together_are_refused(built: Built, tmp_path: Path) -> None:
    train_lstm(dataclasses.replace(LSTM, hidden_size=4, epochs=1), tmp_path / "other", device="cpu")
    first = built.lstm.runs[0].folder.path
    with pytest.raises(
        RunFolderError, match=r"its hidden_size is 4, that of .* 8; give runs that differ in their seed only"
    ):
        gather_lstm([first, tmp_path / "other"])
    with pytest.raises(RunFolderError, match="there is none"):
        gather_lstm([])
    with pytest.raises(RunFolderError, match="kind 'lstm', not 'gan'"):
        gather_gan(first)


def test_unfinished_runs_are_refused(built: Built, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(built.lstm.runs[0].folder.path, path)
    record = (path / "run.json").read_text()
    (path / "run.json").write_text(record.replace('"finished"', '"interrupted"'))
    with pytest.raises(RunFolderError, match="is interrupted, not finished"):
        gather_lstm([path])


def test_make_report_trains_reuses_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built_from: list[tuple[Path, list[Path], Path]] = []
    monkeypatch.setattr(build, "build_report", lambda *arguments: built_from.append(arguments))
    monkeypatch.setattr(build, "NUM_SEEDS", 2)
    monkeypatch.setattr(build, "LSTM_PRESETS", MappingProxyType({"report": LSTM}))
    monkeypatch.setattr(build, "GAN_PRESETS", MappingProxyType({"best": GAN}))
    make_report(tmp_path, seed=3, device="cpu")
    runs = tmp_path / "runs"
    assert built_from == [(tmp_path, [runs / "lstm-seed3", runs / "lstm-seed4"], runs / "gan-seed3")]

    weights = list(runs.rglob("networks.safetensors"))
    assert len(weights) >= 3
    times = [path.stat().st_mtime_ns for path in weights]
    record = runs / "lstm-seed4" / "run.json"
    record.write_text(record.read_text().replace('"finished"', '"running"'))  # as a killed process leaves it
    make_report(tmp_path, seed=3, device="cpu")
    assert [path.stat().st_mtime_ns for path in weights] == times
    assert '"finished"' in record.read_text()

    monkeypatch.setattr(build, "LSTM_PRESETS", MappingProxyType({"report": dataclasses.replace(LSTM, epochs=4)}))
    with pytest.raises(RunFolderError, match="its epochs is 3 where the report needs 4; move this folder away"):
        make_report(tmp_path, seed=3, device="cpu")


def test_a_new_run_has_no_status(tmp_path: Path) -> None:
    assert check_run(tmp_path / "none", "lstm", LSTM) is None
    assert check_run(tmp_path, "lstm", LSTM) is None
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match=r"no run\.json"):
        check_run(tmp_path, "lstm", LSTM)


def test_at_least_three_seeds() -> None:
    assert NUM_SEEDS >= 3


def test_commands_name_what_differs_from_a_preset(built: Built) -> None:
    command = command_of(built.lstm.runs[1])
    assert command == "reviver lstm train --preset report --seed 1 --hidden-size 8 --epochs 3 --out runs/lstm-seed1"


def test_the_report_says_when_a_run_went_back_to_a_checkpoint(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "went back" not in built.html
    noted = [{"step": 1234, "quantity": "train loss", "back_to": 1000}]
    monkeypatch.setitem(built.lstm.runs[1].folder.record, "rollbacks", noted)
    bullets = [
        as_string(item) for block in _runs(built.lstm, built.gan) if isinstance(block, Bullets) for item in block.items
    ]
    expected = (
        f"the train loss was not finite at update {whole(1234)}; the run went back to update {whole(1000)} and on"
    )
    assert bullets == [f"runs/lstm-seed1: {expected} with half the step size."]


@pytest.mark.parametrize(
    ("config", "expected", "other"),
    [
        (PRESETS["best"], r"at real images \(R1, γ = .*\), step sizes that fall, a moving average", "fewer"),
        (PRESETS["report"], "of one run with one seed", "we add"),
        (PRESETS["short"], "fewer than the 200 of the script", "we add"),
    ],
)
def test_the_introduction_says_what_the_recipe_adds(built: Built, config: GANConfig, expected: str, other: str) -> None:
    run = dataclasses.replace(built.gan.run, config=config)
    section = gan_sections(dataclasses.replace(built.gan, run=run))[0]
    text = " ".join(as_string(paragraph.text) for paragraph in find(section, Paragraph))
    assert re.search(expected, text)
    assert other not in text


def test_place_says_what_is_so() -> None:
    ours = Spread((0.8, 0.85, 0.9))
    assert place(0.86, ours, percent).startswith("Within our range, 80.00 to 90.00")
    outside = place(0.95, ours, percent)
    assert "Outside our range" in outside
    assert "by 5.00\u00a0points (2.0 standard deviations from our mean)" in outside
    assert "One run gives no range" in place(0.9, Spread((0.8,)), percent)


def test_epochs_of_a_metric() -> None:
    points = [{"epoch": epoch, "a": value} for epoch, value in enumerate((0.1, 0.5, 0.2, 0.9, 0.9), start=1)]
    evidence = LSTMEvidence((), (points,), 1, 1, (), ())
    assert evidence.first_at("a", 0.5) == [2]
    assert evidence.first_at("a", 1.0) == [None]
    assert evidence.above_from("a", 0.4) == [4]
    assert evidence.above_from("a", 0.05) == [1]
    assert evidence.above_from("a", 0.9) == [None]
    share = evidence.share_after(2, "a", 0.9)
    assert share is not None
    assert share.mean == pytest.approx(2 / 3)
    assert evidence.share_after(5, "a", 0.9) is None


def test_recognition_of_one_digit_is_chance() -> None:
    repeated = Recognition(1000, (0, 0, 1000, 0, 0, 0, 0, 0, 0, 0))
    assert (repeated.share, repeated.balanced, repeated.digits, repeated.error) == (1.0, 0.1, 1, 0.0)
    even = Recognition(1000, (90,) * 10)
    assert (even.share, even.balanced, even.digits) == (0.9, 0.9, 10)


def test_numbers() -> None:
    shown = [percent(0.8575), coarse_percent(0.004), whole(12345), whole(8.6), loss(0.39149), seconds(513.2)]
    assert [text.replace("\u00a0", " ").replace("\u202f", " ") for text in shown] == [
        "85.75 %", "0.4 %", "12 345", "8.6", "0.3915", "8.6 min",
    ]  # fmt: skip
    assert Spread((1.0, 3.0)).show(loss) == "2.0000\u00a0±\u00a01.4142"


def test_values_are_never_read_as_marks() -> None:
    text = prose("see `{name}` and {name}", name="`a` $b$ **c** {d}")
    assert text == (
        Span("text", "see "),
        Span("code", "`a` $b$ **c** {d}"),
        Span("text", " and `a` $b$ **c** {d}"),
    )


def test_formulas_are_drawn_and_read(built: Built) -> None:
    line = draw_formula("h_(t-1)", displayed=False)
    assert b"<svg" in line.svg
    assert line.height == pytest.approx(HEIGHT, abs=0.01)
    assert DEPTH < HEIGHT
    for formula in find(built.report, Equations):
        assert draw_formula(formula.math, displayed=True).width > 5
        assert not re.search(r"dot\.o|sigma|quad|\\", read_formula(formula.math))
    for span in find(built.report, Span):
        if span.kind == "math":  # none is taller or deeper than the line that it stands in
            assert draw_formula(span.text, displayed=False).height == pytest.approx(HEIGHT, abs=0.01)


@pytest.mark.parametrize("config", [LSTMConfig(), GANConfig()], ids=["lstm", "gan"])
def test_the_meaning_of_a_setting_is_one_paragraph(config: LSTMConfig | GANConfig) -> None:
    """Docstrings that go over several lines bring their indentation with them."""
    table = _settings_table(config, plain(""), {})
    for row in table.rows:
        meaning = as_string(row[2])
        assert meaning
        assert meaning == " ".join(meaning.split())
