from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import shlex
import subprocess
import sys
import tarfile
import threading
import urllib.error
from email.message import Message
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pytest
import torch
from processes import PATIENCE

from resnet_cli.errors import BadInputError
from resnet_cli.tasks.cifar10 import files as cifar10

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
IMAGES_A_FILE = 3


def md5(content: bytes) -> str:
    """The MD5 of some bytes."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def file_contents() -> dict[str, Any]:
    """Seven files in the official layout, three random images each."""
    random = np.random.default_rng(0)
    contents: dict[str, Any] = {}
    for number, name in enumerate([f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]):
        contents[name] = {
            "batch_label": name,
            "data": random.integers(0, 256, (IMAGES_A_FILE, 3072), dtype=np.uint8),
            "labels": [number, (number + 1) % 10, 9],
            "filenames": ["a.png", "b.png", "c.png"],
        }
    contents["batches.meta"] = {"label_names": CLASSES, "num_vis": 3072}
    return contents


@pytest.fixture
def contents(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The files' bytes, which the reader takes for the official ones."""
    files = {name: pickle.dumps(content, protocol=2) for name, content in file_contents().items()}
    monkeypatch.setattr(cifar10, "FILES", {name: md5(files[name]) for name in cifar10.FILES})
    return files


@pytest.fixture
def data_dir(tmp_path: Path, contents: dict[str, bytes]) -> Path:
    """A folder of datasets that holds these files."""
    folder = tmp_path / "data" / cifar10.FOLDER
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder.parent


def test_load(data_dir: Path) -> None:
    """Training images come batch by batch, in the files' order, then the test batch; planes are red, green, blue."""
    data = cifar10.load(data_dir)
    files = file_contents()
    rows = np.concatenate([files[f"data_batch_{number}"]["data"] for number in range(1, 6)])

    assert ((15, 3, 32, 32), (3, 3, 32, 32)) == (tuple(data.train_images.shape), tuple(data.test_images.shape))
    assert (torch.uint8, torch.int64) == (data.train_images.dtype, data.train_labels.dtype)
    assert np.array_equal(rows, data.train_images.flatten(1).numpy())
    assert np.array_equal(files["test_batch"]["data"], data.test_images.flatten(1).numpy())
    assert rows[7, 1024 * 2 + 32 * 5 + 9] == data.train_images[7, 2, 5, 9]
    assert [0, 1, 9, 1, 2, 9, 2, 3, 9, 3, 4, 9, 4, 5, 9] == data.train_labels.tolist()
    assert [5, 6, 9] == data.test_labels.tolist()
    assert tuple(CLASSES) == data.classes


@pytest.mark.parametrize("name", list(cifar10.FILES))
def test_missing_file(data_dir: Path, name: str) -> None:
    """A file that is missing is named, with the two ways to get on."""
    path = data_dir / cifar10.FOLDER / name
    path.unlink()
    with pytest.raises(BadInputError) as caught:
        cifar10.load(data_dir)

    assert (
        f"{path}: No such file or directory; get CIFAR-10 with 'resnet data download', or give its folder with "
        "--data-dir or RESNET_DATA" == str(caught.value)
    )
    assert str(caught.value) == cifar10.problem(data_dir)
    assert not cifar10.is_there(data_dir)


@pytest.mark.parametrize("name", list(cifar10.FILES))
def test_damaged_file(data_dir: Path, name: str) -> None:
    """A file of which one bit is wrong is refused."""
    path = data_dir / cifar10.FOLDER / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadInputError) as caught:
        cifar10.load(data_dir)

    assert str(caught.value).startswith(f"{path}: not the official file (MD5 {md5(content)}, want ")
    assert str(caught.value) == cifar10.problem(data_dir)
    assert cifar10.is_there(data_dir)


def test_whole(data_dir: Path) -> None:
    """Complete and official files are no problem."""
    assert cifar10.problem(data_dir) is None
    assert cifar10.is_there(data_dir)


class Attack:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_foreign_pickle_is_never_run(data_dir: Path, tmp_path: Path) -> None:
    """A file's MD5 is checked before it is unpickled: what a foreign pickle would do does not happen."""
    harmless, marker = tmp_path / "harmless", tmp_path / "marker"
    pickle.loads(pickle.dumps(Attack(harmless)))
    (data_dir / cifar10.FOLDER / "data_batch_1").write_bytes(pickle.dumps(Attack(marker)))

    assert harmless.is_dir()
    with pytest.raises(BadInputError, match="not the official file"):
        cifar10.load(data_dir)
    assert not marker.exists()


