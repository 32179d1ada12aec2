"""`reviver lstm`: train and use the LSTM."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from reviver.cli import options
from reviver.cli.settings import print_settings
from reviver.config import RUN, Count, Text
from reviver.errors import ConfigError
from reviver.lstm.config import LSTMConfig
from reviver.lstm.presets import PRESETS

if TYPE_CHECKING:
    from reviver.lstm.run import LSTMRun


def train(
    *,
    preset: Annotated[str, RUN, Parameter(choices=tuple(PRESETS), help="Settings to start from.")] = "report",
    config: options.ConfigPath = None,
    out: options.NewRunPath = None,
    resume: options.Resume = False,
    print_config: options.PrintConfig = False,
    settings: Annotated[LSTMConfig, Parameter(name="*")] = PRESETS["report"],
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Train an LSTM on a memory task. The defaults are the report's.

    Options come before the file of --config, and that comes before the preset. --help with --preset shows its values.

    Examples:
      reviver lstm train                             the report's run
      reviver lstm train --length 9 --encoding onehot --out runs/nine
      reviver lstm train --out runs/nine --resume    go on after Ctrl-C
      reviver lstm train --length 1000 --curriculum --encoding onehot --max-norm 1
      reviver lstm train --data mine.csv --out runs/mine
      reviver lstm train --print-config >lstm.toml   then --config lstm.toml
    """
    from reviver.lstm import training
    from reviver.lstm.tasks.build import build_task
    from reviver.lstm.tasks.task import ANSWERS, LOSSES

    if print_config:
        print_settings(settings)
        return
    assert out is not None, "fill_settings has chosen one"
    folder = training.train(settings, out, device=common.device, resume=resume, progress=not common.quiet)
    points = folder.read_metrics()
    last, best = points[-1], max(points, key=training.rank)
    result: dict[str, Any] = {"run": str(folder.path), "last": last, "best": best}
    target = build_task(settings, folder.record.get("data")).target
    kind = "" if target == "class" else f" (accuracy of {ANSWERS[target]}, loss: {LOSSES[target]})"
    took = f"{last['epoch']} epochs in {last['seconds']:.1f} s"
    lines = [f"{folder.path}: {took}{kind}", *options.describe_rollbacks(folder)]
    notes = {"train": "with dropout on", "validation": "", "best": f"epoch {best['epoch']}"}
    for name, note in notes.items():
        point, part = (best, "validation") if name == "best" else (last, name)
        loss, accuracy = point[f"{part}_loss"], point[f"{part}_accuracy"]
        lines.append(f"  {name:<11} loss {loss:.4f}  accuracy {accuracy:7.2%}  {note}")
    if settings.curriculum:
        result["reached"] = training.is_reached(settings, last)
        end = "passed" if result["reached"] else "not passed; go on with --resume and more --epochs"
        threshold = f"{settings.threshold_at(settings.length):.1%} in validation"
        lines.append(f"  length {last['length']} of {settings.length}, {threshold} {end}")
    common.show(result, *lines)


