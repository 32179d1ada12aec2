"""The report: built from tiny runs, reproducibly, with every number in the HTML page and in the PDF."""

import copy
import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import typst
from playwright.sync_api import Browser

from benchmarks.publish import comparison
from reviver.data.images.named import Digits, read_small_mnist
from reviver.errors import DataError, RunFolderError
from reviver.figures import save_figure
from reviver.gan import interpolation
from reviver.run import load
from reviver.runs.folder import RunFolder
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.show.report import make, results
from reviver.show.report.comparison import summarize
from reviver.show.report.make import ReportFiles, build_report, compile_report, train_runs
from reviver.show.report.results import GANResults, LSTMResults, collect
from reviver.train.gan.training import train as train_gan
from reviver.train.lstm.training import train as train_lstm

LSTM = LSTMConfig(hidden_size=8, epochs=3)
GAN = GANConfig(epochs=1, batch_size=64, log_every=5, eval_every=0)
METRICS = ("train_accuracy", "train_loss", "validation_accuracy", "validation_loss")
VISIBLE_BOXES = """elements => elements.filter((element) => element.checkVisibility({ visibilityProperty: true }))
    .map((element) => element.getBoundingClientRect()).filter(({ width, height }) => width * height > 0)
    .map(({ left, right }) => [left, right])"""
VOID_ELEMENT = re.compile(r'<((?:img|meta|source|col|br|link|hr)\b(?:[^>"]|"[^"]*")*)>')

pytestmark = pytest.mark.usefixtures("few_images")
needs_poppler = pytest.mark.skipif(shutil.which("pdftotext") is None, reason="needs pdftotext")


class Built(NamedTuple):
    out: Path
    lstm: LSTMResults
    gan: GANResults
    files: ReportFiles
    html: str
    json: Any


@pytest.fixture(scope="module", autouse=True)
def few_samples() -> Iterator[None]:
    """Classify and embed fewer images than a report does, which changes only numbers, and save figures in fewer formats."""
    with pytest.MonkeyPatch.context() as patch:
        few = Digits(*(part[:100] for part in read_small_mnist()))
        patch.setattr("reviver.explorer.page.read_small_mnist", lambda: few)
        patch.setattr(results, "NUM_CLASSIFIED", 100)
        patch.setattr(interpolation, "NUM_CANDIDATES", 256)
        patch.setattr(make, "FORMATS", ("pdf", "svg"))
        yield


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, few_images: None) -> Built:
    out = tmp_path_factory.mktemp("report")
    lstm_paths, without_paths = (
        [out / "runs" / f"{name}-seed{seed}" for seed in (0, 1)] for name in ("lstm", "no-dropout")
    )
    for seed, path in enumerate(lstm_paths):
        train_lstm(dataclasses.replace(LSTM, seed=seed), path, device="cpu")
        train_lstm(dataclasses.replace(LSTM, seed=seed, hidden_dropout=0.0), without_paths[seed], device="cpu")
    train_gan(GAN, out / "runs" / "gan-seed0", device="cpu")
    lstm_runs, without_runs = ([load(path) for path in paths] for paths in (lstm_paths, without_paths))
    lstm, gan = LSTMResults(lstm_runs, without_runs), GANResults(load(out / "runs" / "gan-seed0"))
    files = build_report(out, lstm, gan)
    html, values = (path.read_text(encoding="utf-8") for path in (files.html, files.json))
    return Built(out, lstm, gan, files, html, json.loads(values))


class Page:
    """Content of an HTML page, which must be well-formed."""

    def __init__(self, html: str) -> None:
        self.root = ET.fromstring(VOID_ELEMENT.sub(r"<\1/>", html.removeprefix("<!DOCTYPE html>")))
        body = self.root.find("body")
        assert body is not None
        self.text = "".join(body.itertext())

    def find(self, *tags: str) -> list[ET.Element]:
        return [element for element in self.root.iter() if element.tag in tags]

    @property
    def addresses(self) -> list[str]:
        names = ("src", "href", "srcset", "action", "data")
        return [element.attrib[name] for element in self.root.iter() for name in names if name in element.attrib]

    def table(self, name: str) -> list[list[str]]:
        """Return header and rows of a table."""
        rows = self.root.findall(f".//div[@id='{name}']//tr")
        return [["".join(cell.itertext()).replace("\u00a0", " ") for cell in row] for row in rows]


