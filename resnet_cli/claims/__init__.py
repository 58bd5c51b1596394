"""The paper's claims and how they are judged, one file per kind: its fields, its test, its power, its words.

Only `judge` and `power` need scipy.
"""

from typing import Annotated

from pydantic import Field

from resnet_cli.claims.ensemble import BetterTogether
from resnet_cli.claims.less import Better, Less
from resnet_cli.claims.monotone import Monotone
from resnet_cli.claims.no_advantage import NoAdvantage
from resnet_cli.claims.same_start import SameStart
from resnet_cli.claims.within import Within

# To add a kind, add a file here and its class to this union.
Claim = Annotated[
    Less | Within | Monotone | BetterTogether | NoAdvantage | SameStart | Better,
    Field(discriminator="kind"),
]

__all__ = ["Better", "BetterTogether", "Claim", "Less", "Monotone", "NoAdvantage", "SameStart", "Within"]
