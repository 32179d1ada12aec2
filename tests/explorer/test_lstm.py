"""LSTM runs in the explorer: the traces of the page against Python's, and what Python embeds of runs of every kind.

The page's modules run in Node.js: web/tests/lstm.ts.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from reviver import RNNClassifier
from reviver.data.task import mean_loss
from reviver.errors import RunFolderError
from reviver.explorer import lstm_examples
from reviver.explorer.blocks import Blocks
from reviver.explorer.lstm import collect_lstm, round_weights
from reviver.explorer.lstm_examples import MAX_EXAMPLES, collect_examples
from reviver.explorer.manifest import LstmContent
from reviver.explorer.page import name_runs
from reviver.recurrent.classifier import RecurrentClassifier
from reviver.recurrent.dropout import apply_dropout, dropout_masks
from reviver.recurrent.grammar import load_cell
from reviver.recurrent.lstm_step import LSTMState, lstm_step
from reviver.recurrent.reference import step
from reviver.run import LSTMRun, load
from reviver.settings.tasks import DEFINITIONS, TASKS
from tests.damage import edit_json
from tests.explorer.edits import inflate, read_tensors
from tests.explorer.node import compute, needs_node

DIGITS = list("0123456789")
NAMES = {
    "copy": ["blank", *"12345678", "delimiter"],
    "adding": ["number", "marker"],
    "order": ["start", "end", *"XYabcd"],
    "parity": ["0", "1"],
    **{
        name: list(DEFINITIONS[name].symbols or ())
        for name in ("modular", "permutations", "counting", "nesting", "associative-recall")
    },
    "rows": [f"column {index}" for index in range(1, 29)],
    "pixels": ["pixel"],
    "custom": ["channel 1", "channel 2"],
    **dict.fromkeys(("palindrome", "zoneout", "variational", "attention", "mean", "rnn", "bf16", "gru", "own"), DIGITS),
}
"""Names of the symbols or channels of the small runs."""


@dataclass(frozen=True)
class Shown:
    """A run, what the explorer shows of it, and the weights of its stages."""

    run: LSTMRun
    content: LstmContent
    weights: list[dict[str, list[float]]]


def collect(path: Path, *, with_data: bool = True) -> Shown:
    run, blocks = load(path), Blocks()
    assert isinstance(run, LSTMRun)
    content = collect_lstm(run, blocks, "lstm-0", name=name_runs([path])[0], with_data=with_data)
    data = {name: inflate(text) for name, text in blocks.texts.items()}
    stages = [read_tensors(data, stage.weights.model_dump()) for stage in content.stages]
    return Shown(run, content, [{name: t.flatten().float().tolist() for name, t in stage.items()} for stage in stages])


@pytest.fixture(scope="module")
def shown(small_page: Path) -> dict[str, Shown]:
    """Return what the explorer shows of the small runs."""
    return {name: collect(small_page.parent / name) for name in NAMES}


def request(shown: Shown, seed: int | None, **changes: Any) -> dict[str, Any]:
    """Return what the page traces: the first example of a run, without dropout or with the masks of a seed."""
    content = json.loads(shown.content.model_dump_json(by_alias=True))
    example = content["examples"][0]
    asked = {"content": content, "weights": shown.weights[-1], "values": example["values"], "target": example["target"]}
    return asked | {"seed": None if seed is None else str(seed)} | changes


def masks_of(run: LSTMRun, cell: int, steps: int, seed: int | None) -> Tensor | None:
    """Return the masks [S, 1, H] of a cell; without a seed, those of zoneout in eval mode."""
    p, kind, size = run.config.hidden_dropout, run.config.hidden_dropout_kind, run.config.hidden_size
    if seed is None:
        return torch.full((steps, 1, size), 1 - p, dtype=torch.float64) if kind == "zoneout" else None
    bits = (seed + cell) % 2**64  # the seeds of the cells, in the order of the state, are s, s + 1, ... modulo 2⁶⁴
    return dropout_masks(torch.tensor(bits - 2**64 if bits >= 2**63 else bits), steps, 1, size, p, kind)


def trace_cell(
    run: LSTMRun, network: RecurrentClassifier, index: int, x: Tensor, seed: int | None
) -> dict[str, list[Tensor]]:
    """Return all steps of a cell for its input x [S, 1, I], in the order of x."""
    masks = masks_of(run, index, len(x), seed)
    h = c = torch.zeros(1, run.config.hidden_size, dtype=torch.float64, requires_grad=True)
    cell = load_cell(run.config.cell)
    state = dict.fromkeys(cell.states, h)
    steps: dict[str, list[Tensor]] = {name: [] for name in cell.quantities}
    is_backward = run.config.bidirectional and index % 2 == 1
    for t in reversed(range(len(x))) if is_backward else range(len(x)):
        before = h
        if isinstance(network, RNNClassifier):
            mask = None if masks is None else masks[t]
            state = step(cell, network.rnn.weights(index), x[t], state, mask, network.rnn.options)
            for name, values in steps.items():
                values.append(state[name])
        else:
            w = network.lstm.all_stacked_weights()[index].by_gate()
            (h, c), gates = lstm_step(x[t], LSTMState(h, c), w)
            for name in "ifgo":
                steps[name].append(getattr(gates, name))
            if masks is not None:
                h = apply_dropout(h, before, masks[t], run.config.hidden_dropout_kind)
            steps["c"].append(c)
            steps["h"].append(h)
    return {name: values[::-1] if is_backward else values for name, values in steps.items()}


def trace_run(shown: Shown, x: Tensor, seed: int | None) -> tuple[list[dict[str, list[Tensor]]], Tensor, Tensor]:
    """Trace the rounded network of a run for a sequence x [1, T, I].

    Returns:
        The steps of each cell by name, [1, H] each, the outputs and the loss, all of them for autograd.
    """
    run, example = shown.run, shown.content.examples[0]
    _, network = round_weights(run.network)
    cells: list[dict[str, list[Tensor]]] = []
    inputs = network.patch(x, None)[0].transpose(0, 1)  # [S, 1, I]
    for _ in range(run.config.num_layers):
        directions = range(2 if run.config.bidirectional else 1)
        layer = [trace_cell(run, network, len(cells) + k, inputs, seed) for k in directions]
        cells += layer
        inputs = torch.cat([torch.stack(cell["h"]) for cell in layer], dim=-1)  # [S, 1, D·H]
    if run.task.target == "class at every step":
        top = inputs.transpose(0, 1)
    elif run.config.pooling == "last":
        top = torch.cat([layer[0]["h"][-1], *(cell["h"][0] for cell in layer[1:])], -1)
    else:
        top = network.pool(inputs.transpose(0, 1), None)
    outputs = top @ network.W_out.T + network.b_out
    kind = torch.float64 if run.task.target == "number" else torch.int64
    return cells, outputs, mean_loss(run.task.target, outputs, torch.tensor([example.target], dtype=kind))


def close(found: list[float], expected: Tensor) -> None:
    expected = expected.detach().flatten().double()
    torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), expected, rtol=1e-10, atol=1e-12)


@pytest.fixture(scope="module")
def traces(shown: dict[str, Shown]) -> dict[tuple[str, int | None], Any]:
    """Return the traces of the page of all runs, without dropout and with masks."""
    cases = [(name, seed) for name in NAMES for seed in (None, 2**63 - 2)]
    return dict(zip(cases, compute("lstm", [request(shown[name], seed) for name, seed in cases]), strict=True))


@needs_node
@pytest.mark.parametrize("seed", [None, 2**63 - 2], ids=["plain", "masks"])
@pytest.mark.parametrize("name", NAMES)
def test_the_page_traces_what_python_computes(
    name: str, seed: int | None, shown: dict[str, Shown], traces: Any
) -> None:
    run, result = shown[name].run, traces[name, seed]
    sequence = collect_examples(run).x[0].double()
    x = torch.tensor(result["x"], dtype=torch.float64).view(1, *sequence.shape)
    torch.testing.assert_close(x[0], sequence, rtol=0, atol=2e-6)
    found, (cells, outputs, loss) = result["trace"], trace_run(shown[name], x, seed)
    states = ["h", "c"] if run.config.cell == "lstm" else ["h"]
    gradients = torch.autograd.grad(loss, [h for cell in cells for key in states for h in cell[key]])
    norms = iter([gradient.norm() for gradient in gradients])
    for index, (cell, values) in enumerate(zip(found["cells"], cells, strict=True)):
        directions = 2 if run.config.bidirectional else 1
        assert (cell["layer"], cell["direction"] == "backward") == divmod(index, directions)
        for key, steps in values.items():
            close(cell["values"][key], torch.cat(steps))
        for key in states:
            close(cell["norms"][key], torch.tensor([next(norms) for _ in values[key]]))
        masks = masks_of(run, index, found["steps"], seed)
        assert cell["mask"] == (None if masks is None else masks.flatten().tolist())  # the same bits
    is_number, at_every_step = run.task.target == "number", run.task.target == "class at every step"
    output = outputs if is_number else outputs.softmax(-1)
    close(found["output"], output[0, -1] if at_every_step else output)
    close([found["loss"]], loss)
    if at_every_step:
        close(found["outputs"], output)
    elif run.config.pooling != "last" or shown[name].content.patch_size != 1 or run.config.bidirectional:
        assert found["outputs"] is None
    elif seed is None:
        _, network = round_weights(run.network)
        with torch.no_grad():
            after = torch.cat([network(x[:, : t + 1]) for t in range(x.shape[1])])
        close(found["outputs"], after if is_number else after.softmax(-1))
    assert (found["attention"] is not None) == (run.config.pooling == "attention")
    assert sum(found["attention"] or [1]) == pytest.approx(1)


@pytest.mark.parametrize("name", NAMES)
def test_the_manifest_describes_the_run(name: str, shown: dict[str, Shown]) -> None:
    run, content = shown[name].run, shown[name].content
    is_symbolic, names = content.input_kind == "symbols", NAMES[name]
    assert {found.content.task for found in shown.values()} == set(TASKS)
    assert len(content.class_names) == (0 if content.target == "number" else content.output_size)
    assert list(content.symbol_names if is_symbolic else content.channel_names) == names
    assert content.input_size == (1 if is_symbolic and content.encoding == "scalar" else len(names))
    assert 2 <= len(content.examples) <= MAX_EXAMPLES
    for example in content.examples:
        assert len(example.values) % (1 if is_symbolic else content.input_size) == 0 < len(example.values)
        assert not is_symbolic or set(example.values) <= set(range(len(names)))
    assert len(content.facts.rounding) == len(content.stages)
    for rounding in content.facts.rounding:
        assert 0 < rounding.mean <= rounding.max <= 1e-2
        assert rounding.mean <= (1e-3 if content.target == "number" else 1e-4) or name == "bf16"
    accuracy, loss = content.facts.scores[:2]
    assert accuracy.value.endswith("%")
    assert loss.noise == f"{run.task.baseline(run.config.length):.4g}"
    assert ("arithmetic of the run" in {fact.label for fact in content.facts.run}) == (name == "bf16")


def test_the_examples_are_those_of_the_task(shown: dict[str, Shown], monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(example.target == example.values[0] for example in shown["palindrome"].content.examples)
    for example in shown["adding"].content.examples:
        pairs = torch.tensor(example.values).view(-1, 2)
        assert pairs[:, 1].sum() == 2
        assert example.target == pytest.approx(pairs.prod(1).sum().item(), abs=2e-6)
    assert [example.target for example in shown["rows"].content.examples[:5]] == [7, 2, 1, 0, 4]
    assert {"images: mnist", "code of this page"} <= {fact.label for fact in shown["rows"].content.facts.licenses}
    monkeypatch.setattr(lstm_examples, "MAX_LENGTH", 10)
    shorter = collect_examples(shown["parity"].run)
    assert {len(example.values) for example in shorter.examples} == {10}
    assert shorter.text == "fresh sequences of length 10, the run is trained for 12"


def test_custom_numbers_are_as_in_the_file_while_it_is_there(shown: dict[str, Shown], tmp_path: Path) -> None:
    run, content = shown["custom"].run, shown["custom"].content
    table = Path(str(run.config.data))
    with np.load(table) as file:
        rows = [row[:length] for row, length in zip(file["x"], file["lengths"], strict=True)]
    for example in content.examples:
        values = np.array(example.values).reshape(-1, 2)
        assert any(row.shape == values.shape and np.allclose(row, values, rtol=1e-5) for row in rows)
    assert {example.target for example in content.examples} == {0, 1}  # though the file is sorted
    assert collect(run.folder.path, with_data=False).content.examples == []
    assert next(fact for fact in content.facts.run if fact.label == "data").value == "table.npz"
    folder = shutil.copytree(run.folder.path, tmp_path / "run")
    edit_json(folder / "run.json", config={"data": str(tmp_path / "table.npz")})
    content = collect(folder).content
    assert content.examples == []
    fact = next(fact for fact in content.facts.run if fact.label == "examples in this page")
    assert (fact.value, fact.note) == ("none", "table.npz is missing, or has changed since the training")
    assert content.standardization is not None
    assert content.facts.rounding[0].unit == "class probability, of random numbers"
    assert str(tmp_path) not in content.model_dump_json(exclude={"run_argument"})


def test_the_stages_are_the_first_the_middle_and_the_last(shown: dict[str, Shown], tmp_path: Path) -> None:
    run, content = shown["palindrome"].run, shown["palindrome"].content
    first, _, last = shown["palindrome"].weights
    assert [stage.label for stage in content.stages] == ["epoch 1", "epoch 10", "epoch 20"]
    assert first["lstm.layers.0.b_f"] != last["lstm.layers.0.b_f"]
    assert last["b_out"] == run.network.b_out.tolist()
    folder = shutil.copytree(run.folder.path, tmp_path / "run")
    snapshot = min((folder / "snapshots").iterdir())
    snapshot.write_bytes(snapshot.read_bytes()[:100])
    with pytest.raises(RunFolderError, match=snapshot.name):
        collect(folder)
    shutil.rmtree(folder / "snapshots")
    (folder / "metrics.jsonl").write_text("", encoding="utf-8")  # as if stopped within the first epoch
    content = collect(folder).content
    (stage,) = content.stages  # the trained network alone
    assert stage.label == "update 60"
    assert "no complete epoch" in content.facts.scores_note
    best = next(record for record in shown["zoneout"].run.metrics if record["step"] == shown["zoneout"].run.step)
    assert shown["zoneout"].content.stages[-1].label == f"epoch {best['epoch']}, the best"
