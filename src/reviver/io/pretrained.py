"""Pretrained models as a folder in the layout of the Hugging Face Hub.

    config.json          architecture, arguments of its constructor, what it reads and predicts, source run
    model.safetensors    weights and buffers
    README.md            model card

The files are not trusted. `config.json` is validated against a strict schema, the shapes that it implies are compared
with the header of the weights before any memory is allocated, and nothing is unpickled.
"""

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import torch
from pydantic import Field, ValidationError
from safetensors.torch import save as to_bytes
from torch import nn

from reviver.config import CountOrZero
from reviver.errors import ConfigError, DataError
from reviver.io.atomic import atomic_write, write_text
from reviver.io.errors import damaged_data_file
from reviver.io.hub import CARD, CONFIG, WEIGHTS, Download, find_folder
from reviver.io.json import MAX_JSON_BYTES, read_json
from reviver.io.tensors import read_header, read_tensors
from reviver.text import one_line, short_repr
from reviver.validation import Record, find_problem
from reviver.version import __version__

FORMAT = 1
"""Version of config.json; incremented when an older reader could misread a newer file."""
REMEDY = "download or export the model again"
MAX_LAYERS = 10_000
"""Maximum number of layers: each has tensors in the header of the weights, which is limited, too."""

Network = TypeVar("Network", bound=nn.Module)
Settings = TypeVar("Settings", bound=Record)
Data = TypeVar("Data", bound=Record)
DType = Literal["float32", "float64", "float16", "bfloat16"]
Name = Annotated[str, Field(max_length=1000)]


class Source(Record):
    """The run that a model comes from."""

    name: Name
    """Name of the run folder."""
    seed: CountOrZero
    """Seed of the run."""
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
    """Version of the file."""
    library_name: Literal["reviver"]
    """Library that reads the model."""
    reviver_version: Name
    """Version of Reviver that wrote the model."""
    architecture: Name
    """Name of the class."""
    dtype: DType
    """dtype of the weights."""
    network: dict[Name, Any]
    """Arguments of the constructor."""
    data: dict[Name, Any] | None
    """What the network reads and predicts; null if unknown."""
    run: Source | None
    """The run that the model comes from; null if it was saved from Python."""


class Pretrained(NamedTuple, Generic[Network, Data]):
    """A network that was read from a folder, with its description."""

    network: Network
    """Network, in eval mode."""
    data: Data | None
    """What it reads and predicts; None if unknown."""
    run: Source | None
    """The run that it comes from; None if it was saved from Python."""


def save_network(
    network: nn.Module,
    architecture: str,
    settings: Record,
    folder: str | Path,
    *,
    card: str,
    data: Record | None = None,
    run: Source | None = None,
) -> None:
    """Write the three files of a network into `folder`, which is created if it does not exist.

    Each file is written atomically, config.json last. A README.md that exists is kept: it may have been edited.

    Args:
        network: the network.
        architecture: name of its class.
        settings: arguments of its constructor.
        folder: where.
        card: text of README.md.
        data: what the network reads and predicts.
        run: the run that it comes from.

    Raises:
        ConfigError: if the weights have several dtypes, or one that cannot be saved.
        RunFolderError: if a file cannot be written.
    """
    folder = Path(folder)
    tensors = {key: tensor.detach().cpu().clone().contiguous() for key, tensor in network.state_dict().items()}
    config = {
        "format": FORMAT,
        "library_name": "reviver",
        "reviver_version": __version__,
        "architecture": architecture,
        "dtype": _find_dtype(tensors),
        "network": settings.model_dump(mode="json"),
        "data": None if data is None else data.model_dump(mode="json", exclude_unset=True),
        "run": None if run is None else run.model_dump(mode="json"),
    }
    PretrainedConfig.model_validate(config)  # never write what could not be read
    text = json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if len(text.encode()) > MAX_JSON_BYTES:
        raise ConfigError(
            f"{CONFIG} must have at most {MAX_JSON_BYTES} bytes, got {len(text.encode())}; use fewer classes"
        )
    with atomic_write(folder / WEIGHTS) as temporary:
        temporary.write_bytes(to_bytes(tensors, {"format": "pt"}))
    if not (folder / CARD).exists():
        write_text(folder / CARD, card)
    write_text(folder / CONFIG, text)


