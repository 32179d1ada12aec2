"""Pretrained models as a folder in the layout of the Hugging Face Hub.

    config.json          architecture, arguments of its constructor, what it reads and predicts, source run
    model.safetensors    weights and buffers
    README.md            model card

`config.json` is validated against a strict schema; nothing in the files is run.
"""

import json
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import torch
from pydantic import Field
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import nn

from reviver.errors import DataError, import_library
from reviver.files.atomic import atomic_write, write_text
from reviver.files.file_errors import reading
from reviver.files.read import read_json, validate_record
from reviver.settings.fields import CountOrZero
from reviver.settings.validation import Record, refuse
from reviver.text import one_line, short_repr
from reviver.version import __version__

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
FORMAT = 1
"""Version of config.json; incremented when an older reader could misread a newer file."""
REMEDY = "download or export the model again"
PLACEHOLDER = "user/name"
"""Stands in the code of a card for the folder or the repository of the model."""
INSTALL = (
    f"The code needs Reviver, the distribution `reviver-nn`; in a clone of it, `pip install .` installs it. Replace "
    f"`{PLACEHOLDER}` by the folder or the repository of this model."
)

Network = TypeVar("Network", bound="PretrainedMixin")
DType = Literal["float32", "float64", "float16", "bfloat16"]
Name = Annotated[str, Field(max_length=1000)]


class Source(Record):
    """The run that a model comes from."""

    name: Name
    """Name of the run folder."""
    seed: CountOrZero
    step: CountOrZero
    """Updates of the weights before the checkpoint was saved."""
    started: Name | None
    """Time at which the run began, UTC; null if unknown."""
    versions: dict[Name, Name]
    """Versions of Python and of packages that trained it."""
    settings: dict[Name, Any]
    """Settings of the run that differ from the defaults."""


class PretrainedConfig(Record):
    """Content of config.json."""

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)]
    library_name: Literal["reviver"]
    reviver_version: Name
    architecture: Name
    dtype: DType
    network: dict[Name, Any]
    """Arguments of the constructor."""
    data: dict[Name, Any] | None
    """What the network reads and predicts; null if unknown."""
    run: Source | None
    """The run that the model comes from; null if it was saved from Python."""


