"""Detection (section 4.3 and appendices A and B): boxes around the objects of an image, and what each is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnet_cli.spec import Detector, Protocol
from resnet_cli.tasks.detection.detection import Detection
from resnet_cli.tasks.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from resnet_cli.identity import Variant
    from resnet_cli.tasks.detection.objects import DetectionData, Detections, Objects

SMOKE_SCENES = (32, 8)  # training and test


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
    datasets = {"voc07+12": "", "drawn-scenes": "embedded drawn scenes"}
    embedded = "drawn-scenes"
    metrics = (Metric("test_map50", "test mAP@.5", higher_is_better=True, header="mAP@.5"),)
    classes = 20
    training_images = 16_551
    test_bytes = 4_952 * 100 * 26

    def obstacle(self, variant: Variant, data_dir: Path, dataset_root: Path | None = None) -> str | None:
        """What keeps a run's dataset from being used."""
        return None if variant.dataset == self.embedded else "not yet"

    def open(self, variant: Variant, data_dir: Path, **_: Any) -> DetectionData:
        """Opens a run's dataset."""
        from resnet_cli.tasks.detection import scenes

        if variant.dataset == self.embedded:
            return scenes.open_scenes(*(SMOKE_SCENES if variant.tiny else (1_000, 200)))
        raise NotImplementedError

    def judge(self, found: Sequence[Detections], truth: Sequence[Objects], data: DetectionData) -> dict[str, float]:
        """Mean average precision: the mean over the classes of VOC's AP, by 11 points."""
        from resnet_cli.tasks.detection.voc_ap import voc_ap

        return {"test_map50": voc_ap(found, truth, len(data.classes), "11-points").mean}
