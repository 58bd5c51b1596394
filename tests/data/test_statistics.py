from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import filelock
import numpy as np
import pytest
from torchvision.transforms.v2 import functional

from resnet_cli.data import statistics
from resnet_cli.data.decode import Photographs
from resnet_cli.errors import BadInputError
from resnet_cli.spec import Photos

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

    from resnet_cli.data.photos import PhotoDataset
    from resnet_cli.data.statistics import Statistics


def silent(_text: str) -> None:
    """Shows no progress."""


def summarize(
    dataset: PhotoDataset, path: Path | None, report: Callable[[str], None] = silent, **options: float
) -> Statistics:
    """The statistics of a dataset, kept at `path`."""
    return statistics.summarize(dataset.train, dataset.photos, path, dataset.workers, report, **options)


def center_crops(photographs: Photographs, photos: Photos) -> np.ndarray:
    """The centre crops of all photographs, (N, 3, crop, crop), on the scale 0 to 1."""
    crop = photos.crop
    result = []
    for number in range(len(photographs)):
        whole = functional.resize(photographs.image(number), [photos.test_side], antialias=True)
        top, left = (whole.shape[1] - crop) // 2, (whole.shape[2] - crop) // 2
        result.append(whole[:, top : top + crop, left : left + crop].numpy() / 255)
    return np.stack(result)


def same(first: Statistics, second: Statistics) -> bool:
    """Whether every bit is the same."""
    return all(
        np.array_equal(getattr(first, name), getattr(second, name)) for name in ("mean", "eigenvalues", "eigenvectors")
    )


def test_mean_is_its_reference(dataset: PhotoDataset) -> None:
    """The mean is that of a plain loop over the centre crops, in floats, per pixel."""
    total = np.zeros((3, 32, 32))
    for crop in center_crops(dataset.train, dataset.photos):
        total += crop
    found = summarize(dataset, None)

    assert (np.float32, (3, 32, 32)) == (found.mean.dtype, found.mean.shape)
    np.testing.assert_allclose(found.mean, total / 20, rtol=1e-6)


def test_colours_are_numpys_components(dataset: PhotoDataset) -> None:
    """The colours' components are those of NumPy's covariance of all pixels, the strongest first, signs settled."""
    colours = center_crops(dataset.train, dataset.photos).transpose(1, 0, 2, 3).reshape(3, -1)
    covariance = np.cov(colours, bias=True)
    found = summarize(dataset, None)

    np.testing.assert_allclose(found.eigenvectors @ np.diag(found.eigenvalues) @ found.eigenvectors.T, covariance)
    np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh(covariance)[::-1])
    np.testing.assert_allclose(found.eigenvectors.T @ found.eigenvectors, np.eye(3), atol=1e-12)
    assert (found.eigenvectors[np.abs(found.eigenvectors).argmax(axis=0), range(3)] > 0).all()


def test_real_colours(sample: Photographs) -> None:
    """Over real photographs the strongest component is brightness, about as strong as it is known to be of ImageNet."""
    some = Photographs(sample.files[::3], sample.labels[::3], sample.root)
    found = statistics.summarize(some, Photos(), None, 2, silent)

    np.testing.assert_allclose(found.eigenvectors[:, 0], 3**-0.5, atol=0.06)
    np.testing.assert_allclose(found.eigenvalues, (0.2175, 0.0188, 0.0045), rtol=0.5)
    np.testing.assert_allclose(found.mean.mean(axis=(1, 2)), (0.485, 0.456, 0.406), atol=0.06)


@pytest.mark.parametrize("at", [1, 7, 19])
def test_interrupted_pass_goes_on(dataset: PhotoDataset, tmp_path: Path, at: int) -> None:
    """A pass that is stopped goes on where it was, reads no photograph twice, and ends with the same bits."""
    path = tmp_path / "statistics" / "own.npz"
    read: list[int] = []

    class Watched(Photographs):
        def image(self, number: int) -> torch.Tensor:
            read.append(number)
            return super().image(number)

    watched = Watched(dataset.train.files, dataset.train.labels)

    class StopError(Exception):
        """Ends the pass."""

    def stop(_text: str) -> None:
        if len(read) == at:
            raise StopError

    options = {"save_seconds": 1e9, "report_seconds": 0}
    with pytest.raises(StopError):
        statistics.summarize(watched, dataset.photos, path, 0, stop, **options)
    resumed = statistics.summarize(watched, dataset.photos, path, 0, silent, **options)

    assert list(range(20)) == read
    assert same(summarize(dataset, None), resumed)


