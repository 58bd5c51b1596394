"""The embedded set: photographs of 72x96 and 96x72 of one drawn shape each, its class and its box known.

Shapes are 24 to 56 pixels high and, drawn independently, as wide, so that boxes differ in shape as well as in place;
four small discs of other colours distract. As in the other embedded sets, every pixel is the same on every machine.
"""

from __future__ import annotations

import hashlib
import io

import numpy as np
from PIL import Image

from resnet_cli.data.decode import Photographs
from resnet_cli.data.synthetic import CLASSES, inside, uniform

SHORT, LONG = 72, 96  # pixels; even images are landscape, odd ones portrait
LEAST, SPREAD = 12, 16  # pixels; of half a shape's side
DISCS = 4
AT_A_TIME = 200


def draw(count: int, key: int) -> tuple[Photographs, tuple[np.ndarray, ...], str]:
    """Draws `count` photographs, as JPEGs, classes in turn.

    Returns:
        The photographs; the box of each, (1, 4) float32: left, top, right, bottom edges; and the SHA-256 of their
        pixels before they are encoded.
    """
    random = np.random.Philox(key=np.array([key, 2021], dtype=np.uint64))
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    digest, files, boxes = hashlib.sha256(), [], []
    for start in range(0, count, AT_A_TIME):
        images, found = _draw(
            labels[start : start + AT_A_TIME], np.arange(start, min(count, start + AT_A_TIME)), random
        )
        digest.update(images.tobytes())
        boxes += list(found[:, None])
        files += [_encoded(image, start + number) for number, image in enumerate(images)]
    return Photographs(files, labels), tuple(boxes), digest.hexdigest()


def _draw(labels: np.ndarray, numbers: np.ndarray, random: np.random.Philox) -> tuple[np.ndarray, np.ndarray]:
    """Squares of which each photograph is a part, (B, 3, 96, 96) uint8, and the boxes, (B, 4)."""
    count = len(labels)
    traits = uniform(random, (count, 11 + 6 * DISCS))
    noise = uniform(random, (count, 3, LONG, LONG)) - 0.5
    lies = numbers % 2 == 0
    limits = np.stack([np.where(lies, SHORT, LONG), np.where(lies, LONG, SHORT)])
    half = LEAST + SPREAD * traits[:, :2].T
    centre = half + (limits - 2 * half) * traits[:, 2:4].T
    places = np.mgrid[0:LONG, 0:LONG].astype(np.float32)[:, None] + np.float32(0.5)
    y, x = (places[axis] - centre[axis][:, None, None] for axis in (0, 1))
    shape = inside(labels, y / half[0][:, None, None], x / half[1][:, None, None])

    background, contrast = traits[:, 4:7], 0.25 + 0.25 * traits[:, 7:10]
    images = np.broadcast_to(background[..., None, None], noise.shape)
    for disc in traits[:, 11:].reshape(count, DISCS, 6).swapaxes(0, 1):
        away = [places[axis] - LONG * disc[:, axis, None, None] for axis in (0, 1)]
        images = np.where(
            (sum(each * each for each in away) < 4 + 21 * disc[:, 2, None, None])[:, None],
            disc[:, 3:, None, None],
            images,
        )
    foreground = np.where(background > 0.5, background - contrast, background + contrast)  # noqa: PLR2004
    images = np.where(shape[:, None], foreground[..., None, None], images)
    images = images + (0.1 + 0.1 * traits[:, 10, None, None, None]) * noise
    return (images * 255).clip(0, 255).astype(np.uint8), _boxes(shape)


def _boxes(shapes: np.ndarray) -> np.ndarray:
    """The edges of each shape, (B, 4) float32, by its pixels."""
    sides = []
    for axis in (1, 2):  # over rows, what is left are columns
        there = np.asarray(shapes.any(axis=axis))
        sides += [there.argmax(axis=1), there.shape[1] - there[:, ::-1].argmax(axis=1)]
    left, right, top, bottom = sides
    return np.stack([left, top, right, bottom], axis=1).astype(np.float32)


def _encoded(image: np.ndarray, number: int) -> bytes:
    height, width = (SHORT, LONG) if number % 2 == 0 else (LONG, SHORT)
    content = io.BytesIO()
    Image.fromarray(image[:, :height, :width].transpose(1, 2, 0)).save(content, "JPEG", quality=90)
    return content.getvalue()
