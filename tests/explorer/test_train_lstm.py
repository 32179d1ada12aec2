"""The training of the LSTM in the page against Python's: the same data, weights and masks, and losses within rounding."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save

from reviver.data.build import build_task
from reviver.data.palindromes import PalindromeTask
from reviver.run import load
from reviver.runs.checkpoint import find_checkpoint
from reviver.settings.lstm import LSTMConfig
from reviver.train.lstm.training import build_network, train
from reviver.version import __version__
from tests.contents import position
from tests.explorer.node import compute, extract, needs_node, pack

pytestmark = needs_node

PYTHON = {"version": __version__, "lstmConfig": asdict(LSTMConfig())}

TOLERANCE = 1e-5
"""Of losses and accuracies."""
RENAMED = {
    "W": "lstm.weight_ih_l0",
    "U": "lstm.weight_hh_l0",
    "b": "lstm.bias_ih_l0",
    "W_out": "W_out",
    "b_out": "b_out",
}
OWN_CELL = (
    "z = sigmoid(W_z @ x + U_z @ h + b_z)  # gate\nh = z * h + (1 - z) * tanh(V @ x + U @ (z * h) + u_n)\nu_n: 0.5"
)
CONFIGS = {
    "original": LSTMConfig(epochs=3, seed=7),
    "onehot": LSTMConfig(epochs=3, seed=1, encoding="onehot", optimizer="adam", max_norm=0.3, batch_size=100),
    "sample": LSTMConfig(epochs=2, seed=2, length=11, data_size=300, hidden_size=40, hidden_dropout=0.25),
    "random": LSTMConfig(epochs=1, seed=3, length=18, data_size=300, hidden_size=24, hidden_dropout=0.0),
    "gru": LSTMConfig(epochs=20, seed=4, cell="gru"),
    "peephole": LSTMConfig(epochs=5, seed=5, cell="peephole", hidden_size=40, optimizer="adam"),
    "own": LSTMConfig(epochs=5, seed=6, cell=OWN_CELL, hidden_size=24, length=8, data_size=1000),
}

CURRICULUM = LSTMConfig(
    curriculum=True,
    start_length=3,
    length=7,
    length_factor=1.5,
    threshold=0.2,
    epochs=8,
    seed=4,
    data_size=1200,
    hidden_size=32,
    learning_rate=3e-3,
    lr_length_exponent=0.5,
)


def settings_of(config: LSTMConfig) -> dict[str, Any]:
    """Return the settings of the page, see web/src/train/settings.ts."""
    names = "seed cell length encoding data_size train_fraction hidden_size hidden_dropout epochs batch_size optimizer"
    names += " start_length length_factor min_length_fraction threshold lr_length_exponent"
    camel = {
        name: "".join([first, *(part.title() for part in rest)])
        for name in (*names.split(), "learning_rate", "max_norm")
        for first, *rest in [name.split("_")]
    }
    on = {"curriculum": "on" if config.curriculum else "off"}
    return {ours: getattr(config, name) for name, ours in camel.items()} | on


def check_epochs(ours: list[dict[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> None:
    """Compare what both have recorded of all epochs."""
    for epoch, line in zip(ours, theirs, strict=True):
        assert (epoch["step"], epoch["sequences"]) == (line["step"], line["sequences"])
        for part in ("train", "validation"):
            assert epoch[f"{part}Loss"] == pytest.approx(line[f"{part}_loss"], abs=TOLERANCE)
            assert epoch[f"{part}Accuracy"] == pytest.approx(line[f"{part}_accuracy"], abs=1e-12)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_page_trains_what_python_trains(name: str, tmp_path: Path) -> None:
    config = CONFIGS[name]
    task = build_task(config)
    assert isinstance(task, PalindromeTask)
    batches = -(-len(task.splits["train"]) // config.batch_size)
    (ours,) = compute("train", [{"lstm": settings_of(config), "updates": config.epochs * batches}])
    assert ours["train"] == task.splits["train"].halves.flatten().tolist()
    assert ours["validation"] == task.splits["validation"].halves.flatten().tolist()
    initial = build_network(config, task).state_dict()
    for short, values in ours["initial"].items():
        is_cell = config.cell != "lstm" and not short.endswith("_out")
        full = f"rnn.layers.0.{short}" if is_cell else RENAMED[short]
        assert values == initial[full].flatten().tolist(), short
    run = load(train(config, tmp_path / "run", device="cpu").path)
    check_epochs(ours["epochs"], run.metrics)
    assert len(run.metrics) == config.epochs


def test_a_curriculum_has_the_lengths_and_losses_of_python(tmp_path: Path) -> None:
    """Length 3 has few palindromes, so that many are drawn again."""
    (ours,) = compute("train", [{"lstm": settings_of(CURRICULUM), "updates": 64}])
    run = load(train(CURRICULUM, tmp_path / "run", device="cpu").path)
    check_epochs(ours["epochs"], run.metrics)
    assert len(run.metrics) == CURRICULUM.epochs
    assert [run.metrics[0]["length"], run.metrics[-1]["length"]] == [3, 7]
    for epoch, line in zip(ours["epochs"], run.metrics, strict=True):
        assert (epoch["length"], epoch["validationSequences"]) == (line["length"], line["validation_sequences"])


@pytest.mark.parametrize(
    "config",
    [
        LSTMConfig(epochs=4, seed=5, hidden_size=32),
        LSTMConfig(epochs=4, seed=5, hidden_size=32, optimizer="adam"),
        replace(CURRICULUM, data_size=1000, threshold=0.1, epochs=4),
        LSTMConfig(epochs=4, seed=5, hidden_size=32, cell="gru"),
        LSTMConfig(epochs=4, seed=5, hidden_size=32, cell=OWN_CELL, optimizer="adam"),
    ],
    ids=["rmsprop", "adam", "curriculum", "gru", "own"],
)
def test_python_and_the_page_go_on_with_a_run_that_the_page_has_saved(
    config: LSTMConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In the middle of an epoch; both end with the losses that the page ends with."""
    (ours,) = compute("train", [{"lstm": settings_of(config), "updates": 28, "saveAt": 17, "python": PYTHON}])
    extract(ours["folder"], tmp_path)
    saved = load(tmp_path / "saved")
    assert (saved.step, saved.config) == (17, config)
    (opened,) = compute("train", [{"open": ours["folder"], "updates": 11, "python": PYTHON}])
    assert opened["step"] == 17
    assert [update["loss"] for update in opened["losses"]] == [update["loss"] for update in ours["losses"][17:]]
    assert opened["recorded"][-1]["validationLoss"] == ours["epochs"][-1]["validationLoss"]
    run = load(train(config, tmp_path / "saved", device="cpu", resume=True).path)
    assert "processor was unknown" in caplog.text
    assert "None" not in caplog.text
    assert [line["step"] for line in run.metrics] == [7, 14, 21, 28]
    check_epochs(ours["epochs"], run.metrics)


