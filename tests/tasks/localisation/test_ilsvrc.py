"""ILSVRC's layout: a made tree is read, trained on and verified; each fault is one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet_cli.cli.main import _exit_code
from resnet_cli.errors import BadInputError
from resnet_cli.tasks.localisation import ilsvrc

XML = """<annotation><size><width>{width}</width><height>{height}</height></size>{objects}</annotation>"""
OBJECT = """<object><name>{name}</name><bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox>
</object>"""
WNIDS = "n01440764", "n01443537"


def annotation(name: str, *boxes: tuple[object, ...]) -> str:
    """An annotation of an image of 80x60 with objects of this class."""
    return XML.format(width=80, height=60, objects="".join(OBJECT.format(*box, name=name) for box in boxes))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, with four training images each, one of them without an annotation, and two validation images."""
    root = tmp_path_factory.mktemp("tree") / "ILSVRC"
    random = np.random.default_rng(0)
    for number in range(12):
        wnid, part = WNIDS[number % 2], "val" if number > 7 else f"train/{WNIDS[number % 2]}"
        image, text = (root / kind / part for kind in (ilsvrc.IMAGES, ilsvrc.ANNOTATIONS))
        image.mkdir(parents=True, exist_ok=True)
        text.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 255, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(image / f"{number:04}.JPEG", "JPEG")
        if number:
            other = annotation("n02000000", (1, 1, 5, 5)).split("</size>")[1].removesuffix("</annotation>")
            content = annotation(wnid, (10, 5, 50, 55), (60, 5, 79, 61)).replace(
                "</annotation>", f"{other}</annotation>"
            )
            (text / f"{number:04}.xml").write_text(content)
    return root


@pytest.fixture
def root(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which counts as ILSVRC's whole."""
    monkeypatch.setattr(ilsvrc, "CLASSES", 2)
    monkeypatch.setattr(ilsvrc, "VALIDATION", 4)
    return Path(shutil.copytree(whole, tmp_path / "data/ILSVRC"))


def test_a_tree_is_read(root: Path) -> None:
    """Boxes of the image's class, cut off at its edge; a training image without an annotation is left out."""
    tree = ilsvrc.scan(root.parent)  # the folder above is as good
    labels, boxes = ilsvrc.read(tree, tree.train)

    assert root.resolve() == tree.root
    assert (WNIDS, 7, 4) == (tree.classes, len(tree.train), len(tree.val))
    assert [0] * 3 + [1] * 4 == labels.tolist()
    assert [[10, 5, 50, 55], [60, 5, 79, 60]] == boxes[0].tolist()
    assert ilsvrc.problem(root) is None


def test_a_change_is_another_set(root: Path) -> None:
    """The checksum is over the names and sizes of images and annotations."""
    before = ilsvrc.scan(root).sha256
    path = root / ilsvrc.ANNOTATIONS / "val/0008.xml"
    path.write_text(path.read_text() + " ")

    assert before != ilsvrc.scan(root).sha256


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (annotation("n01440764"), "names no object"),
        (annotation("n09999999", (1, 1, 9, 9)), "'n09999999' is not a class of train/"),
        (annotation("n01440764", (9, 1, 1, 9)), "corners are swapped"),
        (annotation("n01440764", (90, 1, 99, 9)), "lies outside of the image of 80x60"),
        (annotation("n01440764", ("x", 1, 9, 9)), "bndbox/xmin: 'x' is not a number"),
        (annotation("n01440764", ("nan", 1, 9, 9)), "bndbox/xmin: 'nan' is not a number"),
        (annotation("n01440764", (1, 1, 9, 9)).replace("<xmax>9</xmax>", ""), "bndbox/xmax: missing"),
        (annotation("n01440764", (1, 1, 9, 9)).replace("width", "wide"), "size/width: missing"),
        ("<annotation>", "no element found"),
    ],
)
def test_a_fault_is_one_line(root: Path, content: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the file, and the exit code is 2."""
    path = root / ilsvrc.ANNOTATIONS / "val/0008.xml"
    path.write_text(content)
    code = _exit_code(["data", "verify", "imagenet-loc", "--data-dir", str(root.parent)])
    err = capsys.readouterr().err

    assert 2 == code
    assert 1 == err.count("\n")
    assert f"{path}: " in err
    assert told in err


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        (f"{ilsvrc.ANNOTATIONS}/val/0008.xml", "every validation image has one"),
        (f"{ilsvrc.IMAGES}/train/{WNIDS[1]}/0001.JPEG", "there is no such image"),
        (f"{ilsvrc.ANNOTATIONS}/train", "no such folder"),
        (f"{ilsvrc.IMAGES}/val/0008.JPEG", "3 validation images, but ILSVRC2012 has"),
    ],
)
def test_what_is_missing_is_named(root: Path, gone: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a file or a folder of the layout nothing is begun."""
    path = root / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    code = _exit_code(["data", "verify", "imagenet-loc", "--dataset-root", str(root), "--data-dir", str(root.parent)])

    assert 2 == code
    assert told in capsys.readouterr().err


def test_many_faults_are_counted(root: Path) -> None:
    """The first five are named."""
    tree = ilsvrc.scan(root)
    for name in tree.train:
        (root / ilsvrc.ANNOTATIONS / f"{name}.xml").write_text("")
    with pytest.raises(BadInputError, match="and 2 more"):
        ilsvrc.read(tree, tree.train)


def test_it_is_verified(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In words what it holds; a photograph that cannot be decoded is named."""
    verify = ["data", "verify", "imagenet-loc", "--dataset-root", str(root), "--data-dir", str(root.parent)]

    assert 0 == _exit_code(verify)
    assert "2 classes, 7 training and 4 validation images with boxes, 22 boxes" in capsys.readouterr().out
    (root / ilsvrc.IMAGES / "val/0008.JPEG").write_bytes(b"")
    assert 2 == _exit_code(verify)
    assert "0008.JPEG: is empty" in capsys.readouterr().err
