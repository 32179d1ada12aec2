"""Pretrained models: exact round trips, repositories, model cards, and hostile files."""

import dataclasses
import http.server
import inspect
import json
import os
import pickle
import re
import shlex
import shutil
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard, constants
from markdown_it import MarkdownIt
from safetensors.torch import load as from_bytes
from safetensors.torch import save_file
from torch import nn

from reviver import LSTM, Discriminator, Generator, LSTMClassifier, PretrainedClassifier, load
from reviver.cli.app import main
from reviver.data.describe import CLASSES, GOALS, INPUTS
from reviver.data.sequences.reader import read_sequences
from reviver.errors import ConfigError, DataError, RunFolderError
from reviver.files.model_card import escape, front_matter, table
from reviver.gan import pretrained as gan_pretrained
from reviver.gan.records import Comparison, ImageData
from reviver.lstm import pretrained as lstm_pretrained
from reviver.lstm.rnn import RNNClassifier
from reviver.settings.lstm import TASKS
from reviver.settings.lstm_network import LSTMOptions
from reviver.show.export import to_hub, to_onnx
from reviver.show.export.cards import gan_card
from reviver.train.lstm.evaluation import predict_table
from reviver.train.lstm.run import LSTMRun

FILES = ["README.md", "config.json", "model.safetensors"]
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "LSTM": lambda: LSTM(3, 4, 2, batch_first=True, dropout=0.1, bidirectional=True, activation_checkpoint_steps=5),
    "LSTM zoneout": lambda: LSTM(3, 4, hidden_dropout=0.1, hidden_dropout_kind="zoneout", precision="bf16"),
    "LSTMClassifier": lambda: LSTMClassifier(2, 4, 3, pooling="attention", patch_size=2, hidden_dropout=0.5),
    "LSTMClassifier float64": lambda: LSTMClassifier(2, 4, 3, 2, bidirectional=True, dtype=torch.float64),
    "LSTMClassifier bfloat16": lambda: LSTMClassifier(2, 4, 3).bfloat16(),
    "RNNClassifier": lambda: RNNClassifier(2, 4, 3, hidden_dropout=0.2),
    "Generator": lambda: Generator(5, (3, 4, 6), batch_norm_eps=0.8, num_classes=3),
    "Discriminator": lambda: Discriminator((1, 4, 4), dropout=0.3, packing=2, num_classes=3),
}


def saved(name: str, folder: Path) -> Path:
    NETWORKS[name]().save_pretrained(folder)  # type: ignore[operator]
    return folder


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
    found, expected = again.state_dict(), network.state_dict()
    assert list(found) == list(expected)
    for key, tensor in expected.items():
        assert found[key].dtype == tensor.dtype
        assert torch.equal(found[key], tensor), key
    MyNetwork = type("MyNetwork", (type(network),), {})
    assert type(MyNetwork.from_pretrained(tmp_path / "deep" / "model")) is MyNetwork  # type: ignore[attr-defined]
    again.save_pretrained(tmp_path / "again")
    for file in FILES:
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "deep" / "model" / file).read_bytes()


@pytest.mark.parametrize("cls", [LSTM, LSTMClassifier, RNNClassifier, Generator, Discriminator])
def test_every_argument_of_the_constructor_is_saved(cls: type[nn.Module]) -> None:
    spec = {**lstm_pretrained.SPECS, **gan_pretrained.SPECS}[cls.__name__]
    parameters = inspect.signature(cls).parameters
    names = set(parameters) - {"device", "dtype", "options", "unknown"}
    names |= set(get_type_hints(LSTMOptions)) if "options" in parameters else set()
    assert {field.name for field in dataclasses.fields(spec)} == names


def test_saving_again_replaces_the_network_and_keeps_the_card(tmp_path: Path) -> None:
    saved("LSTM", tmp_path)
    for name in ("README.md", "notes.txt"):
        (tmp_path / name).write_text("precious")
    saved("Generator", tmp_path)
    Generator.from_pretrained(str(tmp_path))
    assert [(tmp_path / name).read_text() for name in ("README.md", "notes.txt")] == ["precious"] * 2


