"""Build the explorer from run folders."""

import html
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple

from reviver.data.images.named import MNIST_30K, read_small_mnist
from reviver.errors import ConfigError, RunFolderError
from reviver.explorer.blocks import Blocks, encode_u2
from reviver.explorer.facts import can_run, data_license
from reviver.explorer.gan import collect_gan, embed_classifier
from reviver.explorer.lstm import collect_lstm
from reviver.explorer.manifest import ClassifierSpec, Manifest, RunName, TrainingImages
from reviver.files.atomic import write_text
from reviver.gan.scores.feature_extractor import DigitClassifier
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.opened import OpenedRun
from reviver.version import __version__

MAX_BYTES = 64 << 20
"""Size of a page; a browser on a phone opens no larger one."""
CLASSIFIER_BITS = 6
"""Significant bits of the classifier's weights in a page without a GAN; of 1000 test images none changes its class."""

TITLE, DATA = "<!--title-->", "<!--data-->"
SANDBOX = "allow-scripts allow-downloads"
"""What the page may do in a notebook. It has an origin of its own, so it cannot reach the notebook or its server."""
MANIFEST = "manifest"
"""Id of the data block with the manifest."""

_log = logging.getLogger(__name__)


class Page(NamedTuple):
    """The explorer of some runs; a notebook shows it if it is the value of a cell."""

    title: str
    """Title, for screen readers."""
    html: str
    block_sizes: Mapping[str, int]
    """Bytes in the page of each data block, by id."""
    height: int = 720
    """Height in a notebook, in pixels."""

    def _repr_html_(self) -> str:
        """Return the page in a sandboxed frame, for notebooks."""
        return (
            f'<iframe sandbox="{SANDBOX}" title="{html.escape(self.title)}" width="100%" height="{self.height}" '
            f'style="border: 0" srcdoc="{html.escape(self.html)}"></iframe>'
        )

    def __repr__(self) -> str:
        """Return a short description, without the page."""
        return f"<{self.title}, {len(self.html) / 1e6:.1f} MB>"

    def save(self, path: str | Path) -> None:
        """Write the page to `path`; RunFolderError if that fails."""
        write_text(Path(path), self.html)


def build_page(
    runs: Sequence[OpenedRun],
    *,
    num_training: int | None = None,
    with_data: bool = True,
    trains_gan: bool = False,
) -> Page:
    """Build the explorer of some runs; the same runs give the same page. Without runs it can only train.

    A run that is given twice is there once; of one whose networks the page cannot run, it has what their training recorded.
    `num_training` and `with_data` are those of `reviver.explore`; `trains_gan` embeds images on which the page trains a GAN,
    which a page without runs has anyway.

    Raises:
        ConfigError: if the page would be too large.
        RunFolderError: if a file of a run is damaged, its weights are not finite, or it is still training.
    """
    distinct: dict[Path, OpenedRun] = {}
    for run in runs:
        if distinct.setdefault(run.folder.path.resolve(), run) is not run:
            _log.warning("%s: was given twice; the page has it once", run.folder.path)
    runs = [run.to("cpu") for run in distinct.values()]  # where the page is computed
    for run in runs:
        if run.folder.is_training:
            raise RunFolderError(
                f"{run.folder.path}: is still training; wait until it has finished, or stop it with Ctrl-C first"
            )
        networks = run.networks.values() if can_run(run) else ()
        tensors = [tensor for network in networks for tensor in network.state_dict().values()]
        if not all(bool(tensor.isfinite().all()) for tensor in tensors):
            raise RunFolderError(
                f"{run.folder.path}: has weights that are not finite, so there is nothing to show; train it again"
            )
    blocks = Blocks()
    contents: dict[str, list[Any]] = {"gan": [], "lstm": [], "recorded": []}
    digit_classifier: ClassifierSpec | None = None
    for run, name in zip(runs, name_runs([run.folder.path for run in runs]), strict=True):
        _log.info("%s: embedding networks and images", run.folder.path)
        if run.folder.status == "running":
            _log.warning("%s: was killed while it trained; the page shows update %d", run.folder.path, run.step)
        kind = str(run.kind) if can_run(run) else "recorded"
        place: Any = run, blocks, f"{kind}-{len(contents[kind])}"
        if run.kind == "gan":
            content: Any = collect_gan(*place, name=name, num_training=num_training, with_data=with_data)
        else:
            content = collect_lstm(*place, name=name, with_data=with_data)
        contents[kind].append(content)
        if kind == "gan" and run.is_digits and run.config.extractor is None:
            digit_classifier = content.classifier
    names = ", ".join(content.name for kind in contents.values() for content in kind)
    manifest = Manifest(
        version=__version__,
        title=f"Explorer of {names}" if names else "An LSTM and a GAN that learn in the browser",
        gans=contents["gan"],
        lstms=contents["lstm"],
        recorded=contents["recorded"],
        training_images=_training_images(blocks, digit_classifier) if trains_gan or not runs else None,
        lstm_config=asdict(LSTMConfig()),
        gan_config=asdict(GANConfig()),
    )
    page = Page(manifest.title, render_page(manifest, blocks), {id_: len(text) for id_, text in blocks.texts.items()})
    if len(page.html) > MAX_BYTES:
        sizes = f"about {len(page.html) / 1e6:.0f} MB, and the limit is {MAX_BYTES / 1e6:.0f} MB"
        remedy = "give fewer runs, --training-images 0, or train with a smaller --image-size"
        raise ConfigError(f"the page would have {sizes}; {remedy}")
    return page


def _training_images(blocks: Blocks, classifier: ClassifierSpec | None) -> TrainingImages:
    """Return the images on which the page trains a GAN, and add them to `blocks`; also a classifier unless there is one."""
    images = read_small_mnist().images[:, None]
    data = blocks.add_tensors("training-images", {"images": encode_u2(images)})
    if classifier is None:
        names = [str(digit) for digit in range(10)]
        classifier, _ = embed_classifier(
            DigitClassifier.pinned(), names, blocks, "training-classifier", CLASSIFIER_BITS
        )
    license_ = data_license(MNIST_30K, MNIST_30K)
    return TrainingImages(data=data, source=MNIST_30K, license=license_, classifier=classifier)


def render_page(manifest: Manifest, blocks: Blocks) -> str:
    """Return the template of `web/build.mjs`, filled with the title and the data blocks, to which the manifest is added.

    Its content security policy allows one script and one style, by their hashes, so nothing of a run may become either.
    """
    blocks.add(MANIFEST, manifest.model_dump_json(by_alias=True, exclude_none=False).encode())
    data = "\n".join(f'<script type="text/plain" id="{name}">{text}</script>' for name, text in blocks.texts.items())
    page = (files("reviver.explorer") / "template.html").read_text(encoding="utf-8")
    return page.replace(TITLE, html.escape(manifest.title), 1).replace(DATA, data, 1)


def name_runs(paths: Sequence[Path]) -> list[RunName]:
    """Return the names of runs in the folders `paths`; in commands, a name like an option begins with ./."""
    found: dict[str, RunName] = {}
    for path in paths:
        name = _printable(path.resolve().name)
        unique = next(text for text in chain([name], (f"{name} ({n})" for n in count(2))) if text not in found)
        argument = name if path.is_absolute() else _printable(str(path))
        found[unique] = RunName(unique, f"./{argument}" if argument.startswith("-") else argument)
    return list(found.values())


def _printable(text: str) -> str:
    """Return a file name as UTF-8 can hold it: bytes of a name that are no UTF-8 become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8") or "run"
