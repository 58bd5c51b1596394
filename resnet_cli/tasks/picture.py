"""What a picture of a run is. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from resnet_cli.identity import RunSpec


@dataclass(frozen=True)
class Picture:
    """Something that can be drawn of a finished run: `resnet plot NAME RUN`.

    Attributes:
        caption: What it shows, a sentence.
        draw: Given the run, what its predictions.npz holds, and what opens its dataset, returns the figure; called in
            the style of all figures. The run and its scale are written above the figure's own title, if it has one.
            Raises BadInputError if the predictions are of another kind, or the dataset cannot be opened.
    """

    caption: str
    draw: Callable[[RunSpec, Mapping[str, np.ndarray], Callable[[], Any]], Figure]


def outline(axes: Axes, box: np.ndarray, **style: Any) -> None:
    """Draws a box (4,), edges in pixels from 0, over an image that `imshow` drew; style is a matplotlib patch's."""
    from matplotlib.patches import Rectangle

    left, top, right, bottom = (box - 0.5).tolist()  # imshow's pixels have their centres at whole numbers
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, **style))
