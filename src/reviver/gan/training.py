"""Training of the GAN: Adam for both networks, one update of each for every batch.

Shapes: N batch, Z latent size, C channels, H height, W width.
"""

import copy
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Adam

from reviver.config import schedule_factor
from reviver.errors import DataError
from reviver.gan.config import GANConfig
from reviver.gan.data.image_set import ImageSet, from_pixels, load_images
from reviver.gan.evaluation.feature_extractor import FeatureExtractor
from reviver.gan.evaluation.monitor import create_monitor, summarize
from reviver.gan.grids import grid_path, remove_later_grids, save_animation, save_grid, tile
from reviver.gan.judgement import judge
from reviver.gan.losses import LOSSES, grad_norm_sq, slope_penalty, smoothed_discriminator
from reviver.gan.networks import Discriminator, Generator, one_hot
from reviver.gan.onednn import fast_matmul
from reviver.gan.optim import MasterWeightAdam, NegativeMomentumAdam, Network
from reviver.gan.sampling import generate
from reviver.runs.checkpoint import TrainingState
from reviver.runs.devices import choose_device
from reviver.runs.folder import RunFolder, refuse_existing
from reviver.runs.rng import make_rng
from reviver.runs.schema import MAX_CLASSES
from reviver.runs.session import Session, open_run, permutation, training_session

GRID_SIZE = 25
AVERAGE_EVERY = 4
"""Updates of the generator between two of its moving average, which then moves as far as in so many single ones."""
REPORT = GANConfig()


class StepResult(NamedTuple):
    """What one update measured, before it changed the weights; scalars."""

    generator_loss: Tensor
    discriminator_loss: Tensor
    probability_real: Tensor
    """Mean D(x) of the real images."""
    probability_fake: Tensor
    """Mean D(G(z)) of the generated images."""


def build_networks(
    config: GANConfig, image_shape: tuple[int, int, int], num_classes: int = 0
) -> tuple[Generator, Discriminator]:
    """Return both networks of a run with the weights that they start from (torch's defaults, from the run's seed)."""
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(make_rng(config.seed, "weights").get_state())
        return (
            Generator(config.latent_size, image_shape, batch_norm_eps=config.batch_norm_eps, num_classes=num_classes),
            Discriminator(
                image_shape,
                dropout=config.discriminator_dropout,
                spectral_norm=config.spectral_norm,
                packing=config.packing,
                num_classes=num_classes,
            ),
        )


def build_optimizers(config: GANConfig, generator: Generator, discriminator: Discriminator) -> tuple[Adam, Adam]:
    """Return an Adam (Kingma & Ba 2015) for each network.

    In bf16 it keeps the rounded copy that the network computes with, but for weights that are normalised first.
    """
    is_bf16, betas = config.precision == "bf16", (config.beta1, config.beta2)
    g_rate, d_rate = learning_rates(config, 0.0)
    g_kind, d_kind = (
        MasterWeightAdam if rounds else NegativeMomentumAdam
        for rounds in (is_bf16, is_bf16 and not config.spectral_norm)
    )
    return g_kind(generator, lr=g_rate, betas=betas), d_kind(discriminator, lr=d_rate, betas=betas)


def learning_rates(config: GANConfig, progress: float) -> tuple[float, float]:
    """Return the learning rates of generator and discriminator after the part `progress` of the epochs."""
    end = config.final_lr_ratio
    factor = end + (1 - end) * schedule_factor(config.lr_schedule, progress)
    return factor * config.learning_rate, factor * (config.discriminator_learning_rate or config.learning_rate)


