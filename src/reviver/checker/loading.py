"""Run a submission in a child process, its training for a few updates only, and write down what networks it builds and calls.

What is missing on this machine, such as torchvision, data or a module that was not handed in, is replaced by a stand-in:
data sets have items, all else does nothing. Calls for a GPU go to the CPU.
"""

import argparse
import ast
import builtins
import json
import os
import re
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from functools import partial, partialmethod
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _SingleProcessDataLoaderIter

from reviver.checker.pieces import describe, is_library
from reviver.checker.standins import (
    FORMS,
    MODULES,
    USUAL,
    Images,
    StandIn,
    begin_loader,
    guess_another,
    list_folder,
    make_folder,
    open_file,
    read_table,
)
from reviver.checker.watch import Watch, cut

ALWAYS = "torchvision matplotlib tensorboard tensorboardX torch.utils.tensorboard seaborn IPython google torchsummary"
ALWAYS += " wandb sacred tkinter cv2"
"""Modules for which there is always a stand-in: they draw, log or load data."""
MAX_BATCHES = 10
"""Batches that a loader gives in one round."""
MAX_RETRIES = 20
"""How often a statement is run again with stand-ins for what was missing."""


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
        known = (each for name, each in MODULES.items() if f"{spec.name}.".startswith(f"{name}."))
        return next(known, StandIn(name=spec.name))

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing."""


def move(value: Any, of: Any, *args: Any, **options: Any) -> Any:
    """Move a tensor or a module to another type, or to the device of this machine if it has a number."""
    is_number = len(args) == 1 and type(args[0]) is int
    return of(value, *(("cpu",) if is_number else args), **options)


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


def iterate_here(loader: DataLoader[Any]) -> Any:
    """Return an iterator of a loader's first batches, without processes of its own."""
    loader.num_workers, loader.timeout = 0, 0
    return islice(_SingleProcessDataLoaderIter(loader), MAX_BATCHES)


CHANGES: tuple[tuple[Any, str, Any], ...] = (
    (socket.socket, "connect", refuse),
    (argparse.ArgumentParser, "error", lambda parser, message: None),  # options that are required
    (torch, "set_default_tensor_type", lambda kind: None),  # the check chooses float32 or float64
    (torch, "save", lambda *args, **options: None),
    (builtins, "open", open_file),
    *((np, name, partial(read_table, getattr(np, name))) for name in ("loadtxt", "genfromtxt")),
    (os, "listdir", list_folder),
    (os, "mkdir", make_folder),
    (DataLoader, "_get_iterator", iterate_here),
    (DataLoader, "__init__", begin_loader),
    (nn.parallel, "data_parallel", lambda module, x, *args, **options: module(x)),
    *((owner, "cuda", lambda owner, *args, **options: owner) for owner in (Tensor, nn.Module)),
    *((owner, "to", partialmethod(move, owner.to)) for owner in (Tensor, nn.Module)),
    (torch.cuda, "current_device", lambda: "cpu"),
)
"""What is another thing in this process: owner, name and value."""
TEXTS = {
    r"""(?<![=!]=)(?<![=!]= )(["'])(cuda|mps)(?=[:"'])""": r"\1cpu",  # but not where a device is compared
    r"torch\.cuda\.(?=\w+Tensor\b)": "torch.",
    r"(loss\w*)\.data\[0\]": r"\1.item()",  # of torch 0.3
    r"(iter\w*|iter\([\w.]*\))\.next\(\)": r"\1.__next__()",  # of torch 1
    r"\btqdm\.(notebook|auto)\b": "tqdm",  # whose bars need a page
}
"""What is replaced in the text of a file."""


class SourceFile(NamedTuple):
    """A file of a submission."""

    tree: ast.Module
    names: dict[str, Any]
    has_star: bool
    """Whether it imports all names of a module that is missing."""
    trained: list[tuple[ast.stmt, bool, dict[str, Any]]]
    """The statements in which an optimizer stepped, whether it was more than one optimizer, and the names before."""


def read_source(path: Path) -> ast.Module:
    """Return the syntax tree of a Python file or of the code cells of a notebook, without magics. Raises SyntaxError."""
    text = path.read_bytes().decode("utf-8-sig", "replace")
    if path.suffix == ".ipynb":
        parts = []
        for cell in json.loads(text)["cells"]:
            part = "".join(cell["source"]) if cell["cell_type"] == "code" else ""
            part = re.sub(r"^(\s*)([!?]|%%?[a-zA-Z]).*$", r"\1pass", part, flags=re.MULTILINE)
            with suppress(SyntaxError):  # one cell that is no Python does not hide the others
                ast.parse(part)
                parts.append(part)
        text = "\n".join(parts)
    for pattern, other in TEXTS.items():
        text = re.sub(pattern, other, text)
    return ast.parse(text, str(path))


