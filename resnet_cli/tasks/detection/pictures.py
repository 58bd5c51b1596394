"""Pictures of a detector's run: what it found in test images, and the precision at each recall."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from resnet_cli.errors import BadInputError
from resnet_cli.tasks.detection.objects import all_objects
from resnet_cli.tasks.detection.voc_ap import OVERLAP, by_of, voc_ap
from resnet_cli.tasks.picture import Picture, outline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from resnet_cli.identity import RunSpec
    from resnet_cli.tasks.detection.objects import DetectionData, Detections, Objects

COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")  # Okabe and Ito's, by class
DARK = ("#0072B2", "#009E73", "#D55E00")  # those on which letters are white
IMAGES, COLUMNS = 12, 4
SURE = 0.5  # score from which a box is drawn
WIDTH = 7.0  # inches, of a page


def draw_detections(run: RunSpec, kept: Mapping[str, np.ndarray], data: Callable[[], DetectionData]) -> Figure:
    """The first test images with the boxes that were found; true ones dashed, or dotted if they do not count."""
    from matplotlib.figure import Figure

    its = data()
    found = _found(run, kept, its)
    count = min(IMAGES, len(its.test))
    rows = -(-count // COLUMNS)
    figure = Figure(figsize=(WIDTH, 0.3 + rows * WIDTH / COLUMNS), layout="constrained")
    all_axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for number, axes in enumerate(all_axes):
        axes.set_axis_off()
        if number < count:
            image = its.test.image(number)
            axes.set_title(its.test.names[number], y=0, pad=-7, fontsize=5)
            axes.imshow(image.permute(1, 2, 0).numpy())
            _draw_true(axes, its.test.objects(number))
            _draw_found(axes, found[number], its.classes, image.shape[2] / 2)
    return figure


def draw_curves(run: RunSpec, kept: Mapping[str, np.ndarray], data: Callable[[], DetectionData]) -> Figure:
    """Precision against recall, one panel per class, with its average precision."""
    from matplotlib.figure import Figure

    its = data()
    by = by_of(its.name)
    judged = voc_ap(_found(run, kept, its), all_objects(its.test), len(its.classes), by)
    columns = min(len(its.classes), 5)
    rows = -(-len(its.classes) // columns)
    figure = Figure(figsize=(WIDTH, 0.6 + rows * WIDTH / columns), layout="constrained")
    all_axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, name, curve, ap in zip(all_axes, its.classes, judged.curves, judged.ap, strict=False):
        axes.plot(curve.recall, curve.precision, color="#0072B2", linewidth=1.2)
        axes.set_title(f"{name}: {ap:.1f}" if np.isfinite(ap) else f"{name}: no objects")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        axes.grid(visible=True)
    for axes in all_axes[len(its.classes) :]:
        axes.set_axis_off()
    figure.supxlabel(
        f"recall; an overlap above {OVERLAP:g} counts as found; AP in %, "
        f"{'by 11 points' if by == '11-points' else 'by area'}, mean {judged.mean:.1f}",
        fontsize=7,
    )
    figure.supylabel("precision", fontsize=7)
    return figure


PICTURES = {
    "detections": Picture(
        f"The first {IMAGES} test images with each box of a score of at least {SURE:g}, its class and its score; true "
        "boxes are dashed, and dotted where they are difficult or a crowd.",
        draw_detections,
    ),
    "precision-recall": Picture("Precision against recall on the test images, one panel per class.", draw_curves),
}


def _found(run: RunSpec, kept: Mapping[str, np.ndarray], data: DetectionData) -> list[Detections]:
    """The detections that the run kept, one item per image.

    Raises:
        BadInputError: They are not of these images.
    """
    from resnet_cli.tasks.detection.found import from_kept

    numbers = kept.get("image")
    lengths = {len(kept[name]) for name in ("image", "boxes", "labels", "scores") if name in kept}
    if numbers is None or len(lengths) != 1 or not (np.diff(numbers) >= 0).all() or (numbers >= len(data.test)).any():
        raise BadInputError(f"{run.run_id}: its predictions are not boxes in the {len(data.test):,} test images")
    return from_kept(kept, len(data.test))


def _draw_true(axes: Axes, marked: Objects) -> None:
    for box, is_ignored in zip(marked.boxes, marked.difficult | marked.crowd, strict=True):
        for colour, width in (("black", 2.0), ("white", 1.0)):  # seen on every background
            outline(axes, box, edgecolor=colour, linewidth=width, linestyle=":" if is_ignored else "--")


def _draw_found(axes: Axes, found: Detections, classes: tuple[str, ...], middle: float) -> None:
    for box, label, score in zip(found.boxes, found.labels, found.scores, strict=True):
        if score < SURE:
            continue
        colour = COLOURS[(label - 1) % len(COLOURS)]
        outline(axes, box, edgecolor=colour, linewidth=1.4)
        is_right = box[0] + box[2] > 2 * middle
        axes.text(
            box[2] if is_right else box[0],  # the words stay above the image
            box[1],
            f"{classes[label - 1]} {score:.2f}",
            horizontalalignment="right" if is_right else "left",
            fontsize=5,
            color="white" if colour in DARK else "black",
            verticalalignment="bottom",
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.6},
        )
