"""Puts measured numbers and pictures into README and docs: `python -m benchmarks.publish [REPORT]`.

With the folder of a finished report its comparison and pictures are taken over into docs/. Then the parts of
README.md and docs/**/*.md between `<!-- results … -->` and `<!-- /results -->` are rewritten from
docs/measurements/*.json, so that no number in them is typed by hand.
"""

import argparse
import html
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import tables
from benchmarks.tables import machine_line

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MEASUREMENTS, PICTURES = DOCS / "measurements", DOCS / "pictures"
PAGES = (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
SPEED = {
    "startup": "help",
    "lstm_epochs": "100 epochs of the LSTM",
    "gan_epoch": "epoch of the GAN",
}
"""Measurements of the table of speed, and what they time."""
SUMMARY = (
    "Final training accuracy (dropout on)",
    "Final validation accuracy",
    "The same, trained without dropout",
    "Samples recognized as a digit with at least 95\N{NO-BREAK SPACE}% confidence",
)
"""Rows of README's table: what the original prints and Reviver measures."""
GIVENS = ("Palindromes", "Generator:", "Discriminator:", "Negative slope", "Epochs of training")
"""Beginnings of the rows that are not measured, but equal by construction."""
BLOCK = re.compile(r"(<!-- results(?: (?P<name>\w+))? -->\n).*?(<!-- /results -->)", re.DOTALL)
PICTURE_NAMES = {
    "learning-curves": "figure-1-learning-curves",
    "samples-start": "figure-2-start",
    "samples-middle": "figure-3-middle",
    "samples-end": "figure-4-end",
    "interpolation": "interpolation",
}
"""Pictures of the report that README shows, by their names here and there."""


def comparison(page: str, name: str) -> list[list[str]]:
    """Return the rows of a table of report.html, which `name` names; code stands between backticks."""
    text = re.sub("</?code>", "`", page.partition(f'id="{name}"')[2].partition("</table>")[0])
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in text.split("</tr>")[:-1]]
    return [[html.unescape(re.sub("<[^>]*>", "", cell)) for cell in row] for row in rows]


def take_over(report: Path) -> None:
    """Keep the comparison and the pictures of a finished report in docs/."""
    page = (report / "report.html").read_text(encoding="utf-8")
    results = read(report / "report.json")
    runs = results["lstm"]["runs"]

    def rows(part: str) -> list[dict[str, str]]:
        names = ("quantity", "original", "measured", "explanation")
        _, *lines = comparison(page, f"comparison-{part}")
        return [dict(zip(names, line, strict=True)) for line in lines]

    result = {
        "title": "The numbers of the original and the measured ones",
        "command": "reviver report",
        "machine": {**runs[0]["hardware"], "torch": runs[0]["versions"]["torch"]},
        "seeds": [run["seed"] for run in runs],
        "gan_epochs": results["gan"]["run"]["epochs"],
        "lstm": rows("lstm"),
        "gan": rows("gan"),
    }
    (MEASUREMENTS / "report.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, source in PICTURE_NAMES.items():
        shutil.copyfile(report / "figures" / f"{source}.png", PICTURES / f"{name}.png")


def fill(text: str) -> str:
    """Rewrite the marked parts of a page from the measurements."""
    return BLOCK.sub(lambda match: f"{match[1]}{block(match['name'] or 'summary')}{match[3]}", text)


def block(name: str) -> str:
    """Return the Markdown of one marked part, by its name between the marks of a page."""
    if name == "speed":
        paths = {what: MEASUREMENTS / f"{file}.json" for file, what in SPEED.items()}
        return tables.render_speed({what: read(path) for what, path in paths.items() if path.exists()})
    if name in tables.RENDER:
        return tables.RENDER[name](read(MEASUREMENTS / f"{name}.json"))
    result = read(MEASUREMENTS / "report.json")
    rows = [*result["lstm"], *result["gan"]] if name == "summary" else result[name]
    shown = [
        row
        for row in rows
        if (row["quantity"] in SUMMARY if name == "summary" else not row["quantity"].startswith(GIVENS))
    ]
    lines = tables.table(
        ("", "original", "Reviver"), [[row[name] for name in ("quantity", "original", "measured")] for row in shown]
    )
    seeds = result["seeds"]
    lstm = (
        f"LSTM: mean ± sample standard deviation over {len(seeds)} seeds ({seeds[0]} to {seeds[-1]}), or median and range beside "
        "the mean where that would exceed 100 %; chance is 10 %."
    )
    gan = f"GAN: one run of {result['gan_epochs']} epochs."
    notes = {"lstm": lstm, "gan": gan}.get(name, f"{lstm} {gan}")
    return "\n".join([*lines, "", f"{notes} `{result['command']}`. {machine_line(result['machine'])}", ""])


def read(path: Path) -> Mapping[str, Any]:
    """Read a measurement."""
    result: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publish", description=__doc__)
    parser.add_argument("report", nargs="?", type=Path, help="folder of a finished report")
    if (report := parser.parse_args().report) is not None:
        take_over(report)
    for page in PAGES:
        page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
