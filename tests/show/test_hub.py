"""Pretrained models: exact round trips, repositories, model cards, and hostile files."""

import json
import os
import pickle
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard, constants
from markdown_it import MarkdownIt
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import nn

from reviver import LSTM, Discriminator, Generator, LSTMClassifier, PretrainedClassifier, RNNClassifier, load
from reviver.cli.app import main
from reviver.data.sequences.reader import read_sequences
from reviver.errors import ConfigError, DataError
from reviver.files.pretrained import front_matter
from reviver.run import LSTMRun
from reviver.runs.records import ComparedScores
from reviver.show.export import to_hub
from reviver.train.lstm.scoring import compute_logits
from tests.damage import Payload, edit_json

FILES = ["README.md", "config.json", "model.safetensors"]
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "LSTM": lambda: LSTM(3, 4, 2, batch_first=True, dropout=0.1, bidirectional=True, single_bias=True),
    "LSTM projected": lambda: LSTM(3, 4, bias=False, proj_size=2),
    "LSTM zoneout": lambda: LSTM(3, 4, hidden_dropout=0.1, hidden_dropout_kind="zoneout", precision="bf16"),
    "LSTMClassifier": lambda: LSTMClassifier(2, 4, 3, pooling="attention", patch_size=2, hidden_dropout=0.5),
    "LSTMClassifier float64": lambda: LSTMClassifier(2, 4, 3, 2, 0.1, bidirectional=True, dtype=torch.float64),
    "LSTMClassifier bfloat16": lambda: LSTMClassifier(2, 4, 3, activation_checkpoint_steps=5).bfloat16(),
    "RNNClassifier": lambda: RNNClassifier("slstm", 2, 4, 3, 2, hidden_dropout=0.2, bidirectional=True),
    "Generator": lambda: Generator(5, (3, 4, 6), batch_norm_eps=0.8, num_classes=3),
    "Discriminator": lambda: Discriminator((1, 4, 4), dropout=0.3, num_classes=3),
}


# Round trips


@pytest.mark.parametrize("name", NETWORKS)
def test_round_trip_is_exact(name: str, tmp_path: Path) -> None:
    network: Any = NETWORKS[name]()
    with torch.no_grad():
        zeros = {name for name, _ in network.named_buffers() if "bias_hh" in name}  # of a single bias they stay 0
        for tensor in (tensor for name, tensor in network.state_dict().items() if name not in zeros):
            tensor.copy_(torch.randn(tensor.shape) if tensor.is_floating_point() else torch.tensor(7))
    network.save_pretrained(tmp_path / "deep" / "model")
    assert sorted(path.name for path in (tmp_path / "deep" / "model").iterdir()) == FILES
    again = type(network).from_pretrained(tmp_path / "deep" / "model")
    assert not again.training
    assert repr(again) == repr(network)
    assert getattr(again, "dropout", 0) == getattr(network, "dropout", 0)
    found, expected = again.state_dict(), network.state_dict()
    assert list(found) == list(expected)
    for key, tensor in expected.items():
        assert found[key].dtype == tensor.dtype
        assert torch.equal(found[key], tensor), key
    before = {path: path.read_bytes() for path in (tmp_path / "deep" / "model").iterdir()}
    again.save_pretrained(tmp_path / "deep" / "model")
    assert {path: path.read_bytes() for path in (tmp_path / "deep" / "model").iterdir()} == before


# Repositories


def test_only_what_is_needed_of_a_repository_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = LSTMClassifier(2, 3, 4)
    network.save_pretrained(tmp_path / "model")
    calls: list[tuple[str, Any]] = []

    def download(repository: str, **options: Any) -> str:
        calls.append((repository, options))
        return str(tmp_path / "model")

    with monkeypatch.context() as patch:
        patch.setattr(huggingface_hub, "snapshot_download", download)
        again = LSTMClassifier.from_pretrained("user/model", revision="main", token=False)
    assert torch.equal(again.W_out, network.W_out)
    patterns = ["config.json", "model.safetensors"]
    assert calls == [("user/model", {"revision": "main", "token": False, "allow_patterns": patterns})]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"^user/absent: there is no such folder, .* cannot be downloaded \("):
        LSTMClassifier.from_pretrained("user/absent", cache_dir=tmp_path)
    with pytest.raises(DataError, match=r"a/b/c: there is no such folder, .*; give a folder with config.json and mod"):
        LSTMClassifier.from_pretrained(Path("a/b/c"))


