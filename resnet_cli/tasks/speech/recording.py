"""An utterance with the phone of each of its frames."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

FRAME, HOP = 400, 160  # samples at 16 kHz: 25 ms every 10 ms
CROP = 96  # frames of a training utterance that an update sees
NO_CLASS = -1  # the label of a frame that counts neither in loss nor in errors


@dataclass(frozen=True)
class Recording:
    """An utterance.

    Attributes:
        name: In words, for messages and pictures.
        samples: (n,) int16, 16 kHz.
        labels: The phone of each frame, (T,) int64.
    """

    name: str
    samples: NDArray[np.int16]
    labels: NDArray[np.int64]


def frame_count(samples: int) -> int:
    """Frames that lie wholly in so many samples."""
    return max(0, 1 + (samples - FRAME) // HOP)


def labels_of(samples: NDArray[np.int16], starts: NDArray[np.int64], phones: NDArray[np.int64]) -> NDArray[np.int64]:
    """The label of each frame: the phone of its middle sample.

    Args:
        samples: Of the utterance.
        starts: Each phone's first sample, from 0 on; it ends where the next begins, the last with the samples.
        phones: The phones' numbers.
    """
    middles = HOP * np.arange(frame_count(len(samples))) + FRAME // 2
    labels: NDArray[np.int64] = phones[np.searchsorted(starts, middles, side="right") - 1]
    return labels


def checksum(recordings: Iterable[Recording]) -> str:
    """SHA-256 over all samples and labels."""
    sha256 = hashlib.sha256()
    for each in recordings:
        sha256.update(each.samples.astype("<i2").tobytes() + each.labels.astype("<i8").tobytes())
    return sha256.hexdigest()
