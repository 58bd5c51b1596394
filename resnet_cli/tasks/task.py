"""What the rest of the program asks of a task. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from resnet_cli.spec import Net
from resnet_cli.spec.net import parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    import numpy as np
    from torch import Tensor, nn

    from resnet_cli import spec
    from resnet_cli.data.stream import Stream
    from resnet_cli.device.ranks import Ranks
    from resnet_cli.identity import RunSpec, Variant
    from resnet_cli.names import Deviation, Precision, Split
    from resnet_cli.nets.complexity import Layer
    from resnet_cli.nets.loss import Loss
    from resnet_cli.tasks.data import Data
    from resnet_cli.tasks.metric import Metric
    from resnet_cli.tasks.picture import Picture


@dataclass(frozen=True)
class Scores:
    """What a test gave.

    Attributes:
        loss: Mean over the test set.
        metrics: Values of the task's metrics, by key.
        images: Number of test examples.
        kept: What predictions.npz holds, for ensembles and pairs.
        by_class: For metrics that are a mean over the classes, each class's value; NaN for a class without one.
    """

    loss: float
    metrics: Mapping[str, float]
    images: int
    kept: Mapping[str, np.ndarray]
    by_class: Mapping[str, np.ndarray] = field(default_factory=dict)


def number_or_none(value: float) -> float | None:
    """A value for JSON, which has no NaN and no infinity: None in place of them."""
    return value if math.isfinite(value) else None


class Task:
    """A net, its data, its loss and its metrics. Methods that need torch load it.

    Attributes:
        name: A word, for keys and options.
        title: The name of the paper's dataset.
        section: The paper's section with the protocol; empty if no paper gives it.
        protocol: The paper's protocol.
        datasets: The datasets to train on, the paper's own first; each of the others with a description.
        embedded: The dataset of smoke runs; it needs no download.
        folder: The dataset that is a folder of the user's own; empty if there is none.
        takes_root: Whether `--dataset-root` may say where the dataset is.
        takes_weights: Whether nets may start from files of weights; see `start`.
        joins_nets: Whether an ensemble's nets are tested as one net, `together`; else their saved scores are averaged.
        compiles: Whether its updates can be compiled or captured: its batches always have the same shapes.
        is_downloadable: Whether `fetch` can get the paper's dataset.
        splits: Ways to split training and test set.
        deviations: Supported deviations from the paper's protocol.
        views: Ways to test an example; the first is used in each evaluation during the training.
        analyses: The analyses of its trained nets (`analyses`), by name.
        metrics: The metrics of a test; tables show the first one first.
        averaged_metrics: The metrics of a second test, of the net from `averaged`: `Metric.averaged` of some `metrics`.
        trained: The metric of an update in train.csv, besides its loss; computed before the update.
        parts: The parts of the loss, also in train.csv; `loss` gives their means after its count.
        training_images: Number of images in the paper's training set.
        test_bytes: Largest size of predictions.npz, in bytes.
        net_type: The class of its nets' specs.
        spreads: Standard deviations over runs that the paper gives, by metric.
        depth_colours: Colours of the nets in figures, close to the paper's.
        read_off: The paper's figure whose learning curves are in `experiments/curves/`; empty if there is none.
        pictures: What can be drawn of a finished run, by name.
        tables: The experiments with the paper's numbers for each way to test, the more complete one first.
    """

    name: str
    title: str
    section: str
    protocol: spec.Protocol
    datasets: Mapping[str, str]
    embedded: str
    folder: str = ""
    takes_root: bool = False
    takes_weights: bool = False
    joins_nets: bool = False
    compiles: bool = True
    is_downloadable: bool = False
    splits: tuple[Split, ...] = ("full",)
    deviations: tuple[Deviation, ...] = ()
    views: tuple[str, ...] = ("1-crop",)
    analyses: tuple[str, ...] = ()
    metrics: tuple[Metric, ...]
    averaged_metrics: tuple[Metric, ...] = ()
    trained: Metric
    parts: tuple[str, ...] = ()
    training_images: int
    test_bytes: int
    net_type: type[Net] = Net
    spreads: Mapping[str, float] = {}
    depth_colours: Mapping[int, str] = {}
    read_off: str = ""
    pictures: Mapping[str, Picture] = {}
    tables: Mapping[str, tuple[str, ...]] = {}

    @property
    def dataset(self) -> str:
        """The paper's own dataset."""
        return next(iter(self.datasets))

    @property
    def metric(self) -> Metric:
        """The main metric, which tables show first."""
        return self.metrics[0]

    @property
    def train_columns(self) -> tuple[str, ...]:
        """Columns of train.csv, which has one row per update."""
        return "iteration", "lr", "loss", self.trained.key, *self.parts

    @property
    def eval_columns(self) -> tuple[str, ...]:
        """Columns of eval.csv, which has one row per test."""
        return "iteration", "test_loss", *(metric.key for metric in self.metrics), "images"

    def is_higher_better(self, key: str) -> bool:
        """Whether higher is better for a metric, or for one derived from it: `early_...`."""
        key = key.removeprefix("early_")
        return any(each.higher_is_better for each in (*self.metrics, self.trained) if each.key == key)

    def analyses_of(self, net: Net) -> tuple[str, ...]:
        """Those of `analyses` that apply to a net."""
        return self.analyses

    def parse(self, name: str) -> Net:
        """The net that a name means, whether it can be built or not.

        Raises:
            ValueError: It is not the name of a net.
        """
        return self.net_type.model_validate(parsed(name))

    def net(self, name: str) -> Net:
        """The net of a name.

        Raises:
            ValueError: This task has no such net.
        """
        net = self.parse(name)
        self.check(net)
        return net

    def short_name(self, net: Net) -> str:
        """A net's name without the parts that are defaults in this task."""
        return net.name

    def check(self, net: Net) -> None:
        """Checks that there is such a net.

        Raises:
            ValueError: There is none.
        """
        self.parse(net.name)

    def layers(self, net: Net, dataset: str | None = None, *, stride_3x3: bool = False) -> Sequence[Layer]:
        """A net's layers, on inputs of a dataset, by default the paper's."""
        raise NotImplementedError

    def parameters(self, net: Net) -> int:
        """Learned parameters of a net: weights, biases, and the scales and shifts of batch normalisation."""
        return sum(layer.parameters for layer in self.layers(net))

    def multiply_adds(self, net: Net, dataset: str | None = None, *, stride_3x3: bool = False) -> int:
        """Multiply-adds of one example's forward pass; what the paper calls FLOPs."""
        return sum(layer.multiply_adds for layer in self.layers(net, dataset, stride_3x3=stride_3x3))

    def work(self, run: RunSpec) -> int:
        """Multiply-adds of a run's forward passes; backward passes and evaluation are in proportion."""
        variant, protocol = run.variant, run.protocol
        each = self.multiply_adds(run.net, variant.dataset, stride_3x3=variant.stride_3x3)
        return protocol.iterations * protocol.batch_size * each

    def cost(self, net: Net, protocol: spec.Protocol) -> str | None:
        """Time and memory of a net's run on one GPU, with the assumptions, in one line; None if nothing is known."""
        return None

    def build(self, net: Net, variant: Variant, seed: int, classes: int) -> nn.Module:
        """Builds the net that a run trains, on the CPU, with weights that are a pure function of the seed."""
        raise NotImplementedError

    def build_for(self, run: RunSpec, classes: int) -> nn.Module:
        """As `build`, for nets that depend on more of the run."""
        return self.build(run.net, run.variant, run.seed, classes)

    def source(self, run: RunSpec) -> RunSpec | None:
        """The run whose trained net a run starts from; None if it starts from scratch."""
        return None

    def blank(self, run: RunSpec, state: Mapping[str, Tensor]) -> nn.Module:
        """An empty net into which the weights that a run is to start from can be loaded; see `takes_weights`.

        Raises:
            KeyError: They are not the weights of such a net.
        """
        raise NotImplementedError

    def start(self, net: nn.Module, run: RunSpec, trained: nn.Module, data: Any) -> None:
        """Takes over layers into a new net from the trained one of its `source`, or from the weights that it is given.

        Args:
            net: As `build_for` built it, on the CPU; changed in place.
            run: The run that it begins.
            trained: The trained net, on the CPU.
            data: The run's dataset.
        """
        raise NotImplementedError

    def classes_of(self, state: Mapping[str, Tensor]) -> int:
        """The number of classes of a net with these weights.

        Raises:
            KeyError: They are not the weights of this task's nets.
        """
        return len(state["fc.bias"])

    def obstacle(self, variant: Variant, data_dir: Path, dataset_root: Path | None = None) -> str | None:
        """What keeps a run's dataset from being used, as one line; None if it is whole, or embedded."""
        raise NotImplementedError

    def place(self, data_dir: Path) -> Path | None:
        """Where the paper's dataset lies in the folder of datasets; None if it is made, not read."""
        return None

    def expected(self, data_dir: Path) -> Mapping[str, bool]:
        """The parts of the paper's dataset in the folder of datasets, and whether each is there; reads none."""
        return {}

    def fetch(self, data_dir: Path, wrap: Callable[[BinaryIO, int], BinaryIO]) -> Path:
        """Downloads the paper's dataset, unless it is there, and checks it; see `is_downloadable`.

        Args:
            data_dir: The folder of datasets.
            wrap: Given the stream and its length in bytes, returns a stream that shows progress.

        Returns:
            The folder that has it.

        Raises:
            BadInputError: It cannot be downloaded.
        """
        raise NotImplementedError

    def found_at(self, dataset_root: Path) -> tuple[str, str | None]:
        """The dataset in a folder of the user's own, and `Variant.source`: None if it is the paper's; see `takes_root`.

        Raises:
            BadInputError: It is not such a dataset.
        """
        return self.dataset, None

    def verify(
        self,
        variant: Variant,
        data_dir: Path,
        dataset_root: Path | None,
        workers: int,
        progress: Callable[[int, int], None],
    ) -> str:
        """Checks all of a dataset for which there is no `obstacle`; returns what it holds in words, which may be empty.

        Args:
            variant: Names the dataset.
            data_dir: The folder of datasets.
            dataset_root: As in `open`.
            workers: Threads.
            progress: Called with the number of files done, and their total.

        Raises:
            BadInputError: Some of it cannot be used.
        """
        return ""

    def open(
        self,
        variant: Variant,
        data_dir: Path,
        *,
        protocol: spec.Protocol | None = None,
        dataset_root: Path | None = None,
        workers: int = 2,
        decode: str = "cpu",
        known: object = None,
        report: Callable[[str], None] | None = None,
    ) -> Data:
        """Opens a run's dataset on the CPU.

        Args:
            variant: Names the dataset, its split, and whether it is the smoke run's few examples.
            data_dir: The folder of datasets, in torchvision's layouts.
            protocol: The run's; by default the paper's, or a smoke run's.
            dataset_root: The user's own folder, or the paper's dataset where it is not in `data_dir`.
            workers: Threads that read files.
            decode: What decodes photographs for training, `cpu` or `cuda`.
            known: What `Data.prepare` gave in another process of the same training.
            report: Called with lines about passes over the training set.

        Raises:
            BadInputError: The dataset is missing or not the one that is asked for.
        """
        raise NotImplementedError

    def stream(self, data: Any, run: RunSpec, share: tuple[int, int] = (0, 1)) -> Stream:
        """The batches that a run trains on, or this share of each; see `data.stream.Epochs`."""
        raise NotImplementedError

    def loss(self) -> Loss:
        """The loss that an update reduces, and the count for `trained`; see `nets.loss.Loss`."""
        raise NotImplementedError

    def results(self, kept: Mapping[str, np.ndarray], data: Callable[[], Any]) -> bytes | None:
        """What a run kept from its test, in the format of others' evaluators; None if the task has no such format."""
        return None

    def test(
        self,
        net: nn.Module,
        data: Any,
        precision: Precision,
        views: str | None = None,
        *,
        progress: Callable[[int], None] | None = None,
        ranks: Ranks | None = None,
    ) -> Scores:
        """Tests a net.

        Args:
            net: On the data's device.
            data: Its test set is used.
            precision: Arithmetic of the forward pass.
            views: One of `views`; by default the first.
            progress: Called with the number of inputs done so far.
            ranks: Each tests its share and gets the whole result; only for the first of `views`.
        """
        raise NotImplementedError

    def together(self, nets: Sequence[nn.Module]) -> nn.Module:
        """Several trained nets as one that `test` takes; see `joins_nets`."""
        raise NotImplementedError

    def averaged(
        self, net: nn.Module, data: Any, precision: Precision, *, progress: Callable[[int], None] | None = None
    ) -> nn.Module:
        """A copy of a net with statistics of batch normalisation averaged over training data, always the same."""
        raise NotImplementedError
