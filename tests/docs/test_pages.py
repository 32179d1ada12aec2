"""README and docs are true: numbers, links, code, commands, tests and generated pages are those of the repository."""

import itertools
import json
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cyclopts import App, MissingArgumentError

from benchmarks.publish import fill
from reviver.cli.app import COMMANDS, build_app, main, parse
from reviver.cli.sweep import build_cells
from reviver.errors import ReviverError
from reviver.gan.records import GANRecord
from reviver.lstm.records import LSTMRecord
from reviver.sweep.spec import read_sweep
from tools import settings_page, source_tree
from tools.site import COPIES, GENERATED, LINK
from tools.tutorials import PICTURES, SOLUTIONS, TUTORIALS, find_blocks, run_page, working_in

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MADE = {DOCS / page for page in (*COPIES.values(), *GENERATED)}
"""Pages that the build of the site writes and git ignores."""
WRITTEN = sorted(set(DOCS.rglob("*.md")) - MADE)
PAGES = [*(ROOT / name for name in ("README.md", "SECURITY.md", "CHANGELOG.md")), *WRITTEN]
INLINE_CODE = re.compile(r"`([^`\n]+)`")
SOURCES = [path for suffix in ("py", "cpp", "typ") for path in sorted((ROOT / "src").rglob(f"*.{suffix}"))]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def without_blocks(text: str) -> str:
    """The page without its fenced blocks, which hold neither links nor headings."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub and the site give the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", without_blocks(text), re.MULTILINE)
    slugs = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
    return {slug if n == 0 else f"{slug}-{n}" for slug in slugs for n in range(slugs.count(slug))}


def shell_lines(text: str) -> Iterator[str]:
    """The commands of a page: lines of blocks without a language, and inline code."""
    for block in find_blocks(text):
        if block.language in ("", "sh", "bash", "shell", "console"):
            yield from (line.removeprefix("$ ").strip() for line in block.code.splitlines())
    yield from INLINE_CODE.findall(without_blocks(text))


def find_app(words: Sequence[str]) -> tuple[App, int]:
    """The command that `words` begin with, and how many of them name it."""
    app, count = build_app(), 0
    for word in words:
        if word.startswith("-") or word not in app:
            break
        app, count = app[word], count + 1
    return app, count


def option_names(words: tuple[str, ...]) -> set[str]:
    app, _ = find_app(words)
    arguments = app.assemble_argument_collection(parse_docstring=False)
    return {name for argument in arguments for name in argument.names if name.startswith("--")}


@each_page
def test_numbers_are_those_of_the_measurements(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert fill(text) == text, f"{page.name} differs from docs/measurements; run python -m benchmarks.publish"


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    text = without_blocks(page.read_text(encoding="utf-8"))
    links = [(match["target"], match["anchor"]) for match in LINK.finditer(text)]
    links += [("", anchor) for anchor in re.findall(r"\]\((#[^)]+)\)", text)]
    links += [(target, None) for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)]
    wrong = []
    for target, anchor in links:
        if "://" in target:
            continue
        path = page.parent / target if target else page
        if path.resolve() in MADE:
            continue  # the build of the site checks such links
        if not path.exists():
            wrong.append(target)
        elif anchor and path.suffix == ".md" and anchor[1:] not in anchors(path.read_text(encoding="utf-8")):
            wrong.append(f"{target}{anchor}")
    assert not wrong, f"{page.name} links to {wrong}, which do not exist"


NOT_RUN = {"from aeon": "aeon is not installed", "skops": "skops is not installed"}
"""Texts of the blocks that no test runs, and the reasons."""

SHORTER = {
    "use-a-trained-gan": (("2000", "100"),),
    "use-with-scikit-learn": (("max_epochs=20", "max_epochs=2"),),
    "gan": (("range(1, 1001)", "range(1, 301)"), ("(100, 300, 1000)", "(30, 100, 300)")),
}
"""What is shortened in the code of a page: the GAN of the tutorial has its first strokes after 300 steps."""


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the code of the pages reads, of small networks."""
    folder = tmp_path_factory.mktemp("examples")
    with working_in(folder):
        images = np.random.default_rng(0).integers(0, 256, (64, 28, 28), np.uint8)
        np.savez("images.npz", images=images)
        rows = (
            f"{label},{' '.join(str(n * sign) for n in range(1, 6))}" for label, sign in [("up", 1), ("down", -1)] * 6
        )
        Path("mine.csv").write_text("\n".join(["label,sequence", *rows]))
        for command in (
            "lstm train --epochs 1 --hidden-size 8 --out runs/lstm",
            "lstm train --data mine.csv --epochs 1 --hidden-size 8 --out runs/mine",
            "gan train --data images.npz --epochs 1 --batch-size 16 --out runs/gan",
            "export runs/mine --format onnx --out mine.onnx",
            "export runs/gan --format onnx --out generator.onnx",
            "export runs/mine --format hub --out user/mine",
            "export runs/gan --format hub --out generator",
        ):
            assert main([*shlex.split(command), "--quiet"]) == 0
        shutil.copytree("runs/lstm", "report/runs/lstm-seed0")
        row = {"original": 0.995, "measured": {"mean": 0.98, "std": 0.04}, "agrees": True}
        Path("report", "report.json").write_text(json.dumps({"comparison": {"lstm": {"validation_accuracy": row}}}))
    return folder


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, within scan
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.stem, marks=[pytest.mark.long] if page.stem == "transform-and-compile" else [])
        for page in PAGES
        if page not in (*TUTORIALS, *SOLUTIONS.values()) and "```python" in page.read_text(encoding="utf-8")
    ],
)
def test_code_runs(page: Path, examples: Path, tmp_path: Path) -> None:
    shutil.copytree(examples, tmp_path, dirs_exist_ok=True)
    with torch._dynamo.config.patch(allow_rnn=False):  # a page sets it
        run_page(shortened(page, tmp_path), tmp_path, skip=NOT_RUN)


