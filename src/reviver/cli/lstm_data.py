"""`reviver lstm evaluate` and `predict` on files with custom data, and on steps that arrive one by one."""

import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reviver.cli import options
from reviver.errors import ConfigError, DataError
from reviver.settings.validation import refuse
from reviver.text import align, count, one_line, percent, short_repr

if TYPE_CHECKING:
    from reviver.data.sequences.custom import CustomTask
    from reviver.run import LSTMRun

MAX_NAME = 24
"""Maximum width of the name of a class in a table on the terminal, in characters."""
MAX_CONFUSIONS = 10
"""Number of confusions that are listed if the confusion matrix is too wide for the terminal."""


def evaluate_file(
    loaded: "LSTMRun", path: Path, columns: Mapping[str, str | None], out: str | None, common: options.Common
) -> dict[str, Any]:
    """Score a run on the labeled sequences of a file."""
    from reviver.data.sequences.reader import read_sequences
    from reviver.figures import save_figure
    from reviver.show.lstm_figures import confusion_figure
    from reviver.train.lstm.classification import classification_report
    from reviver.train.lstm.scoring import compute_logits

    task = custom_task(loaded)
    data = task.examples(read_sequences(path, **_columns_of(loaded, columns)))
    logits = compute_logits(loaded.network, data)
    report = classification_report(logits, data.targets, task.data.classes, task.data.class_fractions)
    size = count(report["sequences"], "sequences")
    lines = [f"{path}: {size}", *describe_scores(report), "", *describe_confusion(report)]
    if out is not None:
        save_figure(confusion_figure(report), Path(out))
        lines.append(out)
    result = {"run": str(loaded.folder.path), "checkpoint": loaded.checkpoint, "data": str(path), **report}
    return common.show(result, *lines)


def predict_file(
    loaded: "LSTMRun", path: Path, columns: Mapping[str, str | None], out: Path, common: options.Common
) -> None:
    """Classify the sequences of a file; if it has labels, count the correct predictions."""
    from reviver.data.sequences.labels import class_indices
    from reviver.data.sequences.reader import read_if_labeled
    from reviver.data.sequences.table import write_predictions
    from reviver.train.lstm.classification import classification_report
    from reviver.train.lstm.scoring import compute_logits

    task = custom_task(loaded)
    if out.suffix.lower() != ".csv":
        refuse("out", f"must end in .csv for predictions, got {out}")
    table, problem = read_if_labeled(path, **_columns_of(loaded, columns))
    logits = compute_logits(loaded.network, task.examples(replace(table, labels=None)))
    probabilities = logits.softmax(1)
    classes = task.data.classes
    write_predictions(out, table, classes, probabilities)
    predicted = probabilities.argmax(1).bincount(minlength=len(classes)).tolist()
    counts = dict(zip(classes, predicted, strict=True))
    lines = [str(out), *(f"  {name}: {number}" for name, number in counts.items() if number)]
    correct = accuracy = None
    if table.labels is not None:
        try:
            targets = class_indices(table, classes)
            report = classification_report(logits, targets, classes, task.data.class_fractions)
            correct, accuracy, chance = report["correct"], report["accuracy"], percent(report["chance"])
            lines.append(f"  {correct} of {len(table)} are correct ({percent(accuracy)}%, chance {chance}%)")
        except DataError as error:
            problem = str(error)
    if problem:
        lines.append(f"  the labels of the file were not used: {problem}")
    scores = {"correct": correct, "accuracy": accuracy, "label_problem": problem}
    common.show({"out": str(out), "sequences": len(table), "counts": counts, **scores}, *lines)


