"""A common eager training loop, which `resnet bench --against eager` times beside ours."""

from __future__ import annotations

import contextlib
import time
import warnings
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import transforms  # type: ignore[import-untyped]

from resnet_cli.identity import Variant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from resnet_cli.data import Dataset
    from resnet_cli.runs.timing import Plan
    from resnet_cli.spec import Net

LOADER_WORKERS = 4
PREFETCHED = 2 * LOADER_WORKERS  # batches that DataLoader has ready after a pause; they cost its next round no time
SETTLE_SECONDS = 0.5  # in which its workers make them again


class EagerLoop:
    """The loop that most people write: eager fp32, NCHW, DataLoader with torchvision's transforms in 4 workers."""

    def __init__(self, net: Net, plan: Plan) -> None:
        dataset, task = plan.dataset, plan.task
        self.device = dataset.device
        self.batch_size = plan.protocol.batch_size
        self.net = task.build(net, Variant(dataset=task.dataset), 0, len(dataset.classes)).to(self.device)
        self.optimizer = torch.optim.SGD(self.net.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
        self.batches = self._endless(AsImages(dataset))

    def _endless(self, images: AsImages) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="This DataLoader will create")
                batches = iter(
                    DataLoader(
                        images,
                        batch_size=self.batch_size,
                        shuffle=True,
                        num_workers=LOADER_WORKERS,
                        pin_memory=self.device.type == "cuda",
                        drop_last=True,
                    )
                )
            yield from batches

    def updates(self, count: int) -> float:
        """Makes `count` updates; returns the seconds per update."""
        with _users_settings():
            began = time.perf_counter()
            for _ in range(count):
                images, labels = next(self.batches)
                images, labels = images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)
                logits = self.net(images)
                loss = functional.cross_entropy(logits, labels)
                self.optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                self.optimizer.step()
                loss.item()
                (logits.argmax(dim=1) == labels).float().mean().item()
            return (time.perf_counter() - began) / count

    def close(self) -> None:
        """Ends its workers."""
        self.batches.close()  # type: ignore[attr-defined]


class AsImages(torch.utils.data.Dataset[tuple[Any, int]]):
    """A dataset's training images as torchvision's datasets give them, with the transforms that most people use."""

    def __init__(self, dataset: Dataset) -> None:
        self.images = dataset.train_images.cpu().permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = dataset.train_labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomHorizontalFlip(),
                transforms.RandomCrop(32, 4),
                transforms.ToTensor(),
                transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
            ]
        )

    def __len__(self) -> int:
        """The number of images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """An augmented image and its label."""
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


@contextlib.contextmanager
def _users_settings() -> Iterator[None]:
    """Temporarily sets torch's switches as most people have them: cuDNN chooses its algorithms, and may use TF32."""
    cudnn = torch.backends.cudnn
    before = torch.are_deterministic_algorithms_enabled(), cudnn.benchmark, cudnn.allow_tf32
    torch.use_deterministic_algorithms(mode=False)
    cudnn.benchmark = cudnn.allow_tf32 = True
    torch.set_flush_denormal(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=before[0])
        cudnn.benchmark, cudnn.allow_tf32 = before[1:]
        torch.set_flush_denormal(True)
