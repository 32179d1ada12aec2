"""What figures, cards, exports and the explorer need of an opened run; `reviver.run.Run` has it."""

from typing import Any, Literal, Protocol, Self

from reviver.data.task import Task
from reviver.gan.networks import Discriminator, Generator
from reviver.lstm.custom_cells import Network
from reviver.runs.folder import RunFolder


class OpenedRun(Protocol):
    """A run folder with what is in it; networks are built at first access. Of the other kind of run, an attribute raises."""

    folder: RunFolder
    config: Any
    """Settings, `LSTMConfig` or `GANConfig`."""
    checkpoint: str

    @property
    def kind(self) -> Literal["lstm", "gan"]: ...  # noqa: D102
    @property
    def step(self) -> int: ...  # noqa: D102
    @property
    def metrics(self) -> list[dict[str, Any]]: ...  # noqa: D102
    @property
    def scores(self) -> list[dict[str, Any]]: ...  # noqa: D102
    @property
    def task(self) -> Task: ...  # noqa: D102
    @property
    def network(self) -> Network: ...  # noqa: D102
    @property
    def generator(self) -> Generator: ...  # noqa: D102
    @property
    def discriminator(self) -> Discriminator: ...  # noqa: D102
    @property
    def image_shape(self) -> tuple[int, int, int]: ...  # noqa: D102
    @property
    def is_digits(self) -> bool: ...  # noqa: D102
    def to(self, device: str) -> Self: ...  # noqa: D102
