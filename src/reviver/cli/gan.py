"""`reviver gan`: train and use the GAN."""

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from pydantic import Field

from reviver.cli import options
from reviver.cli.settings import print_settings
from reviver.config import RUN, Count, CountOrZero, Text
from reviver.errors import ConfigError
from reviver.gan.config import MAX_IMAGE_SIZE, GANConfig
from reviver.gan.presets import PRESETS
from reviver.validation import check

if TYPE_CHECKING:
    from reviver.gan.run import GANRun


def train(
    *,
    preset: Annotated[str, RUN, Parameter(choices=tuple(PRESETS), help="Settings to start from.")] = "report",
    config: options.ConfigPath = None,
    out: options.NewRunPath = None,
    resume: options.Resume = False,
    print_config: options.PrintConfig = False,
    settings: Annotated[GANConfig, Parameter(name="*")] = PRESETS["report"],
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Train a GAN on MNIST or on your own images. The defaults are the report's.

    Options come before the file of --config, and that comes before the preset. --help with --preset shows its values.

    Examples:
      reviver gan train --preset best --out runs/gan     a few minutes on MNIST
      reviver gan train --eval-every 1 --eval-samples 10000
      reviver gan train --data photos/ --image-size 32 --epochs 50 --out runs/photos
      reviver gan train --out runs/photos --resume       go on after Ctrl-C
    """
    from reviver.gan import training
    from reviver.gan.evaluation import monitor

    if print_config:
        print_settings(settings)
        return
    assert out is not None, "fill_settings has chosen one"
    folder = training.train(settings, out, device=common.device, resume=resume, progress=not common.quiet)
    seconds = folder.record["seconds"]
    last, scores = (points[-1] if points else None for points in (folder.read_metrics(), folder.read_scores()))
    lines = [f"{folder.path}: {settings.epochs} epochs in {seconds:.1f} s", *options.describe_rollbacks(folder)]
    if scores:
        lines.append(f"  {monitor.describe_point(scores)}; scoring took {folder.record['eval_seconds']:.1f} s besides")
    result = {"run": str(folder.path), "seconds": seconds, "last": last, "scores": scores}
    common.show(result, *lines, f"  grids and training.gif are in {folder.samples}")


def sample(
    run: options.GANRunPath,
    /,
    *,
    num_samples: Count = 25,
    class_: Annotated[CountOrZero | None, Parameter(name="--class")] = None,
    seed: options.LatentSeed = None,
    out: Text = "grid.png",
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Generate new images with a trained GAN.

    Examples:
      reviver gan sample runs/gan --num-samples 25 --out grid.png
      reviver gan sample runs/conditional --class 7
      reviver gan sample runs/gan --num-samples 10000 --out samples.npz

    Args:
        num_samples: Number of images.
        class_: Class to generate, such as a digit; for a run with --conditional.
        out: Grid as .png, .pdf or .svg, or .npz with images float32 [N, C, H, W] in [-1, 1] and latents [N, Z].
    """
    from reviver.gan import output, sampling

    loaded, seed = options.open_gan(run, common.device, seed)
    images, latents = sampling.generate_samples(loaded.generator, num_samples, seed, class_)
    output.save_samples(images, latents, Path(out))
    common.show({"out": out, "shape": list(images.shape), "seed": seed}, out)


def interpolate(
    run: options.GANRunPath,
    /,
    *,
    first: Annotated[CountOrZero | None, Parameter(name="--from")] = None,
    last: Annotated[CountOrZero | None, Parameter(name="--to")] = None,
    from_image: Text | None = None,
    to_image: Text | None = None,
    steps: CountOrZero = 7,
    path: Literal["linear", "spherical"] = "linear",
    annotate: Annotated[bool, options.FLAG] = False,
    metrics: Annotated[bool, options.FLAG] = False,
    num_pairs: Annotated[int | None, Field(ge=0)] = None,
    extractor: options.FeatureExtractor = None,
    seed: options.LatentSeed = None,
    out: options.FigurePath = "interpolation.pdf",
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Interpolate between two images through latent space.

    Examples:
      reviver gan interpolate runs/gan --from 3 --to 8 --annotate
      reviver gan interpolate runs/gan --from-image a.png --to-image b.png
      reviver gan interpolate runs/gan --metrics         compare both paths
      reviver gan interpolate runs/fashion --metrics --extractor fashion.safetensors

    Args:
        first: Digit to start from; by default any.
        last: Digit to end at; by default any other.
        from_image: Image to start from, as the generator reproduces it.
        to_image: Image to end at.
        steps: Images between the two ends.
        path: Path through latent space.
        annotate: Write under each image the digit it is classified as, with the confidence.
        metrics: Compare the linear and the spherical path between the ends: plot the class probabilities under the
            images, and print where the class switches and how long the path is.
        num_pairs: Pairs of random latents between which --metrics also compares both paths; by default 100.
    """
    from reviver.figures import check_figure_path
    from reviver.gan import output
    from reviver.gan.evaluation import path_metrics, reference_stats

    check_figure_path(Path(out))
    if num_pairs is not None and not metrics:
        raise ConfigError("num_pairs needs --metrics; add it, or leave out num_pairs", field="num_pairs")
    if (from_image is None) != (to_image is None):
        raise ConfigError("from_image needs to_image beside it, and the reverse; give both or none", field="from_image")
    images = None if from_image is None or to_image is None else (Path(from_image), Path(to_image))
    loaded, seed = options.open_gan(run, common.device, seed)
    known, measured = None, None
    file, sha256 = _find_extractor(loaded, extractor)
    if metrics or file:
        known = reference_stats.choose_extractor(loaded.config.data, loaded.generator.image_shape, file, sha256)
    path_images = output.generate_interpolation(
        loaded, first, last, steps, path, seed, images, known.classifier if known else None
    )
    result = {
        "out": out,
        "path": path,
        "seed": seed,
        "digits": path_images.digits,
        "confidences": path_images.confidences,
    }
    if metrics and known:
        ends, num_pairs = (path_images.latents[0], path_images.latents[-1]), 100 if num_pairs is None else num_pairs
        measured = path_metrics.compare_paths(loaded.generator, known, *ends, pairs=num_pairs, seed=seed)
        result["measured"] = measured.as_dict()
    output.save_interpolation(path_images, Path(out), labels=annotate, report=measured)
    common.show(result, *(path_metrics.describe(measured) if measured else ()), out)


def project(
    run: options.GANRunPath,
    /,
    *images: Annotated[str, Parameter(name="IMAGE")],
    out: options.FigurePath = "projection.pdf",
    seed: options.LatentSeed = None,
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Find the latents whose generated images are nearest to yours.

    Examples:
      reviver gan project runs/gan three.png eight.png --out projection.png

    Args:
        images: Image files; cropped to a square and resized.
    """
    from reviver.figures import check_figure_path, save_figure
    from reviver.gan import figures, output

    if not images:
        raise ConfigError("IMAGE is missing; see reviver gan project --help")
    check_figure_path(Path(out))
    loaded, seed = options.open_gan(run, common.device, seed)
    originals, found = output.project_files(loaded, [Path(one) for one in images], seed)
    errors = found.errors.tolist()
    save_figure(figures.projection_figure(originals, found.images, errors), Path(out))
    lines = [f"{name}: root-mean-square difference {error:.4f}" for name, error in zip(images, errors, strict=True)]
    result = {"out": out, "seed": seed, "images": images, "errors": errors, "latents": found.latents.tolist()}
    common.show(result, *lines, out)


def evaluate(
    run: options.GANRunPath,
    /,
    *,
    num_samples: Count = 10_000,
    extractor: options.FeatureExtractor = None,
    seed: options.LatentSeed = None,
    out: Text | None = None,
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Score a trained GAN: FID, KID, precision, recall, classes, nearest training images.

    Examples:
      reviver gan evaluate runs/gan
      reviver gan evaluate runs/gan --out nearest.png   with nearest training images
      reviver gan evaluate runs/gan --num-samples 2000 --seed 1 --json
      reviver gan evaluate runs/fashion --extractor fashion.safetensors

    Args:
        num_samples: Number of samples; compare only scores of the same number.
        out: Figure of 25 samples above their nearest training images by pixels and by features: .png, .pdf or .svg.
    """
    from reviver.figures import check_figure_path
    from reviver.gan import output, sampling
    from reviver.gan.evaluation import reference_stats, scores

    if out is not None:
        check_figure_path(Path(out))
    loaded, seed = options.open_gan(run, common.device, seed)
    generator = loaded.generator
    file, sha256 = _find_extractor(loaded, extractor)
    data_sha256 = loaded.folder.record.get("data", {}).get("sha256")
    found = reference_stats.choose_extractor(loaded.config.data, generator.image_shape, file, sha256)
    data = reference_stats.choose_data(found, loaded.config.data, generator.image_shape[1], data_sha256)
    known = reference_stats.load_reference(num_samples, found, *data)
    images, z = sampling.generate_samples(generator, num_samples, seed)
    result = scores.score_images(images, known, generator.class_labels(z))
    lines = [f"{run}, seed {seed}", *scores.describe(result)]
    if out is not None:
        sheet = scores.nearest_grid(images, result, known)
        output.save_image_grid(sheet, Path(out), min(scores.NUM_SHOWN, num_samples))
        lines.append(out)
    common.show({"run": run, "seed": seed, "out": out, **result.as_dict()}, *lines)


def train_extractor(
    *,
    data: Text,
    image_size: Count = 28,
    out: Text = "extractor.safetensors",
    epochs: Count = 10,
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Train a classifier of other labelled images, whose features score the GANs that learned them.

    Examples:
      reviver gan train-extractor --data fashion-mnist --out fashion.safetensors
      reviver gan evaluate runs/fashion --extractor fashion.safetensors

    Args:
        data: Labelled images: a data set's name, an IDX folder, an image folder with a folder per class, or an .npz.
        image_size: Height and width, as that of the GAN.
        out: File of the weights.
        epochs: Passes over the images.
    """
    from reviver.figures import check_writable
    from reviver.gan.data import image_set
    from reviver.gan.evaluation import train_classifier
    from reviver.gan.evaluation.digit_classifier import MIN_SIZE

    path = Path(out)
    if path.exists():
        raise ConfigError(f"out {out} exists already and is never overwritten; choose another --out", field="out")
    check_writable(path)
    check("image_size", image_size, Annotated[int, Field(ge=MIN_SIZE, le=MAX_IMAGE_SIZE)])
    train_images, test_images = image_set.load_images(data, image_size), image_set.load_test_images(data, image_size)
    log_epoch = partial(logging.getLogger("reviver").info, f"epoch %d/{epochs}  loss %.4f")
    classifier = train_classifier.train_classifier(train_images, epochs, log_epoch)
    fraction = train_classifier.accuracy(classifier, test_images)
    sha256 = train_classifier.save_classifier(classifier, path)
    text = f"{out}: recognises {fraction:.2%} of {len(test_images.images)} test images, sha256 {sha256}"
    common.show({"out": out, "test_accuracy": fraction, "sha256": sha256}, text)


def _find_extractor(run: "GANRun", given: str | None) -> tuple[str | None, str | None]:
    """Return the path of the extractor that is given; or else of the run's, with its SHA-256."""
    if given is not None or run.config.extractor is None:
        return given, None
    return run.config.extractor, str(run.folder.record.get("extractor_sha256", "unknown"))
