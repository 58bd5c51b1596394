"""What a task draws of finished runs: for `resnet plot NAME RUN`, and for the page."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

from resnet_cli.errors import BadInputError
from resnet_cli.report.figures import STYLE, figure_bytes
from resnet_cli.storage import run_folder
from resnet_cli.tasks import open_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.figure import Figure

    from resnet_cli.identity import RunSpec
    from resnet_cli.report.summarize import Summary
    from resnet_cli.storage.store import Store

PAGE_DPI = 150


@dataclass(frozen=True)
class Drawn:
    """A picture of a run on the page.

    Attributes:
        name: The picture's.
        run: Whose it is, by its id.
        caption: What it shows.
        png: The picture; empty where it could not be drawn.
        obstacle: Why.
    """

    name: str
    run: str
    caption: str
    png: bytes
    obstacle: str


def draw_picture(store: Store, run: RunSpec, name: str, data_dir: Path, dataset_root: Path | None = None) -> Figure:
    """A picture of a finished run; `name` is one of `run.task.pictures`.

    Raises:
        BadInputError: The run has no predictions, or the picture needs a dataset that cannot be opened.
    """

    @functools.cache
    def data() -> Any:
        return open_dataset(run.variant, data_dir, protocol=run.protocol, dataset_root=dataset_root)

    with mpl.rc_context(STYLE):
        return run.task.pictures[name].draw(run, store.kept(run), data)


def draw_all(store: Store, summary: Summary, data_dir: Path) -> Iterator[Drawn]:
    """All pictures of the first run of each net that has predictions, as PNG."""
    for runs in summary.finished.values():
        for run in [each for each in runs if (store.folder(each) / run_folder.PREDICTIONS).is_file()][:1]:
            for name, picture in run.task.pictures.items():
                png, obstacle = b"", ""
                try:
                    png = figure_bytes(draw_picture(store, run, name, data_dir), "png", PAGE_DPI)
                except BadInputError as error:
                    obstacle = str(error)
                yield Drawn(name, run.run_id, picture.caption, png, obstacle)
