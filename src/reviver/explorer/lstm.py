"""What the explorer shows of an LSTM run.

Shapes: N sequences, T time, I input size, H hidden size.
"""

import torch
from torch import Tensor

from reviver.explorer.blocks import Blocks, encode_f16, encode_f32
from reviver.explorer.columns import to_columns
from reviver.explorer.lstm_facts import lstm_facts
from reviver.explorer.manifest import Example, LstmContent, LstmStage, TensorBlock
from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.describe import SequenceData
from reviver.lstm.run import LSTMRun
from reviver.lstm.tasks.memory import Symbols
from reviver.lstm.training import Network

NUM_EXAMPLES = 20


def collect_lstm(run: LSTMRun, blocks: Blocks, id_: str) -> LstmContent:
    """Return what the explorer shows of an LSTM run, and add its data blocks.

    Args:
        run: the run.
        blocks: get the weights.
        id_: id of the run in the page, the prefix of its blocks.
    """
    config, network, task = run.config, run.network, run.task
    data = SequenceData.of_task(config, task)
    stage = LstmStage(
        label=f"epoch {run.metrics[-1]['epoch']}",
        epoch=run.metrics[-1]["epoch"],
        step=run.step,
        validation_accuracy=run.metrics[-1]["validation_accuracy"],
        weights=embed_lstm(network, blocks, f"{id_}-last"),
    )
    sequences = task.validation(config.length)[:NUM_EXAMPLES]
    first = next(iter(vars(sequences).values()))
    is_symbols = isinstance(sequences, Symbols) or config.task == "palindrome"
    examples = [
        Example(
            values=[round(float(value), 6) for value in first[index].flatten()],
            steps=sequences.steps,
            target=sequences.targets[index].tolist(),
        )
        for index in range(len(sequences))
    ]
    return LstmContent(
        id=id_,
        name=run.folder.path.resolve().name,
        run_argument=str(run.folder.path),
        cell=config.cell,
        task=config.task,
        target=task.target,
        input_text=data.input_text,
        input_kind="symbols" if is_symbols else "numbers",
        encoding=config.encoding,
        symbol_names=[str(symbol) for symbol in range(10)] if is_symbols else None,
        input_size=task.input_size,
        channel_names=[f"channel {index + 1}" for index in range(task.input_size)],
        class_names=data.classes,
        output_size=task.output_size,
        hidden_size=config.hidden_size,
        num_layers=config.num_layers,
        bidirectional=config.bidirectional,
        pooling=config.pooling,
        patch_size=network.patch_size if isinstance(network, LSTMClassifier) else 1,
        hidden_dropout=config.hidden_dropout,
        hidden_dropout_kind=config.hidden_dropout_kind,
        length=config.length,
        standardisation=None,
        stages=[stage],
        examples=examples,
        metrics=to_columns(run.metrics),
        facts=lstm_facts(run, []),
    )


def embed_lstm(network: Network, blocks: Blocks, name: str) -> TensorBlock:
    """Add the weights of a network under the names of its state dict: matrices in half precision, the rest exact."""
    tensors = {
        key: encode_f16(value)[0] if value.dim() > 1 else encode_f32(value)
        for key, value in network.state_dict().items()
    }
    return blocks.add_tensors(name, tensors)


def cell_seed(seed: int, cell: int) -> Tensor:
    """Return the seed of the dropout masks of a cell in the page, as `dropout_masks` takes it, int64, [].

    The cells of a network, in the order of `LSTM.layers`, have the seeds s, s + 1, s + 2, ... modulo 2⁶⁴.
    `dropout_masks(cell_seed(s, 0), T, 1, H, p, kind)` is what the page shows of a single layer for the seed s.
    """
    bits = (seed + cell) % 2**64
    return torch.tensor(bits - 2**64 if bits >= 2**63 else bits)
