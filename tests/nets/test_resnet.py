from __future__ import annotations

import math

import pytest
import torch
import torchvision
from paper_tasks import CIFAR10, IMAGENET
from torch import nn
from torch.nn import functional

from resnet_cli.nets.resnet import (
    BasicBlock,
    Block,
    Bottleneck,
    PaddedIdentity,
    ResNet,
    make_shortcut,
)
from resnet_cli.spec import Net

NAMES = ["plain-{}", "resnet-{}", "resnet-{}-B", "resnet-{}-C"]


def build(name: str, seed: int = 0) -> ResNet:
    """The net of this name."""
    return CIFAR10.make(Net.model_validate(name), seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal random numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def stir(module: nn.Module) -> None:
    """Gives batch normalisation the statistics, scales and shifts of a trained net: none of them 0 or 1."""
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight.data, part.running_var):
                tensor.uniform_(0.5, 1.5, generator=generator)
            for tensor in (part.bias.data, part.running_mean):
                tensor.uniform_(-0.5, 0.5, generator=generator)


def normalized(norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    """Batch normalisation alone, by its running statistics."""
    return functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)


TORCHVISIONS = {18: torchvision.models.resnet18, 34: torchvision.models.resnet34, 50: torchvision.models.resnet50}


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_names_are_torchvisions(depth: int) -> None:
    """Every tensor of an option B net has torchvision's name and shape, so that weights go both ways."""
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(ResNet, "initialize", lambda *_: None)
        ours = IMAGENET.make(IMAGENET.net(f"resnet-{depth}-B"), 0).state_dict()
        theirs = getattr(torchvision.models, f"resnet{depth}")().state_dict()

    assert {name: tensor.shape for name, tensor in theirs.items()} == {
        name: tensor.shape for name, tensor in ours.items()
    }


@pytest.mark.parametrize("depth", TORCHVISIONS)
def test_torchvisions_weights_give_torchvisions_logits(depth: int) -> None:
    """With torchvision's weights our net, its stride on the 3x3, computes the same function."""
    theirs = TORCHVISIONS[depth](num_classes=10).eval()
    stir(theirs)
    ours = IMAGENET.make(IMAGENET.net(f"resnet-{depth}-B"), 0, classes=10, stride_3x3=True)
    ours.load_state_dict(theirs.state_dict())
    images = normal(2, 3, 64, 64)

    torch.testing.assert_close(ours.eval()(images), theirs(images))


@torch.no_grad()
def test_the_papers_stride_is_on_the_first_1x1() -> None:
    """In the paper's bottleneck the first 1x1 skips every second pixel, so those pixels change nothing behind it."""
    skipping, seeing = (Bottleneck(8, 4, 2, None, stride_3x3=where).eval() for where in (False, True))
    images = normal(1, 8, 6, 6)
    changed = images.clone()
    changed[:, :, 1::2, :] += 1

    assert torch.equal(skipping(images), skipping(changed))
    assert not torch.equal(seeing(images), seeing(changed))
    assert skipping(images).shape == seeing(images).shape == (1, 16, 3, 3)


def test_zeros_may_stand_on_both_sides() -> None:
    """Option A as some foreign nets have it: half of the new channels before the old ones."""
    images = normal(1, 4, 4, 4)
    padded = PaddedIdentity(4, 8, 2, "both")(images)

    assert torch.equal(images[:, :, ::2, ::2], padded[:, 2:6])
    assert not padded[:, [0, 1, 6, 7]].any()


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 64), (101, 77)])
def test_dense_is_every_window_averaged(height: int, width: int) -> None:
    """The fully convolutional form classifies each window of the last map and averages the logits over them."""
    net = IMAGENET.make(IMAGENET.net("resnet-18"), 0, classes=5).eval()
    stir(net)
    images = normal(2, 3, height, width)
    last = net.features(images)
    places = [
        net.fc(last[:, :, y : y + 2, x : x + 2].mean(dim=(2, 3)))
        for y in range(last.shape[2] - 1)
        for x in range(last.shape[3] - 1)
    ]

    torch.testing.assert_close(torch.stack(places).mean(dim=0), net.dense(images, window=2))
    if height == width == 64:
        torch.testing.assert_close(net(images), net.dense(images, window=2))


@pytest.mark.parametrize("name", NAMES)
def test_shapes(name: str) -> None:
    """Three stages of 16, 32 and 64 filters at sizes 32, 16 and 8, then ten logits an image (section 4.2)."""
    net = build(name.format(14))
    shapes = []
    for stage in ("layer1", "layer2", "layer3"):
        net.get_submodule(stage).register_forward_hook(lambda *call: shapes.append(tuple(call[2].shape)))

    assert (2, 10) == net(normal(2, 3, 32, 32)).shape
    assert [(2, 16, 32, 32), (2, 32, 16, 16), (2, 64, 8, 8)] == shapes


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("depth", [8, 20])
def test_depth(name: str, depth: int) -> None:
    """A net of 6n+2 layers has a stem, 6n 3x3 convolutions in 3n blocks, and one fully connected layer."""
    net = build(name.format(depth))
    kernels = [part.kernel_size for part in net.modules() if isinstance(part, nn.Conv2d)]
    blocks = [part for part in net.modules() if isinstance(part, Block)]

    assert depth - 1 == kernels.count((3, 3))
    assert (depth - 2) // 2 == len(blocks)
    assert [net.fc] == [part for part in net.modules() if isinstance(part, nn.Linear)]


