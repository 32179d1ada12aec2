"""What the explorer shows of an LSTM run.

Shapes: T time, I input size, C classes.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from reviver.data.build import SequenceData
from reviver.explorer.blocks import Blocks, Encoded, encode_weights, rounding_of
from reviver.explorer.facts import can_run, lstm_facts, to_columns
from reviver.explorer.lstm_examples import ExampleInputs, channel_names, collect_examples
from reviver.explorer.manifest import LstmContent, LstmStage, RecordedLstm, RunName
from reviver.recurrent.classifier import LSTMClassifier, RecurrentClassifier
from reviver.rng import make_rng
from reviver.settings.tasks import TargetKind
from reviver.train.lstm.snapshots import read_snapshots
from reviver.train.lstm.summary import find_metrics
from reviver.train.opened import OpenedRun

SETTINGS = (
    *("cell", "task", "encoding", "hidden_size", "num_layers"),
    *("bidirectional", "pooling", "hidden_dropout", "hidden_dropout_kind"),
)
"""Settings that the page shows as they are."""
NUM_RANDOM, RANDOM_STEPS = 20, 100
"""Number and steps of the random sequences that measure the rounding where there are no examples."""


def collect_lstm(run: OpenedRun, blocks: Blocks, id_: str, *, name: RunName, with_data: bool = True) -> RecordedLstm:
    """Return what the explorer shows of an LSTM run, and add its weights to `blocks`, with the prefix `id_`."""
    config, task = run.config, run.task
    data = SequenceData.of_task(config, task)
    records: dict[str, Any] = {
        "id": id_,
        "name": name.name,
        "target": task.target,
        "output_size": task.output_size,
        "metrics": to_columns(run.metrics),
    }
    if not can_run(run):  # of its code, only the task has run
        return RecordedLstm(**records, facts=lstm_facts(run, data))
    network = run.network
    is_confidential = config.task == "custom" and not with_data
    examples = ExampleInputs([], [], "the page was written without data") if is_confidential else collect_examples(run)
    size = NUM_RANDOM, RANDOM_STEPS, task.input_size  # of standard normal numbers, which standardized data resemble
    x = examples.x or list(torch.randn(size, generator=make_rng(config.seed, "rounding")))
    output = "predicted number" if task.target == "number" else "class probability"
    unit = f"{output}, of {'the examples' if examples.x else 'random numbers'}"
    stages, rounding = [], []
    for index, (label, trained) in enumerate(choose_stages(run).items()):
        tensors, rounded = round_weights(trained)
        stages.append(LstmStage(label=label, weights=blocks.add_tensors(f"{id_}-stage-{index}", tensors)))
        exact, found = (outputs(network, x, task.target) for network in (trained, rounded))
        rounding.append(rounding_of(label, unit, found, exact))
    return LstmContent(
        **records,
        run_argument=name.argument,
        **{setting: getattr(config, setting) for setting in SETTINGS},
        rule=task.definition.rule,
        input_kind="symbols" if task.definition.symbols else "numbers",
        noun=task.definition.noun if task.definition.symbols else "value",
        symbol_names=task.definition.symbols or (),
        input_size=task.input_size,
        channel_names=channel_names(run),
        class_names=data.classes or (),
        patch_size=network.patch_size if isinstance(network, RecurrentClassifier) else 1,
        length=data.length,
        standardization=data.standardization,
        stages=stages,
        examples=examples.examples,
        facts=lstm_facts(run, data, examples, rounding),
    )


def choose_stages(run: OpenedRun) -> dict[str, RecurrentClassifier]:
    """Return the networks of the first and the middle snapshot of a run, if there are any, and the trained one, by name."""
    metrics = find_metrics(run)
    epoch = metrics["epoch"] if metrics else 0
    earlier = [snapshot for snapshot in read_snapshots(run.folder, run.network) if snapshot.step < run.step]
    middle = min(earlier[1:], key=lambda snapshot: abs(snapshot.epoch - epoch / 2), default=None)
    stages = {f"epoch {snapshot.epoch}": snapshot.network for snapshot in (*earlier[:1], middle) if snapshot}
    name = f"update {run.step:,}"
    if metrics and metrics["step"] == run.step:
        name = f"epoch {epoch}, the best" if run.checkpoint == "best" else f"epoch {epoch}"
    return {**stages, name: run.network}


@torch.no_grad()
def round_weights(network: RecurrentClassifier) -> tuple[dict[str, Encoded], RecurrentClassifier]:
    """Return the weights of a network by name, matrices in half precision, and a float64 network with what they are."""
    tensors, rounded = encode_weights(network.weights_by_name())
    computed = copy.deepcopy(network).double()
    for name, weight in computed.weights_by_name().items():
        weight.copy_(rounded[name])
    if isinstance(computed, LSTMClassifier):  # the page does not round to bfloat16
        computed.precision = "fp32"
    return tensors, computed


@torch.no_grad()
def outputs(network: RecurrentClassifier, x: Sequence[Tensor], target: TargetKind) -> Tensor:
    """Return all probabilities, or numbers, of a network for sequences [T, I], in float64."""
    found = []
    for sequence in x:
        batch = sequence.to(network.W_out).unsqueeze(0)  # [1, T, I]
        y = network(batch, every_step=target == "class at every step").double()
        found.append((y if target == "number" else y.softmax(-1)).flatten())
    return torch.cat(found)