def predict_stream(loaded: "LSTMRun", steps: Iterable[str], common: options.Common) -> None:
    """Print the prediction after each step, a line of stdin; an empty line begins another sequence."""
    import torch

    from reviver.data.generated import encode_symbols

    task, network = loaded.task, loaded.network
    symbols, classes, device = task.definition.symbols, task.definition.classes, network.W_out.device
    stream = network.stream()
    for number, line in enumerate(steps, 1):
        words = line.replace(",", " ").split()
        if not words:
            stream = network.stream()
            continue
        count_needed = 1 if symbols else task.input_size
        try:
            values = [int(word) if symbols else float(word) for word in words]
        except ValueError:
            values = []
        if len(values) != count_needed or (symbols and not 0 <= values[0] < len(symbols)):
            needed = f"a number from 0 to {len(symbols) - 1}" if symbols else count(count_needed, "numbers")
            raise DataError(f"stdin, line {number}: must be {needed}, a step, got {short_repr(line.strip())}")
        x = torch.tensor([[values]], device=device)  # [1, 1, I]
        if symbols:
            x = encode_symbols(x[0], len(symbols), loaded.config.encoding)
        elif task.data is not None:
            x = task.data.standardization.apply(x.cpu(), torch.ones(1, dtype=torch.int64)).to(device)
        logits = stream(x[0, 0])
        if classes is None:
            result: dict[str, Any] = {"value": logits.item()}
            text = f"{logits.item():.6g}"
        else:
            probabilities = logits.softmax(0)
            best = int(probabilities.argmax())
            result = {"class": classes[best], "probabilities": probabilities.tolist()}
            text = f"{classes[best]}  {probabilities[best]:.2%}"
        common.show({"line": number, **result}, text)
        sys.stdout.flush()


def custom_task(loaded: "LSTMRun") -> "CustomTask":
    """Return the task of a run on custom data; another one is a `ConfigError`."""
    from reviver.data.sequences.custom import CustomTask

    if not isinstance(loaded.task, CustomTask):
        raise ConfigError(f"{loaded.folder.path} was not trained on custom data, so it reads no files")
    return loaded.task


def describe_scores(report: Mapping[str, Any]) -> list[str]:
    """Return the scores as lines: of all sequences, then of each class, numbered as in the confusion matrix."""
    names = ("accuracy", "chance", "balanced_accuracy", "balanced_chance")
    accuracy, chance, balanced, balanced_chance = (percent(report[name]) for name in names)
    lines = [
        f"  accuracy           {accuracy:>7}%   chance   {chance:>6}%   (most frequent class)",
        f"  balanced accuracy  {balanced:>7}%   chance   {balanced_chance:>6}%",
        f"  log loss           {report['log_loss']:8.4f}   baseline {report['baseline']:7.4f}   (classes in training)",
        "",
    ]
    rows = [["#", "class", "sequences", "precision", "recall", "F1"]]
    for index, (name, support, *fractions) in enumerate(map(dict.values, report["classes"]), 1):
        numbers = ["–" if value is None else f"{percent(value)}%" for value in fractions]
        rows.append([str(index), one_line(name, MAX_NAME), str(support), *numbers])
    lines += [f"  {line}" for line in align(rows)]
    if any(None in score.values() for score in report["classes"]):
        lines.append("  – no sequences: precision of a class never predicted, recall of one not there")
    return lines


def describe_confusion(report: Mapping[str, Any]) -> list[str]:
    """Return the confusion matrix as lines, or the most frequent confusions if it is too wide for the terminal."""
    from reviver.train.lstm.classification import confusions

    names = [f"{one_line(score['name'], MAX_NAME)} (#{number})" for number, score in enumerate(report["classes"], 1)]
    rows = [["#", *(str(number) for number, _ in enumerate(names, 1))]]
    rows += [[str(index), *(str(value or "·") for value in row)] for index, row in enumerate(report["confusion"], 1)]
    lines = [f"  {line}" for line in align(rows)]
    if len(lines[0]) <= shutil.get_terminal_size((100, 24)).columns:
        return ["  confusion matrix (row: true class, column: predicted class)", *lines]
    lines = ["  most frequent confusions (the whole matrix: --out confusion.pdf, or --json)"]
    lines += [f"  {size}  {names[i]} predicted as {names[j]}" for i, j, size in confusions(report)[:MAX_CONFUSIONS]]
    return lines if len(lines) > 1 else ["  no sequence was confused"]


def _columns_of(loaded: "LSTMRun", columns: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the columns of a file: those given, otherwise those of the run."""
    return {name: given or getattr(loaded.config, name) for name, given in columns.items()}
