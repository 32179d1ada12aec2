"""The teaching kit of a report: `python -m tools.teaching REPORT --out FOLDER` writes all that two lessons need.

REPORT is the folder of `make report`. The kit has a folder for students and one for teachers, which alone has the solutions.
The lessons of the explorer need Chromium, which saves them from it as a reader would; the rest is written without.
"""

import argparse
import base64
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typst
from matplotlib.figure import Figure

from reviver.figures import figure_style, panels, save_figure, styled
from reviver.run import load
from reviver.show.report.make import plot_figures
from reviver.show.report.results import GANResults, LSTMResults
from reviver.show.trace import Trace, trace_digits
from reviver.train.gan.grids import save_grid
from tools.sheets import write_sheet
from tools.tutorials import DOCS, TUTORIALS, find_blocks

PAGES = DOCS / "teach"
SLIDES = PAGES / "slides.typ"
SLIDE_UNITS = 16
"""Units of a heat map on a slide."""
IMAGE = re.compile(r"^!\[(?P<alt>[^\]]*)\]\((?P<path>[^)]+)\)\n", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?!https?:)[^)]*\)")
EXERCISE = re.compile(r"^(?=\d+\. \*\*)", re.MULTILINE)


CHECKS = {
    "lstm": "LSTMCell, Recaller, update",
    "gan": "generator_loss, discriminator_loss, gan_step",
}
"""What a notebook checks of the code that its reader typed, or changed."""


class Lesson(NamedTuple):
    """A lesson of the explorer: its panels, the first of which is the start view, and the question it asks."""

    network: str
    title: str
    question: str
    panels: tuple[str, ...]

    @property
    def file(self) -> str:
        """Name of its page."""
        return f"lesson-{self.title.lower()}.html"


LESSONS = (
    Lesson(
        "lstm",
        "Memory",
        "Type four digits. Which units carry the first digit to the last step, and how do you know? Change the digit and "
        "compare.",
        ("The LSTM at work",),
    ),
    Lesson(
        "gan",
        "Training",
        "Choose the GAN and train it: when do strokes appear, and when digits? What do the losses and D say meanwhile?",
        ("Train", "Be the discriminator"),
    ),
    Lesson(
        "gan",
        "Latent",
        "Interpolate from one digit to another. Where does the class change, and where does D doubt? Find the same place on the map.",
        ("Latent space",),
    ),
)


def notebook(page: Path) -> dict[str, Any]:
    """Return a tutorial and its exercises as a notebook (nbformat 4.5), with the output that the page shows."""
    cells = [*tutorial_cells(page), *check_cells(page), *exercise_cells(PAGES / f"exercises-{page.stem}.md")]
    for number, cell in enumerate(cells):
        cell["id"] = f"{page.stem}-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def tutorial_cells(page: Path) -> Iterator[dict[str, Any]]:
    """Yield the cells of a tutorial: its prose, and its code with the printed output and the figure that follow."""
    text = page.read_text(encoding="utf-8")
    end, code = 0, None
    for block in find_blocks(text):
        if block.language not in ("python", "text"):
            continue
        begin = text.rfind("```", 0, block.span[0])
        prose, pictures = take_pictures(text[end:begin], page)
        if code is not None:
            code["outputs"] += pictures
        if prose.strip():
            yield markdown(prose)
        if block.language == "python":
            code = {"cell_type": "code", "execution_count": None, "metadata": {}, "source": block.code.rstrip("\n")}
            code["outputs"] = []
            yield code
        elif code is not None:
            code["outputs"].append({"output_type": "stream", "name": "stdout", "text": block.code})
        end = text.index("```", block.span[1]) + 4
    prose, pictures = take_pictures(text[end:], page)
    if code is not None:
        code["outputs"] += pictures
    yield markdown(prose)


def take_pictures(prose: str, page: Path) -> tuple[str, list[dict[str, Any]]]:
    """Return prose without the figures that the code above it saved, and these figures as output of a cell."""
    found = [match["path"] for match in IMAGE.finditer(prose)]
    data = [base64.b64encode((page.parent / path).read_bytes()).decode("ascii") for path in found]
    outputs = [{"output_type": "display_data", "metadata": {}, "data": {"image/png": picture}} for picture in data]
    return IMAGE.sub("", prose), outputs


