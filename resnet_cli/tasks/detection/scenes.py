"""Drawn scenes for detection: no download, the same on every machine, a pure function of (seed, number).

A scene of about 128x128 pixels has up to four shapes, of five classes and about 24 to 64 pixels, on a shaded, noisy
background, with clutter before and behind them. Shapes hide each other and are cut by the edge. A box holds what can be
seen of its shape; a shape that others hide in part is difficult. Some scenes are grey, some are empty, and some have a
crowd: many small shapes of one class under one box. All classes survive mirroring.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from resnet_cli.data.dataset import Dataset
from resnet_cli.tasks.detection.objects import DetectionData, Objects, all_objects, to_learn_from

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from resnet_cli.tasks.detection.objects import Pictures

CLASSES = ("disc", "ring", "square", "triangle", "plus")
SHAPES = (  # heights and widths: most are square, and the others make padding matter
    *[(128, 128)] * 5,
    (96, 128),
    (128, 96),
    (112, 112),
)
SMALLEST, LARGEST = 24, 64  # pixels of a shape's longer side
CROWD = 56  # pixels of a crowd's longer side
NARROWEST = 0.6  # of a shape's shorter side to its longer
MOST_OBJECTS = 4
CANDIDATES = 2  # places for an object, of which the one with the least overlap is taken
RING, ARM = 0.6, 0.3  # of half a shape's size: a ring's hole, a plus's arm
SMALL = 12  # clutter's largest
LEAST_SEEN, SEEN = 0.15, 0.7  # visible shares of a shape: below the first it is clutter, below the second difficult
EMPTY, CROWDED, GREY = 0.06, 0.12, 0.14  # shares of the scenes
TRAIN_KEY, TEST_KEY = 0, 1
CROP = 64  # pixels a side of a labelled crop; holds the largest shape
ALONE = 2  # times as large as any other object in its crop


@dataclass(frozen=True)
class Scenes:
    """Scenes in memory; see `Pictures`."""

    images: tuple[Tensor, ...]
    marked: tuple[Objects, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        """The numbers from 1."""
        return tuple(range(1, len(self) + 1))

    @property
    def names(self) -> tuple[str, ...]:
        """The same in words."""
        return tuple(f"scene {number}" for number in self.ids)

    def __len__(self) -> int:
        return len(self.images)

    def image(self, number: int) -> Tensor:
        """A scene."""
        return self.images[number]

    def objects(self, number: int) -> Objects:
        """What is in it."""
        return self.marked[number]


def open_scenes(train: int = 1_000, test: int = 200, seed: int = 0, name: str = "drawn-scenes") -> DetectionData:
    """Draws a dataset of so many training scenes, before those without objects are left out, and test scenes."""
    parts = [draw_many(count, seed, key) for count, key in ((train, TRAIN_KEY), (test, TEST_KEY))]
    digest = hashlib.sha256()
    for part in parts:
        for image, marked in zip(part.images, part.marked, strict=True):
            for array in (image.numpy(), marked.boxes, marked.labels, marked.difficult, marked.crowd):
                digest.update(array.tobytes())
    labels = tuple(range(1, len(CLASSES) + 1))
    learned = to_learn_from(parts[0])
    device = torch.device("cpu")
    return DetectionData(name, f"SHA-256 {digest.hexdigest()}", CLASSES, labels, learned, parts[1], device=device)


def crops(train: int = 1_000, test: int = 200, seed: int = 0) -> Dataset:
    """Crops of CROP pixels a side of the objects in the scenes that `open_scenes` draws, for a classifier.

    An object gives one crop, which has it at a random place, at its own size. An object that is not to be learned, or
    that others come near in its crop, gives none.

    Args:
        train: Scenes, not crops.
        test: The same.
        seed: That of the scenes.

    Returns:
        Images (N, 3, CROP, CROP) uint8 and labels (N,) from 0: of class c `CLASSES[c]`.
    """
    images, labels = [], []
    for count, key in ((train, TRAIN_KEY), (test, TEST_KEY)):
        found = list(_crops(draw_many(count, seed, key), seed))
        images.append(torch.stack([image for image, _ in found]))
        labels.append(torch.tensor([label for _, label in found]))
    digest = hashlib.sha256(b"".join(part.numpy().tobytes() for part in (*images, *labels)))
    return Dataset("drawn-crops", f"SHA-256 {digest.hexdigest()}", CLASSES, images[0], labels[0], images[1], labels[1])


def draw_many(count: int, seed: int, key: int) -> Scenes:
    """Draws the first scenes of a training set (`TRAIN_KEY`) or a test set (`TEST_KEY`)."""
    drawn = [draw(2 * seed + key, number) for number in range(count)]
    return Scenes(tuple(torch.from_numpy(image) for image, _ in drawn), tuple(marked for _, marked in drawn))


def draw(seed: int, number: int) -> tuple[np.ndarray, Objects]:
    """Draws a scene, (3, H, W) uint8, and says what is in it.

    Uses only additions, multiplications, divisions and comparisons on raw Philox words: bit-equal on every machine.
    """
    random = _Random(seed, number)
    height, width = SHAPES[random.below(len(SHAPES))]
    is_empty, is_crowded, is_grey = (random.uniform() < share for share in (EMPTY, CROWDED, GREY))
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    background = random.uniforms(3)
    slopes = (random.uniforms(6) - 0.5).reshape(2, 3, 1, 1) * 0.5
    image = background[:, None, None] + slopes[0] * (ys / height - 0.5) + slopes[1] * (xs / width - 0.5)
    owner = np.zeros((height, width), np.int8)  # of each pixel: the object that is seen there, from 1

    for _ in range(2 + random.below(6)):
        _clutter(image, owner, random)
    whole, labels = [], []
    if not is_empty:
        taken: list[tuple[float, ...]] = []
        for this in range(1, 2 + random.below(MOST_OBJECTS)):
            label = random.below(len(CLASSES))
            crowd = is_crowded and this == 1
            place = _place(random, height, width, CROWD if crowd else 0, taken)
            paint = _colour(random, background)
            shape = _crowd(random, label, place, ys, xs) if crowd else _shape(random, label, place, ys, xs)
            image[:, shape] = paint[:, None]
            owner[shape] = this
            whole.append(np.count_nonzero(shape))
            labels.append(label + 1)
    for _ in range(random.below(3)):
        _clutter(image, owner, random)

    image += (random.bytes(image.size).reshape(image.shape) / np.float32(255) - 0.5) * (0.05 + 0.2 * random.uniform())
    if is_grey:
        image[:] = (image[0] + image[1] + image[2]) / 3
    pixels = (image * 255).clip(0, 255).astype(np.uint8)
    return pixels, _seen(owner, np.array(whole), np.array(labels), is_crowded)


class _Random:
    """Numbers from a Philox generator's raw words."""

    def __init__(self, seed: int, number: int) -> None:
        self.philox = np.random.Philox(key=np.array([seed, number], dtype=np.uint64))

    def uniforms(self, count: int) -> np.ndarray:
        """From 0 to below 1, (count,) float32."""
        words = self.philox.random_raw(count)
        return (words >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)

    def uniform(self) -> float:
        """One such number."""
        return float(self.uniforms(1)[0])

    def below(self, count: int) -> int:
        """A whole number from 0."""
        return int(self.uniform() * count)

    def bytes(self, count: int) -> np.ndarray:
        """Bytes from 0 to 255, (count,) uint8; the count is a multiple of 8."""
        return self.philox.random_raw(count // 8).astype("<u8").view(np.uint8)


def _place(
    random: _Random, height: int, width: int, size: int, taken: list[tuple[float, ...]]
) -> tuple[float, float, float]:
    """Centre y, x and longer side of an object: of some random places the one farthest from those already taken."""
    size = size or SMALLEST + round((LARGEST - SMALLEST) * random.uniform() ** 2)
    free = 0.4 * size  # from the centre to the edge at least: a tenth of an object may be cut off
    best = (-np.inf, 0.0, 0.0)
    for u, v in random.uniforms(2 * CANDIDATES).reshape(CANDIDATES, 2):
        y, x = free + float(u) * (height - 2 * free), free + float(v) * (width - 2 * free)
        room = min((max(abs(y - a), abs(x - b)) - (size + c) / 2 for a, b, c in taken), default=0.0)
        best = max(best, (room, y, x))
    taken.append((*best[1:], size))
    return best[1], best[2], size


def _colour(random: _Random, background: np.ndarray) -> np.ndarray:
    """A colour that differs from the background's in every channel, (3,)."""
    contrast = 0.25 + 0.3 * random.uniforms(3)
    return np.where(background > 0.5, background - contrast, background + contrast)  # noqa: PLR2004  half of the scale


def _shape(
    random: _Random, label: int, place: tuple[float, float, float], ys: np.ndarray, xs: np.ndarray
) -> np.ndarray:
    """The pixels of an object, (H, W) bool: stretched and turned a little."""
    y, x, size = place
    ratio = NARROWEST + (1 - NARROWEST) * random.uniform()
    down, across = (1.0, ratio) if random.uniform() < 0.5 else (ratio, 1.0)  # noqa: PLR2004  as often
    t = 0.4 * random.uniform() - 0.2  # the tangent of half the angle, at most 23 degrees
    cos, sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    dy, dx = (ys - y) / (size / 2), (xs - x) / (size / 2)
    return _inside(label, (cos * dy - sin * dx) / down, (sin * dy + cos * dx) / across)


def _crowd(
    random: _Random, label: int, place: tuple[float, float, float], ys: np.ndarray, xs: np.ndarray
) -> np.ndarray:
    """The pixels of a crowd, (H, W) bool: small objects of a class, side by side."""
    y, x, size = place
    step = size / 4
    shifts = 0.3 * step * (random.uniforms(18).reshape(9, 2) - 0.5)
    shape = np.zeros(ys.shape, bool)
    for index, (down, across) in enumerate(shifts):
        centre_y, centre_x = y + (index // 3 - 1) * 1.4 * step + down, x + (index % 3 - 1) * 1.4 * step + across
        shape |= _inside(label, (ys - centre_y) / (0.6 * step), (xs - centre_x) / (0.6 * step))
    return shape


def _inside(label: int, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Which pixels lie in a shape; y and x are in units of half its size."""
    nearest, farthest = np.minimum(np.abs(y), np.abs(x)), np.maximum(np.abs(y), np.abs(x))
    distance = y * y + x * x  # squared
    mask: np.ndarray
    match CLASSES[label]:
        case "disc":
            mask = distance < 1
        case "ring":
            mask = (distance < 1) & (distance > RING * RING)
        case "square":
            mask = farthest < 1
        case "triangle":
            mask = (farthest < 1) & (2 * np.abs(x) < y + 1)
        case _:
            mask = (farthest < 1) & (nearest < ARM)
    return mask


def _clutter(image: np.ndarray, owner: np.ndarray, random: _Random) -> None:
    """A bar or a spot, smaller than every object, of any colour."""
    traits = random.uniforms(7)
    height, width = owner.shape
    long, short = 5 + int(traits[0] * (SMALL - 5)), 2 + int(traits[1] * 3)
    down, across = (long, short) if traits[2] < 0.5 else (short, long)  # noqa: PLR2004  as often
    top, left = int(traits[3] * (height - down)), int(traits[4] * (width - across))
    image[:, top : top + down, left : left + across] = random.uniforms(3)[:, None, None]
    owner[top : top + down, left : left + across] = 0


def _seen(owner: np.ndarray, whole: np.ndarray, labels: np.ndarray, is_crowded: bool) -> Objects:
    """What can be seen of the objects; `whole` are their areas in the image if nothing hid them."""
    boxes, kept, areas = [], [], []
    for index in range(len(whole)):
        mask = owner == index + 1
        area = np.count_nonzero(mask)
        if area < LEAST_SEEN * whole[index]:
            continue
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        kept.append(index)
        areas.append(area)
    difficult = np.array(areas) < SEEN * whole[kept]
    crowd = np.array([is_crowded and index == 0 for index in kept], bool)
    return Objects.of(boxes, labels[kept], difficult & ~crowd, crowd, areas)


def _crops(scenes: Pictures, seed: int) -> Iterator[tuple[Tensor, int]]:
    """Crops of objects, and their labels from 0."""
    for number, marked in enumerate(all_objects(scenes)):
        image, learned = scenes.image(number), marked.to_learn
        random = _Random(seed + 2**32, number)  # no scene's
        for box, label in zip(learned.boxes, learned.labels, strict=True):
            left, top = (
                _start(random.uniform(), int(box[axis]), int(box[axis + 2]), image.shape[2 - axis]) for axis in (0, 1)
            )
            window = np.array([left, top, left + CROP, top + CROP])
            inside = np.minimum(marked.boxes[:, 2:], window[2:]) - np.maximum(marked.boxes[:, :2], window[:2])
            areas = np.sort(inside.clip(0).prod(axis=1))
            own = (box[2:] - box[:2]).prod()
            if len(areas) == 1 or (areas[-1] == own and own >= ALONE * areas[-2]):
                yield image[:, top : top + CROP, left : left + CROP], int(label) - 1


def _start(share: float, start: int, end: int, length: int) -> int:
    """Where a crop begins that holds an object from start to end, in an image of this length."""
    lowest, highest = max(end - CROP, 0), min(start, length - CROP)
    return lowest + int(share * (highest - lowest + 1))