def test_killed_pass_goes_on(dataset: PhotoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was saved on the way is there after a kill, which leaves no time to save."""
    path = tmp_path / "own.npz"
    saved: list[bytes] = []
    write = statistics._Kept.write

    def noted(kept: statistics._Kept, sums: statistics.Sums) -> None:
        write(kept, sums)
        saved.append(path.read_bytes())

    monkeypatch.setattr(statistics._Kept, "write", noted)
    whole = summarize(dataset, path, save_seconds=0)
    for content in saved[::6]:
        path.write_bytes(content)

        assert same(whole, summarize(dataset, path))
    assert 21 <= len(saved)


def test_kept_statistics_are_read_again(dataset: PhotoDataset, tmp_path: Path) -> None:
    """A pass that was made is not made again: no photograph is looked at."""
    path = tmp_path / "own.npz"
    first = summarize(dataset, path)
    unreadable = Photographs([b""] * 20, dataset.train.labels)

    assert same(first, statistics.summarize(unreadable, dataset.photos, path, 2, silent))
    assert [] == list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize("damage", ["cut", "empty", "other crop", "too many"])
def test_damaged_statistics(dataset: PhotoDataset, tmp_path: Path, damage: str) -> None:
    """A file that is damaged, or not of this set, is said to be, and made again."""
    path = tmp_path / "own.npz"
    first = summarize(dataset, path)
    content = path.read_bytes()
    path.write_bytes({"cut": content[:1_000], "empty": b""}.get(damage, content))
    if damage == "other crop":
        statistics._Kept(path, 16, silent).write(statistics.Sums.nothing(16))
    if damage == "too many":
        sums = statistics.Sums.nothing(32)
        sums.images = 21
        statistics._Kept(path, 32, silent).write(sums)
    said: list[str] = []
    again = summarize(dataset, path, said.append)

    assert 1 == len(said)
    assert said[0].startswith(f"{path}: damaged")
    assert said[0].endswith("; the mean of the training images is computed again")
    assert same(first, again)
    assert same(first, summarize(dataset, path, pytest.fail))


def test_wrong_bits(dataset: PhotoDataset, tmp_path: Path) -> None:
    """Whichever bit of the file is wrong, the sums that are read are the right ones or none."""
    path = tmp_path / "own.npz"
    kept = statistics._Kept(path, 32, silent)
    summarize(dataset, path)
    right, content = kept.read(20), path.read_bytes()
    found = []
    for at in [*range(0, 400, 3), *range(400, len(content) - 600, 2_003), *range(len(content) - 600, len(content), 5)]:
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        found.append(kept.read(20))

    assert {0, 20} == {sums.images for sums in found}
    assert {right.sha256, statistics.Sums.nothing(32).sha256} == {sums.sha256 for sums in found}


def test_workers_change_nothing(dataset: PhotoDataset) -> None:
    """Threads change no bit of the statistics."""
    results = [statistics.summarize(dataset.train, dataset.photos, None, workers, silent) for workers in (0, 2, 4)]

    assert same(results[0], results[1])
    assert same(results[0], results[2])


def test_known_statistics_are_not_made_again(dataset: PhotoDataset) -> None:
    """What another process has made of the training set is taken as it is, though the images could not be read."""
    found = summarize(dataset, None)
    unreadable = replace(dataset, train=Photographs([b""] * 20, dataset.train.labels), known_statistics=found)

    assert found is unreadable.statistics


def test_folder_that_cannot_be_written(dataset: PhotoDataset, tmp_path: Path) -> None:
    """Where nothing can be kept, this is said once and the statistics are made all the same."""
    (tmp_path / "statistics").write_bytes(b"in the way")
    said: list[str] = []
    found = summarize(dataset, tmp_path / "statistics" / "own.npz", said.append)

    assert same(summarize(dataset, None), found)
    assert [f"{tmp_path}/statistics/own.npz: File exists; the mean of the training images is not saved"] == said


def test_progress(dataset: PhotoDataset) -> None:
    """A long pass says how far it is, how fast, and how long it will take."""
    said: list[str] = []
    summarize(dataset, None, said.append, report_seconds=0)

    assert 20 == len(said)
    assert said[4].startswith("mean of the training images: 5 of 20, ")
    assert said[4].endswith("/s, 0 min left")


def test_damaged_photograph(dataset: PhotoDataset, tmp_path: Path) -> None:
    """A photograph that cannot be decoded ends the pass; what was summed before it is kept."""
    files = [*dataset.train.files[:5], b"damaged", *dataset.train.files[6:]]
    path = tmp_path / "own.npz"
    with pytest.raises(BadInputError, match="photograph 5: not an image"):
        statistics.summarize(Photographs(files, dataset.train.labels), dataset.photos, path, 2, silent)

    assert same(summarize(dataset, None), summarize(dataset, path))
    with np.load(path) as arrays:
        assert 20 == arrays["images"]


def test_two_processes_make_one_pass(dataset: PhotoDataset, tmp_path: Path) -> None:
    """While another process makes the pass, one waits and says so; it then takes the result."""
    path, made = tmp_path / "own.npz", tmp_path / "made.npz"
    first = summarize(dataset, made)
    lock = filelock.FileLock(path.with_suffix(".lock"))
    lock.acquire()
    said: list[str] = []

    def other_is_done(text: str) -> None:
        said.append(text)
        made.rename(path)
        lock.release()

    second = summarize(dataset, path, other_is_done, report_seconds=0.05)

    assert [f"{path}: waiting for another process, which is computing it"] == said
    assert same(first, second)


def test_sums_do_not_overflow() -> None:
    """Sums as great as ImageNet's, of white pixels, still give a mean of 1 and no colours."""
    images, pixels = 1_281_167, 224 * 224
    sums = statistics.Sums(
        images,
        np.full((3, 224, 224), 255 * images, np.int64),
        np.full((3, 3), 255 * 255 * images * pixels, np.int64),
    )
    found = sums.statistics()

    assert (1.0, 1.0) == (found.mean.min(), found.mean.max())
    assert [0.0, 0.0, 0.0] == found.eigenvalues.tolist()


def test_kept_statistics_need_no_writing(
    dataset: PhotoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a data folder that cannot be written, as a shared one may be, a finished pass is used as it is."""
    path = tmp_path / "kept.npz"
    first = summarize(dataset, path)

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(statistics.filelock, "FileLock", never)

    assert same(first, summarize(dataset, path))
