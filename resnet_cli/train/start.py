"""A net before its first update: initialised, or made from another run's trained net."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_cli.weights.trained import given_net, trained_net

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from resnet_cli.identity import RunSpec
    from resnet_cli.tasks.data import Data


def initial_net(run: RunSpec, dataset: Data, source: Path | None) -> nn.Module:
    """The net that a run begins with, on the CPU: a pure function of the run, and of its source's weights.

    Args:
        run: The run.
        dataset: Gives the number of classes, and the training images for a net that is made from another.
        source: The folder of `run.source`, which is done; else the file of weights to start from, if there is one.

    Raises:
        BadInputError: The source's weights are missing or damaged, or a file's are of another net.
    """
    net = run.task.build_for(run, len(dataset.classes))
    if source is not None:
        trained = trained_net(run.source, source) if run.source else given_net(run, source)
        run.task.start(net, run, trained, dataset)
    return net
