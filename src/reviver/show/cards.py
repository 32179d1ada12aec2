"""Model cards: the README.md of an exported network, in Markdown, from the summary of its run and the template card.md."""

from typing import Any

import tomli_w
from jinja2 import Environment, PackageLoader

from reviver.data.build import SequenceData
from reviver.data.images.named import DATA_SETS
from reviver.files.pretrained import (
    INSTALL,
    PLACEHOLDER,
    code_block,
    escape,
    front_matter,
    inline_code,
    table,
    usage_of,
)
from reviver.gan.scores.scores import SCORE_LABELS
from reviver.recurrent.classifier import LSTMClassifier
from reviver.runs.records import ImageData
from reviver.settings.lstm_network import cell_label
from reviver.train.description import LICENSES, changed_settings, command_of, gan_scores, run_items, run_name
from reviver.train.lstm import summary as lstm_summary
from reviver.train.opened import OpenedRun

MAX_CLASSES = 50
"""Maximum number of class names that a card lists."""


def card_of(run: OpenedRun, data: SequenceData | ImageData, license_id: str | None = None) -> str:
    """Return the model card of the network of a run, of a GAN its generator; `data` is what it reads, or its training images.

    By default the license is that of the data.
    """
    values: dict[str, Any] = {}
    if isinstance(data, SequenceData):
        network: Any = run.network
        known, is_custom = LICENSES.get(run.task.definition.data_set or ""), data.task == "custom"
        license_ = known.hub_id if known else "unknown" if is_custom else "mit"
        task, *tags = "tabular-classification", "sequence-classification", "time-series"  # the hub has none for series
        if data.target == "number":
            task, *tags = "tabular-regression", "sequence-regression"
        elif known:
            task, *tags = "image-classification", "sequence-classification", str(run.task.definition.data_set)
        scores, types = lstm_summary.scores_of(run, data), ["accuracy", "loss"]
        dataset = run.task.data.name if run.task.data else data.task, data.task, "validation"
        values["trained"] = lstm_summary.trained_length(run)
        values["validated"] = run.metrics[-1].get("length", 0) if run.metrics else 0
        values["is_raw"] = is_custom and isinstance(network, LSTMClassifier)
    else:
        network, known = run.generator, LICENSES.get(data.name)
        license_ = known.hub_id if known else "unknown"
        task, tags = str(network._pipeline_tag), ["image-generation"]
        scores, types = gan_scores(run), [*SCORE_LABELS]
        dataset = data.name, data.name, "test"
        values["page"] = DATA_SETS[data.name].source if data.name in DATA_SETS else None
    metrics = [
        {"type": kind, "value": item.number, "name": item.name} for kind, item in zip(types, scores.items, strict=False)
    ]
    described = dict(zip(("name", "type", "split"), dataset, strict=True))
    result = {"task": {"type": task}, "dataset": described, "metrics": metrics}
    metadata = {
        "library_name": "reviver",
        "license": license_id or license_,
        "pipeline_tag": task,
        "tags": [*network._tags, *tags],
        "datasets": [known.dataset] if known and known.dataset else None,
        "model-index": [{"name": run_name(run), "results": [result]}] if metrics else None,
    }
    columns = {"this model": "value", "real images": "real", "baseline": "noise"}
    columns = {title: key for title, key in columns.items() if any(getattr(item, key) for item in scores.items)}
    settings = {name: value for name, value in changed_settings(run.config).items() if value is not None}
    values |= {
        "run": run,
        "data": data,
        "network": network,
        "known": known,
        "scores": scores,
        "columns": ["score", *columns],
    }
    values["rows"] = [(item.name, *(getattr(item, key) or "" for key in columns.values())) for item in scores.items]
    values["training"] = [
        (item.label, escape(f"{item.value} ({item.note})" if item.note else item.value)) for item in run_items(run)
    ]
    environment = Environment(  # noqa: S701  # of Markdown
        loader=PackageLoader("reviver.show", ""), trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"escape": escape, "code_block": code_block, "inline_code": inline_code}
    environment.filters["table"] = lambda rows, header: table(header, [*rows])
    return environment.get_template("card.md.jinja").render(
        values,
        front_matter=front_matter(metadata),
        name=run_name(run),
        cell=cell_label(getattr(run.config, "cell", "")),
        usage=_usage(run, data),
        install=INSTALL,
        command=command_of(run),
        settings=tomli_w.dumps(settings).strip(),
        max_classes=MAX_CLASSES,
    )


def _usage(run: OpenedRun, data: SequenceData | ImageData) -> str:
    """Return Python code that uses the network."""
    if isinstance(data, ImageData):
        return usage_of(run.generator)
    if data.task == "custom" and isinstance(run.network, LSTMClassifier):
        lines = (
            "from reviver import PretrainedClassifier",
            f'model = PretrainedClassifier.from_pretrained("{PLACEHOLDER}")',
            "classes = model.predict(sequences)",
        )
        return "\n".join(lines)
    code = usage_of(run.network)
    if data.target == "class at every step":
        code = code.replace("network(x)", "network(x, every_step=True)")
    if data.target == "number":
        code = code.replace("probabilities = network(x).softmax(-1)", "value = network(x)")
    return code.replace("[B, T, I]", f"[B, T, {run.network.input_size}]")
