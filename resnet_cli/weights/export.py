"""A finished run's weights as files for other programs: safetensors with metadata, torchvision's state dict, ONNX."""

from __future__ import annotations

import base64
import importlib
import io
import json
from typing import TYPE_CHECKING

import safetensors.torch
import torch
from pydantic import ValidationError
from torch import nn

from resnet_cli.data.photos import PhotoDataset
from resnet_cli.errors import BadInputError
from resnet_cli.identity import RunSpec
from resnet_cli.storage import run_folder
from resnet_cli.tasks import titles
from resnet_cli.tasks.classification import Classification
from resnet_cli.weights.read import TORCHVISION

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from resnet_cli.data import Dataset
    from resnet_cli.nets.resnet import ResNet

ONNX_PACKAGES = ("onnx", "onnxscript")


def read_finished(folder: Path) -> RunSpec:
    """The spec of a run whose weights can be exported.

    Raises:
        BadInputError: The folder is not a run's, the run is not finished, or its weights are not in its folder.
    """
    path = folder / run_folder.SPEC
    try:
        run = RunSpec.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror}; give a run's folder") from error
    except ValidationError as error:
        raise BadInputError(f"{path}: not the spec of a run; give a run's folder") from error
    status = run_folder.read_status(folder)
    if status.state != "done":
        raise BadInputError(
            f"{folder}: {status.state}, {status.iteration:,} of {run.protocol.iterations:,} updates; only finished "
            "runs are exported; 'resnet run' continues it"
        )
    if not (folder / run_folder.WEIGHTS).is_file():
        raise BadInputError(
            f"{folder}: has no {run_folder.WEIGHTS}, as most published runs; train it here by 'resnet run'"
        )
    return run


def classification(run: RunSpec) -> Classification:
    """The run's task, whose nets take images.

    Raises:
        BadInputError: The run is of another task.
    """
    if not isinstance(run.task, Classification):
        raise BadInputError(f"{run.run_id}: only nets that classify images are exported")
    return run.task


def training_mean(run: RunSpec, dataset: Dataset | PhotoDataset) -> Tensor:
    """What the run subtracts from its inputs: (3, H, W), or (3, 1, 1) per channel; on the scale 0 to 1."""
    photos = run.protocol.photos
    if isinstance(dataset, PhotoDataset) and photos and photos.mean == "channel":
        return dataset.channel_mean
    return dataset.mean


def obstacle_to_torchvision(run: RunSpec) -> str | None:
    """Why no net of torchvision computes this one's function, and what to do instead; None if one does."""
    net, task = run.net, classification(run)
    if run.protocol.photos is None:
        whose = titles(lambda each: "10-crop" in each.views)
        reason = f"torchvision has {whose}'s nets only, and this one is {task.title}'s"
    elif net.full_name not in TORCHVISION:
        reason = f"torchvision's nets have shortcuts of option B, and this one has {net.shortcut or 'no shortcuts'}"
    elif task.layout(net).block == "bottleneck" and not run.variant.stride_3x3:
        return (
            "its bottlenecks have the stride on the first 1x1 convolution, as the paper's do, torchvision's on the "
            "3x3, so that the same weights give other logits; train with --deviation stride-3x3, or export --to "
            "safetensors or --to onnx"
        )
    else:
        return None
    return f"{reason}; export it --to safetensors or --to onnx"


def obstacle_to_onnx() -> str | None:
    """What keeps ONNX from being written; None if its packages are there."""
    try:
        for package in ONNX_PACKAGES:
            importlib.import_module(package)
    except ImportError as error:
        return f"{' '.join(str(error).split())}; pip install onnx onnxscript"
    return None


def describe(run: RunSpec, dataset: Dataset | PhotoDataset | None) -> dict[str, str]:
    """The run and its net's inputs and outputs, in words and JSON; the classes' names too, if the data are given."""
    photos, variant = run.protocol.photos, run.variant
    side = photos.crop if photos else classification(run).side(run.variant.dataset)
    kind = photos.mean if photos else "pixel"
    crop = f"; the centre crop of a photograph at shorter side {photos.test_side}" if photos else ""
    return {
        "net": run.net.full_name,
        "dataset": variant.source or variant.dataset,
        "scale": variant.label,
        "seed": str(run.seed),
        "hash": run.hash8,
        "run_id": run.run_id,
        "spec": run.model_dump_json(),
        "input": f"RGB images (N, 3, {side}, {side}) on the scale 0 to 1 (bytes / 255){crop}",
        "normalization": f"minus the mean of the training images per {kind}; no division by a standard deviation",
        **({"classes": json.dumps(dataset.classes)} if dataset else {}),
    }


def as_safetensors(net: ResNet, run: RunSpec, dataset: Dataset | PhotoDataset | None) -> bytes:
    """All tensors of the net under their own names; the metadata describes them.

    The mean is metadata too, if the data are given: no strict loader would accept it as a tensor among the weights.
    """
    metadata = {"format": "pt", **describe(run, dataset)}
    if dataset:
        mean = training_mean(run, dataset)
        metadata["mean_shape"] = json.dumps(list(mean.shape))
        metadata["mean"] = base64.b64encode(mean.numpy().astype("<f4").tobytes()).decode()
        metadata["mean_encoding"] = "base64 of float32, little-endian, in C order"
    return safetensors.torch.save(net.state_dict(), metadata)


def as_torchvision(net: ResNet) -> bytes:
    """A file of torch.save's that torchvision's net of the same depth loads strictly: the names are the same."""
    content = io.BytesIO()
    torch.save(dict(net.state_dict()), content)
    return content.getvalue()


class _FromPixels(nn.Module):
    """The net behind the subtraction of its training mean."""

    mean: Tensor

    def __init__(self, net: ResNet, mean: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", mean)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) on the scale 0 to 1 to logits (N, classes)."""
        logits: Tensor = self.net(images - self.mean)
        return logits


def as_onnx(net: ResNet, run: RunSpec, dataset: Dataset | PhotoDataset) -> bytes:
    """An ONNX graph from `images` (N, 3, H, W) on the scale 0 to 1, any N, to `logits` (N, classes).

    The training mean is subtracted within, so that the file is all that is needed.
    """
    photos = run.protocol.photos
    side = photos.crop if photos else classification(run).side(run.variant.dataset)
    program = torch.onnx.export(
        _FromPixels(net, training_mean(run, dataset)).eval(),
        (torch.zeros(2, 3, side, side),),  # the exporter would treat a batch of one as a constant
        dynamo=True,
        verbose=False,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes={"images": {0: "batch"}},
    )
    assert program is not None
    model = program.model_proto
    # The exporter notes where each layer stands in the source, by paths of this machine.
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
    for key, value in describe(run, dataset).items():
        model.metadata_props.add(key=key, value=value)
    content: bytes = model.SerializeToString()
    return content
