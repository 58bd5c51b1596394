"""Every command with a table, in narrow terminals."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from resnet_cli.cli.answer import say
from resnet_cli.cli.main import _exit_code
from resnet_cli.cli.screen import as_many_as_fit
from resnet_cli.experiment import experiment_names
from resnet_cli.storage import run_folder

if TYPE_CHECKING:
    from conftest import AddRun

    from resnet_cli.storage.store import Store

COMMANDS = [
    "table table6",
    "table fig6",
    "table table1",
    "table table5",
    "table convergence",
    "status",
    "list",
    "show table6",
    "show fig6",
    "run table6 --dry-run",
    "check fig6 --power",
    "compare {store} {store}",
]


@pytest.fixture
def some_runs(store: Store, add_run: AddRun) -> Store:
    """Runs with long and short names, in several states."""
    for seed in range(2):
        add_run("resnet-1202", [50.0, 9.0 + seed], seed=seed)
        add_run("plain-20", [50.0, 12.0 + seed], seed=seed)
    add_run("plain-20-from-8", [50.0, 9.0])
    run = add_run("plain-20-x3", [50.0, 40.0], state="running")
    status = run_folder.Status(
        state="running", iteration=320, iterations=640, train_error=43.2, test_error=40.5, images_per_second=1234.0
    )
    run_folder.write_status(store.folder(run), status)
    return store


def words(command: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The words that a command prints in a terminal of this width; spaces within a number are none."""
    monkeypatch.setenv("COLUMNS", str(width))
    assert 0 == _exit_code(command.split())
    out = capsys.readouterr().out
    assert "…" not in out
    return out.replace("±", " ").split()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("width", [40, 60, 80])
def test_numbers_and_names_are_whole_in_narrow_terminals(
    width: int,
    command: str,
    some_runs: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What a narrow terminal shows of numbers and names is what a wide one shows."""
    monkeypatch.setenv("RESNET_RESULTS", str(some_runs.root))
    line = command.format(store=some_runs.root)
    wide = {word.strip(",;()%") for word in words(line, 400, monkeypatch, capsys)}
    narrow = {word.strip(",;()%") for word in words(line, width, monkeypatch, capsys)}
    names = "plain|resnet|ResNet|" + "|".join(experiment_names())
    matter = re.compile(rf"[+−-]?\d[\d.,]*|(?:{names})\S*")  # noqa: RUF001  a minus sign

    assert {word for word in narrow if matter.fullmatch(word)} <= wide
    net_names = {word for word in wide if re.fullmatch(r"(plain|resnet|ResNet)-\S+", word)}
    assert net_names <= narrow


@pytest.mark.parametrize("room", range(40))
def test_progress_has_as_many_figures_as_fit(room: int) -> None:
    """Figures of a run are left out whole; its updates never are."""
    parts = ["12,800/64,000", "7 min left", "lr 0.1", "", "train 38.1%"]
    shown = as_many_as_fit(parts, room).split(", ")

    assert set(shown) <= set(parts) - {""}
    assert parts[0] == shown[0]
    assert len(", ".join(shown)) <= max(room, len(parts[0]))


@pytest.mark.parametrize("width", [20, 40, 60])
@pytest.mark.parametrize("label", [0, 8])
def test_a_line_on_a_terminal_is_broken_between_words(width: int, label: int) -> None:
    """No number, name or path is broken by us; in a pipe the line stays one."""
    line = "net     resnet-20, 269,722 parameters in /a/folder/of/a/very/long/name/that/fits/nowhere, 95%: 7.65 to 8.72"
    shown = []
    for is_terminal in (True, False):
        stream = io.StringIO()
        console = Console(file=stream, width=width, force_terminal=is_terminal, color_system=None)
        say(console, line, label=label)
        shown.append(stream.getvalue().splitlines())

    assert line.split() == " ".join(shown[0]).split()
    assert all(len(each) <= width or len(each.split()) == 1 for each in shown[0])
    assert [line] == shown[1]
