"""The training in browsers: in a worker, under the policy of the page, with the same bits in each."""

from pathlib import Path

import pytest

from reviver.explorer.blocks import Blocks
from reviver.explorer.manifest import Manifest
from reviver.explorer.page import render_page
from tests.explorer.browser import Show
from tests.explorer.node import compute, needs_node

TRAIN = """async (updates) => {
    const trainer = reviver.trainer();
    const settings = {seed: 0, length: 5, encoding: "scalar", dataSize: 1000, trainFraction: 0.8, hiddenSize: 128,
        hiddenDropout: 0.5, epochs: 100, batchSize: 128, optimizer: "rmsprop", learningRate: 1e-3, maxNorm: 10, forgetBias: 1};
    const failed = await trainer.call("start", {kind: "lstm", settings: {...settings, hiddenSize: 3}}).catch(String);
    await trainer.call("start", {kind: "lstm", settings});
    const { lstm } = await trainer.call("run", { updates, trace: [1, 2, 3, 2] });
    const { weights } = await trainer.call("save");
    trainer.stop();
    return { failed, losses: lstm.updates.map(({ loss }) => loss), steps: lstm.trace.digits.length,
        weights: Object.fromEntries(Object.entries(weights.w).map(([name, values]) => [name, [...values]])) };
}"""


@pytest.fixture(scope="module")
def empty_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page without runs."""
    page = tmp_path_factory.mktemp("page") / "explorer.html"
    page.write_text(render_page(Manifest(version="1", title="Train", gans=[], lstms=[]), Blocks()), encoding="utf-8")
    return page


@needs_node
def test_a_worker_trains_under_the_policy_of_the_page_with_the_bits_of_node(show: Show, empty_page: Path) -> None:
    page = show(file=empty_page, wait=False)
    page.wait_for_function("globalThis.reviver !== undefined")
    found = page.evaluate(TRAIN, 20)
    (node,) = compute("train", [{"lstm": {}, "updates": 20}])
    assert found["failed"] == "Error: hiddenSize must be a multiple of 8 from 8 to 256, got 3"
    assert found["losses"] == [update["loss"] for update in node["losses"]]
    assert found["weights"] == node["last"]
    assert found["steps"] == 4
