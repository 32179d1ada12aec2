"""The command line: parse, call, print. Networks are imported only once a command runs, so that `--help` is quick."""

import contextlib
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reviver.arguments import Request, build_parser, parse, requested_config
from reviver.config import MAX_SEED, check_whole, choose_preset, from_mapping
from reviver.errors import ConfigError, ReviverError
from reviver.gan.presets import MAX_SIZE
from reviver.gan.presets import PRESETS as GAN_PRESETS
from reviver.lstm.presets import PRESETS as LSTM_PRESETS

if TYPE_CHECKING:
    from reviver.loading import GANRun, LSTMRun
    from reviver.runs.folder import RunFolder

INTERRUPTED = 130


class StderrHandler(logging.Handler):
    """Writes to what `sys.stderr` is by then: a progress bar takes its place, so that lines come above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if sys.stderr is not None:  # closed by whoever started us
            with contextlib.suppress(OSError, ValueError):
                print(self.format(record), file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code: 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    logging.basicConfig(format="%(message)s", handlers=[StderrHandler()], force=True)
    logging.getLogger("reviver").setLevel(logging.INFO)
    if not arguments:
        build_parser().print_help(sys.stderr)
        return ConfigError.exit_code
    try:
        request = parse(arguments)
        if request.options.get("quiet"):
            logging.getLogger("reviver").setLevel(logging.WARNING)
        COMMANDS[request.command](request)
        if sys.stdout is not None:  # closed by whoever started us
            sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in arguments and not isinstance(error, KeyboardInterrupt):
            traceback.print_exception(error)
        return report_failure(error)
    return 0


def report_failure(error: BaseException) -> int:
    """Say in one line on stderr what went wrong; returns the exit code."""
    match error:
        case ReviverError():
            message, exit_code = str(error), error.exit_code
        case KeyboardInterrupt():
            message, exit_code = "stopped by Ctrl-C", INTERRUPTED
        case BrokenPipeError():  # whoever read our output has gone
            discard_output()
            return 0
        case OSError():  # files that we write explain themselves, see runs/files.py
            if error.filename is None:
                discard_output()
            message, exit_code = (
                f"{error.filename or 'output'}: {error.strerror or error}; put that right and run the command again",
                1,
            )
        case MemoryError() | RuntimeError() if isinstance(error, MemoryError) or "memory" in str(error):
            message, exit_code = "out of memory; use smaller sizes or batches", 1
        case _:
            message, exit_code = f"{type(error).__name__}: {error}; run again with --debug and report it", 1
    kind = "" if exit_code >= INTERRUPTED else "error: "
    print(f"reviver: {kind}{' '.join(message.split())}", file=sys.stderr)
    return exit_code


def discard_output() -> None:
    """Send what stdout still holds to nowhere, so that Python does not complain of it again as it ends."""
    if sys.stdout is not None:
        with contextlib.suppress(OSError, ValueError):  # it has no file, or is closed
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def report(request: Request) -> None:
    """`reviver report`."""
    from reviver.report.build import make_report

    options = request.options
    out = Path(options.out)
    result = make_report(out, full=options.full, seed=options.seed, device=options.device, progress=not options.quiet)
    show(request, {"html": str(result.html), "pdf": str(result.pdf)}, f"{result.html}\n{result.pdf}")


def lstm_train(request: Request) -> None:
    """`reviver lstm train`."""
    from reviver.lstm.tasks.build import build_task
    from reviver.lstm.tasks.task import ANSWERS, LOSSES
    from reviver.lstm.training import is_reached, rank, train

    options = request.options
    config, out = training_config(request, "lstm", LSTM_PRESETS)
    folder = train(config, out, device=options.device, resume=options.resume, progress=not options.quiet)
    points = folder.read_metrics()
    last = points[-1]
    best = max(points, key=rank)
    target = build_task(config, folder.record.get("data")).target
    kind = "" if target == "class" else f" (accuracy of {ANSWERS[target]}, loss: {LOSSES[target]})"
    lines = [f"{folder.path}: {last['epoch']} epochs in {last['seconds']:.1f} s{kind}", *describe_rollbacks(folder)]
    for name, part, point, note in (
        ("train", "train", last, "with dropout on"),
        ("validation", "validation", last, ""),
        ("best", "validation", best, f"epoch {best['epoch']}"),
    ):
        lines.append(
            f"  {name:<11} loss {point[f'{part}_loss']:.4f}  accuracy {point[f'{part}_accuracy']:7.2%}  {note}"
        )
    answer: dict[str, Any] = {"run": str(folder.path), "last": last, "best": best}
    if config.grow:
        answer["reached"] = is_reached(config, last)
        end = "passed" if answer["reached"] else "not passed; go on with --resume and more --epochs"
        lines.append(
            f"  length {last['length']} of {config.length}, {config.threshold_at(config.length):.1%} in validation {end}"
        )
    show(request, answer, "\n".join(line.rstrip() for line in lines))


def lstm_evaluate(request: Request) -> None:
    """`reviver lstm evaluate`."""
    from reviver.figures import check_figure_path, save_figure
    from reviver.lstm.evaluation import evaluate
    from reviver.lstm.tasks.own import OwnTask
    from reviver.lstm.tasks.task import ANSWERS, LOSSES

    run = open_lstm(request)
    lengths = request.options.length or [run.config.length]
    if isinstance(run.task, OwnTask):
        if request.options.length:
            raise ConfigError(
                "length: is not possible for a run on own data, whose sequences have their own; leave it out"
            )
        lengths = [run.task.known.longest]
    out = None if request.options.out is None else Path(request.options.out)
    if out is not None:
        check_figure_path(out)
    results = [evaluate(run.network, run.task, length, request.options.size) for length in lengths]
    rows = []
    target, chance = results[0].target, results[0].chance
    meaning = f"accuracy of {ANSWERS[target]}, chance is {100 * chance:.3g}%; loss: {LOSSES[target]}"
    lines = [f"{'length':>8} {'accuracy':>9} {'loss':>10} {'baseline':>9} {'sequences':>10}   {meaning}"]
    for result in results:
        score = result.score
        rows.append(
            {"length": result.length, **score._asdict(), "target": target, "chance": chance}
            | {"baseline": result.baseline, "origin": result.origin}
        )
        lines.append(
            f"{result.length:>8} {score.accuracy:>9.2%} {score.loss:>10.4g} {result.baseline:>9.4g} {score.size:>10}   {result.origin}"
        )
    if out is not None:
        from reviver.lstm.figures import generalisation

        save_figure(generalisation(sorted(results), run.config.length, chance), out)
        lines.append(str(out))
    answer = {"run": request.options.run, "checkpoint": request.options.checkpoint, "results": rows}
    show(request, answer, "\n".join(lines))


def lstm_predict(request: Request) -> None:
    """`reviver lstm predict`."""
    from reviver.lstm.evaluation import parse_digits, predict
    from reviver.lstm.sequence_files import ENDINGS
    from reviver.lstm.tasks.own import OwnTask

    if Path(request.options.digits).suffix.lower() in ENDINGS:
        lstm_predict_file(request)
        return
    if request.options.out is not None:
        raise ConfigError("out: is for predictions of a file; give a .csv, .parquet or .npz instead of one sequence")
    run = open_lstm(request)
    if isinstance(run.task, OwnTask):
        raise ConfigError(
            f"sequence: {request.options.digits!r} is no file; a run on own data predicts for a .csv, .parquet or .npz"
        )
    digits = parse_digits(request.options.digits)
    prediction = predict(run.network, run.config, digits)
    lines = [f"after {' '.join(map(str, digits))} comes {prediction.digit}"]
    for digit, probability in enumerate(prediction.probabilities):
        lines.append(f"  {digit}  {probability:7.2%}  {'█' * round(probability * 40)}".rstrip())
    trained = run.config.length - 1
    if len(digits) != trained:
        lines.append(f"trained on {trained} digits, given {len(digits)}")
    show(request, {"digits": digits, **prediction._asdict(), "trained_digits": trained}, "\n".join(lines))


def lstm_predict_file(request: Request) -> None:
    """`reviver lstm predict` with a file of sequences."""
    from reviver.lstm.evaluation import predict_table
    from reviver.lstm.sequence_files import read_sequences, write_predictions
    from reviver.lstm.tasks.own import OwnTask

    run, out = open_lstm(request), Path(request.options.out or "predictions.csv")
    if not isinstance(run.task, OwnTask):
        raise ConfigError(f"run: {request.options.run} was not trained on own data, so it reads no files; give digits")
    if out.suffix.lower() != ".csv":
        raise ConfigError(f"out: {out} has no ending that predictions can be saved as; choose .csv")
    table = read_sequences(Path(request.options.digits), sequence_column=run.config.sequence_column, labelled=False)
    probabilities = predict_table(run.network, run.task, table)
    classes = run.task.known.classes
    write_predictions(out, table, classes, probabilities)
    counts = probabilities.argmax(1).bincount(minlength=len(classes)).tolist()
    lines = [str(out), *(f"  {name}: {count}" for name, count in zip(classes, counts, strict=True) if count)]
    answer = {"out": str(out), "sequences": len(table), "counts": dict(zip(classes, counts, strict=True))}
    show(request, answer, "\n".join(lines))


def lstm_curve(request: Request) -> None:
    """`reviver lstm curve`."""
    import torch

    from reviver.figures import save_figure
    from reviver.lstm.curve import LENGTHS, NETWORKS, run_curve, summarise
    from reviver.lstm.figures import recall_curve
    from reviver.runs.devices import describe_machine
    from reviver.runs.files import write_json

    options = request.options
    out = Path(options.out)
    outcomes = run_curve(
        out,
        lengths=options.length or LENGTHS,
        seeds=range(options.seeds),
        networks=options.network or tuple(NETWORKS),
        sequences=options.sequences,
        jobs=options.jobs,
        progress=not options.quiet,
    )
    rows = summarise(outcomes)
    machine = {**describe_machine(torch.device("cpu")), "torch": torch.__version__}
    write_json(out / "curve.json", {"sequences": options.sequences, "machine": machine, "rows": rows})
    for name in ("curve.pdf", "curve.png"):
        save_figure(recall_curve(outcomes), out / name)
    lines = [f"{'network':<9} {'length':>7} {'accuracy':>17} {'99 % reached':>13} {'after sequences':>16}"]
    for row in rows:
        accuracy = f"{row['accuracy_mean']:.2%} ± {row['accuracy_std']:.2%}"
        reached = f"{row['reached']}/{row['seeds']}"
        sequences = "" if row["sequences_mean"] is None else f"{row['sequences_mean']:,.0f}".replace(",", " ")
        lines.append(f"{row['network']:<9} {row['length']:>7} {accuracy:>17} {reached:>13} {sequences:>16}")
    lines.append(f"{out / 'curve.pdf'}")
    show(request, {"out": options.out, "rows": rows}, "\n".join(lines))


def lstm_trace(request: Request) -> None:
    """`reviver lstm trace`."""
    from reviver.figures import check_figure_path, save_figure
    from reviver.lstm.evaluation import parse_digits
    from reviver.lstm.network import LSTMClassifier
    from reviver.lstm.trace import find_layer, numbers_of, trace_digits
    from reviver.lstm.trace_figures import trace_figure

    options = request.options
    digits, out = parse_digits(options.digits), Path(options.out)
    check_figure_path(out)
    run = open_lstm(request)
    if not isinstance(run.network, LSTMClassifier):
        raise ConfigError(f"run: {options.run} is a vanilla RNN, which has no gates; give the run of an LSTM")
    index = find_layer(run.network.lstm, options.layer, options.direction)
    trace = trace_digits(run.network, run.config, digits)
    save_figure(trace_figure(trace, digits, index), out)
    show(request, {"out": options.out, "digits": digits, "right": digits[0], **numbers_of(trace)}, options.out)


def gan_train(request: Request) -> None:
    """`reviver gan train`."""
    from reviver.gan.training import train
    from reviver.gan.watch import describe_point

    options = request.options
    config, out = training_config(request, "gan", GAN_PRESETS)
    folder = train(config, out, device=options.device, resume=options.resume, progress=not options.quiet)
    points, scores = folder.read_metrics(), folder.read_scores()
    seconds = folder.record["seconds"]
    lines = [f"{folder.path}: {config.epochs} epochs in {seconds:.1f} s", *describe_rollbacks(folder)]
    if scores:
        lines.append(f"  {describe_point(scores[-1])}; scoring took {folder.record['scoring_seconds']:.1f} s besides")
    lines.append(f"  grids and training.gif are in {folder.samples}")
    answer = {"run": str(folder.path), "seconds": seconds, "last": points[-1] if points else None}
    show(request, answer | {"scores": scores[-1] if scores else None}, "\n".join(lines))


def gan_sample(request: Request) -> None:
    """`reviver gan sample`."""
    from reviver.gan.output import save_samples
    from reviver.gan.sampling import draw_samples

    options = request.options
    run = open_gan(request)
    seed = run.config.seed if options.seed is None else options.seed
    images, latents = draw_samples(run.generator, options.n, seed, options.digit)
    save_samples(images, latents, Path(options.out))
    show(request, {"out": options.out, "shape": list(images.shape), "seed": seed}, options.out)


def gan_interpolate(request: Request) -> None:
    """`reviver gan interpolate`."""
    from reviver.figures import check_figure_path
    from reviver.gan.output import draw_interpolation, save_interpolation
    from reviver.gan.paths import MAX_PAIRS, compare_paths, describe
    from reviver.gan.reference import choose_extractor

    options = request.options
    check_figure_path(Path(options.out))
    if "pairs" in request.given and not options.measure:
        raise ConfigError("pairs: are measured only with --measure; add it, or leave out pairs")
    check_whole("pairs", options.pairs, minimum=0, maximum=MAX_PAIRS)
    run = open_gan(request)
    seed = run.config.seed if options.seed is None else options.seed
    files = (options.from_image, options.to_image)
    if files.count(None) == 1:
        raise ConfigError("from_image: needs to_image beside it, and the other way round; give both or none")
    images = None if None in files else (Path(files[0]), Path(files[1]))
    extractor, (path, noted) = None, find_extractor(run, options.extractor)
    if options.measure or path:
        extractor = choose_extractor(run.config.data, run.generator.image_shape, path, noted)
    classifier = None if extractor is None else extractor.classifier
    walk = draw_interpolation(run, options["from"], options.to, options.steps, options.path, seed, images, classifier)
    result = {"out": options.out, "path": options.path, "seed": seed}
    result |= {"digits": walk.digits, "confidences": walk.confidences}
    lines, measured = [], None
    if options.measure and extractor is not None:
        start, end = walk.latents[0], walk.latents[-1]
        measured = compare_paths(run.generator, extractor, start, end, pairs=options.pairs, seed=seed)
        result["measured"] = measured.as_dict()
        lines += describe(measured)
    save_interpolation(walk, Path(options.out), labels=options.labels, report=measured)
    show(request, result, "\n".join([*lines, options.out]))


def gan_project(request: Request) -> None:
    """`reviver gan project`."""
    from reviver.figures import check_figure_path, save_figure
    from reviver.gan.figures import projection_figure
    from reviver.gan.output import project_files

    options = request.options
    out = Path(options.out)
    check_figure_path(out)
    run = open_gan(request)
    seed = run.config.seed if options.seed is None else options.seed
    originals, found = project_files(run, [Path(one) for one in options.images], seed)
    errors = found.errors.tolist()
    save_figure(projection_figure(originals, found.images, errors), out)
    lines = [
        f"{name}: root-mean-square difference {error:.4f}" for name, error in zip(options.images, errors, strict=True)
    ]
    answer = {
        "out": str(out),
        "seed": seed,
        "images": options.images,
        "errors": errors,
        "latents": found.latents.tolist(),
    }
    show(request, answer, "\n".join([*lines, str(out)]))


def gan_score(request: Request) -> None:
    """`reviver gan score`."""
    from reviver.figures import check_figure_path, save_figure
    from reviver.gan.figures import sample_grid
    from reviver.gan.grids import save_grid
    from reviver.gan.reference import check_size, choose_data, load_reference
    from reviver.gan.sampling import draw_samples
    from reviver.gan.scores import NUM_SHOWN, describe, nearest_sheet, score_images

    options = request.options
    out = None if options.out is None else Path(options.out)
    if out is not None:
        check_figure_path(out)
    run = open_gan(request)
    seed = run.config.seed if options.seed is None else options.seed
    check_whole("seed", seed, minimum=0, maximum=MAX_SEED)
    path, noted = find_extractor(run, options.extractor)
    learned = run.folder.record.get("data", {}).get("sha256")
    extractor, train, test = choose_data(run.config.data, run.generator.image_shape, path, learned, noted)
    check_size("n", options.n, train)
    reference = load_reference(options.n, extractor, train, test)
    images, z = draw_samples(run.generator, options.n, seed)
    scores = score_images(images, reference, run.generator.ordered(z))
    lines = [f"{options.run}, seed {seed}", *describe(scores)]
    if out is not None:
        sheet, columns = nearest_sheet(images, scores, reference), min(NUM_SHOWN, options.n)
        if out.suffix.lower() == ".png":
            save_grid(sheet, out, columns)
        else:
            save_figure(sample_grid(sheet, columns), out)
        lines.append(str(out))
    show(request, {"run": options.run, "seed": seed, "out": options.out, **scores.as_dict()}, "\n".join(lines))


def gan_extractor(request: Request) -> None:
    """`reviver gan extractor`."""
    from reviver.figures import check_writable
    from reviver.gan.classifier import MIN_SIZE
    from reviver.gan.images import load_images, load_test_images
    from reviver.gan.train_classifier import accuracy, save_classifier, train_classifier

    options = request.options
    out = Path(options.out)
    if out.exists():
        raise ConfigError(f"out: {out} exists already and is never overwritten; choose another --out")
    check_writable(out)
    check_whole("size", options.size, minimum=MIN_SIZE, maximum=MAX_SIZE)
    train, test = load_images(options.data, options.size), load_test_images(options.data, options.size)

    def tell(epoch: int, loss: float) -> None:
        logging.getLogger("reviver").info("epoch %d/%d  loss %.4f", epoch, options.epochs, loss)

    classifier = train_classifier(train, options.epochs, None if options.quiet else tell)
    share, sha256 = accuracy(classifier, test), save_classifier(classifier, out)
    text = f"{out}: recognises {share:.2%} of {len(test.images)} test images, sha256 {sha256}"
    show(request, {"out": options.out, "test_accuracy": share, "sha256": sha256}, text)


COMMANDS: dict[tuple[str, ...], Callable[[Request], None]] = {
    ("report",): report,
    ("lstm", "train"): lstm_train,
    ("lstm", "evaluate"): lstm_evaluate,
    ("lstm", "predict"): lstm_predict,
    ("lstm", "curve"): lstm_curve,
    ("lstm", "trace"): lstm_trace,
    ("gan", "train"): gan_train,
    ("gan", "sample"): gan_sample,
    ("gan", "interpolate"): gan_interpolate,
    ("gan", "project"): gan_project,
    ("gan", "score"): gan_score,
    ("gan", "extractor"): gan_extractor,
}


def training_config(request: Request, kind: str, presets: Mapping[str, Any]) -> tuple[Any, Path]:
    """Return the configuration and the run folder that are asked for.

    The configuration is the preset, or with --resume the run's own, with the given options laid over it.
    """
    preset_name = request.given.get("preset", "report")
    preset = choose_preset(presets, preset_name)
    if request.given.get("data") is not None and kind == "lstm":
        request.given.setdefault("task", "own")
    config = requested_config(request, preset)
    out = Path(request.options.out or f"runs/{kind}-{preset_name}-seed{config.seed}")
    if request.options.resume:
        from reviver.runs.folder import RunFolder

        stored = from_mapping(type(preset), RunFolder.open(out, kind).record["config"])
        config = requested_config(request, stored)
    return config, out


def describe_rollbacks(folder: "RunFolder") -> list[str]:
    """A line for each time that the run went back to a checkpoint because something was not finite."""
    return [
        f"  step {one['step']}: {one['quantity']} was not finite; went back to step {one['back_to']} with a lower step size"
        for one in folder.rollbacks
    ]


def open_lstm(request: Request) -> "LSTMRun":
    """Load the LSTM run that a command is about."""
    from reviver.loading import load_lstm
    from reviver.runs.folder import RunFolder

    options = request.options
    return load_lstm(RunFolder.open(options.run, "lstm"), options.checkpoint, options.device)


def open_gan(request: Request) -> "GANRun":
    """Load the GAN run that a command is about."""
    from reviver.loading import load_gan
    from reviver.runs.folder import RunFolder

    return load_gan(RunFolder.open(request.options.run, "gan"), device=request.options.device)


def find_extractor(run: "GANRun", given: str | None) -> tuple[str | None, str | None]:
    """The path of the extractor that is given, or else of the run's, which must have the checksum that comes with it."""
    if given is not None or run.config.extractor is None:
        return given, None
    return run.config.extractor, str(run.folder.record.get("extractor_sha256", "unknown"))


def show(request: Request, result: Mapping[str, Any], text: str) -> None:
    """Print a command's result to stdout: JSON with --json, else text."""
    print(json.dumps(result, allow_nan=False) if request.options.json else text)
