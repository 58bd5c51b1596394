from __future__ import annotations

import pytest
import torch
import torchvision
from paper_tasks import CIFAR10, IMAGENET
from torch.utils.flop_counter import FlopCounterMode

from resnet_cli.nets import complexity
from resnet_cli.spec import Net


@pytest.mark.parametrize("family", ["plain", "resnet"])
@pytest.mark.parametrize(
    ("depth", "parameters"),
    [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962), (1202, 19_421_274)],
)
def test_parameters(family: str, depth: int, parameters: int) -> None:
    """Table 6's nets have these parameters to the digit; identity shortcuts add none (section 4.2)."""
    assert parameters == CIFAR10.parameters(Net.model_validate(f"{family}-{depth}"))


def test_projections_add_parameters() -> None:
    """Option B adds two projections to ResNet-20, as the copies have that mistake B for A; option C seven more."""
    assert 272_474 == CIFAR10.parameters(Net.model_validate("resnet-20-B"))
    assert 272_474 + 3 * (256 + 32) + 2 * (1024 + 64) + 2 * (4096 + 128) == CIFAR10.parameters(
        Net.model_validate("resnet-20-C")
    )


@pytest.mark.parametrize("n", [1, 2, 3, 9, 18, 200])
@pytest.mark.parametrize("family", ["plain", "resnet"])
def test_multiply_adds(family: str, n: int) -> None:
    """Multiply-adds of one image are linear in n."""
    expected = 442_368 + 14_155_776 * n - 2_359_296 + 640

    assert expected == CIFAR10.multiply_adds(Net.model_validate(f"{family}-{6 * n + 2}"))


@pytest.mark.parametrize("depth", [8, 20])
@pytest.mark.parametrize("name", ["plain-{}", "resnet-{}", "resnet-{}-B", "resnet-{}-C", "resnet-{}-single"])
def test_layers_are_the_built_nets(name: str, depth: int) -> None:
    """The layers that are counted are those of the built net: names, parameters and multiply-adds, each for each."""
    net = Net.model_validate(name.format(depth))
    built = CIFAR10.make(net, seed=0).eval()
    parameters: dict[str, int] = {}
    for key, parameter in built.named_parameters():
        layer = key.rpartition(".")[0].replace("bn", "conv").replace("downsample.1", "downsample.0")
        parameters[layer] = parameters.get(layer, 0) + parameter.numel()

    assert parameters == {layer.name: layer.parameters for layer in CIFAR10.layers(net)}

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        built(torch.zeros(1, 3, 32, 32))
    counted = counter.get_flop_counts()

    assert {f"ResNet.{layer.name}": 2 * layer.multiply_adds for layer in CIFAR10.layers(net)} == {
        key: sum(counts.values()) for key, counts in counted.items() if key.endswith(tuple(parameters)) and counts
    }
    assert 2 * CIFAR10.multiply_adds(net) == counter.get_total_flops()


def test_depth_counts_layers() -> None:
    """A net's depth is the number of its layers with weights; projections do not count (section 3.4)."""
    for name in ("plain-20", "resnet-56", "resnet-20-C"):
        net = Net.model_validate(name)
        layers = [layer for layer in CIFAR10.layers(net) if "downsample" not in layer.name]

        assert net.depth == len(layers)


def test_classes() -> None:
    """The classifier has as many outputs as the dataset has classes."""
    layer = complexity.layers(CIFAR10.layout(Net.model_validate("resnet-8"), classes=7), 32)[-1]

    assert ("fc", 64 * 7 + 7, 64 * 7) == (layer.name, layer.parameters, layer.multiply_adds)


NETS = ["plain-18", "plain-34", "resnet-18", "resnet-34", "resnet-34-B", "resnet-34-C", "resnet-50", "resnet-101"]


@pytest.mark.parametrize("stride_3x3", [False, True])
@pytest.mark.parametrize("name", [*NETS, "resnet-152"])
def test_imagenet_layers_are_the_built_nets(name: str, stride_3x3: bool) -> None:
    """Table 1's nets: layer by layer the parameters and multiply-adds of the built net at 224x224."""
    net = IMAGENET.net(name)
    with torch.device("meta"):
        built = imagenet_net_on_meta(net, stride_3x3=stride_3x3).eval()
        with FlopCounterMode(display=False) as counter:
            built(torch.zeros(1, 3, 224, 224))
    layers = IMAGENET.layers(net, stride_3x3=stride_3x3)
    counted = {key: sum(counts.values()) for key, counts in counter.get_flop_counts().items() if counts}

    assert sum(parameter.numel() for parameter in built.parameters()) == IMAGENET.parameters(net)
    assert {layer.name: 2 * layer.multiply_adds for layer in layers} == {
        layer.name: counted[f"ResNet.{layer.name}"] for layer in layers
    }
    assert counter.get_total_flops() == 2 * IMAGENET.multiply_adds(net, stride_3x3=stride_3x3)
    assert net.depth == sum("downsample" not in layer.name for layer in layers)


def imagenet_net_on_meta(net: Net, *, stride_3x3: bool) -> torch.nn.Module:
    """The net without its numbers: they would be drawn in vain."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resnet_cli.nets.resnet.ResNet.initialize", lambda *_: None)
        return IMAGENET.make(net, 0, stride_3x3=stride_3x3)


@pytest.mark.parametrize("depth", [16, 19])
def test_vgg_layers_are_torchvisions(depth: int) -> None:
    """VGG's layers, which the paper compares with, are those of torchvision's nets."""
    with torch.device("meta"):
        built = getattr(torchvision.models, f"vgg{depth}")().eval()
        with FlopCounterMode(display=False) as counter:
            built(torch.zeros(1, 3, 224, 224))
    layers = complexity.vgg_layers(depth)
    parameters = {
        name: sum(each.numel() for each in module.parameters())
        for name, module in built.named_modules()
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)
    }

    assert parameters == {layer.name: layer.parameters for layer in layers}
    assert counter.get_total_flops() == 2 * sum(layer.multiply_adds for layer in layers)


@pytest.mark.parametrize(
    ("name", "paper", "digits"),
    [("resnet-18", 1.8, 1), ("plain-34", 3.6, 1), ("resnet-101", 7.6, 1), ("resnet-152", 11.3, 1)],
)
def test_multiply_adds_are_the_papers_flops(name: str, paper: float, digits: int) -> None:
    """Rounded, the multiply-adds are the FLOPs of Table 1; of ResNet-50, 3.86e9, the paper prints 3.8e9."""
    assert paper == round(IMAGENET.multiply_adds(IMAGENET.net(name)) / 1e9, digits)
    assert 3_857_973_248 == IMAGENET.multiply_adds(IMAGENET.net("resnet-50"))
