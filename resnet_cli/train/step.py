"""One update, plainly: the reference that every faster step must equal."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from resnet_cli.device import autocast, memory_format
from resnet_cli.train.together import Together

if TYPE_CHECKING:
    from torch import Tensor, nn

    from resnet_cli.data import TrainingStream
    from resnet_cli.ranks import Ranks
    from resnet_cli.spec import Precision, Protocol


class EagerStep:
    """SGD on the cross-entropy of a batch (section 3.4). Weight decay on every parameter, as Caffe does by default.

    With `accumulate`, the batch goes through the net in as many parts and their gradients are averaged, so that less
    memory is needed. Batch normalisation then sees a part at a time, as it did on each of the paper's GPUs.

    Several ranks that have joined make one update together, each of its share of the batch.
    """

    def __init__(
        self, net: nn.Module, protocol: Protocol, precision: Precision, device: torch.device, accumulate: int = 1
    ) -> None:
        self.memory_format = self.layout(device, precision)
        self.net = net.to(device).to(memory_format=self.memory_format)
        self.precision = precision
        self.device = device
        self.accumulate = accumulate
        self.together: Together | None = None
        self.optimizer = torch.optim.SGD(
            net.parameters(),
            lr=protocol.learning_rate,
            momentum=protocol.momentum,
            weight_decay=protocol.weight_decay,
        )

    @staticmethod
    def layout(device: torch.device, precision: Precision) -> torch.memory_format:
        """The layout in which this step is fastest."""
        return memory_format(device, precision)

    def join(self, ranks: Ranks, *, synchronized: bool) -> None:
        """From here on makes updates together with other ranks, whose steps join too; see `Together`.

        Args:
            ranks: Connected.
            synchronized: Batch normalisation sees the whole batch; else a part at a time.
        """
        self.together = Together(ranks, self.net, self._forward, None if synchronized else self.accumulate)

    def load_momentum(self, state: dict[str, Any]) -> None:
        """Takes over the momentum in an optimiser's `state_dict`, of this step or of another; not its settings."""
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state["state"]})
        for parameter, own in self.optimizer.state.items():
            # In the weights' own layout: another step may have another one, and fused kernels walk through both alike.
            own["momentum_buffer"] = torch.empty_like(parameter).copy_(own["momentum_buffer"])

    def update(self, stream: TrainingStream, iteration: int, learning_rate: float) -> tuple[Tensor, Tensor]:
        """Makes the update of this number; see `__call__`."""
        return self(*stream.batch(iteration), learning_rate)

    def __call__(self, images: Tensor, labels: Tensor, learning_rate: float | Tensor) -> tuple[Tensor, Tensor]:
        """Makes one update.

        Args:
            images: (B, 3, H, W) float32 on the device; `accumulate` divides B. Of several ranks, this one's share.
            labels: (B,) int64 on the device.
            learning_rate: This update's rate.

        Returns:
            Mean loss and the number of wrong answers of the batch before the update, 0-dim on the device.
        """
        self.net.train()
        *parts, last = zip(images.chunk(self.accumulate), labels.chunk(self.accumulate), strict=True)
        if self.together:
            self.together.settle(lambda: self._backward(*last))
        self.optimizer.zero_grad(set_to_none=True)
        with self.together.quietly() if self.together else nullcontext():
            results = [self._backward(*part) for part in parts]
        losses, wrong = zip(*results, self._backward(*last), strict=True)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        loss, errors = losses[0], wrong[0]
        if self.accumulate > 1:  # in a CUDA graph each of these is a launch
            loss, errors = torch.stack(losses).sum(), torch.stack(wrong).sum()
        return self.together.results(loss, errors) if self.together else (loss, errors)

    def _backward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Adds a part's share to the gradients; returns its share of the loss, and its wrong answers."""
        forward = self.together.forward if self.together else self._forward
        loss, wrong = forward(images.contiguous(memory_format=self.memory_format), labels)
        if self.accumulate > 1:
            loss = loss / self.accumulate
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), wrong

    def _forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and wrong answers."""
        with autocast(self.device, self.precision):
            logits = self.net(images)
        if self.precision == "bf16":
            logits = logits.float()
        return functional.cross_entropy(logits, labels), (logits.argmax(dim=1) != labels).sum()
