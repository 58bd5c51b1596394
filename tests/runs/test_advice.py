"""What a user is told of a device whose tensor cores lie idle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from resnet_cli.runs.advice import about_precision
from resnet_cli.spec import PAPER, Net, RunSpec, Variant

if TYPE_CHECKING:
    from resnet_cli.spec import Precision


def run_in(precision: Precision) -> RunSpec:
    """A run in this precision."""
    return RunSpec.of(Net.model_validate("resnet-20"), Variant(precision=precision), PAPER["cifar10"], 0)


@pytest.mark.parametrize(
    ("precisions", "capability", "told"),
    [
        (("fp32",), (9, 0), True),
        (("fp32",), (7, 5), False),
        (("bf16",), (9, 0), False),
        (("fp32", "tf32"), (8, 6), False),
    ],
)
def test_idle_tensor_cores_are_told(
    precisions: tuple[Precision, ...],
    capability: tuple[int, int],
    told: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In fp32, on a device that has them; a user who has chosen another precision is told nothing."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    line = about_precision([run_in(each) for each in precisions], "cuda")

    assert told == (line is not None)
    assert not told or str(line).startswith("fp32 leaves the tensor cores of NVIDIA H200 idle.")


def test_a_cpu_has_none() -> None:
    """Nothing is said where there is nothing to gain."""
    assert about_precision([run_in("fp32")], "cpu") is None
