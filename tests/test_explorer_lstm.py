"""LSTM runs in the explorer: what Python embeds, and the traces of the page against Python's."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from reviver.explorer.lstm import cell_seed
from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.dropout import apply_dropout, dropout_masks, hidden_masks
from reviver.lstm.options import LSTMOptions
from reviver.lstm.rnn import RNNClassifier
from reviver.lstm.tasks.task import mean_loss
from reviver.lstm.trace import trace

NODE = shutil.which("node")
SCRIPT = Path(__file__).parents[1] / "web" / "tests" / "lstm.mjs"
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
        if self.cell == "rnn":
            rnn = RNNClassifier(self.input_size, self.hidden_size, size, hidden_dropout=self.p)
            rnn.reset_parameters(rng)
            return rnn.double().eval()
        network = LSTMClassifier(
            self.input_size,
            self.hidden_size,
            size,
            self.num_layers,
            bidirectional=self.bidirectional,
            pooling=self.pooling,
            patch_size=self.patch_size,
            hidden_dropout=self.p,
            hidden_dropout_kind=self.kind,
        )
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
        return {
            "cell": self.cell,
            "target": self.target,
            "inputKind": "numbers",
            "encoding": "scalar",
            "inputSize": self.input_size,
            "outputSize": 1 if self.target == "number" else 4,
            "hiddenSize": self.hidden_size,
            "numLayers": self.num_layers,
            "bidirectional": self.bidirectional,
            "pooling": self.pooling,
            "patchSize": self.patch_size,
            "hiddenDropout": self.p,
            "hiddenDropoutKind": self.kind,
            "standardisation": None,
        }

    def to_json(self, gate: tuple[int, int, int] | None = None) -> dict[str, Any]:
        x, target = self.sequence()
        return {
            "content": self.content(),
            "weights": {name: value.flatten().tolist() for name, value in self.network().state_dict().items()},
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
            (h, c), gates = network.lstm.cells[index](x[t], (h, c))  # type: ignore[arg-type]
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
    if case.target == "class at every step":
        close(found["outputs"], output)


@needs_node
@pytest.mark.parametrize("name", CASES)
def test_the_page_has_the_output_after_each_step(name: str, page: dict[str, Any]) -> None:
    case, found = CASES[name], page[name]["trace"]["outputs"]
    if case.pooling != "last" or case.patch_size != 1:
        assert found is None
        return
    if case.target == "class at every step" or case.seed is not None:
        assert len(found) == case.steps * 4 or case.target == "number"
        return
    network, (x, target) = case.network(), case.sequence()
    if isinstance(network, LSTMClassifier) and case.target == "class":
        close(found, trace(network, x, target).probabilities)
    else:
        with torch.no_grad():
            outputs = torch.cat([network(x[:, : t + 1]) for t in range(case.steps)])
        close(found, outputs if case.target == "number" else outputs.softmax(-1))


@needs_node
def test_the_prefixes_of_a_bidirectional_network_have_the_masks_of_their_steps(tmp_path: Path) -> None:
    cases = [Case(bidirectional=True, seed=11, steps=steps) for steps in (1, 2, 3, 4)]
    longest = cases[-1].to_json()
    inputs = [{**longest, "values": longest["values"][: 3 * case.steps]} for case in cases]
    *prefixes, whole = run_page(inputs, tmp_path)
    ends = [prefix["trace"]["output"] for prefix in prefixes]
    close(whole["trace"]["outputs"][:12], torch.tensor(ends, dtype=torch.float64))


@needs_node
def test_attention_weights_sum_to_one(page: dict[str, Any]) -> None:
    weights = page["attention"]["trace"]["attention"]
    assert sum(weights) == pytest.approx(1)
    assert len(weights) == 7
    assert page["mean"]["trace"]["attention"] is None


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
            expected = dropout_masks(cell_seed(case.seed, cell), 40, 1, 33, case.p, kind)
            assert found == expected.flatten().tolist()


def test_the_seeds_of_the_cells_are_consecutive() -> None:
    assert [cell_seed(5, cell).item() for cell in range(3)] == [5, 6, 7]
    assert cell_seed(2**63 - 1, 1).item() == -(2**63)  # modulo 2⁶⁴
    assert cell_seed(2**64 - 1, 1).item() == 0


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
                cell_module = network.lstm.cells[cell]
                U, b = getattr(cell_module, f"U_{letter}"), getattr(cell_module, f"b_{letter}")
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
    scaled = {**case.content(), "standardisation": {"mean": [1.0, -2.0, 0.5], "scale": [2.0, 0.25, 1.0]}}
    inputs = [
        {**case.to_json(), "content": one_hot, "values": [2, 0, 1]},
        {**case.to_json(), "content": scaled, "values": [3.0, -2.0, 0.0, -1.0, 1.0, 2.0]},
    ]
    symbols, numbers = run_page(inputs, tmp_path)
    assert symbols["x"] == functional.one_hot(torch.tensor([2, 0, 1]), 3).flatten().tolist()
    assert numbers["x"] == [1.0, 0.0, -0.5, -1.0, 12.0, 1.5]


@needs_node
def test_a_thousand_steps_take_well_under_a_second(tmp_path: Path) -> None:
    case = Case(steps=1000, hidden_size=128, input_size=1, seed=1)
    times = [result["milliseconds"] for result in run_page([case.to_json()] * 3, tmp_path)]
    assert min(times) < 1000
