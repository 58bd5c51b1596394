"""Several nets together are better than the best of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from resnet_cli.claims.claim import BaseClaim, Nets

if TYPE_CHECKING:
    from resnet_cli.claims.comparison import Comparison
    from resnet_cli.claims.numbers import Numbers
    from resnet_cli.spec import Net


class BetterTogether(BaseClaim):
    """Claim: the averaged scores of several nets err less than the best of them alone, on the same images.

    Decided by the exact one-sided sign test on the images that only one of the two gets right. It has no side to add
    runs to, so that it is reproduced or not.
    """

    kind: Literal["ensemble"]
    metric: Literal["test_error", "test_error_top5"] = "test_error_top5"
    nets: Nets = Field(min_length=2)

    runs_help = False

    @property
    def named(self) -> tuple[Net, ...]:
        """The nets it speaks of."""
        return self.nets

    def compare(self, summary: Numbers) -> list[Comparison]:
        """One."""
        from resnet_cli.claims.comparison import SIGNIFICANCE, Comparison
        from resnet_cli.claims.significance import Sample, SignTest

        ensemble, metric = summary.ensemble(self.nets), self.metric
        together = f"{len(ensemble.nets)} nets together"
        if ensemble.missing:
            left, right = (Sample(name, 0, None, None) for name in (together, "the best of them"))
            return [Comparison(left, right, None, None, "not run")]
        best = ensemble.best_member(metric)
        ours, its = ensemble.wrong[metric][-1], ensemble.wrong[metric][best]
        test = SignTest.of("the ensemble", "the net", ours, its)
        return [
            Comparison(
                Sample(together, 1, 100 * float(ours.mean()), None),
                Sample(ensemble.members[best], 1, 100 * float(its.mean()), None),
                "sign test",
                test.p,
                "reproduced" if test.p < SIGNIFICANCE else "not reproduced",
                100 * float(ours.mean() - its.mean()),
                by_image=test,
            )
        ]

    def why_not_run(self, missing: str, summary: Numbers) -> str:
        """What it waits for."""
        return f"tested runs are missing: {summary.ensemble(self.nets).missing}"