def count_pictures(report: Path) -> int:
    """Return how many figures a report has, and the image that stands for the animation in print."""
    return 1 + sum(path.suffix in (".svg", ".png", ".gif") for path in (report / "figures").iterdir())


def squeeze(text: str) -> str:
    return re.sub(r"[\s\u00a0\u202f\u00ad]+|-\n", "", text)


def page_of(built: Built, values: Any, folder: Path, *, pdf: bool = False) -> Page:
    """Compile the page, and report.pdf if asked, from other results and the same figures."""
    results, html = folder / "report.json", folder / "report.html"
    results.write_text(json.dumps(values), encoding="utf-8")
    compile_report(results, built.out / "figures", {"html": html} | ({"pdf": folder / "report.pdf"} if pdf else {}))
    return Page(html.read_text(encoding="utf-8"))


def text_of_pdf(path: Path) -> str:
    command = ["pdftotext", "-raw", path, "-"]
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return squeeze(re.sub(r"\n[0-9]+ / [0-9]+\n\f", "\n", text))  # without page numbers


def numbers_of_the_comparison(values: Any) -> Iterator[str]:
    """Yield the numbers of the original and the measured ones, formatted by Python instead of Typst."""

    def fixed(digits: int, factor: int = 1) -> Callable[[float], str]:
        step = Decimal(1).scaleb(-digits)
        return lambda value: str((Decimal(repr(value)) * factor).quantize(step, ROUND_HALF_UP)).replace("-", "−")

    rows = values["comparison"]["lstm"]
    percent, loss = fixed(2, 100), fixed(4)
    for name in METRICS:
        show, unit = (loss, "") if name.endswith("loss") else (percent, " %")
        measured = rows[name]["measured"]
        yield show(rows[name]["original"]) + unit
        yield f"{show(measured['mean'])} ± {show(measured['std'])}{unit}"
    yield from ("1000 = 800 + 200", "12", "15", "60", "not reached", "128, 256, 512, 1024, 784")
    trained = values["gan"]["recognition"]["trained"]
    yield f"{percent(trained['fraction'])} ± {percent(trained['standard_error'])} %"


PRINTED = {"85.75", "99.50", "0.3915", "0.1444", "12", "15", "60", "128", "256", "512", "1024", "784", "1", "0.2"}
"""Numbers that the original prints; 1 stands for "a single probability value"."""


def test_the_tables_have_every_number_and_of_the_original_only_what_it_prints(built: Built) -> None:
    page = Page(built.html)
    tables = {name: page.table(name) for name in ("comparison-lstm", "comparison-gan")}
    text = squeeze("".join(cell for lines in tables.values() for line in lines for cell in line))
    for number in numbers_of_the_comparison(built.json):
        assert squeeze(number) in text
    for name, lines in tables.items():
        for quantity, cell, *_ in lines[1:]:
            assert set(re.findall(r"[0-9.]*[0-9]", cell)) <= PRINTED, quantity
        rows = comparison(built.html, name)  # which puts the numbers into the docs
        assert [[squeeze(cell.replace("`", "")) for cell in line] for line in rows] == [
            [squeeze(cell) for cell in line] for line in lines
        ]
    values = {line[0]: line[1] for line in page.table("lstm-settings")[1:]}
    assert list(values) == [field.name for field in dataclasses.fields(LSTM)]


def test_every_figure_and_table_names_its_runs_their_commit_and_command(built: Built) -> None:
    page = Page(built.html)
    commit = built.lstm.runs[0].folder.record["versions"].get("commit")
    shown = f"commit {commit}" if commit else "a commit that is not recorded"
    if (Path(__file__).parents[2] / ".git").exists():
        subprocess.run(["git", "cat-file", "-e", commit.removesuffix("-dirty")], check=True, cwd=Path(__file__).parent)
    captions = page.find("figcaption", "caption")
    assert len(captions) >= 20
    for caption in captions:
        text = squeeze("".join(caption.itertext()))
        (words,) = (element for element in caption.iter("span") if element.get("class") == "source")
        assert squeeze(f"Reviver at {shown}, by {built.json['gan']['run']['recorded_command']}.") in text, text
        names = [run["name"] for run in (*built.json["lstm"]["runs"], built.json["gan"]["run"])]
        assert any(name in "".join(words.itertext()) for name in names)


