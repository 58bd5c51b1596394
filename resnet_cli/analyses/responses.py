"""Figure 7: the standard deviations of the layers' responses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from resnet_cli.analyses.analysis import Analysis
from resnet_cli.tasks.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd
    from torch import Tensor, nn

    from resnet_cli.identity import RunSpec


class Responses(Analysis):
    """The standard deviation of each 3x3 layer's response."""

    name = "responses"
    columns = ("layer", "name", "std")
    may_be_nan = ("std",)
    numbers = (Metric("mean_response", "mean response", unit="", digits=3),)
    note = "mean response: mean of the layers' standard deviations, after BN and before addition or ReLU."
    value = "std"
    read_off = "fig7"
    axis = "standard deviation"
    definition = (
        "Standard deviation of each 3x3 layer's response, after BN and before addition or ReLU, over the images of the "
        "test set, channels and places."
    )

    def compute(
        self, run: RunSpec, folder: Path, data: Any, source: Path | None, progress: Callable[[int], None]
    ) -> pd.DataFrame:
        """One row per layer: layer, name, std."""
        from resnet_cli.weights.trained import trained_net

        return responses(trained_net(run, folder).to(data.device), data, progress)

    def sum_up(self, table: pd.DataFrame) -> dict[str, float]:
        """The mean over the layers."""
        return {"mean_response": float(table["std"].mean())}

    def seconds(self, run: RunSpec, test: float, update: float, epoch_tests: float) -> float:
        """One test."""
        return test


def responses(net: nn.Module, dataset: Any, progress: Callable[[int], None]) -> pd.DataFrame:
    """Figure 7: the standard deviation of each 3x3 layer's response, after BN and before addition or ReLU.

    Taken over all images of the test set (one view each), channels and places, with the running BN statistics.

    Returns:
        One row per layer in the order of the forward pass: layer (from 1), name, std.
    """
    import pandas as pd
    import torch

    from resnet_cli.analyses.layers import listening, responses_of, see_test_set

    layers = responses_of(net)
    sums = {name: torch.zeros(3, dtype=torch.float64) for name in layers}

    def listen(name: str, response: Tensor) -> None:
        variance, mean = (float(value) for value in torch.var_mean(response, correction=0))
        sums[name] += response.numel() * torch.tensor([1, mean, variance + mean**2], dtype=torch.float64)

    with listening(layers, listen):
        see_test_set(net.eval(), dataset, progress)
    rows = []
    for layer, (name, (count, total, squares)) in enumerate(sums.items(), start=1):
        variance = float(squares / count - (total / count) ** 2)
        rows.append({"layer": layer, "name": name, "std": math.sqrt(max(variance, 0.0))})
    return pd.DataFrame(rows)
