"""Facts about a GAN run in words: its data, networks, scores beside their baselines, rounding and licenses."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from reviver.data.images.image_set import ImageSet
from reviver.explorer.facts import command_of, config_facts, data_license, licenses, run_facts
from reviver.explorer.gan_images import RealImages
from reviver.explorer.manifest import Fact, Facts, Rounding, ScoreRow
from reviver.train.gan.run import SCORES, GANRun, find_scores

NO_SCORES = "The run was not evaluated while it trained. `reviver gan evaluate` does it afterwards."


def gan_facts(run: GANRun, rounding: Sequence[Rounding], images: RealImages, training: ImageSet | None) -> Facts:
    """Return the facts about a GAN run.

    Args:
        run: the run.
        rounding: of its networks.
        images: its real images.
        training: training images in the page, or None.
    """
    scores = find_scores(run)
    name = run.folder.record["data"]["name"]
    return Facts(
        run=[*_data_facts(run, images, training), *_network_facts(run), *run_facts(run, _epochs(run))],
        config=config_facts(run),
        command=command_of(run),
        scores=[] if scores is None else score_rows(scores),
        scores_note=NO_SCORES if scores is None else _scores_note(scores, run),
        rounding=rounding,
        licenses=licenses(data_license("images", run.config.data, name)),
    )


def score_rows(scores: Mapping[str, Any]) -> list[ScoreRow]:
    """Return the scores beside those of real images and of noise, if it was recorded."""
    real, noise = scores["real_baseline"], scores.get("noise_baseline")
    return [
        ScoreRow(
            name=label,
            value=f"{scores[key]:.4g}",
            real=f"{real[key]:.4g}",
            noise=None if noise is None else f"{noise[key]:.4g}",
        )
        for key, label in SCORES.items()
    ]


def _scores_note(scores: Mapping[str, Any], run: GANRun) -> str:
    warning = f" Warning: {scores['warning']}." if scores["warning"] else ""
    later = "" if scores["step"] == run.step else f" The networks in this page are of update {run.step:,}."
    return (
        f"{scores['num_samples']:,} samples against the test images, after epoch {scores['epoch']} (update "
        f"{scores['step']:,}).{later} Features of the {scores['extractor']}, k = {scores['k']}. Real images are as many "
        "training images, noise is as many images of random pixels. Compare such scores only with the same extractor and "
        f"number of samples; they are not the Inception FID.{warning}"
    )


def _data_facts(run: GANRun, images: RealImages, training: ImageSet | None) -> list[Fact]:
    data = run.folder.record["data"]
    shape = " × ".join(map(str, run.generator.image_shape))
    facts = [
        Fact(label="data", value=data["name"]),
        Fact(label="images", value=f"{data['num_images']:,} of {shape}", note="channels × height × width"),
    ]
    if training is not None:
        value = f"{len(training.images):,} of {data['num_images']:,}"
        is_sample = len(training.images) < data["num_images"]
        note = "a random sample, spread over classes" if is_sample else None
        facts.append(Fact(label="training images in this page", value=value, note=note))
    else:
        facts.append(Fact(label="training images in this page", value="none", note=images.problem))
    return facts


def _network_facts(run: GANRun) -> list[Fact]:
    generator, discriminator = run.generator, run.discriminator
    average = f"moving average of the weights with decay {run.config.ema:g}" if run.config.ema > 0 else None
    facts = [
        Fact(label="parameters of the generator", value=f"{_count(generator):,}", note=average),
        Fact(label="parameters of the discriminator", value=f"{_count(discriminator):,}"),
    ]
    if generator.num_classes:
        facts.append(Fact(label="classes", value=str(generator.num_classes), note="conditional"))
    if discriminator.packing > 1:
        value = str(discriminator.packing)
        facts.append(Fact(label="images that the discriminator sees at once", value=value, note="PacGAN"))
    return facts


def _count(network: nn.Module) -> int:
    return sum(math.prod(parameter.shape) for parameter in network.parameters())


def _epochs(run: GANRun) -> float:
    """Return the epochs until the checkpoint was saved."""
    if run.folder.status == "finished":
        return run.config.epochs
    return max((record["epoch"] for record in run.metrics if record["step"] <= run.step), default=0)
