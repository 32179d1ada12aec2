"""Facts about a run, most of them from its summary: in words, and its records as columns."""

from collections.abc import Mapping, Sequence
from typing import Any

from reviver.data.build import SequenceData
from reviver.data.images.image_set import ImageSet
from reviver.data.images.named import DATA_SETS
from reviver.explorer.lstm_examples import ExampleInputs
from reviver.explorer.manifest import Facts, Rounding, ScoreRow
from reviver.settings.parts import is_custom
from reviver.train.description import LICENSES, Item, ScoreTable, command_of, gan_scores, run_items, setting_items
from reviver.train.lstm import summary as lstm_summary
from reviver.train.opened import OpenedRun

PAGE_LICENSES = (
    Item("code of this page", "MIT", "Reviver; Preact and its signals, by Jason Miller and the Preact Team"),
    Item("ticks of its charts", "ISC", "d3-array, by Mike Bostock"),
    Item("zips and hashes of its training", "MIT", "fflate, by Arjun Barrett; noble-hashes, by Paul Miller"),
)
"""Licenses of every page."""
MAX_ROWS = 1000
"""Maximum rows of a chart."""
SIGNIFICANT = 6
"""Digits of a number in a chart."""


def can_run(run: OpenedRun) -> bool:
    """Return whether the page can run the networks of a run, which are not user-defined."""
    return not any(is_custom(option, getattr(run.config, option, None)) for option in ("cell", "networks"))


def lstm_facts(
    run: OpenedRun, data: SequenceData, examples: ExampleInputs | None = None, rounding: Sequence[Rounding] = ()
) -> Facts:
    """Return the facts about an LSTM run; `data` is what its network reads, `rounding` that of the embedded networks.

    `examples` are those in the page, None of a run whose network it cannot run.
    """
    items = [Item("task", run.task.definition.goal, data.task)]
    images = run.task.definition.data_set
    licenses = [data_license(images, images)] if images else []
    if (record := run.task.data) is not None:
        size = f"{record.num_sequences:,} sequences of up to {record.max_length:,} steps"
        items.append(Item("data", record.name, size))
        licenses.append(Item("sequences", "not known to Reviver", record.name))
    if examples is not None:
        items.append(Item("examples in this page", str(len(examples.examples) or "none"), examples.text))
    items += run_items(run)
    if examples is not None:
        items.append(Item("arithmetic of the page", "double precision", "from rounded weights, see the rounding"))
    if run.config.precision == "bf16":
        note = "The page does not round the operands of matrix products to bfloat16; this difference is part of the rounding."
        items.append(Item("arithmetic of the run", "bfloat16 operands, sums in single precision", note))
    return _facts(run, items, lstm_summary.scores_of(run, data), rounding, licenses)


def gan_facts(
    run: OpenedRun, rounding: Sequence[Rounding] = (), training: ImageSet | None = None, problem: str | None = None
) -> Facts:
    """Return the facts about a GAN run with the training images in the page, or why there are none."""
    data = run.folder.record["data"]
    shape = " × ".join(map(str, run.image_shape))
    items = [
        Item("data", data["name"]),
        Item("images", f"{data['num_images']:,} of {shape}", "channels × height × width"),
    ]
    if can_run(run):
        in_page, note = "none", problem
        if training is not None:
            in_page = f"{len(training.images):,} of {data['num_images']:,}"
            note = "a random sample, spread over classes" if len(training.images) < data["num_images"] else None
        sizes = [
            sum(tensor.numel() for tensor in network.parameters()) for network in (run.generator, run.discriminator)
        ]
        average = f"moving average of the weights with decay {run.config.ema:g}" if run.config.ema > 0 else None
        items.append(Item("training images in this page", in_page, note))
        items.append(Item("parameters of the generator", f"{sizes[0]:,}", average))
        items.append(Item("parameters of the discriminator", f"{sizes[1]:,}"))
        if run.generator.num_classes:
            items.append(Item("classes", str(run.generator.num_classes), "conditional"))
    epochs = float(run.config.epochs)
    if run.folder.status != "finished":
        epochs = max((record["epoch"] for record in run.metrics if record["step"] <= run.step), default=0)
    licenses = [data_license(run.config.data, data["name"])]
    return _facts(run, [*items, *run_items(run, epochs)], gan_scores(run), rounding, licenses)


def _facts(
    run: OpenedRun, items: list[Item], scores: ScoreTable, rounding: Sequence[Rounding], licenses: list[Item]
) -> Facts:
    return Facts(
        run=items,
        config=setting_items(run.config),
        command=command_of(run),
        scores=[ScoreRow(name=row.name, value=row.value, real=row.real, noise=row.noise) for row in scores.items],
        scores_note=scores.note,
        rounding=rounding,
        licenses=[*PAGE_LICENSES, *licenses],
    )


def data_license(source: str, name: str) -> Item:
    """Return the license of images called `name`, of the setting `data` that is `source`."""
    label = f"images: {name}"
    if source in LICENSES:
        known = LICENSES[source]
        return Item(label, known.name, f"by {known.authors}; {known.url}")
    if source in DATA_SETS:
        return Item(label, "see its page", DATA_SETS[source].source)
    return Item(label, "your own data", "before you share this page, check that you may")


def to_columns(records: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Return the numbers of records by name, thinned to at most MAX_ROWS rows; other values are left out."""
    kept = thin(records, MAX_ROWS)
    names = dict.fromkeys(name for record in kept for name, value in record.items() if isinstance(value, int | float))

    def number(value: object) -> float | None:
        if isinstance(value, float):
            return float(f"{value:.{SIGNIFICANT}g}")
        return value if isinstance(value, int) else None

    return {name: [number(record.get(name)) for record in kept] for name in names}


def thin(items: Sequence[Any], count: int) -> list[Any]:
    """Return at most `count` (at least 2) of some items, evenly spaced, with the first and the last."""
    if len(items) <= count:
        return list(items)
    return [items[round(index * (len(items) - 1) / (count - 1))] for index in range(count)]
