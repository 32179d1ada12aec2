"""Saving a network and loading it again, for every class of this room."""

from typing import Any

from reviver.files import hub


class PretrainedMixin(hub.PretrainedMixin):
    """A network of the family in `reviver.lstm.pretrained`."""

    @classmethod
    def _family(cls) -> Any:
        from reviver.lstm import pretrained  # imports much that a layer does not need

        return pretrained.FAMILY
