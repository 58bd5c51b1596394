"""Paths that a command line gives, and the way back to them in one that is printed."""

from __future__ import annotations

from pathlib import Path

from resnet_cli.errors import BadInputError
from resnet_cli.shell import expanded


def path_given(text: str) -> Path:
    """The path that an option or an argument gives; it may be looked at, whether anything is there or not.

    Every path on the command line is read by this: `~` at its start is a home folder.

    Raises:
        BadInputError: It cannot be: a name that is too long, a loop of links, a folder that is closed to us, a `~` of
            no user.
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
    """What `--weights` gives: a path, read as every other, or the word torchvision."""
    return text if text in (None, "torchvision") else str(path_given(text))


def leading_to(results_dir: Path | None) -> list[str]:
    """The words that lead a command to these results, for one that is printed to be pasted."""
    return [] if results_dir is None else ["--results-dir", str(results_dir)]
