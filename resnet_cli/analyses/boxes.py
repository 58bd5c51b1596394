"""What a trained detector gains by better boxes at test (appendix B, Table 9): refinement, then several sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnet_cli.analyses.analysis import Analysis
from resnet_cli.tasks.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from resnet_cli.identity import RunSpec

STEPS = ("baseline", "refined", "multi")
TIMES = 12  # as long as a test: two looks at the regions, and two more at two sizes each, of an image at five sizes


class Boxes(Analysis):
    """COCO's average precision of a detector's answers, of its refined boxes, and of those from several sizes."""

    name = "boxes"
    columns = ("name", "ap50", "ap")
    may_be_nan = ()
    numbers = (
        Metric("refined_ap50", "test AP@.5, boxes refined", higher_is_better=True, header="refined AP@.5"),
        Metric("refined_ap", "test AP@[.5, .95], boxes refined", higher_is_better=True, header="refined AP"),
        Metric("multi_ap50", "test AP@.5, refined, several sizes", higher_is_better=True, header="multi AP@.5"),
        Metric("multi_ap", "test AP@[.5, .95], refined, several sizes", higher_is_better=True, header="multi AP"),
        Metric(
            "refined_gain",
            "points of AP@[.5, .95] that refinement gains",
            unit="",
            higher_is_better=True,
            header="refined gain",
        ),
        Metric(
            "multi_gain",
            "points of AP@[.5, .95] that several sizes gain",
            unit="",
            higher_is_better=True,
            header="multi gain",
        ),
    )
    note = (
        "refined: each region looked at once more at its box, both kept, and boxes voted on; multi: the same, each "
        "region seen at two of five sizes of the image; gain: points of AP@[.5, .95] over the step before."
    )

    def compute(
        self, run: RunSpec, folder: Path, data: Any, source: Path | None, progress: Callable[[int], None]
    ) -> pd.DataFrame:
        """A row a step: name, AP@.5 and AP@[.5, .95] in percent."""
        import pandas as pd
        import torch

        from resnet_cli.nets.better_boxes import answers
        from resnet_cli.tasks.detection.objects import Detections, all_objects
        from resnet_cli.weights.trained import trained_net

        net: Any = trained_net(run, folder).to(data.device).eval()
        found: dict[str, list[Detections]] = {step: [] for step in STEPS}
        with torch.no_grad():
            for number in range(len(data.test)):
                for step, answer in answers(net, data.test.image(number).to(data.device)).items():
                    found[step].append(Detections(*(each.cpu().numpy() for each in answer)))
                progress(number + 1)
        truth, task = list(all_objects(data.test)), run.task
        metrics = [task.judge(found[step], truth, data) for step in STEPS]  # type: ignore[attr-defined]
        rows = [
            {"name": step, "ap50": each["test_ap50"], "ap": each["test_ap"]}
            for step, each in zip(STEPS, metrics, strict=True)
        ]
        return pd.DataFrame(rows)[list(self.columns)]

    def is_right(self, table: pd.DataFrame, run: RunSpec) -> bool:
        """Whether it may have written this table."""
        return list(table["name"]) == list(STEPS) and all(
            table[column].between(0, 100).all() for column in ("ap50", "ap")
        )

    def sum_up(self, table: pd.DataFrame) -> dict[str, float]:
        """The averages of the steps, and the gains."""
        ap50, ap = (dict(zip(table["name"], table[column].astype(float), strict=True)) for column in ("ap50", "ap"))
        return {
            "refined_ap50": ap50["refined"],
            "refined_ap": ap["refined"],
            "multi_ap50": ap50["multi"],
            "multi_ap": ap["multi"],
            "refined_gain": ap["refined"] - ap["baseline"],
            "multi_gain": ap["multi"] - ap["refined"],
        }

    def seconds(self, run: RunSpec, test: float, update: float, epoch_tests: float) -> float:
        """Tests whose trunk and regions are seen several times."""
        return TIMES * test
