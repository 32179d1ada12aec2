"""Random mutants of the Python code: how many do the tests notice? `make mutants` runs it.

    python -m tools.mutants [--seed N] [--size 600]

A mutant is one change in a function: of an operator, a constant, an argument, an assignment, a result or a call. Texts for
people, which have spaces, stay. Coverage says which tests run a line. Each mutant is made in a forked
process, by exchanging the code of its function, and meets the tests that run its lines, the quickest first, up to the first
failure or to `SECONDS` of tests. One that hangs is ended, which counts as noticed.
"""

import argparse
import ast
import copy
import gc
import json
import multiprocessing
import os
import random
import resource
import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import coverage
import pytest
import torch

ROOT = Path(__file__).parents[1]
SOURCES = ("data", "gan", "recurrent", "runs", "train", "launch.py", "progress.py", "rng.py")
"""Of src/reviver: the rooms in which an error gives wrong numbers or loses work, and what all of them use."""
TESTS = ["tests/data", "tests/gan", "tests/recurrent", "tests/runs", "tests/train", "tests/cli/test_wrong_use.py"]
TESTS += [
    "tests/cli/test_system.py",
    "tests/show/test_export.py",
    "tests/show/test_figures.py",
    "tests/show/test_hub.py",
    "tests/sweep/test_driver.py",
]
TESTS += ["--ignore=tests/recurrent/test_arm.py", "--ignore=tests/runs/test_power_loss.py", "-k"]
TESTS += ["not (keep_torchs_rules or learns_a_length or system_call)"]
"""All but slow ones, where quicker ones notice the same."""
OPTIONS = ["-q", "-p", "no:cacheprovider", "--hypothesis-profile=mutants", "--tb=line"]
SECONDS = 40.0
TIMEOUT, PROCESSES = 120, 2
"""Seconds of a test that hangs, and mutants that are tried at a time."""
SWAPPED: dict[type[ast.AST], type[Any]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Div,
    ast.Pow: ast.Mult, ast.MatMult: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
"""What takes the place of an operator."""
NONE = ast.Constant(None)
KINDS = {None: "without a test", 0: "survived", 4: "not made", 77: "not made"} | dict.fromkeys((1, 2, 3), "noticed")
"""What became of a mutant, by the exit code of its process; others mean that a limit ended it."""
MEMORY = Path("/dev/shm")


class Mutant(NamedTuple):
    """A change of one place."""

    path: str
    number: int
    function: str
    lines: range
    """Lines of its statement, or of the function whose signature it changes."""
    around: range
    """Lines of its function."""
    text: str
    """The file with the change."""
    change: str

    def __str__(self) -> str:
        return f"{Path(self.path).relative_to(ROOT)}:{self.number}: {self.change}"


def copy_with(node: Any, **fields: Any) -> Any:
    """Return a copy of a node with other fields."""
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def changes(node: Any) -> Iterator[ast.AST]:  # noqa: PLR0912
    """Yield what may take the place of a node."""
    match node:
        case ast.Compare(ops=ops):
            for k in range(len(ops)):
                yield copy_with(node, ops=[*ops[:k], SWAPPED[type(ops[k])](), *ops[k + 1 :]])
        case ast.BoolOp() | ast.BinOp() if type(node.op) in SWAPPED:
            yield copy_with(node, op=SWAPPED[type(node.op)]())
        case ast.AugAssign():
            yield ast.Assign([node.target], node.value)
        case ast.UnaryOp():
            yield node.operand
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str() as value) if value and " " not in value:
            yield ast.Constant(f"XX{value}XX")
        case ast.IfExp():
            yield from (node.body, node.orelse)
        case ast.Call(args=args, keywords=keywords) if ast.unparse(node.func) not in ("len", "isinstance"):
            for k in [k for k, argument in enumerate(args) if ast.unparse(argument) != "None"]:
                yield copy_with(node, args=[*args[:k], NONE, *args[k + 1 :]])
            for k in range(len(keywords)):
                yield copy_with(node, keywords=[*keywords[:k], *keywords[k + 1 :]])
        case ast.Assign() | ast.AnnAssign() | ast.Return() if node.value and ast.unparse(node.value) != "None":
            yield copy_with(node, value=NONE)
        case ast.Expr(value=ast.Call()):
            yield ast.Pass()


