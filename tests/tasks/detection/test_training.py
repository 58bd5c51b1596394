"""Detectors trained by the loop that trains everything: batches, starts, resume, ranks, what is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from resnet_cli.errors import BadInputError
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.storage import run_folder
from resnet_cli.tasks.detection import Coco, Voc
from resnet_cli.tasks.detection.crops import Crops
from resnet_cli.tasks.detection.detection import open_drawn
from resnet_cli.tasks.detection.found import from_kept
from resnet_cli.tasks.detection.objects import Detections, all_objects
from resnet_cli.tasks.detection.stream import DetectionStream
from resnet_cli.tasks.detection.voc_ap import mean_of
from resnet_cli.train.loop import StoppedError, train

if TYPE_CHECKING:
    from pathlib import Path

    from resnet_cli.tasks.detection.objects import DetectionData

VOC, COCO, CROPS = Voc(), Coco(), Crops()
SMOKE = Variant(dataset="drawn-scenes", tiny=True)
RUN = RunSpec.of(VOC.net("faster-rcnn-thin-resnet-18"), SMOKE, VOC.protocol, 1)
UPDATES = 8


@pytest.fixture(scope="module")
def scenes() -> DetectionData:
    """The smoke run's."""
    torch.set_num_threads(1)
    return open_drawn(SMOKE)


def train_in(folder: Path, run: RunSpec, data: object, source: Path | None = None, stop_at: int | None = None) -> None:
    """Trains to the end, or until so many updates were made since the start."""
    folder.mkdir(exist_ok=True)
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return stop_at is not None and asked >= stop_at

    options = {"report": lambda _: None, "should_stop": should_stop, "checkpoint_seconds": 1e9, "source": source}
    if stop_at is None:
        train(run, folder, data, **options)
    else:
        with pytest.raises(StoppedError):
            train(run, folder, data, **options)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the classifier that the detector starts from, trained."""
    folder = tmp_path_factory.mktemp("runs") / "classifier"
    assert RUN.source is not None
    train_in(folder, RUN.source, CROPS.open(RUN.source.variant, folder))
    return folder


@pytest.fixture(scope="module")
def uninterrupted(classifier: Path, scenes: DetectionData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the detector, trained in one go."""
    folder = tmp_path_factory.mktemp("runs") / "uninterrupted"
    train_in(folder, RUN, scenes, classifier)
    return folder


def contents(folder: Path) -> list[bytes]:
    """What must not depend on how often a run was interrupted."""
    names = (run_folder.TRAIN_CSV, run_folder.EVAL_CSV, run_folder.WEIGHTS, run_folder.PREDICTIONS)
    return [(folder / name).read_bytes() for name in names]


def test_the_log_has_the_four_losses(uninterrupted: Path) -> None:
    """Beside their sum, which they add up to; and biases move at twice the rate from the first update on."""
    log = pd.read_csv(uninterrupted / run_folder.TRAIN_CSV)

    assert ["iteration", "lr", "loss", "train_error", *VOC.parts] == list(log.columns)
    assert UPDATES == len(log)
    assert log[list(VOC.parts)].sum(axis=1).tolist() == pytest.approx(log["loss"].tolist(), rel=1e-6)
    assert ["iteration", "test_loss", "test_map50", "images"] == list(
        pd.read_csv(uninterrupted / run_folder.EVAL_CSV).columns
    )


@pytest.mark.parametrize(
    "cut", [1, 4, *(pytest.param(each, marks=pytest.mark.long) for each in range(1, UPDATES) if each not in (1, 4))]
)
def test_resume_is_exact(
    cut: int, uninterrupted: Path, classifier: Path, scenes: DetectionData, tmp_path: Path
) -> None:
    """Stopped after any update and run again: the same bytes; the full count stops after each."""
    folder = tmp_path / "resumed"
    train_in(folder, RUN, scenes, classifier, stop_at=cut)

    assert cut == run_folder.read_status(folder).iteration

    torch.rand(cut)  # whatever else draws from torch's generator
    train_in(folder, RUN, scenes)

    assert contents(uninterrupted) == contents(folder)


def test_a_kill_after_each_update(uninterrupted: Path, classifier: Path, scenes: DetectionData, tmp_path: Path) -> None:
    """Stopped after every single update, again and again: the same bytes."""
    folder = tmp_path / "resumed"
    for _ in range(UPDATES - 1):
        train_in(folder, RUN, scenes, classifier, stop_at=1)
    train_in(folder, RUN, scenes)

    assert contents(uninterrupted) == contents(folder)