def test_plain_and_residual_nets_have_the_same_parameters() -> None:
    """Identity shortcuts hold nothing that is learned: plain and residual nets share names, shapes and weights."""
    plain, residual = build("plain-20").state_dict(), build("resnet-20").state_dict()

    assert plain.keys() == residual.keys()
    assert all(torch.equal(plain[name], residual[name]) for name in plain)


def test_plain_net_has_no_shortcut() -> None:
    """A plain block is F(x) alone, then ReLU."""
    block = BasicBlock(4, 4, 1, None).eval()
    stir(block)
    x = normal(2, 4, 6, 6)

    y = functional.relu(normalized(block.bn1, block.conv1(x)))
    y = functional.relu(normalized(block.bn2, block.conv2(y)))

    assert block.downsample is None
    assert torch.equal(y, block(x))


def test_option_a_exactly() -> None:
    """Option A takes every second pixel, starting with the first, and appends channels of zeros (section 3.3)."""
    x = torch.arange(2 * 3 * 6 * 6, dtype=torch.float32).reshape(2, 3, 6, 6)
    y = PaddedIdentity(3, 7, 2)(x)

    assert (2, 7, 3, 3) == y.shape
    assert torch.equal(x[:, :, ::2, ::2], y[:, :3])
    assert torch.equal(torch.zeros(2, 4, 3, 3), y[:, 3:])
    assert [[0.0, 2.0, 4.0], [12.0, 14.0, 16.0], [24.0, 26.0, 28.0]] == y[0, 0].tolist()


