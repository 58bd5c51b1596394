"""`resnet export`: the three kinds of file, and every way to say no."""

from __future__ import annotations

import importlib.util
import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Protocol

import pytest
import safetensors.torch
import torch
import torchvision

from resnet_cli.cli.main import _exit_code
from resnet_cli.data import synthetic
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.storage import run_folder

if TYPE_CHECKING:
    from pathlib import Path

    from resnet_cli.storage.store import Store

SMOKE = Variant(dataset="synthetic", tiny=True)
V15 = Variant(dataset="synthetic-photos", tiny=True, deviations=("stride-3x3",))
HAS_ONNX = all(importlib.util.find_spec(package) for package in ("onnx", "onnxscript"))


class Finished(Protocol):
    """Writes a run's folder; see `finished`."""

    def __call__(self, net: str, variant: Variant = ..., state: run_folder.State = "done") -> RunSpec: ...  # noqa: D102


@pytest.fixture(autouse=True)
def _results(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNET_RESULTS", str(store.root))


@pytest.fixture
def finished(store: Store) -> Finished:
    """Writes the folder of a finished run with weights that were never trained."""

    def write(net: str, variant: Variant = SMOKE, state: run_folder.State = "done") -> RunSpec:
        run = RunSpec.of(variant.task.net(net), variant, variant.task.protocol, 0)
        folder = store.create_folder(run)
        content = safetensors.torch.save(run.task.build(run.net, variant, 0, 10).state_dict())
        (folder / run_folder.WEIGHTS).write_bytes(content)
        run_folder.write_status(folder, run_folder.Status(state=state, iteration=8, iterations=8))
        return run

    return write


def exported(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, str]:
    """What the command says on standard output and on standard error."""
    code = _exit_code(["export", *map(str, arguments)])
    out, err = capsys.readouterr()

    assert 0 == code, err
    return out, err


def test_safetensors_go_round(
    store: Store,
    finished: Finished,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the run's name, into <results>/exports; `resnet eval` finds the run's own weights in the file."""
    monkeypatch.setattr(synthetic, "load", partial(synthetic.load, train=64, test=64))
    run = finished("resnet-8")
    path, bare = store.root / "exports" / f"{run.run_id}.safetensors", tmp_path / "bare.safetensors"
    bare.write_bytes((store.folder(run) / run_folder.WEIGHTS).read_bytes())
    assert (f"{path}\n", "") == exported(capsys, run.run_id, "--to", "safetensors")
    answers = []
    for weights in (path, bare):
        code = _exit_code(["eval", "resnet-8", "--weights", str(weights), "--dataset", "synthetic", "--format", "json"])
        answers.append({**json.loads(capsys.readouterr().out), "weights": ""})
        answers[-1].pop("hint", None)  # of an untrained net's errors, where nothing tells whose weights they are
        assert 0 == code

    assert answers[0] == answers[1]
    assert "by name" == answers[0]["matched"]


def test_a_folder_and_an_output(
    store: Store, finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run's folder may be given wherever it lies, and --output says where the file goes."""
    run = finished("resnet-8")
    store.folder(run).rename(tmp_path / "copy")
    path = tmp_path / "new" / "weights.safetensors"

    assert (f"{path}\n", "") == exported(capsys, "copy", "--to", "safetensors", "--output", path)
    assert len(safetensors.torch.load_file(path)) == len(run.task.build(run.net, SMOKE, 0, 10).state_dict())


def test_safetensors_without_the_data(store: Store, finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the data are not, the weights are written without the mean, which is said; where they were named, not."""
    run = finished("resnet-8", Variant(schedule=0.01))
    out, err = exported(capsys, run.run_id, "--to", "safetensors")

    assert f"{store.root / 'exports' / run.run_id}.safetensors\n" == out
    assert err.startswith(
        "exported without the training images' mean: data/cifar-10-batches-py/data_batch_1: No such file"
    )
    assert 1 == err.count("\n")
    assert 2 == _exit_code(["export", run.run_id, "--to", "safetensors", "--data-dir", "elsewhere"])


def test_torchvision(store: Store, finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is loaded as the line on standard error says."""
    run = finished("resnet-50", V15)
    path = store.root / "exports" / f"{run.run_id}.pth"
    out, err = exported(capsys, run.run_id, "--to", "torchvision")

    assert f"{path}\n" == out
    assert err.startswith("for torchvision.models.resnet50(num_classes=10); its inputs are pixels / 255 minus the mean")
    state = torch.load(path, weights_only=True)
    torchvision.models.resnet50(num_classes=10).load_state_dict(state, strict=True)


@pytest.mark.skipif(not HAS_ONNX, reason="ONNX is an extra: pip install onnx onnxscript")
def test_onnx(store: Store, finished: Finished, capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output has the path only, whatever the exporter would say."""
    run = finished("plain-8")
    path = store.root / "exports" / f"{run.run_id}.onnx"

    assert 0 == _exit_code(["export", run.run_id, "--to", "onnx"])
    assert (f"{path}\n", "") == capfd.readouterr()
    assert len(path.read_bytes()) > 300_000


def test_onnx_needs_the_data(finished: Finished, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the data the mean cannot be subtracted: one line says what is missing, and nothing is written."""
    pytest.importorskip("onnxscript", reason="ONNX is an extra: pip install onnx onnxscript")
    run = finished("plain-8", Variant(schedule=0.01))

    assert 2 == _exit_code(["export", run.run_id, "--to", "onnx"])
    out, err = capsys.readouterr()
    assert "" == out
    assert err.startswith(
        "error: the training images' mean is computed from the images, which are needed once: data/cifar-10"
    )
    assert [] == list((store.root / "exports").iterdir())


def test_onnx_without_its_packages(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "onnx", None)
    run = finished("plain-8")

    assert 2 == _exit_code(["export", run.run_id, "--to", "onnx"])
    assert "pip install onnx onnxscript\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing", "--to", "onnx"], "'nothing': neither a run's folder nor the name of a run in "),
        (["..", "--to", "onnx"], "'..': neither a run's folder nor the name of a run in "),
        (["", "--to", "onnx"], "'': neither a run's folder nor the name of a run in "),
        (["RUN"], "Missing option '--to'"),
        (["RUN", "--to", "caffe"], "Invalid value for '--to'"),
        (["RUN", "--to", "torchvision"], "RUN: --to torchvision: torchvision has ImageNet's nets only"),
        (["RUN", "--to", "safetensors", "--output", "a-folder"], "a-folder: is a folder; name a file"),
        (["RUN", "--to", "safetensors", "--output", "results/runs/RUN/x"], "results/runs/RUN/x: in a run's own folder"),
        (["RUN", "--to", "safetensors", "--dataset-root", "a-folder"], "--dataset-root: only for ImageNet"),
        (["UNFINISHED", "--to", "safetensors"], "results/runs/UNFINISHED: interrupted, 8 of 8 updates"),
        (["BARE", "--to", "safetensors"], "results/runs/BARE: has no weights.safetensors, as most published runs"),
        (
            ["DAMAGED", "--to", "safetensors"],
            "results/runs/DAMAGED/weights.safetensors: damaged: its SHA-256 is not in",
        ),
        (["RENAMED", "--to", "safetensors"], "results/runs/RENAMED/spec.json: describes RUN, not this folder's run"),
    ],
)
def test_bad_input_is_one_line(
    store: Store,
    tmp_path: Path,
    finished: Finished,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    """What cannot be exported is one line on standard error, and exit code 2; nothing is written."""
    monkeypatch.setenv("RESNET_RESULTS", "results")
    (tmp_path / "a-folder").mkdir()
    runs = {
        "RUN": finished("resnet-8"),
        "UNFINISHED": finished("resnet-14", state="interrupted"),
        "BARE": finished("resnet-20"),
        "DAMAGED": finished("plain-8"),
    }
    (store.folder(runs["BARE"]) / run_folder.WEIGHTS).unlink()
    (store.folder(runs["DAMAGED"]) / run_folder.SUMS).write_text(f"{64 * '0'}  {run_folder.WEIGHTS}\n")
    names = {name: run.run_id for name, run in runs.items()} | {"RENAMED": runs["RUN"].run_id.replace("-s0", "-s1")}
    if "RENAMED" in arguments:
        renamed = store.root / "runs" / names["RENAMED"]
        renamed.mkdir()
        (renamed / run_folder.SPEC).write_bytes((store.folder(runs["RUN"]) / run_folder.SPEC).read_bytes())
        (renamed / run_folder.WEIGHTS).write_bytes(b"")
        run_folder.write_status(renamed, run_folder.Status(state="done"))
    for name, run_id in names.items():
        arguments = [each.replace(name, run_id) for each in arguments]
        message = message.replace(name, run_id)

    assert 2 == _exit_code(["export", *arguments])
    out, err = capsys.readouterr()
    assert "" == out
    assert err.startswith(f"error: {message}"), err
    assert 1 == err.count("\n")
    assert not list(tmp_path.rglob("exports/*"))