def test_it_starts_from_the_classifier(classifier: Path, scenes: DetectionData) -> None:
    """With the classifier's layers but the last, and the statistics of its normalisations over its training set.

    Those layers then give what the classifier gives, evaluated, before it is averaged.
    """
    from resnet_cli.train.start import initial_net
    from resnet_cli.weights.trained import trained_net

    assert RUN.source is not None
    crops = CROPS.open(RUN.source.variant, classifier)
    net, trained = initial_net(RUN, scenes, classifier), trained_net(RUN.source, classifier)
    images = crops.normalize(crops.train_images)
    for module in trained.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches
            module.reset_running_stats()
    with torch.no_grad():
        stream = CROPS.stream(crops, RUN.source)
        for number in range(1, 1 + -(-len(images) // RUN.source.protocol.batch_size)):
            trained.train()(stream.batch(number)[0])
        expected = trained.eval().features(images[:8]).mean(dim=(2, 3))
        found = net.roi_heads.box_head(net.backbone(images[:8]))

    assert "thin-resnet-18-drawn-crops" in RUN.source.run_id
    torch.testing.assert_close(expected, found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "dataset", "source"),
    [
        ("faster-rcnn-thin-plain-34", "drawn-scenes", "thin-plain-34-drawn-crops"),
        ("faster-rcnn-resnet-101", "drawn-scenes", "resnet-101-B-synthetic-photos"),
        ("faster-rcnn-resnet-101", "voc07+12", "resnet-101-B-imagenet"),
    ],
)
def test_what_a_detector_starts_from(name: str, dataset: str, source: str) -> None:
    """Its name and its data say it: a classifier of crops, of drawn photographs, or of ImageNet by its own protocol."""
    run = RunSpec.of(VOC.net(name), Variant(dataset=dataset), VOC.protocol, 2)

    assert run.source is not None
    assert run.source.run_id.startswith(source)
    assert run.source.run_id.endswith("s2")
    assert run.source.protocol == run.source.task.protocol


def test_batches_are_a_function_of_seed_and_position(scenes: DetectionData) -> None:
    """Every image once an epoch; the same again; another seed another order; shares add up to the batch, keys too."""
    batches = [DetectionStream(scenes, 3, 4, 99).inputs(number) for number in range(1, len(scenes.train) + 1)]
    again = DetectionStream(scenes, 3, 4, 99).inputs(5)
    other = DetectionStream(scenes, 4, 4, 99).inputs(5)
    halves = [DetectionStream(scenes, 3, 4, 99, (rank, 2)).inputs(5) for rank in (0, 1)]
    seen = torch.cat([numbers for numbers, _, _ in batches])

    assert [4] * len(scenes.train) == torch.bincount(seen).tolist()
    assert len(seen) == len(torch.cat([keys for _, _, keys in batches]).unique())
    for one, two, three, parts in zip(batches[4], again, other, zip(*halves, strict=True), strict=True):
        assert one.tolist() == two.tolist() == torch.cat(parts).tolist()
        assert one.tolist() != three.tolist()


def test_mirrored_boxes(scenes: DetectionData) -> None:
    """In a mirrored image the objects' boxes are mirrored with it; what is difficult, or a crowd, is not learned."""
    stream = DetectionStream(scenes, 0, 2, 99)
    numbers, keys = torch.tensor([0, 0]), torch.tensor([1, 2])
    images, sizes, boxes, labels, _ = stream.make(numbers, torch.tensor([False, True]), keys)
    objects = scenes.train.objects(0).to_learn
    width = int(sizes[0, 1])

    assert objects.boxes.tolist() == boxes[0].tolist()
    assert objects.labels.tolist() == labels[0].tolist() == labels[1].tolist()
    assert torch.equal(images[0].flip(2), images[1])
    assert (width - boxes[0][:, 0]).tolist() == boxes[1][:, 2].tolist()
    assert boxes[0][:, 1].tolist() == boxes[1][:, 1].tolist()


def test_images_are_read_ahead(scenes: DetectionData) -> None:
    """Threads give the batches that none gives, forwards and back, and the same boxes in the test."""
    plain, ahead = (DetectionStream(replace(scenes, workers=workers), 3, 4, len(scenes.train)) for workers in (0, 2))
    for number in (1, 2, 3, 7, 2, len(scenes.train)):
        for expected, found in zip(plain.batch(number), ahead.batch(number), strict=True):
            assert torch.equal(expected, found)
    ahead.close()
    net = VOC.build_for(RUN, len(scenes.classes))
    alone, threads = (VOC.test(net, replace(scenes, workers=workers), "fp32").kept for workers in (0, 2))

    assert all(np.array_equal(alone[name], threads[name]) for name in alone)


def test_an_image_that_cannot_be_read_ahead(scenes: DetectionData) -> None:
    """It is told when its batch is due, and not before."""

    class Damaged:
        """The training images without one."""

        def __init__(self, missing: int) -> None:
            self.missing = missing

        def __getattr__(self, name: str) -> object:
            return getattr(scenes.train, name)

        def __len__(self) -> int:
            return len(scenes.train)

        def image(self, number: int) -> torch.Tensor:
            """All but one."""
            if number == self.missing:
                raise BadInputError("damaged")
            return scenes.train.image(number)

    third = DetectionStream(scenes, 3, 4, 99).inputs(3)[0][0]
    stream = DetectionStream(replace(scenes, train=Damaged(int(third)), workers=2), 3, 4, 99)
    stream.batch(1)
    stream.batch(2)
    with pytest.raises(BadInputError, match="damaged"):
        stream.batch(3)
    stream.close()


def test_what_is_kept_gives_the_metric_again(uninterrupted: Path, scenes: DetectionData) -> None:
    """predictions.npz holds all that was found, image by image."""
    with np.load(uninterrupted / run_folder.PREDICTIONS) as arrays:
        found = from_kept(arrays, len(scenes.test))
    judged = VOC.judge(found, list(all_objects(scenes.test)), scenes)

    assert len(scenes.test) == len(found)
    assert max(map(len, found)) <= 100
    assert pd.read_csv(uninterrupted / run_folder.EVAL_CSV)["test_map50"].iloc[-1] == pytest.approx(
        mean_of(judged["test_map50"]), rel=1e-5
    )


def test_true_boxes_are_judged_right(scenes: DetectionData) -> None:
    """A detector that answers with the truth has 100% by VOC and by COCO, less what is difficult or a crowd."""
    truth = list(all_objects(scenes.test))
    found = [Detections(each.boxes, each.labels, np.ones(len(each), np.float32)) for each in truth]

    assert {100.0} == _values(VOC.judge(found, truth, scenes)["test_map50"])
    for values in COCO.judge(found, truth, scenes).values():
        assert list(_values(values)) == pytest.approx([100.0] * len(_values(values)), abs=1e-6)


def _values(by_class: np.ndarray) -> set[float]:
    """Of the classes that have any."""
    return set(by_class[np.isfinite(by_class)].tolist())


def test_the_protocols_are_whole() -> None:
    """What is built without being validated, to be quick, is valid."""
    for task in (VOC, COCO, CROPS):
        assert task.protocol == type(task.protocol).model_validate(task.protocol.model_dump())


def test_unknown_data(tmp_path: Path) -> None:
    """A dataset that is not there is told before anything is trained."""
    for task in (VOC, COCO):
        assert task.obstacle(Variant(dataset=task.dataset), tmp_path)
    with pytest.raises(BadInputError):
        VOC.open(Variant(dataset="voc07+12"), tmp_path)


def test_what_a_real_row_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`resnet show` says hours and memory on one GPU, and by which assumptions; a classifier's size is its own."""
    from resnet_cli.cli.main import _exit_code

    assert 0 == _exit_code(["show", "table7", "--results-dir", str(tmp_path)])
    said = " ".join(capsys.readouterr().out.split())

    assert "faster-rcnn-resnet-101's updates on one GPU: about 3.3 hours, at 2.4e12 multiply-adds" in said
    assert "at least 2.1 GiB, from a measured step (0.78 GiB per image in fp32)" in said
    assert "44,549,160" in said


def test_numbers_of_each_class_are_the_papers() -> None:
    """In Tables 10 and 11 each row's mean over the classes is its mAP, to the digits that the paper prints."""
    from resnet_cli.analyses import analysis_of
    from resnet_cli.experiment import load_experiment

    numbers = analysis_of("per-class").numbers
    rows = [row for name in ("table10", "table11") for row in load_experiment(name).rows if not row.net]

    assert 6 == len(rows)
    for row in rows:
        of_classes = [value for number in numbers if (value := row.told(number)) is not None]
        assert 20 == len(of_classes)
        assert row.paper(VOC.metric) == pytest.approx(sum(of_classes) / 20, abs=0.0501)


def test_analyses_of_a_trained_detector(uninterrupted: Path, scenes: DetectionData) -> None:
    """Each class's average precision has the test's mean; refinement and scales are tested with the trained weights."""
    from resnet_cli.analyses import analysis_of

    per_class = analysis_of("per-class").compute(RUN, uninterrupted, scenes, None, lambda _: None)
    run = RunSpec.of(RUN.net, Variant(dataset="drawn-scenes-coco", tiny=True), COCO.protocol, 1)
    told: list[int] = []
    answers = analysis_of("answers").compute(run, uninterrupted, scenes, None, told.append)

    assert list(scenes.classes) == per_class["name"].tolist()
    judged = VOC.judge(_found(uninterrupted, scenes), list(all_objects(scenes.test)), scenes)
    assert per_class["ap"].tolist() == pytest.approx(judged["test_map50"].tolist(), nan_ok=True)
    assert analysis_of("answers").is_right(answers, run)
    assert {"refined_ap50", "multi-scale_ap", "refinement_gain", "scales_gain"} < set(
        analysis_of("answers").sum_up(answers)
    )
    assert 3 * len(scenes.test) == told[-1]


def _found(folder: Path, scenes: DetectionData) -> list[Detections]:
    with np.load(folder / run_folder.PREDICTIONS) as arrays:
        return from_kept(arrays, len(scenes.test))


def test_no_schedule_by_the_clock(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is refused in one line."""
    from resnet_cli.cli.main import _exit_code

    assert 2 == _exit_code(["run", "scenes", "--minutes", "5", "--device", "cpu", "--results-dir", str(tmp_path)])
    assert "leave it out" in capsys.readouterr().err
