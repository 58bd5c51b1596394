from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from resnet_cli.errors import BadInputError
from resnet_cli.identity import Variant
from resnet_cli.tasks import obstacle, open_dataset
from resnet_cli.tasks.imagenet import folder

if TYPE_CHECKING:
    from conftest import MakeFolder

NAMES = ["train/b/1.jpg", "train/b/2.JPEG", "train/a/x/deep.png", "val/a/3.jpg", "val/b/4.webp"]
LAYOUT = "a folder of classes has train/<class>/*.jpg and val/<class>/*.jpg"


@pytest.fixture(autouse=True)
def _look_again() -> None:
    """Every test looks at the disk anew."""
    folder._scan.cache_clear()


def fault(root: Path) -> str:
    """The message about a folder that cannot be used, on one line."""
    with pytest.raises(BadInputError) as caught:
        folder.scan(root)
    message = str(caught.value)

    assert [message] == message.splitlines()
    return message


def test_scan(make_folder: MakeFolder) -> None:
    """Classes go by name; images may lie deeper and end in any case; other and hidden files are passed over."""
    root = make_folder([*NAMES, "train/b/notes.txt", "train/b/._1.jpg", "train/.cache/5.jpg"])
    found = folder.scan(root)

    assert ("a", "b") == found.classes
    assert ("train/a/x/deep.png", "train/b/1.jpg", "train/b/2.JPEG") == found.train
    assert ("val/a/3.jpg", "val/b/4.webp") == found.val
    assert ([0, 1, 1], [0, 1]) == (found.train_labels.tolist(), found.val_labels.tolist())


@pytest.mark.parametrize(
    "left",
    [
        "train/__MACOSX/a/1.jpg", "val/b/@eaDir/3.jpg/SYNOFILE_THUMB_M.jpg", "train/@eaDir/1.jpg", "val/a/._3.jpg",
        "val/lost+found/1.jpg", "train/b/.ipynb_checkpoints/1-checkpoint.jpg", "train/$RECYCLE.BIN/1.jpg",
        "val/System Volume Information/1.jpg", "val/#recycle/1.jpg", "train/b/Thumbs.db", "val/desktop.ini",
        "val/b/.thumbnails/1.png", "train/a/.AppleDouble/1.jpg", "train/a/__macosx/1.jpg", "train/.@__thumb/1.jpg",
    ],
)  # fmt: skip
def test_what_systems_leave_behind(make_folder: MakeFolder, left: str) -> None:
    """Neither a class nor an image is what systems, network drives and editors leave beside them."""
    alone = folder.scan(make_folder(NAMES))
    expected = alone.classes, alone.train, alone.val
    folder._scan.cache_clear()
    found = folder.scan(make_folder([*NAMES, left]))

    assert expected == (found.classes, found.train, found.val)


@pytest.mark.parametrize("name", ["macosx", "recycle", "thumbs", "lost", "@home", "#1", "$money", "_private"])
def test_classes_with_odd_names(make_folder: MakeFolder, name: str) -> None:
    """What only looks like such a name is a class."""
    found = folder.scan(make_folder([*NAMES, f"train/{name}/1.jpg", f"val/{name}/1.jpg"]))

    assert name in found.classes


def test_class_folders_may_be_links(make_folder: MakeFolder, tmp_path: Path) -> None:
    """A class folder may be a link to one elsewhere."""
    root = make_folder([*NAMES, "elsewhere/9.jpg"])
    for part in ("train", "val"):
        (root / part / "c").symlink_to(root / "elsewhere")

    assert ("a", "b", "c") == folder.scan(root).classes
    assert "val/c/9.jpg" == folder.scan(root).val[-1]
    assert tmp_path in root.parents


@pytest.mark.parametrize("target", ["train/b", "train", "."])
def test_links_that_lead_back(make_folder: MakeFolder, target: str) -> None:
    """A link to a folder that it lies in is named; two of them would be followed for ever."""
    root = make_folder(NAMES)
    for name in ("again", "once more"):
        (root / "train/b" / name).symlink_to(root / target)

    assert fault(root).startswith(str(root / "train/b"))
    assert fault(root).endswith(": a link to a folder that it lies in; remove it")


@pytest.mark.parametrize(
    ("name", "message"), [("loop", "loop"), (300 * "n", "File name too long"), ("nothing", "no such folder")]
)
def test_roots_that_are_none(tmp_path: Path, name: str, message: str) -> None:
    """A root that cannot be looked at is named."""
    (tmp_path / "loop").symlink_to("loop")

    assert fault(tmp_path / name).startswith(f"{tmp_path / name}: ")
    assert message in fault(tmp_path / name).partition(": ")[2]


