"""Batch normalisation, shortcut and ReLU in one pass over memory: what `model.BatchNorm` does, faster.

Beside the convolutions these are all that an update costs, and they are limited by memory. Forward, the sums of x and
x^2 are taken in one pass, per image first, which keeps every thread or block busy however few channels there are; a
second pass writes y. Backward, likewise: two sums, then the gradients. torch.compile makes a kernel of each pass.
"""

from __future__ import annotations

from functools import cache, partial
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch

from resnet_cli.nets.resnet import BatchNorm

if TYPE_CHECKING:
    from torch import Tensor, nn


# Inductor would split the sums within an image once more: 5 kernels forward and 6 backward for 3 and 3, where a launch
# takes as long as the sums. And it would try out several forms of a kernel when it is first launched.
CUDA_OPTIONS = {"split_reductions": False, "triton.autotune_pointwise": False}


def fuse(net: nn.Module, *, compiled_for: torch.device | None = None) -> None:
    """Makes the net's batch normalisations run as here in training; testing stays as it is.

    Args:
        net: Its parameters and buffers stay what they are.
        compiled_for: Compile each kernel by itself for this device, as suits a net that is not compiled as a whole.
    """
    function = _differentiable(compiled_for)

    def forward(module: BatchNorm, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        if not module.training:
            return BatchNorm.forward(module, x, shortcut)
        y: Tensor = function.apply(
            x,
            shortcut,
            module.weight,
            module.bias,
            module.running_mean,
            module.running_var,
            module.momentum,
            module.eps,
            module.relu,
        )
        return y

    for module in net.modules():
        if isinstance(module, BatchNorm):
            module.forward = MethodType(forward, module)  # type: ignore[method-assign]


def compile_options(device: torch.device, *, is_whole: bool) -> dict[str, Any]:
    """How a net as a whole, or its kernels one by one, are compiled: for one shape, always to the same code.

    Inductor computes anew what is cheap rather than keep it, as suits a GPU; of a whole net on a CPU that is slower
    (docs/speed.md). On CUDA it would try out several forms of a sum, each time anew.
    """
    from torch._inductor import config

    options: dict[str, Any] = {}
    if device.type == "cpu" and is_whole:
        options = {"realize_reads_threshold": 2, "realize_acc_reads_threshold": 3}
    elif device.type == "cuda":
        options = {**CUDA_OPTIONS, **({"deterministic": True} if hasattr(config, "deterministic") else {})}
    return {"dynamic": False, "fullgraph": True, "options": options or None}


def allow_many_shapes() -> None:
    """Lets a function be compiled for as many shapes, and nets, as a table has; the default is 8."""
    from torch._dynamo import config

    config.recompile_limit = config.accumulated_recompile_limit = 1_000


def normalize(
    x: Tensor,
    shortcut: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
    relu: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalises by the batch's statistics and updates the running ones, as `torch.nn.BatchNorm2d` does.

    The variance is E[x^2] - E[x]^2 in float32: convolutions' outputs have means of the size of their deviations, so
    that little is lost.

    Returns:
        y like x; mean and 1 / standard deviation of each channel, not below float32, for the backward pass.
    """
    count = x.numel() // x.shape[1]
    values = wide(x)
    mean = _sum(values) * (1 / count)
    variance = (_sum(values * values) * (1 / count) - mean * mean).clamp(min=0)
    scale = torch.rsqrt(variance + eps)
    running_mean.lerp_(mean, momentum)
    running_var.lerp_(variance * (count / (count - 1)), momentum)
    y = affine(values, weight * scale, bias - mean * weight * scale)
    if shortcut is not None:
        y = y + wide(shortcut)
    y = y.to(x.dtype)
    return (y.relu() if relu else y), mean, scale


def normalize_backward(
    gradient: Tensor,
    x: Tensor,
    y: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    scale: Tensor,
    relu: bool,
    has_shortcut: bool,
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """Gradients of x and of the shortcut, if there is one, both like x, and of weight and bias.

    Where y is not given, ReLU's mask is made again from x, which is read anyway.
    """
    count = x.numel() // x.shape[1]
    values = wide(x)
    if relu:
        if y is None:
            y = affine(values, weight * scale, bias - mean * weight * scale).to(x.dtype)
        gradient = torch.ops.aten.threshold_backward(gradient, y, 0)
    before = wide(gradient)
    bias_gradient = _sum(before)
    weight_gradient = (_sum(before * values) - mean * bias_gradient) * scale
    slope = -weight * scale * scale * weight_gradient * (1 / count)
    offset = -weight * scale * bias_gradient * (1 / count) - slope * mean
    x_gradient = before * _channels(weight * scale) + affine(values, slope, offset)
    return x_gradient.to(x.dtype), gradient if has_shortcut else None, weight_gradient, bias_gradient


def wide(values: Tensor) -> Tensor:
    """In float32 at least."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _sum(values: Tensor) -> Tensor:
    """(N, C, H, W) to (C,): within each image, then over the images."""
    return values.sum(dim=(2, 3)).sum(dim=0)


def _channels(values: Tensor) -> Tensor:
    """(C,) beside (N, C, H, W)."""
    return values[None, :, None, None]


def affine(values: Tensor, slope: Tensor, offset: Tensor) -> Tensor:
    """Values (N, C, H, W) times a slope plus an offset, (C,) each."""
    return values * _channels(slope) + _channels(offset)


@cache
def _differentiable(compiled_for: torch.device | None) -> type[torch.autograd.Function]:
    """The two passes as one differentiable function; compiled ones are shared by all nets of a process."""
    forward_pass, backward_pass = normalize, normalize_backward
    if compiled_for:
        compiling = partial(torch.compile, **compile_options(compiled_for, is_whole=False))
        forward_pass, backward_pass = compiling(normalize), compiling(normalize_backward)

    class Normalize(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Tensor, shortcut: Tensor | None, *others: Any) -> Tensor:
            weight, bias, *_, context.relu = others
            # Without their history: the compiler would look for their gradients, and be warned that there are none.
            x, shortcut = x.detach(), None if shortcut is None else shortcut.detach()
            y, mean, scale = forward_pass(x, shortcut, *others)
            context.has_shortcut = shortcut is not None
            # Without a shortcut, the mask is cheaper made anew; but as part of a whole net, y is there in any case.
            is_needed = context.relu and (context.has_shortcut or not compiled_for)
            context.save_for_backward(x, y.detach() if is_needed else None, weight, bias, mean, scale)
            return y

        @staticmethod
        def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
            x, y, weight, bias, mean, scale = context.saved_tensors
            if compiled_for:
                allow_many_shapes()  # on CUDA this is another thread, which may have settings of its own
            gradients = backward_pass(gradient, x, y, weight, bias, mean, scale, context.relu, context.has_shortcut)
            return *gradients, None, None, None, None, None

    return Normalize
