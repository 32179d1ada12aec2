"""The schema of the JSON in a run folder: run.json and the lines of records files.

Every reader of these files validates them. The comment on a key gives its meaning and unit, its type gives its range.
What a network adds, `reviver.runs.records` declares.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationError

from reviver.files.file_errors import damaged_run_file
from reviver.settings.validation import MAX_INTEGER, Record, find_problem

SCHEMA = 1
"""Version of the run folder, in run.json; it stays 1 until the first release."""
ABSENT: Any = None
"""Default of a key that a file may lack. It does not make null valid: that depends on the type of the key."""

Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

Step = Count  # updates so far
Epoch = Count  # epochs so far
Seconds = NonNegative  # of training so far, without evaluation


class CustomPart(Record):
    """File of a user-defined class."""

    file: str  # its name in `parts/`
    sha256: Sha256  # SHA-256 of it


class Rollback(Record):
    """Rollback to the last checkpoint after a value that was not finite."""

    step: Step  # at which a value was not finite
    quantity: str  # that value, such as `train loss`
    back_to: Step  # of the checkpoint


class RunRecord(Record):
    """Content of run.json. Keys that an interrupted run lacks are optional."""

    schema_version: Annotated[int, Field(ge=SCHEMA, le=SCHEMA)] = Field(alias="schema")  # version of the run folder
    kind: Literal["lstm", "gan"]
    status: Literal["running", "finished", "interrupted", "failed"] = "running"  # a killed run stays `running`
    config: dict[str, Any]  # every setting
    command: str = ABSENT  # command line
    started: str = ABSENT  # UTC, ISO 8601
    updated: str = ABSENT  # the same
    seconds: Seconds = ABSENT
    eval_seconds: NonNegative = ABSENT
    versions: dict[str, str] = ABSENT  # of Python and of packages
    hardware: dict[str, Any] = ABSENT  # on which the run began, see `reviver.runs.environment.describe_machine`
    parts: dict[str, CustomPart] = ABSENT  # user-defined classes by their setting, see settings/parts.py
    error: str = ABSENT  # message of the error that ended a failed run
    rollbacks: list[Rollback] = ABSENT  # oldest first
    changes: list[dict[str, Any]] = ABSENT  # of the environment at resumes: [before, after] by key


class Line(Record):
    """One line of a records file."""

    compared: ClassVar[tuple[str, ...]] = ()  # keys that compare runs: TensorBoard's table of hyperparameters has them


def validate(model: type[Record], value: object, location: object) -> None:
    """Raise `RunFolderError`, naming `location` and the first invalid key, unless the JSON object `value` fits `model`."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        known = tuple(field.alias or name for name, field in model.model_fields.items())
        raise damaged_run_file(location, find_problem(error, known)) from error
