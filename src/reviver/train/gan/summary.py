"""Summary of a GAN run: its scores in words."""

from reviver.gan.scores.scores import SCORE_LABELS
from reviver.train.description import ScoreItem, ScoreTable
from reviver.train.gan.run import GANRun


def scores_of(run: GANRun) -> ScoreTable:
    """Return the last scores before the checkpoint beside those of real images and, if they were recorded, of noise."""
    scores = next((record for record in reversed(run.scores) if record["step"] <= run.step), None)
    if scores is None:
        return ScoreTable([], "The run was not evaluated while it trained. `reviver gan evaluate` does it afterward.")
    real, noise = scores["real_baseline"], scores.get("noise_baseline")
    items = [
        ScoreItem(label, scores[key], f"{scores[key]:.4g}", f"{real[key]:.4g}", f"{noise[key]:.4g}" if noise else None)
        for key, label in SCORE_LABELS.items()
    ]
    later = "" if scores["step"] == run.step else f" The networks shown here are of update {run.step:,}."
    warning = f" Warning: {scores['warning']}." if scores["warning"] else ""
    return ScoreTable(
        items,
        f"{scores['num_samples']:,} samples against the test images, after epoch {scores['epoch']} (update "
        f"{scores['step']:,}).{later} Features of the {scores['extractor']}, k = {scores['k']}. Real images are as many "
        "training images, noise is as many images of random pixels. Compare such scores only with the same extractor and "
        f"number of samples; they are not the Inception FID.{warning}",
    )
