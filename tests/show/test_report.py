"""The report: built from tiny runs, reproducibly, with every number in the HTML page and in the PDF."""

import copy
import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from decimal import ROUND_HALF_UP, Decimal
from html.parser import HTMLParser
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import typst
from PIL import Image

from benchmarks.publish import Comparison
from reviver.data.images import image_set
from reviver.data.images.image_set import from_pixels
from reviver.data.tasks.palindromes import Palindromes, Split
from reviver.errors import DataError, RunFolderError
from reviver.figures import save_figure
from reviver.gan import interpolation
from reviver.runs.folder import RunFolder
from reviver.settings.gan import GANConfig
from reviver.settings.gan_presets import PRESETS
from reviver.settings.lstm import LSTMConfig
from reviver.show.report import build, results, schema
from reviver.show.report.build import ReportFiles, build_report, compile_report, make_report
from reviver.show.report.collect import collect, replace_unprintable
from reviver.show.report.comparison import Printed, compare_number
from reviver.show.report.results import GANResults, LSTMResults, read_gan, read_lstm
from reviver.show.report.schema import DigitCounts, Report
from reviver.train.gan.grids import grid_path, save_grid
from reviver.train.gan.training import train as train_gan
from reviver.train.lstm.summary import best, mean_of_last
from reviver.train.lstm.training import train as train_lstm
from tools import report_json

LSTM = LSTMConfig(hidden_size=8, epochs=3)
GAN = GANConfig(epochs=1, batch_size=64, log_every=5, eval_every=0)
VOID_ELEMENTS = {"img", "meta", "source", "col", "br", "link", "hr"}
ROOT, SOURCE = Path(__file__).parents[2], Path(build.__file__).parent
METRICS = ("train_accuracy", "train_loss", "validation_accuracy", "validation_loss")

pytestmark = pytest.mark.usefixtures("few_images")
needs_poppler = pytest.mark.skipif(shutil.which("pdftotext") is None, reason="needs pdftotext")


class Built(NamedTuple):
    out: Path
    lstm: LSTMResults
    gan: GANResults
    files: ReportFiles
    html: str

    @property
    def json(self) -> Any:
        return json.loads(self.files.json.read_text(encoding="utf-8"))


@pytest.fixture(scope="module", autouse=True)
def few_samples_and_no_warnings() -> Iterator[None]:
    """Classify fewer samples than a report does, which changes only the numbers; and compile without warnings."""

    def compile_checked(*arguments: Any, **options: Any) -> bytes:
        content, warnings = typst.compile_with_warnings(*arguments, **options)
        known = ["html export is under active development and incomplete"] * (options["format"] == "html")
        assert [warning.message for warning in warnings] == known
        return content

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "NUM_CLASSIFIED", 100)
        patch.setattr(interpolation, "NUM_CANDIDATES", 256)
        patch.setattr(build.typst, "compile", compile_checked)
        yield


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, few_images: None) -> Built:
    out = tmp_path_factory.mktemp("report")
    lstm_paths = [out / "runs" / f"lstm-seed{seed}" for seed in (0, 1)]
    for seed, path in enumerate(lstm_paths):
        train_lstm(dataclasses.replace(LSTM, seed=seed), path, device="cpu")
    train_gan(GAN, out / "runs" / "gan-seed0", device="cpu")
    lstm, gan = read_lstm(lstm_paths), read_gan(out / "runs" / "gan-seed0")
    files = build.write_report(out, lstm, gan)
    return Built(out, lstm, gan, files, files.html.read_text(encoding="utf-8"))