@fast_matmul()
def train_step(
    generator: Generator,
    discriminator: Discriminator,
    generator_optimizer: torch.optim.Optimizer,
    discriminator_optimizer: torch.optim.Optimizer,
    real: Tensor,
    z: Tensor,
    labels: Tensor | None = None,
    *,
    config: GANConfig = REPORT,
    updates_generator: bool = True,
    has_penalty: bool = False,
    noise: torch.Generator | None = None,
) -> StepResult:
    """Make one update of each network, or of the discriminator alone, from real images and latent vectors.

    The images `real` are [N, C, H, W] in [-1, 1], the latent vectors z [N, Z]. Conditional networks are given the
    `labels` [N, K] of the real images; those of the others are part of z.

    `config` says what is minimised, by default the report's losses; with `has_penalty` its penalties are added, and
    `noise` is the source of what they and dropout draw.

    Both gradients are taken at the weights before the update, from one forward pass. An alternating loop that updates the
    generator first and shows the discriminator the images from before that update, as is usual, computes the same.
    """
    dtype = torch.bfloat16 if config.precision == "bf16" else real.dtype
    acting_generator = acting(generator, generator_optimizer)
    acting_discriminator = acting(discriminator, discriminator_optimizer)
    with torch.set_grad_enabled(updates_generator):
        fake = acting_generator(z.to(dtype))  # [N, C, H, W]
    images = real, fake.detach()
    judgement = judge(acting_discriminator, *images, labels, generator.class_labels(z), dtype=dtype, generator=noise)
    real_logits, fake_logits = judgement.real_logits, judgement.fake_logits
    losses = LOSSES[config.loss]
    g_loss = losses.generator(real_logits, fake_logits)
    smoothed = partial(smoothed_discriminator, smoothing=config.label_smoothing)
    d_loss = (smoothed if config.label_smoothing > 0 else losses.discriminator)(real_logits, fake_logits)
    if updates_generator:
        (seeds,) = torch.autograd.grad(g_loss, fake_logits)
        parameters = list(acting_generator.parameters())
        set_gradients(parameters, torch.autograd.grad(fake, parameters, judgement.fake_gradient(seeds)))
    seeds = torch.cat(torch.autograd.grad(d_loss, (real_logits, fake_logits)))
    gradients = judgement.parameter_gradients(seeds)
    if has_penalty and config.has_penalty:
        judge_real = partial(discriminator.logits, labels=labels, generator=noise)
        judge_fake = partial(discriminator.logits, labels=generator.class_labels(z), generator=noise)
        with torch.autocast(real.device.type, torch.bfloat16, enabled=dtype != real.dtype):
            penalty = gradient_penalties(judge_real, judge_fake, real, fake.detach().to(real.dtype), config, noise)
        slopes = torch.autograd.grad(penalty, list(discriminator.parameters()), materialize_grads=True)
        gradients = tuple(gradient.add_(slope) for gradient, slope in zip(gradients, slopes, strict=True))
    set_gradients(acting_discriminator.parameters(), gradients)
    if updates_generator:
        generator_optimizer.step()
    discriminator_optimizer.step()
    with torch.no_grad():
        return StepResult(g_loss.detach(), d_loss.detach(), real_logits.sigmoid().mean(), fake_logits.sigmoid().mean())


def gradient_penalties(
    judge_real: Callable[[Tensor], Tensor],
    judge_fake: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    config: GANConfig,
    noise: torch.Generator | None,
) -> Tensor:
    """The penalties on the slope of the discriminator's logits that `config` asks for; a scalar.

    They come every `penalty_interval` updates and weigh so many times as much.
    """
    penalty = real.new_zeros(())
    if config.r1 > 0:
        penalty = penalty + config.r1 / 2 * grad_norm_sq(judge_real, real).mean()
    if config.r2 > 0:
        penalty = penalty + config.r2 / 2 * grad_norm_sq(judge_fake, fake).mean()
    if config.gradient_penalty > 0:
        share = torch.rand(len(real), 1, 1, 1, device=real.device, generator=noise)
        penalty = penalty + config.gradient_penalty * slope_penalty(judge_real, real, fake, share)
    return config.penalty_interval * penalty


def average_decay(config: GANConfig, updates: int) -> float:
    """The decay, per update, of the generator's moving average after so many updates.

    With `ema_rampup` the average looks back over that part of the updates so far: early on it follows fast, and forgets the
    first weights; later it averages over more, until it is as slow as `ema`.
    """
    return min(config.ema, 1 - 1 / (config.ema_rampup * updates + 1)) if config.ema_rampup > 0 else config.ema


@torch.no_grad()
def update_average(average: Generator, generator: Generator, decay: float) -> None:
    """Move `average` towards `generator`: a ← decay a + (1 - decay) g, for the weights and BatchNorm's statistics alike.

    The statistics must go with the weights: those of the latest weights would not fit the averaged ones, and a
    generator in eval mode draws by them.
    """
    pairs = list(zip(average.state_dict().values(), generator.state_dict().values(), strict=True))
    moving = [pair for pair in pairs if pair[0].is_floating_point()]
    torch._foreach_lerp_([mine for mine, _ in moving], [theirs for _, theirs in moving], 1 - decay)
    for mine, theirs in pairs:
        if not mine.is_floating_point():  # the number of batches that BatchNorm has seen
            mine.copy_(theirs)


