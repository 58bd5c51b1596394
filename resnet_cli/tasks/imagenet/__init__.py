"""ImageNet (section 3.4): photographs of 1,000 classes, Table 1's nets, 600,000 updates of 256."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_cli.errors import BadInputError
from resnet_cli.nets.layout import Layout
from resnet_cli.spec import Net, Photos, Plateau, Protocol
from resnet_cli.spec.net import NET_NAME, parsed
from resnet_cli.tasks.classification import Classification, errors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from resnet_cli.data import PhotoDataset
    from resnet_cli.identity import RunSpec, Variant
    from resnet_cli.tasks.imagenet.folder import Folder

WIDTHS = (64, 128, 256, 512)
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
FIRST_BOTTLENECK = 50  # layers; nets from here on have bottleneck blocks, and option B in the paper
SIDE = 224


class ImageNet(Classification):
    """Classification of ImageNet's photographs, of a folder of others, or of drawn ones."""

    name = "imagenet"
    title = "ImageNet"
    section = "3.4"
    protocol = Protocol.model_construct(  # builds no validator yet; a test validates it
        batch_size=256,
        milestones=(),
        iterations=600_000,
        warmup=None,
        plateau=Plateau.model_construct(),
        photos=Photos.model_construct(),
    )
    datasets = {"imagenet": "", "synthetic-photos": "embedded synthetic set", "folder": "a folder of classes"}
    embedded = "synthetic-photos"
    folder = "folder"
    takes_root = True
    deviations = ("channel-mean", "fixed-steps", "random-resized-crop", "stride-3x3")
    views = ("1-crop", "10-crop", "dense")
    analyses = ("responses", "gradients")
    metrics = errors("validation")
    classes = 1_000
    training_images = 1_281_167
    test_bytes = 2 * 50_000 * 1_000
    depth_colours = {18: "#0072B2", 34: "#D55E00", 50: "#009E73", 101: "#000000", 152: "#CC79A7"}
    read_off = "fig4"
    tables = {"10-crop": ("table3", "table2"), "dense": ("table4",)}

    def parse(self, name: str) -> Net:
        """The net that a name means: a bare `resnet-50` and deeper has option B, the paper's for bottlenecks."""
        match = NET_NAME.fullmatch(name)
        bare = match and match[1] == "resnet" and not match[3] and int(match[2]) >= FIRST_BOTTLENECK
        return Net.model_validate(parsed(f"{name}-B" if bare else name))

    def short_name(self, net: Net) -> str:
        """The name, without the shortcut option if it is the paper's for this net."""
        return net.full_name.removesuffix("-B") if net.depth >= FIRST_BOTTLENECK else net.name

    def layout(self, net: Net, classes: int | None = None, *, stride_3x3: bool = False) -> Layout:
        """Table 1's net."""
        if net.single or net.start or net.times:
            raise ValueError(f"{net.name}: a variant of CIFAR-10's nets only")
        if net.depth not in BLOCKS:
            known = ", ".join(map(str, BLOCKS))
            raise ValueError(f"{net.name}: ImageNet's nets have {known} layers (Table 1)")
        return Layout(
            kernel=7,
            stem_width=WIDTHS[0],
            halves=True,
            blocks=BLOCKS[net.depth],
            widths=WIDTHS,
            block="bottleneck" if net.depth >= FIRST_BOTTLENECK else "basic",
            shortcut=net.shortcut,
            classes=classes or self.classes,
            stride_3x3=stride_3x3,
        )

    def side(self, dataset: str) -> int:
        """Pixels a side of a net's input."""
        return SIDE

    def work(self, run: RunSpec) -> int:
        """Multiply-adds of a run's forward passes, on crops of its protocol's size."""
        photos, protocol = run.protocol.photos, run.protocol
        assert photos is not None
        each = self.multiply_adds(run.net, stride_3x3=run.variant.stride_3x3)
        return protocol.iterations * protocol.batch_size * (each * photos.crop**2 // SIDE**2)

    def obstacle(self, variant: Variant, data_dir: Path, dataset_root: Path | None = None) -> str | None:
        """What keeps a run's dataset from being used."""
        if variant.dataset != self.embedded:
            try:
                self._find(variant, data_dir, dataset_root)
            except BadInputError as error:
                return str(error)
        return None

    def place(self, data_dir: Path) -> Path:
        """The folder of its photographs."""
        return data_dir / self.dataset

    def expected(self, data_dir: Path) -> dict[str, bool]:
        """The folders of its two sets."""
        parts = ("train", "val")
        return {f"{self.dataset}/{part}/<wnid>/*.JPEG": (self.place(data_dir) / part).is_dir() for part in parts}

    def found_at(self, dataset_root: Path) -> tuple[str, str | None]:
        """ImageNet itself, by the names of its classes and its numbers of images, or a folder of other classes."""
        from resnet_cli.tasks.imagenet import folder

        source = folder.source_of(dataset_root)
        return (self.folder if source else self.dataset), source

    def verify(
        self,
        variant: Variant,
        data_dir: Path,
        dataset_root: Path | None,
        workers: int,
        progress: Callable[[int, int], None],
    ) -> str:
        """Decodes every photograph; continues where it was interrupted."""
        from resnet_cli.data.verify import check_all

        found = self._find(variant, data_dir, dataset_root)
        check_all(found.root, found.train + found.val, data_dir / "verified", workers, progress)
        images = f"{len(found.train):,} training and {len(found.val):,} validation images"
        return f"{len(found.classes):,} classes, {images}, each of them decoded"

    def open(
        self,
        variant: Variant,
        data_dir: Path,
        *,
        protocol: Protocol | None = None,
        dataset_root: Path | None = None,
        workers: int = 2,
        decode: str = "cpu",
        known: object = None,
        report: Callable[[str], None] | None = None,
    ) -> PhotoDataset:
        """Opens a run's dataset: of photographs on disk, their names."""
        from resnet_cli.data import PhotoDataset, synthetic
        from resnet_cli.data.decode import Photographs

        photos = (protocol or (self.protocol.tiny() if variant.tiny else self.protocol)).photos
        assert photos is not None
        how = {"workers": workers, "decode": decode, "known_statistics": known, "report": report}
        if variant.dataset == self.embedded:
            counts = (64, 16) if variant.tiny else (2_000, 200)
            (train, train_sum), (test, test_sum) = (
                synthetic.draw_photographs(count, key) for key, count in enumerate(counts)
            )
            checksum = f"SHA-256 of the drawings {train_sum}, {test_sum}"
            return PhotoDataset(variant.dataset, checksum, synthetic.CLASSES, train, test, photos, **how)  # type: ignore[arg-type]
        found = self._find(variant, data_dir, dataset_root)
        return PhotoDataset(
            name=variant.source or variant.dataset,
            checksum=f"SHA-256 of names and sizes {found.sha256}",
            classes=found.classes,
            train=Photographs(found.train, found.train_labels, found.root),
            test=Photographs(found.val, found.val_labels, found.root),
            photos=photos,
            statistics_path=data_dir / "statistics" / f"{found.source}-{photos.crop}.npz",
            **how,  # type: ignore[arg-type]
        )

    def _find(self, variant: Variant, data_dir: Path, dataset_root: Path | None) -> Folder:
        from resnet_cli.tasks.imagenet import folder

        if variant.dataset == self.dataset:
            return folder.imagenet(dataset_root or self.place(data_dir))
        if dataset_root is None:
            raise BadInputError(f"{variant.source}: give this folder with --dataset-root")
        found = folder.scan(dataset_root)
        if found.source != variant.source:
            raise BadInputError(
                f"{dataset_root}: is {found.source}, not {variant.source}: another folder, or changed since; "
                "restore its images, or start new runs with the folder as it is"
            )
        return found
