"""Tests where a net localises the object, and how often it is wrong: from the centre crop, and from whole images.

A box is right if its IoU with any object of the image's class is 0.5 or more. With the class given, the box is that of
the true class. With predicted classes (top-1, top-5), the boxes are those of the classifier's classes; a class's box
does not depend on the other classes, so an answer is right if the true class is among them and its box is right.

Whole images are taken at the sizes of the fully convolutional test (section 3.4) and the best box of all sizes is
taken; the classifier's probabilities are averaged over the sizes. Mirror images are left out, an assumption.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from resnet_cli.data.crops import center_crop, resized
from resnet_cli.data.decode import in_order
from resnet_cli.data.photos import DENSE_BATCH_PIXELS
from resnet_cli.device.torch_device import autocast
from resnet_cli.nets.boxes import clipped, grown, moved, overlaps
from resnet_cli.nets.localiser import REGION_IS_POSITIVE, Classifier, Rcnn, Rpn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from resnet_cli.device.ranks import Ranks
    from resnet_cli.names import Precision
    from resnet_cli.tasks.localisation.data import LocalisationData

AT_A_TIME = 50  # images
REGIONS_AT_A_TIME = 500
TOP = 5


@torch.no_grad()
def localise(
    net: Classifier | Rpn | Rcnn,
    data: LocalisationData,
    precision: Precision,
    progress: Callable[[int], None] | None,
    ranks: Ranks,
) -> tuple[np.ndarray, np.ndarray]:
    """The predicted boxes of each test image's true class, and the rank of that class in the classifier's scores.

    Args:
        net: In evaluation mode on the data's device.
        data: Its test set is used.
        precision: Of the forward pass.
        progress: Called with the number of images done.
        ranks: Each takes its share of the images, and gets all answers.

    Returns:
        Boxes (N, 2, 4) float32 in pixels of the images: from the centre crop, from the whole image; and the rank of the
        true class, (N,) int64 from 0.
    """
    count = len(data.test)
    found = torch.zeros(count, 9, device=data.device, dtype=torch.float64)
    done = 0
    for numbers, images in _batches(data, ranks.share):
        labels = data.test_labels[numbers]
        with autocast(data.device, precision):
            crops, offset, scale = _centre_crops(images, data)
            by_crop, _ = _best(net, data, [(crops, scale)], images, labels, offset)
            views = [_resized(images, side, data) for side in data.photos.dense_sides]
            by_all, _ = _best(net, data, views, images, labels, (0, 0))
            ranked = _rank(net, [inputs for inputs, _ in views], data.photos.crop, labels)
        found[numbers] = torch.cat([by_crop, by_all, ranked[:, None]], dim=1).double()
        done += len(numbers)
        if progress:
            progress(done)
    ranks.add(found)  # what other ranks have done is 0 here
    answers = found.cpu().numpy()
    return answers[:, :8].reshape(count, 2, 4).astype(np.float32), answers[:, 8].astype(np.int64)


def overlap_of(boxes: np.ndarray, truth: tuple[np.ndarray, ...]) -> np.ndarray:
    """The greatest IoU of each image's box (N, 4) with an object of it, (N,) float32."""
    return np.array(
        [
            overlaps(torch.from_numpy(box)[None, None].float(), torch.from_numpy(objects)[None].float()).max().item()
            for box, objects in zip(boxes, truth, strict=True)
        ],
        dtype=np.float32,
    )


def errors(boxes: np.ndarray, ranks: np.ndarray, truth: tuple[np.ndarray, ...]) -> tuple[dict[str, float], float]:
    """The localisation errors in percent by their keys, and the mean of 1 - IoU from whole images.

    Args:
        boxes: (N, 2, 4), as from `localise`.
        ranks: (N,), likewise.
        truth: The objects' boxes of each image.
    """
    iou = np.stack([overlap_of(boxes[:, way], truth) for way in (0, 1)])
    right = iou >= REGION_IS_POSITIVE
    wrong = {
        "given_error": ~right[0],
        "given_error_dense": ~right[1],
        "top1_error": ~(right[1] & (ranks < 1)),
        "top5_error": ~(right[1] & (ranks < TOP)),
    }
    found = {key: 100 * float(each.mean()) for key, each in wrong.items()}
    return {**found, "dense_gain": found["given_error"] - found["given_error_dense"]}, float((1 - iou[1]).mean())


