"""A deeper plain net that is the same function as a trained shallower one: identity layers are added (section 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_cli.data import Dataset
    from resnet_cli.nets.resnet import BatchNorm, ResNet

STATISTICS_IMAGES = 10_000  # of the training set; on test images the added layers are exact with any statistics
IMAGES_AT_A_TIME = 500


@torch.no_grad()
def insert_identities(deep: ResNet, shallow: ResNet, dataset: Dataset) -> None:
    """Makes a deeper plain net the same function as a shallower one: its layers, then identities in every stage.

    "The added layers are identity mapping" (section 1). What enters an added layer comes from a ReLU, so its own ReLU
    changes nothing; the shift and the scale of its batch normalisation are the mean and the standard deviation of its
    input, so that it is the identity on test images and, up to the variation between batches, in training.
    """
    statistics = _statistics(shallow.to(dataset.device).eval(), dataset)
    deep.load_state_dict({name: tensor.cpu() for name, tensor in shallow.state_dict().items()}, strict=False)
    for stage in deep.stages:
        mean, variance = statistics[stage]
        have = len(list(shallow.get_submodule(stage).children()))
        for block in list(deep.get_submodule(stage).children())[have:]:
            for layer in ("1", "2"):
                nn.init.dirac_(block.get_submodule(f"conv{layer}").weight)  # type: ignore[arg-type]
                _make_identity(block.get_submodule(f"bn{layer}"), mean, variance)  # type: ignore[arg-type]


def _make_identity(norm: BatchNorm, mean: Tensor, variance: Tensor) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(mean)


def _statistics(net: ResNet, dataset: Dataset) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and variance of each channel, (C,) on the CPU, of each stage's last map over training images."""
    sums: dict[str, Tensor] = {}
    images = dataset.train_images[:STATISTICS_IMAGES]
    for part in torch.split(images, IMAGES_AT_A_TIME):
        x = net.pool(net.bn1(net.conv1(dataset.normalize(part))))
        for stage in net.stages:
            x = net.get_submodule(stage)(x)
            variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
            moments = torch.stack([mean, variance + mean**2]).cpu().double()
            sums[stage] = sums.get(stage, torch.zeros_like(moments)) + moments * len(part) / len(images)
    return {stage: (mean, (square - mean**2).clamp(min=0)) for stage, (mean, square) in sums.items()}
