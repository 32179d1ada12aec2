"""Export to ONNX: graphs compute what the networks compute, checked with ONNX Runtime; metadata, and wrong use."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from reviver import Generator, LSTMClassifier, load
from reviver.cli.app import main
from reviver.data.sequences.reader import read_sequences
from reviver.data.sequences.standardization import Standardization
from reviver.errors import ConfigError, RunFolderError
from reviver.files.onnx import MIN_OPSET, REDUCE_OPSET, Graph
from reviver.gan import onnx as gan_onnx
from reviver.lstm import onnx as lstm_onnx
from reviver.lstm.rnn import RNNClassifier
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.settings.lstm_network import Pooling
from reviver.show.export import to_onnx
from reviver.train.gan import training as gan_training
from reviver.train.lstm.evaluation import predict_table
from reviver.train.lstm.run import LSTMRun
from reviver.train.lstm.training import train

TOLERANCE = 2e-6
"""Maximum difference from torch; measured: 4e-7."""
I, H, C = 3, 5, 4  # noqa: E741
SHAPES = [(1, 1), (1, 6), (4, 7), (3, 2)]
"""B and T of the batches that one graph computes."""
NEWEST = onnx.defs.onnx_opset_version()


def randomize(network: nn.Module) -> Any:
    """Sample all weights and statistics, so that no term of the equations is 0; keep matrices of a generator in scale."""
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point() and not (isinstance(network, Generator) and tensor.dim() == 2):
                values = torch.randn(tensor.shape, generator=rng) * 0.5
                tensor.copy_(values.abs() + 0.1 if name.endswith("running_var") else values)
    return network.eval()


def session(model: bytes | str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_graph(graph: Graph, **inputs: Tensor) -> list[Tensor]:
    model = graph.model("test", "", {})
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    outputs = session(model.SerializeToString()).run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    return [torch.from_numpy(output) for output in outputs]


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


# Classifiers


@pytest.mark.parametrize("patch_size", [1, 3])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", get_args(Pooling))
def test_classifier_computes_the_same(pooling: Any, bidirectional: bool, num_layers: int, patch_size: int) -> None:
    network = randomize(
        LSTMClassifier(
            I, H, C, num_layers, bidirectional=bidirectional, pooling=pooling, patch_size=patch_size, hidden_dropout=0.5
        )
    )
    for opset in (None, REDUCE_OPSET, NEWEST):
        check_classifier(network, lstm_onnx.build_graph(network, opset))


def check_classifier(network: LSTMClassifier | RNNClassifier, graph: Graph, **options: Any) -> None:
    """Compare one graph with the network over batches of several shapes, with and without lengths."""
    model = graph.model("test", "", {})
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    runtime = session(model.SerializeToString())
    rng = torch.Generator().manual_seed(0)
    for B, T in SHAPES:
        x = torch.randn(B, T, network.input_size, generator=rng)
        lengths = torch.randint(1, T + 1, (B,), generator=rng)
        for given in (None, lengths):
            with torch.no_grad():
                expected = network(x, given, **options)
            inputs = {"x": x.numpy()} | ({} if given is None else {"lengths": given.numpy()})
            logits, probabilities = map(torch.from_numpy, runtime.run(["logits", "probabilities"], inputs))
            close(logits, expected)
            close(probabilities, expected.softmax(-1))


def test_steps_after_the_end_do_not_count() -> None:
    network = randomize(LSTMClassifier(I, H, C, pooling="mean", patch_size=4))
    x, lengths = torch.randn(3, 9, I), torch.tensor([9, 2, 5])
    outputs = [network(x, lengths)]
    for index, length in enumerate(lengths.tolist()):
        x[index, length:] = 1e6
    outputs.append(network(x, lengths))
    outputs.append(run_graph(lstm_onnx.build_graph(network), x=x, lengths=lengths)[0])
    assert torch.equal(outputs[0], outputs[1])
    close(outputs[2], outputs[0])


def test_vanilla_rnn_computes_the_same() -> None:
    network = randomize(RNNClassifier(I, H, C, hidden_dropout=0.5))
    check_classifier(network, lstm_onnx.build_graph(network))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_classes_at_every_step(bidirectional: bool) -> None:
    network = randomize(LSTMClassifier(I, H, C, 2, bidirectional=bidirectional))
    graph = lstm_onnx.build_graph(network, target="class at every step")
    check_classifier(network, graph, every_step=True)
    assert [port.shape for port in graph.outputs] == [("batch", "time", C)] * 2


def test_number() -> None:
    network = randomize(LSTMClassifier(2, H, 1))
    graph = lstm_onnx.build_graph(network, target="number")
    assert [port.name for port in graph.outputs] == ["value"]
    x = torch.randn(4, 6, 2)
    close(run_graph(graph, x=x)[0], network(x).squeeze(1).detach())


@pytest.mark.parametrize("patch_size", [1, 4])
def test_standardization_keeps_the_digits_of_a_large_mean(patch_size: int) -> None:
    network = randomize(LSTMClassifier(2, H, C, pooling="attention", patch_size=patch_size))
    standardization = Standardization(mean=(1_234_567.3, -0.25), scale=(0.5, 300.0))
    x = torch.tensor(standardization.mean) + torch.randn(3, 7, 2) * torch.tensor(standardization.scale)
    lengths = torch.tensor([7, 2, 5])
    x[torch.arange(7) >= lengths.unsqueeze(1)] = 0  # padding of raw numbers
    graph = lstm_onnx.build_graph(network, standardization=standardization)
    with torch.no_grad():
        close(run_graph(graph, x=x, lengths=lengths)[0], network(standardization.apply(x, lengths), lengths))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"hidden_dropout": 0.1, "hidden_dropout_kind": "zoneout"},
            "zoneout mixes h_t with h_(t-1), which no LSTM node",
        ),
        ({"precision": "bf16"}, "precision must be fp32 for ONNX, got 'bf16': the network rounds the operands"),
        ({"dtype": torch.float64}, "parameters must be float32 for ONNX, got float64; call network.float()"),
    ],
)
def test_what_no_node_computes_is_refused(options: dict[str, Any], problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=problem.replace("(", r"\(").replace(")", r"\)")):
        to_onnx(LSTMClassifier(I, H, C, **options), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_zoneout_without_dropout_and_other_kinds_of_dropout_are_exported() -> None:
    for options in ({"hidden_dropout_kind": "zoneout"}, {"hidden_dropout": 0.5, "hidden_dropout_kind": "variational"}):
        network = randomize(LSTMClassifier(I, H, C, **options))
        check_classifier(network, lstm_onnx.build_graph(network))


def test_a_layer_is_one_standard_node(tmp_path: Path) -> None:
    to_onnx(LSTMClassifier(I, H, C, 2, bidirectional=True), tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    assert [node.op_type for node in model.graph.node].count("LSTM") == 2
    assert {node.domain for node in model.graph.node} == {""}
    assert [entry.version for entry in model.opset_import] == [MIN_OPSET]
    assert model.ir_version <= 8, "the newest version would shut out older runtimes"


# Generators


@pytest.mark.parametrize(
    ("image_shape", "num_classes", "batch_norm_eps"),
    [((1, 28, 28), 0, 1e-5), ((1, 28, 28), 10, 1e-5), ((3, 6, 6), 0, 0.8), ((3, 5, 4), 3, 1e-5)],
)
def test_generator_computes_the_same(image_shape: Any, num_classes: int, batch_norm_eps: float) -> None:
    generator = randomize(Generator(7, image_shape, num_classes=num_classes, batch_norm_eps=batch_norm_eps))
    for opset in (None, NEWEST):
        for count in (1, 5):
            z = generator.sample_latents(count, torch.Generator().manual_seed(count))
            inputs = {"z": z[:, :7].contiguous()}
            if num_classes:
                inputs["classes"] = z[:, 7:].argmax(1)
            (images,) = run_graph(gan_onnx.build_graph(generator, opset), **inputs)
            with torch.no_grad():
                torch.testing.assert_close(images, generator(z), rtol=0, atol=1e-5)


def test_generator_of_another_dtype_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"parameters must be float32 for ONNX, got float64; call generator.float\(\)"
    ):
        to_onnx(Generator().double(), tmp_path / "model.onnx")


def test_a_network_beyond_the_size_of_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reviver.files.onnx.MAX_FILE_BYTES", 100)
    with pytest.raises(ConfigError, match="at most 100 bytes of weights to fit into one ONNX file, got 2806320"):
        to_onnx(Generator(2, (1, 2, 2)), tmp_path / "model.onnx")


# Runs


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a file of sequences, and tiny runs: `custom`, `onehot`, `rnn`, `adding`, `copy`, `gan`."""
    home = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(0)
    rows = [
        f"{' '.join(map(str, rng.normal(1000, 3, size=rng.integers(3, 9)).round(3)))},{'hi,lo'[3 * (k % 2) :][:2]}"
        for k in range(40)
    ]
    (home / "mine.csv").write_text("sequence,label\n" + "\n".join(rows) + "\n")
    np.save(home / "images.npy", rng.integers(0, 256, (8, 6, 6), dtype=np.uint8))
    tiny = {"hidden_size": 6, "epochs": 2, "data_size": 40}
    for name, settings in {
        "custom": {"task": "custom", "data": str(home / "mine.csv"), "bidirectional": True},
        "onehot": {"length": 4, "encoding": "onehot"},
        "rnn": {"length": 4, "cell": "rnn"},
        "adding": {"task": "adding", "length": 6},
        "copy": {"task": "copy", "length": 3, "encoding": "onehot"},
    }.items():
        train(LSTMConfig(**tiny, **settings), home / name, device="cpu")
    gan = GANConfig(data=str(home / "images.npy"), image_size=6, latent_size=4, epochs=2, batch_size=4, ema=0.9)
    gan_training.train(gan, home / "gan", device="cpu")
    return home


