"""The table of the search in docs/explanation/gan-recipes.md."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.gan_search.run import BRANCH_EPOCHS, RAMPUPS, START_NAMES, TRUNK_EPOCHS, VARIANTS
from benchmarks.tables import describe, spread

COLUMNS = (
    ("FID", "fid_own", 2),
    ("FID, second extractor", "fid_second", 2),
    ("recognised", "confident_own", 3),
    ("recognised by the second", "confident_second", 3),
)
WHOLE_COLUMNS = (*COLUMNS, ("recall", "recall_own", 3), ("coverage", "coverage_own", 3))


def render_search(result: Mapping[str, Any]) -> str:
    """Write the search as Markdown: the branches, the short runs and the whole runs, those that there are."""
    parts = [_render(result, kind) for kind, start in START_NAMES.items() if start in result["goals"]]
    return "\n".join([*parts, describe(result["machine"]), ""])


def _render(result: Mapping[str, Any], kind: str) -> str:
    goals = result["goals"]
    columns = COLUMNS if kind == "branch" else WHOLE_COLUMNS
    variants = [variant for variant in VARIANTS if variant.kind == kind and variant.name in goals]
    starts = {row["seed"]: row for row in goals[START_NAMES[kind]]["rows"]}
    lines = [
        f"| | seeds | epochs | {' | '.join(title for title, _, _ in columns)} | FID / start | of the second | time / start |",
        "|---" * (len(columns) + 6) + "|",
    ]
    for variant in variants:
        rows = goals[variant.name]["rows"]
        for rampup in RAMPUPS if variant.name in START_NAMES.values() else RAMPUPS[:1]:
            what = variant.what if rampup == RAMPUPS[0] else f"{variant.what}, average over a {_word(rampup)}"
            lines.append(_line(what, rows, starts, str(rampup), columns))
    first = next(iter(starts.values()))
    real = ", ".join(f"{value:.1%}" for value in first["confident_real"].values())
    kinds = {
        "branch": f"branches: {TRUNK_EPOCHS} epochs in common and {BRANCH_EPOCHS} with the idea",
        "short": "short runs with the idea from the start",
        "whole": "whole runs",
    }
    note = (
        f"Mean ± standard deviation over the seeds, {kinds[kind]}. {first['num_samples']} samples, mean of {len(first['draws'])} "
        "draws of noise, against the training images. Ratios are means over the seeds that the start has too. Recognised: "
        f"with a probability of at least 95 %; of the training images {real}. Time: processor time of one thread."
    )
    return "\n".join([*lines, "", note, ""])


def _line(
    what: str,
    rows: Sequence[Mapping[str, Any]],
    starts: Mapping[int, Mapping[str, Any]],
    rampup: str,
    columns: Sequence[tuple[str, str, int]],
) -> str:
    pairs = [(row, starts[row["seed"]]) for row in rows if row["seed"] in starts]

    def ratio(name: str) -> str:
        usual = str(RAMPUPS[0])
        return f"{fmean(row['scores'][rampup][name] / start['scores'][usual][name] for row, start in pairs):.2f}"

    cells = [
        what,
        str(len(rows)),
        str(rows[0]["epochs"]),
        *(spread([row["scores"][rampup][name] for row in rows], digits) for _, name, digits in columns),
        ratio("fid_own"),
        ratio("fid_second"),
        f"{fmean(row['cpu_seconds'] / start['cpu_seconds'] for row, start in pairs):.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def _word(rampup: float) -> str:
    return {0.05: "twentieth of the updates"}[rampup]
