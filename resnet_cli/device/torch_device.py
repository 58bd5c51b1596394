"""The device to compute on, and torch's switches for it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from resnet_cli.device.versions import problem_with_version
from resnet_cli.errors import BadInputError

# What torch calls the instructions that multiply bf16 numbers: Intel's and AMD's, Intel's matrix unit, ARM's.
BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16", "sve_bf16")
BF16_CAPABILITY = (8, 0)  # CUDA's compute capability from which tensor cores multiply bf16

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from resnet_cli.names import Precision


def choose_device(name: str) -> torch.device:
    """The device that `--device` names; `auto` is the first available of cuda, mps, cpu.

    Raises:
        BadInputError: It is not available, or torch is too old.
    """
    too_old = problem_with_version(torch.__version__)
    if too_old:
        raise BadInputError(too_old)
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in here.items() if there)
    if not here[name]:
        found = ", ".join(device for device, there in here.items() if there)
        raise BadInputError(f"--device {name}: torch {torch.__version__} finds none here; there is {found}")
    return torch.device(name)


def default_jobs(name: str) -> int:
    """The default number of runs side by side: one, or on CUDA one per GPU; `name` is the value of `--device`."""
    return torch.cuda.device_count() if choose_device(name).type == "cuda" else 1


def check_precision(device: torch.device, precision: Precision) -> None:
    """Checks that the device has this precision.

    Raises:
        BadInputError: It does not.
    """
    if precision == "tf32" and device.type != "cuda":
        raise BadInputError(f"--precision tf32: a CUDA device has it, {device.type} does not; use fp32 or bf16")


def prepare(device: torch.device, precision: Precision) -> None:
    """Sets torch's global switches for exact, repeatable training at the wanted precision.

    Raises:
        BadInputError: The device does not have this precision.
    """
    check_precision(device, precision)
    # TF32 is a decision, never an accident: torch allows it in cuDNN's convolutions unless told otherwise.
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = False
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is not deterministic
        torch.use_deterministic_algorithms(mode=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a debugging aid that costs a kernel a tensor
    # Tiny weights and momenta decay into denormals, which slow a CPU down several times.
    torch.set_flush_denormal(True)


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 numbers itself; else each product is converted, which costs time."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= BF16_CAPABILITY
    return device.type == "cpu" and any(_cpu_capabilities().get(each) for each in BF16_INSTRUCTIONS)


def fitting_precision(device: torch.device) -> Precision:
    """The faster precision of those in which training ends alike: bf16 if the device has it, else fp32."""
    return "bf16" if has_bf16(device) else "fp32"


def bf16_slowdown(device: torch.device) -> float:
    """How many times as long as in fp32 a convolution takes in bf16 here, forward and backward; it takes a second."""

    def seconds(dtype: torch.dtype) -> float:
        images = torch.randn(32, 32, 16, 16, device=device, dtype=dtype, requires_grad=True)
        filters = torch.randn(32, 32, 3, 3, device=device, dtype=dtype, requires_grad=True)
        times = []
        for _ in range(5):
            began = time.perf_counter()
            functional.conv2d(images, filters, padding=1).sum().backward()  # type: ignore[no-untyped-call]
            filters.grad.sum().item()  # type: ignore[union-attr]  # waits for the device
            times.append(time.perf_counter() - began)
        return min(times)

    return seconds(torch.bfloat16) / seconds(torch.float32)


def _cpu_capabilities() -> dict[str, Any]:
    return getattr(torch.cpu, "get_capabilities", dict)()


def memory_format(device: torch.device, precision: Precision) -> torch.memory_format:
    """The layout in which convolutions are fastest: channels last, except on MPS and for bf16 on a CPU with AMX.

    On such a CPU, oneDNN's eager bf16 kernels are several times slower with channels last.
    """
    has_amx = device.type == "cpu" and precision == "bf16" and _cpu_capabilities().get("amx_bf16")
    plain = device.type == "mps" or has_amx
    return torch.contiguous_format if plain else torch.channels_last


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Mixed precision for the forward pass: bf16 where asked for, weights and statistics stay fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
