from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torchvision.transforms.v2 import functional

from resnet_cli.data import photos
from resnet_cli.data.decode import Photographs
from resnet_cli.identity import Variant
from resnet_cli.spec import Photos
from resnet_cli.tasks import open_dataset

if TYPE_CHECKING:
    from pathlib import Path

    from resnet_cli.data.photos import PhotoDataset


def views_of(dataset: PhotoDataset, views: str) -> dict[int, list[torch.Tensor]]:
    """The inputs of each test image, in the order in which they come."""
    found: dict[int, list[torch.Tensor]] = {}
    for numbers, inputs in dataset.test_views(views):
        assert (len(numbers), torch.int64, torch.float32) == (len(inputs), numbers.dtype, inputs.dtype)
        for number, single in zip(numbers.tolist(), inputs, strict=True):
            found.setdefault(number, []).append(single)
    return found


def reference(dataset: PhotoDataset, number: int, views: str) -> list[torch.Tensor]:
    """Decode, resize, slice, mirror, subtract: one image at a time, nothing shared with what is tested."""
    image, crop = dataset.test.image(number), dataset.photos.crop
    mean = torch.from_numpy(dataset.statistics.mean)
    if views == "dense":
        result = []
        for side in (32, 37, 55, 69, 91):
            whole = functional.resize(image, [side], antialias=True).float() / 255
            own = (
                mean
                if tuple(whole.shape[1:]) == (crop, crop)
                else mean.double().mean(dim=(1, 2))[:, None, None].float()
            )
            result += [whole - own, whole.flip(2) - own]
        return result
    whole = functional.resize(image, [37], antialias=True).float() / 255
    height, width = whole.shape[1:]
    middle = (height - crop) // 2, (width - crop) // 2
    corners = [(0, 0), (0, width - crop), (height - crop, 0), (height - crop, width - crop)]
    at = [middle] if views == "1-crop" else [*corners, middle]
    parts = [whole[:, top : top + crop, left : left + crop] for top, left in at]
    return [part - mean for part in parts + ([part.flip(2) for part in parts] if views == "10-crop" else [])]


def sorted_views(views: list[torch.Tensor]) -> list[torch.Tensor]:
    """Views in an order that depends on their content only."""
    return sorted(views, key=lambda view: (*view.shape, view.flatten().tolist()))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("views", "count"), [("1-crop", 1), ("10-crop", 10), ("dense", 10)])
