"""Photographs that cannot be used are named before they are."""

from __future__ import annotations

import io
import os
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from resnet_cli.cli.main import _exit_code
from resnet_cli.data import verify
from resnet_cli.data.decode import Photographs, seems_whole
from resnet_cli.errors import BadInputError
from resnet_cli.tasks.imagenet import folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import MakeFolder

NAMES = [f"{part}/{label}/{number}.JPEG" for part in ("train", "val") for label in "ab" for number in range(4)]
WRONG: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[: len(content) * 2 // 3],
    "without its last byte": lambda content: content[:-1],
    "header only": lambda content: content[:20],
    "empty": lambda _: b"",
    "web page": lambda _: b"<html><body>404 Not Found</body></html>",
    "text": lambda _: b"Not Found",
    "zeros": lambda content: bytes(len(content)),
    "truncated PNG": lambda _: picture("PNG")[:-40],
    "truncated TIFF": lambda _: picture("TIFF")[:200],
    "truncated WebP": lambda _: picture("WEBP")[:-40],
    "truncated BMP": lambda _: picture("BMP")[:-40],
}


def picture(form: str) -> bytes:
    """A picture of random pixels in this format."""
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(content, form)
    return content.getvalue()


@pytest.fixture
def root(make_folder: MakeFolder) -> Path:
    """A folder of two classes, all of it right."""
    folder._scan.cache_clear()
    return make_folder(NAMES)


def validation(root: Path) -> Photographs:
    """The validation photographs of a folder."""
    found = folder.scan(root)
    return Photographs(found.val, found.val_labels, found.root)


@pytest.mark.parametrize("kind", WRONG)
def test_a_look_finds(root: Path, kind: str) -> None:
    """Whatever is wrong with a file's beginning or end is found without decoding the others, and named."""
    path = root / "val/a/2.JPEG"
    path.write_bytes(WRONG[kind](path.read_bytes()))
    with pytest.raises(BadInputError) as caught:
        verify.look_at(validation(root), 2, pytest.fail)

    assert str(caught.value).startswith(f"{root}: 1 of 8 photographs cannot be used: val/a/2.JPEG: ")
    assert str(caught.value).endswith(
        "a folder without them is another dataset, on which every run starts from the beginning"
    )


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "PPM", "TIFF", "WEBP"])
@pytest.mark.parametrize("more", [b"", b"junk behind the end"])
def test_a_look_lets_pass(root: Path, form: str, more: bytes) -> None:
    """Whole files of every format pass, whatever their name and whatever follows a JPEG's end, as cameras write."""
    (root / "val/a/2.JPEG").write_bytes(picture(form) + more)
    verify.look_at(validation(root), 0, pytest.fail)

    assert (form in ("JPEG", "PNG") and not more) == seems_whole(root / "val/a/2.JPEG")


def test_a_look_at_what_is_gone(root: Path) -> None:
    """A file that was removed since is named."""
    photographs = validation(root)
    (root / "val/a/2.JPEG").unlink()
    with pytest.raises(BadInputError, match=r"val/a/2\.JPEG: No such file or directory; get"):
        verify.look_at(photographs, 0, pytest.fail)


