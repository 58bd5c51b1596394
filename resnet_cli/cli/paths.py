"""Paths that are given on the command line, and the option that repeats them in a printed command."""

from __future__ import annotations

from pathlib import Path

from resnet_cli.errors import BadInputError
from resnet_cli.shell import expanded


def path_given(text: str) -> Path:
    """The path that an option or an argument gives, checked to be accessible; nothing need exist there.

    Every path on the command line is read by this function: `~` at its start is a home folder.

    Raises:
        BadInputError: It is not accessible: a name is too long, links form a loop, a folder may not be entered, or
            there is no such user after `~`.
    """
    path = Path(expanded(text))
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror}") from error
    return path


def weights_given(text: str | None) -> str | None:
    """The value of `--weights`: a path, read as every other, or the word torchvision."""
    return text if text in (None, "torchvision") else str(path_given(text))


def leading_to(results_dir: Path | None) -> list[str]:
    """The option that gives a printed command this results folder."""
    return [] if results_dir is None else ["--results-dir", str(results_dir)]