def has_star(tree: ast.Module) -> bool:
    """Return whether a file imports all names of a module that is not there."""
    found = [each.module or "" for each in tree.body if isinstance(each, ast.ImportFrom) and each.names[0].name == "*"]
    own = {path.stem for path in Loader.sources} | {path.stem for path in Path.cwd().rglob("*.py")}
    roots = {each.partition(".")[0] for each in found} - own
    return any(not each or (each not in sys.modules and find_spec(each) is None) for each in roots)


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
        is_open = has_star(tree)
        if not module.__package__:  # of a package that is not whole
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module:
                    node.level = 0
            parts = [
                ast.copy_location(ast.Import(each.names), each)
                if isinstance(each, ast.ImportFrom) and not each.module
                else each
                for each in tree.body
            ]
            tree.body = [each for each in parts if not (isinstance(each, ast.Import) and each.names[0].name == "*")]
        source = self.sources[path] = SourceFile(tree, names, is_open, [])
        names |= {name: each for name, each in USUAL.items() if name not in names}  # imports may be in a cell above
        waiting, again = list[tuple[str, ast.stmt, bool, BaseException]](), list[ast.stmt]()
        todo = list(statements(tree))[::-1]
        while todo:
            statement, may_train = todo.pop()
            try:
                code = compile(ast.Module([statement], []), str(path), "exec")
                self.run(code, source, statement, may_train=may_train)
            except (Exception, SystemExit) as error:
                lacking = getattr(error, "name", "") if isinstance(error, NameError) else ""
                waiting.append(("" if statement in again else lacking or "", statement, may_train, error))
            ready = [each for each in waiting if each[0] in names]  # cells of a notebook may stand in another order
            waiting = [each for each in waiting if each not in ready]
            again += [each[1] for each in ready]
            todo += [each[1:3] for each in ready[::-1]]
        self.problems += [(path, describe(error)) for *_, error in waiting]
        Watch.errors += [error for *_, error in waiting if isinstance(error, Exception)]

    def run(self, code: CodeType, source: SourceFile, statement: ast.stmt, *, may_train: bool) -> None:
        """Run a statement; one that may train as far as it shows what it does."""
        stepped, before = set[int](), dict(source.names) if may_train else {}
        for _ in range(MAX_RETRIES):
            try:
                with cut(stepped) if may_train else nullcontext():
                    exec(code, source.names)  # noqa: S102
                break
            except NameError as error:
                if not source.has_star or not error.name or hasattr(builtins, error.name):
                    raise
                source.names[error.name] = getattr(StandIn(), error.name)  # a module that is missing may have it
            except (AttributeError, TypeError, RuntimeError, ValueError) as error:
                if not guess_another(error):
                    raise
            finally:
                if stepped:
                    source.trained[:] = [each for each in source.trained if each[0] is not statement]
                    source.trained.append((statement, len(stepped) > 1, before))


def load(paths: Sequence[Path]) -> tuple[list[SourceFile], list[str], Watch]:
    """Run files that may import each other; return their names, why some could not be run, and what networks did."""
    Loader.sources, Loader.problems, Images.made = {}, [], []
    Images.forms, Images.form, Images.is_guessed = list(FORMS), 0, False
    root, finder = str(Path.cwd()), FileFinder.path_hook((Loader, [".py"]))

    def find(folder: str) -> Any:
        if not folder.startswith(root):
            raise ImportError
        return finder(folder)

    sys.path_hooks.insert(0, find)
    sys.path[:0] = dict.fromkeys([root, *(str(path.parent) for path in paths)])
    torch.set_deterministic_debug_mode("warn")  # memory that is not set is nan
    with Watch() as watch:
        for path in paths:
            if path not in Loader.sources:  # not yet imported by another one
                module = ModuleType(path.stem)
                module.__file__, module.__package__ = str(path), ".".join(path.relative_to(root).parts[:-1])
                sys.modules.setdefault(path.stem, module)
                Loader(path.stem, str(path)).exec_module(module)
    torch.set_deterministic_debug_mode("default")
    problems = [f"{path.name}: {text}" if len(paths) > 1 else text for path, text in Loader.problems]
    return [Loader.sources[path] for path in paths if path in Loader.sources], problems, watch


def statements(tree: ast.Module) -> Iterator[tuple[ast.stmt, bool]]:
    """Yield the statements of a file, also those for when it is the main one, and whether they may train."""
    for statement in tree.body:
        is_main = isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test)
        for each in statement.body if isinstance(statement, ast.If) and is_main else [statement]:
            yield each, not isinstance(each, ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom)
