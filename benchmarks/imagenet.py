"""Images per second of decoding, of decoding with augmentation, and of a training step, and which of them limits.

    python benchmarks/imagenet.py --dataset-root FOLDER [--device cuda --precision bf16] [--out FILE.json]

FOLDER is any with photographs somewhere below it. Decoding and the step are measured apart: in training they overlap.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from resnet_cli.data.decode import Photographs, in_order
from resnet_cli.data.photo_stream import PhotoStream
from resnet_cli.data.photos import PhotoDataset
from resnet_cli.device.torch_device import choose_device, prepare
from resnet_cli.spec import Photos
from resnet_cli.tasks.imagenet import ImageNet
from resnet_cli.tasks.imagenet.folder import EXTENSIONS
from resnet_cli.train.environment import describe
from resnet_cli.train.step import EagerStep

if TYPE_CHECKING:
    from collections.abc import Callable

WORKERS = (0, 2, 4)
NETS = ("resnet-18", "resnet-50")


def main() -> None:
    """Measures, prints a line for each, and writes them with the environment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset-root", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=["fp32", "tf32", "bf16"], default="fp32")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--images", type=int, default=1_000, help="at most so many photographs, evenly chosen")
    parser.add_argument("--updates", type=int, default=3, help="of each net, after one to warm up")
    parser.add_argument("--decode", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    device = choose_device(options.device)
    prepare(device, options.precision)
    dataset = PhotoDataset(
        name=options.dataset_root.name,
        checksum=f"at most {options.images} photographs",
        classes=("any",),
        train=photographs(options.dataset_root, options.images),
        test=Photographs([], np.zeros(0, np.int64)),
        photos=Photos(),
        device=device,
        decode=options.decode,
    )

    results: dict[str, float] = {}
    for workers in WORKERS:
        results[f"decode, {workers} workers"] = decoding(dataset.train, workers)
    for workers in WORKERS:
        results[f"decode and augment, {workers} workers"] = augmenting(dataset, workers, options.batch_size)
    reading = max(rate for name, rate in results.items() if name.startswith("decode and augment"))
    for name in NETS:
        results[f"step of {name}"] = stepping(name, device, options)
    for name, rate in results.items():
        print(f"{name:32} {rate:8.1f} images/s")
    for name in NETS:
        limit = "reading" if reading < results[f"step of {name}"] else "the step"
        print(f"{name}: {limit} limits")
    if options.out:
        content: dict[str, Any] = describe(device, options.precision, dataset)
        content |= {"batch_size": options.batch_size, "decode": options.decode, "images_per_second": results}
        options.out.write_text(json.dumps(content, indent=1) + "\n")


def photographs(root: Path, most: int) -> Photographs:
    """All photographs below a folder, or as many of them, evenly chosen."""
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.suffix.lower() in EXTENSIONS)
    if not names:
        raise SystemExit(f"{root}: no photographs below it")
    chosen = names[:: max(1, len(names) // most)][:most]
    return Photographs(chosen, np.zeros(len(chosen), np.int64), root)


def per_second(count: int, work: Callable[[], object]) -> float:
    """Images per second of a piece of work on so many."""
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def decoding(images: Photographs, workers: int) -> float:
    """Reading and decoding, each photograph once."""
    return per_second(len(images), lambda: [None for _ in in_order(images.image, range(len(images)), workers)])


def augmenting(dataset: PhotoDataset, workers: int, batch_size: int) -> float:
    """Whole training batches on the device, of some 500 images, after one to warm up."""
    batches = max(2, 500 // batch_size)
    stream = PhotoStream(replace(dataset, workers=workers), 0, batch_size, batches + 1)
    stream.batch(1)

    def work() -> None:
        for iteration in range(2, batches + 2):
            stream.batch(iteration)
        synchronize(dataset.device)

    try:
        return per_second(batches * batch_size, work)
    finally:
        stream.close()


def stepping(name: str, device: torch.device, options: argparse.Namespace) -> float:
    """Updates of a net on one batch that is already there."""
    task = ImageNet()
    step = EagerStep(task.make(task.net(name), 0), task.protocol, options.precision, device)
    images = torch.randn(options.batch_size, 3, 224, 224, device=device)
    labels = torch.zeros(options.batch_size, dtype=torch.int64, device=device)
    step(images, labels, 0.1)
    synchronize(device)

    def work() -> None:
        for _ in itertools.repeat(None, options.updates):
            step(images, labels, 0.1)
        synchronize(device)

    return per_second(options.updates * options.batch_size, work)


def synchronize(device: torch.device) -> None:
    """Waits for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
