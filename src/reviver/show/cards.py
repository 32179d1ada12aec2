"""Model cards: the README.md of an exported network, in Markdown, from the summary of its run."""

from collections.abc import Mapping
from typing import Any

import tomli_w

from reviver.data.build import SequenceData
from reviver.data.images.named import DATA_SETS
from reviver.data.sequences.custom import CustomTask
from reviver.files.pretrained import (
    INSTALL,
    PLACEHOLDER,
    code_block,
    escape,
    front_matter,
    inline_code,
    join_sections,
    table,
    usage_of,
)
from reviver.gan.scores.scores import SCORE_LABELS
from reviver.lstm.classifier import LSTMClassifier
from reviver.runs.records import ImageData
from reviver.settings.lstm_network import cell_label
from reviver.train.description import (
    LICENSES,
    ScoreTable,
    changed_settings,
    command_of,
    gan_scores,
    run_items,
    run_name,
)
from reviver.train.lstm import summary as lstm_summary
from reviver.train.opened import OpenedRun

MAX_CLASSES = 50
"""Maximum number of class names that a card lists."""


def lstm_card(run: OpenedRun, data: SequenceData, license_id: str | None = None) -> str:
    """Return the model card of the network of a run; `data` is what it reads and predicts.

    By default the license is that of the data.
    """
    scores = lstm_summary.scores_of(run, data)
    images, is_custom = LICENSES.get(run.task.definition.data_set or ""), data.task == "custom"
    kind = ("tabular-classification", "sequence-classification", "time-series")  # the hub has no task for series
    if data.target == "number":
        kind = ("tabular-regression", "sequence-regression", "")
    elif images:
        kind = ("image-classification", "sequence-classification", run.task.definition.data_set or "")
    data_name = run.task.data.name if isinstance(run.task, CustomTask) else data.task
    metadata = {
        "license": license_id or (images.hub_id if images else "unknown" if is_custom else "mit"),
        "pipeline_tag": kind[0],
        "tags": [*run.network._tags, *filter(None, kind[1:])],
        "datasets": [images.dataset] if images and images.dataset else None,
        "model-index": _model_index(run, scores, ("accuracy", "loss"), kind[0], (data_name, data.task, "validation")),
    }
    title = f"{_describe_lstm(run)}, trained to {run.task.definition.goal}."
    return _card(run, metadata, title, _lstm_usage(run, data), scores, _lstm_data(run, data), _lstm_limits(run, data))


def gan_card(run: OpenedRun, images: ImageData, license_id: str | None = None) -> str:
    """Return the model card of the generator of a run; `images` describes its training images.

    By default the license is that of the data.
    """
    scores, known, generator = gan_scores(run), LICENSES.get(images.name), run.generator
    task = str(generator._pipeline_tag)
    metadata = {
        "license": license_id or (known.hub_id if known else "unknown"),
        "pipeline_tag": task,
        "tags": [*generator._tags, "image-generation"],
        "datasets": [known.dataset] if known and known.dataset else None,
        "model-index": _model_index(run, scores, tuple(SCORE_LABELS), task, (images.name, images.name, "test")),
    }
    shape = " × ".join(map(str, generator.image_shape))
    classes = f", for one of {generator.num_classes} classes" if generator.num_classes else ""
    average = " Its weights are an exponential moving average (EMA) over training." if run.config.ema > 0 else ""
    title = (
        f"The generator of a fully connected GAN: {generator.noise_size} random numbers become an image of {shape} "
        f"(channels × height × width){classes}.{average}"
    )
    random_classes = " and random classes; `classes` chooses them" if generator.num_classes else ""
    usage = (
        code_block(usage_of(generator), "python"),
        f"`sample_latents` samples the noise{random_classes}. Pixels are in [-1, 1].",
    )
    if known is not None:
        text = f"The training images of {images.name}, by {known.authors}, licensed under [{known.name}]({known.url})."
    elif images.name in DATA_SETS:
        source = DATA_SETS[images.name].source
        text = f"The training images of {images.name}; [its page]({source}) has the terms of use."
    else:
        text = f"Images from {inline_code(images.name)} of the author of this model. Their license is not known to Reviver."
    rows = [("images", str(images.num_images)), ("SHA-256 of the pixels", f"`{images.sha256}`")]
    rows += [("channels × height × width", " × ".join(map(str, images.image_shape)))] if images.image_shape else []
    rows += [("classes", str(images.num_classes))] if images.num_classes else []
    limits = [
        "It generates only what resembles its training images, with their biases.",
        "A generated image may be a near copy of a training image.",
    ]
    return _card(run, metadata, title, usage, scores, (text, table(("property", "value"), rows)), limits)