def set_gradients(parameters: Iterable[torch.nn.Parameter], gradients: Iterable[Tensor]) -> None:
    """Give each parameter its gradient, in place of that of the update before."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient


def acting(network: Network, optimizer: torch.optim.Optimizer) -> Network:
    """The network that computes: the rounded copy that the optimizer keeps, or the network itself."""
    return optimizer.rounded if isinstance(optimizer, MasterWeightAdam) else network


def train(
    config: GANConfig, out: str | Path, *, device: str = "auto", resume: bool = False, progress: bool = False
) -> RunFolder:
    """Train both networks as `config` says, into the run folder `out`.

    With `resume` an interrupted run goes on from its last checkpoint and ends with the same bits as one that was never
    interrupted (same machine and thread count).

    Raises:
        ConfigError, DataError, DeviceError, RunFolderError: before anything is written.
        DivergenceError: if a loss is not finite.
        Interrupted: after SIGINT or SIGTERM, once the state is saved.
    """
    chosen_device = choose_device(device)
    if not resume:
        refuse_existing(out)
    data = load_images(config.data, config.image_size)
    num_classes = count_classes(data) if config.conditional else 0
    watch = create_monitor(config, data)
    extractor = None
    if config.extractor is not None:  # noted even if it is not needed while training: later scores must be by the same
        extractor = FeatureExtractor.read(Path(config.extractor)) if watch is None else watch.extractor
    generator, discriminator = build_networks(config, data.image_shape, num_classes)
    networks = generator.to(chosen_device), discriminator.to(chosen_device)
    optimizers = build_optimizers(config, *networks)
    shown = copy.deepcopy(generator) if config.ema > 0 else generator  # what samples are drawn from
    average = {"average": shown} if config.ema > 0 else {}
    log_every = min(config.log_every, count_batches(len(data.images), config.batch_size, config.packing))
    state = TrainingState(
        networks={"generator": generator, "discriminator": discriminator, **average},
        optimizers={"generator": optimizers[0], "discriminator": optimizers[1]},
        rngs={"noise": make_rng(config.seed, "noise", chosen_device)},
        tensors={"history": torch.zeros(log_every, len(StepResult._fields), device=chosen_device)},
    )
    folder = open_run(out, "gan", config, chosen_device, resume=resume)
    record = {"name": data.name, "num_images": len(data.images), "image_shape": list(data.image_shape)}
    record |= {"sha256": data.sha256} | ({"num_classes": num_classes} if num_classes else {})
    folder.record_data("data", record, "data", "images")
    if extractor is not None:
        folder.record_data("extractor_sha256", extractor.sha256, "extractor", "file")
    in_turn = torch.arange(GRID_SIZE) % num_classes if num_classes else None
    fixed_z = generator.sample_latents(GRID_SIZE, make_rng(config.seed, "grid"), in_turn).to(chosen_device)
    files = ("metrics",) if watch is None else ("metrics", "scores")
    opened = training_session(
        folder, state, total=config.epochs, description=f"GAN {data.name}", progress=progress, files=files
    )
    with opened as session:
        session.progress.status = summarize(folder.read_scores())
        while state.epoch < config.epochs:
            remove_later_grids(folder.samples, state.epoch, state.step)
            with session.rolling_back():
                if state.step == 0:
                    save_samples(session, shown, fixed_z, epoch=0)
                train_epoch(session, networks, optimizers, shown, fixed_z, data, config)
                if is_sampled(state.epoch, config):
                    save_samples(session, shown, fixed_z, state.epoch)
                if watch is not None and watch.is_due(state.epoch):
                    watch.score(session, shown)
                if state.epoch % config.checkpoint_every == 0 or state.epoch == config.epochs:
                    session.save()
        save_animation(folder.samples, folder.samples / "training.gif")
    return folder


def train_epoch(
    session: Session,
    networks: tuple[Generator, Discriminator],
    optimizers: tuple[Adam, Adam],
    shown: Generator,
    fixed_z: Tensor,
    data: ImageSet,
    config: GANConfig,
) -> None:
    """Train on all images once, or on what is left of them in this epoch after a resume.

    `shown` is the generator, or its moving average, which follows it; `fixed_z` is the noise of its grids.
    """
    state, generator = session.state, networks[0]
    history, noise = state.tensors["history"], state.rngs["noise"]
    pixels, labels = data.images.to(history.device), None
    if generator.num_classes and data.labels is not None:
        labels = one_hot(data.labels, generator.num_classes).to(history.device)
    order = permutation(len(pixels), make_rng(config.seed, f"order/{state.epoch}"), history.device)
    batches = order.split(config.batch_size)[: count_batches(len(pixels), config.batch_size, config.packing)]
    sampled_updates = early_updates(config, len(batches))
    for batch in batches[state.batch :]:
        indices = batch[: len(batch) // config.packing * config.packing]
        rates = learning_rates(config, (state.epoch + state.batch / len(batches)) / config.epochs)
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * session.lr_scale
        result = train_step(
            *networks,
            *optimizers,
            from_pixels(pixels[indices]),
            generator.sample_latents(len(indices), noise),
            None if labels is None else labels[indices],
            config=config,
            updates_generator=state.step % config.discriminator_steps == config.discriminator_steps - 1,
            has_penalty=state.step % config.penalty_interval == 0,
            noise=noise,
        )
        history[state.step % len(history)] = torch.stack(result)
        state.batch += 1
        state.step += 1
        epoch = state.epoch + state.batch / len(batches)
        if shown is not generator and state.step % (AVERAGE_EVERY * config.discriminator_steps) == 0:
            decay = average_decay(config, state.step // config.discriminator_steps)
            update_average(shown, generator, decay**AVERAGE_EVERY)
        if state.step in sampled_updates:
            check_losses(session)
            save_samples(session, shown, fixed_z, state.epoch, state.step)
        if state.step % len(history) == 0:
            check_losses(session)
            point = dict(zip(StepResult._fields, history.mean(0).tolist(), strict=True))
            session.log(epoch=epoch, **point)
        if session.progress.due or state.batch == len(batches):
            losses = f"loss of G {result.generator_loss:.2f}, of D {result.discriminator_loss:.2f}"
            session.progress.update(epoch, losses)
        if session.stop_requested:
            check_losses(session)
            session.stop()
    check_losses(session)
    state.epoch += 1
    state.batch = 0


def check_losses(session: Session) -> None:
    """Raise `DivergenceError` if a loss since the last line of the metrics is not finite."""
    history = session.state.tensors["history"]
    rows = (session.state.step - 1) % len(history) + 1
    session.check_finite(history[:rows], session.state.step - rows + 1, StepResult._fields)


def count_batches(images: int, batch_size: int, packing: int = 1) -> int:
    """The batches of an epoch; a last one of less than two images, which BatchNorm needs, or one pack is left out."""
    full, rest = divmod(images, batch_size)
    return full + (rest >= max(2, packing))


def count_classes(data: ImageSet) -> int:
    """K, the classes of labelled images.

    Raises:
        DataError: if they have no labels, or labels that are not 0 ... K - 1 with K from 2 to 1000.
    """
    if data.labels is None:
        raise DataError(f"data: {data.name} has no labels; give an IDX folder with labels, or leave out conditional")
    least, greatest = map(int, data.labels.aminmax())
    if least < 0 or not 1 <= greatest < MAX_CLASSES:
        raise DataError(f"data: the labels of {data.name} must be integers from 0, of 2 to {MAX_CLASSES} classes")
    return greatest + 1


def is_sampled(epoch: int, config: GANConfig) -> bool:
    """Whether a grid is drawn after `epoch`: at the chosen interval, in the middle and at the end."""
    return epoch % config.sample_every == 0 or epoch in (config.epochs // 2, config.epochs)


def early_updates(config: GANConfig, batches: int) -> frozenset[int]:
    """Return the updates 10, 20, 50, 100, 200 ... before the first sampled epoch; a grid is saved after each.

    Training changes the images fastest at first: the grids of whole epochs alone would show noise, then digits.
    """
    first_epoch = next(epoch for epoch in range(1, config.epochs + 1) if is_sampled(epoch, config))
    updates = (factor * 10**power for power in range(1, 18) for factor in (1, 2, 5))
    return frozenset(update for update in updates if update < first_epoch * batches)


def save_samples(session: Session, generator: Generator, z: Tensor, epoch: int, update: int | None = None) -> None:
    """Generate the grid of the latents z, save it, see `grid_path`, and show it in TensorBoard."""
    session.folder.check_present()
    images = generate(generator, z).cpu()
    save_grid(images, grid_path(session.folder.samples, epoch, update))
    session.log_image("samples", tile(images))
