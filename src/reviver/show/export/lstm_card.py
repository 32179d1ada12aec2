"""Model card of an LSTM run."""

from typing import Any, NamedTuple

from reviver.data.describe import GOALS, MNIST_TASKS, SequenceData
from reviver.data.sequences.task import CustomTask
from reviver.data.tasks.task import ACCURACY_NAMES, LOSS_NAMES, TOLERANCE
from reviver.files.model_card import PLACEHOLDER, escape, front_matter, inline_code, join_sections, table
from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.pretrained import TAGS, usage_of
from reviver.show.export.card_parts import training_section, usage_section
from reviver.train.lstm.run import LSTMRun
from reviver.train.lstm.summary import last_trained
from reviver.train.source import run_name

MAX_CLASSES = 50
"""Maximum number of class names that a card lists."""


class Kind(NamedTuple):
    """What the hub calls a task."""

    pipeline_tag: str
    """Task of the hub; it has none for the classification of series, so that of tables stands in."""
    tags: tuple[str, ...]
    """Tags."""


def lstm_card(run: LSTMRun, data: SequenceData, license_id: str | None = None) -> str:
    """Return the model card of a run as Markdown.

    Args:
        run: the run.
        data: what its network reads and predicts.
        license_id: license of the model; None for that of the data.
    """
    kind, name, results = _kind_of(data), run_name(run), _find_metrics(run)
    metadata = {
        "library_name": "reviver",
        "license": license_id or _license_of(data),
        "pipeline_tag": kind.pipeline_tag,
        "tags": [*TAGS, *kind.tags],
        "datasets": ["ylecun/mnist"] if data.task in MNIST_TASKS else None,
        "model-index": _model_index(run, kind, data, results),
    }
    return join_sections(
        front_matter(metadata),
        f"# {escape(name)}",
        f"{_describe_network(run)}, trained to {GOALS[data.task]}.",
        _usage(run, data),
        _results(run, data, results),
        _data(run, data),
        training_section(run),
        _limits(run, data),
    )


def _kind_of(data: SequenceData) -> Kind:
    if data.target == "number":
        return Kind("tabular-regression", ("sequence-regression",))
    if data.task in MNIST_TASKS:
        return Kind("image-classification", ("sequence-classification", "mnist"))
    return Kind("tabular-classification", ("sequence-classification", "time-series"))


def _license_of(data: SequenceData) -> str:
    if data.task in MNIST_TASKS:
        return "cc-by-sa-3.0"
    return "unknown" if data.task == "custom" else "mit"


def _find_metrics(run: LSTMRun) -> dict[str, Any] | None:
    """Return the metrics of the last epoch before the checkpoint was saved; None if no epoch was complete."""
    return next((record for record in reversed(run.metrics) if record["step"] <= run.step), None)


def _model_index(run: LSTMRun, kind: Kind, data: SequenceData, results: dict[str, Any] | None) -> list[Any] | None:
    """Return the results in the form that the hub reads."""
    if results is None:
        return None
    name, data_name = run_name(run), run.task.data.name if isinstance(run.task, CustomTask) else data.task
    metrics = [
        {"type": "accuracy", "value": results["validation_accuracy"], "name": "validation accuracy"},
        {"type": "loss", "value": results["validation_loss"], "name": f"validation {LOSS_NAMES[data.target]}"},
    ]
    dataset = {"name": data_name, "type": data.task, "split": "validation"}
    return [{"name": name, "results": [{"task": {"type": kind.pipeline_tag}, "dataset": dataset, "metrics": metrics}]}]


def _describe_network(run: LSTMRun) -> str:
    config, network = run.config, run.network
    if not isinstance(network, LSTMClassifier):
        return f"A vanilla RNN with {config.hidden_size} hidden units"
    directions = " in each direction" if config.bidirectional else ""
    layers = f"{config.num_layers} layers" if config.num_layers > 1 else "one layer"
    patches = f", over patches of {network.patch_size} steps" if network.patch_size > 1 else ""
    pooling = "the last hidden state" if network.pooling == "last" else f"{network.pooling} pooling over time"
    return f"An LSTM of {layers} with {config.hidden_size} hidden units{directions}{patches}, and a linear layer on {pooling}"


