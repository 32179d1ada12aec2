"""`reviver gan`: train and use the GAN."""

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from pydantic import Field

from reviver.cli import options
from reviver.cli.help import list_times
from reviver.cli.options import RUN
from reviver.errors import DataError
from reviver.settings.fields import Count, CountOrZero, Text
from reviver.settings.gan import MAX_IMAGE_SIZE, GANConfig
from reviver.settings.presets import GAN_PRESETS
from reviver.settings.validation import check, refuse
from reviver.text import count, percent

if TYPE_CHECKING:
    from reviver.run import GANRun

DEFAULT_SAMPLES = 10_000
"""Samples that are evaluated, if there are as many training images."""
DEFAULT_STEPS = 7
"""Images between the two ends of an interpolation."""
MAX_GRID_IMAGES = 2500
"""Maximum number of images in a grid of samples."""


def train(
    *,
    preset: Annotated[str, RUN, Parameter(choices=tuple(GAN_PRESETS), help=list_times("gan"))] = "best",
    run: options.RunOptions = options.NEW_RUN,
    settings: Annotated[GANConfig, options.FLATTENED] = GAN_PRESETS["best"],
    common: options.CommonOptions = options.DEFAULTS,
) -> dict[str, Any]:
    """Train a GAN on MNIST or on your own images. The defaults are those of the preset best.

    Options override the file of --config, which overrides the preset. --help with --preset shows the values of a preset.

    Examples:
      reviver gan train --out runs/gan                   minutes on two cores
      reviver gan train --epochs 5 --eval-every 1 --eval-samples 10000
      reviver gan train --data photos/ --image-size 32 --epochs 50 --out runs/photos
      reviver gan train --out runs/photos --resume       continue after Ctrl-C
      reviver gan train --preset original                as the original, 50 minutes
    """
    if run.print_config:
        run.show_settings(settings)
        return {}

    from reviver.gan.scores import monitor
    from reviver.progress import announcing
    from reviver.train.diagnosis import diagnose
    from reviver.train.gan import training

    with announcing(options.expect_time("gan", settings)):
        folder = training.train(settings, **run.arguments(common))
    if not folder.world.is_main:
        return {}
    seconds = folder.record["seconds"]
    metrics, scores = ([*records, None] for records in (folder.read_metrics()[-1:], folder.read_scores()[-1:]))
    lines = [f"{folder.path}: {count(settings.epochs, 'epochs')} in {seconds:.1f} s"]
    lines += options.describe_rollbacks(folder)
    if scores[0]:
        lines.append(f"  {monitor.describe_record(scores[0])}")
        lines.append(f"  evaluation took another {folder.record['eval_seconds']:.1f} s")
    problems = [str(finding) for finding in diagnose(folder)]
    lines += [f"  {problem}" for problem in problems]
    result = {
        "run": str(folder.path),
        "seconds": seconds,
        "last": metrics[0],
        "scores": scores[0],
        "problems": problems,
    }
    result = common.show(result, *lines, f"  grids and training.gif are in {folder.samples}")
    path = shlex.quote(str(folder.path))
    uses = [f"gan sample {path}", f"gan interpolate {path}", *([f"gan evaluate {path}"] if scores[0] else [])]
    last, again = f"explore {path}", ""
    if settings.networks is not None:
        last, again = f"plot {path}", f" --networks {shlex.quote(settings.networks)}"
    common.suggest(*(f"reviver {use}{again}" for use in (*uses, last)))
    return result