def test_weights_of_several_dtypes_are_refused(tmp_path: Path) -> None:
    network = LSTMClassifier(2, 3, 4)
    network.lstm.double()
    with pytest.raises(ConfigError, match=r"weights must have one of the dtypes .* got float32, float64"):
        network.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


# Repositories


class Hub(http.server.BaseHTTPRequestHandler):
    """A hub with one repository, `user/model`, whose files are those of `folder`."""

    folder: ClassVar[Path]
    sha = "0123456789abcdef0123456789abcdef01234567"
    requests: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.requests.append(self.path)
        path = self.path.split("?")[0]
        content = b""
        if path.startswith("/api/models/user/model/revision/"):
            siblings = [{"rfilename": name} for name in [*FILES, "huge.bin"]]
            content = json.dumps({"id": "user/model", "sha": self.sha, "siblings": siblings}).encode()
        elif path.startswith("/api/models/user/model/tree/"):
            files = [(file.name, file.stat().st_size) for file in self.folder.iterdir()]
            entries = [{"type": "file", "path": name, "size": size, "oid": "0" * 40} for name, size in files]
            content = json.dumps(entries).encode()
        elif path.startswith(f"/user/model/resolve/{self.sha}/"):
            content = (self.folder / path.rpartition("/")[2]).read_bytes()
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hash(content) & 0xFFFFFFFF:08x}"')
        self.send_header("X-Repo-Commit", self.sha)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        pass


def test_repository_is_downloaded_once_and_read_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = LSTMClassifier(2, 3, 4).eval()
    network.save_pretrained(tmp_path / "model")
    Hub.folder = tmp_path / "model"
    for name in [name for name in os.environ if "proxy" in name.lower()]:
        monkeypatch.delenv(name)

    def read_both() -> None:
        read = partial(LSTMClassifier.from_pretrained, cache_dir=tmp_path / "cache", token=False)
        assert torch.equal(read("user/model").W_out, network.W_out)
        with pytest.raises(DataError, match=r"^user/absent: there is no such folder, .* cannot be downloaded \("):
            read("user/absent")

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        for name, value in {
            "ENDPOINT": url,
            "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_DISABLE_TELEMETRY": True,
        }.items():
            monkeypatch.setattr(constants, name, value)
        read_both()
        server.shutdown()
    assert Hub.requests
    assert not any("huge.bin" in path or "README" in path for path in Hub.requests), "only what is needed"
    Hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    read_both()
    assert not Hub.requests


def test_local_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved("LSTMClassifier", tmp_path / "user" / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    LSTMClassifier.from_pretrained("user/model")
    LSTMClassifier.from_pretrained("user/model", revision="main", local_files_only=True)
    with pytest.raises(ConfigError, match=r"user/other: there is no such folder; .* pip install huggingface_hub"):
        LSTMClassifier.from_pretrained("user/other")
    with pytest.raises(TypeError, match="branch"):
        LSTM.from_pretrained("nowhere", branch="main")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "source", ["nowhere", "./a/b", "a/b/c", "/a/b", "../b", "a/..", "", "user/na me", Path("user/model")]
)
def test_source_that_is_neither_folder_nor_repository(
    source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "..")
    with pytest.raises(DataError, match=r"source must be a folder with config.json|has no config.json"):
        LSTMClassifier.from_pretrained(source)


# Exported runs


def exported(run: Path, out: Path, options: str = "") -> tuple[dict[str, Any], ModelCard]:
    assert main(shlex.split(f"export {run} --format hub --out {out} --quiet {options}")) == 0
    assert sorted(path.name for path in out.iterdir()) == FILES
    return json.loads((out / "config.json").read_text()), ModelCard((out / "README.md").read_text())


@pytest.fixture
def model_of_custom(home: Path, tmp_path: Path) -> Path:
    to_hub(load(home / "custom"), tmp_path / "model")  # type: ignore[arg-type]
    return tmp_path / "model"


