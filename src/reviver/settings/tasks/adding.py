"""The adding problem: the sum of the two marked numbers among T."""

from typing import TYPE_CHECKING

from reviver.settings.tasks.definition import TOLERANCE, TaskDefinition, memory_preset, random_steps

if TYPE_CHECKING:
    import torch


class Adding(TaskDefinition):
    """Adding problem. A sequence has T steps.

        x_t = (u_t, m_t),  u_t ~ U[0, 1],  m_t = 1 at t = a and t = b, else 0
        a ~ U{0 ... ⌊T/2⌋ - 1},  b ~ U{⌊T/2⌋ ... T - 1}
        y = u_a + u_b, a number

    Hochreiter & Schmidhuber (1997); this form is that of Arjovsky, Shah & Bengio (2016). A prediction is correct within
    0.04, as in the former. Chance and baseline are those of always predicting 1, the mean of the sum:
    1 - 0.96² = 7.84 %, and the variance of the sum, 1/6.
    """

    goal = "add the two marked numbers of a sequence"
    inputs = "pairs: a number from 0 to 1, and 1 if it is marked, else 0"
    target = "number"
    channels = ("number", "marker")
    chance = 1 - (1 - TOLERANCE) ** 2
    preset = memory_preset(
        length=750,
        length_factor=3.0,
        threshold=0.4,
        last_threshold=0.3,
        data_size=2000,
        init="chrono",
        epochs=80,
        batch_size=32,
        learning_rate=2e-3,
        lr_schedule="cosine",
    )
    purpose = "Add the two marked numbers of 750."
    seconds = 73

    def baseline(self, length: int) -> float:
        """Return the loss without memory, see the class."""
        return 1 / 6

    def generate(self, lengths: "torch.Tensor", rng: "torch.Generator") -> "tuple[torch.Tensor, torch.Tensor]":
        """Generate sequences, see `TaskDefinition.generate`."""
        import torch

        steps, half = int(lengths.max()), lengths // 2
        numbers = torch.rand(len(lengths), steps, generator=rng)
        marked = torch.stack([random_steps(0, half - 1, rng), random_steps(half, lengths - 1, rng)], dim=1)  # a and b
        marks = torch.zeros_like(numbers).scatter_(1, marked, 1.0)
        return torch.stack([numbers, marks], dim=-1), numbers.gather(1, marked).sum(1)
