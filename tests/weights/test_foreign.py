"""Which convention fits weights of others, and the order of classes that are numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest
import torch
from paper_tasks import CIFAR10, IMAGENET

from resnet_cli.data import Dataset
from resnet_cli.data.decode import Photographs
from resnet_cli.data.photos import PhotoDataset
from resnet_cli.evaluate.evaluate import Evaluation, evaluate
from resnet_cli.names import ConventionName
from resnet_cli.weights import foreign
from resnet_cli.weights.convention import CONVENTIONS, IMAGENET_CONSTANTS, KUANGLIU_CONSTANTS, find_convention

if TYPE_CHECKING:
    from resnet_cli.data.dataset import Constants
    from resnet_cli.nets.resnet import ResNet
    from resnet_cli.weights.convention import Convention

PAPERS = find_convention("paper", CIFAR10)


def images() -> Dataset:
    """Two thousand and more images in classes that are not known yet."""
    random = torch.Generator().manual_seed(3)
    pixels = torch.randint(256, (2_400, 3, 4, 4), generator=random, dtype=torch.uint8).repeat_interleave(8, 2)
    pixels = pixels.repeat_interleave(8, 3)
    labels = torch.zeros(len(pixels), dtype=torch.int64)
    return Dataset("own", "", tuple("abcdefghij"), pixels[:100], labels[:100], pixels, labels)


def evaluated(net: ResNet, data: Dataset | PhotoDataset) -> Evaluation:
    """What a net does."""
    return evaluate(net, data, "fp32")


def expert(data: Dataset, convention: Convention) -> tuple[ResNet, Dataset]:
    """A net, and the data with the labels that it gives them under a convention."""
    net = foreign.foreign_net(CIFAR10.net("resnet-8"), CIFAR10, 10, convention).eval()
    data = replace(data, constants=convention.constants)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "bn" in name:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))) / 2)
        net.fc.weight *= 30  # sure of what it says
        net.fc.bias -= evaluate(net, data, "fp32").logits.mean(dim=0)  # and says each class now and then
    return net, replace(data, test_labels=evaluate(net, data, "fp32").logits.argmax(dim=1))


@pytest.mark.parametrize(
    ("name", "constants", "options"),
    [
        ("akamaster", None, "--convention akamaster"),
        pytest.param("kuangliu", None, "--convention kuangliu", marks=pytest.mark.long),
        pytest.param("fb", None, "--convention fb", marks=pytest.mark.long),
        (
            "akamaster",
            KUANGLIU_CONSTANTS,
            "--convention akamaster --mean 0.4914,0.4822,0.4465 --std 0.2023,0.1994,0.201",
        ),
        ("paper", ((0.5,) * 3, (0.5,) * 3), "--convention paper --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5"),
    ],
)  # fmt: skip
def test_the_convention_that_fits(name: ConventionName, constants: Constants | None, options: str) -> None:
    """Of weights under a convention that is not the one asked for, the options that ask for it are found."""
    right = find_convention(name, CIFAR10)
    net, data = expert(images(), replace(right, constants=constants or right.constants))
    data = replace(data, constants=None)
    logits = evaluate(foreign_as_asked(net), data, "fp32").logits
    hint = foreign.better_convention(
        net.state_dict(), CIFAR10.net("resnet-8"), CIFAR10, data, ("paper", PAPERS), logits, evaluated
    )

    assert f"the error is close to chance; {options} fits better: 0.00% on 800 of the images" == hint


def foreign_as_asked(net: ResNet) -> ResNet:
    """The same weights under the paper's convention."""
    other = foreign.foreign_net(CIFAR10.net("resnet-8"), CIFAR10, 10, PAPERS)
    other.load_state_dict(net.state_dict())
    return other


def test_no_convention_fits() -> None:
    """Where all conventions are as wrong as the one asked for, what else may be wrong is said."""
    data = images()
    data = replace(data, test_labels=torch.arange(len(data.test_labels)) % 10)
    net = foreign.foreign_net(CIFAR10.net("plain-8"), CIFAR10, 10, PAPERS)
    logits = evaluate(net, data, "fp32").logits
    hint = foreign.better_convention(
        net.state_dict(), CIFAR10.net("plain-8"), CIFAR10, data, ("paper", PAPERS), logits, evaluated
    )

    assert hint.startswith("the error is close to chance, also under each of 5 other conventions, on 800 of the images")
    assert "--mean, --std" in hint


@pytest.mark.parametrize(
    ("error", "classes", "expected"),
    [(63, 10, True), (91, 10, True), (44, 10, False), (99.9, 1_000, True), (43, 1_000, False), (83, 12, True)],
)
def test_what_is_suspicious(error: float, classes: int, expected: bool) -> None:
    """An error that no trained net has is one that the convention may be to blame for."""
    assert expected == foreign.is_suspicious(error, classes)


def test_no_pass_over_the_training_photographs() -> None:
    """Of photographs under given pixels, the training mean, which may take an hour to make, is not tried."""
    asked = "torchvision", find_convention("torchvision", IMAGENET)
    net = IMAGENET.net("resnet-50")
    tried = dict(foreign._candidates(net, IMAGENET, asked, photographs=True))

    assert all(convention.constants for convention in tried.values())
    assert {"--convention torchvision --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5"} < tried.keys()
    assert {(convention.stride_3x3, convention.constants) for convention in tried.values()} >= {
        (False, IMAGENET_CONSTANTS)
    }
    assert len(tried) == len({(each.stride_3x3, each.constants) for each in tried.values()})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet-18", "resnet-18-A --convention torchvision"),
        ("resnet-18-B", "--convention torchvision"),
        ("plain-18", "--convention torchvision"),
    ],
)
def test_the_options_mean_the_same_net(name: str, options: str) -> None:
    """Where a bare name means another net under the convention that fits, the whole name is part of what is said."""
    asked = "paper", find_convention("paper", IMAGENET)
    tried = dict(foreign._candidates(IMAGENET.net(name), IMAGENET, asked, photographs=True))

    assert [options] == [each for each in tried if each.endswith("--convention torchvision")]


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("0", "1", "10", "11", "2"), ("0", "1", "2", "10", "11")),
        (("1", "10", "9"), ("1", "9", "10")),
        (("01", "010", "2"), ("01", "2", "010")),
        (("00", "01", "10"), None),
        (("1", "2", "3"), None),
        (("1", "10", "2", "cat"), None),
        (("-1", "10", "2"), None),
        (("1.5", "10", "2"), None),
        (("n01440764", "n1"), None),
        (("²", "10", "2"), None),
    ],
)
def test_classes_that_are_numbers(classes: tuple[str, ...], expected: tuple[str, ...] | None) -> None:
    """Only where all names are whole numbers, and text has them in another order, is there an order by number."""
    assert expected == foreign.by_number(classes)


def test_renumbered() -> None:
    """Each photograph keeps its class, under the number that the class has then."""
    photos = IMAGENET.protocol.photos
    assert photos is not None
    part = Photographs([b"0", b"10", b"2"], np.array([0, 1, 2]))
    data = PhotoDataset("own", "", ("0", "10", "2"), part, part, photos)
    moved = foreign.renumbered(data, ("0", "2", "10"))

    assert ("0", "2", "10") == moved.classes
    for its in (moved.train, moved.test):
        assert [b"0", b"10", b"2"] == [moved.classes[label].encode() for label in its.labels]


def test_every_convention_can_be_asked_for() -> None:
    """The names that --convention takes are those that are tried."""
    assert tuple(CONVENTIONS) == get_args(ConventionName)
