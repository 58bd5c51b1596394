from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from paper_tasks import IMAGENET

from resnet_cli.data import crops
from resnet_cli.data.decode import Photographs
from resnet_cli.data.photo_stream import PhotoStream
from resnet_cli.data.stream import epoch_order
from resnet_cli.errors import BadInputError
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.spec import Photos
from resnet_cli.tasks import open_dataset

if TYPE_CHECKING:
    from pathlib import Path

    from resnet_cli.data.photos import PhotoDataset

ITERATIONS = 9


def batches(dataset: PhotoDataset, iterations: list[int], batch_size: int = 8) -> list[list[torch.Tensor]]:
    """The batches of these iterations, asked for in this order."""
    stream = PhotoStream(dataset, 1, batch_size, ITERATIONS)
    try:
        return [list(stream.batch(iteration)) for iteration in iterations]
    finally:
        stream.close()


def equal(first: list[list[torch.Tensor]], second: list[list[torch.Tensor]]) -> bool:
    """Whether batches agree to the bit."""
    return all(torch.equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("cropping", ["scale", "random-resized"])
@pytest.mark.parametrize("workers", [2, 4])
def test_workers_change_nothing(dataset: PhotoDataset, cropping: str, workers: int) -> None:
    """Two or four threads give the batches that none gives, bit for bit."""
    dataset = replace(dataset, photos=dataset.photos.model_copy(update={"cropping": cropping}))
    iterations = list(range(1, ITERATIONS + 1))

    assert equal(batches(dataset, iterations), batches(replace(dataset, workers=workers), iterations))


@pytest.mark.parametrize("workers", [0, 2])
def test_batch_is_a_pure_function(dataset: PhotoDataset, workers: int) -> None:
    """A batch depends on its number only: a run resumed anywhere, or going back, sees what it would have seen."""
    dataset = replace(dataset, workers=workers)
    forward = batches(dataset, list(range(1, ITERATIONS + 1)))

    assert equal(forward[4:], batches(dataset, list(range(5, ITERATIONS + 1))))
    assert equal([forward[i - 1] for i in (9, 1, 4, 4, 3)], batches(dataset, [9, 1, 4, 4, 3]))


@pytest.mark.parametrize("workers", [0, 2])
def test_shares_are_the_batch_of_photographs(dataset: PhotoDataset, workers: int) -> None:
    """The shares of a batch, one after the other, are the batch; a share decodes no other image."""
    dataset = replace(dataset, workers=workers)
    whole = batches(dataset, list(range(1, ITERATIONS + 1)))
    shares = [PhotoStream(dataset, 1, 8, ITERATIONS, (number, 4)) for number in range(4)]
    joined = [
        [torch.cat(each) for each in zip(*(share.batch(iteration) for share in shares), strict=True)]
        for iteration in range(1, ITERATIONS + 1)
    ]
    for share in shares:
        share.close()

    assert {2} == {len(share.images(iteration)) for share in shares for iteration in range(1, ITERATIONS + 1)}
    assert equal(whole, joined)


def test_batch_is_its_reference(dataset: PhotoDataset) -> None:
    """A batch is, image by image: decoded, cropped by its chances, scaled, the mean subtracted, the colour shifted."""
    images, labels = batches(dataset, [3])[0]  # of the first two epochs
    order = [(0, int(image)) for image in epoch_order(1, 0, 20)] + [(1, int(image)) for image in epoch_order(1, 1, 20)]
    mean, found = dataset.statistics.mean, dataset.statistics
    for made, (epoch, number) in zip(images, order[16:24], strict=True):
        chance = crops.chances(1, epoch, number)
        pixels = crops.training_crop(dataset.train.image(number), dataset.photos, chance).numpy() / 255 - mean
        normals = crops.normals(chance)
        shift = sum(0.1 * normals[i] * found.eigenvalues[i] * found.eigenvectors[:, i] for i in range(3))

        np.testing.assert_allclose(made.numpy(), pixels + np.asarray(shift)[:, None, None], atol=1e-6)
    assert [number for _, number in order[16:24]] == labels.tolist()
    assert (torch.float32, (8, 3, 32, 32), torch.int64) == (images.dtype, tuple(images.shape), labels.dtype)


@pytest.mark.parametrize("batch_size", [7, 20, 32])
def test_every_image_once_an_epoch(dataset: PhotoDataset, batch_size: int) -> None:
    """Epochs lie end to end in full batches: each image comes once an epoch, differently cropped in each."""
    stream = PhotoStream(dataset, 1, batch_size, 100)
    seen = [each for iteration in range(1, 41) for each in stream.images(iteration)][:120]

    assert [epoch for epoch in range(6) for _ in range(20)] == [epoch for epoch, _ in seen]
    assert 6 * [list(range(20))] == [sorted(image for _, image in seen[at : at + 20]) for at in range(0, 120, 20)]
    assert 10 * batch_size // 20 == stream.epochs_seen(10)


def test_epochs_and_seeds_differ(dataset: PhotoDataset) -> None:
    """An image is another crop in every epoch and for every seed."""
    one = replace(dataset, train=Photographs(dataset.train.files[:1], dataset.train.labels[:1]))
    found = [tensor for seed in (0, 1) for tensor in PhotoStream(one, seed, 10, 1).batch(1)[0].reshape(10, -1).unbind()]

    assert 20 == len(torch.unique(torch.stack(found), dim=0))


def test_no_colour(dataset: PhotoDataset) -> None:
    """Without colour augmentation the batch is its crops less the mean, exactly."""
    dataset = replace(dataset, photos=dataset.photos.model_copy(update={"colour_std": 0.0}))
    images, _ = batches(dataset, [1])[0]
    levels = (images + dataset.mean) * 255

    torch.testing.assert_close(levels.round(), levels, atol=1e-3, rtol=0)


def test_colour_shift_has_its_size(dataset: PhotoDataset) -> None:
    """Shifts vary along each component by a tenth of its eigenvalue, AlexNet's standard deviation of 0.1."""
    normals = np.stack([crops.normals(crops.chances(3, 0, number)) for number in range(5_000)])
    found = dataset.statistics
    along = dataset.colour_shift(normals).double().numpy() @ found.eigenvectors

    np.testing.assert_allclose(along.std(axis=0), 0.1 * found.eigenvalues, rtol=0.05)


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_photograph(dataset: PhotoDataset, tmp_path: Path, workers: int) -> None:
    """A photograph that cannot be decoded is named when its batch is asked for, and no thread stays."""
    for number, content in enumerate(dataset.train.files):
        assert isinstance(content, bytes)
        (tmp_path / f"{number}.jpg").write_bytes(content if number != 3 else content[: len(content) // 2])
    train = Photographs([f"{number}.jpg" for number in range(20)], dataset.train.labels, tmp_path)
    before = threading.active_count()
    broken = replace(dataset, train=train, workers=workers, constants=((0.5,) * 3, (0.2,) * 3))
    with pytest.raises(BadInputError, match=f"^{tmp_path}/3.jpg: image file is truncated"):
        batches(broken, [1, 2, 3])

    assert before == threading.active_count()


def test_prefetch_ends_with_the_run(dataset: PhotoDataset) -> None:
    """Threads work two batches ahead, and not beyond the run's last; closing stops them."""
    before = threading.active_count()
    stream = PhotoStream(replace(dataset, workers=2), 1, 8, ITERATIONS)
    stream.batch(1)

    assert [2, 3] == sorted(stream._ahead.pending)
    stream.batch(8)
    assert [9] == sorted(stream._ahead.pending)
    stream.batch(9)
    assert [] == sorted(stream._ahead.pending)
    stream.close()
    assert before == threading.active_count()


def test_stream_of_a_run(tmp_path: Path) -> None:
    """A smoke run's stream gives its eight batches of 16 embedded photographs at 32 pixels."""
    run = RunSpec.of(IMAGENET.net("resnet-18"), Variant(dataset="synthetic-photos", tiny=True), IMAGENET.protocol, 0)
    data = open_dataset(run.variant, tmp_path, protocol=run.protocol)
    stream = run.task.stream(data, run)
    images, labels = stream.batch(8)
    stream.close()

    assert ((16, 3, 32, 32), (16,)) == (tuple(images.shape), tuple(labels.shape))
    assert 2 == stream.epochs_seen(8)


def test_real_photographs(sample: Photographs, dataset: PhotoDataset) -> None:
    """Real photographs at the paper's sizes: the same batches by any number of threads, near mean 0."""
    real = replace(dataset, train=sample, photos=Photos(), constants=((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    real = replace(real, photos=real.photos.model_copy(update={"colour_std": 0.0}))
    results = [batches(replace(real, workers=workers), [4], 32) for workers in (0, 2, 4)]

    assert (32, 3, 224, 224) == tuple(results[0][0][0].shape)
    assert abs(float(results[0][0][0].mean())) < 0.3
    assert equal(results[0], results[1])
    assert equal(results[0], results[2])


@pytest.mark.gpu
def test_decoding_on_cuda(sample: Photographs, dataset: PhotoDataset) -> None:
    """Where CUDA decodes, batches differ from the CPU's by the decoders' rounding only; odd files are decoded too."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    device = torch.device("cuda")
    odd = Photographs([*dataset.train.files[:2], *(sample.content(number) for number in range(14))], np.arange(16))
    constants = ((0.0,) * 3, (1 / 255,) * 3)
    here = replace(dataset, train=odd, photos=Photos(colour_std=0), constants=constants)
    there = replace(here, device=device, decode="cuda")
    (ours, labels), (theirs, theirs_labels) = batches(here, [1], 16)[0], batches(there, [1], 16)[0]

    assert torch.equal(labels, theirs_labels.cpu())
    assert (ours - theirs.cpu()).abs().mean() < 2
