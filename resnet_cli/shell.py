"""What a shell does to the words of a command line: it expands `~` and wants other words quoted."""

from __future__ import annotations

import os
import shlex

from resnet_cli.errors import BadInputError


def expanded(path: str) -> str:
    """A path in which `~` and `~user` at the start stand for home folders.

    A shell leaves them as they are after `=`, in quotes, and in variables that were set in quotes.

    Raises:
        BadInputError: There is no such user.
    """
    found = os.path.expanduser(path)  # noqa: PTH111  a Path would forget that ./~ is a folder of this name
    if found.startswith("~"):
        raise BadInputError(f"{path}: no user {found.partition('/')[0][1:]}; write ./{path} for a folder of this name")
    return found


def command(*words: object) -> str:
    """A `resnet` command that can be pasted into a shell: its words are quoted; None is left out."""
    return shlex.join(["resnet", *(str(word) for word in words if word is not None)])