def test_classifier_of_custom_data_takes_raw_numbers(home: Path, tmp_path: Path) -> None:
    config, card = exported(home / "custom", tmp_path / "model", "--checkpoint best")
    run: Any = load(home / "custom", checkpoint="best")
    model = PretrainedClassifier.from_pretrained(tmp_path / "model")
    table_ = read_sequences(home / "mine.csv", labeled=False)
    expected = predict_table(run.network, run.task, table_)
    sequences = [x[:length, 0].tolist() for x, length in zip(table_.x, table_.lengths.tolist(), strict=True)]
    assert torch.equal(model.predict_probabilities(sequences), expected)
    assert torch.equal(model.predict_probabilities([np.array(s)[:, None] for s in sequences]), expected)
    classes = run.task.data.classes
    assert model.predict(sequences) == [classes[index] for index in expected.argmax(1).tolist()]
    assert config["data"]["classes"] == list(classes) == ["`c`", "a|b"]
    assert config["run"]["step"] == run.step
    assert str(home) not in json.dumps(config) + card.text, "folders may be private"
    assert card.data.license == "unknown"
    assert "PretrainedClassifier.from_pretrained" in card.text
    assert r"\`c\`, a\|b |" in card.text
    assert f"{run.task.data.num_sequences} sequences from the file `mine.csv`" in card.text


@pytest.mark.parametrize(
    ("sequences", "problem"),
    [
        ([], "must have at least one sequence"),
        ([[]], r"sequences\[0\] must have the shape"),
        ([[1, 2], [1, "x"]], r"sequences\[1\] must hold numbers"),
        ([[1, float("nan")]], "must hold finite numbers"),
        ([[1e39]], "must hold finite numbers"),
        ([[[1, 2], [3, 4]]], r"must have the shape \[T\] or \[T, 1\] with T at least 1, got \[2, 2\]"),
        ([[[1], [2, 3]]], "must hold numbers"),
    ],
)
def test_sequences_that_are_none(sequences: Any, problem: str, model_of_custom: Path) -> None:
    with pytest.raises(DataError, match=problem), np.errstate(over="ignore"):
        PretrainedClassifier.from_pretrained(model_of_custom).predict(sequences)


@pytest.mark.parametrize("name", ["custom", "palindrome", "digits", "adding", "rnn"])
def test_card_of_an_lstm_has_the_numbers_of_the_run(name: str, home: Path, tmp_path: Path) -> None:
    _, card = exported(home / name, tmp_path / "model")
    run = load(home / name)
    assert isinstance(run, LSTMRun)
    last, text = run.metrics[-1], card.text
    length = last.get("length", run.config.length)
    for split in ("validation", "train"):
        accuracy, loss = f"{100 * last[f'{split}_accuracy']:.2f} %", f"{last[f'{split}_loss']:.4g}"
        assert re.search(rf"\| {split} accuracy.* \| {accuracy} \| {100 * run.task.chance:.3g} % \|", text)
        assert re.search(rf"\| {split} .* \| {loss} \| {run.task.baseline(length):.4g} \|", text)
    assert f"Measured after epoch {last['epoch']} in one run with seed 0" in text
    assert (f"have length {length}." in text) == ("length" in last)
    assert f"{escape(run.folder.record['hardware']['processor'])}, 1 threads" in text
    assert f"| updates | {run.step} |" in text
    values = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert values == {"accuracy": last["validation_accuracy"], "loss": last["validation_loss"]}
    assert card.data.library_name == "reviver"
    assert card.data.license == {"custom": "unknown", "digits": "cc-by-sa-3.0"}.get(name, "mit")
    assert card.data.datasets == (["ylecun/mnist"] if name == "digits" else None)
    assert ("CC BY-SA 3.0" in text) == (name == "digits")
    assert f"[B, T, {run.network.input_size}]" in text or name == "custom"


