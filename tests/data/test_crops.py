from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional

from resnet_cli.data import crops
from resnet_cli.spec import Photos

if TYPE_CHECKING:
    from resnet_cli.data.decode import Photographs


def image(height: int, width: int) -> torch.Tensor:
    """Random pixels."""
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_known_chances() -> None:
    """What chance decides never changes: a run resumed by a later version sees the same crops."""
    assert [0.643637, 0.063528, 0.120323, 0.338543] == crops.chances(seed=0, epoch=0, image=0)[:4].round(6).tolist()


def test_no_word_serves_twice() -> None:
    """Images, epochs and seeds have chances of their own, and none of the words that order an epoch."""
    drawn = np.concatenate(
        [crops.chances(seed, epoch, number) for seed in range(3) for epoch in range(3) for number in range(50)]
    )
    ordering = [np.random.Philox(key=np.array([seed, 0], dtype=np.uint64)).random_raw(10_000) for seed in range(3)]
    of_the_order = (np.concatenate(ordering) >> np.uint64(11)) * 2.0**-53

    assert 3 * 3 * 50 * crops.CHANCES == len(np.unique(drawn))
    assert not np.isin(drawn, of_the_order).any()


def test_chances_are_uniform() -> None:
    """Chances fill [0, 1) evenly, and no two of an image's go together."""
    drawn = np.stack([crops.chances(7, 0, number) for number in range(4_000)])

    assert (0 <= drawn.min(), drawn.max() < 1) == (True, True)
    np.testing.assert_allclose(drawn.mean(axis=0), 0.5, atol=0.025)
    np.testing.assert_allclose(drawn.var(axis=0), 1 / 12, atol=0.006)
    np.testing.assert_allclose(np.corrcoef(drawn.T), np.eye(crops.CHANCES), atol=0.08)


def test_normals() -> None:
    """The colours' numbers are normal: mean 0, variance 1, kurtosis 3, independent."""
    drawn = np.stack([crops.normals(crops.chances(7, 0, number)) for number in range(10_000)])

    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=0.04)
    np.testing.assert_allclose(np.cov(drawn.T), np.eye(3), atol=0.05)
    np.testing.assert_allclose((drawn**4).mean(axis=0), 3, atol=0.4)


@pytest.mark.parametrize(("height", "width"), [(50, 70), (70, 50), (64, 64), (37, 500), (20, 30)])
@pytest.mark.parametrize("side", [32, 37, 68])
def test_resized_is_torchvisions(height: int, width: int, side: int) -> None:
    """Resizing is torchvision's with antialiasing, the shorter side exact and the longer rounded down."""
    original = image(height, width)
    actual = crops.resized(original, side)

    assert side == min(actual.shape[1:])
    assert torch.equal(functional.resize(original, [side], antialias=True), actual)


def test_resized_elsewhere_differs_by_rounding() -> None:
    """Where whole numbers cannot be resized, as on CUDA, floats are: at most one level apart."""
    original = image(50, 70)
    floats = functional.resize(original.float(), [37], antialias=True).round().clamp(0, 255)

    assert (crops.resized(original, 37).float() - floats).abs().max() <= 1


def test_real_photographs_are_resized_as_torchvision_does(sample: Photographs) -> None:
    """Real photographs come out as torchvision's resizing and slicing has them."""
    for number in range(0, len(sample), 12):
        photo = sample.image(number)
        whole = functional.resize(photo, [256], antialias=True)
        height, width = whole.shape[1:]
        top, left = (height - 224) // 2, (width - 224) // 2

        assert torch.equal(
            whole[:, top : top + 224, left : left + 224], crops.center_crop(crops.resized(photo, 256), 224)
        )


@pytest.mark.parametrize("mirrored", [False, True])
def test_scaled_crop_is_its_reference(mirrored: bool) -> None:
    """Section 3.4's crop: resized to the size drawn, cut out pixel by pixel at the place drawn, mirrored or not."""
    photos = Photos(crop=32, shorter_side=(36, 68))
    original = image(50, 70)
    chance = np.zeros(crops.CHANCES)
    chance[:4] = (
        0.2 if mirrored else 0.7,
        0.5,
        0.25,
        0.999,
    )  # of 33 sizes the 17th, 52: 52 x 72; rows 0-20, columns 0-40
    whole = functional.resize(original, [52], antialias=True)
    expected = torch.zeros(3, 32, 32, dtype=torch.uint8)
    for row in range(32):
        for column in range(32):
            expected[:, row, 31 - column if mirrored else column] = whole[:, 5 + row, 40 + column]

    assert torch.equal(expected, crops.training_crop(original, photos, chance))


