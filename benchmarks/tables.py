"""Benchmark results as Markdown."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import mean, median
from typing import Any

from reviver.show.recall_curve import MAX_CHANCE_ACCURACY
from reviver.text import show_spread

RANGES = ("", "median", "range")
"""Titles of a table of `_row`."""


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table as lines of Markdown; a row may leave out empty cells at its end."""
    padded = [[*row, *[""] * (len(titles) - len(row))] for row in (titles, *rows)]
    head, *lines = ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in padded)
    return [head, "|---" * len(titles) + "|", *lines]


def render_diagnosis(result: Mapping[str, Any]) -> str:
    """Return the result of `diagnosis` as Markdown: how often each rule fires."""
    titles = [*next(iter(result["fired"].values()))]
    rows = [[recipe, *(f"{fired[name]:.0f}" for name in titles)] for recipe, fired in result["fired"].items()]
    dips = result["dips"]
    note = f"Of {dips['runs']} LSTMs of the report, {dips['fired']} end in a dip. {machine_line(result['machine'])}"
    return "\n".join([*table(("", *titles), rows), "", note, ""])


def render_calibration(result: Mapping[str, Any]) -> str:
    """Return the result of `cell_calibration` as Markdown: of how many draws a text is called different, and worse."""
    abilities = next(iter(result["rows"].values()))["by_ability"]
    rows = [
        [
            f"LSTM, {name}",
            *(f"{row[word] / row['draws']:.1%}" for word in ("different", "worse")),
            *map(str, row["by_ability"].values()),
        ]
        for name, row in result["rows"].items()
    ]
    draws = next(iter(result["rows"].values()))["draws"]
    note = f"Of {draws} draws of six seeds of a text and six others of the LSTM. The tasks: draws in which it is called worse."
    note = f"{note} {machine_line(result['machine'])}"
    titles = ("", "different in any task", "worse in any task", *(f"`{ability}`" for ability in abilities))
    return "\n".join([*table(titles, rows), "", note, ""])


def render_published(result: Mapping[str, Any]) -> str:
    """Return the result of `published_rows` as Markdown: what papers say beside what was measured."""
    rows = []
    for row in result["rows"]:
        means = sorted(mean(seed) for seed in row["measured"])
        shown = [f"{value:.2g}" if row["is_error"] else f"{value:.1%}" for value in means]
        best = shown[0 if row["is_error"] else -1]
        rows.append(
            [row["paper"], row["task"], f"{row['cell']}, {row['rate']:g}", row["published"], best, ", ".join(shown)]
        )
    titles = ["paper", "task", "cell, rate", "published", "best seed", "all seeds"]
    return "\n".join([*table(titles, rows), "", machine_line(result["machine"]), ""])


