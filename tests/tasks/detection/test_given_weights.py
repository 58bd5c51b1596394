"""Detectors that start from files of weights: what the conventions mean, and what is told of a wrong file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch

from resnet_cli.cli.main import _exit_code
from resnet_cli.errors import BadInputError
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.tasks.detection import Voc
from resnet_cli.tasks.detection.crops import Crops
from resnet_cli.tasks.detection.detection import open_drawn
from resnet_cli.train.start import initial_net
from resnet_cli.weights.trained import given_net

if TYPE_CHECKING:
    from pathlib import Path

VOC, CROPS = Voc(), Crops()
NAME = "faster-rcnn-thin-resnet-18"
RUNS = {
    convention: RunSpec.of(
        VOC.net(NAME), Variant(dataset="drawn-scenes", tiny=True, weights=f"{convention}-01234567"), VOC.protocol, 0
    )
    for convention in ("paper", "torchvision", "caffe")
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A classifier's weights, of 7 classes, as torch.save writes them."""
    path = tmp_path / "thin.pth"
    torch.save(CROPS.make(CROPS.net("thin-resnet-18"), 5, 7).state_dict(), path)
    return path


@pytest.mark.parametrize("convention", RUNS)
def test_the_detector_has_the_files_layers(convention: str, file: Path) -> None:
    """All but the last; of Caffe's weights, whose pixels are blue, green, red, the first is turned round."""
    run = RUNS[convention]
    state = torch.load(file)
    net = initial_net(run, open_drawn(run.variant), file)
    first = state["conv1.weight"].flip(1) if convention == "caffe" else state["conv1.weight"]

    assert run.source is None
    assert torch.equal(first, net.backbone.stem.conv1.weight)
    assert torch.equal(state["layer3.1.conv2.weight"], net.backbone.layer3[1].conv2.weight)
    assert torch.equal(state["layer4.0.bn1.running_var"], net.roi_heads.box_head.layer4[0].bn1.running_var)


def test_pixels_and_strides_of_the_conventions() -> None:
    """Bottlenecks of torchvision's have the stride on the 3x3 and pixels over a deviation; Caffe's pixels go to 255."""
    found = {}
    for convention in RUNS:
        variant = Variant(dataset="voc07", weights=f"{convention}-01234567")
        net = VOC.build(VOC.net("faster-rcnn-resnet-50"), variant, 0, 20)
        pixels = torch.full((3, 1, 1), 1.0)
        block = net.backbone.layer2[0]
        found[convention] = (block.conv1.stride[0], block.conv2.stride[0], net.transform.normalize(pixels)[:, 0, 0])

    assert [(2, 1), (1, 2), (2, 1)] == [each[:2] for each in found.values()]
    assert found["paper"][2].tolist() == pytest.approx([0.515, 0.544, 0.594])
    assert found["torchvision"][2].tolist() == pytest.approx([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225])
    assert found["caffe"][2].tolist() == pytest.approx([255 - 122.7717, 255 - 115.9465, 255 - 102.9801], rel=1e-5)


@pytest.mark.long
def test_vgg_starts_from_torchvisions_layers(tmp_path: Path) -> None:
    """Its convolutions and its first two fully connected layers, by order. 138 million weights take seconds."""
    from torchvision.models import vgg16

    theirs = vgg16(init_weights=False)
    torch.save(theirs.state_dict(), tmp_path / "vgg16.pth")
    variant = Variant(dataset="drawn-scenes", tiny=True, weights="torchvision-01234567")
    run = RunSpec.of(VOC.net("faster-rcnn-vgg-16"), variant, VOC.protocol, 0)
    net = initial_net(run, open_drawn(variant), tmp_path / "vgg16.pth")

    assert torch.equal(theirs.features[28].weight, net.backbone[4][5].weight)
    assert torch.equal(theirs.classifier[0].bias, net.roi_heads.box_head[1].bias)
    assert torch.equal(theirs.classifier[3].weight, net.roi_heads.box_head[4].weight)


def test_weights_of_another_net(tmp_path: Path) -> None:
    """One line names the file and what does not fit."""
    for state, told in (
        (CROPS.make(CROPS.net("thin-resnet-34"), 0).state_dict(), "convolution"),
        ({"conv1.weight": torch.zeros(16, 3, 7, 7)}, "not weights that faster-rcnn-thin-resnet-18 can start from"),
    ):
        torch.save(state, tmp_path / "other.pth")
        with pytest.raises(BadInputError, match=told):
            given_net(RUNS["paper"], tmp_path / "other.pth")


def test_a_run_from_a_file(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--weights NET=FILE` trains no classifier, is part of the run's name, and stands on the table."""
    results = tmp_path / "results"
    where = ["--device", "cpu", "--results-dir", str(results)]
    command = ["run", "scenes", "--tiny", "--only", "*resnet*", "--seeds", "1", *where]

    assert 0 == _exit_code([*command, "--weights", f"{NAME}={file}", "--convention", "caffe"])
    out, err = capsys.readouterr()
    (folder,) = (results / "runs").iterdir()
    weights = json.loads((folder / "spec.json").read_text())["variant"]["weights"]

    assert weights.startswith("caffe-")
    assert f"from given weights, {weights}" in " ".join(out.split())
    assert f"--at tiny-{weights}" in err

    assert 0 == _exit_code(["table", "scenes", "--at", f"tiny-{weights}", "--results-dir", str(results)])


def test_wrong_options(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A net that is not in the experiment, a file that is not there, a task that takes none, a net left without."""
    for words, told in (
        (["scenes", "--weights", f"resnet-18={file}"], "write NET=FILE with one of faster-rcnn-thin-resnet-18"),
        (["scenes", "--weights", f"{NAME}={tmp_path}/none"], "No such file"),
        (["table6", "--weights", f"resnet-20={file}"], "CIFAR-10's nets cannot start from files"),
        (["scenes", "--weights", f"{NAME}={file}", "--launcher", "slurm"], "works with --launcher local"),
    ):
        assert 2 == _exit_code(["run", *words, "--tiny", "--device", "cpu", "--results-dir", str(tmp_path / "results")])
        assert told in capsys.readouterr().err
