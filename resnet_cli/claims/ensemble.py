"""Several nets together are better than the best of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from resnet_cli.claims.claim import BaseClaim, Line, Nets

if TYPE_CHECKING:
    from resnet_cli.claims.comparison import Comparison
    from resnet_cli.claims.numbers import Numbers
    from resnet_cli.spec import Net


class BetterTogether(BaseClaim):
    """Claim: several nets together are better than the best of them alone, on the same images.

    Decided by the exact one-sided sign test on the images that only one of the two gets right; for detectors, on the
    classes in which one of the two is better. More runs cannot change the verdict, so it is never "too few runs".
    """

    kind: Literal["ensemble"]
    metric: Line = "test_error_top5"
    nets: Nets = Field(min_length=2)

    runs_help = False

    @property
    def named(self) -> tuple[Net, ...]:
        """The nets it speaks of."""
        return self.nets

    def compare(self, summary: Numbers) -> list[Comparison]:
        """One."""
        from resnet_cli.claims.comparison import SIGNIFICANCE, Comparison
        from resnet_cli.claims.significance import Sample

        ensemble, metric = summary.ensemble(self.nets), self.metric
        together = f"{len(ensemble.nets)} nets together"
        if ensemble.missing:
            left, right = (Sample(name, 0, None, None) for name in (together, "the best of them"))
            return [Comparison(left, right, None, None, "not run")]
        test, ours, (name, its) = ensemble.against_best(metric, summary.sign(metric))
        return [
            Comparison(
                Sample(together, 1, ours, None),
                Sample(name, 1, its, None),
                "sign test",
                test.p,
                "reproduced" if test.p < SIGNIFICANCE else "not reproduced",
                ours - its,
                by_image=test,
            )
        ]

    def why_not_run(self, missing: str, summary: Numbers) -> str:
        """What is missing."""
        return f"missing: {summary.ensemble(self.nets).missing}"
