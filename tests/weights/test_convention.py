"""What foreign weights assume, each held against a slow, obvious reference of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from paper_tasks import CIFAR10, IMAGENET
from torch import Tensor
from torch.nn import functional

from resnet_cli.errors import BadInputError
from resnet_cli.spec import Net
from resnet_cli.tasks import task_of
from resnet_cli.weights.convention import CONVENTIONS, find_convention, net_under

if TYPE_CHECKING:
    from resnet_cli.names import ConventionName


def batch_norm(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """BN with its running statistics."""
    mean, var, weight, bias = (
        state[f"{name}.{last}"][:, None, None] for last in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias


def akamasters_resnet8(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """ResNet-8 with option A as akamaster/pytorch_resnet_cifar10 defines it: a quarter of the channels on each side."""
    x = functional.relu(batch_norm(state, "bn1", functional.conv2d(x, state["conv1.weight"], padding=1)))
    for stage, (planes, stride) in enumerate([(16, 1), (32, 2), (64, 2)], start=1):
        block = f"layer{stage}.0"
        y = functional.conv2d(x, state[f"{block}.conv1.weight"], stride=stride, padding=1)
        y = functional.relu(batch_norm(state, f"{block}.bn1", y))
        y = batch_norm(state, f"{block}.bn2", functional.conv2d(y, state[f"{block}.conv2.weight"], padding=1))
        if stride == 2:
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, planes // 4, planes // 4), "constant", 0)
        x = functional.relu(y + x)
    return functional.linear(x.mean(dim=(2, 3)), state["fc.weight"], state["fc.bias"])


@torch.no_grad()
def test_akamasters_zeros_stand_on_both_sides() -> None:
    """With half of the zero channels on each side the net is akamaster's; with all of them last it is another one."""
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    zeros = find_convention("akamaster", CIFAR10).zeros
    net = CIFAR10.make(CIFAR10.net("resnet-8"), 0, zeros=zeros).eval()
    other = CIFAR10.make(CIFAR10.net("resnet-8"), 0, zeros=find_convention("paper", CIFAR10).zeros).eval()
    expected = akamasters_resnet8(net.state_dict(), images)

    torch.testing.assert_close(net(images), expected, rtol=1e-4, atol=1e-4)
    assert (other(images) - expected).abs().max() > 0.1


@pytest.mark.parametrize(
    ("name", "benchmark", "net"),
    [
        ("paper", "imagenet", "resnet-18"),
        ("paper", "imagenet", "resnet-50-B"),
        ("paper", "cifar10", "resnet-56"),
        ("torchvision", "imagenet", "resnet-18-B"),
        ("torchvision", "imagenet", "resnet-152-B"),
        ("fb", "imagenet", "resnet-34-B"),
        ("fb", "cifar10", "resnet-110"),
        ("akamaster", "cifar10", "resnet-20"),
    ],
)
def test_what_a_bare_name_means(name: ConventionName, benchmark: str, net: str) -> None:
    """A bare name means the net that those who gave out such weights call so."""
    bare = net.removesuffix("-B")

    assert Net.model_validate(net) == net_under(find_convention(name, task_of(benchmark)), task_of(benchmark), bare)


def test_an_option_that_is_said_holds() -> None:
    """A plain net stays plain and option A stays A, whoever gave out the weights."""
    fb = find_convention("fb", IMAGENET)

    assert "plain-34" == net_under(fb, IMAGENET, "plain-34").full_name
    assert "resnet-34-A" == net_under(fb, IMAGENET, "resnet-34-A").full_name
    with pytest.raises(ValueError, match="ImageNet's nets have 18, 34, 50, 101, 152 layers"):
        net_under(fb, IMAGENET, "resnet-20")


@pytest.mark.parametrize(
    ("name", "benchmark", "meaning"),
    [
        (
            "paper",
            "imagenet",
            (
                "the paper's: stride on the first 1x1 of a bottleneck, option A's zero channels last, "
                "the training mean subtracted"
            ),
        ),
        ("paper", "cifar10", "the paper's: option A's zero channels last, the training mean subtracted"),
        (
            "torchvision",
            "imagenet",
            (
                "torchvision's: stride on the 3x3 of a bottleneck, option A's zero channels last, "
                "mean 0.485 0.456 0.406, std 0.229 0.224 0.225"
            ),
        ),
        (
            "fb",
            "cifar10",
            "fb.resnet.torch's: option A's zero channels last, mean 0.4914 0.4824 0.4467, std 0.2471 0.2435 0.2616",
        ),
        (
            "akamaster",
            "cifar10",
            (
                "akamaster/pytorch_resnet_cifar10's: option A's zero channels half on each side, "
                "mean 0.485 0.456 0.406, std 0.229 0.224 0.225"
            ),
        ),
        (
            "kuangliu",
            "cifar10",
            (
                "kuangliu/pytorch-cifar's: option A's zero channels last, "
                "mean 0.4914 0.4822 0.4465, std 0.2023 0.1994 0.201"
            ),
        ),
    ],
)
def test_meaning_in_words(name: ConventionName, benchmark: str, meaning: str) -> None:
    """What is assumed is said, number by number."""
    assert meaning == find_convention(name, task_of(benchmark)).meaning(task_of(benchmark))


@pytest.mark.parametrize(
    ("name", "benchmark", "message"),
    [
        ("torchvision", "cifar10", "--convention torchvision: only for weights for ImageNet; add --dataset imagenet"),
        ("akamaster", "imagenet", "--convention akamaster: only for weights for CIFAR-10; add --dataset cifar10"),
    ],
)
def test_no_weights_of_this_kind(name: ConventionName, benchmark: str, message: str) -> None:
    """A convention on the benchmark for which there are no such weights is an error that names the other one."""
    with pytest.raises(BadInputError) as caught:
        find_convention(name, task_of(benchmark))

    assert str(caught.value).startswith(message)


def test_the_paper_comes_first() -> None:
    """The default, which is the paper's on both benchmarks, assumes nothing but the paper."""
    assert "paper" == next(iter(CONVENTIONS))
    assert {("end", False, None, False)} == {
        (each.zeros, each.stride_3x3, each.constants, each.option_b) for each in CONVENTIONS["paper"].values()
    }