@needs_poppler
def test_the_pdf_says_what_the_page_says(built: Built) -> None:
    text, page = text_of_pdf(built.files.pdf), Page(built.html)
    cells = [cell for line in page.table("lstm-metrics") for cell in line]
    headings = ["".join(heading.itertext()) for heading in page.find("h1", "h2", "h3")]
    for words in (*numbers_of_the_comparison(built.json), *headings, *cells):
        assert squeeze(words) in text


def test_the_results_are_those_of_the_runs(built: Built) -> None:
    assert built.json == json.loads(json.dumps(collect(built.lstm, built.gan)))
    lstm, rows = built.json["lstm"], built.json["comparison"]
    for name in METRICS:
        runs = [[record[name] for record in metrics] for metrics in built.lstm.metrics]
        last = [run[-1] for run in runs]
        assert lstm["final"][name]["values"] == last
        measured = rows["lstm"][name]["measured"]
        assert (measured["mean"], measured["std"]) == pytest.approx((np.mean(last), np.std(last, ddof=1)))
        original = rows["lstm"][name]["original"]
        to_range = 0 if min(last) <= original <= max(last) else min(abs(value - original) for value in last)
        assert rows["lstm"][name]["agrees"] == (to_range == 0)
        assert rows["lstm"][name]["distance_to_range"] == pytest.approx(to_range)
        assert rows["lstm"][name]["distance_in_std"] == pytest.approx(
            abs(original - np.mean(last)) / np.std(last, ddof=1)
        )
        find_best = min if name.endswith("loss") else max
        assert lstm["best"][name]["values"] == [find_best(run) for run in runs]
        assert lstm["mean_of_last"][name]["values"] == pytest.approx([np.mean(run) for run in runs])
    assert [run["seed"] for run in lstm["runs"]] == lstm["settings"]["seed"] == [0, 1]
    command = "reviver lstm train --preset original --seed 1 --hidden-size 8 --epochs 3 --out runs/lstm-seed1"
    assert lstm["runs"][1]["command"] == command
    networks = built.lstm.network, built.gan.run.generator, built.gan.run.discriminator
    gan, text = built.json["gan"], squeeze(Page(built.html).text)
    for network, part in zip(networks, (lstm, gan["generator"], gan["discriminator"]), strict=True):
        total = sum(parameter.numel() for parameter in network.parameters())
        assert part["num_parameters"] == sum(group["num_parameters"] for group in part["parameters"]) == total
        assert str(total) in text
    # Agreements are counted over measured results: that given widths are equal is none.
    compared = {name for name, row in rows["lstm"].items() if row["agrees"] is not None}
    assert compared == {*METRICS, "first_epoch_at_40", "first_epoch_at_55", "stable_from_epoch"}
    assert rows["num_compared"] == len(compared) == 7
    assert rows["num_agreeing"] == sum(rows["lstm"][name]["agrees"] for name in compared)
    assert rows["gan"]["generator_widths"]["agrees"] is True


def test_what_cannot_be_explored_or_compiled_is_left_out(built: Built, tmp_path: Path, monkeypatch: Any) -> None:
    def fail(*_: object, **__: object) -> str:
        raise DataError("data: gone does not exist; give it back")

    monkeypatch.setattr(make, "build_page", fail)
    stale = tmp_path / "explorer.html"
    stale.write_text("of other runs")
    assert make.try_explorer(stale, [built.gan.run]) is None
    assert not stale.exists()
    assert "explorer.html" not in page_of(built, built.json, tmp_path).addresses
    before = (tmp_path / "report.html").read_bytes()
    with pytest.raises(typst.TypstError):
        page_of(built, {}, tmp_path, pdf=True)
    assert (tmp_path / "report.html").read_bytes() == before
    assert not (tmp_path / "report.pdf").exists(), "if one of both cannot be compiled, none is written"


