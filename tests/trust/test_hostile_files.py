"""Nothing in a file is executed, nothing is written outside the folder, nothing is asked for by http."""

from __future__ import annotations

import hashlib
import importlib
import io
import os
import pickle
import runpy
import stat
import subprocess
import sys
import tarfile
import threading
import urllib.request
import urllib.response
import zipfile
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pytest
import torch
from paper_tasks import IMAGENET

from resnet_cli.data import statistics
from resnet_cli.errors import BadInputError
from resnet_cli.storage import run_folder
from resnet_cli.tasks.cifar10 import files as cifar10
from resnet_cli.train import checkpoint
from resnet_cli.weights.read import torchvision_weights
from resnet_cli.weights.weight_files import read_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Call:
    """Calls a function when it is unpickled; a function, or an argument, may be such a call itself."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments

    def __call__(self) -> None:
        """Never called: pickle wants it of what it is to call."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


def pickles(marker: Path) -> dict[str, bytes]:
    """Ten pickles and one, each of which makes the marker when it is loaded, each in a way of its own."""
    path, touch = str(marker), f"touch '{marker}'"
    code = f"import os; os.mkdir({path!r})"
    calls = {
        "os.system": Call(os.system, touch),
        "subprocess": Call(subprocess.check_call, ["touch", path]),
        "eval": Call(eval, f"__import__('os').mkdir({path!r})"),
        "exec": Call(exec, code),
        "getattr": Call(Call(getattr, Call(importlib.import_module, "os"), "mkdir"), path),
        "runpy": Call(runpy._run_code, code, {}),
        "pickle": Call(pickle.loads, pickle.dumps(Call(os.mkdir, path))),
    }
    return {
        **{name: pickle.dumps(call, protocol=2) for name, call in calls.items()},
        # An object gets a __setstate__ of its own, which is then given its state.
        "setstate": b"cargparse\nNamespace\n)R}(S'__setstate__'\ncos\nmkdir\nubV" + path.encode() + b"\nb.",
        "copyreg": b"ccopyreg\n_reconstructor\n(clogging\nFileHandler\nclogging\nFileHandler\nV"
        + path.encode()
        + b"\ntR.",
        "posix": b"cposix\nmkdir\n(V" + path.encode() + b"\ntR.",
        "instance": b"(V" + path.encode() + b"\niposix\nmkdir\n.",
    }


def torch_zip(evil: bytes) -> bytes:
    """The pickle where torch.save puts its own, in a zip archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in (("data.pkl", evil), ("byteorder", b"little"), ("version", b"3\n")):
            archive.writestr(f"archive/{name}", content)
    return stream.getvalue()


def torch_legacy(evil: bytes) -> bytes:
    """The pickle where torch.save put its own until 1.6: after three others."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    heads = [torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, system]
    return b"".join(pickle.dumps(each, protocol=2) for each in heads) + evil


def after_a_valid_one(evil: bytes) -> bytes:
    """The pickle behind a state dict that is harmless, where the old format lists its storages."""
    return torch_legacy(pickle.dumps({}, protocol=2) + evil)


def torch_tar(evil: bytes) -> bytes:
    """The pickle where torch.save put its own until 0.1.10, in a tar archive."""
    return tar_of([(tarfile.TarInfo(name), evil) for name in ("storages", "tensors", "pickle")], "w:")


def object_arrays(evil: bytes) -> bytes:
    """Numpy's archive, with every array of ours an array of objects."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in ("scores", "labels", "images", "pixels", "products", "sha256"):
            archive.writestr(f"{name}.npy", header.getvalue() + evil)
    return stream.getvalue()


# What a pickle is carried in, and how it is loaded by who believes it.
CARRIERS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "plain": (bytes, "pickle.loads(path.read_bytes())"),
    "torch": (torch_zip, "torch.load(path, weights_only=False)"),
    "torch legacy": (torch_legacy, "torch.load(path, weights_only=False)"),
    "after a valid one": (after_a_valid_one, "torch.load(path, weights_only=False)"),
    "torch tar": (torch_tar, "torch.load(path, weights_only=False)"),
    "numpy": (object_arrays, "np.load(path, allow_pickle=True)['scores']"),
}
ARM = """
import pathlib, pickle, sys
import numpy as np
import torch

