"""`resnet doctor` says beforehand what stands in the way of a run, and only that."""

from __future__ import annotations

import errno
import os
import shutil
import warnings
from typing import TYPE_CHECKING, Any

import filelock
import pytest

from resnet_cli.cli import doctor
from resnet_cli.cli.main import _exit_code
from resnet_cli.device import torch_device as device
from resnet_cli.storage import run_folder
from resnet_cli.tasks.cifar10 import files as cifar10
from resnet_cli.train import checkpoint, graph_step, proof
from resnet_cli.train.proof import Proof

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import AddRun

    from resnet_cli.storage.store import Store


@pytest.fixture(autouse=True)
def _all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-10 is there, and steps can be compiled, which takes seconds to find out."""
    monkeypatch.setattr(cifar10, "problem", lambda _: None)
    monkeypatch.setattr(graph_step, "obstacle", lambda _: None)


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """What the doctor says: exit code, standard output, standard error."""
    code = _exit_code(["doctor", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_nothing_in_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With data in place and room on the disk it says so, leaves nothing behind, and makes no results folder."""
    code, out, err = ask(capsys, "--data-dir", str(tmp_path), "--results-dir", str(tmp_path / "new"))

    assert (0, "") == (code, err)
    for words in ("torchvision", "threads", "compiled step: yes", "CIFAR-10: whole", "ImageNet: not in", "GB free"):
        assert words in out
    assert out.endswith("Nothing stands in the way.\n")
    assert [] == list(tmp_path.iterdir())


def test_every_obstacle_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing data, an ImageNet that is not whole and a full disk are all in the one line."""
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(graph_step, "obstacle", lambda _: None)
    monkeypatch.setattr(doctor, "ENOUGH_DISK", 10**18)
    (tmp_path / "data/imagenet/train").mkdir(parents=True)
    code, _, err = ask(capsys, "--data-dir", "data", "--results-dir", "results")

    assert 2 == code
    assert err.startswith("error: data/cifar-10-batches-py/data_batch_1: No such file or directory; ")
    assert "; data/imagenet/" in err.replace(str(tmp_path) + "/", "")
    assert "bytes free, 1,000,000,000,000,000,000 wanted\n" in err
    assert 1 == len(err.splitlines())


def test_without_a_compiler(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs then take the plain step: this is told, and is no obstacle."""
    monkeypatch.setattr(graph_step, "obstacle", lambda _: "torch.compile does not work here: no g++")
    code, out, _ = ask(capsys)

    assert 0 == code
    assert "compiled step: no, the plain one, which is slower: torch.compile does not work here: no g++\n" in out


def test_the_fast_step_is_proven_on_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line for each precision says what was found; a step that is wrong is told, and is no obstacle."""
    monkeypatch.setattr(graph_step, "obstacle", lambda _: None)
    found = iter([Proof(None, {"loss": 1e-6, "weights": 0.002}, {}, 12.3), Proof("it fails here", {}, {}, 1.0)])
    monkeypatch.setattr(proof, "prove_net", lambda *_: next(found))
    code, out, _ = ask(capsys, "--prove")

    assert 0 == code
    agreed = "the fast step agrees with the plain one (12 s); relative differences: loss 1e-06, weights 0.002"
    assert f"resnet-20, fp32, compiled: {agreed}\nresnet-20, bf16, compiled: it fails here\n" in out


def test_what_runs_would_fall_back_to_is_proven_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On CUDA, where the compiled step is wrong, the plain one as a graph is tried, as a run would."""
    monkeypatch.setattr(graph_step, "obstacle", lambda _: None)
    monkeypatch.setattr(graph_step, "takes_a_graph", lambda *_, is_alone: is_alone)
    problems = {"compiled": "it fails here", "captured": None}
    monkeypatch.setattr(proof, "prove_net", lambda *arguments: Proof(problems[arguments[-1]], {"loss": 0.0}, {}, 1.0))
    _, out, _ = ask(capsys, "--prove")

    lines = [line for line in out.splitlines() if line.startswith("resnet-20, fp32")]
    assert ["compiled: it fails here", "captured: the fast step agrees"] == [
        line.removeprefix("resnet-20, fp32, ")[:30].strip() for line in lines
    ]


