"""Benchmark results as Markdown."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import mean, median, stdev
from typing import Any

from benchmarks.gpu import SHARED_KB

RANGES = ("", "median", "range", "n", "target")
"""Titles of a table of `_row`."""


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table as lines of Markdown; a row may leave out empty cells at its end."""
    padded = [[*row, *[""] * (len(titles) - len(row))] for row in (titles, *rows)]
    head, *lines = ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in padded)
    return [head, "|---" * len(titles) + "|", *lines]


def render(result: Mapping[str, Any]) -> str:
    """Return one result as a heading, a table and its machine."""
    if "shapes" in result:
        return render_shapes(result)
    if "milliseconds_per_call" in result:
        return render_explorer(result)
    if "rows" in result:
        return render_dispatch(result)
    if "dropout" in result:
        return render_dropout(result)
    rows = []
    for key, unit in (("seconds_per_epoch", "s/epoch"), ("seconds_per_run", "s/run"), ("seconds_per_call", "s/call")):
        for name, values in result.get(key, {}).items():
            target = result.get("target_seconds") if name == "ours" else values.get("target")
            rows.append(_row(f"{name}, {unit}", values, target))
    for name, values in result.get("ratios", {}).items():
        rows.append(_row(f"{name}: ratio to the peer, round by round", values, values.get("target")))
    if "peak_memory_gb" in result:
        rows.append(["peak memory, GB", f"{result['peak_memory_gb']:.2f}", "", "1", f"≤ {result['target_gb']:g}"])
    lines = table(RANGES, rows)
    if "killed" in result:
        killed = result["killed"]
        equal = "equal" if killed["equal results"] else "different"
        note = (
            f"A sweep of {killed['cells']} cells while {killed['kills']} workers were killed at random: {killed['done']} cells "
            f"done in {killed['calls']} calls; results {equal} to those of an undisturbed sweep."
        )
        lines += ["", note]
    return "\n".join([f"### {result['title']}", "", *lines, "", describe(result["machine"]), ""])


def render_shapes(result: Mapping[str, Any]) -> str:
    """Return the result of `lstm_operator` as Markdown: ratios by shape, bf16, then memory."""
    titles = ("ours, ms", "nn.LSTM, ms", "loop, ms", "to nn.LSTM", "target", "to the limit", "target", "to the loop")
    rows = []
    for name, values in result["shapes"].items():
        cells = [name, *(f"{values['milliseconds'][key]['median']:.3g}" for key in ("ours", "nn.LSTM", "loop"))]
        for key, target in values["targets"].items():
            cells += [_median_and_range(values[key]), "" if target is None else f"≤ {target:g}"]
        rows.append([*cells, _median_and_range(values["to the loop"])])
    limits = {values["limit"]["blas"]: max(values["sgemm_gigaflops"].values()) for values in result["shapes"].values()}
    names = " and ".join(f"{blas} ({rate:.0f} GFLOP/s)" for blas, rate in limits.items())
    lines = [f"### {result['title']}", "", *table(("B,T,I,H", *titles), rows), ""]
    lines += [f"Medians, with the range of the ratios in one round. The limit is that of {names}.", ""]
    rows = []
    for name, values in result.get("bf16", {}).items():
        times = [f"{values['milliseconds'][key]['median']:.3g}" for key in ("bf16", "fp32")]
        target = "" if values["target"] is None else f" (≤ {values['target']})"
        rows.append([name, *times, f"{values['to fp32']['median']:.2f}{target}"])
    lines += [*table(("B,T,I,H", "bf16, ms", "fp32, ms", "to fp32 (target)"), rows), ""] if rows else []
    rows = [
        [name, f"{mb['ours']:.0f}", f"{mb['nn.LSTM']:.0f}", f"{mb['ours'] / mb['nn.LSTM']:.2f}"]
        for name, mb in result["peak_megabytes"].items()
    ]
    lines += table(("B,T,I,H", "ours, peak MB", "nn.LSTM, peak MB", "ratio"), rows)
    return "\n".join([*lines, "", describe(result["machine"]), ""])