def test_page_is_self_contained_and_accessible(built: Built) -> None:
    page = Page(built.html)
    assert built.html.startswith('<!DOCTYPE html><html lang="en">')
    for words in ("url(", "@import", "<script"):
        assert words not in built.html
    anchors = [element.attrib["id"] for element in page.root.iter() if "id" in element.attrib]
    assert len(anchors) == len(set(anchors))
    for address in page.addresses:
        assert address.startswith("data:") or address == "explorer.html" or address[1:] in anchors
    assert page.addresses.count("explorer.html") == 1
    assert len(page.find("img")) == count_pictures(built.out)
    assert all(image.get("alt") for image in page.find("img"))
    assert {cell.get("scope") for cell in page.find("th")} == {"col", "row"}
    for element in page.find("div"):  # the keyboard reaches everything that scrolls, and it has a name
        assert "tabindex" not in element.attrib or (element.get("role") == "group" and element.get("aria-label"))
    links = [link.get("href") for link in page.find("a")]
    assert all(f"#{heading.get('id')}" in links for heading in page.find("h2", "h3"))
    assert len(page.find("caption")) == len(page.find("table"))
    assert "@media (prefers-reduced-motion: reduce) {" in built.html


def test_a_phone_shows_charts_and_tables_whole(built: Built, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 800})
    page.goto(built.files.html.as_uri())
    for selector, number in ((".wide td, .wide th[scope=row]", 50), (".for-narrow img", 2), (".pixels img", 4)):
        boxes = page.locator(selector).evaluate_all(VISIBLE_BOXES)
        assert len(boxes) >= number
        assert all(left >= 0 and right <= 360 for left, right in boxes), selector
    assert not page.locator(".for-wide").first.is_visible()
    page.set_viewport_size({"width": 1280, "height": 800})
    assert page.locator(".for-wide").first.is_visible()
    assert not page.locator(".for-narrow").first.is_visible()
    page.close()


