"""Code that a user wrote: a class such as `my_cell.py:Mine` or `package.module:Mine`, or a file with the networks of a GAN.

Code runs only if the person at the keyboard names it in that very call: on the command line, in a file of settings, or as
a class in Python. A run folder has the reference, and a copy of the file for the reader, but nothing is imported out of it:
whoever opens such a run gives the class again.
"""

import contextlib
import copy
import functools
import hashlib
import importlib
import inspect
import logging
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import PlainValidator

from reviver.errors import ConfigError
from reviver.settings.validation import MAX_VALUE
from reviver.system import open_without_blocking
from reviver.text import one_line, short_repr

OPTIONS = ("cell", "task", "loss", "networks")
"""Settings that may name a class, or a file with the two of `NETWORKS`."""
MAX_BYTES = 1 << 20
"""Maximum size of a file with a class."""
_log = logging.getLogger("reviver")


class OwnClass(NamedTuple):
    """A class that was given, or an instance in its place."""

    cls: type
    file: str | None = None
    """Name of its file; None if it has none, as in a notebook."""
    content: bytes = b""
    """Content of the file."""
    copy: Callable[[], Any] | None = None
    """Return a copy of the instance; None if the class was given."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.content).hexdigest()

    def build(self, *arguments: Any) -> Any:
        """Return a new object of the class, or a copy of the instance, a module on the default device."""
        if self.copy is None:
            return self.cls(*arguments)
        made = self.copy()
        if "torch" in sys.modules and isinstance(made, sys.modules["torch"].nn.Module):
            made.to(sys.modules["torch"].get_default_device())
        return made


_given: dict[tuple[str, str], OwnClass] = {}


NETWORKS = ("Generator", "Discriminator")
"""Classes of a file of `networks`."""


def is_own(option: str, value: object) -> bool:
    """Return whether a value of a setting names code that is not ours: a class, or the file of `networks`."""
    return value is not None if option == "networks" else is_reference(value)


def give_networks(networks: Any, known_as: str | None = None) -> str:
    """Load the classes of a file of `networks`, or take a pair of classes or instances, and return their reference; see `give`."""
    if isinstance(networks, str | Path):
        reference, found = str(networks), [_load("networks", f"{networks}:{name}") for name in NETWORKS]
    elif isinstance(networks, tuple) and len(networks) == len(NETWORKS):
        found = [_take(part) for part in networks]
        reference = found[0].cls.__module__
    else:
        problem = f"networks must be a file, or a pair of a generator and a discriminator, got {one_line(short_repr(networks))}"
        raise ConfigError(problem, field="networks")
    for name, part in zip(NETWORKS, found, strict=True):
        _given[f"networks {name}", known_as or reference] = part
    _given["networks", known_as or reference] = found[0]
    return reference


def find_networks(reference: str) -> tuple[OwnClass, OwnClass]:
    """Return the generator's and the discriminator's class, which were given; a `ConfigError` names a file that was not."""
    find_given("networks", reference)
    generator, discriminator = (_given[f"networks {name}", reference] for name in NETWORKS)
    return generator, discriminator


def is_reference(value: object) -> bool:
    """Return whether a value of a setting is a reference to a class, and no built-in name."""
    return isinstance(value, str) and ":" in value


def name_or_reference(*names: str) -> PlainValidator:
    """Return the validator of a setting that is one of `names`, or a reference."""

    def validate(value: object) -> object:
        if value in names:
            return value
        if isinstance(value, str) and len(value) <= MAX_VALUE:
            place, _, name = value.rpartition(":")
            if place.strip() and name.isidentifier():
                return value
        raise ValueError(f"must be {', '.join(names)}, or a class as FILE.py:CLASS, got {short_repr(value, MAX_VALUE)}")

    return PlainValidator(validate)


def give(option: str, part: Any, known_as: str | None = None) -> str:
    """Load the class that a reference names, or take a class or an instance, and return its reference, for settings.

    Args:
        option: `cell`, `task`, `loss` or `networks`.
        part: reference, class or instance; of `networks` the file, or a pair of classes or instances.
        known_as: reference of the class in the settings of a run that is opened.

    Raises:
        ConfigError: if there is no such file, module or class, or its code fails.
    """
    if option == "networks":
        return give_networks(part, known_as)
    if isinstance(part, str):
        reference, found = part, _load(option, part)
    else:
        found = _take(part)
        reference = f"{found.cls.__module__}:{found.cls.__name__}"
    _given[option, known_as or reference] = found
    return reference


def give_parts(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with references instead of classes and instances, after `give` of each."""
    own = {name: value for name, value in settings.items() if name in OPTIONS and value is not None}
    own = {name: value for name, value in own.items() if not isinstance(value, str) or is_own(name, value)}
    return {**settings, **{name: give(name, value) for name, value in own.items()}}


def find_given(option: str, reference: str) -> OwnClass:
    """Return a class that was given; a `ConfigError` names one that was not."""
    if (option, reference) not in _given:
        what, form = ("file", "FILE.py") if option == "networks" else ("class", "FILE.py:CLASS")
        problem = f"{short_repr(reference)} is a {what} of your own, which is not run unless you name it in this call"
        raise ConfigError(f"{option} {problem}; give it with --{option} {form}", field=option)
    return _given[option, reference]


