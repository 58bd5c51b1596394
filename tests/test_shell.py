"""Home folders in paths, and commands that can be pasted."""

from __future__ import annotations

import os
import pwd
import shlex
from pathlib import Path

import pytest

from resnet_cli.errors import BadInputError
from resnet_cli.shell import command, expanded

USER = pwd.getpwuid(os.getuid()).pw_name


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("~", "/home/me"),
        ("~/results", "/home/me/results"),
        ("~/a folder/~", "/home/me/a folder/~"),
        (f"~{USER}/x", f"{Path(pwd.getpwnam(USER).pw_dir)}/x"),
        ("./~/results", "./~/results"),
        ("a~b", "a~b"),
        ("/tmp/~", "/tmp/~"),  # noqa: S108  nothing is written
        ("", ""),
    ],
)
def test_a_home_folder_stands_at_the_start_only(path: str, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` and `~user` are home folders; elsewhere the sign is one of a name."""
    monkeypatch.setenv("HOME", "/home/me")

    assert found == expanded(path)


@pytest.mark.parametrize("path", ["~nobody-of-this-name", "~nobody-of-this-name/results"])
def test_a_home_of_nobody_is_told(path: str) -> None:
    """No folder with such a name is made."""
    with pytest.raises(BadInputError, match=r"no user nobody-of-this-name; write \./~nobody"):
        expanded(path)


@pytest.mark.parametrize("word", ["a b", "it's", 'say "x"', "$HOME", "a;b", "~", "*-20", "a  b", "ä", "", "8, 14"])
def test_a_command_can_be_pasted(word: str) -> None:
    """Whatever a word holds, a shell reads the same word."""
    assert ["resnet", "table", word, "4"] == shlex.split(command("table", word, 4))
