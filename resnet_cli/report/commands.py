"""Command lines that ask for what is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resnet_cli.identity import Variant


def flags(variant: Variant, default: str) -> str:
    """Command-line flags that ask for this variant of an experiment on the `default` dataset, each after a space."""
    if variant.tiny:
        parts = ["--tiny"]
    else:
        dataset = "" if variant.dataset == default else f"--dataset {variant.dataset}"
        schedule = "" if variant.schedule == 1 else f"--schedule {variant.schedule:g}"
        parts = ["--dataset-root DIR" if variant.source else dataset, schedule]
    parts.append("" if variant.split == "full" else f"--split {variant.split}")
    parts += [f"--deviation {deviation}" for deviation in variant.deviations or ()]
    parts.append(f"--accumulate {variant.accumulate}" if variant.accumulate else "")
    parts.append("" if variant.precision == "fp32" else f"--precision {variant.precision}")
    return "".join(f" {part}" for part in parts if part)
