"""What can be looked at in trained nets, a file each: what it computes, its columns, its numbers, its panel.

Imports neither torch nor pandas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_cli.analyses.gates import Gates
from resnet_cli.analyses.gradients import Gradients
from resnet_cli.analyses.noise import Noise
from resnet_cli.analyses.responses import Responses
from resnet_cli.analyses.training_set import TrainingSet

if TYPE_CHECKING:
    from resnet_cli.analyses.analysis import Analysis

# A new analysis stands in a file here, in this list, and in the `analyses` of the tasks that have it.
ANALYSES: list[Analysis] = [Responses(), Gradients(), TrainingSet(), Gates(), Noise()]


def analysis_with(number: str) -> Analysis | None:
    """The analysis that has a number of this key; None if none has."""
    return next((each for each in ANALYSES if number in each.sums), None)


def analysis_of(name: str) -> Analysis:
    """The analysis of this name."""
    return next(each for each in ANALYSES if each.name == name)