for line in sys.stdin:
    path, load = line.rstrip().split(maxsplit=1)
    path = pathlib.Path(path)
    try:
        eval(load)
    except Exception:
        pass  # what it does, it has done
"""


@pytest.fixture
def markers(tmp_path: Path) -> Path:
    """The folder in which a marker appears for each pickle that was executed."""
    folder = tmp_path / "markers"
    folder.mkdir()
    return folder


def hostile(markers: Path) -> Iterator[tuple[str, bytes]]:
    """Every pickle in every carrier: a name, which its marker has too, and the content of such a file."""
    for carrier, (carry, _) in CARRIERS.items():
        for kind in pickles(markers):
            name = f"{kind}-in-{carrier}".replace(" ", "-")
            yield name, carry(pickles(markers / name)[kind])


def test_every_pickle_is_armed(markers: Path, tmp_path: Path) -> None:
    """Loaded by who believes it, in whatever it is carried, each makes its marker: the other tests test something."""
    loads = [load for _, load in CARRIERS.values() for _ in pickles(markers)]
    lines = []
    for (name, content), load in zip(hostile(markers), loads, strict=True):
        (tmp_path / name).write_bytes(content)
        lines.append(f"{tmp_path / name} {load}\n")
    subprocess.run([sys.executable, "-W", "ignore", "-c", ARM], input="".join(lines), text=True, check=True)

    assert 66 == len(lines)
    assert [name for name, _ in sorted(hostile(markers))] == sorted(path.name for path in markers.iterdir())


def executed(markers: Path) -> list[str]:
    """The names of the pickles that were."""
    return sorted(path.name for path in markers.iterdir())


def refused(read: Callable[[], object], path: Path) -> None:
    """Asserts that the file is refused in one line that names it."""
    with pytest.raises(BadInputError) as caught:
        read()

    assert str(path) in str(caught.value)
    assert 1 == len(str(caught.value).splitlines())


def test_checkpoints_execute_nothing(markers: Path, tmp_path: Path) -> None:
    """A hostile checkpoint is refused, even under a right checksum.

    Seen to fail when torch.load is told weights_only=False.
    """
    for name, content in hostile(markers):
        folder = tmp_path / name
        folder.mkdir()
        path = folder / run_folder.CHECKPOINT
        path.write_bytes(checkpoint.MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        refused(lambda folder=folder: checkpoint.load(folder), path)

    assert [] == executed(markers)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors", ".npz", ".tar", ""])
def test_weights_execute_nothing(markers: Path, tmp_path: Path, suffix: str) -> None:
    """Hostile weights are refused, whatever the file's name says that it is.

    Seen to fail when torch.load is told weights_only=False.
    """
    for name, content in hostile(markers):
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(content)
        refused(lambda path=path: read_weights(path), path)

    assert [] == executed(markers)


def test_scores_execute_nothing(markers: Path, tmp_path: Path) -> None:
    """A hostile file of scores is refused.

    Seen to fail when np.load is told allow_pickle=True.
    """
    for name, content in hostile(markers):
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        refused(lambda path=path: run_folder.read_scores(path), path)

    assert [] == executed(markers)


def test_statistics_execute_nothing(markers: Path, tmp_path: Path) -> None:
    """A hostile file of a training set's statistics is made anew, and one line says so.

    Seen to fail when np.load is told allow_pickle=True.
    """
    told: list[str] = []
    for name, content in hostile(markers):
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        sums = statistics._Kept(path, 4, told.append).read(10)

        assert 0 == sums.images
        assert told.pop().startswith(f"{path}: damaged")
        assert [] == told

    assert [] == executed(markers)


def test_cifar10_executes_nothing(markers: Path, tmp_path: Path) -> None:
    """A hostile file among CIFAR-10's is refused: its checksum is not the official one's.

    Seen to fail when a file is unpickled before its checksum is compared.
    """
    first = next(iter(cifar10.FILES))  # the one that is read first
    (tmp_path / cifar10.FOLDER).mkdir()
    path = tmp_path / cifar10.FOLDER / first
    for _, content in hostile(markers):
        path.write_bytes(content)
        refused(lambda: cifar10.load(tmp_path), path)

    assert [] == executed(markers)


def member(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **others: Any
) -> tuple[tarfile.TarInfo, bytes]:
    """A member of a tar archive, in what form ever."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(content)
    for key, value in others.items():
        setattr(info, key, value)
    return info, content


