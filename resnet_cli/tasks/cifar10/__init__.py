"""CIFAR-10 (section 4.2): images of 32x32 in ten classes, nets of 6n+2 layers, 64,000 updates of 128."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from resnet_cli.nets.layout import Layout
from resnet_cli.spec import Net, Protocol
from resnet_cli.tasks.classification import Classification, errors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any, BinaryIO

    from resnet_cli.data import Dataset
    from resnet_cli.identity import Variant

WIDTHS = (16, 32, 64)
SHALLOWEST = 8
HIGHWAY = re.compile("highway-([0-9]{1,5})")


class Cifar10(Classification):
    """Classification of CIFAR-10's images, or of drawn shapes of its format."""

    name = "cifar10"
    title = "CIFAR-10"
    section = "4.2"
    protocol = Protocol.model_construct()  # as `Protocol()`, but builds no validator yet; a test validates it
    datasets = {
        "cifar10": "",
        "synthetic": "embedded synthetic set",
        "shapes-16": "embedded shapes of 16x16 pixels",
    }
    embedded = "synthetic"
    is_downloadable = True
    splits = ("full", "45k-5k")
    analyses = ("responses", "gradients", "training-set", "gates")
    metrics = errors("test")
    averaged_metrics = (metrics[0].averaged,)
    classes = 10
    training_images = 50_000
    test_bytes = 2 * 10_000 * 10
    spreads = {"test_error": 0.16}  # ResNet-110's 6.61 +- 0.16 over five runs; the paper gives no other
    depth_colours = {  # Okabe and Ito's
        20: "#E69F00",
        32: "#56B4E9",
        44: "#009E73",
        56: "#D55E00",
        110: "#000000",
        1202: "#CC79A7",
    }
    read_off = "fig6"
    tables = {"1-crop": ("table6",)}

    def parse(self, name: str) -> Net:
        """The net that a name means: one of the paper's, or a Highway net of its layers, `highway-20`."""
        match = HIGHWAY.fullmatch(name)
        return Net(family="highway", depth=int(match[1]), shortcut=None) if match else super().parse(name)

    def analyses_of(self, net: Net) -> tuple[str, ...]:
        """Only Highway nets have gates."""
        return tuple(name for name in self.analyses if name != "gates" or net.family == "highway")

    def layout(self, net: Net, classes: int | None = None, *, stride_3x3: bool = False) -> Layout:
        """Three stages of n blocks, depth = 6n+2; blocks of a single layer are twice as many."""
        for depth in (net.depth, net.start or net.depth):
            if depth < SHALLOWEST or (depth - 2) % 6:
                raise ValueError(f"{net.name}: depth {depth} is not 6n+2 (8, 14, 20, 26, 32, 38, 44, ...)")
        n = (net.depth - 2) // 6 * (2 if net.single else 1)
        return Layout(
            kernel=3,
            stem_width=WIDTHS[0],
            halves=False,
            blocks=(n, n, n),
            widths=WIDTHS,
            block="highway" if net.family == "highway" else "single" if net.single else "basic",
            shortcut="A" if net.family == "highway" else net.shortcut,
            classes=classes or self.classes,
        )

    def side(self, dataset: str) -> int:
        """Pixels a side of a net's input."""
        return 16 if dataset == "shapes-16" else 32

    def obstacle(self, variant: Variant, data_dir: Path, dataset_root: Path | None = None) -> str | None:
        """What keeps a run's dataset from being used."""
        if variant.dataset != self.dataset:
            return None
        from resnet_cli.tasks.cifar10 import files

        return files.problem(data_dir)

    def place(self, data_dir: Path) -> Path:
        """Where it lies; files that are in `data_dir` itself are found, too."""
        return data_dir

    def expected(self, data_dir: Path) -> dict[str, bool]:
        """The official files."""
        from resnet_cli.tasks.cifar10 import files

        return {f"{files.FOLDER}/{name}": (files.folder_of(data_dir) / name).is_file() for name in files.FILES}

    def fetch(self, data_dir: Path, wrap: Callable[[BinaryIO, int], BinaryIO]) -> Path:
        """Downloads the official archive, unless it is there, and unpacks it."""
        from resnet_cli.tasks.cifar10 import files

        files.download(data_dir, wrap)
        return files.folder_of(data_dir).parent

    def open(self, variant: Variant, data_dir: Path, **_: Any) -> Dataset:
        """Loads a run's training and test set into memory."""
        from resnet_cli.data import synthetic
        from resnet_cli.tasks.cifar10 import files

        if variant.dataset == self.dataset:
            dataset = files.load(data_dir)
        elif variant.dataset == "shapes-16":
            dataset = synthetic.load_small()
        elif variant.tiny:
            dataset = synthetic.load(train=64, test=64)
        else:
            dataset = synthetic.load()
        return dataset if variant.split == "full" else dataset.held_out()
