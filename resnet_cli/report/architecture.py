"""Table 1: the nets stage by stage, their parameters and multiply-adds beside the paper's FLOPs. Trains nothing."""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from resnet_cli.nets import complexity
from resnet_cli.spec import Net
from resnet_cli.tasks.classification import Classification

if TYPE_CHECKING:
    from resnet_cli.experiment import Architecture, Experiment
    from resnet_cli.nets.layout import Layout
    from resnet_cli.tasks.task import Task

STAGES = ("conv2_x", "conv3_x", "conv4_x", "conv5_x")
SIZES = (112, 56, 28, 14, 7)  # of the output maps of conv1 and STAGES, for images of 224x224
FULLY_CONNECTED = ("fc", "classifier")  # prefixes of the layers' names


def describe(experiment: Experiment) -> pd.DataFrame:
    """One row per architecture.

    Columns: label, net, conv1 to conv5_x (their layers in words; None if Table 1 does not have the net), layers,
    parameters, multiply_adds, convolution_multiply_adds (the convolutions' part of these), paper_multiply_adds, and
    difference_percent (of ours from the paper's).
    """
    return pd.DataFrame([_record(each, experiment.task) for each in experiment.architectures])


def in_words(frame: pd.DataFrame) -> tuple[pd.DataFrame, ...]:
    """The layers as in the paper, one column per depth; then the counts, one row per net. Empty without nets."""
    if frame.empty:
        return ()
    counts = pd.DataFrame(
        {
            "net": frame["label"],
            "layers": frame["layers"].astype(str),
            "parameters": [f"{count:,}" for count in frame["parameters"]],
            "multiply-adds": [f"{count:,}" for count in frame["multiply_adds"]],
            "paper's FLOPs": [_billions(flops) for flops in frame["paper_multiply_adds"]],
            "difference": [_signed(percent) for percent in frame["difference_percent"]],
        }
    )
    drawn = frame.dropna(subset="conv1").drop_duplicates("layers").sort_values("layers")
    if drawn.empty:
        return (counts,)
    stages = ("conv1", *STAGES)
    layout = pd.DataFrame({"stage": stages, "output": [f"{size}x{size}" for size in SIZES]})
    for _, row in drawn.iterrows():
        layout[f"{row['layers']}-layer"] = row[list(stages)].to_list()
    return layout, counts


def notes(experiment: Experiment) -> tuple[str, ...]:
    """What is counted, and why counts agree with the paper's or differ."""
    if not experiment.architectures:
        return ()
    result = ["multiply-adds: of the convolutions and fully connected layers, for one image; the paper's FLOPs."]
    nets = [(each.label, each.net) for each in experiment.architectures if isinstance(each.net, Net)]
    task = experiment.task
    assert isinstance(task, Classification)
    layouts = {label: task.layout(net) for label, net in nets}
    if any(layout.halves for layout in layouts.values()):
        result.append(
            "conv1 has stride 2; conv2_x begins with a 3x3 max pooling of stride 2, each later stage with a block of "
            "stride 2; average pooling and a fully connected layer follow. A plain net has the same layers."
        )
    rows = describe(experiment).to_dict(orient="records")
    agree = [row["label"] for row in rows if _billions(row["multiply_adds"]) == _billions(row["paper_multiply_adds"])]
    if agree:
        result.append(f"Equal to the paper's count, rounded as there: {', '.join(agree)}.")
    result += [_difference(row) for row in rows if row["label"] not in agree]
    otherwise = [
        f"{label} {_billions(task.multiply_adds(net, stride_3x3=True), 3)}"
        for label, net in nets
        if layouts[label].block == "bottleneck"
    ]
    if otherwise:
        result.append(
            f"A bottleneck's stride is in its first 1x1 convolution; with it in the 3x3: {', '.join(otherwise)}."
        )
    return tuple(result)


def _difference(row: dict[Any, Any]) -> str:
    """Why a count is not the paper's."""
    label, count, paper = row["label"], row["multiply_adds"], _billions(row["paper_multiply_adds"])
    if _billions(floor(count / 1e8) * 1e8) == paper:
        return f"{label}: {_billions(count, 3)} is the paper's {paper} if it is truncated, not rounded."
    convolutions = row["convolution_multiply_adds"]
    if _billions(convolutions) == paper:
        return f"{label}: {_billions(convolutions, 3)} without its fully connected layers is the paper's {paper}."
    return f"{label}: {_billions(count, 3)} is not the paper's {paper}."


def _record(architecture: Architecture, task: Task) -> dict[str, Any]:
    net = architecture.net
    if isinstance(net, Net):
        name, depth, layers = net.name, net.depth, task.layers(net)
    else:
        vgg: Literal[16, 19] = 16 if net == "vgg-16" else 19
        name, depth, layers = net, vgg, complexity.vgg_layers(vgg)
    count = sum(layer.multiply_adds for layer in layers)
    convolutions = [layer for layer in layers if not layer.name.startswith(FULLY_CONNECTED)]
    return {
        "label": architecture.label,
        "net": name,
        **dict.fromkeys(("conv1", *STAGES)),
        **(_stages(task.layout(net)) if isinstance(net, Net) and isinstance(task, Classification) else {}),
        "layers": depth,
        "parameters": sum(layer.parameters for layer in layers),
        "multiply_adds": count,
        "convolution_multiply_adds": sum(layer.multiply_adds for layer in convolutions),
        "paper_multiply_adds": architecture.flops,
        "difference_percent": 100 * (count / architecture.flops - 1),
    }


def _stages(layout: Layout) -> dict[str, str]:
    """The stages of a net of Table 1, as `[3x3, 64; 3x3, 64] x 2`: kernel and filters per layer, number of blocks."""
    if len(layout.blocks) != len(STAGES):
        return {}
    result = {"conv1": f"{layout.kernel}x{layout.kernel}, {layout.stem_width}"}
    for stage, width, count in zip(STAGES, layout.widths, layout.blocks, strict=True):
        block = [f"3x3, {width}", f"3x3, {width}"]
        if layout.block == "bottleneck":
            block = [f"1x1, {width}", f"3x3, {width}", f"1x1, {4 * width}"]
        result[stage] = f"[{'; '.join(block)}] x {count}"
    return result


def _billions(count: float, digits: int = 1) -> str:
    return f"{count / 1e9:.{digits}f}e9"


def _signed(percent: float) -> str:
    return f"{percent:+.1f}%".replace("-", "−")  # noqa: RUF001  a minus sign, as in the other tables