@pytest.mark.parametrize("name", ["palindrome", "digits", "rnn", "gan"])
def test_code_of_the_card_runs(name: str, home: Path, tmp_path: Path) -> None:
    _, card = exported(home / name, tmp_path / "model")
    (code,) = re.findall(r"```python\n(.*?)\n```", card.text, re.DOTALL)
    run = load(home / name)
    scope: dict[str, Any] = {"x": torch.rand(3, 5, run.network.input_size)} if isinstance(run, LSTMRun) else {}
    with torch.no_grad():
        exec(code.replace("user/name", str(tmp_path / "model")), scope)
        if isinstance(run, LSTMRun):
            assert torch.equal(scope["probabilities"], run.network(scope["x"]).softmax(-1))
        else:
            assert scope["images"].shape == (25, 1, 6, 6)
            z = run.generator.sample_latents(3, torch.Generator().manual_seed(0))
            assert torch.equal(scope["network"](z), run.generator(z))


def test_card_of_a_gan(home: Path, tmp_path: Path) -> None:
    config, card = exported(home / "gan", tmp_path / "plain", "--license cc0-1.0")
    assert (card.data.license, card.data.pipeline_tag) == ("cc0-1.0", "unconditional-image-generation")
    assert "was not evaluated" in card.text
    assert "exponential moving average" in card.text
    assert config["data"]["name"] == "images"
    run = shutil.copytree(home / "gan", tmp_path / "run")
    step = config["run"]["step"]
    scores = dict.fromkeys(Comparison.model_fields, 0.25)
    record = {
        "real_baseline": scores | {"fid": 2.0},
        "class_fractions": [1.0],
        "fid_ratio": 1.5,
        "warning": "low | rank",
    }
    origin = {"num_samples": 100, "k": 5, "data": "images", "extractor": "mine", "extractor_sha256": "0" * 64}
    lines = [
        json.dumps({**scores, "step": s, "epoch": s, **record, **origin, "fid": fid})
        for s, fid in ((1, 9.0), (step, 3.5), (step + 1, 7.0))
    ]
    (run / "scores.jsonl").write_text("\n".join(lines) + "\n")
    _, card = exported(run, tmp_path / "scored")
    assert "| FID | 3.5 | 2 |" in card.text
    assert "100 samples against the test images" in card.text
    assert r"Warning: low \| rank" in card.text
    assert card.data.eval_results[0].metric_value == 3.5


@pytest.mark.parametrize(
    ("name", "license_id", "datasets", "text"),
    [
        ("mnist", "cc-by-sa-3.0", ["ylecun/mnist"], "by Yann LeCun and Corinna Cortes, licensed under [CC BY-SA 3.0]"),
        ("fashion-mnist", "mit", ["zalando-datasets/fashion_mnist"], "by Zalando Research"),
        ("emnist-digits", "unknown", None, "[its page](https://www.nist.gov/"),
        ("photos", "unknown", None, "Images from `photos` of the author of this model"),
    ],
)
def test_license_of_the_images(name: str, license_id: str, datasets: Any, text: str, home: Path) -> None:
    run: Any = load(home / "gan")
    card = ModelCard(gan_card(run, ImageData(name=name, num_images=8, sha256="0" * 64)))
    assert (card.data.license, card.data.datasets) == (license_id, datasets)
    assert text in card.text


