"""CIFAR-10 in torchvision's official layout; every file is checked by MD5 before it is unpickled or unpacked."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import pickle
import re
import shlex
import shutil
import tarfile
import urllib.error
import zlib
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np
import torch

from resnet_cli.data.dataset import Dataset
from resnet_cli.data.download import https_opener
from resnet_cli.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
FOLDER = "cifar-10-batches-py"
FILES = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
}
ARCHIVE_ENDS = (".tar.gz", ".tgz", ".tar")
ARCHIVE_NAME = re.compile(r"cifar.?10(?![0-9])", re.IGNORECASE)
OTHER_VERSIONS = {  # by what is in the names of their files and folders
    r"cifar-10-(binary|batches-bin)|^(data_batch_[1-5]|test_batch)\.bin$": "the binary version of CIFAR-10",
    r"cifar-10-(matlab|batches-mat)|^(data_batch_[1-5]|test_batch)\.mat$": "the version of CIFAR-10 for Matlab",
    r"cifar-100": "CIFAR-100",
}
PART = ".cifar-10.part"  # where it is downloaded and unpacked, a folder beside the final one
LOCK = ".cifar-10.lock"
FILE_BYTES = 32_000_000  # more than any of the official files has
DISK_BYTES = 550_000_000  # the archive and its content, both there for a moment


def load(data_dir: Path) -> Dataset:
    """Loads CIFAR-10: 50,000 training and 10,000 test images.

    Raises:
        BadInputError: A file is missing, or is not the official one.
    """
    batches = {name: _read(data_dir, name) for name in FILES}
    train = [batches[f"data_batch_{number}"] for number in range(1, 6)]
    test = [batches["test_batch"]]
    return Dataset(
        name="cifar10",
        checksum=f"official files, MD5 of the archive {ARCHIVE_MD5}",
        classes=tuple(batches["batches.meta"]["label_names"]),
        train_images=_images(train),
        train_labels=_labels(train),
        test_images=_images(test),
        test_labels=_labels(test),
    )


def problem(data_dir: Path) -> str | None:
    """What keeps CIFAR-10 at `data_dir` from being used, as one line; None if it is complete and official."""
    try:
        for name in FILES:
            _checked_bytes(data_dir, name)
    except BadInputError as error:
        return str(error)
    return None


def is_there(data_dir: Path) -> bool:
    """Whether all files of CIFAR-10 are at `data_dir`; their content is not looked at."""
    return all((folder_of(data_dir) / name).is_file() for name in FILES)


def folder_of(data_dir: Path) -> Path:
    """The folder of the official files: in `data_dir`, or `data_dir` itself; if that is a file, beside or around it."""
    if _is_archive(data_dir.name) or data_dir.name in FILES:
        return folder_of(data_dir.absolute().parent)
    names = _names(data_dir)
    if FOLDER not in names and ("data_batch_1" in names or data_dir.absolute().name == FOLDER):
        return data_dir.absolute()
    return data_dir / FOLDER


def archive_at(data_dir: Path) -> Path | None:
    """The archive of the official files: `data_dir` itself, or in it, by its name; None if there is none."""
    if data_dir.is_file():
        return data_dir if _is_archive(data_dir.name) else None
    there = (folder / name for folder in (data_dir, folder_of(data_dir).parent) for name in _names(folder))
    return next((path for path in there if ARCHIVE_NAME.search(path.name) and _is_archive(path.name)), None)


def _is_archive(name: str) -> bool:
    return name.endswith(ARCHIVE_ENDS) and _other_version(name) is None


def _names(folder: Path) -> list[str]:
    """The names in a folder; none if it cannot be looked into."""
    with contextlib.suppress(OSError):
        return sorted(path.name for path in folder.iterdir())
    return []


def download(data_dir: Path, wrap: Callable[[BinaryIO, int], BinaryIO]) -> None:
    """Downloads CIFAR-10 from its official source, unless it is already complete.

    If the archive is already at `data_dir`, it is unpacked without the network. Nothing is unpacked before its checksum
    is verified, and nothing gets its final name before it is complete. If another process downloads to the same place,
    this one waits; what a killed process left behind is removed.

    Args:
        data_dir: Where `cifar-10-batches-py/` goes.
        wrap: Given the stream and its length in bytes, returns a stream that shows progress.

    Raises:
        BadInputError: No connection, no room, or the archive is not the official one.
    """
    if problem(data_dir) is None:
        return
    folder, archive = folder_of(data_dir), archive_at(data_dir)
    if folder.name != FOLDER:  # of another name, so it may hold what is not ours
        folder /= FOLDER
    place, source = folder.parent, archive or URL
    try:
        place.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(place / LOCK):
            shutil.rmtree(place / PART, ignore_errors=True)
            if problem(data_dir) is not None:  # another process may have downloaded it since
                _download(folder, archive, wrap)
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise BadInputError(f"{URL}: {reason}; get it elsewhere and put {FOLDER}/ into {place}") from error
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, KeyError, RecursionError) as error:
        raise BadInputError(f"{source}: the archive cannot be unpacked: {error}") from error
    except (OSError, NotImplementedError) as error:  # the latter on a disk without locks
        reason = getattr(error, "strerror", None) or error
        raise BadInputError(f"{place}: CIFAR-10 cannot be stored: {reason}") from error


def _download(folder: Path, archive: Path | None, wrap: Callable[[BinaryIO, int], BinaryIO]) -> None:
    free = shutil.disk_usage(folder.parent).free
    if free < DISK_BYTES:
        raise BadInputError(f"{folder.parent}: {free:,} bytes free, CIFAR-10 needs {DISK_BYTES:,} to download")
    temporary = folder.parent / PART
    temporary.mkdir()
    try:
        if archive is None:
            archive = temporary / "archive.part"
            with https_opener().open(URL, timeout=60) as response, archive.open("wb") as target:
                shutil.copyfileobj(wrap(response, int(response.headers.get("Content-Length", 0))), target)
            _check_md5(archive, archive.read_bytes(), ARCHIVE_MD5, "the download is damaged; try again")
        elif archive.suffix != ".tar":  # a browser may have taken the compression off; each file in it is checked too
            _check_md5(archive, archive.read_bytes(), ARCHIVE_MD5, "delete it, and it is downloaded again")
        _unpack(archive, temporary / FOLDER)
        if folder.exists():
            folder.rename(temporary / "replaced")
        (temporary / FOLDER).rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _unpack(archive: Path, folder: Path) -> None:
    """Writes the official files, each under the name it has here; nothing else in the archive is extracted."""
    folder.mkdir()
    with tarfile.open(archive) as tar:
        for name, md5 in FILES.items():
            member = tar.getmember(f"{FOLDER}/{name}")
            stream = tar.extractfile(member) if member.isreg() else None
            if stream is None:
                raise tarfile.ExtractError(f"{member.name} is not a file")
            content = stream.read(FILE_BYTES)
            _check_md5(archive / name, content, md5, "the archive holds another")
            (folder / name).write_bytes(content)


def _checked_bytes(data_dir: Path, name: str) -> bytes:
    path = folder_of(data_dir) / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror}; {_how_to_get(data_dir)}") from error
    _check_md5(path, content, FILES[name], "delete the folder and run 'resnet data download'")
    return content


def _how_to_get(data_dir: Path) -> str:
    """What to do about a missing file, depending on what is found in its place."""
    if archive := archive_at(data_dir):
        command = f"resnet data download --data-dir {shlex.quote(str(data_dir))}"
        return f"{archive} is there; this unpacks it, without the network: {command}"
    for name in (data_dir.absolute().name, *_names(data_dir)):
        if version := _other_version(name):
            return f"{name} is {version}; the version for Python, {FOLDER}/, is needed: 'resnet data download' gets it"
    return "get CIFAR-10 with 'resnet data download', or give its folder with --data-dir or RESNET_DATA"


def _other_version(name: str) -> str | None:
    """Which other version of the data set, if any, a file's or a folder's name is of."""
    return next((version for pattern, version in OTHER_VERSIONS.items() if re.search(pattern, name)), None)


def _check_md5(path: Path, content: bytes, expected: str, advice: str) -> None:
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != expected:
        raise BadInputError(f"{path}: not the official file (MD5 {found}, want {expected}); {advice}")


def _read(data_dir: Path, name: str) -> dict[str, Any]:
    # The bytes themselves have just been found equal to the official file's, so unpickling runs no foreign code.
    content: dict[str, Any] = pickle.loads(_checked_bytes(data_dir, name), encoding="latin1")  # noqa: S301
    return content


def _images(batches: list[dict[str, Any]]) -> torch.Tensor:
    pixels = np.concatenate([batch["data"] for batch in batches])
    return torch.from_numpy(pixels.reshape(-1, 3, 32, 32))


def _labels(batches: list[dict[str, Any]]) -> torch.Tensor:
    return torch.tensor([label for batch in batches for label in batch["labels"]], dtype=torch.int64)
