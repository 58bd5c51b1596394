"""`resnet doctor` says beforehand what stands in the way of a run, and only that."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
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
    from collections.abc import Callable
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
    for words in ("torchvision", "threads", "compiled step: yes", "CIFAR-10: complete", "ImageNet: not in", "GB free"):
        assert words in out
    assert out.endswith("No obstacle to a run.\n")
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
    assert "bytes free, 1,000,000,000,000,000,000 needed\n" in err
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
    """A stopped run that can go on is told of, is no obstacle, and nothing in its folder changes."""
    folder = unfinished(store, add_run)
    before = sorted(folder.iterdir())
    code, out, _ = ask(capsys, "--results-dir", str(store.root))

    assert 0 == code
    assert f"{folder.name}: interrupted after 320 of 640 updates; the command that began it continues it\n" in out
    assert before == sorted(folder.iterdir())


def test_a_damaged_checkpoint_with_a_whole_one_before(
    store: Store, add_run: AddRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run goes on from the one before: a warning, no obstacle."""
    folder = unfinished(store, add_run)
    (folder / run_folder.CHECKPOINT).write_bytes(b"rubbish")
    code, out, _ = ask(capsys, "--results-dir", str(store.root))

    assert 0 == code
    assert f"{folder.name}: continues from the previous checkpoint: {folder / run_folder.CHECKPOINT}: not a che" in out


