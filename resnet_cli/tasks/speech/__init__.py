"""Speech: which phone each frame of 10 ms is, by wide residual BLSTM nets (Heymann, Drude and Haeb-Umbach, 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnet_cli.errors import BadInputError
from resnet_cli.spec import Protocol
from resnet_cli.tasks.metric import Metric
from resnet_cli.tasks.speech import net as nets
from resnet_cli.tasks.task import Scores, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from resnet_cli.identity import RunSpec, Variant
    from resnet_cli.names import Precision
    from resnet_cli.nets.complexity import Layer
    from resnet_cli.nets.loss import Loss
    from resnet_cli.nets.wrbn import WRBN
    from resnet_cli.nets.wrbn_layout import SpeechLayout
    from resnet_cli.spec import Net
    from resnet_cli.tasks.speech.dataset import SpeechData

MELS = {"timit": 80, "spoken": 24}  # of the features
CLASSES = {"timit": 39, "spoken": 31}
COUNTS = (800, 96)  # training and test utterances of the embedded set
TINY_COUNTS = (32, 16)


class Speech(Task):
    """The phone of each frame: of TIMIT, or of an embedded set of synthetic speech in noise."""

    name = "speech"
    title = "TIMIT"
    section = ""
    protocol = Protocol.model_construct(  # builds no validator yet; a test validates it
        batch_size=16, learning_rate=0.1, milestones=(12_000, 16_000), iterations=20_000, warmup=None
    )
    datasets = {"timit": "", "spoken": "embedded synthetic speech"}
    embedded = "spoken"
    takes_root = True
    compiles = False
    metrics = (
        Metric("test_frame_error", "test frame error", header="frame error"),
        Metric("test_speech_error", "test frame error without silence", header="without sil"),
        Metric("majority_error", "frame error of the most frequent class", header="majority"),
    )
    trained = Metric("train_frame_error", "training frame error")
    training_images = 3_696
    test_bytes = 2 * 60_000 * 40
    net_type = nets.SpeechNet
    depth_colours = {10: "#E69F00", 16: "#56B4E9", 22: "#009E73", 28: "#CC79A7", 34: "#D55E00"}

    def parse(self, name: str) -> Net:
        """The net that a name means."""
        return nets.parse(name)

    def check(self, net: Net) -> None:
        """Whether there is such a net."""
        assert isinstance(net, nets.SpeechNet)
        assert net.blocks

    def layout(self, net: Net, dataset: str | None = None, classes: int | None = None) -> SpeechLayout:
        """What a net is made of, for a dataset's features and phones."""
        from resnet_cli.nets.wrbn_layout import SpeechLayout

        assert isinstance(net, nets.SpeechNet)
        return SpeechLayout(
            blocks=net.blocks,
            width=net.width,
            has_shortcuts=net.family != "plain",
            has_blstm=net.head is None,
            mels=MELS[dataset or self.dataset],
            classes=classes or CLASSES[dataset or self.dataset],
        )

    def layers(self, net: Net, dataset: str | None = None, *, stride_3x3: bool = False) -> list[Layer]:
        """A net's layers; multiply-adds are those of a training crop."""
        from resnet_cli.nets.wrbn_layout import layers
        from resnet_cli.tasks.speech.recording import CROP

        return layers(self.layout(net, dataset), CROP)

    def build(self, net: Net, variant: Variant, seed: int, classes: int) -> WRBN:
        """Builds the net that a run trains."""
        from resnet_cli.nets.wrbn import build

        return build(self.layout(net, variant.dataset, classes), seed)

    def obstacle(self, variant: Variant, data_dir: Path, dataset_root: Path | None = None) -> str | None:
        """What keeps a run's dataset from being used."""
        return None

    def open(self, variant: Variant, data_dir: Path, *, dataset_root: Path | None = None, **_: Any) -> SpeechData:
        """Reads or makes the utterances, and computes their features."""
        from resnet_cli.tasks.speech import dataset, noise, spoken

        mels = MELS[variant.dataset]
        counts = TINY_COUNTS if variant.tiny else COUNTS
        train, test = (
            spoken.recordings(part, count) for part, count in zip((spoken.TRAIN, spoken.TEST), counts, strict=True)
        )
        heard = [
            dataset.in_noise(each, *noise.TRAINED_SNR, part.key)
            for each, part in ((train, spoken.TRAIN), (test, spoken.TEST))
        ]
        return dataset.SpeechData(
            name=variant.dataset,
            checksum=f"SHA-256 of samples and labels {spoken.checksum(heard)}",
            classes=spoken.CLASSES,
            mels=mels,
            train=dataset.Utterances.of(heard[0], mels),
            test=dataset.Utterances.of(heard[1], mels),
            spoken=tuple(test),
            heard=tuple(heard[1]),
        )

    def stream(self, data: SpeechData, run: RunSpec, share: tuple[int, int] = (0, 1)) -> Any:
        """Crops of the training utterances."""
        from resnet_cli.tasks.speech.dataset import CropStream

        return CropStream(data, run.seed, run.protocol.batch_size, share)

    def loss(self) -> Loss:
        """Mean cross-entropy over valid frames, and their share that is wrong, as so many utterances."""
        from resnet_cli.tasks.speech.frames import frame_loss

        return frame_loss

    def test(
        self,
        net: nn.Module,
        data: SpeechData,
        precision: Precision,
        views: str | None = None,
        *,
        progress: Callable[[int], None] | None = None,
        **_: Any,
    ) -> Scores:
        """Tests a net on whole utterances; keeps the logits and the labels of their frames. Each rank tests all."""
        from resnet_cli.tasks.speech.frames import tested

        return tested(net, data.test, precision, progress)
