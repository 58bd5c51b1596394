"""The wide residual BLSTM net: its size, its plain twin, and that padding changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.nets.wrbn import BLSTM, UtteranceNorm, build
from resnet_cli.nets.wrbn_layout import SpeechLayout, layers

PAPER = SpeechLayout(blocks=3, width=5, has_shortcuts=True, has_blstm=True, mels=80, classes=2042)
SMALL = SpeechLayout(blocks=2, width=1, has_shortcuts=True, has_blstm=True, mels=16, classes=5)
LENGTHS = (50, 31, 12)


def parameters(net: nn.Module) -> int:
    """All that is learned."""
    return sum(parameter.numel() for parameter in net.parameters())


def utterances(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Features of three utterances in a padded batch, and their lengths."""
    torch.manual_seed(0)
    features = torch.randn(len(LENGTHS), 3, SMALL.mels, max(LENGTHS), dtype=dtype)
    for each, length in zip(features, LENGTHS, strict=True):
        each[..., length:] = 0
    return features, torch.tensor(LENGTHS)


def test_the_papers_net_has_17_5_million_parameters() -> None:
    """6.70 of them in convolutions, 7.62 in the BLSTM, 3.14 in the dense layer and the output."""
    net = build(PAPER, 0)
    parts = {
        "convolution": sum(parameters(each) for each in net.modules() if isinstance(each, nn.Conv2d)),
        "blstm": sum(parameters(each) for each in net.modules() if isinstance(each, BLSTM)),
        "dense": sum(parameters(each) for each in (net.dense, net.dense_norm, net.fc) if each),
    }

    assert 17_470_229 == parameters(net)
    assert {"convolution": 6_701_232, "blstm": 7_618_560, "dense": 3_143_674} == parts


@pytest.mark.parametrize("has_blstm", [True, False])
@pytest.mark.parametrize("has_shortcuts", [True, False])
@pytest.mark.parametrize("width", [1, 5])
def test_layers_are_those_of_the_built_net(width: int, has_shortcuts: bool, has_blstm: bool) -> None:
    """Their names, and their parameters to the digit."""
    layout = replace(SMALL, width=width, has_shortcuts=has_shortcuts, has_blstm=has_blstm)
    net, counted = build(layout, 0), layers(layout, frames=96)

    assert parameters(net) == sum(layer.parameters for layer in counted)
    assert {layer.name for layer in counted} <= {name for name, _ in net.named_modules()}


def test_multiply_adds_are_those_of_the_convolutions_that_run() -> None:
    """As many as a hook counts at each convolution of a pass over 96 frames."""
    net, seen = build(SMALL, 0), {}

    def count(name: str) -> None:
        def hear(module: nn.Module, _: object, result: Tensor) -> None:
            seen[name] = module.weight.numel() * result[0, 0].numel()

        net.get_submodule(name).register_forward_hook(hear)

    counted = {each.name: each.multiply_adds for each in layers(SMALL, frames=96)}
    convolutions = [name for name, each in net.named_modules() if isinstance(each, nn.Conv2d)]
    for name in convolutions:
        count(name)
    net(torch.zeros(1, 3, SMALL.mels, 96))

    assert {name: counted[name] for name in convolutions} == seen


def test_twins_differ_in_the_shortcut_alone() -> None:
    """The plain net has all layers of the residual one but its three projections."""
    residual, plain = build(SMALL, 0), build(replace(SMALL, has_shortcuts=False), 0)
    shapes = {name: each.shape for name, each in residual.state_dict().items() if "downsample" not in name}

    assert {name: each.shape for name, each in plain.state_dict().items()} == shapes
    assert 2 == sum("downsample" in name for name in residual.state_dict())  # at k = 1 the first group has 16 channels
    assert 3 == sum("downsample" in name for name in build(replace(SMALL, width=2), 0).state_dict())


def test_a_block_whose_layers_give_nothing_is_the_identity_with_a_shortcut_and_nothing_without() -> None:
    """What the shortcut is for."""
    x = torch.randn(1, 16, 8, 20)
    for has_shortcuts, expected in ((True, x), (False, torch.zeros_like(x))):
        block = build(replace(SMALL, has_shortcuts=has_shortcuts), 0).blocks[1]
        nn.init.zeros_(block.conv2.weight)

        assert torch.equal(expected, block(x, None))


