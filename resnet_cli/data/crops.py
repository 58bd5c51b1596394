"""From a photograph to inputs: resizing, cropping and mirroring, in training and in testing (section 3.4).

Images are (3, H, W) uint8.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_cli.spec import Photos

TRIES = 10
AREA = (0.08, 1.0)
ASPECT = (3 / 4, 4 / 3)
CHANCES = 8 + 2 * TRIES  # mirror, size, row, column; four for the colour; area and aspect of each try

_UNIT = 2.0**-53


def chances(seed: int, epoch: int, image: int) -> np.ndarray:
    """The random numbers of an image in an epoch: (28,) float64, uniform in [0, 1).

    Raw Philox words, as for the order of the epoch; the counter's second word is the image and the third 1, where the
    order's are 0, so that no word serves twice.
    """
    counter = np.array([0, image, 1, 0], dtype=np.uint64)
    philox = np.random.Philox(counter=counter, key=np.array([seed, epoch], dtype=np.uint64))
    result: np.ndarray = (philox.random_raw(CHANCES) >> np.uint64(11)) * _UNIT
    return result


def normals(chance: np.ndarray) -> np.ndarray:
    """Three normal numbers, (3,) float64, of mean 0 and variance 1, from an image's chances (Box and Muller)."""
    radius, angle = np.sqrt(-2 * np.log(1 - chance[4:6])), 2 * np.pi * chance[6:8]
    return np.array([radius[0] * np.cos(angle[0]), radius[0] * np.sin(angle[0]), radius[1] * np.cos(angle[1])])


def training_crop(image: Tensor, photos: Photos, chance: np.ndarray) -> Tensor:
    """A training image's crop, mirrored or not, (3, crop, crop)."""
    make = random_resized_crop if photos.cropping == "random-resized" else scaled_crop
    crop = make(image, photos, chance)
    return crop.flip(2) if is_mirrored(chance) else crop


def scaled_crop(image: Tensor, photos: Photos, chance: np.ndarray) -> Tensor:
    """Section 3.4: the shorter side is resized to a size drawn from a range, and a crop is cut out anywhere."""
    image = rescaled(image, photos, chance)
    return cut(image, photos.crop, *corner(image, photos, chance))


def rescaled(image: Tensor, photos: Photos, chance: np.ndarray) -> Tensor:
    """The image with its shorter side of a size drawn from the range."""
    low, high = photos.shorter_side
    return resized(image, low + pick(chance[1], high - low + 1))


def corner(image: Tensor, photos: Photos, chance: np.ndarray) -> tuple[int, int]:
    """Row and column of the crop's upper left corner in a rescaled image."""
    top, left = (pick(c, side - photos.crop + 1) for c, side in zip(chance[2:4], image.shape[1:], strict=True))
    return top, left


def is_mirrored(chance: np.ndarray) -> bool:
    """Whether a training crop is mirrored: half of them are."""
    return bool(chance[0] < 0.5)  # noqa: PLR2004


def random_resized_crop(image: Tensor, photos: Photos, chance: np.ndarray) -> Tensor:
    """Not the paper's: a part of 8 to 100% of the area and an aspect of 3/4 to 4/3, resized to the crop.

    After ten tries that do not fit, the centre, as in fb.resnet.torch. Aspects are uniform in their logarithm, as
    torchvision draws them, so that portrait and landscape are equally likely.
    """
    height, width = image.shape[1:]
    for area, aspect in chance[8:].reshape(TRIES, 2):
        pixels = height * width * (AREA[0] + (AREA[1] - AREA[0]) * area)
        ratio = math.exp(math.log(ASPECT[0]) + (math.log(ASPECT[1]) - math.log(ASPECT[0])) * aspect)
        rows, columns = round(math.sqrt(pixels / ratio)), round(math.sqrt(pixels * ratio))
        if 0 < rows <= height and 0 < columns <= width:
            top, left = pick(chance[2], height - rows + 1), pick(chance[3], width - columns + 1)
            return _resized_to(image[:, top : top + rows, left : left + columns], photos.crop, photos.crop)
    return center_crop(resized(image, photos.crop), photos.crop)


def pick(chance: float, count: int) -> int:
    """One of 0 to count - 1, all equally likely."""
    return int(chance * count)


def resized(image: Tensor, shorter_side: int) -> Tensor:
    """The image with its shorter side of this size, its aspect kept; bilinear, over all pixels that it shrinks."""
    height, width = image.shape[1:]
    if height <= width:
        return _resized_to(image, shorter_side, shorter_side * width // height)
    return _resized_to(image, shorter_side * height // width, shorter_side)


def _resized_to(image: Tensor, height: int, width: int) -> Tensor:
    if image.device.type == "cpu":
        return functional.interpolate(image[None], (height, width), mode="bilinear", antialias=True)[0]
    # Only the CPU resizes whole numbers.
    floats = functional.interpolate(image[None].float(), (height, width), mode="bilinear", antialias=True)[0]
    return floats.round().clamp(0, 255).to(torch.uint8)


def cut(image: Tensor, crop: int, top: int, left: int) -> Tensor:
    """The square of this side at this row and column."""
    return image[:, top : top + crop, left : left + crop]


def center_crop(image: Tensor, crop: int) -> Tensor:
    """The square of this side in the middle; where that is between two pixels, the upper left of the two."""
    height, width = image.shape[1:]
    return cut(image, crop, (height - crop) // 2, (width - crop) // 2)


def ten_crops(image: Tensor, crop: int) -> Tensor:
    """AlexNet's ten: the corners, the centre, and their mirror images, (10, 3, crop, crop)."""
    bottom, right = image.shape[1] - crop, image.shape[2] - crop
    corners = [cut(image, crop, top, left) for top in (0, bottom) for left in (0, right)]
    five = torch.stack([*corners, center_crop(image, crop)])
    return torch.cat([five, five.flip(3)])
