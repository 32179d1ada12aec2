"""How often `reviver lstm benchmark` finds a difference where there is none, and where there is one.

    python -m benchmarks cell_calibration

Twelve seeds each of the LSTM, of the LSTM with other names in another order of lines, and of three LSTMs with a defect. A draw takes
six seeds of a text and the six others of the LSTM, and compares them as the command does. The trainings are a sweep in
runs/cell-calibration; finished ones are not repeated.
"""

import random
from collections.abc import Mapping
from typing import Any

from benchmarks.measure import ROOT, machine
from reviver.recurrent.grammar import load_cell
from reviver.show import cell_trials
from reviver.show.cell_trials import FULL_ONLY, CellRun
from reviver.show.cell_verdicts import NO_DIFFERENCE, compare, read_records
from reviver.sweep.driver import run_trials
from reviver.sweep.engines import Pool

LSTM = load_cell("lstm").text
RENAMED = """
p = sigmoid(W_p @ x + U_p @ h + b_p)
v = tanh(W_v @ x + U_v @ h + b_v)
k = sigmoid(W_k @ x + U_k @ h + b_k)
b_k: 1
m = k * m + p * v
q = sigmoid(W_q @ x + U_q @ h + b_q)
h = q * tanh(m)
"""
DEFECTS: Mapping[str, str] = {
    "no forget gate": "\n".join(
        line for line in LSTM.replace("f * c + ", "c + ").split("\n") if line[:1] != "f" and line[:3] != "b_f"
    ),
    "gates that do not see h": "\n".join(
        line.replace(f" + U_{line[:1]} @ h", "") if line[:1] in "ifo" else line for line in LSTM.split("\n")
    ),
    "wrong sign in c": LSTM.replace("f * c + ", "-f * c + "),
}
SEEDS, DRAWS, SIZE = range(12), 200, 6
ABILITIES = [name for name in cell_trials.ABILITIES if name not in FULL_ONLY]


def main() -> dict[str, Any]:
    """Train all texts, and draw."""
    texts = {"lstm": "lstm", "renamed": RENAMED, **DEFECTS}
    folder = ROOT / "runs" / "cell-calibration"
    rates = {("lstm", name): row["rate"] for name, row in read_records()["cells"]["lstm"]["abilities"].items()}
    others = {name: text for name, text in texts.items() if name != "lstm"}
    rates |= cell_trials.choose_rates(
        others, ABILITIES, lambda trials: run_trials(folder, trials, Pool(threads=1), title="rates", progress=True)
    )
    trials = cell_trials.trials_of(texts, ABILITIES, SEEDS, lambda *pair: [rates[pair]])
    outcomes = run_trials(folder, trials, Pool(threads=1), title="texts", progress=True)
    runs: dict[str, dict[str, list[CellRun]]] = {}
    for (name, ability, _), found in cell_trials.results_of(trials, outcomes).items():
        runs.setdefault(name, {})[ability] = [run for run in found if isinstance(run, CellRun)]
    rng, rows = random.Random(0), {}
    for name in others:
        words: dict[str, list[str]] = {}
        for _ in range(DRAWS):
            order = rng.sample(SEEDS, len(SEEDS))
            own, other = (
                {ability: [of[ability][seed] for seed in part] for ability in ABILITIES}
                for of, part in ((runs[name], order[:SIZE]), (runs["lstm"], order[SIZE:]))
            )
            for ability, verdict in compare(own, other).items():
                words.setdefault(ability, []).append(verdict.word)
        different = [any(word != NO_DIFFERENCE for word in draw) for draw in zip(*words.values(), strict=True)]
        worse = [any(word == "worse" for word in draw) for draw in zip(*words.values(), strict=True)]
        rows[name] = {"draws": DRAWS, "different": sum(different), "worse": sum(worse)}
        rows[name] |= {
            "by_ability": {ability: sum(word == "worse" for word in found) for ability, found in words.items()}
        }
    return {"title": "Calibration of the benchmark of cells", "machine": machine(), "rows": rows}
