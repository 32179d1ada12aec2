"""The static part of the explorer: complete, escaped, within the content security policy, small and deterministic."""

import base64
import io
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reviver.config import override
from reviver.explorer.build import explorer_page
from reviver.explorer.static import MAX_POINTS, static_part, thin
from reviver.gan import training as gan_training
from reviver.gan.config import GANConfig
from reviver.gan.run import GANRun
from reviver.loading import load
from reviver.lstm import training as lstm_training
from reviver.lstm.run import LSTMRun
from tests.test_lstm_training import TINY

GAN = GANConfig(image_size=8, latent_size=8, epochs=2, batch_size=16, log_every=2)
EVIL = "<img src=x onerror=alert(1)>&'\""
SCORES: dict[str, Any] = {
    **dict.fromkeys(("fid", "kid", "precision", "recall", "density", "coverage", "class_kl", "spacing"), 0.5),
    "step": 6,
    "epoch": 2,
    "class_fractions": [0.5, 0.5],
    "fid_ratio": 1.5,
    "warning": None,
    "num_samples": 1000,
    "k": 5,
    "data": "images",
    "extractor": EVIL,
    "extractor_sha256": "0" * 64,
}
SCORES["real_baseline"] = {name: value / 2 for name, value in SCORES.items() if value == 0.5}


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())

    @property
    def images(self) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == "img"]


def gan_run(folder: Path, images: np.ndarray, **changes: Any) -> GANRun:
    np.savez(folder / "images.npz", images=images, labels=np.arange(len(images)) % 3)
    config = override(GAN, {"data": str(folder / "images.npz"), **changes})
    run = load(gan_training.train(config, folder / "run & co").path)
    assert isinstance(run, GANRun)
    return run


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory) -> GANRun:
    images = np.random.default_rng(0).integers(0, 256, (41, 8, 8), dtype=np.uint8)
    return gan_run(tmp_path_factory.mktemp("gan"), images)


@pytest.fixture(scope="module")
def lstm(tmp_path_factory: pytest.TempPathFactory) -> LSTMRun:
    run = load(lstm_training.train(TINY, tmp_path_factory.mktemp("lstm") / "lstm").path)
    assert isinstance(run, LSTMRun)
    return run


def test_it_has_the_results_of_each_run(gan: GANRun, lstm: LSTMRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GANRun, "scores", property(lambda _: [{**SCORES, "step": 3, "epoch": 1}, SCORES]))
    text = static_part([gan, lstm])
    page = Page(text)
    assert [tag for tag, _ in page.tags if tag in ("h1", "h2", "h3")] == ["h1", "h2", *["h3"] * 4, "h2", "h3"]
    for expected in ("Explorer of run & co, lstm", "GAN: run & co", "LSTM: lstm", "Samples", "Interpolation", "Scores"):
        assert expected in page.texts
    assert "A generator and a discriminator, trained on images: 6 updates, seed 0." in page.texts
    assert [image["class"] for image in page.images] == ["pixels", "pixels", "plot", "plot", "plot"]
    texts = page.texts
    assert texts[texts.index("FID") : texts.index("FID") + 3] == ["FID", "0.5", "0.25"]
    assert any(f"Features: {EVIL}." in entry for entry in texts)
    assert len(text) < 250_000
    assert text == static_part([gan, lstm]), "deterministic"
    assert static_part([lstm]) in explorer_page([lstm])


def test_images_have_texts_and_sizes(gan: GANRun) -> None:
    for attributes in Page(static_part([gan])).images:
        assert len(attributes["alt"] or "") > 20
        data = base64.b64decode((attributes["src"] or "").removeprefix("data:image/png;base64,"))
        with Image.open(io.BytesIO(data)) as image:
            width, height = (int(attributes[name] or 0) for name in ("width", "height"))
            assert width / height == pytest.approx(image.width / image.height, rel=0.01)
            assert image.info.keys() <= {"dpi", "transparency"}, "no date, no version"
    grid = Page(static_part([gan])).images[0]
    assert (grid["width"], grid["height"]) == ("468", "468"), "an integer factor of 52 pixels"


def test_nothing_of_a_run_is_markup(gan: GANRun, lstm: LSTMRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gan.folder.record["data"], "name", EVIL)
    monkeypatch.setattr(GANRun, "scores", property(lambda _: [SCORES]))
    page = Page(static_part([gan, lstm], [EVIL, "</main><script>\ud800"]))
    assert "LSTM: </main><script>?" in page.texts
    assert f"GAN: {EVIL}" in page.texts
    allowed = {"main", "h1", "h2", "h3", "p", "section", "figure", "figcaption", "img"}
    allowed |= {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert {tag for tag, _ in page.tags} == allowed
    names = {name for _, attributes in page.tags for name in attributes}
    assert names == {"class", "id", "aria-labelledby", "src", "alt", "width", "height", "scope"}
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len({*ids}) == 2


@pytest.mark.parametrize(
    ("shape", "changes"),
    [((8, 8, 3), {}), ((8, 8), {"conditional": True}), ((96, 96, 3), {"image_size": 96}), ((8, 8), {"packing": 2})],
)
def test_other_gans(shape: tuple[int, ...], changes: dict[str, Any], tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (41, *shape), dtype=np.uint8)
    text = static_part([gan_run(tmp_path, images, **changes)])
    assert len(Page(text).images) == 3
    assert "<h3>Scores</h3>" not in text
    assert len(text) < 500_000


def test_a_run_without_metrics(tmp_path: Path) -> None:
    run = gan_run(tmp_path, np.zeros((4, 8, 8), dtype=np.uint8), epochs=1, batch_size=4)
    run.folder.records_path("metrics").write_text("")
    assert len(Page(static_part([run])).images) == 2


def test_metrics_that_are_not_finite(gan: GANRun, lstm: LSTMRun, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (GANRun, LSTMRun):
        original = (gan if kind is GANRun else lstm).metrics
        records = [{name: None if "loss" in name else value for name, value in row.items()} for row in original]
        monkeypatch.setattr(kind, "metrics", property(lambda _, records=records: records))
    page = Page(static_part([gan, lstm]))
    assert "Losses and outputs while training." in page.texts
    assert "Loss" not in page.texts
    assert "Accuracy" in page.texts


@pytest.mark.parametrize("changes", [{"task": "adding", "length": 4}, {"task": "parity", "length": 4}, {"cell": "rnn"}])
def test_other_tasks(changes: dict[str, Any], tmp_path: Path) -> None:
    config = override(TINY, {"data_size": 60, "epochs": 1, "encoding": "scalar", **changes})
    run = load(lstm_training.train(config, tmp_path / "run").path)
    assert isinstance(run, LSTMRun)
    assert len(Page(static_part([run])).images) == 1


def test_long_runs_are_thinned() -> None:
    records = [{"step": step} for step in range(1001)]
    thinned = thin(records)
    assert len(thinned) == math.ceil(1001 / math.ceil(1001 / MAX_POINTS))
    assert thinned[-1] == {"step": 1000}
    assert thin([]) == []
    assert thin(records[:3]) == records[:3]


def test_the_style_has_its_classes() -> None:
    style = (Path(__file__).parents[1] / "web" / "src" / "static.css").read_text(encoding="utf-8")
    assert {*re.findall(r"\.(static|pixels|plot)\b", style)} == {"static", "pixels", "plot"}
