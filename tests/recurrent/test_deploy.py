"""Trained cells as C and JavaScript, step by step in Python, and as a graph of one step: each against the whole sequence."""

import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from reviver import LSTMClassifier, RNNClassifier, to_c, to_js
from reviver.cli import main
from reviver.data.sequences.standardization import Standardization
from reviver.errors import ConfigError, DataError
from reviver.recurrent.classifier import RecurrentClassifier
from reviver.recurrent.onnx import step_graph
from reviver.settings.lstm import LSTMConfig
from reviver.settings.lstm_network import CELLS
from reviver.train.lstm.training import train
from tests.programs import COMPILER, STRICT, exact_logits, needs_compiler, run_c

KEYWORDS = """# int */ main() ??/ \\ é
int = sigmoid(W_for @ x + U_while @ (V_0 @ register) + b_int)  # */ /*
unix = tanh(int / normalize(W_n @ x)) + normalize(U_n @ (int * h)) - -0.5  # two products that wait
register = 0.5 * register + max(unix, log(1.5 + softplus(h))) * 0.1
net_w = tanh(w_0_0 * int + net_b)                              # names of what is emitted
j = relu(net_w + skip)
skip = sigmoid(j - 1)
h = 0.1 * skip * net_w + tanh(register) * sqrt(0.5 + abs(int)) - relu(min(h, 0.25)) + exp(-int) / 4
"""
STANDARDIZATION = Standardization(mean=(1000.0, -3.5, 0.1), scale=(2.0, 0.5, 1.0))
CLASSES = ("plain", 'quote " and \\', "what??/", "é*/")


def networks() -> dict[str, RecurrentClassifier]:
    """Return classifiers of every cell, pooling and kind of layers, with weights that are not 0."""
    torch.manual_seed(1)
    found: dict[str, RecurrentClassifier] = {
        name.replace("-", "_"): RNNClassifier(name, 3, 5, 4) for name in CELLS if name != "lstm"
    }
    found["lstm"] = LSTMClassifier(3, 35, 4, num_layers=2)
    for pooling in ("last", "mean", "max", "attention"):
        zoneout: Any = {"hidden_dropout": 0.3, "hidden_dropout_kind": "zoneout", "num_layers": 2}
        found[f"patches_{pooling}"] = RNNClassifier("coupled", 3, 6, 2, pooling=pooling, patch_size=3, **zoneout)
        found[pooling] = LSTMClassifier(3, 6, 1, pooling=pooling)
    found["keywords"] = RNNClassifier(KEYWORDS, 3, 7, 4)
    for network in found.values():
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.3)
        network.eval()
    return found


def inputs() -> torch.Tensor:
    return torch.randn(20, 3, generator=torch.Generator().manual_seed(2))


@needs_compiler
def test_c_computes_the_logits_after_every_step(tmp_path: Path) -> None:
    flags = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover")
    found, x = networks(), inputs()
    codes = {name: to_c(network, name=name, classes=CLASSES[: len(network.W_out)]) for name, network in found.items()}
    logits = run_c(codes, dict.fromkeys(codes, x.numpy()), tmp_path, *flags)
    for name, network in found.items():
        assert logits[name] == pytest.approx(exact_logits(network, x), abs=2e-6), name


@needs_compiler
def test_c_standardizes_raw_numbers_and_passes_nan_on(tmp_path: Path) -> None:
    found, x = networks(), inputs()
    raw = x * torch.tensor(STANDARDIZATION.scale) + torch.tensor(STANDARDIZATION.mean)
    exact = (raw.double() - torch.tensor(STANDARDIZATION.mean)) / torch.tensor(STANDARDIZATION.scale)
    chosen = {name: found[name] for name in ("lstm", "patches_mean", "max", "attention")}
    codes = {name: to_c(network, name=name, standardization=STANDARDIZATION) for name, network in chosen.items()}
    raw[15, 1] = torch.nan
    logits = run_c(codes, dict.fromkeys(codes, raw.numpy()), tmp_path, "-O2")
    for name, network in chosen.items():
        assert logits[name][:15] == pytest.approx(exact_logits(network, exact)[:15], abs=2e-6), name
        assert np.isnan(logits[name][15:]).all(), name


