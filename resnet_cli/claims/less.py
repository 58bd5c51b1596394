"""One net is better than another, or than a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator as validates

from resnet_cli.claims.claim import BaseClaim, Pair
from resnet_cli.spec import Net, Percent

if TYPE_CHECKING:
    from collections.abc import Sequence


class Less(BaseClaim):
    """Claim: the left net is better than the right one, or than a number; a lower value of the metric is better.

    The one-sided Welch t-test over runs decides between two nets, the one-sample t-test against a number.
    """

    kind: Literal["less"]
    metric: str = "test_error"
    left: Net | Percent
    right: Net | Percent

    @validates(mode="after")
    def _compares_a_net(self) -> Self:
        if not self.named:
            raise ValueError("left and right are both numbers; one must be a net")
        return self

    @property
    def named(self) -> tuple[Net, ...]:
        """The nets it speaks of."""
        return tuple(side for side in (self.left, self.right) if isinstance(side, Net))

    def pairs(self) -> Sequence[Pair]:
        """The two sides."""
        return [(self.left, self.right)]


class Better(Less):
    """The same for any metric: of an accuracy, a higher value is better."""

    kind: Literal["better"]  # type: ignore[assignment]  # fields of a model may be narrowed
