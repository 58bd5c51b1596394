"""The error on the training set; for a net made from another one also at its start, and that of the other net."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from resnet_cli.analyses.analysis import Analysis
from resnet_cli.tasks.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd
    from torch import nn

    from resnet_cli.data import Dataset
    from resnet_cli.identity import RunSpec


class TrainingSet(Analysis):
    """Loss and error on the training images without augmentation."""

    name = "training-set"
    columns = ("weights", "loss", "error", "images", "changed")
    may_be_nan = ("loss",)
    numbers = (
        Metric("start_error", "train set start"),
        Metric("training_set_error", "error on the training set", header="train set end"),
    )
    besides = ("source_error",)
    note = (
        "train set: error (%) on the training images without augmentation, tested like the test images. start: before "
        "the first update, for nets made from another net; end: after the last update."
    )

    def compute(
        self, run: RunSpec, folder: Path, data: Any, source: Path | None, progress: Callable[[int], None]
    ) -> pd.DataFrame:
        """One row per net: weights, loss, error, images, changed."""
        from resnet_cli.train.start import initial_net
        from resnet_cli.weights.trained import trained_net

        nets = {"end": trained_net(run, folder)}
        if run.source:
            assert source is not None
            nets["start"] = initial_net(run, data, source)
            nets["source"] = trained_net(run.source, source)
        return training_set({weights: net.to(data.device) for weights, net in nets.items()}, data, progress)

    def weights(self, run: RunSpec) -> set[str]:
        """`end`, and for a net made from another one `start` and `source`."""
        return {"start", "end", "source"} if run.source else {"end"}

    def is_right(self, table: pd.DataFrame, run: RunSpec) -> bool:
        """Whether the table is plausible."""
        unique = table["weights"].is_unique and bool(table["error"].between(0, 100).all())
        return unique and super().is_right(table, run)

    def sum_up(self, table: pd.DataFrame) -> dict[str, float]:
        """The errors."""
        columns = {"end": "training_set_error", "start": "start_error", "source": "source_error"}
        errors = table.set_index("weights")["error"].to_dict()
        return {columns[str(weights)]: error for weights, error in errors.items()}

    def seconds(self, run: RunSpec, test: float, update: float, epoch_tests: float) -> float:
        """A test of the training set for each net."""
        return test * epoch_tests * len(self.weights(run))


def training_set(nets: dict[str, nn.Module], dataset: Dataset, progress: Callable[[int], None]) -> pd.DataFrame:
    """Loss and error (percent) on the training images without augmentation, unlike the running training error.

    Args:
        nets: Nets by weights: `end`, and for a net made from another one also `start` and `source`.
        dataset: Its training set is used.
        progress: Called with the number of images done so far.

    Returns:
        One row per net: weights, loss, error, images, and changed: images on which it differs from the source.
    """
    import pandas as pd

    from resnet_cli.evaluate.evaluate import evaluate

    training = replace(dataset, test_images=dataset.train_images, test_labels=dataset.train_labels)
    found = {weights: evaluate(net, training, "fp32", progress=progress) for weights, net in nets.items()}
    answers = {weights: each.logits.argmax(dim=1) for weights, each in found.items()}
    rows = []
    for weights, each in found.items():
        changed = int((answers[weights] != answers["source"]).sum()) if "source" in answers else 0
        rows.append(
            {"weights": weights, "loss": each.loss, "error": each.top1_error, "images": each.images, "changed": changed}
        )
    return pd.DataFrame(rows)
