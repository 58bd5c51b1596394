"""What identifies a run: its net, its variant, its protocol and its seed. Imports no torch."""

from resnet_cli.identity.ensemble import EnsembleSpec
from resnet_cli.identity.run import RunSpec
from resnet_cli.identity.variant import Variant, Views

__all__ = ["EnsembleSpec", "RunSpec", "Variant", "Views"]
