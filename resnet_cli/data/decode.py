"""Encoded photographs, their decoding, and the threads that do it."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from resnet_cli.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from concurrent.futures import Future

    from torch import Tensor


NARROWEST = 100  # times as long as it is wide; ResNet's inputs are square
ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}  # of whole files
PILLOW = re.compile(r"PIL\.")
Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 16  # results that wait for whoever asked for them, besides those in work
BATCHES_AHEAD = 2  # besides the one that is asked for


@dataclass(frozen=True)
class Photographs:
    """Encoded photographs with their labels.

    Attributes:
        files: Names relative to `root`, or the encoded photographs themselves.
        labels: (N,) int64.
        root: The folder that the names are in.
    """

    files: Sequence[str | bytes]
    labels: np.ndarray
    root: Path = Path()

    def __len__(self) -> int:
        return len(self.files)

    def name(self, number: int) -> str:
        """A photograph's name for messages; bytes that are not UTF-8, which no status can hold, are escaped."""
        file = self.files[number]
        if isinstance(file, bytes):
            return f"photograph {number}"
        return os.fsencode(self.root / file).decode(errors="backslashreplace")

    def content(self, number: int) -> bytes:
        """A photograph as it is encoded.

        Raises:
            BadInputError: The file cannot be read.
        """
        file = self.files[number]
        if isinstance(file, bytes):
            return file
        try:
            return (self.root / file).read_bytes()
        except OSError as error:
            raise BadInputError(f"{self.name(number)}: {error.strerror}; it was there when the run began") from error

    def image(self, number: int) -> Tensor:
        """A photograph's pixels, (3, H, W) uint8.

        Raises:
            BadInputError: It cannot be read or decoded.
        """
        try:
            return decode(self.content(number))
        except ValueError as error:
            raise BadInputError(
                f"{self.name(number)}: {error}; get the file again: a folder without it is another dataset, on which "
                "every run starts from the beginning"
            ) from error


