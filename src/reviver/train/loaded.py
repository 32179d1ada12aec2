"""What a loaded run of either network has: metrics, also as columns, figures, and the explorer."""

import importlib
from typing import TYPE_CHECKING, Any, Literal

from reviver.runs.folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class LoadedRun:
    """Base of `LSTMRun` and `GANRun`."""

    folder: RunFolder
    """Run folder that it was loaded from."""

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Metrics of each epoch of an LSTM, or every `log_every` updates of a GAN, as in metrics.jsonl."""
        return self.folder.read_metrics()

    def table(self, name: Literal["metrics", "scores"] = "metrics") -> dict[str, list[Any]]:
        """Return metrics, or `scores` of a GAN, by column; `pandas.DataFrame` and `polars.DataFrame` take it."""
        rows = self.folder.read_metrics() if name == "metrics" else self.folder.read_scores()
        return {
            column: [row.get(column) for row in rows] for column in dict.fromkeys(key for row in rows for key in row)
        }

    def plot(self, name: str = "curves") -> "Figure":
        """Return a figure of the run, which a notebook shows: `curves`, or of a GAN also `scores` or `samples`.

        Raises:
            ConfigError: if the run has no such figure.
            RunFolderError: if it has no metrics yet.
        """
        figure: Figure = importlib.import_module("reviver.show.curves").plot_run(self, name)
        return figure

    def explore(self, **options: Any) -> Any:
        """Return the explorer of the run, which a notebook shows; see `reviver.explore`."""
        return importlib.import_module("reviver").explore(self, **options)
