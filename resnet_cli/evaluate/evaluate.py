"""Error of a net on the test set, for one view of each image or several averaged ones (section 3.4)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import update_bn

from resnet_cli.data.photos import PhotoDataset
from resnet_cli.device.ranks import ALONE
from resnet_cli.device.torch_device import autocast, memory_format
from resnet_cli.evaluate.scores import top_errors
from resnet_cli.nets.resnet import ResNet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    from resnet_cli.data import Dataset
    from resnet_cli.device.ranks import Ranks
    from resnet_cli.names import Precision

FLOAT16_RANGE = (torch.finfo(torch.float16).min, torch.finfo(torch.float16).max)
LOWEST = -1e4  # the log of a probability of 0, within float16's range
# Training images over which statistics are averaged, and images per batch; docs/paper-scale.md compares other values.
AVERAGED_IMAGES, AVERAGED_BATCH = 5_120, 128
MAP_STRIDE = 32  # input pixels per place of the last map, in nets for photographs


@dataclass(frozen=True)
class Evaluation:
    """Results on the test set: mean cross-entropy, errors in percent, logits (N, classes) on the CPU.

    With several views of an image, the logits are the logarithms of the probabilities averaged over the views.
    """

    loss: float
    top1_error: float
    top5_error: float
    images: int
    logits: Tensor


@torch.no_grad()
def evaluate(
    net: nn.Module,
    dataset: Dataset | PhotoDataset,
    precision: Precision,
    views: str = "1-crop",
    *,
    progress: Callable[[int], None] | None = None,
    ranks: Ranks = ALONE,
) -> Evaluation:
    """Tests a copy of a net, in the memory layout of tests, with its running BN statistics.

    Args:
        net: On the dataset's device.
        dataset: Its test set is used.
        precision: Arithmetic of the forward pass; usually that of the training.
        views: `1-crop` is section 4.2's single view and Figure 4's centre crop; the others are for photographs.
        progress: Called with the number of inputs done so far.
        ranks: Each tests its share of the batches and gets the whole result; `1-crop` only.
    """
    labels = dataset.test_labels
    layout = memory_format(labels.device, precision)
    net = copy.deepcopy(net).to(memory_format=layout).eval()
    scores = torch.zeros(len(labels), _classes(net), device=labels.device)
    seen = torch.zeros(len(labels), 1, device=labels.device)
    done = 0
    for image, inputs in dataset.test_views(views, ranks.share):
        with autocast(labels.device, precision):
            logits = _logits(net, inputs.contiguous(memory_format=layout), dataset, views).float()
        if views == "1-crop":
            scores[image] = logits
        else:
            scores.index_add_(0, image, logits.softmax(dim=1))
            seen.index_add_(0, image, torch.ones_like(seen[image]))
        done += len(image)
        if progress:
            progress(done)
    ranks.add(scores)  # images that other ranks tested are 0 here
    if views != "1-crop":
        # A probability that is 0 in float32 ranks last; NaN stays NaN.
        scores = (scores / seen).log().clamp(min=LOWEST)
    top1, top5 = top_errors(scores.cpu().numpy(), labels.cpu().numpy())
    loss = float(functional.cross_entropy(scores, labels))
    return Evaluation(loss=loss, top1_error=top1, top5_error=top5, images=len(labels), logits=scores.cpu())


@torch.no_grad()
def with_averaged_statistics(
    net: nn.Module, batches: Iterable[Tensor], device: torch.device, precision: Precision
) -> nn.Module:
    """A copy of a net whose BN statistics are averaged over batches of training images.

    The weights do not change, and each batch is normalised by its own mean and variance, as in training. The average is
    over these means and unbiased variances (Ioffe and Szegedy, Algorithm 2; section 3.4 refers to it).

    Args:
        net: On the device; it is not changed.
        batches: Inputs, (B, 3, H, W) each, all of the same size.
        device: The net's device.
        precision: Arithmetic of the forward passes; statistics are in fp32.
    """
    layout = memory_format(device, precision)
    net = copy.deepcopy(net).to(memory_format=layout)
    for module in net.modules():
        vars(module).pop("forward", None)  # set by a faster step, or by several ranks
    with autocast(device, precision):
        update_bn((batch.contiguous(memory_format=layout) for batch in batches), net)
    return net


def _classes(net: nn.Module) -> int:
    classifier = net.get_submodule("fc")
    assert isinstance(classifier, nn.Linear)
    return classifier.out_features


def as_float16(logits: Tensor) -> np.ndarray:
    """Logits (N, classes) as they are saved; those beyond float16's range are clamped and keep their rank."""
    return logits.clamp(*FLOAT16_RANGE).numpy().astype(np.float16)


def _logits(net: nn.Module, inputs: Tensor, dataset: Dataset | PhotoDataset, views: str) -> Tensor:
    if views == "dense" and isinstance(dataset, PhotoDataset):
        assert isinstance(net, ResNet)
        return net.dense(inputs, -(-dataset.photos.crop // MAP_STRIDE))
    logits: Tensor = net(inputs)
    return logits