def sample(
    run: options.GANRunPath,
    /,
    *,
    num_samples: Count = 25,
    class_: Annotated[Text | None, Parameter(name="--class")] = None,
    seed: options.LatentSeed = None,
    out: Text = "grid.png",
    networks: options.OwnNetworks = None,
    common: options.FigureOptions = options.FIGURE_DEFAULTS,
) -> None:
    """Generate new images with a trained GAN.

    Examples:
      reviver gan sample runs/gan --num-samples 25 --out grid.png
      reviver gan sample runs/conditional --class 7
      reviver gan sample runs/gan --num-samples 10000 --out samples.npz

    Args:
        num_samples: Number of images.
        class_: Class to generate, such as a digit or a folder of the images; for a run with --conditional.
        out: Grid as .png, .pdf or .svg, or .npz with images float32 [N, C, H, W] in [-1, 1] and latents [N, Z].
    """
    import numpy as np

    from reviver.files.atomic import atomic_write
    from reviver.gan import sampling
    from reviver.train.gan import grids

    loaded, seed = options.open_gan(run, common.device, seed, networks)
    images, latents = sampling.generate_samples(loaded.generator, num_samples, seed, _class_index(loaded, class_))
    path, suffix = Path(out), Path(out).suffix.lower()
    check("out", suffix, Literal[".png", ".pdf", ".svg", ".npz"])
    if suffix == ".npz":
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, images=images.numpy(), latents=latents.numpy())
    elif num_samples > MAX_GRID_IMAGES:
        problem = f"must be at most {MAX_GRID_IMAGES} for a grid, got {num_samples}; or give an .npz as --out"
        refuse("num_samples", problem)
    else:
        grids.save_grid(images, path)
    common.show({"out": out, "shape": list(images.shape), "seed": seed}, out)


def interpolate(
    run: options.GANRunPath,
    /,
    *,
    first: Annotated[CountOrZero | None, Parameter(name="--from")] = None,
    last: Annotated[CountOrZero | None, Parameter(name="--to")] = None,
    from_image: Text | None = None,
    to_image: Text | None = None,
    steps: CountOrZero | None = None,
    path: Literal["linear", "spherical"] | None = None,
    seed: options.LatentSeed = None,
    view: Text | None = None,
    annotate: Annotated[bool, options.FLAG] = False,
    extractor: options.ExtractorFile = None,
    out: options.FigurePath = "interpolation.pdf",
    networks: options.OwnNetworks = None,
    common: options.FigureOptions = options.FIGURE_DEFAULTS,
) -> None:
    """Interpolate between two images through latent space.

    Examples:
      reviver gan interpolate runs/gan --from 3 --to 8 --annotate
      reviver gan interpolate runs/gan --from-image a.png --to-image b.png
      reviver gan interpolate runs/fashion --extractor fashion.safetensors
      reviver gan interpolate runs/gan --view CODE       copied from the explorer

    Args:
        first: Class of the first image, such as a digit; by default any.
        last: Class of the last image; by default any other.
        from_image: Image to start from, as the generator reproduces it.
        to_image: Image to end at.
        steps: Images between the two ends; by default 7.
        path: Path through latent space; by default linear.
        view: Code of an interpolation, copied from the explorer: its ends, steps and path.
        annotate: Write below each image its predicted class and the confidence.
    """
    from reviver.figures import check_figure_path, save_figure
    from reviver.gan import interpolation, inversion
    from reviver.gan.scores import reference_stats
    from reviver.gan.scores.feature_extractor import DigitClassifier
    from reviver.show import gan_figures as figures

    check_figure_path(Path(out))
    options.check_not_read(out, *filter(None, (from_image, to_image)))
    classes = {"from": first, "to": last}
    if view is not None:
        others = {"from_image": from_image, "to_image": to_image, "steps": steps, "path": path, "seed": seed}
        options.leave_out("view sets the ends, steps and path", **classes, **others)
    if (from_image is None) != (to_image is None):
        refuse("from_image", "must be given with to_image, and the reverse; give both or neither")
    loaded, seed = options.open_gan(run, common.device, seed, networks)
    generator = loaded.generator
    classifier = None
    file, sha256 = _find_extractor(loaded, extractor)
    if file:
        classifier = reference_stats.load_extractor(loaded.config.data, generator.image_shape, file, sha256).classifier
    elif loaded.is_digits:
        classifier = DigitClassifier.pinned()
    between, kind = DEFAULT_STEPS if steps is None else steps, str(path or "linear")
    if view is not None:
        *ends, kind, between = interpolation.parse_view(view, generator.latent_size)
    elif from_image and to_image:
        options.leave_out("the ends are images", **classes)
        ends = [*inversion.project_files(generator, [Path(from_image), Path(to_image)], seed)[1].latents]
    elif classifier is None:
        options.leave_out("this run did not learn MNIST at 28 x 28; or give an --extractor", **classes)
        ends = [*interpolation.choose_distant_endpoints(generator, seed)]
    else:
        ends = [*interpolation.choose_class_endpoints(generator, classifier, seed, first, last)]
    images = interpolation.generate_interpolation(generator, classifier, ends, between, kind)
    result = {"out": out, "path": images.path, "seed": seed}
    result |= {"classes": images.classes, "confidences": images.confidences}
    save_figure(figures.interpolation_figure(images, annotate=annotate), Path(out))
    common.show(result, out)