def shortened(page: Path, folder: Path) -> Path:
    """Return a copy of a page in `folder` that takes less time."""
    text = page.read_text(encoding="utf-8")
    for whole, shorter in SHORTER.get(page.stem, ()):
        assert whole in text, f"{page.name} has changed; adapt SHORTER"
        text = text.replace(whole, shorter)
    copy = folder / page.name
    copy.write_text(text, encoding="utf-8")
    return copy


def test_toml_is_valid(tmp_path: Path) -> None:
    """The files of sweeps have cells, where a fragment gets a command, and the settings file is read."""
    path = tmp_path / "file.toml"
    for block in find_blocks((DOCS / "how-to" / "sweep.md").read_text(encoding="utf-8")):
        if block.language == "toml":
            path.write_text(block.code if block.code.startswith("command") else f'command = "lstm train"\n{block.code}')
            assert build_cells(read_sweep(path), {})
    (settings,) = (
        block for block in find_blocks(settings_page.PAGE.read_text(encoding="utf-8")) if block.language == "toml"
    )
    path.write_text(settings.code)
    assert main(["lstm", "train", "--config", str(path), "--print-config"]) == 0


@each_page
def test_commands_parse(page: Path) -> None:
    """Every `reviver ...` of a page names a command and options that exist, with values that are allowed."""
    for line in shell_lines(page.read_text(encoding="utf-8")):
        if page.name == "CHANGELOG.md" or not re.match(r"reviver( |$)", line):
            continue
        words = shlex.split(line.replace(" …", ""), comments=True)[1:]
        words = list(itertools.takewhile(lambda word: not word.startswith((">", "|", "&")), words))
        if problem := problem_of(words):
            pytest.fail(f"{page.name}: {line}: {problem}")


def problem_of(words: list[str]) -> str | None:
    """What is wrong with a command of a page, or None."""
    _, count = find_app(words)
    command, rest = tuple(words[:count]), words[count:]
    if not rest or set(rest) & {"--help", "--version", "--install-completion"}:
        return None
    if command not in COMMANDS:
        return f"{rest[0]} is no command"
    named = {word.split("=")[0] for word in rest if word.startswith("--")}
    if unknown := named - option_names(command):
        return f"unknown options {sorted(unknown)}"
    if named & {"--resume", "--config"} or any(word.isupper() for word in rest):
        return None  # it reads files, or has placeholders
    try:
        parse(words)
    except ReviverError as error:  # a fragment may lack an argument, such as `reviver gan interpolate --metrics`
        return None if isinstance(error.__cause__, MissingArgumentError) else str(error)
    return None


