"""What training recorded of a run: all that the page has of one whose networks it cannot run.

The page cannot run a GRU, nor cells and networks of the user's own. Writing it runs none of their code.
"""

from typing import Any

from reviver.data.build import SequenceData
from reviver.explorer.blocks import Blocks
from reviver.explorer.facts import gan_facts, lstm_facts, to_columns
from reviver.explorer.gan_images import embed_snapshots
from reviver.explorer.manifest import RecordedGan, RecordedLstm, RunName
from reviver.gan.losses import describe_losses
from reviver.train.opened import OpenedRun


def collect_records(
    run: OpenedRun, blocks: Blocks, id_: str, *, name: RunName, with_data: bool
) -> RecordedGan | RecordedLstm:
    """Return what training recorded of a run, and add its images to `blocks`, with the prefix `id_`."""
    if run.kind == "gan":
        records = gan_records(run, blocks, id_, name=name, with_data=with_data)
        return RecordedGan(**records, facts=gan_facts(run))
    return RecordedLstm(
        **lstm_records(run, id_, name=name), facts=lstm_facts(run, SequenceData.of_task(run.config, run.task))
    )


def gan_records(run: OpenedRun, blocks: Blocks, id_: str, *, name: RunName, with_data: bool) -> dict[str, Any]:
    """Return the fields of `RecordedGan` but `facts`, and add the images of the snapshots to `blocks`."""
    columns = {
        kind: to_columns([record for record in records if record["step"] <= run.step])
        for kind, records in (("metrics", run.metrics), ("scores", run.scores))
    }
    return {
        "id": id_,
        "name": name.name,
        "image_shape": run.image_shape,
        "is_log_odds": describe_losses(run.config.loss).smoothed is not None,
        "snapshots": embed_snapshots(run, f"{id_}-snapshots", blocks, with_real=with_data),
        **columns,
    }


def lstm_records(run: OpenedRun, id_: str, *, name: RunName) -> dict[str, Any]:
    """Return the fields of `RecordedLstm` but `facts`."""
    return {
        "id": id_,
        "name": name.name,
        "target": run.task.target,
        "output_size": run.task.output_size,
        "metrics": to_columns(run.metrics),
    }
