"""Anchors, offsets and overlaps, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from resnet_cli.nets.boxes import anchors, clipped, grown, moved, offsets, overlaps


def test_anchors_stand_in_the_middle_of_their_places() -> None:
    """Place by place, row by row; areas are those of the sides, whatever the ratio."""
    found = anchors(2, 3, 10, (8.0,), (0.25, 1.0))

    assert (12, 4) == found.shape
    assert [[-3, 3, 13, 7], [1, 1, 9, 9], [7, 3, 23, 7]] == found[:3].tolist()
    assert [1, 11, 9, 19] == found[7].tolist()


def test_offsets_lead_to_their_targets() -> None:
    """A box of twice the width, half a width to the right, is half a width and the logarithm of 2 away."""
    box, target = torch.tensor([0.0, 0, 10, 20]), torch.tensor([0.0, 0, 20, 20])

    torch.testing.assert_close(offsets(box, target), torch.tensor([0.5, 0, math.log(2), 0]))
    torch.testing.assert_close(moved(box, offsets(box, target)), target)


def test_a_wild_offset_stays_finite() -> None:
    """A side grows at most to 1000 / 16 of what it was."""
    left, _, right, _ = moved(torch.tensor([0.0, 0, 10, 10]), torch.tensor([0.0, 0, 99, 0])).tolist()

    assert pytest.approx(625) == right - left


def test_overlaps() -> None:
    """Half of a box in another of its size is a third; an empty box overlaps nothing."""
    boxes = torch.tensor([[[0.0, 0, 10, 10], [5, 0, 15, 10], [0, 0, 0, 0]]])

    torch.testing.assert_close(overlaps(boxes, boxes)[0], torch.tensor([[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]]))


def test_clipped() -> None:
    """What reaches beyond the image is cut off."""
    assert [0, 3, 30, 20] == clipped(torch.tensor([-5.0, 3, 99, 25]), 20, 30).tolist()


def test_small_boxes_grow() -> None:
    """To a pixel a side, about their centres; others stay."""
    assert [[1.5, 1.5, 2.5, 2.5], [0, 0, 3, 4]] == grown(torch.tensor([[2.0, 2, 2, 2], [0, 0, 3, 4]])).tolist()
