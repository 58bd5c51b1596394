"""COCO on disk, in the layout of its archives. Imports no torch.

    coco/annotations/instances_train2014.json  train2014/COCO_train2014_000000000009.jpg
    coco/annotations/instances_val2014.json    val2014/COCO_val2014_000000000042.jpg
    coco/annotations/instances_train2017.json  train2017/000000000009.jpg
    coco/annotations/instances_val2017.json    val2017/000000000139.jpg

and Fast R-CNN's own division of 2014's: instances_valminusminival2014.json, instances_minival2014.json. Classes are
numbered from 1 to 80 here, in the order of COCO's ids, which go to 90 and leave some out.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from resnet_cli.errors import BadInputError
from resnet_cli.tasks.detection.objects import Objects

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from resnet_cli.tasks.detection.files import Marked
    from resnet_cli.tasks.detection.objects import DetectionData

FOLDER = "coco"
CLASSES = 80
IMAGES = {
    "train2014": 82_783,
    "val2014": 40_504,
    "valminusminival2014": 35_504,
    "minival2014": 5_000,
    "train2017": 118_287,
    "val2017": 5_000,
}
SOURCE = "https://cocodataset.org/#download"


@dataclass(frozen=True)
class Sets:
    """What a dataset's name means: the annotation files of its training images, and that of its test images."""

    train: tuple[str, ...]
    test: str

    @property
    def files(self) -> tuple[str, ...]:
        """All of them."""
        return *self.train, self.test


SETS = {
    "coco2014": Sets(("train2014",), "val2014"),
    "coco-trainval35k": Sets(("train2014", "valminusminival2014"), "minival2014"),
    "coco2017": Sets(("train2017",), "val2017"),
}


def _sets(which: str, *, test_only: bool) -> Sets:
    return replace(SETS[which], train=()) if test_only else SETS[which]


def root_of(folder: Path) -> Path:
    """COCO's folder: this one, if it has annotations, else the one named `coco` in it."""
    return folder if (folder / "annotations").is_dir() else folder / FOLDER


def expected(folder: Path) -> dict[str, bool]:
    """The paper's own dataset's annotations and images, with their numbers, and whether each is there."""
    root, found = root_of(folder), {}
    for part in SETS["coco2014"].files:
        found[f"{FOLDER}/{_file(part)}"] = (root / _file(part)).is_file()
        found[f"{FOLDER}/{part}/*.jpg ({IMAGES[part]:,} images)"] = (root / part).is_dir()
    return found


def obstacle(folder: Path, which: str, *, test_only: bool = False) -> str | None:
    """What keeps a dataset from being used, as one line; looks for its annotation files and folders, and reads none.

    Args:
        folder: COCO's, or what it is in.
        which: One of `SETS`.
        test_only: Whether its test images are enough.
    """
    root, sets = root_of(folder), _sets(which, test_only=test_only)
    wanted = ", ".join(f"{_file(part)}, {_folder(part)}/" for part in sets.files)
    for part in sets.files:
        for path, is_there in ((root / _file(part), os.path.isfile), (root / _folder(part), os.path.isdir)):
            if not is_there(path):
                return f"{path}: missing; needed in {FOLDER}: {wanted}, from {SOURCE}"
    return None


def open_data(folder: Path, which: str, *, test_only: bool = False) -> DetectionData:
    """Reads a dataset's annotations, or only those of its test images; an image is read when it is used.

    Raises:
        BadInputError: Something is missing, or not COCO's annotations.
    """
    from resnet_cli.tasks.detection.files import data_of

    in_the_way = obstacle(folder, which, test_only=test_only)
    if in_the_way:
        raise BadInputError(in_the_way)
    root, sets = root_of(folder), _sets(which, test_only=test_only)
    test, categories = _read(root, sets.test)
    train = []
    for part in sets.train:
        images, its_categories = _read(root, part)
        if its_categories != categories:
            raise BadInputError(f"{root / _file(part)}: other categories than {root / _file(sets.test)}")
        train += images
    _check_images(root, [*train, *test])
    return data_of(which, tuple(categories.values()), tuple(categories), root, train, test)


def verify(folder: Path, which: str, records: Path, workers: int, progress: Callable[[int, int], None]) -> str:
    """Reads all annotations and decodes every image; see `look_through`."""
    from resnet_cli.tasks.detection.files import look_through

    return look_through(open_data(folder, which), root_of(folder), records, workers, progress)


def _file(part: str) -> str:
    return f"annotations/instances_{part}.json"


def _folder(part: str) -> str:
    """Where a part's images are: Fast R-CNN's parts are of 2014's validation images."""
    return part if "mini" not in part else "val2014"


def _read(root: Path, part: str) -> tuple[list[Marked], dict[int, str]]:
    """The images of a file of annotations, in the order of their ids, and its categories: names by id.

    Raises:
        BadInputError: It is not COCO's, or has another number of images.
    """
    path = root / _file(part)
    try:
        content = json.loads(path.read_bytes())
        categories = {int(each["id"]): str(each["name"]) for each in content["categories"]}
        categories = dict(sorted(categories.items()))
        labels = {number: label for label, number in enumerate(categories, start=1)}
        by_image = defaultdict(list)
        for each in content["annotations"]:
            by_image[each["image_id"]].append(each)
        images = sorted(content["images"], key=lambda each: int(each["id"]))
        found = [_marked(path, part, each, by_image.pop(each["id"], ()), labels) for each in images]
    except BadInputError:
        raise
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror}; get it again") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise BadInputError(f"{path}: not COCO's annotations: {reason}; get it again") from error
    if by_image:
        raise BadInputError(f"{path}: has annotations of image {next(iter(by_image))}, but not the image; get it again")
    if (len(found), len(categories)) != (IMAGES[part], CLASSES):
        raise BadInputError(
            f"{path}: {len(found):,} images and {len(categories):,} categories, but COCO's {part} has "
            f"{IMAGES[part]:,} and {CLASSES}; get it again"
        )
    return found, categories


def _marked(
    path: Path, part: str, image: dict[str, Any], annotations: Sequence[dict[str, Any]], labels: dict[int, int]
) -> Marked:
    """An image and its annotations; `labels` by category."""
    from resnet_cli.tasks.detection.files import Marked, boxes_of

    name, width, height = str(image["file_name"]), int(image["width"]), int(image["height"])
    if "/" in name or "\\" in name:
        raise ValueError(f"'{name}' is not an image's name")
    edges = [
        (left, top, left + across, top + down) for left, top, across, down in (each["bbox"] for each in annotations)
    ]
    objects = Objects.of(
        boxes_of(path, edges, width, height),
        [labels[each["category_id"]] for each in annotations],
        crowd=[bool(each["iscrowd"]) for each in annotations],
        areas=[float(each["area"]) for each in annotations],
    )
    return Marked(name, int(image["id"]), f"{_folder(part)}/{name}", width, height, objects)


def _check_images(root: Path, images: Sequence[Marked]) -> None:
    """Checks that each image is there.

    Raises:
        BadInputError: One is missing.
    """
    there = {folder: set(os.listdir(root / folder)) for folder in {each.file.partition("/")[0] for each in images}}  # noqa: PTH208  a Path for each takes its time
    missing = [each.file for each in images if each.file.partition("/")[2] not in there[each.file.partition("/")[0]]]
    if missing:
        more = f", and {len(missing) - 1:,} more" if missing[1:] else ""
        raise BadInputError(f"{root / missing[0]}: missing{more}; unpack COCO's archives again")
