"""The base of every spec, and the bounds of its numbers."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

# Larger numbers in a file are mistakes, and some would overflow.
DEEPEST = 99_999
MOST_UPDATES = 10**11
MOST_IMAGES = 10**6  # per update
MOST_PIXELS = 10**4  # of a side

Updates = Annotated[int, Field(gt=0, le=MOST_UPDATES)]
Side = Annotated[int, Field(gt=0, le=MOST_PIXELS)]
Percent = Annotated[float, Field(ge=0, le=100)]


class Frozen(BaseModel):
    """Base of every spec: immutable; unknown keys, NaN and infinity are errors."""

    # Validators are built at their first use: most commands need few of them, and building them is slow.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


def first_problem(error: ValueError) -> str:
    """An error as one line; for a validation error the first wrong field and its problem."""
    if not isinstance(error, ValidationError):
        return str(error)
    problem = error.errors()[0]
    # For fields that are a union, pydantic lists its own functions among the field names.
    field = ".".join(part for part in map(str, problem["loc"]) if not part.startswith("function-"))
    message = problem["msg"].removeprefix("Value error, ")
    return " ".join(f"{field}: {message}".removeprefix(": ").split())
