from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from resnet_cli.data import synthetic

# SHA-256 over the pixels of load(train=64, test=64): the same on every machine and with every version of NumPy.
KNOWN_CHECKSUM = "SHA-256 f841d4b4bcad8c2a25dc7a697609108af822b09727f3fb4184b19fd1d118ba6a"


def test_known_checksum() -> None:
    """The set is the same wherever it is drawn."""
    assert KNOWN_CHECKSUM == synthetic.load(train=64, test=64).checksum


KNOWN_SMALL_CHECKSUM = "SHA-256 a2b9dae2d94211343d7a59f025883532da1975a6de47918b2d3c60f5a3fd36a2"


def test_form() -> None:
    """The set has CIFAR-10's form: uint8 images of 3x32x32 and int64 labels of ten classes."""
    data = synthetic.load(train=30, test=20)

    assert ((30, 3, 32, 32), torch.uint8) == (tuple(data.train_images.shape), data.train_images.dtype)
    assert ((20, 3, 32, 32), torch.uint8) == (tuple(data.test_images.shape), data.test_images.dtype)
    assert ((30,), torch.int64) == (tuple(data.train_labels.shape), data.train_labels.dtype)
    assert ((20,), torch.int64) == (tuple(data.test_labels.shape), data.test_labels.dtype)
    assert ("synthetic", 10) == (data.name, len(set(data.classes)))


def test_small_images() -> None:
    """The demo's set is known by its checksum: images of 3x16x16, all different, in classes of equal size."""
    data = synthetic.load_small(train=60, test=40)
    images = torch.cat([data.train_images, data.test_images])

    assert KNOWN_SMALL_CHECKSUM == data.checksum
    assert ("shapes-16", (100, 3, 16, 16), torch.uint8) == (data.name, tuple(images.shape), images.dtype)
    assert [6] * 10 == torch.bincount(data.train_labels).tolist()
    assert 100 == len(torch.unique(images.flatten(1), dim=0))


@pytest.mark.parametrize(("count", "fewest", "most"), [(100, 10, 10), (64, 6, 7)])
def test_classes_are_balanced(count: int, fewest: int, most: int) -> None:
    """Every class has as many images as any other, or one less."""
    _, labels = synthetic.draw(count, key=0)
    counts = np.bincount(labels, minlength=10)

    assert (10, fewest, most) == (len(counts), counts.min(), counts.max())


def test_images_differ() -> None:
    """No image is there twice, be it in training or in test."""
    data = synthetic.load(train=100, test=100)
    images = torch.cat([data.train_images, data.test_images]).flatten(1)

    assert 200 == len(torch.unique(images, dim=0))


def test_checksum_covers_both_parts() -> None:
    """Sets of different images have different checksums, be it the training or the test images that differ."""
    checksums = {synthetic.load(train, test).checksum for train, test in ((20, 20), (21, 20), (20, 21))}

    assert 3 == len(checksums)


def test_shapes_fill_their_classes() -> None:
    """Each class's shape covers some of the image and not all of it, and no two classes share a shape."""
    ys, xs = np.mgrid[-1.5:1.5:61j, -1.5:1.5:61j]
    labels = np.arange(10)
    inside = synthetic.inside(labels, np.stack([ys] * 10), np.stack([xs] * 10))
    covered = inside.mean(axis=(1, 2))

    assert (covered > 0.05).all()
    assert (covered < 0.5).all()
    assert 10 == len(np.unique(inside.reshape(10, -1), axis=0))


def test_mirroring_keeps_the_class() -> None:
    """Every shape but the striped ones is its own mirror image, and these stay stripes: mirroring fits the labels."""
    axis = np.linspace(-1.5, 1.5, 62)  # no point at 0, where stripes would meet their mirror image
    ys, xs = np.meshgrid(axis, axis, indexing="ij")
    inside = synthetic.inside(np.arange(10), np.stack([ys] * 10), np.stack([xs] * 10))
    symmetric = [name for name, shape in zip(synthetic.CLASSES, inside, strict=True) if (shape == shape[:, ::-1]).all()]

    assert ["disc", "ring", "square", "frame", "triangle", "plus", "cross", "rows"] == symmetric


def test_photographs() -> None:
    """Photographs are JPEGs, half upright and half lying, one in seven grey, with the drawings' labels."""
    photographs, checksum = synthetic.draw_photographs(70, key=0)
    headers = [Image.open(io.BytesIO(photographs.content(number))) for number in range(70)]
    _, labels = synthetic.draw(70, key=0)

    assert {"JPEG"} == {header.format for header in headers}
    assert [(96, 120), (120, 96)] * 35 == [header.size for header in headers]
    assert [("L" if number % 7 == 0 else "RGB") for number in range(70)] == [header.mode for header in headers]
    assert labels.tolist() == photographs.labels.tolist()
    assert checksum == synthetic.draw_photographs(70, key=0)[1] != synthetic.draw_photographs(70, key=1)[1]


def test_photographs_show_the_drawings() -> None:
    """A photograph is its drawing three times enlarged, with a margin, but for JPEG's loss."""
    images, _ = synthetic.draw(6, key=1)
    photographs, _ = synthetic.draw_photographs(6, key=1)
    for number in range(1, 6):
        photo = photographs.image(number).double()
        inner = photo[:, 12:108] if number % 2 == 0 else photo[:, :, 12:108]
        shrunk = inner.reshape(3, 32, 3, 32, 3).mean(dim=(2, 4)).mean(dim=0)

        assert np.abs(shrunk.numpy() - images[number].mean(axis=0)).mean() < 6
