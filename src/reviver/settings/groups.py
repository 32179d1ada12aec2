"""Groups of the settings: sections of the help of a command and of the settings page."""

from typing import NamedTuple


class Group(NamedTuple):
    """A group of settings, the metadata of their annotations."""

    name: str
    """Its title."""
    order: int
    """Its place among the groups."""


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
