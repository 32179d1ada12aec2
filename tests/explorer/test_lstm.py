"""LSTM runs in the explorer: the traces of the page against Python's, and what Python embeds of runs of every kind.

The page's modules run in Node.js: web/tests/lstm.mjs.
"""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic.alias_generators import to_camel
from torch import Tensor
from torch.nn import functional

from reviver.data.tasks.task import mean_loss
from reviver.errors import RunFolderError
from reviver.explorer import lstm_examples
from reviver.explorer.blocks import Blocks
from reviver.explorer.lstm import cell_seed, collect_lstm, round_weights, weights_by_name
from reviver.explorer.lstm_examples import MAX_EXAMPLES, choose, collect_examples
from reviver.explorer.manifest import LstmContent, TensorBlock
from reviver.explorer.naming import name_runs
from reviver.lstm.cell import LSTMState, lstm_step
from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.dropout import apply_dropout, dropout_masks, hidden_masks
from reviver.lstm.rnn import RNNClassifier
from reviver.settings.lstm import TASKS, LSTMConfig
from reviver.settings.lstm_network import LSTMOptions
from reviver.show.trace import trace
from reviver.train.loading import load
from reviver.train.lstm.run import LSTMRun
from reviver.train.lstm.training import train
from tests.explorer.edits import inflate, read_tensors

NODE = shutil.which("node")
SCRIPT = Path(__file__).parents[2] / "web" / "tests" / "lstm.mjs"
needs_node = pytest.mark.skipif(
    NODE is None, reason="no Node.js: the traces of the page are not compared with Python's"
)

GATES = "ifgo"


@dataclass(frozen=True)
class Case:
    """A network, and a sequence that the page and Python trace.

    `classes` of None is a number. `seed` of None is no dropout.
    """

    steps: int = 7
    input_size: int = 3
    hidden_size: int = 5
    num_layers: int = 1
    bidirectional: bool = False
    pooling: Any = "last"
    patch_size: int = 1
    kind: Any = "step"
    p: float = 0.3
    seed: int | None = None
    target: Any = "class"
    cell: str = "lstm"
    with_target: bool = True

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    def network(self) -> LSTMClassifier | RNNClassifier:
        size, rng = 1 if self.target == "number" else 4, torch.Generator().manual_seed(0)
        sizes, dropout = (self.input_size, self.hidden_size, size), {"hidden_dropout": self.p}
        network: LSTMClassifier | RNNClassifier
        if self.cell == "rnn":
            network = RNNClassifier(*sizes, **dropout)
        else:
            options = {name: getattr(self, name) for name in ("bidirectional", "pooling", "patch_size")}
            network = LSTMClassifier(*sizes, self.num_layers, **options, **dropout, hidden_dropout_kind=self.kind)
        for parameter in network.parameters():  # also those that begin as 0, exact in float32
            torch.nn.init.uniform_(parameter, -0.8, 0.8, generator=rng)
        return network.double().eval()

    def sequence(self) -> tuple[Tensor, Tensor]:
        rng = torch.Generator().manual_seed(1)
        x = torch.randn(1, self.steps, self.input_size, generator=rng, dtype=torch.float64)
        if self.target == "number":
            return x, torch.tensor([0.7], dtype=torch.float64)
        size = (1, self.steps) if self.target == "class at every step" else (1,)
        return x, torch.randint(4, size, generator=rng)

    def content(self) -> dict[str, Any]:
        names = ("cell", "target", "input_size", "hidden_size", "num_layers", "bidirectional", "pooling", "patch_size")
        content = {to_camel(name): getattr(self, name) for name in names}
        content |= {"inputKind": "numbers", "encoding": "scalar", "standardization": None}
        content["outputSize"] = 1 if self.target == "number" else 4
        return content | {"hiddenDropout": self.p, "hiddenDropoutKind": self.kind}

    def to_json(self, gate: tuple[int, int, int] | None = None) -> dict[str, Any]:
        x, target = self.sequence()
        return {
            "content": self.content(),
            "weights": {name: value.flatten().tolist() for name, value in weights_by_name(self.network()).items()},
            "values": x.flatten().tolist(),
            "target": target[0].tolist() if self.with_target else None,
            "seed": None if self.seed is None else str(self.seed),
            "steps": self.steps,
            "gate": gate,
        }