def test_a_long_look_reports(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that takes long says how far it is, and what that raises ends it."""
    monkeypatch.setattr(verify, "REPORT_SECONDS", 0)
    told: list[str] = []
    verify.look_at(validation(root), 1, told.append)

    assert "checking the validation photographs: 8 of 8" == told[-1]


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize("kind", WRONG)
def test_verify_names_what_is_wrong(root: Path, capsys: pytest.CaptureFixture[str], kind: str, part: str) -> None:
    """`data verify` decodes the photographs of both parts and names each that is wrong; exit code 2."""
    path = root / part / "b/1.JPEG"
    path.write_bytes(WRONG[kind](path.read_bytes()))
    code = _exit_code(["data", "verify", "--dataset-root", str(root)])
    out, err = capsys.readouterr()

    assert (2, "") == (code, out)
    assert err.startswith(f"error: {root}: 1 of 16 photographs cannot be used: {part}/b/1.JPEG: ")


def test_verify_finds_what_a_look_cannot(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file whose middle is lost, its beginning and its end being there, is found by decoding it."""
    path = root / "val/b/1.JPEG"
    content = picture("PNG")
    path.write_bytes(content[:500] + content[600:])

    assert seems_whole(path)
    assert 2 == _exit_code(["data", "verify", "--dataset-root", str(root)])
    assert "val/b/1.JPEG: " in capsys.readouterr().err


def test_many_are_counted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of many photographs the first few are named and the others counted, on one line."""
    for name in NAMES[:9]:
        (root / name).write_bytes(b"")
    _exit_code(["data", "verify", "--dataset-root", str(root)])
    err = capsys.readouterr().err

    assert err.startswith(f"error: {root}: 9 of 16 photographs cannot be used: train/a/0.JPEG: is empty; train/a/1")
    assert "; and 4 more; get the files again" in err
    assert 1 == err.count("\n")


class Decodings:
    """Counts the photographs that are decoded; stops before one, as Ctrl-C does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stop_before: int | None = None) -> None:
        self.count, self.stop_before, self._decode = 0, stop_before, verify.decode
        monkeypatch.setattr(verify, "decode", self)

    def __call__(self, content: bytes) -> object:
        """Stands in for `decode`."""
        if self.count == self.stop_before:
            raise KeyboardInterrupt
        self.count += 1
        return self._decode(content)


def decode_all(found: folder.Folder, records: Path, progress: Callable[[int], None]) -> list[str]:
    """Decodes all photographs of a folder in this thread."""
    return verify.decode_all(found.root, found.train + found.val, records, 0, progress)


def test_what_was_decoded_is_not_decoded_again(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an interruption the rest is decoded, and what was changed since; once all is right, everything anew."""
    found = folder.scan(root)
    Decodings(monkeypatch, stop_before=10)
    with pytest.raises(KeyboardInterrupt):
        decode_all(found, tmp_path / "verified", lambda _done: None)
    (record,) = (tmp_path / "verified").iterdir()
    record.write_bytes(record.read_bytes()[:-3])  # a process that is killed leaves a part of a line
    shutil.copy(root / NAMES[1], root / NAMES[0])
    os.utime(root / NAMES[2], ns=(1, 1))
    monkeypatch.undo()
    again = Decodings(monkeypatch)
    done: list[int] = []

    assert [] == decode_all(found, tmp_path / "verified", done.append)
    assert 6 + 1 + 2 == again.count
    assert 16 == done[-1]
    assert not (tmp_path / "verified").exists()
    assert [] == decode_all(found, tmp_path / "verified", done.append)
    assert 6 + 1 + 2 + 16 == again.count


def test_what_was_right_is_not_decoded_again_once_the_wrong_is_replaced(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder in which one was wrong needs that one decoded only, when it has been got again."""
    whole = (root / NAMES[3]).read_bytes()
    (root / NAMES[3]).write_bytes(b"")
    decode_all(folder.scan(root), tmp_path / "verified", lambda _done: None)
    (root / NAMES[3]).write_bytes(whole)
    folder._scan.cache_clear()
    again = Decodings(monkeypatch)

    assert [] == decode_all(folder.scan(root), tmp_path / "verified", lambda _done: None)
    assert 1 == again.count


def test_where_nothing_can_be_written(root: Path, tmp_path: Path) -> None:
    """Where the record cannot be written, everything is decoded all the same."""
    (tmp_path / "file").write_bytes(b"")

    assert [] == decode_all(folder.scan(root), tmp_path / "file" / "verified", lambda _done: None)


@pytest.mark.parametrize("kind", ["truncated", "empty", "web page"])
def test_a_run_looks_before_its_first_update(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A photograph that a run could not be tested on is told before it trains, with what to do and what that costs."""
    path = root / "val/a/2.JPEG"
    path.write_bytes(WRONG[kind](path.read_bytes()))
    monkeypatch.setattr("resnet_cli.runs.one_run.train", lambda *_, **__: pytest.fail("it trained"))
    command = ["run", "table2", "--only", "resnet-18", "--schedule", "0.00001", "--device", "cpu", "--workers", "0"]
    code = _exit_code([*command, "--dataset-root", str(root), "--results-dir", str(tmp_path / "results")])
    err = capsys.readouterr().err

    assert 2 == code
    assert "bad input: " in err
    assert "1 of 8 photographs cannot be used: val/a/2.JPEG: " in err
    assert "a folder without them is another dataset, on which every run starts from the beginning" in err
