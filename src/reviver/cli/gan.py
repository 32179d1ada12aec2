"""`reviver gan`: train and use the GAN."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from pydantic import Field

from reviver.cli.options import (
    DEFAULTS,
    FLAG,
    CommonOptions,
    Extractor,
    GANRunPath,
    LatentSeed,
    describe_rollbacks,
    open_gan,
)
from reviver.cli.settings import print_settings
from reviver.config import RUN, Count, CountOrZero, Seed, Text
from reviver.errors import ConfigError
from reviver.gan.presets import MAX_SIZE, PRESETS, GANConfig
from reviver.validation import check

if TYPE_CHECKING:
    from reviver.loading import GANRun


def train(
    *,
    preset: Annotated[str, RUN, Parameter(choices=tuple(PRESETS))] = "report",
    config: Annotated[Text | None, RUN] = None,
    out: Annotated[Text | None, RUN] = None,
    resume: Annotated[bool, RUN, FLAG] = False,
    print_config: Annotated[bool, RUN, FLAG] = False,
    settings: Annotated[GANConfig, Parameter(name="*")] = PRESETS["report"],
    common: CommonOptions = DEFAULTS,
) -> None:
    """Train a GAN on MNIST or on your own images. The defaults are the report's.

    Options come before the file of --config, and that comes before the preset. --help with --preset shows its values.

    Examples:
      reviver gan train --preset best --out runs/gan     a few minutes on MNIST
      reviver gan train --score-every 1 --score-samples 10000
      reviver gan train --data photos/ --size 32 --epochs 50 --out runs/photos
      reviver gan train --out runs/photos --resume       go on after Ctrl-C

    Args:
        preset: Settings to start from.
        config: File of settings, .toml or .json.
        out: Run folder; by default a new one in runs/.
        resume: Go on with the interrupted run in --out.
        print_config: Print the settings as TOML instead of training.
    """
    from reviver.gan.training import train as train_gan
    from reviver.gan.watch import describe_point

    if print_config:
        print_settings(settings)
        return
    assert out is not None, "fill_settings has chosen one"
    folder = train_gan(settings, out, device=common.device, resume=resume, progress=not common.quiet)
    points, scores = folder.read_metrics(), folder.read_scores()
    seconds = folder.record["seconds"]
    lines = [f"{folder.path}: {settings.epochs} epochs in {seconds:.1f} s", *describe_rollbacks(folder)]
    if scores:
        lines.append(f"  {describe_point(scores[-1])}; scoring took {folder.record['scoring_seconds']:.1f} s besides")
    lines.append(f"  grids and training.gif are in {folder.samples}")
    last, score = points[-1] if points else None, scores[-1] if scores else None
    common.show({"run": str(folder.path), "seconds": seconds, "last": last, "scores": score}, "\n".join(lines))


def sample(
    run: GANRunPath,
    /,
    *,
    n: Count = 25,
    digit: CountOrZero | None = None,
    seed: LatentSeed = None,
    out: Text = "grid.png",
    common: CommonOptions = DEFAULTS,
) -> None:
    """Generate new images with a trained GAN.

    Examples:
      reviver gan sample runs/gan --n 25 --out grid.png
      reviver gan sample runs/conditional --digit 7
      reviver gan sample runs/gan --n 10000 --out samples.npz

    Args:
        n: Number of images.
        digit: Digit, or other class, to generate; of a run with --conditional.
        out: Grid as .png, .pdf or .svg, or .npz with images float32 [N, C, H, W] in [-1, 1] and latents [N, Z].
    """
    from reviver.gan.output import save_samples
    from reviver.gan.sampling import draw_samples

    loaded = open_gan(run, common.device)
    chosen = loaded.config.seed if seed is None else seed
    images, latents = draw_samples(loaded.generator, n, chosen, digit)
    save_samples(images, latents, Path(out))
    common.show({"out": out, "shape": list(images.shape), "seed": chosen}, out)


def interpolate(
    run: GANRunPath,
    /,
    *,
    first: Annotated[CountOrZero | None, Parameter(name="--from")] = None,
    last: Annotated[CountOrZero | None, Parameter(name="--to")] = None,
    from_image: Text | None = None,
    to_image: Text | None = None,
    steps: CountOrZero = 7,
    path: Literal["linear", "spherical"] = "linear",
    labels: Annotated[bool, FLAG] = False,
    measure: Annotated[bool, FLAG] = False,
    pairs: Annotated[int | None, Field(ge=0)] = None,
    extractor: Extractor = None,
    seed: LatentSeed = None,
    out: Text = "interpolation.pdf",
    common: CommonOptions = DEFAULTS,
) -> None:
    """Interpolate between two images through latent space.

    Examples:
      reviver gan interpolate runs/gan --from 3 --to 8 --labels
      reviver gan interpolate runs/gan --from-image a.png --to-image b.png
      reviver gan interpolate runs/gan --measure         compare both paths
      reviver gan interpolate runs/fashion --measure --extractor fashion.safetensors

    Args:
        first: Digit to start from; by default any.
        last: Digit to end at; by default any other.
        from_image: Image to start from, as the generator reproduces it.
        to_image: Image to end at.
        steps: Images between the two ends.
        path: Path through latent space.
        labels: Write under each image the digit it is classified as, with the confidence.
        measure: Compare the linear and the spherical path between the ends: plot the class probabilities under the
            images, and print where the class switches and how long the path is.
        pairs: Pairs of random latents between which --measure also compares both paths; by default 100.
        out: Figure: .pdf, .png or .svg.
    """
    from reviver.figures import check_figure_path
    from reviver.gan.output import draw_interpolation, save_interpolation
    from reviver.gan.paths import MAX_PAIRS, compare_paths, describe
    from reviver.gan.reference import choose_extractor

    check_figure_path(Path(out))
    if pairs is not None and not measure:
        raise ConfigError("pairs are measured only with --measure; add it, or leave out pairs", field="pairs")
    pairs = 100 if pairs is None else pairs
    check("pairs", pairs, Annotated[int, Field(ge=0, le=MAX_PAIRS)])
    loaded = open_gan(run, common.device)
    chosen = loaded.config.seed if seed is None else seed
    if (from_image is None) != (to_image is None):
        raise ConfigError("from_image needs to_image beside it, and the reverse; give both or none", field="from_image")
    images = None if from_image is None or to_image is None else (Path(from_image), Path(to_image))
    found, (file, noted) = None, _find_extractor(loaded, extractor)
    if measure or file:
        found = choose_extractor(loaded.config.data, loaded.generator.image_shape, file, noted)
    classifier = None if found is None else found.classifier
    walk = draw_interpolation(loaded, first, last, steps, path, chosen, images, classifier)
    result = {"out": out, "path": path, "seed": chosen, "digits": walk.digits, "confidences": walk.confidences}
    lines, measured = [], None
    if measure and found is not None:
        start, end = walk.latents[0], walk.latents[-1]
        measured = compare_paths(loaded.generator, found, start, end, pairs=pairs, seed=chosen)
        result["measured"] = measured.as_dict()
        lines += describe(measured)
    save_interpolation(walk, Path(out), labels=labels, report=measured)
    common.show(result, "\n".join([*lines, out]))


def project(
    run: GANRunPath,
    /,
    *images: Annotated[str, Parameter(name="IMAGE")],
    out: Text = "projection.pdf",
    seed: LatentSeed = None,
    common: CommonOptions = DEFAULTS,
) -> None:
    """Find the latents whose generated images are nearest to yours.

    Examples:
      reviver gan project runs/gan three.png eight.png --out projection.png

    Args:
        images: Image files; cropped to a square and resized.
        out: Figure: .pdf, .png or .svg.
    """
    from reviver.figures import check_figure_path, save_figure
    from reviver.gan.figures import projection_figure
    from reviver.gan.output import project_files

    if not images:
        raise ConfigError("IMAGE is missing; see reviver gan project --help")
    check_figure_path(Path(out))
    loaded = open_gan(run, common.device)
    chosen = loaded.config.seed if seed is None else seed
    originals, found = project_files(loaded, [Path(one) for one in images], chosen)
    errors = found.errors.tolist()
    save_figure(projection_figure(originals, found.images, errors), Path(out))
    lines = [f"{name}: root-mean-square difference {error:.4f}" for name, error in zip(images, errors, strict=True)]
    result = {"out": out, "seed": chosen, "images": images, "errors": errors, "latents": found.latents.tolist()}
    common.show(result, "\n".join([*lines, out]))


def score(
    run: GANRunPath,
    /,
    *,
    n: Count = 10_000,
    extractor: Extractor = None,
    seed: LatentSeed = None,
    out: Text | None = None,
    common: CommonOptions = DEFAULTS,
) -> None:
    """Score a trained GAN: FID, KID, precision, recall, classes, nearest training images.

    Examples:
      reviver gan score runs/gan
      reviver gan score runs/gan --out nearest.png   with nearest training images
      reviver gan score runs/gan --n 2000 --seed 1 --json
      reviver gan score runs/fashion --extractor fashion.safetensors

    Args:
        n: Number of samples; compare only scores of the same number.
        out: Figure of 25 samples above their nearest training images by pixels and by features: .png, .pdf or .svg.
    """
    from reviver.figures import check_figure_path
    from reviver.gan.output import save_images
    from reviver.gan.reference import choose_data, choose_extractor, load_reference
    from reviver.gan.sampling import draw_samples
    from reviver.gan.scores import NUM_SHOWN, describe, nearest_sheet, score_images

    if out is not None:
        check_figure_path(Path(out))
    loaded = open_gan(run, common.device)
    chosen = loaded.config.seed if seed is None else seed
    check("seed", chosen, Seed)
    file, noted = _find_extractor(loaded, extractor)
    learned = loaded.folder.record.get("data", {}).get("sha256")
    found = choose_extractor(loaded.config.data, loaded.generator.image_shape, file, noted)
    train_and_test = choose_data(found, loaded.config.data, loaded.generator.image_shape[1], learned)
    reference = load_reference(n, found, *train_and_test)
    images, z = draw_samples(loaded.generator, n, chosen)
    scores = score_images(images, reference, loaded.generator.ordered(z))
    lines = [f"{run}, seed {chosen}", *describe(scores)]
    if out is not None:
        sheet, columns = nearest_sheet(images, scores, reference), min(NUM_SHOWN, n)
        save_images(sheet, Path(out), columns)
        lines.append(out)
    common.show({"run": run, "seed": chosen, "out": out, **scores.as_dict()}, "\n".join(lines))


def extractor(
    *,
    data: Text,
    size: Count = 28,
    out: Text = "extractor.safetensors",
    epochs: Count = 10,
    common: CommonOptions = DEFAULTS,
) -> None:
    """Train a classifier of other labelled images, whose features score the GANs that learned them.

    Examples:
      reviver gan extractor --data fashion-mnist --out fashion.safetensors
      reviver gan score runs/fashion --extractor fashion.safetensors

    Args:
        data: Labelled images: a data set's name, an IDX folder, an image folder with a folder per class, or an .npz.
        size: Height and width, as that of the GAN.
        out: File of the weights.
        epochs: Passes over the images.
    """
    from reviver.figures import check_writable
    from reviver.gan.classifier import MIN_SIZE
    from reviver.gan.images import load_images, load_test_images
    from reviver.gan.train_classifier import accuracy, save_classifier, train_classifier

    path = Path(out)
    if path.exists():
        raise ConfigError(f"out {out} exists already and is never overwritten; choose another --out", field="out")
    check_writable(path)
    check("size", size, Annotated[int, Field(ge=MIN_SIZE, le=MAX_SIZE)])
    train_images, test_images = load_images(data, size), load_test_images(data, size)

    def log_epoch(epoch: int, loss: float) -> None:
        logging.getLogger("reviver").info("epoch %d/%d  loss %.4f", epoch, epochs, loss)

    classifier = train_classifier(train_images, epochs, None if common.quiet else log_epoch)
    fraction, sha256 = accuracy(classifier, test_images), save_classifier(classifier, path)
    text = f"{out}: recognises {fraction:.2%} of {len(test_images.images)} test images, sha256 {sha256}"
    common.show({"out": out, "test_accuracy": fraction, "sha256": sha256}, text)


def _find_extractor(run: "GANRun", given: str | None) -> tuple[str | None, str | None]:
    """The path of the extractor that is given, or else of the run's, which must have the checksum that comes with it."""
    if given is not None or run.config.extractor is None:
        return given, None
    return run.config.extractor, str(run.folder.record.get("extractor_sha256", "unknown"))
