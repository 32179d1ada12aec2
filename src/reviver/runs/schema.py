"""The schema of the JSON in a run folder: run.json, the lines of records files, and the metadata of checkpoints.

Every reader of these files validates them. The comment on a key gives its meaning and unit, its type gives its range.
What a network adds, `reviver.runs.records` declares.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationError, create_model, model_validator

from reviver.files.file_errors import damaged_run_file
from reviver.settings.validation import MAX_INTEGER, Record, find_problem

SCHEMA = 1
"""Version of the run folder, in run.json; it stays 1 until the first release."""
MAX_TEXT = 100_000
"""Maximum length of a text such as an error or a command line, in characters."""
ABSENT: Any = None
"""Default of a key that a file may lack. It does not make null valid: that depends on the type of the key."""

Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Name = Annotated[str, Field(max_length=1000)]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Pair = Annotated[list[Name | Count | None], Field(min_length=2, max_length=2)]

Step = Count  # updates so far
Epoch = Count  # epochs so far
Seconds = NonNegative  # of training so far, without evaluation
Time = Annotated[str, Field(max_length=100)]  # UTC, ISO 8601


class Machine(Record):
    """Hardware and system that a run computes on."""

    processor: Name  # model of the processor
    cores: Count | None = None  # logical cores; null if unknown
    threads: Count  # threads that torch computes with
    memory_gb: NonNegative = ABSENT  # main memory in GiB
    device: Name  # `cpu`, `mps`, or the name of a GPU
    system: Name  # operating system and architecture
    native: Name = ABSENT  # build of the native code, such as `prebuilt x86-64-v3`; `none` if it is not used
    processes: Annotated[int, Field(ge=1, le=MAX_INTEGER)] = ABSENT  # that train together; absent: one
    backend: Name = ABSENT  # through which they communicate, gloo or nccl


class CustomPart(Record):
    """File of a user-defined class."""

    file: Name  # its name in `parts/`
    sha256: Sha256  # SHA-256 of it


class Rollback(Record):
    """Rollback to the last checkpoint after a value that was not finite."""

    step: Count = Field(description="Update at which a value was not finite.")
    quantity: Name = Field(description="That value, such as `train loss`.")
    back_to: Count = Field(description="Update of the checkpoint.")


class RunRecord(Record):
    """Content of run.json. Keys that an interrupted run lacks are optional."""

    schema_version: Annotated[int, Field(ge=SCHEMA, le=SCHEMA)] = Field(alias="schema")  # version of the run folder
    kind: Literal["lstm", "gan"]
    status: Literal["running", "finished", "interrupted", "failed"] = "running"  # a killed run stays `running`
    config: dict[str, Any]  # every setting
    command: Text = ABSENT  # command line
    started: Time = ABSENT
    updated: Time = ABSENT
    seconds: Seconds = ABSENT
    eval_seconds: NonNegative = ABSENT
    versions: dict[Name, Name] = ABSENT  # of Python and of packages
    hardware: Machine = ABSENT  # on which the run began
    parts: dict[Name, CustomPart] = ABSENT  # user-defined classes by their setting, see settings/parts.py
    error: Text = ABSENT  # message of the error that ended a failed run
    rollbacks: list[Rollback] = ABSENT  # oldest first
    changes: list[dict[Name, Time | Pair]] = ABSENT  # of the environment at resumes: [before, after] by key

    @model_validator(mode="after")
    def _check(self) -> "RunRecord":
        if self.status == "finished" and self.seconds is None:
            raise ValueError("seconds is missing, and the run has finished")
        return self


class Line(Record):
    """One line of a records file."""

    compared: ClassVar[tuple[str, ...]] = ()  # keys that compare runs: TensorBoard's table of hyperparameters has them


class Best(Record):
    """Position of the best weights; a loop adds their metrics."""

    step: Step


class Extra(Record):
    """State of a training loop beyond its tensors and counters; a loop adds its own."""

    best: Best = ABSENT  # of the best weights
    rollbacks: list[Rollback] = ABSENT  # oldest first


class Position(Record):
    """Metadata of a checkpoint: the position at which training continues."""

    epoch: Count  # of the next batch, from 0
    batch: Count  # index of the next batch in its epoch
    step: Step
    seconds: Seconds
    metrics_count: Count  # lines of metrics.jsonl
    scores_count: Count = ABSENT  # lines of scores.jsonl, of a run that writes them
    extra: Extra


def position_model(extra: type[Extra]) -> type[Position]:
    """Return the model of the position of a loop with the state `extra`."""
    return Position if extra is Extra else create_model("Position", __base__=Position, extra=(extra, ...))


def validate(model: type[Record], value: object, location: object) -> None:
    """Raise `RunFolderError`, naming `location` and the first invalid key, unless the JSON object `value` fits `model`."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        known = tuple(field.alias or name for name, field in model.model_fields.items())
        raise damaged_run_file(location, find_problem(error, known)) from error
