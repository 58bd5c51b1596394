"""Mean image and colour statistics of the training photographs, in one pass that may be stopped and resumed.

Sums of whole numbers, exact in any order: neither the number of threads nor a stop in between changes a bit.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import filelock
import numpy as np

from resnet_cli.data.crops import center_crop, resized
from resnet_cli.data.decode import in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from resnet_cli.data.decode import Photographs
    from resnet_cli.spec import Photos

SAVE_SECONDS = 30.0
REPORT_SECONDS = 10.0


@dataclass(frozen=True)
class Statistics:
    """What is subtracted and added to pixels on the scale 0 to 1.

    Attributes:
        mean: Per pixel, (3, crop, crop) float32.
        eigenvalues: Of the covariance of the pixels' colours, (3,) float64, the greatest first.
        eigenvectors: Each a column, (3, 3) float64; its greatest part is positive.
    """

    mean: np.ndarray
    eigenvalues: np.ndarray
    eigenvectors: np.ndarray


@dataclass
class Sums:
    """Sums over the first `images` photographs' centre crops: of pixels (3, crop, crop), of products of colours (3, 3).

    All int64, which the greatest sum of the paper's 1.28 million photographs fills to a two-thousandth.
    """

    images: int
    pixels: np.ndarray
    products: np.ndarray

    @classmethod
    def nothing(cls, crop: int) -> Sums:
        """Before the first photograph."""
        return cls(0, np.zeros((3, crop, crop), np.int64), np.zeros((3, 3), np.int64))

    def add(self, pixels: np.ndarray, products: np.ndarray) -> None:
        """Takes in the next photograph."""
        self.images += 1
        self.pixels += pixels
        self.products += products

    @property
    def sha256(self) -> str:
        """Over all that it holds."""
        content = str(self.images).encode() + self.pixels.tobytes() + self.products.tobytes()
        return hashlib.sha256(content).hexdigest()

    def statistics(self) -> Statistics:
        """Mean, and principal components of the colours."""
        count = self.images * self.pixels[0].size
        colours = self.pixels.sum(axis=(1, 2))
        # n * sum(xy) - sum(x) * sum(y) outgrows 64 bits; Python's whole numbers do not.
        numerator = count * self.products.astype(object) - np.outer(colours.astype(object), colours.astype(object))
        covariance = (numerator / (255 * count) ** 2).astype(np.float64)
        values, vectors = np.linalg.eigh(covariance)
        values, vectors = values[::-1], vectors[:, ::-1]
        greatest = vectors[np.abs(vectors).argmax(axis=0), range(3)]
        mean = (self.pixels / (255 * self.images)).astype(np.float32)
        return Statistics(mean, values.clip(min=0), vectors * np.where(greatest < 0, -1, 1))


def summarize(
    photographs: Photographs,
    photos: Photos,
    path: Path | None,
    workers: int,
    report: Callable[[str], None],
    *,
    save_seconds: float = SAVE_SECONDS,
    report_seconds: float = REPORT_SECONDS,
) -> Statistics:
    """The statistics of the training set at 1-crop testing's size; continues from the sums in `path`, if there are any.

    Args:
        photographs: The training set.
        photos: Sizes.
        path: Where the sums are kept; None keeps none.
        workers: Threads.
        report: Called with lines about the progress. If it raises, the sums so far are saved first.
        save_seconds: Time between saves.
        report_seconds: Time between reports.

    Raises:
        BadInputError: A photograph cannot be decoded.
    """
    sums = _Kept(path, photos.crop, lambda _text: None).read(len(photographs))
    if sums.images == len(photographs):  # nothing to write, so it may lie where nothing can be written
        return sums.statistics()
    kept = _Kept(path, photos.crop, report)
    with kept.alone(report_seconds):
        sums = kept.read(len(photographs))
        if sums.images < len(photographs):
            try:
                _add_the_rest(sums, photographs, photos, workers, report, kept, save_seconds, report_seconds)
            finally:
                kept.write(sums)
    return sums.statistics()


def _add_the_rest(
    sums: Sums,
    photographs: Photographs,
    photos: Photos,
    workers: int,
    report: Callable[[str], None],
    kept: _Kept,
    save_seconds: float,
    report_seconds: float,
) -> None:
    def look(number: int) -> tuple[np.ndarray, np.ndarray]:
        crop = center_crop(resized(photographs.image(number), photos.test_side), photos.crop)
        colours = crop.flatten(1).double()  # products and their sums stay below 2^53: exact
        return crop.numpy(), (colours @ colours.T).numpy().astype(np.int64)

    began = saved = told = time.monotonic()
    first, count = sums.images, len(photographs)
    with contextlib.closing(in_order(look, range(first, count), workers)) as results:
        for pixels, products in results:
            sums.add(pixels, products)
            now = time.monotonic()
            if now - saved >= save_seconds:
                kept.write(sums)
                saved = now
            if now - told >= report_seconds:
                rate = (sums.images - first) / (now - began)
                minutes = (count - sums.images) / rate / 60
                report(
                    f"mean of the training images: {sums.images:,} of {count:,}, {rate:.0f}/s, {minutes:.0f} min left"
                )
                told = now


class _Kept:
    """The file of the sums. If it cannot be written, this is reported once and nothing is saved."""

    def __init__(self, path: Path | None, crop: int, report: Callable[[str], None]) -> None:
        self.path = path
        self.crop = crop
        self.report = report
        if path is not None:
            with self._or_without():
                path.parent.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def alone(self, report_seconds: float) -> Iterator[None]:
        """Waits while another process makes the pass; its result serves both."""
        with contextlib.ExitStack() as stack:
            while self.path is not None:
                lock = filelock.FileLock(self.path.with_suffix(".lock"), timeout=report_seconds)
                try:
                    with self._or_without():
                        stack.enter_context(lock)
                    break
                except filelock.Timeout:
                    self.report(f"{self.path}: waiting for another process, which is computing it")
            yield

    def read(self, count: int) -> Sums:
        """The sums so far; none if there is no file or it is damaged."""
        if self.path is None or not self.path.exists():
            return Sums.nothing(self.crop)
        try:
            with np.load(io.BytesIO(self.path.read_bytes())) as arrays:
                sums = Sums(int(arrays["images"]), arrays["pixels"], arrays["products"])
                whole = str(arrays["sha256"]) == sums.sha256
            if whole and sums.images <= count and sums.pixels.shape == (3, self.crop, self.crop):
                return sums
        except Exception as error:  # noqa: BLE001  a damaged archive raises nearly anything
            reason = f"damaged ({error})"
        else:
            reason = "damaged, or of another set"
        self.report(f"{self.path}: {reason}; the mean of the training images is computed again")
        return Sums.nothing(self.crop)

    def write(self, sums: Sums) -> None:
        """Replaces the file; at every moment its name holds the whole old or the whole new content."""
        if self.path is None:
            return
        content = io.BytesIO()
        np.savez(content, images=sums.images, pixels=sums.pixels, products=sums.products, sha256=sums.sha256)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        with self._or_without():
            try:
                with temporary.open("wb") as stream:
                    stream.write(content.getvalue())
                    stream.flush()
                    os.fsync(stream.fileno())
                temporary.replace(self.path)
            finally:
                temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _or_without(self) -> Iterator[None]:
        try:
            yield
        except filelock.Timeout:
            raise
        except OSError as error:
            self.report(f"{self.path}: {error.strerror or error}; the mean of the training images is not saved")
            self.path = None
