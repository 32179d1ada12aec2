"""Conversion between `LSTM` and `torch.nn.LSTM`.

torch stacks the matrices of the four gates in one, in the order i, f, g, o, which is the order of our i, f, c, o. It
has two biases per gate, which only ever occur as their sum.
"""

from typing import TYPE_CHECKING, TypeVar, Unpack

import torch
from torch import nn

from reviver.errors import ConfigError
from reviver.lstm.options import LSTMKeywords

if TYPE_CHECKING:
    from reviver.lstm.network import LSTM

Network = TypeVar("Network", bound="LSTM")


@torch.no_grad()
def from_torch(cls: type[Network], source: nn.LSTM, **options: Unpack[LSTMKeywords]) -> Network:
    """Return an LSTM with copies of the weights of a `torch.nn.LSTM`.

    Args:
        cls: class of the result.
        source: network to copy; its two biases of a gate are added.
        **options: fields of `LSTMOptions`, which `torch.nn.LSTM` does not have.

    Returns:
        An LSTM with the sizes, dtype, device and mode (training or eval) of `source`, and in its dtype the same outputs.

    Raises:
        ConfigError: if `source` has a projection (`proj_size`), which the equations of `LSTMCell` do not have.
    """
    if source.proj_size:
        raise ConfigError(f"proj_size must be 0, got {source.proj_size}; give a torch.nn.LSTM without a projection")
    lstm = cls(
        source.input_size,
        source.hidden_size,
        source.num_layers,
        batch_first=source.batch_first,
        dropout=source.dropout,
        bidirectional=source.bidirectional,
        **options,
    ).to(source.all_weights[0][0])
    for cell, (W, U, *biases) in zip(lstm.cells, source.all_weights, strict=True):
        b = biases[0] + biases[1] if source.bias else W.new_zeros(4 * source.hidden_size)
        copies = [*W.chunk(4), *U.chunk(4), *b.chunk(4)]
        for weight, copy in zip(cell.weights(), copies, strict=True):
            weight.copy_(copy)
    return lstm.train(source.training)


@torch.no_grad()
def to_torch(lstm: "LSTM") -> nn.LSTM:
    """Return a `torch.nn.LSTM` with copies of the weights of an LSTM.

    `torch.nn.LSTM` has no dropout of the hidden state and no bf16 operands. The outputs are equal in eval mode with
    `precision` "fp32". In training with `hidden_dropout` they differ by the masks, and with "bf16" by rounding.

    Args:
        lstm: network to copy.

    Returns:
        A `torch.nn.LSTM` with the sizes, dtype, device and mode of `lstm`.

    Raises:
        ConfigError: if `lstm` uses zoneout, which changes the outputs in eval mode, too.
    """
    p = lstm.options.hidden_dropout
    if lstm.options.hidden_dropout_kind == "zoneout" and p > 0.0:
        raise ConfigError(
            f"hidden_dropout_kind must be step or variational for a torch.nn.LSTM, got 'zoneout' with hidden_dropout {p}, "
            "which torch.nn.LSTM cannot compute even in eval mode; keep the reviver LSTM, or train without zoneout",
            field="hidden_dropout_kind",
        )
    result = nn.LSTM(
        lstm.input_size,
        lstm.hidden_size,
        lstm.num_layers,
        batch_first=lstm.batch_first,
        dropout=lstm.dropout,
        bidirectional=lstm.bidirectional,
    ).to(lstm.cells[0].W_i)
    for cell, (W, U, b, zeros) in zip(lstm.cells, result.all_weights, strict=True):
        weights = cell.weights()
        W.copy_(torch.cat(weights[:4]))
        U.copy_(torch.cat(weights[4:8]))
        b.copy_(torch.cat(weights[8:]))
        zeros.zero_()  # the second bias
    return result.train(lstm.training)