def test_the_page_goes_on_with_a_run_of_python(tmp_path: Path) -> None:
    """It ends with the losses that Python ends with, and has the epochs of before."""
    config = LSTMConfig(epochs=2, seed=6, hidden_size=24, data_size=500)
    train(config, tmp_path / "run", device="cpu")
    (opened,) = compute("train", [{"open": pack(tmp_path / "run"), "updates": 8, "python": PYTHON}])
    assert opened["step"] == 8
    assert settings_of(config).items() <= opened["settings"].items()
    run = load(train(replace(config, epochs=4), tmp_path / "run", device="cpu", resume=True).path)
    check_epochs(opened["recorded"], run.metrics)


def test_a_zip_that_the_page_cannot_go_on_with_gets_a_sentence(tmp_path: Path) -> None:
    config = LSTMConfig(epochs=1, seed=6, hidden_size=8, data_size=100)
    train(config, tmp_path / "run", device="cpu")
    good = base64.b64decode(pack(tmp_path / "run"))

    def changed(name: str, before: bytes, after: bytes) -> str:
        return pack(tmp_path / "run", lambda file, content: content.replace(before, after) if file == name else content)

    checkpoint = find_checkpoint(tmp_path / "run" / "checkpoints", "last")

    def moved(**changes: int) -> str:
        metadata = {"position": json.dumps(position(checkpoint) | changes)}
        content = save(load_file(checkpoint), metadata)
        return pack(tmp_path / "run", lambda file, before: content if file == checkpoint.name else before)

    def encode(content: bytes) -> str:
        return base64.b64encode(content).decode("ascii")

    large = base64.b64decode(changed("run.json", b'"schema"', b" " * 900_000 + b'"schema"'))
    size = (900_000 + (tmp_path / "run" / "run.json").stat().st_size).to_bytes(4, "little")
    assert size in large
    cases = {
        encode(b"no zip at all"): "not a zip",
        encode(large.replace(size, (900).to_bytes(4, "little"))): "run.json is damaged",  # more than it says
        changed("run.json", b'"schema"', b" " * 2_000_000 + b'"schema"'): "run.json has .* the page reads at most",
        encode(good[:2000] + bytes(20) + good[2020:]): "damaged",
        encode(good[: len(good) // 2]): "not a zip, or only part",
        changed("run.json", b'"num_layers": 1', b'"num_layers": 2'): "setting num_layers is 2, and the page .* with 1",
        changed("run.json", b'"hidden_size": 8', b'"hidden_size": 16'): "no networks/network/W_out of F32",
        changed(
            "run.json", b'"hidden_size": 8', b'"hidden_size": 8000'
        ): "hiddenSize must be a multiple of 8 from 8 to 256",
        changed("run.json", b'"schema": 1', b'"schema": 2'): "schema 2",
        changed("run.json", b'"config": {', b'"config": 7, "more": {'): "",
        changed("run.json", b"{", b"["): "run.json is damaged",
        moved(batch=77): "beyond the end of the epoch",
        changed(checkpoint.name, b'"F32"', b'"F64"'): "no networks/network/W_out of F32",
        changed(checkpoint.name, b'"data_offsets"', b'"data_offzets"'): "damaged",
    }
    late = moved(step=9007199254740991)  # its powers of beta must not take ages
    *found, last = compute("train", [{"open": file, "updates": 1, "python": PYTHON} for file in (*cases, late)])
    for one, sentence in zip(found, cases.values(), strict=True):
        assert re.search(sentence, one["error"]), (sentence, one)
    assert last["step"] == 9007199254740991


OWN = LSTMConfig(task="custom", data="series.csv", epochs=3, seed=3, hidden_size=16, batch_size=8, train_fraction=0.75)


def write_series(path: Path) -> None:
    """Write sequences of different lengths in three classes, as spreadsheets and people write them."""
    rng = np.random.default_rng(0)
    lines = ["\ufefflabel,note,sequence"]
    for row in range(40):
        numbers = (rng.normal(size=rng.integers(3, 9)).cumsum() * 10 + row % 3 * 5).round(3).tolist()
        text = ", ".join(map(str, numbers)) if row % 2 else "[" + " ".join(map(str, numbers)) + "]"
        lines.append(f'{(10, 9, -1)[row % 3]},"a ""note""","{text}"')
    lines.insert(5, "")
    path.write_text("\r\n".join(lines) + "\r\n", encoding="utf-8")


def test_the_page_learns_own_sequences_as_python_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same split and standardization, also after it was saved."""
    monkeypatch.chdir(tmp_path)
    write_series(tmp_path / "series.csv")
    csv = base64.b64encode((tmp_path / "series.csv").read_bytes()).decode("ascii")
    settings = {k: v for k, v in settings_of(OWN).items() if k not in ("length", "dataSize")}
    (ours,) = compute("train", [{"lstm": settings, "csv": csv, "updates": 12, "saveAt": 6, "python": PYTHON}])
    task = build_task(OWN)
    for name in ("train", "validation"):
        x = task.fixed_split(name, 0).encode().flatten()
        assert ours[name] == pytest.approx(x.tolist(), abs=1e-6)
    run = load(train(OWN, tmp_path / "run", device="cpu").path)
    check_epochs(ours["epochs"], run.metrics)
    extract(ours["folder"], tmp_path)
    (opened,) = compute("train", [{"open": ours["folder"], "updates": 6, "python": PYTHON}])
    assert [update["loss"] for update in opened["losses"]] == [update["loss"] for update in ours["losses"][6:]]
    saved = load(tmp_path / "saved")
    assert saved.config == replace(OWN, data="saved/data.csv")
    resumed = load(train(saved.config, tmp_path / "saved", device="cpu", resume=True).path)
    assert resumed.metrics[-1]["validation_loss"] == pytest.approx(ours["epochs"][-1]["validationLoss"], abs=TOLERANCE)


BAD_SEQUENCES = [
    ("sequence,label\n1 2,a\n1 two 3,b\n", "row 3: “two” at step 2 is not a number; write numbers separated"),
    ("sequence,label\n1 2,a\n1,2,3,b\n", "row 3: 4 fields found, 2 expected; put .* in quotes"),
    ("sequence,label\n1 2,a\n3 4,a\n", "every row has the label “a”; give at least 2 classes"),
    ("sequence,label\n1 2,a\n3 4,b\n", "no class has a second row"),
    ("sequence,label\n1 2,a\n3 1e60,\n", "row 3: “1e60” at step 2 is too large, row 3: the label is missing"),
    ("values,label\n1 2,a\n", "has the columns values, label; name two of them sequence and label"),
    ("sequence;label\n1 2;a\n", "separated by semicolons; save it with commas"),
    ('sequence,label\n"1 2,a\n', "row 2: check the quotes"),
    ("", "has the columns none"),
    ("sequence,label\n" + "1 2,a\n" * 20_001, "20001 sequences; give at most 20000"),
    ("sequence,label\n" + "1 " * 101 + ",a\n", "row 2: the sequence has 101 numbers; give at most 100"),
]
"""The text of a file, and what is said of it."""


def test_bad_sequences_get_a_sentence() -> None:
    files = [base64.b64encode(text.encode() or b"\n").decode("ascii") for text, _ in BAD_SEQUENCES]
    found = compute("train", [{"lstm": {"trainFraction": 0.8}, "csv": file} for file in files])
    for one, (_, sentence) in zip(found, BAD_SEQUENCES, strict=True):
        assert re.search(sentence, one["error"]), one["error"]