def open_parts(config: Mapping[str, Any], record: Mapping[str, Any], **given: Any) -> None:
    """Give the classes of a run with the settings `config`, and warn of a file that is not the one that it was trained with.

    `record` is `parts` of its run.json, and `given` are the references or classes that the caller gave, by option.

    Raises:
        ConfigError: if the run has a class that was not given, or one is given that it does not have.
    """
    for option, part in given.items():
        reference = config.get(option)
        if part is not None and not is_own(option, reference):
            raise ConfigError(
                f"{option} must be absent for a run with {option} {reference}; leave it out", field=option
            )
        if part is not None:
            give(option, part, str(reference))
        if not is_own(option, reference):
            continue
        found = find_given(option, str(reference))
        warn_if_changed(option, found, record)


def warn_if_changed(option: str, part: OwnClass, record: Mapping[str, Any]) -> None:
    """Warn if the file of a class is not the one that a run began with; `record` is `parts` of its run.json."""
    known = record.get(option, {}).get("sha256")
    if known is not None and part.file is not None and known != part.sha256:
        _log.warning(f"{option}: {part.file} has changed since this run began; its results may not hold")


def describe_parts(config: Any) -> dict[str, OwnClass]:
    """Return the classes of own files that the settings of a run name, by option."""
    references = {option: getattr(config, option, None) for option in OPTIONS}
    return {
        option: find_given(option, str(reference))
        for option, reference in references.items()
        if is_own(option, reference)
    }


@contextlib.contextmanager
def explaining(option: str, part: OwnClass, action: str) -> Iterator[None]:
    """Turn an error of code that is not ours into a `ConfigError` of one line with its place."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        place = _place(error, part.file)
        problem = f"{action} raised {type(error).__name__}: {one_line(error, 200)}"
        raise ConfigError(f"{option} {part.cls.__name__}: {problem}{place}", field=option) from error


def _place(error: BaseException, file: str | None) -> str:
    """Return where in the user's file an error was raised, such as ` (my_cell.py, line 7)`."""
    lines, trace = [], error.__traceback__
    while trace is not None:
        if file is not None and Path(trace.tb_frame.f_code.co_filename).name == file:
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f" ({file}, line {lines[-1]})" if lines else ""


def _take(part: Any) -> OwnClass:
    """Return a class, or that of an instance, with the content of its file, if it has one."""
    cls, made = (part, None) if isinstance(part, type) else (type(part), functools.partial(copy.deepcopy, part))
    path, file, content = None, None, b""
    with contextlib.suppress(OSError, TypeError):
        path = inspect.getsourcefile(cls)
    if path and Path(path).is_file():
        file, content = Path(path).name, _read(Path(path))
    return OwnClass(cls, file, content, made)


def _read(path: Path) -> bytes:
    """Return the content of a file with a class."""
    with open(path, "rb", opener=open_without_blocking) as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    return content


def _load(option: str, reference: str) -> OwnClass:
    """Return the class that a reference names."""
    place, _, name = reference.rpartition(":")
    path = Path(place)
    if path.suffix == ".py":
        module, file, content = _run_file(option, path)
    else:
        try:
            module = importlib.import_module(place)
        except Exception as error:
            problem = f"{place} cannot be imported ({type(error).__name__}: {one_line(error, 200)})"
            raise ConfigError(f"{option} {problem}; give FILE.py:CLASS or MODULE:CLASS", field=option) from error
        file, content = None, b""
        source = getattr(module, "__file__", None)
        if source and source.endswith(".py") and Path(source).is_file():
            file, content = Path(source).name, _read(Path(source))
    found = getattr(module, name, None)
    if not isinstance(found, type):
        classes = [
            key
            for key, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == module.__name__
        ]
        has = f"it has {', '.join(classes[:5])}" if classes else "it has none"
        problem = f"{place} must have a class {name}, " + (
            has if found is None else f"which is a {type(found).__name__}"
        )
        raise ConfigError(f"{option} {problem}", field=option)
    return OwnClass(found, file, content)


def _run_file(option: str, path: Path) -> tuple[types.ModuleType, str, bytes]:
    """Run a Python file; return its module, its name, and exactly the content that ran."""
    if any((folder / "run.json").is_file() for folder in path.resolve().parents):
        problem = f"{path} is in a run folder, out of which no code is run; read it, and copy it elsewhere"
        raise ConfigError(f"{option} {problem}", field=option)
    try:
        content = _read(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise ConfigError(f"{option} {path} cannot be read ({reason})", field=option) from error
    name = f"reviver_own_{path.stem}_{hashlib.sha256(content).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name], path.name, content
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        exec(compile(content, str(path), "exec"), vars(module))  # noqa: S102
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception | SystemExit):
            raise
        place = f" (line {error.lineno})" if isinstance(error, SyntaxError) else _place(error, path.name)
        problem = f"{path} cannot be run: {type(error).__name__}: {one_line(getattr(error, 'msg', error), 200)}{place}"
        raise ConfigError(f"{option} {problem}", field=option) from error
    return module, path.name, content
