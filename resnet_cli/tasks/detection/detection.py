"""What the tasks of detection share: the nets, what they start from, joint training, and how they answer."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_cli.spec import Net, Protocol
from resnet_cli.tasks.detection.crops import Crops
from resnet_cli.tasks.detection.pictures import PICTURES
from resnet_cli.tasks.imagenet import BLOCKS, FIRST_BOTTLENECK, ImageNet
from resnet_cli.tasks.metric import Metric
from resnet_cli.tasks.task import Scores, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from torch import Tensor, nn

    from resnet_cli.device.ranks import Ranks
    from resnet_cli.identity import RunSpec, Variant
    from resnet_cli.names import Precision
    from resnet_cli.nets.complexity import Layer
    from resnet_cli.nets.faster_rcnn import FasterRCNN
    from resnet_cli.nets.layout import Layout
    from resnet_cli.nets.loss import Loss
    from resnet_cli.tasks.detection.objects import DetectionData, Detections, Objects
    from resnet_cli.tasks.detection.stream import DetectionStream

NAME = re.compile("(faster-rcnn(?:-context)?)-(resnet|vgg|thin-resnet|thin-plain)-([0-9]{2,3})")
LARGE, THIN = ImageNet(), Crops()
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of its training images' channels
# The mean and the standard deviation of red, green and blue on the scale 0 to 1 that weights of each convention assume.
# Caffe's weights assume pixels from 0 to 255 in the order blue, green, red; `start` reverses that order.
PIXELS = {
    "paper": (IMAGENET_MEAN, (1.0, 1.0, 1.0)),
    "torchvision": (IMAGENET_MEAN, IMAGENET_STD),
    "caffe": ((122.7717 / 255, 115.9465 / 255, 102.9801 / 255), (1 / 255,) * 3),
}


class Detection(Task):
    """Detection of objects in images: their classes, boxes and scores."""

    section = "4.3"
    takes_root = True
    takes_weights = True
    joins_nets = True
    compiles = False
    pictures = PICTURES
    trained = Metric("train_error", "error of the sampled regions of objects")
    parts = ("loss_objectness", "loss_rpn_boxes", "loss_classes", "loss_boxes")
    depth_colours = {16: "#56B4E9", 18: "#0072B2", 34: "#D55E00", 50: "#009E73", 101: "#000000", 152: "#CC79A7"}

    def parse(self, name: str) -> Net:
        """The net that a name means: `faster-rcnn-resnet-101`, `faster-rcnn-vgg-16`, `faster-rcnn-thin-plain-18`."""
        match = NAME.fullmatch(name)
        if match:
            kind, depth = match[2], int(match[3])
            known = {"vgg": (16,), "resnet": tuple(each for each in BLOCKS if each >= FIRST_BOTTLENECK)}
            if depth in known.get(kind, (18, 34)) and (kind != "vgg" or "context" not in match[1]):
                return Net(family=f"{match[1]}-{kind}", depth=depth, shortcut=None)
        raise ValueError(
            f"'{name}' is not a detector; write faster-rcnn-vgg-16, faster-rcnn-resnet-50, -101 or -152, "
            "faster-rcnn-thin-resnet-18 or -34, faster-rcnn-thin-plain-18 or -34"
        )

    def layout(self, net: Net, *, stride_3x3: bool = False) -> Layout | None:
        """What the classifier below a detector is made of; None for VGG-16."""
        if net.family == "faster-rcnn-vgg":
            return None
        task, classifier = self.classifier(net)
        return task.layout(classifier, stride_3x3=stride_3x3)

    def classifier(self, net: Net) -> tuple[Crops | ImageNet, Net]:
        """The task and the net of the classifier that a detector starts from; not for VGG-16."""
        task = THIN if "thin" in net.family else LARGE
        return task, task.net(net.name.removeprefix("faster-rcnn-").removeprefix("context-"))

    def source(self, run: RunSpec) -> RunSpec | None:
        """The run of the classifier below a detector: on ImageNet, or on drawn images if the detector's are drawn."""
        if run.net.family == "faster-rcnn-vgg" or run.variant.weights:
            return None
        task, net = self.classifier(run.net)
        drawn = run.variant.dataset == self.embedded
        variant = run.variant.model_copy(update={"dataset": task.embedded if drawn else task.dataset})
        protocol = task.protocol.tiny() if variant.tiny else task.protocol.scaled(variant.schedule)
        return run.model_copy(update={"net": net, "variant": variant, "protocol": protocol})

    def start(self, net: nn.Module, run: RunSpec, trained: nn.Module, data: DetectionData) -> None:
        """Takes over all layers of a classifier but the last, batch normalisation with statistics of its training set.

        For a classifier of drawn images, one pass over them computes the statistics here. ImageNet's images are not
        available here, so for its classifiers the running statistics are used.
        """
        from torch.optim.swa_utils import update_bn

        source = run.source
        if source and source.variant.dataset == source.task.embedded:
            images = source.task.open(source.variant, Path(), protocol=source.protocol, workers=0)
            with closing(source.task.stream(images, source)) as stream:
                updates = range(1, 1 + -(-len(images.train_labels) // source.protocol.batch_size))
                update_bn((stream.batch(number)[0] for number in updates), trained)
        state = trained.state_dict()
        if (run.variant.weights or "").startswith("caffe"):  # blue, green, red
            first = next(name for name, tensor in state.items() if tensor.ndim == 4)  # noqa: PLR2004  a convolution
            state[first] = state[first].flip(1)
        (take_over_vgg if run.net.family == "faster-rcnn-vgg" else take_over)(net, state)

    def blank(self, run: RunSpec, state: Mapping[str, Tensor]) -> nn.Module:
        """The classifier below a detector, as torchvision or Caffe has it."""
        if run.net.family == "faster-rcnn-vgg":
            from torchvision.models import vgg16  # type: ignore[import-untyped]

            net: nn.Module = vgg16(num_classes=len(state["classifier.6.bias"]), init_weights=False)
            return net
        task, net_spec = self.classifier(run.net)
        return task.make(net_spec, 0, len(state["fc.bias"]), stride_3x3=self._stride_3x3(run.variant))

    @staticmethod
    def _stride_3x3(variant: Variant) -> bool:
        return (variant.weights or "").startswith("torchvision")

    def build(self, net: Net, variant: Variant, seed: int, classes: int) -> FasterRCNN:
        """A detector with the paper's settings."""
        return self._build(net, variant, seed, classes, self.protocol)

    def build_for(self, run: RunSpec, classes: int) -> FasterRCNN:
        """A detector with its run's settings."""
        return self._build(run.net, run.variant, run.seed, classes, run.protocol)

    def _build(self, net: Net, variant: Variant, seed: int, classes: int, protocol: Protocol) -> FasterRCNN:
        from resnet_cli.nets.faster_rcnn import Pixels, on_resnet, on_vgg16
        from resnet_cli.tasks.detection.crops import CONSTANTS

        assert protocol.detector is not None
        pixels = (
            Pixels(*CONSTANTS)
            if "thin" in net.family
            else Pixels(*PIXELS[(variant.weights or "paper").partition("-")[0]])
        )
        layout = self.layout(net, stride_3x3=self._stride_3x3(variant))
        if layout is None:
            return on_vgg16(classes, protocol.detector, pixels, seed)
        context = "context" in net.family
        return on_resnet(layout, classes, protocol.detector, pixels, seed, context=context)

    def classes_of(self, state: Mapping[str, Tensor]) -> int:
        """The number of classes of a detector with these weights, without the background."""
        return len(state["roi_heads.box_predictor.cls_score.bias"]) - 1

    def layers(self, net: Net, dataset: str | None = None, *, stride_3x3: bool = False) -> Sequence[Layer]:
        """A detector's layers, with the paper's settings and classes; multiply-adds of a training image."""
        from resnet_cli.tasks.detection.size import layers

        assert self.protocol.detector is not None
        return layers(self.layout(net), self.classes, self.protocol.detector, context="context" in net.family)

    def work(self, run: RunSpec) -> int:
        """Multiply-adds of a run's forward passes, with its own sizes and regions."""
        protocol = run.protocol
        return protocol.iterations * protocol.batch_size * self._of_an_image(run.net, protocol)

    def _of_an_image(self, net: Net, protocol: Protocol) -> int:
        from resnet_cli.tasks.detection.size import layers

        assert protocol.detector is not None
        counted = layers(self.layout(net), self.classes, protocol.detector, context="context" in net.family)
        return sum(layer.multiply_adds for layer in counted)

    def cost(self, net: Net, protocol: Protocol) -> str | None:
        """Time and memory of a run on one GPU."""
        from resnet_cli.tasks.detection.cost import on_a_gpu

        return on_a_gpu(net.name, protocol, self._of_an_image(net, protocol), self.parameters(net))

    classes: int

    @property
    def reader(self) -> Any:
        """The module that reads its datasets from the disk."""
        raise NotImplementedError

    def obstacle(self, variant: Variant, data_dir: Path, dataset_root: Path | None = None) -> str | None:
        """What keeps a run's dataset from being used."""
        if variant.dataset == self.embedded:
            return None
        problem: str | None = self.reader.obstacle(dataset_root or data_dir, variant.dataset)
        return problem

    def place(self, data_dir: Path) -> Path:
        """Where its datasets lie."""
        place: Path = self.reader.root_of(data_dir)
        return place

    def expected(self, data_dir: Path) -> Mapping[str, bool]:
        """The lists or the files of annotations."""
        found: dict[str, bool] = self.reader.expected(data_dir)
        return found

    def verify(
        self,
        variant: Variant,
        data_dir: Path,
        dataset_root: Path | None,
        workers: int,
        progress: Callable[[int, int], None],
    ) -> str:
        """Reads every annotation and decodes every image; continues where it was interrupted."""
        where, records = dataset_root or data_dir, data_dir / "verified"
        words: str = self.reader.verify(where, variant.dataset, records, workers, progress)
        return words

    def open(
        self, variant: Variant, data_dir: Path, *, dataset_root: Path | None = None, workers: int = 2, **_: Any
    ) -> DetectionData:
        """Opens a run's dataset; an image on disk is read shortly before it is used."""
        if variant.dataset == self.embedded:
            return open_drawn(variant)
        data: DetectionData = self.reader.open_data(dataset_root or data_dir, variant.dataset)
        return replace(data, workers=workers)

    def open_test(self, variant: Variant, folder: Path, workers: int = 2) -> DetectionData:
        """Opens a dataset of which only the test images need be there.

        Raises:
            BadInputError: They are not.
        """
        if variant.dataset == self.embedded:
            return open_drawn(variant)
        data: DetectionData = self.reader.open_data(folder, variant.dataset, test_only=True)
        return replace(data, workers=workers)

    def stream(self, data: DetectionData, run: RunSpec, share: tuple[int, int] = (0, 1)) -> DetectionStream:
        """The batches that a run trains on."""
        from resnet_cli.tasks.detection.stream import DetectionStream

        return DetectionStream(data, run.seed, run.protocol.batch_size, run.protocol.iterations, share)

    def loss(self) -> Loss:
        """The sum of the four losses."""
        from resnet_cli.nets.faster_rcnn import joint_loss

        return joint_loss

    def results(self, kept: Mapping[str, np.ndarray], data: Callable[[], DetectionData]) -> bytes:
        """The detections in COCO's JSON."""
        from resnet_cli.tasks.detection.coco_ap import results_json
        from resnet_cli.tasks.detection.found import from_kept

        its = data()
        return results_json(from_kept(kept, len(its.test)), its.test.ids, its.category_ids)

    def judge(
        self, found: Sequence[Detections], truth: Sequence[Objects], data: DetectionData
    ) -> dict[str, np.ndarray]:
        """The task's metrics of each class (C,), by key, in percent; NaN where there is no object to find."""
        raise NotImplementedError

    def test(
        self,
        net: nn.Module,
        data: DetectionData,
        precision: Precision,
        views: str | None = None,
        *,
        progress: Callable[[int], None] | None = None,
        ranks: Ranks | None = None,
    ) -> Scores:
        """Tests a detector; keeps its detections. There is no loss on the test set."""
        from resnet_cli.device.ranks import ALONE
        from resnet_cli.nets.answers import PLAIN, WAYS
        from resnet_cli.tasks.detection.found import detect, kept
        from resnet_cli.tasks.detection.objects import all_objects
        from resnet_cli.tasks.detection.voc_ap import mean_of

        found = detect(net, data, precision, progress, ranks or ALONE, WAYS.get(views or "", PLAIN))
        by_class = self.judge(found, list(all_objects(data.test)), data)
        metrics = {key: mean_of(values) for key, values in by_class.items()}
        return Scores(float("nan"), metrics, len(found), kept(found), by_class)

    def together(self, nets: Sequence[nn.Module]) -> nn.Module:
        """The ensemble of appendix B."""
        from resnet_cli.nets.faster_rcnn import Together

        return Together(nets)


def open_drawn(variant: Variant) -> DetectionData:
    """The drawn scenes; only a few for a smoke run."""
    from resnet_cli.tasks.detection import crops, scenes

    return scenes.open_scenes(*(crops.SMOKE_SCENES if variant.tiny else crops.SCENES), name=variant.dataset)


def take_over(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Puts a ResNet's layers, under torchvision's names, into the detector that is made of them; not its classifier."""
    own = net.state_dict()
    renamed = {
        new: tensor
        for name, tensor in state.items()
        for new in (f"backbone.stem.{name}", f"backbone.{name}", f"roi_heads.box_head.{name}")
        if new in own
    }
    net.load_state_dict(renamed, strict=False)


def take_over_vgg(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Puts VGG-16's convolutions and its first two fully connected layers, in torchvision's order, into a detector."""
    own = net.state_dict()
    theirs = [tensor for name, tensor in state.items() if not name.startswith("classifier.6")]
    ours = [name for name in own if name.startswith(("backbone", "roi_heads.box_head"))]
    net.load_state_dict(dict(zip(ours, theirs, strict=True)), strict=False)
