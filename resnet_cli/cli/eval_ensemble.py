"""Ensembles of saved scores, as `resnet eval --ensemble` tests them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnet_cli.cli.eval_answer import errors
from resnet_cli.errors import BadInputError
from resnet_cli.shell import command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def test_ensemble(paths: Sequence[Path]) -> tuple[dict[str, Any], bytes]:
    """Averages saved scores; returns what to print, and the content of a file of the averaged scores."""
    import torch

    from resnet_cli.evaluate.scores import average, top_errors
    from resnet_cli.storage import run_folder
    from resnet_cli.weights.trained import scores_content

    if len(paths) < 2:  # noqa: PLR2004
        raise BadInputError(f"--ensemble {paths[0]}: an ensemble needs two or more members")
    members = [(file, *run_folder.read_scores(file)) for file in map(_scores_file, paths)]
    first, first_scores, labels = members[0]
    for path, scores, its in members[1:]:
        if scores.shape != first_scores.shape:
            here, there = (f"{len(each):,} images of {each.shape[1]:,} classes" for each in (scores, first_scores))
            raise BadInputError(f"{path}: scores of {here}, {first} of {there}; test both on the same images")
        if (its != labels).any():
            raise BadInputError(f"{path}: its images are not those of {first}, or in another order: the labels differ")
    together = average([scores for _, scores, _ in members])
    answer = {
        "members": [
            {"path": str(path), **errors(*top_errors(scores, labels), len(labels))} for path, scores, _ in members
        ],
        **errors(*top_errors(together, labels), len(labels)),
    }
    return answer, scores_content(torch.from_numpy(together), labels)[0]


def _scores_file(path: Path) -> Path:
    """The file of scores: the path itself, or in a run's folder that of the dense test, else of the 10-crop test."""
    from resnet_cli.storage import run_folder

    if not path.is_dir():
        return path
    names = [run_folder.scores_file(views) for views in ("dense", "10-crop")]
    for name in names:
        if (path / name).is_file():
            return path / name
    raise BadInputError(
        f"{path}: has neither {' nor '.join(names)}; to make one: "
        + command("eval", "NET", "--weights", path, "--output", "FILE")
    )
