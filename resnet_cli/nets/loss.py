"""The loss that an update minimises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional

# Arguments: a function that computes a net's outputs in fp32, and a batch of tensors (B, ...). Result: the mean loss
# over the batch, the count of wrong answers (or what else the task counts), and the means of the loss's logged parts
# (`Task.parts`); all 0-dimensional, on the device.
Loss = Callable[..., tuple[Tensor, ...]]


def cross_entropy(outputs: Callable[..., Any], images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of images (B, 3, H, W) with labels (B,), and the number of wrong answers."""
    logits = outputs(images)
    return functional.cross_entropy(logits, labels), (logits.argmax(dim=1) != labels).sum()
