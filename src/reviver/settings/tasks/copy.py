"""The copy memory task: repeat ten symbols after T steps."""

import math
from typing import TYPE_CHECKING

from reviver.settings.tasks.definition import TaskDefinition, memory_preset

if TYPE_CHECKING:
    import torch

COUNT, NUM_SYMBOLS = 10, 8
BLANK, DELIMITER = 0, NUM_SYMBOLS + 1


class Copy(TaskDefinition):
    """Copy memory task. A sequence has T + 20 steps.

        x = s_1 ... s_10, T - 1 blanks, the delimiter, 10 blanks        s_k ~ U{1 ... 8}, blank 0, delimiter 9
        y = T + 10 blanks, s_1 ... s_10                                 a class at every step, C = 9

    Hochreiter & Schmidhuber (1997) introduced this kind of task; this form is that of Arjovsky, Shah & Bengio (2016).
    A sequence is correct if all ten symbols are. Chance: 8^-10. Baseline: 10 ln 8 / (T + 20), the loss of blanks until
    the delimiter and then uniform probabilities of the 8 symbols. All sequences of a batch have the same length, with a
    curriculum, too.
    """

    goal = "repeat ten symbols after many blanks"
    inputs = "symbols: ten from 1 to 8, blanks (0), the delimiter (9), ten blanks"
    target = "class at every step"
    classes = ("blank", *map(str, range(1, NUM_SYMBOLS + 1)))
    symbols = (*classes, "delimiter")
    mixes_lengths = False
    chance = NUM_SYMBOLS**-COUNT
    preset = memory_preset(
        length=500,
        encoding="onehot",
        start_length=2,
        length_factor=1.5,
        threshold=0.98,
        last_threshold=0.99,
        batch_size=32,
        learning_rate=5e-3,
    )
    purpose = "Repeat ten symbols after 500 steps."
    seconds = 70

    def baseline(self, length: int) -> float:
        """Return the loss without memory, see the class."""
        return COUNT * math.log(NUM_SYMBOLS) / (length + 2 * COUNT)

    def generate(self, lengths: "torch.Tensor", rng: "torch.Generator") -> "tuple[torch.Tensor, torch.Tensor]":
        """Generate sequences, all of the same length, see `TaskDefinition.generate`."""
        import torch
        from torch.nn import functional

        length = int(lengths.max())
        assert int(lengths.min()) == length, "all sequences have the same length"
        symbols = torch.randint(1, NUM_SYMBOLS + 1, (len(lengths), COUNT), generator=rng, dtype=torch.uint8)
        inputs = functional.pad(symbols, (0, length + COUNT), value=BLANK)  # [N, T + 20]
        inputs[:, COUNT + length - 1] = DELIMITER
        classes = functional.pad(symbols, (length + COUNT, 0), value=BLANK)
        return inputs, classes
