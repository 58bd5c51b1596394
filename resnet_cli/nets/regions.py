"""Proposals and regions of Faster R-CNN as in its authors' code: torchvision's modules, changed where they differ.

Each class says what it changes. Boxes are left, top, right and bottom edges in pixels, (N, 4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.roi_heads import RoIHeads  # type: ignore[import-untyped]
from torchvision.models.detection.rpn import AnchorGenerator, RegionProposalNetwork, RPNHead  # type: ignore[import-untyped]
from torchvision.ops import box_iou, roi_pool  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from torchvision.models.detection.image_list import ImageList  # type: ignore[import-untyped]

    from resnet_cli.spec import Detector

STRIDE = 16  # of the shared map, conv4_x's or conv5_3's
RATIOS = (0.5, 1.0, 2.0)  # height over width
SCORE, OVERLAP, MOST = 0.05, 0.3, 100  # of the answer: least score, IoU of NMS, boxes per image

Targets = dict[str, Tensor]


class Anchors(AnchorGenerator):
    """Anchors centred in the middle of cells. torchvision's are at corners, and its stride depends on the padding.

    Args:
        sides: Sides of the square anchors.
    """

    def __init__(self, sides: tuple[int, ...]) -> None:
        super().__init__((sides,), (RATIOS,))

    def forward(self, images: ImageList, maps: list[Tensor]) -> list[Tensor]:
        """All anchors of the map, (cells * anchors, 4), for each image of the list."""
        ((*_, height, width),) = (each.shape for each in maps)
        self.set_cell_anchors(maps[0].dtype, maps[0].device)
        y, x = (STRIDE * (torch.arange(length, device=maps[0].device) + 0.5) for length in (height, width))
        shifts = torch.cartesian_prod(y, x).flip(1).repeat(1, 2)
        anchors = (shifts[:, None] + self.cell_anchors[0]).reshape(-1, 4)
        return [anchors] * len(images.image_sizes)


class ProposalHead(RPNHead):
    """A head with fp32 results: in bf16, with its eight bits, a box's position would be some pixels off."""

    def forward(self, maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Maps (B, C, H, W) to logits and offsets of the anchors at each place, (B, A, H, W) and (B, 4 * A, H, W)."""
        logits, offsets = super().forward(maps)
        return [each.float() for each in logits], [each.float() for each in offsets]


class Proposals(RegionProposalNetwork):
    """A region proposal network that trains without anchors that cross the image's edge, and drops narrow proposals.

    torchvision trains on all anchors and drops only proposals that are narrower than a thousandth of a pixel. As in
    torchvision, an object is scored by one logit instead of a softmax of two, and the 3x3 convolution has as many
    filters as its input has channels: 512 with VGG-16, as in the authors' code.
    """

    def __init__(self, channels: int, settings: Detector) -> None:
        before, after = (
            {"training": training, "testing": test} for training, test in (settings.before_nms, settings.proposals)
        )
        super().__init__(
            Anchors(settings.anchors),
            ProposalHead(channels, len(settings.anchors) * len(RATIOS)),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n=before,
            post_nms_top_n=after,
            nms_thresh=0.7,
        )

    def of_image(
        self, image: ImageList, features: Tensor, target: Targets | None, narrowest: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The proposals of one image, (N, 4), and in training the two losses.

        Args:
            image: A list with this image only.
            features: Its map, (1, C, H, W).
            target: Its annotated objects: boxes (M, 4).
            narrowest: Least side of a proposal, pixels.
        """
        self.min_size = narrowest
        targets = target and [{**target, "size": torch.tensor(image.image_sizes[0])}]
        boxes, losses = self(image, {"0": features}, targets)
        return boxes[0], losses

    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[Targets]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Labels of all anchors, -1 for those that are left out, and their target boxes.

        If no anchor lies within the image, all are used.
        """
        all_labels, all_boxes = [], []
        for each, target in zip(anchors, targets, strict=True):
            height, width = target["size"].tolist()
            inside = ((each[:, :2] >= 0).all(1) & (each[:, 2] <= width) & (each[:, 3] <= height)).nonzero()[:, 0]
            if not len(inside):
                inside = torch.arange(len(each), device=each.device)
            (labels,), (boxes,) = super().assign_targets_to_anchors([each[inside]], [target])
            all_labels.append(labels.new_full((len(each),), -1).index_copy(0, inside, labels))
            all_boxes.append(each.clone().index_copy(0, inside, boxes))
        return all_labels, all_boxes


class Sampled(NamedTuple):
    """Regions of one image to train on: boxes (R, 4), classes (R,), and offsets to their targets (R, 4)."""

    boxes: Tensor
    labels: Tensor
    offsets: Tensor


class Predictor(nn.Module):
    """The two sibling layers: class scores, the background first, and a box per class.

    They are initialised with N(0, 0.01) and N(0, 0.001); torchvision's FastRCNNPredictor has nn.Linear's own.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(channels, classes + 1)
        self.bbox_pred = nn.Linear(channels, 4 * (classes + 1))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (R, channels) to logits (R, classes + 1) and offsets (R, 4 * (classes + 1))."""
        return self.cls_score(features), self.bbox_pred(features)


class Regions(RoIHeads):
    """The region head: RoI pooling, not RoIAlign; smooth L1 with beta 1, not 1/9; a least overlap for background.

    RoI max pooling takes each region's features from the shared map; they pass `head` before the two siblings. With
    `context` (appendix B) the whole image's features, made in the same way, are concatenated to those of each region.
    """

    def __init__(
        self, head: nn.Module, predictor: nn.Module, settings: Detector, grid: int, *, context: bool = False
    ) -> None:
        super().__init__(
            None,
            head,
            predictor,
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=settings.regions,
            positive_fraction=0.25,
            bbox_reg_weights=(10.0, 10.0, 5.0, 5.0),
            score_thresh=SCORE,
            nms_thresh=OVERLAP,
            detections_per_img=MOST,
        )
        self.grid = grid
        self.context = context
        self.negatives_from = settings.negatives_from

    def describe(self, features: Tensor, boxes: list[Tensor], sizes: list[tuple[int, int]]) -> Tensor:
        """The features of the regions of all images that the two siblings take, (R, channels).

        Args:
            features: (B, C, H, W).
            boxes: Regions of each image.
            sizes: Height and width of each image.
        """
        seen: Tensor = self.box_head(self._pooled(features, boxes))
        if self.context:
            whole = [features.new_tensor([[0, 0, width, height]]) for height, width in sizes]
            counts = torch.tensor([len(each) for each in boxes], device=features.device)
            around = self.box_head(self._pooled(features, whole)).repeat_interleave(counts, dim=0)
            seen = torch.cat([seen, around], dim=1)
        return seen

    def _pooled(self, features: Tensor, boxes: list[Tensor]) -> Tensor:
        # In fp32: in bf16, with its eight bits, positions would be some pixels off.
        pooled: Tensor = roi_pool(features.float(), [each.float() for each in boxes], self.grid, 1 / STRIDE)
        return pooled

    def siblings(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (R, classes + 1) and offsets (R, 4 * (classes + 1)) from the regions' features (R, channels)."""
        logits, offsets = self.box_predictor(seen)
        return logits.float(), offsets.float()

    def sample(self, proposals: Tensor, target: Targets) -> Sampled:
        """Regions of one image to train on, sampled from the proposals (N, 4) and the objects' own boxes."""
        boxes, _, labels, offsets = self.select_training_samples([proposals], [target])
        return Sampled(boxes[0], labels[0], offsets[0])

    def assign_targets_to_proposals(
        self, proposals: list[Tensor], gt_boxes: list[Tensor], gt_labels: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The object that each region overlaps most, and its class: 0 is the background, -1 means not used."""
        matched, labels = super().assign_targets_to_proposals(proposals, gt_boxes, gt_labels)
        if self.negatives_from:
            for boxes, regions, classes in zip(gt_boxes, proposals, labels, strict=True):
                if len(boxes):
                    classes[box_iou(boxes, regions).amax(dim=0) < self.negatives_from] = -1
        return matched, labels

    def loss(self, logits: Tensor, offsets: Tensor, sampled: list[Sampled]) -> tuple[dict[str, Tensor], Tensor]:
        """The two losses, over all regions of all images, and the share of objects' regions that are misclassified."""
        labels = torch.cat([each.labels for each in sampled])
        wanted = torch.cat([each.offsets for each in sampled])
        of_object = (labels > 0).nonzero()[:, 0]
        chosen = offsets.reshape(len(labels), -1, 4)[of_object, labels[of_object]]
        boxes = functional.smooth_l1_loss(chosen, wanted[of_object], beta=1.0, reduction="sum") / len(labels)
        wrong = (logits[of_object].argmax(dim=1) != labels[of_object]).sum() / max(1, len(of_object))
        return {"loss_classes": functional.cross_entropy(logits, labels), "loss_boxes": boxes}, wrong

    def forward(self, *_: Any) -> Any:
        """Not used; see `describe`, `siblings`, `sample` and `loss`."""
        raise NotImplementedError
