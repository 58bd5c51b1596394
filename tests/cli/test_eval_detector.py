"""`resnet eval` of detectors: a run of ours, files of weights, torchvision's R-CNNs, and every way to say no."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import safetensors.torch
import torch
from made_trees import write_coco, write_voc
from test_eval import answer as read_answer
from torchvision.models import get_model

from resnet_cli.cli.eval_detector import DetectorRequest, _papers, is_of_detector
from resnet_cli.cli.main import _exit_code
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.nets import torchvision_rcnn
from resnet_cli.nets.torchvision_rcnn import Theirs, epsilon_of, names
from resnet_cli.storage import run_folder
from resnet_cli.tasks.detection import Coco, Voc, crops
from resnet_cli.tasks.detection.voc_ap import mean_of

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from resnet_cli.names import Precision
    from resnet_cli.storage.store import Store

VOC, COCO = Voc(), Coco()
NAME, SMALL = "faster-rcnn-thin-resnet-18", "fasterrcnn_mobilenet_v3_large_320_fpn"
SMOKE = Variant(dataset="drawn-scenes", tiny=True)


@pytest.fixture(autouse=True)
def _few_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops, "SCENES", crops.SMOKE_SCENES)
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def folder(store: Store) -> Path:
    """A finished run's folder with weights that were never trained, which find something."""
    run = RunSpec.of(VOC.net(NAME), SMOKE, VOC.protocol, 0)
    net = VOC.build_for(run, 5)
    with torch.no_grad():
        net.roi_heads.box_predictor.cls_score.weight.mul_(100)
    place = store.create_folder(run)
    (place / run_folder.WEIGHTS).write_bytes(safetensors.torch.save(net.state_dict()))
    return place