def decode(content: bytes, *, upright: bool = False) -> Tensor:
    """Pixels of an encoded image, (3, H, W) uint8 RGB, channels last in memory.

    By Pillow, whose pixels are those of torchvision's decoder, and which lets other threads run meanwhile. The content
    decides the format, not the file's name. Grey and CMYK become RGB, transparency is dropped, 16 bits become 8, and a
    camera's orientation mark is ignored, as Caffe did, unless the image is to be upright.

    Raises:
        ValueError: It is cut short, or not an image, or so narrow that it would fill the memory once it is resized.
    """
    _hush()
    try:
        with Image.open(io.BytesIO(content)) as image:
            _check_shape(*image.size)
            image.load()
            if upright:
                ImageOps.exif_transpose(image, in_place=True)
            if image.mode.startswith("I"):
                pixels = (np.array(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)[..., None].repeat(3, 2)
            else:
                opaque = image.convert("RGBA") if "transparency" in image.info else image
                pixels = np.array(opaque.convert("RGB"))
    except UnidentifiedImageError as error:
        raise ValueError(_no_image(content)) from error
    except MemoryError:  # not the image's fault
        raise
    except Exception as error:  # a damaged image can raise nearly anything
        raise ValueError(str(error) or type(error).__name__) from error
    return torch.from_numpy(pixels).permute(2, 0, 1)


def seems_whole(path: Path) -> bool:
    """Whether an image's header can be read, and its file ends as its format's do; of other formats, never.

    Raises:
        OSError: The file cannot be read.
    """
    _hush()
    with path.open("rb") as stream:
        try:
            with Image.open(stream) as image:
                _check_shape(*image.size)
                end = ENDS.get(image.format or "")
        except Exception:  # noqa: BLE001  a damaged image can raise nearly anything
            return False
        stream.seek(0, os.SEEK_END)
        stream.seek(-min(stream.tell(), 16), os.SEEK_END)
        return end is not None and stream.read().endswith(end)


def _hush() -> None:
    """Silences Pillow's warnings, about damaged Exif data, say: they name a line of Pillow's code, not the photograph.

    This is done in every call, since warning filters belong to the process and others replace them.
    """
    if not any(action == "ignore" and module == PILLOW for action, _, _, module, _ in warnings.filters):
        warnings.filterwarnings("ignore", module=PILLOW.pattern)


def _no_image(content: bytes) -> str:
    """What a file that cannot be decoded as an image is."""
    if not content:
        return "is empty"
    if content.lstrip()[:1] == b"<":
        return "a web page, not an image"
    return "not an image, or of an unknown format"


def _check_shape(width: int, height: int) -> None:
    if max(width, height) > NARROWEST * min(width, height):
        raise ValueError(f"{width}x{height} pixels: too narrow for a photograph")


def decode_on_cuda(
    photographs: Photographs, numbers: list[int], contents: list[Tensor], device: torch.device
) -> list[Tensor]:
    """Pixels of many photographs by nvJPEG, (3, H, W) uint8 on the device; one that it refuses, on the CPU.

    nvJPEG rounds differently from the CPU's decoder: a run that uses it differs in the last bits.

    Args:
        photographs: The set that the photographs are from.
        numbers: Their numbers in it.
        contents: What is in their files, (bytes,) uint8 on the CPU.
        device: CUDA.
    """
    from torchvision.io import ImageReadMode, decode_jpeg  # type: ignore[import-untyped]

    def on_device(part: list[Tensor]) -> list[Tensor]:
        with warnings.catch_warnings():
            # torchvision deprecates its decoders in favour of another package, which has none for JPEGs on CUDA.
            warnings.simplefilter("ignore", DeprecationWarning)
            return list(decode_jpeg(part, mode=ImageReadMode.RGB, device=device))

    try:
        return on_device(contents)
    except RuntimeError:  # the error does not say of which photograph
        result = []
        for number, content in zip(numbers, contents, strict=True):
            try:
                result += on_device([content])
            except RuntimeError:
                result.append(photographs.image(number).to(device))
        return result


def open_pool(workers: int) -> ThreadPoolExecutor:
    """Threads that decode, each without further threads of torch, which would start some in every one of them."""
    torch.get_num_threads()  # fixes the calling thread's own number, which a worker's setting would otherwise replace
    return ThreadPoolExecutor(workers, "decode", initializer=torch.set_num_threads, initargs=(1,))


def in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Generator[Result]:
    """The function's results for the items, in order, computed ahead by `workers` threads; with 0 by the caller."""
    if workers == 0:
        yield from map(function, items)
        return
    with open_pool(workers) as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > workers + AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


class Ahead(Generic[Result]):
    """What threads make of the examples of a batch, and meanwhile of those of the next ones.

    Args:
        make: Called with each example, a tuple of arguments, by any thread.
        examples: The examples of an update, by its number.
        iterations: The last update.
        workers: Threads; with none, the calling thread makes what it asks for.

    Attributes:
        pending: What the threads are at work on, by the number of its update.
    """

    def __init__(
        self,
        make: Callable[..., Result],
        examples: Callable[[int], Sequence[tuple[Any, ...]]],
        iterations: int,
        workers: int,
    ) -> None:
        self._make, self._examples, self._last = make, examples, iterations
        self._pool = open_pool(workers) if workers else None
        self.pending: dict[int, list[Future[Result]]] = {}

    def batch(self, iteration: int) -> list[Result]:
        """The results for an update's examples, in their order; the threads go on with the next batches."""
        if self._pool is None:
            return [self._make(*example) for example in self._examples(iteration)]
        last = max(iteration, min(iteration + BATCHES_AHEAD, self._last))
        wanted = range(iteration, last + 1)
        for number in self.pending.keys() - set(wanted):
            for future in self.pending.pop(number):
                future.cancel()
        for number in wanted:
            if number not in self.pending:
                self.pending[number] = [self._pool.submit(self._make, *example) for example in self._examples(number)]
        return [future.result() for future in self.pending.pop(iteration)]

    def close(self) -> None:
        """Stops the threads."""
        self.pending.clear()
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
