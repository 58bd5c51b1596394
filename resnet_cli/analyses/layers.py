"""The 3x3 layers of a net, and their responses: the output of the BN that follows the convolution."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

KERNEL = (3, 3)


def layers_of(net: nn.Module) -> list[str]:
    """The 3x3 convolutions by name, in the order of the forward pass."""
    modules = net.named_modules()
    return [name for name, module in modules if isinstance(module, nn.Conv2d) and module.kernel_size == KERNEL]


@contextlib.contextmanager
def listening(net: nn.Module, names: list[str], listen: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Hands each of these layers' responses to `listen`: the output of the BN that follows the convolution."""
    hooks = []
    for name in names:

        def hear(_: nn.Module, __: object, response: Tensor, name: str = name) -> None:
            listen(name, response)

        norm = net.get_submodule(name.replace("conv", "bn"))
        hooks.append(norm.get_submodule("response").register_forward_hook(hear))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
