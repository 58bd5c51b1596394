"""Classification of the objects in drawn scenes, cropped: a detector for the scenes starts from such a classifier."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from resnet_cli.nets.layout import Layout
from resnet_cli.spec import Net, Protocol
from resnet_cli.tasks.classification import Classification, errors
from resnet_cli.tasks.imagenet import BLOCKS, WIDTHS

if TYPE_CHECKING:
    from pathlib import Path

    from resnet_cli.data import Dataset
    from resnet_cli.data.dataset import Constants
    from resnet_cli.identity import Variant

THIN = 4  # times fewer filters than Table 1's nets
SIDE = 64
SCENES = (3_000, 200)  # training, of which 2,735 have an object to learn, and test
SMOKE_SCENES = (32, 3)
CONSTANTS: Constants = ((0.5, 0.5, 0.5), (1.0, 1.0, 1.0))  # of the pixels, for classifier and detector
NAME = re.compile("thin-(resnet|plain)-(18|34)")


class Crops(Classification):
    """Classification of the drawn scenes' objects, in place of ImageNet."""

    name = "crops"
    title = "crops of drawn scenes"
    section = "4.3"
    protocol = Protocol.model_construct(
        batch_size=64, learning_rate=0.05, milestones=(700, 900), iterations=1_000, warmup=None
    )
    datasets = {"drawn-crops": "crops of drawn scenes"}
    embedded = "drawn-crops"
    metrics = errors("test")
    classes = 5
    training_images = 3_742
    test_bytes = 2 * 259 * 6

    def parse(self, name: str) -> Net:
        """The net that a name means: `thin-resnet-18`, `thin-plain-18`, and both with 34 layers."""
        match = NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"'{name}' is not a net; write thin-resnet-18, thin-plain-34 ...")
        return Net(family=f"thin-{match[1]}", depth=int(match[2]), shortcut=None)

    def layout(self, net: Net, classes: int | None = None, *, stride_3x3: bool = False) -> Layout:
        """Table 1's net of 18 or 34 layers with a quarter of its filters; shortcuts are of option A."""
        self.parse(net.name)
        widths = tuple(width // THIN for width in WIDTHS)
        return Layout(
            kernel=7,
            stem_width=widths[0],
            halves=True,
            blocks=BLOCKS[net.depth],
            widths=widths,
            block="basic",
            shortcut=None if "plain" in net.family else "A",
            classes=classes or self.classes,
        )

    def side(self, dataset: str) -> int:
        """Pixels a side of a net's input."""
        return SIDE

    def obstacle(self, variant: Variant, data_dir: Path, dataset_root: Path | None = None) -> None:
        """None: they are drawn."""

    def open(self, variant: Variant, data_dir: Path, **_: Any) -> Dataset:
        """Draws the crops of the scenes."""
        from resnet_cli.tasks.detection import scenes

        return replace(scenes.crops(*(SMOKE_SCENES if variant.tiny else SCENES)), constants=CONSTANTS)