@needs_compiler
def test_smaller_weights_are_those_of_the_format(tmp_path: Path) -> None:
    network, x = networks()["lstm"], inputs()
    codes = {weights: to_c(network, name=weights, weights=weights) for weights in ("fp16", "int8")}  # type: ignore[arg-type]
    logits = run_c(codes, dict.fromkeys(codes, x.numpy()), tmp_path, "-O2")
    exact = exact_logits(network, x)
    for weights, tolerance in (("fp16", 1e-3), ("int8", 2e-2)):
        assert logits[weights] == pytest.approx(exact, abs=tolerance)
        assert np.abs(logits[weights] - exact).max() > 1e-6  # something was rounded
    assert "int8_t net_w_out" in to_c(network, weights="int8")


@needs_compiler
def test_a_header_is_cpp_and_its_symbol_is_a_one_hot_step(tmp_path: Path) -> None:
    for name, network in networks().items():
        (tmp_path / f"{name}.h").write_text(to_c(network, name=name, classes=CLASSES[: len(network.W_out)]))
    names = [name for name in networks() if not name.startswith("patches")]
    body = "".join(
        f"{{ static {n}_state a, b; float x[3] = {{0, 1, 0}}, y[4], z[4]; {n}_init(&a); {n}_init(&b);\n"
        f"{n}_step(&a, x, 0); {n}_step(&a, x, y); {n}_symbol(&b, 1, 0); {n}_symbol(&b, 1, z);\n"
        f"for (int k = 0; k < {n.upper()}_OUTPUTS; k++) if (!(y[k] - z[k] < 1e-6f && z[k] - y[k] < 1e-6f)) return 1; }}\n"
        for n in names
    )
    includes = "".join(f'#include "{path.name}"\n' for path in sorted(tmp_path.glob("*.h")))
    (tmp_path / "main.cpp").write_text(f"{includes}int main() {{\n{body}return 0;\n}}\n")
    command = ["c++", "-O1", *STRICT[:-1], "main.cpp", "-o", "main"]
    compiled = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert compiled.returncode == 0, compiled.stderr
    assert subprocess.run([tmp_path / "main"], check=False).returncode == 0


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js: exported JavaScript is not run")
def test_javascript_computes_the_logits_after_every_step(tmp_path: Path) -> None:
    found, x = networks(), inputs()
    raw = x * torch.tensor(STANDARDIZATION.scale) + torch.tensor(STANDARDIZATION.mean)
    exact = (raw.double() - torch.tensor(STANDARDIZATION.mean)) / torch.tensor(STANDARDIZATION.scale)
    for name, network in found.items():
        (tmp_path / f"{name}.mjs").write_text(
            to_js(network, name=name, classes=CLASSES[: len(network.W_out)], standardization=STANDARDIZATION)
        )
    (tmp_path / "symbol.mjs").write_text(to_js(found["lstm"]))
    script = f"""const found = {{}};
        for (const name of {json.dumps([*found])}) {{
            const {{ init, step, CLASSES }} = await import(`./${{name}}.mjs`);
            const state = init();
            found[name] = {{ CLASSES, logits: {json.dumps(raw.tolist())}.map((x) => Array.from(step(state, x))) }};
        }}
        const {{ init, symbol }} = await import("./symbol.mjs");
        found.symbol = Array.from(symbol(init(), 1));
        console.log(JSON.stringify(found));"""
    (tmp_path / "main.mjs").write_text(script)
    ran = subprocess.run(["node", "main.mjs"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    for name, network in found.items():
        assert np.array(result[name]["logits"]) == pytest.approx(exact_logits(network, exact), abs=2e-6), name
        assert result[name]["CLASSES"] == list(CLASSES[: len(network.W_out)])
    one_hot = torch.tensor([[0.0, 1.0, 0.0]])
    assert np.array(result["symbol"]) == pytest.approx(exact_logits(found["lstm"], one_hot)[0], abs=2e-6)


class OwnCell(nn.Module):
    """A cell of torch."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(input_size, hidden_size)

    def forward(self, x: torch.Tensor, state: torch.Tensor | None) -> torch.Tensor:
        return self.cell(x, state)


def own_network() -> RecurrentClassifier:
    from reviver.recurrent.custom_cells import CellClassifier
    from reviver.settings.lstm_network import LSTMClassifierSpec
    from reviver.settings.parts import CustomClass

    return CellClassifier(CustomClass(OwnCell), LSTMClassifierSpec(input_size=3, hidden_size=5, num_classes=4))


def test_what_cannot_be_exported_says_why() -> None:
    infinite = LSTMClassifier(3, 4, 2)
    infinite.W_out.data[0, 0] = torch.inf
    large = LSTMClassifier(3, 4, 2)
    large.W_out.data[0, 0] = 1e6
    for network, options, message in (
        (LSTMClassifier(3, 4, 2, bidirectional=True), {}, "bidirectional must be False"),
        (LSTMClassifier(3, 4, 2, precision="bf16"), {}, "precision must be fp32"),
        (own_network(), {}, "cell must be a text"),
        (infinite, {}, "finite weights"),
        (infinite, {"weights": "int8"}, "finite weights"),
        (large, {"weights": "fp16"}, "beyond 65504"),
        (large, {"weights": "int4"}, "weights must be"),
    ):
        with pytest.raises(ConfigError, match=message):
            to_c(network, **options)  # type: ignore[arg-type]


def test_steps_have_the_logits_of_the_whole_sequences() -> None:
    x = torch.randn(4, 11, 3, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        for name, network in {**networks(), "own": own_network().eval()}.items():
            state, stream = None, network.stream()
            for t in range(x.shape[1]):
                logits, state = network.step(x[:, t], state)
                whole = network(x[:, : t + 1])
                torch.testing.assert_close(logits, whole, rtol=0, atol=1e-6, msg=name)
                torch.testing.assert_close(stream(x[1, t]), whole[1], rtol=0, atol=1e-6, msg=name)


def test_steps_refuse_what_they_cannot_do() -> None:
    with pytest.raises(ConfigError, match="bidirectional must be False"):
        LSTMClassifier(3, 4, 2, bidirectional=True).eval().step(torch.zeros(1, 3))
    with pytest.raises(ConfigError, match="eval mode"):
        LSTMClassifier(3, 4, 2, hidden_dropout=0.1).step(torch.zeros(1, 3))
    network = LSTMClassifier(3, 4, 2)
    _, state = network.step(torch.zeros(2, 3))
    for x in (torch.zeros(3), torch.zeros(2, 4), torch.zeros(1, 3)):
        with pytest.raises(DataError, match=re.escape("x must be a step [2, 3]")):
            network.step(x, state)


def test_a_graph_of_one_step_has_the_logits_of_the_whole_sequence() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    x = torch.randn(2, 12, 3, generator=torch.Generator().manual_seed(3))
    raw = x * torch.tensor(STANDARDIZATION.scale) + torch.tensor(STANDARDIZATION.mean)
    found = networks()
    for pooling in ("last", "mean", "max", "attention"):
        found[f"patches_{pooling}"].rnn.hidden_dropout = 0.0  # type: ignore[union-attr]  # zoneout has no node
    for name, network in found.items():
        k = network.patch_size
        graph = step_graph(network, standardization=STANDARDIZATION)
        session = onnxruntime.InferenceSession(graph.model("step", "", {}).SerializeToString())
        states = {port.name: np.zeros((2, port.shape[1]), np.float32) for port in graph.inputs[1:]}
        for t in range(0, 12, k):
            feed = {"x": raw[:, t : t + k].flatten(1).numpy(), **states}
            results = dict(zip([port.name for port in graph.outputs], session.run(None, feed), strict=True))
            states = {name: results[f"{name}_after"] for name in states}
            standard = (raw[:, : t + k] - torch.tensor(STANDARDIZATION.mean)) / torch.tensor(STANDARDIZATION.scale)
            with torch.no_grad():
                whole = network(standard).numpy()
            assert results["logits"] == pytest.approx(whole, abs=2e-6), name


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits"
    config = LSTMConfig(length=5, epochs=1, data_size=100, batch_size=20, hidden_size=6, encoding="onehot", cell="gru")
    train(config, str(folder), progress=False)
    return folder


def test_the_command_exports_code(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["c", "--weights", "int8", "--out", f"{tmp_path}/digits.h"],
        ["js", "--out", f"{tmp_path}/digits.mjs"],
    ):
        assert main(["export", str(run), "--format", *words, "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        code = Path(result["out"]).read_text()
        assert result["bytes"] == len(code.encode())
        for part in ("predict the last digit", "Validation accuracy", "r = sigmoid(W_r @ x"):
            assert part.lower() in code.lower()
    assert "digits_symbol(&state, k, logits)" in (tmp_path / "digits.h").read_text()
    assert main(["export", str(run), "--format", "onnx", "--step", "--out", f"{tmp_path}/step.onnx", "--json"]) == 0
    assert [port["name"] for port in json.loads(capsys.readouterr().out)["inputs"]] == ["x", "h0"]
    for words, message in (
        (["js", "--weights", "int8"], "--weights must be left out"),
        (["c", "--step"], "--step must be left out"),
        (["c", "--out", "net.txt"], "--out must end with .h or .c"),
    ):
        assert main(["export", str(run), "--format", *words]) == 2
        assert message in capsys.readouterr().err


def test_predictions_of_a_stream(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("1\n2\n\n1\n"))
    assert main(["lstm", "predict", str(run), "--stream", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["line"] for line in lines] == [1, 2, 4]
    assert lines[0]["probabilities"] == lines[2]["probabilities"] != lines[1]["probabilities"]
    assert main(["lstm", "predict", str(run), "1 2", "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert lines[1]["probabilities"] == pytest.approx(whole["probabilities"], abs=1e-6)
    monkeypatch.setattr("sys.stdin", io.StringIO("1\n12\n"))
    assert main(["lstm", "predict", str(run), "--stream"]) != 0
    assert "stdin, line 2: must be a number from 0 to 9" in capsys.readouterr().err
    assert main(["lstm", "predict", str(run)]) == 2


@needs_compiler
def test_the_programs_of_the_docs_compile(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "deploy.md").read_text(encoding="utf-8")
    desktop, board = re.findall(r"```c\n(.*?)```", page, re.DOTALL)
    (tmp_path / "gesture.h").write_text(to_c(networks()["gru"], name="gesture", classes=CLASSES))
    (tmp_path / "board.h").write_text("void read_sensor(float *x);\nvoid set_led(int on);\n")
    for name, code in (("main", desktop), ("board", board)):
        (tmp_path / f"{name}.c").write_text(code)
        flags = ["-c"] if name == "board" else []
        command = [str(COMPILER), "-std=c99", *STRICT, *flags, f"{name}.c", "-o", name]
        compiled = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert compiled.returncode == 0, compiled.stderr
    ran = subprocess.run([tmp_path / "main"], input="1 2 3 0.5 0 1", capture_output=True, text=True, check=True)
    assert len(ran.stdout.splitlines()) == 2
    assert set(ran.stdout.splitlines()) <= set(CLASSES)
