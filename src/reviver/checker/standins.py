"""Stand-ins for what is not on this machine: modules that do nothing, data sets of images that have items, and texts.

Shapes: C channels, H height, W width.
"""

import builtins
import dis
import io
import math
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import MagicMock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

NUMBER, LENGTH, BATCH_SIZE = 640, 60_000, 64
"""Different images of a data set, how many it has if its name is known, and how many a batch."""
GRAY = ("USPS", "QMNIST", "Omniglot")
CLASSES = {
    "Fashion": "T-shirt/top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Ankle_boot",
    "CIFAR10": "airplane automobile bird cat deer dog frog horse ship truck",
}
"""Names of the classes by the beginning of a data set's name."""
FORMS: list[tuple[tuple[int, ...], bool]] = [
    (shape, has_label)
    for shape in ((3, 64, 64), (1, 28, 28), (3, 32, 32), (3, 128, 128))
    for has_label in (True, False)
]
"""Shapes that the images of an unknown data set may have, and whether an item of one without a name has a label."""
MISFIT = "'(list|tuple)' object|not list|to unpack|size|shape|channels|dimension"
"""Words in the error of code that gets another form."""
TEXT = "the quick brown fox jumps over the lazy dog, and the dog sleeps on until it is late at night\n" * 60
"""What stands in a text that is read and is not there."""
OPEN = builtins.open


USUAL: dict[str, Any] = {
    "torch": torch,
    "nn": nn,
    "F": functional,
    "np": np,
    "optim": torch.optim,
    "os": os,
    "math": math,
}
USUAL |= {"DataLoader": DataLoader, "Dataset": Dataset, "Tensor": Tensor}
"""What a module that is imported with a star may be there for."""
FUNCTIONS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}
"""What a module that is missing may have, too."""


