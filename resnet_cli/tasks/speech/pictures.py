"""A picture of what a net hears: the spectrograms of test utterances with the true phones and the recognised ones."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure

from resnet_cli.data.features import log_mel
from resnet_cli.errors import BadInputError
from resnet_cli.tasks.speech.recording import NO_CLASS, Recording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from matplotlib.axes import Axes

    from resnet_cli.identity import RunSpec

SHOWN = 3  # utterances
ROWS = 80  # mels of the spectrogram, whatever the net's
RIGHT, WRONG, UNCOUNTED = "#DCE9F5", "#F4B8A8", "#EEEEEE"
NARROW = 3  # frames; the name of a shorter phone would lie on its neighbours'


def draw_phones(run: RunSpec, kept: Mapping[str, np.ndarray], data: Callable[[], Any]) -> Figure:
    """The first test utterances.

    Raises:
        BadInputError: The run kept no logits of these utterances' frames.
    """
    opened = data()
    counted = [each.labels != NO_CLASS for each in opened.heard]
    if "logits" not in kept or len(kept["logits"]) != sum(int(each.sum()) for each in counted):
        raise BadInputError(f"{run.run_id}: its predictions are not of this test set")
    answers = np.split(kept["logits"].argmax(axis=1), np.cumsum([each.sum() for each in counted])[:-1])
    figure = Figure(figsize=(7, 1.9 * SHOWN + 0.3), layout="constrained")
    parts = figure.subfigures(SHOWN, 1, squeeze=False)[:, 0]
    for part, recording, has_class, answer in zip(parts, opened.heard, counted, answers, strict=False):
        heard = np.full(len(recording.labels), NO_CLASS)
        heard[has_class] = answer
        _draw(part.subplots(3, 1, sharex=True, height_ratios=(6, 1, 1)), recording, heard, opened.classes)
    figure.suptitle(
        f"{run.net.name}, seed {run.seed}: test utterances, the true phones and the recognised ones (wrong frames red)",
        fontsize=8,
    )
    return figure


def _draw(axes: Sequence[Axes], recording: Recording, heard: np.ndarray, classes: Sequence[str]) -> None:
    """A spectrogram, and below it a strip of true and one of recognised phones; time in seconds."""
    spectrogram, *strips = axes
    mels = log_mel(torch.from_numpy(recording.samples), ROWS).numpy().T
    spectrogram.imshow(
        mels,
        origin="lower",
        aspect="auto",
        cmap="magma",
        interpolation="nearest",
        extent=(0, len(heard) / 100, 0, ROWS),
    )
    spectrogram.set_ylabel("mel")
    right = heard == recording.labels
    counts = recording.labels != NO_CLASS
    error = 100 * (1 - right[counts].mean())
    spectrogram.set_title(f"{recording.name}: frame error {error:.1f}%", fontsize=7)
    for strip, name, labels in zip(strips, ("true", "heard"), (recording.labels, heard), strict=True):
        for first, last, label in _segments(labels):
            _show_segment(strip, first, last, classes[label] if label != NO_CLASS else "")
        wrong = ~right & (labels is heard)
        colours = np.where(counts[:, None], np.where(wrong[:, None], _rgb(WRONG), _rgb(RIGHT)), _rgb(UNCOUNTED))
        strip.imshow(colours[None], aspect="auto", interpolation="nearest", extent=(0, len(heard) / 100, 0, 1))
        strip.set_yticks([0.5], [name])
        strip.tick_params(length=0)
    strips[-1].set_xlabel("seconds")


def _show_segment(strip: Axes, first: int, last: int, name: str) -> None:
    strip.axvline(first / 100, color="black", linewidth=0.4)
    if last - first >= NARROW:
        strip.text((first + last) / 200, 0.5, name, fontsize=5, ha="center", va="center", clip_on=True)


def _segments(labels: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Runs of frames with one label: first frame, the frame after the last, label."""
    first = 0
    for label, frames in groupby(labels.tolist()):
        last = first + len(list(frames))
        yield first, last, label
        first = last


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
