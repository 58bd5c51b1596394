"""The backward signal at each layer, at the start and at the end of training."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

from resnet_cli.analyses.analysis import WEIGHTS, Analysis
from resnet_cli.tasks.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd
    from torch import Tensor, nn

    from resnet_cli.identity import RunSpec

BATCHES = 10  # over which backward signals are averaged


class Gradients(Analysis):
    """The L2 norm of the gradient of the loss with respect to each 3x3 layer's response."""

    name = "gradients"
    columns = ("weights", "layer", "name", "norm")
    may_be_nan = ("norm",)
    numbers = (
        Metric("gradient_ratio_start", "first/last start", unit=""),
        Metric("gradient_ratio", "backward signal, first layer over last", unit="", header="first/last end"),
    )
    note = (
        "first/last: the backward signal (L2 norm) at the first 3x3 layer over that at the last; before the first "
        "update, and after the last."
    )
    value = "norm"
    axis = "L2 norm"
    definition = (
        "L2 norm of the gradient of a batch's loss with respect to each 3x3 layer's response (after BN, before "
        "addition or ReLU); mean over a run's first ten batches, BN as in training."
    )

    def compute(
        self, run: RunSpec, folder: Path, data: Any, source: Path | None, progress: Callable[[int], None]
    ) -> pd.DataFrame:
        """One row per layer, at the start and at the end: weights, layer, name, norm."""
        import pandas as pd

        from resnet_cli.train.start import initial_net
        from resnet_cli.weights.trained import trained_net

        nets = (initial_net(run, data, source), trained_net(run, folder))
        found = [gradients(net.to(data.device), run, data, progress) for net in nets]
        named = [frame.assign(weights=weights) for weights, frame in zip(WEIGHTS, found, strict=True)]
        return pd.concat(named)[list(self.columns)]

    def weights(self, run: RunSpec) -> set[str]:
        """Both."""
        return set(WEIGHTS)

    def sum_up(self, table: pd.DataFrame) -> dict[str, float]:
        """The first layer's norm over the last layer's, at the start and at the end."""
        norms = [table.loc[table["weights"] == weights, "norm"] for weights in WEIGHTS]
        start, end = (float(each.iloc[0] / each.iloc[-1]) for each in norms)
        return {"gradient_ratio": end, "gradient_ratio_start": start}

    def seconds(self, run: RunSpec, test: float, update: float, epoch_tests: float) -> float:
        """Ten updates for each of the two nets."""
        return 2 * BATCHES * update


def gradients(net: nn.Module, run: RunSpec, dataset: Any, progress: Callable[[int], None]) -> pd.DataFrame:
    """The backward signal at each 3x3 layer: the norm of the gradient of the loss with respect to the layer's response.

    The response is that of Figure 7. The norm is that of a batch, averaged over the run's first ten batches. As in
    training, batches are normalised by their own statistics and split into `accumulate` parts. The weights do not
    change.

    Returns:
        One row per layer in the order of the forward pass: layer (from 1), name, norm.
    """
    import pandas as pd

    from resnet_cli.analyses.layers import listening, responses_of
    from resnet_cli.device.torch_device import memory_format

    layout, loss_of = memory_format(dataset.device, "fp32"), run.task.loss()
    net.train().to(memory_format=layout)
    layers = responses_of(net)
    norms, squares = dict.fromkeys(layers, 0.0), dict.fromkeys(layers, 0.0)
    batches, parts = min(BATCHES, run.protocol.iterations), run.variant.accumulate or 1

    def listen(name: str, response: Tensor) -> None:
        def note(gradient: Tensor) -> None:
            squares[name] += float(gradient.norm()) ** 2

        response.register_hook(note)  # type: ignore[no-untyped-call]

    with listening(layers, listen), contextlib.closing(run.task.stream(dataset, run)) as stream:
        for iteration in range(1, batches + 1):
            for images, *targets in zip(*(part.chunk(parts) for part in stream.batch(iteration)), strict=True):
                loss, _ = loss_of(net, images.contiguous(memory_format=layout), *targets)
                (loss / parts).backward()  # type: ignore[no-untyped-call]
            net.zero_grad(set_to_none=True)
            for name, square in squares.items():
                norms[name] += math.sqrt(square) / batches
                squares[name] = 0.0
            progress(iteration * run.protocol.batch_size)
    return pd.DataFrame(
        [{"layer": layer, "name": name, "norm": norm} for layer, (name, norm) in enumerate(norms.items(), 1)]
    )