def project(
    run: options.GANRunPath,
    /,
    *images: Annotated[str, Parameter(name="IMAGE", required=True)],
    out: options.FigurePath = "projection.pdf",
    seed: options.LatentSeed = None,
    networks: options.OwnNetworks = None,
    common: options.FigureOptions = options.FIGURE_DEFAULTS,
) -> None:
    """Find the latents whose generated images are nearest to yours.

    Examples:
      reviver gan project runs/gan three.png eight.png --out projection.png

    Args:
        images: Image files; cropped to a square and resized.
    """
    from reviver.figures import check_figure_path, save_figure
    from reviver.gan import inversion
    from reviver.show import gan_figures as figures

    check_figure_path(Path(out))
    options.check_not_read(out, *images)
    loaded, seed = options.open_gan(run, common.device, seed, networks)
    targets, projection = inversion.project_files(loaded.generator, [Path(name) for name in images], seed)
    errors = projection.errors.tolist()
    save_figure(figures.projection_figure(targets, projection.images, errors), Path(out))
    lines = [f"{name}: root-mean-square difference {error:.4f}" for name, error in zip(images, errors, strict=True)]
    result = {"out": out, "seed": seed, "images": images, "errors": errors, "latents": projection.latents.tolist()}
    common.show(result, *lines, out)


def evaluate(
    run: options.GANRunPath,
    /,
    *,
    num_samples: Count | None = None,
    extractor: options.ExtractorFile = None,
    seed: options.LatentSeed = None,
    out: Text | None = None,
    networks: options.OwnNetworks = None,
    common: options.FigureOptions = options.FIGURE_DEFAULTS,
) -> dict[str, Any]:
    """Evaluate a trained GAN: FID, KID, precision, recall, classes, nearest training images.

    Examples:
      reviver gan evaluate runs/gan
      reviver gan evaluate runs/gan --out nearest.png   with nearest training images
      reviver gan evaluate runs/gan --num-samples 2000 --seed 1 --json
      reviver gan evaluate runs/fashion --extractor fashion.safetensors

    Args:
        num_samples: Number of samples; compare only scores of the same number. By default 10,000, or as many as there are
            training images.
        out: Grid of 25 samples above their nearest training images by pixels and by features: .png, .pdf or .svg.
    """
    from reviver.data.images import image_set
    from reviver.figures import check_figure_path
    from reviver.gan import sampling
    from reviver.gan.scores import reference_stats, scores
    from reviver.train.gan import grids

    if out is not None:
        check_figure_path(Path(out))
    loaded, seed = options.open_gan(run, common.device, seed, networks)
    generator = loaded.generator
    config, image_shape = loaded.config, generator.image_shape
    file, sha256 = _find_extractor(loaded, extractor)
    feature_extractor = reference_stats.load_extractor(config.data, image_shape, file, sha256)
    train = image_set.load_images(config.data, image_shape[1])
    if loaded.folder.record.get("data", {}).get("sha256", train.sha256) != train.sha256:
        raise DataError(f"data: {config.data} has changed since this run was trained on it; restore the old images")
    test = image_set.load_images(config.data, image_shape[1], "test")
    num_samples = num_samples or min(DEFAULT_SAMPLES, len(train.images))
    reference = reference_stats.load_reference(num_samples, feature_extractor, train, test)
    images, z = sampling.generate_samples(generator, num_samples, seed)
    result = scores.score_images(images, reference, generator.class_labels(z))
    lines = [f"{run}, seed {seed}", *scores.score_table(result)]
    if out is not None:
        columns = min(scores.NUM_SHOWN, num_samples)
        grids.save_grid(scores.nearest_grid(images, result, reference), Path(out), columns)
        lines.append(out)
    return common.show({"run": run, "seed": seed, "out": out, **dataclasses.asdict(result)}, *lines)