class Page(HTMLParser):
    """Content of an HTML page; raises if its elements are not nested."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}  # rows by table name: caption, header, then the rest
        self.headings: list[str] = []
        self.captions: list[str] = []
        self._name = ""
        self.feed(html)
        self.close()
        assert not self.open

    def find(self, tag: str) -> list[dict[str, str | None]]:
        return [values for name, values in self.attributes if name == tag]

    @property
    def addresses(self) -> list[str]:
        names = ("src", "href", "srcset", "action", "data")
        return [values[name] or "" for _, values in self.attributes for name in names if name in values]

    @property
    def anchors(self) -> list[str | None]:
        return [values["id"] for _, values in self.attributes if "id" in values]

    @property
    def text(self) -> str:
        return "".join(self.words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.attributes.append((tag, values))
        if tag == "div" and (values.get("class") or "").startswith("table"):
            self._name = values["id"] or ""
            self.tables[self._name] = []
        if tag in ("tr", "caption"):
            self.tables[self._name].append([] if tag == "tr" else [""])
        if tag in ("td", "th"):
            self.tables[self._name][-1].append("")
        if tag in ("h1", "h2", "h3"):
            self.headings.append("")
        if tag == "figcaption":
            self.captions.append("")
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open or "title" in self.open:
            return
        self.words.append(data)
        if {"td", "th", "caption"} & {*self.open}:
            self.tables[self._name][-1][-1] += data
        if {"h1", "h2", "h3"} & {*self.open}:
            self.headings[-1] += data
        if "figcaption" in self.open:
            self.captions[-1] += data


def squeeze(text: str) -> str:
    return re.sub(r"[\s\u00a0\u202f\u00ad]+|-\n", "", text)


def page_of(built: Built, values: Any, folder: Path, *, pdf: bool = False) -> Page:
    """Compile the page, and report.pdf if asked, from other results and the same figures."""
    results, html = folder / "report.json", folder / "report.html"
    results.write_text(json.dumps(values), encoding="utf-8")
    compile_report(results, built.out / "figures", {"html": html} | ({"pdf": folder / "report.pdf"} if pdf else {}))
    return Page(html.read_text(encoding="utf-8"))


def json_of(lstm: LSTMResults, gan: GANResults) -> Any:
    return collect(lstm, gan).model_dump(mode="json")


def text_of_pdf(path: Path) -> str:
    command = ["pdftotext", "-raw", path, "-"]
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return re.sub(r"\n[0-9]+ / [0-9]+\n\f", "\n", text)  # page numbers


def numbers_of_the_comparison(values: Any) -> Iterator[str]:
    """Yield the numbers of the original and the measured ones, formatted by Python instead of Typst."""

    def spread(measured: Any, show: Callable[[float], str], unit: str) -> str:
        mean = show(measured["mean"])
        return (mean if measured["std"] is None else f"{mean} ± {show(measured['std'])}") + unit

    def fixed(digits: int, factor: int = 1) -> Callable[[float], str]:
        step = Decimal(1).scaleb(-digits)
        return lambda value: str((Decimal(repr(value)) * factor).quantize(step, ROUND_HALF_UP)).replace("-", "−")

    rows = values["comparison"]["lstm"]
    percent, loss = fixed(2, 100), fixed(4)
    for name in METRICS:
        show, unit = (loss, "") if name.endswith("loss") else (percent, " %")
        yield show(rows[name]["original"]) + unit
        yield spread(rows[name]["measured"], show, unit)
    yield spread(rows["accuracy_gap"]["measured"], percent, " percentage points")
    yield "1000 = 800 + 200"
    for name in ("first_epoch_at_40", "first_epoch_at_55", "stable_from_epoch"):
        yield f"{rows[name]['original']:.0f}"
        assert rows[name]["measured"] is None, "tiny runs learn nothing"
        yield "not reached"
    trained = values["gan"]["recognition"]["trained"]
    yield "128, 256, 512, 1024, 784"
    yield f"{percent(trained['fraction'])} ± {percent(trained['standard_error'])} %"
    yield f"{percent(trained['balanced_fraction'])} %"
    yield f"{trained['num_digits']} of 10"


PRINTED = {"85.75", "99.50", "0.3915", "0.1444", "12", "15", "60", "128", "256", "512", "1024", "784", "1", "0.2"}
"""Numbers that the original prints; 1 stands for "a single probability value"."""


def test_the_comparison_has_every_number_and_of_the_original_only_what_it_prints(built: Built) -> None:
    tables = [Page(built.html).tables[f"comparison-{name}"] for name in ("lstm", "gan")]
    text = squeeze("".join(cell for lines in tables for line in lines for cell in line))
    for number in numbers_of_the_comparison(built.json):
        assert squeeze(number) in text
    cells = {line[0]: line[1] for lines in tables for line in lines[2:]}
    for quantity, cell in cells.items():
        assert set(re.findall(r"[0-9.]*[0-9]", cell)) <= PRINTED, quantity
    not_given = {quantity for quantity, cell in cells.items() if cell == "not given"}
    assert {"Palindromes: training + validation", "Final validation minus training accuracy"} <= not_given
    assert "Epochs of training" in not_given
    for name, lines in zip(("lstm", "gan"), tables, strict=True):  # benchmarks.publish reads the page
        rows = Comparison(built.html, f"comparison-{name}").rows
        assert rows[0] == ["Quantity", "Original", "Measured", "Explanation"]
        assert [[cell.replace("`", "") for cell in line] for line in rows] == lines[1:]
        assert ("`reviver report --full`" in str(rows)) == (name == "gan")


@needs_poppler
def test_the_pdf_says_what_the_page_says(built: Built) -> None:
    text, page = squeeze(text_of_pdf(built.files.pdf)), Page(built.html)
    cells = [cell for line in page.tables["lstm-metrics"][1:] for cell in line]
    for words in (*numbers_of_the_comparison(built.json), *page.headings, *cells, "explorer.html"):
        assert squeeze(words) in text
    assert len(page.captions) == 10
    for caption in page.captions:
        label = caption.split(".")[0]
        assert (squeeze(label + ".") in text) == ("over 1 epoch of training" not in caption)
    links = subprocess.run(["pdfinfo", "-url", built.files.pdf], check=True, capture_output=True, text=True).stdout
    assert "explorer.html" in links


def test_the_results_are_read_back_and_every_key_is_documented(built: Built) -> None:
    """The page of docs is made from the declared keys; these are the keys of open objects."""
    assert Report.model_validate_json(built.files.json.read_bytes()) == collect(built.lstm, built.gan)
    documented = set(re.findall(r"`(\w+)`", report_json.page()))
    assert {*built.json["comparison"]["lstm"], "perfect_epochs", *built.json["comparison"]["gan"]} <= documented
    for model, name in ((schema.LSTM, "final"), (schema.GAN, "grids"), (schema.GAN, "final")):
        description = str(model.model_fields[name].description)
        assert all(key in description for key in built.json[model.__name__.lower()][name])


def test_the_results_are_those_of_the_runs(built: Built) -> None:
    values = built.json
    last = [metrics[-1]["validation_accuracy"] for metrics in built.lstm.metrics]
    assert values["lstm"]["final"]["validation_accuracy"]["values"] == last
    compared = values["comparison"]["lstm"]["validation_accuracy"]["measured"]
    assert compared["mean"] == pytest.approx(np.mean(last))
    assert compared["std"] == pytest.approx(np.std(last, ddof=1))
    for name in METRICS:
        runs = [[record[name] for record in metrics] for metrics in built.lstm.metrics]
        find_best = min if name.endswith("loss") else max
        assert values["lstm"]["best"][name]["values"] == [find_best(run) for run in runs]
        assert values["lstm"]["mean_of_last"][name]["values"] == pytest.approx([np.mean(run) for run in runs])
    assert values["lstm"]["num_last_epochs"] == LSTM.epochs, "all, since they are fewer than ten"
    assert [run["seed"] for run in values["lstm"]["runs"]] == values["lstm"]["settings"]["seed"] == [0, 1]
    command = "reviver lstm train --preset original --seed 1 --hidden-size 8 --epochs 3 --out runs/lstm-seed1"
    assert values["lstm"]["runs"][1]["command"] == command
    networks = built.lstm.network, built.gan.run.generator, built.gan.run.discriminator
    parts = values["lstm"], values["gan"]["generator"], values["gan"]["discriminator"]
    for network, part in zip(networks, parts, strict=True):
        total = sum(parameter.numel() for parameter in network.parameters())
        assert part["num_parameters"] == sum(group["num_parameters"] for group in part["parameters"]) == total
        assert str(total) in squeeze(Page(built.html).text)
    assert [layer["outputs"] for layer in values["gan"]["generator"]["layers"]] == [128, 256, 512, 1024, 784]
    assert values["gan"]["discriminator"]["layers"][-1]["followed_by"] == ["Sigmoid"]
    rows = values["comparison"]  # agreements are counted over measured results: that given widths are equal is none
    compared = {name for name, row in rows["lstm"].items() if row["agrees"] is not None}
    assert compared == {*METRICS, "first_epoch_at_40", "first_epoch_at_55", "stable_from_epoch"}
    assert rows["num_compared"] == len(compared) == 7
    assert rows["num_agreeing"] == sum(rows["lstm"][name]["agrees"] for name in compared)
    assert rows["gan"]["generator_widths"]["agrees"] is True


def test_what_happened_to_the_runs_is_reported(built: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = Page(built.html).text
    hardware = built.gan.run.folder.record["hardware"]
    assert f"with {hardware['threads']} threads on this machine ({hardware['processor']}, device cpu)" in text
    assert "Resumed in another environment" not in text
    assert "returned to the checkpoint" not in text
    first, second = (run.folder.record for run in built.lstm.runs)
    changes = [{"at": "2026-11-25", "threads": [4, 2], "torch": ["2.10", "`2.11` {x}"]}, {}]
    monkeypatch.setitem(first, "changes", changes)
    monkeypatch.setitem(second, "rollbacks", [{"step": 1234, "quantity": "train loss", "back_to": 1000}])
    text = page_of(built, json_of(built.lstm, built.gan), tmp_path).text
    assert text.count("Resumed in another environment:") == 1
    assert "in runs/lstm-seed0, threads was 4 and is 2, torch was 2.10 and is `2.11` {x}." in text
    rollback = (
        "runs/lstm-seed1: the train loss was not finite at update 1\u202f234; the run returned to the checkpoint of "
    )
    rollback += "update 1\u202f000 and continued with half the learning rate."
    assert text.count("returned to the checkpoint") == text.count(rollback) == 1


def test_nothing_is_written_if_compiling_fails(built: Built, tmp_path: Path) -> None:
    with pytest.raises(typst.TypstError):
        page_of(built, {}, tmp_path, pdf=True)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@needs_poppler
def test_no_page_of_the_pdf_is_nearly_empty(built: Built, tmp_path: Path) -> None:
    subprocess.run(["pdftoppm", "-r", "20", "-gray", built.files.pdf, tmp_path / "page"], check=True)
    pages = sorted(tmp_path.glob("page*"))
    assert len(pages) >= 6
    for path in pages:
        pixels = np.asarray(Image.open(path))
        body = pixels[: int(0.93 * len(pixels))]  # without the page number
        lowest = (body < 200).any(1).nonzero()[0].max() / len(pixels)
        assert lowest > 1 / 3, f"{path.name} ends at {lowest:.0%}"


def test_runs_that_cannot_be_explored_have_a_report_without(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> str:
        raise DataError("data: gone does not exist; give it back")

    monkeypatch.setattr(build, "explorer_page", fail)
    stale = tmp_path / "explorer.html"
    stale.write_text("of other runs")
    assert build.try_explorer(stale, [built.gan.run]) is None
    assert not stale.exists()
    assert "the report has no explorer: data: gone does not exist" in caplog.text
    assert "explorer.html" not in page_of(built, built.json, tmp_path).addresses


def test_page_is_self_contained_and_accessible(built: Built) -> None:
    page = Page(built.html)
    assert built.html.startswith("<!DOCTYPE html>")
    assert '<html lang="en">' in built.html
    for words in ("url(", "@import", "<script"):
        assert words not in built.html
    for address in page.addresses:
        assert address.startswith("data:") or address == "explorer.html" or address[1:] in page.anchors
    assert built.files.explorer == built.out / "explorer.html"
    assert page.addresses.count("explorer.html") == 1
    assert len(page.anchors) == len(set(page.anchors))
    assert len(page.find("img")) == 11
    assert all(image.get("alt") for image in page.find("img"))
    assert {values.get("scope") for values in page.find("th")} == {"col", "row"}
    assert [values["aria-label"] for values in page.find("nav")] == ["Contents"]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.find("meta")
    for attributes in page.find("div"):  # the keyboard reaches everything that scrolls, and it has a name
        if "tabindex" in attributes:
            assert (attributes["tabindex"], attributes["role"]) == ("0", "group")
            assert attributes["aria-label"]
    inside = [values["href"] for values in page.find("a") if values["href"].startswith("#")]  # not the explorer
    sections = [f"#{values['id']}" for name, values in page.attributes if name in ("h2", "h3")]
    assert inside[1 : len(page.headings)] == sections, "after the link in the key results"
    assert len(page.find("caption")) == len(page.find("table")) == len(page.tables)
    for number, (caption, *lines) in enumerate(page.tables.values(), start=1):
        assert caption[0].startswith(f"Table {number}. ")
        assert len({len(line) for line in lines}) == 1
        assert all(lines[0])
    assert [values.get("display") for values in page.find("math")].count("block") == 3
    assert len(page.find("mtr")) == 6 + 2
    assert sum("data:image/gif" in address for address in page.addresses) == 1
    assert "@media (prefers-reduced-motion: reduce) {" in built.html
    assert not re.search(r"dot\.o|\bquad\b|cal\(", page.text)


def test_report_has_figures_one_to_five_and_all_files(built: Built) -> None:
    labels = [caption.split(".")[0] for caption in Page(built.html).captions]
    assert labels == [f"Figure {label}" for label in ("A", "B", "1", "C", "2", "3", "4", "5", "D", "E")][: len(labels)]
    assert {f"Figure {number}" for number in range(1, 6)} <= set(labels)
    for name in re.findall(
        r'"((?:figure|structure|gan-losses|interpolation)[^"]*)"', (SOURCE / "report.typ").read_text()
    ):
        for suffix in ("pdf", "png"):
            assert (built.out / "figures" / f"{name}.{suffix}").stat().st_size > 500
    assert (built.out / "figures" / "training.gif").stat().st_size > 500
    assert (built.out / "figures" / "interpolation.pdf").exists()


def test_last_mean_and_best_are_beside_each_other(built: Built) -> None:
    values = built.json["lstm"]
    _, header, *lines = Page(built.html).tables["lstm-metrics"]
    assert header == ["Metric", "Last epoch", "Mean of the last 3 epochs", "Best epoch"]
    names = ("train_accuracy", "train_loss", "validation_accuracy", "validation_loss")
    for name, (_, *cells) in zip(names, lines, strict=True):
        factor, digits = (100, 2) if name.endswith("accuracy") else (1, 4)
        for key, cell in zip(("final", "mean_of_last", "best"), cells, strict=True):
            shown = [float(part.strip("\u00a0%")) for part in cell.split("±")]
            expected = [factor * values[key][name][part] for part in ("mean", "std")]
            assert shown == pytest.approx(expected, abs=0.51 * 10**-digits)


def test_every_setting_is_shown(built: Built) -> None:
    tables = Page(built.html).tables
    for config, name in ((LSTM, "lstm-settings"), (GAN, "gan-settings")):
        assert [line[0] for line in tables[name][2:]] == [field.name for field in dataclasses.fields(config)]
        assert all(line[2] for line in tables[name][2:])
    values = {line[0]: line[1] for line in tables["lstm-settings"][2:]}
    shown = [values[name] for name in ("seed", "hidden_size", "curriculum", "learning_rate")]
    assert shown == ["0, 1", "8", "false", "0.001"]


def test_rebuilding_gives_the_same_bytes(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the explorer, tests/explorer shows the same."""
    before = [path.read_bytes() for path in built.files if path is not None]
    monkeypatch.setattr(build, "explorer_page", lambda _: before[3].decode())
    paths = [run.folder.path for run in built.lstm.runs]
    again = build_report(built.out, paths, built.gan.run.folder.path)
    assert again == built.files
    assert [path.read_bytes() for path in again if path is not None] == before
    assert not list(built.out.rglob("*.part"))