def tar_of(members: list[tuple[tarfile.TarInfo, bytes]], mode: Any = "w:gz") -> bytes:
    """An archive of these members."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


FIRST = f"{cifar10.FOLDER}/data_batch_1"
EVIL = b"evil"


def attacks(outside: Path) -> dict[str, list[tuple[tarfile.TarInfo, bytes]]]:
    """Members of an archive that would write, link or read where they must not; each is about the first file."""
    out, up = str(outside), "../../outside"
    folder = cifar10.FOLDER
    return {
        "parent folder": [member(f"{up}/new", EVIL), member(f"{folder}/../{up}/new", EVIL)],
        "absolute path": [member(f"{out}/new", EVIL)],
        "symbolic link out": [member(FIRST, kind=tarfile.SYMTYPE, linkname=f"{out}/precious")],
        "written through a link": [
            member(f"{folder}/way", kind=tarfile.SYMTYPE, linkname=out),
            member(f"{folder}/way/new", EVIL),
            member(f"{folder}/way/precious", EVIL),
        ],
        "the folder a link": [member(folder, kind=tarfile.SYMTYPE, linkname=out), member(FIRST, EVIL)],
        "hard link out": [
            member(FIRST, kind=tarfile.LNKTYPE, linkname=f"{out}/precious"),
            member(FIRST, EVIL),
        ],
        "device": [member(FIRST, kind=tarfile.CHRTYPE, devmajor=1, devminor=5)],
        "pipe": [member(FIRST, kind=tarfile.FIFOTYPE)],
        "links in a ring": [
            member(FIRST, kind=tarfile.SYMTYPE, linkname="ring"),
            member(f"{folder}/ring", kind=tarfile.SYMTYPE, linkname="data_batch_1"),
        ],
        "a chain of links": [
            member("a", kind=tarfile.SYMTYPE, linkname="."),
            member("a/b", kind=tarfile.SYMTYPE, linkname=".."),
            member("a/b/c", kind=tarfile.SYMTYPE, linkname=".."),
            member("a/b/c/outside/new", EVIL),
        ],
        "odd modes": [member(FIRST, EVIL, mode=0o6777, uid=0, gid=0), member(f"{folder}/tool", EVIL, mode=0o6777)],
        "odd names": [
            member(f"{FIRST}\0", EVIL, pax_headers={"path": f"{FIRST}\0"}),
            member("C:\\new", EVIL),
            member(f"C:{up}/new", EVIL),
            member("", EVIL),
        ],
        "the archive itself": [
            member("archive.part", EVIL),
            member("../archive.part", EVIL),
            member(f"../{cifar10.PART}/archive.part", EVIL),
        ],
        "a neighbour": [member("../neighbour/precious", EVIL), member(f"{folder}/../../neighbour/precious", EVIL)],
        "a file of no end": [member(FIRST, bytes(100_000_000))],
        "a folder in its place": [member(FIRST, kind=tarfile.DIRTYPE, mode=0)],
    }


class Site:
    """The official source, and the official files; and beside them what is precious."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.root = root
        self.content = b""
        self.files = {name: pickle.dumps({"batch_label": name}) for name in cifar10.FILES}
        official = {name: hashlib.md5(each, usedforsecurity=False).hexdigest() for name, each in self.files.items()}
        monkeypatch.setattr(cifar10, "FILES", official)
        monkeypatch.setattr(cifar10, "DISK_BYTES", 0)
        monkeypatch.setattr(cifar10, "https_opener", lambda: self)
        self.data = root / "data"
        for folder in (root / "outside", self.data / "neighbour", self.data / cifar10.FOLDER):
            folder.mkdir(parents=True)
            (folder / "precious").write_bytes(b"precious")

    def serve(self, content: bytes) -> None:
        """Has these bytes for the official archive."""
        self.content = content
        self.monkeypatch.setattr(cifar10, "ARCHIVE_MD5", hashlib.md5(content, usedforsecurity=False).hexdigest())

    def open(self, url: str, timeout: float) -> urllib.response.addinfourl:
        """Stands in for the opener's; see `OpenerDirector`."""
        assert timeout > 0
        return urllib.response.addinfourl(io.BytesIO(self.content), Message(), url)

    def official(self, *, without: str = "") -> list[tuple[tarfile.TarInfo, bytes]]:
        """The official members, but for one."""
        return [member(f"{cifar10.FOLDER}/{name}", each) for name, each in self.files.items() if name != without]

    def everything(self) -> dict[str, tuple[int, bytes]]:
        """All that lies anywhere: modes, and the content of files."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            state = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(state.st_mode) else b""
            if path.name != cifar10.LOCK:
                found[str(path.relative_to(self.root))] = state.st_mode, content
        return found


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The official source in an own folder."""
    return Site(tmp_path / "root", monkeypatch)


