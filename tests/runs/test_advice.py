"""What a user is told of a device whose tensor cores lie idle, by what `resnet bench` has noted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from paper_tasks import CIFAR10

from resnet_cli.identity import RunSpec, Variant
from resnet_cli.runs.advice import Measured, about_precision, note
from resnet_cli.spec import Net

if TYPE_CHECKING:
    from resnet_cli.names import Precision
    from resnet_cli.storage.store import Store


def run_in(precision: Precision) -> RunSpec:
    """A run in this precision."""
    return RunSpec.of(Net.model_validate("resnet-20"), Variant(precision=precision), CIFAR10.protocol, 0)


def as_gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int] = (9, 0)) -> None:
    """A GPU that is none."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")


def measured(precision: Precision, milliseconds: float, **others: str) -> Measured:
    """A measurement of ResNet-20 on that GPU, with this torch, by the compiled step; or as said."""
    usual = {"net": "resnet-20", "step": "compiled", "device_name": "NVIDIA H200", "torch": torch.__version__}
    return Measured.model_validate({**usual, **others, "precision": precision, "milliseconds": milliseconds})


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
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In fp32, on a device that has them; a user who has chosen another precision is told nothing."""
    as_gpu(monkeypatch, capability)
    line = about_precision([run_in(each) for each in precisions], torch.device("cuda"), store)

    assert told == (line is not None)
    assert not told or str(line).startswith("fp32 leaves the tensor cores of NVIDIA H200 idle.")


def test_a_cpu_has_none(store: Store) -> None:
    """Nothing is said where there is nothing to gain."""
    assert about_precision([run_in("fp32")], torch.device("cpu"), store) is None


MEASURE_IT = "'resnet bench --precision fp32', then bf16 and tf32, measure it here"


def test_the_gain_that_was_measured_is_quoted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the run's own net rather than of another; the latest measurement counts, and a damaged note is none."""
    as_gpu(monkeypatch)
    for each in (
        measured("bf16", 99.0),
        measured("fp32", 2.0),
        measured("bf16", 0.8),
        measured("tf32", 1.6),
        measured("fp32", 5.0, net="plain-8"),
        measured("bf16", 1.0, net="plain-8"),
    ):
        note(each, store)
    (store.speeds / "plain-56-fp32-00000000.json").write_text("{")
    line = about_precision([run_in("fp32")], torch.device("cuda"), store)

    assert (
        "fp32 leaves the tensor cores of NVIDIA H200 idle. 'resnet bench' measured 2 ms per update of resnet-20 here "
        "in fp32; in bf16 0.8 ms, 2.50 times as fast, tf32 1.6 ms, 1.25 times as fast. Precision is part of a run's "
        "identity: another precision trains new runs"
    ) == line


def test_another_nets_gain_is_better_than_none(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the run's net was not measured, another net's gain stands for it, and is named."""
    as_gpu(monkeypatch)
    note(measured("fp32", 3.0, net="plain-56"), store)
    note(measured("tf32", 4.0, net="plain-56"), store)
    line = str(about_precision([run_in("fp32")], torch.device("cuda"), store))

    assert "measured 3 ms per update of plain-56 here in fp32; in tf32 4 ms, 0.75 times as fast." in line
    assert "bf16" not in line


@pytest.mark.parametrize(
    "others", [{"device_name": "NVIDIA A100"}, {"torch": "2.9.0"}, {"step": "plain"}, {"net": "resnet-56"}]
)
def test_only_like_is_compared_with_like(others: dict[str, str], store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times of another device or torch say nothing here; those of another step or net, nothing of precision."""
    as_gpu(monkeypatch)
    note(measured("bf16", 1.0), store)
    note(measured("fp32", 2.0, **others), store)

    assert MEASURE_IT in str(about_precision([run_in("fp32")], torch.device("cuda"), store))
