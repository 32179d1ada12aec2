"""User-defined classes: cell, task, loss and networks of a run; never loaded from the run folder.

Code runs only if the person at the keyboard names it in that very call: on the command line, in a file of settings, or as
a class in Python. `Parts` holds the classes of one run, and is passed to whatever builds objects of them. A run folder has
their references, and copies of their files for the reader.
"""

import contextlib
import copy
import hashlib
import importlib
import linecache
import logging
import sys
import traceback
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import PlainValidator

from reviver.errors import ConfigError
from reviver.settings.lstm_network import is_cell_text, read_cell_text, with_file_name
from reviver.settings.validation import MAX_VALUE, refuse
from reviver.text import did_you_mean, one_line, short_repr

NETWORKS = ("Generator", "Discriminator")
"""Classes of a file of `networks`."""
_log = logging.getLogger("reviver")


class CustomClass(NamedTuple):
    """A user-defined class, or an instance as a template of its copies."""

    cls: type
    file: str | None = None
    """Name of its file; None if it has none, as in a notebook."""
    content: bytes = b""
    instance: Any = None

    @property
    def name(self) -> str:
        """Name of the class."""
        return self.cls.__name__

    @property
    def sha256(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.content).hexdigest()

    def build(self, *arguments: Any) -> Any:
        """Return a new object of the class, or a copy of the instance, a module on the default device."""
        if self.instance is None:
            return self.cls(*arguments)
        built = copy.deepcopy(self.instance)
        if "torch" in sys.modules and isinstance(built, sys.modules["torch"].nn.Module):
            built.to(sys.modules["torch"].get_default_device())
        return built


@dataclass(frozen=True)
class Parts:
    """User-defined classes of a run by the setting that names them; None where the run has a built-in one."""

    cell: CustomClass | None = None
    task: CustomClass | None = None
    loss: CustomClass | None = None
    networks: tuple[CustomClass, CustomClass] | None = None
    """Generator and discriminator."""

    @classmethod
    def load(cls, **named: Any) -> Self:
        """Return the classes that the caller named by setting: references, classes or instances; None: none."""
        return cls.resolve(named)[1]

    @classmethod
    def resolve(cls, settings: Mapping[str, Any]) -> tuple[dict[str, Any], Self]:
        """Return `settings` with references in place of classes and instances, and the classes; ConfigError if there is none."""
        references, found = dict(settings), dict[str, Any]()
        cell = references.get("cell")
        if isinstance(cell, str | Path) and str(cell).endswith(".cell"):
            references["cell"] = with_file_name(read_cell_text(cell), cell)
        for name in OPTIONS:
            value = references.get(name)
            if value is None or (isinstance(value, str) and not is_custom(name, value)):
                continue
            if name == "networks":
                references[name], found[name] = _resolve_networks(name, value)
            elif isinstance(value, str):
                found[name] = _load(name, value)
            else:
                found[name] = _inspect(value)
                references[name] = f"{found[name].cls.__module__}:{found[name].name}"
        return references, cls(**found)

    def require(self, option: str, reference: str) -> Any:
        """Return the class of a setting; a `ConfigError` names the reference of one that the caller did not name."""
        part = getattr(self, option)
        if part is None:
            what, form = ("file", "FILE.py") if option == "networks" else ("class", "FILE.py:CLASS")
            problem = (
                f"{short_repr(reference)} is a {what} of your own, which is not run unless you name it in this call"
            )
            refuse(option, f"{problem}; give it with --{option} {form}")
        return part

    def check_run(self, config: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """Check the classes for a run with the settings `config`: refuse those that it does not have, and `warn_of_changes`."""
        for option in OPTIONS:
            if getattr(self, option) is not None and not is_custom(option, config.get(option)):
                refuse(option, f"must be absent for a run with {option} {config.get(option)}; leave it out")
        self.warn_of_changes(record)

    def warn_of_changes(self, record: Mapping[str, Any]) -> None:
        """Warn of each file that is not the one that a run began with; `record` is `parts` of its run.json."""
        for option, part in self.named.items():
            if part.file is not None and record.get(option, {}).get("sha256", part.sha256) != part.sha256:
                _log.warning(f"{option}: {part.file} has changed since this run began; its results may not hold")

    @property
    def named(self) -> dict[str, CustomClass]:
        """The classes by setting; of the networks, which have one file, the generator's."""
        found = {name: getattr(self, name) for name in OPTIONS if getattr(self, name) is not None}
        return {name: part[0] if name == "networks" else part for name, part in found.items()}


OPTIONS = tuple(field.name for field in fields(Parts))
"""Settings that may name a class, or a file with the two of `NETWORKS`."""
BUILT_IN = Parts()
"""Those of a run without user-defined classes."""


def is_custom(option: str, value: object) -> bool:
    """Return whether a value of a setting names user-defined code: a class, or the file of `networks`."""
    return value is not None if option == "networks" else is_reference(value)


def is_reference(value: object) -> bool:
    """Return whether a value of a setting is a reference to a class, and no built-in name."""
    return isinstance(value, str) and ":" in value and not is_cell_text(value)


def name_or_reference(*names: str) -> PlainValidator:
    """Return the validator of a setting that is one of `names`, or a reference."""
    return PlainValidator(lambda value: value if value in names else check_reference(value, names))


def check_reference(value: object, others: Sequence[str]) -> object:
    """Return a reference; raise ValueError for anything else, whose message names what is also allowed."""
    if isinstance(value, str) and len(value) <= MAX_VALUE:
        place, _, name = value.rpartition(":")
        if place.strip() and name.isidentifier():
            return value
    near = did_you_mean(value, others) if isinstance(value, str) else ""
    found = short_repr(value, MAX_VALUE)
    raise ValueError(f"must be {', '.join(others)}, or a class as FILE.py:CLASS, got {found}{near and '; '}{near}")


@contextlib.contextmanager
def explaining(option: str, part: CustomClass, action: str) -> Iterator[None]:
    """Turn an error of user-defined code into a `ConfigError` of one line with its place."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        problem = f"{action} raised {type(error).__name__}: {one_line(error, 200)}{_place(error, part.file)}"
        refuse(option, f"{part.name}: {problem}")


def _place(error: BaseException, file: str | None) -> str:
    """Return where in the user's file an error was raised, such as ` (my_cell.py, line 7)`."""
    trace = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in trace if file is not None and Path(frame.filename).name == file]
    return f" ({file}, line {lines[-1]})" if lines else ""


