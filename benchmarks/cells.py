"""Time forward and backward of cells as text with hidden dropout 0.5, in one process and in alternation.

The GRU is compared with `torch.nn.GRU`, which has no dropout inside, and every built-in text with the same text stepped in torch.
Also measured are a whole run of a GRU beside one of the LSTM, the first use of a new text, one step of one sequence, torch.compile,
and sequences of unequal lengths beside `torch.nn.LSTM` on a `PackedSequence`.

    python -m benchmarks cells
"""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from benchmarks.lstm_operator import DROPOUT, SHAPES, Shape, step, time_each
from benchmarks.measure import alternate, machine, ratio, summary
from reviver import RNN
from reviver.recurrent import kernel
from reviver.settings.lstm import LSTMConfig
from reviver.settings.lstm_network import CELLS
from reviver.train.lstm.training import train

STEPPED = SHAPES[1]
ROUNDS = {shape: min(shape.rounds, 30) for shape in SHAPES[:4]}
LENGTHS = ((128, 200, 10, 128, 10), (32, 1000, 10, 128, 5))


def run(layer: nn.Module, x: torch.Tensor, **options: object) -> Callable[[], object]:
    """Return a function that runs a layer forward and backward from its last state."""

    def last() -> torch.Tensor:
        _, state = layer(x, **options)
        return state if isinstance(state, torch.Tensor) else state[0]

    return lambda: step(layer, last)


def stepped(call: Callable[[], object]) -> Callable[[], object]:
    """Return the same, stepped in torch."""

    def in_reference() -> None:
        with kernel.reference():
            call()

    return in_reference


def contenders(shape: Shape) -> dict[str, Callable[[], object]]:
    """What is timed for a shape."""
    x, sizes = torch.randn(shape.T, shape.B, shape.I), (shape.I, shape.H)
    layers: dict[str, nn.Module] = {
        "nn.GRU": nn.GRU(*sizes),
        "text gru": RNN("gru", *sizes, hidden_dropout=DROPOUT),
    }
    return {name: run(layer, x) for name, layer in layers.items()}


def measure_step() -> dict[str, dict[str, float]]:
    """Return the seconds of one step of one sequence, of the GRU as text and of `torch.nn.GRU`."""
    x = torch.randn(1, 1, 10)
    layers = {"text gru": RNN("gru", 10, 64).eval(), "nn.GRU": nn.GRU(10, 64).eval()}
    many = {name: lambda layer=layer: [layer(x) for _ in range(200)] for name, layer in layers.items()}
    with torch.no_grad():
        seconds = time_each(many, 20, time.thread_time)
    return {
        f"One step of one sequence, {name}": summary([one / 200 for one in found]) for name, found in seconds.items()
    }


def measure_compile() -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Return the seconds of the first compiled call of a GRU and of one of another shape, and compiled to eager."""
    layer = RNN("gru", 10, 128, hidden_dropout=DROPOUT)
    compiled, x, seconds = torch.compile(layer, fullgraph=True), torch.randn(50, 64, 10), {}
    for name, batch in (("First compiled call", x), ("Compiled call of another shape", torch.randn(40, 32, 10))):
        started = time.perf_counter()
        run(compiled, batch)()
        seconds[name] = summary([time.perf_counter() - started])
    times = time_each({"compiled": run(compiled, x), "eager": run(layer, x)}, 30)
    return seconds, {"compiled to eager, B, T, I, H = 64, 50, 10, 128": ratio(times["compiled"], times["eager"])}


def measure_stepped(name: str) -> dict[str, float]:
    """Return the ratio of a text to the same stepped in torch."""
    x = torch.randn(STEPPED.T, STEPPED.B, STEPPED.I)
    call = run(RNN(name, STEPPED.I, STEPPED.H, hidden_dropout=DROPOUT), x)
    seconds = time_each({"native": call, "stepped": stepped(call)}, 8)
    return ratio(seconds["native"], seconds["stepped"])


def measure_lengths(B: int, T: int, I: int, H: int, rounds: int) -> dict[str, float]:  # noqa: E741
    """Return the ratio of the text of the LSTM with lengths to `torch.nn.LSTM` packed."""
    x, lengths = torch.randn(T, B, I), torch.randint(1, T + 1, (B,))
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    ours, theirs = RNN("lstm", I, H), nn.LSTM(I, H)
    seconds = time_each({"ours": run(ours, x, lengths=lengths), "packed": run(theirs, packed)}, rounds)
    return ratio(seconds["ours"], seconds["packed"])


def measure_runs() -> dict[str, float]:
    """Return the ratio of a run of the GRU to one of the LSTM, T = 100, with its setup, validation and files."""
    runs: dict[str, Callable[[], object]] = {name: lambda name=name: train_once(name) for name in ("gru", "lstm")}
    seconds = alternate(runs, 5)
    return ratio(seconds["gru"], seconds["lstm"])


def train_once(cell: str) -> None:
    """Train two epochs at T = 100 in a new folder."""
    with TemporaryDirectory() as folder:
        config = LSTMConfig(length=100, encoding="onehot", epochs=2, data_size=2000, hidden_dropout=DROPOUT, cell=cell)
        train(config, Path(folder) / "run")


def first_use() -> float:
    """Return the seconds that the first batch of a new text takes, beyond a second one."""
    text = f"a = sigmoid(W_a @ x + U_a @ h + b_a)\nh = tanh(W_h @ x + U_h @ (a * h)) * {time.time() % 1:.6f}"
    x, seconds = torch.randn(4, 8, 2), []
    started = time.perf_counter()
    call = run(RNN(text, 2, 16), x)
    for _ in range(2):
        call()
        seconds.append(time.perf_counter() - started)
    return seconds[0] - (seconds[1] - seconds[0])


def main() -> dict[str, object]:
    """Measure all."""
    if not kernel.available():
        raise SystemExit("the native kernel is not available here")
    ratios: dict[str, dict[str, float]] = {}
    for shape, rounds in ROUNDS.items():
        seconds, sizes = (
            time_each(contenders(shape), rounds),
            f"B, T, I, H = {shape.B}, {shape.T}, {shape.I}, {shape.H}",
        )
        ratios[f"GRU with dropout to nn.GRU without, {sizes}"] = ratio(seconds["text gru"], seconds["nn.GRU"])
    ratios |= {f"{name} to the same text stepped in torch, T = {STEPPED.T}": measure_stepped(name) for name in CELLS}
    ratios["a run of the GRU to one of the LSTM, T = 100"] = measure_runs()
    ratios |= {f"lengths= to nn.LSTM packed, T = {T}": measure_lengths(B, T, *rest) for B, T, *rest in LENGTHS}
    compile_seconds, compiled = measure_compile()
    ratios |= compiled
    first = {"First use of a text": summary([first_use() for _ in range(20)])}
    return {
        "title": "Cells as text",
        "machine": machine(),
        "seconds_per_call": first | measure_step() | compile_seconds,
        "ratios": ratios,
    }