def test_local_folder_comes_first(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LSTMClassifier(2, 3, 4).save_pretrained(here / "user" / "model")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    LSTMClassifier.from_pretrained("user/model")
    LSTMClassifier.from_pretrained("user/model", revision="main", local_files_only=True)
    with pytest.raises(ConfigError, match=r"user/other: there is no such folder; .* pip install huggingface_hub"):
        LSTMClassifier.from_pretrained("user/other")


# Exported runs


def exported(run: Path, out: Path, options: str = "") -> tuple[dict[str, Any], ModelCard]:
    assert main(shlex.split(f"export {run} --format hub --out {out} --quiet {options}")) == 0
    assert sorted(path.name for path in out.iterdir()) == FILES
    return json.loads((out / "config.json").read_text()), ModelCard((out / "README.md").read_text())


def run_code_of(card: ModelCard, model: Path, **scope: Any) -> dict[str, Any]:
    """Run the Python code of a card with `model` in place of the repository; return its variables."""
    (code,) = re.findall(r"```python\n(.*?)\n```", card.text, re.DOTALL)
    with torch.no_grad():
        exec(code.replace("user/name", str(model)), scope)
    return scope


def test_classifier_of_custom_data_takes_raw_numbers(home: Path, tmp_path: Path) -> None:
    config, card = exported(home / "custom", tmp_path / "model", "--checkpoint best")
    run: Any = load(home / "custom", checkpoint="best")
    model = PretrainedClassifier.from_pretrained(tmp_path / "model")
    table = read_sequences(home / "mine.csv", labeled=False)
    expected = compute_logits(run.network, run.task.examples(table)).softmax(1)
    sequences = [x[:length, 0].tolist() for x, length in zip(table.x, table.lengths.tolist(), strict=True)]
    assert torch.equal(model.predict_probabilities(sequences), expected)
    one_by_one = torch.cat([model.predict_probabilities([np.array(s)[:, None]]) for s in sequences])
    torch.testing.assert_close(one_by_one, expected)  # a matmul of one row may round otherwise
    classes = run.task.data.classes
    assert model.predict(sequences) == [classes[index] for index in expected.argmax(1).tolist()]
    assert config["data"]["classes"] == list(classes) == ["`c`", "a|b"]
    assert config["run"]["step"] == run.step
    assert str(home) not in json.dumps(config) + card.text, "folders may be private"
    with pytest.raises(
        DataError, match=r"finite numbers of the shape \[T\] or \[T, 1\] with T at least 1, got shape \[2, 2\]"
    ):
        model.predict([[[1, 2], [3, 4]]])


@pytest.mark.parametrize(
    ("name", "license_id"),
    [("custom", "unknown"), ("palindrome", "mit"), ("digits", "cc-by-sa-3.0"), ("adding", "mit"), ("rnn", "mit")],
)
def test_card_of_an_lstm_has_the_numbers_of_the_run(name: str, license_id: str, home: Path, tmp_path: Path) -> None:
    _, card = exported(home / name, tmp_path / "model")
    run = pickle.loads(pickle.dumps(load(home / name)))  # as for a worker process
    assert isinstance(run, LSTMRun)
    last = run.metrics[-1]
    accuracy, chance = f"{100 * last['validation_accuracy']:.2f}", f"{100 * run.task.chance:.4g}"
    assert re.search(rf"\| validation accuracy.* \| {accuracy} % \| {chance} % \|", card.text)
    values = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert values == {"accuracy": last["validation_accuracy"], "loss": last["validation_loss"]}
    assert card.data.license == license_id
    assert card.data.datasets == (["ylecun/mnist"] if name == "digits" else None)
    if name in ("palindrome", "digits", "rnn"):
        x = torch.rand(3, 5, run.network.input_size)
        scope = run_code_of(card, tmp_path / "model", x=x)
        assert torch.equal(scope["probabilities"], run.network(x).softmax(-1))


def test_card_of_a_gan_has_the_scores_of_its_checkpoint(home: Path, tmp_path: Path) -> None:
    _, card = exported(home / "gan", tmp_path / "plain", "--license cc0-1.0")
    assert card.data.license == "cc0-1.0"
    run: Any = load(home / "gan")
    scope = run_code_of(card, tmp_path / "plain")
    assert scope["images"].shape == (25, 1, 6, 6)
    z = run.generator.sample_latents(3, torch.Generator().manual_seed(0))
    assert torch.equal(scope["network"](z), run.generator(z)), "the moving average"
    folder = shutil.copytree(home / "gan", tmp_path / "run")
    scores = dict.fromkeys(ComparedScores.model_fields, 0.25)
    record = scores | {"real_baseline": scores | {"fid": 2.0}, "fid_ratio": 1.5, "warning": "low | rank"}
    record |= {"num_samples": 100, "k": 5, "data": "images", "extractor": "mine", "extractor_sha256": "0" * 64}
    steps = ((1, 9.0), (run.step, 3.5), (run.step + 1, 7.0))
    records = [record | {"step": step, "epoch": step, "fid": fid, "class_fractions": [1.0]} for step, fid in steps]
    (folder / "scores.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    _, card = exported(folder, tmp_path / "scored")
    assert "| FID | 3.5 | 2 |" in card.text
    assert card.data.eval_results[0].metric_value == 3.5


def test_text_of_strangers_stays_text(home: Path, tmp_path: Path) -> None:
    run = shutil.copytree(home / "custom", tmp_path / "# x: <b>")
    hardware, data = {"processor": "a | b\n# heading <script>"}, {"name": "`]( <script>"}
    edit_json(run / "run.json", command="reviver ```\n# heading\n<script>", hardware=hardware, data=data)
    to_hub(load(run), tmp_path / "model")
    text = (tmp_path / "model" / "README.md").read_text()
    page = MarkdownIt("commonmark").enable("table").render(text.split("---\n", 2)[2])
    assert "<script" not in page
    assert re.findall("<h1>(.*)</h1>", page) == ["# x: &lt;b&gt;"]
    assert "<td>a | b # heading &lt;script&gt;, " in page
    assert ModelCard(text).data.eval_results[0].dataset_name == "`]( <script>"
    values = {"a": "no", "b": "x: [y]", "c": 1.5, "d": ["yes", "plain"], "e": [{"f": [{"g": "é\n"}], "h": True}]}
    assert ModelCard(front_matter({**values, "i": None}) + "\n").data.to_dict() == values


# Damaged files


def test_damaged_config(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"format": 2}, "format must be at most 1, got 2"),
        ({"library_name": "transformers"}, "library_name must be reviver"),
        ({"architecture": "Generator"}, "architecture must be 'LSTMClassifier', got 'Generator'"),
        ({"dtype": "int8"}, "dtype must be float32, float64, float16 or bfloat16"),
        ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map is unknown"),
        ({"network": {"hidden_size": 5}}, "size mismatch for"),
        ({"network": {"hidden_size": 2**62}}, "config.json: cannot be read"),
        ({"network": {"pooling": "attention"}}, "Missing key(s)"),
        ({"network": []}, "network must be an object"),
        ({"data": {"task": "custom"}}, "data: target is missing"),
    ]
    for changes, problem in cases:
        LSTMClassifier(2, 4, 3).save_pretrained(tmp_path)
        edit_json(tmp_path / "config.json", **changes)
        with pytest.raises(DataError) as caught:
            LSTMClassifier.from_pretrained(tmp_path)
        assert problem in str(caught.value)
        assert "\n" not in str(caught.value)
    for cls in (Generator, Discriminator):
        cls(image_shape=(1, 2, 2)).save_pretrained(tmp_path)
        for shape in ([1, 2**40, 2**40], [1, 2], [0, 1, 1], "1x2x3"):
            edit_json(tmp_path / "config.json", network={"image_shape": shape})
            with pytest.raises(DataError):
                cls.from_pretrained(tmp_path)
    os.truncate(tmp_path / "config.json", 0)
    with pytest.raises(DataError, match=r"config.json: .*; download or export the model again"):
        Discriminator.from_pretrained(tmp_path)