def plainly(stream: BinaryIO, _length: int) -> BinaryIO:
    """Shows no progress."""
    return stream


@pytest.mark.parametrize("attack", attacks(Path()))
def test_an_archive_writes_nothing_outside(site: Site, attack: str) -> None:
    """An archive with such a member instead of an official file is refused in one line, and all stays as it was.

    Its checksum is taken for right. Seen to fail when it is unpacked by `extractall` without a filter.
    """
    site.serve(tar_of(attacks(site.root / "outside")[attack] + site.official(without="data_batch_1")))
    before = site.everything()
    with pytest.raises(BadInputError) as caught:
        cifar10.download(site.data, plainly)

    assert 1 == len(str(caught.value).splitlines())
    assert before == site.everything()


@pytest.mark.parametrize("attack", attacks(Path()))
@pytest.mark.parametrize("place", ["before", "after"])
def test_only_the_official_files_come_out(site: Site, attack: str, place: str) -> None:
    """Such a member beside whole official files is left alone, or the archive refused; nothing else changes.

    Seen to fail, for most of them, when it is unpacked by `extractall` without a filter, or with filter="data".
    """
    evil, good = attacks(site.root / "outside")[attack], site.official()
    site.serve(tar_of(evil + good if place == "before" else good + evil))
    before = site.everything()
    told = ""
    try:
        cifar10.download(site.data, plainly)
    except BadInputError as error:
        told = str(error)
    if told:
        assert 1 == len(told.splitlines())
        assert before == site.everything()
        return
    after = site.everything()
    folder = f"data/{cifar10.FOLDER}"

    assert {name: each for name, each in before.items() if not name.startswith(f"{folder}/")} == {
        name: each for name, each in after.items() if not name.startswith(f"{folder}/")
    }
    assert {f"{folder}/{name}": (stat.S_IFREG | 0o644, each) for name, each in site.files.items()} == {
        name: each for name, each in after.items() if name.startswith(f"{folder}/")
    }


def forbidden(*_: object, **__: object) -> None:
    """Must not be called."""
    raise AssertionError("opened before its checksum was compared")