def test_rebuilding_gives_the_same_bytes(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the explorer and of figures in other formats, their own tests show the same."""
    paths = [path for path in built.out.rglob("*") if path.suffix in (".html", ".json", ".pdf", ".svg")]
    before = {path: path.read_bytes() for path in paths}
    page = before[built.out / "explorer.html"].decode()
    monkeypatch.setattr(make, "build_page", lambda *_, **__: SimpleNamespace(html=page))
    monkeypatch.setattr(make, "FORMATS", ("pdf",))
    again = build_report(built.out, built.lstm, built.gan)
    assert again == built.files
    assert {path: path.read_bytes() for path in paths} == before


def test_runs_on_other_images_are_reported_without_digits(built: Built, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 12, 12), dtype=np.uint8)
    name = "a <b>&\" #eval $x$ `y` {z} 'images'.npz"
    np.savez(tmp_path / name, images=noise)
    config = dataclasses.replace(GAN, data=str(tmp_path / name), image_size=12, batch_size=16)
    train_gan(config, tmp_path / "gan", device="cpu")
    lstm, gan = LSTMResults(built.lstm.runs[:1]), GANResults(load(tmp_path / "gan"))
    values = collect(lstm, gan)
    assert values["comparison"]["gan"]["generator_widths"]["agrees"] is False
    page = page_of(built, values, tmp_path)
    assert name in page.text
    assert not page.table("recognition")
    assert "averages 4 updates" in page.text, "an epoch has fewer than log_every"
    assert f" {lstm.runs[0].folder.record['hardware']['memory_gb']} GiB, device cpu" in page.text.replace("\u00a0", " ")
    assert "±" not in "".join(line[2] for line in page.table("comparison-lstm")), "one seed"


BASELINE = dict.fromkeys(("kid", "density", "class_kl", "precision", "recall"), 0.5) | {"fid": 3.5, "coverage": 0.996}
RECORD = BASELINE | {"fid": 612.3, "fid_ratio": 174.9, "coverage": 0.004, "spacing": 0.2, "step": 1, "k": 5}
RECORD |= {"real_baseline": BASELINE | {"spacing": 9.8}, "class_fractions": [0.1] * 10, "num_samples": 2000}
RECORD |= {"data": "mnist", "extractor": "reviver digit classifier", "extractor_sha256": "48f37b9f" * 8}


def test_scores_are_plotted_and_mode_collapse_is_reported(built: Built, tmp_path: Path) -> None:
    scores = [RECORD | {"epoch": 5 * number, "warning": "bad; try {x}"} for number in (1, 2, 3)]
    gan = copy.copy(built.gan)
    vars(gan)["scores"] = scores
    shutil.copytree(built.out / "figures", tmp_path / "figures")
    figure = make.plot_figures(built.lstm, gan)["gan-scores"]
    for name in ("gan-scores", "gan-scores-narrow"):
        save_figure(figure, tmp_path / "figures" / f"{name}.svg")
    page = page_of(built._replace(out=tmp_path), collect(built.lstm, gan), tmp_path)
    for text in (
        "Coverage is 0.4 %, that of the real images 99.6 %",
        "FID is 612.3, which is 174.9 times the 3.5",
        "at 2 of 3 evaluations, first after epoch 10",
        "bad; try {x}",
    ):
        assert squeeze(text) in squeeze(page.text)
    assert len(page.find("img")) == count_pictures(tmp_path)
    scores[-1]["fid_ratio"] = None  # the real images have the distance 0
    page = page_of(built._replace(out=tmp_path), collect(built.lstm, gan), tmp_path)
    assert squeeze("At the end, FID is 612.3. Coverage is 0.4 %") in squeeze(page.text)


def test_a_report_trains_reuses_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "NUM_SEEDS", 2)
    monkeypatch.setattr(make, "LSTM_PRESETS", MappingProxyType({"original": LSTM}))
    monkeypatch.setattr(make, "GAN_PRESETS", MappingProxyType({"best": GAN}))
    runs = tmp_path / "runs"
    (runs / "gan-seed3").mkdir(parents=True)
    (runs / "gan-seed3" / ".run.json.part").touch()  # left by a killed process
    trained = train_runs(tmp_path, seed=3, device="cpu")
    lstm, without = ([runs / f"{name}-seed{seed}" for seed in (3, 4)] for name in ("lstm", "no-dropout"))
    assert trained == (lstm, without, runs / "gan-seed3")
    settings = [RunFolder.open(path).read_config(LSTMConfig) for path in (*lstm, *without)]
    assert settings == [dataclasses.replace(LSTM, seed=seed, hidden_dropout=p) for p in (0.5, 0.0) for seed in (3, 4)]

    weights = list(runs.rglob("checkpoints/*.safetensors"))
    assert len(weights) >= 3
    times = [path.stat().st_mtime_ns for path in weights]
    record = runs / "lstm-seed4" / "run.json"
    record.write_text(record.read_text().replace('"finished"', '"running"'))  # as a killed process leaves it
    train_runs(tmp_path, seed=3, device="cpu")
    assert [path.stat().st_mtime_ns for path in weights] == times
    assert '"finished"' in record.read_text()

    monkeypatch.setattr(make, "LSTM_PRESETS", MappingProxyType({"original": dataclasses.replace(LSTM, epochs=4)}))
    with pytest.raises(RunFolderError, match="epochs must be 4 for this report, got 3; move this folder away"):
        train_runs(tmp_path, seed=3, device="cpu")


def test_the_report_says_what_dropout_did_and_shows_no_range_beyond_a_bound(built: Built, tmp_path: Path) -> None:
    values = copy.deepcopy(built.json)
    final = values["lstm"]["no_dropout"]["final"]["validation_accuracy"]
    assert values["comparison"]["lstm"]["validation_accuracy_no_dropout"]["measured"] == final
    assert final["values"] == [run.metrics[-1]["validation_accuracy"] for run in built.lstm.no_dropout]
    near_bound = summarize((1.0, 0.995, 1.0, 0.99, 0.895), high=1.0)
    values["lstm"]["final"]["validation_accuracy"] = near_bound
    values["comparison"]["lstm"]["validation_accuracy"]["measured"] = near_bound
    page = page_of(built, values, tmp_path)
    rows = {line[0]: line[1:3] for line in page.table("comparison-lstm")}
    assert rows["Final validation accuracy"][1] == "97.60 % (median 99.50 %, 89.50 to 100.00 %)"
    original, measured = rows["The same, trained without dropout"]
    assert original == "dropout “to prevent overfitting”"
    assert measured.startswith(f"{100 * final['mean']:.2f}")
    assert "± 4.5" not in page.text
    for run in values["lstm"]["no_dropout"]["runs"]:
        assert run["command"] in page.text
    assert "--hidden-dropout 0" in run["command"]