def failing(error: Exception) -> Any:
    """A function that raises this."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


NO_LOCKS = OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
NOT_SUPPORTED = NotImplementedError("no flock here")


@pytest.mark.parametrize(
    ("place", "name", "error", "reason"),
    [
        (run_folder.os, "fsync", OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (filelock.FileLock, "_acquire", NO_LOCKS, "No locks available"),
        (filelock.FileLock, "_acquire", NOT_SUPPORTED, "no flock here"),
    ],
    ids=["sync", "no locks", "no locks in older versions"],
)
def test_the_results_folder_is_tried_out(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    place: Any,
    name: str,
    error: Exception,
    reason: str,
) -> None:
    """A folder that cannot be synced, or has no locks, is an obstacle with its reason; the probe goes.

    Seen to fail when the probe is only written, is not locked, or is not removed.
    """
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(place, name, failing(error))
    code, _, err = ask(capsys, "--results-dir", "results")

    assert 2 == code
    assert f"error: results: cannot be written and locked: {reason}" in err
    assert err.endswith("; choose another --results-dir\n")
    assert [] == list((tmp_path / "results").iterdir())


def test_locks_that_outlive_a_kill(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where newer versions of filelock make do without the system's locks, and warn, that is an obstacle too.

    Seen to fail when the warning is not listened to.
    """
    real = filelock.FileLock._acquire

    def make_do(self: filelock.FileLock) -> None:
        warnings.warn("flock not supported on this filesystem, falling back to SoftFileLock", stacklevel=1)
        real(self)

    monkeypatch.setattr(filelock.FileLock, "_acquire", make_do)
    code, _, err = ask(capsys, "--results-dir", str(tmp_path))

    assert 2 == code
    assert "cannot be written and locked: flock not supported on this filesystem" in err
    assert [] == list(tmp_path.iterdir())


def test_results_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A results folder that is a file is an obstacle."""
    (tmp_path / "results").write_bytes(b"")
    code, _, err = ask(capsys, "--results-dir", "results")

    assert 2 == code
    assert "error: results: cannot be written and locked: Not a directory; choose another --results-dir\n" == err


def unfinished(store: Store, add_run: AddRun) -> Path:
    """The folder of a run that was stopped, with two checkpoints."""
    folder = store.folder(add_run("resnet-20", [50.0, 40.0], state="interrupted"))
    for iteration in (1, 2):
        checkpoint.save(checkpoint.TrainState(iteration=iteration), folder)
    return folder


def test_a_whole_checkpoint_is_no_matter(store: Store, add_run: AddRun, capsys: pytest.CaptureFixture[str]) -> None:
    """A stopped run that can go on is not spoken of, and nothing in its folder changes."""
    folder = unfinished(store, add_run)
    before = sorted(folder.iterdir())
    code, out, _ = ask(capsys, "--results-dir", str(store.root))

    assert 0 == code
    assert folder.name not in out
    assert before == sorted(folder.iterdir())


def test_a_damaged_checkpoint_with_a_whole_one_before(
    store: Store, add_run: AddRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run goes on from the one before: a warning, no obstacle."""
    folder = unfinished(store, add_run)
    (folder / run_folder.CHECKPOINT).write_bytes(b"rubbish")
    code, out, _ = ask(capsys, "--results-dir", str(store.root))

    assert 0 == code
    assert f"{folder.name}: goes on from the checkpoint before: {folder / run_folder.CHECKPOINT}: not a che" in out


def test_a_run_without_a_readable_checkpoint(store: Store, add_run: AddRun, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that cannot go on is an obstacle, with the next step."""
    folder = unfinished(store, add_run)
    for name in (run_folder.CHECKPOINT, run_folder.PREVIOUS_CHECKPOINT):
        (folder / name).write_bytes(b"rubbish")
    code, _, err = ask(capsys, "--results-dir", str(store.root))

    assert 2 == code
    assert f"{folder / run_folder.CHECKPOINT}: not a checkpoint of this program" in err
    assert f"delete {folder} to begin anew\n" in err


def test_a_run_that_another_process_holds(store: Store, add_run: AddRun, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told, and its checkpoints, which may just be replaced, are left alone.

    Seen to fail when the lock is not tried.
    """
    folder = unfinished(store, add_run)
    shutil.copy(__file__, folder / run_folder.CHECKPOINT)
    with filelock.FileLock(folder / run_folder.LOCK):
        code, out, _ = ask(capsys, "--results-dir", str(store.root))

    assert 0 == code
    assert f"{folder.name}: another process is training it\n" in out
    assert "goes on" not in out


def test_an_old_torch(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A torch that is too old is an obstacle; the disk is looked at all the same."""
    monkeypatch.setattr(device.torch, "__version__", "2.9.1")
    code, out, err = ask(capsys)

    assert 2 == code
    assert "error: torch 2.9.1: too old, 2.10 or later is wanted; install the pair in constraints.txt: " in err
    assert "GB free" in out
