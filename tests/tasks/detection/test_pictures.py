from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from resnet_cli.cli.main import _exit_code
from resnet_cli.errors import BadInputError
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.report.pictures import draw_picture
from resnet_cli.storage import run_folder
from resnet_cli.tasks.detection.found import kept
from resnet_cli.tasks.detection.objects import Detections, all_objects
from resnet_cli.tasks.detection.voc_ap import voc_ap

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from resnet_cli.storage.store import Store

TINY = Variant(tiny=True, dataset="drawn-scenes")


def guessed(variant: Variant) -> list[Detections]:
    """For each test image, its objects a little beside, some of a wrong class, with scores from 0.3 on."""
    random = np.random.default_rng(0)
    found = []
    for marked in all_objects(variant.task.open(variant, None).test):
        boxes = marked.boxes + random.integers(-4, 5, marked.boxes.shape).astype(np.float32)
        labels = np.where(random.random(len(marked)) < 0.8, marked.labels, 1)
        found.append(Detections(boxes, labels, (0.3 + 0.7 * random.random(len(marked))).astype(np.float32)))
    return found


def add_run(store: Store, variant: Variant) -> RunSpec:
    """A run's folder with what it found."""
    task = variant.task
    run = RunSpec.of(task.net("faster-rcnn-thin-resnet-18"), variant, task.protocol, 0)
    np.savez(store.create_folder(run) / run_folder.PREDICTIONS, **kept(guessed(variant)))
    return run


@pytest.fixture
def run(store: Store) -> RunSpec:
    """A smoke run on drawn scenes."""
    return add_run(store, TINY)


def rectangles(axes: Axes, style: str) -> list[Rectangle]:
    """Those that are drawn in this style."""
    return [each for each in axes.patches if isinstance(each, Rectangle) and each.get_linestyle() == style]


def test_detections(store: Store, run: RunSpec, tmp_path: Path) -> None:
    """Each sure box is there with class and score, each true box dashed, those that do not count dotted."""
    figure = draw_picture(store, run, "detections", tmp_path)
    data = run.task.open(run.variant, tmp_path)

    assert "SMOKE RUN" in figure.get_suptitle()
    for axes, found, marked in zip(figure.axes, guessed(TINY), all_objects(data.test), strict=False):
        sure = found.scores >= 0.5
        words = [
            f"{data.classes[label - 1]} {score:.2f}"
            for label, score in zip(found.labels[sure], found.scores[sure], strict=True)
        ]
        is_ignored = marked.difficult | marked.crowd

        assert words == [text.get_text() for text in axes.texts]
        assert sure.sum() == len(rectangles(axes, "solid"))
        assert 2 * (~is_ignored).sum() == len(rectangles(axes, "--"))  # black below white
        assert 2 * is_ignored.sum() == len(rectangles(axes, ":"))
        for box, drawn in zip(found.boxes[sure], rectangles(axes, "solid"), strict=True):
            assert pytest.approx(box - 0.5) == drawn.get_bbox().extents


def test_precision_recall(store: Store, run: RunSpec, tmp_path: Path) -> None:
    """A panel a class, with the AP that the evaluator gives, and the curve to its last recall."""
    figure = draw_picture(store, run, "precision-recall", tmp_path)
    data = run.task.open(run.variant, tmp_path)
    judged = voc_ap(guessed(TINY), all_objects(data.test), 5, "11-points")

    titles = [f"{name}: {ap:.1f}" for name, ap in zip(data.classes, judged.ap, strict=True)]

    assert [title.replace("nan", "no objects") for title in titles] == [axes.get_title() for axes in figure.axes]
    assert f"mean {judged.mean:.1f}" in figure.get_supxlabel()
    for axes, curve in zip(figure.axes, judged.curves, strict=True):
        assert curve.recall.tolist() == list(axes.lines[0].get_xdata())
        assert curve.precision.tolist() == list(axes.lines[0].get_ydata())


def test_by_command(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """`resnet plot` draws them, of COCO's task too."""
    run = add_run(store, Variant(tiny=True, dataset="drawn-scenes-coco"))
    for name in ("detections", "precision-recall"):
        assert 0 == _exit_code(["plot", name, run.run_id, "--results-dir", str(store.root)])
        path = store.figures / f"{name}-{run.run_id}.png"
        assert f"{path}\n" == capsys.readouterr().out
        assert path.read_bytes().startswith(b"\x89PNG")


def test_results(store: Store, run: RunSpec, capsys: pytest.CaptureFixture[str]) -> None:
    """`resnet export --to results` writes what was found in COCO's JSON; a detector's weights it does not."""
    folder = store.folder(run)
    run_folder.write_status(folder, run_folder.Status(state="done"))
    (folder / run_folder.WEIGHTS).touch()
    where = ["--results-dir", str(store.root)]

    assert 0 == _exit_code(["export", run.run_id, "--to", "results", *where])
    path = store.root / f"exports/{run.run_id}.json"
    assert f"{path}\n" == capsys.readouterr().out
    results = json.loads(path.read_bytes())
    expected = [(number, each) for number, each in enumerate(guessed(TINY), start=1) for _ in range(len(each))]
    assert [number for number, _ in expected] == [each["image_id"] for each in results]
    first = guessed(TINY)[0]
    assert first.labels[0] == results[0]["category_id"]
    assert [*first.boxes[0, :2], *(first.boxes[0, 2:] - first.boxes[0, :2])] == results[0]["bbox"]
    assert 2 == _exit_code(["export", run.run_id, "--to", "safetensors", *where])
    assert "only nets that classify images are exported" in capsys.readouterr().err


def test_other_predictions(store: Store, run: RunSpec, tmp_path: Path) -> None:
    """What is not of these images is one line."""
    path = store.folder(run) / run_folder.PREDICTIONS
    whole = kept(guessed(TINY))
    for spoiled in (
        {"logits": np.zeros((3, 2))},
        {**whole, "image": whole["image"] + 100},
        {**whole, "image": whole["image"][::-1]},
        {**whole, "scores": whole["scores"][1:]},
    ):
        np.savez(path, **spoiled)
        with pytest.raises(BadInputError, match="its predictions are not boxes in the 3 test images"):
            draw_picture(store, run, "detections", tmp_path)


def test_nothing_found(store: Store, run: RunSpec, tmp_path: Path) -> None:
    """Images without a box, and curves without a point, are drawn."""
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))
    np.savez(store.folder(run) / run_folder.PREDICTIONS, **kept([nothing] * 8))

    assert not any(rectangles(axes, "solid") for axes in draw_picture(store, run, "detections", tmp_path).axes)
    assert "mean 0.0" in draw_picture(store, run, "precision-recall", tmp_path).get_supxlabel()
