"""`resnet data` of VOC and COCO: made trees of few drawn scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from made_trees import write_coco, write_voc

from resnet_cli.cli.main import _exit_code
from resnet_cli.identity import Variant
from resnet_cli.tasks import task_of
from resnet_cli.tasks.detection import coco, voc

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of datasets with both."""
    monkeypatch.setenv("RESNET_DATA", str(tmp_path))
    write_voc(tmp_path, monkeypatch)
    write_coco(tmp_path, monkeypatch)
    return tmp_path


@pytest.mark.parametrize("name", ["voc", "voc07", "voc12", "coco", "coco2017", "coco-trainval35k"])
def test_verify(data_dir: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """A task's name means the paper's own dataset, another name that dataset; what there is, is told."""
    own = {"voc": "voc07+12", "coco": "coco2014"}.get(name, name)

    assert 0 == _exit_code(["data", "verify", name])
    out = capsys.readouterr().out
    assert (
        f"is complete in {data_dir}: {own} has {6 if name.endswith(('7', '2', 'coco')) else 12} training images" in out
    )
    assert out.endswith("each image decoded\n")


def test_verify_elsewhere(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--dataset-root says where VOCdevkit, or COCO's folder, is."""
    for name, folder in (("voc", voc.FOLDER), ("coco", coco.FOLDER)):
        elsewhere = data_dir / "elsewhere" / name
        elsewhere.parent.mkdir(exist_ok=True)
        (data_dir / folder).rename(elsewhere)

        assert 0 == _exit_code(["data", "verify", name, "--dataset-root", str(elsewhere)])
        assert f"is complete in {elsewhere}: " in capsys.readouterr().out
        assert 2 == _exit_code(["data", "verify", name])
        assert f"{folder}" in capsys.readouterr().err


def test_a_bad_tree_is_one_line(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong is told on one line, with exit code 2."""
    (data_dir / "VOCdevkit/VOC2007/Annotations/001000.xml").unlink()

    assert 2 == _exit_code(["data", "verify", "voc"])
    out, err = capsys.readouterr()
    assert "" == out
    assert err.startswith(f"error: {data_dir}/VOCdevkit/VOC2007/Annotations/001000.xml: missing; unpack VOC2007's")
    assert 1 == err.count("\n")


def test_where(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The layouts, with the numbers of images, and what of them is there."""
    (data_dir / "coco/val2014").rename(data_dir / "coco/val")

    assert 0 == _exit_code(["data", "where"])
    out = capsys.readouterr().out
    assert "VOCdevkit/VOC2012/ImageSets/Main/trainval.txt (6 images): there\n" in out
    assert "coco/annotations/instances_val2014.json: there\n" in out
    assert "coco/val2014/*.jpg (6 images): missing\n" in out


@pytest.mark.parametrize(
    "name", ["voc07+12", "voc07", "voc12", "voc07++12", "coco2014", "coco2017", "coco-trainval35k"]
)
def test_a_task_opens_them(data_dir: Path, name: str) -> None:
    """Each dataset of the two tasks is found and opened by its name."""
    task, variant = task_of(name), Variant(dataset=name)

    assert task.obstacle(variant, data_dir) is None
    assert name == task.open(variant, data_dir).name
    assert task.classes == len(task.open(variant, data_dir).classes)
