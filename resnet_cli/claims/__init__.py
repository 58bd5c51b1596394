"""The paper's claims and how they are judged, a file each kind: its fields, its judgement, its power, its words.

The kinds need no scipy; `judge` and `power` do.
"""

from typing import Annotated

from pydantic import Field

from resnet_cli.claims.ensemble import BetterTogether
from resnet_cli.claims.less import Better, Less
from resnet_cli.claims.monotone import Monotone
from resnet_cli.claims.no_advantage import NoAdvantage
from resnet_cli.claims.same_start import SameStart
from resnet_cli.claims.within import Within

# A new kind stands in a file here, and in this union.
Claim = Annotated[
    Less | Within | Monotone | BetterTogether | NoAdvantage | SameStart | Better,
    Field(discriminator="kind"),
]

__all__ = ["Better", "BetterTogether", "Claim", "Less", "Monotone", "NoAdvantage", "SameStart", "Within"]
