"""`resnet run --weights NET=FILE`: the files that nets start from, and what identifies them in a run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from resnet_cli.cli.examples import WHAT
from resnet_cli.errors import BadInputError
from resnet_cli.shell import expanded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from resnet_cli.experiment import Experiment
    from resnet_cli.identity import Variant

Weights = Annotated[
    list[str] | None,
    typer.Option(
        "--weights",
        metavar="NET=FILE",
        rich_help_panel=WHAT,
        help="Start a detector from a classifier's weights; may be given several times.",
    ),
]
StartConvention = Annotated[
    Literal["paper", "torchvision", "caffe"],
    typer.Option("--convention", rich_help_panel=WHAT, help="What those weights assume about the net and the pixels."),
]


@dataclass(frozen=True)
class Given:
    """The files by the names of their nets, and the value of `Variant.weights`: None without files."""

    files: Mapping[str, Path] = field(default_factory=dict)
    identity: str | None = None

    def variant(self, variant: Variant) -> Variant:
        """The variant that starts from them."""
        return variant.model_copy(update={"weights": self.identity}) if self.identity else variant


def given_weights(experiment: Experiment, texts: Sequence[str] | None, convention: str, launcher: str) -> Given:
    """Reads the values of `--weights`.

    Raises:
        BadInputError: A net is not one of the experiment's, or a file cannot be read.
    """
    if not texts:
        return Given()
    if not experiment.task.takes_weights:
        raise BadInputError(f"--weights: {experiment.task.title}'s nets cannot start from files")
    if launcher != "local":
        raise BadInputError(f"--weights: works with --launcher local, not with {launcher}")
    files, digest = {}, hashlib.sha256()
    names = [net.name for net in experiment.nets]
    for text in sorted(texts):
        name, _, path = text.partition("=")
        if name not in names or not path:
            raise BadInputError(f"--weights {text}: write NET=FILE with one of {', '.join(names)}")
        files[name] = Path(expanded(path))
        try:
            with files[name].open("rb") as stream:
                digest.update(name.encode() + hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise BadInputError(f"--weights {text}: {error.strerror or error}") from error
    return Given(files, f"{convention}-{digest.hexdigest()[:8]}")