@each_page
def test_options_exist(page: Path) -> None:
    """Every option in the text of a page is one of some command."""
    if page.name == "CHANGELOG.md":
        return  # it names what was renamed
    known = {name for words in COMMANDS for name in option_names(words)} | {"--help", "--version"}
    known |= {"--install-completion", "--require-hashes"}
    for code in INLINE_CODE.findall(without_blocks(page.read_text(encoding="utf-8"))):
        if code.startswith("--"):
            unknown = set(re.findall(r"--[a-z][\w-]*", code)) - known
            assert not unknown, f"{page.name} names {unknown}, which are no options of reviver"


@each_page
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for line in shell_lines(page.read_text(encoding="utf-8")):
        if match := re.search(r"(?:^|\s)make(?: \w+=\S+)* ([a-z-]+)", line):
            assert match[1] in targets, f"{page.name}: make {match[1]} is no target of the Makefile"


def test_private_words_are_gone() -> None:
    """The words that the vocabulary of this project replaced. A LeakyReLU has a slope, which the report compares."""
    words = re.compile(r"step size|drawn image|whole number|is not possible; give|\btold\b|made anew", re.IGNORECASE)
    slope = re.compile(r"(?<!negative[_ -])(?<!`)\bslopes?\b(?! of LeakyReLU)", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in (*PAGES, *SOURCES)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if words.search(line) or (slope.search(line) and "report" not in path.parts)
    ]
    assert not found, "\n".join(found)


def test_pages_and_sources_name_pages_and_tests_that_exist() -> None:
    tests = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert len(SOURCES) > 50
    for path in (*PAGES, *SOURCES):
        text = path.read_text(encoding="utf-8")
        named = {ROOT / page for page in re.findall(r"\bdocs/[\w/-]+\.md\b", text)} - MADE
        missing = {str(page.relative_to(ROOT)) for page in named if not page.exists()}
        if path.name != "CHANGELOG.md":
            missing |= set(re.findall(r"\btest_\w+\.py\b", text)) - tests
        assert not missing, f"{path.relative_to(ROOT)} names {missing}; write their new names"


def test_generated_pages_are_current() -> None:
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.page(), "run python -m tools.settings_page"
    assert set(settings_page.PURPOSES) == {*settings_page.LSTM_PRESETS, *settings_page.GAN_PRESETS}


def test_the_page_of_modules_names_all_of_them() -> None:
    text = source_tree.page()
    for module in (ROOT / "src" / "reviver").rglob("*.py"):
        assert module.name == "__init__.py" or f"src/reviver/{module.relative_to(ROOT / 'src' / 'reviver')})" in text


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_tutorial_runs(page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    outcome = run_page(shortened(page, tmp_path), tmp_path)
    assert shape(outcome.text) == shape(text), "the code prints something else; run python -m tools.tutorials"
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures == set(re.findall(rf"{PICTURES.name}/([\w-]+\.png)", text))
    check_learning(page.stem, outcome.names)


def shape(text: str) -> str:
    """The page without its numbers, whose last digits depend on the machine, and without the spaces before them."""
    return re.sub(
        r" *\d+(\.\d+)?", "#", re.sub(r"^(length +\d+ learned after \d+ updates\n)+", "", text, flags=re.MULTILINE)
    )


def check_learning(name: str, names: dict[str, Any]) -> None:
    """Check that the networks of a tutorial do what its text says."""
    if name == "lstm":
        assert names["accuracies"][0] < 0.5 < 0.9 < names["accuracies"][-1]
        at_50 = {key: values[names["lengths"].index(50)] for key, values in names["recall"].items()}
        assert at_50["length 50 from the start"] < 0.5 < at_50["length 5"] <= 1
        assert at_50["curriculum up to 22"] > 0.9
        assert names["difference"] < 1e-4
    else:
        first, *_, last = names["grids"].values()
        assert first.std() < 0.3 < last.std()  # gray noise has little contrast, ink on black has much
        assert 0.2 < names["losses"][-1][1] < 1.0
        assert names["step_difference"] < 1e-4


def test_the_page_of_run_folders_names_every_key_of_run_json() -> None:
    table = (
        (ROOT / "docs" / "reference" / "run-folder.md").read_text().split("| key of `run.json` |")[1].split("\n\n")[0]
    )
    named = {key for row in table.splitlines()[2:] for key in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == {field.alias or name for name, field in (GANRecord.model_fields | LSTMRecord.model_fields).items()}
