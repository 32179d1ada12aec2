"""Conversion between `LSTM` and `torch.nn.LSTM`, of networks and of state dicts.

torch stacks the matrices of the four gates in one, in the order i, f, g, o, which is the order of our i, f, c, o. It
has two biases per gate, which only ever occur as their sum.

| torch, layer k, backward direction with the suffix `_reverse` | here |
|---|---|
| `weight_ih_l{k}` [4·H, I] | `W_i`, `W_f`, `W_c`, `W_o` |
| `weight_hh_l{k}` [4·H, P] | `U_i`, `U_f`, `U_c`, `U_o` |
| `bias_ih_l{k}`, `bias_hh_l{k}` [4·H] | `b_i`, `b_f`, `b_c`, `b_o`, the sum of both |
| `weight_hr_l{k}` [P, H] | `W_proj` |
"""

from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

import torch
from torch import Tensor, nn

from reviver.errors import ConfigError
from reviver.lstm.options import LSTMKeywords

if TYPE_CHECKING:
    from reviver.lstm.cell import LSTMCell
    from reviver.lstm.network import LSTM

Network = TypeVar("Network", bound="LSTM")


# Networks -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def from_torch(cls: type[Network], source: nn.LSTM, **options: Unpack[LSTMKeywords]) -> Network:
    """Return an LSTM with copies of the weights of a `torch.nn.LSTM`.

    Args:
        cls: class of the result.
        source: network to copy; its two biases of a gate are added.
        **options: fields of `LSTMOptions`, which `torch.nn.LSTM` does not have.

    Returns:
        An LSTM with the arguments, dtype, device and mode (training or eval) of `source`, and in its dtype the same
        outputs.
    """
    lstm = cls(**_arguments(source), **options)
    lstm.dropout = source.dropout
    weights = zip(chain(*torch_names(lstm)), chain(*source.all_weights), strict=True)
    lstm.load_state_dict(dict(weights))
    return lstm.train(source.training)


@torch.no_grad()
def to_torch(lstm: "LSTM") -> nn.LSTM:
    """Return a `torch.nn.LSTM` with copies of the weights of an LSTM.

    `torch.nn.LSTM` has no dropout of the hidden state and no bf16 operands. The outputs are equal in eval mode with
    `precision` "fp32". In training with `hidden_dropout` they differ by the masks, and with "bf16" by rounding.

    Args:
        lstm: network to copy.

    Returns:
        A `torch.nn.LSTM` with the arguments, dtype, device and mode of `lstm`.

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
    result = nn.LSTM(**_arguments(lstm))
    result.dropout = lstm.dropout
    result.load_state_dict(to_torch_state_dict(lstm))
    return result.train(lstm.training)


def _arguments(lstm: "LSTM | nn.LSTM") -> dict[str, Any]:
    """Return the arguments of the constructors that both classes have, without `dropout`, of which both may warn."""
    names = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "bidirectional", "proj_size")
    weight = next(lstm.parameters())
    return {name: getattr(lstm, name) for name in names} | {"device": weight.device, "dtype": weight.dtype}


def torch_weights(cell: "LSTMCell") -> list[Tensor]:
    """Return the weights of a cell as `torch.nn.LSTM` has them, in its order: W, U, with biases b and 0, W_proj."""
    weights = cell.weights()
    stacked = [torch.cat(weights[begin : begin + 4]) for begin in range(0, len(weights), 4)]  # [4·H, ...] each
    if cell.bias:
        stacked.append(torch.zeros_like(stacked[2]))
    return stacked if cell.W_proj is None else [*stacked, cell.W_proj.clone()]


# State dicts --------------------------------------------------------------------------------------------------------


def torch_names(lstm: "LSTM") -> list[list[str]]:
    """Return the names that `torch.nn.LSTM` gives to the weights of each cell, in the order of `torch_weights`."""
    kinds = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if lstm.bias else [])]
    kinds += ["weight_hr"] if lstm.proj_size else []
    suffixes = ["", "_reverse"][: lstm.num_directions]
    return [[f"{kind}_l{layer}{suffix}" for kind in kinds] for layer in range(lstm.num_layers) for suffix in suffixes]


@torch.no_grad()
def to_torch_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Return the state dict of a model with the weights of each `LSTM` in the names and shapes of `torch.nn.LSTM`.

    Args:
        model: an `LSTM`, or a model with any number of them, such as `LSTMClassifier`.

    Returns:
        A state dict for the same model with `torch.nn.LSTM` in the place of `LSTM`. The stacked weights are copies.
    """
    from reviver.lstm.network import LSTM

    state: dict[str, Tensor] = model.state_dict()
    for path, module in model.named_modules(remove_duplicate=False):
        if not isinstance(module, LSTM):
            continue
        prefix = f"{path}." if path else ""
        for index, (names, cell) in enumerate(zip(torch_names(module), module.cells, strict=True)):
            for name in cell.state_dict():
                del state[f"{prefix}layers.{index}.{name}"]
            state.update(zip((prefix + name for name in names), torch_weights(cell), strict=True))
    return state


@torch.no_grad()
def translate_torch_names(
    lstm: "LSTM", state: dict[str, Any], prefix: str, missing: list[str], errors: list[str], *, assign: bool
) -> None:
    """Rename the weights of a state dict from the names of `torch.nn.LSTM` to ours, if it has any of those.

    Args:
        lstm: network that loads the state dict.
        state: state dict, changed in place.
        prefix: prefix of the names of the network, such as `lstm.`.
        missing: list to which the torch names of missing weights are added.
        errors: list to which messages about other objects and wrong shapes are added.
        assign: whether the tensors become the parameters instead of being copied into them.
    """
    names = torch_names(lstm)
    has_ours = any(key.startswith(f"{prefix}layers.") for key in state)
    if has_ours or not any(prefix + name in state for name in chain(*names)):
        return
    for index, (names_of_cell, cell) in enumerate(zip(names, lstm.cells, strict=True)):
        found: list[Tensor | None] = []
        for name, expected in zip(names_of_cell, torch_weights(cell), strict=True):
            value = state.pop(prefix + name, None)
            if value is None:
                missing.append(prefix + name)
            elif not isinstance(value, Tensor):
                errors.append(f"{prefix}{name} must be a torch.Tensor, got {type(value)}")
                value = None
            elif value.shape != expected.shape:
                errors.append(
                    f"size mismatch for {prefix}{name}: copying a param with shape {value.shape} from checkpoint, "
                    f"the shape in current model is {expected.shape}."
                )
                value = None
            found.append(value)
        ours = {name: part.clone() if assign else part for name, part in _split(cell, found).items()}
        # What is missing is already reported under torch's name; it stays as it is.
        for name, value in (dict(cell.named_parameters()) | ours).items():
            state[f"{prefix}layers.{index}.{name}"] = value


def _split(cell: "LSTMCell", weights: list[Tensor | None]) -> dict[str, Tensor]:
    """Return the weights of a cell by our names from the list of `torch_weights`; None gives no entry."""
    W, U, *others = weights
    biases, projection = (others[:2], others[2:]) if cell.bias else ([], others)
    present = [bias for bias in biases if bias is not None]
    stacked = {"W": W, "U": U, "b": sum(present[1:], present[0]) if present else None}  # [4·H, ...] each
    split = {
        f"{letter}_{gate}": part
        for letter, weight in stacked.items()
        if weight is not None
        for gate, part in zip("ifco", weight.chunk(4), strict=True)
    }
    return split if not projection or projection[0] is None else split | {"W_proj": projection[0]}
