"""Accuracy on data sets of the UCR and UEA archives: what each option of the LSTM buys. Takes hours.

    python -m benchmarks.series [GOAL ...] [--seeds N] [--jobs N]

It reads the sets from the package aeon (pip install aeon) and uses their own test sets. The runs are a sweep in
runs/series. Finished runs are skipped, so the same command continues after Ctrl-C. At the end, also after Ctrl-C, the
results are written to docs/measurements/series.json.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from benchmarks.measure import ROOT, Goal, json_of, measure_goals, trained
from reviver.files.atomic import atomic_write, write_text
from reviver.sweep.trials import Trial

RUNS = ROOT / "runs" / "series"
DEVELOPMENT_SETS = ("JapaneseVowels", "GunPoint", "ArrowHead")
"""Sets that the settings of the preset were chosen on."""
OTHER_SETS = ("BasicMotions", "ItalyPowerDemand", "OSULeaf", "PickupGestureWiimoteZ", "ACSF1")
"""Sets that the settings were not chosen on. Only the pooling of the preset was also compared on BasicMotions,
ItalyPowerDemand and PickupGestureWiimoteZ."""

BIDIRECTIONAL = ("--bidirectional",)
PATCHES = (*BIDIRECTIONAL, "--pooling", "max", "--patch-size", "auto")
CLIPPING = ("--max-norm", "1")
SERIES = ("--preset", "series")
VARIANTS = {
    "default": ("default settings", ()),
    "bidirectional": ("+ bidirectional", BIDIRECTIONAL),
    "mean": ("+ mean pooling", (*BIDIRECTIONAL, "--pooling", "mean")),
    "attention": ("+ attention pooling", (*BIDIRECTIONAL, "--pooling", "attention")),
    "max": ("+ max pooling", (*BIDIRECTIONAL, "--pooling", "max")),
    "patches": ("+ max pooling, patches", PATCHES),
    "clipping": ("+ max pooling, patches, clipping at 1, early stopping", (*PATCHES, *CLIPPING, "--patience", "20")),
    "series": ("preset series", SERIES),
    "series-forward": ("series, one direction", (*SERIES, "--no-bidirectional")),
    "series-max": ("series, max pooling", (*SERIES, "--pooling", "max")),
    "series-mean": ("series, mean pooling", (*SERIES, "--pooling", "mean")),
    "series-attention": ("series, attention pooling", (*SERIES, "--pooling", "attention")),
    "series-steps": ("series, no patches", (*SERIES, "--patch-size", "1")),
    "series-dropout": ("series, no hidden dropout", (*SERIES, "--hidden-dropout", "0")),
    "series-clipping": ("series, clipping at 10", (*SERIES, "--max-norm", "10")),
}
"""Name and options of each variant. Those with + add to the default settings, the others change the preset."""


@dataclass(frozen=True)
class Variant(Goal):
    """Options of the training command on a data set of aeon; each seed has a split of its own, too."""

    data: str = ""
    options: tuple[str, ...] = ()


GOALS = [
    Variant(f"{data}-{name}", VARIANTS[name][0], data=data, options=VARIANTS[name][1])
    for names, sets in ((VARIANTS, DEVELOPMENT_SETS), (("default", "series"), OTHER_SETS))
    for name in names
    for data in sets
]


def make_trial(goal: Variant, seed: int) -> Trial:
    """Return the trial that trains and evaluates one seed of a goal."""
    arguments = {"seed": seed, "data": goal.data, "options": list(goal.options)}
    return Trial(measure, arguments, {"goal": goal.name, "seed": seed})


def measure(folder: Path, *, seed: int, data: str, options: list[str]) -> dict[str, Any]:
    """Train a run in `folder`, unless it is finished, and evaluate it."""
    train, test = prepare(data)
    command = ["reviver", "lstm", "train", *options, "--data", str(train.relative_to(ROOT)), "--seed", str(seed)]
    record, _ = trained(command, folder / "run")
    scores = json_of("lstm", "evaluate", str(folder / "run"), "--data", str(test))
    return {
        "seed": seed,
        "command": " ".join(command),
        "data": data_sizes(train, test),
        "epochs": record.read_metrics()[-1]["epoch"],
        "seconds": record.record["seconds"],
        "threads": record.record["hardware"]["threads"],
        "checkpoint": scores["checkpoint"],
        "accuracy": scores["accuracy"],
        "balanced_accuracy": scores["balanced_accuracy"],
        "chance": scores["chance"],
        "dtw_accuracy": dtw_accuracy(data),
    }


def parts_of(name: str) -> list[tuple[Any, NDArray[np.str_]]]:
    """Return the training and the test part of a data set: series [I, T] each, and their classes."""
    from aeon import datasets

    folder = Path(datasets.__file__).parent / "data" / name
    return [datasets.load_from_ts_file(str(folder / f"{name}_{part}.ts")) for part in ("TRAIN", "TEST")]


def prepare(name: str) -> list[Path]:
    """Return the paths of the parts of a data set as .npz files, which are written if they do not exist."""
    paths = [RUNS / "data" / f"{name}_{part}.npz" for part in ("TRAIN", "TEST")]
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{paths[0]}.lock"):  # other trials need the same files
        if not paths[1].exists():
            for path, (series, y) in zip(paths, parts_of(name), strict=True):
                lengths = np.array([x.shape[1] for x in series])
                padded = [np.pad(x.T, ((0, lengths.max() - len(x.T)), (0, 0))) for x in series]
                with atomic_write(path) as temporary, temporary.open("wb") as file:
                    np.savez(file, x=np.array(padded, np.float32), y=y, lengths=lengths)
    return paths


def data_sizes(train: Path, test: Path) -> dict[str, int]:
    """Return the size of a data set."""
    with np.load(train) as first, np.load(test) as second:
        return {
            "train": len(first["y"]),
            "test": len(second["y"]),
            "max_length": first["x"].shape[1],
            "channels": first["x"].shape[2],
            "classes": len(set(first["y"])),
        }


def dtw_accuracy(name: str) -> float:
    """Return the accuracy of the nearest neighbor by dynamic time warping, without a window (Sakoe & Chiba 1978)."""
    from aeon.classification.distance_based import KNeighborsTimeSeriesClassifier

    path = RUNS / "data" / f"{name}-dtw.json"
    with FileLock(f"{path}.lock"):  # other trials need the same file
        if not path.exists():
            train, test = parts_of(name)
            nearest = KNeighborsTimeSeriesClassifier(n_neighbors=1, distance="dtw").fit(*train)
            write_text(path, json.dumps(nearest.score(*test)))
    return float(json.loads(path.read_text()))


def main() -> None:
    measure_goals("series", __doc__, "Results on sets of UCR and UEA", GOALS, make_trial)


if __name__ == "__main__":
    main()
