"""ILSVRC's classification and localisation set on disk, as Kaggle's archive has it. Needs no torch.

    ILSVRC/Data/CLS-LOC/{train/<wnid>,val}/*.JPEG    ILSVRC/Annotations/CLS-LOC/{train/<wnid>,val}/*.xml

An annotation names the class and the box of each object: VOC's XML. Every validation image has one; of the training
images some have none, and are left out.
"""

from __future__ import annotations

import hashlib
import math
import os
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from resnet_cli.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

CLASSES, VALIDATION = 1_000, 50_000  # of ILSVRC2012
NAMED = 5  # faults that a message names; it gives the number of the others
IMAGES, ANNOTATIONS = "Data/CLS-LOC", "Annotations/CLS-LOC"
LAYOUT = (
    f"needed are {IMAGES}/train/<wnid>/*.JPEG, {IMAGES}/val/*.JPEG, {ANNOTATIONS}/train/<wnid>/*.xml and "
    f"{ANNOTATIONS}/val/*.xml"
)


@dataclass(frozen=True)
class Tree:
    """What the folders hold: images relative to `root` without their ending, those with an annotation only."""

    root: Path
    classes: tuple[str, ...]
    train: tuple[str, ...]
    val: tuple[str, ...]

    def image(self, name: str) -> str:
        """An image's file, relative to the root."""
        return f"{IMAGES}/{name}.JPEG"

    @property
    def sha256(self) -> str:
        """SHA-256 over the names and the sizes of all images and annotations."""
        digest = hashlib.sha256()
        for name in self.train + self.val:
            sizes = [(self.root / part).stat().st_size for part in (self.image(name), f"{ANNOTATIONS}/{name}.xml")]
            digest.update(f"{name}\0{sizes}\n".encode())
        return digest.hexdigest()


def scan(root: Path) -> Tree:
    """Looks through the folders, once in a process; reads no file.

    Raises:
        BadInputError: Something is missing.
    """
    root = next((place for place in (root / "ILSVRC", root) if (place / IMAGES).is_dir()), root)
    try:
        return _scan(root.resolve())
    except OSError as error:
        raise BadInputError(f"{error.filename or root}: {error.strerror or error}; {LAYOUT}") from error


def problem(root: Path) -> str | None:
    """What keeps the set from being used, as one line."""
    try:
        tree = scan(root)
    except BadInputError as error:
        return str(error)
    if (len(tree.classes), len(tree.val)) != (CLASSES, VALIDATION):
        return (
            f"{tree.root}: {len(tree.classes):,} classes and {len(tree.val):,} validation images, but ILSVRC2012 has "
            f"{CLASSES:,} and {VALIDATION:,}; complete it"
        )
    return None


@lru_cache(maxsize=4)
def _scan(root: Path) -> Tree:
    for part in ("train", "val"):
        for kind in (IMAGES, ANNOTATIONS):
            if not (root / kind / part).is_dir():
                raise BadInputError(f"{root / kind / part}: no such folder; {LAYOUT}")
    classes = tuple(sorted(_names(root / IMAGES / "train", "")))
    train: list[str] = []
    for wnid in classes:
        marked = root / ANNOTATIONS / "train" / wnid
        names = set(_names(root / IMAGES / "train" / wnid, ".JPEG"))
        lonely = sorted(set(_names(marked, ".xml")) - names) if marked.is_dir() else []
        if lonely:
            raise BadInputError(f"{marked / lonely[0]}.xml: there is no such image in {IMAGES}/train/{wnid}")
        train += [f"train/{wnid}/{name}" for name in sorted(names) if (marked / f"{name}.xml").is_file()]
    val = sorted(_names(root / IMAGES / "val", ".JPEG"))
    without = sorted(set(val) - set(_names(root / ANNOTATIONS / "val", ".xml")))
    if without:
        raise BadInputError(
            f"{root / ANNOTATIONS / 'val' / without[0]}.xml: no such file; every validation image has one"
        )
    if not train or not val:
        raise BadInputError(f"{root}: no image with an annotation in {'val' if train else 'train'}; {LAYOUT}")
    return Tree(root, classes, tuple(train), tuple(f"val/{name}" for name in val))


def _names(folder: Path, ending: str) -> Iterator[str]:
    """What is in a folder without its ending: files of this one, or folders."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(ending) and not entry.name.startswith(".") and (ending or entry.is_dir()):
                yield entry.name.removesuffix(ending)


def read(tree: Tree, names: Iterable[str]) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The classes of images, (N,) int64 in the order of the wnids, and the boxes of each image's objects of its class.

    Raises:
        BadInputError: Some annotations cannot be used; the message names the first ones.
    """
    numbers = {wnid: number for number, wnid in enumerate(tree.classes)}
    labels, boxes, faults = [], [], []
    for name in names:
        path = tree.root / ANNOTATIONS / f"{name}.xml"
        try:
            label, found = _annotation(path, numbers)
        except (OSError, ValueError, ET.ParseError) as error:
            faults.append(f"{path}: {getattr(error, 'strerror', None) or error}")
            continue
        labels.append(label)
        boxes.append(found)
    if faults:
        more = [f"and {len(faults) - NAMED:,} more"] if len(faults) > NAMED else []
        raise BadInputError("; ".join(faults[:NAMED] + more))
    return np.array(labels, dtype=np.int64), tuple(boxes)


def _annotation(path: Path, numbers: dict[str, int]) -> tuple[int, np.ndarray]:
    """An image's class, that of its first object, and the boxes of all its objects of that class, (K, 4) float32.

    Coordinates are taken unchanged, as edges; parts outside the image are cut off.

    Raises:
        ValueError: A value in it is impossible.
    """
    tree = ET.parse(path).getroot()  # noqa: S314  expat itself refuses entities that grow
    width, height = (_number(tree, f"size/{side}") for side in ("width", "height"))
    objects = tree.findall("object")
    if not objects:
        raise ValueError("names no object")
    wnid = objects[0].findtext("name", "").strip()
    if wnid not in numbers:
        raise ValueError(f"'{wnid}' is not a class of train/")
    boxes = []
    for each in objects:
        if each.findtext("name", "").strip() != wnid:
            continue
        left, top, right, bottom = (_number(each, f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax"))
        if left >= right or top >= bottom:
            raise ValueError(f"box {left:g}, {top:g}, {right:g}, {bottom:g}: has no area, or its corners are swapped")
        box = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        if box[0] >= box[2] or box[1] >= box[3]:
            raise ValueError(
                f"box {left:g}, {top:g}, {right:g}, {bottom:g}: lies outside of the image of {width:g}x{height:g}"
            )
        boxes.append(box)
    return numbers[wnid], np.array(boxes, dtype=np.float32)


def _number(element: ET.Element, path: str) -> float:
    text = element.findtext(path)
    try:
        number = float(text or "")
    except ValueError as error:
        raise ValueError(f"{path}: {'missing' if text is None else f'{text!r} is not a number'}") from error
    if not math.isfinite(number):
        raise ValueError(f"{path}: {text!r} is not a number")
    return number
