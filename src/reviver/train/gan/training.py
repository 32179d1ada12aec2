"""The training loop of the GAN: step, sometimes evaluate, sometimes save.

The step itself is in `step.py`.

Shapes: N batch, Z latent size, C channels, H height, W width, K classes.
"""

import copy
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch.optim import Adam

from reviver.data.images.image_set import ImageSet, from_pixels, load_images
from reviver.errors import DataError
from reviver.gan.centering import CenteredDiscriminator, center_inputs, image_moments
from reviver.gan.custom_networks import CustomDiscriminator, build_custom
from reviver.gan.ema import recompute_batch_norm, update_ema
from reviver.gan.losses import Losses, choose_losses
from reviver.gan.networks import Discriminator, Generator, one_hot
from reviver.gan.penalties import Penalties
from reviver.gan.scores.feature_extractor import FeatureExtractor
from reviver.gan.scores.monitor import create_monitor, progress_line
from reviver.gan.step import GANStepResult, StepOptions, gan_step
from reviver.rng import make_rng
from reviver.runs.checkpoint import TrainingState
from reviver.runs.distributed.parallel_step import parallelize_batch_norm, step_options
from reviver.runs.distributed.world import ALONE, World
from reviver.runs.folder import RunFolder
from reviver.runs.records import MAX_CLASSES
from reviver.runs.session import Session, Start, open_run, trainer, training_session
from reviver.settings.gan import GANConfig, count_batches
from reviver.settings.parts import BUILT_IN, Parts
from reviver.settings.validation import refuse
from reviver.train.gan.snapshots import SampleWriter

GRID_SIZE = 25


class Models(NamedTuple):
    """The networks of a run and their optimizers."""

    generator: Generator
    discriminator: Discriminator
    opt_generator: Adam
    opt_discriminator: Adam
    eval_generator: Generator
    """The network that samples come from: the EMA of the generator, or the generator itself."""


