"""Ensembles that are tested as one net: their runs, and how they answer."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pydantic import Field

from resnet_cli.identity.run import RunSpec
from resnet_cli.spec import Frozen

if TYPE_CHECKING:
    from resnet_cli.tasks.task import Task


class EnsembleSpec(Frozen):
    """Runs whose nets are tested as one net.

    Attributes:
        members: Runs of one task, with one variant and one protocol.
        step: How the nets answer: a step of `analyses.answers`, or empty: as in their own tests.
    """

    members: tuple[RunSpec, ...] = Field(min_length=2)
    step: str = ""

    @property
    def task(self) -> Task:
        """What the nets learn."""
        return self.members[0].task

    @property
    def ensemble_id(self) -> str:
        """The name of the ensemble's folder."""
        parts = [self.step, *(run.run_id for run in self.members)]
        digest = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:8]
        return f"{self.task.name}-{len(self.members)}-nets-{digest}"

    def key(self, metric: str) -> str:
        """The key of its test's metric among a run's numbers: `test_ap`, or `multi-scale_ap` with a step."""
        return ensemble_key(self.step, metric)


def ensemble_key(step: str, metric: str) -> str:
    """The key of a metric among a run's numbers if the nets answer with this step."""
    return f"{step}_{metric.removeprefix('test_')}" if step else metric
