"""Exported weights answer as the run's do, in torchvision and in ONNX."""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
import torchvision
from torch import nn

import resnet_cli
from resnet_cli.data import PhotoDataset
from resnet_cli.errors import BadInputError
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.storage import run_folder
from resnet_cli.tasks import open_dataset
from resnet_cli.weights.export import (
    as_onnx,
    as_safetensors,
    as_torchvision,
    obstacle_to_onnx,
    obstacle_to_torchvision,
    read_finished,
)
from resnet_cli.weights.read import match
from resnet_cli.weights.trained import trained_net
from resnet_cli.weights.weight_files import read_weights

if TYPE_CHECKING:
    from conftest import AddRun

    from resnet_cli.data import Dataset
    from resnet_cli.nets.resnet import ResNet
    from resnet_cli.storage.store import Store

SMOKE = Variant(dataset="synthetic", tiny=True)
SMOKE_PHOTOS = Variant(dataset="synthetic-photos", tiny=True)
V15 = ("stride-3x3",)
NOWHERE = Path("no-data")  # embedded sets need none


def run_of(net: str, variant: Variant) -> RunSpec:
    """A run under the paper's protocol."""
    return RunSpec.of(variant.task.net(net), variant, variant.task.protocol, seed=3)


@torch.no_grad()
def trained(run: RunSpec, classes: int = 10) -> ResNet:
    """The run's net with BN statistics and scales as of a training, so that none may be left out or be fused wrongly.

    Its logits are of the order of 1, as a trained net's.
    """
    net = run.task.build(run.net, run.variant, run.seed, classes)
    generator = torch.Generator().manual_seed(7)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                assert tensor is not None
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            for tensor in (module.bias, module.running_mean):
                assert tensor is not None
                tensor.copy_(torch.rand(tensor.shape, generator=generator) - 0.5)
            assert module.num_batches_tracked is not None
            module.num_batches_tracked.fill_(8)
    size = run.protocol.photos.crop if run.protocol.photos else 32
    net.fc.weight /= net.eval()(torch.randn(2, 3, size, size, generator=generator)).std()
    return net


def subtracted(data: Dataset | PhotoDataset) -> torch.Tensor:
    """What these runs subtract: the mean per channel from photographs, per pixel from images of 32x32."""
    return data.channel_mean if isinstance(data, PhotoDataset) else data.mean


def onnx_logits(content: bytes, images: torch.Tensor) -> np.ndarray:
    """What the ONNX runtime makes of images on the scale 0 to 1."""
    pytest.importorskip("onnx", reason="ONNX is an extra: pip install onnx onnxscript")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime, a test dependency, is not installed")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    logits: np.ndarray = session.run(["logits"], {"images": images.numpy()})[0]
    return logits


def exported(net: ResNet, run: RunSpec, dataset: Dataset | PhotoDataset) -> bytes:
    """The net as ONNX."""
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package, reason="ONNX is an extra: pip install onnx onnxscript")
    return as_onnx(net, run, dataset)


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("plain-8", SMOKE),
        ("resnet-8", SMOKE),
        ("resnet-8-B", SMOKE),
        ("resnet-8-C", SMOKE),
        ("resnet-50", SMOKE_PHOTOS.model_copy(update={"deviations": ("channel-mean",)})),
    ],
    ids=["plain", "A", "B", "C", "bottleneck"],
)
def test_onnx_answers_as_the_net(name: str, variant: Variant) -> None:
    """From pixels, random ones and those of real test images, to the net's logits, in batches of one and of five."""
    run = run_of(name, variant)
    net, data = trained(run), open_dataset(variant, NOWHERE, protocol=run.protocol)
    content = exported(net, run, data)
    _, inputs = next(iter(data.test_views("1-crop")))
    random = torch.rand(inputs[:5].shape, generator=torch.Generator().manual_seed(1))
    mean = subtracted(data)
    for normalized in (random - mean, inputs[:5], inputs[5:6]):
        with torch.no_grad():
            wanted = net(normalized).numpy()

        assert (len(normalized), 10) == wanted.shape
        assert wanted.std() > 0.1
        assert np.abs(wanted - onnx_logits(content, normalized + mean)).max() < 1e-4


