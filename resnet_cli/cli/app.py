"""The command line with every command loaded, for `python -m typer` and the tests."""

from __future__ import annotations

from resnet_cli.cli.main import COMMANDS, make_app

app = make_app(COMMANDS)
