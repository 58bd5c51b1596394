"""A net is not better than another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from resnet_cli.claims.claim import BaseClaim
from resnet_cli.spec import Net

if TYPE_CHECKING:
    from resnet_cli.claims.comparison import Comparison
    from resnet_cli.claims.numbers import Numbers
    from resnet_cli.claims.power import Need


class NoAdvantage(BaseClaim):
    """Claim: the left net is not better than the right one by `margin` or more.

    Decided by Welch's test of whether it is better by less than the margin.
    """

    kind: Literal["no-advantage"]
    metric: str = "test_error"
    left: Net
    right: Net
    margin: float = Field(gt=0, le=100)

    @property
    def named(self) -> tuple[Net, ...]:
        """The nets it speaks of."""
        return (self.left, self.right)

    def compare(self, summary: Numbers) -> list[Comparison]:
        """One."""
        from resnet_cli.claims.comparison import not_better, sample

        left, right = (sample(summary, side, self.metric) for side in self.named)
        return [not_better(left, right, self.margin, summary.sign(self.metric))]

    def needs(self, summary: Numbers) -> list[Need]:
        """One."""
        from resnet_cli.claims.power import need_no_advantage

        return [need_no_advantage(summary, self.about, self.left, self.right, self.margin)]
