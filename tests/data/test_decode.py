from __future__ import annotations

import io
import threading
import time
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from resnet_cli.data.decode import AHEAD, Photographs, decode, in_order, open_pool
from resnet_cli.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FORMS = ["PNG", "BMP", "PPM", "TIFF", "WEBP"]


@pytest.mark.parametrize("form", FORMS)
def test_lossless_formats(encode: Callable[..., bytes], form: str) -> None:
    """Every lossless format gives the pixels that went in, as (3, H, W) uint8, whatever the file is called."""
    content = encode(1, form=form) if form != "WEBP" else webp(encode(1, form="PNG"))
    image = decode(content)
    expected = np.asarray(Image.open(io.BytesIO(encode(1, form="PNG"))))

    assert ((3, 70, 50), torch.uint8) == (tuple(image.shape), image.dtype)
    assert np.array_equal(expected, image.permute(1, 2, 0).numpy())


def webp(content: bytes) -> bytes:
    """An image as lossless WebP."""
    stream = io.BytesIO()
    Image.open(io.BytesIO(content)).save(stream, "WEBP", lossless=True)
    return stream.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_grey(encode: Callable[..., bytes], form: str) -> None:
    """A grey image becomes one of three equal channels."""
    image = decode(encode(1, "L", form))

    assert (3, 70, 50) == tuple(image.shape)
    assert torch.equal(image[:1].expand(3, -1, -1), image)
    assert len(image.unique()) > 10


def test_cmyk(encode: Callable[..., bytes]) -> None:
    """A CMYK JPEG, of which ImageNet has some, shows the colours that went in, but for JPEG's loss."""
    lossy, exact = decode(encode(1, "CMYK")).double(), decode(encode(1, form="PNG")).double()

    assert (lossy - exact).abs().mean() < 10
    assert np.corrcoef(lossy.flatten(), exact.flatten())[0, 1] > 0.98


def test_16_bits() -> None:
    """Of 16 bits the upper eight are kept."""
    pixels = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    image = decode(content.getvalue())

    assert np.array_equal(np.stack([pixels >> 8] * 3), image.numpy())


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1"])
def test_odd_modes(encode: Callable[..., bytes], mode: str) -> None:
    """Transparency is dropped; palettes and single bits become RGB."""
    content = encode(1, mode, "PNG")
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))[..., :3]

    assert np.array_equal(expected, decode(content).permute(1, 2, 0).numpy())


def test_transparent_palette() -> None:
    """A palette with transparent colours is RGB all the same, and nobody is warned."""
    image = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert("P")
    content = io.BytesIO()
    image.save(content, "PNG", transparency=bytes(range(256)))

    assert np.array_equal(np.asarray(image.convert("RGB")), decode(content.getvalue()).permute(1, 2, 0).numpy())


def test_orientation_is_ignored(encode: Callable[..., bytes]) -> None:
    """A camera's orientation mark turns nothing, as in Caffe."""
    image = Image.open(io.BytesIO(encode(1, form="PNG")))
    exif = Image.Exif()
    exif[0x0112] = 6
    plain, marked = io.BytesIO(), io.BytesIO()
    image.save(plain, "JPEG")
    image.save(marked, "JPEG", exif=exif)

    assert b"Exif" in marked.getvalue()
    assert torch.equal(decode(plain.getvalue()), decode(marked.getvalue()))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[: len(content) // 2], "image file is truncated"),
        (lambda content: content[:-2], "image file is truncated"),
        (lambda _: b"no image at all", "not an image, or of an unknown format"),
        (lambda _: b"", "is empty"),
        (lambda _: b"\n<!DOCTYPE html>", "a web page, not an image"),
    ],
    ids=["half", "no end", "text", "empty", "web page"],
)
def test_damaged_file(
    tmp_path: Path, encode: Callable[..., bytes], damage: Callable[[bytes], bytes], reason: str
) -> None:
    """A file that is cut short or no image is named in one line, with what to do."""
    path = tmp_path / "a.JPEG"
    path.write_bytes(damage(encode(1)))
    with pytest.raises(BadInputError) as caught:
        Photographs(["a.JPEG"], np.zeros(1, np.int64), tmp_path).image(0)

    assert str(caught.value).startswith(f"{path}: {reason}")
    assert str(caught.value).endswith(
        "; get the file again: a folder without it is another dataset, on which every run starts from the beginning"
    )


