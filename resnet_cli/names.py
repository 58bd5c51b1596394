"""Names that options take. Apart from the specs, so that the help of a command needs no pydantic."""

from __future__ import annotations

from typing import Literal

DatasetName = Literal["cifar10", "synthetic", "shapes-16", "imagenet", "synthetic-photos", "folder"]
GivenDataset = Literal["cifar10", "imagenet", "synthetic", "synthetic-photos"]  # what given weights are tested on
Precision = Literal["fp32", "tf32", "bf16"]
Split = Literal["full", "45k-5k"]
Deviation = Literal["channel-mean", "fixed-steps", "random-resized-crop", "stride-3x3"]
ConventionName = Literal["paper", "torchvision", "fb", "akamaster", "kuangliu"]
ClassOrder = Literal["number", "text"]
