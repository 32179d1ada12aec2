"""Classification of MNIST digits by rows."""

from reviver.settings.tasks.definition import DIGITS, TaskDefinition, mnist_preset

SIDE = 28


class RowMNIST(TaskDefinition):
    """MNIST digits (LeCun & Cortes), of which a step is a row from the top, T = 28, I = 28, C = 10.

    Chance is the fraction of ones, the most frequent digit, in the test set; the baseline is the entropy of the test
    digits, in nats.
    """

    goal = "classify handwritten digits that it reads row by row"
    inputs = "rows of an image, pixels from 0 (background) to 1"
    classes = DIGITS
    channels = tuple(f"column {index + 1}" for index in range(SIDE))
    data_set = "mnist"
    lengths: tuple[int, ...] | None = (SIDE,)
    has_curriculum = False
    chance = 0.1135
    preset = mnist_preset(length=SIDE, epochs=10, learning_rate=2e-3)
    purpose = "Recognize a digit, read row by row."
    seconds = 155

    def baseline(self, length: int) -> float:
        """Return the loss without memory, see the class."""
        return 2.300848
