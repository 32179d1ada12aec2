"""What the explorer shows of a GAN run.

Shapes: N images, C channels, H height, W width, Z latent size, K classes.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from reviver.explorer.blocks import Blocks, encode_f32, encode_u8
from reviver.explorer.columns import to_columns
from reviver.explorer.gan_facts import gan_facts
from reviver.explorer.manifest import ClassifierSpec, GanContent, LogitContext, MlpSpec, Rounding, TensorBlock
from reviver.explorer.networks import FoldedLayer, Format, embed, evaluate, fold
from reviver.gan.data.image_set import ImageSet, from_pixels, load_images, load_test_images
from reviver.gan.evaluation.digit_classifier import DigitClassifier
from reviver.gan.interpolation import CONFIDENCE
from reviver.gan.networks import NEGATIVE_SLOPE
from reviver.gan.run import GANRun
from reviver.gan.sampling import generate, generate_chunked
from reviver.gan.training import GRID_SIZE
from reviver.runs.rng import make_rng

NUM_CONTEXT = 500
"""Real images, and samples, whose log-odds are the context of one image's."""
NUM_CANDIDATES = 2000
NUM_ENDPOINTS_PER_CLASS = 6
NUM_TEST_IMAGES = 20
NUM_DIRECTION_SAMPLES = 256


class Images(NamedTuple):
    """Real images of a run; None where they are not at hand.

    Attributes:
        train: training images.
        test: test images.
    """

    train: ImageSet | None
    test: ImageSet | None


def collect_gan(run: GANRun, blocks: Blocks, id_: str, *, kind: Format, num_training: int) -> GanContent:
    """Return what the explorer shows of a GAN run, and add its data blocks.

    Args:
        run: the run.
        blocks: get the weights and images.
        id_: id of the run in the page, the prefix of its blocks.
        kind: format of the weights.
        num_training: training images to embed, 0 for none.
    """
    generator = run.generator
    channels, height, width = generator.image_shape
    layers = fold(list(generator.layers))
    weights, specs, rounded = embed(blocks, f"{id_}-generator", layers, kind)
    rounding = [measure_rounding("generator", "pixel, from -1 to 1", kind, run, rounded)]
    discriminator = fold(list(run.discriminator.layers))
    d_weights, d_specs, _ = embed(blocks, f"{id_}-discriminator", discriminator, kind)
    classifier = DigitClassifier.pinned() if run.is_digits else None
    images = load_real_images(run)
    latents, endpoint_classes = choose_latents(run, classifier, blocks, id_)
    return GanContent(
        id=id_,
        name=run.folder.path.resolve().name,
        run_argument=str(run.folder.path),
        step=run.step,
        image_shape=(channels, height, width),
        noise_size=generator.noise_size,
        latent_size=generator.latent_size,
        num_classes=generator.num_classes,
        class_names=[str(index) for index in range(generator.num_classes)],
        generator=MlpSpec(weights=weights, layers=specs, negative_slope=NEGATIVE_SLOPE),
        discriminator=MlpSpec(weights=d_weights, layers=d_specs, negative_slope=NEGATIVE_SLOPE),
        packing=run.discriminator.packing,
        classifier=None if classifier is None else embed_classifier(classifier, blocks, id_, kind),
        latents=latents,
        endpoint_classes=endpoint_classes,
        logits=context_logits(run, images),
        snapshots=None,
        training=embed_images(images.train, num_training, f"{id_}-training", blocks),
        test=embed_images(images.test, NUM_TEST_IMAGES, f"{id_}-test", blocks),
        label_names=None,
        data_name=run.config.data,
        metrics=to_columns(run.metrics),
        scores=to_columns(run.scores),
        facts=gan_facts(run, rounding),
    )


def load_real_images(run: GANRun) -> Images:
    """Return the real images of a run as far as they are at hand."""
    config = run.config
    return Images(load_images(config.data, config.image_size), load_test_images(config.data, config.image_size))


