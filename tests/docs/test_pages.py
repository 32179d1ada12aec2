"""README and docs are true: numbers, links, code, commands, tests and generated pages are those of the repository."""

import itertools
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from functools import cache, reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cyclopts import MissingArgumentError

import reviver
from benchmarks.publish import fill
from reviver.cli.app import COMMANDS, build_app, main, parse
from reviver.cli.sweep import build_trials
from reviver.errors import ReviverError
from reviver.runs.records import GANRecord, LSTMRecord
from reviver.sweep.spec import read_sweep
from tests.gan.scores.conftest import shrink_mnist
from tools import settings_page, source_tree
from tools.site import COPIES, GENERATED
from tools.tutorials import PICTURES, SOLUTIONS, TUTORIALS, Outcome, find_blocks, run_page, working_in

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MADE = {DOCS / page for page in (*COPIES.values(), *GENERATED)}
"""Pages that the build of the site writes and git ignores."""
WRITTEN = sorted(set(DOCS.rglob("*.md")) - MADE)
PAGES = [*(ROOT / name for name in ("README.md", "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md")), *WRITTEN]
INLINE_CODE = re.compile(r"`([^`\n]+)`")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def without_blocks(text: str) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def shell_lines(text: str) -> Iterator[str]:
    """The commands of a page: lines of blocks without a language, and inline code."""
    for block in find_blocks(text):
        if block.language in ("", "sh", "bash", "shell", "console"):
            yield from (line.removeprefix("$ ").strip() for line in block.code.splitlines())
    yield from INLINE_CODE.findall(without_blocks(text))


COMMON = {"--help", "--version", "--install-completion"}
build = cache(build_app)


@cache
def option_names(command: tuple[str, ...]) -> set[str]:
    app = reduce(lambda app, word: app[word], command, build())
    arguments = app.assemble_argument_collection(parse_docstring=False)
    return {name for argument in arguments for name in argument.names if name.startswith("--")}


@cache
def all_options() -> set[str]:
    return COMMON.union(*map(option_names, COMMANDS))