def render_dispatch(result: Mapping[str, Any]) -> str:
    """Return the result of `lstm_dispatch` as Markdown: times, and ratios to torch's layer."""
    titles = ("B,T,I,H,layers", "", "", "kernel, ms", "nn.LSTM, ms", "kernel to nn.LSTM", "`LSTM` to nn.LSTM")
    rows = []
    for row in result["rows"]:
        times = [f"{row['milliseconds'][name]['median']:.3g}" for name in ("kernel", "nn.LSTM")]
        ratios = [f"{row['ratios'][name]['median']:.2f}" for name in ("kernel", "LSTM")]
        rows.append([",".join(map(str, row["shape"])), row["precision"], row["pass"], *times, *ratios])
    lines = [f"### {result['title']}", "", *table(titles, rows), "", f"Medians. {describe(result['machine'])}"]
    return "\n".join([*lines, ""])


def render_gpu(result: Mapping[str, Any]) -> str:
    """Return what `benchmarks.gpu --compile` found as Markdown: a row for each kernel, product and GPU, over all H."""
    rows = [
        "| kernel | matmul | compute capability | shared memory, KB | registers | spilled bytes |",
        "|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str, int], list[Mapping[str, Any]]] = {}
    for row in result["compiled"]:
        groups.setdefault((row["kernel"], row["product"], row["capability"]), []).append(row)
    for (kernel, product, capability), group in groups.items():
        most = {name: max(row[name] for row in group) for name in ("shared_kb", "registers", "spills")}
        cells = [
            f"{most['shared_kb']:g} of {SHARED_KB[capability]}",
            f"{most['registers']} of 255",
            str(most["spills"]),
        ]
        rows.append(f"| {kernel} | {product} | {capability / 10} | {' | '.join(cells)} |")
    sizes = ", ".join(str(H) for H in dict.fromkeys(row["H"] for row in result["compiled"]))
    note = (
        f"The largest values over H = {sizes} and kinds of dropout, by Triton {result['triton']}. `make gpu-compile`."
    )
    return "\n".join([*rows, "", note, ""])


def render_explorer(result: Mapping[str, Any]) -> str:
    """Return the result of `explorer` as Markdown: speed, precision, then sizes."""
    rows = [_row(f"{name}, ms", values, values["target"]) for name, values in result["milliseconds_per_call"].items()]
    rows += [_row(name, values, None) for name, values in result["ratios"].items()]
    lines = [f"### {result['title']}", "", *table(RANGES, rows), ""]
    largest, target = result["differences"], f"≤ {result['target_difference']:g}"
    rows = [[name, *(f"{largest[kind][name]:.1g}" for kind in ("SIMD", "plain")), target] for name in largest["SIMD"]]
    lines += [*table(("largest difference from float64", "SIMD", "plain", "target"), rows), ""]
    rows = [
        [f"{row['network']}, {row['unit']}", f"{row['max']:.1g}", f"{row['mean']:.1g}"] for row in result["rounding"]
    ]
    lines += [*table(("rounding of the weights", "largest", "mean"), rows), ""]
    rows = [[name, f"{size:.2f}"] for name, size in result["megabytes"].items()]
    rows[0].append(f"≤ {result['target_megabytes']:g}")  # of the page
    lines += [*table(("", "MB", "target"), rows), ""]
    return "\n".join([*lines, f"{describe(result['machine'])} {result['machine']['browser']}.", ""])


def render_dropout(result: Mapping[str, Any]) -> str:
    """Return the result of `hidden_dropout` as Markdown: accuracy and loss by kind and p, over seeds."""
    rows = ["| kind | p | test accuracy, % | test loss | training loss |", "|---|---|---|---|---|"]
    for row in result["dropout"]:
        runs = row["runs"]
        accuracy = [100 * run["accuracy"] for run in runs]
        losses = [f"{mean(run[name] for run in runs):.3f}" for name in ("loss", "training_loss")]
        kind = row["kind"] if row["kind"] == "none" else f"`{row['kind']}`"
        rows.append(f"| {kind} | {row['p']:g} | {mean(accuracy):.1f} ± {stdev(accuracy):.1f} | {' | '.join(losses)} |")
    note = (
        f"Mean ± sample standard deviation over {len(result['dropout'][0]['runs'])} seeds: {result['training_images']} training "
        f"images, all test images, {result['epochs']} epochs, batches of {result['batch_size']}, {result['hidden_size']} hidden "
        f"units. Losses in eval mode. {describe(result['machine'])}"
    )
    return "\n".join([*rows, "", note, ""])


def render_fuzz(result: Mapping[str, Any]) -> str:
    """Write the result of `make fuzz` as Markdown: what came of the damaged files of each reader."""
    titles = {
        "inputs": "inputs",
        "values": "right answers",
        "errors": "our errors",
        "crashes": "crashes",
        "hangs": "hangs",
        "slow": "over 1 s",
        "large": "over 200 MB",
        "wrong": "other outcomes",
    }
    rows = [
        [name, *(_number(tally[count]) for count in titles), f"{tally['slowest']:.2f}"]
        for name, tally in result["readers"].items()
    ]
    machine = result["machine"]
    packages = ", ".join(f"{name} {machine[name]}" for name in ("safetensors", "pillow", "pyarrow"))
    lines = table(("reader", *titles.values(), "slowest, s"), rows)
    return "\n".join([*lines, "", describe(machine).rstrip(".") + f", {packages}.", ""])


def render_goals(result: Mapping[str, Any]) -> str:
    """Return the result of `recall` as Markdown: the accuracy of each preset over its seeds."""
    rows, lengths, validations = [], [], []
    for goal in result["goals"].values():
        what, runs = goal["what"], goal["rows"]
        first = [run["evaluations"][0] for run in runs]
        seconds = [run["seconds"] for run in runs]
        rows.append(
            [
                what,
                str(len(runs)),
                _percent([evaluation["accuracy"] for evaluation in first]),
                f"{mean(evaluation['loss'] for evaluation in first):.2g} ({first[0]['baseline']:.3g})",
                _number(median(run["sequences"] for run in runs)),
                f"{median(seconds):.0f} ({max(seconds):.0f})",
                ", ".join(map(str, sorted({run["threads"] for run in runs}))),
                f"{max(run['peak_gb'] for run in runs):.1f}",
                goal["target"],
                f"{sum(run['reached'] for run in runs)}/{len(runs)}" if goal["target"] else "",
            ]
        )
        if runs[0].get("validation_sequences") is not None:
            names = ("max_trained_length", "updates", "validation_length")
            ranges = [_range([run[name] for run in runs]) for name in names]
            count = f"{len(runs)} × {runs[0]['validation_sequences']}"
            validations.append([what, *ranges, count, _percent([run["validation_accuracy"] for run in runs])])
        for index, evaluation in enumerate(runs[0]["evaluations"]):
            if len(runs[0]["evaluations"]) > 1:
                values = [run["evaluations"][index]["accuracy"] for run in runs]
                count = f"{len(runs)} × {evaluation['size']}"
                lengths.append([what, _number(evaluation["length"]), count, _percent(values)])
    titles = ("", "seeds", "accuracy, mean (min)", "loss (baseline)", "sequences", "seconds, median (max)")
    lines = table((*titles, "threads", "peak GB", "target", "met"), rows)
    lines += ["", *table(("run", "evaluated at T", "sequences", "accuracy, mean (min)"), lengths)]
    if validations:
        trained = ("longest training at T", "updates", "validated in the run at T", "sequences")
        lines += ["", *table(("run", *trained, "accuracy, mean (min)"), validations)]
    return "\n".join([*lines, "", describe(result["machine"]), ""])


def _number(value: float) -> str:
    """Return a number without decimals, with spaces between thousands."""
    return f"{value:,.0f}".replace(",", " ")


def _range(values: Sequence[int]) -> str:
    """Return the smallest and the largest of some numbers; one number if they are equal."""
    return "–".join(map(_number, sorted({min(values), max(values)})))


def render_curve(result: Mapping[str, Any]) -> str:
    """Return the result of `reviver lstm curve` as Markdown: accuracy and sequences to 99 %, by network and length."""

    def show(row: Mapping[str, Any] | None) -> str:
        if row is None:
            return "not run"
        text = f"{row['accuracy_mean']:.1%} ± {row['accuracy_std']:.1%}"
        return f"{text}; {_number(row['sequences_mean'])} ({row['reached']}/{row['seeds']})" if row["reached"] else text

    networks = list(dict.fromkeys(row["network"] for row in result["rows"]))
    found = {(row["network"], row["length"]): row for row in result["rows"]}
    lengths = dict.fromkeys(row["length"] for row in result["rows"])
    rows = [[_number(length), *(show(found.get((network, length))) for network in networks)] for length in lengths]
    note = (
        f"Accuracy (mean ± standard deviation over {result['rows'][0]['seeds']} seeds) after at most "
        f"{_number(result['sequences'])} training sequences; then the mean number of training sequences to 99 %, and the number "
        "of seeds that reached it."
    )
    return "\n".join([*table(("T", *networks), rows), "", note, "", describe(result["machine"]), ""])


def render_series(result: Mapping[str, Any]) -> str:
    """Return the result of `series` as Markdown: test accuracy by variant and data set, in a table for each kind of set."""
    from benchmarks.series import DEVELOPMENT_SETS, OTHER_SETS

    goals = result["goals"]
    variants = dict.fromkeys(name.partition("-")[2] for name in goals)
    lines: list[str] = []
    for sets, kind in ((DEVELOPMENT_SETS, "sets that the preset was chosen on"), (OTHER_SETS, "other sets")):
        known = {
            data: next((goal["rows"][0] for name, goal in goals.items() if name.startswith(f"{data}-")), None)
            for data in sets
        }
        firsts = {data: row for data, row in known.items() if row}
        if not firsts:
            continue
        sizes = [row["data"] for row in firsts.values()]
        rows = [
            ["series to train on / to test", *(f"{size['train']} / {size['test']}" for size in sizes)],
            [
                "steps × channels, classes",
                *(f"{size['max_length']} × {size['channels']}, {size['classes']}" for size in sizes),
            ],
            ["most frequent class", *(f"{row['chance']:.1%}" for row in firsts.values())],
            ["nearest neighbor by DTW", *(f"{row['dtw_accuracy']:.1%}" for row in firsts.values())],
        ]
        for variant in variants:
            found = [goals.get(f"{data}-{variant}") for data in firsts]
            if any(found):
                name = next(goal["what"] for goal in found if goal)
                rows.append([name, *(_accuracy([row["accuracy"] for row in g["rows"]]) if g else "" for g in found)])
        lines += [*table((kind, *firsts), rows), ""]
    note = (
        "Accuracy on the test set: mean ± standard deviation over the seeds (in parentheses, their number), which also "
        "change the split into training and validation part."
    )
    return "\n".join([*lines, note, "", describe(result["machine"]), ""])


def _accuracy(values: Sequence[float]) -> str:
    """Return the mean ± sample standard deviation of fractions, and their number."""
    spread = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.1f}{spread} % ({len(values)})"


