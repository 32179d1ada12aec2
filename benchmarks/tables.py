"""Benchmark results as Markdown."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import mean, median, stdev
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from benchmarks.dips import tables as dips


def render(result: Mapping[str, Any]) -> str:
    """Return one result as a heading, a table and its machine."""
    if "variants" in result:
        return dips.render(result)
    if "shapes" in result:
        return render_shapes(result)
    if "milliseconds_per_call" in result:
        return render_explorer(result)
    if "milliseconds" in result:
        return render_spin_counts(result)
    rows = ["| | median | range | n | target |", "|---|---|---|---|---|"]
    for key, unit in (("seconds_per_epoch", "s/epoch"), ("seconds_per_run", "s/run"), ("seconds_per_call", "s/call")):
        for name, values in result.get(key, {}).items():
            target = result.get("target_seconds") if name == "ours" else values.get("target")
            rows.append(_row(f"{name}, {unit}", values, target))
    for name, values in result.get("ratios", {}).items():
        rows.append(_row(f"{name}: ratio to the peer, round by round", values, values.get("target")))
    if "peak_memory_gb" in result:
        rows.append(f"| peak memory, GB | {result['peak_memory_gb']:.2f} | | 1 | ≤ {result['target_gb']:g} |")
    if "killed" in result:
        killed = result["killed"]
        equal = "equal" if killed["equal results"] else "different"
        note = (
            f"A sweep of {killed['cells']} cells while {killed['kills']} workers were killed at random: {killed['done']} cells "
            f"done in {killed['calls']} calls; results {equal} to those of an undisturbed sweep."
        )
        rows += ["", note]
    return "\n".join([f"### {result['title']}", "", *rows, "", describe(result["machine"]), ""])


def render_shapes(result: Mapping[str, Any]) -> str:
    """Return the result of `lstm_operator` as Markdown: ratios by shape, bf16, then memory."""
    rows = [
        f"### {result['title']}",
        "",
        "| B,T,I,H | ours, ms | nn.LSTM, ms | loop, ms | to nn.LSTM | target | to the limit | target | to the loop |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, values in result["shapes"].items():
        cells = [name, *(f"{values['milliseconds'][key]['median']:.3g}" for key in ("ours", "nn.LSTM", "loop"))]
        for key, target in values["targets"].items():
            cells += [_median_and_range(values[key]), "" if target is None else f"≤ {target:g}"]
        rows.append(f"| {' | '.join([*cells, _median_and_range(values['to the loop'])])} |")
    limits = {values["limit"]["blas"]: max(values["sgemm_gigaflops"].values()) for values in result["shapes"].values()}
    rows += ["", "Medians, with the range of the ratios in one round. The limit is that of "]
    rows[-1] += " and ".join(f"{blas} ({rate:.0f} GFLOP/s)" for blas, rate in limits.items()) + "."
    if "bf16" in result:
        rows += ["", "| B,T,I,H | bf16, ms | fp32, ms | to fp32 (target) |", "|---|---|---|---|"]
        for name, values in result["bf16"].items():
            times = [f"{values['milliseconds'][key]['median']:.3g}" for key in ("bf16", "fp32")]
            target = "" if values["target"] is None else f" (≤ {values['target']})"
            rows.append(f"| {' | '.join([name, *times])} | {values['to fp32']['median']:.2f}{target} |")
    rows += ["", "| B,T,I,H | ours, peak MB | nn.LSTM, peak MB | ratio |", "|---|---|---|---|"]
    for name, values in result["peak_megabytes"].items():
        ours, torch_lstm = values["ours"], values["nn.LSTM"]
        rows.append(f"| {name} | {ours:.0f} | {torch_lstm:.0f} | {ours / torch_lstm:.2f} |")
    return "\n".join([*rows, "", describe(result["machine"]), ""])


def render_spin_counts(result: Mapping[str, Any]) -> str:
    """Write the result of `spin_count` as Markdown: milliseconds an update by workload, load and spin count."""
    values = list(next(iter(result["milliseconds"].values()))["idle"])
    rows = [f"### {result['title']}", "", f"| | {' | '.join(values)} |", "|---" * (len(values) + 1) + "|"]
    for workload, loads in result["milliseconds"].items():
        for load, times in loads.items():
            cells = [f"{times[value]['median']:.3g} ({times[value]['max']:.3g})" for value in values]
            rows.append(f"| {workload}, {load} | {' | '.join(cells)} |")
    n = next(iter(next(iter(result["milliseconds"].values()))["idle"].values()))["n"]
    note = f"Median (slowest) of {n} processes each; `default` is libgomp's own count, which Reviver leaves as it is."
    return "\n".join([*rows, "", note, "", describe(result["machine"]), ""])


def render_explorer(result: Mapping[str, Any]) -> str:
    """Return the result of `explorer` as Markdown: speed, precision, then sizes."""
    rows = [f"### {result['title']}", "", "| | median | range | n | target |", "|---|---|---|---|---|"]
    for name, values in result["milliseconds_per_call"].items():
        rows.append(_row(f"{name}, ms", values, values["target"]))
    rows += [_row(name, values, None) for name, values in result["ratios"].items()]
    largest, target = result["differences"], result["target_difference"]
    rows += ["", "| largest difference from float64 | SIMD | plain | target |", "|---|---|---|---|"]
    rows += [
        f"| {name} | {largest['SIMD'][name]:.1g} | {largest['plain'][name]:.1g} | ≤ {target:g} |"
        for name in largest["SIMD"]
    ]
    rows += ["", "| rounding of the weights | format | largest | mean |", "|---|---|---|---|"]
    for row in result["rounding"]:
        rows.append(f"| {row['network']}, {row['unit']} | {row['format']} | {row['max']:.1g} | {row['mean']:.1g} |")
    sizes = result["megabytes"]
    rows += [
        "",
        "| | MB | target |",
        "|---|---|---|",
        f"| page | {sizes['page']:.2f} | ≤ {result['target_megabytes']:g} |",
    ]
    rows += [f"| {name} | {size:.2f} | |" for name, size in sizes.items() if name != "page"]
    return "\n".join([*rows, "", f"{describe(result['machine'])} {result['machine']['browser']}.", ""])


def render_fuzz(result: Mapping[str, Any]) -> str:
    """Write the result of `make fuzz` as Markdown: what came of the damaged files of each reader."""
    rows = [
        "| reader | inputs | right answers | our errors | crashes | hangs | over 1 s | over 200 MB | other outcomes | slowest, s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    counts = ("inputs", "values", "errors", "crashes", "hangs", "slow", "large", "wrong")
    for name, tally in result["readers"].items():
        numbers = [f"{tally[count]:,}".replace(",", " ") for count in counts]
        rows.append(f"| {' | '.join([name, *numbers])} | {tally['slowest']:.2f} |")
    machine = result["machine"]
    packages = ", ".join(f"{name} {machine[name]}" for name in ("safetensors", "pillow", "pyarrow"))
    return "\n".join([*rows, "", describe(machine).rstrip(".") + f", {packages}.", ""])


def render_goals(result: Mapping[str, Any]) -> str:
    """Return the result of `recall` as Markdown: the accuracy of each preset over its seeds."""
    rows = [
        "| | seeds | accuracy, mean (min) | loss (baseline) | sequences | seconds, median (max) | threads | peak GB | target | met |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lengths = ["| run | evaluated at T | sequences | accuracy, mean (min) |", "|---|---|---|---|"]
    validations = [
        "| run | longest training at T | updates | validated in the run at T | sequences | accuracy, mean (min) |",
        "|---|---|---|---|---|---|",
    ]
    for goal in result["goals"].values():
        runs = goal["rows"]
        first = [run["evaluations"][0] for run in runs]
        seconds = [run["seconds"] for run in runs]
        cells = [
            goal["what"],
            str(len(runs)),
            _percent([evaluation["accuracy"] for evaluation in first]),
            f"{mean(evaluation['loss'] for evaluation in first):.2g} ({first[0]['baseline']:.3g})",
            f"{median(run['sequences'] for run in runs):,.0f}".replace(",", " "),
            f"{median(seconds):.0f} ({max(seconds):.0f})",
            ", ".join(map(str, sorted({run["threads"] for run in runs}))),
            f"{max(run['peak_gb'] for run in runs):.1f}",
            goal["target"],
            f"{sum(run['reached'] for run in runs)}/{len(runs)}" if goal["target"] else "",
        ]
        rows.append(f"| {' | '.join(cells)} |")
        if runs[0].get("validation_sequences") is not None:
            cells = [
                goal["what"],
                _range([run["max_trained_length"] for run in runs]),
                _range([run["updates"] for run in runs]),
                _range([run["validation_length"] for run in runs]),
                f"{len(runs)} × {runs[0]['validation_sequences']}",
                _percent([run["validation_accuracy"] for run in runs]),
            ]
            validations.append(f"| {' | '.join(cells)} |")
        for index, evaluation in enumerate(runs[0]["evaluations"]):
            if len(runs[0]["evaluations"]) > 1:
                values = [run["evaluations"][index]["accuracy"] for run in runs]
                cells = [
                    goal["what"],
                    f"{evaluation['length']:,}".replace(",", " "),
                    f"{len(runs)} × {evaluation['size']}",
                ]
                lengths.append(f"| {' | '.join([*cells, _percent(values)])} |")
    if len(validations) > 2:
        lengths += ["", *validations]
    return "\n".join([*rows, "", *lengths, "", describe(result["machine"]), ""])


def _range(values: Sequence[int]) -> str:
    """Return the smallest and the largest of some numbers, with spaces between thousands; one number if they are equal."""
    return "–".join(f"{value:,}".replace(",", " ") for value in sorted({min(values), max(values)}))


def render_curve(result: Mapping[str, Any]) -> str:
    """Return the result of `reviver lstm curve` as Markdown: accuracy and sequences to 99 %, by network and length."""
    networks = list(dict.fromkeys(row["network"] for row in result["rows"]))
    cells = {(row["network"], row["length"]): row for row in result["rows"]}
    lines = [f"| T | {' | '.join(networks)} |", "|---" * (len(networks) + 1) + "|"]
    for length in dict.fromkeys(row["length"] for row in result["rows"]):
        line = [f"{length:,}".replace(",", " ")]
        for network in networks:
            row = cells.get((network, length))
            if row is None:
                line.append("not run")
                continue
            text = f"{row['accuracy_mean']:.1%} ± {row['accuracy_std']:.1%}"
            if row["reached"]:
                needed = f"{row['sequences_mean']:,.0f}".replace(",", " ")
                text += f"; {needed} ({row['reached']}/{row['seeds']})"
            line.append(text)
        lines.append(f"| {' | '.join(line)} |")
    seeds = result["rows"][0]["seeds"]
    budget = f"{result['sequences']:,}".replace(",", " ")
    note = (
        f"Accuracy (mean ± standard deviation over {seeds} seeds) after at most {budget} training sequences; then the mean number "
        "of training sequences to 99 %, and the number of seeds that reached it."
    )
    return "\n".join([*lines, "", note, "", describe(result["machine"]), ""])


def render_series(result: Mapping[str, Any]) -> str:
    """Return the result of `series` as Markdown: test accuracy by variant and data set, in a table for each kind of set."""
    from benchmarks.series import DEVELOPMENT_SETS, OTHER_SETS

    goals = result["goals"]
    variants = dict.fromkeys(name.partition("-")[2] for name in goals)
    lines: list[str] = []
    for sets, kind in ((DEVELOPMENT_SETS, "sets that the preset was chosen on"), (OTHER_SETS, "other sets")):
        known = {
            data: next((goal["rows"] for name, goal in goals.items() if name.startswith(f"{data}-")), [])
            for data in sets
        }
        known = {data: rows for data, rows in known.items() if rows}
        if not known:
            continue
        lines += [f"| {kind} | {' | '.join(known)} |", "|---" * (len(known) + 1) + "|"]
        sizes = [rows[0]["data"] for rows in known.values()]
        texts = [f"{size['train']} / {size['test']}" for size in sizes]
        lines.append(f"| series to train on / to test | {' | '.join(texts)} |")
        texts = [f"{size['max_length']} × {size['channels']}, {size['classes']}" for size in sizes]
        lines.append(f"| steps × channels, classes | {' | '.join(texts)} |")
        for name, key in (("most frequent class", "chance"), ("nearest neighbor by DTW", "dtw_accuracy")):
            lines.append(f"| {name} | {' | '.join(f'{rows[0][key]:.1%}' for rows in known.values())} |")
        for variant in variants:
            found = [goals.get(f"{data}-{variant}") for data in known]
            if not any(found):
                continue
            name = next(goal["what"] for goal in found if goal)
            cells = [_accuracy([row["accuracy"] for row in goal["rows"]]) if goal else "" for goal in found]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
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
    rows = [
        f"| | seeds | epochs | {' | '.join(title for title, _, _ in columns)} | seconds | collapsed | reached |",
        "|---" * (len(columns) + 6) + "|",
    ]
    for goal in result["goals"].values():
        runs = goal["rows"]
        cells = [
            goal["what"],
            str(len(runs)),
            str(runs[0]["epochs"]),
            *(spread([run[name] for run in runs], digits) for _, name, digits in columns),
            _seconds(runs),
            f"{sum(run['collapsed'] for run in runs)}/{len(runs)}",
            f"{sum(run['reached'] for run in runs)}/{len(runs)}" if goal["target"] else "",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    first = next(iter(result["goals"].values()))["rows"][0]
    baseline = first["real_baseline"]
    real = ["real images", "", "", f"{baseline['fid']:.1f}", "1.0"]
    real += [f"{baseline[name]:.3f}" for name in ("precision", "recall", "coverage", "class_kl")]
    rows.append(f"| {' | '.join(real)} | | | |")
    targets = [f"{goal['what']}: {goal['target']}" for goal in result["goals"].values() if goal["target"]]
    note = (
        f"Mean ± standard deviation over the seeds; {first['num_samples']} samples against the test images, by the "
        f"{first['extractor']}, sha256 {first['extractor_sha256'][:12]}…. Seconds: median, of training alone. "
        f"Targets: {'. '.join(targets)}."
    )
    notes = [note, *_draws(result["goals"]), *_compare_fids(result["goals"], "public-script-200", "report-200")]
    return "\n".join([*rows, "", *notes, "", describe(result["machine"]), ""])


def render_conditioning(result: Mapping[str, Any]) -> str:
    """Write the result of `conditioning` as Markdown: the sizes of mean and variance, eigenvalues, and losses."""
    spectra, curves = result["spectra"], result["curves"]
    rows = ["| | images x | centered, s (x − m) |", "|---|---|---|"]

    def add(what: str, value: Callable[[str], str]) -> None:
        rows.append(f"| {what} | {value('plain')} | {value('centered')} |")

    def last_losses(kind: str, optimizer: str) -> str:
        return spread([curve[-1] for curve in curves[kind][optimizer]], 3)

    add("largest eigenvalue of the second moment", lambda kind: f"{spectra[kind][0]:.0f}")
    add("second largest", lambda kind: f"{spectra[kind][1]:.0f}")
    add("largest / tenth largest", lambda kind: f"{spectra[kind][0] / spectra[kind][9]:.0f}")
    add("best learning rate of gradient descent", lambda kind: f"{curves[kind]['learning_rate']:g}")
    add(f"loss of D after {result['updates']} updates of it", lambda kind: last_losses(kind, "descent"))
    add(f"loss of D after {result['updates']} updates of Adam", lambda kind: last_losses(kind, "adam"))
    sizes = (
        f"On MNIST in [−1, 1], ‖m‖² = {result['mean_norm_sq']:.0f}, and the variance of all pixels together is "
        f"{result['variance']:.0f}, of which the largest principal component has {result['largest_component']:.0f}. "
        f"The rule `auto` gives s = {result['scale']:.2f}."
    )
    note = (
        "Left: the hundred largest eigenvalues. Right: the discriminator alone learns to tell MNIST from images of a normal "
        "distribution with the same mean and covariance; means over "
        f"{len(curves['plain']['adam'])} seeds. Gradient descent has the best learning rate of a grid for each kind of "
        f"inputs, Adam that of `best`. `{result['command']}`. {describe(result['machine'])}"
    )
    return "\n".join([sizes, "", *rows, "", note, ""])


def render_data_sets(result: Mapping[str, Any]) -> str:
    """Write the result of `gan_data` as Markdown: the scores on each set of images without and with centered inputs."""
    columns = (("FID", "fid", 1), ("recall", "recall", 3), ("precision", "precision", 3), ("coverage", "coverage", 3))
    rows = [f"| images | s | seeds | {' | '.join(title for title, _, _ in columns)} | collapsed |", "|---" * 8 + "|"]
    last = ""
    for goal in result["goals"].values():
        runs = goal["rows"]
        if goal["what"] != last:
            last, baseline = goal["what"], runs[0]["real_baseline"]
            real = [f"{baseline[name]:.{digits}f}" for _, name, digits in columns]
            rows.append(f"| {last}: real images | | | {' | '.join(real)} | |")
        scale = runs[0]["scale"]
        cells = [
            "not centered" if scale is None else "centered",
            "" if scale is None else f"{scale:.2f}",
            str(len(runs)),
            *(spread([run[name] for run in runs], digits) for _, name, digits in columns),
            f"{sum(run['collapsed'] for run in runs)}/{len(runs)}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    note = "Mean ± standard deviation over the seeds, at the same number of epochs. " + describe(result["machine"])
    return "\n".join([*rows, "", note, ""])


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


def _row(name: str, values: Mapping[str, float], target: float | None) -> str:
    spread = f"{values['min']:.3g} – {values['max']:.3g}" if values["n"] > 1 else ""
    limit = "" if target is None else f"≤ {target:g}"
    return f"| {name} | {values['median']:.3g} | {spread} | {values['n']} | {limit} |"


def render_keys() -> str:
    """Return the schema of report.json as Markdown, one table per kind of object."""
    from reviver.report.schema import Report

    lines: list[str] = []
    kinds: list[type[BaseModel]] = [Report]
    for kind in kinds:
        lines += [
            f"### {kind.__name__}",
            "",
            str(kind.__doc__).splitlines()[0],
            "",
            "| key | type | description |",
            "|---|---|---|",
        ]
        for name, field in kind.model_fields.items():
            lines.append(f"| `{name}` | {describe_type(field.annotation, kinds)} | {field.description} |")
        lines.append("")
    return "\n".join(lines)


def describe_type(kind: Any, kinds: list[type[BaseModel]]) -> str:
    """Return the JSON type of a Python type in words; append models that are not in `kinds` yet."""
    names = {int: "integer", float: "number", str: "text", bool: "true or false", type(None): "null", Any: "any value"}
    if kind in names:
        return names[kind]
    parts = [part for part in get_args(kind) if part is not Ellipsis]
    if get_origin(kind) is tuple:
        return f"list of {describe_type(parts[0], kinds)}"
    if get_origin(kind) is dict:
        return f"object of {describe_type(parts[1], kinds)} by name"
    if get_origin(kind) is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if parts:  # a union
        return " or ".join(describe_type(part, kinds) for part in parts)
    if kind not in kinds:
        kinds.append(kind)
    return f"[{kind.__name__}](#{kind.__name__.lower()})"