def check_cells(page: Path) -> Iterator[dict[str, Any]]:
    """Yield a cell that checks the code of the tutorial, which its reader may have written anew."""
    yield markdown(
        "## Check your code\n\nWrite a part above in your own words, and run this cell: it names likely mistakes."
    )
    source = f"import reviver\n\nreviver.check({CHECKS[page.stem]})"
    yield {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": source}


def exercise_cells(page: Path) -> Iterator[dict[str, Any]]:
    """Yield the exercises, each with an empty cell of code."""
    introduction, *exercises = EXERCISE.split(page.read_text(encoding="utf-8"))
    yield markdown(introduction.replace("# ", "## ", 1))
    for exercise in exercises:
        yield markdown(exercise)
        yield {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": ""}


def markdown(text: str) -> dict[str, Any]:
    """Return a cell of prose; links to other pages become plain text, since a notebook travels alone."""
    return {"cell_type": "markdown", "metadata": {}, "source": LINK.sub(r"\g<text>", text).strip()}


def worksheet(network: str) -> str:
    """Return the Markdown of the worksheet of a lesson: the questions that are asked in class, and the exercises."""
    heading, exercises = (PAGES / f"exercises-{network}.md").read_text(encoding="utf-8").split("\n", 1)
    questions = (f"{lesson.question} (`{lesson.file}`)" for lesson in LESSONS if lesson.network == network)
    in_class = "\n".join(f"{number}. {question}" for number, question in enumerate(questions, start=1))
    return f"{heading.replace('Exercises', 'Worksheet')}\n\n## In class\n\n{in_class}\n\n## Exercises\n{exercises}"


def write_sheets(students: Path, teachers: Path) -> None:
    """Write what is printed as PDF: quiz and worksheets for students, plans, solutions and the key for teachers."""
    write_sheet((PAGES / "quiz.md").read_text(encoding="utf-8"), students / "quiz.pdf", room=True)
    for page in TUTORIALS:
        write_sheet(worksheet(page.stem), students / f"worksheet-{page.stem}.pdf", room=True)
    for name in ("quiz-key", *(f"{kind}-{page.stem}" for kind in ("lesson", "solutions") for page in TUTORIALS)):
        write_sheet((PAGES / f"{name}.md").read_text(encoding="utf-8"), teachers / f"{name}.pdf")


def memory_figure(trace: Trace, digits: Sequence[int]) -> Figure:
    """Plot forget gate and cell state of a few units, from the highest to the lowest mean forget gate, to be read from afar."""
    layer = trace.layers[0]
    order = layer["f"].mean(0).argsort(descending=True, stable=True)
    units = order[:: -(-len(order) // SLIDE_UNITS)]
    with styled():
        figure = Figure(figsize=(5.2, 2.2))
        for panel, (name, title) in zip(
            panels(figure)[0], (("f", "forget gate f"), ("c", "cell state c")), strict=True
        ):
            values = layer[name][:, units].cpu()  # [T, units]
            limit = max(1.0, float(values.abs().max()))
            colors, low, high = ("viridis", 0.0, 1.0) if name == "f" else ("RdBu_r", -limit, limit)
            image = panel.imshow(values.T, colors, aspect="auto", vmin=low, vmax=high)
            panel.set_xticks(range(len(digits)), map(str, digits))
            panel.set(title=title, xlabel="digit read", yticks=[])
            panel.grid(visible=False)
            figure.colorbar(image, ax=panel, ticks=[low, high] if name == "f" else [0])
    return figure


def write_slides(report: Path, out: Path) -> None:
    """Write slides-light.pdf and slides-dark.pdf with the figures of the report, plotted on either background."""
    lstms = sorted((report / "runs").glob("lstm-*"))
    runs = [load(path, "lstm") for path in lstms]
    lstm, gan = LSTMResults(runs), GANResults(load(next((report / "runs").glob("gan-*"))))
    run = runs[0]
    digits = list(lstm.example)
    for scheme in ("light", "dark"):
        with tempfile.TemporaryDirectory() as name, figure_style(dark=scheme == "dark"):
            folder = Path(name)
            shutil.copyfile(SLIDES, folder / "slides.typ")
            figures = plot_figures(lstm, gan)
            figures["trace"] = memory_figure(trace_digits(run.network, run.config, digits[:-1]), digits[:-1])
            for figure_name, figure in figures.items():
                save_figure(figure, folder / f"{figure_name}.svg")
            for grid_name, (_, images) in gan.grids.items():
                save_grid(images, folder / f"{grid_name}.png")
            pdf = typst.compile(folder / "slides.typ", root=folder, sys_inputs={"scheme": scheme})
            (out / f"slides-{scheme}.pdf").write_bytes(pdf)


def write_lessons(explorer: Path, out: Path) -> str | None:
    """Save the lessons by the form of the explorer; return what is missing for that, or None."""
    try:
        from tools.chromium import find_chromium, open_browser
    except ImportError:
        return "the package playwright (make setup)"
    if find_chromium() is None:
        return "Chromium (on Debian: apt-get install chromium)"
    with open_browser() as browser:
        for lesson in LESSONS:
            page = browser.new_page()
            page.goto(explorer.absolute().as_uri() + "#lesson")
            page.wait_for_selector(".lesson-form")
            page.get_by_role("textbox", name="Title").fill(lesson.title)
            page.get_by_role("textbox", name="Your question").fill(lesson.question)
            for box in page.locator(".lesson-form .columns label").all():
                if box.inner_text() not in lesson.panels:
                    box.locator("input").uncheck()
            page.get_by_label("Start view").select_option(label=lesson.panels[0])
            with page.expect_download() as download:
                page.get_by_role("button", name="Save as lesson").click()
            download.value.save_as(out / lesson.file)
            page.close()
    return None


def write_kit(report: Path, out: Path) -> str | None:
    """Write the kit into the folder `out`; return what is missing for the lessons of the explorer, or None."""
    students, teachers = out / "students", out / "teachers"
    for folder in (students, teachers):
        folder.mkdir(parents=True, exist_ok=True)
    for page in TUTORIALS:
        text = json.dumps(notebook(page), indent=1, ensure_ascii=False)
        (students / f"{page.stem}.ipynb").write_text(text + "\n", encoding="utf-8")
    write_sheets(students, teachers)
    write_slides(report, teachers)
    shutil.copyfile(report / "explorer.html", students / "explorer.html")
    return write_lessons(report / "explorer.html", students)


def main() -> None:
    """Write the kit, and print its files."""
    parser = argparse.ArgumentParser(prog="python -m tools.teaching", description=__doc__)
    parser.add_argument("report", type=Path, help="folder of make report")
    parser.add_argument(
        "--out", type=Path, default=Path("build/teach"), help="folder of the kit (default: build/teach)"
    )
    options = parser.parse_args()
    missing = write_kit(options.report, options.out)
    print(*sorted(path for path in options.out.rglob("*") if path.is_file()), sep="\n")
    if missing:
        names = ", ".join(lesson.file for lesson in LESSONS)
        print(f"not written: {names}, which need {missing}; students can open explorer.html instead", file=sys.stderr)


if __name__ == "__main__":
    main()