def test_views_are_their_reference(dataset: PhotoDataset, views: str, count: int, workers: int) -> None:
    """Every view of every test image is the one that a slow, obvious reference makes, and there is no other."""
    found = views_of(replace(dataset, workers=workers), views)

    assert list(range(7)) == sorted(found)
    for number, made in found.items():
        expected = reference(dataset, number, views)
        assert count == len(made) == len(expected)
        for ours, theirs in zip(sorted_views(made), sorted_views(expected), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_real_ten_crops(sample: Photographs, dataset: PhotoDataset) -> None:
    """Ten crops of real photographs at the paper's sizes are the reference's, grey and small ones among them."""
    some = Photographs(sample.files[:24], sample.labels[:24], sample.root)
    constants = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    real = replace(dataset, test=some, photos=Photos(), workers=2, constants=constants)
    found = views_of(real, "10-crop")
    mean, std = (torch.tensor(values)[:, None, None] for values in constants)
    for number in range(0, 24, 5):
        whole = functional.resize(some.image(number), [256], antialias=True).float() / 255
        height, width = whole.shape[1:]
        top, left = height - 224, width - 224
        corners = [(0, 0), (0, left), (top, 0), (top, left), (top // 2, left // 2)]
        parts = [whole[:, y : y + 224, x : x + 224] for y, x in corners]
        expected = [(part - mean) / std for part in [*parts, *(part.flip(2) for part in parts)]]

        torch.testing.assert_close(torch.stack(found[number]), torch.stack(expected))


def test_dense_batches_hold_one_size_and_little(dataset: PhotoDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are tested whole in batches of their size; neither a batch nor what waits for one outgrows its bound."""
    monkeypatch.setattr(photos, "DENSE_BATCH_PIXELS", 2_000)
    monkeypatch.setattr(photos, "DENSE_WAITING_PIXELS", 5_000)
    found: dict[int, int] = {}
    for numbers, inputs in dataset.test_views("dense"):
        assert inputs.shape[2] * inputs.shape[3] * len(inputs) <= max(2 * 2_000, 2 * inputs.shape[2] * inputs.shape[3])
        for number in numbers.tolist():
            found[number] = found.get(number, 0) + 1

    assert dict.fromkeys(range(7), 10) == found


def test_other_sides(dataset: PhotoDataset) -> None:
    """The dense test at sides of one's own has those and no others, whole and mirrored."""
    found = views_of(replace(dataset, sides=(40, 64)), "dense")

    assert [[40, 40, 64, 64]] * 7 == [sorted(min(view.shape[1:]) for view in made) for made in found.values()]


def test_same_sizes_go_together(dataset: PhotoDataset) -> None:
    """Images of one size share their batches: four shapes at five sizes here come in twenty batches."""
    sizes = [tuple(inputs.shape[2:]) for _, inputs in dataset.test_views("dense")]

    assert len(set(sizes)) == len(sizes) == 20


def test_crops_fill_batches(dataset: PhotoDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Crops come in batches of whole images, in the images' order."""
    monkeypatch.setattr(photos, "TEST_BATCH", 25)
    numbers = [part.tolist() for part, _ in dataset.test_views("10-crop")]

    assert [30, 30, 10] == [len(part) for part in numbers]
    assert [number for number in range(7) for _ in range(10)] == [number for part in numbers for number in part]


@pytest.mark.parametrize("views", ["1-crop", "10-crop"])
def test_shares_of_a_test(views: str, dataset: PhotoDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two shares have the batches of the whole, turn by turn, and nothing else is decoded for them."""
    monkeypatch.setattr(photos, "TEST_BATCH", 2 if views == "1-crop" else 20)
    whole, *shares = [list(dataset.test_views(views, share)) for share in ((0, 1), (0, 2), (1, 2))]

    assert [4, 2, 2] == [len(whole), *map(len, shares)]
    for number, (numbers, inputs) in enumerate(whole):
        assert torch.equal(numbers, shares[number % 2][number // 2][0])
        assert torch.equal(inputs, shares[number % 2][number // 2][1])


def test_channel_mean(dataset: PhotoDataset) -> None:
    """With the mean per channel, every pixel has the same subtracted: the average of the mean image."""
    per_channel = replace(dataset, photos=dataset.photos.model_copy(update={"mean": "channel"}))
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    expected = images.float() / 255 - dataset.mean.double().mean(dim=(1, 2))[:, None, None].float()

    torch.testing.assert_close(per_channel.normalize(images), expected, atol=1e-6, rtol=0)
    assert not torch.allclose(dataset.normalize(images), expected, atol=1e-3)


def test_constants_need_no_pass(dataset: PhotoDataset) -> None:
    """Foreign weights' constants stand in for the training mean, which then need not be known."""
    unreadable = Photographs([b""] * 20, dataset.train.labels)
    foreign = replace(dataset, train=unreadable, constants=((0.5, 0.4, 0.3), (0.2, 0.25, 0.3)))
    ((numbers, inputs),) = foreign.test_views("1-crop")
    whole = functional.resize(dataset.test.image(0), [37], antialias=True)
    top, left = (whole.shape[1] - 32) // 2, (whole.shape[2] - 32) // 2
    pixels = whole[:, top : top + 32, left : left + 32].float() / 255
    expected = torch.stack([(pixels[c] - (0.5, 0.4, 0.3)[c]) / (0.2, 0.25, 0.3)[c] for c in range(3)])

    assert list(range(7)) == numbers.tolist()
    torch.testing.assert_close(inputs[0], expected)


def test_to(dataset: PhotoDataset) -> None:
    """A dataset that goes to a device has its labels, mean and inputs there."""
    there = dataset.to(torch.device("meta"))

    assert torch.device("meta") == there.device == there.test_labels.device == there.train_labels.device
    assert torch.device("meta") == there.mean.device
    assert torch.equal(torch.arange(7), dataset.test_labels)


@pytest.mark.parametrize(("tiny", "train", "test", "crop"), [(True, 64, 16, 32), (False, 2_000, 200, 224)])
def test_embedded_photographs(tmp_path: Path, tiny: bool, train: int, test: int, crop: int) -> None:
    """The embedded photographs are a dataset like any other, small for a smoke run; nothing is written."""
    data = open_dataset(Variant(dataset="synthetic-photos", tiny=tiny), tmp_path)

    assert isinstance(data, photos.PhotoDataset)
    assert (train, test, crop) == (len(data.train_labels), len(data.test_labels), data.photos.crop)
    assert (10, "synthetic-photos") == (len(data.classes), data.name)
    if tiny:
        assert (3, 32, 32) == tuple(data.mean.shape)
    assert [] == list(tmp_path.iterdir())
