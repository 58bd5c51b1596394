"""What the tasks of classifying images share: the paper's nets, the cross-entropy, top-1 and top-5 error."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from resnet_cli.spec import Net
from resnet_cli.tasks.metric import Metric
from resnet_cli.tasks.task import Scores, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from resnet_cli.data import Dataset, PhotoDataset
    from resnet_cli.device.ranks import Ranks
    from resnet_cli.identity import RunSpec, Variant
    from resnet_cli.names import Precision
    from resnet_cli.nets.complexity import Layer
    from resnet_cli.nets.layout import Layout
    from resnet_cli.nets.loss import Loss
    from resnet_cli.nets.resnet import ResNet, Zeros


class Classification(Task):
    """Classification of images.

    Attributes:
        classes: The paper's number of classes.
    """

    classes: int
    trained = Metric("train_error", "training error")

    def layout(self, net: Net, classes: int | None = None, *, stride_3x3: bool = False) -> Layout:
        """What a net is made of; by default with as many classes as the paper's.

        Raises:
            ValueError: There is no net of this depth.
        """
        raise NotImplementedError

    def side(self, dataset: str) -> int:
        """Pixels a side of a net's input."""
        raise NotImplementedError

    def check(self, net: Net) -> None:
        """Checks that there is such a net."""
        self.layout(net)

    def layers(self, net: Net, dataset: str | None = None, *, stride_3x3: bool = False) -> list[Layer]:
        """A net's layers."""
        from resnet_cli.nets.complexity import layers

        return layers(self.layout(net, stride_3x3=stride_3x3), self.side(dataset or self.dataset))

    def build(self, net: Net, variant: Variant, seed: int, classes: int) -> ResNet:
        """Builds the net that a run trains."""
        return self.make(net, seed, classes, stride_3x3=variant.stride_3x3)

    def make(
        self, net: Net, seed: int, classes: int | None = None, *, stride_3x3: bool = False, zeros: Zeros = "end"
    ) -> ResNet:
        """Builds a net on the CPU, with weights that are a pure function of the seed."""
        from resnet_cli.nets.resnet import build

        return build(self.layout(net, classes, stride_3x3=stride_3x3), seed, zeros)

    def source(self, run: RunSpec) -> RunSpec | None:
        """The run that a net starts from: for `plain-56-from-20` that of `plain-20`."""
        if run.net.start is None:
            return None
        net, protocol = Net(family="plain", depth=run.net.start, shortcut=None), run.protocol
        if protocol.warmup and net.depth < protocol.warmup.from_depth:
            protocol = protocol.model_copy(update={"warmup": None})
        return run.model_copy(update={"net": net, "protocol": protocol})

    def start(self, net: nn.Module, run: RunSpec, trained: nn.Module, data: Dataset | PhotoDataset) -> None:
        """Takes over the trained net's layers, and adds identities."""
        from resnet_cli.data import Dataset
        from resnet_cli.nets.resnet import ResNet
        from resnet_cli.tasks.identities import insert_identities

        assert isinstance(net, ResNet)
        assert isinstance(trained, ResNet)
        assert isinstance(data, Dataset), "nets on photographs are not made from others"
        insert_identities(net, trained, data)

    def stream(self, data: Dataset | PhotoDataset, run: RunSpec, share: tuple[int, int] = (0, 1)) -> Any:
        """The batches that a run trains on."""
        from resnet_cli.data import Dataset, PhotoStream, TrainStream

        protocol = run.protocol
        if isinstance(data, Dataset):
            return TrainStream(data, run.seed, protocol.batch_size, share)
        return PhotoStream(data, run.seed, protocol.batch_size, protocol.iterations, share)

    def loss(self) -> Loss:
        """Mean cross-entropy of a batch, and its wrong answers."""
        from resnet_cli.nets.loss import cross_entropy

        return cross_entropy

    def test(
        self,
        net: nn.Module,
        data: Dataset | PhotoDataset,
        precision: Precision,
        views: str | None = None,
        *,
        progress: Callable[[int], None] | None = None,
        ranks: Ranks | None = None,
    ) -> Scores:
        """Tests a net; keeps logits and labels."""
        from resnet_cli.device.ranks import ALONE
        from resnet_cli.evaluate.evaluate import as_float16, evaluate

        found = evaluate(net, data, precision, views or self.views[0], progress=progress, ranks=ranks or ALONE)
        errors = (found.top1_error, found.top5_error)
        metrics = {metric.key: error for metric, error in zip(self.metrics, errors, strict=True)}
        labels = data.test_labels.cpu().numpy().astype("int16")
        return Scores(found.loss, metrics, found.images, {"logits": as_float16(found.logits), "labels": labels})

    def averaged(
        self,
        net: nn.Module,
        data: Dataset | PhotoDataset,
        precision: Precision,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> nn.Module:
        """A copy of a net with statistics averaged over training images: the first of seed 0's order, augmented."""
        from resnet_cli.data import Dataset, PhotoStream, TrainStream
        from resnet_cli.evaluate.evaluate import AVERAGED_BATCH, AVERAGED_IMAGES, with_averaged_statistics

        size = min(AVERAGED_BATCH, len(data.train_labels))
        count = min(AVERAGED_IMAGES, len(data.train_labels)) // size
        small = isinstance(data, Dataset)
        stream = TrainStream(data, 0, size) if small else PhotoStream(data, 0, size, count)  # type: ignore[arg-type]

        def batches() -> Iterator[Tensor]:
            for number in range(1, count + 1):
                yield stream.batch(number)[0]
                if progress:
                    progress(number * size)

        with closing(stream):
            return with_averaged_statistics(net, batches(), data.device, precision)


def errors(set_name: str) -> tuple[Metric, Metric]:
    """Top-1 and top-5 error on a `test` or `validation` set."""
    return (
        Metric("test_error", f"{set_name} error", row="error"),
        Metric("test_error_top5", f"top-5 {set_name} error", row="top5"),
    )