def test_an_archive_with_a_wrong_checksum_is_not_opened(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The right files under another checksum of the archive: nothing is unpacked."""
    site.serve(tar_of(site.official()))
    site.content += b"\0"
    monkeypatch.setattr(tarfile, "open", forbidden)
    before = site.everything()
    with pytest.raises(BadInputError, match="the download is damaged; try again"):
        cifar10.download(site.data, plainly)

    assert before == site.everything()


def test_a_file_with_a_wrong_checksum_is_not_unpickled(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """One wrong bit in any of CIFAR-10's files: that file is not unpickled."""
    monkeypatch.setattr(cifar10.pickle, "loads", forbidden)
    for name, content in site.files.items():
        (site.data / cifar10.FOLDER / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(BadInputError, match="not the official file"):
            cifar10._read(site.data, name)


class Https:
    """What https answers, in place of a network: an address's content, or where it is redirected to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.code, self.content, self.location = 200, b"", ""
        monkeypatch.setattr(urllib.request.HTTPSHandler, "https_open", lambda _, request: self.answer(request))
        monkeypatch.setattr(urllib.request, "_opener", None)  # the process's own, which is replaced
        monkeypatch.setenv("no_proxy", "*")
        monkeypatch.setenv("TORCH_HOME", str(folder))
        self.cache = folder / "hub" / "checkpoints"

    def answer(self, request: urllib.request.Request) -> urllib.response.addinfourl:
        """To a request over https."""
        headers = Message()
        if self.location:
            headers["Location"] = self.location
        response = urllib.response.addinfourl(io.BytesIO(self.content), headers, request.full_url, self.code)
        response.msg = "as asked"  # type: ignore[attr-defined]
        return response


@pytest.fixture
def https(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Https:
    """What https answers."""
    return Https(monkeypatch, tmp_path / "torch")


def test_weights_with_a_wrong_checksum_are_not_loaded(https: Https, markers: Path) -> None:
    """What is downloaded for torchvision's weights, and is not them, is neither loaded nor kept.

    Seen to fail when torch.hub is not told the checksum.
    """
    https.content = torch_zip(pickles(markers / "weights")["posix"])
    with pytest.raises(BadInputError, match="invalid hash value"):
        torchvision_weights(IMAGENET.net("resnet-18-B"))

    assert [] == executed(markers)
    assert [] == list(https.cache.iterdir())


def test_weights_with_the_right_checksum(
    https: Https, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are kept and loaded, and standard output, where answers go, is left alone.

    Seen to fail when torchvision's own loader is left to it.
    """
    import torchvision

    stream = io.BytesIO()
    torch.save({"fc.weight": torch.ones(2)}, stream)
    https.content = stream.getvalue()
    name = f"resnet18-{hashlib.sha256(https.content).hexdigest()[:8]}.pth"
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.value
    monkeypatch.setattr(weights, "url", f"https://example.org/models/{name}")

    assert ["fc.weight"] == list(torchvision_weights(IMAGENET.net("resnet-18-B")))
    assert [name] == [path.name for path in https.cache.iterdir()]
    assert "" == capsys.readouterr().out


@pytest.fixture
def http() -> Iterator[tuple[str, list[str]]]:
    """A real http server: its address, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_port}/file", asked
        server.shutdown()


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_no_download_leaves_https(https: Https, http: tuple[str, list[str]], tmp_path: Path, code: int) -> None:
    """A redirection to http, of the dataset or of weights, is told in one line; that server is never asked.

    Seen to fail, with a request each, when CIFAR-10's opener, or the process's, is urllib's own.
    """
    address, asked = http
    https.code, https.location = code, address
    for download in (
        lambda: cifar10.download(tmp_path / "data", plainly),
        lambda: torchvision_weights(IMAGENET.net("resnet-18-B")),
    ):
        with pytest.raises(BadInputError) as caught:
            download()

        assert [] == asked
        assert f"redirects to {address}, which is not https" in str(caught.value)
        assert 1 == len(str(caught.value).splitlines())
    assert [cifar10.LOCK] == [path.name for path in (tmp_path / "data").iterdir()]
    assert [] == list(https.cache.iterdir())


def test_the_http_server_would_have_answered(https: Https, http: tuple[str, list[str]]) -> None:
    """Urllib left to itself goes from https to http, and the server counts it."""
    https.code, https.location = 302, http[0]
    with urllib.request.build_opener().open(cifar10.URL, timeout=10) as response:
        response.read()

    assert ["/file"] == http[1]
