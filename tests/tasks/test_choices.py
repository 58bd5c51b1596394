from __future__ import annotations

from resnet_cli.tasks.choices import CHOICES, choices


def test_choices_of_a_benchmark() -> None:
    """A page on CIFAR-10 leaves out what is about ImageNet alone, and the other way round; what is about both stays."""
    cifar10, imagenet = choices({"cifar10"}), choices({"imagenet"})

    assert {"cifar10", "both"} == {choice.task for choice in cifar10}
    assert {"imagenet", "both"} == {choice.task for choice in imagenet}
    assert list(CHOICES) == choices({"cifar10", "imagenet"})
    assert [] == choices(set())
