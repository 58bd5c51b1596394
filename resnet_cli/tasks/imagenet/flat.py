"""Classes of validation images that lie in one folder, as in ILSVRC's own archive and in Kaggle's. Needs no torch.

They are read from Kaggle's solution (`ImageId,PredictionString`), from the development kit's ground truth (one number
per line; meta.mat has their synsets), or from a file of the user's (NAME CLASS per line).
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from resnet_cli.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
META = "meta.mat"
SOLUTION = "LOC_val_solution.csv"
KAGGLE = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC")  # where Kaggle's archive has train/ and val/
LEVELS = 3  # from there up to where it has its solution
KIT = ("", "data", "ILSVRC2012_devkit_t12/data", "devkit/data", "ILSVRC2012_devkit_t12")

_NUMBER = re.compile(r"_val_0*([0-9]+)\.")


def images_root(root: Path) -> Path:
    """The folder with train/ and val/: the one that is given, or that in Kaggle's tree."""
    if (root / "train").is_dir() or (root / "val").is_dir():
        return root
    return next((root / part for part in KAGGLE if (root / part / "train").is_dir()), root)


def labelled(root: Path, images: Sequence[str], classes: Sequence[str], given: Path | None) -> dict[str, list[str]]:
    """The images by class.

    Args:
        root: The folder with train/ and val/.
        images: Their names in val/.
        classes: Of train/, in the order of their names.
        given: A file with the class of each; None looks for one where the archives have theirs.

    Raises:
        BadInputError: There is no such file, or it lacks an image or names an unknown class.
    """
    path = given or _found(root, SOLUTION) or _found(root, GROUND_TRUTH)
    if path is None:
        raise BadInputError(_how_to_sort(root, images))
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    lines = [line.strip() for line in lines if line.strip()]
    if lines and all(line.isdecimal() for line in lines):
        labels = _by_ground_truth(path, lines, images, root)
    else:
        labels = _by_name(path, lines, images, classes)
    known = set(classes)
    result: dict[str, list[str]] = {}
    for image in images:
        label = labels[image]
        if label not in known:
            raise BadInputError(f"{path}: {image} is of '{label}', which is not a class of train/")
        result.setdefault(label, []).append(image)
    return result


def _found(root: Path, name: str) -> Path | None:
    """A file of this name in the folder, in val/, above, or in a development kit there."""
    above = (root, root / "val", *list(root.parents)[:LEVELS])
    return next((place / part / name for place in above for part in KIT if (place / part / name).is_file()), None)


def _how_to_sort(root: Path, images: Sequence[str]) -> str:
    val = shlex.quote(str(root / "val"))
    return (
        f"{root / 'val'}: no class folders, {len(images):,} images outside of one; give their classes by --val-labels "
        f"FILE ('{images[0]} CLASS' per line, {SOLUTION}, or {GROUND_TRUTH} beside its {META}), or put such a file "
        "beside val/; or sort them by FILE: while read -r name class; do "
        f'mkdir -p {val}/"$class" && mv {val}/"$name" {val}/"$class"/; done < FILE'
    )


def _by_ground_truth(path: Path, lines: list[str], images: Sequence[str], root: Path) -> dict[str, str]:
    """Line n is the number of the synset of image n, in the development kit's order, which is not that of the names."""
    meta = path.with_name(META) if path.with_name(META).is_file() else _found(root, META)
    if meta is None:
        raise BadInputError(
            f"{path}: its numbers are those of the development kit; put {META} beside it, from ILSVRC2012_devkit_t12"
        )
    synsets = _synsets(meta)
    labels = {}
    for image in images:
        number = _NUMBER.search(image)
        if number is None or not 1 <= int(number[1]) <= len(lines):
            raise BadInputError(f"{path}: has {len(lines):,} lines, but none for {image}")
        label = int(lines[int(number[1]) - 1])
        if label not in synsets:
            raise BadInputError(f"{path}: line {number[1]}: {label} is not a synset of {meta}")
        labels[image] = synsets[label]
    return labels


def _synsets(meta: Path) -> dict[int, str]:
    """The development kit's synsets by number."""
    from scipy.io import loadmat

    try:
        table = loadmat(meta, squeeze_me=True)["synsets"]
        pairs = zip(table["ILSVRC2012_ID"].tolist(), table["WNID"].tolist(), strict=True)
        return {int(number): str(wnid) for number, wnid in pairs}
    except Exception as error:  # a damaged file can raise nearly anything
        raise BadInputError(f"{meta}: not the development kit's: {' '.join(str(error).split())}") from error


def _by_name(path: Path, lines: list[str], images: Sequence[str], classes: Sequence[str]) -> dict[str, str]:
    """Each line has an image's name, with its ending or without, and its class or the class's number from 0."""
    known, is_kaggles = {*images, *map(_stem, images)}, bool(lines) and lines[0].startswith("ImageId,")
    said = dict(_pair(line, known, cut=is_kaggles) for line in lines)
    labels = {}
    for image in images:
        label = said.get(image, said.get(_stem(image)))
        if label is None:
            raise BadInputError(f"{path}: no line for {image}; every image in val/ needs its class")
        labels[image] = label
    numbers = {label for label in set(labels.values()) - set(classes) if label.isdecimal()}
    if numbers and max(map(int, numbers)) >= len(classes):
        raise BadInputError(
            f"{path}: class {max(map(int, numbers))}: numbers count from 0, in the order of the class folders' names; "
            "write names"
        )
    return {image: classes[int(label)] if label in numbers else label for image, label in labels.items()}


def _pair(line: str, known: set[str], *, cut: bool) -> tuple[str, str]:
    """An image's name, without the folders before it, and its class; of Kaggle's, boxes after the class are cut off."""
    separator = next((each for each in ("\t", ",") if each in line), " ")
    name, _, rest = line.partition(separator)
    if separator != " ":
        rest = rest.partition(separator)[0]
    elif _last(name) not in known:
        name, _, rest = line.rpartition(separator)  # a name with spaces
    name, label = (part.strip().strip('"') for part in (name, rest))
    return _last(name), label.split(" ")[0] if cut else label


def _last(path: str) -> str:
    """A path's last part, whatever system wrote it."""
    return re.split(r"[\\/]", path)[-1]


def _stem(image: str) -> str:
    return image.rpartition(".")[0]