def render_recipes(result: Mapping[str, Any]) -> str:
    """Write the result of `gan_quality` as Markdown: the scores of each recipe over its seeds."""
    columns = (
        ("FID", "fid", 1),
        ("FID / baseline", "fid_ratio", 1),
        ("precision", "precision", 3),
        ("recall", "recall", 3),
        ("coverage", "coverage", 3),
        ("class KL", "class_kl", 3),
    )
    rows = []
    for goal in result["goals"].values():
        runs = goal["rows"]
        rows.append(
            [
                goal["what"],
                str(len(runs)),
                str(runs[0]["epochs"]),
                *(spread([run[name] for run in runs], digits) for _, name, digits in columns),
                _seconds(runs),
                f"{sum(run['collapsed'] for run in runs)}/{len(runs)}",
                f"{sum(run['reached'] for run in runs)}/{len(runs)}" if goal["target"] else "",
            ]
        )
    first = next(iter(result["goals"].values()))["rows"][0]
    baseline = {"fid_ratio": 1.0, **first["real_baseline"]}
    rows.append(["real images", "", "", *(f"{baseline[name]:.{digits}f}" for _, name, digits in columns)])
    titles = ("", "seeds", "epochs", *(title for title, _, _ in columns), "seconds", "collapsed", "reached")
    targets = [f"{goal['what']}: {goal['target']}" for goal in result["goals"].values() if goal["target"]]
    note = (
        f"Mean ± standard deviation over the seeds; {first['num_samples']} samples against the test images, by the "
        f"{first['extractor']}, sha256 {first['extractor_sha256'][:12]}…. Seconds: median, of training alone. "
        f"Targets: {'. '.join(targets)}."
    )
    notes = [note, *_draws(result["goals"]), *_compare_fids(result["goals"], "public-script-200", "report-200")]
    return "\n".join([*table(titles, rows), "", *notes, "", describe(result["machine"]), ""])


