"""A net made from another one starts with that net's error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field
from pydantic import model_validator as validates

from resnet_cli.claims.claim import BaseClaim
from resnet_cli.spec import Net

if TYPE_CHECKING:
    from resnet_cli.claims.comparison import Comparison
    from resnet_cli.claims.numbers import Numbers


class SameStart(BaseClaim):
    """Claim: before its first update, a net made from a trained net has that net's error on the training set.

    It has no p: the errors agree in each run (one run is enough), or the claim is not reproduced.

    Attributes:
        tolerance: Percent; the added layers are identities except for rounding.
    """

    kind: Literal["same-start"]
    metric: Literal["training_set_error"] = "training_set_error"
    net: Net
    tolerance: float = Field(gt=0, le=100)

    has_p = False

    @validates(mode="after")
    def _is_made_from_another(self) -> Self:
        if not self.net.start:
            raise ValueError(f"{self.net.name}: starts from scratch; name a net like plain-56-from-20")
        return self

    @property
    def named(self) -> tuple[Net, ...]:
        """The net it speaks of."""
        return (self.net,)

    def compare(self, summary: Numbers) -> list[Comparison]:
        """One."""
        from resnet_cli.claims.comparison import Comparison
        from resnet_cli.claims.significance import DECIMALS, Sample

        errors = [summary.values(self.net, metric) for metric in ("start_error", "source_error")]
        start = Sample.of(f"{self.net.name} before its first update", errors[0])
        source = Sample.of(f"plain-{self.net.start}", errors[1])
        if start.mean is None or source.mean is None:
            return [Comparison(start, source, None, None, "not run")]
        greatest = max((round(one - other, DECIMALS) for one, other in zip(*errors, strict=True)), key=abs)
        verdict: Literal["reproduced", "not reproduced"] = (
            "reproduced" if abs(greatest) <= self.tolerance else "not reproduced"
        )
        test = f"the same within {self.tolerance:g} in each run"
        return [Comparison(start, source, test, None, verdict, greatest)]
