"""Batch normalisation, shortcut and ReLU in one pass, against torch's own."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import Tensor

from resnet_cli.nets.resnet import BatchNorm
from resnet_cli.train.fused_norm import fuse


def norms(*, relu: bool) -> tuple[BatchNorm, BatchNorm]:
    """A normalisation with random parameters, and the same one fused."""
    plain = BatchNorm(6, relu=relu)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.uniform_(-1, 1, generator=torch.Generator().manual_seed(1))
    fused = copy.deepcopy(plain)
    fuse(fused)
    return plain, fused


def inputs(dtype: torch.dtype) -> list[Tensor]:
    """An x with a mean and a deviation of its own in each channel, a shortcut, and the gradient of y."""
    generator = torch.Generator().manual_seed(0)
    x, shortcut, gradient = torch.randn(3, 4, 6, 5, 5, generator=generator)
    x = x * torch.rand(6, 1, 1, generator=generator) + torch.randn(6, 1, 1, generator=generator)
    return [each.to(dtype).contiguous(memory_format=torch.channels_last) for each in (x, shortcut, gradient)]


def passes(norm: BatchNorm, dtype: torch.dtype, *, has_shortcut: bool) -> list[Tensor]:
    """y, the gradients of x, shortcut, weight and bias, and the running statistics after two batches."""
    x, shortcut, gradient = inputs(dtype)
    leaves = [each.requires_grad_() for each in ((x, shortcut) if has_shortcut else (x,))]
    for _ in range(2):
        y = norm(*leaves)
    gradients = torch.autograd.grad(y, [*leaves, norm.weight, norm.bias], gradient)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return [y, *gradients, norm.running_mean, norm.running_var]


@pytest.mark.parametrize(("relu", "has_shortcut"), list(itertools.product([False, True], repeat=2)))
def test_both_passes_are_torchs(relu: bool, has_shortcut: bool) -> None:
    """y, every gradient and the running statistics agree in float64."""
    plain, fused = (norm.double() for norm in norms(relu=relu))
    expected = passes(plain, torch.float64, has_shortcut=has_shortcut)
    found = passes(fused, torch.float64, has_shortcut=has_shortcut)

    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-10, atol=1e-10)


def test_bf16_sums_are_float32() -> None:
    """From bf16 maps the statistics are those that float32 arithmetic has of them, to float32's precision."""
    plain, fused = norms(relu=True)
    *_, mean, variance = passes(plain, torch.float32, has_shortcut=False)
    x = inputs(torch.float32)[0].bfloat16()
    for _ in range(2):
        y = fused(x)
    reference = norms(relu=True)[0]
    for _ in range(2):
        reference(x.float())

    assert torch.bfloat16 == y.dtype
    torch.testing.assert_close(fused.running_mean, reference.running_mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(fused.running_var, reference.running_var, rtol=1e-6, atol=1e-6)
    assert not torch.equal(fused.running_mean, mean)
    assert not torch.equal(fused.running_var, variance)


def test_a_constant_channel_divides_by_nothing() -> None:
    """Where E[x^2] - E[x]^2 would be a little below zero, the variance is zero, and all stays finite."""
    _, fused = norms(relu=False)
    x = torch.full((4, 6, 5, 5), 1e3 / 3, requires_grad=True)
    y = fused(x)
    y.sum().backward()

    assert y.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert fused.running_var.min() >= 0.9 - 1e-6


def test_testing_is_untouched() -> None:
    """With running statistics a fused module does what it did before, bit for bit."""
    plain, fused = norms(relu=True)
    x, shortcut, _ = inputs(torch.float32)

    assert torch.equal(plain.eval()(x, shortcut), fused.eval()(x, shortcut))


def test_a_copy_of_a_fused_module_is_its_own() -> None:
    """Evaluation tests a copy: its mode and statistics are not the original's."""
    _, fused = norms(relu=True)
    copied = copy.deepcopy(fused).eval()
    before = fused.running_mean.clone()
    copied.train()(inputs(torch.float32)[0])

    assert torch.equal(before, fused.running_mean)
    assert not torch.equal(before, copied.running_mean)
