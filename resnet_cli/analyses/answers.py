"""What box refinement and several scales at test time add to a trained detector (appendix B, Table 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnet_cli.analyses.analysis import Analysis
from resnet_cli.tasks.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from resnet_cli.identity import RunSpec

ROWS = ("plain", "refined", "multi-scale")
STEPS = {"refined": "box refinement", "multi-scale": "box refinement and several scales"}


class Answers(Analysis):
    """The detector's average precision with each further step; without any, it is that of the run's own test."""

    name = "answers"
    columns = ("name", "ap50", "ap")
    may_be_nan = ()
    numbers = (
        *(
            Metric(f"{step}_{key}", f"{heading}, {words}", higher_is_better=True, header=f"{step} {heading}")
            for step, words in STEPS.items()
            for key, heading in (("ap50", "AP@.5"), ("ap", "AP@[.5, .95]"))
        ),
        Metric(
            "refinement_gain", "gain by box refinement, AP@[.5, .95]", higher_is_better=True, header="by refinement"
        ),
        Metric("scales_gain", "gain by several scales, AP@[.5, .95]", higher_is_better=True, header="by scales"),
    )
    note = (
        "refined: with box refinement: each region's best box is pooled and classified a second time, and overlapping "
        "boxes vote on its position (appendix B). multi-scale: in addition, each region is pooled at two of five sizes "
        "of the image. by refinement, by scales: the gain in AP@[.5, .95] over the step before."
    )
    ensemble_step = ROWS[-1]
    tasks = ("coco",)

    def compute(
        self, run: RunSpec, folder: Path, data: Any, source: Path | None, progress: Callable[[int], None]
    ) -> pd.DataFrame:
        """One row for the plain test and one per step: name, AP at IoU 0.5, and AP over IoU 0.5 to 0.95, in percent."""
        import pandas as pd

        from resnet_cli.weights.trained import trained_net

        net = trained_net(run, folder).to(data.device)
        rows = []
        for number, step in enumerate(ROWS):

            def told(seen: int, before: int = number * len(data.test)) -> None:
                progress(before + seen)

            metrics = run.task.test(net, data, "fp32", step, progress=told).metrics
            rows.append({"name": step, "ap50": metrics["test_ap50"], "ap": metrics["test_ap"]})
        return pd.DataFrame(rows)

    def is_right(self, table: pd.DataFrame, run: RunSpec) -> bool:
        """Whether the table is plausible."""
        in_percent = table["ap50"].between(0, 100) & table["ap"].between(0, 100)
        return tuple(table["name"]) == ROWS and bool(in_percent.all())

    def sum_up(self, table: pd.DataFrame) -> dict[str, float]:
        """Both numbers of each step, and the gains."""
        ap50, ap = (dict(zip(table["name"], map(float, table[key]), strict=True)) for key in ("ap50", "ap"))
        of_steps = {f"{step}_{key}": each[step] for step in STEPS for key, each in (("ap50", ap50), ("ap", ap))}
        plain, refined, scales = (ap[step] for step in ROWS)
        return {**of_steps, "refinement_gain": refined - plain, "scales_gain": scales - refined}

    def seconds(self, run: RunSpec, test: float, update: float, epoch_tests: float) -> float:
        """The plain test takes one; twice the regions take two; five sizes, and two of them per region, take four."""
        return 7 * test
