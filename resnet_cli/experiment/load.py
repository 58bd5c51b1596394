"""Reads an experiment: one of the paper's by name, or a user's own file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from resnet_cli.errors import BadInputError
from resnet_cli.experiment.schema import Experiment
from resnet_cli.shell import expanded
from resnet_cli.spec import first_problem

if TYPE_CHECKING:
    from collections.abc import Sequence


def experiments_folder() -> Path:
    """The folder of the paper's experiment files: in the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "experiments"
    return inside if inside.is_dir() else package.parent / "experiments"


def experiment_names() -> list[str]:
    """The experiments that come with the program, by name."""
    return sorted(path.stem for path in experiments_folder().glob("*.toml"))


def load_experiment(name_or_path: str, depths: Sequence[int] | None = None) -> Experiment:
    """Reads an experiment: one of the paper's by name, or a user's own file by its path.

    Args:
        name_or_path: `table6`, or a path that ends in .toml; `~` at its start is a home folder.
        depths: The depths of a sweep, instead of the file's.

    Raises:
        BadInputError: There is no such experiment, or its file or the depths are wrong; the message names file and
            field.
    """
    own_file = name_or_path.lower().endswith(".toml")
    path = Path(expanded(name_or_path)) if own_file else experiments_folder() / f"{name_or_path}.toml"
    if not own_file and name_or_path not in experiment_names():
        known = ", ".join(experiment_names())
        raise BadInputError(f"unknown experiment '{name_or_path}'; there are {known}, or give a .toml file")
    try:
        content = {"name": path.stem, **tomllib.loads(path.read_text(encoding="utf-8-sig"))}
        experiment = Experiment.model_validate(content)
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        problem = f"{error.reason} at byte {error.start}"
        raise BadInputError(f"{path}: not UTF-8 text: {problem}; save it as UTF-8") from error
    except ValidationError as error:
        raise BadInputError(f"{path}: {first_problem(error)}") from error
    except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: also for a number of 5,000 digits
        raise BadInputError(f"{path}: not TOML: {error}") from error
    if depths is None:
        return experiment
    if not experiment.depths:
        raise BadInputError(f"--depths: {experiment.name} has no depth sweep, unlike depth or degradation")
    if len(set(depths)) < 2:  # noqa: PLR2004
        raise BadInputError(f"--depths {depths[0]}: give two depths or more")
    try:
        return Experiment.model_validate({**content, "depths": list(dict.fromkeys(depths))})
    except ValidationError as error:
        raise BadInputError(f"--depths: {first_problem(error)}") from error
