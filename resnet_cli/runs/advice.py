"""What a user could choose better on this device, as a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_cli.device import choose_device, has_bf16

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resnet_cli.spec import RunSpec


def about_precision(runs: Sequence[RunSpec], device: str) -> str | None:
    """That tensor cores lie idle in fp32, and what measures the gain; None where there are none, or they are used.

    Args:
        runs: To be trained.
        device: As `--device` names it.
    """
    import torch

    place = choose_device(device)
    if any(run.variant.precision != "fp32" for run in runs) or place.type != "cuda" or not has_bf16(place):
        return None
    return (
        f"fp32 leaves the tensor cores of {torch.cuda.get_device_name()} idle. --precision bf16 or tf32 is faster and "
        "makes other runs, since precision is part of them; 'resnet bench --precision bf16' and tf32 measure it here"
    )