def render_speed(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the results of one machine, by the name of what was timed, as one table."""
    rows = [row for name, result in results.items() for row in speed_rows(result, name)]
    return "\n".join([*table(RANGES, rows), "", machine_line(next(iter(results.values()))["machine"]), ""])


def speed_rows(result: Mapping[str, Any], what: str = "") -> Iterator[list[str]]:
    """Yield a row for each time of Reviver, and for each ratio of times to a peer."""

    def show(name: str) -> str:
        name = name.replace("ours", "Reviver")
        return f"{what}: {name}" if what else name

    for key in ("seconds_per_epoch", "seconds_per_run"):
        ours = {name: values for name, values in result.get(key, {}).items() if name.startswith("ours")}
        yield from (_row(f"{show(name)}, s", values) for name, values in ours.items())
    yield from (_row(f"{name}, s", values) for name, values in result.get("seconds_per_call", {}).items())
    yield from (_row(f"{show(name)}, ratio", values) for name, values in result.get("ratios", {}).items())


def render_operator(result: Mapping[str, Any]) -> str:
    """Return the result of `lstm_operator` as Markdown: times and ratios by shape, with bf16 and memory."""
    rows = []
    for name, values in result["shapes"].items():
        times = [f"{values['milliseconds'][key]['median']:.3g}" for key in ("ours", "nn.LSTM")]
        ratios = [f"{values[f'to {key}']['median']:.2f}" for key in ("nn.LSTM", "the limit", "the loop")]
        bf16, peaks = values.get("bf16 to fp32"), result["peak_megabytes"].get(name)
        measured = f"{bf16['median']:.2f}" if bf16 else ""
        memory = f"{peaks['ours']:.0f}, {peaks['nn.LSTM']:.0f}" if peaks else ""
        rows.append([name.replace(",", ", "), *times, *ratios, measured, memory])
    titles = [
        "kernel, ms",
        "nn.LSTM, ms",
        "to nn.LSTM",
        "to the limit",
        "to the loop",
        "bf16 to fp32",
        "peak MB of both",
    ]
    return "\n".join([*table(("B, T, I, H", *titles), rows), "", f"Medians. {machine_line(result['machine'])}", ""])


def render_explorer(result: Mapping[str, Any]) -> str:
    """Return the result of `explorer` as Markdown: speed and size."""
    rows = [_row(f"{name}, ms", values) for name, values in result["milliseconds_per_call"].items()]
    rounding = ", ".join(f"{row['max']:.1g} in a {row['unit']} ({row['network']})" for row in result["rounding"])
    note = (
        f"Largest effect of fp16 weights: {rounding}. The page has "
        f"{result['megabytes']:.2f} MB. {machine_line(result['machine'])} {result['machine']['browser']}."
    )
    return "\n".join([*table(RANGES, rows), "", note, ""])


def render_training(result: Mapping[str, Any]) -> str:
    """Return the result of `explorer_training` as Markdown: speed, smoothness and differences from Python."""
    networks = result["beside_the_drawing_page"]

    updates = [result["milliseconds_per_update"][network] for network in networks]
    shown = (f"{value['median']:.3g} ({value['min']:.3g}–{value['max']:.3g})" for value in updates)
    rows = [["an update, ms", *shown]]
    measures = dict.fromkeys(name for values in networks.values() for name in values)
    rows += [
        [name, *(f"{values[name]:.3g}" if name in values else "" for values in networks.values())] for name in measures
    ]
    differences = "; ".join(f"{name}: {value:.2g}" for name, value in result["differences"].items())
    machine = result["machine"]
    note = f"{differences}. {machine_line(machine)} {machine['browser']}."
    return "\n".join([*table(("", *networks), rows), "", note, ""])


def render_goals(result: Mapping[str, Any]) -> str:
    """Return the result of `recall` as Markdown: the accuracy of each preset over its seeds, then at other lengths."""
    rows, lengths = [], []
    for goal in result["goals"].values():
        what, runs = goal["what"], goal["rows"]
        first = [run["evaluations"][0] for run in runs]
        seconds, threads = [run["seconds"] for run in runs], sorted({run["threads"] for run in runs})
        has_curriculum = runs[0].get("validation_sequences") is not None
        rows.append(
            [
                what,
                str(len(runs)),
                _percent([evaluation["accuracy"] for evaluation in first]),
                f"{mean(evaluation['loss'] for evaluation in first):.2g} ({first[0]['baseline']:.3g})",
                _number(median(run["sequences"] for run in runs)),
                _range([run["max_trained_length"] for run in runs]) if has_curriculum else "",
                f"{median(seconds):.0f} ({', '.join(map(str, threads))})",
            ]
        )
        for index, evaluation in enumerate(runs[0]["evaluations"][1:], start=1):
            values = [run["evaluations"][index]["accuracy"] for run in runs]
            lengths.append([what, _number(evaluation["length"]), _percent(values)])
    titles = [
        "",
        "seeds",
        "accuracy, mean (min)",
        "loss (baseline)",
        "sequences",
        "longest training at T",
        "seconds (threads)",
    ]
    lines = [*table(titles, rows), "", *table(("run", "evaluated at T", "accuracy, mean (min)"), lengths)]
    return "\n".join([*lines, "", machine_line(result["machine"]), ""])


def _range(values: Sequence[int]) -> str:
    """Return the smallest and the largest of some numbers; one number if they are equal."""
    return "–".join(map(_number, sorted({min(values), max(values)})))


def render_curve(result: Mapping[str, Any]) -> str:
    """Return the result of `reviver lstm curve` as Markdown: accuracy by length of the networks with all seeds."""
    lengths = sorted({row["length"] for row in result["rows"]})
    seeds = max(row["seeds"] for row in result["rows"])
    known = [row for row in result["rows"] if row["seeds"] == seeds]
    found = {(row["network"], row["length"]): row["accuracies"] for row in known}
    rows = []
    for network in dict.fromkeys(row["network"] for row in known):
        values = [found.get((network, length)) for length in lengths]
        cells = [_median(one) if one else "–" for one in values]
        last = max(index for index, one in enumerate(values) if one)
        if last and all(one and mean(one) <= MAX_CHANCE_ACCURACY for one in values[last - 1 : last + 1]):
            cells[last + 1 :] = [""] * (len(lengths) - last - 1)  # the command leaves them out
        longest = zip(*(row["longest"] for row in known if row["network"] == network), strict=False)
        passed = sorted(Counter(map(max, longest)).items(), reverse=True)
        rows.append([f"`{network}`", *cells, ", ".join(f"{count} × {_number(length)}" for length, count in passed)])
    note = (
        f"Accuracy in %: median (minimum) over {seeds} seeds, after at most {_number(result['sequences'])} training "
        f"sequences. Last: the longest T of each seed that passed 99 % in training. {machine_line(result['machine'])}"
    )
    return "\n".join([*table(("", *(f"T = {_number(length)}" for length in lengths), "passed"), rows), "", note, ""])


def render_recipes(result: Mapping[str, Any]) -> str:
    """Write the result of `gan_quality` as Markdown: the scores of each recipe over its seeds."""
    columns = (("FID", "fid", 1, math.inf), ("recall", "recall", 2, 1.0), ("coverage", "coverage", 2, 1.0))
    rows = []
    for goal in result["goals"].values():
        runs = [run | {"fid": mean(run.get("fid_draws", [run["fid"]]))} for run in goal["rows"]]
        scores = [spread([run[name] for run in runs], digits, high) for _, name, digits, high in columns]
        collapsed = f"{sum(run['collapsed'] for run in runs)} of {len(runs)}"
        rows.append([goal["what"], str(runs[0]["epochs"]), *scores, collapsed])
    first = next(iter(result["goals"].values()))["rows"][0]
    rows.append(["real images", "", *(f"{first['real_baseline'][name]:.{digits}f}" for _, name, digits, _ in columns)])
    note = (
        f"Mean ± standard deviation over the seeds; {first['num_samples']} samples against the test images. FID of "
        f"a run of `best` is the mean of three draws of noise. {machine_line(result['machine'])}"
    )
    elsewhere = [goal for goal in result["goals"].values() if "machine" in goal]
    note += "".join(f" {goal['what']}: {machine_line(goal['machine'])}" for goal in elsewhere)
    titles = ("", "epochs", *(title for title, *_ in columns), "collapsed")
    return "\n".join([*table(titles, rows), "", note, ""])


def render_checked(result: Mapping[str, Any]) -> str:
    """Return for how many of the files of each sample the check agrees with a reading, at its first measurement and now."""
    files = [each for each in result["files"] if each["judgment"] in ("right", "wrong")]
    titles = ("verdict and judgment agree", "wrong ones named", "pieces understood", "false accusations")
    lines = []
    for network in ("LSTM", "GAN"):
        own = [each for each in files if each["network"] == network.lower()]
        samples: dict[str, list[Mapping[str, Any]]] = {}
        for each in own:
            samples.setdefault(_sample(each["half"]), []).append(each)
        samples |= {"all that were measured unseen": [each for each in own if "checker_first" in each]}
        lines += [*table((f"{network}s", *titles), map(_checked_row, samples, samples.values())), ""]
    return "\n".join(lines)


def _sample(half: str) -> str:
    """Return the row of a half of a sample: the first ten, mostly of courses that the check was built on, share two."""
    if half.startswith(("eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth")):
        return half
    return f"first to tenth sample, {'built on' if half.endswith('built on') else 'held out'}"


def _checked_row(sample: str, files: Sequence[Mapping[str, Any]]) -> list[str]:
    now = [sum(each) for each in zip(*(_checked(file, "checker") for file in files), strict=True)]
    shown = [str(number) for number in now]
    if all("checker_first" in file for file in files):
        first = zip(*(_checked(file, "checker_first") for file in files), strict=True)
        shown = [f"{sum(each)} → {number}" for each, number in zip(first, now, strict=True)]
    num_wrong = sum(file["judgment"] == "wrong" for file in files)
    limits = (f" of {len(files)}", f" of {num_wrong}", f" of {sum(len(file['checker']) for file in files)}", "")
    return [sample, *(number + limit for number, limit in zip(shown, limits, strict=True))]


def _checked(file: Mapping[str, Any], key: str) -> tuple[int, int, int, int]:
    """Return whether a verdict agrees, whether it names a mistake, how many pieces it understands, and if it accuses falsely."""
    verdicts, is_wrong = [*file[key].values()], file["judgment"] == "wrong"
    is_true = is_wrong and (key == "checker" or not file.get("false_first"))
    is_accused = any(each.startswith("wrong") for each in verdicts)
    agrees = is_accused and is_true if is_wrong else {*verdicts} == {"right"}
    is_named = is_true and any(each.startswith("wrong: ") for each in verdicts)
    return agrees, is_named, sum(each.startswith(("right", "wrong")) for each in verdicts), is_accused and not is_true


def _row(name: str, values: Mapping[str, float]) -> list[str]:
    return [name, f"{values['median']:.3g}", f"{values['min']:.3g} – {values['max']:.3g}" if values["n"] > 1 else ""]


def _number(value: float) -> str:
    """Return a number without decimals, with spaces between thousands."""
    return f"{value:,.0f}".replace(",", " ")


def spread(values: Sequence[float], digits: int, high: float = math.inf) -> str:
    """Return the mean ± sample standard deviation of a quantity from 0 to `high`, see `show_spread`."""
    return show_spread(values, lambda value: f"{value:.{digits}f}", high=high)


def _median(values: Sequence[float]) -> str:
    """Return the median and the minimum of fractions in percent, if there are several."""
    return f"{100 * median(values):.1f}" + (f" ({100 * min(values):.1f})" if len(values) > 1 else "")


def _percent(values: Sequence[float]) -> str:
    """Return the mean and the minimum of fractions, if there are several."""
    return f"{mean(values):.2%}" + (f" ({min(values):.2%})" if len(values) > 1 else "")


def machine_line(machine: Mapping[str, Any]) -> str:
    """Return the hardware in one line."""
    return (
        f"On {machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, "
        f"{machine['memory_gb']} GiB, torch {machine['torch']}."
    )


def render_deploy(result: Mapping[str, Any]) -> str:
    """Return what a step as C takes beside its peers, its bytes on a microcontroller, and its accuracies by format."""
    times: Mapping[str, Mapping[str, float]] = result["nanoseconds_per_step"]
    best = {
        name: min(value for peer, value in row.items() if peer.startswith("RTNeural")) for name, row in times.items()
    }
    rows = [
        (name, *(f"{value / 1000:.3g}" for value in (row["C"], best[name], row["ONNX Runtime"], row["torch"])))
        for name, row in times.items()
    ]
    lines = table(["µs a step", "C", "RTNeural, best build", "ONNX Runtime", "torch"], rows)
    sizes = [
        (name, *(f"{row[key]:,}" for key in ("flash", "state", "stack")))
        for name, row in result["sizes"]["networks"].items()
    ]
    lines += ["", *table(["Cortex-M4, bytes", "flash", "state", "stack at most"], sizes)]
    formats = ("Python", "float", "fp16", "int8")
    networks = dict.fromkeys(row["network"] for row in result["accuracy"])
    accuracies = [
        (
            name,
            *(f"{100 * mean(row[one] for row in result['accuracy'] if row['network'] == name):.2f}" for one in formats),
        )
        for name in networks
    ]
    lines += ["", *table(["validation accuracy, %", *formats], accuracies)]
    return "\n".join([*lines, "", machine_line(result["machine"]), ""])


RENDER: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    **dict.fromkeys(("startup", "lstm_epochs", "gan_epoch", "cells"), lambda result: render_speed({"": result})),
    "cell_calibration": render_calibration,
    "checked_files": render_checked,
    "deploy": render_deploy,
    "diagnosis": render_diagnosis,
    "experiments": lambda result: json.dumps(result["results"], indent=2),
    "explorer": render_explorer,
    "explorer_training": render_training,
    "gan_quality": render_recipes,
    "lstm_operator": render_operator,
    "published_rows": render_published,
    "recall": render_goals,
    "recall_curve": render_curve,
}
"""The functions that write measurements as Markdown, by the names of their files."""
