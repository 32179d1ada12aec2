"""Measure why a vanilla RNN holds a digit, from its states and weights, over seeds.

Each network reads a digit and then random distractors, without dropout. `runs/held_digit` keeps the trained ones, so the same
command continues after Ctrl-C.

    OMP_NUM_THREADS=1 python -m benchmarks held_digit
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import machine
from reviver.data.palindromes import encode_digits
from reviver.lstm.rnn import RNNClassifier
from reviver.run import load
from reviver.settings.lstm_presets import PRESETS
from reviver.train.lstm.training import train

RUNS = Path(__file__).parents[1] / "runs" / "held_digit"
SEEDS = range(5)
_SCALAR = replace(PRESETS["recall-scalar"], cell="rnn", length=100, last_threshold=None, epochs=62)  # 198 400 sequences
NETWORKS = {
    "one-hot": replace(PRESETS["recall"], cell="rnn"),
    "scalar": _SCALAR,
    "scalar, no dropout": replace(_SCALAR, hidden_dropout=0.0),
}
"""Networks, all trained with a length curriculum."""
STEPS, ROWS, SETTLED = 1000, 20, 100
"""Steps that are read, sequences of each first digit, and the first step at which states are measured."""
APART = 1.0
"""Minimum distance between the mean states of two first digits that count as different."""
DISPLACEMENTS = (0.05, 0.25, 0.5)
"""Displacements, as fractions of the way to the nearest mean state that is different."""


@torch.no_grad()
def run(network: RNNClassifier, x: Tensor, h: Tensor) -> Tensor:
    """Return the hidden states after each step, [T, B, H]."""
    states = []
    for x_t in x.unbind(1):
        h = torch.tanh(x_t @ network.W.T + h @ network.U.T + network.b)
        states.append(h)
    return torch.stack(states)


@torch.no_grad()
def measure(network: RNNClassifier, encoding: str) -> dict[str, Any]:
    """Return the measures of a network. Shapes: 10 first digits d, N sequences of each, T settled steps, H units."""
    rng = torch.Generator().manual_seed(0)
    digits = torch.randint(10, (10, ROWS, STEPS), generator=rng, dtype=torch.uint8)
    digits[:, :, 0] = torch.arange(10)[:, None]
    x = encode_digits(digits.flatten(0, 1), encoding)  # [10 N, STEPS, I]
    states = run(network, x, torch.zeros(len(x), network.hidden_size)).unflatten(1, (10, ROWS))
    right = (states @ network.W_out.T + network.b_out).argmax(-1) == torch.arange(10)[:, None]
    settled = states[SETTLED:]  # [T, 10, N, H]
    means = settled.mean((0, 2))  # [10, H]
    distances = torch.cdist(means, means)
    is_apart = distances > APART
    nearest = torch.where(is_apart, distances, torch.inf).argmin(1)
    signs = means.sign()[:, None]
    is_held = (settled.sign() == signs).all(0).all(1)  # [10, H]: the distractors never change the sign of the unit
    # What the state and the bias give such a unit toward its sign, and what the most adverse digit takes.
    drive = ((settled @ network.U.T + network.b) * signs).amin((0, 2))[is_held]
    inputs = encode_digits(torch.arange(10, dtype=torch.uint8)[:, None], encoding)[:, 0] @ network.W.T  # [10, H]
    push = -(inputs * signs).amin(1)[is_held]
    left = {}
    start = states[SETTLED - 1]  # [10, N, H]
    way = (means[nearest] - means)[:, None]
    for fraction in DISPLACEMENTS:
        moved = run(network, x[:, SETTLED : SETTLED + 100], (start + fraction * way).flatten(0, 1))
        distance = (moved.unflatten(1, (10, ROWS)) - states[SETTLED : SETTLED + 100]).norm(dim=-1)[
            [9, 99]
        ]  # [2, 10, N]
        remaining = distance / (fraction * way.norm(dim=-1))
        left[f"{fraction:.0%}"] = {
            "after_10": remaining[0].mean().item(),
            "returned": (remaining[1] < 0.01).float().mean().item(),
        }
    return {
        "right_at_100": right[SETTLED - 1].float().mean().item(),
        "right_at_1000": right[STEPS - 1].float().mean().item(),
        "different_states": len({tuple(row) for row in (~is_apart).tolist()}),
        "within": (settled - means[:, None]).norm(dim=-1).mean().item(),
        "apart": distances[is_apart].min().item(),
        "held_units": is_held.sum(1).float().mean().item(),
        "drive": drive.median().item(),
        "push": push.median().item(),
        "drive_wins": (drive > push).float().mean().item(),
        "self_weight": network.U.diagonal().mean().item(),
        "spectral_radius": torch.linalg.eigvals(network.U).abs().max().item(),
        "displaced": left,
    }


def main() -> dict[str, Any]:
    """Train and measure all networks."""
    torch.set_flush_denormal(True)
    rows: dict[str, list[dict[str, Any]]] = {}
    for name, config in NETWORKS.items():
        for seed in SEEDS:
            path = RUNS / f"{name.replace(', ', '-').replace(' ', '-')}-seed{seed}"
            train(replace(config, seed=seed), path, device="cpu", resume=(path / "run.json").exists())
            loaded = load(path)
            row = {
                "longest": max(
                    (record["length"] for record in loaded.metrics if record["validation_accuracy"] >= 0.99), default=0
                )
            }
            rows.setdefault(name, []).append(row | measure(loaded.network, config.encoding))
            sys.stderr.write(f"{name}, seed {seed}: {rows[name][-1]}\n")
    return {"title": "Why a vanilla RNN holds a digit", "machine": machine(), "networks": rows}