def places(
    node: ast.AST, function: str, statement: Any, outer: Any, prefix: str = ""
) -> Iterator[tuple[Any, str, Any, Any]]:
    """Yield each expression and statement in a function, with the name of its outermost function, its statement and that function."""
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            is_text = isinstance(child, ast.Constant) and isinstance(node, ast.Expr | ast.JoinedStr)
            is_skipped = field in ("annotation", "returns", "decorator_list", "bases", "format_spec")
            if is_text or is_skipped or not isinstance(child, ast.AST):
                continue
            own = child if isinstance(child, ast.stmt) else statement
            if function and isinstance(child, ast.expr | ast.stmt):
                yield child, function, own, outer
            starts = not function and isinstance(child, ast.FunctionDef)
            name = f"{prefix}{child.name}" if isinstance(child, ast.ClassDef) or starts else ""  # type: ignore[attr-defined]
            inside = (name, own, child) if starts else (function, own, outer)
            yield from places(child, *inside, f"{name}." if name else prefix)


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Yield the mutants of a file."""
    lines = path.read_bytes().splitlines(keepends=True)
    for node, function, statement, outer in places(ast.parse(b"".join(lines)), "", None, None):
        first, last = node.lineno - 1, node.end_lineno - 1
        before = b"".join(lines[:first]) + lines[first][: node.col_offset]
        after = lines[last][node.end_col_offset :] + b"".join(lines[last + 1 :])
        around = range(outer.body[0].lineno, outer.end_lineno + 1)
        held = node if hasattr(statement, "body") else statement
        own = around if node.lineno < around.start else range(held.lineno, held.end_lineno + 1)  # a default
        for change in changes(node):
            new = ast.unparse(ast.fix_missing_locations(change))
            new = f"({new})" if isinstance(change, ast.expr) and not isinstance(change, ast.Constant) else new
            text = before.decode() + new + after.decode()
            note = f"{ast.unparse(node)[:150]} -> {new[:150]}"
            yield Mutant(str(path), node.lineno, function, own, around, text, note)


def codes(code: CodeType) -> Iterator[CodeType]:
    """Yield the codes of all functions in a code."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from codes(constant)


def apply(mutant: Mutant) -> None:
    """Exchange the code and the simple defaults of the mutant's function; exit with 77 if that is not possible."""
    tree = ast.parse(mutant.text)
    gc.unfreeze()  # tests/conftest.py hides what is imported
    name, found = mutant.function, [each for each in gc.get_objects() if isinstance(each, FunctionType)]
    new = [code for code in codes(compile(tree, mutant.path, "exec")) if code.co_qualname == name]
    found = [f for f in found if f.__code__.co_qualname == name and f.__code__.co_filename == mutant.path]
    if len(new) != 1 or not found or new[0].co_freevars != found[0].__code__.co_freevars:
        os._exit(77)
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    node = min(nodes, key=lambda node: (node.name != name.split(".")[-1], abs(node.lineno - new[0].co_firstlineno)))
    for function in found:
        function.__code__ = new[0]
        old = function.__defaults__ or ()
        values = [
            value.value if isinstance(value, ast.Constant) else kept
            for value, kept in zip(node.args.defaults, old, strict=False)
        ]
        function.__defaults__ = tuple(values) or None
        for argument, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
            if isinstance(value, ast.Constant) and function.__kwdefaults__:
                function.__kwdefaults__[argument.arg] = value.value


