"""Folders of small photographs, drawn at random; and the developers' real ones, where they are."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pytest
from paper_tasks import IMAGENET
from PIL import Image

from resnet_cli.data.decode import Photographs
from resnet_cli.data.photos import PhotoDataset

if TYPE_CHECKING:
    from collections.abc import Callable

    from resnet_cli.spec import Photos

SIZES = [(50, 70), (70, 50), (60, 60), (40, 90), (37, 37)]  # height, width


def encoded(number: int, mode: str = "RGB", form: str = "JPEG", size: tuple[int, int] | None = None) -> bytes:
    """An image of random colours in blocks of 5x5, of a size that goes with its number."""
    height, width = size or SIZES[number % len(SIZES)]
    blocks = np.random.default_rng(number).integers(0, 256, (height // 5 + 1, width // 5 + 1, 3), dtype=np.uint8)
    pixels = blocks.repeat(5, axis=0).repeat(5, axis=1)[:height, :width]
    content = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(content, form)
    return content.getvalue()


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """Makes an encoded image; see `encoded`."""
    return encoded


class MakeFolder(Protocol):
    """Writes a folder of classes; see `make_folder`."""

    def __call__(self, names: list[str]) -> Path: ...  # noqa: D102


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Writes images of these names below a folder `my photos`."""

    def make(names: list[str]) -> Path:
        root = tmp_path / "my photos"
        for number, name in enumerate(names):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(encoded(number))
        return root

    return make


@pytest.fixture
def small() -> Photos:
    """Section 3.4 at an eighth of its sizes: crops of 32 from shorter sides of 36 to 68; 37 in testing."""
    photos = IMAGENET.protocol.tiny().photos
    assert photos is not None
    return photos


@pytest.fixture
def dataset(small: Photos) -> PhotoDataset:
    """Twenty training and seven test images, each labelled with its own number; the calling thread decodes."""
    train, test = (
        Photographs([encoded(key + number) for number in range(count)], np.arange(count))
        for key, count in ((0, 20), (100, 7))
    )
    return PhotoDataset("own", "", (), train, test, small, workers=0)


@pytest.fixture(scope="session")
def sample() -> Photographs:
    """125 real photographs, some grey, of 68 to 2,400 pixels a side."""
    root = Path(__file__).resolve().parents[3] / "shared/data/imagenet-sample"
    if not root.is_dir():
        pytest.skip(f"the developers' photographs are not at {root}")
    names = sorted(str(path.relative_to(root)) for path in root.glob("*/*.JPEG"))
    return Photographs(names, np.arange(len(names)), root)
