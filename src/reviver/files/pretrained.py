"""Pretrained models as a folder in the layout of the Hugging Face Hub.

    config.json          architecture, arguments of its constructor, what it reads and predicts, source run
    model.safetensors    weights and buffers
    README.md            model card

`config.json` is validated against a strict schema; nothing in the files is run.
"""

import json
import re
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, Self, TypeVar, get_args

import torch
from pydantic import Field
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import nn

from reviver.errors import ConfigError, DataError, import_library
from reviver.files.atomic import atomic_write, write_text
from reviver.files.file_errors import reading
from reviver.files.read import read_json, validate_record
from reviver.settings.fields import CountOrZero
from reviver.settings.validation import Record
from reviver.text import one_line, short_repr
from reviver.version import __version__

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
"""Files of a pretrained model: settings, weights and model card."""
FORMAT = 1
"""Version of config.json; incremented when an older reader could misread a newer file."""
REMEDY = "download or export the model again"
PLACEHOLDER = "user/name"
"""Stands in the code of a card for the folder or the repository of the model."""
INSTALL = (
    f"The code needs Reviver, the distribution `reviver-nn`; in a clone of it, `pip install .` installs it. Replace "
    f"`{PLACEHOLDER}` by the folder or the repository of this model."
)

Network = TypeVar("Network", bound=nn.Module)
Data = TypeVar("Data", bound=Record)
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
    """Version of Reviver that wrote the model."""
    architecture: Name
    """Name of the class."""
    dtype: DType
    network: dict[Name, Any]
    """Arguments of the constructor."""
    data: dict[Name, Any] | None
    """What the network reads and predicts; null if unknown."""
    run: Source | None
    """The run that the model comes from; null if it was saved from Python."""


class Pretrained(NamedTuple, Generic[Network, Data]):
    """A network that was read from a folder, in eval mode, and what the folder says about it."""

    network: Network
    data: Data | None
    """What it reads and predicts; None if unknown."""
    run: Source | None
    """The run that it comes from; None if it was saved from Python."""