def test_runs_on_other_images_are_reported_without_digits(built: Built, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 12, 12), dtype=np.uint8)
    name = "a <b>&\" #eval $x$ `y` {z} 'images'.npz"
    np.savez(tmp_path / name, images=noise)
    config = dataclasses.replace(GAN, data=str(tmp_path / name), image_size=12, batch_size=16)
    train_gan(config, tmp_path / "gan", device="cpu")
    lstm, gan = read_lstm([built.lstm.runs[0].folder.path]), read_gan(tmp_path / "gan")
    values = json_of(lstm, gan)
    assert values["comparison"]["gan"]["generator_widths"]["agrees"] is False
    page = page_of(built, values, tmp_path)
    assert name in page.text
    assert name.removesuffix(".npz") in page.text
    assert "by the distance of its pixels to both" in page.text
    assert "recognition" not in page.tables
    caption, _, *lines = page.tables["comparison-lstm"]
    assert "±" not in "".join(line[2] for line in lines)
    assert "one seed" in caption[0]


HOSTILE = (
    "#panic() *x* _y_ $z$ <script>alert(1)</script> `c` = h @r \\ // -- ~ 'q' [b] {c} <lstm> https://x.y/ #eval(\"1\")"
)


@needs_poppler
def test_values_are_never_read_as_markup(built: Built, tmp_path: Path) -> None:
    """Text from run folders appears literally, on the page and in the PDF."""
    values = copy.deepcopy(built.json)
    values["gan"]["data"] = f"data {HOSTILE}"
    runs = [*values["lstm"]["runs"], values["gan"]["run"]]
    for run in runs:
        run["name"] = f"name {HOSTILE}"
    runs[0]["recorded_command"] = f"command {HOSTILE}"
    runs[0]["versions"] = {f"package {HOSTILE}": f"version {HOSTILE}"}
    runs[0]["hardware"] = {"processor": f"processor {HOSTILE}", "threads": ["list", HOSTILE], "cores": {"a": 1}}
    runs[0]["rollbacks"] = [{"step": 5, "quantity": f"quantity {HOSTILE}", "back_to": 3}]
    runs[0]["changes"] = [f"change {HOSTILE}"]
    values["lstm"]["settings"]["task"] = f"setting {HOSTILE}"
    page = page_of(built, values, tmp_path, pdf=True)
    pdf = squeeze(text_of_pdf(tmp_path / "report.pdf"))
    for word in ("data", "command", "package", "version", "processor", "quantity", "change", "setting", "list,"):
        assert f"{word} {HOSTILE}" in page.text
        assert squeeze(f"{word} {HOSTILE}") in pdf
    assert f"runs/name {HOSTILE}" in page.text
    assert not page.find("script")
    assert not [address for address in page.addresses if "x.y" in address]


