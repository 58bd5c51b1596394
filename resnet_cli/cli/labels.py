"""The option for the classes of validation images that lie in one folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from resnet_cli.cli.examples import DATA
from resnet_cli.cli.paths import path_given
from resnet_cli.errors import BadInputError

VARIABLE = "RESNET_VAL_LABELS"  # data.folder reads it


def _remember(path: Path | None) -> Path | None:
    """Puts the file into the environment, where the processes and the jobs that this command starts find it.

    Raises:
        BadInputError: There is no such file.
    """
    if path is None:
        os.environ.pop(VARIABLE, None)
    elif path.is_file():
        os.environ[VARIABLE] = str(path.absolute())
    else:
        raise BadInputError(f"--val-labels {path}: no such file")
    return path


ValLabels = Annotated[
    Path | None,
    typer.Option(
        "--val-labels",
        parser=path_given,
        callback=_remember,
        metavar="<path>",
        rich_help_panel=DATA,
        help="Labels of validation images that are all in one folder: a file with a line 'NAME CLASS' per image, or "
        "ILSVRC's or Kaggle's own file (default: their file, if it is beside the images).",
    ),
]
