"""One update, plainly: the reference that every faster step must equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from resnet_cli.device import autocast, memory_format

if TYPE_CHECKING:
    from torch import Tensor, nn

    from resnet_cli.spec import Precision, Protocol


class EagerStep:
    """SGD on the cross-entropy of a batch (section 3.4). Weight decay on every parameter, as Caffe does by default.

    With `accumulate`, the batch goes through the net in as many parts and their gradients are averaged, so that less
    memory is needed. Batch normalisation then sees a part at a time, as it did on each of the paper's GPUs.
    """

    def __init__(
        self, net: nn.Module, protocol: Protocol, precision: Precision, device: torch.device, accumulate: int = 1
    ) -> None:
        self.memory_format = memory_format(device, precision)
        self.net = net.to(device).to(memory_format=self.memory_format)
        self.precision = precision
        self.device = device
        self.accumulate = accumulate
        self.optimizer = torch.optim.SGD(
            net.parameters(),
            lr=protocol.learning_rate,
            momentum=protocol.momentum,
            weight_decay=protocol.weight_decay,
        )

    def __call__(self, images: Tensor, labels: Tensor, learning_rate: float) -> tuple[Tensor, Tensor]:
        """Makes one update.

        Args:
            images: (B, 3, H, W) float32 on the device; `accumulate` divides B.
            labels: (B,) int64 on the device.
            learning_rate: This update's rate.

        Returns:
            Mean loss and the number of wrong answers of this batch before the update, 0-dim on the device.
        """
        self.net.train()
        self.optimizer.zero_grad(set_to_none=True)
        parts = zip(images.chunk(self.accumulate), labels.chunk(self.accumulate), strict=True)
        losses, wrong = zip(*(self._backward(*part) for part in parts), strict=True)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        return torch.stack(losses).sum(), torch.stack(wrong).sum()

    def _backward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Adds a part's share to the gradients; returns its share of the loss, and its wrong answers."""
        images = images.contiguous(memory_format=self.memory_format)
        with autocast(self.device, self.precision):
            logits = self.net(images)
        logits = logits.float()
        loss = functional.cross_entropy(logits, labels) / self.accumulate
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), (logits.argmax(dim=1) != labels).sum()
