"""Hooks on the outputs of a net's modules, and the forward pass over the test set."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch
from torch import nn

from resnet_cli.device.torch_device import memory_format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from torch import Tensor

KERNEL = (3, 3)


def responses_of(net: nn.Module) -> dict[str, nn.Module]:
    """Each 3x3 convolution's name and the module that outputs its response, after its BN; in forward order."""
    return {
        name: net.get_submodule(f"{name.replace('conv', 'bn')}.response")
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == KERNEL
    }


@contextlib.contextmanager
def listening(modules: Mapping[str, nn.Module], listen: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Calls `listen` with the name and the output of each of these modules at each forward pass."""
    hooks = []
    for name, module in modules.items():

        def hear(_: nn.Module, __: object, response: Tensor, name: str = name) -> None:
            listen(name, response)

        hooks.append(module.register_forward_hook(hear))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def see_test_set(net: nn.Module, dataset: Any, progress: Callable[[int], None]) -> int:
    """Passes all images of the test set (one view each) through the net, in fp32; returns their number."""
    layout, done = memory_format(dataset.device, "fp32"), 0
    net.to(memory_format=layout)
    with torch.no_grad():
        for _, images in dataset.test_views("1-crop"):
            net(images.contiguous(memory_format=layout))
            done += len(images)
            progress(done)
    return done
