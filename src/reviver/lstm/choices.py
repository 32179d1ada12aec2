"""What an LSTM's settings can be: apart from the code that needs torch, so that the command line's help loads none."""

from typing import Literal

DropoutKind = Literal["step", "variational", "zoneout"]
"""How the hidden state is dropped.

- `step`: each unit of each step is 0 with probability p, the others are scaled by 1 / (1 - p).
- `variational`: the same, with one mask for all steps of a sequence (Gal & Ghahramani 2016).
- `zoneout`: each unit of each step keeps its previous value with probability p (Krueger et al. 2017); outside
  training it takes the expected mixture of the old value and the new.
"""