def run_page(cases: list[Any], path: Path) -> list[Any]:
    """Return what the modules of the page compute."""
    assert NODE is not None
    (path / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    command = [NODE, str(SCRIPT), str(path / "cases.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    results: list[Any] = json.loads(done.stdout)
    return results


@dataclass(frozen=True)
class Reference:
    """Values of a network by autograd: the steps of each cell, lists of [1, H] by name."""

    cells: list[dict[str, list[Tensor]]]
    outputs: Tensor
    loss: Tensor


def masks_of(case: Case, cell: int, x: Tensor) -> Tensor | None:
    """Return the masks [S, 1, H] of a cell for its input x [S, 1, I]."""
    options = LSTMOptions(hidden_dropout=case.p, hidden_dropout_kind=case.kind)
    if case.seed is not None and case.p:
        return dropout_masks(cell_seed(case.seed, cell), len(x), 1, case.hidden_size, case.p, case.kind)
    return hidden_masks(x, case.hidden_size, options, None)


def trace_cell(case: Case, network: LSTMClassifier | RNNClassifier, index: int, x: Tensor) -> dict[str, list[Tensor]]:
    """Return all steps of a cell for its input x [S, 1, I], in the order of x."""
    masks = masks_of(case, index, x)
    h = c = torch.zeros(1, case.hidden_size, dtype=torch.float64, requires_grad=True)
    steps: dict[str, list[Tensor]] = {name: [] for name in "ifgoch"}
    is_backward = index % case.directions == 1
    for t in reversed(range(len(x))) if is_backward else range(len(x)):
        before = h
        if isinstance(network, RNNClassifier):
            h = torch.tanh(x[t] @ network.W.T + h @ network.U.T + network.b)
        else:
            w = network.lstm.all_stacked_weights()[index].by_gate()
            (h, c), gates = lstm_step(x[t], LSTMState(h, c), w)
            for name in GATES:
                steps[name].append(getattr(gates, name))
            steps["c"].append(c)
        if masks is not None:
            h = apply_dropout(h, before, masks[t], case.kind)
        steps["h"].append(h)
    return {name: values[::-1] if is_backward else values for name, values in steps.items()}


def reference(case: Case) -> Reference:
    network, (x, target) = case.network(), case.sequence()
    inputs = x if isinstance(network, RNNClassifier) else network.patch(x, None)[0]
    inputs = inputs.transpose(0, 1)  # [S, 1, I]
    cells: list[dict[str, list[Tensor]]] = []
    for _ in range(case.num_layers):
        layer = [trace_cell(case, network, len(cells) + k, inputs) for k in range(case.directions)]
        cells += layer
        inputs = torch.cat([torch.stack(cell["h"]) for cell in layer], dim=-1)  # [S, 1, D·H]
    top = inputs.transpose(0, 1)
    if isinstance(network, RNNClassifier):
        outputs = top @ network.W_out.T + network.b_out
        outputs = outputs if case.target == "class at every step" else outputs[:, -1]
    elif case.target == "class at every step":
        outputs = network.output(top)
    elif case.pooling == "last":
        outputs = network.output(
            torch.cat([cells[-case.directions]["h"][-1], *(c["h"][0] for c in cells[-1:] if case.bidirectional)], -1)
        )
    else:
        outputs = network.output(network.pool(top, None))
    return Reference(cells, outputs, mean_loss(case.target, outputs, target))


def close(found: list[float], expected: Tensor) -> None:
    torch.testing.assert_close(
        torch.tensor(found, dtype=torch.float64), expected.detach().flatten().double(), rtol=1e-10, atol=1e-12
    )


CASES = {
    "plain": Case(),
    "no-dropout": Case(p=0.0),
    "deep": Case(num_layers=3),
    "bidirectional": Case(bidirectional=True),
    "deep-bidirectional": Case(num_layers=2, bidirectional=True),
    "zoneout": Case(kind="zoneout", num_layers=2),
    "masks-step": Case(seed=2**63 - 2, num_layers=2),
    "masks-variational": Case(seed=17, kind="variational", bidirectional=True),
    "masks-zoneout": Case(seed=3, kind="zoneout", num_layers=2, bidirectional=True),
    "mean": Case(pooling="mean", seed=5),
    "max": Case(pooling="max", bidirectional=True),
    "attention": Case(pooling="attention", num_layers=2, bidirectional=True, seed=1),
    "patches": Case(patch_size=3, steps=8, seed=4),
    "patches-pooled": Case(patch_size=2, steps=5, pooling="mean", bidirectional=True),
    "number": Case(target="number", seed=8),
    "number-bidirectional": Case(target="number", bidirectional=True),
    "every-step": Case(target="class at every step", seed=9),
    "every-step-bidirectional": Case(target="class at every step", bidirectional=True),
    "rnn": Case(cell="rnn"),
    "rnn-masks": Case(cell="rnn", seed=6),
    "rnn-every-step": Case(cell="rnn", target="class at every step"),
    "one-step": Case(steps=1, bidirectional=True, seed=2),
    "no-target": Case(with_target=False, bidirectional=True),
    "long": Case(steps=300, hidden_size=16, input_size=1),
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the traces of all cases in the page."""
    results = run_page([case.to_json() for case in CASES.values()], tmp_path_factory.mktemp("page"))
    return dict(zip(CASES, results, strict=True))


@needs_node
@pytest.mark.parametrize("name", CASES)
def test_the_page_traces_what_python_computes(name: str, page: dict[str, Any]) -> None:
    case, found = CASES[name], page[name]["trace"]
    expected = reference(case)
    gradients = torch.autograd.grad(
        expected.loss, [value for cell in expected.cells for key in "ch" for value in cell[key]]
    )
    norms = iter([gradient.norm() for gradient in gradients])
    assert found["steps"] == len(expected.cells[0]["h"])
    for index, (cell, values) in enumerate(zip(found["cells"], expected.cells, strict=True)):
        assert (cell["layer"], cell["direction"] == "backward") == divmod(index, case.directions)
        for key, steps in values.items():
            close(cell[key], torch.cat(steps) if steps else torch.zeros(0))
        expected_norms = {key: torch.tensor([next(norms) for _ in values[key]]) for key in "ch"}
        if case.with_target:
            close(cell["gradC"], expected_norms["c"])
            close(cell["gradH"], expected_norms["h"])
        else:
            assert (cell["gradC"], cell["gradH"]) == ([], [])
        mask = masks_of(case, index, torch.zeros(found["steps"], 1, 1, dtype=torch.float64))
        assert cell["mask"] == (None if mask is None else mask.flatten().tolist())  # the same bits
    output = expected.outputs if case.target == "number" else expected.outputs.softmax(-1)
    close(found["output"], output[0, -1] if case.target == "class at every step" else output)
    if case.with_target:
        close([found["loss"]], expected.loss)
    else:
        assert found["loss"] is None
    outputs, network, (x, target) = found["outputs"], case.network(), case.sequence()
    if case.target == "class at every step":
        close(outputs, output)
    elif case.pooling != "last" or case.patch_size != 1:
        assert outputs is None
    elif case.seed is not None:
        assert len(outputs) == case.steps * output.shape[-1]
    elif isinstance(network, LSTMClassifier) and case.target == "class":
        close(outputs, trace(network, x, target).probabilities)
    else:
        with torch.no_grad():
            after = torch.cat([network(x[:, : t + 1]) for t in range(case.steps)])
        close(outputs, after if case.target == "number" else after.softmax(-1))
    if case.pooling == "attention":
        assert sum(found["attention"]) == pytest.approx(1)
        assert len(found["attention"]) == case.steps
    else:
        assert found["attention"] is None


@needs_node
def test_the_prefixes_of_a_bidirectional_network_have_the_masks_of_their_steps(tmp_path: Path) -> None:
    cases = [Case(bidirectional=True, seed=11, steps=steps) for steps in (1, 2, 3, 4)]
    longest = cases[-1].to_json()
    inputs = [{**longest, "values": longest["values"][: 3 * case.steps]} for case in cases]
    *prefixes, whole = run_page(inputs, tmp_path)
    ends = [prefix["trace"]["output"] for prefix in prefixes]
    close(whole["trace"]["outputs"][:12], torch.tensor(ends, dtype=torch.float64))


@needs_node
@pytest.mark.parametrize("kind", ["step", "variational", "zoneout"])
def test_masks_have_the_bits_of_python(kind: Any, tmp_path: Path) -> None:
    seeds = (0, 1, 12345, 2**32, 2**63 - 1, 2**64 - 1)
    probabilities = (0.1, 0.5, 0.999)
    cases = [
        Case(seed=seed, p=p, kind=kind, hidden_size=33, steps=40, num_layers=2) for seed in seeds for p in probabilities
    ]
    inputs = [{**case.to_json(), "weights": None} for case in cases]
    for case, cells in zip(cases, run_page(inputs, tmp_path), strict=True):
        assert case.seed is not None
        for cell, found in enumerate(cells):
            seed = (case.seed + cell + 2**63) % 2**64 - 2**63  # consecutive, modulo 2⁶⁴
            assert found == dropout_masks(torch.tensor(seed), 40, 1, 33, case.p, kind).flatten().tolist()
            assert cell_seed(case.seed, cell).item() == seed


@needs_node
@pytest.mark.parametrize("name", ["deep-bidirectional", "masks-zoneout", "rnn-masks", "patches"])
def test_the_terms_of_a_unit_add_up(name: str, tmp_path: Path) -> None:
    case, unit = CASES[name], 2
    count, steps = case.num_layers * case.directions, reference(case).cells[0]["h"]
    places = [(cell, t, unit) for cell in range(count) for t in (0, 1, len(steps) - 1)]
    network, expected = case.network(), reference(case)
    for place, result in zip(places, run_page([case.to_json(gate) for gate in places], tmp_path), strict=True):
        cell, t, _ = place
        terms, values = result["terms"], {key: torch.stack(v) for key, v in expected.cells[cell].items() if v}
        before = t + 1 if cell % case.directions else t - 1
        is_first = not 0 <= before < len(steps)
        h = torch.zeros(case.hidden_size).double() if is_first else values["h"][before, 0]
        for gate, numbers in terms["gates"].items():
            assert numbers["z"] == pytest.approx(numbers["Wx"] + numbers["Uh"] + numbers["b"])
            activation = torch.tanh if gate in "gh" else torch.sigmoid
            assert numbers["value"] == pytest.approx(activation(torch.tensor(numbers["z"], dtype=torch.float64)).item())
            if isinstance(network, RNNClassifier):
                U, b = network.U, network.b
            else:
                letter = "c" if gate == "g" else gate
                w = network.lstm.all_stacked_weights()[cell].by_gate()
                U, b = getattr(w, f"U_{letter}"), getattr(w, f"b_{letter}")
                assert numbers["value"] == pytest.approx(values[gate][t, 0, unit].item())
            assert numbers["Uh"] == pytest.approx((U[unit] @ h).item(), abs=1e-12)
            assert numbers["b"] == b[unit].item()
        state = terms["h"]
        assert state["value"] == pytest.approx(values["h"][t, 0, unit].item())
        assert state["previous"] == pytest.approx(h[unit].item())
        mask = 1 if state["mask"] is None else state["mask"]
        kept = (1 - mask) * state["previous"] if case.kind == "zoneout" else 0
        assert state["value"] == pytest.approx(mask * state["beforeDropout"] + kept)
        if case.cell == "lstm":
            assert terms["c"]["kept"] + terms["c"]["written"] == pytest.approx(values["c"][t, 0, unit].item())
            assert state["beforeDropout"] == pytest.approx(values["o"][t, 0, unit].item() * state["tanhC"])


@needs_node
def test_the_page_encodes_symbols_and_numbers(tmp_path: Path) -> None:
    case = Case(steps=4)
    one_hot = {**case.content(), "inputKind": "symbols", "encoding": "onehot"}
    scaled = {**case.content(), "standardization": {"mean": [1.0, -2.0, 0.5], "scale": [2.0, 0.25, 1.0]}}
    inputs = [
        {**case.to_json(), "content": one_hot, "values": [2, 0, 1]},
        {**case.to_json(), "content": scaled, "values": [3.0, -2.0, 0.0, -1.0, 1.0, 2.0]},
    ]
    symbols, numbers = run_page(inputs, tmp_path)
    assert symbols["x"] == functional.one_hot(torch.tensor([2, 0, 1]), 3).flatten().tolist()
    assert numbers["x"] == [1.0, 0.0, -0.5, -1.0, 12.0, 1.5]


# Runs

SMALL: dict[str, Any] = {"hidden_size": 6, "epochs": 2, "data_size": 60, "batch_size": 16, "seed": 3}
RUNS: dict[str, dict[str, Any]] = {
    "palindrome": {"task": "palindrome", "length": 6},
    "one-hot": {"task": "palindrome", "length": 4, "encoding": "onehot"},
    "copy": {"task": "copy", "length": 3, "encoding": "onehot"},
    "adding": {"task": "adding", "length": 8},
    "temporal-order": {"task": "temporal-order", "length": 12, "encoding": "onehot"},
    "parity": {"task": "parity", "length": 5},
    "row-mnist": {"task": "row-mnist", "length": 28},
    "pixel-mnist": {"task": "pixel-mnist", "length": 49},
    "custom": {"task": "custom", "bidirectional": True, "patch_size": "auto"},
    "curriculum": {"task": "parity", "length": 12, "curriculum": True, "start_length": 4, "threshold": 0.01},
    "bidirectional": {"bidirectional": True},
    "zoneout": {"hidden_dropout_kind": "zoneout", "num_layers": 2},
    "attention": {"pooling": "attention", "num_layers": 2, "bidirectional": True},
    "patches": {"task": "parity", "length": 7, "patch_size": 3, "pooling": "max"},
    "rnn": {"cell": "rnn"},
    "bf16": {"precision": "bf16"},
    "best": {"patience": 2},
    "long": {"epochs": 20},
}


def write_table(path: Path, channels: int = 2, steps: int = 5, count: int = 40) -> Path:
    rng = np.random.default_rng(0)
    x = rng.normal(1e4, 250.0, (count, steps, channels)).astype(np.float32)
    x[..., -1] /= 1e6  # another scale
    lengths = rng.integers(2, steps + 1, count)
    y = np.array(["left", "right"])[np.arange(count) // (count // 2)]  # sorted by class
    np.savez(path, x=x, y=y, lengths=lengths)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LSTMRun]:
    """Return a small run of every kind."""
    folder = tmp_path_factory.mktemp("runs")
    RUNS["custom"]["data"] = str(write_table(folder / "table.npz"))
    loaded = {}
    for name, settings in RUNS.items():
        train(LSTMConfig(**(SMALL | settings)), folder / name, device="cpu")
        loaded[name] = load_lstm(folder / name)
    return loaded


def load_lstm(path: Path) -> LSTMRun:
    run = load(path)
    assert isinstance(run, LSTMRun)
    return run


def collect(run: LSTMRun) -> tuple[LstmContent, Blocks]:
    blocks = Blocks()
    return collect_lstm(run, blocks, "lstm-0", name=name_runs([run.folder.path])[0]), blocks


def read_block(block: TensorBlock, blocks: Blocks) -> dict[str, list[float]]:
    """Return the numbers of a block as the page decodes them."""
    tensors = read_tensors({block.block: inflate(blocks.texts[block.block])}, block.model_dump())
    return {name: tensor.flatten().float().double().tolist() for name, tensor in tensors.items()}


@needs_node
def test_the_page_computes_every_kind_of_run(runs: dict[str, LSTMRun], tmp_path: Path) -> None:
    assert {run.config.task for run in runs.values()} == set(TASKS)
    cases, expected = [], []
    for run in runs.values():
        content, blocks = collect(run)
        dumped = json.loads(content.model_dump_json(by_alias=True))
        _, network = round_weights(run.network)
        for index in (0, -1):
            example = dumped["examples"][index]
            weights = read_block(content.stages[-1].weights, blocks)
            cases.append(
                {"content": dumped, "weights": weights, "values": example["values"], "target": example["target"]}
                | {"seed": None, "gate": None}
            )
            expected.append((network, collect_examples(run).x[index], example["target"], run.task.target))
    for found, (network, x, target, kind) in zip(run_page(cases, tmp_path), expected, strict=True):
        seen = torch.tensor(found["x"], dtype=torch.float64).view(1, *x.shape)
        torch.testing.assert_close(seen[0], x.double(), rtol=0, atol=2e-6)
        with torch.no_grad():
            outputs = network(seen, every_step=kind == "class at every step")
        targets = torch.tensor([target], dtype=torch.float64 if kind == "number" else torch.int64)
        close([found["trace"]["loss"]], mean_loss(kind, outputs, targets))
        outputs = outputs if kind == "number" else outputs.softmax(-1)
        close(found["trace"]["output"], outputs[0, -1] if kind == "class at every step" else outputs)


@pytest.mark.parametrize("name", RUNS)
def test_the_manifest_describes_the_run(name: str, runs: dict[str, LSTMRun]) -> None:
    run = runs[name]
    content, _ = collect(run)
    config, symbols = run.config, content.input_kind == "symbols"
    assert content.name == name
    assert (content.task, content.target, content.cell) == (config.task, run.task.target, config.cell)
    assert (content.class_names is None) == (content.target == "number")
    assert content.class_names is None or len(content.class_names) == content.output_size
    assert (content.symbol_names is None) == (not symbols)
    assert len(content.channel_names) == (0 if symbols else content.input_size)
    assert list((content.symbol_names if symbols else content.channel_names) or []) == NAMES[config.task]
    if symbols:
        assert content.symbol_names is not None
        assert {value for example in content.examples for value in example.values} <= set(
            range(len(NAMES[config.task]))
        )
        assert content.input_size == (1 if content.encoding == "scalar" else len(content.symbol_names))
    else:
        assert content.encoding == "scalar"
    assert 2 <= len(content.examples) <= MAX_EXAMPLES
    for example in content.examples:
        assert len(example.values) == example.steps * (1 if symbols else content.input_size)
        if content.target == "class at every step":
            assert not isinstance(example.target, int | float)
            assert len(example.target) == example.steps
    assert content.stages[-1].step == run.step
    assert content.stages[-1].validation_accuracy is not None
    assert len(content.facts.rounding) == len(content.stages)
    for rounding in content.facts.rounding:
        assert 0 < rounding.mean <= rounding.max <= 1e-2
        assert rounding.mean <= (1e-3 if content.target == "number" else 1e-4) or name == "bf16"
    accuracy, loss = content.facts.scores[:2]
    assert accuracy.value.endswith("%")
    assert accuracy.noise is not None
    assert loss.noise == f"{run.task.baseline(config.length):.4g}"


NAMES: dict[str, list[str]] = {
    "palindrome": list("0123456789"),
    "copy": ["blank", *"12345678", "delimiter"],
    "temporal-order": ["start", "end", "X", "Y", "a", "b", "c", "d"],
    "parity": ["0", "1"],
    "adding": ["number", "marker"],
    "row-mnist": [f"column {index}" for index in range(1, 29)],
    "pixel-mnist": ["pixel"],
    "custom": ["channel 1", "channel 2"],
}
"""Of the symbols or the channels of each task."""


def test_the_examples_are_those_of_the_task(runs: dict[str, LSTMRun]) -> None:
    content, _ = collect(runs["palindrome"])
    validation = runs["palindrome"].task.validation(6)
    inputs = {tuple(row) for row in validation.digits(0, 5).tolist()}  # type: ignore[attr-defined]
    assert {tuple(example.values) for example in content.examples} <= inputs
    assert all(example.target == example.values[0] for example in content.examples)
    assert content.examples_text == "validation set of the run"
    for example in collect(runs["adding"])[0].examples:
        pairs = torch.tensor(example.values).view(-1, 2)
        assert pairs[:, 1].sum() == 2
        assert example.target == pytest.approx(pairs.prod(1).sum().item(), abs=2e-6)
    content, _ = collect(runs["row-mnist"])
    assert [example.target for example in content.examples[:5]] == [7, 2, 1, 0, 4]
    assert content.examples_text == "the first 20 MNIST test images"
    assert {"images: mnist", "code of this page"} <= {fact.label for fact in content.facts.licenses}
    arithmetic = [name for name, run in runs.items() if "arithmetic of the run" in labels(collect(run)[0])]
    assert arithmetic == ["bf16"]  # the page does not round as this run does


def labels(content: LstmContent) -> set[str]:
    return {fact.label for fact in content.facts.run}


def test_custom_numbers_are_as_in_the_file(runs: dict[str, LSTMRun]) -> None:
    run = runs["custom"]
    content, _ = collect(run)
    with np.load(str(run.config.data)) as file:
        rows = [row[:length] for row, length in zip(file["x"], file["lengths"], strict=True)]
    for example in content.examples:
        values = np.array(example.values).reshape(example.steps, 2)
        assert any(row.shape == values.shape and np.allclose(row, values, rtol=1e-5) for row in rows)
    assert {example.target for example in content.examples} == {0, 1}  # though the file is sorted
    assert content.standardization is not None
    assert content.length == 5
    assert content.patch_size == 1
    assert next(fact for fact in content.facts.run if fact.label == "data").value == "table.npz"


def test_a_missing_file_leaves_a_run_without_examples(runs: dict[str, LSTMRun]) -> None:
    run = runs["custom"]
    table = Path(str(run.config.data))
    table.rename(table.with_suffix(".moved"))
    try:
        content, _ = collect(load_lstm(run.folder.path))
    finally:
        table.with_suffix(".moved").rename(table)
    assert content.examples == []
    assert content.examples_text == "none: table.npz is missing, or has changed since the training"
    assert content.standardization is not None
    assert content.facts.rounding[0].unit == "class probability, of random numbers"
    assert str(table.parent) not in content.model_dump_json(exclude={"run_argument"})


def test_long_runs_have_shorter_examples(runs: dict[str, LSTMRun], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lstm_examples, "MAX_LENGTH", 10)
    content, _ = collect(runs["curriculum"])
    assert {example.steps for example in content.examples} == {10}
    assert content.examples_text == "fresh sequences of length 10, the run is trained for 12"
    assert content.length == 12


def test_a_page_has_a_bounded_number_of_numbers() -> None:
    assert len(choose(torch.full((500,), 784), 1)) == 20
    assert len(choose(torch.full((500,), 1000), 2)) == 10
    assert choose(torch.tensor([5000, 30, 6000, 40]), 1).tolist() == [1, 3]
    assert choose(torch.tensor([1021, 1020]), 1).tolist() == [1]  # the limit itself fits
    assert choose(torch.tensor([2, 2]), 50_000).tolist() == []
    assert choose(torch.arange(1, 101), 1).tolist()[::19] == [0, 99]


# Stages


def test_the_stages_are_the_first_the_middle_and_the_last(runs: dict[str, LSTMRun], tmp_path: Path) -> None:
    run = runs["long"]
    content, blocks = collect(run)
    assert [stage.label for stage in content.stages] == ["epoch 1", "epoch 10", "epoch 20"]
    assert [stage.step for stage in content.stages] == [3, 30, 60]
    metrics = {record["epoch"]: record["validation_accuracy"] for record in run.metrics}
    assert [stage.validation_accuracy for stage in content.stages] == [metrics[epoch] for epoch in (1, 10, 20)]
    first, _, last = (read_block(stage.weights, blocks) for stage in content.stages)
    assert first["lstm.layers.0.b_f"] != last["lstm.layers.0.b_f"]
    assert last["b_out"] == run.network.b_out.tolist()
    folder = shutil.copytree(run.folder.path, tmp_path / "run")
    snapshot = min((folder / "snapshots").iterdir())
    snapshot.write_bytes(snapshot.read_bytes()[:100])
    with pytest.raises(RunFolderError, match=snapshot.name):
        collect(load_lstm(folder))
    shutil.rmtree(folder / "snapshots")
    assert [stage.label for stage in collect(load_lstm(folder))[0].stages] == ["epoch 20"]  # the trained network alone
    (folder / "metrics.jsonl").write_text("", encoding="utf-8")  # as if stopped within the first epoch
    content, _ = collect(load_lstm(folder))
    last_stage = content.stages[-1]
    assert (last_stage.label, last_stage.epoch, last_stage.validation_accuracy) == ("update 60", 0, None)
    assert content.facts.scores == []
    assert "no complete epoch" in content.facts.scores_note


def test_a_run_with_early_stopping_ends_with_its_best_weights(runs: dict[str, LSTMRun]) -> None:
    run = runs["best"]
    content, _ = collect(run)
    best = next(record for record in run.metrics if record["step"] == run.step)
    assert content.stages[-1].label == f"epoch {best['epoch']}, the best"
    assert content.stages[-1].validation_accuracy == best["validation_accuracy"]
    assert all(stage.step < run.step for stage in content.stages[:-1])
