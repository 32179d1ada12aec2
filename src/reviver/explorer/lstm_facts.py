"""Facts about an LSTM run in words: its scores beside their baselines, rounding and licenses."""

from collections.abc import Sequence

from reviver.data.describe import GOALS, MNIST_TASKS, SequenceData
from reviver.data.sequences.task import CustomTask
from reviver.data.tasks.task import ACCURACY_NAMES, LOSS_NAMES, TOLERANCE
from reviver.explorer.facts import command_of, config_facts, data_license, licenses, run_facts
from reviver.explorer.manifest import Fact, Facts, Rounding, ScoreRow
from reviver.train.lstm.run import LSTMRun


def lstm_facts(run: LSTMRun, data: SequenceData, rounding: Sequence[Rounding]) -> Facts:
    """Return the facts about an LSTM run.

    Args:
        run: the run.
        data: what its network reads and predicts.
        rounding: of the embedded networks.
    """
    scores, note = score_rows(run, data)
    return Facts(
        run=[*task_facts(run, data), *run_facts(run), *precision_facts(run)],
        config=config_facts(run),
        command=command_of(run),
        scores=scores,
        scores_note=note,
        rounding=rounding,
        licenses=licenses(*data_licenses(run)),
    )


def stage_name(run: LSTMRun, epoch: int, *, is_measured: bool) -> str:
    """Return the name of the trained network, such as "epoch 100".

    Args:
        run: the run.
        epoch: its complete epochs.
        is_measured: whether its weights are those at the end of this epoch.
    """
    if not is_measured:
        return f"update {run.step:,}"
    return f"epoch {epoch}, the best" if run.checkpoint == "best" else f"epoch {epoch}"


def task_facts(run: LSTMRun, data: SequenceData) -> list[Fact]:
    """Return what the network has learned, and from which data."""
    facts = [Fact(label="task", value=GOALS[data.task], note=data.task)]
    if isinstance(run.task, CustomTask):
        record = run.task.data
        size = f"{record.num_sequences:,} sequences of up to {record.max_length:,} steps"
        facts.append(Fact(label="data", value=record.name, note=size))
    return facts


def precision_facts(run: LSTMRun) -> list[Fact]:
    """Return what differs between the arithmetic of the run and that of the page."""
    note = "from rounded weights, see the rounding"
    facts = [Fact(label="arithmetic of the page", value="double precision", note=note)]
    if run.config.precision == "bf16":
        note = "The page does not round the operands of matrix products to bfloat16; this difference is part of the rounding."
        facts.append(
            Fact(label="arithmetic of the run", value="bfloat16 operands, sums in single precision", note=note)
        )
    return facts


def score_rows(run: LSTMRun, data: SequenceData) -> tuple[list[ScoreRow], str]:
    """Return the metrics of the last complete epoch beside chance and the baseline, and how they were measured."""
    metrics = next((record for record in reversed(run.metrics) if record["step"] <= run.step), None)
    if metrics is None:
        return [], "The run has no complete epoch, so nothing was measured."
    length = metrics.get("length", run.config.length)
    accuracy = "accuracy" if data.target == "class" else f"accuracy of {ACCURACY_NAMES[data.target]}"
    chance = f"{100 * run.task.chance:.3g} %"
    loss, baseline = LOSS_NAMES[data.target], f"{run.task.baseline(length):.4g}"
    rows = [
        ScoreRow(name=f"{split} {name}", value=value, real=None, noise=reference)
        for split in ("validation", "train")
        if metrics[f"{split}_loss"] is not None
        for name, value, reference in (
            (accuracy, f"{100 * metrics[f'{split}_accuracy']:.2f} %", chance),
            (loss, f"{metrics[f'{split}_loss']:.4g}", baseline),
        )
    ]
    trained = metrics["train_loss"] is not None
    note = (
        f"Measured after epoch {metrics['epoch']}: on the validation set without dropout"
        f"{', on the training set with dropout' if trained else ''}. The accuracy stands beside that of the best constant "
        "guess, the loss beside that of the best prediction without memory."
    )
    if run.config.curriculum and trained:
        note += f" The sequences of this epoch have length {length:,}."
    elif run.config.curriculum:
        note += f" The sequences have length {length:,}, at which the network was validated, but not trained."
    if data.target == "number":
        note += f" A number counts as correct within {TOLERANCE}."
    return rows, note


def data_licenses(run: LSTMRun) -> list[Fact]:
    """Return the license of the embedded sequences, where it is not that of the page."""
    if run.config.task in MNIST_TASKS:
        return [data_license("images", "mnist", "mnist")]
    if isinstance(run.task, CustomTask):
        return [Fact(label="sequences", value="not known to Reviver", note=run.task.data.name)]
    return []
