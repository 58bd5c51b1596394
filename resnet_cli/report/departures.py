"""Where runs deviate from the paper, and the expected effect of each deviation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from resnet_cli.spec import FIXED_STEPS

if TYPE_CHECKING:
    from resnet_cli.experiment import Experiment
    from resnet_cli.identity import Variant
    from resnet_cli.names import Deviation, Precision


@dataclass(frozen=True)
class Departure:
    """A difference between our runs and the paper, and its expected effect."""

    here: str
    effect: str


# Those that the user asks for by name, and those of a precision below fp32.
DEPARTURES: dict[Deviation | Precision, Departure] = {
    "channel-mean": Departure("The mean is subtracted per channel, not per pixel.", "None known."),
    "fixed-steps": Departure(
        f"The learning rate falls after {', '.join(f'{step:,}' for step in FIXED_STEPS)} updates, not at plateaus.",
        "Small; the direction is not known.",
    ),
    "random-resized-crop": Departure(
        "Training crops are fb.resnet.torch's: 8 to 100% of the area, aspect 3:4 to 4:3.",
        "A higher training error and, after a long schedule, a lower validation error: the augmentation is stronger.",
    ),
    "stride-3x3": Departure(
        'A bottleneck\'s stride is in its 3x3, not in its first 1x1 ("v1.5").',
        "A lower error, as others report, for more multiply-adds. Nets of basic blocks do not change.",
    ),
    "tf32": Departure("Matrix products in TF32, everything else in fp32.", "None known; not measured here."),
    "bf16": Departure(
        "The forward pass in mixed precision (bf16); weights and statistics in fp32.",
        "Within the noise of three seeds where it was measured: ResNet-20, a fiftieth of the schedule (docs/speed.md). "
        "Not measured over the whole schedule.",
    ),
}


def departures(experiment: Experiment, variant: Variant) -> list[Departure]:
    """The differences between an experiment's runs at this variant and the paper."""
    data = experiment.task.title
    scale_and_data = (
        (
            variant.tiny,
            f"A smoke run: {experiment.protocol.tiny().iterations} updates of small batches.",
            "The numbers mean nothing; they show that the program runs through.",
        ),
        (
            variant.schedule < 1 and not variant.tiny,
            f"{variant.schedule:g} of the schedule; the steps of the learning rate move in proportion.",
            (
                "Higher errors than the paper's. Nets that learn slowly lose most, above all deep plain ones, so the "
                "order of two nets can differ from that after the whole schedule."
            ),
        ),
        (
            variant.schedule > 1 and not variant.tiny,
            f"{variant.schedule:g} times the schedule.",
            "Errors a little lower, if they change.",
        ),
        (
            variant.source,
            f"The classes of {variant.source}, not {data}.",
            "Errors cannot be compared with the paper's; the order of nets may differ.",
        ),
        (
            variant.dataset != variant.task.dataset and not variant.source,
            f"An embedded synthetic set, not {data}.",
            f"What is measured says nothing about {data}.",
        ),
        (
            experiment.protocol != experiment.task.protocol,
            "A protocol of the experiment's own.",
            "Errors cannot be compared with the paper's directly.",
        ),
        (
            variant.split == "45k-5k",
            "Trained on 45,000 of the training images; the error is that on the 5,000 held out.",
            "A slightly higher error: a tenth of the training images is missing. The paper set its schedule this way.",
        ),
    )
    found = [Departure(here, effect) for holds, here, effect in scale_and_data if holds]
    found += [DEPARTURES[deviation] for deviation in variant.deviations or ()]
    if variant.accumulate:
        parts = f"Each batch in {variant.accumulate} parts; batch normalisation sees one part at a time."
        found.append(Departure(parts, "Small: noisier statistics, as on each of the paper's GPUs."))
    if variant.precision != "fp32":
        found.append(DEPARTURES[variant.precision])
    return found
