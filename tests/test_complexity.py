from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from resnet_cli import complexity
from resnet_cli.model import cifar_net
from resnet_cli.spec import Net


@pytest.mark.parametrize("family", ["plain", "resnet"])
@pytest.mark.parametrize(
    ("depth", "parameters"),
    [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962), (1202, 19_421_274)],
)
def test_parameters(family: str, depth: int, parameters: int) -> None:
    """Table 6's nets have these parameters to the digit; identity shortcuts add none (section 4.2)."""
    assert parameters == complexity.parameters(Net.model_validate(f"{family}-{depth}"))


def test_projections_add_parameters() -> None:
    """Option B adds two projections to ResNet-20, as the copies have that mistake B for A; option C seven more."""
    assert 272_474 == complexity.parameters(Net.model_validate("resnet-20-B"))
    assert 272_474 + 3 * (256 + 32) + 2 * (1024 + 64) + 2 * (4096 + 128) == complexity.parameters(
        Net.model_validate("resnet-20-C")
    )


@pytest.mark.parametrize("n", [1, 2, 3, 9, 18, 200])
@pytest.mark.parametrize("family", ["plain", "resnet"])
def test_multiply_adds(family: str, n: int) -> None:
    """Multiply-adds of one image are linear in n."""
    expected = 442_368 + 14_155_776 * n - 2_359_296 + 640

    assert expected == complexity.multiply_adds(Net.model_validate(f"{family}-{6 * n + 2}"))


@pytest.mark.parametrize("depth", [8, 20])
@pytest.mark.parametrize("name", ["plain-{}", "resnet-{}", "resnet-{}-B", "resnet-{}-C"])
def test_layers_are_the_built_nets(name: str, depth: int) -> None:
    """The layers that are counted are those of the built net: names, parameters and multiply-adds, each for each."""
    net = Net.model_validate(name.format(depth))
    built = cifar_net(net, seed=0).eval()
    parameters: dict[str, int] = {}
    for key, parameter in built.named_parameters():
        layer = key.rpartition(".")[0].replace("bn", "conv").replace("downsample.1", "downsample.0")
        parameters[layer] = parameters.get(layer, 0) + parameter.numel()

    assert parameters == {layer.name: layer.parameters for layer in complexity.layers(net)}

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        built(torch.zeros(1, 3, 32, 32))
    counted = counter.get_flop_counts()

    assert {f"ResNet.{layer.name}": 2 * layer.multiply_adds for layer in complexity.layers(net)} == {
        key: sum(counts.values()) for key, counts in counted.items() if key.endswith(tuple(parameters)) and counts
    }
    assert 2 * complexity.multiply_adds(net) == counter.get_total_flops()


def test_depth_counts_layers() -> None:
    """A net's depth is the number of its layers with weights; projections do not count (section 3.4)."""
    for name in ("plain-20", "resnet-56", "resnet-20-C"):
        net = Net.model_validate(name)
        layers = [layer for layer in complexity.layers(net) if "downsample" not in layer.name]

        assert net.depth == len(layers)


def test_classes() -> None:
    """The classifier has as many outputs as the dataset has classes."""
    layer = complexity.layers(Net.model_validate("resnet-8"), classes=7)[-1]

    assert ("fc", 64 * 7 + 7, 64 * 7) == (layer.name, layer.parameters, layer.multiply_adds)
