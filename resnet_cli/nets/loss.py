"""The loss that an update reduces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional

# Given what computes a net's outputs in fp32, and a batch, each tensor (B, ...): the mean over the batch of what an
# update makes smaller, what is counted in the batch, and the means of the parts that are logged beside (`Task.parts`);
# all 0-dim on the device.
Loss = Callable[..., tuple[Tensor, ...]]


def cross_entropy(outputs: Callable[..., Any], images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of images (B, 3, H, W) with labels (B,), and the number of wrong answers."""
    logits = outputs(images)
    return functional.cross_entropy(logits, labels), (logits.argmax(dim=1) != labels).sum()
