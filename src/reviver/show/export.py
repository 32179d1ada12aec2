"""Export of trained networks: ONNX graphs, and folders for the Hugging Face Hub with a model card."""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import nn

from reviver.data.build import SequenceData
from reviver.errors import ConfigError, RunFolderError
from reviver.explorer.facts import can_run
from reviver.files.atomic import atomic_write
from reviver.files.file_errors import check_writable
from reviver.files.onnx_graph import Graph, Port
from reviver.files.pretrained import CARD, CONFIG, WEIGHTS, save
from reviver.gan.custom_networks import CustomGenerator
from reviver.gan.networks import Generator
from reviver.recurrent.classifier import RecurrentClassifier
from reviver.recurrent.custom_cells import CellClassifier
from reviver.recurrent.emit import WeightFormat, to_c, to_js
from reviver.recurrent.onnx import INPUT, build_graph, step_graph
from reviver.runs.records import ImageData
from reviver.settings.validation import check, refuse
from reviver.show.cards import card_of
from reviver.train.description import source_of
from reviver.train.lstm.summary import scores_of
from reviver.train.opened import OpenedRun

LicenseId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]{0,49}$")]
"""Identifier of a license as the hub lists them, such as `mit` or `cc-by-sa-4.0`."""
Network = RecurrentClassifier | Generator


def network_of(model: OpenedRun | Network) -> Network:
    """Return the network of a run, of a GAN its generator or the EMA, or a network itself; ConfigError if it is user-defined."""
    if isinstance(model, OpenedRun):
        name, is_own = str(model.folder.path), not can_run(model)
    else:
        name, is_own = type(model).__name__, isinstance(model, CellClassifier | CustomGenerator)
    if is_own:
        raise ConfigError(f"{name}: has a cell or networks of your own, which cannot be exported")
    if isinstance(model, OpenedRun):
        return model.generator if model.kind == "gan" else model.network
    if not isinstance(model, Network):
        refuse("model", f"must be a run from load, an LSTMClassifier, RNNClassifier or Generator, got {name}")
    return model


def to_onnx(model: OpenedRun | Network, path: str | Path, *, opset: int | None = None, step: bool = False) -> Graph:
    """Write a trained network as an ONNX file, and return its graph; an existing file is replaced.

    A classifier becomes a graph from raw numbers to probabilities, see `reviver.recurrent.onnx.build_graph`, or of one `step`, see
    `reviver.recurrent.onnx.step_graph`; a generator one from noise to images, see `generator_graph`. Metadata are the classes, the
    standardization and the source run. `opset` is the version of the operators; by default the smallest that has all of them.

    Raises:
        ConfigError: if `model` is something else, `onnx` is not installed, the opset is too small or too large, or no graph
            of standard nodes computes the same as the network.
        RunFolderError: if the file cannot be written.
    """
    run = model if isinstance(model, OpenedRun) else None
    network = network_of(model)
    path = Path(path)
    check_writable(path)
    metadata: dict[str, str] = {}
    options: dict[str, Any] = {}
    if run is not None and run.kind == "gan":
        metadata = {"data": run.folder.record["data"]["name"]}
    elif run is not None:
        data = SequenceData.of_task(run.config, run.task)
        options = {"target": data.target, "standardization": data.standardization}
        options["description"] = f"{INPUT}: {run.task.input_text}"
        metadata = {"task": data.task, "target": data.target, "encoding": data.encoding, "length": str(data.length)}
        if data.classes is not None:
            metadata["classes"] = json.dumps(data.classes, ensure_ascii=False)
        if data.standardization is not None:
            metadata["standardization"] = data.standardization.model_dump_json()
        metadata["input"] = run.task.input_text
    name = type(network).__name__
    if run is not None:
        source = source_of(run)
        name = source.name
        metadata |= {"run": name, "seed": str(source.seed), "step": str(source.step), "started": source.started or ""}
        metadata |= {"versions": json.dumps(source.versions), "settings": json.dumps(source.settings)}
    if isinstance(network, Generator):
        if step:
            refuse("step", "must be left out for a GAN, which reads no sequence")
        kind, graph = "Generator of images", generator_graph(network, opset)
    elif step:
        options["description"] = f"A step: {run.task.input_text}" if run is not None else "A step"
        kind, graph = "Step of a classifier of sequences", step_graph(network, opset, **options)
    else:
        kind, graph = "Classifier of sequences", build_graph(network, opset, **options)
    content = graph.model(name, f"{kind}, exported by Reviver", metadata).SerializeToString(deterministic=True)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return graph


