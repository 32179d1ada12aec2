"""Run the definitions of a submission, in a child process: its imports, functions, classes and settings, not its training.

What is missing on this machine, such as torchvision, data or a module that was not handed in, is replaced by a stand-in
that does nothing. Calls for a GPU go to the CPU.
"""

import ast
import importlib.abc
import importlib.machinery
import json
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode

from reviver.checker.pieces import is_library

ALWAYS = "torchvision matplotlib tensorboard tensorboardX torch.utils.tensorboard seaborn IPython google torchsummary"
ALWAYS += " wandb sacred tkinter cv2"
"""Modules for which there is always a stand-in: they draw, log or load data."""
LIBRARIES = {"torch", "np", "numpy", "random", "os", "sys", "warnings", "math"}
"""Modules whose calls at the top of a file are run, such as torch.manual_seed(1)."""


class StandIn:
    """An object that does nothing, whatever is asked of it; as a decorator it returns the function."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return StandIn()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the function that is decorated, or another stand-in."""
        return args[0] if len(args) == 1 and not kwargs and callable(args[0]) else StandIn()

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __getitem__(self, key: Any) -> Any:
        return StandIn()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (object,)


class StandInModule(ModuleType):
    """A module in which everything is a stand-in."""

    __getattr__ = StandIn.__getattr__


class StandInFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Find a stand-in for some modules or, as the last finder, for all that nobody found."""

    def __init__(self, names: list[str] | None, missing: list[str]) -> None:
        self.names, self.missing = names, missing

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Return the stand-in of a module."""
        if self.names is not None and not any(name == each or name.startswith(f"{each}.") for each in self.names):
            return None
        if self.names is None and is_library(importer()):
            return None  # a library knows what to do without a module
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Return an empty module."""
        module = StandInModule(spec.name)
        module.__dict__["__all__"] = []
        self.missing.append(spec.name)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing."""


def importer() -> str:
    """Return the file of the code that imports a module."""
    frame = sys._getframe(2)
    while frame.f_back is not None and "importlib" in frame.f_code.co_filename:
        frame = frame.f_back
    return frame.f_code.co_filename


class OnCPU(TorchFunctionMode):
    """Send what a submission wants to have on a GPU to the CPU."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch with its devices replaced."""
        if getattr(function, "__name__", "") == "cuda" and args:
            return args[0]
        plain = [on_cpu(each) for each in args]
        return function(*plain, **{name: on_cpu(each) for name, each in (kwargs or {}).items()})


def on_cpu(value: Any) -> Any:
    """Return the CPU for a device, or its name, of another kind."""
    if isinstance(value, torch.device):
        return torch.device("cpu")
    return "cpu" if isinstance(value, str) and value.split(":")[0] in ("cuda", "mps") else value


def prepare() -> list[str]:
    """Set up stand-ins in this process, and no network; return the names of replaced modules, which grow as they are imported."""
    missing: list[str] = []
    sys.meta_path.insert(0, StandInFinder(ALWAYS.split(), []))
    sys.meta_path.append(StandInFinder(None, missing))
    sys.argv = sys.argv[:1]

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError("there is no network here")

    socket.socket.connect = refuse  # type: ignore[method-assign]
    for name in ("FloatTensor", "DoubleTensor", "LongTensor", "IntTensor", "ByteTensor", "BoolTensor"):
        setattr(torch.cuda, name, getattr(torch, name))
    torch.nn.Module.cuda = lambda self, device=None: self  # type: ignore[method-assign]
    return missing


class SourceFile(NamedTuple):
    """A file of a submission."""

    path: Path
    tree: ast.Module
    names: dict[str, Any]


def read_source(path: Path) -> ast.Module:
    """Return the syntax tree of a Python file or of the code cells of a notebook, without magics. Raises SyntaxError."""
    text = path.read_bytes().decode("utf-8-sig", "replace")
    if path.suffix == ".ipynb":
        cells = json.loads(text).get("cells", [])
        parts = []
        for cell in cells:
            lines = "".join(cell.get("source", ())).splitlines() if cell.get("cell_type") == "code" else []
            if lines and lines[0].startswith("%%") and not lines[0].startswith(("%%time", "%%capture")):
                continue
            part = "\n".join("pass" if line.lstrip().startswith(("%", "!", "?")) else line for line in lines)
            with suppress(SyntaxError):  # one cell that is no Python does not hide the others
                ast.parse(part)
                parts.append(part)
        text = "\n".join(parts)
    return ast.parse(text, str(path))


def load(paths: Sequence[Path]) -> tuple[list[SourceFile], list[str]]:
    """Run the definitions of files that may import each other; return their names, and why some could not be run."""
    sources, problems = list[SourceFile](), list[str]()
    for path in paths:
        try:
            tree = read_source(path)
        except (SyntaxError, ValueError) as error:
            line = f"line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else "is no notebook"
            problems.append(f"{path.name}: {line}" if len(paths) > 1 else line)
            continue
        module = sys.modules.get(path.stem) or ModuleType(path.stem)
        if not path.stem.isidentifier() or getattr(module, "__file__", None) not in (None, str(path)):
            module = ModuleType("submission")
        module.__dict__.update(__file__=str(path), __name__=path.stem)
        sys.modules.setdefault(path.stem, module)
        sources.append(SourceFile(path, tree, module.__dict__))
    for _, tree, names in sources:
        for statement in definitions(tree):
            code = compile(ast.Module([statement], []), names["__file__"], "exec")
            try:
                exec(code, names)  # noqa: S102
            except Exception as error:
                problems.append(f"line {statement.lineno}: {type(error).__name__}: {error}")
    return sources, problems


def definitions(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements of a file that define something, with the parser of its options."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    loops = {node.name for node in functions if any(isinstance(each, ast.For | ast.While) for each in ast.walk(node))}
    for statement in tree.body:
        if isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test):
            yield from (each for each in statement.body if is_setting(each))
        elif isinstance(statement, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.If | ast.Try):
            yield statement
        elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
            called = {root(node.func) for node in ast.walk(statement) if isinstance(node, ast.Call)}
            if not called & loops:
                yield statement
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            if root(statement.value.func) in LIBRARIES or is_setting(statement):
                yield statement
        elif isinstance(statement, ast.While | ast.With | ast.For) and not has_step(statement):
            yield statement


def has_step(node: ast.AST) -> bool:
    """Return whether something is trained in a statement, or a long loop shows figures."""
    names = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
    return bool(names & {"backward", "step", "zero_grad"})


def is_setting(node: ast.stmt) -> bool:
    """Return whether a statement builds the parser of options or reads them, or chooses a device."""
    text = ast.unparse(node)
    words = ("argparse", ".add_argument(", ".parse_args(", ".parse_known_args(", "torch.device(")
    return isinstance(node, ast.Assign | ast.Expr) and any(word in text for word in words)


def root(node: ast.expr) -> str:
    """Return the first name of `a.b.c`."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
