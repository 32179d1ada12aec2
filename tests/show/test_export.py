"""Export to ONNX: graphs compute what the networks compute, checked with ONNX Runtime; metadata, and wrong use."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any, get_args

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from reviver import Generator, LSTMClassifier, load
from reviver.cli.app import main
from reviver.data.sequences.reader import read_sequences
from reviver.data.sequences.standardization import Standardization
from reviver.errors import ConfigError
from reviver.files.onnx_graph import MIN_OPSET, REDUCE_OPSET, Graph
from reviver.recurrent.classifier import RecurrentClassifier, RNNClassifier
from reviver.recurrent.onnx import build_graph
from reviver.settings.lstm_network import CELLS, Pooling
from reviver.show.export import generator_graph, to_onnx
from reviver.train.lstm.scoring import compute_logits

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


def checked_session(graph: Graph) -> onnxruntime.InferenceSession:
    model = graph.model("test", "", {})
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    return session(model.SerializeToString())


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=TOLERANCE)


def check_classifier(network: RecurrentClassifier, graph: Graph, **options: Any) -> None:
    """Compare one graph with the network over batches of several shapes, with and without lengths."""
    runtime = checked_session(graph)
    rng = torch.Generator().manual_seed(0)
    for B, T in SHAPES:
        x = torch.randn(B, T, network.input_size, generator=rng)
        lengths = torch.randint(1, T + 1, (B,), generator=rng)
        for given in (None, lengths):
            expected = network(x, given, **options)
            inputs = {"x": x.numpy()} | ({} if given is None else {"lengths": given.numpy()})
            logits, probabilities = map(torch.from_numpy, runtime.run(["logits", "probabilities"], inputs))
            close(logits, expected)
            close(probabilities, expected.softmax(-1))


@pytest.mark.parametrize(("num_layers", "bidirectional", "patch_size"), [(1, False, 3), (3, True, 1)])
@pytest.mark.parametrize("pooling", get_args(Pooling))
def test_classifier_computes_the_same(pooling: Any, num_layers: int, bidirectional: bool, patch_size: int) -> None:
    options = {"bidirectional": bidirectional, "pooling": pooling, "patch_size": patch_size, "hidden_dropout": 0.5}
    network = randomize(LSTMClassifier(I, H, C, num_layers, **options))
    for opset in (None, REDUCE_OPSET, NEWEST):
        check_classifier(network, build_graph(network, opset))


def test_other_networks_and_classes_at_every_step_compute_the_same() -> None:
    for network in (
        LSTMClassifier(I, H, C, hidden_dropout_kind="zoneout"),
        LSTMClassifier(I, H, C, hidden_dropout=0.5, hidden_dropout_kind="variational"),
    ):
        check_classifier(network, build_graph(randomize(network)))
    for name in CELLS:
        network = randomize(RNNClassifier(name, I, H, C, 2, bidirectional=True, hidden_dropout=0.5, patch_size=2))
        for opset in (None, NEWEST):
            check_classifier(network, build_graph(network, opset))
    for bidirectional in (False, True):
        network = randomize(LSTMClassifier(I, H, C, 2, bidirectional=bidirectional))
        check_classifier(network, build_graph(network, target="class at every step"), every_step=True)


@pytest.mark.parametrize("patch_size", [1, 4])
def test_standardization_keeps_the_digits_of_a_large_mean(patch_size: int) -> None:
    network = randomize(LSTMClassifier(2, H, C, pooling="attention", patch_size=patch_size))
    standardization = Standardization(mean=(1_234_567.3, -0.25), scale=(0.5, 300.0))
    x = torch.tensor(standardization.mean) + torch.randn(3, 7, 2) * torch.tensor(standardization.scale)
    lengths = torch.tensor([7, 2, 5])
    x[torch.arange(7) >= lengths.unsqueeze(1)] = 0  # padding of raw numbers
    graph = build_graph(network, standardization=standardization)
    logits, _ = checked_session(graph).run(None, {"x": x.numpy(), "lengths": lengths.numpy()})
    close(torch.from_numpy(logits), network(standardization.apply(x, lengths), lengths))


@pytest.mark.parametrize(
    ("image_shape", "num_classes", "batch_norm_eps"),
    [((1, 28, 28), 0, 1e-5), ((3, 6, 6), 0, 0.8), ((3, 5, 4), 3, 1e-5)],
)
def test_generator_computes_the_same(image_shape: Any, num_classes: int, batch_norm_eps: float) -> None:
    generator = randomize(Generator(7, image_shape, num_classes=num_classes, batch_norm_eps=batch_norm_eps))
    for opset in (None, NEWEST):
        runtime = checked_session(generator_graph(generator, opset))
        for count in (1, 5):
            z = generator.sample_latents(count, torch.Generator().manual_seed(count))
            inputs = {"z": z[:, :7].numpy()} | ({"classes": z[:, 7:].argmax(1).numpy()} if num_classes else {})
            (images,) = map(torch.from_numpy, runtime.run(None, inputs))
            torch.testing.assert_close(images, generator(z).detach(), rtol=0, atol=1e-5)


def test_what_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    zoneout = LSTMClassifier(I, H, C, hidden_dropout=0.1, hidden_dropout_kind="zoneout")
    for network, problem in (
        (zoneout, r"'zoneout', which mixes h_t with h_\(t-1\)"),
        (LSTMClassifier(I, H, C, precision="bf16"), "precision must be fp32 for ONNX, got 'bf16'"),
    ):
        with pytest.raises(ConfigError, match=problem):
            to_onnx(network, tmp_path / "model.onnx")
    with pytest.raises(ConfigError, match=r"^model must be a run from load, an LSTMClassifier, .*, got Linear$"):
        to_onnx(nn.Linear(2, 2), tmp_path / "model.onnx")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_run_on_custom_data_takes_raw_numbers(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deep" / "mine.onnx"
    command = f"export {home / 'custom'} --format onnx --json --out {path} --checkpoint best"
    assert main(shlex.split(command)) == 0
    result = json.loads(capsys.readouterr().out)
    model = onnx.load(path)
    assert [node.op_type for node in model.graph.node].count("LSTM") == 1, "both directions"
    assert ({node.domain for node in model.graph.node}, model.opset_import[0].version) == ({""}, MIN_OPSET)
    assert model.ir_version <= 8, "the newest version would shut out older runtimes"
    run: Any = load(home / "custom", checkpoint="best")
    table = read_sequences(home / "mine.csv", labeled=False)
    runtime = session(str(path))
    (probabilities,) = runtime.run(["probabilities"], {"x": table.x.numpy(), "lengths": table.lengths.numpy()})
    close(torch.from_numpy(probabilities), compute_logits(run.network, run.task.examples(table)).softmax(1))
    metadata = runtime.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == ["`c`", "a|b"]
    assert int(metadata["step"]) == run.step == result["step"]
    assert json.loads(metadata["settings"])["data"] == "mine.csv", "folders may be private"
    assert [port["name"] for port in result["inputs"]] == ["x", "lengths"]
    to_onnx(run, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("name", "output", "shape"), [("adding", "value", (5,)), ("copy", "logits", (5, 7, 9))])
def test_every_kind_of_task(name: str, output: str, shape: tuple[int, ...], home: Path, tmp_path: Path) -> None:
    run: Any = load(home / name)
    to_onnx(run, tmp_path / "model", opset=17)
    x = torch.randn(5, 7, run.network.input_size)
    (found,) = session(str(tmp_path / "model")).run([output], {"x": x.numpy()})
    close(torch.from_numpy(found), run.network(x, every_step=name == "copy").reshape(shape))


def test_onnx_is_missing(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(shlex.split(f"export {home / 'rnn'} --format onnx --out {tmp_path / 'model'}")) == 2
    assert "--format onnx needs the library onnx: pip install onnx" in capsys.readouterr().err
    assert main(shlex.split(f"export {home / 'rnn'} --format hub --out {tmp_path / 'model'}")) == 0
