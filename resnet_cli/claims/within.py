"""A net's mean is near the paper's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from resnet_cli.claims.claim import BaseClaim
from resnet_cli.spec import Net, Percent

if TYPE_CHECKING:
    from resnet_cli.claims.comparison import Comparison
    from resnet_cli.claims.numbers import Numbers
    from resnet_cli.claims.power import Need


class Within(BaseClaim):
    """Claim: a net's mean lies within `tolerance` of the paper's value.

    Decided by the equivalence test: two one-sided one-sample t-tests, one against each end of the tolerance. Its p is
    the greater of the two.
    """

    kind: Literal["within"]
    metric: str = "test_error"
    net: Net
    value: Percent
    tolerance: float = Field(gt=0, le=100)

    @property
    def named(self) -> tuple[Net, ...]:
        """The net it speaks of."""
        return (self.net,)

    def compare(self, summary: Numbers) -> list[Comparison]:
        """One."""
        from resnet_cli.claims.comparison import sample, within

        net, value = (sample(summary, side, self.metric) for side in (self.net, self.value))
        return [within(net, value, self.tolerance)]

    def needs(self, summary: Numbers) -> list[Need]:
        """One."""
        from resnet_cli.claims.power import need_within

        return [need_within(summary, self.about, self.net, self.value, self.tolerance)]
