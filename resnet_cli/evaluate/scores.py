"""Errors from saved scores, and the average of several nets' scores. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_softmax

if TYPE_CHECKING:
    from collections.abc import Sequence


TOP = {"test_error": 1, "test_error_top5": 5}  # the number of answers that a net may give, by metric


def is_wrong(scores: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Whether each image's label is not among its k highest scores.

    In a tie the lower class ranks first. A row that is not finite is wrong: early in training, running BN statistics
    can make a deep plain net's scores infinite.

    Args:
        scores: (N, C), on any scale.
        labels: (N,).
        k: How many answers a net may give.

    Returns:
        (N,) bool.
    """
    rows = np.arange(len(labels))
    own = scores[rows, labels][:, None]
    before = np.arange(scores.shape[1]) < labels[:, None]
    rank = ((scores > own) | ((scores == own) & before)).sum(axis=1)
    wrong: np.ndarray = (rank >= k) | ~np.isfinite(scores).all(axis=1)
    return wrong


def top_errors(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Top-1 and top-5 error in percent; scores (N, C), labels (N,)."""
    one, five = (100 * float(is_wrong(scores, labels, k).mean()) for k in (1, 5))
    return one, five


def average(members: Sequence[np.ndarray]) -> np.ndarray:
    """An ensemble's scores: the log of the mean of its members' softmaxes; each and the result (N, C), float32."""
    total = log_softmax(members[0].astype(np.float32), axis=1)
    for scores in members[1:]:  # one at a time: 50,000 images of 1,000 classes take 200 MB each
        np.logaddexp(total, log_softmax(scores.astype(np.float32), axis=1), out=total)
    total -= np.float32(np.log(len(members)))
    result: np.ndarray = total
    return result
