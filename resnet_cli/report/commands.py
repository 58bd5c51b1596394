"""The options that reproduce what is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resnet_cli.identity import Variant


def flags(variant: Variant, default: str, dataset_root: str = "DIR") -> list[str]:
    """The command-line options that select this variant of an experiment.

    Args:
        variant: The variant.
        default: The experiment's own dataset.
        dataset_root: The path of a folder of classes.
    """
    if variant.weights:  # only `resnet run` has an option for them
        return ["--at", variant.slug.removeprefix("-")]
    words = ["--tiny"] if variant.tiny else []
    if not variant.tiny and variant.source:
        words += ["--dataset-root", dataset_root]
    elif not variant.tiny and variant.dataset != default:
        words += ["--dataset", variant.dataset]
    if not variant.tiny and variant.schedule != 1:
        words += ["--schedule", f"{variant.schedule:g}"]
    if variant.split != "full":
        words += ["--split", variant.split]
    for deviation in variant.deviations or ():
        words += ["--deviation", deviation]
    if variant.accumulate:
        words += ["--accumulate", str(variant.accumulate)]
    return words if variant.precision == "fp32" else [*words, "--precision", variant.precision]