def _draws(goals: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line with the mean FID over further draws of noise, of the recipes that have some."""
    means = {
        goal["what"]: [mean(row["fid_draws"]) for row in goal["rows"] if "fid_draws" in row] for goal in goals.values()
    }
    parts = [f"{what} {spread(fids, 2)}" for what, fids in means.items() if fids]
    if parts:
        yield f"FID as a mean over three other draws of noise, by which targets are judged: {'; '.join(parts)}."


def _compare_fids(goals: Mapping[str, Any], name: str, other: str) -> Iterator[str]:
    """Yield a sentence on the ratio of the FID of two recipes at equal epochs, if both were run."""
    if name in goals and other in goals:
        curves = (goals[recipe]["rows"][0]["fid_curve"] for recipe in (name, other))
        ratios = [fid / other_fid for (_, fid), (_, other_fid) in zip(*curves, strict=True)]
        yield (
            f"FID of “{goals[name]['what']}” / FID of “{goals[other]['what']}”: {ratios[-1]:.1f} at the end; "
            f"{min(ratios):.1f} to {max(ratios):.1f}, median {median(ratios):.1f}, at equal epochs. Target: 10."
        )


def _seconds(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the median time of the runs with each number of threads, such as "219 by 2 threads, 301 by 1"."""
    by_threads = {
        threads: [run["seconds"] for run in runs if run["threads"] == threads]
        for threads in sorted({run["threads"] for run in runs}, reverse=True)
    }
    words = [f"{median(seconds):.0f} by {threads}" for threads, seconds in by_threads.items()]
    words[0] += " thread" if max(by_threads) == 1 else " threads"
    return ", ".join(words)


def spread(values: Sequence[float], digits: int) -> str:
    """Return the mean ± sample standard deviation."""
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"


def _percent(values: Sequence[float]) -> str:
    """Return the mean and the minimum of fractions."""
    return f"{mean(values):.2%} ({min(values):.2%})"


def describe(machine: Mapping[str, Any]) -> str:
    """Return the hardware in one line."""
    return (
        f"On {machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, "
        f"{machine['memory_gb']} GB, torch {machine['torch']}."
    )


def _median_and_range(values: Mapping[str, float]) -> str:
    return f"{values['median']:.2f} ({values['min']:.2f} – {values['max']:.2f})"


def _row(name: str, values: Mapping[str, float], target: float | None) -> list[str]:
    span = f"{values['min']:.3g} – {values['max']:.3g}" if values["n"] > 1 else ""
    return [name, f"{values['median']:.3g}", span, str(values["n"]), "" if target is None else f"≤ {target:g}"]
