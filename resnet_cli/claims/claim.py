"""What every kind of claim has: its words, its metric, its nets, how it is judged and what it needs. No scipy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from resnet_cli.spec import Frozen, Net

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resnet_cli.claims.comparison import Comparison
    from resnet_cli.claims.numbers import Numbers
    from resnet_cli.claims.power import Need

MOST_NETS = 1_000

Line = Annotated[str, Field(max_length=1_000)]
Nets = Annotated[tuple[Net, ...], Field(max_length=MOST_NETS)]
Pair = tuple[Net | float, Net | float]


class BaseClaim(Frozen):
    """A claim of the paper, by which an experiment is judged.

    Attributes:
        text: The claim in words.
        metric: The key of the metric that it is about.
        has_p: Whether a significance test decides it; it then counts in the correction for several claims.
        runs_help: Whether more runs can make it reproduced.
    """

    text: Line
    metric: str

    has_p: ClassVar[bool] = True
    runs_help: ClassVar[bool] = True

    @property
    def about(self) -> tuple[str, str]:
        """Its words and its metric."""
        return self.text, self.metric

    @property
    def named(self) -> tuple[Net, ...]:
        """The nets it speaks of."""
        raise NotImplementedError

    def pairs(self) -> Sequence[Pair]:
        """The pairs that it compares; the side that is better according to the claim comes first."""
        return ()

    def compare(self, summary: Numbers) -> list[Comparison]:
        """The comparisons behind its verdict: for each pair, whether the first side is better."""
        from resnet_cli.claims.comparison import better

        return [better(summary, self.metric, *pair) for pair in self.pairs()]

    def needs(self, summary: Numbers) -> list[Need]:
        """How many seeds per side each comparison needs; empty if it does not compare runs."""
        from resnet_cli.claims.power import need_better

        return [need_better(summary, self.about, *pair) for pair in self.pairs()]

    def why_not_run(self, missing: str, summary: Numbers) -> str:
        """Why it has no verdict yet; `missing` names the nets without a result."""
        from resnet_cli.analyses import analysis_with

        if analysis := analysis_with(self.metric):
            return f"no run of {missing} has the analysis '{analysis.name}'; 'resnet run' makes it"
        early = " with an evaluation in the first quarter" if self.metric.startswith("early_") else ""
        return f"no finished run of {missing}{early}"
