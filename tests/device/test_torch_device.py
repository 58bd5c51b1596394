"""The precision that fits a device, and what another one costs there."""

from __future__ import annotations

import pytest
import torch

from resnet_cli.device import torch_device as device
from resnet_cli.device.torch_device import bf16_slowdown, fitting_precision, has_bf16

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "bf16"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bf16"),
        ({"bf16": True}, "bf16"),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, "fp32"),
        ({}, "fp32"),
    ],
    ids=["AVX-512", "AMX", "ARM", "emulated", "unknown"],
)
def test_a_processor_takes_bf16_if_it_multiplies_it(
    capabilities: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the instructions that torch finds, else fp32."""
    monkeypatch.setattr(device, "_cpu_capabilities", lambda: capabilities)

    assert expected == fitting_precision(CPU)


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16"), ((12, 0), "bf16")]
)
def test_a_gpu_takes_bf16_from_capability_8(
    capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tensor cores multiply bf16 from compute capability 8.0 on."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)

    assert expected == fitting_precision(CUDA)


def test_mps_takes_fp32() -> None:
    """Nothing was measured there."""
    assert "fp32" == fitting_precision(torch.device("mps"))


def test_torch_finds_what_the_kernel_finds() -> None:
    """On Linux, where the kernel names the instructions."""
    try:
        with open("/proc/cpuinfo") as lines:  # noqa: PTH123  not a file
            flags = next(line.split() for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        pytest.skip("the kernel does not name the processor's instructions")

    assert bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags)) == has_bf16(CPU)


def test_the_slowdown_is_a_ratio_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions of which each takes a second in bf16 and half of one in fp32 give 2."""
    clock, conv2d = [0.0], torch.nn.functional.conv2d

    def convolve(images: torch.Tensor, *others: torch.Tensor, padding: int) -> torch.Tensor:
        clock[0] += 1.0 if images.dtype == torch.bfloat16 else 0.5
        return conv2d(images, *others, padding=padding)

    monkeypatch.setattr(device.functional, "conv2d", convolve)
    monkeypatch.setattr(device.time, "perf_counter", lambda: clock[0])

    assert 2.0 == bf16_slowdown(CPU)
