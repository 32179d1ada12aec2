"""Learning-rate schedules."""

import math


def lr_scale(schedule: str, progress: float, final_ratio: float = 0.0) -> float:
    """Return the factor of the learning rate at a point of the run: from 1 at the start to `final_ratio` at the end.

        constant   1
        linear     r + (1 - r) (1 - t)
        cosine     r + (1 - r) (1 + cos π t) / 2    (Loshchilov & Hutter 2017, without restarts)

    t is `progress`, the fraction of the run that is done, in [0, 1], and r is `final_ratio`.
    """
    if schedule == "constant":
        return 1.0
    decay = 1 - progress if schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return final_ratio + (1 - final_ratio) * decay
