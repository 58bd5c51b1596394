from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from made_trees import COUNT, drawn, write_voc
from PIL import Image

from resnet_cli.errors import BadInputError
from resnet_cli.tasks.detection import voc
from resnet_cli.tasks.detection.objects import all_objects

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from resnet_cli.tasks.detection.objects import Pictures

FIRST = "VOC2007/Annotations/001000.xml"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """VOCdevkit of few scenes."""
    return write_voc(tmp_path, monkeypatch)


def look(root: Path, which: str = "voc07+12") -> str:
    """What `verify` says."""
    return voc.verify(root, which, root.parent / "verified", 1, lambda *_: None)


def assert_same(pictures: Pictures, key: int, start: int = 0) -> None:
    """The images of a list from here on are what was written."""
    written = drawn(key)
    for number in range(COUNT):
        image = pictures.image(start + number)

        assert image.shape == written.image(number).shape
        assert (image.float() - written.image(number)).abs().mean() < 20  # a JPEG, of noise
        for name in ("boxes", "labels", "difficult"):
            np.testing.assert_array_equal(
                getattr(pictures.objects(start + number), name), getattr(written.objects(number), name)
            )


def test_lists(root: Path) -> None:
    """Each name has its years and lists, in their order, by the folder itself or by the one that it is in."""
    both, one = voc.open_data(root.parent, "voc07+12"), voc.open_data(root, "voc12")

    assert_same(both.test, 1)
    assert_same(one.test, 4)
    assert_same(both.train.pictures, 0)
    assert_same(both.train.pictures, 2, COUNT)
    assert 0 < len(both.train) <= 2 * COUNT
    assert all(len(each.to_learn) for each in all_objects(both.train))
    assert COUNT == len(both.test)
    assert ("002000", 1) == (both.test.names[0], both.test.ids[0])
    assert ("aeroplane", 20, 1) == (both.classes[0], len(both.classes), both.category_ids[0])
    assert 3 * COUNT == len(voc.open_data(root, "voc07++12").train.pictures)


def test_checksum(root: Path) -> None:
    """The same tree has the same checksum; another box, another."""
    before = voc.open_data(root, "voc07").checksum
    path = root / FIRST

    assert before == voc.open_data(root, "voc07").checksum
    path.write_text(path.read_text().replace("<difficult>0", "<difficult>1"))
    assert before != voc.open_data(root, "voc07").checksum


def test_verify(root: Path) -> None:
    """All is read and decoded, and told."""
    objects = [each for key in (0, 2) for each in all_objects(drawn(key))]
    count, learned = sum(map(len, objects)), sum(int((~each.difficult).sum()) for each in objects)

    assert f"voc07+12 has 12 training images with {count} objects, of which {learned} are neither difficult " in look(
        root
    )


def test_an_image_that_lies_on_its_side(root: Path) -> None:
    """A camera's mark is heeded where the annotation's size wants it, and not otherwise."""
    path = root / "VOC2007/JPEGImages/002000.jpg"
    mark = Image.Exif()
    mark[0x0112] = 6
    image = Image.open(path).resize((96, 128))
    image.transpose(Image.Transpose.ROTATE_90).save(path, exif=mark)
    xml = root / "VOC2007/Annotations/002000.xml"
    size = re.compile("<width>.*</height>")
    xml.write_text(
        size.sub("<width>96</width><height>128</height>", re.sub("<object>.*</object>", "", xml.read_text()))
    )
    turned = voc.open_data(root, "voc07").test.image(0)

    assert (3, 128, 96) == tuple(turned.shape)
    assert np.abs(turned.permute(1, 2, 0).numpy().astype(float) - np.asarray(image)).mean() < 10
    look(root)
    xml.write_text(size.sub("<width>128</width><height>96</height>", xml.read_text()))
    assert (3, 96, 128) == tuple(voc.open_data(root, "voc07").test.image(0).shape)
    look(root)
    xml.write_text(size.sub("<width>100</width><height>96</height>", xml.read_text()))
    with pytest.raises(BadInputError, match=r"002000\.jpg: 128x96 pixels, but its annotation says 100x96"):
        voc.open_data(root, "voc07").test.image(0)
    with pytest.raises(BadInputError, match=r"002000\.jpg: 128x96 pixels, but its annotation says 100x96"):
        look(root)


def edit(old: str, new: str) -> Callable[[Path], object]:
    """Changes the first annotation, whose only object is given corners."""

    def change(root: Path) -> None:
        box = "<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>50</xmax><ymax>60</ymax></bndbox>"
        one = f"<object><name>bird</name>{box}</object>"
        size = "<size><width>128</width><height>96</height></size>"
        text = f"<annotation>{size}{one}</annotation>"

        assert old in text
        (root / FIRST).write_text(text.replace(old, new, 1))

    return change