@pytest.mark.parametrize(
    ("option", "inputs", "outputs", "stride", "kind"),
    [
        (None, 16, 16, 1, type(None)),
        (None, 16, 32, 2, type(None)),
        ("A", 16, 16, 1, nn.Identity),
        ("A", 16, 32, 2, PaddedIdentity),
        ("A", 16, 16, 2, PaddedIdentity),
        ("A", 16, 32, 1, PaddedIdentity),
        ("B", 16, 16, 1, nn.Identity),
        ("B", 16, 32, 2, nn.Sequential),
        ("B", 16, 16, 2, nn.Sequential),
        ("B", 64, 256, 1, nn.Sequential),
        ("C", 16, 16, 1, nn.Sequential),
        ("C", 16, 32, 2, nn.Sequential),
    ],
)
def test_shortcut_options(option: str | None, inputs: int, outputs: int, stride: int, kind: type) -> None:
    """A pads and B projects where dimensions change, C projects everywhere, a plain net has none (section 3.3)."""
    shortcut = make_shortcut(option, inputs, outputs, stride)  # type: ignore[arg-type]  a literal of the list above

    assert kind is type(shortcut)
    if shortcut is not None:
        assert (2, outputs, 8 // stride, 8 // stride) == shortcut(normal(2, inputs, 8, 8)).shape


@pytest.mark.parametrize(
    ("name", "projected"),
    [
        ("plain-14", []),
        ("resnet-14", []),
        ("resnet-14-B", ["layer2.0", "layer3.0"]),
        ("resnet-14-C", ["layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1"]),
    ],
)
def test_where_nets_project(name: str, projected: list[str]) -> None:
    """Option B projects in the first blocks of the second and third stage, option C in every block."""
    net = build(name)
    found = [
        key.removesuffix(".downsample")
        for key, part in net.named_modules()
        if key.endswith(".downsample") and isinstance(part, nn.Sequential)
    ]

    assert projected == found


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("option", [None, "A", "B", "C"])
@pytest.mark.parametrize("stride", [1, 2])
def test_basic_block_formula(option: str | None, stride: int, train: bool) -> None:
    """A basic block is y = ReLU(BN(W2 ReLU(BN(W1 x))) + shortcut(x)), equation 1 and section 3.4, written out."""
    inputs, outputs = 4, 4 * stride
    block = BasicBlock(inputs, outputs, stride, option).train(train)  # type: ignore[arg-type]  a literal of the list above
    stir(block)
    weights = {name: tensor.clone() for name, tensor in block.state_dict().items()}
    x = normal(3, inputs, 8, 8)

    def norm(name: str, y: torch.Tensor) -> torch.Tensor:
        mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        if train:
            mean, variance = y.mean(dim=(0, 2, 3)), y.var(dim=(0, 2, 3), unbiased=False)
        y = (y - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        return y * weights[f"{name}.weight"][:, None, None] + weights[f"{name}.bias"][:, None, None]

    y = functional.relu(norm("bn1", functional.conv2d(x, weights["conv1.weight"], stride=stride, padding=1)))
    y = norm("bn2", functional.conv2d(y, weights["conv2.weight"], padding=1))
    if "downsample.0.weight" in weights:
        y = y + norm("downsample.1", functional.conv2d(x, weights["downsample.0.weight"], stride=stride))
    elif option is not None:
        y[:, :inputs] += x[:, :, ::stride, ::stride]

    torch.testing.assert_close(block(x), functional.relu(y), rtol=1e-5, atol=2e-6)


def test_bottleneck_strides_first() -> None:
    """The first 1x1 convolution has the stride, as in the authors' released nets; torchvision strides the 3x3."""
    block = Bottleneck(16, 8, 2, "B")

    assert [((1, 1), (2, 2)), ((3, 3), (1, 1)), ((1, 1), (1, 1))] == [
        (conv.kernel_size, conv.stride) for conv in (block.conv1, block.conv2, block.conv3)
    ]
    assert (2, 32, 4, 4) == block(normal(2, 16, 8, 8)).shape


def test_bottleneck_formula() -> None:
    """A bottleneck is y = ReLU(BN(W3 ReLU(BN(W2 ReLU(BN(W1 x))))) + x), Figure 5 right."""
    block = Bottleneck(16, 4, 1, "A").eval()
    stir(block)
    x = normal(2, 16, 6, 6)
    y = functional.relu(normalized(block.bn1, functional.conv2d(x, block.conv1.weight)))
    y = functional.relu(normalized(block.bn2, functional.conv2d(y, block.conv2.weight, padding=1)))
    y = normalized(block.bn3, functional.conv2d(y, block.conv3.weight))

    torch.testing.assert_close(block(x), functional.relu(y + x))


def deepen(family: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of an 8-layer net, and of the 20-layer net that copies it and adds blocks with F(x) = 0."""
    shallow, deep = build(f"{family}-8", seed=1).eval(), build(f"{family}-20", seed=2).eval()
    stir(shallow)
    stir(deep)
    copied = shallow.state_dict()
    missing, unexpected = deep.load_state_dict(copied, strict=False)
    for name, part in deep.named_modules():
        if isinstance(part, BasicBlock) and f"{name}.bn2.weight" in missing:
            nn.init.zeros_(part.bn2.weight)
            nn.init.zeros_(part.bn2.bias)

    assert ([], 6 * 10) == (unexpected, len(missing))  # six blocks more: two convolutions, two normalisations each
    images = normal(4, 3, 32, 32)
    return shallow(images), deep(images)


def test_identity_construction() -> None:
    """A deeper residual net equals a shallower one, exactly, if the blocks added have F(x) = 0 (sections 1, 3.1)."""
    shallow, deep = deepen("resnet")

    assert torch.equal(shallow, deep)


def test_identity_construction_fails_without_shortcuts() -> None:
    """Without shortcuts, blocks with F(x) = 0 are no identities: what was learned is lost."""
    shallow, deep = deepen("plain")

    assert not torch.allclose(shallow, deep, atol=0.1)
    assert torch.equal(deep[0], deep[1])


def test_initial_weights_are_a_function_of_the_seed() -> None:
    """One seed gives one set of weights, whatever torch's own generator did before; another seed gives another."""
    torch.manual_seed(1)
    first = build("resnet-8-B", seed=3).state_dict()
    torch.manual_seed(2)
    second, other = build("resnet-8-B", seed=3).state_dict(), build("resnet-8-B", seed=4).state_dict()

    assert all(torch.equal(first[name], second[name]) for name in first)
    drawn = [name for name, tensor in first.items() if tensor.ndim > 1]
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


@pytest.mark.parametrize("name", ["plain-20", "resnet-20-C"])
def test_he_initialisation(name: str) -> None:
    """Weights are normal with mean 0 and variance 2 / fan-in; biases and BN shifts are 0, BN scales 1."""
    for key, tensor in build(name).state_dict().items():
        if tensor.ndim > 1:
            deviation = math.sqrt(2 / tensor[0].numel())
            error = 5 / math.sqrt(tensor.numel())

            assert pytest.approx(0, abs=error * deviation) == tensor.mean().item(), key
            assert pytest.approx(deviation, rel=error / math.sqrt(2)) == tensor.std().item(), key
        elif key.endswith(("weight", "running_var")):
            assert torch.equal(torch.ones_like(tensor), tensor), key
        else:
            assert torch.equal(torch.zeros_like(tensor), tensor), key


@pytest.mark.parametrize("name", NAMES)
def test_gradient_reaches_every_parameter(name: str) -> None:
    """Every parameter takes part in the loss."""
    net = build(name.format(20))
    functional.cross_entropy(net(normal(8, 3, 32, 32)), torch.arange(8)).backward()
    untouched = [key for key, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()]

    assert [] == untouched


def test_training_moves_batch_statistics() -> None:
    """Evaluation uses the running statistics and changes nothing; training updates them."""
    net = build("resnet-8")
    before = net.bn1.running_mean.clone()
    net.eval()(normal(4, 3, 32, 32))

    assert torch.equal(before, net.bn1.running_mean)

    net.train()(normal(4, 3, 32, 32))

    assert not torch.equal(before, net.bn1.running_mean)