def to_code(model: OpenedRun | Network, path: str | Path, weights: WeightFormat | None = None) -> str:
    """Write a trained classifier as C, or as JavaScript if the name ends with `.js` or `.mjs`; return the code.

    The name of the file is the prefix of what the C code declares; see `reviver.to_c` for the rest, and for `weights` of C.

    Raises:
        ConfigError: see `reviver.to_c`, or if `model` is no classifier.
        RunFolderError: if the file cannot be written.
    """
    path, network, about = Path(path), network_of(model), dict[str, Any]()
    if isinstance(network, Generator):
        refuse("format", "must be onnx or hub for a GAN, which reads no sequence")
    if isinstance(model, OpenedRun):
        data, source = SequenceData.of_task(model.config, model.task), source_of(model)
        scores = [
            f"{item.name} {item.value}" for item in scores_of(model, data).items if "train" not in item.name.lower()
        ]
        versions = " ".join(["Reviver", source.versions.get("reviver", "")]).strip()
        about = {"classes": data.classes, "standardization": data.standardization}
        about["comment"] = (
            f"{source.name}: a network trained to {model.task.definition.goal}, exported by {versions}.\n"
            f"Reads {model.task.input_text}.\nSeed {source.seed}, update {source.step}; {', '.join(scores) or 'not validated yet'}."
        )
    check_writable(path)
    if path.suffix in (".js", ".mjs"):
        code = to_js(network, name=path.stem, **about)
    else:
        code = to_c(network, weights=weights or "float", name=path.stem, **about)
    with atomic_write(path) as temporary:
        temporary.write_text(code, encoding="utf-8")
    return code


@torch.no_grad()
def generator_graph(generator: Generator, opset: int | None = None) -> Graph:
    """Return the graph of a generator in eval mode: `z` [batch, Z], and `classes` [batch] if conditional, to `images`."""
    graph = Graph(opset)
    x = graph.input(Port("z", "float32", ("batch", generator.noise_size), "Noise, independent samples from N(0, 1)"))
    if generator.num_classes:
        last = generator.num_classes - 1
        classes = graph.input(Port("classes", "int64", ("batch",), f"Class of each image, from 0 to {last}"))
        one_hot = graph.constant(np.eye(generator.num_classes, dtype=np.float32))
        x = graph.add("Concat", x, graph.add("Gather", one_hot, classes, axis=0), axis=1)
    for index, layer in enumerate(generator.layers):
        name = f"layer_{index}"
        match layer:
            case nn.Linear():
                weights: list[Any] = [layer.weight, layer.bias]
                x = graph.add("Gemm", x, *map(graph.constant, weights), name=name, transB=1)
            case nn.BatchNorm1d():
                weights = [layer.weight, layer.bias, layer.running_mean, layer.running_var]
                x = graph.add("BatchNormalization", x, *map(graph.constant, weights), name=name, epsilon=layer.eps)
            case nn.LeakyReLU():
                x = graph.add("LeakyRelu", x, name=name, alpha=layer.negative_slope)
            case nn.Tanh():
                x = graph.add("Tanh", x, name=name)
    x = graph.add("Reshape", x, graph.integers(-1, *generator.image_shape))
    graph.output(
        x, Port("images", "float32", ("batch", *generator.image_shape), "Pixels, from -1 (black) to 1 (white)")
    )
    return graph


def to_hub(run: OpenedRun, folder: str | Path, *, license_id: str | None = None) -> list[Path]:
    """Write the trained network of a run, of a GAN its generator or the EMA, with a model card; return the files.

    The `folder` is new or empty. `license_id` is that of the model, such as `mit`, by default that of the data.

    Raises:
        ConfigError: if `license_id` is no identifier, or the network is user-defined.
        RunFolderError: if the folder is not empty or cannot be written.
    """
    folder = Path(folder)
    check("license", license_id, LicenseId | None)
    network = network_of(run)
    if folder.is_dir() and any(folder.iterdir()):
        raise RunFolderError(f"{folder}: exists already and is never overwritten; choose another --out")
    if not folder.is_dir():
        check_writable(folder)
    if run.kind == "lstm":
        data: SequenceData | ImageData = SequenceData.of_task(run.config, run.task)
    else:
        data = ImageData.model_validate(run.folder.record["data"])
    save(network, folder, card=card_of(run, data, license_id), data=data, run=source_of(run))
    return [folder / name for name in (CONFIG, WEIGHTS, CARD)]
