"""`reviver lstm`: train and use the LSTM."""

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from reviver.cli import lstm_data, options
from reviver.cli.help import list_times
from reviver.cli.options import RUN
from reviver.errors import ConfigError, ReviverError
from reviver.settings.fields import Count, Text
from reviver.settings.lstm import LSTMConfig
from reviver.settings.parts import is_reference
from reviver.settings.presets import LSTM_PRESETS
from reviver.settings.validation import refuse
from reviver.text import align, count, did_you_mean, percent, short_repr, show_spread

if TYPE_CHECKING:
    from reviver.data.task import Task

SequenceColumn = Annotated[Text | None, Parameter(help="Column of the sequences; by default that of the run.")]
LabelColumn = Annotated[Text | None, Parameter(help="Column of the classes; by default that of the run.")]
BenchmarkTask = Literal[
    "hold", "order", "add", "parity", "modular", "permute", "count", "associate", "nest", "copy", "rows"
]
MAX_SUGGESTED_LENGTH = 20
"""Maximum length of a palindrome for which the end of a training suggests a prediction."""


def train(
    *,
    preset: Annotated[str, RUN, Parameter(choices=tuple(LSTM_PRESETS), help=list_times("lstm"))] = "original",
    run: options.RunOptions = options.NEW_RUN,
    settings: Annotated[LSTMConfig, options.FLATTENED] = LSTM_PRESETS["original"],
    common: options.CommonOptions = options.DEFAULTS,
) -> dict[str, Any]:
    """Train an LSTM on a memory task. The defaults are the original's.

    Options override the file of --config, which overrides the preset. --help with --preset shows the values of a preset.

    Examples:
      reviver lstm train                             the original's run, seconds
      reviver lstm train --length 9 --encoding onehot --epochs 10 --out runs/nine
      reviver lstm train --out runs/nine --resume    continue after Ctrl-C
      reviver lstm train --length 100 --curriculum --encoding onehot --max-norm 1
      reviver lstm train --preset recall             1000 steps, seconds
      reviver lstm train --preset series --data mine.csv --out runs/mine
      reviver lstm train --print-config >lstm.toml   then --config lstm.toml
    """
    if run.print_config:
        run.show_settings(settings)
        return {}

    from reviver.data.build import build_task
    from reviver.progress import announcing
    from reviver.train.diagnosis import diagnose
    from reviver.train.lstm import training

    if preset == "series" and settings.task == "palindrome":
        refuse("data", "must be a file for the preset series; give one with --data")
    with announcing(options.expect_time("lstm", settings)):
        folder = training.train(settings, **run.arguments(common))
    if not folder.world.is_main:
        return {}
    task = build_task(settings, folder.record.get("data"), run.parts)
    result, lines = describe_run(settings, folder.read_metrics(), task)
    lines = [f"{folder.path}: {lines[0]}", *options.describe_rollbacks(folder), *lines[1:]]
    if settings.task == "custom" and preset == "original":
        lines.append("  these are the settings of the original; --preset series is made for series of measurements")
    problems = [str(finding) for finding in diagnose(folder)]
    lines += [f"  {problem}" for problem in problems]
    result = common.show({"run": str(folder.path), **result, "problems": problems}, *lines)
    path = shlex.quote(str(folder.path))
    uses = {"palindrome": [f"lstm evaluate {path} --length {2 * settings.length}"]}
    if settings.length <= MAX_SUGGESTED_LENGTH:
        half = [str(digit % 10) for digit in range(1, (settings.length + 1) // 2 + 1)]
        digits = (half + half[: settings.length // 2][::-1])[:-1]
        uses["palindrome"].insert(0, f'lstm predict {path} "{" ".join(digits)}"')
    uses["custom"] = [f"lstm predict {path} new.csv", f"lstm evaluate {path} --data test.csv"]
    own = [name for name in ("cell", "task") if is_reference(getattr(settings, name))]
    again = "".join(f" --{name} {shlex.quote(getattr(settings, name))}" for name in own)
    last = f"plot {path}" if is_reference(settings.cell) else f"explore {path}"
    used = *uses.get(settings.task, [f"lstm evaluate {path}"]), last
    common.suggest(*(f"reviver {use}{again}" for use in used))
    return result


def describe_run(
    settings: LSTMConfig, metrics: Sequence[Mapping[str, Any]], task: "Task"
) -> tuple[dict[str, Any], list[str]]:
    """Return the results of a finished run on `task` with these metrics, and the lines that describe them."""
    from reviver.data.task import ACCURACY_NAMES, LOSS_NAMES
    from reviver.train.lstm import summary

    result = summary.results_of(settings, metrics, task.chance)
    last, best = result["last"], result["best"]
    trained = summary.last_trained(metrics)
    assert trained is not None, "a run trains before it validates alone"
    lines = [f"{count(last['epoch'], 'epochs')} in {last['seconds']:.1f} s"]
    if task.target != "class":
        lines.append(f"  accuracy of {ACCURACY_NAMES[task.target]}, loss: {LOSS_NAMES[task.target]}")
    if result["ended_by"] == "patience":
        lines.append(f"  stopped early, after {count(settings.patience or 0, 'epochs')} without improvement")
    at_length = f", length {trained['length']}" if trained is not last else ""
    training = "with dropout" if settings.uses_dropout else "while training"
    notes = {"train": f"{training}{at_length}", "validation": "", "best": f"epoch {best['epoch']}"}
    rows = {"train": trained, "validation": last, "best": best}
    if not settings.curriculum:  # the epochs of a curriculum have different lengths
        epochs = min(len(metrics), summary.NUM_LAST_EPOCHS)
        rows["mean"] = result["mean_of_last"]
        notes["mean"] = f"validation, last {count(epochs, 'epochs')}"
    for name, note in notes.items():
        row, split = rows[name], name if name == "train" else "validation"
        loss, accuracy = row[f"{split}_loss"], row[f"{split}_accuracy"]
        lines.append(f"  {name:<11} loss {loss:.4f}  accuracy {percent(accuracy):>6}%  {note}")
    if settings.curriculum:
        status = "passed, with" if result["reached"] else "not passed, which takes"
        threshold = f"a validation accuracy of at least {100 * settings.threshold_at(settings.length):.9g}%"
        lines.append(f"  length {last['length']} of {settings.length}: {status} {threshold}")
        if not result["reached"]:
            lines.append("  go on with --resume and more --epochs")
    return result, lines


def evaluate(
    run: options.LSTMRunPath,
    /,
    *,
    length: list[int] | None = None,
    size: Count | None = None,
    data: Text | None = None,
    sequence_column: SequenceColumn = None,
    label_column: LabelColumn = None,
    checkpoint: options.Checkpoint = None,
    out: Text | None = None,
    own: options.OwnOptions = options.NONE_GIVEN,
    common: options.FigureOptions = options.FIGURE_DEFAULTS,
) -> dict[str, Any]:
    """Measure loss and accuracy of a trained LSTM at one or several lengths, or on a file with labels.

    Examples:
      reviver lstm evaluate runs/lstm --length 5 --length 10 --length 20
      reviver lstm evaluate runs/recall --length 1000 --out accuracy.pdf
      reviver lstm evaluate runs/mine --data test.csv --out confusion.pdf

    Args:
        length: Length of the sequences; may be repeated. By default that of the run.
        size: Number of fresh sequences or test images; by default 10 000, but at most 100 million steps.
        data: File with labeled sequences, .csv, .parquet or .npz, for a run on custom data: precision and recall of each
            class and the confusion matrix.
        out: Figure of accuracy over length, or with --data of the confusion matrix: .pdf, .png or .svg.
    """
    from reviver.data.task import ACCURACY_NAMES, LOSS_NAMES
    from reviver.figures import check_figure_path, save_figure
    from reviver.show import lstm_figures as figures
    from reviver.train.lstm import evaluation, summary

    columns = {"sequence_column": sequence_column, "label_column": label_column}
    if data is None:
        options.leave_out("there is no --data with columns", **columns)
    else:
        options.leave_out("--data has sequences of its own", length=length, size=size)
    if out is not None:
        check_figure_path(Path(out))
    loaded = options.open_lstm(run, checkpoint, common.device, own)
    if data is not None:
        return lstm_data.evaluate_file(loaded, Path(data), columns, out, common)
    if length and loaded.task.data is not None:
        refuse("length", "is that of the data for a run on custom data; leave it out")
    lengths = length or [loaded.task.max_length]
    results = [evaluation.evaluate(loaded.network, loaded.task, value, size) for value in lengths]
    target, chance = results[0].target, results[0].chance
    lines = [f"accuracy of {ACCURACY_NAMES[target]}, chance is {100 * chance:.4g}%", f"loss: {LOSS_NAMES[target]}"]
    lines.append(f"{'length':>8} {'accuracy':>9} {'loss':>10} {'baseline':>9} {'sequences':>10}")
    rows = [{**result._asdict(), **result.score._asdict()} for result in results]
    for row in rows:
        del row["score"]  # the row has its fields instead
        numbers = "{length:>8} {percent:>8}% {loss:>10.4g} {baseline:>9.4g} {size:>10}   {origin}"
        lines.append(numbers.format(percent=percent(row["accuracy"]), **row))
    if out is not None:
        save_figure(figures.generalization(sorted(results), summary.trained_length(loaded), chance), Path(out))
        lines.append(out)
    return common.show({"run": run, "checkpoint": loaded.checkpoint, "results": rows}, *lines)


def predict(
    run: options.LSTMRunPath,
    digits: str | None = None,
    /,
    *,
    stream: Annotated[bool, options.FLAG] = False,
    sequence_column: SequenceColumn = None,
    label_column: LabelColumn = None,
    out: Text | None = None,
    checkpoint: options.Checkpoint = None,
    own: options.OwnOptions = options.NONE_GIVEN,
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Predict the next digit or, with a run on custom data, the class of each sequence of a file.

    If the file has labels, the number of correct predictions is printed.

    Examples:
      reviver lstm predict runs/lstm "1 2 3 2"
      reviver lstm predict runs/mine new.csv --out predictions.csv
      reviver lstm predict runs/mine --stream

    Args:
        digits: Digits such as "1 2 3 2", a .csv, .parquet or .npz file, or a folder with x.npy.
        stream: Read a step a line from stdin, a symbol or the numbers of a row of CSV, and print the prediction after each; an
            empty line begins another sequence.
        out: CSV file for the predictions of a file; by default predictions.csv.
    """
    from reviver.data.sequences.reader import READERS
    from reviver.train.lstm import evaluation, summary

    columns = {"sequence_column": sequence_column, "label_column": label_column}
    if stream:
        options.leave_out("--stream reads stdin", digits=digits, out=out, **columns)
        lstm_data.predict_stream(options.open_lstm(run, checkpoint, common.device, own), sys.stdin, common)
        return
    if digits is None:
        raise ConfigError(
            'DIGITS must be given, such as "1 2 3 2" or new.csv; or add --stream to read steps from stdin'
        )
    is_file = Path(digits).suffix.lower() in READERS or Path(digits[:200], "x.npy").is_file()
    if not is_file:
        options.leave_out("DIGITS is not a file", out=out, **columns)
    check_order(run, digits)
    loaded = options.open_lstm(run, checkpoint, common.device, own)
    if is_file:
        out = out or "predictions.csv"
        options.check_not_read(out, digits)
        lstm_data.predict_file(loaded, Path(digits), columns, Path(out), common)
        return
    if loaded.task.data is not None:
        raise ConfigError(
            f"DIGITS must be a .csv, .parquet, .npz file, or a folder with x.npy for a run on custom data, got {digits!r}"
        )
    sequence = evaluation.parse_digits(digits, loaded.config)
    prediction = evaluation.predict(loaded.network, loaded.config, sequence)
    lines = [f"next digit after {' '.join(map(str, sequence))}: {prediction.digit}"]
    lines += [f"  {digit}  {p:7.2%}  {'█' * round(p * 40)}" for digit, p in enumerate(prediction.probabilities)]
    trained, has_shorter = summary.trained_length(loaded) - 1, loaded.config.curriculum
    if len(sequence) > trained or (len(sequence) < trained and not has_shorter):
        at_most = "at most " if has_shorter else ""
        lines.append(f"the network was trained on {at_most}{count(trained, 'digits')}, got {len(sequence)}")
    common.show({"digits": sequence, **prediction._asdict(), "trained_digits": trained}, *lines)


def check_order(run: str, digits: str) -> None:
    """Raise ConfigError if the run folder is given in the place of the digits."""
    if not Path(run).is_dir() and Path(digits[:200], "run.json").is_file():
        raise ConfigError(f"RUN must come before DIGITS: give {shlex.quote(digits)} {shlex.quote(run)}")


def read_texts(cells: Iterable[str]) -> dict[str, str]:
    """Return cells by their names: built-in ones as they are, of files the texts; a wrong one is a ConfigError."""
    from reviver.recurrent.grammar import load_cell
    from reviver.settings.lstm_network import CELLS, read_cell_text

    texts: dict[str, str] = {}
    for one in cells:
        name = one if one in CELLS else Path(one).stem
        if name in texts:
            refuse("cell", f"must have different names, got {name} twice")
        if name in CELLS and one not in CELLS:
            refuse("cell", f"{one} has the name of a built-in cell; give the file another one")
        load_cell(one)
        texts[name] = one if one in CELLS else read_cell_text(Path(one))
    return texts


def curve(
    *,
    length: list[int] | None = None,
    cell: list[Text] | None = None,
    network: list[str] | None = None,
    seeds: Count = 5,
    sequences: Count = 200_000,
    jobs: Count | None = None,
    out: Text = "runs/curve",
    common: options.FigureOptions = options.FIGURE_DEFAULTS,
) -> None:
    """Train networks at several lengths and seeds, and plot their accuracy over the length: the recall curve.

    Examples:
      reviver lstm curve --length 10 --seeds 1 --network rnn-onehot-curriculum
      reviver lstm curve                     an hour on two cores
      reviver lstm curve                     again, to continue after Ctrl-C
      reviver lstm curve --cell mine.cell --network mine-onehot-curriculum

    Args:
        length: Length of the palindromes; may be repeated.
        cell: Cell: the file of a text, such as mine.cell, or a built-in one; may be repeated. By default lstm, gru and rnn.
        network: Network: cell (that of mine.cell is mine), encoding (onehot, scalar) and training (curriculum, fixed; scalar
            also no-dropout, a curriculum without it), such as rnn-onehot-fixed; may be repeated. By default all of the cells.
        seeds: Number of seeds per network and length.
        sequences: Maximum training sequences per run.
        jobs: Number of parallel runs; by default one per core.
        out: Folder for the runs and figures.
    """
    import torch

    from reviver.figures import save_figure
    from reviver.files.atomic import write_json
    from reviver.progress import announcing
    from reviver.runs.environment import describe_machine
    from reviver.show import lstm_figures as figures
    from reviver.show import recall_curve
    from reviver.sweep.driver import open_sweep, run_trials
    from reviver.sweep.engines import Pool

    common.require_cpu()
    texts = read_texts(cell or recall_curve.USUAL_CELLS)
    known = recall_curve.networks_of(dict.fromkeys([*texts, *recall_curve.CELLS]))
    for name in network or ():
        if name not in known:
            words = "CELL-ENCODING-TRAINING, such as rnn-onehot-fixed, see --help"
            near = did_you_mean(name, known)
            refuse("network", f"must be {words}, got {short_repr(name)}; {near}".removesuffix("; "))
    networks = network or recall_curve.networks_of(texts)
    own = {name: text for name, text in texts.items() if name not in recall_curve.CELLS}
    trials = recall_curve.build_trials(length or recall_curve.LENGTHS, networks, seeds, sequences, own)
    folder = Path(out)
    open_sweep(folder, "curve", ("trials", "runs"))  # a report has only runs, another sweep only trials

    setup: Any = {"retry_failed": True, "title": "recall curve", "progress": not common.quiet}
    setup["select"] = partial(recall_curve.ready_trials, trials)
    with announcing("the time that is left will be shown after the first runs"):
        found = run_trials(folder, trials, Pool(jobs, threads=1), **setup)
    for trial in trials:
        if trial.key in found and (error := found[trial.key].error) is not None:
            raise ReviverError(f"{out}: the run {recall_curve.run_name(**trial.axes)} failed: {error}")
    rows = recall_curve.rows_of_curve(trials, found)
    machine = {**describe_machine(torch.device("cpu")), "torch": torch.__version__}
    write_json(folder / "curve.json", {"sequences": sequences, "machine": machine, "rows": rows})
    for suffix in ("pdf", "png"):
        save_figure(figures.recall_curve(rows), folder / f"curve.{suffix}")
    table = [["network", "length", "accuracy", "99 % reached", "after sequences"]]
    for row in rows:
        accuracy = show_spread(row["accuracies"], percent, high=1.0, unit="%")
        needed = "" if row["sequences_mean"] is None else f"{row['sequences_mean']:,.0f}".replace(",", " ")
        table.append([row["network"], str(row["length"]), accuracy, f"{row['reached']}/{row['seeds']}", needed])
    common.show({"out": out, "rows": rows}, *align(table), str(folder / "curve.pdf"))


def benchmark(
    cell: Annotated[list[Text], Parameter(name="CELL")],
    /,
    *,
    task: list[BenchmarkTask] | None = None,
    quick: Annotated[bool, options.FLAG] = False,
    full: Annotated[bool, options.FLAG] = False,
    engine: Literal["pool", "ray", "slurm"] = "pool",
    jobs: Count | None = None,
    out: Text | None = None,
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Compare cells of your own with the ten built-in ones on tasks that need different abilities.

    Each has as many weights as the LSTM with 64 units, one recipe, and its own learning rate. The built-in cells were measured
    before; one of them is trained again as a control. Finished trainings are not repeated: the same command continues after Ctrl-C.

    Examples:
      reviver lstm benchmark mine.cell               eight tasks, minutes
      reviver lstm benchmark mine.cell --quick       four tasks
      reviver lstm benchmark mine.cell --full        eleven tasks
      reviver lstm benchmark mine.cell other.cell --task parity --task hold

    Args:
        cell: File of a text, such as mine.cell, or the name of a built-in cell; several are compared with the same records.
        task: Task; may be repeated. By default eight of them.
        quick: Four of these tasks.
        full: These tasks and three that take longer: nest, copy, and rows, digits of MNIST read row by row.
        engine: Where trainings run: pool, processes of this machine; ray, on this machine; slurm, jobs of Slurm.
        jobs: Number of trainings that run at the same time; by default one per core.
        out: Folder of trainings and card; by default runs/benchmark-NAME, after the first cell.
    """
    from reviver.progress import announcing
    from reviver.show import cell_card
    from reviver.show.cell_trials import ABILITIES, FULL_ONLY, QUICK
    from reviver.sweep import engines

    common.require_cpu()
    texts = read_texts(cell)
    folder = Path(out or f"runs/benchmark-{next(iter(texts))}")

    def workers() -> Any:
        if engine == "ray":
            return engines.RayEngine(jobs, 1)
        return engines.Pool(jobs, 1) if engine == "pool" else engines.SlurmEngine(folder, jobs, 1, {})

    if (task is not None) + quick + full > 1:
        raise ConfigError("give one of --task, --quick and --full")
    usual = [one for one in ABILITIES if full or one not in FULL_ONLY]
    chosen: Sequence[str] = task or (QUICK if quick else usual)
    abilities = [*dict.fromkeys(chosen)]
    with announcing("the time that is left will be shown after the first trainings"):
        card = cell_card.measure(texts, abilities, folder, workers, progress=not common.quiet)
    paths = cell_card.save(card, folder)
    lines: list[str] = []
    for name in texts:
        lines += [f"{name}:", *align(cell_card.table(card, name)), *cell_card.sentences(card, name), ""]
    common.show({"out": str(folder), **card}, *lines, *map(str, paths))


def trace(
    run: options.LSTMRunPath,
    digits: str,
    /,
    *,
    layer: Count | None = None,
    direction: Literal["forward", "backward"] = "forward",
    checkpoint: options.Checkpoint = None,
    out: options.FigurePath = "trace.pdf",
    own: options.OwnOptions = options.NONE_GIVEN,
    common: options.FigureOptions = options.FIGURE_DEFAULTS,
) -> None:
    """Plot gates, states, class probabilities and gradients of a trained LSTM at each step.

    Examples:
      reviver lstm trace runs/lstm "1 2 3 2"                   writes trace.pdf
      reviver lstm trace runs/deep "1 2 3 2" --layer 1 --out layer1.png
      reviver lstm trace runs/long "$(cat digits.txt)" --json

    Args:
        digits: Palindrome without its last digit, such as "1 2 3 2"; the target is the first digit.
        layer: Layer to plot, from 1, which reads the digits; by default the last one.
        direction: Direction to plot; backward for bidirectional runs only.
    """
    from reviver.figures import check_figure_path, save_figure
    from reviver.show import trace, trace_figures
    from reviver.train.lstm import evaluation

    check_order(run, digits)
    check_figure_path(Path(out))
    loaded = options.open_lstm(run, checkpoint, common.device, own)
    sequence = evaluation.parse_digits(digits, loaded.config)
    index = trace.find_layer(loaded.config, layer, direction)
    traced = trace.trace_digits(loaded.network, loaded.config, sequence)
    save_figure(trace_figures.trace_figure(traced, sequence, index), Path(out))
    common.show({"out": out, "digits": sequence, "target": sequence[0], **traced.to_json()}, out)


def cells(
    cell: Text | None = None,
    /,
    *,
    input_size: Count = 10,
    hidden_size: Count = 128,
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """List the built-in cells, or print the text of one, with its states and weights.

    Examples:
      reviver lstm cells
      reviver lstm cells gru >mine.cell     then change it
      reviver lstm cells mine.cell          check it
      reviver lstm train --cell mine.cell

    Args:
        cell: Name of a built-in cell, or the file of your own.
        input_size: Numbers per step, for the number of weights.
        hidden_size: Hidden units, for the number of weights.
    """
    from reviver.recurrent.grammar import load_cell
    from reviver.settings.lstm_network import CELLS

    sizes = input_size, hidden_size
    if cell is None:
        found = {name: load_cell(name) for name in CELLS}
        rows = {name: {"title": one.title, "parameters": one.parameter_count(*sizes)} for name, one in found.items()}
        width = max(map(len, rows))
        lines = [f"{name:{width}}  {row['parameters']:>9,}  {row['title']}" for name, row in rows.items()]
        common.show({"cells": rows}, *lines)
        return
    one = load_cell(cell)
    number = one.parameter_count(*sizes)
    described = {"cell": one.name, "text": one.text, "states": one.states, "parameters": number}
    shapes = {name: list(shape) for name, shape in one.shapes(*sizes).items()}
    summary = f"# {one.summary()}; {number:,} weights for {input_size} inputs and {hidden_size} units"
    common.show({**described, "weights": shapes, "vectors": one.vectors}, *one.text.split("\n"), summary)