def test_damaged_weights(here: Path) -> None:
    LSTM(3, 4, 2).save_pretrained(here / "model")
    weights = here / "model" / "model.safetensors"
    content, tensors = weights.read_bytes(), from_bytes(weights.read_bytes())
    first = next(iter(tensors))
    changed = [
        {key: value for key, value in tensors.items() if key != first},
        tensors | {"more": torch.zeros(1)},
        tensors | {first: torch.zeros(1, 1)},
    ]
    for damaged in (b"", content[:-1], pickle.dumps(Payload()), *map(to_bytes, changed)):
        weights.write_bytes(damaged)
        with pytest.raises(DataError, match=r"model.safetensors: cannot be read \(.*; download or export"):
            LSTM.from_pretrained("model")
    weights.unlink()
    with pytest.raises(DataError, match=r"has no model.safetensors; give the folder of a pretrained model"):
        LSTM.from_pretrained("model")
    assert not Path("was-run").exists()


def test_data_that_does_not_fit(home: Path, tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"standardization": {"mean": [0], "scale": [0]}}, "data: standardization.scale.0 must be greater than 0"),
        ({"target": "number", "classes": None}, "names no classes of sequences; use LSTMClassifier.from_pretrained"),
    ]
    to_hub(load(home / "custom"), tmp_path / "model")
    content = (tmp_path / "model" / "config.json").read_text()
    for changes, problem in cases:
        (tmp_path / "model" / "config.json").write_text(content)
        edit_json(tmp_path / "model" / "config.json", data=changes)
        with pytest.raises(DataError) as caught:
            PretrainedClassifier.from_pretrained(tmp_path / "model")
        assert problem in str(caught.value)
    with pytest.raises(DataError, match=r"has no config.json; it is a run folder: read it by reviver.load"):
        LSTMClassifier.from_pretrained(home / "rnn")
