"""The benchmark of cells: its records, its fairness, its statistics, and the command with a training of two cells."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from reviver.cli import main
from reviver.data.build import build_task
from reviver.recurrent.grammar import load_cell
from reviver.settings.lstm_network import CELLS
from reviver.show import cell_trials
from reviver.show.cell_trials import ABILITIES, RATES, SEEDS, CellRun, make_config, units_of
from reviver.show.cell_verdicts import NO_DIFFERENCE, compare, hash_of, interval, read_records
from reviver.sweep.trials import Outcome, Trial
from reviver.train.lstm.training import build_network

EARLY, LATE = [CellRun(100 + k, (1.0, 1.0, 1.0)) for k in SEEDS], [CellRun(200 + k, (1.0, 1.0, 1.0)) for k in SEEDS]
NEVER = [CellRun(None, (0.5 - 0.01 * k, 0.5, 0.5)) for k in SEEDS]


def test_the_records_are_those_of_the_texts_and_the_recipe_that_are_shipped() -> None:
    records = read_records()
    assert records["recipe"] == cell_trials.recipe_hash(), "run python -m benchmarks.cell_records"
    assert {name: row["text"] for name, row in records["cells"].items()} == {
        name: hash_of(load_cell(name)) for name in CELLS
    }
    for name, row in records["cells"].items():
        assert row["abilities"].keys() == ABILITIES.keys()
        for ability, found in row["abilities"].items():
            assert len(found["runs"]) == len(SEEDS)
            assert found["rate"] in RATES or not any(updates for updates, _ in found["runs"])
            assert found["units"] == units_of(name, ability)


@pytest.mark.parametrize("cell", [*CELLS, "h = tanh(W_h @ x + u_h * h)"])
def test_two_cells_differ_in_units_and_rate_alone(cell: str) -> None:
    for ability in ABILITIES:
        one, lstm = make_config(ability, cell, 1e-2, 3), make_config(ability, "lstm", 1e-3, 3)
        changed: dict[str, Any] = {"cell": "lstm", "hidden_size": lstm.hidden_size, "learning_rate": 1e-3}
        assert dataclasses.replace(one, **changed) == lstm
    counts = []
    for name in (cell, "lstm"):
        network = build_network(make_config("parity", name, 1e-2, 0), build_task(make_config("parity", name, 1e-2, 0)))
        counts.append(sum(weight.numel() for weight in network.parameters()))
    assert counts[0] == pytest.approx(counts[1], rel=0.02)


def test_a_rate_is_chosen_on_more_seeds_if_others_are_nearly_as_fast() -> None:
    updates = {1e-3: [400], 3e-3: [100, 500, 500], 1e-2: [160, 160, 160]}
    calls = []

    def run(trials: Sequence[Trial]) -> dict[str, Outcome]:
        calls.extend((trial.axes["rate"], trial.axes["seed"]) for trial in trials)
        return {
            trial.key: Outcome(
                key=trial.key,
                status="done",
                result={"updates": updates[trial.axes["rate"]][trial.axes["seed"] - 1000], "scores": [1.0, 1.0, 1.0]},
            )
            for trial in trials
        }

    assert cell_trials.choose_rates({"lstm": "lstm"}, ["hold"], run) == {("lstm", "hold"): 1e-2}
    assert [seed for rate, seed in calls if rate == 1e-3] == [1000], "it needs four times as long as another"


@given(st.lists(st.integers(1, 10**6), min_size=12, max_size=12, unique=True))
@settings(max_examples=30)
def test_a_difference_has_the_probability_of_the_exact_rank_test(updates: list[int]) -> None:
    own, other = ([CellRun(number, (1.0,)) for number in part] for part in (updates[:6], updates[6:]))
    verdict = compare({"hold": own}, {"hold": other})["hold"]
    expected = mannwhitneyu(updates[:6], updates[6:], method="exact").pvalue
    assert verdict.p == pytest.approx(expected)
    assert (verdict.word == NO_DIFFERENCE) == (expected >= 0.05)


def test_verdicts_say_who_is_better_and_are_corrected_for_the_number_of_tasks() -> None:
    own = {"hold": EARLY, "order": NEVER, "add": EARLY, "parity": NEVER}
    other = {"hold": LATE, "order": LATE, "add": EARLY, "parity": NEVER}
    verdicts = compare(own, other)
    assert {ability: verdict.word for ability, verdict in verdicts.items()} == {
        "hold": "better",
        "order": "worse",
        "add": NO_DIFFERENCE,
        "parity": NO_DIFFERENCE,
    }
    assert verdicts["hold"].p == pytest.approx(4 * compare({"hold": EARLY}, {"hold": LATE})["hold"].p)


def test_an_interval_covers_the_median_of_six_in_95_percent() -> None:
    assert interval([3, 1, 2, 6, 5, 4]) == (3.5, 1, 6)


def test_a_cell_without_memory_and_one_that_diverges_are_rows_with_their_reason(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, inline_sweeps: None
) -> None:
    """The command, with trainings that are looked up: what it prints and writes, and the same once more."""
    (here / "blind.cell").write_text("h = tanh(W_h @ x + b_h)")
    (here / "wild.cell").write_text("h = exp(W_h @ x + u_h * h)")
    calls = []

    def run_trial(folder: Path, *, ability: str, cell: str, rate: float, seed: int) -> dict[str, Any]:
        calls.append((cell, ability, rate, seed))
        if "exp" in cell:
            raise FloatingPointError("the loss is not finite")
        if cell == "lstm":
            updates, scores = read_records()["cells"]["lstm"]["abilities"][ability]["runs"][seed]
            return {"updates": updates, "scores": scores}
        return {"updates": None, "scores": [0.1, 0.1, 0.1]}

    monkeypatch.setattr("reviver.show.cell_trials.run_trial", run_trial)
    command = ["lstm", "benchmark", "blind.cell", "wild.cell", "--task", "hold", "--task", "order"]
    main([*command, "--json"])
    card = json.loads(capsys.readouterr().out)
    assert len(calls) == 2 * 2 * len(RATES) + 2 * len(SEEDS) + 2 * len(SEEDS)  # rates, the first cell, the control
    assert card["control"]["agrees"]
    assert [card["cells"][name]["has_memory"] for name in ("blind", "wild")] == [False, True]
    assert card["verdicts"]["blind"]["lstm"]["hold"]["word"] == "worse"
    assert "diverges" in card["results"]["wild"]["hold"]["problem"]
    first = {path.name: path.read_bytes() for path in Path("runs/benchmark-blind").glob("benchmark*")}
    assert {"benchmark.html", "benchmark.pdf", "benchmark.json", "benchmark-figure.png"} <= first.keys()
    count = len(calls)
    main(command)
    text = " ".join(capsys.readouterr().out.split())
    assert "no memory: h depends on no state" in text
    assert "Diverges at every learning rate." in text
    assert len(calls) == count, "finished trainings are not repeated"
    assert {path.name: path.read_bytes() for path in Path("runs/benchmark-blind").glob("benchmark*")} == first


def test_a_training_gives_its_updates_and_scores(tmp_path: Path) -> None:
    found = cell_trials.run_trial(tmp_path / "run", ability="order", cell="lstm", rate=3e-3, seed=7)
    assert found["updates"] % cell_trials.EPOCH_UPDATES == 0
    assert found["scores"][0] >= 0.9, "it passes at the length of its training"
    assert not any(tmp_path.rglob("run.json")), "a benchmark has hundreds of them"
