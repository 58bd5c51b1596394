"""A crash before, after and in the midst of each file operation, of the process or of the machine's power."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from file_operations import Operation, Shim, states
from small_run import leftovers, result, small_run, train_here

from resnet_cli.errors import BadInputError
from resnet_cli.storage import run_folder
from resnet_cli.storage.store import Store
from resnet_cli.train import checkpoint, loop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from resnet_cli.identity import RunSpec


def operations_of(run: RunSpec, root: Path) -> list[Operation]:
    """Trains the run to its end; what was done in its folder, with a note after each checkpoint that was saved."""
    shim = Shim(Store(root).create_folder(run))
    save = checkpoint.save

    def noted(state: checkpoint.TrainState, folder: Path) -> None:
        save(state, folder)
        shim.note(state.iteration)

    with shim.in_force(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.checkpoint, "save", noted)

        assert ("done", "") == train_here(run, root)
    return shim.operations


def crashes(operations: list[Operation]) -> Iterator[tuple[str, dict[str, bytes], int]]:
    """Every crash that leaves another folder, or the same one after more was said to be saved."""
    seen: dict[frozenset[tuple[str, bytes]], int] = {}
    for what, files, noted in states(operations):
        key = frozenset(files.items())
        if seen.get(key, -1) < noted:
            seen[key] = noted
            yield what, files, noted


def losses(run: RunSpec, operations: list[Operation], root: Path, expected: list[bytes]) -> Iterator[str]:
    """Crashes at every point and runs again: where that did not recover, and why."""
    for number, (what, files, noted) in enumerate(crashes(operations)):
        folder = Store(root / f"crash-{number}").create_folder(run)
        for name, content in files.items():
            (folder / name.replace(f".{os.getpid()}.", ".1.")).write_bytes(content)  # it was another process
        problem = _problem(run, root / f"crash-{number}", folder, noted, expected)
        if problem:
            yield f"{what}: {problem}"


def _problem(run: RunSpec, root: Path, folder: Path, noted: int, expected: list[bytes]) -> str | None:
    was_done = run_folder.read_status(folder).state == "done"
    if not was_done:
        try:
            state, _ = checkpoint.load(folder)
        except BadInputError as error:
            return str(error)
        if (state.iteration if state else 0) < noted:
            return f"update {noted} was saved, {state.iteration if state else 0} is there"
    ending = train_here(run, root)
    if ending != ("done", ""):
        return ": ".join(ending)
    if leftovers(run, root) and not was_done:  # who finds nothing to do cleans nothing
        return "temporary files are left"
    return None if expected == result(run, root) else "the result is another"


@pytest.mark.parametrize("updates", [2, pytest.param(24, marks=pytest.mark.slow)])
def test_every_crash_recovers(updates: int, tmp_path: Path) -> None:
    """Whatever a crash leaves, what was saved is there, and the run ends with the bytes of one that never crashed.

    The tests below take one protection away each, and see it fail. So it does when the logs are not synced, when
    nobody cuts them back on resume, and when the temporary files of the process that was killed stay.
    """
    run = small_run(updates)
    operations = operations_of(run, tmp_path / "whole")

    assert len(list(crashes(operations))) > 15 * updates
    assert [] == list(losses(run, operations, tmp_path, result(run, tmp_path / "whole")))


@pytest.mark.parametrize("kind", ["sync", "sync folder"])
def test_without_syncing_a_power_cut_loses(kind: str, tmp_path: Path) -> None:
    """If the files, or the folder, were never synced, a power cut would lose what was said to be saved."""
    run = small_run(2)
    operations = [each for each in operations_of(run, tmp_path / "whole") if each.kind != kind]
    first = next(losses(run, operations, tmp_path, result(run, tmp_path / "whole")), "none")

    assert first.startswith("power")


def test_written_in_place_a_killed_process_loses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If files were written in place, and no checkpoint kept from before, a killed process would lose the run."""
    run = small_run(2)
    real = checkpoint.save

    def in_place(path: Path, content: bytes, **_: object) -> None:
        with path.open("wb") as stream:
            stream.write(content)

    def without_the_one_before(state: checkpoint.TrainState, folder: Path) -> None:
        real(state, folder)
        (folder / run_folder.PREVIOUS_CHECKPOINT).unlink(missing_ok=True)

    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "replace_file", in_place)
        patch.setattr(checkpoint, "save", without_the_one_before)
        operations = operations_of(run, tmp_path / "whole")
    found = losses(run, operations, tmp_path, result(run, tmp_path / "whole"))

    assert any(each.startswith("process") for each in found)
