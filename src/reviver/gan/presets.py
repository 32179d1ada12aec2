"""Settings of a GAN training run, and the named sets of them that results are quoted for."""

from dataclasses import dataclass
from types import MappingProxyType

from reviver.config import MAX_SEED, check_number, check_whole
from reviver.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class GANConfig:
    """Settings of one GAN training run. The defaults are the report's."""

    data: str = "mnist"
    """What is learned: `mnist` (built in), or the path of an IDX folder, an image folder, an .npz or an .npy."""
    size: int = 28
    """Height and width of the images; other sizes are resized to it."""
    latent_size: int = 100
    """Z, the numbers of one noise vector z ~ N(0, I)."""
    epochs: int = 200
    """Passes over the images."""
    batch_size: int = 64
    """N, the real and the generated images of one update."""
    learning_rate: float = 2e-4
    """Step size of Adam, for both networks."""
    beta1: float = 0.5
    """Adam's decay of the mean of the gradients."""
    beta2: float = 0.999
    """Adam's decay of the mean of their squares."""
    batch_norm_eps: float = 1e-5
    """Added to the variance in BatchNorm. A widely copied script sets 0.8 by mistake, which collapses the generator."""
    sample_every: int = 5
    """Epochs between two grids of samples from the same 25 noise vectors."""
    log_every: int = 100
    """Updates that one line of the metrics sums up, or all of an epoch if those are fewer."""
    checkpoint_every: int = 1
    """Epochs between two checkpoints."""
    seed: int = 0
    """Fixes the weights, the order of the images and the noise."""

    def __post_init__(self) -> None:
        if not isinstance(self.data, str) or not self.data:
            raise ConfigError(f"data: {self.data!r} is not possible; give mnist or the path of a data set")
        check_whole("size", self.size, minimum=4, maximum=1024)
        check_whole("latent_size", self.latent_size, minimum=1)
        check_whole("epochs", self.epochs, minimum=1)
        check_whole("batch_size", self.batch_size, minimum=2)
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("beta1", self.beta1, minimum=0, below=1)
        check_number("beta2", self.beta2, minimum=0, below=1)
        check_number("batch_norm_eps", self.batch_norm_eps, above=0)
        check_whole("sample_every", self.sample_every, minimum=1)
        check_whole("log_every", self.log_every, minimum=1)
        check_whole("checkpoint_every", self.checkpoint_every, minimum=1)
        check_whole("seed", self.seed, minimum=0, maximum=MAX_SEED)


PRESETS = MappingProxyType(
    {
        "report": GANConfig(),
        "short": GANConfig(epochs=16, sample_every=1),
        "public-script": GANConfig(batch_norm_eps=0.8),
    }
)
"""`report`: the report's run. `short`: fewer epochs, for a report in minutes. `public-script`: the slip that collapses."""
