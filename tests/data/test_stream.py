from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
import torch

from resnet_cli.data.dataset import Dataset
from resnet_cli.data.stream import EpochPlan, TrainStream, crop_and_mirror, epoch_plan

IMAGES = 50


def dataset(images: int = IMAGES, *, constant: bool = False) -> Dataset:
    """Random images, each labelled with its own number, or copies of one random image."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1 if constant else images, 3, 32, 32), dtype=torch.uint8, generator=generator)
    pixels = pixels.expand(images, -1, -1, -1).contiguous()
    numbers = torch.arange(images)
    return Dataset("own", "", (), pixels, numbers, pixels[:2], numbers[:2])


def columns(plan: EpochPlan) -> list[list[int]]:
    """A plan's arrays as lists."""
    return [plan.image.tolist(), plan.dy.tolist(), plan.dx.tolist(), plan.flip.tolist()]


def test_known_plan() -> None:
    """The plan of an epoch never changes: a run resumed by a later version sees the same images."""
    assert columns(epoch_plan(seed=0, epoch=0, images=10)) == [
        [0, 2, 9, 1, 8, 5, 4, 3, 6, 7],
        [7, 1, 3, 3, 2, 6, 6, 2, 8, 4],
        [8, 6, 6, 4, 2, 3, 6, 1, 3, 3],
        [True, False, False, True, True, True, False, True, True, False],
    ]


