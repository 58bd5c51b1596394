"""Folders among the runs that no table counts: why, and what can be done."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from resnet_cli.identity import RunSpec
from resnet_cli.spec import first_problem
from resnet_cli.storage import run_folder

if TYPE_CHECKING:
    from pathlib import Path

    from resnet_cli.storage.store import Store

OF_A_RUN = (run_folder.SPEC, run_folder.STATUS, run_folder.CHECKPOINT, run_folder.TRAIN_CSV)


@dataclass(frozen=True)
class LeftOut:
    """A folder that looks like a run's and is not counted.

    Attributes:
        path: The folder.
        run_id: The run that it belongs to by its spec, or else by its name.
        why: What is wrong, in a few words.
        advice: What can be done.
    """

    path: Path
    run_id: str
    why: str
    advice: str


def left_out(store: Store) -> list[LeftOut]:
    """The folders left out, sorted by name: renamed or copied ones, and ones with an unreadable spec or status."""
    folders = sorted(path for path in (store.root / "runs").glob("*") if path.is_dir())
    return [found for path in folders if (found := _judged(path))]


def _judged(path: Path) -> LeftOut | None:
    if not any((path / each).exists() for each in OF_A_RUN):
        return None  # not a run's folder, or not yet
    again = "restore the file, or remove the folder and run it again"
    try:
        run_id = RunSpec.model_validate_json((path / run_folder.SPEC).read_bytes()).run_id
    except (OSError, ValidationError) as error:
        why = error.strerror if isinstance(error, OSError) else f"damaged: {first_problem(error)}"
        return LeftOut(path, path.name, f"{run_folder.SPEC}: {why}", again)
    if run_id != path.name:
        return LeftOut(path, run_id, f"holds {run_id}, not the run of its name", _advice(path, run_id))
    try:
        run_folder.Status.model_validate_json((path / run_folder.STATUS).read_bytes())
    except FileNotFoundError:
        pass  # planned
    except (OSError, ValidationError):
        goes_on = "the command that made the run continues from its checkpoint"
        advice = goes_on if (path / run_folder.CHECKPOINT).exists() else again
        return LeftOut(path, run_id, f"{run_folder.STATUS}: damaged", advice)
    return None


def _advice(path: Path, run_id: str) -> str:
    right = path.with_name(run_id)
    if right.exists():
        return f"{run_id} is there too, so move this one out of {path.parent}, or remove it"
    renamed = f"if it was renamed: {shlex.join(['mv', str(path), str(right)])}"
    if re.fullmatch(r".+-[0-9a-f]{8}-s\d+", path.name):
        return f"{renamed}; if its {run_folder.SPEC} was changed, restore that"
    return renamed