def build_networks(
    config: GANConfig, image_shape: tuple[int, int, int], num_classes: int = 0, parts: Parts = BUILT_IN
) -> tuple[Generator, Discriminator]:
    """Return both networks with their initial weights: torch's default initialization, seeded with the run's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(make_rng(config.seed, "weights").get_state())
        if config.networks is not None:
            custom = parts.require("networks", config.networks)
            return build_custom(custom, config.latent_size, image_shape, num_classes)
        kind = Discriminator if config.input_centering == "none" else CenteredDiscriminator
        return (
            Generator(config.latent_size, image_shape, batch_norm_eps=config.batch_norm_eps, num_classes=num_classes),
            kind(image_shape, dropout=config.discriminator_dropout, num_classes=num_classes),
        )


def build_optimizers(config: GANConfig, generator: Generator, discriminator: Discriminator) -> tuple[Adam, Adam]:
    """Return the Adam optimizers (Kingma & Ba 2015) of a run; `train_epoch` sets their learning rate at every update."""
    optimizers = Adam(generator.parameters(), fused=True), Adam(discriminator.parameters(), fused=True)
    for optimizer in optimizers:  # Adam's update is right for β₁ < 0, which its constructor refuses
        optimizer.param_groups[0]["betas"] = (config.beta1, 0.999)
    return optimizers


@trainer
def train(config: GANConfig, start: Start) -> RunFolder:
    """Train both networks; for the arguments of callers see `reviver.runs.session.trainer`."""
    parts, world, device = start.parts, start.world, start.device
    check_world(config, world)
    losses = choose_losses(config.loss, config.label_smoothing, parts)
    data = load_images(config.data, config.image_size)
    num_classes = count_classes(data) if config.conditional else 0
    monitor = create_monitor(config, data)
    extractor = None
    if config.extractor is not None:  # recorded even if unused in training: later scores must use the same one
        extractor = FeatureExtractor.read(Path(config.extractor)) if monitor is None else monitor.extractor
    models = build_models(config, data.image_shape, num_classes, device, world, parts)
    centering = None
    if config.input_centering == "auto":
        assert isinstance(models.discriminator, CenteredDiscriminator | CustomDiscriminator)
        centering = center_inputs(models.discriminator, image_moments(data))
    state = build_state(config, models, count_batches(len(data), config.batch_size))
    if parts.networks is not None or parts.loss is not None:
        state.rngs |= start.default_rngs
    folder = open_run(start.out, "gan", config, resume=start.resume, world=world)
    folder.record_parts(parts)
    record = {"name": data.name, "num_images": len(data), "image_shape": list(data.image_shape), "sha256": data.sha256}
    folder.record_data("data", record | ({"num_classes": num_classes} if num_classes else {}), "data", "images")
    if centering is not None and "centering" not in folder.record:  # its last bits depend on the number of threads
        folder.save_record(centering=centering)
    if extractor is not None:
        folder.record_data("extractor_sha256", extractor.sha256, "extractor", "file")
    grid_classes = torch.arange(GRID_SIZE) % num_classes if num_classes else None
    grid_z = models.generator.sample_latents(GRID_SIZE, make_rng(config.seed, "grid"), grid_classes).to(device)
    samples = SampleWriter(folder, config, data, (models.eval_generator, models.discriminator), grid_z)
    files = ("metrics",) if monitor is None else ("metrics", "scores")
    with training_session(
        folder,
        state,
        total=config.epochs,
        description=f"GAN {data.name}",
        progress=start.progress,
        files=files,
        native="none",
    ) as session:
        session.progress.status = progress_line(folder.read_scores())
        while state.epoch < config.epochs:
            world.call_on_main(partial(samples.remove_later, state.step))
            with session.rolling_back():
                if state.step == 0:
                    world.call_on_main(partial(samples.write, session, epoch=0.0))
                train_epoch(session, models, samples, data, config, losses)
                if monitor is not None and monitor.is_due(state.epoch):
                    world.call_on_main(partial(monitor.score, session, models.eval_generator))
                if state.epoch % config.checkpoint_every == 0 or state.epoch == config.epochs:
                    session.save()
        world.call_on_main(samples.animate)
    return folder


def check_world(config: GANConfig, world: World) -> None:
    """Check that each process has images to compute in a whole batch, by networks whose BatchNorm we know."""
    if config.networks is not None and world.size > 1:
        problem = "layers of your own may mix the images of a batch, of which each process has only some; start one"
        refuse("networks", f"must be none with {world.size} processes, got {config.networks}: {problem}")
    world.check_batch_size(config.batch_size)


def build_models(
    config: GANConfig,
    image_shape: tuple[int, int, int],
    num_classes: int,
    device: torch.device,
    world: World = ALONE,
    parts: Parts = BUILT_IN,
) -> Models:
    """Return the networks and optimizers of a run on `device`, before the first update."""
    generator, discriminator = build_networks(config, image_shape, num_classes, parts)
    generator, discriminator = generator.to(device), discriminator.to(device)
    if world.size > 1:
        parallelize_batch_norm(generator)
    opt_generator, opt_discriminator = build_optimizers(config, generator, discriminator)
    eval_generator = copy.deepcopy(generator) if config.ema > 0 else generator
    return Models(generator, discriminator, opt_generator, opt_discriminator, eval_generator)


def build_state(config: GANConfig, models: Models, batches_per_epoch: int) -> TrainingState:
    """Return what a checkpoint saves of a run; the names are those in the files."""
    device = next(models.generator.parameters()).device
    networks = {"generator": models.generator, "discriminator": models.discriminator}
    if models.eval_generator is not models.generator:
        networks["average"] = models.eval_generator
    log_every = min(config.log_every, batches_per_epoch)
    return TrainingState(
        networks=networks,
        optimizers={"generator": models.opt_generator, "discriminator": models.opt_discriminator},
        rngs={"noise": make_rng(config.seed, "noise", device)},
        tensors={"history": torch.zeros(log_every, len(GANStepResult._fields), device=device)},
    )


def train_epoch(
    session: Session, models: Models, samples: SampleWriter, data: ImageSet, config: GANConfig, losses: Losses
) -> None:
    """Train on all images once, or on the rest of the epoch after a resume; the session saves, logs and stops."""
    state, world = session.state, session.world
    generator, _, opt_generator, opt_discriminator, eval_generator = models
    history, rng = state.tensors["history"], state.rngs["noise"]
    num_classes = generator.num_classes
    labels = data.labels.to(history.device) if num_classes and data.labels is not None else None
    order = torch.randperm(len(data), generator=make_rng(config.seed, f"order/{state.epoch}"))
    batches = order.to(history.device).split(config.batch_size)
    batches = batches[: count_batches(len(data), config.batch_size)]
    remaining = batches[state.batch :]
    local_rows = [world.rows(len(batch)) for batch in remaining]
    local = [rows.take(batch) for rows, batch in zip(local_rows, remaining, strict=True)]
    for rows, indices, pixels in zip(local_rows, local, data.read(local, history.device), strict=True):
        rate = config.learning_rate_at((state.epoch + state.batch / len(batches)) / config.epochs)
        for optimizer in (opt_generator, opt_discriminator):
            optimizer.param_groups[0]["lr"] = rate * session.lr_scale
        z = rows.take(generator.sample_latents(rows.total, rng))
        options = build_options(config, losses, state.step)
        classes = None
        if labels is not None:
            classes = torch.cat([one_hot(labels[indices], num_classes), z[:, -num_classes:]])
        shared = step_options(session, rows, rng)
        result = gan_step(*models[:4], from_pixels(pixels), z, options=options, labels=classes, **shared)
        history[state.step % len(history)] = torch.stack(result)
        state.batch += 1
        state.step += 1
        epoch = state.epoch + state.batch / len(batches)
        if options.update_generator and config.ema > 0:
            updates = state.step // config.discriminator_steps
            update_ema(eval_generator, generator, updates, decay=config.ema, rampup=config.ema_rampup)
        if config.batch_norm_samples and (state.epoch + 1, state.batch) == (config.epochs, len(batches)):
            recompute_batch_norm(eval_generator, config.batch_norm_samples, config.seed)
        if samples.is_due(state.step) or state.step % len(history) == 0:
            check_losses(session)
        if samples.is_due(state.step):
            world.call_on_main(partial(samples.write, session, epoch))
        if state.step % len(history) == 0:
            session.log(epoch=epoch, **dict(zip(GANStepResult._fields, history.mean(0).tolist(), strict=True)))
        if session.progress.due or state.batch == len(batches):
            text = f"loss of G {result.generator_loss:.2f}, of D {result.discriminator_loss:.2f}"
            session.progress.update(epoch, text)
        if session.stop_requested:
            check_losses(session)
            session.stop()
    check_losses(session)
    state.epoch += 1
    state.batch = 0


def build_options(config: GANConfig, losses: Losses, step: int = 0) -> StepOptions:
    """Return the options of the step after `step` steps of a run.

    The generator is updated in every step number k, 2k, 3k ..., with k = `discriminator_steps`. Penalties are added in the
    first step and then every `penalty_interval` steps.
    """
    has_penalty = config.r1 > 0 or config.gradient_penalty > 0
    penalties = Penalties(config.r1, config.gradient_penalty, config.penalty_interval)
    return StepOptions(
        loss=losses,
        penalty=penalties if has_penalty and step % config.penalty_interval == 0 else None,
        update_generator=(step + 1) % config.discriminator_steps == 0,
        shift_probability=config.shift_probability,
        precision=config.precision,
    )


def check_losses(session: Session) -> None:
    """Check the losses since the last record of the metrics; one that is not finite is a `DivergenceError`."""
    history = session.state.tensors["history"]
    rows = (session.state.step - 1) % len(history) + 1
    session.check_finite(history[:rows], session.state.step - rows + 1, GANStepResult._fields)


def count_classes(data: ImageSet) -> int:
    """Return the number of classes K of images with labels from 0 to K - 1, K from 2 to MAX_CLASSES."""
    lowest, highest = (-1, 0) if data.labels is None else map(int, data.labels.aminmax())
    if lowest < 0 or not 1 <= highest < MAX_CLASSES:
        found = "without labels" if data.labels is None else f"with labels from {lowest} to {highest}"
        raise DataError(
            f"data must have labels from 0 to K - 1 with K from 2 to {MAX_CLASSES} for a conditional GAN, got {data.name} "
            f"{found}; give images with such labels, or leave out --conditional"
        )
    return highest + 1
