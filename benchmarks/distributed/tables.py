"""Results of `distributed` as Markdown, a part per section of docs/explanation/scaling.md."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.distributed.load import BUSY
from benchmarks.distributed.model import Network
from benchmarks.distributed.predictions import WORKERS

NETWORKS = {"loopback": "loopback, as measured", "10 Gb/s": "10 Gb/s, assumed", "100 Gb/s": "100 Gb/s, assumed"}


def render(result: Mapping[str, Any]) -> str:
    """Return all parts, under the title."""
    parts = [f"### {result['title']}", *(part(result) for part in PARTS.values())]
    return "\n\n".join(parts) + "\n"


def all_reduce(result: Mapping[str, Any]) -> str:
    """Return the time of an all-reduce by bytes, and the fit."""
    counts = list(result["all_reduce"])
    lines = table(["message", *(head for count in counts for head in (f"p = {count}, ms (range)", "model, ms"))])
    for size in result["all_reduce"][counts[0]]:
        cells = [format_bytes(int(size))]
        for count in counts:
            network = Network(result["fits"][count]["latency"], result["fits"][count]["bandwidth"])
            model_seconds = network.all_reduce(int(size), int(count))
            cells += [format_summary(result["all_reduce"][count][size]), milliseconds(model_seconds)]
        lines.append(row(cells))
    lines += ["", *table(["p", "α, ms", "β, GB/s", "relative error: median", "maximum", "n"])]
    for count, network in result["fits"].items():
        error = network["error"]
        numbers = [milliseconds(network["latency"]), f"{network['bandwidth'] / 1e9:.2g}"]
        lines.append(row([count, *numbers, percent(error["median"]), percent(error["max"]), str(error["n"])]))
    summaries = [values for by_size in result["all_reduce"].values() for values in by_size.values()]
    return with_machine(lines, f"On the slowest process. {describe_load(summaries)}", result)


def steps(result: Mapping[str, Any]) -> str:
    """Return the time of a step and its split, and the ratios to the targets."""
    parts = ("computing", "reducing", "waiting")
    heads = ["preset", "processes × threads", "step, ms (range)", *(f"{part}, ms" for part in parts)]
    lines = table([*heads, "processor time, ms", "other programs"])
    for preset, settings in result["steps"].items():
        for setting, values in settings.items():
            times = [milliseconds(values[part]) for part in (*parts, "processor")]
            lines.append(row([preset, setting, format_summary(values), *times, percent(values["others"])]))
    lines += ["", *table(["steps a second, 2 × 1 to 1 × 2", "ratio of the medians", "other programs", "target"])]
    for preset, ratio in result["ratios"].items():
        target = "" if ratio["target"] is None else f"≥ {ratio['target']:g}"
        text = f"{ratio['median']:.2f}" if ratio["others"] <= BUSY else "not measured: the machine was busy"
        lines.append(row([preset, text, percent(ratio["others"]), target]))
    summaries = [values for settings in result["steps"].values() for values in settings.values()]
    note = f"Means over the processes, medians over blocks of steps; the settings alternate. {describe_load(summaries)}"
    return with_machine(lines, note, result)


def describe_load(summaries: Sequence[Mapping[str, Any]]) -> str:
    """Return how many blocks were measured and used, and the fraction of the cores that others took."""
    used = [values["n"] for values in summaries]
    total = [values["num_blocks"] for values in summaries]
    return (
        f"Median and range of the {min(used)} to {max(used)} quietest of {min(total)} to {max(total)} blocks. "
        f"During them other programs took {percent(min(values['others'] for values in summaries))} to "
        f"{percent(max(values['others'] for values in summaries))} of the cores."
    )


def format_summary(values: Mapping[str, float]) -> str:
    """Return median and range in milliseconds."""
    return f"{milliseconds(values['median'])} ({milliseconds(values['min'])} – {milliseconds(values['max'])})"


def model(result: Mapping[str, Any]) -> str:
    """Return the errors of the model, and predicted beside measured steps."""
    lines = table(["computing, one core", "sizes", "error: median", "maximum", "held-out sizes", "median", "maximum"])
    for kind, fitted in result["compute"].items():
        cells = [kind]
        for name in ("fit_error", "held_out_error"):
            error = fitted[name]
            cells += [str(error["n"]), percent(error["median"]), percent(error["max"])]
        lines.append(row(cells))
    lines += ["", *table(["step", "p", "measured, ms", "processor time, ms", "model, ms", "model to measured"])]
    for values in result["model_steps"]:
        measured, predicted = values["measured"], values["predicted"]
        processor = result["steps"][values["preset"]][f"{values['processes']} × 1"]["processor"]
        times = [milliseconds(seconds) for seconds in (measured, processor, predicted)]
        lines.append(row([values["preset"], str(values["processes"]), *times, f"{predicted / measured:.2f}"]))
    error = result["model_error"]
    note = f"Steps are not shown where other programs took more than {percent(BUSY)} of the cores."
    if error["n"]:
        note += (
            f" None of the steps was used for the fit. Relative error: median {percent(error['median'])}, "
            f"maximum {percent(error['max'])}, n = {error['n']}."
        )
    return with_machine(lines, note, result)


def workers(result: Mapping[str, Any]) -> str:
    """Return the predicted steps of more processes."""
    lines = table(["step", "rows", "network", *(f"p = {count}" for count in WORKERS)])
    for kind, word in (("strong", "together"), ("weak", "each")):
        for scaling in result["predictions"][kind]:
            found = {values["workers"]: values for values in scaling["rows"]}
            cells = [
                scaling["workload"],
                f"{scaling['batch']:,} {word}".replace(",", " "),
                NETWORKS[scaling["network"]],
            ]
            for count in WORKERS:
                values = found.get(count)
                text = "" if values is None else f"{milliseconds(values['seconds'])} ({values['efficiency']:.0%})"
                cells.append(text)
            lines.append(row(cells))
    return "\n".join([*lines, "", "Milliseconds a step (efficiency). Predicted, not measured.", ""])


def sizes(result: Mapping[str, Any]) -> str:
    """Return the predicted time and memory of large sizes."""
    predictions = result["predictions"]
    count = predictions["workers"]
    names = [f"{name}, p = {count}" for name in ("10 Gb/s", "100 Gb/s")]
    heads = [
        "T",
        "H",
        "step, p = 1",
        *names,
        "exchanged",
        "activations",
        "checkpointed (k)",
        f"activations, p = {count}",
    ]
    lines = table(heads)
    for size in predictions["lstm_sizes"]:
        checkpointed = f"{format_bytes(size['bytes_checkpointed'])} ({size['checkpoint_steps']})"
        cells = [
            f"{size['T']:,}".replace(",", " "),
            str(size["H"]),
            *_times(size),
            format_bytes(size["exchanged_bytes"]),
        ]
        lines.append(row([*cells, format_bytes(size["bytes"]), checkpointed, format_bytes(size["bytes_per_worker"])]))
    lines += ["", *table(["images", "step, p = 1", *names, "exchanged", "memory of a process, p = 1"])]
    for size in predictions["image_sizes"]:
        shape = f"{size['image_size']} × {size['image_size']}"
        lines.append(row([shape, *_times(size), format_bytes(size["exchanged_bytes"]), format_bytes(size["bytes"])]))
    lines += ["", *table(["activations of B, T, H", "k", "measured", "formula", "measured to formula"])]
    for values in result["memory"]:
        shape = f"{values['B']}, {values['T']}, {values['H']}"
        steps = "" if values["checkpoint_steps"] is None else str(values["checkpoint_steps"])
        found = [format_bytes(values["bytes"]), format_bytes(values["expected"])]
        lines.append(row([shape, steps, *found, f"{values['bytes'] / values['expected']:.2f}"]))
    batch = predictions["lstm_sizes"][0]["batch"]
    note = f"Predicted at a global batch of {batch}, except the last table. Each process has a core of its own."
    return with_machine(lines, note, result)


PARTS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "all_reduce": all_reduce,
    "steps": steps,
    "model": model,
    "workers": workers,
    "sizes": sizes,
}
"""Parts of the page, by the end of their name between its marks: `scaling_steps` and so on."""


def _times(size: Mapping[str, Any]) -> list[str]:
    return [format_seconds(size["seconds"][name]) for name in ("alone", "10 Gb/s", "100 Gb/s")]


def with_machine(lines: Sequence[str], note: str, result: Mapping[str, Any]) -> str:
    """Return a table with a note, and the machine."""
    from benchmarks.tables import describe

    return "\n".join([*lines, "", note, "", describe(result["machine"]), ""])


def table(heads: Sequence[str]) -> list[str]:
    """Return the first lines of a table."""
    return [row(heads), "|---" * len(heads) + "|"]


def row(cells: Sequence[str]) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(cells)} |"


def milliseconds(seconds: float) -> str:
    """Return seconds in milliseconds, with two or three digits."""
    value = 1e3 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}" if value < 10 else f"{value:.3g}"


def format_seconds(seconds: float) -> str:
    """Return a time in ms or s."""
    if seconds < 1:
        return f"{milliseconds(seconds)} ms"
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:,.0f} s".replace(",", " ")


def format_bytes(size: float) -> str:
    """Return a number of bytes with a unit, a power of 1024."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} TB"


def percent(fraction: float) -> str:
    """Return a fraction in percent."""
    return f"{100 * fraction:.0f} %"
