"""A detector's average precision for each class of PASCAL VOC (Tables 10 and 11), from its run's saved test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnet_cli.analyses.analysis import Analysis
from resnet_cli.tasks.detection.voc import CLASSES
from resnet_cli.tasks.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from resnet_cli.identity import RunSpec

SHORT = {"aeroplane": "aero", "bicycle": "bike", "diningtable": "table", "motorbike": "mbike", "pottedplant": "plant"}
SHORT |= {"tvmonitor": "tv", "train": "railway"}  # `train` is already the header of the training error


class PerClass(Analysis):
    """Average precision per class, from the saved predictions; it runs no new test."""

    name = "per-class"
    columns = ("name", "ap")
    may_be_nan = ("ap",)  # for a class without objects in the test set
    numbers = tuple(
        Metric(f"ap_{name}", f"AP of {name}", higher_is_better=True, digits=1, header=SHORT.get(name, name))
        for name in CLASSES
    )
    note = "aero to tv: average precision (%) of each class; the mAP is their mean."
    tasks = ("voc",)

    def compute(
        self, run: RunSpec, folder: Path, data: Any, source: Path | None, progress: Callable[[int], None]
    ) -> pd.DataFrame:
        """The classes in the dataset's order, and the average precision of each in percent."""
        import pandas as pd

        from resnet_cli.storage.run_folder import PREDICTIONS, read_arrays
        from resnet_cli.tasks.detection.found import from_kept
        from resnet_cli.tasks.detection.objects import all_objects
        from resnet_cli.tasks.detection.voc_ap import by_of, voc_ap

        found = from_kept(read_arrays(folder / PREDICTIONS), len(data.test))
        judged = voc_ap(found, all_objects(data.test), len(data.classes), by_of(data.name))
        return pd.DataFrame({"name": data.classes, "ap": judged.ap})

    def sum_up(self, table: pd.DataFrame) -> dict[str, float]:
        """The average precision of each class."""
        return {f"ap_{name}": float(ap) for name, ap in zip(table["name"], table["ap"], strict=True)}

    def seconds(self, run: RunSpec, test: float, update: float, epoch_tests: float) -> float:
        """Hardly any time."""
        return 0.0
