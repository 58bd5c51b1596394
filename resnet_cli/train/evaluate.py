"""Error of a net on the test set: the single 32x32 view of section 4.2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from resnet_cli.train.step import autocast, memory_format

if TYPE_CHECKING:
    from torch import Tensor, nn

    from resnet_cli.data import Dataset
    from resnet_cli.spec import Precision

BATCH_SIZE = 1_000


@dataclass(frozen=True)
class Evaluation:
    """What a net does on the test set: mean cross-entropy, errors in percent, logits (N, classes) on the CPU."""

    loss: float
    top1_error: float
    top5_error: float
    images: int
    logits: Tensor


@torch.no_grad()
def evaluate(net: nn.Module, dataset: Dataset, precision: Precision) -> Evaluation:
    """Tests a net with its running BN statistics, at the precision it trains with. Leaves it in training mode."""
    net.eval()
    labels = dataset.test_labels
    parts = []
    for images in torch.split(dataset.test_images, BATCH_SIZE):
        inputs = dataset.normalize(images).contiguous(memory_format=memory_format(labels.device, precision))
        with autocast(labels.device, precision):
            parts.append(net(inputs).float())
    net.train()
    logits = torch.cat(parts)
    top5 = logits.topk(5, dim=1).indices == labels[:, None]
    return Evaluation(
        loss=float(functional.cross_entropy(logits, labels)),
        top1_error=100 * float((logits.argmax(dim=1) != labels).double().mean()),
        top5_error=100 * float((~top5.any(dim=1)).double().mean()),
        images=len(labels),
        logits=logits.cpu(),
    )