class StandIn(MagicMock):
    """A module, or what is in it, that does nothing, whatever is asked of it; as a decorator it returns the function."""

    __all__ = tuple(USUAL)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.__bool__, self.__len__ = lambda _: False, lambda _: NUMBER
        self.__iter__ = StandIn.iterate

    def iterate(self) -> Iterator[Any]:
        """Yield as many stand-ins as it is unpacked to; batches of images if its name says that it loads data; or nothing."""
        frame = sys._getframe(1)
        while "mock" in frame.f_code.co_filename and frame.f_back:
            frame = frame.f_back
        operation, number = frame.f_code.co_code[frame.f_lasti : frame.f_lasti + 2]
        name = self._extract_mock_name()
        if dis.opname[operation] == "UNPACK_SEQUENCE":
            return iter([StandIn(name=f"{name} {index}") for index in range(number)])
        return iter(DataLoader(Images(""), BATCH_SIZE) if re.search("load|data", name.lower()) else ())

    def __getattr__(self, name: str) -> Any:
        if name.lower() == "device":
            return torch.device("cpu")
        known = USUAL | FUNCTIONS
        return known[name] if name in known else super().__getattr__(name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Return the function that is decorated, or another stand-in."""
        found = next((each for each in (*args, *options.values()) if isinstance(each, Transform)), None)
        if found:  # a data set of a module that is missing
            return Images("", transform=found)
        is_decorator = len(args) == 1 and callable(args[0]) and not options
        return args[0] if is_decorator else super().__call__(*args, **options)

    def __format__(self, spec: str) -> str:
        return ""

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (object,)


@cache
def images_of(shape: tuple[int, ...]) -> Tensor:
    """Return images [N, C, H, W] from 0 to 1."""
    return torch.rand(NUMBER, *shape, generator=torch.Generator().manual_seed(0))


class Transform:
    """A transformation of torchvision, of a tensor [C, H, W] from 0 to 1; those that are not known change nothing."""

    def __init__(self, name: str, *args: Any, **options: Any) -> None:
        self.name, self.args = name, [*args, *options.values()]

    def __call__(self, x: Tensor) -> Tensor:
        """Return what it makes of an image."""
        first = self.args[0] if self.args else None
        if self.name in ("Compose", "RandomApply", "Sequential"):
            for each in first or ():
                x = each(x) if callable(each) else x
        elif self.name in ("Resize", "CenterCrop", "RandomCrop", "RandomResizedCrop"):
            size = (first, first) if isinstance(first, int) else tuple(first or x.shape[1:])
            x = functional.interpolate(x[None], size)[0]
        elif self.name == "Normalize":
            mean, std = (torch.as_tensor(each, dtype=x.dtype).reshape(-1)[: len(x)] for each in self.args[:2])
            x = (x - mean[:, None, None]) / std[:, None, None]
        elif self.name == "Grayscale":
            x = x.mean(0, keepdim=True).expand(first or 1, -1, -1)
        elif callable(first):
            x = first(x)
        return x


class Images(Dataset[Any]):
    """Images as a data set of a name has them: shape, range and classes."""

    made: ClassVar[list["Images"]] = []
    forms: ClassVar[list[tuple[tuple[int, ...], bool]]] = FORMS
    form: ClassVar[int] = 0
    """Which form a data set has whose name is not known."""
    is_guessed: ClassVar[bool] = False
    """Whether such a form was needed."""

    def __init__(self, name: str, *args: Any, transform: Any = None, **options: Any) -> None:
        self.is_known, is_gray = bool(name), "MNIST" in name or name in GRAY
        if is_gray or "CIFAR" in name or name == "SVHN":  # integers, as code may choose from them or read their shape
            pixels = (images_of((1, 28, 28) if is_gray else (3, 32, 32)) * 255).byte()
            self.data: Any = pixels[:, 0]
            if not is_gray:
                self.data = (pixels if name == "SVHN" else pixels.permute(0, 2, 3, 1)).numpy()
        self.transform = transform or next((each for each in args if isinstance(each, Transform)), None)
        self.targets = torch.arange(NUMBER) % 10
        words = next((words for start, words in CLASSES.items() if name.startswith(start)), "0 1 2 3 4 5 6 7 8 9")
        self.classes = [word.replace("_", " ") for word in words.split()]
        self.class_to_idx = {name: index for index, name in enumerate(self.classes)}
        self.made.append(self)
        Images.is_guessed |= not self.is_known

    def __getattr__(self, name: str) -> Any:
        if name in ("train_data", "test_data") and "data" in vars(self):  # of torchvision 0.2
            return self.data
        if name not in ("train_labels", "test_labels", "labels"):
            raise AttributeError(name)
        return self.targets

    def __len__(self) -> int:
        return LENGTH if self.is_known else NUMBER

    def __iter__(self) -> Iterator[Any]:
        return map(self.__getitem__, range(NUMBER))

    def image(self, index: int) -> Tensor:
        """Return an image as it is transformed."""
        image = images_of(self.forms[self.form][0])[index % NUMBER]
        if "data" in vars(self):
            image = torch.as_tensor(self.data[index % len(self.data)])
            image = image / 255 if image.dtype == torch.uint8 else image
            image = image[None] if image.ndim == 2 else image if len(image) == 3 else image.permute(2, 0, 1)
        return self.transform(image) if self.transform else image

    def __getitem__(self, index: int) -> Any:
        if index >= len(self):
            raise IndexError(index)
        has_label = self.is_known or self.forms[self.form][1]
        return (self.image(index), int(self.targets[index % NUMBER])) if has_label else self.image(index)


def guess_another(error: Exception) -> bool:
    """Let data whose form is not known have the next form after an error, at the end vectors as a layer takes them; return if so."""
    if not re.search(MISFIT, str(error)) or not Images.is_guessed:
        return False
    if found := re.search(r"\(\d+x\d+ and (\d+)x\d+\)", str(error)):
        vectors = [((int(found[1]),), has_label) for has_label in (True, False)]
        Images.forms = [*Images.forms, *(each for each in vectors if each not in Images.forms)]
    Images.form = (Images.form + 1) % len(Images.forms)
    return Images.form > 0


def give_images(module: nn.Module, args: tuple[Any, ...]) -> Any:
    """Give a network that returns one number for each image some in place of a stand-in, before it is called."""
    if not args or not isinstance(args[0], StandIn):
        return None
    before, data, first = Images.form, Images(""), next(module.parameters(), torch.zeros(0))
    vector = (tuple(first.shape[1:]), False)
    Images.forms = [*Images.forms, *[vector] * (first.ndim == 2 and vector not in Images.forms)]
    for form in range(len(Images.forms)):
        Images.form = form
        images = torch.stack([data.image(index) for index in range(BATCH_SIZE)])
        with suppress(Exception), torch.no_grad():
            if module(images, *args[1:]).numel() == BATCH_SIZE:
                return images, *args[1:]
    Images.form = before
    return None


BEGIN = DataLoader.__init__


def begin_loader(loader: Any, dataset: Any, *args: Any, **options: Any) -> None:
    """Build a loader of a data set, of images in its place if it has no items on this machine."""
    try:
        if not isinstance(dataset, IterableDataset):
            (options.get("collate_fn") or default_collate)([dataset[0]])
    except Exception:
        dataset = Images("")
    BEGIN(loader, dataset, *args, **options)


class Named:
    """A module in which each name is a class, of which the code may build others."""

    __path__: Sequence[str] = ()

    def __init__(self, kind: Any) -> None:
        self._kind, self._classes = kind, dict[str, type]()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in ("transforms", "datasets", "v2"):
            return self
        if name not in self._classes:

            def begin(instance: Any, *args: Any, **options: Any) -> None:
                self._kind.__init__(instance, name, *args, **options)

            self._classes[name] = type(name, (self._kind,), {"__init__": begin})
        return self._classes[name]


class HyperParameters(dict[str, Any]):
    """The arguments of a module, also by dots."""

    __getattr__ = dict.__getitem__


class Module(nn.Module):
    """A module of Lightning, or of d2l, that logs nothing."""

    device, automatic_optimization, current_epoch, global_step = "cpu", True, 0, 0

    def log(self, *args: Any, **options: Any) -> None:
        """Do nothing."""

    log_dict = prepare_data = setup = toggle_optimizer = untoggle_optimizer = log

    def save_hyperparameters(self, *args: Any, **options: Any) -> None:
        """Keep the arguments of the constructor."""
        given = sys._getframe(1).f_locals.items()
        self.hparams = HyperParameters((name, each) for name, each in given if name not in ("self", "__class__"))
        for name, value in self.hparams.items():
            if not hasattr(self, name):
                setattr(self, name, value)

    def manual_backward(self, loss: Tensor) -> None:
        """Call backward."""
        loss.backward()


class Trainer:
    """A trainer of Lightning, for one epoch."""

    def __init__(self, *args: Any, **options: Any) -> None:
        pass

    def fit(self, model: Any, *data: Any, **options: Any) -> None:
        """Train a module on a loader, or on that of a data module."""
        data = (*data, *options.values(), model)
        loader = next((each for each in data if isinstance(each, DataLoader)), None)
        if loader is None:
            source = next(each for each in data if hasattr(each, "train_dataloader"))
            source.prepare_data()
            source.setup("fit")
            loader = source.train_dataloader()
        found = model.configure_optimizers()
        found = found[0] if isinstance(found, tuple) and isinstance(found[0], list) else found
        optimizers = list(found) if isinstance(found, list | tuple) else [found]
        optimizers = [each["optimizer"] if isinstance(each, dict) else each for each in optimizers]
        model.optimizers = lambda **_: optimizers if len(optimizers) > 1 else optimizers[0]
        for index, batch in enumerate(loader):
            for number, optimizer in enumerate(optimizers if model.automatic_optimization else [None]):
                loss = model.training_step(batch, index, *[number] * (len(optimizers) > 1 and optimizer is not None))
                if optimizer is not None:
                    optimizer.zero_grad()
                    (loss["loss"] if isinstance(loss, dict) else loss).backward()
                    optimizer.step()


def add_to_class(cls: type) -> Any:
    """Return a decorator that makes a function a method, as d2l has it."""
    return lambda function: setattr(cls, function.__name__, function)


MODULES: dict[str, Any] = {"torchvision.datasets": Named(Images), "torchvision.transforms": Named(Transform)}
MODULES["torchvision"] = StandIn(datasets=MODULES["torchvision.datasets"], transforms=MODULES["torchvision.transforms"])
MODULES |= dict.fromkeys(
    ("lightning", "pytorch_lightning"), StandIn(LightningModule=Module, LightningDataModule=Module, Trainer=Trainer)
)
MODULES |= {"d2l": StandIn(torch=StandIn(Module=Module, Classifier=Module, add_to_class=add_to_class))}
MODULES |= {"d2l.torch": MODULES["d2l"].torch}
"""Stand-ins of modules that do something."""


def list_folder(path: Any = ".", *, of: Any = os.listdir) -> list[Any]:
    """Return what is in a folder; one that is not there is empty."""
    return list(of(path)) if isinstance(path, int) or Path(os.fsdecode(path)).is_dir() else []


def make_folder(path: Any, *args: Any, of: Any = os.mkdir, **options: Any) -> None:
    """Make a folder, if it is not there, which an earlier try may have made."""
    if not Path(os.fsdecode(path)).is_dir():
        of(path, *args, **options)


def open_file(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
    """Open a file; one to read that is not there has a text, or a table if its name says so."""
    is_there = not isinstance(file, str | Path) or Path(file).exists()
    text = table_of("mnist" in str(file).lower(), Images.forms[Images.form][1]) if str(file).endswith(".csv") else TEXT
    if is_there or "r" not in mode or ("b" in mode and text is TEXT):
        return OPEN(file, mode, *args, **options)
    Images.is_guessed |= text is not TEXT
    return io.BytesIO(text.encode()) if "b" in mode else io.StringIO(text)


@cache
def table_of(has_images: bool, has_label: bool) -> str:
    """Return rows of numbers with commas between them: 28 x 28 pixels, perhaps behind a label, or eleven numbers."""
    pixels = images_of((1, 28, 28))[:200].flatten(1)
    rows = pixels[:, :11]
    if has_images:
        rows = torch.cat([torch.arange(200)[:, None] % 10] * has_label + [(255 * pixels).floor()], 1)
    return "\n".join(",".join(f"{number:.4g}" for number in row) for row in rows.tolist())


def read_table(read: Any, file: Any, *args: Any, **options: Any) -> Any:
    """Read an array from a file, one that is not there from a table."""
    return read(open_file(file) if isinstance(file, str | Path) else file, *args, **options)