def test_every_shorter_side_comes_up() -> None:
    """Each whole number of pixels from 256 to 480 is a shorter side, one as often as another (section 3.4)."""
    sides = np.array([256 + crops.pick(crops.chances(0, 0, number)[1], 225) for number in range(9_000)])
    counts = np.bincount(sides)[256:]
    chi_square = ((counts - 40) ** 2 / 40).sum()

    assert (256, 480) == (sides.min(), sides.max())
    # 224 degrees of freedom: mean 224, standard deviation 21.
    assert 224 - 84 < chi_square < 224 + 84


def test_crops_reach_everything() -> None:
    """Crops come from every place, up to all four borders, mirrored half of the time."""
    column = torch.arange(34, dtype=torch.uint8).expand(34, 34)
    marked = torch.stack([column, column.T, column])  # red is the column, green the row
    photos = Photos(crop=32, shorter_side=(34, 34))
    found = [crops.training_crop(marked, photos, crops.chances(0, 0, number)) for number in range(900)]
    places = np.array([[int(crop[0].min()), int(crop[1].min()), int(crop[0, 0, 0] > crop[0, 0, 1])] for crop in found])
    counts = np.bincount(places @ [6, 2, 1])

    assert (18, True) == (len(counts), counts.min() > 25)


def test_random_resized_crop_is_its_reference() -> None:
    """fb.resnet.torch's crop: a part of the area drawn and the aspect drawn, resized to the crop."""
    photos = Photos(crop=32, shorter_side=(36, 68), cropping="random-resized")
    original = image(60, 80)
    chance = np.zeros(crops.CHANCES)
    chance[0], chance[2], chance[3] = 0.9, 0.5, 0.5
    chance[8:12] = (0.999, 0.0, 0.25, 0.5)  # the first is too high; the second: 31% of the area, square: 39 x 39
    expected = functional.resized_crop(original, 11, 21, 39, 39, [32, 32], antialias=True)

    assert torch.equal(expected, crops.training_crop(original, photos, chance))


def test_random_resized_crop_falls_back_to_the_centre() -> None:
    """Where ten tries do not fit, as in a very long image, the centre is taken."""
    photos = Photos(crop=32, shorter_side=(36, 68), cropping="random-resized")
    original = image(10, 400)
    chance = np.full(crops.CHANCES, 0.999)

    assert torch.equal(
        crops.center_crop(crops.resized(original, 32), 32), crops.training_crop(original, photos, chance)
    )


def test_random_resized_areas_and_aspects() -> None:
    """Parts are of 8% of the area and more, of aspects from 3/4 to 4/3, and lying as often as upright."""
    seen = []
    photos = Photos(crop=32, shorter_side=(36, 68), cropping="random-resized")
    marked = torch.zeros(3, 200, 200, dtype=torch.uint8)
    marked[0], marked[1] = torch.arange(200, dtype=torch.uint8), torch.arange(200, dtype=torch.uint8)[:, None]
    for number in range(500):
        crop = crops.random_resized_crop(marked, photos, crops.chances(0, 0, number)).double()
        width, height = ((crop[channel].max() - crop[channel].min()) * 32 / 31 for channel in (0, 1))
        seen.append((float(width * height) / 40_000, float(width / height)))
    area, aspect = np.array(seen).T

    assert (area.min() > 0.06, area.max() > 0.9) == (True, True)
    assert (aspect.min() > 0.7, aspect.max() < 1.43) == (True, True)
    assert 0.45 < (aspect > 1).mean() < 0.55
    assert pytest.approx(0.5, abs=0.05) == area.mean()


def test_ten_crops_are_their_reference() -> None:
    """AlexNet's ten views, written out: four corners, the centre, and all five mirrored."""
    whole = image(37, 51)
    five = [whole[:, :32, :32], whole[:, :32, 19:], whole[:, 5:, :32], whole[:, 5:, 19:], whole[:, 2:34, 9:41]]
    expected = [*five, *(torch.stack([view[:, :, 31 - x] for x in range(32)], dim=2) for view in five)]

    assert torch.equal(torch.stack(expected), crops.ten_crops(whole, 32))