def _resolve_networks(option: str, value: Any) -> tuple[str, tuple[CustomClass, CustomClass]]:
    """Return reference and classes of networks: a file, or a pair of classes or instances."""
    if isinstance(value, str | Path):
        generator, discriminator = (_load(option, f"{value}:{name}") for name in NETWORKS)
        return str(value), (generator, discriminator)
    if not isinstance(value, tuple) or len(value) != len(NETWORKS):
        found = one_line(short_repr(value))
        refuse(option, f"must be a file, or a pair of a generator and a discriminator, got {found}")
    generator, discriminator = map(_inspect, value)
    return generator.cls.__module__, (generator, discriminator)


def _inspect(value: Any) -> CustomClass:
    """Return a class or an instance with its source: that of its module, or the cell of a notebook, if it is known."""
    cls, instance = (value, None) if isinstance(value, type) else (type(value), value)
    path = Path(getattr(sys.modules.get(cls.__module__), "__file__", None) or "")
    if path.suffix == ".py" and path.is_file():
        return CustomClass(cls, path.name, path.read_bytes(), instance)
    functions = [function for function in vars(cls).values() if isinstance(function, types.FunctionType)]
    lines = linecache.getlines(functions[0].__code__.co_filename) if functions else []
    return CustomClass(cls, f"{cls.__name__}.py" if lines else None, "".join(lines).encode(), instance)


def _load(option: str, reference: str) -> CustomClass:
    place, _, name = reference.rpartition(":")
    path = Path(place)
    if path.suffix == ".py":
        module, content = _run_file(option, path)
    else:
        try:
            _let_import(Path.cwd())
            module = importlib.import_module(place)
        except Exception as error:
            problem = f"{place} cannot be imported ({type(error).__name__}: {one_line(error, 200)})"
            refuse(option, f"{problem}; give FILE.py:CLASS or MODULE:CLASS")
    found = getattr(module, name, None)
    if not isinstance(found, type):
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        advice = did_you_mean(name, classes) or "define it, or give another name"
        refuse(option, f"{place} must have a class {name}; {advice}")
    return CustomClass(found, path.name, content) if path.suffix == ".py" else _inspect(found)


def _run_file(option: str, path: Path) -> tuple[types.ModuleType, bytes]:
    """Run a Python file; return its module, and exactly the content that ran."""
    if any((folder / "run.json").is_file() for folder in path.resolve().parents):
        refuse(option, f"{path} is in a run folder, out of which no code is run; read it, and copy it elsewhere")
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        refuse(option, f"{path} cannot be read ({getattr(error, 'strerror', None) or one_line(error)})")
    name = f"reviver_custom_{path.stem}_{hashlib.sha256(content).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name], content
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    _let_import(path.resolve().parent)
    try:
        exec(compile(content, str(path), "exec"), vars(module))  # noqa: S102
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception | SystemExit):
            raise
        place = f" (line {error.lineno})" if isinstance(error, SyntaxError) else _place(error, path.name)
        problem = f"{type(error).__name__}: {one_line(getattr(error, 'msg', error), 200)}{place}"
        refuse(option, f"{path} cannot be run: {problem}")
    return module, content


def _let_import(folder: Path) -> None:
    """Let user-defined code import modules of a folder, after all that are installed; never those of a run folder."""
    in_run = any((parent / "run.json").is_file() for parent in (folder, *folder.parents))
    if str(folder) not in sys.path and not in_run:
        sys.path.append(str(folder))
        importlib.invalidate_caches()
