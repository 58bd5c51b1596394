"""The base of every spec, and the bounds of its numbers."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

# Beyond these a number in a file is a slip, and some are more than a machine can count.
DEEPEST = 99_999
MOST_UPDATES = 10**11
MOST_IMAGES = 10**6  # of an update
MOST_PIXELS = 10**4  # of a side

Updates = Annotated[int, Field(gt=0, le=MOST_UPDATES)]
Side = Annotated[int, Field(gt=0, le=MOST_PIXELS)]
Percent = Annotated[float, Field(ge=0, le=100)]


class Frozen(BaseModel):
    """Base of every spec: immutable; an unknown key and a number that JSON does not have are errors."""

    # Validators are built when the first value is read: most commands need few of them, and building takes its time.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


def first_problem(error: ValueError) -> str:
    """An error as one line; of a validation the first field that is wrong, and how."""
    if not isinstance(error, ValidationError):
        return str(error)
    problem = error.errors()[0]
    # Where a value may be one of several things, pydantic names its own functions among the fields.
    field = ".".join(part for part in map(str, problem["loc"]) if not part.startswith("function-"))
    message = problem["msg"].removeprefix("Value error, ")
    return " ".join(f"{field}: {message}".removeprefix(": ").split())