def test_time_is_never_strided() -> None:
    """There are logits for each frame; frequency is halved three times."""
    net, rows = build(SMALL, 0), []
    for block in net.blocks:
        block.register_forward_hook(lambda _module, _inputs, result: rows.append(tuple(result.shape[2:])))

    assert (1, 33, 5) == net(torch.zeros(1, 3, 16, 33)).shape
    assert [(8, 33)] * 2 + [(4, 33)] * 2 + [(2, 33)] * 2 == rows


@pytest.mark.parametrize("has_blstm", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_an_utterance_alone_and_in_a_padded_batch_agree(dtype: torch.dtype, tolerance: float, has_blstm: bool) -> None:
    """Neither norms nor convolutions nor the backward LSTM see the padding: probabilities agree to 1e-5."""
    net = build(replace(SMALL, has_blstm=has_blstm), 0).to(dtype).eval()
    features, lengths = utterances(dtype)
    with torch.no_grad():
        together = net(features, lengths).softmax(dim=2)
        for number, length in enumerate(LENGTHS):
            alone = net(features[number : number + 1, :, :, :length]).softmax(dim=2)

            torch.testing.assert_close(together[number, :length], alone[0], atol=tolerance, rtol=0)


def test_gradients_of_a_padded_batch_are_those_of_its_utterances() -> None:
    """The padding gives none."""
    net = build(SMALL, 0).double()
    features, lengths = utterances(torch.float64)

    def gradient(*losses: Tensor) -> Tensor:
        net.zero_grad()
        sum(losses).backward()
        return torch.cat([each.grad.flatten() for each in net.parameters()])

    together = net(features, lengths)
    inside = torch.arange(max(LENGTHS)) < lengths[:, None]
    alone = [net(features[n : n + 1, :, :, :length]).square().sum() for n, length in enumerate(LENGTHS)]

    torch.testing.assert_close(gradient(together[inside].square().sum()), gradient(*alone), atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("shape", [(2, 6, 7), (2, 6, 4, 7)])
def test_the_norm_with_a_mask_of_ones_is_the_one_without(shape: tuple[int, ...]) -> None:
    """Two ways to the same numbers: mean 0 and deviation 1 of each channel of each utterance."""
    norm, x = UtteranceNorm(6), 3 + 2 * torch.randn(shape)
    masked = norm(x, torch.ones(2, 7, dtype=torch.bool))

    torch.testing.assert_close(norm(x, None), masked)
    torch.testing.assert_close(masked.flatten(2).mean(dim=2), torch.zeros(2, 6), atol=1e-5, rtol=0)
    torch.testing.assert_close(masked.flatten(2).var(dim=2, correction=0), torch.ones(2, 6), atol=1e-3, rtol=0)


@pytest.mark.parametrize("adds", [True, False])
def test_the_blstm_is_torchs_but_for_the_norm_of_its_input_product(adds: bool) -> None:
    """With gates that the norm leaves alone, `nn.LSTM` of the same weights gives the same."""
    torch.manual_seed(0)
    ours = BLSTM(6, 4, adds=adds)
    theirs = nn.LSTM(6, 4, bidirectional=True, batch_first=True)
    for direction, suffix in enumerate(("", "_reverse")):
        bias = getattr(theirs, f"bias_hh_l0{suffix}").detach() + getattr(theirs, f"bias_ih_l0{suffix}").detach()
        ours.products[direction].weight = getattr(theirs, f"weight_ih_l0{suffix}")
        ours.recurrent[direction] = getattr(theirs, f"weight_hh_l0{suffix}")
        ours.norms[direction].forward = lambda x, _valid, bias=bias: x + bias[:, None]
    x = torch.randn(3, 9, 6)
    expected, _ = theirs(x)

    torch.testing.assert_close(expected[..., :4] + expected[..., 4:] if adds else expected, ours(x, None))
