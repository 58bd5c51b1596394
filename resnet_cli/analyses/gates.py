"""How far the gates of Highway nets are open, at the start and at the end of training (section 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnet_cli.analyses.analysis import WEIGHTS, Analysis
from resnet_cli.tasks.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd
    from torch import Tensor, nn

    from resnet_cli.identity import RunSpec

CLOSED = 0.05  # a gate whose mean is below this is called closed


class Gates(Analysis):
    """The mean of each block's gate T(x); only Highway nets have gates."""

    name = "gates"
    columns = ("weights", "layer", "name", "gate")
    may_be_nan = ("gate",)
    numbers = (
        Metric("mean_gate_start", "gate start", unit=""),
        Metric("mean_gate", "mean gate", unit="", header="gate end"),
        Metric("closed_gates", "blocks whose gate is closed", header="closed end", digits=0),
    )
    note = (
        "gate: the mean of a Highway net's gates T(x) over its blocks, on the test set; before the first update, and "
        f"after the last. closed: blocks (%) whose gate has a mean below {CLOSED:g}."
    )
    value = "gate"
    part = "block"
    axis = "mean gate"
    definition = (
        "Mean of each block's gate T(x) over the images of the test set, channels and places, in the order of the "
        "blocks; 1 is the plain block, 0 the shortcut."
    )

    def compute(
        self, run: RunSpec, folder: Path, data: Any, source: Path | None, progress: Callable[[int], None]
    ) -> pd.DataFrame:
        """One row per block, at the start and at the end: weights, layer (the block's number), name, gate."""
        import pandas as pd

        from resnet_cli.train.start import initial_net
        from resnet_cli.weights.trained import trained_net

        # Before the first update the running statistics of batch normalisation are meaningless.
        start, end = initial_net(run, data, source).train(), trained_net(run, folder).eval()
        found = [gates(net.to(data.device), data, progress) for net in (start, end)]
        named = [frame.assign(weights=weights) for weights, frame in zip(WEIGHTS, found, strict=True)]
        return pd.concat(named)[list(self.columns)]

    def weights(self, run: RunSpec) -> set[str]:
        """Both."""
        return set(WEIGHTS)

    def is_right(self, table: pd.DataFrame, run: RunSpec) -> bool:
        """Whether the table is plausible."""
        return bool(table["gate"].dropna().between(0, 1).all()) and super().is_right(table, run)

    def sum_up(self, table: pd.DataFrame) -> dict[str, float]:
        """Means over the blocks, and the share of those that are closed."""
        start, end = (table.loc[table["weights"] == weights, "gate"] for weights in WEIGHTS)
        closed = 100 * float((end < CLOSED).mean())
        return {"mean_gate_start": float(start.mean()), "mean_gate": float(end.mean()), "closed_gates": closed}

    def seconds(self, run: RunSpec, test: float, update: float, epoch_tests: float) -> float:
        """Two tests."""
        return 2 * test


def gates(net: nn.Module, dataset: Any, progress: Callable[[int], None]) -> pd.DataFrame:
    """The mean of each gate over all images of the test set (one view each), channels and places.

    Returns:
        One row per block in the order of the forward pass: layer (from 1), name, gate.
    """
    import pandas as pd

    from resnet_cli.analyses.layers import listening, see_test_set
    from resnet_cli.nets.resnet import HighwayBlock

    blocks = {name: module for name, module in net.named_modules() if isinstance(module, HighwayBlock)}
    sums = dict.fromkeys(blocks, 0.0)

    def listen(name: str, opened: Tensor) -> None:
        sums[name] += float(opened.mean()) * len(opened)

    with listening({name: block.openness for name, block in blocks.items()}, listen):
        images = see_test_set(net, dataset, progress)
    rows = [
        {"layer": layer, "name": name, "gate": total / images} for layer, (name, total) in enumerate(sums.items(), 1)
    ]
    return pd.DataFrame(rows)