def choose_latents(
    run: GANRun, classifier: DigitClassifier | None, blocks: Blocks, id_: str
) -> tuple[TensorBlock, list[int | None]]:
    """Add the latents of the sample grid, end points by class, and two principal directions; return where they are."""
    generator = run.generator
    num_classes = generator.num_classes
    grid_classes = torch.arange(GRID_SIZE) % num_classes if num_classes else None
    grid = generator.sample_latents(GRID_SIZE, make_rng(run.config.seed, "grid"), grid_classes)
    candidates = generator.sample_latents(NUM_CANDIDATES, make_rng(run.config.seed, "endpoints"))
    chosen: list[int] = []
    classes: list[int | None] = []
    if classifier is not None:
        confidences, predicted = classifier.probabilities(generate_chunked(generator, candidates)).max(1)
        for class_index in range(classifier.head.out_features):
            found = ((predicted == class_index) & (confidences >= CONFIDENCE)).nonzero().flatten().tolist()
            chosen += found[:NUM_ENDPOINTS_PER_CLASS]
            classes += [class_index] * len(found[:NUM_ENDPOINTS_PER_CLASS])
    else:
        chosen = list(range(NUM_ENDPOINTS_PER_CLASS))
        classes = [None] * len(chosen)
    directions = principal_directions(run)
    tensors = {
        "grid": encode_f32(grid),
        "endpoints": encode_f32(candidates[chosen]),
        "directions": encode_f32(directions),
    }
    return blocks.add_tensors(f"{id_}-latents", tensors), classes


@torch.no_grad()
def principal_directions(run: GANRun) -> Tensor:
    """Return the two orthonormal directions of the noise that change the images most, [2, Z]."""
    generator = run.generator
    z = generator.sample_latents(NUM_DIRECTION_SAMPLES, make_rng(run.config.seed, "directions"))
    images = generate(generator, z).flatten(1)
    covariance = (images - images.mean(0)).T @ z[:, : generator.noise_size] / len(z)  # [P, Z], about the mean Jacobian
    _, _, rows = torch.linalg.svd(covariance, full_matrices=False)
    directions = torch.zeros(2, generator.latent_size)
    directions[:, : generator.noise_size] = rows[:2]
    return directions


@torch.no_grad()
def context_logits(run: GANRun, images: Images) -> LogitContext:
    """Return the log-odds of D for real images and for samples."""
    discriminator, generator = run.discriminator, run.generator
    count = NUM_CONTEXT // discriminator.packing * discriminator.packing
    z = generator.sample_latents(count, make_rng(run.config.seed, "context"))
    fake = discriminator.logits(generate(generator, z), generator.class_labels(z))
    source = images.test or images.train
    real: list[float] = []
    if source is not None and not generator.num_classes:
        available = min(count, len(source.images)) // discriminator.packing * discriminator.packing
        real = discriminator.logits(from_pixels(source.images[:available])).flatten().tolist()
    return LogitContext(
        real=[round(value, 4) for value in real],
        fake=[round(value, 4) for value in fake.flatten().tolist()],
        real_source="test images" if images.test is not None else "training images",
    )


def embed_classifier(classifier: DigitClassifier, blocks: Blocks, id_: str, kind: Format) -> ClassifierSpec:
    """Add the classifier's weights and return its description."""
    layers = fold([*classifier.features, classifier.head])
    weights, specs, _ = embed(blocks, f"{id_}-classifier", layers, kind)
    num_convolutions = sum(layer.is_convolution for layer in layers)
    return ClassifierSpec(
        weights=weights,
        image_shape=classifier.image_shape,
        convolutions=specs[:num_convolutions],
        layers=specs[num_convolutions:],
        class_names=[str(index) for index in range(classifier.head.out_features)],
    )


def embed_images(images: ImageSet | None, count: int, name: str, blocks: Blocks) -> TensorBlock | None:
    """Add up to `count` images with their labels; return where they are, or None if there are none."""
    if images is None or count == 0:
        return None
    tensors = {"images": encode_u8(images.images[:count].numpy())}
    if images.labels is not None:
        tensors["labels"] = encode_u8(images.labels[:count].numpy())
    return blocks.add_tensors(name, tensors)


@torch.no_grad()
def measure_rounding(name: str, unit: str, kind: Format, run: GANRun, rounded: list[FoldedLayer]) -> Rounding:
    """Compare the rounded generator with the trained one on random latents."""
    z = run.generator.sample_latents(NUM_CONTEXT, make_rng(run.config.seed, "rounding"))
    exact = generate(run.generator, z).flatten(1).double()
    errors = (evaluate(rounded, z, NEGATIVE_SLOPE) - exact).abs()
    assert math.isfinite(float(errors.max()))
    return Rounding(network=name, unit=unit, format=kind, max=float(errors.max()), mean=float(errors.mean()))