@each_page
def test_numbers_are_those_of_the_measurements(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert fill(text) == text, f"{page.name} differs from docs/measurements; run python -m benchmarks.publish"


def test_links_of_pages_at_the_top_lead_somewhere() -> None:
    """The build of the site checks the links of its own pages."""
    targets = [
        target
        for page in PAGES[:4]
        for target in re.findall(r"\]\((?!\w+:)([^)#]+)[^)]*\)", without_blocks(page.read_text(encoding="utf-8")))
    ]
    assert len(targets) > 20
    assert [target for target in targets if not (ROOT / target).exists() and ROOT / target not in MADE] == []


NOT_RUN = {"from aeon": "aeon is not installed", "skops": "skops is not installed"}
"""Texts of the blocks that no test runs, and the reasons."""

NUMBER = re.compile(r" *\d+(?:\.\d+)?")
SHORTER = {
    "README": (("epochs=10)", "epochs=1, data_size=200)"),),
    "api": (("epochs=10)", "epochs=1, data_size=200)"),),
    "use-a-trained-gan": (("2000", "100"),),
    "use-with-scikit-learn": (("max_epochs=20", "max_epochs=2"),),
    "lstm": (
        ("range(1, 101):\n    for", "range(1, 31):\n    for"),
        ("range(1, 101), accuracies", "range(1, 31), accuracies"),
        ("axes.text(100,", "axes.text(30,"),
        ("epoch 100: validation accuracy 100.0%\n", ""),
        ("*make_batch(128, length=50)", "*make_batch(32, length=50)"),
        ("[5, 10, 20, 30, 50, 75, 100, 150]", "[5, 50, 75]"),
    ),
    "gan": (
        ("range(1, 1001)", "range(1, 101)"),
        ("step  300: loss of G 0.36, loss of D 0.69\nstep 1000: loss of G 0.90, loss of D 0.45\n", ""),
    ),
}
"""What is shortened in a page: fewer epochs, steps, sequences and lengths, and no output of what is left out."""

CLOSE = {"lstm": 15, "gan": 1, "solutions-lstm": 15, "solutions-gan": 30}
"""Percentage points of accuracies, and losses of a GAN, by which another machine may differ from the page."""


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
            "gan train --data images.npz --epochs 1 --batch-size 16 --batch-norm-samples 9 --out runs/gan",
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
def test_code_runs(page: Path, examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(examples, tmp_path, dirs_exist_ok=True)
    if page.stem == "use-a-trained-gan":
        shrink_mnist(monkeypatch)
        monkeypatch.setenv("REVIVER_CACHE", str(tmp_path / "cache"))
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
    """The files of sweeps have trials, where a fragment gets a command, and the settings file is read."""
    path = tmp_path / "file.toml"
    for page in (DOCS / "how-to" / "sweep.md", settings_page.PAGE):
        for block in find_blocks(page.read_text(encoding="utf-8")):
            if block.language == "toml":
                has_command = block.code.startswith("command") or page == settings_page.PAGE
                path.write_text(block.code if has_command else f'command = "lstm train"\n{block.code}')
                assert page == settings_page.PAGE or build_trials(read_sweep(path), {}, tmp_path)
    assert main(["lstm", "train", "--config", str(path), "--print-config"]) == 0


@each_page
def test_commands_options_and_targets_exist(page: Path) -> None:
    """Every `reviver ...` of a page parses, every option in its text is one of some command, and every make target exists."""
    if page.name == "CHANGELOG.md":
        return  # it names what was renamed
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    wrong = []
    for line in shell_lines(text):
        if re.match(r"reviver( |$)", line):
            words = shlex.split(line.replace(" …", ""), comments=True)[1:]
            wrong.append((line, problem_of(list(itertools.takewhile(lambda word: word[0] not in ">|&", words)))))
        if match := re.search(r"(?:^|\s)make(?: \w+=\S+)* ([a-z-]+)", line):
            wrong.append((line, None if match[1] in targets else "no target of the Makefile"))
    for code in INLINE_CODE.findall(without_blocks(text)):
        if code.startswith("--"):
            unknown = set(re.findall(r"--[a-z][\w-]*", code)) - all_options() - {"--require-hashes"}
            wrong.append((code, f"unknown options {unknown}" if unknown else None))
    assert [(line, problem) for line, problem in wrong if problem] == []


def problem_of(words: list[str]) -> str | None:
    """What is wrong with a command of a page, or None."""
    app, count = build(), 0
    while count < len(words) and not words[count].startswith("-") and words[count] in app:
        app, count = app[words[count]], count + 1
    command, rest = tuple(words[:count]), words[count:]
    if not rest or set(rest) & COMMON:
        return None
    if command not in COMMANDS:
        return f"{rest[0]} is no command"
    named = {word.split("=")[0] for word in rest if word.startswith("--")}
    if unknown := named - option_names(command):
        return f"unknown options {sorted(unknown)}"
    if named & {"--resume", "--config"} or any(re.search(r"^[A-Z]+$|\.py|\.cell", word) for word in rest):
        return None  # it reads files, or has placeholders
    try:
        parse(words)
    except ReviverError as error:  # a fragment may lack an argument, such as `reviver gan interpolate --annotate`
        return None if isinstance(error.__cause__, MissingArgumentError) else str(error)
    return None


def test_generated_pages_and_public_names_are_current() -> None:
    public = next(find_blocks((DOCS / "reference" / "api.md").read_text(encoding="utf-8"))).code
    assert set(reviver.__all__) <= set(re.findall(r"\w+", public))
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.page(), "run python -m tools.settings_page"
    assert settings_page.KEYWORDS.read_text(encoding="utf-8") == settings_page.keywords(), "and settings/keywords.py"
    tree = source_tree.page()
    for module in (ROOT / "src" / "reviver").rglob("*.py"):
        assert module.name == "__init__.py" or f"{module.relative_to(ROOT)})" in tree


@pytest.mark.parametrize("is_whole", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_prints_what_it_shows(page: Path, is_whole: bool, tmp_path: Path) -> None:
    run = page if is_whole else shortened(page, tmp_path)
    names, text = check_output(run, tmp_path, {})
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures == set(re.findall(rf"{PICTURES.name}/([\w-]+\.png)", text))
    if is_whole:
        check_output(SOLUTIONS[page], tmp_path, names)


def check_output(page: Path, folder: Path, names: dict[str, Any]) -> Outcome:
    """Run a page, compare what it prints with its text, equal words and close numbers, and return the outcome."""
    outcome = run_page(page, folder, names=names)
    # How soon a length is learned depends on the machine.
    learned = re.compile(r"^length +\d+ learned after \d+ updates\n", re.MULTILINE)
    found, shown = (learned.sub("", text) for text in (outcome.text, page.read_text(encoding="utf-8")))
    assert NUMBER.sub("#", found) == NUMBER.sub("#", shown), "run python -m tools.tutorials"
    numbers, expected = (list(map(float, NUMBER.findall(text))) for text in (found, shown))
    assert numbers == pytest.approx(expected, rel=0, abs=CLOSE[page.stem])
    return outcome


def test_the_page_of_run_folders_names_every_key_of_run_json() -> None:
    page = (DOCS / "reference" / "run-folder.md").read_text(encoding="utf-8")
    table = page.partition("| key of `run.json` |")[2].partition("\n\n")[0]
    named = {key for row in table.splitlines()[2:] for key in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == {field.alias or name for name, field in (GANRecord.model_fields | LSTMRecord.model_fields).items()}


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/explanation/architecture.md"])
def test_the_map_names_paths_and_definitions_that_exist(page: str) -> None:
    sources = "\n".join(path.read_text() for folder in ("src", "tools") for path in (ROOT / folder).rglob("*.py"))
    for text in INLINE_CODE.findall(without_blocks((ROOT / page).read_text())):
        if "/" in text and " " not in text:
            assert (ROOT / text).exists() or (ROOT / "src/reviver" / text).exists(), text
        elif re.fullmatch(r"\w+", text):
            assert re.search(rf"^\s*(?:(?:class|def) {text}\b|{text}\b.*=)", sources, re.MULTILINE), text