@dataclass(frozen=True)
class Family(Generic[Data]):
    """Networks that are saved in the same way."""

    specs: Mapping[str, type[Any]]
    """Spec of each class by its name: the arguments of its constructor."""
    data_model: type[Data]
    """Model of what a network reads and predicts."""
    spec_of: Callable[[Any], Any]
    """Function that returns the spec of a network."""
    usage_of: Callable[[str, Any], str]
    """Function of the name of a class and a spec that returns Python code that uses the network."""
    tags: Sequence[str]
    """Tags of the model cards."""
    pipeline_tags: Mapping[str, str] = field(default_factory=dict)
    """Task of the networks of a class, in the words of the hub, where it has one."""

    def save(
        self,
        network: nn.Module,
        folder: str | Path,
        *,
        card: str | None = None,
        data: Data | None = None,
        run: Source | None = None,
    ) -> None:
        """Write config.json, model.safetensors and README.md of a network into `folder`, which is created if missing.

        Each file is written atomically, config.json last. A README.md that exists is kept: it may have been edited; the
        default `card` has no results. A subclass is saved as the class that it extends.

        Raises:
            ConfigError: if the weights have several dtypes, or one that cannot be saved, or one is parametrized or pruned.
            RunFolderError: if a file cannot be written.
        """
        folder, spec = Path(folder), self.spec_of(network)
        cls = architecture_of(type(network), self.specs)
        tensors = {key: tensor.detach().cpu().clone().contiguous() for key, tensor in network.state_dict().items()}
        with torch.device("meta"), warnings.catch_warnings(action="ignore"):  # of dropout in a single layer
            missing = [key for key in cls(**asdict(spec)).state_dict() if key not in tensors]
        if missing:
            raise ConfigError(
                f"{missing[0]} must be a plain weight, got a computed one; remove its parametrization first"
            )
        config = {
            "format": FORMAT,
            "library_name": "reviver",
            "reviver_version": __version__,
            "architecture": cls.__name__,
            "dtype": _find_dtype(tensors),
            "network": asdict(spec),
            "data": None if data is None else data.model_dump(mode="json", exclude_unset=True),
            "run": None if run is None else run.model_dump(mode="json"),
        }
        PretrainedConfig.model_validate(config)  # never write what could not be read
        text = json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        with atomic_write(folder / WEIGHTS) as temporary:
            temporary.write_bytes(to_bytes(tensors, {"format": "pt"}))
        if not (folder / CARD).exists():
            write_text(folder / CARD, self.plain_card(cls.__name__, spec) if card is None else card)
        write_text(folder / CONFIG, text)

    def plain_card(self, name: str, spec: Any) -> str:
        """Return the card of a network that was saved from Python, so that nothing is known about its training."""
        tag = self.pipeline_tags.get(name)
        metadata = {"library_name": "reviver", "license": "unknown", "pipeline_tag": tag, "tags": list(self.tags)}
        return join_sections(
            front_matter(metadata),
            f"# {name}",
            "This network was saved from Python. Its training data, results and limits are not recorded here: add them.",
            "## How to use",
            code_block(self.usage_of(name, spec), "python"),
            INSTALL,
            "## Architecture",
            table(
                ("argument", "value"), [(f"`{key}`", f"`{json.dumps(value)}`") for key, value in asdict(spec).items()]
            ),
        )

    def load(self, cls: type[Network], source: str | Path, **download: Any) -> Pretrained[Network, Data]:
        """Return a network of the class `cls` that `save` wrote, in eval mode, and the description of its data.

        The `source` is a local folder, which comes first, or the id of a repository of the Hugging Face Hub, such as
        `user/name`; `download` are options for a repository, see `find_folder`.

        Raises:
            DataError: if the files are missing or damaged, hold another class, or cannot be downloaded.
            ConfigError: if a repository is needed and `huggingface_hub` is not installed.
        """
        architecture = architecture_of(cls, self.specs).__name__
        folder = find_folder(source, **download)
        config = _read_config(folder, architecture)
        path, weights = folder / CONFIG, folder / WEIGHTS
        with reading(path, REMEDY):
            network = cls(**asdict(self.specs[architecture](**config.network))).to(getattr(torch, config.dtype))
        data = None if config.data is None else validate_record(self.data_model, config.data, path, REMEDY, "data")
        with reading(weights, REMEDY):
            network.load_state_dict(load_file(weights))
        return Pretrained(network.eval(), data, config.run)


class PretrainedMixin:
    """A network that is saved as a folder in the layout of the Hugging Face Hub, see `Family`."""

    _family: Any
    """The `Family` of the network."""

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and README.md into `folder`, see `Family.save`."""
        self._family.save(self, folder)

    @classmethod
    def from_pretrained(cls, source: str | Path, **download: Any) -> Self:
        """Return a saved network from a folder or a repository, see `Family.load`."""
        network: Self = cls._family.load(cls, source, **download).network
        return network


def find_folder(source: str | Path, **download: Any) -> Path:
    """Return the folder of a model: a local folder, which comes first, or a copy of the repository of the id `source`.

    `download` are options of `huggingface_hub.snapshot_download`, such as `revision`, `token`, `cache_dir` and
    `local_files_only`; a local folder needs none.

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


def architecture_of(cls: type, known: Collection[str]) -> type:
    """Return the first class of Reviver among `cls` and its bases whose name is one of the `known` architectures."""
    return next(base for base in cls.__mro__ if base.__name__ in known and base.__module__.startswith("reviver."))


def _find_dtype(tensors: dict[str, torch.Tensor]) -> str:
    dtypes = {str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values() if tensor.is_floating_point()}
    if len(dtypes) != 1 or dtypes - set(get_args(DType)):
        found = ", ".join(sorted(dtypes)) or "none"
        raise ConfigError(f"weights must have one of the dtypes float32, float64, float16 and bfloat16, got {found}")
    return dtypes.pop()


def _read_config(folder: Path, architecture: str) -> PretrainedConfig:
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
    if config.architecture != architecture:
        found = short_repr(config.architecture)
        raise DataError(f"{path}: architecture must be {architecture!r}, got {found}; use the class of that name")
    return config


# Parts of a model card, safe for text from strangers


def front_matter(values: Mapping[str, Any]) -> str:
    """Return the YAML block at the top of a card; values that are None are omitted.

    Each value is written as JSON, which is YAML, too.
    """
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
