"""What is made of trained runs: `reviver report`, `plot`, `explore` and `export`."""

import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from reviver.cli import options
from reviver.cli.options import FLAG, RUN
from reviver.settings.fields import CountOrZero, Seed, Text
from reviver.settings.parts import Parts
from reviver.settings.presets import SECONDS
from reviver.settings.validation import refuse
from reviver.text import duration


def report(
    *,
    out: Annotated[Text, RUN] = "report",
    full: Annotated[bool, RUN, FLAG] = False,
    seed: Annotated[Seed, RUN] = 0,
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Train both networks, or reuse finished runs, and write report.html, .pdf and .json, and explorer.html.

    Examples:
      reviver report --out report  about 6 minutes on two cores
      reviver report --full        train the GAN as in the original, 50 minutes

    Args:
        out: Folder for the report and its runs.
        full: Train the GAN with the preset original (200 epochs) instead of best.
        seed: Seed of the GAN, and first of the five seeds of the LSTM.
    """
    from reviver.progress import announcing
    from reviver.run import load
    from reviver.show.report.make import build_report, train_runs
    from reviver.show.report.results import GANResults, LSTMResults

    time = f"this takes about {duration(SECONDS['gan']['original' if full else 'best'] + 60)} on two cores"
    with announcing(time):
        lstm, no_dropout, gan = train_runs(out, full=full, seed=seed, device=common.device, progress=not common.quiet)
    results = LSTMResults([load(path, "lstm") for path in lstm], [load(path, "lstm") for path in no_dropout])
    files = build_report(Path(out), results, GANResults(load(gan, "gan")))
    paths = {name: str(path) for name, path in files._asdict().items() if path is not None}
    common.show(paths, *paths.values())
    common.suggest(*(f"open {shlex.quote(paths[name])} in a browser" for name in ("html", "explorer") if name in paths))


FigureFormat = Annotated[Literal["png", "pdf", "svg"], Parameter(name="--format", help="Format of the figures.")]


def plot(
    *runs: Annotated[str, Parameter(name="RUN", required=True)],
    format_: FigureFormat = "png",
    out: Text | None = None,
    own: options.AnyOwnOptions = options.NO_PARTS,
    common: options.FigureOptions = options.FIGURE_DEFAULTS,
) -> None:
    """Plot loss and accuracy of an LSTM over the epochs; of a GAN its losses, its scores and its last samples.

    Of several runs, plot a curve for each group of runs that differ only in their seed, with a band over the seeds.

    Examples:
      reviver plot runs/lstm                 writes runs/lstm/curves.png
      reviver plot runs/lstm-* runs/rnn-*    writes curves.png
      reviver plot runs/sweep-cells          all runs of a sweep
      reviver plot runs/gan                  also scores.png and samples.png
      reviver plot runs/gan --format pdf --out figures
      reviver plot runs/lstm --figure-width 10 --font-size 16 --dark   for a slide

    Args:
        runs: Run folders of LSTMs or GANs, finished or not, or the folder of a sweep.
        out: Folder for the figures; by default that of the run or the sweep, of several runs the current one.
    """
    from reviver.figures import check_figure_path, save_figure
    from reviver.run import open_run
    from reviver.show.curves import run_figures
    from reviver.show.groups import comparison_curves, read_runs
    from reviver.sweep.trials import find_trial_runs

    common.require_cpu()
    folder = _figure_folder(runs, out)
    check_figure_path(folder / f"curves.{format_}")
    is_one = len(runs) == 1 and not find_trial_runs(Path(runs[0]))
    figures = (
        run_figures(open_run(runs[0], parts=own.load())) if is_one else {"curves": comparison_curves(read_runs(runs))}
    )
    files = [str(folder / f"{name}.{format_}") for name in figures]
    for file, figure in zip(files, figures.values(), strict=True):
        save_figure(figure, Path(file))
    common.show({"run": runs[0], "files": files} if is_one else {"runs": [*runs], "files": files}, *files)


def compare(
    *runs: Annotated[str, Parameter(name="RUN", required=True)],
    format_: FigureFormat = "png",
    out: Text | None = None,
    labels: Annotated[list[Text] | None, Parameter(consume_multiple=True)] = None,
    log_loss: Annotated[bool, FLAG] = False,
    own: options.OwnOptions = options.NONE_GIVEN,
    common: options.FigureOptions = options.FIGURE_DEFAULTS,
) -> None:
    """Compare groups of runs that differ only in their seed: a table, and comparison.png with a band over the seeds.

    Numbers are mean ± sample standard deviation; where that would leave the possible values, mean, median and range. Groups
    that differ by no more than the larger of their standard deviations count as equal.

    Examples:
      reviver compare runs/lstm-* runs/rnn-*
      reviver compare runs/sweep-cells --format pdf --out figures
      reviver compare runs/lstm-* runs/rnn-* --labels LSTM RNN --log-loss
      reviver compare runs/lstm runs/rnn --json

    Args:
        runs: Run folders of LSTMs or of GANs, or the folder of a sweep.
        out: Folder for the figure; by default that of the sweep, of several runs the current one.
        labels: Names of the groups in the legend of the figure, in the order of the runs or of the file of the sweep.
        log_loss: Plot losses on a logarithmic scale.
    """
    from reviver.figures import check_figure_path, save_figure
    from reviver.show.groups import comparison_curves, rank_runs, read_runs

    common.require_cpu()
    path = _figure_folder(runs, out) / f"comparison.{format_}"
    check_figure_path(path)
    found = read_runs(runs)
    result, lines = rank_runs(found)
    save_figure(comparison_curves(found, labels or (), log_loss=log_loss), path)
    common.show({**result, "figure": str(path)}, *lines, str(path))


def _figure_folder(runs: tuple[str, ...], out: str | None) -> Path:
    folder = Path((runs[0] if len(runs) == 1 else ".") if out is None else out)
    if folder.suffix in (".png", ".pdf", ".svg") and not folder.is_dir():
        refuse("out", f"must be a folder, got {out!r}; give --out {folder.parent} --format {folder.suffix[1:]}")
    return folder


def explore(
    *runs: Annotated[str, Parameter(name="RUN")],
    out: Text = "explorer.html",
    training_images: CountOrZero | None = None,
    no_data: Annotated[bool, FLAG] = False,
    task: Text | None = None,
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Write runs as one HTML page, in which their networks run and new ones train in the browser.

    The page needs no server and no network. It holds the weights and some real images of the runs, so think before you
    share it. The same runs give the same file. Without a run, it is a page that trains an LSTM or a GAN. Of cells
    and networks of your own as classes, it shows what their training recorded, and runs nothing.

    Examples:
      reviver explore runs/gan runs/lstm --out explorer.html
      reviver explore runs/gan --training-images 0
      reviver explore runs/patients --no-data
      reviver explore --out train.html

    Args:
        runs: Run folders of trained LSTMs and GANs; not of one that is still training.
        out: Page to write, .html; it is replaced if it exists.
        training_images: Training images to embed for each GAN, among which the page finds the nearest; 0 for none. By
            default 2000, and fewer if they are large.
        no_data: Embed no real images, and no sequences of your own, since the page shows them to everybody who has it.
        task: Class of the task, of an LSTM with a task of your own: my_task.py:Mine.
    """
    common.require_cpu()
    path = Path(out)
    if path.suffix.lower() not in (".html", ".htm") and not path.is_dir():
        refuse("out", f"must end in .html, got {out}")

    from reviver.explorer.page import build_page
    from reviver.files.file_errors import check_writable
    from reviver.run import open_run

    check_writable(path)
    opened = [open_run(run, parts=Parts.load(task=task)) for run in runs]
    page = build_page(opened, num_training=training_images, with_data=not no_data)
    page.save(path)
    sizes, size = dict(page.block_sizes), path.stat().st_size
    result = {"out": out, "bytes": size, "blocks": {"page": size - sum(sizes.values()), **sizes}}
    common.show(result, f"{out}: {size / 1e6:.1f} MB")


def export(
    run: Annotated[Text, Parameter(name="RUN", help="Run folder of a trained LSTM or GAN.")],
    /,
    *,
    format_: Annotated[Literal["onnx", "hub", "c", "js"], Parameter(name="--format")],
    out: Text | None = None,
    step: Annotated[bool, FLAG] = False,
    weights: Literal["float", "fp16", "int8"] | None = None,
    opset: int | None = None,
    license_: Annotated[Text | None, Parameter(name="--license")] = None,
    checkpoint: options.Checkpoint = None,
    own: options.OwnOptions = options.NONE_GIVEN,
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Export a trained network as an ONNX file, as C or JavaScript, or as a folder for the Hugging Face Hub.

    onnx: a file that runs without Python and torch, such as in ONNX Runtime.
      LSTM: x [batch, time, channels], lengths [batch] if they differ
            -> logits, probabilities [batch, classes]; raw numbers go in
      GAN:  z [batch, Z], of a conditional one also classes [batch]
            -> images [batch, C, H, W] in [-1, 1]
      Metadata name the classes, the standardization and the run.
      --step: one step of an LSTM, with its state as inputs and outputs

    c: a header of C99 and C++ that runs an LSTM step by step, on a
      microcontroller as well: no malloc, no library.
    js: the same as a module for a web page or Node.js.

    hub: a folder with config.json, model.safetensors and a model card
      (README.md) with results, data and limits. from_pretrained of
      LSTMClassifier and Generator read it, on disk or from the hub.

    Examples:
      reviver export runs/lstm --format onnx --out lstm.onnx
      reviver export runs/gan --format onnx --out generator.onnx --opset 18
      reviver export runs/lstm --format c --out net.h --weights int8
      reviver export runs/lstm --format js --out net.mjs
      reviver export runs/lstm --format hub --out recall --checkpoint best
      reviver export runs/mine --format hub --out mine --license cc-by-4.0

    Args:
        format_: Format: onnx, c or js, a file; or hub, a folder.
        out: File or new folder to write; by default model.onnx, net.h or net.mjs, which is replaced if it exists, or model/.
        step: Export one step with its state, as ONNX; C and JavaScript always are.
        weights: Format of the weights in C: float, or fp16 or int8 in a half or a quarter of the bytes; by default float.
        opset: Version of the ONNX operators; by default the smallest that has all of them, 13.
        license_: License in the model card, such as mit; by default that of the data: cc-by-sa-3.0 for MNIST, mit for
            generated sequences, unknown for your own data.
    """
    unused: dict[str, Any] = {
        "license": license_ if format_ != "hub" else None,
        "weights": weights if format_ != "c" else None,
    }
    unused |= {"opset": opset, "step": step or None} if format_ != "onnx" else {}
    options.leave_out(f"the format {format_} has none", **unused)

    from reviver.run import open_run
    from reviver.show.export import to_code, to_hub, to_onnx

    path = Path(out or {"onnx": "model.onnx", "hub": "model", "c": "net.h", "js": "net.mjs"}[format_])
    if format_ in ("c", "js") and path.suffix not in (endings := {"c": (".h", ".c"), "js": (".mjs", ".js")}[format_]):
        refuse("out", f"must end with {' or '.join(endings)} for the format {format_}, got {path.name}")
    device = "cpu" if common.device == "auto" else common.device
    loaded = open_run(run, checkpoint=checkpoint, device=device, parts=own.load())
    result: dict[str, Any] = {"run": run, "checkpoint": loaded.checkpoint, "step": loaded.step}
    result |= {"format": format_, "out": str(path)}
    if format_ == "hub":
        files = [str(file) for file in to_hub(loaded, path, license_id=license_)]
        common.show({**result, "files": files}, *files)
        return
    if format_ in ("c", "js"):
        to_code(loaded, path, weights)
        size = path.stat().st_size
        common.show({**result, "weights": weights or "float", "bytes": size}, f"{path}: {size} bytes")
        return
    graph = to_onnx(loaded, path, opset=opset, step=step)
    result |= {"opset": graph.opset, "bytes": path.stat().st_size}
    lines = [f"{path}: {path.stat().st_size} bytes, opset {graph.opset}"]
    for kind, ports in (("input", graph.inputs), ("output", graph.outputs)):
        result[f"{kind}s"] = [port._asdict() for port in ports]
        for port in ports:
            shape = ", ".join(map(str, port.shape))
            lines.append(f"  {kind:<6}  {port.name:<13} {port.dtype} [{shape}]  {port.description}")
    common.show(result, *lines)
