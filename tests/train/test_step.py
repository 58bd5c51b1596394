"""One update: what gradient accumulation keeps, and what it changes."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional

from resnet_cli.spec import Protocol
from resnet_cli.train.step import EagerStep

CPU = torch.device("cpu")
PROTOCOL = Protocol(momentum=0, weight_decay=0, warmup=None)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Eight images of 4x4 and their labels."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 3, 4, 4, generator=generator), torch.arange(8) % 5


def net(*, normalized: bool) -> nn.Module:
    """A convolution, batch normalisation or not, a classifier."""
    torch.manual_seed(0)
    middle = nn.BatchNorm2d(6) if normalized else nn.Identity()
    return nn.Sequential(nn.Conv2d(3, 6, 3), middle, nn.ReLU(), nn.Flatten(), nn.Linear(24, 5))


def test_a_batch_in_parts_is_the_same_update() -> None:
    """Without batch normalisation, a batch in four parts moves the weights as the whole one does."""
    whole, parts = net(normalized=False), net(normalized=False)
    loss, wrong = EagerStep(whole, PROTOCOL, "fp32", CPU)(*batch(), 0.1)
    loss_of_parts, wrong_in_parts = EagerStep(parts, PROTOCOL, "fp32", CPU, accumulate=4)(*batch(), 0.1)

    torch.testing.assert_close(loss, loss_of_parts)
    assert int(wrong) == int(wrong_in_parts)
    for expected, weight in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(expected, weight)


def test_batch_normalisation_sees_a_part_at_a_time() -> None:
    """With it, the gradient is the mean of the parts' gradients, each normalised by its own statistics."""
    built = net(normalized=True)
    reference = copy.deepcopy(built)
    images, labels = batch()
    sum(
        functional.cross_entropy(reference(images[part]), labels[part]) / 2 for part in (slice(0, 4), slice(4, 8))
    ).backward()  # type: ignore[union-attr]
    EagerStep(built, PROTOCOL, "fp32", CPU, accumulate=2)(images, labels, 0.1)

    for before, weight in zip(reference.parameters(), built.parameters(), strict=True):
        torch.testing.assert_close(before - 0.1 * before.grad, weight)
    torch.testing.assert_close(reference[1].running_mean, built[1].running_mean)