class Response(io.BytesIO):
    """What urlopen returns, made of bytes."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.headers = Message()
        self.headers["Content-Length"] = str(len(content))


class Site:
    """What the official source answers. No test reaches the network."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests: list[str] = []
        self.answer: Response | Exception = AssertionError("no request was expected")
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(cifar10, "https_opener", lambda: self)
        monkeypatch.setattr(cifar10, "DISK_BYTES", 0)

    def serve(self, content: bytes) -> None:
        """Has these bytes for the official archive."""
        self.answer = Response(content)
        self._monkeypatch.setattr(cifar10, "ARCHIVE_MD5", md5(content))

    def open(self, url: str, timeout: float) -> Response:
        """Stands in for the opener's; see `OpenerDirector`."""
        assert timeout > 0
        self.requests.append(url)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    """The official source, which expects no request yet."""
    return Site(monkeypatch)


def archive(files: dict[str, bytes]) -> bytes:
    """A .tar.gz of these files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def official(contents: dict[str, bytes]) -> bytes:
    """The archive with the official layout."""
    return archive({f"{cifar10.FOLDER}/{name}": content for name, content in contents.items()})


def plainly(stream: BinaryIO, length: int) -> BinaryIO:
    """Shows no progress."""
    assert length > 0
    return stream


def left_behind(folder: Path) -> list[str]:
    """The names in a folder, if it exists; a lock's file, which stays, is nothing."""
    return sorted({path.name for path in folder.iterdir()} - {cifar10.LOCK}) if folder.is_dir() else []


def test_download(tmp_path: Path, contents: dict[str, bytes], site: Site) -> None:
    """A download ends with the folder complete and nothing beside it, in a data folder made for it."""
    site.serve(official(contents))
    cifar10.download(tmp_path / "new" / "data", plainly)

    assert [cifar10.URL] == site.requests
    assert cifar10.problem(tmp_path / "new" / "data") is None
    assert [cifar10.FOLDER] == left_behind(tmp_path / "new" / "data")


def test_download_shows_progress(tmp_path: Path, contents: dict[str, bytes], site: Site) -> None:
    """The stream that shows progress is told the length, and all bytes pass through it."""
    content = official(contents)
    site.serve(content)
    streams: list[BinaryIO] = []
    lengths: list[int] = []

    class Counting(io.BytesIO):
        def close(self) -> None:
            """Stays open, to be looked at."""

    def wrap(stream: BinaryIO, length: int) -> BinaryIO:
        lengths.append(length)
        streams.append(Counting(stream.read()))
        return streams[0]

    cifar10.download(tmp_path, wrap)

    assert [len(content)] == lengths
    assert len(content) == streams[0].tell()


def test_download_of_what_is_there(data_dir: Path, site: Site) -> None:
    """What is complete and official is not downloaded again."""
    cifar10.download(data_dir, plainly)

    assert [] == site.requests


def test_download_replaces_what_is_damaged(data_dir: Path, contents: dict[str, bytes], site: Site) -> None:
    """A folder that is not official is replaced as a whole."""
    (data_dir / cifar10.FOLDER / "test_batch").write_bytes(b"damaged")
    (data_dir / cifar10.FOLDER / "stray").write_bytes(b"")
    site.serve(official(contents))
    cifar10.download(data_dir, plainly)

    assert cifar10.problem(data_dir) is None
    assert ([cifar10.FOLDER], sorted(cifar10.FILES)) == (left_behind(data_dir), left_behind(data_dir / cifar10.FOLDER))


def failed_download(data_dir: Path) -> str:
    """The message of a download that fails."""
    with pytest.raises(BadInputError) as caught:
        cifar10.download(data_dir, plainly)
    message = str(caught.value)
    assert [message] == message.splitlines()
    return message


@pytest.mark.usefixtures("contents")
def test_download_with_a_wrong_checksum(tmp_path: Path, site: Site) -> None:
    """An archive that is not the official one is not even opened, and nothing of it stays."""
    site.answer = Response(b"not an archive")

    assert failed_download(tmp_path).endswith("the download is damaged; try again")
    assert [] == left_behind(tmp_path)


def test_damaged_download_keeps_the_old_folder(data_dir: Path, site: Site) -> None:
    """When the download fails, what was there before stays as it was."""
    (data_dir / cifar10.FOLDER / "test_batch").unlink()
    before = left_behind(data_dir / cifar10.FOLDER)
    site.answer = Response(b"not an archive")
    failed_download(data_dir)

    assert ([cifar10.FOLDER], before) == (left_behind(data_dir), left_behind(data_dir / cifar10.FOLDER))


@pytest.mark.usefixtures("contents")
def test_download_of_another_layout(tmp_path: Path, site: Site) -> None:
    """An archive without the official folder is refused."""
    site.serve(archive({"other/data_batch_1": b""}))

    assert failed_download(tmp_path).startswith(f"{cifar10.URL}: the archive cannot be unpacked: ")
    assert [] == left_behind(tmp_path)


