from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console

from resnet_cli.cli.answer import present
from resnet_cli.experiment import load_experiment

if TYPE_CHECKING:
    from conftest import AddRun

    from resnet_cli.identity import Variant
    from resnet_cli.storage.store import Store


def test_present(store: Store, add_run: AddRun, short: Variant) -> None:
    """A question's answer is the table and the verdicts on the screen, and table and figure as files."""
    add_run("plain-20", [50.0, 9.0])
    console = Console(file=io.StringIO(), width=100)
    with console.capture() as capture:
        written = present(store, load_experiment("fig1"), short, console=console)

    assert [
        store.tables / "fig1-schedule-0.01.csv",
        store.tables / "fig1-schedule-0.01.md",
        store.figures / "fig1-schedule-0.01.png",
    ] == written
    assert all(path.stat().st_size > 0 for path in written)
    assert "plain-20      20  269,722   9.69  9.00  9.00   1.00  1   −0.69" in capture.get()  # noqa: RUF001
    assert "not run: Degradation: plain-20 has lower test error than plain-56" in capture.get()


def test_present_without_a_curve_to_draw(store: Store, add_run: AddRun, short: Variant) -> None:
    """A net that the figure does not show, plain-110, still has its table."""
    add_run("plain-110", [90.0, 65.0])
    written = present(store, load_experiment("fig6"), short, console=Console(file=io.StringIO()))

    assert ["fig6-schedule-0.01.csv", "fig6-schedule-0.01.md"] == [path.name for path in written]
