"""What a picture of a run is. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from matplotlib.figure import Figure

    from resnet_cli.identity import RunSpec


@dataclass(frozen=True)
class Picture:
    """Something that can be drawn of a finished run: `resnet plot NAME RUN`.

    Attributes:
        caption: What it shows, a sentence.
        draw: Given the run, what its predictions.npz holds, and what opens its dataset, returns the figure; called in
            the style of all figures. Raises BadInputError where these are no such predictions, or the dataset cannot
            be opened.
    """

    caption: str
    draw: Callable[[RunSpec, Mapping[str, np.ndarray], Callable[[], Any]], Figure]
