"""One update, plainly: the reference that every faster step must equal."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch

from resnet_cli.device.torch_device import autocast, memory_format
from resnet_cli.nets.loss import cross_entropy
from resnet_cli.train.together import Together

if TYPE_CHECKING:
    from torch import Tensor, nn

    from resnet_cli.data import Stream
    from resnet_cli.device.ranks import Ranks
    from resnet_cli.names import Precision
    from resnet_cli.nets.loss import Loss
    from resnet_cli.spec import Protocol


IMAGES = 4  # dimensions of a batch that has a memory format


class EagerStep:
    """SGD on a batch's loss (section 3.4). Weight decay on every parameter, as Caffe does by default.

    Parameters that need no gradient are left as they are; biases may have another rate (`Protocol.bias_rate`).

    With `accumulate`, the batch goes through the net in as many parts and their gradients are averaged, so that less
    memory is needed. Batch normalisation then sees a part at a time, as it did on each of the paper's GPUs.

    Several ranks that have joined make one update together, each of its share of the batch.
    """

    def __init__(
        self,
        net: nn.Module,
        protocol: Protocol,
        precision: Precision,
        device: torch.device,
        accumulate: int = 1,
        loss: Loss = cross_entropy,
    ) -> None:
        self.memory_format = self.layout(device, precision)
        self.net = net.to(device).to(memory_format=self.memory_format)
        self.precision = precision
        self.device = device
        self.accumulate = accumulate
        self.loss = loss
        self.together: Together | None = None
        self.optimizer = torch.optim.SGD(
            _groups(net, protocol.bias_rate),
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

    def update(self, stream: Stream, iteration: int, learning_rate: float) -> tuple[Tensor, ...]:
        """Makes the update of this number; see `__call__`."""
        return self(*stream.batch(iteration), learning_rate)

    def __call__(self, *batch_and_rate: Any) -> tuple[Tensor, ...]:
        """Makes one update.

        Args:
            batch_and_rate: The batch, each tensor (B, ...) on the device, and last this update's rate. `accumulate`
                divides B. Of several ranks, this one's share.

        Returns:
            Mean loss, what the task counts, as the number of wrong answers, and the means of its parts of the loss, of
            the batch before the update; 0-dim on the device.
        """
        *batch, learning_rate = batch_and_rate
        self.net.train()
        *parts, last = zip(*(each.chunk(self.accumulate) for each in batch), strict=True)
        if self.together:
            self.together.settle(lambda: self._backward(*last))
        self.optimizer.zero_grad(set_to_none=True)
        with self.together.quietly() if self.together else nullcontext():
            results = [self._backward(*part) for part in parts]
        results.append(self._backward(*last))
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * learning_rate if "rate" in group else learning_rate
        self.optimizer.step()
        whole = results[0]
        if self.accumulate > 1:  # in a CUDA graph each of these is a launch
            whole = tuple(torch.stack(column).sum() for column in zip(*results, strict=True))
        return self.together.results(*whole) if self.together else whole

    def _backward(self, *batch: Tensor) -> tuple[Tensor, ...]:
        """Adds a part's share to the gradients; returns its share of the loss, its count, its shares of the parts."""
        forward = self.together.forward if self.together else self._forward
        inputs, *targets = batch
        if inputs.ndim == IMAGES:
            inputs = inputs.contiguous(memory_format=self.memory_format)
        loss, wrong, *parts = forward(inputs, *targets)
        if self.accumulate > 1:
            loss, *parts = (each / self.accumulate for each in (loss, *parts))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), wrong, *parts

    def _forward(self, *batch: Tensor) -> tuple[Tensor, ...]:
        """Mean loss, count, and means of parts."""
        return self.loss(self._outputs, *batch)

    def _outputs(self, *inputs: Tensor) -> Any:
        """What the net makes of its inputs, in fp32 whatever it computes in."""
        with autocast(self.device, self.precision):
            outputs = self.net(*inputs)
        return outputs.float() if self.precision == "bf16" and isinstance(outputs, torch.Tensor) else outputs


def _groups(net: nn.Module, bias_rate: float | None) -> list[dict[str, Any]]:
    """The parameters to train, in groups of one rate."""
    learned = [(name, parameter) for name, parameter in net.named_parameters() if parameter.requires_grad]
    if bias_rate is None:
        return [{"params": [parameter for _, parameter in learned]}]
    biases = [parameter for name, parameter in learned if name.endswith("bias")]
    others = [parameter for name, parameter in learned if not name.endswith("bias")]
    return [{"params": others}, {"params": biases, "rate": bias_rate}]
