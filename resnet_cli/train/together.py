"""What the steps of several ranks do together: average gradients, and make one of their statistics and results."""

from __future__ import annotations

import gc
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from resnet_cli.nets.resnet import BatchNorm
from resnet_cli.train.fused_norm import affine, wide

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from torch import Tensor

    from resnet_cli.device.ranks import Ranks


class Together:
    """One update of several ranks, each with its share of the batch: the update of one process with `accumulate`.

    Batch normalisation sees one part at a time, as on each of the paper's GPUs, and its running statistics become what
    they would be if one process had seen the parts one after the other. So a run is the same, but for the last bits, on
    any number of ranks that share its parts. Synchronised, it sees the whole batch, as in one process without parts.

    Args:
        ranks: Connected.
        net: On its device, alike on every rank.
        forward: A batch to its mean loss and count, on this rank.
        parts: In which this rank takes its share of a batch; None to synchronise batch normalisation.
    """

    def __init__(
        self,
        ranks: Ranks,
        net: nn.Module,
        forward: Callable[..., tuple[Tensor, ...]],
        parts: int | None,
    ) -> None:
        self.ranks = ranks
        norms = [module for module in net.modules() if isinstance(module, BatchNorm)]
        if parts is None:
            for norm in norms:
                norm.forward = MethodType(_synchronized(ranks), norm)  # type: ignore[method-assign]
        self.running: list[Tensor] = []
        self.counters: list[Tensor] = []
        for norm in norms if parts else []:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            assert norm.num_batches_tracked is not None
            self.running += [norm.running_mean, norm.running_var]
            self.counters.append(norm.num_batches_tracked)
        self.others_parts = (parts or 0) * (ranks.count - 1)
        # The share of older statistics that is left after a rank's parts.
        self.kept = (1 - _momentum(norms[0])) ** (parts or 0) if norms else 1.0
        self.statistics = torch.cat(self.running) if self.running else None
        gc.collect()  # a net before this one may still hold its buckets
        self.net = net
        self.module = DistributedDataParallel(_Forward(net, forward), process_group=ranks.group)
        self.is_settled = False

    def settle(self, make_pass: Callable[[], object]) -> None:
        """Before the first update, makes a pass forward and backward that leaves nothing but gradients behind.

        After its first, DistributedDataParallel sorts the gradients into other buckets, and sums in another order. A
        training that goes on must sum as one that was never stopped.
        """
        if self.is_settled:
            return
        self.is_settled = True
        buffers = list(self.net.buffers())
        before = [each.clone() for each in buffers]
        make_pass()
        for each, value in zip(buffers, before, strict=True):
            each.copy_(value)

    def forward(self, *batch: Tensor) -> tuple[Tensor, ...]:
        """This rank's loss, count and parts; the backward pass averages the gradients over the ranks."""
        results: tuple[Tensor, ...] = self.module(*batch)
        return results

    def quietly(self) -> AbstractContextManager[None]:
        """For all parts of a rank's share but the last: gradients stay on this rank."""
        return self.module.no_sync()

    @torch.no_grad()
    def results(self, loss: Tensor, wrong: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        """Means and wrong answers of the whole batch from those of this rank; puts the statistics together."""
        ranks, kept = self.ranks, self.kept
        mine = torch.stack([loss / ranks.count, wrong.to(loss.dtype), *(each / ranks.count for each in parts)])
        if self.statistics is None:
            return ranks.add(mine).unbind()
        # A rank that began with r and saw parts that add up to s has kept * r + s. One process that sees all of them,
        # the last rank's last, ends with kept**count * r + sum(kept**(count - 1 - rank) * s).
        weight = kept ** (ranks.count - 1 - ranks.rank)
        news = ranks.add(torch.cat([torch.cat(self.running) * weight, mine]))
        weights = sum(kept**each for each in range(ranks.count))
        self.statistics = news[: -len(mine)] + self.statistics * (kept**ranks.count - kept * weights)
        running = torch.split(self.statistics, [each.numel() for each in self.running])
        torch._foreach_copy_(self.running, list(running))
        torch._foreach_add_(self.counters, self.others_parts)
        return news[-len(mine) :].unbind()


class _Forward(nn.Module):
    """A forward pass as DistributedDataParallel wants it: a module, and of the net the parameters only.

    It would send the first rank's batch statistics to the others, which is not what becomes of them here.
    """

    def __init__(self, net: nn.Module, function: Callable[..., tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.learned = nn.ParameterList(net.parameters())
        self.function = function

    def forward(self, *batch: Tensor) -> tuple[Tensor, ...]:
        return self.function(*batch)


def _momentum(norm: BatchNorm) -> float:
    assert norm.momentum is not None
    return norm.momentum


def _synchronized(ranks: Ranks) -> Callable[[BatchNorm, Tensor, Tensor | None], Tensor]:
    """`BatchNorm.forward` with the statistics of the whole batch. PyTorch's supports neither CPU nor shortcut."""

    class Sum(torch.autograd.Function):
        @staticmethod
        def forward(_context: Any, values: Tensor) -> Tensor:
            return ranks.add(values.clone())

        @staticmethod
        def backward(_context: Any, gradient: Tensor) -> Tensor:
            return ranks.add(gradient.clone())

    def forward(norm: BatchNorm, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        if not norm.training:
            return BatchNorm.forward(norm, x, shortcut)
        values = wide(x)
        count = ranks.count * x.numel() // x.shape[1]
        mean, square = Sum.apply(torch.stack([values.sum(dim=(0, 2, 3)), values.square().sum(dim=(0, 2, 3))])) / count
        variance = (square - mean.square()).clamp(min=0)
        with torch.no_grad():
            assert norm.running_mean is not None
            assert norm.running_var is not None
            assert norm.num_batches_tracked is not None
            norm.running_mean.lerp_(mean, _momentum(norm))
            norm.running_var.lerp_(variance * (count / (count - 1)), _momentum(norm))
            norm.num_batches_tracked += 1
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        y = affine(values, scale, norm.bias - mean * scale)
        if shortcut is not None:
            y = y + shortcut
        return (y.relu() if norm.relu else y).to(x.dtype)

    return forward
