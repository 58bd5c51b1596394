"""A folder of photographs by class, on disk: ImageNet, or any other in torchvision's layouts. Needs no torch.

    ROOT/train/CLASS/**.jpg    ROOT/val/CLASS/**.jpg    (Tiny ImageNet: ROOT/val/images/ and val_annotations.txt;
                               ILSVRC's own archive: ROOT/val/*.JPEG, whose classes `flat` reads from a file)

Classes are numbered in the order of their names. Only names and sizes are looked at; an image is read when it is used.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from resnet_cli.errors import BadInputError
from resnet_cli.tasks.imagenet import flat

if TYPE_CHECKING:
    from collections.abc import Iterator

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # as torchvision's
# What systems, network drives and editors leave beside photographs, in lower case; and all hidden names.
LEFT_BEHIND = {
    "__macosx", "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@sharebin", "lost+found",
    "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "recycler", "system volume information", "found.000",
    "network trash folder", "temporary items", "__pycache__", "icon\r",
}  # fmt: skip
VAL_LABELS = "RESNET_VAL_LABELS"  # in the environment, where --val-labels puts it
ANNOTATIONS = "val_annotations.txt"
IMAGENET_CLASSES, IMAGENET_TRAIN, IMAGENET_VAL = 1_000, 1_281_167, 50_000

_WNID = re.compile(r"n[0-9]{8}")
_NAME_LENGTH = 71  # with "-" and the fingerprint, a source's 80
_LAYOUT = "a folder of classes has train/<class>/*.jpg and val/<class>/*.jpg"


@dataclass(frozen=True)
class Folder:
    """What a folder of classes holds: names relative to `root`, sorted within each class, and labels (N,) int64.

    If it is flat, the names of the validation images do not show their classes.
    """

    root: Path
    classes: tuple[str, ...]
    train: tuple[str, ...]
    train_labels: np.ndarray
    val: tuple[str, ...]
    val_labels: np.ndarray
    is_flat: bool = False

    @property
    def is_imagenet(self) -> bool:
        """Whether it is ILSVRC2012, all of it, by its classes' names and its numbers of images."""
        counts = (len(self.classes), len(self.train), len(self.val))
        whole = counts == (IMAGENET_CLASSES, IMAGENET_TRAIN, IMAGENET_VAL)
        return whole and all(_WNID.fullmatch(name) for name in self.classes)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 over the sorted names and the sizes of all images; and over labels that the names do not show."""
        digest = hashlib.sha256()
        for name in sorted(self.train + self.val):
            try:
                size = (self.root / name).stat().st_size
            except OSError as error:
                raise BadInputError(
                    f"{self.root / name}: {error.strerror}; get the file again, or remove it"
                ) from error
            digest.update(os.fsencode(name) + f"\0{size}\n".encode())
        if self.is_flat:
            digest.update(self.val_labels.tobytes() + "\0".join(self.val).encode(errors="surrogateescape"))
        return digest.hexdigest()

    @property
    def source(self) -> str:
        """Its name and the first eight digits of its checksum, such as `imagenette2-1a2b3c4d`."""
        name = re.sub(r"[^A-Za-z0-9_.-]", "-", self.root.name)[:_NAME_LENGTH]
        return f"{name}-{self.sha256[:8]}"


def is_left_behind(name: str) -> bool:
    """Whether a file or a folder of this name cannot be meant to be an image or a class."""
    return name.startswith(".") or name.lower() in LEFT_BEHIND


def scan(root: Path) -> Folder:
    """Looks through a folder of classes, once in a process.

    The file that --val-labels gave is in the environment, where the processes and the jobs that a command starts find
    it too.

    Raises:
        BadInputError: It is not a folder of classes.
    """
    labels = os.environ.get(VAL_LABELS)
    try:
        return _scan(flat.images_root(root.resolve()), Path(labels) if labels else None)
    except (OSError, RuntimeError) as error:  # the latter for a loop of links, before Python 3.13
        raise BadInputError(f"{root}: {getattr(error, 'strerror', None) or error}; {_LAYOUT}") from error


def source_of(root: Path) -> str | None:
    """A folder's name and fingerprint, `Variant.source`; None if it is ImageNet itself.

    Raises:
        BadInputError: It is not a folder of classes.
    """
    found = scan(root)
    return None if found.is_imagenet else found.source


def imagenet(root: Path) -> Folder:
    """ImageNet at `root`.

    Raises:
        BadInputError: It is not there, or not all of it.
    """
    if not root.is_dir():
        raise BadInputError(
            f"{root}: ImageNet is missing; needed are imagenet/train/<wnid>/*.JPEG and imagenet/val/<wnid>/*.JPEG in "
            "--data-dir, from https://image-net.org/download (ILSVRC2012, registration); without it, use --tiny (the "
            "embedded set) or --dataset-root DIR (any folder of classes)"
        )
    found = scan(root)
    if not found.is_imagenet:
        raise BadInputError(
            f"{root}: {len(found.classes):,} classes, {len(found.train):,} training and {len(found.val):,} validation "
            f"images, but ImageNet has {IMAGENET_CLASSES:,} (n01440764 ...), {IMAGENET_TRAIN:,} and {IMAGENET_VAL:,}; "
            "complete it, or use it as a folder of classes with --dataset-root"
        )
    return found


@lru_cache(maxsize=4)
def _scan(root: Path, labels: Path | None) -> Folder:
    if not root.is_dir():
        raise BadInputError(f"{root}: no such folder; {_LAYOUT}")
    try:
        train = _by_class(root, "train")
        annotations = root / "val" / ANNOTATIONS
        loose = [] if annotations.is_file() else _loose(root)
        if labels and not loose:
            raise BadInputError(f"{labels}: not needed: {root / 'val'} already has its classes; leave out --val-labels")
        if loose:
            by_class = flat.labelled(root, loose, sorted(train), labels)
            val = {label: [f"val/{name}" for name in names] for label, names in by_class.items()}
        else:
            val = _annotated(annotations, set(train)) if annotations.is_file() else _by_class(root, "val")
    except OSError as error:
        raise BadInputError(f"{error.filename or root}: {error.strerror or error}; {_LAYOUT}") from error
    _check_classes(root, train, val)
    train_names, train_labels = _laid_out(train)
    val_names, val_labels = _laid_out(val)
    return Folder(root, tuple(sorted(train)), train_names, train_labels, val_names, val_labels, bool(loose))


def _by_class(root: Path, part: str) -> dict[str, list[str]]:
    """The images below each folder in `part`, as names relative to `root`."""
    folder = root / part
    if not folder.is_dir():
        raise BadInputError(f"{folder}: no such folder; {_LAYOUT}")
    with os.scandir(folder) as entries:
        classes = sorted(entry.name for entry in entries if entry.is_dir() and not is_left_behind(entry.name))
    if not classes:
        loose = len(_images_in(folder, ""))
        raise BadInputError(f"{folder}: no class folders, {loose:,} images outside of one; {_LAYOUT}")
    return {name: _images_in(folder / name, f"{part}/{name}/") for name in classes}


def _loose(root: Path) -> list[str]:
    """The names of the images in val/, where it has no class folders."""
    if not (root / "val").is_dir():
        return []
    with os.scandir(root / "val") as entries:
        names = {entry.name: entry.is_dir() for entry in entries if not is_left_behind(entry.name)}
    return [] if any(names.values()) else sorted(name for name in names if name.lower().endswith(EXTENSIONS))


def _images_in(folder: Path, prefix: str) -> list[str]:
    """The names of all images below a folder, sorted, each after the prefix."""
    return sorted(_images_below(str(folder), prefix, frozenset()))


def _images_below(folder: str, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    """The images below a folder; `above` has the folders that it lies in, as the file system knows them."""
    its = Path(folder).stat()
    if (its.st_dev, its.st_ino) in above:
        raise BadInputError(f"{folder}: a link to a folder that it lies in; remove it")
    above |= {(its.st_dev, its.st_ino)}
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_left_behind(entry.name):
                continue
            if entry.is_dir():
                yield from _images_below(entry.path, f"{prefix}{entry.name}/", above)
            elif entry.name.lower().endswith(EXTENSIONS):
                yield prefix + entry.name


def _annotated(path: Path, classes: set[str]) -> dict[str, list[str]]:
    """Tiny ImageNet's validation images, all in one folder, by the class that the annotations give each."""
    images = set(_images_in(path.parent / "images", ""))
    result: dict[str, list[str]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path}: {error}; get Tiny ImageNet's own file") from error
    for number, line in enumerate(lines, start=1):
        name, _, rest = line.partition("\t")
        label = rest.partition("\t")[0]
        if label not in classes or name not in images:
            wrong = (
                f"'{label}' is not a class of train/"
                if name in images
                else f"'{name}' is not in images/, or twice here"
            )
            raise BadInputError(f"{path}: line {number}: {wrong}; expected: FILE, a tab, CLASS")
        images.remove(name)
        result.setdefault(label, []).append(f"val/images/{name}")
    if images:
        raise BadInputError(f"{path}: no line for {min(images)}; every image in images/ needs its class")
    return {label: sorted(names) for label, names in result.items()}


def _check_classes(root: Path, train: dict[str, list[str]], val: dict[str, list[str]]) -> None:
    for name in sorted(val.keys() - train.keys()):
        raise BadInputError(f"{root / 'val' / name}: train/ has no class of this name; rename the folder or remove it")
    for name in sorted(train.keys() - val.keys()):
        raise BadInputError(f"{root / 'val' / name}: missing, but train/ has this class; add its validation images")
    for part, classes in (("train", train), ("val", val)):
        for name, images in classes.items():
            if not images:
                raise BadInputError(f"{root / part / name}: no images ({', '.join(EXTENSIONS)}); add some")
    if len(train) == 1:
        raise BadInputError(f"{root / 'train'}: one class only, {min(train)}; classification needs two")


def _laid_out(by_class: dict[str, list[str]]) -> tuple[tuple[str, ...], np.ndarray]:
    """All names, class by class in the order of the classes' names, and their labels."""
    ordered = [by_class[name] for name in sorted(by_class)]
    labels = np.repeat(np.arange(len(ordered), dtype=np.int64), [len(names) for names in ordered])
    return tuple(name for names in ordered for name in names), labels
