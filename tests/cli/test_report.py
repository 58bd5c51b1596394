from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import resnet_cli
from resnet_cli.cli.main import _exit_code

if TYPE_CHECKING:
    import pytest
    from conftest import AddRun

    from resnet_cli.storage.store import Store


def test_page_file(store: Store, add_run: AddRun, capsys: pytest.CaptureFixture[str]) -> None:
    """The page holds every experiment with a finished run and no other; its path is the output."""
    add_run("plain-20", [9.0])

    assert 0 == _exit_code(["report", "--results-dir", str(store.root)])
    assert f"{store.root / 'report.html'}\n" == capsys.readouterr().out
    page = (store.root / "report.html").read_text()
    assert 'id="fig1"' in page
    assert 'id="table6"' not in page
    assert 'id="table1"' in page  # needs no run


def test_output(store: Store, add_run: AddRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --output the page is written there, its folder made, and nowhere else; a folder is not a page."""
    add_run("plain-20", [9.0])
    path = tmp_path / "to" / "share.html"

    assert 0 == _exit_code(["report", "--results-dir", str(store.root), "--output", str(path)])
    assert (f"{path}\n", True) == (capsys.readouterr().out, path.is_file())
    assert not (store.root / "report.html").exists()
    assert 2 == _exit_code(["report", "--results-dir", str(store.root), "--output", str(path.parent)])
    assert f"error: {path.parent}: is a folder; name a file\n" == capsys.readouterr().err


def test_same_runs_same_bytes(store: Store, add_run: AddRun, tmp_path: Path) -> None:
    """The page depends on nothing but the runs: not on the time, nor on how a process orders a set."""
    for name in ("plain-20", "plain-56", "resnet-20"):
        add_run(name, [9.0])
    here, elsewhere = tmp_path / "here.html", tmp_path / "elsewhere.html"
    arguments = ["report", "--results-dir", str(store.root), "--output"]
    assert 0 == _exit_code([*arguments, str(here)])
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(Path(resnet_cli.__file__).parents[1])}
    command = [sys.executable, "-m", "resnet_cli", *arguments, str(elsewhere)]
    subprocess.run(command, check=True, capture_output=True, env=environment)

    assert here.read_bytes() == elsewhere.read_bytes()


def test_nothing_to_report(store: Store, add_run: AddRun, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a finished run there is no page but one line that says what to do, and exit code 2."""
    add_run("plain-20", [9.0], state="interrupted")

    assert 2 == _exit_code(["report", "--results-dir", str(store.root)])
    output, errors = capsys.readouterr()
    assert ("", 1) == (output, errors.count("\n"))
    assert errors.startswith(f"error: {store.root}: no run of any experiment is finished; ")
    assert not (store.root / "report.html").exists()


def test_depths_hold_for_the_sweeps(store: Store, add_run: AddRun) -> None:
    """With --depths, sweeps are of those depths; other experiments stay as they are."""
    add_run("plain-8", [30.0])
    add_run("plain-20", [40.0])
    assert 0 == _exit_code(["report", "--depths", "8,20", "--results-dir", str(store.root)])
    page = (store.root / "report.html").read_text()

    assert "plain and residual nets of 8 and 20 layers" in page
    assert "Plain nets of 20 and 56 layers" in page