def test_unprintable_characters_are_replaced() -> None:
    assert replace_unprintable({"a\x00": ["\ud800b", "c\nd", 1, None, True, 0.5, "\u202e×"]}) == {
        "a\ufffd": ["\ufffdb", "c d", 1, None, True, 0.5, "\ufffd×"]
    }


BASELINE = {"kid": 0.1, "density": 0.9, "class_kl": 0.2, "fid": 3.5, "precision": 0.93, "recall": 0.9, "coverage": 0.71}
RECORD = BASELINE | {
    "fid": 612.3,
    "fid_ratio": 174.9,
    "recall": 0.0,
    "coverage": 0.004,
    "spacing": 0.2,
    "step": 1,
    "k": 5,
}
RECORD |= {"real_baseline": BASELINE | {"spacing": 9.8}, "class_fractions": [0.1] * 10, "num_samples": 2000}
RECORD |= {"data": "mnist", "extractor": "reviver digit classifier", "extractor_sha256": "48f37b9f" * 8}


@pytest.mark.parametrize(
    ("warnings", "expected"),
    [
        (
            ["collapsed: bad; try {x} --learning-rate"] * 3,
            [
                "At the end, FID is 612.3, which is 174.9 times the 3.5 of as many real training images.",
                "Coverage is 0.4 %, that of the real images 71 %.",
                "The generator has collapsed at the end, and at 2 of 3 evaluations, first after epoch 10.",
                "The last warning is: collapsed: bad",
                "Shaded: mode collapse. Feature extractor: reviver digit classifier, SHA-256 48f37b9f48f3",
            ],
        ),
        (["collapsed", "collapsed", None], ["at 1 of 3 evaluations, first after epoch 10, and recovered."]),
        ([None, None], []),
    ],
)
def test_scores_are_plotted_and_mode_collapse_is_reported(
    warnings: list[str | None], expected: list[str], built: Built, tmp_path: Path
) -> None:
    assert "Figure F" not in built.html, "of a run without scores"
    scores = [RECORD | {"epoch": 5 * number, "warning": text} for number, text in enumerate(warnings, start=1)]
    gan = dataclasses.replace(built.gan, scores=scores)
    shutil.copytree(built.out / "figures", tmp_path / "figures")
    figure = build.plot_figures(built.lstm, gan)["gan-scores"]
    save_figure(figure, tmp_path / "figures" / "gan-scores.svg")
    page = page_of(built._replace(out=tmp_path), json_of(built.lstm, gan), tmp_path)
    for sentence in expected:
        assert squeeze(sentence) in squeeze(page.text)
    assert ("collapsed" in page.text) == bool(expected)
    assert {caption.split(".")[0] for caption in page.captions} >= {"Figure E", "Figure F"}