def test_onnx_takes_cifar10s_pixels(cifar10_dir: Path) -> None:
    """Bytes of CIFAR-10's test images over 255 are all that the file needs; the mean is that of the 45k trained on."""
    run = run_of("resnet-20", Variant(split="45k-5k"))
    net, data = trained(run), open_dataset(run.variant, cifar10_dir)
    assert not isinstance(data, PhotoDataset)
    images = data.test_images[:5]
    with torch.no_grad():
        wanted = net(data.normalize(images)).numpy()
    content = exported(net, run, data)

    assert np.abs(wanted - onnx_logits(content, images.float() / 255)).max() < 1e-4


def test_onnx_says_what_it_is_and_not_where_it_was_made() -> None:
    """Spec and classes' names are in the file; the exporter's notes, with paths of this machine, are not."""
    run = run_of("resnet-8", SMOKE)
    data = open_dataset(SMOKE, NOWHERE)
    content = exported(trained(run), run, data)
    model = pytest.importorskip("onnx").load_from_string(content)
    about = {each.key: each.value for each in model.metadata_props}

    assert run == RunSpec.model_validate_json(about["spec"])
    assert list(data.classes) == json.loads(about["classes"])
    assert str(Path(resnet_cli.__file__).parent).encode() not in content
    assert b"site-packages" not in content


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_onnx_without_its_packages(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """What is missing is named, with the extra that has it."""
    monkeypatch.setitem(sys.modules, package, None)
    obstacle = obstacle_to_onnx()

    assert obstacle is not None
    assert package in obstacle
    assert "pip install onnx onnxscript" in obstacle


@pytest.mark.parametrize(("name", "classes"), [("resnet-18-B", 1000), ("resnet-34-B", 7), ("resnet-50", 1000)])
def test_torchvision_loads_it_strictly_and_answers_the_same(name: str, classes: int) -> None:
    """The net of torchvision takes every tensor of the file, and gives the run's logits."""
    run = run_of(name, Variant(dataset="imagenet", deviations=V15 if name == "resnet-50" else None))
    net = trained(run, classes)
    other = getattr(torchvision.models, f"resnet{run.net.depth}")(num_classes=classes)
    state = torch.load(io.BytesIO(as_torchvision(net)), weights_only=True)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))

    assert obstacle_to_torchvision(run) is None
    assert "<All keys matched successfully>" == str(other.load_state_dict(state, strict=True))
    with torch.no_grad():
        torch.testing.assert_close(other.eval()(images), net(images))


@pytest.mark.parametrize(
    ("name", "variant", "reason"),
    [
        ("resnet-20", Variant(), "torchvision has ImageNet's nets only, and this one is CIFAR-10's"),
        ("resnet-34", Variant(dataset="imagenet"), "torchvision's nets have shortcuts of option B, and this one has A"),
        ("resnet-50-C", Variant(dataset="imagenet", deviations=V15), "option B, and this one has C"),
        ("plain-18", Variant(dataset="imagenet"), "option B, and this one has no shortcuts"),
        ("resnet-101", Variant(dataset="imagenet"), "the stride on the first 1x1 convolution"),
    ],
)
def test_torchvision_has_no_such_net(name: str, variant: Variant, reason: str) -> None:
    """Why torchvision has not this function, and what to export instead."""
    obstacle = obstacle_to_torchvision(run_of(name, variant))

    assert obstacle is not None
    assert reason in obstacle
    assert "--to onnx" in obstacle