def _card(
    run: OpenedRun,
    metadata: Mapping[str, Any],
    title: str,
    usage: tuple[str, str],
    scores: ScoreTable,
    data: tuple[str, str],
    limits: list[str],
) -> str:
    """Return a card with these parts, and with the scores and the training of a run."""
    columns = {"this model": "value", "real images": "real", "baseline": "noise"}
    columns = {title: key for title, key in columns.items() if any(getattr(item, key) for item in scores.items)}
    rows = [(item.name, *(getattr(item, key) or "" for key in columns.values())) for item in scores.items]
    code, note = usage
    settings = {name: value for name, value in changed_settings(run.config).items() if value is not None}
    differing = f"Settings that differ from the defaults:\n\n{code_block(tomli_w.dumps(settings).strip(), 'toml')}"
    training = [
        (item.label, escape(f"{item.value} ({item.note})" if item.note else item.value)) for item in run_items(run)
    ]
    return join_sections(
        front_matter({"library_name": "reviver", **metadata}),
        f"# {escape(run_name(run))}",
        title,
        "## How to use",
        code,
        INSTALL,
        note,
        "## Results",
        table(("score", *columns), rows) if rows else "",
        scores.note if not rows else escape(scores.note),
        "## Data",
        *data,
        "## Training",
        code_block(command_of(run), "sh"),
        table(("property", "value"), training),
        differing if settings else "All settings are the defaults.",
        "## Limits",
        "\n".join(f"- {line}" for line in limits),
    )


def _model_index(
    run: OpenedRun, scores: ScoreTable, types: tuple[str, ...], task: str, dataset: tuple[str, str, str]
) -> list[dict[str, Any]] | None:
    """Return the first scores in the form that the hub reads, by their types; `dataset` is its name, type and split."""
    if not scores.items:
        return None
    metrics = [
        {"type": kind, "value": item.number, "name": item.name} for kind, item in zip(types, scores.items, strict=False)
    ]
    data = dict(zip(("name", "type", "split"), dataset, strict=True))
    return [{"name": run_name(run), "results": [{"task": {"type": task}, "dataset": data, "metrics": metrics}]}]


def _describe_lstm(run: OpenedRun) -> str:
    config, network = run.config, run.network
    directions = " in each direction" if config.bidirectional else ""
    layers = f"{config.num_layers} layers" if config.num_layers > 1 else "one layer"
    patches = f", over patches of {network.patch_size} steps" if network.patch_size > 1 else ""
    pooling = "the last hidden state" if network.pooling == "last" else f"{network.pooling} pooling over time"
    kind = "An LSTM" if config.cell == "lstm" else f"A recurrent network of the cell {cell_label(config.cell)}"
    return f"{kind} of {layers} with {config.hidden_size} hidden units{directions}{patches}, and a linear layer on {pooling}"


def _lstm_usage(run: OpenedRun, data: SequenceData) -> tuple[str, str]:
    """Return Python code that uses the network, and a note on its input."""
    is_lstm = isinstance(run.network, LSTMClassifier)
    if data.task == "custom" and is_lstm:
        lines = (
            "from reviver import PretrainedClassifier",
            f'model = PretrainedClassifier.from_pretrained("{PLACEHOLDER}")',
            "classes = model.predict(sequences)",
        )
        return code_block("\n".join(lines), "python"), (
            "`sequences` is a list of sequences of numbers, [T] or [T, I] each, as in the training file: the model "
            "standardizes them. `model.predict_probabilities(sequences)` returns the probability of each class."
        )
    code = usage_of(run.network)
    if data.target == "class at every step":
        code = code.replace("network(x)", "network(x, every_step=True)")
    if data.target == "number":
        code = code.replace("probabilities = network(x).softmax(-1)", "value = network(x)")
    code = code.replace("[B, T, I]", f"[B, T, {run.network.input_size}]")
    return code_block(code, "python"), f"`x` has B sequences of T steps, float32: {run.task.input_text}."


def _lstm_data(run: OpenedRun, data: SequenceData) -> tuple[str, str]:
    """Return where the sequences come from, and a table of their properties."""
    config = run.config
    split = f"{100 * config.train_fraction:.9g} % of them for training, the others for validation"
    rows = [("input", escape(run.task.input_text)), ("T", str(data.length))]
    if data.classes is not None:
        names = ", ".join(map(escape, data.classes[:MAX_CLASSES]))
        num_more = len(data.classes) - MAX_CLASSES
        rows.append(("classes", f"{names}, and {num_more} more" if num_more > 0 else names))
    if isinstance(run.task, CustomTask):
        record = run.task.data
        text = (
            f"{record.num_sequences} sequences from the file {inline_code(record.name)} of the author of this model, split "
            f"at random by class: {split}. The license of this file is not known to Reviver."
        )
    elif (images := run.task.definition.data_set) is not None:
        known = LICENSES[images]
        text = (
            f"Up to {config.data_size} training images of {images.upper()}, by {known.authors}, licensed under "
            f"[{known.name}]({known.url}): {split}."
        )
    else:
        text = (
            f"Sequences that Reviver generates from the seed, up to {config.data_size} at a time: {split}. They have no "
            "license of their own."
        )
    return text, table(("property", "value"), rows)


def _lstm_limits(run: OpenedRun, data: SequenceData) -> list[str]:
    if data.task == "custom":
        lines = [
            "It always answers with one of its classes, for sequences of another kind, too.",
            "The random split assumes independent sequences. On a new person or device its accuracy may be lower.",
        ]
    else:
        lines = ["It was trained for an exercise: it is of use for this task, for teaching and for comparison."]
    length = lstm_summary.trained_length(run)
    validated = run.metrics[-1].get("length", length) if run.metrics else length
    further = f", and validated at T = {validated}" if validated > length else ""
    lines.append(f"It was trained on sequences of T up to {length}{further}; longer ones were not measured here.")
    lines.append(
        "The validation set may have served to choose the settings or the checkpoint. A test set was not used."
    )
    if run.config.precision == "bf16":
        lines.append("It rounds the operands of matrix multiplications to bfloat16.")
    return lines
