"""The analyses of trained nets, one file each: what it computes, its columns, its numbers, its panel.

Imports neither torch nor pandas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_cli.analyses.answers import Answers
from resnet_cli.analyses.gates import Gates
from resnet_cli.analyses.gradients import Gradients
from resnet_cli.analyses.noise import Noise
from resnet_cli.analyses.per_class import PerClass
from resnet_cli.analyses.responses import Responses
from resnet_cli.analyses.training_set import TrainingSet

if TYPE_CHECKING:
    from resnet_cli.analyses.analysis import Analysis
    from resnet_cli.tasks.task import Task

# To add an analysis, add a file here, an entry in this list, and its name in the `analyses` of its tasks.
ANALYSES: list[Analysis] = [Responses(), Gradients(), TrainingSet(), Gates(), PerClass(), Answers(), Noise()]


def analysis_with(number: str) -> Analysis | None:
    """The analysis that has a number with this key; None if there is none."""
    return next((each for each in ANALYSES if number in each.sums), None)


def analyses_for(task: Task) -> list[Analysis]:
    """The analyses whose numbers a task's tables have."""
    return [each for each in ANALYSES if not each.tasks or task.name in each.tasks]


def analysis_of(name: str) -> Analysis:
    """The analysis of this name."""
    return next(each for each in ANALYSES if each.name == name)
