"""The schedules that were chosen for a time (`run --minutes`), kept beside the runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from resnet_cli.errors import BadInputError
from resnet_cli.identity import Variant
from resnet_cli.spec import Frozen, first_problem
from resnet_cli.storage import run_folder

if TYPE_CHECKING:
    from pathlib import Path

CHOICES = "minutes.json"


class Choice(Frozen):
    """The schedule, `variant.schedule`, that was chosen for a time (`run --minutes`). The rest is what was asked for.

    Attributes:
        device: cuda, mps or cpu; with `device_name` it identifies the kind of machine.
    """

    experiment: str
    depths: tuple[int, ...]
    only: str | None
    seeds: int | None
    minutes: float
    device: str
    device_name: str
    variant: Variant

    def answers(self, other: Choice) -> bool:
        """Whether both answer the same question; the schedules may differ."""
        return self.scheduled(1.0) == other.scheduled(1.0)

    def scheduled(self, schedule: float) -> Choice:
        """The same question with this schedule."""
        return self.model_copy(update={"variant": self.variant.model_copy(update={"schedule": schedule})})


class _Choices(Frozen):
    choices: tuple[Choice, ...]


def kept_choice(results: Path, asked: Choice) -> Choice | None:
    """The choice that a results folder has for the same question; None without one.

    Raises:
        BadInputError: The file of choices is damaged or cannot be read.
    """
    return next((each for each in _read(results) if each.answers(asked)), None)


def keep_choice(results: Path, choice: Choice) -> None:
    """Saves a choice beside the runs, in place of an earlier one for the same question. A damaged file is replaced.

    Raises:
        BadInputError: The results folder cannot be written.
    """
    try:
        others = [each for each in _read(results) if not each.answers(choice)]
    except BadInputError:
        others = []
    content = _Choices(choices=(*others, choice)).model_dump_json(indent=1) + "\n"
    path = results / CHOICES
    try:
        results.mkdir(parents=True, exist_ok=True)
        run_folder.replace_file(path, content.encode())
    except OSError as error:
        raise BadInputError(f"{path}: cannot be written: {error.strerror or error}") from error


def _read(results: Path) -> tuple[Choice, ...]:
    path = results / CHOICES
    try:
        return _Choices.model_validate_json(path.read_bytes()).choices
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror or error}") from error
    except ValidationError as error:
        raise BadInputError(f"{path}: damaged: {first_problem(error)}") from error
