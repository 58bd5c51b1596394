"""What a claim asks of the numbers of an experiment's runs; `report.summarize.Summary` answers. Imports no scipy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resnet_cli.spec import Net
    from resnet_cli.tasks.task import Task


class Numbers(Protocol):
    """The numbers of an experiment's runs, at one variant."""

    @property
    def experiment(self) -> Any:
        """The experiment: its claims, rows and runs."""

    @property
    def variant(self) -> Any:
        """At which scale."""

    @property
    def pairs(self) -> tuple[Any, ...]:
        """Each two nets of which one has a single run, compared image by image."""

    @property
    def task(self) -> Task:
        """What the nets learn."""

    @property
    def is_paper(self) -> bool:
        """Whether the numbers may stand beside the paper's without a mark."""

    def values(self, net: Net, metric: str) -> list[float]:
        """One metric of a net's finished runs that have it, by seed."""

    def ensemble(self, nets: Sequence[Net]) -> Any:
        """The ensemble of these nets."""

    def in_words(self, key: str) -> str:
        """What a metric is called."""

    def sign(self, key: str) -> int:
        """1 for a metric that is better if it is lower, -1 for one that is better if it is higher."""

    def nobody_reached(self, metric: str, nets: Sequence[Net]) -> bool:
        """Whether updates are counted to an error that no run of these nets got to: then nothing was measured."""
