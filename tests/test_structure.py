"""One word, one thing: names of modules and classes, and imports without circles; import-linter holds the rooms."""

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1] / "src"
PATHS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "reviver").rglob("*.py"))
}
IN_BOTH = {"lstm", "gan", "training", "settings", "presets", "records", "figures", "snapshots", "run"}
"""Names of parts that both networks have, each in a room of its own."""
REPEATED = {"onnx", "pretrained"}
"""The same for two more."""


@cache
def trees() -> dict[str, ast.Module]:
    """Return the syntax of every module."""
    return {name: ast.parse(path.read_text("utf-8")) for name, path in PATHS.items()}


def repeated(names: list[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def classes() -> list[str]:
    return [node.name for tree in trees().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


def imports(tree: ast.Module) -> Iterator[str]:
    """Yield the modules of the package that a module imports anywhere, also in functions and for types only."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        parent = str(node.module) if isinstance(node, ast.ImportFrom) else ""
        for name in names:
            full = f"{parent}.{name}".lstrip(".")
            yield full if full in PATHS else parent


def test_a_module_name_occurs_twice_only_where_both_networks_have_the_part() -> None:
    assert repeated([path.stem for path in PATHS.values()]) - {"__init__"} <= IN_BOTH | REPEATED


def test_a_class_name_occurs_once_and_no_constant_has_it() -> None:
    found = classes()
    assert repeated(found) == set()
    assigned = {
        target.id
        for tree in trees().values()
        for node in ast.walk(tree)
        for target in (node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)])
        if isinstance(target, ast.Name)
    }
    assert assigned & set(found) == set()


def test_modules_import_each_other_without_circles() -> None:
    TopologicalSorter({name: set(imports(tree)) for name, tree in trees().items()}).prepare()  # or CycleError


def test_no_assertion_has_a_comparison_as_its_message() -> None:
    """As `assert a, b == c` has, which means `assert (a, b) == c` and asserts nothing of c."""
    files = [
        path for folder in ("tests", "benchmarks", "tools", "src") for path in (ROOT.parent / folder).rglob("*.py")
    ]
    nodes = ((path, node) for path in files for node in ast.walk(ast.parse(path.read_text("utf-8"))))
    assert not [(path, n.lineno) for path, n in nodes if isinstance(n, ast.Assert) and isinstance(n.msg, ast.Compare)]
