"""Embedded sets of ten drawn shapes, 32x32, 16x16 or as photographs: no download, the same on every machine.

For smoke runs, tests and demos.

Every image is a shape of random place, size and colours on a random background, under noise and a distracting patch.
All classes survive mirroring, so that section 4.2's augmentation fits them.
"""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from resnet_cli.data.dataset import Dataset
from resnet_cli.data.decode import Photographs

if TYPE_CHECKING:
    from collections.abc import Sequence

CLASSES = ("disc", "ring", "square", "frame", "triangle", "plus", "cross", "rows", "columns", "checkers")
TRAIN_IMAGES = 10_000
TEST_IMAGES = 2_000
SIZE = 32
SMALL_SIZE = 16
SMALL_TRAIN_IMAGES = 4_000
SMALL_TEST_IMAGES = 1_000
PHOTO_SCALE = 3  # enlargement of the images to photographs
PHOTO_MARGIN = 24  # pixels by which one side is then longer: the height of even ones, the width of odd ones
GREY_EVERY = 7  # photographs; no multiple of the classes, so that each class has some


def load(train: int = TRAIN_IMAGES, test: int = TEST_IMAGES) -> Dataset:
    """Draws the set: `train` and `test` images; training and test images never coincide."""
    return _dataset("synthetic", draw(train, key=0), draw(test, key=1))


def load_small(train: int = SMALL_TRAIN_IMAGES, test: int = SMALL_TEST_IMAGES) -> Dataset:
    """Draws the set of small, clear images, which a net learns in some hundred updates; the demo's."""
    return _dataset("shapes-16", draw_small(train, key=0), draw_small(test, key=1))


def _dataset(name: str, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> Dataset:
    (train_images, train_labels), (test_images, test_labels) = train, test
    return Dataset(
        name=name,
        checksum=f"SHA-256 {hashlib.sha256(train_images.tobytes() + test_images.tobytes()).hexdigest()}",
        classes=CLASSES,
        train_images=torch.from_numpy(train_images),
        train_labels=torch.from_numpy(train_labels),
        test_images=torch.from_numpy(test_images),
        test_labels=torch.from_numpy(test_labels),
    )


def draw_photographs(count: int, key: int) -> tuple[Photographs, str]:
    """The same drawings as JPEGs of 96x120 and 120x96, some of them grey; and the SHA-256 of what was drawn.

    Encoders differ, so the checksum is over the pixels before they are encoded.
    """
    images, labels = draw(count, key)
    photographs = Photographs([_photograph(image, number) for number, image in enumerate(images)], labels)
    return photographs, hashlib.sha256(images.tobytes()).hexdigest()


def _photograph(image: np.ndarray, number: int) -> bytes:
    enlarged = image.transpose(1, 2, 0).repeat(PHOTO_SCALE, axis=0).repeat(PHOTO_SCALE, axis=1)
    margin = (PHOTO_MARGIN // 2, PHOTO_MARGIN // 2)
    margins: Sequence[tuple[int, int]] = (margin, (0, 0), (0, 0)) if number % 2 == 0 else ((0, 0), margin, (0, 0))
    picture = Image.fromarray(np.pad(enlarged, margins, mode="edge"))
    content = io.BytesIO()
    (picture.convert("L") if number % GREY_EVERY == 0 else picture).save(content, "JPEG", quality=90)
    return content.getvalue()


def draw(count: int, key: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws `count` images, (count, 3, 32, 32) uint8, and their labels, (count,) int64, classes in turn.

    Uses only additions, multiplications and comparisons on raw Philox words: bit-equal on every machine.
    """
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    random = np.random.Philox(key=np.array([key, 2015], dtype=np.uint64))
    traits = uniform(random, (count, 16))
    noise = uniform(random, (count, 3, SIZE, SIZE)) - 0.5

    ys, xs = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    radius = 6 + 5 * traits[:, 0, None, None]
    y = ys - (10 + 12 * traits[:, 1, None, None])
    x = xs - (10 + 12 * traits[:, 2, None, None])
    shape = inside(labels, y / radius, x / radius)

    background = traits[:, 3:6]
    contrast = 0.22 + 0.25 * traits[:, 6:9]
    foreground = np.where(background > 0.5, background - contrast, background + contrast)
    images = np.where(shape[:, None], foreground[..., None, None], background[..., None, None])

    patch_y, patch_x = (ys - SIZE * traits[:, 9, None, None]), (xs - SIZE * traits[:, 10, None, None])
    patch = patch_y * patch_y + patch_x * patch_x < 6 + 8 * traits[:, 11, None, None]
    images = np.where(patch[:, None], traits[:, 12:15, None, None], images)

    images = images + (0.2 + 0.35 * traits[:, 15, None, None, None]) * noise
    return (images * 255).clip(0, 255).astype(np.uint8), labels


def draw_small(count: int, key: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws `count` images, (count, 3, 16, 16) uint8, and their labels, (count,) int64, classes in turn.

    The shape fills most of the image and differs clearly from its background; there is little noise and no patch.
    """
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    random = np.random.Philox(key=np.array([key, 2016], dtype=np.uint64))
    traits = uniform(random, (count, 9))
    noise = uniform(random, (count, 3, SMALL_SIZE, SMALL_SIZE)) - 0.5

    ys, xs = np.mgrid[0:SMALL_SIZE, 0:SMALL_SIZE].astype(np.float32)
    radius = 4.5 + 2 * traits[:, 0, None, None]
    y = ys - (5.5 + 4 * traits[:, 1, None, None])
    x = xs - (5.5 + 4 * traits[:, 2, None, None])
    shape = inside(labels, y / radius, x / radius)

    background = traits[:, 3:6]
    contrast = 0.25 + 0.35 * traits[:, 6:9]
    foreground = np.where(background > 0.5, background - contrast, background + contrast)
    images = np.where(shape[:, None], foreground[..., None, None], background[..., None, None]) + 0.05 * noise
    return (images * 255).clip(0, 255).astype(np.uint8), labels


def uniform(random: np.random.Philox, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers in [0, 1) of 24 bits, float32, from raw Philox words."""
    words = random.random_raw(int(np.prod(shape)))
    return ((words >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)).reshape(shape)


def inside(labels: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Which pixels lie in the shape; y and x are in units of its radius."""
    ay, ax = np.abs(y), np.abs(x)
    nearest, farthest = np.minimum(ay, ax), np.maximum(ay, ax)
    square_of_distance = y * y + x * x
    box = farthest < 1
    odd_row, odd_column = np.floor(y * 2.5) % 2 == 0, np.floor(x * 2.5) % 2 == 0
    shapes = {
        "disc": square_of_distance < 1,
        "ring": (square_of_distance < 1) & (square_of_distance > 0.35),
        "square": box,
        "frame": box & (farthest > 0.6),
        "triangle": box & (2 * ax < y + 1),
        "plus": box & (nearest < 0.3),
        "cross": box & (np.abs(ay - ax) < 0.35),
        "rows": box & odd_row,
        "columns": box & odd_column,
        "checkers": box & (odd_row ^ odd_column),
    }
    stacked = np.stack([shapes[name] for name in CLASSES])
    chosen: np.ndarray = stacked[labels, np.arange(len(labels))]
    return chosen
