"""Parts that the scripts share: equal weights for both classes, a small classifier, and data that it can learn."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from reviver import LSTM

Build = Callable[..., nn.LSTM]
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def with_weights_of_torch(kind: type[nn.LSTM], **extra: Any) -> Build:
    """Return a constructor of this class, with the weights and the use of random numbers of torch.nn.LSTM."""

    def build(*args: Any, **options: Any) -> nn.LSTM:
        source = nn.LSTM(*args, **options)
        with torch.random.fork_rng(devices=[]):
            lstm = kind(*args, **options, **extra)
        lstm.load_state_dict(source.state_dict())
        return lstm

    return build


def compare(script: Callable[[Build], Any]) -> None:
    """Run a script with torch.nn.LSTM and with LSTM from the same seed; their results must be close."""
    results = []
    for kind in (nn.LSTM, LSTM):
        torch.manual_seed(0)
        results.append(script(with_weights_of_torch(kind)))
    expected, found = results
    torch.testing.assert_close(found, expected, **TOLERANCE)


class Classifier(nn.Module):
    """Classifies sequences [B, T, 3] by the state after the last step."""

    def __init__(self, build: Build = LSTM) -> None:
        super().__init__()
        self.lstm = build(3, 16, batch_first=True)
        self.linear = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        _, hidden = self.lstm(x)
        return self.linear(hidden[0][-1] if isinstance(self.lstm, nn.LSTM) else hidden[-1])


def make_data(count: int = 64) -> tuple[Tensor, Tensor]:
    """Return sequences [B, 6, 3], and whether the sum of their first channel is positive."""
    x = torch.randn(count, 6, 3, generator=torch.Generator().manual_seed(1))
    return x, (x[..., 0].sum(1) > 0).long()
