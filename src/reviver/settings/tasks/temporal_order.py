"""The temporal order task: in which order did X and Y occur?"""

from typing import TYPE_CHECKING

from reviver.settings.tasks.definition import TaskDefinition, memory_preset, random_steps

if TYPE_CHECKING:
    import torch

START, END, X, FIRST_DISTRACTOR = 0, 1, 2, 4
DISTRACTORS = "abcd"


class TemporalOrder(TaskDefinition):
    """Temporal order of two symbols. A sequence has T ≥ 10 steps.

        x = E, distractors ~ U{a, b, c, d}, B, with p at t = t_1 and q at t = t_2
        t_1 ~ U{⌊T/10⌋ ... ⌊T/5⌋},  t_2 ~ U{⌊T/2⌋ ... ⌊3T/5⌋},  p, q ~ U{X, Y}
        y = 2 [p = Y] + [q = Y], a class, C = 4

    Hochreiter & Schmidhuber (1997), experiment 6a, with T from 100 to 110, t_1 from 10 to 20 and t_2 from
    50 to 60.
    """

    goal = "tell in which order two symbols occurred"
    inputs = "symbols: the start (0), X (2) and Y (3) among distractors (4 to 7), the end (1)"
    symbols = ("start", "end", "X", "Y", *DISTRACTORS)
    classes = ("XX", "XY", "YX", "YY")
    min_length = 10
    preset = memory_preset(
        length=100, encoding="onehot", length_factor=1.5, hidden_dropout=0.5, batch_size=32, optimizer="rmsprop"
    )
    purpose = "Tell the order of two symbols in 100."
    seconds = 18

    def generate(self, lengths: "torch.Tensor", rng: "torch.Generator") -> "tuple[torch.Tensor, torch.Tensor]":
        """Generate sequences, see `TaskDefinition.generate`."""
        import torch

        size, steps = len(lengths), int(lengths.max())
        symbols = torch.randint(len(DISTRACTORS), (size, steps), generator=rng, dtype=torch.uint8)
        symbols += FIRST_DISTRACTOR
        relevant = torch.randint(2, (size, 2), generator=rng, dtype=torch.uint8)  # 0 for X, 1 for Y
        first = random_steps(lengths // 10, lengths // 5, rng)
        second = random_steps(lengths // 2, lengths * 3 // 5, rng)
        symbols.scatter_(1, torch.stack([first, second], dim=1), X + relevant)
        symbols[:, 0] = START
        symbols.scatter_(1, lengths.unsqueeze(1) - 1, END)
        return symbols, 2 * relevant[:, 0] + relevant[:, 1]