@pytest.mark.usefixtures("contents")
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (urllib.error.URLError("no route to host"), "no route to host"),
        (urllib.error.HTTPError(cifar10.URL, 404, "Not Found", Message(), None), "Not Found"),
        (urllib.error.URLError(OSError(-2, "Name or service not known")), "Name or service not known"),
    ],
    ids=["unreachable", "404", "no name"],
)
def test_download_without_a_connection(tmp_path: Path, site: Site, error: Exception, reason: str) -> None:
    """Without a connection, one line names the address, the reason, and the other way."""
    site.answer = error
    message = failed_download(tmp_path)

    assert message.startswith(f"{cifar10.URL}: ")
    assert message.endswith(f"{reason}; get it elsewhere and put {cifar10.FOLDER}/ into {tmp_path}")
    assert [] == left_behind(tmp_path)


@pytest.mark.usefixtures("contents")
def test_download_that_stalls(tmp_path: Path, site: Site) -> None:
    """A connection that breaks half way is blamed on the connection, not on the disk."""

    class Stalling(Response):
        def read(self, size: int | None = -1, /) -> bytes:
            raise TimeoutError(f"timed out after {size} bytes")

    site.answer = Stalling(b"archive")

    assert failed_download(tmp_path).startswith(f"{cifar10.URL}: ")
    assert [] == left_behind(tmp_path)


def test_download_clears_away_what_a_killed_one_left(tmp_path: Path, contents: dict[str, bytes], site: Site) -> None:
    """A download killed half way leaves no half dataset, and what it left is gone after the next one.

    A child process is killed while its source dribbles. Seen to fail when it unpacks under the final name, and when the
    folder it works in has another name each time.
    """
    program = f"""
import io, time
from pathlib import Path
from resnet_cli.tasks.cifar10 import files as cifar10

class Dribble(io.BytesIO):
    headers = {{"Content-Length": "1000"}}
    def read(self, size=-1):
        print("read", flush=True)
        time.sleep(0.01)
        return b"x"

class Opener:
    def open(self, url, timeout):
        return Dribble()

cifar10.https_opener = Opener
cifar10.DISK_BYTES = 0
cifar10.download(Path({str(tmp_path)!r}), lambda stream, length: stream)
"""
    for _ in range(2):
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            for _ in range(5):
                child.stdout.readline()
            child.kill()

        assert [cifar10.PART] == left_behind(tmp_path)
        assert not cifar10.is_there(tmp_path)
    site.serve(official(contents))
    cifar10.download(tmp_path, plainly)

    assert cifar10.problem(tmp_path) is None
    assert [cifar10.FOLDER] == left_behind(tmp_path)


def test_two_downloads_at_once(tmp_path: Path, contents: dict[str, bytes], site: Site) -> None:
    """The second waits for the first and finds everything there.

    Seen to fail when it does not look again under the lock.
    """
    site.serve(official(contents))
    waiting: list[threading.Thread] = []

    def start_the_second(stream: BinaryIO, length: int) -> BinaryIO:
        assert length > 0
        if not waiting:
            waiting.append(threading.Thread(target=cifar10.download, args=(tmp_path, plainly)))
            waiting[0].start()
        return stream

    cifar10.download(tmp_path, start_the_second)
    waiting[0].join(PATIENCE)

    assert not waiting[0].is_alive()
    assert [cifar10.URL] == site.requests
    assert cifar10.problem(tmp_path) is None


