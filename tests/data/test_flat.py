"""Validation images that lie in one folder, and the files that say their classes."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.io

from resnet_cli.cli.main import _exit_code
from resnet_cli.errors import BadInputError
from resnet_cli.tasks.imagenet import folder

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import MakeFolder

WNIDS = ["n01440764", "n01443537", "n01484850"]
IMAGES = [f"ILSVRC2012_val_{number:08}.JPEG" for number in range(1, 7)]
CLASSES = [WNIDS[number] for number in (2, 0, 1, 1, 0, 2)]  # of each image
# The development kit numbers synsets in an order of its own.
KIT = {1: WNIDS[1], 2: WNIDS[2], 3: WNIDS[0], 4: "n09999999"}
TRUTH = "".join(f"{next(n for n, wnid in KIT.items() if wnid == each)}\n" for each in CLASSES)
SOLUTION = "ImageId,PredictionString\n" + "".join(
    f"{name[:-5]},{label} 85 1 499 272 {label} 1 2 3 4 \n" for name, label in zip(IMAGES, CLASSES, strict=True)
)


@pytest.fixture
def root(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Class folders to train on, and the validation images in one folder."""
    monkeypatch.setenv(folder.VAL_LABELS, "")  # what an option sets goes with the test
    folder._scan.cache_clear()
    return make_folder([*(f"train/{wnid}/{wnid}_1.JPEG" for wnid in WNIDS), *(f"val/{name}" for name in IMAGES)])


def kit(place: Path) -> None:
    """Writes the development kit's two files."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "ILSVRC2012_validation_ground_truth.txt").write_text(TRUTH)
    rows = np.zeros(len(KIT), dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")])
    for row, (number, wnid) in zip(rows, KIT.items(), strict=True):
        row["ILSVRC2012_ID"], row["WNID"], row["words"] = np.uint8(number), wnid, "a fish"
    scipy.io.savemat(place / "meta.mat", {"synsets": rows[:, None]})


def labels_of(root: Path) -> dict[str, str]:
    """The class of each validation image."""
    folder._scan.cache_clear()
    found = folder.scan(root)
    return {
        name.rpartition("/")[2]: found.classes[label] for name, label in zip(found.val, found.val_labels, strict=True)
    }


EXPECTED = dict(zip(IMAGES, CLASSES, strict=True))


@pytest.mark.parametrize("place", [".", "val", "ILSVRC2012_devkit_t12/data", "..", "../ILSVRC2012_devkit_t12/data"])
def test_the_development_kit(root: Path, place: str) -> None:
    """The kit's numbers are those of its own synsets, wherever beside the images it lies."""
    kit(root / place)

    assert EXPECTED == labels_of(root)


@pytest.mark.parametrize("place", [".", "val", "..", "../.."])
def test_kaggles_solution(root: Path, place: str) -> None:
    """Kaggle's file names images without ending, and boxes after the class."""
    (root / place / "LOC_val_solution.csv").write_text(SOLUTION)
    try:
        assert EXPECTED == labels_of(root)
    finally:
        (root / place / "LOC_val_solution.csv").unlink()


@pytest.mark.parametrize("given", ["", "ILSVRC", "ILSVRC/Data", "ILSVRC/Data/CLS-LOC"])
def test_kaggles_tree(root: Path, tmp_path: Path, given: str) -> None:
    """Kaggle's archive may be given at its top, or at each folder down to the one with train/ and val/."""
    top = tmp_path / "imagenet-object-localization"
    shutil.copytree(root, top / "ILSVRC/Data/CLS-LOC")
    (top / "ILSVRC/Data/CLS-LOC/test").mkdir()
    (top / "LOC_val_solution.csv").write_text(SOLUTION)

    assert EXPECTED == labels_of(top / given)


