"""A net before its first update: initialised, or made from another run's trained net."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_cli.weights.trained import trained_net

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from resnet_cli.identity import RunSpec
    from resnet_cli.tasks.task import Data


def initial_net(run: RunSpec, dataset: Data, source: Path | None) -> nn.Module:
    """The net that a run begins with, on the CPU: a pure function of the run, and of its source's weights.

    Args:
        run: The run.
        dataset: Its number of classes; the training images of a net that is made from another.
        source: The folder of `run.source`, which is done; None if there is no such run.

    Raises:
        BadInputError: The source's weights are missing or damaged.
    """
    net = run.task.build_for(run, len(dataset.classes))
    if run.source:
        assert source is not None
        run.task.start(net, run, trained_net(run.source, source), dataset)
    return net
