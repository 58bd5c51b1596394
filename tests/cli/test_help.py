from __future__ import annotations

import shlex
from typing import Any

import pytest
import typer.main

from resnet_cli.cli.app import app
from resnet_cli.cli.examples import EXAMPLES
from resnet_cli.cli.main import _exit_code


def commands(group: Any, path: str = "") -> dict[str, Any]:
    """Every command and group of commands, by what one types."""
    found = {path: group}
    for name, command in getattr(group, "commands", {}).items():
        found |= commands(command, f"{path} {name}".strip())
    return found


COMMANDS = commands(typer.main.get_command(app))


def test_each_command_has_two_examples() -> None:
    """No command's help is without them, and none is about a command that is not there."""
    assert set(COMMANDS) == set(EXAMPLES)
    assert {2} == {len(each) for each in EXAMPLES.values()}


@pytest.mark.parametrize("line", [line for each in EXAMPLES.values() for line in each])
def test_examples_can_be_typed(line: str) -> None:
    """The command of each example takes its arguments and options."""
    name, *rest = shlex.split(line)[1:]
    command = COMMANDS[name]
    if hasattr(command, "commands"):
        name, *rest = rest
        command = command.commands[name]

    with command.make_context(name, rest) as context:
        assert context.args == []


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if len(command.params) > 1])
def test_options_stand_under_headings(name: str) -> None:
    """A command with options has none in the heap that help calls Options, but for --help."""
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "option" and name:
            assert parameter.rich_help_panel, f"{name} {parameter.name}"


def test_help_shows_headings_and_examples(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As one reads it in a terminal."""
    monkeypatch.setenv("COLUMNS", "100")

    assert 0 == _exit_code(["run", "--help"])
    shown = capsys.readouterr().out
    for heading in ("What to run or show", "Scale and protocol", "Data", "Hardware", "Output"):
        assert f"─ {heading} ─" in shown
    for line in EXAMPLES["run"]:
        assert line in shown