def evaluate(
    run: options.LSTMRunPath,
    /,
    *,
    length: list[int] | None = None,
    size: Annotated[Count | None, Parameter()] = None,
    checkpoint: options.Checkpoint = "last",
    out: Text | None = None,
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Measure a trained LSTM at one length or several.

    Examples:
      reviver lstm evaluate runs/lstm --length 5 --length 10 --length 20
      reviver lstm evaluate runs/recall --length 1000 --out accuracy.pdf

    Args:
        length: Length of the sequences; may be repeated. By default the run's.
        size: Fresh sequences, or the first test images; by default 10 000, but no more than 100 million steps.
        out: Figure of accuracy over length: .pdf, .png or .svg.
    """
    from reviver.figures import check_figure_path, save_figure
    from reviver.lstm import evaluation, figures
    from reviver.lstm.tasks.custom.task import CustomTask
    from reviver.lstm.tasks.task import ANSWERS, LOSSES

    loaded = options.open_lstm(run, checkpoint, common.device)
    lengths = length or [loaded.config.length]
    if isinstance(loaded.task, CustomTask):
        if length:
            raise ConfigError("length is fixed by the data of a run on own data; leave it out", field="length")
        lengths = [loaded.task.data.max_length]
    if out is not None:
        check_figure_path(Path(out))
    results = [evaluation.evaluate(loaded.network, loaded.task, one, size) for one in lengths]
    target, chance = results[0].target, results[0].chance
    meaning = f"accuracy of {ANSWERS[target]}, chance is {100 * chance:.3g}%; loss: {LOSSES[target]}"
    lines = [f"{'length':>8} {'accuracy':>9} {'loss':>10} {'baseline':>9} {'sequences':>10}   {meaning}"]
    rows = [{**result._asdict(), **result.score._asdict()} for result in results]
    for row in rows:
        del row["score"]  # its parts have taken its place
        numbers = "{length:>8} {accuracy:>9.2%} {loss:>10.4g} {baseline:>9.4g} {size:>10}   {origin}"
        lines.append(numbers.format_map(row))
    if out is not None:
        save_figure(figures.generalisation(sorted(results), loaded.config.length, chance), Path(out))
        lines.append(out)
    common.show({"run": run, "checkpoint": checkpoint, "results": rows}, *lines)


def predict(
    run: options.LSTMRunPath,
    digits: str,
    /,
    *,
    out: Text | None = None,
    checkpoint: options.Checkpoint = "last",
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Predict the next digit with a trained LSTM or, for own data, the class of each sequence of a file.

    Examples:
      reviver lstm predict runs/lstm "1 2 3 2"
      reviver lstm predict runs/own new.csv --out predictions.csv

    Args:
        digits: Digits such as "1 2 3 2", or a .csv, .parquet or .npz file.
        out: Predictions of a file; by default predictions.csv.
    """
    from reviver.lstm import evaluation
    from reviver.lstm.tasks.custom.reader import ENDINGS
    from reviver.lstm.tasks.custom.task import CustomTask

    is_file = Path(digits).suffix.lower() in ENDINGS
    if out is not None and not is_file:
        raise ConfigError("out is for predictions of a file; leave it out for one sequence of digits", field="out")
    loaded = options.open_lstm(run, checkpoint, common.device)
    if is_file:
        _predict_file(loaded, Path(digits), Path(out or "predictions.csv"), common)
        return
    if isinstance(loaded.task, CustomTask):
        raise ConfigError(f"DIGITS must be a .csv, .parquet or .npz file for a run on own data, got {digits!r}")
    sequence = evaluation.parse_digits(digits)
    prediction = evaluation.predict(loaded.network, loaded.config, sequence)
    lines = [f"after {' '.join(map(str, sequence))} comes {prediction.digit}"]
    lines += [f"  {digit}  {p:7.2%}  {'█' * round(p * 40)}" for digit, p in enumerate(prediction.probabilities)]
    trained = loaded.config.length - 1
    if len(sequence) != trained:
        lines.append(f"trained on {trained} digits, given {len(sequence)}")
    common.show({"digits": sequence, **prediction._asdict(), "trained_digits": trained}, *lines)


def _predict_file(loaded: "LSTMRun", path: Path, out: Path, common: options.CommonOptions) -> None:
    """Classify the sequences of a file."""
    from reviver.lstm import evaluation
    from reviver.lstm.tasks.custom import reader
    from reviver.lstm.tasks.custom.task import CustomTask

    if not isinstance(loaded.task, CustomTask):
        raise ConfigError(f"{loaded.folder.path}: was not trained on own data, so it reads no files; give digits")
    if out.suffix.lower() != ".csv":
        raise ConfigError(f"out must end in .csv for predictions, got {out}", field="out")
    table = reader.read_sequences(path, sequence_column=loaded.config.sequence_column, labelled=False)
    probabilities = evaluation.predict_table(loaded.network, loaded.task, table)
    classes = loaded.task.data.classes
    reader.write_predictions(out, table, classes, probabilities)
    predicted = probabilities.argmax(1).bincount(minlength=len(classes)).tolist()
    counts = dict(zip(classes, predicted, strict=True))
    lines = [f"  {name}: {count}" for name, count in counts.items() if count]
    common.show({"out": str(out), "sequences": len(table), "counts": counts}, str(out), *lines)


def curve(
    *,
    length: list[int] | None = None,
    network: list[str] | None = None,
    seeds: Count = 5,
    sequences: Count = 64_000,
    jobs: Count | None = None,
    out: Text = "runs/curve",
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Train networks over lengths and seeds and plot how far back they remember: the recall curve.

    Examples:
      reviver lstm curve                     half an hour on two cores
      reviver lstm curve --length 10 --length 100 --seeds 2 --out runs/small
      reviver lstm curve --out runs/small    again after Ctrl-C: goes on

    Args:
        length: Length of the palindromes; may be repeated.
        network: Network fixed, growing, chrono or rnn; may be repeated. By default all.
        seeds: Seeds per network and length.
        sequences: Maximum training sequences per run.
        jobs: Runs side by side; by default one per core.
        out: Folder of the runs and figures.
    """
    import torch

    from reviver.figures import save_figure
    from reviver.io.atomic import write_json
    from reviver.lstm import curve, figures
    from reviver.runs.devices import describe_machine

    folder = Path(out)
    outcomes = curve.run_curve(
        folder,
        lengths=length or curve.LENGTHS,
        seeds=range(seeds),
        networks=network or tuple(curve.NETWORKS),
        sequences=sequences,
        jobs=jobs,
        progress=not common.quiet,
    )
    rows = curve.summarise(outcomes)
    machine = {**describe_machine(torch.device("cpu")), "torch": torch.__version__}
    write_json(folder / "curve.json", {"sequences": sequences, "machine": machine, "rows": rows})
    for name in ("curve.pdf", "curve.png"):
        save_figure(figures.recall_curve(outcomes), folder / name)
    lines = [f"{'network':<9} {'length':>7} {'accuracy':>17} {'99 % reached':>13} {'after sequences':>16}"]
    for row in rows:
        accuracy = f"{row['accuracy_mean']:.2%} ± {row['accuracy_std']:.2%}"
        reached = f"{row['reached']}/{row['seeds']}"
        count = "" if row["sequences_mean"] is None else f"{row['sequences_mean']:,.0f}".replace(",", " ")
        lines.append(f"{row['network']:<9} {row['length']:>7} {accuracy:>17} {reached:>13} {count:>16}")
    common.show({"out": out, "rows": rows}, *lines, str(folder / "curve.pdf"))


def trace(
    run: options.LSTMRunPath,
    digits: str,
    /,
    *,
    layer: Count | None = None,
    direction: Literal["forward", "backward"] = "forward",
    checkpoint: options.Checkpoint = "last",
    out: options.FigurePath = "trace.pdf",
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Plot what a trained LSTM computes at each step: gates, states, probabilities, gradients.

    Examples:
      reviver lstm trace runs/lstm "1 2 3 2"                   into trace.pdf
      reviver lstm trace runs/deep "1 2 3 2" --layer 1 --out layer1.png
      reviver lstm trace runs/long "$(cat digits.txt)" --json

    Args:
        digits: Palindrome without its last digit, such as "1 2 3 2"; the right answer is the first digit.
        layer: Layer to plot: 1 reads the digits; by default the last, which answers.
        direction: Direction to plot, of a bidirectional run.
    """
    from reviver.figures import check_figure_path, save_figure
    from reviver.lstm import evaluation, trace, trace_figures
    from reviver.lstm.network import LSTMClassifier

    sequence = evaluation.parse_digits(digits)
    check_figure_path(Path(out))
    loaded = options.open_lstm(run, checkpoint, common.device)
    if not isinstance(loaded.network, LSTMClassifier):
        raise ConfigError(f"{run}: is a vanilla RNN, which has no gates; give the run of an LSTM")
    index = trace.find_layer(loaded.network.lstm, layer, direction)
    traced = trace.trace_digits(loaded.network, loaded.config, sequence)
    save_figure(trace_figures.trace_figure(traced, sequence, index), Path(out))
    common.show({"out": out, "digits": sequence, "right": sequence[0], **trace.numbers_of(traced)}, out)
