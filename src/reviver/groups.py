"""Groups of the settings in the help of a command."""

from cyclopts import Group, Parameter

RUN = Parameter(group=Group("Run", sort_key=0))
DATA = Parameter(group=Group("Data", sort_key=1))
MODEL = Parameter(group=Group("Model", sort_key=2))
OPTIMISATION = Parameter(group=Group("Optimisation", sort_key=3))
CURRICULUM = Parameter(group=Group("Curriculum", sort_key=4))
REGULARISATION = Parameter(group=Group("Regularisation", sort_key=5))
EVALUATION = Parameter(group=Group("Evaluation", sort_key=6))
CHECKPOINTS = Parameter(group=Group("Checkpoints", sort_key=7))
COMMON = Parameter(group=Group("Common", sort_key=8))
