"""Run the definitions of a submission, in a child process: its imports, functions, classes and settings, not its training.

What is missing on this machine, such as torchvision, data or a module that was not handed in, is replaced by a stand-in
that does nothing. Calls for a GPU go to the CPU.
"""

import argparse
import ast
import json
import re
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn

from reviver.checker.pieces import describe, is_library

ALWAYS = "torchvision matplotlib tensorboard tensorboardX torch.utils.tensorboard seaborn IPython google torchsummary"
ALWAYS += " wandb sacred tkinter cv2"
"""Modules for which there is always a stand-in: they draw, log or load data."""
LIBRARIES = {"torch", "np", "numpy", "random", "os", "sys", "warnings", "math"}
"""Modules whose calls at the top of a file are run, such as torch.manual_seed(1)."""


class StandIn(MagicMock):
    """A module, or what is in it, that does nothing, whatever is asked of it; as a decorator it returns the function."""

    __all__ = ()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.__bool__ = lambda _: False

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Return the function that is decorated, or another stand-in."""
        is_decorator = len(args) == 1 and callable(args[0]) and not options
        return args[0] if is_decorator else super().__call__(*args, **options)

    def __format__(self, spec: str) -> str:
        return ""

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (object,)


class StandInFinder:
    """Find a stand-in for modules that a submission imports: for some, or as the last finder for all that nobody found."""

    def __init__(self, names: str, found: list[str]) -> None:
        self.names, self.found = tuple(f"{name}." for name in names.split()) or "", found

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """Return the stand-in of a module; a library knows what to do without one."""
        frame: Any = sys._getframe(1)
        while "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        is_wanted = f"{name}.".startswith(self.names) and not is_library(frame.f_code.co_filename)
        return ModuleSpec(name, self, is_package=True) if is_wanted else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return a stand-in."""
        self.found.append(spec.name)
        return StandIn(name=spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing."""


def refuse(*args: Any, **options: Any) -> None:
    """Raise the error of a connection to the network."""
    raise OSError("there is no network here")


def prepare() -> list[str]:
    """Set up stand-ins in this process and make CHANGES; return the list of modules replaced so far."""
    missing: list[str] = []
    sys.meta_path[:] = [StandInFinder(ALWAYS, []), *sys.meta_path, StandInFinder("", missing)]
    sys.argv = sys.argv[:1]
    for owner, name, value in CHANGES:
        setattr(owner, name, value)
    return missing


CHANGES: tuple[tuple[Any, str, Any], ...] = (
    (socket.socket, "connect", refuse),
    (argparse.ArgumentParser, "error", lambda parser, message: None),  # options that are required
    (torch, "set_default_tensor_type", lambda kind: None),  # the check chooses float32 or float64
    *((owner, "cuda", lambda owner, *args, **options: owner) for owner in (Tensor, nn.Module)),
)
"""What is another thing in this process: owner, name and value."""
TEXTS = {
    r"""(?<![=!]=)(?<![=!]= )(["'])(cuda|mps)(?=[:"'])""": r"\1cpu",  # but not where a device is compared
    r"torch\.cuda\.(?=\w+Tensor\b)": "torch.",
    r"(loss\w*)\.data\[0\]": r"\1.item()",  # of torch 0.3
}
"""What is replaced in the text of a file."""


class SourceFile(NamedTuple):
    """A file of a submission."""

    tree: ast.Module
    names: dict[str, Any]


def read_source(path: Path) -> ast.Module:
    """Return the syntax tree of a Python file or of the code cells of a notebook, without magics. Raises SyntaxError."""
    text = path.read_bytes().decode("utf-8-sig", "replace")
    if path.suffix == ".ipynb":
        parts = []
        for cell in json.loads(text)["cells"]:
            lines = "".join(cell["source"]).splitlines() if cell["cell_type"] == "code" else []
            part = "\n".join("pass" if line.lstrip().startswith(("%", "!", "?")) else line for line in lines)
            with suppress(SyntaxError):  # one cell that is no Python does not hide the others
                ast.parse(part)
                parts.append(part)
        text = "\n".join(parts)
    for pattern, other in TEXTS.items():
        text = re.sub(pattern, other, text)
    return ast.parse(text, str(path))


class Loader(SourceFileLoader):
    """Load a file of a submission: run its definitions, as far as they can be run."""

    sources: dict[Path, SourceFile]
    problems: list[tuple[Path, str]]

    def exec_module(self, module: ModuleType) -> None:
        """Run the definitions of a file in a module."""
        path, names = Path(self.path), vars(module)
        try:
            tree = read_source(path)
        except (SyntaxError, ValueError, LookupError, TypeError) as error:
            self.problems.append((path, describe(error) if isinstance(error, SyntaxError) else "is no notebook"))
            return
        self.sources[path] = SourceFile(tree, names)
        for statement in definitions(tree):
            try:
                exec(compile(ast.Module([statement], []), str(path), "exec"), names)  # noqa: S102
            except (Exception, SystemExit) as error:
                self.problems.append((path, describe(error)))


def load(paths: Sequence[Path]) -> tuple[list[SourceFile], list[str]]:
    """Run the definitions of files that may import each other; return their names, and why some could not be run."""
    Loader.sources, Loader.problems = {}, []
    root, finder = str(Path.cwd()), FileFinder.path_hook((Loader, [".py"]))

    def find(folder: str) -> Any:
        if not folder.startswith(root):
            raise ImportError
        return finder(folder)

    sys.path_hooks.insert(0, find)
    sys.path[:0] = dict.fromkeys([root, *(str(path.parent) for path in paths)])
    for path in paths:
        if path not in Loader.sources:  # not yet imported by another one
            module = ModuleType(path.stem)
            module.__file__, module.__package__ = str(path), ".".join(path.relative_to(root).parts[:-1])
            sys.modules.setdefault(path.stem, module)
            Loader(path.stem, str(path)).exec_module(module)
    problems = [f"{path.name}: {text}" if len(paths) > 1 else text for path, text in Loader.problems]
    return [Loader.sources[path] for path in paths if path in Loader.sources], problems


def definitions(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements of a file that define something; of the calls those that set something up, and no training."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    loops = {node.name for node in functions if any(isinstance(each, ast.For | ast.While) for each in ast.walk(node))}
    for statement in tree.body:
        match statement:
            case ast.If() if "__name__" in ast.unparse(statement.test):
                yield from (each for each in statement.body if is_setting(each) and not trains(each, loops))
            case ast.Expr(ast.Call(function)) if not (root(function) in LIBRARIES or is_setting(statement)):
                pass
            case ast.Assign() | ast.AugAssign() | ast.While() | ast.With() | ast.For() if trains(statement, loops):
                pass
            case _:
                yield statement


def root(function: ast.expr) -> str:
    """Return the first name of `a.b.c`."""
    return ast.unparse(function).partition(".")[0]


def trains(statement: ast.stmt, loops: set[str]) -> bool:
    """Return whether a statement calls one of the functions with loops, or what updates weights."""
    called = {root(node.func) for node in ast.walk(statement) if isinstance(node, ast.Call)}
    return bool(called & loops) or bool(re.search(r"\.(backward|step|zero_grad)\b", ast.unparse(statement)))


def is_setting(node: ast.stmt) -> bool:
    """Return whether a statement builds the parser of options or reads them, or chooses a device."""
    text = ast.unparse(node)
    words = ("argparse", ".add_argument(", ".parse_args(", ".parse_known_args(", "torch.device(")
    return isinstance(node, ast.Assign | ast.Expr) and any(word in text for word in words)
