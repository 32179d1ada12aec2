"""Classification of MNIST digits by pixels."""

from reviver.settings.tasks.definition import mnist_preset
from reviver.settings.tasks.row_mnist import SIDE, RowMNIST


class PixelMNIST(RowMNIST):
    """MNIST digits, of which a step is a pixel, in row-major order, I = 1, C = 10 (Le, Jaitly & Hinton 2015).

    T = 784, or for images downsampled by averaging to 14 × 28, 14 × 14, 7 × 14 or 7 × 7, T = 392, 196, 98 or 49.
    Chance and baseline are those of `RowMNIST`.
    """

    goal = "classify handwritten digits that it reads pixel by pixel"
    inputs = "pixels of an image, row by row, from 0 (background) to 1"
    channels = ("pixel",)
    lengths = (49, 98, 196, 392, SIDE**2)
    has_curriculum = True
    preset = mnist_preset(
        length=SIDE**2,
        curriculum=True,
        start_length=49,
        threshold=0.94,
        last_threshold=0.98,
        lr_length_exponent=0.5,
        epochs=30,
        batch_size=32,
    )
    purpose = "Recognize a digit, read pixel by pixel."
    seconds = 2230
