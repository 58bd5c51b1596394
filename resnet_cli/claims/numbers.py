"""The numbers that claims need from an experiment's runs; `report.summarize.Summary` has them. Imports no scipy."""

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
        """The runs' scale, data and precision."""

    @property
    def pairs(self) -> tuple[Any, ...]:
        """Pairs of nets of which one has a single run, compared image by image."""

    @property
    def task(self) -> Task:
        """What the nets learn."""

    @property
    def is_paper(self) -> bool:
        """Whether the numbers may stand beside the paper's without a mark."""

    def values(self, net: Net, metric: str) -> list[float]:
        """One metric of a net's finished runs that have it, ordered by seed."""

    def ensemble(self, nets: Sequence[Net]) -> Any:
        """The ensemble of these nets."""

    def in_words(self, key: str) -> str:
        """What a metric is called."""

    def sign(self, key: str) -> int:
        """1 if a lower value of the metric is better, -1 if a higher one is."""

    def nobody_reached(self, metric: str, nets: Sequence[Net]) -> bool:
        """Whether the metric counts updates to an error that no run of these nets reached: nothing was measured."""
