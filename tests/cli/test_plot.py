from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from resnet_cli.cli.main import _exit_code
from resnet_cli.identity import Variant

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import AddRun

    from resnet_cli.storage.store import Store


@pytest.fixture(autouse=True)
def _results(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNET_RESULTS", str(store.root))


def test_figure_file(store: Store, add_run: AddRun, capsys: pytest.CaptureFixture[str]) -> None:
    """The figure lies in the results folder, its scale in its name; the path is the output. `cifar` is figure 6."""
    add_run("plain-20", [50.0, 9.0])
    path = store.figures / "fig6-schedule-0.01.png"

    assert 0 == _exit_code(["plot", "cifar"])
    assert f"{path}\n" == capsys.readouterr().out
    assert path.read_bytes().startswith(b"\x89PNG")


def test_smoke_figure(store: Store, add_run: AddRun) -> None:
    """A smoke run's figure never takes the place of a result's."""
    add_run("plain-20", [90.0], variant=Variant(tiny=True, dataset="synthetic"))

    assert 0 == _exit_code(["plot", "fig1", "--format", "svg"])
    assert ["fig1-tiny.svg"] == [path.name for path in store.figures.iterdir()]


def test_output_suffix(tmp_path: Path, add_run: AddRun, capsys: pytest.CaptureFixture[str]) -> None:
    """The suffix of --output says which kind of file."""
    add_run("plain-8", [50.0, 9.0])
    path = tmp_path / "mine.pdf"

    assert 0 == _exit_code(["plot", "depth", "--depths", "8,14", "--output", str(path)])
    assert f"{path}\n" == capsys.readouterr().out
    assert path.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plot", "cifar"], "fig6: no run in "),
        (["plot", "table3"], "table3: has no [figure]; its numbers: resnet table table3"),
        (["plot", "fig9"], "unknown experiment 'fig9'"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    """What cannot be drawn is one line on standard error, and exit code 2."""
    assert 2 == _exit_code(arguments)
    output, errors = capsys.readouterr()
    assert "" == output
    assert errors.startswith(f"error: {message}")
    assert 1 == errors.count("\n")