def load_network(
    cls: Callable[..., Network],
    architecture: str,
    settings_model: type[Settings],
    data_model: type[Data] | None,
    source: str | Path,
    download: Download,
) -> Pretrained[Network, Data]:
    """Read a network that `save_network` wrote.

    Args:
        cls: class of the network, or a function with the arguments of its constructor.
        architecture: name that config.json must have.
        settings_model: model of the arguments.
        data_model: model of the description of its data; None if it must have none.
        source: a local folder, or the id of a repository.
        download: options for a repository.

    Raises:
        DataError: if a file is missing or damaged, or holds another architecture.
        ConfigError: if `huggingface_hub` is needed and missing.
    """
    folder = find_folder(source, download)
    config = _read_config(folder, architecture)
    path = folder / CONFIG
    settings = _validate(settings_model, config.network, path, "network")
    data = None if config.data is None or data_model is None else _validate(data_model, config.data, path, "data")
    if config.data is not None and data_model is None:
        raise damaged_data_file(path, f"data must be null for {architecture}", REMEDY)
    network = _build(lambda: cls(**settings.model_dump()).to(getattr(torch, config.dtype)), settings, folder)
    return Pretrained(network.eval(), data, config.run)


def architecture_of(cls: type[nn.Module], known: Collection[str]) -> str:
    """Return the name of the first class among `cls` and its bases that is one of the `known` architectures."""
    return next(base.__name__ for base in cls.__mro__ if base.__name__ in known)


def _find_dtype(tensors: dict[str, torch.Tensor]) -> str:
    """Return the one dtype of the weights."""
    dtypes = {str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values() if tensor.is_floating_point()}
    if len(dtypes) != 1 or dtypes - {"float32", "float64", "float16", "bfloat16"}:
        found = ", ".join(sorted(dtypes)) or "none"
        raise ConfigError(f"weights must have one of the dtypes float32, float64, float16 and bfloat16, got {found}")
    return dtypes.pop()


def _read_config(folder: Path, architecture: str) -> PretrainedConfig:
    """Read and validate config.json."""
    path = folder / CONFIG
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).exists():
            is_run = (folder / "run.json").exists()
            remedy = (
                "it is a run folder: read it by reviver.load" if is_run else "give the folder of a pretrained model"
            )
            raise DataError(f"{folder}: has no {name}; {remedy}")
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise damaged_data_file(path, f"cannot be read ({one_line(error)})", REMEDY) from error
    version = content.get("format")
    if type(version) is int and version > FORMAT:
        raise DataError(
            f"{path}: was written by a newer Reviver (format {version}, this one reads {FORMAT}); upgrade it"
        )
    config = _validate(PretrainedConfig, content, path)
    if config.architecture != architecture:
        found = short_repr(config.architecture)
        raise DataError(f"{path}: architecture must be {architecture!r}, got {found}; use the class of that name")
    return config


def _validate(model: type[Settings], value: object, path: Path, prefix: str = "") -> Settings:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problem = find_problem(error, tuple(model.model_fields))
        field = ".".join(filter(None, (prefix, problem.field)))
        raise damaged_data_file(path, f"{field} {problem.text}".lstrip(), REMEDY) from error


def _build(build: Callable[[], Network], settings: Record, folder: Path) -> Network:
    """Build the network and load its weights, after comparing the shapes with the header of the weights."""
    path = folder / WEIGHTS
    try:
        saved = read_header(path).shapes
        if getattr(settings, "num_layers", 1) > min(len(saved), MAX_LAYERS):  # each is a module, even without memory
            raise ValueError(f"it has {len(saved)} tensors for the num_layers of {CONFIG}")
        try:
            with torch.device("meta"):  # allocates nothing
                expected = {key: (tuple(t.shape), t.dtype) for key, t in build().state_dict().items()}
        except (RuntimeError, OverflowError, TypeError, ConfigError) as error:
            problem = f"network does not describe one that can be built ({one_line(error)})"
            raise damaged_data_file(folder / CONFIG, problem, REMEDY) from error
        for key in dict.fromkeys([*expected, *saved]):  # ordered: the same damage gives the same message
            shape = list(expected[key][0]) if key in expected else "absent"
            found = list(saved[key]) if key in saved else "absent"
            if shape != found:
                raise ValueError(
                    f"{short_repr(key)[1:-1]} must be {shape}, is {found}; {CONFIG} describes another network"
                )
        tensors = read_tensors(path)
        for key, (_, dtype) in expected.items():
            if tensors[key].dtype != dtype:
                raise ValueError(f"{key} must be {dtype}, is {tensors[key].dtype}")
        network = build()
        network.load_state_dict(tensors)
    except DataError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise damaged_data_file(path, f"cannot be read ({one_line(error)})", REMEDY) from error
    return network
