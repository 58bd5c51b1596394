"""PASCAL VOC on disk, in the layout of its archives. Imports no torch.

    VOCdevkit/VOC2007/Annotations/000005.xml  JPEGImages/000005.jpg  ImageSets/Main/{trainval,test}.txt
    VOCdevkit/VOC2012/Annotations/2008_000002.xml  ...               ImageSets/Main/trainval.txt

In these files, corners are inclusive and counted from 1; here, edges are counted from 0: xmin - 1 to xmax.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from resnet_cli.errors import BadInputError
from resnet_cli.tasks.detection.objects import Objects

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from resnet_cli.tasks.detection.files import Marked
    from resnet_cli.tasks.detection.objects import DetectionData

FOLDER = "VOCdevkit"
CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
NAME = re.compile("[0-9_]+")
IMAGES = {
    ("2007", "trainval"): 5_011,
    ("2007", "test"): 4_952,
    ("2012", "trainval"): 11_540,
    ("2012", "train"): 5_717,
    ("2012", "val"): 5_823,
    ("2012", "test"): 10_991,
}
SOURCE = "http://host.robots.ox.ac.uk/pascal/VOC"


@dataclass(frozen=True)
class Sets:
    """What a dataset's name means: year and list of its training images, and of its test images."""

    train: tuple[tuple[str, str], ...]
    test: tuple[str, str]

    @property
    def lists(self) -> tuple[tuple[str, str], ...]:
        """All of them."""
        return *self.train, self.test


SETS = {
    "voc07+12": Sets((("2007", "trainval"), ("2012", "trainval")), ("2007", "test")),
    "voc07++12": Sets((("2007", "trainval"), ("2007", "test"), ("2012", "trainval")), ("2012", "test")),
    "voc07": Sets((("2007", "trainval"),), ("2007", "test")),
    "voc12": Sets((("2012", "train"),), ("2012", "val")),
}


def _sets(which: str, *, test_only: bool) -> Sets:
    return replace(SETS[which], train=()) if test_only else SETS[which]


def root_of(folder: Path) -> Path:
    """VOCdevkit: this folder, if it has an archive's folder, else the one named VOCdevkit in it."""
    return folder if any((folder / f"VOC{year}").is_dir() for year, _ in IMAGES) else folder / FOLDER


def expected(folder: Path) -> dict[str, bool]:
    """The lists of the paper's own dataset, with their numbers of images, and whether each is there."""
    root = root_of(folder)
    return {
        f"{FOLDER}/{_list(year, part)} ({IMAGES[year, part]:,} images)": (root / _list(year, part)).is_file()
        for year, part in SETS["voc07+12"].lists
    }


def obstacle(folder: Path, which: str, *, test_only: bool = False) -> str | None:
    """What keeps a dataset from being used, as one line; checks its lists, and that all files that they name are there.

    Args:
        folder: VOCdevkit, or what it is in.
        which: One of `SETS`.
        test_only: Whether its test images are enough.
    """
    root = root_of(folder)
    try:
        for year, part in _sets(which, test_only=test_only).lists:
            names = _names(root, year, part)
            for kind, suffix in (("Annotations", ".xml"), ("JPEGImages", ".jpg")):
                place = root / f"VOC{year}" / kind
                there = set(os.listdir(place))  # noqa: PTH208  a Path for each takes its time
                missing = [name for name in names if f"{name}{suffix}" not in there]
                if missing:
                    more = f", and {len(missing) - 1:,} more" if missing[1:] else ""
                    return f"{place / missing[0]}{suffix}: missing{more}; unpack VOC{year}'s archives again"
    except OSError as error:
        return f"{error.filename}: {error.strerror}; {_how_to_get(which)}"
    except BadInputError as error:
        return str(error)
    return None


