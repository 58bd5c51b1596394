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
    # Early in training, running BN statistics can send a deep plain net's logits to infinity. That is no answer.
    answered = logits.isfinite().all(dim=1)
    right = (logits.argmax(dim=1) == labels) & answered
    in_top5 = (logits.topk(5, dim=1).indices == labels[:, None]).any(dim=1) & answered
    return Evaluation(
        loss=float(functional.cross_entropy(logits, labels)),
        top1_error=100 * (len(labels) - int(right.sum())) / len(labels),
        top5_error=100 * (len(labels) - int(in_top5.sum())) / len(labels),
        images=len(labels),
        logits=logits.cpu(),
    )