def test_the_first_1x1s_stride_is_another_function() -> None:
    """The net of torchvision takes the weights of a bottleneck with the paper's stride too, and answers otherwise."""
    run = run_of("resnet-50", Variant(dataset="imagenet"))
    net, other = trained(run), torchvision.models.resnet50(num_classes=10).eval()
    other.load_state_dict(net.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert (other(images) - net(images)).abs().max() > 0.01


@pytest.mark.parametrize("variant", [SMOKE, SMOKE_PHOTOS.model_copy(update={"deviations": ("channel-mean",)})])
def test_safetensors(tmp_path: Path, variant: Variant) -> None:
    """The weights to the bit, matched by name; the run, the classes and the mean in the metadata."""
    run = run_of("resnet-8" if variant == SMOKE else "resnet-18", variant)
    net, other = trained(run), run.task.build(run.net, variant, 0, 10)
    data = open_dataset(variant, NOWHERE, protocol=run.protocol)
    path = tmp_path / "it.safetensors"
    path.write_bytes(as_safetensors(net, run, data))
    with safetensors.safe_open(path, "pt") as content:
        about = content.metadata()
    mean = np.frombuffer(base64.b64decode(about["mean"]), "<f4").reshape(json.loads(about["mean_shape"]))
    state = safetensors.torch.load_file(path)

    assert "by name" == match(read_weights(path), other)
    assert net.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    assert run == RunSpec.model_validate_json(about["spec"])
    assert (run.net.full_name, run.run_id, run.hash8, "3") == tuple(
        about[key] for key in ("net", "run_id", "hash", "seed")
    )
    assert list(data.classes) == json.loads(about["classes"])
    assert np.array_equal(subtracted(data).numpy(), mean)


def test_safetensors_without_the_data() -> None:
    """Without the data all is there but the mean and the classes' names."""
    run = run_of("resnet-8", Variant())
    content = as_safetensors(trained(run), run, None)
    about = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]

    assert "cifar10" == about["dataset"]
    assert (
        "minus the mean of the training images per pixel; no division by a standard deviation"
        == (about["normalization"])
    )
    assert not {"mean", "classes"} & about.keys()


def test_finished_run(store: Store, add_run: AddRun) -> None:
    """A finished run's spec and net, all tensors as they were written."""
    run = add_run("resnet-8", [9.0])
    net = trained(run)
    (store.folder(run) / run_folder.WEIGHTS).write_bytes(safetensors.torch.save(net.state_dict()))
    loaded = trained_net(read_finished(store.folder(run)), store.folder(run))

    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in net.state_dict().items())


def test_runs_that_cannot_be_exported(store: Store, add_run: AddRun) -> None:
    """An unfinished run, one without weights, another net's weights, damaged weights, and no run are each named."""
    unfinished = store.folder(add_run("resnet-8", [9.0], state="interrupted"))
    bare = store.folder(add_run("resnet-14", [9.0]))
    whole = add_run("resnet-20", [9.0])
    other = store.folder(whole)
    content = safetensors.torch.save(trained(run_of("resnet-8", SMOKE)).state_dict())
    (other / run_folder.WEIGHTS).write_bytes(content)

    with pytest.raises(BadInputError, match=f"{unfinished}: interrupted, 320 of 640 updates; only finished runs"):
        read_finished(unfinished)
    with pytest.raises(BadInputError, match=f"{bare}: has no weights.safetensors, as most published runs"):
        read_finished(bare)
    with pytest.raises(BadInputError, match=r"weights.safetensors: not the weights of resnet-20; delete"):
        trained_net(whole, other)
    (other / run_folder.SUMS).write_text(f"{64 * '0'}  {run_folder.WEIGHTS}\n")
    with pytest.raises(BadInputError, match=r"weights.safetensors: damaged: its SHA-256 is not in SHA256SUMS"):
        trained_net(whole, other)
    with pytest.raises(BadInputError, match=r"spec.json: No such file or directory; give a run's folder"):
        read_finished(store.root)
    (other / run_folder.SPEC).write_text("{}")
    with pytest.raises(BadInputError, match=r"spec.json: not the spec of a run; give a run's folder"):
        read_finished(other)
