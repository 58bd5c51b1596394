"""How many kernels Inductor makes of a normalisation for a CUDA device, counted where there is none.

    python benchmarks/cuda_kernels.py

Its code for an H100 is generated from shapes alone and never compiled. What torch would ask the device for is answered
here, so this depends on the insides of torch; it was written for 2.15 and is no part of any test.
"""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

import torch
import torch.utils._triton
import triton.runtime  # type: ignore[import-untyped]
from torch._dynamo.device_interface import CudaInterface
from torch._inductor import config
from torch._inductor.compile_fx import compile_fx_inner
from torch._inductor.decomposition import select_decomp_table
from torch._inductor.graph import GraphLowering
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from triton.backends.compiler import GPUTarget  # type: ignore[import-untyped]

from resnet_cli.train import fused_norm

if TYPE_CHECKING:
    from collections.abc import Callable

H100 = SimpleNamespace(
    name="NVIDIA H100",
    major=9,
    minor=0,
    multi_processor_count=132,
    total_memory=80 << 30,
    regs_per_multiprocessor=65_536,
    max_threads_per_multi_processor=2_048,
    max_threads_per_block=1_024,
    warp_size=32,
    shared_memory_per_block=49_152,
    shared_memory_per_block_optin=232_448,
    shared_memory_per_multiprocessor=233_472,
    L2_cache_size=50 << 20,
    gcnArchName="",
)
STAGES = ((16, 32), (32, 16), (64, 8))  # channels and pixels of CIFAR-10's nets
NORMS_20 = (7, 6, 6)  # ResNet-20's in each stage
FORMS: dict[str, dict[str, Any]] = {
    "sums split again, Inductor's own": {"split_reductions": True},
    "the same, combined": {"split_reductions": True, "combo_kernels": True},
    "as it is": {},
}
MODE = FakeTensorMode()


class CodeError(Exception):
    """Carries the generated code out of the compiler, before it goes on to compile it."""


def pretend() -> None:
    """Answers for a device that is not here."""
    for name, value in {
        "is_available": True,
        "device_count": 1,
        "current_device": 0,
        "get_device_properties": H100,
        "get_device_capability": (9, 0),
        "_lazy_init": None,
        "_exchange_device": 0,
        "_maybe_exchange_device": 0,
        "set_device": None,
        "get_rng_state": torch.zeros(16, dtype=torch.uint8),
        "set_rng_state": None,
    }.items():
        setattr(torch.cuda, name, lambda *_, value=value: value)
    CudaInterface.get_device_properties = staticmethod(lambda *_: H100)  # type: ignore[arg-type]
    CudaInterface.Worker.get_device_properties = staticmethod(lambda *_: H100)  # type: ignore[assignment,method-assign]
    CudaInterface.get_compute_capability = staticmethod(lambda *_: 90)  # type: ignore[assignment,method-assign]
    triton.runtime.driver._active = SimpleNamespace(  # noqa: SLF001
        get_current_target=lambda: GPUTarget("cuda", 90, 32), get_current_device=lambda: 0
    )
    torch.utils._triton.triton_hash_with_backend = lambda: ""  # type: ignore[assignment]  # noqa: SLF001
    # Indexing with None would start the device.
    fused_norm._channels = lambda values: values.view(1, -1, 1, 1)  # noqa: SLF001

    def stop(self: GraphLowering) -> NoReturn:
        raise CodeError(str(getattr(self.codegen()[0], "value", "")))

    GraphLowering.compile_to_module = stop  # type: ignore[method-assign]


def fake(*shape: int) -> FakeTensor:
    """A map in bf16 and channels last, or a vector in float32, on the device that is not here."""
    is_map = len(shape) > 1
    tensor = torch.empty(shape, device="meta", dtype=torch.bfloat16 if is_map else torch.float32)
    if is_map:
        tensor = tensor.contiguous(memory_format=torch.channels_last)
    return FakeTensor(MODE, tensor, torch.device("cuda:0"))


def kernels(function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> int:
    """Launches of a compiled function."""
    tensors = [each for each in arguments if isinstance(each, torch.Tensor)]

    def of_tensors(*given: Any) -> list[Any]:
        left = iter(given)
        results = function(*(next(left) if isinstance(each, torch.Tensor) else each for each in arguments))
        return [each for each in results if each is not None]

    with torch.no_grad(), config.patch(options):
        functional = torch.func.functionalize(of_tensors, remove="mutations_and_views")
        graph = make_fx(functional, decomposition_table=select_decomp_table())(*tensors)
        try:
            compile_fx_inner(graph, tensors)
        except Exception as error:
            cause: BaseException | None = error
            while cause and not isinstance(cause, CodeError):
                cause = getattr(cause, "inner_exception", None) or cause.__cause__ or cause.__context__
            if cause is None:
                raise
            return len(re.findall(r"^\s+triton_\w+\.run\(", str(cause), re.MULTILINE))
    raise AssertionError


def main() -> None:
    """Prints, for each form and stage, the launches forward and backward, and their sum over ResNet-20."""
    pretend()
    for form, change in FORMS.items():
        options = {**fused_norm.CUDA_OPTIONS, **change}
        counts = []
        with MODE:
            for channels, pixels in STAGES:
                x = fake(128, channels, pixels, pixels)
                vectors = [fake(channels) for _ in range(4)]
                forward = kernels(fused_norm.normalize, (x, x, *vectors, 0.1, 1e-5, True), options)
                backward = kernels(fused_norm.normalize_backward, (x, x, x, *vectors, True, True), options)
                counts.append((forward, backward))
        whole = sum(count * sum(each) for count, each in zip(NORMS_20, counts, strict=True))
        told = ", ".join(f"{forward} + {backward}" for forward, backward in counts)
        print(f"{form:34} {told} for 16, 32 and 64 channels; {whole} an update of ResNet-20")


if __name__ == "__main__":
    main()