def test_runs_that_do_not_fit_are_refused(built: Built, tmp_path: Path) -> None:
    train_lstm(dataclasses.replace(LSTM, hidden_size=4, epochs=1), tmp_path / "other", device="cpu")
    first = built.lstm.runs[0].folder.path
    path = Path(shutil.copytree(first, tmp_path / "run"))
    record = (path / "run.json").read_text()
    (path / "run.json").write_text(record.replace('"finished"', '"interrupted"'))
    for read, problem in (
        (
            lambda: read_lstm([first, tmp_path / "other"]),
            r"hidden_size must be 8 as in .*, got 4; give runs that differ",
        ),
        (lambda: read_lstm([]), "lstm_runs must hold at least one run folder, got none"),
        (lambda: read_gan(first), "kind 'lstm', not 'gan'"),
        (lambda: read_lstm([path]), "is interrupted, not finished"),
    ):
        with pytest.raises(RunFolderError, match=problem):
            read()


def test_make_report_trains_reuses_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds: list[tuple[Path, list[Path], Path]] = []
    monkeypatch.setattr(build, "build_report", lambda *arguments: builds.append(arguments))
    monkeypatch.setattr(build, "NUM_SEEDS", 2)
    monkeypatch.setattr(build, "LSTM_PRESETS", MappingProxyType({"original": LSTM}))
    monkeypatch.setattr(build, "GAN_PRESETS", MappingProxyType({"best": GAN}))
    runs = tmp_path / "runs"
    (runs / "gan-seed3").mkdir(parents=True)
    make_report(tmp_path, seed=3, device="cpu")
    assert builds == [(tmp_path, [runs / "lstm-seed3", runs / "lstm-seed4"], runs / "gan-seed3")]

    weights = list(runs.rglob("networks.safetensors"))
    assert len(weights) >= 3
    times = [path.stat().st_mtime_ns for path in weights]
    record = runs / "lstm-seed4" / "run.json"
    record.write_text(record.read_text().replace('"finished"', '"running"'))  # as a killed process leaves it
    make_report(tmp_path, seed=3, device="cpu")
    assert [path.stat().st_mtime_ns for path in weights] == times
    assert '"finished"' in record.read_text()

    monkeypatch.setattr(build, "LSTM_PRESETS", MappingProxyType({"original": dataclasses.replace(LSTM, epochs=4)}))
    with pytest.raises(RunFolderError, match="epochs must be 4 for this report, got 3; move this folder away"):
        make_report(tmp_path, seed=3, device="cpu")