def test_a_run_without_a_readable_checkpoint(store: Store, add_run: AddRun, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that cannot go on is an obstacle, with the next step."""
    folder = unfinished(store, add_run)
    for name in (run_folder.CHECKPOINT, run_folder.PREVIOUS_CHECKPOINT):
        (folder / name).write_bytes(b"rubbish")
    code, _, err = ask(capsys, "--results-dir", str(store.root))

    assert 2 == code
    assert f"{folder / run_folder.CHECKPOINT}: not a checkpoint of this program" in err
    assert f"delete {folder} to start again\n" in err


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
    assert "error: torch 2.9.1: too old, 2.10 or later is needed; install the pair in constraints.txt: " in err
    assert "GB free" in out


def renamed(folder: Path) -> str:
    """As a user keeps an old run."""
    folder.rename(folder.with_name("my best run"))
    return f"my best run: in no table: holds {folder.name}, not the run of its name; if it was renamed: mv '"


def copied(folder: Path) -> str:
    """As a copy that was made in place."""
    shutil.copytree(folder, folder.with_name(f"{folder.name} (copy)"))
    return f"(copy): in no table: holds {folder.name}, not the run of its name; {folder.name} is there too, so move"


def another_seed(folder: Path) -> str:
    """A copy under another seed, which would count as a run of its own."""
    shutil.copytree(folder, folder.with_name(f"{folder.name[:-1]}7"))
    return f"-s7: in no table: holds {folder.name}, not the run of its name; {folder.name} is there too, so move"


def cut(name: str) -> Callable[[Path], str]:
    """A file of which half is there."""

    def damage(folder: Path) -> str:
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return f"{folder.name}: in no table: {name}: damaged"

    return damage


def without_spec(folder: Path) -> str:
    """A spec that was lost."""
    (folder / run_folder.SPEC).unlink()
    return f"{folder.name}: in no table: spec.json: No such file or directory; restore the file, or remove the folder"


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        (renamed, 2),
        (copied, 3),
        (another_seed, 3),
        (cut(run_folder.SPEC), 2),
        (cut(run_folder.STATUS), 2),
        (without_spec, 2),
    ],
    ids=["renamed", "copied", "another seed", "half a spec", "half a status", "no spec"],
)
def test_folders_that_no_table_counts(
    damage: Callable[[Path], str],
    left: int,
    store: Store,
    add_run: AddRun,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A renamed, copied or damaged run is listed with what to do, and the table says that it is left out."""
    monkeypatch.setenv("COLUMNS", "300")
    runs = [add_run("resnet-20", [50.0, 9.0], seed=seed) for seed in range(3)]
    (store.root / "runs" / ".DS_Store").touch()
    (store.root / "runs" / "@eaDir").mkdir()
    words = damage(store.folder(runs[1]))
    code, out, _ = ask(capsys, "--results-dir", str(store.root))
    told = [line for line in out.splitlines() if "in no table" in line]

    assert 0 == code
    assert 1 == len(told)
    assert words in told[0]
    assert 0 == _exit_code(["table", "table6", "--schedule", "0.01", "--results-dir", str(store.root)])
    table = capsys.readouterr().out
    assert f" {left} " in next(line for line in table.splitlines() if "269,722" in line)
    assert (
        "Left out, because these folders were renamed, copied or damaged ('resnet doctor' says what to do): " in table
    )
    assert 0 == _exit_code(["status", "--results-dir", str(store.root)])
    assert "Folders among the runs that are in no table: 1. " in capsys.readouterr().out


@pytest.mark.parametrize("name", ["\x1b[31mred", "a\nb", "a_b & 50% #1 {x}", "<b>", "a|b", "深"])
def test_names_of_folders_do_no_harm(
    name: str, store: Store, add_run: AddRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder's name does nothing to a terminal, and is escaped in every form of the table."""
    folder = store.folder(add_run("resnet-20", [50.0, 9.0]))
    add_run("resnet-32", [50.0, 9.0])
    folder.rename(folder.with_name(name))
    said = ask(capsys, "--results-dir", str(store.root))[1]
    for form in ("rich", "md", "latex", "json"):
        command = ["table", "table6", "--schedule", "0.01", "--results-dir", str(store.root), "--format", form]
        assert 0 == _exit_code(command)
        said += capsys.readouterr().out

    assert "\x1b" not in said
    assert "a\nb" not in said
    assert r"a\_b \& 50\% \#1 \{x\}" in said or "&" not in name
    assert 1 == sum("in no table" in line for line in said.splitlines())


def test_nothing_is_left_out_of_a_whole_store(
    store: Store, add_run: AddRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither doctor nor table speaks of folders that are as they should be."""
    add_run("resnet-20", [50.0, 9.0])
    _, out, _ = ask(capsys, "--results-dir", str(store.root))
    _exit_code(["table", "table6", "--results-dir", str(store.root)])

    assert "no table" not in out
    assert "Left out" not in capsys.readouterr().out


@pytest.mark.parametrize("name", [run_folder.TRAIN_CSV, run_folder.EVAL_CSV, run_folder.WEIGHTS])
def test_a_finished_run_that_is_damaged(
    name: str, store: Store, add_run: AddRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """A result that is not what the run wrote is an obstacle, with what to do; one that was never there is none."""
    folder = store.folder(add_run("resnet-20", [50.0, 9.0]))
    (folder / run_folder.WEIGHTS).write_bytes(b"weights")
    results = [each for each in run_folder.RESULTS if (folder / each).exists()]
    run_folder.write_sums(folder, {each: hashlib.sha256((folder / each).read_bytes()).hexdigest() for each in results})
    whole = ask(capsys, "--results-dir", str(store.root))
    (folder / name).write_bytes(b"rubbish")
    code, _, err = ask(capsys, "--results-dir", str(store.root))

    assert 0 == whole[0]
    assert 2 == code
    assert f"{folder / name}: damaged: its SHA-256 is not in SHA256SUMS; restore it, or delete {folder}" in err


@pytest.mark.parametrize("name", [run_folder.TRAIN_CSV, run_folder.EVAL_CSV])
def test_a_finished_run_without_its_logs(
    name: str, store: Store, add_run: AddRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """No table can be made of it."""
    folder = store.folder(add_run("resnet-20", [50.0, 9.0]))
    (folder / name).unlink()
    code, _, err = ask(capsys, "--results-dir", str(store.root))

    assert 2 == code
    assert f"{folder / name}: missing; restore it, or delete" in err


@pytest.mark.parametrize("is_held", [True, False])
@pytest.mark.parametrize("host", [platform.node(), "another", ""], ids=["here", "another", "unknown"])
def test_a_run_whose_process_has_gone(
    host: str, is_held: bool, store: Store, add_run: AddRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that says it is running is interrupted at once where its machine is this one and nobody has its lock.

    Of another machine, or one that is not known, only the heartbeat tells.
    """
    run = add_run("resnet-20", [50.0, 40.0], state="running")
    folder = store.folder(run)
    run_folder.write_status(folder, run_folder.read_status(folder).model_copy(update={"host": host}))
    content = (folder / run_folder.STATUS).read_bytes()
    with filelock.FileLock(folder / run_folder.LOCK) if is_held else contextlib.nullcontext():
        seen = store.status(run).state
        assert 0 == _exit_code(["status", "--results-dir", str(store.root)])

    assert ("interrupted" if host == platform.node() and not is_held else "running") == seen
    assert seen in capsys.readouterr().out
    assert content == (folder / run_folder.STATUS).read_bytes()  # who only looks writes nothing
