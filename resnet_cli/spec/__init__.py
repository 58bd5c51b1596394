"""Specs of nets and their training, as names and numbers. Tasks give them meaning. Imports no torch."""

from resnet_cli.spec.detector import Detector
from resnet_cli.spec.frozen import MOST_PIXELS, MOST_UPDATES, Frozen, Percent, first_problem
from resnet_cli.spec.net import Net, Shortcut, naming
from resnet_cli.spec.protocol import FIXED_STEPS, Photos, Plateau, Protocol, Warmup

__all__ = [
    "FIXED_STEPS",
    "MOST_PIXELS",
    "MOST_UPDATES",
    "Detector",
    "Frozen",
    "Net",
    "Percent",
    "Photos",
    "Plateau",
    "Protocol",
    "Shortcut",
    "Warmup",
    "first_problem",
    "naming",
]