@pytest.mark.parametrize("batch_size", [7, 16, 50, 128])
def test_every_image_once_an_epoch(batch_size: int) -> None:
    """Epochs lie end to end in full batches: each image comes once an epoch, though batches reach across epochs."""
    stream = TrainStream(dataset(), seed=1, batch_size=batch_size)
    epochs = 8
    iterations = -(-epochs * IMAGES // batch_size)
    plans = [stream.plan(iteration) for iteration in range(1, iterations + 1)]
    seen = np.concatenate([plan.image for plan in plans])[: epochs * IMAGES]

    assert {batch_size} == {len(plan.image) for plan in plans}
    assert epochs * [list(range(IMAGES))] == np.sort(seen.reshape(epochs, IMAGES)).tolist()


@pytest.mark.parametrize("shares", [2, 4, 16])
def test_shares_are_the_batch(shares: int) -> None:
    """The shares of a batch, one after the other, are the batch, also where it reaches into the next epoch.

    So each image comes once an epoch over all of them.
    """
    whole = TrainStream(dataset(), seed=1, batch_size=16)
    parts = [TrainStream(dataset(), 1, 16, (number, shares)) for number in range(shares)]
    for iteration in range(1, 26):
        cut = [columns(part.plan(iteration)) for part in parts]
        images, labels = (torch.cat(each) for each in zip(*(part.batch(iteration) for part in parts), strict=True))

        assert columns(whole.plan(iteration)) == [[*chain(*(part[column] for part in cut))] for column in range(4)]
        assert torch.equal(whole.batch(iteration)[0], images)
        assert torch.equal(whole.batch(iteration)[1], labels)
        assert [whole.epochs_seen(iteration)] * shares == [part.epochs_seen(iteration) for part in parts]


def test_batches_are_epochs_cut_up() -> None:
    """The batches of a stream, laid end to end, are its epochs' plans, laid end to end."""
    stream = TrainStream(dataset(), seed=1, batch_size=16)
    batches = [columns(stream.plan(iteration)) for iteration in range(1, 26)]
    epochs = [columns(epoch_plan(1, epoch, IMAGES)) for epoch in range(8)]

    for column in range(4):
        assert [*chain(*(epoch[column] for epoch in epochs))] == [*chain(*(batch[column] for batch in batches))]


def test_epochs_differ() -> None:
    """Each epoch and each seed has an order, crops and mirrorings of its own."""
    plans = [columns(epoch_plan(seed, epoch, IMAGES)) for seed in range(3) for epoch in range(3)]

    for column in range(4):
        assert 9 == len({tuple(plan[column]) for plan in plans})


def test_batch_is_a_pure_function() -> None:
    """A batch depends on its number only: not on the batches asked for before, nor on the object that gives it."""
    data = dataset()
    stream = TrainStream(data, seed=1, batch_size=16)
    forward = {iteration: stream.batch(iteration) for iteration in range(1, 26)}
    for iteration in (25, 1, 13, 4, 4):
        for other in (stream, TrainStream(data, seed=1, batch_size=16)):
            images, labels = other.batch(iteration)

            assert torch.equal(forward[iteration][0], images)
            assert torch.equal(forward[iteration][1], labels)


def test_on_cuda_a_plan_is_copied_without_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes up from pinned memory, once an epoch, and is the same plan; rehearsed without a device."""
    asked: list[tuple[str, bool]] = []

    def pinned(rows: torch.Tensor) -> torch.Tensor:
        asked.append(("pinned", True))
        return rows

    def to(rows: torch.Tensor, device: torch.device, *, non_blocking: bool = False) -> torch.Tensor:
        asked.append((device.type, non_blocking))
        return rows

    stream = TrainStream(dataset(), seed=1, batch_size=16)
    expected = [stream.inputs(iteration)[0] for iteration in range(1, 7)]
    monkeypatch.setattr(torch.Tensor, "pin_memory", pinned)
    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(Dataset, "device", torch.device("cuda"))
    stream = TrainStream(dataset(), seed=1, batch_size=16)

    assert all(torch.equal(rows, stream.inputs(iteration)[0]) for iteration, rows in enumerate(expected, 1))
    assert 2 * [("pinned", True), ("cuda", True)] == asked


def test_seeds_differ() -> None:
    """Another seed gives other batches."""
    first, second = (TrainStream(dataset(), seed, batch_size=16).batch(1) for seed in (0, 1))

    assert not torch.equal(first[1], second[1])


def test_batch_is_what_the_plan_says() -> None:
    """A batch holds the planned images, mean subtracted, cropped and mirrored as planned, with their labels."""
    data = dataset()
    stream = TrainStream(data, seed=1, batch_size=16)
    plan = stream.plan(4)  # of the first two epochs
    images, labels = stream.batch(4)
    expected = cropped_one_by_one(data.normalize(data.train_images[plan.image]), plan)

    assert plan.image.tolist() == labels.tolist()
    assert (torch.float32, torch.int64) == (images.dtype, labels.dtype)
    assert torch.equal(expected, images)


def test_epochs_seen() -> None:
    """An epoch is over when its last image is in a batch; 64,000 updates of 128 end in the 164th (163.84)."""
    stream = TrainStream(dataset(), seed=0, batch_size=16)

    assert [0, 0, 0, 1, 1, 1, 2] == [stream.epochs_seen(iteration) for iteration in range(1, 8)]

    few_pixels = torch.zeros(50_000, 1, 1, 1, dtype=torch.uint8)
    labels = torch.zeros(50_000, dtype=torch.int64)
    paper = TrainStream(Dataset("own", "", (), few_pixels, labels, few_pixels, labels), seed=0, batch_size=128)

    assert 163 == paper.epochs_seen(64_000)


def test_crops_and_mirrors_are_uniform() -> None:
    """Every offset from 0 to 8, in each direction, is as likely as any other; half of the images are mirrored."""
    count = 50_000
    plan = epoch_plan(seed=7, epoch=0, images=count)
    together = np.bincount((plan.dy * 9 + plan.dx) * 2 + plan.flip, minlength=162)
    chi_square = ((together - count / 162) ** 2 / (count / 162)).sum()

    assert (0, 8, 0, 8) == (plan.dy.min(), plan.dy.max(), plan.dx.min(), plan.dx.max())
    assert 162 == len(together)
    # 161 degrees of freedom: mean 161, standard deviation 18.
    assert 161 - 72 < chi_square < 161 + 72
    assert pytest.approx(0.5, abs=0.01) == plan.flip.mean()


def test_order_is_shuffled() -> None:
    """An epoch's order owes nothing to the source's: positions and images do not correlate."""
    plan = epoch_plan(seed=7, epoch=0, images=50_000)

    assert pytest.approx(0, abs=0.02) == np.corrcoef(np.arange(50_000), plan.image)[0, 1]


def cropped_one_by_one(images: torch.Tensor, plan: EpochPlan) -> torch.Tensor:
    """The augmentation, pixel by pixel of the padded image: the reference."""
    result = []
    for image, dy, dx, flip in zip(images, plan.dy, plan.dx, plan.flip, strict=True):
        height, width = image.shape[1:]
        padded = torch.zeros(3, height + 8, width + 8)
        padded[:, 4 : height + 4, 4 : width + 4] = image
        crop = padded[:, dy : dy + height, dx : dx + width]
        result.append(torch.stack([crop[:, :, width - 1 - x] for x in range(width)], dim=2) if flip else crop)
    return torch.stack(result)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (6, 10)])
def test_crop_and_mirror_is_its_reference(height: int, width: int) -> None:
    """Padding, cropping and mirroring a batch at once equals doing so image by image, at every offset."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((162, 3, height, width), generator=generator)
    dy, dx, flip = (part.ravel() for part in np.mgrid[0:9, 0:9, 0:2])
    plan = EpochPlan(np.arange(162), dy, dx, flip.astype(bool))
    actual = crop_and_mirror(images, *(torch.from_numpy(column) for column in (plan.dy, plan.dx, plan.flip)))

    assert torch.equal(cropped_one_by_one(images, plan), actual)
    assert actual.is_contiguous(memory_format=torch.channels_last)


def test_offset_4_is_the_image_itself() -> None:
    """The crop in the middle is the image; offset 0 shows the padding at the top and at the left, 8 at the others."""
    image = torch.ones(1, 3, 32, 32)
    still, corner, opposite = (
        crop_and_mirror(image, torch.tensor([at]), torch.tensor([at]), torch.tensor([False])) for at in (4, 0, 8)
    )

    assert torch.equal(image, still)
    assert (0, 0, 28 * 28 * 3) == (corner[..., :4, :].sum(), corner[..., :4].sum(), corner.sum())
    assert (0, 0, 28 * 28 * 3) == (opposite[..., 28:, :].sum(), opposite[..., 28:].sum(), opposite.sum())


def test_padding_is_the_mean() -> None:
    """Images that equal the mean are exactly zero, padding included: the padding is the mean, not black."""
    images, _ = TrainStream(dataset(constant=True), seed=0, batch_size=IMAGES).batch(1)

    assert torch.equal(torch.zeros(IMAGES, 3, 32, 32), images)
