"""Testing a net: what counts, and what it must not touch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from paper_tasks import CIFAR10, IMAGENET

from resnet_cli.data import TrainStream, synthetic
from resnet_cli.evaluate.evaluate import evaluate, with_averaged_statistics
from resnet_cli.evaluate.scores import top_errors
from resnet_cli.identity import Variant
from resnet_cli.nets.resnet import BatchNorm
from resnet_cli.spec import Net, Photos
from resnet_cli.tasks import open_dataset
from resnet_cli.weights.trained import scores_content

if TYPE_CHECKING:
    from resnet_cli.data import Dataset


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Sixty-four training and sixty-four test images."""
    return synthetic.load(train=64, test=64)


@torch.no_grad()
def test_errors_are_those_of_the_running_statistics(dataset: Dataset) -> None:
    """Loss and errors equal a slow, obvious reference with BN's running statistics; weights and statistics stay."""
    net = CIFAR10.make(Net.model_validate("resnet-8"), 1)
    net(dataset.normalize(dataset.train_images))  # statistics that differ from a test batch's
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    result = evaluate(net, dataset, "fp32")
    net.eval()
    wrong = wrong_top5 = 0
    losses = []
    for image, label in zip(dataset.normalize(dataset.test_images), dataset.test_labels, strict=True):
        scores = net(image[None])[0].double()
        losses.append(scores.logsumexp(0) - scores[label])
        rank = int((scores > scores[label]).sum())
        wrong += rank >= 1
        wrong_top5 += rank >= 5

    assert 100 * wrong / 64 == result.top1_error
    assert 100 * wrong_top5 / 64 == result.top5_error
    assert result.loss == pytest.approx(float(torch.stack(losses).mean()), rel=1e-5)
    assert 64 == result.images
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_the_net_itself_is_left_alone(dataset: Dataset) -> None:
    """Its mode and its layout are a training's, which goes on with it.

    Seen to fail when the net itself is tested, not a copy.
    """
    net = CIFAR10.make(Net.model_validate("resnet-8"), 1)  # contiguous; fp32 is tested with channels last
    evaluate(net, dataset, "fp32")

    assert all(module.training for module in net.modules())
    assert all(parameter.is_contiguous() for parameter in net.parameters())


def test_an_overflowing_net_is_wrong(dataset: Dataset) -> None:
    """Logits that are not finite answer nothing: 100% error, not the tenth that an arbitrary class would get."""
    net = CIFAR10.make(Net.model_validate("plain-8"), 1)
    with torch.no_grad():
        net.fc.weight.fill_(float("inf"))
    result = evaluate(net, dataset, "fp32")

    assert 100.0 == result.top1_error
    assert 100.0 == result.top5_error


@torch.no_grad()
@pytest.mark.parametrize("crop", [32, 64, 100])
def test_dense_at_the_crops_own_size_is_the_single_view(crop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dense test of an image of the crop's size sees one window, the whole map, whatever the crop."""
    photos = Photos(crop=crop, shorter_side=(crop, crop))
    photographs = open_dataset(
        Variant(dataset="synthetic-photos", tiny=True),
        Path("nowhere"),
        protocol=IMAGENET.protocol.model_copy(update={"photos": photos}),
    )
    images = torch.rand(3, 3, crop, crop, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(
        type(photographs),
        "test_views",
        lambda *_: iter([(torch.arange(3), images), (torch.arange(3, 16), images[:1].expand(13, -1, -1, -1))]),
    )
    net = IMAGENET.make(IMAGENET.net("resnet-18"), 0, classes=10)
    expected = net.eval()(images).log_softmax(dim=1)

    torch.testing.assert_close(expected, evaluate(net, photographs, "fp32", "dense").logits[:3], rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("views", ["10-crop", "dense"])
def test_a_net_that_is_all_too_sure_is_right_where_it_is(views: str) -> None:
    """Probabilities of 0 in float32 rank last and make no image wrong; logits that are no numbers do."""
    photographs = open_dataset(Variant(dataset="synthetic-photos", tiny=True), Path("nowhere"))
    net = IMAGENET.make(IMAGENET.net("resnet-18"), 0, classes=10)
    net.fc.weight.zero_()
    net.fc.bias.copy_(torch.eye(10)[3] * 1e4)  # the fourth class, beyond doubt
    sure = evaluate(net, photographs, "fp32", views)
    labels = photographs.test_labels

    assert 100 * float((labels != 3).float().mean()) == sure.top1_error
    assert sure.logits.isfinite().all()
    assert sure.loss > 1_000
    assert (sure.top1_error, sure.top5_error) == top_errors(
        scores_content(sure.logits, labels.numpy())[1], labels.numpy()
    )

    net.fc.bias.fill_(float("nan"))

    assert 100.0 == evaluate(net, photographs, "fp32", views).top5_error


@pytest.mark.parametrize("parts", [1, 4])
@torch.no_grad()
def test_averaged_statistics_by_hand(dataset: Dataset, parts: int) -> None:
    """They are the mean and unbiased variance of each layer's maps, of one big batch or the mean over several.

    A plain net is a chain: a convolution, its batch's statistics, ReLU. The net itself and the random state stay; so
    does a faster step's forward pass, which the copy has not.
    """
    net = CIFAR10.make(Net.model_validate("plain-8"), 1)
    convolutions = [module for module in net.modules() if isinstance(module, torch.nn.Conv2d)]
    norms = [module for module in net.modules() if isinstance(module, BatchNorm)]
    images = dataset.normalize(dataset.train_images)
    means, variances = ([torch.zeros(norm.num_features) for norm in norms] for _ in range(2))
    for part in images.chunk(parts):
        maps = part
        for number, (convolution, norm) in enumerate(zip(convolutions, norms, strict=True)):
            filtered = convolution(maps)
            values = filtered.transpose(0, 1).flatten(1)
            mean, biased = values.mean(dim=1), values.var(dim=1, correction=0)
            means[number] += mean / parts
            variances[number] += values.var(dim=1) / parts
            # Scale 1, shift 0.
            maps = ((filtered - mean[:, None, None]) / (biased + norm.eps).sqrt()[:, None, None]).relu()
    for norm in norms:
        norm.forward = lambda *_: pytest.fail("a step's own forward pass")  # type: ignore[method-assign]
    before, state = {name: each.clone() for name, each in net.state_dict().items()}, torch.get_rng_state()
    copy = with_averaged_statistics(net, images.chunk(parts), torch.device("cpu"), "fp32")
    found = [module for module in copy.modules() if isinstance(module, BatchNorm)]

    for norm, mean, variance in zip(found, means, variances, strict=True):
        torch.testing.assert_close(mean, norm.running_mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(variance, norm.running_var, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(before[name], each) for name, each in net.state_dict().items())
    assert all("forward" in vars(norm) for norm in norms)
    assert torch.equal(state, torch.get_rng_state())


def test_averages_are_over_the_first_training_images(dataset: Dataset) -> None:
    """Those of seed 0's order, augmented, whatever the run's seed; a set of fewer images is one batch."""
    net = CIFAR10.make(Net.model_validate("resnet-8"), 1)
    seen: list[int] = []
    copy = CIFAR10.averaged(net, dataset, "fp32", progress=seen.append)
    images, _ = TrainStream(dataset, 0, 64).batch(1)
    expected = with_averaged_statistics(net, [images], torch.device("cpu"), "fp32")

    assert [64] == seen
    assert all(torch.equal(each, copy.state_dict()[name]) for name, each in expected.state_dict().items())