def test_conditional_generator_of_a_run(home: Path, tmp_path: Path) -> None:
    run: Any = load(home / "gan")
    generator = Generator(4, (1, 6, 6), num_classes=3).eval()
    run = dataclasses.replace(run, generator=generator)
    run.folder.record["data"]["num_classes"] = 3
    to_hub(run, tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert "for one of 3 classes" in card
    assert "| classes | 3 |" in card
    (code,) = re.findall(r"```python\n(.*?)\n```", card, re.DOTALL)
    scope: dict[str, Any] = {}
    exec(code.replace("user/name", str(tmp_path / "model")), scope)
    z = generator.sample_latents(4, torch.Generator().manual_seed(0))
    assert torch.equal(scope["network"](z), generator(z))
    assert [port.name for port in to_onnx(run, tmp_path / "model.onnx").inputs] == ["z", "classes"]


def test_text_of_strangers_stays_text(home: Path, tmp_path: Path) -> None:
    run = shutil.copytree(home / "custom", tmp_path / "# x: <b>")
    record = json.loads((run / "run.json").read_text())
    record["command"] = "reviver ```\n# heading\n<script>"
    record["hardware"]["processor"] = "a | b\n# heading <script>"
    record["data"]["name"] = "`]( <script>"
    (run / "run.json").write_text(json.dumps(record))
    to_hub(load(run), tmp_path / "model")
    text = (tmp_path / "model" / "README.md").read_text()
    page = MarkdownIt("commonmark").enable("table").render(text.split("---\n", 2)[2])
    assert "<script" not in page
    assert re.findall("<h1>(.*)</h1>", page) == ["# x: &lt;b&gt;"]
    assert "<code>`]( &lt;script&gt;</code>" in page
    assert "<td>a | b # heading &lt;script&gt;, " in page
    assert "<td>`c`, a|b</td>" in page
    assert ModelCard(text).data.eval_results[0].dataset_name == "`]( <script>"


def test_front_matter_is_yaml() -> None:
    values = {"a": "no", "b": "x: [y]", "c": 1.5, "d": ["yes", "plain"], "e": [{"f": [{"g": "é\n"}], "h": True}]}
    assert ModelCard(front_matter({**values, "i": None}) + "\n").data.to_dict() == values
    assert table(("a|b", "c"), [("d\ne", r"f\|g")]) == "| a\\|b | c |\n| --- | --- |\n| d e | f\\|g |"


def test_descriptions_are_complete() -> None:
    assert set(INPUTS) == set(GOALS) == set(TASKS)
    assert set(CLASSES) == set(TASKS) - {"custom", "adding"}


def test_existing_folder_is_not_overwritten(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("precious")
    command = f"export {home / 'rnn'} --format hub --json --out {tmp_path}"
    assert main(shlex.split(command)) == 2
    assert "exists already and is never overwritten; choose another --out" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    assert main(shlex.split(f"{command}/empty")) == 0
    result = json.loads(capsys.readouterr().out)
    assert sorted(Path(file).name for file in result["files"]) == FILES
    assert (result["format"], result["step"]) == ("hub", load(home / "rnn").step)
    (tmp_path / "file").write_text("precious")
    for call in (LSTM(2, 3).save_pretrained, lambda path: to_hub(load(home / "rnn"), path)):
        with pytest.raises(RunFolderError, match="cannot be written"):
            call(tmp_path / "file" / "model")


# Hostile files


@pytest.fixture
def memory_limit() -> Iterator[None]:
    """Assert that Python and NumPy allocate less than 60 MB."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * 10**6


limited = pytest.mark.usefixtures("memory_limit")


def damage(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for name, value in changes.items():
        config[name] = config[name] | value if isinstance(config.get(name), dict) and isinstance(value, dict) else value
    path.write_text(json.dumps(config))


@limited
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"format": 2}, "was written by a newer Reviver (format 2, this one reads 1)"),
        ({"format": "1"}, "format must be an integer, got '1'"),
        ({"library_name": "transformers"}, "library_name must be reviver"),
        ({"architecture": "Generator"}, "architecture must be 'LSTMClassifier', got 'Generator'"),
        ({"dtype": "int8"}, "dtype must be float32, float64, float16 or bfloat16"),
        ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map is unknown"),
        ({"network": {"hidden_size": 10**8}}, "W_out must be [3, 100000000], is [3, 4]"),
        ({"network": {"hidden_size": 2**62}}, "network does not describe one that can be built"),
        ({"network": {"num_layers": 10**9}}, "tensors for the num_layers of config.json"),
        ({"network": {"hidden_size": -1}}, "network.hidden_size must be at least 1, got -1"),
        ({"network": {"pooling": "sum"}}, "network.pooling must be"),
        ({"network": {"device": "cuda"}}, "network.device is unknown"),
        ({"network": []}, "network must be an object"),
        ({"data": {"task": "custom"}}, "data.target is missing"),
        ({"data": []}, "data must be an object"),
        ({"run": {"name": "x" * 2000}}, "run.name must have at most 1000 characters"),
        ({"dtype": "float64"}, "must be torch.float64, is torch.float32"),
        ({"network": {"pooling": "attention"}}, "is absent; config.json describes another network"),
    ],
)
def test_damaged_config(changes: dict[str, Any], problem: str, tmp_path: Path) -> None:
    LSTMClassifier(2, 4, 3).save_pretrained(tmp_path)
    damage(tmp_path, **changes)
    with pytest.raises(DataError) as caught:
        LSTMClassifier.from_pretrained(tmp_path)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@limited
@pytest.mark.parametrize("shape", [[1, 2**40, 2**40], [1, 10**6, 10**6], [1, 2], [0, 1, 1], "1x2x3"])
def test_damaged_image_shape(shape: Any, tmp_path: Path) -> None:
    for cls in (Generator, Discriminator):
        cls(image_shape=(1, 2, 2)).save_pretrained(tmp_path)
        damage(tmp_path, network={"image_shape": shape})
        with pytest.raises(DataError):
            cls.from_pretrained(tmp_path)


@limited
@pytest.mark.parametrize("size", [0, 1 << 34])
def test_config_that_is_none(size: int, tmp_path: Path) -> None:
    os.truncate(saved("LSTM", tmp_path) / "config.json", size)
    with pytest.raises(DataError, match=r"config.json: .*; download or export the model again"):
        LSTM.from_pretrained(tmp_path)


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("was-run",)


@limited
def test_damaged_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    weights = saved("LSTM", tmp_path / "model") / "model.safetensors"
    content, tensors = weights.read_bytes(), from_bytes(weights.read_bytes())
    first = next(iter(tensors))
    for damaged in (b"", content[:-1], pickle.dumps(Evil())):
        weights.write_bytes(damaged)
        with pytest.raises(DataError, match=r"model.safetensors: cannot be read \(.*; download or export"):
            LSTM.from_pretrained("model")
    for changed in (
        {key: value for key, value in tensors.items() if key != first},
        tensors | {"more": torch.zeros(1)},
        tensors | {first: torch.zeros(1, 1)},
        tensors | {first: tensors[first].double()},
        tensors | {first: tensors[first].to(torch.int32)},
    ):
        save_file(changed, weights)
        with pytest.raises(DataError, match=r"model.safetensors: cannot be read \(.* must be .*, is "):
            LSTM.from_pretrained("model")
    weights.unlink()
    with pytest.raises(DataError, match=r"has no model.safetensors; give the folder of a pretrained model"):
        LSTM.from_pretrained("model")
    os.mkfifo(weights)
    with pytest.raises(DataError, match="not a regular file"):
        LSTM.from_pretrained("model")
    assert not Path("was-run").exists()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"classes": ["a", "b", "c"]}, "config.json must have 2 classes for its network, got 3"),
        ({"classes": ["a", "a"]}, "must have distinct classes"),
        ({"classes": None}, "must have classes, or the target number"),
        ({"standardization": {"mean": [0, 1], "scale": [1, 1]}}, "must have 1 means for its network, got 2"),
        ({"standardization": {"mean": [0], "scale": [0]}}, "data.standardization.scale.0 must be greater than 0"),
        ({"task": "evil"}, "data.task must be"),
        ({"target": "number", "classes": None}, "names no classes of sequences"),
    ],
)
def test_data_that_does_not_fit(changes: dict[str, Any], problem: str, model_of_custom: Path) -> None:
    damage(model_of_custom, data=changes)
    with pytest.raises(DataError) as caught:
        PretrainedClassifier.from_pretrained(model_of_custom)
    assert problem in str(caught.value)


def test_folders_of_another_kind(home: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no config.json; it is a run folder: read it by reviver.load"):
        LSTMClassifier.from_pretrained(home / "rnn")
    with pytest.raises(DataError, match=r"names no classes of sequences; use LSTMClassifier.from_pretrained"):
        PretrainedClassifier.from_pretrained(saved("LSTMClassifier", tmp_path))
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    del config["network"]["precision"]
    path.write_text(json.dumps(config))
    with pytest.raises(DataError, match=r"config.json: network.precision is missing; download or export"):
        LSTMClassifier.from_pretrained(tmp_path)
