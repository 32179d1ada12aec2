"""Training of the GAN: Adam for both networks, one update of each for every batch.

Shapes: N batch, Z latent size, C channels, H height, W width.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Adam

from reviver.errors import DataError
from reviver.gan.grids import save_animation, save_grid
from reviver.gan.images import ImageSet, from_pixels, load_images
from reviver.gan.networks import Discriminator, Generator, discriminator_loss, generator_loss
from reviver.gan.presets import GANConfig
from reviver.runs.checkpoint import TrainingState
from reviver.runs.devices import choose_device
from reviver.runs.folder import RunFolder, refuse_existing
from reviver.runs.randomness import stream
from reviver.runs.session import Session, as_points, open_run, permutation, training_session

GRID_SIZE = 25


class StepResult(NamedTuple):
    """What one update measured, before it changed the weights; scalars."""

    generator_loss: Tensor
    discriminator_loss: Tensor
    probability_real: Tensor
    """Mean D(x) of the real images."""
    probability_fake: Tensor
    """Mean D(G(z)) of the generated images."""


def build_networks(config: GANConfig, image_shape: tuple[int, int, int]) -> tuple[Generator, Discriminator]:
    """Return both networks of a run with the weights that they start from (torch's defaults, from the run's seed)."""
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(stream(config.seed, "weights").get_state())
        generator = Generator(config.latent_size, image_shape, batch_norm_eps=config.batch_norm_eps)
        discriminator = Discriminator(image_shape)
    return generator, discriminator


def build_optimizers(config: GANConfig, generator: Generator, discriminator: Discriminator) -> tuple[Adam, Adam]:
    """Return an Adam (Kingma & Ba 2015) for each network."""
    betas = (config.beta1, config.beta2)
    return (
        Adam(generator.parameters(), lr=config.learning_rate, betas=betas, fused=True),
        Adam(discriminator.parameters(), lr=config.learning_rate, betas=betas, fused=True),
    )


def train_step(
    generator: Generator,
    discriminator: Discriminator,
    generator_optimizer: torch.optim.Optimizer,
    discriminator_optimizer: torch.optim.Optimizer,
    real: Tensor,
    z: Tensor,
) -> StepResult:
    """Make one update of each network from images `real` [N, C, H, W] in [-1, 1] and noise z [N, Z].

    Both gradients are taken at the weights before the update, from one pass forward. An alternating
    loop that updates the generator first and shows the discriminator the images drawn before that
    update, as is usual, computes the same.
    """
    fake = generator(z)  # [N, C, H, W]
    real_logits = discriminator.logits(real)  # [N, 1]
    fake_logits = discriminator.logits(fake)  # [N, 1]
    g_loss = generator_loss(fake_logits)
    d_loss = discriminator_loss(real_logits, fake_logits)

    _set_gradients(generator, g_loss, keep_graph=True)
    _set_gradients(discriminator, d_loss, keep_graph=False)
    generator_optimizer.step()
    discriminator_optimizer.step()
    with torch.no_grad():
        return StepResult(g_loss.detach(), d_loss.detach(), real_logits.sigmoid().mean(), fake_logits.sigmoid().mean())


def _set_gradients(network: torch.nn.Module, loss: Tensor, *, keep_graph: bool) -> None:
    """Replace the gradients of `network` by those of `loss`; those of other networks are not computed."""
    parameters = list(network.parameters())
    gradients = torch.autograd.grad(loss, parameters, retain_graph=keep_graph)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient


@torch.no_grad()
def draw(generator: Generator, z: Tensor) -> Tensor:
    """Draw images from z [N, Z] in eval mode, with BatchNorm's running statistics; the mode is put back after."""
    was_training = generator.training
    generator.eval()
    try:
        images: Tensor = generator(z)
    finally:
        generator.train(was_training)
    return images


