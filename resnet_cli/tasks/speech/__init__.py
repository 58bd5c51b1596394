"""Speech: which phone each frame of 10 ms is, by wide residual BLSTM nets (Heymann, Drude and Haeb-Umbach, 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnet_cli.errors import BadInputError
from resnet_cli.spec import Protocol
from resnet_cli.tasks.metric import Metric
from resnet_cli.tasks.picture import Picture
from resnet_cli.tasks.speech import net as nets
from resnet_cli.tasks.task import Scores, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from matplotlib.figure import Figure
    from torch import nn

    from resnet_cli.identity import RunSpec, Variant
    from resnet_cli.names import Precision
    from resnet_cli.nets.complexity import Layer
    from resnet_cli.nets.loss import Loss
    from resnet_cli.nets.wrbn import WRBN
    from resnet_cli.nets.wrbn_layout import SpeechLayout
    from resnet_cli.spec import Net
    from resnet_cli.tasks.speech.dataset import SpeechData
    from resnet_cli.tasks.speech.timit import Corpus

MELS = {"timit": 80, "spoken": 24, "timit-part": 80}  # of the features
CLASSES = {"timit": 39, "spoken": 31, "timit-part": 39}
COUNTS = (480, 64)  # training and test utterances of the embedded set
TINY_COUNTS = (32, 16)


def _phones(run: RunSpec, kept: Mapping[str, np.ndarray], data: Callable[[], Any]) -> Figure:
    from resnet_cli.tasks.speech.pictures import draw_phones

    return draw_phones(run, kept, data)


class Speech(Task):
    """The phone of each frame: of TIMIT, or of an embedded set of synthetic speech in noise."""

    name = "speech"
    title = "TIMIT"
    section = ""
    protocol = Protocol.model_construct(  # builds no validator yet; a test validates it
        batch_size=16, learning_rate=0.1, milestones=(12_000, 16_000), iterations=20_000, warmup=None
    )
    datasets = {"timit": "", "spoken": "embedded synthetic speech", "timit-part": "a part of TIMIT"}
    embedded = "spoken"
    folder = "timit-part"
    takes_root = True
    compiles = False
    analyses = ("noise",)
    metrics = (
        Metric("test_frame_error", "test frame error", header="frame error"),
        Metric("test_speech_error", "test frame error without silence", header="without sil"),
        Metric("majority_error", "frame error of the most frequent class", header="majority"),
    )
    trained = Metric("train_frame_error", "training frame error")
    training_images = 3_696
    test_bytes = 2 * 60_000 * 40
    net_type = nets.SpeechNet
    pictures = {"phones": Picture("Spectrograms of test utterances, with true and recognised phones.", _phones)}
    depth_colours = {10: "#E69F00", 16: "#56B4E9", 22: "#009E73", 28: "#CC79A7", 34: "#D55E00"}

    def parse(self, name: str) -> Net:
        """The net that a name means."""
        return nets.parse(name)

    def check(self, net: Net) -> None:
        """Checks that there is such a net."""
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
        if variant.dataset != self.embedded:
            try:
                self._find(variant, data_dir, dataset_root)
            except BadInputError as error:
                return str(error)
        return None

    def place(self, data_dir: Path) -> Path:
        """TIMIT's folder."""
        return data_dir / self.dataset

    def expected(self, data_dir: Path) -> dict[str, bool]:
        """Its two parts; names may be written in letters of any case."""
        from resnet_cli.tasks.speech import timit

        try:
            timit.scan(self.place(data_dir))
        except BadInputError:
            is_there = False
        else:
            is_there = True
        return {f"{self.dataset}/{part}/DR1/<speaker>/<sentence>.WAV, .PHN": is_there for part in ("TRAIN", "TEST")}

    def found_at(self, dataset_root: Path) -> tuple[str, str | None]:
        """TIMIT itself, by its speakers and numbers of utterances, or a part of it."""
        from resnet_cli.tasks.speech import timit

        corpus = timit.scan(dataset_root)
        return (self.dataset, None) if corpus.is_whole else (self.folder, corpus.source)

    def verify(
        self,
        variant: Variant,
        data_dir: Path,
        dataset_root: Path | None,
        workers: int,
        progress: Callable[[int, int], None],
    ) -> str:
        """Reads every utterance and its phones."""
        from resnet_cli.tasks.speech import timit

        corpus = self._find(variant, data_dir, dataset_root)
        files = (*corpus.train, *corpus.test)
        for done, each in enumerate(files, 1):
            timit.recordings((each,))
            progress(done, len(files))
        return f"{corpus.in_words}, each of them read"

    def open(self, variant: Variant, data_dir: Path, *, dataset_root: Path | None = None, **_: Any) -> SpeechData:
        """Reads or makes the utterances, and computes their features."""
        from resnet_cli.tasks.speech import timit
        from resnet_cli.tasks.speech.dataset import SpeechData, embedded

        mels = MELS[variant.dataset]
        if variant.dataset == self.embedded:
            return embedded(*(TINY_COUNTS if variant.tiny else COUNTS), mels)
        corpus = self._find(variant, data_dir, dataset_root)
        name = variant.source or variant.dataset
        test = timit.recordings(corpus.test)
        return SpeechData.of(name, timit.CLASSES, mels, timit.recordings(corpus.train), test, test)

    def _find(self, variant: Variant, data_dir: Path, dataset_root: Path | None) -> Corpus:
        """The folder that a variant names.

        Raises:
            BadInputError: It is missing, or another folder was given.
        """
        from resnet_cli.tasks.speech import timit

        if variant.dataset == self.dataset:
            root = dataset_root or self.place(data_dir)
            if not root.is_dir():
                raise BadInputError(f"{root}: no such folder; give TIMIT's folder (LDC93S1) with --dataset-root")
            corpus = timit.scan(root)
            if missing := timit.missing(corpus):
                raise BadInputError(f"{root}: not the whole of TIMIT: {missing}; use --dataset-root to train on a part")
            return corpus
        if dataset_root is None:
            raise BadInputError(f"{variant.source}: give this folder with --dataset-root")
        corpus = timit.scan(dataset_root)
        if corpus.source != variant.source:
            raise BadInputError(
                f"{dataset_root}: is {corpus.source}, not {variant.source}: another folder, or changed since"
            )
        return corpus

    def stream(self, data: SpeechData, run: RunSpec, share: tuple[int, int] = (0, 1)) -> Any:
        """Crops of the training utterances."""
        from resnet_cli.tasks.speech.dataset import CropStream

        return CropStream(data, run.seed, run.protocol.batch_size, share)

    def loss(self) -> Loss:
        """Mean cross-entropy over valid frames, and their share of wrong answers times the number of utterances."""
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
        from resnet_cli.tasks.speech.frames import score

        return score(net, data.test, precision, progress)
