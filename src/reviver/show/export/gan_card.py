"""Model card of a GAN run."""

from types import MappingProxyType
from typing import Any, NamedTuple

from reviver.data.images.named import DATA_SETS
from reviver.files.model_card import escape, front_matter, inline_code, join_sections, table
from reviver.gan.pretrained import PIPELINE_TAG, TAGS, spec_of, usage_of
from reviver.gan.records import ImageData
from reviver.show.export.card_parts import training_section, usage_section
from reviver.train.gan.run import SCORES, GANRun, find_scores
from reviver.train.source import run_name


class DataSet(NamedTuple):
    """Images that a GAN may have learned, as a card names them."""

    license_id: str
    """License on the hub."""
    license_text: str
    """License with its link."""
    authors: str
    """Authors."""
    hub_id: str | None = None
    """Id on the hub."""


KNOWN = MappingProxyType(
    {
        "mnist": DataSet(
            "cc-by-sa-3.0",
            "[CC BY-SA 3.0](https://creativecommons.org/licenses/by-sa/3.0/)",
            "Yann LeCun and Corinna Cortes",
            "ylecun/mnist",
        ),
        "fashion-mnist": DataSet(
            "mit",
            "the [MIT license](https://github.com/zalandoresearch/fashion-mnist/blob/master/LICENSE)",
            "Zalando Research",
            "zalando-datasets/fashion_mnist",
        ),
        "kmnist": DataSet(
            "cc-by-sa-4.0",
            "[CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/)",
            "the ROIS-DS Center for Open Data in the Humanities",
        ),
    }
)
"""Data sets whose license is known, by name."""


def gan_card(run: GANRun, images: ImageData, license_id: str | None = None) -> str:
    """Return the model card of the generator of a run as Markdown.

    Args:
        run: the run.
        images: its training images.
        license_id: license of the model; None for that of the data.
    """
    name, known, scores = run_name(run), KNOWN.get(images.name), find_scores(run)
    metadata = {
        "library_name": "reviver",
        "license": license_id or (known.license_id if known else "unknown"),
        "pipeline_tag": PIPELINE_TAG,
        "tags": [*TAGS, "image-generation"],
        "datasets": [known.hub_id] if known and known.hub_id else None,
        "model-index": _model_index(name, images, scores),
    }
    generator = run.generator
    shape = " × ".join(map(str, generator.image_shape))
    classes = f", for one of {generator.num_classes} classes" if generator.num_classes else ""
    average = " Its weights are an exponential moving average (EMA) over training." if run.config.ema > 0 else ""
    noise = (
        "`sample_latents` samples the noise"
        + (" and random classes; `classes` chooses them" if generator.num_classes else "")
        + ". Pixels are in [-1, 1]."
    )
    return join_sections(
        front_matter(metadata),
        f"# {escape(name)}",
        f"The generator of a fully connected GAN: {generator.noise_size} random numbers become an image of {shape} (channels "
        f"× height × width){classes}.{average}",
        usage_section(usage_of("Generator", spec_of(generator)), noise),
        _results(run, scores),
        _data(images, known),
        training_section(run),
        _limits(scores),
    )


def _model_index(name: str, images: ImageData, scores: dict[str, Any] | None) -> list[Any] | None:
    """Return the scores in the form that the hub reads."""
    if scores is None:
        return None
    metrics = [{"type": key, "value": scores[key], "name": label} for key, label in SCORES.items()]
    dataset = {"name": images.name, "type": images.name, "split": "test"}
    return [{"name": name, "results": [{"task": {"type": PIPELINE_TAG}, "dataset": dataset, "metrics": metrics}]}]


def _results(run: GANRun, scores: dict[str, Any] | None) -> str:
    if scores is None:
        return "## Results\n\nThe run was not evaluated while it trained. `reviver gan evaluate` measures a run folder."
    real = scores["real_baseline"]
    rows = [(label, f"{scores[key]:.4g}", f"{real[key]:.4g}") for key, label in SCORES.items()]
    later = "" if scores["step"] == run.step else f" These weights are of update {run.step}."
    return join_sections(
        "## Results",
        table(("score", "this model", "real images (baseline)"), rows),
        f"{scores['num_samples']} samples against the test images, after epoch {scores['epoch']} (update {scores['step']})."
        f"{later} Features of the {escape(scores['extractor'])}, k = {scores['k']}. The baseline is as many training images. "
        "Such scores can be compared only with the same extractor and number of samples; they are not the Inception-FID.",
    ).strip()


def _data(images: ImageData, known: DataSet | None) -> str:
    rows = [("images", str(images.num_images)), ("SHA-256 of the pixels", f"`{images.sha256}`")]
    if images.image_shape:
        rows.append(("channels × height × width", " × ".join(map(str, images.image_shape))))
    if images.num_classes:
        rows.append(("classes", str(images.num_classes)))
    if known is not None:
        text = f"The training images of {images.name}, by {known.authors}, licensed under {known.license_text}."
    elif images.name in DATA_SETS:
        source = DATA_SETS[images.name].source
        text = f"The training images of {images.name}; [its page]({source}) has the terms of use."
    else:
        text = f"Images from {inline_code(images.name)} of the author of this model. Their license is not known to Reviver."
    return join_sections("## Data", text, table(("property", "value"), rows)).strip()


def _limits(scores: dict[str, Any] | None) -> str:
    lines = [
        "It generates only what resembles its training images, with their biases.",
        "A generated image may be a near copy of a training image.",
    ]
    if scores is not None and scores["warning"]:
        lines.insert(0, f"The last evaluation warned: {escape(scores['warning'])}")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)
