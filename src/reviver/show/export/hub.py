"""Export of a run to a folder in the layout of the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from reviver.data.describe import SequenceData
from reviver.data.images.image_set import ImageData
from reviver.errors import RunFolderError
from reviver.figures import check_writable
from reviver.files.hub import CARD, CONFIG, WEIGHTS
from reviver.gan import pretrained as gan_pretrained
from reviver.lstm import pretrained as lstm_pretrained
from reviver.settings.validation import check
from reviver.show.export.cards import gan_card, lstm_card
from reviver.train.description import Run, source_of
from reviver.train.lstm.run import LSTMRun

License = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]{0,49}$")]
"""Identifier of a license as the hub lists them, such as `mit` or `cc-by-sa-4.0`."""


def to_hub(run: Run, folder: str | Path, *, license_id: str | None = None) -> list[Path]:
    """Write the trained network of a run, of a GAN its generator or the EMA, with a model card; return the files.

    Args:
        run: a run from `load`.
        folder: where; nothing but an empty folder may exist there.
        license_id: license of the model, such as `mit`; by default that of the data, `mit` for generated sequences, and
            `unknown` for data of your own.

    Raises:
        ConfigError: if `license_id` is no identifier.
        RunFolderError: if the folder is not empty or cannot be written.
    """
    folder = Path(folder)
    check("license", license_id, License | None)
    if folder.is_dir() and any(folder.iterdir()):
        raise RunFolderError(f"{folder}: exists already and is never overwritten; choose another --out")
    if not folder.is_dir():
        check_writable(folder)
    if isinstance(run, LSTMRun):
        data = SequenceData.of_task(run.config, run.task)
        lstm_pretrained.save(run.network, folder, card=lstm_card(run, data, license_id), data=data, run=source_of(run))
    else:
        images = ImageData.model_validate(run.folder.record["data"])
        card = gan_card(run, images, license_id)
        gan_pretrained.save(run.generator, folder, card=card, data=images, run=source_of(run))
    return [folder / name for name in (CONFIG, WEIGHTS, CARD)]
