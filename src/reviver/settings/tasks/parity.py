"""The parity task: is the number of ones among T bits odd?"""

from typing import TYPE_CHECKING

from reviver.settings.tasks.definition import TaskDefinition, memory_preset

if TYPE_CHECKING:
    import torch


class Parity(TaskDefinition):
    """Parity of T bits. A sequence has T steps.

        x_t ~ U{0, 1},  y = (Σ x_t) mod 2, a class, C = 2

    Bengio, Simard & Frasconi (1994). The class depends on every bit; any T - 1 of them say nothing about it.
    """

    goal = "tell whether the number of ones among bits is odd"
    inputs = "bits"
    symbols, classes = ("0", "1"), ("even", "odd")
    preset = memory_preset(length=1000, encoding="onehot", start_length=2)
    purpose = "Tell whether the number of ones in 1000 bits is odd."
    seconds = 60

    def generate(self, lengths: "torch.Tensor", rng: "torch.Generator") -> "tuple[torch.Tensor, torch.Tensor]":
        """Generate sequences, see `TaskDefinition.generate`."""
        import torch

        steps = int(lengths.max())
        bits = torch.randint(2, (len(lengths), steps), generator=rng, dtype=torch.uint8)
        is_padding = torch.arange(steps) >= lengths.unsqueeze(1)
        return bits, bits.masked_fill(is_padding, 0).sum(1) % 2