def test_a_run_of_ours(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is tested with its own settings on its own test set; what it found is written in COCO's JSON."""
    run = RunSpec.model_validate_json((folder / run_folder.SPEC).read_text())
    net = VOC.build_for(run, 5)
    net.load_state_dict(safetensors.torch.load_file(folder / run_folder.WEIGHTS))
    expected = VOC.test(net, VOC.open(SMOKE, tmp_path), "fp32")
    answer = read_answer(capsys, NAME, "--weights", folder, "--output", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())

    assert expected.metrics == answer["metrics"]
    assert 3 == answer["images"]
    assert mean_of(np.array(list(answer["by_class"]["test_map50"].values()), float)) == expected.metrics["test_map50"]
    assert len(expected.kept["scores"]) == len(found) > 0
    assert "embedded drawn scenes, not PASCAL VOC" == answer["data"]
    assert answer["paper"] is None


def test_in_words(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For people."""
    assert 0 == _exit_code(["eval", NAME, "--weights", str(folder), "--device", "cpu"])
    out = capsys.readouterr().out

    assert "731,692 parameters" in out
    assert "3 images, shorter side 96, fp32" in out
    assert "mAP@.5" in out
    assert "no number for this net and test" in out


@pytest.mark.parametrize(
    "convention",
    [*(pytest.param(name, marks=pytest.mark.long) for name in ("paper", "torchvision")), "caffe"],
)
def test_a_file_of_one_of_our_nets(convention: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The convention says what pixels and strides the weights assume; of Caffe's the first layer is turned round."""
    variant = Variant(dataset="drawn-scenes", weights=None if convention == "paper" else f"{convention}-00000000")
    net = VOC.build(VOC.net("faster-rcnn-resnet-50"), variant, 0, 5)
    with torch.no_grad():
        net.roi_heads.box_predictor.cls_score.weight.mul_(100)
    state = {f"module.{name}": tensor.clone() for name, tensor in net.state_dict().items()}
    if convention == "caffe":
        first = "module.backbone.stem.conv1.weight"
        state[first] = state[first].flip(1)
    torch.save({"model": state, "epoch": 3}, tmp_path / "theirs.pth")
    expected = VOC.test(net, VOC.open(variant, tmp_path), "fp32").metrics
    words = ["faster-rcnn-resnet-50", "--weights", tmp_path / "theirs.pth", "--dataset", "drawn-scenes"]
    answer = read_answer(capsys, *words, "--convention", convention)

    assert answer["metrics"] == pytest.approx(expected, nan_ok=True)
    assert convention == answer["convention"]


def test_the_papers_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Table 7's stand beside those of its net, marked where the data is not the paper's."""
    monkeypatch.setattr(VOC.__class__, "test", _finds_nothing)
    net = VOC.build(VOC.net("faster-rcnn-resnet-101"), Variant(dataset="drawn-scenes"), 0, 5)
    torch.save(net.state_dict(), tmp_path / "theirs.pth")
    words = ["faster-rcnn-resnet-101", "--weights", str(tmp_path / "theirs.pth"), "--dataset", "drawn-scenes"]

    assert 0 == _exit_code(["eval", *words, "--device", "cpu"])
    assert "mAP@.5 76.40 (Table 7); NOT COMPARABLE" in capsys.readouterr().out


def _finds_nothing(*_: object, **__: object) -> object:
    from resnet_cli.tasks.detection.found import kept
    from resnet_cli.tasks.detection.objects import Detections
    from resnet_cli.tasks.task import Scores

    none = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))
    return Scores(float("nan"), {"test_map50": 0.0}, 3, kept([none] * 3))


def test_torchvisions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A detector of torchvision's gives the metrics of the boxes that it finds by itself."""
    torch.manual_seed(0)
    net = get_model(SMALL, weights=None, weights_backbone=None, num_classes=6).eval()
    with torch.no_grad():
        net.roi_heads.box_predictor.cls_score.weight.mul_(100)
    torch.save(net.state_dict(), tmp_path / "theirs.pth")
    data = VOC.open(SMOKE, tmp_path)
    with torch.no_grad():
        expected = [net([data.test.image(number).float() / 255])[0] for number in range(3)]
    words = [SMALL, "--weights", tmp_path / "theirs.pth", "--dataset", "drawn-scenes"]
    answer = read_answer(capsys, *words, "--output", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())

    assert "torchvision's own" == answer["convention"]
    assert sum(len(each["scores"]) for each in expected) == len(found) > 0
    assert [each["score"] for each in found] == pytest.approx(torch.cat([each["scores"] for each in expected]).tolist())
    assert [each["category_id"] for each in found] == torch.cat([each["labels"] for each in expected]).tolist()
    corners = torch.cat([each["boxes"] for each in expected])
    np.testing.assert_allclose([each["bbox"][:2] for each in found], corners[:, :2], atol=1e-3)


def test_the_file_in_a_runs_folder_is_the_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its settings and what its weights assume are in the same folder."""
    by_folder = read_answer(capsys, NAME, "--weights", folder)
    by_file = read_answer(capsys, NAME, "--weights", folder / run_folder.WEIGHTS)

    assert {**by_folder, "weights": ""} == {**by_file, "weights": ""}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_whose_numbers_may_stand_beside_the_papers(precision: Precision) -> None:
    """A run of the paper's protocol in any precision; not a shorter one."""
    net = VOC.net("faster-rcnn-resnet-101")
    paper = RunSpec.of(net, Variant(dataset="voc07+12", precision=precision), VOC.protocol, 3)
    short = RunSpec.of(net, Variant(dataset="voc07+12", precision=precision, schedule=0.1), VOC.protocol, 3)

    for run, comparable in ((None, True), (paper, True), (short, False)):
        request = DetectorRequest(net.name, net, "weights", run, VOC, Variant(dataset="voc07+12"))
        found = _papers(request)
        assert found is not None
        assert ("Table 7", {"test_map50": 76.4}, comparable) == tuple(found.values())


def test_a_localisers_name_is_no_detectors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`rcnn-resnet-14` localises, and is told so as before."""
    assert not is_of_detector("rcnn-resnet-14", str(tmp_path), None)
    assert 2 == _exit_code(["eval", "rcnn-resnet-14", "--weights", str(tmp_path)])
    assert "detector" not in capsys.readouterr().err


def test_weights_without_epsilon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of torchvision's files are known by their SHA-256."""
    (tmp_path / "w").write_bytes(b"weights")
    assert epsilon_of(tmp_path / "w") is None
    digest = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setattr(torchvision_rcnn, "WITHOUT_EPSILON", ("0" * 8, digest[:8]))

    assert 0.0 == epsilon_of(tmp_path / "w")


def test_labels_of_torchvisions() -> None:
    """Of 91 outputs labels are COCO's ids; what the dataset has no class for goes."""
    net = Theirs(SMALL, 91, [1, 2, 90], epsilon=0.0)
    found = {
        "boxes": torch.arange(16.0).reshape(4, 4),
        "labels": torch.tensor([90, 12, 2, 1]),
        "scores": torch.tensor([0.9, 0.8, 0.7, 0.6]),
    }
    renamed = net._renamed(found)

    assert [3, 2, 1] == renamed["labels"].tolist()
    assert [0.9, 0.7, 0.6] == pytest.approx(renamed["scores"].tolist())
    assert [0, 8, 12] == renamed["boxes"][:, 0].tolist()
    assert {0.0} == {module.eps for module in net.modules() if hasattr(module, "eps")}
    assert {SMALL, "fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn"} < set(names())
    assert not [name for name in names() if "keypoint" in name]


@pytest.mark.parametrize("dataset", ["voc07", "coco2017"])
def test_the_test_images_are_enough(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who only tests needs no training images."""
    write, task = (write_voc, VOC) if dataset == "voc07" else (write_coco, COCO)
    root = write(tmp_path / "data", monkeypatch)
    gone = {"voc07": ["VOC2007/ImageSets/Main/trainval.txt"], "coco2017": ["annotations/instances_train2017.json"]}
    for path in gone[dataset]:
        (root / path).unlink()
    classes = len(task.open_test(Variant(dataset=dataset), tmp_path / "data").classes)
    torch.save(_theirs(classes + 1), tmp_path / "w")
    words = [SMALL, "--weights", tmp_path / "w", "--dataset", dataset, "--data-dir", tmp_path / "data"]

    assert task.obstacle(Variant(dataset=dataset), tmp_path / "data")
    assert read_answer(capsys, *words)["metrics"].keys() == {metric.key for metric in task.metrics}


def _theirs(outputs: int) -> dict[str, Tensor]:
    """Weights of one of torchvision's detectors, which were never trained."""
    state: dict[str, Tensor] = get_model(SMALL, weights=None, weights_backbone=None, num_classes=outputs).state_dict()
    return state


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([NAME, "--crops", "10"], "--crops: is for nets that classify images"),
        ([NAME, "--bn-statistics", "averaged"], "--bn-statistics: is for nets that classify images"),
        (["faster-rcnn-thin-plain-18"], "a run of faster-rcnn-thin-resnet-18, not of faster-rcnn-thin-plain-18"),
        ([NAME, "--convention", "caffe"], "the run in FOLDER determines what its weights assume"),
        (
            [NAME, "--dataset", "drawn-scenes", "--convention", "torchvision"],
            "what its weights assume; leave it out",
        ),
        ([NAME, "--dataset", "cifar10"], "not a dataset for detection, but"),
        ([NAME, "--dataset", "coco2017"], "instances_val2017.json: missing"),
    ],
)
def test_wrong_options(folder: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, and exit code 2."""
    assert 2 == _exit_code(["eval", *words, "--weights", str(folder), "--device", "cpu"])
    assert told.replace("FOLDER", str(folder)) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["faster-rcnn-resnet-50"], "--dataset: name the test set for faster-rcnn-resnet-50"),
        (
            ["faster-rcnn-resnet-50", "--dataset", "drawn-scenes"],
            "backbone.stem.conv1.weight is not in the file",
        ),
        (["faster-rcnn-resnet-51", "--dataset", "drawn-scenes"], "is not a detector"),
        ([NAME, "--dataset", "drawn-scenes"], "the settings of its test are in its run's folder"),
        (["fasterrcnn_resnet18", "--dataset", "drawn-scenes"], "torchvision has fasterrcnn_"),
        ([SMALL, "--dataset", "drawn-scenes"], "this detector has 4 classes, drawn-scenes has 5"),
        (
            ["faster-rcnn-resnet-50", "--dataset", "drawn-scenes", "--convention", "fb"],
            "--convention fb: for a detector choose paper",
        ),
        ([SMALL, "--dataset", "drawn-scenes", "--precision", "bf16"], "--precision bf16: too coarse for fasterrcnn_"),
        ([SMALL, "--dataset", "drawn-scenes", "--convention", "caffe"], "determines what its weights assume"),
        (["resnet-20", "--dataset", "drawn-scenes"], "is not a detector"),
        (["resnet-20", "--convention", "caffe"], "--convention caffe: is for detectors"),
    ],
)
def test_wrong_files(words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, and exit code 2."""
    classes = 5 if SMALL in words else 6
    torch.save(_theirs(classes), tmp_path / "w")

    assert 2 == _exit_code(["eval", *words, "--weights", str(tmp_path / "w"), "--device", "cpu"])
    assert told in capsys.readouterr().err