@pytest.mark.usefixtures("contents")
def test_download_without_room(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room, nothing is downloaded."""
    monkeypatch.setattr(cifar10, "DISK_BYTES", 10**18)

    assert failed_download(tmp_path).endswith("CIFAR-10 needs 1,000,000,000,000,000,000 to download")
    assert ([], []) == (site.requests, left_behind(tmp_path))


@pytest.mark.usefixtures("contents", "site")
def test_download_into_a_file(tmp_path: Path) -> None:
    """A data folder that is a file is named."""
    path = tmp_path / "data"
    path.write_bytes(b"")

    assert f"{path}: CIFAR-10 cannot be stored: File exists" == failed_download(path)


@pytest.mark.parametrize("place", ["{}", "{}/cifar-10-batches-py", "{}/cifar-10-batches-py/test_batch", "{}/renamed"])
def test_data_dir_that_is_the_folder_itself(data_dir: Path, place: str) -> None:
    """The folder of the files may be given itself, under any name, or a file in it."""
    if place.endswith("renamed"):
        (data_dir / cifar10.FOLDER).rename(data_dir / "renamed")
    given = type(data_dir)(place.format(data_dir))

    assert cifar10.problem(given) is None
    assert cifar10.is_there(given)
    assert 3 * 5 == len(cifar10.load(given).train_labels)


def test_data_dir_is_where_one_stands(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor need the folder be named."""
    monkeypatch.chdir(data_dir / cifar10.FOLDER)

    assert cifar10.problem(type(data_dir)()) is None


@pytest.mark.parametrize(
    "name", ["cifar-10-python.tar.gz", "cifar-10-python (1).tar.gz", "cifar10.tgz", "cifar-10.tar"]
)
@pytest.mark.parametrize("given", ["folder", "file"])
def test_an_archive_that_is_there(
    tmp_path: Path, contents: dict[str, bytes], site: Site, name: str, given: str
) -> None:
    """An archive that lies there is said to be there, and is unpacked without the network; then it is no problem."""
    content = official(contents)
    site.serve(content)
    path = tmp_path / name
    path.write_bytes(gzip.decompress(content) if name.endswith(".tar") else content)
    data_dir = tmp_path if given == "folder" else path
    problem = str(cifar10.problem(data_dir))
    cifar10.download(data_dir, plainly)

    command = shlex.join(["resnet", "data", "download", "--data-dir", str(data_dir)])
    assert problem.endswith(f"{path} is there; this unpacks it, without the network: {command}")
    assert [] == site.requests
    assert cifar10.problem(data_dir) is None
    assert sorted([name, cifar10.FOLDER]) == left_behind(tmp_path)


@pytest.mark.parametrize("name", ["cifar-10-python.tar.gz", "cifar-10-python.tar"])
def test_an_archive_that_is_damaged(tmp_path: Path, contents: dict[str, bytes], site: Site, name: str) -> None:
    """Nothing comes out of an archive that is not the official one, and what to do is said."""
    site.serve(official(contents))
    other = official({**contents, "test_batch": b"another"})
    (tmp_path / name).write_bytes(gzip.decompress(other) if name.endswith(".tar") else other)

    assert "not the official file" in failed_download(tmp_path)
    assert ([], [name]) == (site.requests, left_behind(tmp_path))


def test_what_is_not_ours_is_left_alone(data_dir: Path, contents: dict[str, bytes], site: Site) -> None:
    """Where a folder of another name holds damaged files, the download stands beside them and removes nothing."""
    renamed = (data_dir / cifar10.FOLDER).rename(data_dir / "mine")
    (renamed / "test_batch").write_bytes(b"damaged")
    (renamed / "notes.txt").write_text("mine")
    site.serve(official(contents))
    cifar10.download(renamed, plainly)

    assert cifar10.problem(renamed) is None
    assert "mine" == (renamed / "notes.txt").read_text()


@pytest.mark.parametrize(
    ("names", "version"),
    [
        (["cifar-10-batches-bin/data_batch_1.bin"], "cifar-10-batches-bin is the binary version of CIFAR-10"),
        (["data_batch_1.bin"], "data_batch_1.bin is the binary version of CIFAR-10"),
        (["cifar-10-binary.tar.gz"], "cifar-10-binary.tar.gz is the binary version of CIFAR-10"),
        (["cifar-10-matlab.tar.gz"], "cifar-10-matlab.tar.gz is the version of CIFAR-10 for Matlab"),
        (["cifar-10-batches-mat/test_batch.mat"], "cifar-10-batches-mat is the version of CIFAR-10 for Matlab"),
        (["cifar-100-python.tar.gz"], "cifar-100-python.tar.gz is CIFAR-100"),
        (["cifar-100-python/train"], "cifar-100-python is CIFAR-100"),
    ],
)
@pytest.mark.parametrize("given", ["folder", "inside"])
def test_other_versions(tmp_path: Path, names: list[str], version: str, given: str) -> None:
    """Of another version it is said which it is, and what is wanted."""
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    data_dir = tmp_path if given == "folder" else tmp_path / names[0].partition("/")[0]

    assert str(cifar10.problem(data_dir)).endswith(
        f"; {version}; the version for Python, {cifar10.FOLDER}/, is needed: 'resnet data download' gets it"
    )


def test_real_cifar10(cifar10_dir: Path) -> None:
    """The official files hold 50,000 and 10,000 images, 5,000 and 1,000 a class, with the mean that everybody knows."""
    data = cifar10.load(cifar10_dir)

    assert ((50_000, 3, 32, 32), (10_000, 3, 32, 32)) == (
        tuple(data.train_images.shape),
        tuple(data.test_images.shape),
    )
    assert [5_000] * 10 == torch.bincount(data.train_labels).tolist()
    assert [1_000] * 10 == torch.bincount(data.test_labels).tolist()
    assert tuple(CLASSES) == data.classes
    assert pytest.approx((0.4914, 0.4822, 0.4465), abs=1e-4) == data.mean.mean(dim=(1, 2)).tolist()
    assert [6, 9, 9, 4, 1] == data.train_labels[:5].tolist()
    assert [3, 8, 8, 0, 6] == data.test_labels[:5].tolist()