INTRODUCTIONS = {
    "best": r"\(R1, γ = .*\), .* decaying learning rate, .* average of G, random shifts .* statistics .* from 20.000 latent",
    "original": "those of one run with one seed",
    "short": "fewer than the 200 of the script",
}


@pytest.mark.parametrize("preset", INTRODUCTIONS)
def test_the_introduction_lists_the_additions_of_the_recipe(preset: str, built: Built, tmp_path: Path) -> None:
    run = dataclasses.replace(built.gan.run, config=PRESETS[preset])
    text = page_of(built, json_of(built.lstm, dataclasses.replace(built.gan, run=run)), tmp_path).text
    introduction = text.split("A generator")[1].split("Model structure")[0]
    assert re.search(INTRODUCTIONS[preset], introduction)
    assert ("fewer" in introduction) == (preset == "short")
    assert ("this run adds" in introduction) == (preset == "best")


@pytest.mark.parametrize(
    ("measured", "original", "agrees", "to_range", "in_std"),
    [
        ((0.8, 0.85, 0.9), 0.86, True, 0, 0.2),
        ((0.8, 0.85, 0.9), 0.9, True, 0, 1),
        ((0.8, 0.85, 0.9), 0.95, False, 0.05, 2),
        ((0.8,), 0.9, False, 0.1, None),
        ((3, 3, None), 4, False, 1, None),
        ((None, None), 4, False, None, None),
        ((3, 4), None, None, None, None),
    ],
)
def test_a_number_agrees_within_the_range(
    measured: Any, original: Any, agrees: Any, to_range: Any, in_std: Any
) -> None:
    row = compare_number("epoch", measured, None if original is None else Printed(original, "here"))
    assert (row.agrees, row.original, row.section) == (agrees, original, None if original is None else "here")
    assert row.distance_to_range == (None if to_range is None else pytest.approx(to_range))
    assert row.distance_in_std == (None if in_std is None else pytest.approx(in_std))
    assert row.num_runs == len(measured)
    assert (row.measured is None) == (measured == (None, None))


