"""The pictures that tasks draw of finished runs, for `resnet plot NAME RUN` and for the page."""

from __future__ import annotations

import functools
import io
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from PIL import Image

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
QUALITY = 85  # of 100


@dataclass(frozen=True)
class Drawn:
    """A picture of a run on the page.

    Attributes:
        name: The picture's name.
        run: The run's id.
        caption: What it shows.
        webp: The picture, for photographs a fifth as large as a PNG; empty if it could not be drawn.
        obstacle: Why it could not be drawn; empty if it could.
    """

    name: str
    run: str
    caption: str
    webp: bytes
    obstacle: str


def draw_picture(store: Store, run: RunSpec, name: str, data_dir: Path, dataset_root: Path | None = None) -> Figure:
    """A picture of a finished run, with the run in its title; `name` is one of `run.task.pictures`.

    Raises:
        BadInputError: The run has no predictions, or the picture needs a dataset that cannot be opened.
    """

    @functools.cache
    def data() -> Any:
        return open_dataset(run.variant, data_dir, protocol=run.protocol, dataset_root=dataset_root)

    with mpl.rc_context(STYLE):
        figure = run.task.pictures[name].draw(run, store.kept(run), data)
        heading = textwrap.fill(f"{run.net.full_name}, seed {run.seed}: {run.label}", int(17 * figure.get_figwidth()))
        own = f"\n{title}" if (title := figure.get_suptitle()) else ""
        figure.suptitle(heading + own, fontsize=8, color="black" if run.variant.is_paper else "#B00000")
    return figure


def draw_all(store: Store, summary: Summary, data_dir: Path) -> Iterator[Drawn]:
    """All pictures of the first run of each net that has predictions."""
    for runs in summary.finished.values():
        for run in [each for each in runs if (store.folder(each) / run_folder.PREDICTIONS).is_file()][:1]:
            for name, picture in run.task.pictures.items():
                webp, obstacle = b"", ""
                try:
                    png = figure_bytes(draw_picture(store, run, name, data_dir), "png", PAGE_DPI)
                    webp = _as_webp(png)
                except BadInputError as error:
                    obstacle = str(error)
                yield Drawn(name, run.run_id, picture.caption, webp, obstacle)


def _as_webp(png: bytes) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").save(buffer, "webp", quality=QUALITY)
    return buffer.getvalue()