def _usage(run: LSTMRun, data: SequenceData) -> str:
    is_lstm = isinstance(run.network, LSTMClassifier)
    if data.task != "custom" or not is_lstm:
        code = usage_of("LSTMClassifier" if is_lstm else "RNNClassifier")
        if data.target == "class at every step":
            code = code.replace("network(x)", "network(x, every_step=True)")
        if data.target == "number":
            code = code.replace("probabilities = network(x).softmax(-1)", "value = network(x)")
        code = code.replace("[B, T, I]", f"[B, T, {run.network.input_size}]")
        return usage_section(code, f"`x` has B sequences of T steps, float32: {data.input_text}.")
    code = "\n".join(
        [
            "from reviver import PretrainedClassifier",
            f'model = PretrainedClassifier.from_pretrained("{PLACEHOLDER}")',
            "classes = model.predict(sequences)",
        ]
    )
    return usage_section(
        code,
        "`sequences` is a list of sequences of numbers, [T] or [T, I] each, as in the training file: the model standardizes "
        "them. `model.predict_probabilities(sequences)` returns the probability of each class.",
    )


def _results(run: LSTMRun, data: SequenceData, results: dict[str, Any] | None) -> str:
    if results is None:
        return "## Results\n\nThe run has no complete epoch, so that nothing was measured."
    length = results.get("length", run.config.length)
    at_length = f" on sequences of length {length:,}" if run.config.curriculum else ""
    rows = [
        (
            "accuracy" if data.target == "class" else f"accuracy of {ACCURACY_NAMES[data.target]}",
            f"{100 * results['validation_accuracy']:.2f} %",
            f"{100 * run.task.chance:.3g} %",
        ),
        (LOSS_NAMES[data.target], f"{results['validation_loss']:.4g}", f"{run.task.baseline(length):.4g}"),
    ]
    return join_sections(
        "## Results",
        table(("on the validation set", "this model", "baseline"), rows),
        "The baseline of the accuracy is the best constant guess (chance), that of the loss the best prediction without "
        f"memory. Measured after epoch {results['epoch']}{at_length}, in one run with seed {run.config.seed}: the spread over seeds is "
        "unknown.",
    ).strip()


def _data(run: LSTMRun, data: SequenceData) -> str:
    config = run.config
    share = f"{100 * config.train_fraction:.3g} % of them for training, the others for validation"
    lines = [f"| input | {escape(data.input_text)} |", f"| T | {data.length} |"]
    if data.classes is not None:
        names = ", ".join(escape(name) for name in data.classes[:MAX_CLASSES])
        more = f", and {len(data.classes) - MAX_CLASSES} more" if len(data.classes) > MAX_CLASSES else ""
        lines.append(f"| classes | {names}{more} |")
    facts = "\n".join(["| property | value |", "| --- | --- |", *lines])
    if isinstance(run.task, CustomTask):
        record = run.task.data
        text = (
            f"{record.num_sequences} sequences from the file {inline_code(record.name)} of the author of this model, split at random by "
            f"class: {share}. The license of this file is not known to Reviver."
        )
    elif data.task in MNIST_TASKS:
        text = (
            f"Up to {config.data_size} training images of MNIST, by Yann LeCun and Corinna Cortes, licensed under "
            f"[CC BY-SA 3.0](https://creativecommons.org/licenses/by-sa/3.0/): {share}."
        )
    else:
        text = (
            f"Sequences that Reviver generates from the seed, up to {config.data_size} at a time: {share}. They have no "
            "license of their own."
        )
    return join_sections("## Data", text, facts).strip()


def _limits(run: LSTMRun, data: SequenceData) -> str:
    lines = []
    if data.task == "custom":
        lines.append("It always answers with one of its classes, for sequences of another kind, too.")
        lines.append(
            "The random split assumes that sequences are independent. If several come from one person or device, its "
            "accuracy on new ones may be lower."
        )
    else:
        lines.append("It was trained for an exercise: it is of use for this task, for teaching and for comparison.")
    trained, last = last_trained(run.metrics), run.metrics[-1] if run.metrics else {}
    length = data.length if trained is None else trained.get("length", data.length)
    validated = last.get("length", length)
    further = f", and validated at T = {validated}" if validated > length else ""
    lines.append(f"It was trained on sequences of T up to {length}{further}; longer ones were not measured here.")
    if data.target == "number":
        lines.append(f"A number counts as correct within {TOLERANCE}.")
    lines.append(
        "The validation set may have served to choose the settings or the checkpoint. A test set was not used."
    )
    if run.config.precision == "bf16":
        lines.append("It rounds the operands of matrix multiplications to bfloat16.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)