def _batches(data: LocalisationData, share: tuple[int, int]) -> Iterator[tuple[list[int], Tensor]]:
    """Numbers, and images (B, 3, H, W) uint8 on the device, of one size each."""
    wanted = [number for number in range(len(data.test)) if number // AT_A_TIME % share[1] == share[0]]
    for start in range(0, len(wanted), AT_A_TIME):
        part = wanted[start : start + AT_A_TIME]
        by_size: dict[torch.Size, list[tuple[int, Tensor]]] = {}
        for number, image in zip(part, in_order(data.test.image, part, data.workers), strict=True):
            by_size.setdefault(image.shape, []).append((number, image))
        for group in by_size.values():
            numbers, images = zip(*group, strict=True)
            yield list(numbers), torch.stack(images).to(data.device)


def _centre_crops(images: Tensor, data: LocalisationData) -> tuple[Tensor, tuple[int, int], Tensor]:
    """Centre crops as inputs, the column and row where they begin, and the image's pixels per pixel of the crop."""
    larger = torch.stack([resized(image, data.photos.test_side) for image in images])
    crops = torch.stack([center_crop(image, data.photos.crop) for image in larger])
    left, top = ((side - data.photos.crop) // 2 for side in (larger.shape[3], larger.shape[2]))
    return data.normalize(crops), (left, top), _scale(images, larger)


def _resized(images: Tensor, side: int, data: LocalisationData) -> tuple[Tensor, Tensor]:
    """Whole images of this shorter side as inputs, and the image's pixels per pixel of the input."""
    larger = torch.stack([resized(image, side) for image in images])
    return data.normalize(larger), _scale(images, larger)


def _scale(images: Tensor, others: Tensor) -> Tensor:
    ratios = [images.shape[axis] / others.shape[axis] for axis in (3, 2)]
    return torch.tensor(ratios * 2, device=images.device)


def _best(
    net: Classifier | Rpn | Rcnn,
    data: LocalisationData,
    views: list[tuple[Tensor, Tensor]],
    images: Tensor,
    labels: Tensor,
    corner: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """The best box of the true class of each image, (B, 4) in its pixels, and its score (B,).

    Args:
        net: Any; one that only classifies gives the mean box of the training set.
        data: The dataset of the images.
        views: Inputs, and the image's pixels per pixel of each input.
        images: (B, 3, H, W) uint8.
        labels: (B,).
        corner: Column and row of the image, in pixels of the input, where the inputs begin.
    """
    height, width = images.shape[2:]
    sides = torch.tensor([width, height] * 2, device=images.device)
    if isinstance(net, Classifier):
        box = torch.from_numpy(data.mean_box).to(images.device).float() * sides
        return box.expand(len(images), 4), torch.zeros(len(images), device=images.device)
    rpn = net.rpn if isinstance(net, Rcnn) else net
    start = torch.tensor(corner * 2, device=images.device)
    boxes, scores = [], []
    for inputs, scale in views:
        for_each = [rpn.boxes(part, these) for part, these in _parts(inputs, labels)]
        found, given = (torch.cat(each) for each in zip(*for_each, strict=True))
        boxes.append((found + start) * scale)
        scores.append(given)
    every, score = torch.cat(boxes, dim=1), torch.cat(scores, dim=1)
    best = score.topk(data.regions if isinstance(net, Rcnn) else 1, dim=1)
    every, score = every.gather(1, best.indices[:, :, None].expand(-1, -1, 4)), best.values
    if isinstance(net, Rcnn):
        every, score = _rescored(net, data, images, labels, every)
        chosen = score.argmax(dim=1, keepdim=True)
        every, score = every.gather(1, chosen[:, :, None].expand(-1, -1, 4)), score.gather(1, chosen)
    return clipped(every[:, 0], height, width), score[:, 0]


def _rescored(
    net: Rcnn, data: LocalisationData, images: Tensor, labels: Tensor, boxes: Tensor
) -> tuple[Tensor, Tensor]:
    """Boxes (B, N, 4) moved by an R-CNN that looks at them, and its scores (B, N); all in pixels of the images."""
    inputs = data.normalize(images)
    boxes = grown(boxes)
    step, parts = max(1, REGIONS_AT_A_TIME // boxes.shape[1]), []
    for start in range(0, len(images), step):
        these = slice(start, start + step)
        parts.append(net.judged(inputs[these], boxes[these], labels[these], data.photos.crop))
    scores, by = (torch.cat(each) for each in zip(*parts, strict=True))
    return moved(boxes, by * net.deviations), scores


def _rank(net: Classifier | Rpn | Rcnn, views: list[Tensor], crop: int, labels: Tensor) -> Tensor:
    """How many classes the classifier scores higher than the true one, (B,), by the mean over sizes."""
    classifier = net if isinstance(net, Classifier) else net.classifier
    window = -(-crop // (2 ** (len(classifier.stages) + 1)))
    chances = []
    for inputs in views:
        size = min(window, *(-(-side // (2 ** (len(classifier.stages) + 1))) for side in inputs.shape[2:]))
        logits = [classifier.dense(part, size).float() for part, _ in _parts(inputs, labels)]
        chances.append(torch.cat(logits).softmax(dim=1))
    mean = torch.stack(chances).mean(dim=0)
    return (mean > mean.gather(1, labels[:, None])).sum(dim=1)


def _parts(inputs: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and labels in parts that fit into the memory."""
    step = max(1, DENSE_BATCH_PIXELS // inputs[0, 0].numel())
    for start in range(0, len(inputs), step):
        yield inputs[start : start + step], labels[start : start + step]
