"""Highway nets: gated shortcuts (section 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest
import torch
from paper_tasks import CIFAR10, IMAGENET
from torch.nn import functional

from resnet_cli.analyses import analysis_of
from resnet_cli.analyses.gates import gates
from resnet_cli.data import synthetic
from resnet_cli.nets.resnet import GATE_BIAS, BasicBlock, HighwayBlock, PaddedIdentity

if TYPE_CHECKING:
    from resnet_cli.nets.resnet import ResNet

OPEN, SHUT = 1e4, -1e4  # biases for which the sigmoid is 1 and 0, exactly


def blocks_of(net: ResNet) -> list[HighwayBlock]:
    """The net's blocks."""
    return [module for module in net.modules() if isinstance(module, HighwayBlock)]


def highway(bias: float, name: str = "highway-14") -> ResNet:
    """A net whose gates have this bias."""
    net = CIFAR10.make(CIFAR10.net(name), 3).eval()
    for block in blocks_of(net):
        block.gate.bias.data.fill_(bias)
    return net


@torch.no_grad()
def test_open_gates_make_the_plain_net() -> None:
    """With T = 1 the net is the plain net of its layers, to the bit."""
    net, plain = highway(OPEN), CIFAR10.make(CIFAR10.net("plain-14"), 0).eval()
    plain.load_state_dict({name: value for name, value in net.state_dict().items() if "gate" not in name})
    images = torch.randn(4, 3, 32, 32)

    assert torch.equal(plain(images), net(images))


@torch.no_grad()
def test_shut_gates_make_the_identity() -> None:
    """With T = 0 a block gives back what it is given; where dimensions change, option A's identity."""
    for block in blocks_of(highway(SHUT)):
        x = torch.randn(2, block.gate.in_channels, 8, 8)
        stride = block.gate.stride[0]
        expected = x if stride == 1 else PaddedIdentity(x.shape[1], 2 * x.shape[1], stride)(x)

        assert torch.equal(expected, block(x))


@torch.no_grad()
def test_a_block_is_its_equation() -> None:
    """Y = H(x) T(x) + x (1 - T(x)), with a T of 1x1 convolutions and a sigmoid."""
    block = blocks_of(highway(-0.5))[0]
    plain = BasicBlock(16, 16, 1, None).eval()
    plain.load_state_dict({name: value for name, value in block.state_dict().items() if "gate" not in name})
    x = torch.randn(2, 16, 8, 8)
    gate = torch.einsum("oi,nihw->nohw", block.gate.weight[:, :, 0, 0], x) + block.gate.bias[:, None, None]
    opened = 1 / (1 + torch.exp(-gate))

    torch.testing.assert_close(plain(x) * opened + x * (1 - opened), block(x))


def test_gates_begin_nearly_shut() -> None:
    """Every gate's bias is the one that Highway Networks begin with, and the seed decides all else."""
    first, second = (CIFAR10.make(CIFAR10.net("highway-8"), 1).state_dict() for _ in range(2))

    assert all(torch.equal(first[name], second[name]) for name in first)
    assert {GATE_BIAS} == {float(value) for name in first if name.endswith("gate.bias") for value in first[name]}


@pytest.mark.parametrize(("name", "parameters"), [("highway-20", 283_626), ("highway-56", 899_850)])
def test_parameters(name: str, parameters: int) -> None:
    """A residual net's and those of its gates: inputs times outputs and a bias for each block."""
    net = CIFAR10.net(name)
    built = sum(parameter.numel() for parameter in CIFAR10.make(net, 0).parameters())

    assert (parameters, parameters) == (CIFAR10.parameters(net), built)


@pytest.mark.parametrize("name", ["highway-21", "highway-20-B", "highway-2"])
def test_nets_that_there_are_not(name: str) -> None:
    """Other depths, and options that they have not."""
    with pytest.raises(ValueError, match=name):
        CIFAR10.net(name)


def test_only_on_small_images() -> None:
    """Table 1's nets have no gates."""
    with pytest.raises(ValueError, match="highway-34"):
        IMAGENET.net("highway-34")


@pytest.mark.parametrize(("bias", "mean"), [(OPEN, 1.0), (SHUT, 0.0)])
def test_the_mean_of_each_gate(bias: float, mean: float) -> None:
    """Of forced gates it is 1 or 0 in each of the blocks, which are counted from the first."""
    table = gates(highway(bias), synthetic.load(train=1, test=20), lambda _done: None)

    assert [(number, mean) for number in range(1, 7)] == list(zip(table["layer"], table["gate"], strict=True))
    assert "layer1.0" == table["name"][0]


@torch.no_grad()
def test_the_mean_is_over_all_images() -> None:
    """It is that of the gate's own outputs on the whole test set."""
    net, data = highway(-1.0), synthetic.load(train=1, test=300)  # more than one batch
    first = blocks_of(net)[0]
    _, inputs = zip(*data.test_views("1-crop"), strict=True)
    entering = functional.relu(net.bn1(net.conv1(torch.cat(inputs))))
    expected = float(first.gate(entering).sigmoid().mean())

    assert pytest.approx(expected, rel=1e-5) == gates(net, data, lambda _done: None)["gate"][0]


def test_a_closed_gate_is_counted() -> None:
    """Below 0.05 a block counts as closed; the means are over blocks, at the start and at the end."""
    rows = [("start", 1, 0.12), ("start", 2, 0.10), ("end", 1, 0.5), ("end", 2, 0.04)]
    table = pd.DataFrame(rows, columns=["weights", "layer", "gate"])

    assert {
        "mean_gate_start": pytest.approx(0.11),
        "mean_gate": pytest.approx(0.27),
        "closed_gates": 50.0,
    } == analysis_of("gates").sum_up(table)
