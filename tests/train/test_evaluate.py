"""Testing a net: what counts, and what it must not touch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from resnet_cli.model import cifar_net
from resnet_cli.spec import Net
from resnet_cli.train import evaluate as evaluate_module
from resnet_cli.train.evaluate import evaluate

if TYPE_CHECKING:
    from resnet_cli.data import Dataset


@torch.no_grad()
def test_errors_are_those_of_the_running_statistics(dataset: Dataset) -> None:
    """Loss and errors equal a slow, obvious reference with BN's running statistics; weights and statistics stay."""
    net = cifar_net(Net.model_validate("resnet-8"), 1)
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


def test_the_batch_size_does_not_matter(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last short batch counts like any other."""
    net = cifar_net(Net.model_validate("plain-8"), 1)
    whole = evaluate(net, dataset, "fp32")
    monkeypatch.setattr(evaluate_module, "BATCH_SIZE", 10)
    parts = evaluate(net, dataset, "fp32")

    assert whole.top1_error == parts.top1_error
    torch.testing.assert_close(whole.logits, parts.logits)


def test_an_overflowing_net_is_wrong(dataset: Dataset) -> None:
    """Logits that are not finite answer nothing: 100% error, not the tenth that an arbitrary class would get."""
    net = cifar_net(Net.model_validate("plain-8"), 1)
    with torch.no_grad():
        net.fc.weight.fill_(float("inf"))
    result = evaluate(net, dataset, "fp32")

    assert 100.0 == result.top1_error
    assert 100.0 == result.top5_error