def exported(arguments: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(shlex.split(f"export {arguments} --json")) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_run_on_custom_data_takes_raw_numbers(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deep" / "mine.onnx"
    result = exported(f"{home / 'custom'} --format onnx --out {path} --checkpoint best", capsys)
    run = load(home / "custom", checkpoint="best")
    assert isinstance(run, LSTMRun)
    table = read_sequences(home / "mine.csv", labeled=False)
    runtime = session(str(path))
    (probabilities,) = runtime.run(["probabilities"], {"x": table.x.numpy(), "lengths": table.lengths.numpy()})
    close(torch.from_numpy(probabilities), predict_table(run.network, run.task, table))
    metadata = runtime.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == ["hi", "lo"]
    assert json.loads(metadata["standardization"]) == run.task.data.standardization.model_dump(mode="json")
    assert (metadata["task"], metadata["run"], metadata["seed"]) == ("custom", "custom", "0")
    assert int(metadata["step"]) == run.step == result["step"]
    assert json.loads(metadata["versions"]) == run.folder.record["versions"]
    assert json.loads(metadata["settings"])["data"] == "mine.csv", "folders may be private"
    assert result["bytes"] == path.stat().st_size
    assert [port["name"] for port in result["inputs"]] == ["x", "lengths"]
    assert result["outputs"][1]["shape"] == ["batch", 2]


@pytest.mark.parametrize(
    ("name", "output", "shape"),
    [
        ("onehot", "logits", (5, 10)),
        ("rnn", "logits", (5, 10)),
        ("adding", "value", (5,)),
        ("copy", "logits", (5, 7, 9)),
    ],
)
def test_every_kind_of_task(
    name: str, output: str, shape: tuple[int, ...], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(f"{home / name} --format onnx --out {tmp_path / 'model'} --opset 17", capsys)
    run = load(home / name)
    x = torch.randn(5, 7, run.network.input_size)
    runtime = session(str(tmp_path / "model"))
    (found,) = runtime.run([output], {"x": x.numpy()})
    with torch.no_grad():
        expected = run.network(x, every_step=name == "copy")
    assert found.shape == shape
    close(torch.from_numpy(found), expected.reshape(shape))
    metadata = runtime.get_modelmeta().custom_metadata_map
    assert metadata["encoding"] == run.config.encoding
    assert ("classes" in metadata) == (name != "adding")
    assert ("one-hot" in metadata["input"]) == (run.config.encoding == "onehot")


def test_run_of_a_gan_gives_its_average(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "generator.onnx"
    path.write_text("older export")
    result = exported(f"{home / 'gan'} --format onnx --out {path}", capsys)
    run = load(home / "gan")
    z = torch.randn(9, 4)
    runtime = session(str(path))
    (images,) = runtime.run(None, {"z": z.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(images), run.generator(z), rtol=0, atol=1e-5)
    assert result["outputs"] == [
        {"name": "images", "dtype": "float32", "shape": ["batch", 1, 6, 6]}
        | {"description": "Pixels, from -1 (black) to 1 (white)"}
    ]
    metadata = runtime.get_modelmeta().custom_metadata_map
    assert (metadata["data"], metadata["run"]) == ("images", "gan")


def test_the_same_run_gives_the_same_file(home: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        to_onnx(load(home / "custom"), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# Wrong use


def shows(arguments: str, problem: str, capsys: pytest.CaptureFixture[str], code: int = 2) -> None:
    capsys.readouterr()
    assert main(shlex.split(f"export {arguments}")) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert problem in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            "onnx --opset 12",
            f"--opset must be from {MIN_OPSET}, the first with all operators of the graph, to {NEWEST}",
        ),
        ("onnx --opset 999", f"the last that the installed onnx {onnx.__version__} knows, got 999"),
        ("onnx --opset -1", "got -1"),
        ("onnx --opset many", "--opset must be an integer, got 'many'"),
        ("hub --opset 18", "--opset is only for the format onnx"),
        ("onnx --license mit", "--license is only for the model card"),
        ("hub --license 'MIT: yes'", "--license must match"),
        ("pickle", "--format must be onnx or hub, got 'pickle'"),
        ("onnx --checkpoint worst", "--checkpoint must be last or best"),
    ],
)
def test_wrong_options(
    options: str, problem: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shows(f"{home / 'onehot'} --format {options} --out {tmp_path / 'model'}", problem, capsys)
    assert not list(tmp_path.iterdir())


def test_wrong_runs_and_paths(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = home / "onehot"
    shows(f"{tmp_path} --format onnx", "has no run.json, so it is not a run folder", capsys)
    shows(f"{home / 'gan'} --format onnx --checkpoint best", "--checkpoint must be last, got 'best'", capsys)
    shows(f"{run}", "--format is missing", capsys)
    (tmp_path / "file").write_text("precious")
    (tmp_path / "folder").mkdir()
    for format_ in ("onnx", "hub"):
        shows(f"{run} --format {format_} --out {tmp_path / 'file' / 'model'}", "cannot be written", capsys)
    shows(f"{run} --format onnx --out {tmp_path / 'folder'}", "cannot be written (Is a directory)", capsys)
    shows(f"{run} --format hub --out {tmp_path / 'file'}", "cannot be written", capsys)
    assert (tmp_path / "file").read_text() == "precious"


def test_onnx_is_missing(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    problem = "--format onnx needs the library onnx: pip install onnx"
    shows(f"{home / 'onehot'} --format onnx --out {tmp_path / 'model'}", problem, capsys)
    assert main(shlex.split(f"export {home / 'onehot'} --format hub --out {tmp_path / 'model'}")) == 0


def test_a_full_disk_leaves_the_older_file(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("older export")

    def fail(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(RunFolderError, match="No space left on device"):
        to_onnx(load(home / "onehot"), path)
    assert path.read_text() == "older export"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]


def test_results_for_people(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(f"export {home / 'custom'} --format onnx --out {tmp_path / 'mine.onnx'}")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(f"bytes, opset {MIN_OPSET}")
    assert [line.split()[:2] for line in lines[1:]] == [
        ["input", "x"],
        ["input", "lengths"],
        ["output", "logits"],
        ["output", "probabilities"],
    ]
