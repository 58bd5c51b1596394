"""Detection (section 4.3 and appendices A and B): boxes around the objects of an image, and what each is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnet_cli.errors import BadInputError
from resnet_cli.spec import Detector, Protocol
from resnet_cli.tasks.detection.detection import Detection
from resnet_cli.tasks.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

    from resnet_cli.identity import Variant
    from resnet_cli.tasks.detection.objects import DetectionData, Detections, Objects


class Voc(Detection):
    """PASCAL VOC's twenty classes, or drawn scenes."""

    name = "voc"
    title = "PASCAL VOC"
    protocol = Protocol.model_construct(  # builds no validator yet; a test validates it
        batch_size=2,
        learning_rate=1e-3,
        milestones=(60_000,),
        iterations=80_000,
        weight_decay=5e-4,
        warmup=None,
        bias_rate=2.0,
        detector=Detector.model_construct(),
    )
    datasets = {
        "voc07+12": "",
        "voc07++12": "VOC's 07++12",
        "voc07": "VOC 2007 alone",
        "voc12": "VOC 2012's validation images, after its training images",
        "drawn-scenes": "embedded drawn scenes",
    }
    embedded = "drawn-scenes"
    analyses = ("per-class",)
    metrics = (Metric("test_map50", "test mAP@.5", higher_is_better=True, header="mAP@.5"),)
    classes = 20
    training_images = 16_551
    test_bytes = 4_952 * 100 * 26

    @property
    def reader(self) -> Any:
        """The module that reads its datasets from the disk."""
        from resnet_cli.tasks.detection import voc

        return voc

    def judge(
        self, found: Sequence[Detections], truth: Sequence[Objects], data: DetectionData
    ) -> dict[str, np.ndarray]:
        """VOC's AP of each class: by 11 points, on 2012's test sets by area."""
        from resnet_cli.tasks.detection import voc_ap

        return {"test_map50": voc_ap.voc_ap(found, truth, len(data.classes), voc_ap.by_of(data.name)).ap}


class Coco(Detection):
    """Microsoft COCO's eighty classes, or the drawn scenes judged as COCO judges."""

    name = "coco"
    title = "COCO"
    protocol = Protocol.model_construct(  # as for VOC
        batch_size=8,
        learning_rate=1e-3,
        milestones=(240_000,),
        iterations=320_000,
        weight_decay=5e-4,
        warmup=None,
        bias_rate=2.0,
        detector=Detector.model_construct(anchors=(64, 128, 256, 512), negatives_from=0.0),
    )
    datasets = {
        "coco2014": "",
        "coco2017": "COCO 2017",
        "coco-trainval35k": "COCO 2014's minival, after the rest",
        "drawn-scenes-coco": "embedded drawn scenes",
    }
    embedded = "drawn-scenes-coco"
    analyses = ("answers",)
    metrics = (
        Metric("test_ap50", "test AP@.5", higher_is_better=True, header="AP@.5"),
        Metric("test_ap", "test AP@[.5, .95]", higher_is_better=True, header="AP@[.5, .95]"),
    )
    classes = 80
    training_images = 82_081
    test_bytes = 40_504 * 100 * 26

    @property
    def reader(self) -> Any:
        """The module that reads its datasets from the disk."""
        from resnet_cli.tasks.detection import coco

        return coco

    def obstacle(self, variant: Variant, data_dir: Path, dataset_root: Path | None = None) -> str | None:
        """What keeps a run's dataset from being used, or its result from being evaluated."""
        from resnet_cli.tasks.detection.coco_ap import missing

        return missing() or super().obstacle(variant, data_dir, dataset_root)

    def open_test(self, variant: Variant, folder: Path, workers: int = 2) -> DetectionData:
        """Opens a dataset of which only the test images need be there, if its result can be evaluated."""
        from resnet_cli.tasks.detection.coco_ap import missing

        if problem := missing():
            raise BadInputError(problem)
        return super().open_test(variant, folder, workers)

    def judge(
        self, found: Sequence[Detections], truth: Sequence[Objects], data: DetectionData
    ) -> dict[str, np.ndarray]:
        """Average precision of each class at an overlap of a half, and the mean over overlaps from 0.5 to 0.95."""
        from resnet_cli.tasks.detection.coco_ap import coco_ap

        judged = coco_ap(found, truth, len(data.classes))
        return {"test_ap50": judged.ap50, "test_ap": judged.ap}