EXPLANATIONS = [
    ((0.8, 0.85, 0.9), 0.86, "Within the measured range, 80.00 to 90.00 %."),
    ((0.8,), 0.9, "One run has no range; the difference is 10.00 percentage points."),
    (
        (0.8, 0.85, 0.9),
        0.95,
        "Outside the measured range, 80.00 to 90.00 %, by 5.00 percentage points (2.0 standard dev",
    ),
    (
        (0.8, 0.8),
        0.9,
        "Outside the measured range, 80.00 %, by 10.00 percentage points; all seeds have the same value.",
    ),
]


@pytest.mark.parametrize("first", [0, 2])
def test_what_other_results_say(first: int, built: Built, tmp_path: Path) -> None:
    values = copy.deepcopy(built.json)
    rows, shown = values["comparison"]["lstm"], EXPLANATIONS[first : first + 2]
    for name, (measured, original, _) in zip(("train_accuracy", "validation_accuracy"), shown, strict=True):
        rows[name] = compare_number("fraction", measured, Printed(original, "")).model_dump(mode="json")
    rows["first_epoch_at_40"] = compare_number("epoch", (11, 13, None), Printed(12, "")).model_dump(mode="json")
    values["gan"]["interpolation"] |= {"num_images": 3, "digits": [3, 3, 8], "confidences": [0.99, 0.6, 0.98]}
    page = page_of(built, values, tmp_path)
    lines = [[cell.replace("\u00a0", " ") for cell in line] for line in page.tables["comparison-lstm"]]
    for line, (_, _, explanation) in zip(lines[3:5], shown, strict=True):
        assert line[3].startswith(explanation)
    assert lines[8][2] == "12.0 ± 1.4 (in 2 of 3 seeds)"
    text = page.text.replace("\u00a0", " ")
    assert "first reaches 40 % at epoch 12.0 ± 1.4 (in 2 of 3 seeds) and 55 % in no run." in text
    image = (
        "Row of 3 generated images that change step by step from digit 3 to digit 8; the classifier predicts 3, 3, 8."
    )
    assert image in [image["alt"] for image in page.find("img")]
    assert "from digit 3 to digit 8, with 1 image in between" in text


def test_epochs_of_a_metric() -> None:
    records = [{"epoch": epoch, "a": value} for epoch, value in enumerate((0.1, 0.5, 0.2, 0.9, 0.9), start=1)]
    no_palindromes = Palindromes(torch.zeros(0, 1, dtype=torch.uint8), 2)
    lstm = LSTMResults((), (records,), Split(no_palindromes, no_palindromes), ())
    assert lstm.first_epoch_at("a", 0.5) == [2]
    assert lstm.first_epoch_at("a", 1.0) == [None]
    assert lstm.first_epoch_above("a", 0.4) == [4]
    assert lstm.first_epoch_above("a", 0.05) == [1]
    assert lstm.first_epoch_above("a", 0.9) == [None]
    fraction = lstm.fraction_after(2, "a", 0.9)
    assert fraction is not None
    assert fraction.mean == pytest.approx(2 / 3)
    assert lstm.fraction_after(5, "a", 0.9) is None