def test_too_narrow(encode: Callable[..., bytes]) -> None:
    """A photograph whose sides are as 1 to 101, which would fill the memory once it is resized, is refused."""
    assert (3, 500, 5) == tuple(decode(encode(1, size=(500, 5))).shape)
    with pytest.raises(ValueError, match=r"^5x505 pixels: too narrow for a photograph$"):
        decode(encode(1, form="PNG", size=(505, 5)))


def tagged(block: bytes) -> bytes:
    """A photograph with this Exif block."""
    content = io.BytesIO()
    Image.new("RGB", (40, 30), (9, 99, 199)).save(content, "JPEG", exif=b"Exif\0\0" + block)
    return content.getvalue()


@pytest.mark.parametrize(
    "block",
    [
        b"MM\0*\0\0\0\x08\0\x05\x01\x0f\0\x02\xff\xff\xff\xff\0\0\0\0",
        b"II*\0\x08\0\0\0\x02\0\x1a\x01\x05\0\x01\0\0\0\xff\xff\xff\x7f",
        b"MM\0*\0\0\0\x08\0\x01\x01\x1a\0\x05\0\0\0\x01\xff\xff\xff\xff\0\0\0\0",
        b"MM\0*",
        b"no Exif at all",
        b"",
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_damaged_exif_data(block: bytes, strict: bool) -> None:
    """A photograph whose Exif data are damaged is decoded, and nobody is warned, whatever filters there are."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error" if strict else "always")
        image = decode(tagged(block))

    assert ((3, 30, 40), []) == (tuple(image.shape), caught)


def test_damaged_exif_data_in_threads() -> None:
    """Nor are threads that decode at once."""
    content = tagged(b"MM\0*\0\0\0\x08\0\x05\x01\x0f\0\x02\xff\xff\xff\xff\0\0\0\0")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        images = list(in_order(decode, [content] * 50, 4))

    assert (50, []) == (len(images), caught)


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    """A photograph with such a name is named by what can be shown of it: a status is UTF-8."""
    (tmp_path / "\udcff.JPEG").write_bytes(b"")
    with pytest.raises(BadInputError) as caught:
        Photographs(["\udcff.JPEG"], np.zeros(1, np.int64), tmp_path).image(0)

    assert str(caught.value).startswith(f"{tmp_path}/\\xff.JPEG: is empty")


def test_vanished_file(tmp_path: Path) -> None:
    """A file that is gone is named."""
    with pytest.raises(BadInputError) as caught:
        Photographs(["a.JPEG"], np.zeros(1, np.int64), tmp_path).image(0)

    assert f"{tmp_path / 'a.JPEG'}: No such file or directory; it was there when the run began" == str(caught.value)


def test_real_photographs(sample: Photographs) -> None:
    """Real photographs, grey ones among them, decode to the sizes that their headers say."""
    grey = 0
    for number in range(len(sample)):
        image = sample.image(number)
        with Image.open(io.BytesIO(sample.content(number))) as header:
            assert (3, header.height, header.width) == tuple(image.shape)
            grey += header.mode == "L"

    assert (125, True) == (len(sample), grey > 0)


@pytest.mark.parametrize("workers", [0, 2, 4])
def test_in_order(workers: int) -> None:
    """Results come in the items' order, be the later ones ready earlier."""

    def slowly(item: int) -> int:
        time.sleep(0.01 if item % 3 == 0 else 0)
        return item * item

    assert [item * item for item in range(60)] == list(in_order(slowly, range(60), workers))


def test_in_order_is_bounded() -> None:
    """However slow the taker, only so many results wait for it."""
    done: list[int] = []
    results = in_order(done.append, range(1_000), 2)
    next(results)
    time.sleep(0.05)
    results.close()

    assert len(done) <= 2 + AHEAD + 1


def test_failure_in_a_thread() -> None:
    """What goes wrong in a thread goes wrong where its result is asked for, and no thread stays."""
    before = threading.active_count()

    def fail(item: int) -> int:
        if item == 30:
            raise BadInputError("item 30")
        return item

    results = in_order(fail, range(100), 2)
    taken = [next(results) for _ in range(30)]
    with pytest.raises(BadInputError, match="item 30"):
        next(results)

    assert (list(range(30)), before) == (taken, threading.active_count())


def test_threads_keep_to_themselves() -> None:
    """A decoding thread uses one thread of torch's, and the calling thread keeps its own number."""
    before = torch.get_num_threads()
    with open_pool(2) as pool:
        inside = pool.submit(torch.get_num_threads).result()

    assert (1, before) == (inside, torch.get_num_threads())
