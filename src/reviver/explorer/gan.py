"""What the explorer shows of a GAN run.

Shapes: N images, C channels, H height, W width, Z latent size, K classes.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from reviver.data.images.image_set import from_pixels
from reviver.errors import ConfigError, DataError
from reviver.explorer.blocks import Blocks, embed, fold, rounding_of
from reviver.explorer.facts import can_run, gan_facts, to_columns
from reviver.explorer.gan_images import (
    RealImages,
    choose_images,
    class_names,
    embed_images,
    load_real_images,
    rounded,
)
from reviver.explorer.gan_latents import choose_endpoints, embed_latents
from reviver.explorer.manifest import ClassifierSpec, GanContent, LogitContext, MlpSpec, RecordedGan, RunName
from reviver.gan.losses import describe_losses
from reviver.gan.networks import NEGATIVE_SLOPE, one_hot
from reviver.gan.sampling import generate_chunked
from reviver.gan.scores.feature_extractor import DigitClassifier
from reviver.gan.scores.reference_stats import load_extractor
from reviver.rng import make_rng
from reviver.train.opened import OpenedRun

NUM_TRAINING = 2000
"""Training images of a page by default."""
MAX_TRAINING_BYTES = 8 << 20
"""Size of the training images of a page by default; of large images there are fewer."""
NUM_TEST = 20
NUM_CONTEXT = 500
"""Number of real images, and of samples, whose log-odds the page has; the samples measure the rounding, too."""


@torch.no_grad()
def collect_gan(
    run: OpenedRun, blocks: Blocks, id_: str, *, name: RunName, num_training: int | None, with_data: bool
) -> RecordedGan:
    """Return what the explorer shows of a GAN run, and add its data to `blocks`, with the prefix `id_`; see `build_page`."""
    if not can_run(run):
        return RecordedGan(**gan_records(run, id_, name=name), facts=gan_facts(run))
    generator, discriminator = run.generator, run.discriminator
    images = load_real_images(run)
    classifier = find_classifier(run)
    folded = fold(generator.layers)
    weights, g_rounded = embed_mlp(blocks, f"{id_}-generator", folded)
    d_weights, d_rounded = embed_mlp(blocks, f"{id_}-discriminator", fold(discriminator.layers))
    classifier_spec = c_rounded = None
    if classifier is not None:
        names = images.label_names or class_names(run.config.data, classifier.head.out_features)
        classifier_spec, c_rounded = embed_classifier(classifier, names, blocks, f"{id_}-classifier")
    z = generator.sample_latents(NUM_CONTEXT, make_rng(run.config.seed, "explorer/context"))  # stand for all of the run
    samples = generate_chunked(generator, z)
    labels = generator.class_labels(z)
    unit = "probability that an image is real" if describe_losses(run.config.loss).smoothed else "sigmoid of D's output"
    inputs, exact = discriminator.inputs(samples, labels).double(), discriminator(samples, labels)
    rounding = [
        rounding_of("generator", "pixel, from -1 to 1", g_rounded(z.double()), samples.flatten(1)),
        rounding_of("discriminator", unit, d_rounded(inputs).sigmoid(), exact),
    ]
    if classifier is not None and c_rounded is not None:
        found, exact = c_rounded(samples.double()).softmax(1), classifier.probabilities(samples)
        rounding.append(rounding_of("classifier", "class probability", found, exact))
    endpoints, endpoint_classes = choose_endpoints(run, classifier)
    if num_training is None:
        num_training = max(1, min(NUM_TRAINING, MAX_TRAINING_BYTES // math.prod(generator.image_shape)))
    training, test = None, None
    if with_data and images.train and num_training:
        training = choose_images(images.train, num_training, run, "training")
    if with_data and images.test:
        test = choose_images(images.test, NUM_TEST, run, "test")
    return GanContent(
        run_argument=name.argument,
        noise_size=generator.noise_size,
        latent_size=generator.latent_size,
        num_classes=generator.num_classes,
        class_names=class_names(run.config.data, generator.num_classes),
        generator=weights,
        discriminator=d_weights,
        classifier=classifier_spec,
        latents=embed_latents(run, folded, endpoints, f"{id_}-latents", blocks),
        endpoint_classes=endpoint_classes,
        logits=context_logits(run, samples, labels, images),
        **gan_records(run, id_, name=name),
        training=embed_images(training, f"{id_}-training", blocks),
        test=embed_images(test, f"{id_}-test", blocks),
        label_names=images.label_names,
        facts=gan_facts(run, rounding, training, images.problem),
    )


def gan_records(run: OpenedRun, id_: str, *, name: RunName) -> dict[str, Any]:
    """Return the fields of `RecordedGan` but `facts`."""
    columns = {
        kind: to_columns([record for record in records if record["step"] <= run.step])
        for kind, records in (("metrics", run.metrics), ("scores", run.scores))
    }
    return {
        "id": id_,
        "name": name.name,
        "image_shape": run.image_shape,
        "is_log_odds": describe_losses(run.config.loss).smoothed is not None,
        **columns,
    }


def find_classifier(run: OpenedRun) -> DigitClassifier | None:
    """Return the classifier that knows the images of a run: its own feature extractor if it is unchanged, or that of digits."""
    path, sha256 = run.config.extractor, run.folder.record.get("extractor_sha256")
    if path is not None and sha256 is not None:
        try:
            return load_extractor(run.config.data, run.generator.image_shape, path, sha256).classifier
        except (ConfigError, DataError):
            pass
    return DigitClassifier.pinned() if run.is_digits else None


def embed_mlp(blocks: Blocks, name: str, network: nn.Sequential) -> tuple[MlpSpec, nn.Sequential]:
    """Add the weights of a folded network of linear layers; return its description and the rounded network."""
    weights, specs, rounded = embed(blocks, name, network)
    return MlpSpec(weights=weights, layers=specs, negative_slope=NEGATIVE_SLOPE), rounded


def embed_classifier(
    classifier: DigitClassifier, names: Sequence[str], blocks: Blocks, name: str, bits: int | None = None
) -> tuple[ClassifierSpec, nn.Sequential]:
    """Add the weights of the classifier, with so many significant bits; return its description and the rounded network."""
    num_classes = classifier.head.out_features
    folded = fold([*classifier.features, classifier.head])
    for parameter in folded.parameters():
        if bits is not None and parameter.dim() > 1:  # with fewer bits they deflate better
            mantissas, exponents = torch.frexp(parameter)
            parameter.copy_(torch.ldexp((mantissas * 2**bits).round(), exponents - bits))
    weights, specs, rounded = embed(blocks, name, folded)
    num_convolutions = sum(isinstance(module, nn.Conv2d) for module in folded)
    spec = ClassifierSpec(
        weights=weights,
        image_shape=classifier.image_shape,
        convolutions=specs[:num_convolutions],
        layers=specs[num_convolutions:],
        class_names=names if len(names) == num_classes else [str(index) for index in range(num_classes)],
    )
    return spec, rounded


def context_logits(run: OpenedRun, samples: Tensor, labels: Tensor | None, images: RealImages) -> LogitContext:
    """Return the log-odds of D for samples [N, C, H, W] of the classes `labels` and for real images."""
    discriminator, num_classes = run.discriminator, run.generator.num_classes
    fake = rounded(discriminator.logits(samples, labels))
    for found, name in ((images.test, "test images"), (images.train, "training images")):
        if found is None or (num_classes and (found.labels is None or int(found.labels.max()) >= num_classes)):
            continue  # none, or without the labels that a conditional D asks for
        chosen = choose_images(found, NUM_CONTEXT, run, "real")
        classes = one_hot(chosen.labels, num_classes) if num_classes and chosen.labels is not None else None
        real = rounded(discriminator.logits(from_pixels(chosen.images), classes))
        return LogitContext(real=real, fake=fake, real_source=name)
    return LogitContext(real=[], fake=fake, real_source="")
