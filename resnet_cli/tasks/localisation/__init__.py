"""Localisation (appendix C): the class of an image and the box of an object of it; a per-class RPN, and an R-CNN."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from resnet_cli.errors import BadInputError
from resnet_cli.nets.layout import Layout
from resnet_cli.spec import Net, Photos, Protocol
from resnet_cli.tasks.imagenet import BLOCKS, ImageNet
from resnet_cli.tasks.localisation.pictures import PICTURES
from resnet_cli.tasks.metric import Metric
from resnet_cli.tasks.task import Scores, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from resnet_cli.device.ranks import Ranks
    from resnet_cli.identity import RunSpec, Variant
    from resnet_cli.names import Precision
    from resnet_cli.nets.complexity import Layer
    from resnet_cli.nets.localiser import Classifier, Rcnn, Rpn
    from resnet_cli.nets.loss import Loss
    from resnet_cli.tasks.localisation.data import BoxStream, LocalisationData

NAME = re.compile("(?:(rpn|rcnn)-)?((?:plain|resnet)-.+)")
SMALL_WIDTHS = (16, 32, 64)
REGIONS, SMALL_REGIONS, TINY_REGIONS = 200, 50, 4  # of an R-CNN in a test: appendix C's, and on the embedded set
COUNTS, TINY_COUNTS = (2_000, 200), (64, 16)  # images for training and test
IMAGENET = ImageNet()


class Localisation(Task):
    """The box of an object of an image's class; for ILSVRC's photographs, or for drawn ones.

    `resnet-50` is the classifier, which gives the mean box of the training set; `rpn-resnet-50` starts from it,
    `rcnn-resnet-50` from both. On the embedded set nets of 6n+2 layers have CIFAR-10's shape behind a stem that
    reduces fourfold; 18, 34, 50, 101 and 152 layers are Table 1's.
    """

    name = "localisation"
    title = "ImageNet LOC"
    section = "C"
    # Of the schedule, the paper gives only the batch size. The rest is our choice: a tenth of classification's updates,
    # from a tenth of its rate.
    protocol = Protocol.model_construct(
        batch_size=256,
        learning_rate=0.01,
        milestones=(40_000,),
        iterations=60_000,
        warmup=None,
        photos=Photos.model_construct(),
    )
    datasets = {"imagenet-loc": "", "drawn-objects": "embedded set of drawn objects"}
    embedded = "drawn-objects"
    takes_root = True
    compiles = False
    metrics = (
        Metric("top5_error", "validation top-5 localisation error", header="top-5"),
        Metric("top1_error", "validation top-1 localisation error", header="top-1"),
        Metric("given_error", "validation localisation error, class given, centre crop", header="given, 1 crop"),
        Metric("given_error_dense", "validation localisation error, class given, dense", header="given, dense"),
        Metric(
            "dense_gain",
            "points that dense testing gains",
            unit="",
            higher_is_better=True,
            is_signed=True,
            header="gain",
        ),
    )
    trained = Metric("train_error", "training error")
    training_images = 523_966
    test_bytes = 50_000 * 60
    depth_colours = IMAGENET.depth_colours
    pictures = PICTURES

    def parse(self, name: str) -> Net:
        """The net that a name means: a classifier's, as for ImageNet, with rpn- or rcnn- before it."""
        match = NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"'{name}' is not a net; write resnet-50, rpn-resnet-50, rcnn-resnet-50 ...")
        net = IMAGENET.parse(match[2])
        return net.model_copy(update={"family": f"{match[1]}-{net.family}"}) if match[1] else net

    def short_name(self, net: Net) -> str:
        """The name, without the shortcut option if it is the paper's for this net."""
        return "-".join(filter(None, (kind_of(net), IMAGENET.short_name(classifier_of(net)))))

    def check(self, net: Net) -> None:
        """Checks that there is such a net."""
        self.layout(net)

    def layout(self, net: Net, classes: int | None = None) -> Layout:
        """What a net's trunk, and the classifier that it starts from, are made of."""
        net = classifier_of(net)
        n, rest = divmod(net.depth - 2, 6)
        if net.depth in BLOCKS or n == 0 or rest or net.single or net.start or net.times:
            return IMAGENET.layout(net, classes)
        return Layout(
            kernel=3,
            stem_width=SMALL_WIDTHS[0],
            halves=True,
            blocks=(n, n, n),
            widths=SMALL_WIDTHS,
            block="basic",
            shortcut=net.shortcut,
            classes=classes or IMAGENET.classes,
        )

    def layers(self, net: Net, dataset: str | None = None, *, stride_3x3: bool = False) -> list[Layer]:
        """The layers that a net learns, without those that it takes over and keeps fixed."""
        from resnet_cli.nets.complexity import layers
        from resnet_cli.nets.localiser import layers_of_head

        layout = self.layout(net)
        kind, side = kind_of(net), IMAGENET.side("")
        *trunk, fc = layers(layout, side)
        return [*trunk, *layers_of_head(kind, layout, side)] if kind else [*trunk, fc]

    def work(self, run: RunSpec) -> int:
        """Multiply-adds of a run's forward passes, on crops of its protocol's size."""
        photos = run.protocol.photos
        assert photos is not None
        return super().work(run) * photos.crop**2 // IMAGENET.side("") ** 2

    def build(self, net: Net, variant: Variant, seed: int, classes: int) -> Classifier | Rpn | Rcnn:
        """Builds the net that a run trains."""
        from resnet_cli.nets.localiser import build

        return build(kind_of(net), self.layout(net, classes), seed)

    def classes_of(self, state: Mapping[str, Tensor]) -> int:
        """The number of classes of a net with these weights."""
        return len(next(tensor for name, tensor in state.items() if f".{name}".endswith(".fc.bias")))

    def source(self, run: RunSpec) -> RunSpec | None:
        """For an R-CNN the run of the RPN, for an RPN that of the classifier: on ImageNet the run of Table 3 itself.

        On the embedded set the classifier is trained by the same protocol.
        """
        kind, net = kind_of(run.net), classifier_of(run.net)
        if kind == "rcnn":
            return run.model_copy(update={"net": net.model_copy(update={"family": f"rpn-{net.family}"})})
        if kind == "rpn" and run.variant.dataset == self.dataset:
            variant = run.variant.model_copy(update={"dataset": IMAGENET.dataset})
            return run.of(net, variant, IMAGENET.protocol, run.seed)
        return run.model_copy(update={"net": net}) if kind else None

    def start(self, net: nn.Module, run: RunSpec, trained: nn.Module, data: LocalisationData) -> None:
        """Takes over the classifier's convolutions, and the whole of the nets that are kept fixed."""
        from resnet_cli.nets.localiser import Rcnn, Rpn, take_over

        if isinstance(net, Rcnn):
            assert isinstance(trained, Rpn)
            net.rpn.load_state_dict(trained.state_dict())
            take_over(net.trunk, trained.classifier)
        else:
            assert isinstance(net, Rpn)
            net.classifier.load_state_dict(trained.state_dict())
            take_over(net.trunk, net.classifier)

    def obstacle(self, variant: Variant, data_dir: Path, dataset_root: Path | None = None) -> str | None:
        """What keeps a run's dataset from being used."""
        from resnet_cli.tasks.localisation import ilsvrc

        return None if variant.dataset == self.embedded else ilsvrc.problem(dataset_root or self.place(data_dir))

    def place(self, data_dir: Path) -> Path:
        """The folder that has Data and Annotations."""
        return data_dir / "ILSVRC"

    def expected(self, data_dir: Path) -> dict[str, bool]:
        """The folders of images and of annotations."""
        from resnet_cli.tasks.localisation import ilsvrc

        parts = [f"{kind}/{part}" for kind in (ilsvrc.IMAGES, ilsvrc.ANNOTATIONS) for part in ("train", "val")]
        return {f"ILSVRC/{part}": (self.place(data_dir) / part).is_dir() for part in parts}

    def verify(
        self,
        variant: Variant,
        data_dir: Path,
        dataset_root: Path | None,
        workers: int,
        progress: Callable[[int, int], None],
    ) -> str:
        """Reads every annotation and decodes every photograph."""
        from resnet_cli.data.verify import check_all
        from resnet_cli.tasks.localisation import ilsvrc

        tree = ilsvrc.scan(dataset_root or self.place(data_dir))
        boxes = sum(len(each) for part in (tree.train, tree.val) for each in ilsvrc.read(tree, part)[1])
        names = [tree.image(name) for name in tree.train + tree.val]
        check_all(tree.root, names, data_dir / "verified", workers, progress)
        images = f"{len(tree.train):,} training and {len(tree.val):,} validation images with boxes"
        return f"{len(tree.classes):,} classes, {images}, {boxes:,} boxes"

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
    ) -> LocalisationData:
        """Opens a run's dataset: of photographs on disk, their names and all boxes."""
        from resnet_cli.data import synthetic
        from resnet_cli.data.decode import Photographs
        from resnet_cli.tasks.localisation import drawn, ilsvrc
        from resnet_cli.tasks.localisation.data import LocalisationData

        photos = (protocol or (self.protocol.tiny() if variant.tiny else self.protocol)).photos
        assert photos is not None
        if decode != "cpu":
            raise BadInputError("--decode cuda: training with boxes needs the CPU's decoder")
        how: dict[str, Any] = {"photos": photos, "workers": workers, "known_statistics": known, "report": report}
        if variant.dataset == self.embedded:
            counts = TINY_COUNTS if variant.tiny else COUNTS
            (train, train_boxes, one), (test, test_boxes, other) = (
                drawn.draw(count, key) for key, count in enumerate(counts)
            )
            return LocalisationData(
                name=variant.dataset,
                checksum=f"SHA-256 of the drawings {one}, {other}",
                classes=synthetic.CLASSES,
                train=train,
                test=test,
                train_boxes=train_boxes,
                test_boxes=test_boxes,
                regions=TINY_REGIONS if variant.tiny else SMALL_REGIONS,
                **how,
            )
        tree = ilsvrc.scan(dataset_root or self.place(data_dir))
        if report:
            report(f"reading {len(tree.train) + len(tree.val):,} annotations")
        (train_labels, train_boxes), (test_labels, test_boxes) = (
            ilsvrc.read(tree, names) for names in (tree.train, tree.val)
        )
        return LocalisationData(
            name=variant.dataset,
            checksum=f"SHA-256 of names and sizes {tree.sha256}",
            classes=tree.classes,
            train=Photographs([tree.image(name) for name in tree.train], train_labels, tree.root),
            test=Photographs([tree.image(name) for name in tree.val], test_labels, tree.root),
            train_boxes=train_boxes,
            test_boxes=test_boxes,
            regions=REGIONS,
            statistics_path=data_dir / "statistics" / f"loc-{tree.sha256[:8]}-{photos.crop}.npz",
            **how,
        )

    def stream(self, data: LocalisationData, run: RunSpec, share: tuple[int, int] = (0, 1)) -> BoxStream:
        """The batches that a run trains on."""
        from resnet_cli.tasks.localisation.data import BoxStream

        return BoxStream(data, run.seed, run.protocol.batch_size, run.protocol.iterations, share)

    def loss(self) -> Loss:
        """The net's own loss: its mean over a batch, and the wrong answers.

        Wrong answers are, for a classifier, wrong classes; for an RPN, best boxes of the true class with an IoU below
        0.5; for an R-CNN, regions that it wrongly says to contain an object, or not to.
        """
        return lambda outputs, *batch: outputs(*batch)

    def test(
        self,
        net: nn.Module,
        data: LocalisationData,
        precision: Precision,
        views: str | None = None,
        *,
        progress: Callable[[int], None] | None = None,
        ranks: Ranks | None = None,
    ) -> Scores:
        """Tests a net; keeps the boxes from the centre crop and from whole images, and the rank of the true class.

        The loss is the mean of 1 - IoU by whole images.
        """
        from resnet_cli.device.ranks import ALONE
        from resnet_cli.tasks.localisation.judge import errors, localise

        boxes, order = localise(net.eval(), data, precision, progress, ranks or ALONE)  # type: ignore[arg-type]
        metrics, loss = errors(boxes, order, data.test_boxes)
        kept = {
            "boxes": boxes,
            "ranks": order.astype("int16"),
            "labels": data.test_labels.cpu().numpy().astype("int16"),
        }
        return Scores(loss, {each.key: metrics[each.key] for each in self.metrics}, len(order), kept)


def kind_of(net: Net) -> str:
    """`rpn`, `rcnn`, or nothing: a classifier."""
    return net.family.rpartition("-")[0]


def classifier_of(net: Net) -> Net:
    """The classifier that a net starts from, or that it is."""
    return net.model_copy(update={"family": net.family.rpartition("-")[2]})