class Map:
    """Plugin of pytest that finds out which tests run a line, how long each takes, and which fail."""

    def __init__(self) -> None:
        self.coverage = coverage.Coverage(data_file=None, include=[f"{ROOT}/src/*"], config_file=False)
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        """Measure a test with its fixtures."""
        self.coverage.switch_context(item.nodeid)
        started = time.process_time()
        result = yield
        self.seconds[item.nodeid] = time.process_time() - started
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember a test that fails."""
        self.failed += [report.nodeid] if report.failed else []


def measure(path: Path) -> None:
    """Run all tests and write their map."""
    found = Map()
    found.coverage.start()
    pytest.main([*OPTIONS, "--timeout=0", *TESTS], plugins=[found])
    found.coverage.stop()
    data = found.coverage.get_data()
    lines = {file: data.contexts_by_lineno(file) for file in data.measured_files()}
    path.write_text(json.dumps({"seconds": found.seconds, "failed": found.failed, "lines": lines}))


def meet(mutant: Mutant, tests: list[str], seconds: float, folder: Path) -> None:
    """Run tests of so many seconds on a mutant, and exit with pytest's code. Programs that a test starts read `folder`."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / Path(mutant.path).relative_to(ROOT)).write_text(mutant.text, encoding="utf-8")
    sys.path.insert(0, str(folder / "src"))
    os.environ |= {"PYTHONPATH": str(folder / "src"), "PYTEST_DEBUG_TEMPROOT": str(folder)}
    limit = int(time.process_time() + 3 * seconds) + 30
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    os.setsid()
    apply(mutant)
    os._exit(int(pytest.main(["-x", f"--timeout={TIMEOUT}", *OPTIONS, *tests])))


def work(mutants: list[Mutant], known: dict[str, Any], outcomes: Any) -> None:
    """Try mutants, one after another."""
    for mutant in mutants:
        contexts = known["lines"].get(mutant.path, {})
        names = {test for line in mutant.lines for test in contexts.get(str(line), ())} - {""}
        if (
            not names or "distributed" in mutant.path or "launch" in mutant.path
        ):  # runs in other processes, or is traced
            names |= {test for line in mutant.around for test in contexts.get(str(line), ())} - {""}
            names |= {name for name in known["seconds"] if name.startswith("tests/runs/distributed")}
        tests, seconds = [], 0.0
        for name in sorted(names - set(known["failed"]), key=known["seconds"].__getitem__):
            seconds += known["seconds"][name]
            tests += [name] if not tests or seconds <= SECONDS else []
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            arguments = (mutant, tests, min(seconds, SECONDS), Path(folder))
            process = multiprocessing.Process(target=meet, args=arguments)
            if tests:
                process.start()
                process.join(3600)
                if process.is_alive():
                    os.killpg(process.pid, 9)
                    process.join()
        outcomes.put((str(mutant), KINDS.get(process.exitcode, "ended")))


def main() -> None:
    """Draw a sample, try it, and print each mutant that no test noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="a new one by default")
    parser.add_argument("--size", type=int, default=600, help="mutants to try")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    multiprocessing.set_start_method("fork")
    torch.set_num_threads(1)  # a fork of a process that has used more hangs
    os.chdir(ROOT)
    if pytest.main(["--collect-only", "-qqq", *OPTIONS, *TESTS]):  # so that a fork has imported everything
        raise SystemExit("the tests cannot be collected")
    where = Path(tempfile.mkdtemp()) / "map.json"
    measuring = multiprocessing.Process(target=measure, args=(where,))
    measuring.start()
    measuring.join()
    known = json.loads(where.read_text())
    print(f"{len(known['seconds'])} tests; left out, since they fail without a mutant: {known['failed']}", flush=True)
    top = ROOT / "src/reviver"
    paths = [
        path
        for source in SOURCES
        for path in sorted([top / source] if ".py" in source else (top / source).rglob("*.py"))
    ]
    everything = [mutant for path in paths for mutant in mutants_of(path)]
    sample = random.Random(given.seed).sample(everything, min(given.size, len(everything)))
    print(f"{len(sample)} of {len(everything)} mutants", flush=True)
    outcomes: Any = multiprocessing.SimpleQueue()
    for k in range(PROCESSES):
        multiprocessing.Process(target=work, args=(sample[k::PROCESSES], known, outcomes)).start()
    counts: Counter[str] = Counter()
    for number in range(1, len(sample) + 1):
        name, kind = outcomes.get()
        counts[kind] += 1
        if kind in ("survived", "without a test"):
            print(f"{kind}: {name}", flush=True)
        if number % 20 == 0 or number == len(sample):
            share = (counts["noticed"] + counts["ended"]) / max(1, number - counts["not made"])
            print(f"{number} tried, {share:.1%} noticed: {dict(counts)}", flush=True)


if __name__ == "__main__":
    main()