class PretrainedMixin:
    """A network that is saved as a folder in the layout of the Hugging Face Hub; a class states what describes it."""

    _spec: ClassVar[type[Any]]
    """Arguments of its constructor, a dataclass. The class that states them is the architecture in config.json."""
    _data_model: ClassVar[type[Record]]
    _tags: ClassVar[tuple[str, ...]]
    _pipeline_tag: ClassVar[str | None] = None
    """Its task in the words of the hub, where it has one."""
    _call: str

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and README.md into `folder`, see `reviver.files.pretrained.save`."""
        save(self, folder)

    @classmethod
    def from_pretrained(cls, source: str | Path, **download: Any) -> Self:
        """Return a saved network from a folder or a repository, see `reviver.files.pretrained.load`."""
        return load(cls, source, **download)[0]

    def _spec_values(self) -> dict[str, Any]:
        """Return the arguments that construct a network of the same architecture and options."""
        return {field.name: getattr(self, field.name) for field in fields(self._spec)}


def save(
    network: PretrainedMixin,
    folder: str | Path,
    *,
    card: str | None = None,
    data: Record | None = None,
    run: Source | None = None,
) -> None:
    """Write config.json, model.safetensors and README.md of a network into `folder`, which is created if missing.

    Each file is written atomically, config.json last. A README.md that exists is kept: it may have been edited; the
    default `card` has no results. A subclass is saved as the class that it extends, a computed weight is a ConfigError.
    """
    assert isinstance(network, nn.Module)
    folder, cls = Path(folder), architecture_of(type(network))
    spec = asdict(network._spec(**network._spec_values()))
    tensors = {key: tensor.detach().cpu().clone().contiguous() for key, tensor in network.state_dict().items()}
    with torch.device("meta"), warnings.catch_warnings(action="ignore"):  # of dropout in a single layer
        missing = [key for key in cls(**spec).state_dict() if key not in tensors]
    if missing:
        refuse(missing[0], "must be a plain weight, got a computed one; remove its parametrization first")
    dtype = next(tensor.dtype for tensor in tensors.values() if tensor.is_floating_point())
    config = {
        "format": FORMAT,
        "library_name": "reviver",
        "reviver_version": __version__,
        "architecture": cls.__name__,
        "dtype": str(dtype).removeprefix("torch."),
        "network": spec,
        "data": None if data is None else data.model_dump(mode="json", exclude_unset=True),
        "run": None if run is None else run.model_dump(mode="json"),
    }
    PretrainedConfig.model_validate(config)  # never write what could not be read
    text = json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_write(folder / WEIGHTS) as temporary:
        temporary.write_bytes(to_bytes(tensors, {"format": "pt"}))
    if not (folder / CARD).exists():
        write_text(folder / CARD, _plain_card(network, spec) if card is None else card)
    write_text(folder / CONFIG, text)


def load(cls: type[Network] | tuple[type[Network], ...], source: str | Path, **download: Any) -> tuple[Network, Any]:
    """Return a network of the class `cls`, or of one of several, that `save` wrote, in eval mode, and what its data are, or None.

    For `source` and `download` see `find_folder`. Files that are missing or damaged, or hold another class, are a DataError.
    """
    folder = find_folder(source, **download)
    known: dict[str, Any] = {architecture_of(one).__name__: one for one in (cls if isinstance(cls, tuple) else (cls,))}
    config = _read_config(folder, known)
    found = known[config.architecture]
    path, weights = folder / CONFIG, folder / WEIGHTS
    with reading(path, REMEDY):
        network: Any = found(**asdict(found._spec(**config.network))).to(getattr(torch, config.dtype))
    data = None if config.data is None else validate_record(found._data_model, config.data, f"{path}: data", REMEDY)
    with reading(weights, REMEDY):
        network.load_state_dict(load_file(weights))
    return network.eval(), data


def architecture_of(cls: type[PretrainedMixin]) -> type[Any]:
    """Return the class among `cls` and its bases that states the arguments of its constructor."""
    return next(base for base in cls.__mro__ if "_spec" in vars(base))


def _read_config(folder: Path, known: Collection[str]) -> PretrainedConfig:
    path = folder / CONFIG
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).exists():
            is_run = (folder / "run.json").exists()
            remedy = (
                "it is a run folder: read it by reviver.load" if is_run else "give the folder of a pretrained model"
            )
            raise DataError(f"{folder}: has no {name}; {remedy}")
    with reading(path, REMEDY):
        content = read_json(path)
    config = validate_record(PretrainedConfig, content, path, REMEDY)
    if config.architecture not in known:
        allowed, found = " or ".join(map(repr, known)), short_repr(config.architecture)
        raise DataError(f"{path}: architecture must be {allowed}, got {found}; use the class of that name")
    return config


def find_folder(source: str | Path, **download: Any) -> Path:
    """Return the folder of a model: a local folder, which comes first, or a copy of the repository of the id `source`.

    The repository is one of the Hugging Face Hub, such as `user/name`; `download` are options of
    `huggingface_hub.snapshot_download`, such as `revision`, `token`, `cache_dir` and `local_files_only`.

    Raises:
        DataError: if there is no such folder, or the repository cannot be downloaded.
        ConfigError: if a repository is needed and `huggingface_hub` is not installed.
    """
    path = Path(source)
    if path.is_dir():
        return path
    problem = f"{source}: there is no such folder; downloading the repository of this id needs huggingface_hub"
    hub = import_library("huggingface_hub", problem)
    try:
        return Path(hub.snapshot_download(str(source), **download, allow_patterns=[CONFIG, WEIGHTS]))
    except Exception as error:  # the library and its HTTP client raise errors of many types
        raise DataError(
            f"{source}: there is no such folder, and the repository of this id cannot be downloaded ({one_line(error)}); "
            f"give a folder with {CONFIG} and {WEIGHTS}, or check the id, the revision, the token and the network"
        ) from error


# Parts of a model card, safe for text from strangers


def usage_of(network: PretrainedMixin) -> str:
    """Return Python code that uses a saved network."""
    name, call = architecture_of(type(network)).__name__, network._call
    lines = [f"from reviver import {name}", f'network = {name}.from_pretrained("{PLACEHOLDER}")', call]
    return "\n".join([*(["import torch"] if "torch." in call else []), *lines])


def _plain_card(network: PretrainedMixin, spec: Mapping[str, Any]) -> str:
    """Return the card of a network that was saved from Python, so that nothing is known about its training."""
    tag = network._pipeline_tag
    metadata = {"library_name": "reviver", "license": "unknown", "pipeline_tag": tag, "tags": list(network._tags)}
    return join_sections(
        front_matter(metadata),
        f"# {architecture_of(type(network)).__name__}",
        "This network was saved from Python. Its training data, results and limits are not recorded here: add them.",
        "## How to use",
        code_block(usage_of(network), "python"),
        INSTALL,
        "## Architecture",
        table(("argument", "value"), [(f"`{key}`", f"`{json.dumps(value)}`") for key, value in spec.items()]),
    )


def front_matter(values: Mapping[str, Any]) -> str:
    """Return the YAML block at the top of a card, of values as JSON, which is YAML, too; those that are None are omitted."""
    lines = (f"{key}: {json.dumps(value)}" for key, value in values.items() if value is not None)
    return "\n".join(["---", *lines, "---"])


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def code_block(text: str, language: str = "") -> str:
    """Return a fenced block; the fence is longer than any in the text."""
    fence = _fence(text, 3)
    return f"{fence}{language}\n{text}\n{fence}"


def inline_code(text: str) -> str:
    """Return text of others as code within a line; the fence is longer than any in the text."""
    fence, space = _fence(text, 1), " " if "`" in text else ""
    return f"{fence}{space}{' '.join(text.split())}{space}{fence}"


def _fence(text: str, least: int) -> str:
    return "`" * max(least, 1 + max((len(run) for run in re.findall("`+", text)), default=0))


def escape(text: str) -> str:
    """Return text of others as Markdown that shows it literally, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|!~&$])", r"\\\1", " ".join(text.split()))


def join_sections(*sections: str) -> str:
    """Return sections with an empty line between, without those that are empty."""
    return "\n\n".join(filter(None, sections)) + "\n"


def _cell(text: str) -> str:
    """Return text on one line, without a bar that would end the cell."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))
