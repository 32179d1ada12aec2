"""Puts measured numbers and pictures into README and docs: `python -m benchmarks.publish [REPORT]`.

With the folder of a finished report its comparison and pictures are taken over into docs/. Then the parts of
README.md and docs/*.md between `<!-- results … -->` and `<!-- /results -->` are written anew from
docs/measurements/*.json, so that no number in them is typed by hand.
"""

import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.tables import describe, render, render_curve, render_fuzz, render_goals, render_recipes

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MEASUREMENTS, PICTURES = DOCS / "measurements", DOCS / "pictures"
PAGES = (ROOT / "README.md", *sorted(DOCS.glob("*.md")))
SPEED = ("startup", "lstm_epochs", "gan_epoch", "checkpoint", "whole_report")
BLOCK = re.compile(r"(<!-- results(?: (?P<name>\w+))? -->\n).*?(<!-- /results -->)", re.DOTALL)
PICTURE_NAMES = {
    "learning-curves": "figure-1-learning-curves",
    "samples-start": "figure-2-start",
    "samples-middle": "figure-3-middle",
    "samples-end": "figure-4-end",
    "interpolation": "interpolation",
}
"""Pictures of the report that README shows, by their names here and there."""


def take_over(report: Path) -> None:
    """Keep the comparison and the pictures of a finished report in docs/."""
    from reviver.report.comparison import gan_rows, lstm_rows
    from reviver.report.evidence import gather_gan, gather_lstm
    from reviver.report.model import as_string

    lstm = gather_lstm(sorted((report / "runs").glob("lstm-seed*")))
    gan = gather_gan(next(iter(sorted((report / "runs").glob("gan-*")))))

    def rows(comparison: Sequence[Any]) -> list[dict[str, str]]:
        names = ("quantity", "reported", "ours", "explanation")
        return [{name: as_string(getattr(row, name)) for name in names} for row in comparison]

    record = lstm.runs[0].folder.record
    result = {
        "title": "The original report's numbers and ours",
        "command": "reviver report",
        "machine": {**record["hardware"], "torch": record["versions"]["torch"]},
        "seeds": [run.config.seed for run in lstm.runs],
        "gan_epochs": gan.run.config.epochs,
        "lstm": rows(lstm_rows(lstm)),
        "gan": rows(gan_rows(gan)),
    }
    MEASUREMENTS.mkdir(parents=True, exist_ok=True)
    (MEASUREMENTS / "report.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    PICTURES.mkdir(exist_ok=True)
    for name, source in PICTURE_NAMES.items():
        shutil.copyfile(report / "figures" / f"{source}.png", PICTURES / f"{name}.png")


def fill(text: str) -> str:
    """Write the marked parts of a page anew from the measurements."""
    return BLOCK.sub(lambda match: f"{match[1]}{block(match['name'] or 'summary')}{match[3]}", text)


def block(name: str) -> str:
    """The Markdown of one marked part: `summary`, `lstm`, `gan`, `speed`, `operator`, `recall`, `curve`, `fuzz` or `quality`."""
    if name == "speed":
        paths = [MEASUREMENTS / f"{name}.json" for name in SPEED]
        return "\n".join(render(read(path)) for path in paths if path.exists())
    if name == "operator":
        return render(read(MEASUREMENTS / "lstm_operator.json"))
    if name == "recall":
        return render_goals(read(MEASUREMENTS / "recall.json"))
    if name == "curve":
        return render_curve(read(MEASUREMENTS / "recall_curve.json"))
    if name == "fuzz":
        return render_fuzz(read(MEASUREMENTS / "fuzz.json"))
    if name == "quality":
        return render_recipes(read(MEASUREMENTS / "gan_quality.json"))
    result = read(MEASUREMENTS / "report.json")
    rows = [*result["lstm"], *result["gan"]] if name == "summary" else result[name]
    columns = ("quantity", "reported", "ours") if name == "summary" else ("quantity", "reported", "ours", "explanation")
    titles = {"quantity": "", "reported": "report", "ours": "ours", "explanation": "explanation"}
    lines = [_line([titles[column] for column in columns]), _line(["---"] * len(columns))]
    lines += [_line([row[column] for column in columns]) for row in rows]
    seeds = result["seeds"]
    note = (
        f"LSTM: mean ± sample standard deviation over {len(seeds)} seeds ({seeds[0]} to {seeds[-1]}), chance is 10 %. "
        f"GAN: one run of {result['gan_epochs']} epochs. `{result['command']}`. {describe(result['machine'])}"
    )
    return "\n".join([*lines, "", note, ""])


def read(path: Path) -> Mapping[str, Any]:
    """Read a measurement."""
    result: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> None:
    if len(sys.argv) > 1:
        take_over(Path(sys.argv[1]))
    for page in PAGES:
        page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
