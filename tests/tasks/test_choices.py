from __future__ import annotations

import re
from pathlib import Path

from resnet_cli.tasks.choices import CHOICES, choices

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_readme_has_the_same_rows() -> None:
    """The README's table and the page's are the same, row by row and word by word."""
    section = README.partition("## Where the paper leaves a choice")[2].partition("\n## ")[0]
    rows = [tuple(cell.strip() for cell in row) for row in re.findall(r"^\|(.*)\|(.*)\|(.*)\|$", section, re.MULTILINE)]

    assert [("left open", "here", "expected effect"), ("---", "---", "---")] == rows[:2]
    assert rows[2:] == [(choice.left_open, choice.here, choice.effect) for choice in CHOICES]


def test_choices_of_a_benchmark() -> None:
    """A page on CIFAR-10 leaves out what is about ImageNet alone, and the other way round; what is about both stays."""
    cifar10, imagenet = choices({"cifar10"}), choices({"imagenet"})

    assert {"cifar10", "both"} == {choice.task for choice in cifar10}
    assert {"imagenet", "both"} == {choice.task for choice in imagenet}
    assert list(CHOICES) == choices({"cifar10", "imagenet"})
    assert [] == choices(set())
