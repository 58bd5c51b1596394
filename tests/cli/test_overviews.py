"""`resnet list`, `show`, `status`, `data`, `--version`, and a reproduction of everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from resnet_cli import __version__
from resnet_cli.cli.main import _exit_code
from resnet_cli.experiment import experiment_names, load_experiment
from resnet_cli.identity import Variant
from resnet_cli.storage import run_folder
from resnet_cli.tasks.imagenet import folder

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import AddRun

    from resnet_cli.storage.store import Store


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`resnet --version` names the program and its version."""
    assert 0 == _exit_code(["--version"])
    assert f"resnet {__version__}\n" == capsys.readouterr().out


def test_list_counts_done_runs_and_judges_the_time(
    store: Store, add_run: AddRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each experiment with its runs, those done at paper scale, and the time the rest takes at the speed seen here."""
    run = add_run("resnet-20", [50.0, 8.8], variant=Variant())
    folder = store.folder(run)
    run_folder.write_status(
        folder, store.status(run).model_copy(update={"iteration": 64_000, "train_seconds": 36_000.0})
    )
    code = _exit_code(["list", "--results-dir", str(store.root)])
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}

    assert 0 == code
    assert set(experiment_names()) <= set(rows)
    # 32, 44, 56, 5 x 110 and 1202 layers are 108.1 times resnet-20's work, at 10 hours each.
    assert ["10", "1", "45.1", "days"] == rows["table6"].split()[-4:]


def test_show_prints_exact_sizes_and_the_papers_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """Parameters and multiply-adds to the digit, the schedule, the warm-up, the paper's errors, the claims."""
    code = _exit_code(["show", "table6"])
    out = capsys.readouterr().out

    assert 0 == code
    for words in ("269,722", "19,421,274", "40,551,040", "2,829,238,912", "6.43 (6.61 ± 0.16)", "8.75", "64,000"):
        assert words in out
    assert "start at lr 0.01 until the training" in out
    assert "1202 layers overfit" in out


def test_show_takes_other_depths(capsys: pytest.CaptureFixture[str]) -> None:
    """`--depths` replaces the sweep's."""
    assert 0 == _exit_code(["show", "depth", "--depths", "8,26"])
    out = capsys.readouterr().out
    assert "resnet-26" in out
    assert "resnet-56" not in out.partition("Claims")[0]


def test_status_shows_progress_of_every_run(store: Store, add_run: AddRun, capsys: pytest.CaptureFixture[str]) -> None:
    """State, updates, errors, speed and time left; a run whose process has died is told from one that runs."""
    running = add_run("resnet-20", [50.0, 40.0], state="running")
    run_folder.write_status(
        store.folder(running),
        run_folder.Status(
            state="running", iteration=320, iterations=640, train_error=43.21, test_error=40.5, images_per_second=128.0
        ),
    )
    failed = add_run("plain-20", [50.0, 40.0], state="failed")
    run_folder.write_status(store.folder(failed), run_folder.Status(state="failed", message="no room on the disk"))
    code = _exit_code(["status", "--results-dir", str(store.root)])
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if "resnet-20 s0" in line)

    assert 0 == code
    assert ["running", "320/640", "43.2", "40.50", "128", "5", "min"] == line.split()[2:9]
    assert "no room on the disk" in out


def test_status_of_one_experiment_leaves_out_the_others(
    store: Store, add_run: AddRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """`resnet status fig1` shows plain-20 with all its seeds and not resnet-20."""
    add_run("plain-20", [50.0], seed=2)
    add_run("resnet-20", [50.0])
    code = _exit_code(["status", "fig1", "--results-dir", str(store.root)])
    out = capsys.readouterr().out

    assert 0 == code
    assert "plain-20 s2" in out
    assert "resnet-20" not in out


def test_status_of_nothing_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """An empty results folder is no error."""
    assert 0 == _exit_code(["status"])
    assert "Next: resnet run table6 --tiny" in capsys.readouterr().out


def test_data_where_tells_folder_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder, where the choice came from, and each expected file."""
    assert 0 == _exit_code(["data", "where", "--data-dir", str(tmp_path)])
    out = capsys.readouterr().out
    assert out.startswith(f"{tmp_path}  (--data-dir, else RESNET_DATA, else data/)")
    assert "cifar-10-batches-py/test_batch: missing" in out


def test_data_verify_accepts_the_official_files(cifar10_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real CIFAR-10 is whole."""
    assert 0 == _exit_code(["data", "verify", "--data-dir", str(cifar10_dir)])
    assert f"CIFAR-10 is complete in {cifar10_dir}\n" == capsys.readouterr().out


def test_reproduce_leaves_out_what_has_no_data_and_says_why(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without CIFAR-10, each experiment on it is named with the reason, and nothing is trained."""
    monkeypatch.setattr("resnet_cli.experiment.experiment_names", lambda: ["fig1", "table6"])
    code = _exit_code(["reproduce", "--device", "cpu"])
    err = capsys.readouterr().err

    assert 0 == code
    for name in ("fig1", "table6"):
        assert f"{name}: left out: data/cifar-10-batches-py/data_batch_1: No such file" in err
    assert [] == list(tmp_path.iterdir())


def test_reproduce_runs_what_can_run_and_writes_the_report(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A smoke reproduction of fig1 trains its nets, prints its table and writes the page."""
    monkeypatch.setattr("resnet_cli.experiment.experiment_names", lambda: ["fig1"])
    code = _exit_code(["reproduce", "--tiny", "--device", "cpu"])
    out = capsys.readouterr().out

    assert 0 == code
    assert "SMOKE RUN" in out
    assert "fig1" in (tmp_path / "results/report.html").read_text()


def test_status_with_runs_of_both_benchmarks(store: Store, add_run: AddRun, capsys: pytest.CaptureFixture[str]) -> None:
    """An experiment's runs are found among those of the other benchmark's nets, and of batches it cannot have."""
    add_run("resnet-20", [50.0])
    add_run(
        "resnet-18", [50.0], variant=Variant(dataset="imagenet", schedule=0.001), experiment=load_experiment("fig4")
    )
    add_run("resnet-20", [50.0], variant=Variant(accumulate=64))
    for name, net in (("table6", "resnet-20 s0"), ("fig4", "resnet-18 s0")):
        assert 0 == _exit_code(["status", name, "--results-dir", str(store.root)])
        out = capsys.readouterr().out

        assert net in out
    assert "resnet-20" not in out
    assert 0 == _exit_code(["table", "fig4", "--results-dir", str(store.root)])


def test_verify_looks_at_the_folder_that_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --dataset-root it is never CIFAR-10 that is checked, nor where the folder is ImageNet itself."""
    for part in ("train", "val"):
        for label in "ab":
            (tmp_path / "mine" / part / label).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / "mine" / part / label / "1.jpg")
    counts = ": 2 classes, 2 training and 2 validation images, each of them decoded\n"
    assert 0 == _exit_code(["data", "verify", "--dataset-root", str(tmp_path / "mine")])
    out = capsys.readouterr().out
    assert out.startswith("mine-")
    assert out.endswith(f" can be used{counts}")

    monkeypatch.setattr(folder.Folder, "is_imagenet", True)

    assert 0 == _exit_code(["data", "verify", "--dataset-root", str(tmp_path / "mine")])
    assert f"ImageNet is complete in {tmp_path / 'mine'}{counts}" == capsys.readouterr().out
