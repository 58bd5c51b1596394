"""What is measured is what is said, by processes that start and end with it."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from resnet_cli.errors import BadInputError
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.runs.measure import measure
from resnet_cli.runs.settings import Settings
from resnet_cli.spec import Net, Protocol

PLAIN_8 = Net.model_validate("plain-8")
TINY = RunSpec.of(PLAIN_8, Variant(dataset="synthetic", tiny=True), Protocol(), 0)


def test_each_net_is_measured_by_processes_side_by_side() -> None:
    """Each time is there, the data's sizes too, and no process is left."""
    nets = [PLAIN_8, Net.model_validate("resnet-8")]
    found = measure(nets, TINY, Settings("cpu", Path("nowhere"), jobs=2), is_compiled=False)

    assert nets == [speed.net for speed in found.speeds]
    assert all(min(speed.update, speed.test, speed.first, speed.again) > 0 for speed in found.speeds)
    assert found.start > 0
    assert (64, 64) == (found.train_images, found.test_images)
    assert not any(speed.is_compiled for speed in found.speeds)
    assert [] == multiprocessing.active_children()


def test_what_a_process_cannot_use_is_told() -> None:
    """Data that is missing there is the caller's error."""
    run = RunSpec.of(PLAIN_8, Variant(), Protocol(), 0)
    with pytest.raises(BadInputError, match="nowhere"):
        measure([PLAIN_8], run, Settings("cpu", Path("nowhere")), is_compiled=False)

    assert [] == multiprocessing.active_children()