def test_source_names_the_folder_and_its_content(make_folder: MakeFolder) -> None:
    """A source is the folder's name and eight digits that change with any file's name or size, and nothing else."""
    root = make_folder(NAMES)

    def source() -> str:
        folder._scan.cache_clear()
        found = folder.source_of(root)
        assert found is not None
        return found

    first = source()
    assert re.fullmatch(r"my-photos-[0-9a-f]{8}", first)
    assert first == Variant(dataset="folder", source=first).source

    (root / NAMES[0]).touch()
    assert first == source()

    (root / NAMES[0]).rename(root / "train/b/0.jpg")
    renamed = source()
    assert first != renamed

    (root / "train/b/0.jpg").write_bytes(b"longer than before" * 1_000)
    assert 3 == len({first, renamed, source()})


def test_source_of_a_long_name(tmp_path: Path, make_folder: MakeFolder) -> None:
    """A name of any length gives a source that a run can have."""
    root = make_folder(NAMES).rename(tmp_path / ("é" + "x" * 200))
    source = folder.source_of(root)

    assert source is not None
    assert (80, "-x") == (len(source), source[:2])
    assert source == Variant(dataset="folder", source=source).source


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], f": no such folder; {LAYOUT}"),
        (["val/a/1.jpg"], f"/train: no such folder; {LAYOUT}"),
        (["train/a/1.jpg", "train/b/1.jpg"], f"/val: no such folder; {LAYOUT}"),
        ([*NAMES, "val/c/1.jpg"], "/val/c: train/ has no class of this name; rename the folder or remove it"),
        ([*NAMES, "train/c/1.jpg"], "/val/c: missing, but train/ has this class; add its validation images"),
        ([*NAMES[1:3], *NAMES[4:], "val/a/x.txt"], f"/val/a: no images ({', '.join(folder.EXTENSIONS)}); add some"),
        (["train/a/x", *NAMES[0:2], *NAMES[3:]], f"/train/a: no images ({', '.join(folder.EXTENSIONS)}); add some"),
        (["train/a/1.jpg", "val/a/1.jpg"], "/train: one class only, a; classification needs two"),
        (["train/a/1.jpg", "train/b/2.jpg", "val/1.txt"], f"/val: no class folders, 0 images outside of one; {LAYOUT}"),
        (["train/x", *NAMES[3:]], f"/train: no class folders, 0 images outside of one; {LAYOUT}"),
    ],
    ids=["nothing", "no train", "no val", "extra", "missing", "empty val", "empty train", "one", "loose", "no images"],
)
def test_faults(make_folder: MakeFolder, names: list[str], message: str) -> None:
    """Whatever is wrong with a folder is said in one line, with its place and the next step."""
    root = make_folder(names)

    assert f"{root}{message}" == fault(root)


TINY_IMAGENET = [
    "train/n01/images/n01_0.JPEG",
    "train/n02/images/n02_0.JPEG",
    "val/images/val_0.JPEG",
    "val/images/val_1.JPEG",
    "val/images/val_2.JPEG",
]
LINES = ["val_0.JPEG\tn02\t0\t32\t44\t62", "val_1.JPEG\tn01\t52\t55\t57\t59", "val_2.JPEG\tn02\t4\t0\t60\t55"]


def test_tiny_imagenet(make_folder: MakeFolder) -> None:
    """Tiny ImageNet's validation images lie in one folder; a file says the class of each."""
    root = make_folder(TINY_IMAGENET)
    (root / "val/val_annotations.txt").write_text("\n".join(LINES) + "\n")
    found = folder.scan(root)

    assert ("n01", "n02") == found.classes
    assert ("val/images/val_1.JPEG", "val/images/val_0.JPEG", "val/images/val_2.JPEG") == found.val
    assert [0, 1, 1] == found.val_labels.tolist()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([LINES[0], "val_1.JPEG n01"], "line 2: 'val_1.JPEG n01' is not in images/, or twice here"),
        ([LINES[0], "val_1.JPEG\tn03\t0"], "line 2: 'n03' is not a class of train/"),
        ([*LINES, LINES[1]], "line 4: 'val_1.JPEG' is not in images/, or twice here"),
        ([*LINES, "../../x.JPEG\tn01"], "line 4: '../../x.JPEG' is not in images/, or twice here"),
    ],
    ids=["no tab", "no class", "twice", "elsewhere"],
)
def test_wrong_annotations(make_folder: MakeFolder, lines: list[str], message: str) -> None:
    """A line of the annotations that is wrong is named by its number."""
    root = make_folder(TINY_IMAGENET)
    path = root / "val/val_annotations.txt"
    path.write_text("\n".join(lines))

    assert f"{path}: {message}; expected: FILE, a tab, CLASS" == fault(root)


