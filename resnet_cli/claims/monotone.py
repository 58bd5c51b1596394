"""A sequence of nets, each better than the one before."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from resnet_cli.claims.claim import BaseClaim, Nets, Pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resnet_cli.spec import Net


class Monotone(BaseClaim):
    """Claim: each net is better than the net before it.

    Decided as `Less` for every neighbouring pair. Its p is the greatest of theirs, since the claim needs all pairs to
    hold: an intersection-union test, which needs no correction for the number of pairs.
    """

    kind: Literal["monotone"]
    metric: str = "test_error"
    nets: Nets = Field(min_length=2)

    @property
    def named(self) -> tuple[Net, ...]:
        """The nets it speaks of."""
        return self.nets

    def pairs(self) -> Sequence[Pair]:
        """Each net, and the one before it."""
        return [(later, former) for former, later in pairwise(self.nets)]
