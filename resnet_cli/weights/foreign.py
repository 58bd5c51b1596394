"""Nets that others trained: built under a convention, and which convention fits when an error is suspiciously high."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from resnet_cli.data import PhotoDataset
from resnet_cli.data.decode import Photographs
from resnet_cli.evaluate.scores import top_errors
from resnet_cli.weights.convention import CONVENTIONS, PIXELS_WITHOUT_NAME
from resnet_cli.weights.read import match

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor

    from resnet_cli.data import Dataset
    from resnet_cli.data.dataset import Constants
    from resnet_cli.evaluate.evaluate import Evaluation
    from resnet_cli.names import ConventionName
    from resnet_cli.nets.resnet import ResNet
    from resnet_cli.spec import Net
    from resnet_cli.tasks.classification import Classification
    from resnet_cli.weights.convention import Convention

TRIED_IMAGES = 1_000
SUSPICIOUS = 0.5  # of chance's error: of ten classes above 45%, of a thousand above 50%, which no trained net has
FITS = 0.75  # times the error, or less: a convention that is right gains far more


def foreign_net(net: Net, task: Classification, classes: int, convention: Convention) -> ResNet:
    """The untrained net under a convention."""
    return task.make(net, 0, classes, stride_3x3=convention.stride_3x3, zeros=convention.zeros)


def is_suspicious(top1_error: float, classes: int) -> bool:
    """Whether an error in percent is so close to chance that hardly any trained net has it."""
    return top1_error > SUSPICIOUS * 100 * (1 - 1 / classes)


def by_number(classes: tuple[str, ...]) -> tuple[str, ...] | None:
    """The classes in the order of their numbers; None if not all names are numbers, or text's order is the same."""
    if not all(name.isascii() and name.isdecimal() for name in classes):
        return None
    ordered = tuple(sorted(classes, key=lambda name: (int(name), name)))
    return None if ordered == tuple(sorted(classes)) else ordered


def renumbered(data: PhotoDataset, classes: tuple[str, ...]) -> PhotoDataset:
    """The dataset with its classes in this order."""
    places = np.array([classes.index(name) for name in data.classes], dtype=np.int64)

    def moved(photographs: Photographs) -> Photographs:
        return replace(photographs, labels=places[photographs.labels])

    return replace(data, classes=classes, train=moved(data.train), test=moved(data.test))


def better_convention(
    state: Mapping[str, Tensor],
    net: Net,
    task: Classification,
    data: Dataset | PhotoDataset,
    asked: tuple[ConventionName, Convention],
    logits: Tensor,
    test: Callable[[ResNet, Dataset | PhotoDataset], Evaluation],
) -> str:
    """A convention with a lower error than the one that was asked for, tried on a thousand images; in one line.

    Args:
        state: The weights, which fit the net.
        net: The net that the weights are for.
        task: The net's task.
        data: The data, with the pixels that were asked for.
        asked: The name of the convention that was asked for, and the convention.
        logits: What the net answered, (N, classes).
        test: Tests a net on part of the data.
    """
    step = -(-len(data.test_labels) // TRIED_IMAGES)  # every class has its share of them
    part = _every(data, step)
    labels = part.test_labels.cpu().numpy()
    orders = {"": labels, **_other_order(data.classes, labels)}
    others = list(_candidates(net, task, asked, photographs=isinstance(data, PhotoDataset)))
    tried = [(*_loss_and_error(logits[::step], its), order.strip()) for order, its in orders.items()]
    for options, convention in others:
        built = foreign_net(net, task, len(data.classes), convention)
        match(state, built)
        found = test(built.to(part.test_labels.device), replace(part, constants=convention.constants)).logits
        tried += [(*_loss_and_error(found, its), options + order) for order, its in orders.items()]
    _, error, options = min(tried)  # by the loss: a thousand images are too few to tell errors of 8% and 9% apart
    where = f"on {len(labels):,} of the images"
    if error < FITS * tried[0][1]:
        return f"the error is close to chance; {options} fits better: {error:.2f}% {where}"
    return (
        f"the error is close to chance, also under each of {len(others)} other conventions, {where}; possible causes: "
        "other pixels (--mean, --std), other classes or another order of them, or weights that were hardly trained"
    )


def _other_order(classes: tuple[str, ...], labels: np.ndarray) -> dict[str, np.ndarray]:
    """The labels if numbered classes were in the other order, by the option that asks for it."""
    numbers, text = by_number(classes), tuple(sorted(classes))
    if numbers is None:
        return {}
    name, ordered = ("number", numbers) if classes == text else ("text", text)
    return {f" --class-order {name}": np.array([ordered.index(each) for each in classes])[labels]}


def _candidates(
    net: Net, task: Classification, asked: tuple[ConventionName, Convention], *, photographs: bool
) -> Iterator[tuple[str, Convention]]:
    """Every other convention that changes this net's answers, with the options that ask for it; named ones first.

    For photographs, the training mean is not tried: computing it may take an hour.
    """

    def answer_of(convention: Convention) -> tuple[object, ...]:
        stride = convention.stride_3x3 and task.layout(net).block == "bottleneck"
        return stride, convention.zeros if net.shortcut == "A" else None, convention.constants

    named = [(name, its[task.name]) for name, its in CONVENTIONS.items() if task.name in its]
    named.sort(key=lambda each: each[0] != asked[0])
    known = [convention.constants for _, convention in named if convention.constants]
    seen = {answer_of(asked[1])}
    for constants in (None, *dict.fromkeys((*known, *PIXELS_WITHOUT_NAME))):
        for name, convention in named:
            other = convention if constants is None else replace(convention, constants=constants)
            if answer_of(other) in seen or (photographs and other.constants is None and asked[1].constants):
                continue
            seen.add(answer_of(other))
            bare = (
                f"{net.full_name} " if convention.option_b and net.shortcut == "A" else ""
            )  # a name without an option means B there
            yield f"{bare}--convention {name}" + (f" {in_options(constants)}" if constants else ""), other


def in_options(constants: Constants) -> str:
    """The options that ask for these pixels."""
    mean, std = (",".join(f"{value:.4g}" for value in values) for values in constants)
    return f"--mean {mean} --std {std}"


def _every(data: Dataset | PhotoDataset, step: int) -> Dataset | PhotoDataset:
    """The dataset with only every `step`-th of its test images."""
    if isinstance(data, PhotoDataset):
        test = Photographs(data.test.files[::step], data.test.labels[::step], data.test.root)
        return replace(data, test=test, known_statistics=None if data.constants else data.statistics)
    return replace(data, test_images=data.test_images[::step], test_labels=data.test_labels[::step])


def _loss_and_error(logits: Tensor, labels: np.ndarray) -> tuple[float, float]:
    loss = float(functional.cross_entropy(logits, torch.from_numpy(labels)))
    return loss if math.isfinite(loss) else math.inf, top_errors(logits.numpy(), labels)[0]
