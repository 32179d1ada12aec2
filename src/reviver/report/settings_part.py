"""Section 4 of the report: settings, runs, machine, commands, and how to read it all."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import docstring_parser

from reviver.gan.presets import PRESETS as GAN_PRESETS
from reviver.loading import GANRun, LSTMRun
from reviver.lstm.evaluation import CHANCE
from reviver.lstm.presets import PRESETS as LSTM_PRESETS
from reviver.report import numbers, original
from reviver.report.evidence import GANEvidence, LSTMEvidence, hardware_of
from reviver.report.model import Block, Bullets, Code, Paragraph, Section, Table, Text, code, plain, prose
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.sameness import describe_changes


def settings_sections(lstm: LSTMEvidence, gan: GANEvidence) -> list[Section]:
    """Section 4 with its parts."""
    return [
        Section("4", "Settings and reading", 1, ()),
        Section("4.1", "How to read the numbers", 2, (Bullets(_notes(lstm, gan)),)),
        Section("4.2", "Settings", 2, _settings(lstm, gan)),
        Section("4.3", "Runs, machine and commands", 2, _runs(lstm, gan)),
        Section("4.4", "The same bits", 2, (Bullets(_sameness([*lstm.runs, gan.run])),)),
    ]


def _notes(lstm: LSTMEvidence, gan: GANEvidence) -> tuple[Any, ...]:
    count = len(lstm.runs)
    spread = (
        "± is the sample standard deviation over {count} seeds; with so few it is itself uncertain. One more run of "
        "the same kind would fall outside the range of these {count} with a probability of {outside}, so a number of "
        "the report outside our range is no contradiction by itself."
        if count > 1
        else "The LSTM was trained with one seed only, so its numbers have no spread."
    )
    epochs = gan.run.config.epochs
    shorter = (
        "The GAN was trained for {epochs} epochs, not the {full} of the script that the report follows. "
        "`reviver report --full` trains it for {full}; runs that are finished are reused."
        if epochs < original.GAN_EPOCHS
        else "The GAN was trained for {epochs} epochs."
    )
    values = {
        "count": str(count),
        "outside": numbers.coarse_percent(2 / (count + 1)),
        "chance": numbers.coarse_percent(CHANCE),
        "epochs": str(epochs),
        "full": str(original.GAN_EPOCHS),
    }
    notes = (
        spread,
        "Chance is {chance} for the LSTM, which has ten digits to choose from.",
        (
            "Training loss and accuracy of the LSTM are means over the batches of an epoch, with dropout on and while "
            "the weights change; validation is measured after the epoch with dropout off."
        ),
        shorter + " It has one seed, so its numbers have no spread over seeds.",
        "Which of these numbers another run gives again, to the bit, stands in section 4.4.",
    )
    return tuple(prose(note, **values) for note in notes)


def _settings(lstm: LSTMEvidence, gan: GANEvidence) -> tuple[Block, ...]:
    seeds = ", ".join(str(run.config.seed) for run in lstm.runs)
    return (
        _settings_table(lstm.runs[0].config, prose("Settings of the LSTM's runs."), {"seed": seeds}),
        _settings_table(gan.run.config, prose("Settings of the GAN's run."), {}),
    )


def _settings_table(config: Any, caption: Any, changes: Mapping[str, str]) -> Table:
    """Every field with its value and the meaning that its docstring gives."""
    meanings = {
        part.arg_name: " ".join((part.description or "").split())
        for part in docstring_parser.parse_from_object(type(config)).params
    }
    rows = tuple(
        (
            code(field.name),
            code(changes.get(field.name, _show_value(getattr(config, field.name)))),
            prose(meanings.get(field.name, "").replace("{", "{{").replace("}", "}}")),
        )
        for field in dataclasses.fields(config)
    )
    return Table("", caption, (plain("Setting"), plain("Value"), plain("Meaning")), rows, "lll", (0, 0, 1), True)


def _show_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _runs(lstm: LSTMEvidence, gan: GANEvidence) -> tuple[Block, ...]:
    runs: list[LSTMRun | GANRun] = [*lstm.runs, gan.run]
    rows = tuple(
        (
            code(f"runs/{run.folder.path.name}"),
            plain(run.config.seed),
            plain(run.config.epochs),
            plain(numbers.whole(_count_updates(run))),
            plain(numbers.seconds(run.folder.record.get("seconds", points[-1]["seconds"]))),
            plain(str(run.folder.record.get("started", "unknown"))[:10]),
        )
        for run, points in zip(runs, [*lstm.metrics, gan.metrics], strict=True)
    )
    header = tuple(plain(name) for name in ("Run", "Seed", "Epochs", "Updates", "Time", "Day"))
    records = [run.folder.record for run in runs]
    return (
        Table("", prose("The runs that this report was made from."), header, rows, "lrrrrr", (1, 0, 0, 0, 0, 0)),
        *_rollbacks(runs),
        Table(
            "",
            prose("What they were computed on and with."),
            (plain("What"), plain("Value")),
            (
                (plain("Machine"), plain(_distinct([hardware_of(record) for record in records]))),
                (plain("Versions"), plain(_distinct([_show_versions(record) for record in records]))),
                (plain("Command"), code(_distinct([str(record.get("command", "unknown")) for record in records]))),
            ),
            "ll",
            (0, 1),
        ),
        Paragraph(prose("Each run can be made on its own, with the same numbers, by")),
        Code(tuple(command_of(run) for run in runs)),
    )


def _rollbacks(runs: Sequence[LSTMRun | GANRun]) -> tuple[Block, ...]:
    """When and why runs went back to an earlier checkpoint; nothing if none did."""
    notes = tuple(
        prose(
            "`runs/{run}`: the {quantity} was not finite at update {step}; the run went back to update {back_to} and on "
            "with half the step size.",
            run=run.folder.path.name,
            quantity=str(one["quantity"]),
            step=numbers.whole(one["step"]),
            back_to=numbers.whole(one["back_to"]),
        )
        for run in runs
        for one in run.folder.rollbacks
    )
    return (Bullets(notes),) if notes else ()


def _sameness(runs: Sequence[LSTMRun | GANRun]) -> tuple[Text, ...]:
    """What gives these runs again to the bit, and what does not; tests/test_determinism.py sees to it."""
    machines = [run.folder.record.get("hardware", {}) for run in runs]
    values = {
        "threads": _distinct([str(machine.get("threads")) for machine in machines]),
        "processor": _distinct([str(machine.get("processor")) for machine in machines]),
        "device": _distinct([str(machine.get("device")) for machine in machines]),
    }
    notes = (
        (
            "**The same bits:** the commands of section 4.3 with {threads} threads on this machine ({processor}, device "
            "{device}) and the versions named there give these runs again to the last bit, also when a run is "
            "interrupted and resumed. Only times are never the same twice."
        ),
        (
            "**Another number of threads** draws the same random numbers, so that data, initial weights, order, masks "
            "and noise are the same, and a trained network gives the same answers. But training adds in another order: "
            "weights differ in the last digits after the first updates, and drift apart from there."
        ),
        (
            "**Another processor, device, version or C++ compiler** draws the same whole numbers (data, order, masks), "
            "and the same initial weights and noise up to their last digits. Nothing else is promised: expect numbers "
            "like these, within their spread."
        ),
    )
    resumed = "**Resumed otherwise than begun:** in `{run}`, {what}. An uninterrupted run gives other bits."
    return (
        *(prose(note, **values) for note in notes),
        *(
            prose(resumed, run=f"runs/{run.folder.path.name}", what=what)
            for run in runs
            for what in _changes(run.folder.record)
        ),
    )


def _changes(record: Mapping[str, Any]) -> list[str]:
    """What of the machine or the versions was not as before when a run was resumed, a text for each time."""
    return [text for change in record.get("changes", []) if (text := describe_changes(change))]


def _count_updates(run: LSTMRun | GANRun) -> int:
    """The updates that the last checkpoint, which the report is about, was saved after."""
    return int(find_checkpoint(run.folder.checkpoints, "last").name.removeprefix("step-"))


def _show_versions(record: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in record.get("versions", {}).items())


def _distinct(values: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(values))


def command_of(run: LSTMRun | GANRun) -> str:
    """The command line that trains a run like this one: the nearest preset and what differs from it."""
    kind = run.folder.kind
    presets: Mapping[str, Any] = LSTM_PRESETS if kind == "lstm" else GAN_PRESETS
    settings = dataclasses.asdict(run.config)

    def changes(preset: Any) -> dict[str, Any]:
        return {name: value for name, value in settings.items() if name != "seed" and getattr(preset, name) != value}

    name = min(presets, key=lambda candidate: len(changes(presets[candidate])))
    words = ["reviver", kind, "train", "--preset", name, "--seed", str(run.config.seed)]
    for field, value in changes(presets[name]).items():
        words += [f"--{field}", _show_value(value)]
    return shlex.join([*words, "--out", f"runs/{run.folder.path.name}"])
