"""100 epochs of the preset `original` of the LSTM (T = 5), compared with a training loop over torch.nn.LSTMCell.

Reviver does all that `reviver lstm train` does: validation after each epoch, metrics, checkpoints. The peer only makes
the same 700 updates, with the same dropout on the hidden state at each step.
"""

import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from benchmarks.measure import alternate, machine, ratio, summary
from reviver.data.palindromes import PalindromeTask
from reviver.settings.lstm import LSTMConfig
from reviver.train.lstm.training import train

ROUNDS = 5


def train_ours() -> None:
    """Train the preset `original` into a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        train(LSTMConfig(), Path(folder) / "run", device="cpu")


def train_cells() -> None:
    """Make the same updates with torch.nn.LSTMCell, dropout and a linear layer."""
    config = LSTMConfig()
    data = PalindromeTask(config).splits["train"]
    cell, output = nn.LSTMCell(1, config.hidden_size), nn.Linear(config.hidden_size, 10)
    parameters = [*cell.parameters(), *output.parameters()]
    optimizer = torch.optim.RMSprop(parameters, lr=config.learning_rate)
    for _ in range(config.epochs):
        for indices in torch.randperm(len(data)).split(config.batch_size):
            batch = data[indices]
            h = c = torch.zeros(len(indices), config.hidden_size)
            for x in batch.encode().unbind(1):
                h, c = cell(x, (h, c))
                h = functional.dropout(h, config.hidden_dropout)
            loss = functional.cross_entropy(output(h), batch.targets)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, config.max_norm)
            optimizer.step()


def main() -> dict[str, object]:
    """Return the seconds per run of both, and their ratio."""
    seconds = alternate({"ours": train_ours, "LSTMCell loop": train_cells}, ROUNDS)
    return {
        "title": "100 epochs of the LSTM at T = 5, compared with a loop over torch.nn.LSTMCell",
        "machine": machine(),
        "seconds_per_run": {name: summary(values) for name, values in seconds.items()},
        "ratios": {"ours": ratio(seconds["ours"], seconds["LSTMCell loop"])},
    }