def test_missing_annotation(make_folder: MakeFolder) -> None:
    """An image without a line is named."""
    root = make_folder(TINY_IMAGENET)
    path = root / "val/val_annotations.txt"
    path.write_text("\n".join(LINES[:2]))

    assert f"{path}: no line for val_2.JPEG; every image in images/ needs its class" == fault(root)


def test_no_imagenet(tmp_path: Path) -> None:
    """Without ImageNet one line gives the expected tree, where to get it, and the two ways out."""
    message = obstacle(Variant(dataset="imagenet"), tmp_path)

    assert message == (
        f"{tmp_path}/imagenet: ImageNet is missing; needed are imagenet/train/<wnid>/*.JPEG and "
        "imagenet/val/<wnid>/*.JPEG in --data-dir, from https://image-net.org/download (ILSVRC2012, registration); "
        "without it, use --tiny (the embedded set) or --dataset-root DIR (any folder of classes)"
    )
    with pytest.raises(BadInputError, match=re.escape(message)):
        open_dataset(Variant(dataset="imagenet"), tmp_path)


def test_part_of_imagenet(make_folder: MakeFolder) -> None:
    """A folder in ImageNet's place that is not all of it is not taken for it; the line says what was found."""
    root = make_folder(NAMES)
    root.rename(root.parent / "imagenet")

    assert obstacle(Variant(dataset="imagenet"), root.parent) == (
        f"{root.parent}/imagenet: 2 classes, 3 training and 2 validation images, but ImageNet has 1,000 "
        "(n01440764 ...), 1,281,167 and 50,000; complete it, or use it as a folder of classes with --dataset-root"
    )


@pytest.mark.parametrize(
    ("prefix", "train", "expected"), [("n", 1_281_167, True), ("x", 1_281_167, False), ("n", 1_281_166, False)]
)
def test_what_imagenet_is(prefix: str, train: int, expected: bool) -> None:
    """ImageNet is known by its thousand wnids and by its numbers of images, all of them."""
    classes = tuple(f"{prefix}{number:08d}" for number in range(1_000))
    found = folder.Folder(Path(), classes, ("",) * train, np.zeros(0), ("",) * 50_000, np.zeros(0))

    assert expected == found.is_imagenet


def test_imagenet_elsewhere(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder given by --dataset-root that is ImageNet has no source: it is ImageNet, wherever it is."""
    root = make_folder([name.replace("/b/", "/n00000002/").replace("/a/", "/n00000001/") for name in NAMES])
    for name, count in (("CLASSES", 2), ("TRAIN", 3), ("VAL", 2)):
        monkeypatch.setattr(folder, f"IMAGENET_{name}", count)

    assert folder.source_of(root) is None
    assert obstacle(Variant(dataset="imagenet"), tmp_path, root) is None
    assert "imagenet" == open_dataset(Variant(dataset="imagenet"), tmp_path, dataset_root=root).name


def test_open_folder(make_folder: MakeFolder, tmp_path: Path) -> None:
    """A folder's images open with its classes, its name and its checksum."""
    root = make_folder(NAMES)
    variant = Variant(dataset="folder", source=folder.source_of(root))
    data = open_dataset(variant, tmp_path, dataset_root=root)

    assert obstacle(variant, tmp_path, root) is None
    assert (variant.source, ("a", "b")) == (data.name, data.classes)
    assert f"SHA-256 of names and sizes {folder.scan(root).sha256}" == data.checksum
    assert ([0, 1, 1], [0, 1]) == (data.train_labels.tolist(), data.test_labels.tolist())


def test_another_folder(make_folder: MakeFolder, tmp_path: Path) -> None:
    """A run on one folder is not gone on with on another, nor without saying where it is."""
    root = make_folder(NAMES)
    variant = Variant(dataset="folder", source="my-photos-00000000")

    assert obstacle(variant, tmp_path, root) == (
        f"{root}: is {folder.source_of(root)}, not my-photos-00000000: another folder, or changed since; "
        "restore its images, or start new runs with the folder as it is"
    )
    assert "my-photos-00000000: give this folder with --dataset-root" == obstacle(variant, tmp_path)


def test_a_link_to_nothing(make_folder: MakeFolder) -> None:
    """A photograph that is a link to nothing is named."""
    root = make_folder(["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/b/1.jpg"])
    (root / "train/a/2.jpg").symlink_to(root / "gone.jpg")
    with pytest.raises(BadInputError, match=r"train/a/2.jpg: No such file or directory; get the file again"):
        folder.source_of(root)
