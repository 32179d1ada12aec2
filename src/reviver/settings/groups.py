"""Groups of the settings: sections of the help of a command and of the settings page."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """A group of settings, the metadata of their annotations.

    Attributes:
        name: its title.
        order: its place among the groups.
    """

    name: str
    order: int


RUN = Group("Run", 0)
DATA = Group("Data", 1)
MODEL = Group("Model", 2)
OPTIMIZATION = Group("Optimization", 3)
CURRICULUM = Group("Curriculum", 4)
REGULARIZATION = Group("Regularization", 5)
EVALUATION = Group("Evaluation", 6)
CHECKPOINTS = Group("Checkpoints", 7)
FIGURE = Group("Figure", 8)
COMMON = Group("Common", 9)