def open_data(folder: Path, which: str, *, test_only: bool = False) -> DetectionData:
    """Reads a dataset's annotations, or only those of its test images; an image is read when it is used.

    Raises:
        BadInputError: Something is missing, or not VOC's annotation.
    """
    from resnet_cli.tasks.detection.files import data_of

    in_the_way = obstacle(folder, which, test_only=test_only)
    if in_the_way:
        raise BadInputError(in_the_way)
    root, sets = root_of(folder), _sets(which, test_only=test_only)
    train, test = (
        [
            read(root, year, name, number)
            for number, (year, name) in enumerate(
                ((year, name) for year, part in lists for name in _names(root, year, part)), start=1
            )
        ]
        for lists in (sets.train, (sets.test,))
    )
    return data_of(which, CLASSES, tuple(range(1, len(CLASSES) + 1)), root, train, test)


def verify(folder: Path, which: str, records: Path, workers: int, progress: Callable[[int, int], None]) -> str:
    """Reads every annotation and decodes every image; see `look_through`."""
    from resnet_cli.tasks.detection.files import look_through

    return look_through(open_data(folder, which), root_of(folder), records, workers, progress)


def read(root: Path, year: str, name: str, number: int) -> Marked:
    """An image's annotation.

    Args:
        root: VOCdevkit.
        year: Of the archive.
        name: Of the image, as in the lists.
        number: The image's number in results in COCO's form.

    Raises:
        BadInputError: There is none, or it is not VOC's.
    """
    from resnet_cli.tasks.detection.files import Marked, boxes_of

    path = root / f"VOC{year}" / "Annotations" / f"{name}.xml"
    try:
        content = path.read_bytes()
        if b"<!DOCTYPE" in content:  # no doctype, so no entities that fill the memory
            raise BadInputError(f"{path}: not an annotation of VOC's: has a document type")
        tree = ET.fromstring(content)  # noqa: S314  see above
        width, height = (int(_text(tree, f"size/{side}")) for side in ("width", "height"))
        edges, labels, difficult = [], [], []
        for each in tree.findall("object"):
            xmin, ymin, xmax, ymax = (float(_text(each, f"bndbox/{edge}")) for edge in ("xmin", "ymin", "xmax", "ymax"))
            edges.append([xmin - 1, ymin - 1, xmax, ymax])
            labels.append(_label(_text(each, "name")))
            difficult.append(each.findtext("difficult", "0").strip() == "1")
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror}; unpack VOC{year}'s archives again") from error
    except (ET.ParseError, ValueError, OverflowError) as error:
        raise BadInputError(f"{path}: not an annotation of VOC's: {error}") from error
    boxes = boxes_of(path, edges, width, height, least=1)
    return Marked(name, number, f"VOC{year}/JPEGImages/{name}.jpg", width, height, Objects.of(boxes, labels, difficult))


def _label(name: str) -> int:
    if name not in CLASSES:
        raise ValueError(f"'{name}' is not one of its classes")
    return 1 + CLASSES.index(name)


def _text(element: ET.Element, path: str) -> str:
    """The text of an element's child.

    Raises:
        ValueError: There is no such child.
    """
    text = element.findtext(path)
    if text is None:
        raise ValueError(f"{element.tag} without {path}")
    return text.strip()


def _list(year: str, part: str) -> str:
    return f"VOC{year}/ImageSets/Main/{part}.txt"


def _names(root: Path, year: str, part: str) -> list[str]:
    """The images of a list, in its order.

    Raises:
        OSError: It cannot be read.
        BadInputError: It does not have as many as VOC's.
    """
    path = root / _list(year, part)
    names = path.read_text(encoding="ascii", errors="replace").split()
    odd = [name for name in names if not NAME.fullmatch(name)]
    if odd:
        raise BadInputError(f"{path}: {odd[0]!r} is not an image's name; a line has a name and nothing else")
    if len(names) != IMAGES[year, part]:
        raise BadInputError(
            f"{path}: names {len(names):,} images, but VOC{year}'s {part} set has {IMAGES[year, part]:,}; get it again"
        )
    return names


def _how_to_get(which: str) -> str:
    lists = ", ".join(_list(year, part) for year, part in SETS[which].lists)
    server = "; VOC2012's test set has no public annotations" if SETS[which].test == ("2012", "test") else ""
    return f"needed in {FOLDER}: {lists}, with Annotations and JPEGImages, from {SOURCE}{server}"