def train_extractor(
    *,
    data: Text,
    image_size: Count = 28,
    out: Text = "extractor.safetensors",
    epochs: Count = 10,
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Train a feature extractor on labeled images, to evaluate the GANs that learned them.

    Examples:
      reviver gan train-extractor --data fashion-mnist --out fashion.safetensors
      reviver gan evaluate runs/fashion --extractor fashion.safetensors

    Args:
        data: Labeled images: a data set's name, an IDX folder, an image folder with a folder per class, or an .npz.
        image_size: Height and width, as that of the GAN.
        out: File of the weights.
        epochs: Passes over the images.
    """
    from reviver.data.images import image_set
    from reviver.files.file_errors import check_writable
    from reviver.gan.scores import train_classifier
    from reviver.gan.scores.feature_extractor import MIN_SIZE
    from reviver.progress import ProgressBar

    path = Path(out)
    if path.exists():
        refuse("out", f"{out} exists already and is never overwritten; choose another --out")
    check_writable(path)
    common.require_cpu()
    check("image_size", image_size, Annotated[int, Field(ge=MIN_SIZE, le=MAX_IMAGE_SIZE)])
    train_images, test_images = image_set.load_images(data, image_size), image_set.load_images(data, image_size, "test")
    for kind, images in (("training", train_images), ("test", test_images)):
        if images.labels is None:
            raise DataError(f"data: the {kind} images of {images.name} have no labels; {image_set.LABELED_SOURCES}")
    with ProgressBar("extractor", epochs, "epochs", visible=not common.quiet) as bar:
        classifier = train_classifier.train_classifier(
            train_images, epochs, lambda epoch, loss: bar.update(epoch, f"loss {loss:.4f}")
        )
    fraction = train_classifier.accuracy(classifier, test_images)
    sha256 = train_classifier.save_classifier(classifier, path)
    text = f"{out}: classifies {percent(fraction)}% of {len(test_images.images)} test images correctly, sha256 {sha256}"
    common.show({"out": out, "test_accuracy": fraction, "sha256": sha256}, text)
    files = f"--data {shlex.quote(data)} --extractor {shlex.quote(out)}"
    common.suggest(f"reviver gan train --image-size {image_size} {files}")


def _class_index(run: "GANRun", name: str | None) -> int | None:
    """Return the index of a class by its name, such as that of a folder of the training images, or its number."""
    from reviver.explorer.gan_images import class_names

    names = class_names(run.config.data, run.generator.num_classes)
    if name is None or name in names:
        return None if name is None else names.index(name)
    if not names:
        refuse("class", f"must be left out, since this run has no classes, got {name}; train one with --conditional")
    if not name.isdigit() or int(name) >= len(names):
        refuse("class", f"must be {', '.join(names)}, got {name!r}")
    return int(name)


def _find_extractor(run: "GANRun", given: str | None) -> tuple[str | None, str | None]:
    """Return the path of the given extractor, else that of the run's with its SHA-256; None for the digit classifier."""
    if given is not None or run.config.extractor is None:
        return given, None
    return run.config.extractor, str(run.folder.record.get("extractor_sha256", "unknown"))
