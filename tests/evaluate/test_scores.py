"""Errors from scores, and the average of several nets' scores."""

from __future__ import annotations

import numpy as np
import pytest

from resnet_cli.evaluate.scores import average, is_wrong, top_errors

RANDOM = np.random.default_rng(0)


def test_errors_are_those_of_a_sorted_list() -> None:
    """An image is right among k if its label is among the k classes that a stable sort puts first."""
    scores = RANDOM.integers(0, 6, (200, 12)).astype(np.float16)  # with many ties
    labels = RANDOM.integers(0, 12, 200)
    best = np.argsort(-scores.astype(float), axis=1, kind="stable")

    for k in (1, 5):
        expected = [label not in row[:k] for row, label in zip(best, labels, strict=True)]

        assert expected == is_wrong(scores, labels, k).tolist()
    assert (100 * is_wrong(scores, labels, 1).mean(), 100 * is_wrong(scores, labels, 5).mean()) == top_errors(
        scores, labels
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_is_wrong(value: float) -> None:
    """A row with a score that is not finite is wrong, whatever its other scores."""
    scores = np.array([[3.0, 1.0, 0.0], [3.0, 1.0, value]])

    assert [False, True] == is_wrong(scores, np.array([0, 0]), 1).tolist()


def test_average_is_of_probabilities() -> None:
    """An ensemble averages probabilities: a net that is sure outweighs one that is not, whatever their scales."""
    members = [10 * RANDOM.normal(size=(30, 4)) for _ in range(3)]
    softmaxes = [np.exp(each) / np.exp(each).sum(axis=1, keepdims=True) for each in members]

    assert np.allclose(np.mean(softmaxes, axis=0), np.exp(average(members)), atol=1e-6)
    assert np.float32 == average(members).dtype
    assert np.allclose(np.exp(average(members)).sum(axis=1), 1, atol=1e-6)