ROWS = list(zip(IMAGES, CLASSES, strict=True))
COLUMNS = {
    "spaces": "".join(f"{name} {label}\n" for name, label in ROWS),
    "many spaces": "".join(f"{name}   {label}  \n" for name, label in ROWS),
    "tabs, in any order": "".join(f"{name}\t{label}\tmore\n" for name, label in reversed(ROWS)),
    "commas and a header": "filename,class\n" + "".join(f"{name}, {label}\n" for name, label in ROWS),
    "quotes": "".join(f'"{name}","{label}"\n' for name, label in ROWS),
    "Windows": "\ufeff" + "".join(f"val\\{name} {label}\r\n" for name, label in ROWS),
    "folders before": "".join(f"./ILSVRC/val/{name} {label}\n\n" for name, label in ROWS),
    "no endings": "".join(f"{name[:-5]} {label}\n" for name, label in ROWS),
    "Caffe's val.txt": "".join(f"{name} {WNIDS.index(label)}\n" for name, label in ROWS),
    "others too": SOLUTION + "".join(f"{name},{label}\n" for name, label in [("x.JPEG", "y"), *ROWS]),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_file_that_is_given(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """--val-labels takes two columns as people write them."""
    (tmp_path / "labels.txt").write_text(COLUMNS[kind], newline="")
    command = ["data", "verify", "--dataset-root", str(root), "--val-labels", str(tmp_path / "labels.txt")]
    code = _exit_code(command)
    out, err = capsys.readouterr()

    assert (0, "") == (code, err)
    assert "3 classes, 3 training and 6 validation images" in out
    assert EXPECTED == labels_of(root)


def test_classes_with_spaces(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A class or an image may have a space in its name."""
    names = ["train/great white/1.jpg", "train/tench/1.jpg", "val/a b.jpg", "val/c.jpg"]
    root = make_folder(names)
    (tmp_path / "labels.txt").write_text("c.jpg great white\na b.jpg tench\n")
    monkeypatch.setenv(folder.VAL_LABELS, str(tmp_path / "labels.txt"))

    assert {"c.jpg": "great white", "a b.jpg": "tench"} == labels_of(root)


def test_labels_are_part_of_what_the_folder_is(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same images under other labels are another data set; the same labels from another file are not."""
    swapped = "".join(f"{name} {label}\n" for name, label in zip(IMAGES, CLASSES[::-1][1:] + CLASSES[:1], strict=True))
    sources = []
    for number, content in enumerate((COLUMNS["spaces"], COLUMNS["quotes"], swapped)):
        (tmp_path / f"{number}.txt").write_text(content)
        monkeypatch.setenv(folder.VAL_LABELS, str(tmp_path / f"{number}.txt"))
        folder._scan.cache_clear()
        sources.append(folder.source_of(root))

    assert sources[0] == sources[1]
    assert sources[0] != sources[2]


def fault(root: Path) -> str:
    """The message about a folder that cannot be used."""
    with pytest.raises(BadInputError) as caught:
        labels_of(root)
    return str(caught.value)


def test_without_labels_it_is_said_how_to_sort(root: Path, tmp_path: Path) -> None:
    """Without labels, the files that would do are named; the line that sorts the images by one of them does so."""
    message = fault(root)
    (tmp_path / "labels.txt").write_text(COLUMNS["spaces"])
    line = message.rpartition("or sort them by FILE: ")[2].replace("FILE", shlex.quote(str(tmp_path / "labels.txt")))

    assert message.startswith(
        f"{root}/val: no class folders, 6 images outside of one; give their classes by --val-labels"
    )
    for name in ("LOC_val_solution.csv", "ILSVRC2012_validation_ground_truth.txt", "meta.mat", f"{IMAGES[0]} CLASS"):
        assert name in message
    subprocess.run(["bash", "-c", line], check=True)  # noqa: S607
    assert EXPECTED == labels_of(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("".join(COLUMNS["spaces"].splitlines(keepends=True)[1:]), "no line for ILSVRC2012_val_00000001.JPEG; every"),
        (
            COLUMNS["spaces"].replace(WNIDS[1], "n07777777"),
            "ILSVRC2012_val_00000003.JPEG is of 'n07777777', which",
        ),
        ("".join(f"{name} {1 + number % 3}\n" for number, name in enumerate(IMAGES)), "class 3: numbers count from 0"),
        (TRUTH, "its numbers are those of the development kit; put meta.mat beside it"),
        ("", "no line for ILSVRC2012_val_00000001.JPEG"),
    ],
    ids=["missing", "no class", "from 1", "no meta.mat", "empty"],
)
def test_files_that_do_not_do(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, message: str
) -> None:
    """What is wrong with a file of labels is said."""
    (tmp_path / "labels.txt").write_text(content)
    monkeypatch.setenv(folder.VAL_LABELS, str(tmp_path / "labels.txt"))

    assert fault(root).startswith(f"{tmp_path / 'labels.txt'}: {message}")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"meta.mat": b"no MATLAB file"}, "meta.mat: not the development kit's: "),
        (
            {"ILSVRC2012_validation_ground_truth.txt": b"1\n2\n"},
            "has 2 lines, but none for ILSVRC2012_val",
        ),
        ({"ILSVRC2012_validation_ground_truth.txt": b"1\n" * 5 + b"9\n"}, "line 6: 9 is not a synset of"),
        ({"ILSVRC2012_validation_ground_truth.txt": b"\xff\xfe1"}, "'utf-8' codec can't decode"),
    ],
)
def test_a_development_kit_that_is_damaged(root: Path, damage: dict[str, bytes], message: str) -> None:
    """What is wrong with the kit is said."""
    kit(root)
    for name, content in damage.items():
        (root / name).write_bytes(content)

    assert message in fault(root)


def test_labels_that_are_not_needed(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels for images in class folders, which could contradict them, are refused; a missing file is named."""
    (tmp_path / "labels.txt").write_text(COLUMNS["spaces"])
    monkeypatch.setenv(folder.VAL_LABELS, str(tmp_path / "missing.txt"))
    assert f"{tmp_path / 'missing.txt'}: No such file or directory" == fault(root)
    monkeypatch.setenv(folder.VAL_LABELS, str(tmp_path / "labels.txt"))
    for name, label in ROWS:
        (root / "val" / label).mkdir(exist_ok=True)
        (root / "val" / name).rename(root / "val" / label / name)

    assert fault(root).startswith(f"{tmp_path / 'labels.txt'}: not needed: {root / 'val'} already has its classes")
