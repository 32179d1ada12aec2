"""How submissions want to be called: the names of their arguments, the forms of their inputs, and what they return.

Shapes: B batch, T time, I input size, H hidden size, C classes, N images, Z latent size.
"""

import inspect
from argparse import Namespace as Options
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from reviver.checker.pieces import Unclear
from reviver.text import short_repr

NAMES = {
    "T": "seq_length seq_len sequence_length input_length num_steps n_steps time_steps timesteps seq_size t length",
    "I": "input_dim input_size in_dim input_dimension num_inputs n_input n_inputs in_features embed_dim embedding_dim "
    "emb_dim embed_size embedding_size x_dim feature_dim num_features input_channels d inp_dim input_features",
    "H": "num_hidden hidden_dim hidden_size hidden n_hidden num_units units hidden_units hidden_dimension h_dim "
    "lstm_size lstm_num_hidden dim_hidden hidden_num nhid h",
    "C": "num_classes output_dim output_size n_classes out_dim num_outputs n_output classes num_output output "
    "class_num nr_classes vocab_size vocabulary_size out_features o_dim",
    "B": "batch_size batch n_batch bs batchsize num_batch batch_sz",
    "cpu": "device dev",
    "p": "dropout dropout_rate drop_prob dropout_prob dropout_keep_prob p_drop",
    "one": "num_layers n_layers lstm_num_layers layers layer_num",
    "no": "gradient_check bidirectional debug verbose save_grads linear use_cuda plot",
    "yes": "batch_first bias",
    "Z": "latent_dim latent_size z_dim noise_dim nz latent_space latent z_size noise_size dim_z n_latent zdim noise "
    "latent_dims input_dim input_size in_dim in_features d_noise latent_dimension dim input_features",
    "image": "image_shape img_shape x_dims shape img_dims input_shape output_shape",
    "pixels": "output_dim output_size out_dim img_dim img_size_flat image_dim n_pixels x_dim out_features d_input "
    "input_dim input_size in_dim in_features image_size img_size im_dim d_in n_features img_len num_pixels",
    "side": "img_rows img_cols side height width",
    "width": "base_channel base_channels ngf ndf nf n_filters base_dim hidden_dim hidden_size h_dim hidden features "
    "feature_maps num_filters width dim_h n_hidden hidden_features",
    "channels": "channels nc img_channels num_channels n_channels image_channels in_channels out_channels",
}
"""Names of arguments by what they stand for; a network looks up only what it has, such as LSTM_SIZES."""
LSTM_KEYS = ("T", "I", "H", "C", "B", "cpu", "p", "one", "no", "yes")
GENERATOR_KEYS = ("Z", "image", "pixels", "side", "channels", "width", "B", "cpu", "no", "p")
DISCRIMINATOR_KEYS = ("image", "pixels", "side", "channels", "width", "B", "cpu", "no", "p")
FIXED = {"cpu": "cpu", "p": 0.0, "one": 1, "no": False, "yes": True, "image": (1, 28, 28), "pixels": 784, "side": 28}
FIXED |= {"channels": 1, "width": 16, "Z": 100}


class LSTMSizes(NamedTuple):
    """Sizes of a comparison. They all differ, so that code which mixes up two of them shows it."""

    B: int = 6
    T: int = 5
    I: int = 3  # noqa: E741
    H: int = 8
    C: int = 7

    @property
    def is_square(self) -> bool:
        """Whether batch and units are equal."""
        return self.B == self.H


def stands_for(name: str, keys: tuple[str, ...], others: Iterable[str] = ()) -> str:
    """Return what an argument stands for, the first of `keys` under which it is listed; empty if none.

    A key for which one of the `others` can stand alone is not taken twice: beside latent_dim, input_dim is no latent size.
    """

    def listed(name: str) -> list[str]:
        plain = name.lower().strip("_")
        return [key for key in keys if plain in NAMES[key].split()]

    found, taken = listed(name), {each[0] for each in map(listed, others) if len(each) == 1}
    return next((key for key in found if key not in taken or len(found) == 1), found[0] if found else "")


class Sizes(Options):
    """All sizes under every name, for a class that takes one object with settings."""

    def __init__(self, values: Mapping[str, Any], keys: tuple[str, ...]) -> None:
        super().__init__()
        self._values, self._keys = values, keys

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in {each for key in self._keys for each in NAMES[key].split()}:
            raise AttributeError(name)
        return self._values[stands_for(name, self._keys)]

    __getitem__ = __getattr__