def train(
    config: GANConfig, out: str | Path, *, device: str = "auto", resume: bool = False, progress: bool = False
) -> RunFolder:
    """Train both networks as `config` says, into the run folder `out`.

    With `resume` an interrupted run goes on from its last checkpoint and ends with the same bits as one
    that was never interrupted (same machine and thread count).

    Raises:
        ConfigError, DataError, DeviceError, RunFolderError: before anything is written.
        DivergenceError: if a loss is not finite.
        Interrupted: after SIGINT or SIGTERM, once the state is saved.
    """
    chosen_device = choose_device(device)
    if not resume:
        refuse_existing(out)
    data = load_images(config.data, config.size)
    generator, discriminator = build_networks(config, data.image_shape)
    generator.to(chosen_device)
    discriminator.to(chosen_device)
    g_optimizer, d_optimizer = build_optimizers(config, generator, discriminator)
    log_every = min(config.log_every, count_batches(len(data.images), config.batch_size))
    state = TrainingState(
        networks={"generator": generator, "discriminator": discriminator},
        optimizers={"generator": g_optimizer, "discriminator": d_optimizer},
        generators={"noise": stream(config.seed, "noise", chosen_device)},
        tensors={"history": torch.zeros(log_every, len(StepResult._fields), device=chosen_device)},
    )
    folder = open_run(out, "gan", config, chosen_device, resume=resume)
    note_data(folder, data)
    fixed_z = torch.randn(GRID_SIZE, config.latent_size, generator=stream(config.seed, "grid")).to(chosen_device)
    description = f"GAN {data.name}"
    with training_session(folder, state, total=config.epochs, description=description, progress=progress) as session:
        if state.step == 0:
            save_samples(folder, generator, fixed_z, epoch=0)
        while state.epoch < config.epochs:
            train_epoch(session, generator, discriminator, g_optimizer, d_optimizer, data, config)
            if is_sampled(state.epoch, config):
                save_samples(folder, generator, fixed_z, state.epoch)
            if state.epoch % config.checkpoint_every == 0 or state.epoch == config.epochs:
                session.save()
        save_animation(folder.samples, folder.samples / "training.gif")
    return folder


def train_epoch(
    session: Session,
    generator: Generator,
    discriminator: Discriminator,
    g_optimizer: Adam,
    d_optimizer: Adam,
    data: ImageSet,
    config: GANConfig,
) -> None:
    """Train on all images once, or on what is left of them in this epoch after a resume."""
    state = session.state
    history, noise = state.tensors["history"], state.generators["noise"]
    pixels = data.images.to(history.device)
    order = permutation(len(pixels), stream(config.seed, f"order/{state.epoch}"), history.device)
    batches = order.split(config.batch_size)[: count_batches(len(pixels), config.batch_size)]
    for indices in batches[state.batch :]:
        real = from_pixels(pixels[indices])
        z = torch.randn(len(indices), config.latent_size, device=history.device, generator=noise)
        result = train_step(generator, discriminator, g_optimizer, d_optimizer, real, z)
        history[state.step % len(history)] = torch.stack(result)
        state.batch += 1
        state.step += 1
        if state.step % len(history) == 0:
            check_losses(session)
            point = as_points(history.mean(0), StepResult._fields)
            session.log(epoch=state.epoch + state.batch / len(batches), **point)
        if session.progress.due or state.batch == len(batches):
            done = state.epoch + state.batch / len(batches)
            session.progress.update(
                done, f"loss of G {result.generator_loss:.2f}, of D {result.discriminator_loss:.2f}"
            )
        if session.stop_requested:
            check_losses(session)
            session.stop()
    check_losses(session)
    state.epoch += 1
    state.batch = 0


def check_losses(session: Session) -> None:
    """Raise `DivergenceError` if a loss since the last line of the metrics is not finite."""
    state = session.state
    history = state.tensors["history"]
    rows = (state.step - 1) % len(history) + 1
    session.check_finite(history[:rows], state.step - rows + 1, StepResult._fields)


def count_batches(images: int, batch_size: int) -> int:
    """The batches of an epoch; a last one of a single image is left out, since BatchNorm needs two."""
    full, rest = divmod(images, batch_size)
    return full + (rest > 1)


def note_data(folder: RunFolder, data: ImageSet) -> None:
    """Write down what a new run learns, or see that a resumed one goes on with the same.

    Raises:
        DataError: if the images are not those that the run began with.
    """
    facts = {
        "name": data.name,
        "images": len(data.images),
        "image_shape": list(data.image_shape),
        "sha256": hashlib.sha256(data.images.contiguous().numpy().data).hexdigest(),
    }
    noted = folder.record.get("data")
    if noted is None:
        folder.save_record(data=facts)
    elif noted != facts:
        raise DataError(
            f"data: {folder.record['config']['data']!r} has changed since this run began; put the old images back to "
            "resume, or start in a new --out"
        )


def is_sampled(epoch: int, config: GANConfig) -> bool:
    """Whether a grid is drawn after `epoch`: at the chosen interval, in the middle and at the end."""
    return epoch % config.sample_every == 0 or epoch in (config.epochs // 2, config.epochs)


def save_samples(folder: RunFolder, generator: Generator, z: Tensor, epoch: int) -> None:
    """Draw the grid of the noise z and save it as samples/epoch-NNNN.png."""
    save_grid(draw(generator, z).cpu(), folder.samples / f"epoch-{epoch:04d}.png")
