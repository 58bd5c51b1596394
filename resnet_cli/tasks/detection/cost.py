"""Time and memory of a detector's training on one GPU, from a measured step and assumptions. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resnet_cli.spec import Protocol

# Assumed: ResNet-50 trains at 2,470 images per second in bf16, NVIDIA's figure for one A100 (docs/scale.md), and 3.86e9
# multiply-adds per forward pass. A detector, whose batches are an image or two, is assumed to reach a quarter of that.
A100 = 2_470 * 3.86e9
SHARE = 0.25
# Measured by benchmarks/detection_step.py: bytes that the backward pass needs of one image of 600x800 with 128 regions,
# in fp32. Those of other nets are taken as ResNet-101's, in proportion to their multiply-adds.
SAVED = {"faster-rcnn-vgg-16": 240_365_540, "faster-rcnn-resnet-101": 836_268_132}
WORK = {"faster-rcnn-vgg-16": 167e9, "faster-rcnn-resnet-101": 177e9}  # multiply-adds of that image
BYTES = 12  # of a parameter: itself, its gradient and its momentum, in fp32


def on_a_gpu(name: str, protocol: Protocol, work: int, parameters: int) -> str | None:
    """Hours and GiB of a run's updates, with the assumptions, in one line; None for the thin nets.

    Args:
        name: The net's name.
        protocol: The run's protocol.
        work: Multiply-adds of the forward pass of one training image.
        parameters: The net's number of parameters.
    """
    if "thin" in name:
        return None
    like = name if name in SAVED else "faster-rcnn-resnet-101"
    saved = SAVED[like] * work / WORK[like]
    hours = protocol.iterations * protocol.batch_size * work / (SHARE * A100) / 3600
    memory = (BYTES * parameters + protocol.batch_size * saved) / 2**30
    return (
        f"{name}'s updates on one GPU: about {hours:.1f} hours, at {SHARE * A100 / 1e12:.1f}e12 multiply-adds of "
        "forward passes per second, a quarter of NVIDIA's figure for ResNet-50 on an A100 in bf16; at least "
        f"{memory:.1f} GiB, from a measured step ({saved / 2**30:.2f} GiB per image in fp32) and {BYTES} bytes per "
        "parameter."
    )