def build(cls: Callable[..., Any], keys: tuple[str, ...], values: Mapping[str, Any], **fixed: Any) -> Any:
    """Call a class or function with arguments by their names; an unknown one keeps its default. Raises Unclear."""
    known = FIXED | dict(values)
    arguments = dict(fixed)
    try:
        parameters = inspect.signature(cls).parameters
    except (TypeError, ValueError):
        parameters = {}  # type: ignore[assignment]
    for name, parameter in parameters.items():
        if name in arguments or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        key = stands_for(name, keys, parameters.keys() - {name})
        has_default = parameter.default is not parameter.empty
        if key and not (key in ("no", "yes", "one", "side", "channels", "width", "image") and has_default):
            arguments[name] = known[key]
            if key == "pixels" and isinstance(parameter.default, int) and parameter.default in (28, 64):
                arguments[name] = 28
        elif not has_default and name in ("config", "args", "opt", "opts", "params", "hparams", "cfg", "arg"):
            arguments[name] = Sizes(known, keys)
        elif not has_default:
            choices = ", ".join(NAMES[key].split()[0] for key in keys if key in values or key == "image")
            raise Unclear(
                f"what should be the argument {name} of {getattr(cls, '__name__', cls)}?",
                f"give {name} a default, or call it one of {choices}",
            )
    return cls(**arguments)


class Form(NamedTuple):
    """A form of the input of a network that reads sequences."""

    name: str
    place: Callable[[Tensor], Tensor]
    """What it makes of numbers [B, T, I]."""
    kind: str = "numbers"
    """`numbers`; `scalars`, for which I = 1; `digits`, which the network embeds or encodes itself; `steps`, one per call."""
    is_integer: bool = False

    def inputs(self, x: Tensor) -> list[Tensor]:
        """Return what the network is called with, once or at each step, for x [B, T, I]."""
        if self.kind == "steps":
            return list(x.unbind(1))
        return [self.place(x.long() if self.is_integer else x)]


def _forms() -> Iterator[Form]:
    yield Form("[B, T, I]", lambda x: x)
    yield Form("[T, B, I]", lambda x: x.transpose(0, 1))
    yield Form("[B, I, T]", lambda x: x.transpose(1, 2))
    yield Form("[B, T]", lambda x: x[:, :, 0], "scalars")
    yield Form("[T, B]", lambda x: x[:, :, 0].T, "scalars")
    for is_integer in (True, False):
        for name, place in (
            ("[B, T]", lambda x: x[:, :, 0]),
            ("[T, B]", lambda x: x[:, :, 0].T),
            ("[B, T, 1]", lambda x: x),
            ("[T, B, 1]", lambda x: x.transpose(0, 1)),
            ("[B, 1, T]", lambda x: x.transpose(1, 2)),
        ):
            yield Form(f"{name} of {'integers' if is_integer else 'digits'}", place, "digits", is_integer)

    yield Form("[B, I], step by step", lambda x: x, "steps")


FORMS = tuple(_forms())


def read_logits(result: Any, sizes: LSTMSizes) -> Tensor:
    """Return what a network says about the last step, [B, C], of whatever it returned. Raises Unclear."""
    batch, time, classes = sizes.B, sizes.T, sizes.C
    if isinstance(result, Tensor):
        shape = tuple(result.shape)
        if shape == (batch, classes):
            return result
        if shape == (batch, time, classes):
            return result[:, -1]
        if shape in ((time, batch, classes), (1, batch, classes)):
            return result[-1]
        if shape == (classes, batch):
            return result.T
    elif isinstance(result, tuple | list):
        for part in [*result[::-1]] if isinstance(result, list) else result:
            try:
                return read_logits(part, sizes)
            except Unclear:
                continue
    if result is None:
        raise NotImplementedError
    shown = list(result.shape) if isinstance(result, Tensor) else short_repr(result)
    raise Unclear(
        f"forward returns {shown} for {batch} sequences, where one number per class was expected",
        "return the logits of the last step, [batch, classes]",
    )


def embedding_of(module: nn.Module) -> tuple[str, nn.Embedding] | None:
    """Return the name and module of the first embedding of a network."""
    return next(((name, each) for name, each in module.named_modules() if isinstance(each, nn.Embedding)), None)


def sample_digits(sizes: LSTMSizes, limit: int, seed: int = 30) -> Tensor:
    """Return random digits [B, T, 1] from 1 up, since 0 may stand for no digit, and below a limit."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(1, min(limit, 10), (sizes.B, sizes.T, 1), generator=rng)