def test_mean_and_best_of_a_metric() -> None:
    """A loss is best where it is lowest, and the mean is taken over the last ten epochs alone."""
    records = [{"epoch": epoch, "loss": abs(epoch - 5), "accuracy": epoch / 12} for epoch in range(1, 13)]
    assert (best(records, "loss"), best(records, "accuracy")) == (0, 1)
    assert mean_of_last(records, "accuracy") == pytest.approx(np.mean(np.arange(3, 13) / 12))
    assert mean_of_last(records[:2], "loss") == 3.5


def test_recognition_of_one_digit_is_chance() -> None:
    repeated = DigitCounts.from_counts(1000, (0, 0, 1000, 0, 0, 0, 0, 0, 0, 0))
    assert (repeated.fraction, repeated.balanced_fraction, repeated.num_digits) == (1.0, 0.1, 1)
    assert repeated.standard_error == 0.0
    even = DigitCounts.from_counts(1000, (90,) * 10)
    assert (even.fraction, even.balanced_fraction, even.num_digits) == (0.9, 0.9, 10)


def test_numbers(tmp_path: Path) -> None:
    """Format numbers with numbers.typ."""
    expected = {
        "percent(-0.0001)": "−0.01 %",
        "coarse-percent(0.004)": "0.4 %",
        "coarse-percent(0.00051)": "0.05 %",
        "coarse-percent(0.0)": "0 %",
        "coarse-percent(0.855)": "86 %",
        "coarse-percent(1.0)": "100 %",
        "count(12345)": "12 345",
        "count(1234567.0)": "1 234 567",
        "count(8.6)": "8.6",
        "count(0)": "0",
        "fixed(-0.3, 2)": "−0.30",
        "fixed(-0.001, 2)": "0.00",
        "seconds(4.687)": "4.7 s",
        "seconds(513.2)": "8.6 min",
        "seconds(7200)": "2.0 h",
        "times((128, 1))": "128 × 1",
        "plain(0.0002)": "0.0002",
        "plain(-0.3)": "−0.3",
        "plain(none)": "none",
        "plain(true)": "true",
        "plain((0, 1))": "0, 1",
    }
    shutil.copyfile(SOURCE / "numbers.typ", tmp_path / "numbers.typ")
    document = tmp_path / "numbers-test.typ"
    document.write_text(f'#import "numbers.typ": *\n#metadata(({", ".join(expected)},)) <texts>', encoding="utf-8")
    texts = json.loads(typst.query(str(document), "<texts>", field="value", one=True))
    plain = [text.replace("\u00a0", " ").replace("\u202f", " ") for text in texts]
    assert dict(zip(expected, plain, strict=True)) == expected


# The middle of training


def save_grids(samples: Path, *grids: tuple[int, int | None, np.ndarray[Any, Any]]) -> None:
    """Save grids of 25 gray images [25, 28, 28], each given as (epoch, update, images)."""
    for epoch, update, pixels in grids:
        save_grid(from_pixels(torch.from_numpy(pixels))[:, None], grid_path(samples, epoch, update))


def choose_grids(built: Built, tmp_path: Path) -> list[tuple[int, int | None]]:
    run = dataclasses.replace(built.gan.run, folder=RunFolder(tmp_path, built.gan.run.folder.record))
    return [(grid.epoch, grid.update) for grid in results._choose_grids(run).values()]


def test_the_middle_is_halfway_in_recognised_digits(built: Built, tmp_path: Path) -> None:
    """The middle is not halfway in time: digits appear early and then hardly change."""
    test = image_set.load_mnist("test")
    assert test.labels is not None
    digits = torch.cat([test.images[test.labels == digit][:3, 0] for digit in range(10)])[:25].numpy()
    gray = np.full_like(digits, 128)
    half = np.where(np.arange(25)[:, None, None] < 13, digits, gray)
    nearly = np.where(np.arange(25)[:, None, None] < 24, digits, gray)
    samples = tmp_path / "samples"
    save_grids(samples, (0, None, gray), (0, 20, gray), (0, 500, half), (17, None, nearly), (34, None, digits))
    assert choose_grids(built, tmp_path) == [(0, None), (0, 500), (34, None)]


def test_the_middle_of_other_images_and_of_few_grids(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of other images it is equally far from first and last; the shortest runs have only these two grids."""
    samples = tmp_path / "samples"
    with pytest.raises(DataError, match="has no sample grids; train again"):
        choose_grids(built, tmp_path)
    monkeypatch.setattr("reviver.train.gan.run.GANRun.is_digits", False)
    shades = [(0, None, 0), (2, None, 200), (0, 10, 10), (0, 100, 90), (1, None, 190)]
    chosen = []
    for epoch, update, gray in shades:
        save_grids(samples, (epoch, update, np.full((25, 28, 28), gray, np.uint8)))
        chosen.append(choose_grids(built, tmp_path)[1])
    assert chosen == [(0, None), (0, None), (0, 10), (0, 100), (0, 100)]
    assert choose_grids(built, tmp_path) == [(0, None), (0, 100), (2, None)]
