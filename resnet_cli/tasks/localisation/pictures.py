"""A picture of a run: the boxes that it predicts in test images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_cli.errors import BadInputError
from resnet_cli.tasks.picture import Picture, outline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from matplotlib.figure import Figure

    from resnet_cli.identity import RunSpec
    from resnet_cli.tasks.localisation.data import LocalisationData

IMAGES, COLUMNS = 20, 5
WIDTH = 7.0  # inches, of a page
CROP, WHOLE = "#56B4E9", "#D55E00"  # Okabe and Ito's


def draw_boxes(run: RunSpec, kept: Mapping[str, np.ndarray], data: Callable[[], LocalisationData]) -> Figure:
    """The first test images, with the boxes of their class from centre crop and whole image; true ones are dashed.

    Raises:
        BadInputError: What the run kept are not boxes in these images.
    """
    from matplotlib.figure import Figure

    its = data()
    boxes = kept.get("boxes")
    if boxes is None or boxes.shape != (len(its.test), 2, 4):
        raise BadInputError(f"{run.run_id}: its predictions are not boxes in the {len(its.test):,} test images")
    count = min(IMAGES, len(its.test))
    rows = -(-count // COLUMNS)
    figure = Figure(figsize=(WIDTH, 0.3 + rows * WIDTH / COLUMNS), layout="constrained")
    for number, axes in enumerate(figure.subplots(rows, COLUMNS, squeeze=False).ravel()):
        axes.set_axis_off()
        if number >= count:
            continue
        axes.imshow(its.test.image(number).permute(1, 2, 0).numpy())
        axes.set_title(its.classes[its.test.labels[number]], fontsize=6)
        for colour, width in (("black", 2.0), ("white", 1.0)):  # seen on every background
            for box in its.test_boxes[number]:
                outline(axes, box, edgecolor=colour, linewidth=width, linestyle="--")
        for colour, box in zip((CROP, WHOLE), boxes[number], strict=True):
            outline(axes, box, edgecolor=colour, linewidth=1.5)
    return figure


PICTURES = {
    "boxes": Picture(
        f"The first {IMAGES} test images with the box of their class: blue from the centre crop, vermilion from the "
        "whole image; true boxes are dashed.",
        draw_boxes,
    )
}
