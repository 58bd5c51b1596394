"""A disk that is full or broken: at whichever operation it fails, what was saved stays, and nothing is left behind."""

from __future__ import annotations

import errno
import os
import re
import resource
from typing import TYPE_CHECKING

import pytest
from file_operations import Shim
from small_run import leftovers, result, small_run, train_here

from resnet_cli.storage import run_folder
from resnet_cli.storage.store import Store
from resnet_cli.train import checkpoint, log, loop

if TYPE_CHECKING:
    from pathlib import Path

    from resnet_cli.identity import RunSpec


def train_with_fault(run: RunSpec, root: Path, number: int, kind: int, *, lasts: bool) -> tuple[str, str, int] | None:
    """Trains with the operation of this number failing, and with `lasts` all after it.

    Returns:
        Ending, message and the last update that was said to be saved; None if there was no such operation.
    """
    shim = Shim(Store(root).create_folder(run))
    real, saved, failed_at = checkpoint.save, 0, ""

    def noted(state: checkpoint.TrainState, folder: Path) -> None:
        nonlocal saved
        real(state, folder)
        saved = state.iteration

    def fault(what: str, at: int) -> None:
        nonlocal failed_at
        if at == number or (lasts and at > number):
            failed_at = failed_at or what
            raise OSError(kind, os.strerror(kind))

    shim.fault = fault
    with shim.in_force(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.checkpoint, "save", noted)
        try:
            ending, message = train_here(run, root)
        except loop.BadInputError as error:
            ending, message = "bad input", str(error)
    if failed_at == "write" and ending == "failed":
        assert re.search(r": [^:]+, writing [0-9,]+ bytes$", message), message
    return (ending, message, saved) if failed_at else None


def test_a_file_that_may_not_grow_is_named(tmp_path: Path) -> None:
    """The system's own limit on a file's size, at the flush of what is buffered: file and bytes stand in the error.

    Seen to fail when the file is closed without care for what it still holds, which then raises in the error's place.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, before[1]))
    try:
        with pytest.raises(OSError, match="File too large, writing 18 bytes") as caught:
            log.CsvLog(tmp_path / "log.csv", ["iteration", "error=a"], 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert str(tmp_path / "log.csv") == caught.value.filename


@pytest.mark.parametrize(
    ("updates", "step"), [(2, 3), pytest.param(24, 1, marks=pytest.mark.slow)], ids=["each third", "every one"]
)
@pytest.mark.parametrize(("kind", "lasts"), [(errno.ENOSPC, True), (errno.EIO, False)], ids=["ENOSPC", "EIO"])
def test_a_disk_that_fails_loses_nothing(kind: int, lasts: bool, updates: int, step: int, tmp_path: Path) -> None:
    """Full for good, or broken once, at any open, write, truncate, sync or rename: the run fails in one line.

    The line names the file, what the system says and how many bytes were to be written. The checkpoint from before
    loads, no temporary file is left, and the run made again ends with the bytes of one that never failed.

    Seen to fail when the checkpoint is written in place, when the one before is removed first, when the temporary file
    stays, and when the system's error is passed on as it is, without a file.
    """
    run = small_run(updates)

    assert ("done", "") == train_here(run, tmp_path / "whole")
    expected = result(run, tmp_path / "whole")
    number = 0
    while True:
        root = tmp_path / f"fault-{number}"
        failed = train_with_fault(run, root, number, kind, lasts=lasts)
        if failed is None:
            break
        ending, message, saved = failed
        folder = Store(root).folder(run)
        is_done = run_folder.read_status(folder).state == "done"
        state, _ = checkpoint.load(folder)

        assert is_done or ending in {"failed", "bad input"}, number
        assert is_done or (state.iteration if state else 0) >= saved, number
        assert [] == leftovers(run, root), number
        if ending != "done":
            assert f"{folder}{': ' if ending == 'bad input' else '/'}" in message, number
            assert os.strerror(kind) in message, number
            assert "\n" not in message, number
        assert ("done", "") == train_here(run, root), number
        assert expected == result(run, root), number
        number += step

    assert number > 10 * updates
