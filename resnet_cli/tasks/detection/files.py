"""Images on disk with what is marked in them, and what their readers share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from resnet_cli.data.decode import Photographs, decode
from resnet_cli.data.verify import check_all
from resnet_cli.errors import BadInputError
from resnet_cli.tasks.detection.objects import DetectionData, Objects, Some, all_objects, to_learn_from

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)  # Exif's tag, and its values that change height and width
SLACK = 2  # pixels by which a box may extend beyond its image, through rounding


@dataclass(frozen=True)
class Marked:
    """An image on disk and what is marked in it.

    Attributes:
        name: What messages and VOC's result files call it.
        id: COCO's number of it; else a number from the reader.
        file: Relative to the dataset's folder.
        width: Pixels, as its annotation says.
        height: Likewise.
        objects: What is marked.
    """

    name: str
    id: int
    file: str
    width: int
    height: int
    objects: Objects


class ImageFiles:
    """Images on disk; see `Pictures`.

    Args:
        root: The dataset's folder.
        images: Those that are in it.
    """

    def __init__(self, root: Path, images: Sequence[Marked]) -> None:
        self.images = images
        self.photographs = Photographs([each.file for each in images], np.zeros(len(images), np.int64), root)
        self.ids = tuple(each.id for each in images)
        self.names = tuple(each.name for each in images)

    def __len__(self) -> int:
        return len(self.images)

    def image(self, number: int) -> Tensor:
        """An image, (3, H, W) uint8.

        A camera's orientation mark is applied only if it makes the image as wide as its annotation says: boxes were
        drawn on the image as the annotator saw it.

        Raises:
            BadInputError: It cannot be read, or its size differs from its annotation's.
        """
        its = self.images[number]
        image = self.photographs.image(number)
        if _size(image) == (its.width, its.height):
            return image
        if _size(image) == (its.height, its.width):
            turned = decode(self.photographs.content(number), upright=True)
            if _size(turned) == (its.width, its.height):
                return turned
        raise BadInputError(self.other_size(number, *_size(image)))

    def objects(self, number: int) -> Objects:
        """What is marked in an image."""
        return self.images[number].objects

    def other_size(self, number: int, width: int, height: int) -> str:
        """The message about an image whose size differs from its annotation's."""
        its = self.images[number]
        name = self.photographs.name(number)
        return f"{name}: {width}x{height} pixels, but its annotation says {its.width}x{its.height}; get both again"

    def size(self, number: int) -> tuple[int, int]:
        """Width and height of an image as `image` gives it, by its header.

        Raises:
            BadInputError: It cannot be read.
        """
        its = self.images[number]
        try:
            with Image.open(self.photographs.root / its.file) as image:
                size, is_turned = image.size, image.getexif().get(ORIENTATION, 1) in TURNED
        except (OSError, ValueError, SyntaxError) as error:
            raise BadInputError(f"{self.photographs.name(number)}: {error}; get the file again") from error
        return size[::-1] if is_turned and size[::-1] == (its.width, its.height) else size


def data_of(
    name: str,
    classes: tuple[str, ...],
    category_ids: tuple[int, ...],
    root: Path,
    train: Sequence[Marked],
    test: Sequence[Marked],
) -> DetectionData:
    """The dataset of these images; its checksum covers names, boxes and the files' sizes."""
    digest = hashlib.sha256()
    for each in (*train, *test):
        size = _bytes(root / each.file)
        digest.update(f"{each.file} {size} {each.width} {each.height}\n".encode(errors="surrogateescape"))
        for array in (each.objects.boxes, each.objects.labels, each.objects.difficult, each.objects.crowd):
            digest.update(array.tobytes())
    return DetectionData(
        name,
        f"SHA-256 of annotations, names and sizes {digest.hexdigest()}",
        classes,
        category_ids,
        to_learn_from(ImageFiles(root, train)),
        ImageFiles(root, test),
        device=torch.device("cpu"),
    )


def look_through(
    data: DetectionData, root: Path, records: Path, workers: int, progress: Callable[[int, int], None]
) -> str:
    """Decodes all images of a dataset, those without objects too, and compares their sizes with their annotations'.

    Args:
        data: As `data_of` made it.
        root: Its folder.
        records: The folder where the images that were checked are recorded; see `decode_all`.
        workers: Threads.
        progress: Called with the number of images done, and their total.

    Returns:
        What the dataset holds, in words.

    Raises:
        BadInputError: An image is missing, damaged, or of another size.
    """
    every = [each.pictures if isinstance(each, Some) else each for each in (data.train, data.test)]
    sets = [each for each in every if isinstance(each, ImageFiles)]
    names = [image.file for each in sets for image in each.images]
    check_all(root, names, records, workers, progress)
    for each in sets:
        for number in range(len(each)):
            if each.size(number) != (each.images[number].width, each.images[number].height):
                raise BadInputError(each.other_size(number, *each.size(number)))
    parts = [
        f"{len(each):,} {part} images with {sum(map(len, all_objects(each))):,} objects, of which "
        f"{sum(len(marked.to_learn) for marked in all_objects(each)):,} are neither difficult nor crowds"
        for part, each in zip(("training", "test"), sets, strict=True)
    ]
    return f"{data.name} has {', and '.join(parts)}; each image decoded"


def boxes_of(path: Path, edges: Sequence[Sequence[float]], width: int, height: int, least: float = 0.0) -> np.ndarray:
    """Boxes (N, 4) float32, as edges, unchanged: detections are evaluated against what the annotator drew.

    Args:
        path: The file that they are in.
        edges: Left, top, right and bottom of each.
        width: Of the image.
        height: Of the image.
        least: The shortest side that a box may have, in pixels.

    Raises:
        BadInputError: One has its corners swapped, or leaves the image by more than SLACK.
    """
    boxes = np.asarray(edges, np.float64).reshape(-1, 4)
    for left, top, right, bottom in boxes.tolist():
        what = f"{path}: box {left:g}, {top:g} to {right:g}, {bottom:g}"
        if not (right - left >= least and bottom - top >= least):
            raise BadInputError(f"{what}: its corners are swapped; correct the annotation")
        if min(left, top) < -SLACK or right > width + SLACK or bottom > height + SLACK:
            raise BadInputError(f"{what}: outside the image of {width}x{height} pixels; correct the annotation")
    return boxes.astype(np.float32)


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[2], image.shape[1]


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror}; get the file again") from error