def test_it_can_be_mended(root: Path) -> None:
    """The annotation that the next test spoils is read."""
    edit("", "")(root)

    assert [[2, 3, 50, 60]] == voc.read(root, "2007", "001000", 1).objects.boxes.tolist()
    assert not voc.read(root, "2007", "001000", 1).objects.difficult[0]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda root: (root / FIRST).unlink(), f"{FIRST}: missing; unpack VOC2007's archives again"),
        (lambda root: (root / "VOC2007/JPEGImages/001002.jpg").unlink(), "JPEGImages/001002.jpg: missing"),
        (lambda root: (root / "VOC2012").rename(root / "2012"), "VOC2012/ImageSets/Main/trainval.txt: No such file"),
        (lambda root: (root / "VOC2007/ImageSets/Main/test.txt").unlink(), "test.txt: No such file"),
        (
            lambda root: (root / "VOC2007/ImageSets/Main/test.txt").write_text("002000\n"),
            "test.txt: names 1 images, but VOC2007's test set has 6",
        ),
        (
            lambda root: (root / "VOC2007/ImageSets/Main/test.txt").write_text("../../secret\n" * COUNT),
            "test.txt: '../../secret' is not an image's name",
        ),
        (edit("<xmin>3<", "<xmin>51<"), f"{FIRST}: box 50, 3 to 50, 60: its corners are swapped"),
        (edit("<ymin>4<", "<ymin>90<"), f"{FIRST}: box 2, 89 to 50, 60: its corners are swapped"),
        (edit("<xmin>3<", "<xmin>nan<"), f"{FIRST}: box nan, 3 to 50, 60: its corners are swapped"),
        (edit("<xmax>50<", "<xmax>131<"), f"{FIRST}: box 2, 3 to 131, 60: outside the image of 128x96 pixels"),
        (edit("<ymin>4<", "<ymin>-9<"), f"{FIRST}: box 2, -10 to 50, 60: outside the image"),
        (edit("<ymin>4</ymin>", ""), f"{FIRST}: not an annotation of VOC's: object without bndbox/ymin"),
        (edit("<xmin>3<", "<xmin>three<"), f"{FIRST}: not an annotation of VOC's: could not convert"),
        (edit("<xmax>50<", "<xmax>1e999<"), f"{FIRST}: box 2, 3 to inf, 60: outside the image"),
        (edit("bird", "dragon"), f"{FIRST}: not an annotation of VOC's: 'dragon' is not one of its classes"),
        (
            edit("<annotation>", "<!DOCTYPE a [<!ENTITY b 'c'>]><annotation>"),
            f"{FIRST}: not an annotation of VOC's: has",
        ),
        (edit("</annotation>", ""), f"{FIRST}: not an annotation of VOC's: no element found"),
        (lambda root: (root / FIRST).write_bytes(b"\xff\x00"), f"{FIRST}: not an annotation of VOC's"),
        (lambda root: (root / "VOC2007/JPEGImages/001002.jpg").write_bytes(b"\xff"), "001002.jpg: not an image"),
    ],
)
def test_bad_trees(root: Path, change: Callable[[Path], object], told: str) -> None:
    """What is wrong with a tree is one line that names the file."""
    change(root)

    with pytest.raises(BadInputError, match=re.escape(told)) as error:
        look(root)
    assert "\n" not in str(error.value)


def test_obstacle(root: Path) -> None:
    """A whole tree has none; what is missing is told without an annotation being read."""
    assert voc.obstacle(root, "voc07+12") is None
    (root / FIRST).write_text("nonsense")
    assert voc.obstacle(root, "voc07+12") is None
    (root / "VOC2012/ImageSets/Main/test.txt").unlink()
    assert "VOC2012's test set has no public annotations" in str(voc.obstacle(root, "voc07++12"))
    (root / FIRST).unlink()
    assert f"{root / FIRST}: missing; unpack VOC2007's archives again" == voc.obstacle(root, "voc07")
    assert "VOCdevkit/VOC2007/ImageSets/Main/trainval.txt: No such file" in str(voc.obstacle(root / "none", "voc07"))


def test_expected(root: Path) -> None:
    """The lists of the paper's dataset with their numbers, and whether they are there."""
    (root / "VOC2012/ImageSets/Main/trainval.txt").unlink()

    assert {
        "VOCdevkit/VOC2007/ImageSets/Main/trainval.txt (6 images)": True,
        "VOCdevkit/VOC2012/ImageSets/Main/trainval.txt (6 images)": False,
        "VOCdevkit/VOC2007/ImageSets/Main/test.txt (6 images)": True,
    } == voc.expected(root.parent)
