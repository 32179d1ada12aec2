"""The dips as Markdown: what happens in them, their replays, and whole runs with other settings."""

from collections.abc import Mapping
from statistics import fmean, stdev
from typing import Any

from benchmarks.dips.settings import AFTER, BEFORE, EXPLANATIONS, FIRST_EPOCH, LAST, WINDOW


def render_dips(result: Mapping[str, Any]) -> str:
    """Return where the dips are, which digits they confuse, and how their updates differ from the others."""
    summary = result["summary"]
    errors = summary["errors"]
    total = sum(errors.values())
    common = [f"{count / total:.0%} are {name}" for name, count in list(errors.items())[:3]]
    others = summary["num_updates"] - summary["num_dips"]
    clipped = summary["clipped"]
    averaged = [accuracy for seed in result["seeds"] for accuracy in seed["accuracies_of_averaged_weights"]]
    recorded = [accuracy for seed in result["seeds"] for accuracy in seed["accuracies"][-2 * LAST :]]
    low, high = (find(row[key] for row in summary["root_v"]) for key, find in (("min", min), ("max", max)))
    ratio = max(row["max"] / row["min"] for row in summary["root_v"])
    lines = [
        (
            f"- {len(result['seeds'])} seeds have {summary['num_dips']} dips in the {summary['num_updates']} updates after epoch "
            f"{FIRST_EPOCH}. Of the wrong predictions in a dip, {', '.join(common)}."
        ),
        f"- The next update brings accuracy back to at least {BEFORE:.0%} after {summary['repaired']:.0%} of the dips.",
        f"- ‖√v‖ stays between {low:.1f} and {high:.1f}, and within a factor of {ratio:.2f} in each seed.",
        (
            f"- Clipping acts in {clipped['dips'] / summary['num_dips']:.0%} of the dips, and in "
            f"{(clipped['updates'] - clipped['dips']) / others:.0%} of the other updates."
        ),
        (
            f"- The mean of the weights after each update of an epoch predicts at least {min(averaged):.1%} correctly in each of "
            f"the last {2 * LAST} epochs; the weights at the end of an epoch fall to {min(recorded):.1%}."
        ),
        "",
        (
            "| sequences in the batch | updates | dips | length of the step / lr: all, dips | ‖g‖ / ‖√v‖: all, dips "
            "| largest step of a weight / lr: others, dips |"
        ),
        "|---|---|---|---|---|---|",
    ]
    for size, row in summary["by_size"].items():
        cells = [
            size,
            str(row["updates"]),
            f"{row['dips']} ({row['dips'] / row['updates']:.1%})",
            f"{row['step_norm']:.0f}, {row['step_norm_of_dips']:.0f}",
            f"{row['gradient_ratio']:.2f}, {row['gradient_ratio_of_dips']:.2f}",
            f"{row['largest_step_of_others']:.1f}, {row['largest_step_of_dips']:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    note = (
        f"A dip is an update that takes validation accuracy from at least {BEFORE:.0%} to at most {AFTER:.0%}. Medians; lengths "
        f"are Euclidean norms over all weights. v is the running mean of g², with a memory of {WINDOW} updates."
    )
    return "\n".join([*lines, "", note, "", _machine(result), ""])


def render_replays(result: Mapping[str, Any]) -> str:
    """Return which part of the dips remains, and the accuracy, if one thing in their update is different."""
    lines = ["| change | dips that remain | accuracy after the update | what it tests |", "|---|---|---|---|"]
    for name, row in result["summary"]["replays"].items():
        lines.append(f"| {name} | {row['dips']:.0%} | {row['accuracy']:.1%} | {EXPLANATIONS[name]} |")
    return "\n".join([*lines, ""])


def render_settings(result: Mapping[str, Any]) -> str:
    """Return the accuracy of whole runs with other settings."""
    lines = [
        (
            f"| settings | seeds | last epoch: mean (min) | last {LAST} epochs: mean ± std | best epoch: mean (min) "
            f"| epochs ≤ {AFTER:.0%} among the last {2 * LAST} |"
        ),
        "|---|---|---|---|---|---|",
    ]
    for name, row in result["variants"].items():
        means = row["mean_of_last"]
        cells = [
            f"`{name}`" if name.startswith("--") else name,
            str(len(means)),
            f"{fmean(row['last']):.1%} ({min(row['last']):.1%})",
            f"{100 * fmean(means):.1f} ± {100 * stdev(means):.1f} %",
            f"{fmean(row['best']):.1%} ({min(row['best']):.1%})",
            f"{fmean(row['dips']):.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    note = "Validation accuracy; everything else is as in the preset `report`."
    return "\n".join([*lines, "", note, ""])


def render(result: Mapping[str, Any]) -> str:
    """Return all parts, for the command line."""
    parts = (render_dips(result), render_replays(result), render_settings(result))
    return "\n".join([f"### {result['title']}", "", *parts])


PARTS = {"dips": render_dips, "dips_replays": render_replays, "dips_settings": render_settings}
"""Parts of docs/explanation/dips.md."""


def _machine(result: Mapping[str, Any]) -> str:
    from benchmarks.tables import describe

    return f"`{result['command']}`. {describe(result['machine'])}"
