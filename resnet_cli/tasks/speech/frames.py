"""What is counted in frames: the loss of an update, and the errors of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_cli.device.torch_device import autocast
from resnet_cli.evaluate.evaluate import as_float16
from resnet_cli.tasks.speech.dataset import batches
from resnet_cli.tasks.speech.recording import NO_CLASS
from resnet_cli.tasks.task import Scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from resnet_cli.names import Precision
    from resnet_cli.tasks.speech.dataset import Utterances

SILENCE = 0  # the first class of every set


def frame_loss(outputs: Callable[..., Any], features: Tensor, lengths: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy over the frames that have a class, and their share of wrong answers times the utterances.

    With this count, an update's error is a percentage of its frames, however many of them have a class.

    Args:
        outputs: A function of features and lengths that gives the logits, (B, T, classes).
        features: (B, 3, mels, T).
        lengths: Valid frames of each utterance, (B,).
        labels: (B, T); -1 of frames without a class.
    """
    logits, flat = outputs(features, lengths).flatten(0, 1), labels.flatten()
    has_class = flat != NO_CLASS
    wrong = (logits.argmax(dim=1) != flat) & has_class
    return (
        functional.cross_entropy(logits, flat, ignore_index=NO_CLASS),
        len(labels) * wrong.sum() / has_class.sum(),
    )


@torch.no_grad()
def logits_of(
    net: nn.Module, utterances: Utterances, precision: Precision, progress: Callable[[int], None] | None = None
) -> tuple[Tensor, Tensor]:
    """A net's logits (frames, classes) and the labels (frames,) of all frames that have a class, on the CPU."""
    net.eval()
    found: dict[int, Tensor] = {}
    for numbers, features, lengths in batches(utterances):
        with autocast(features.device, precision):
            logits = net(features, lengths).float().cpu()
        for number, each, length in zip(numbers.tolist(), logits, lengths.tolist(), strict=True):
            found[number] = each[:length]
        if progress:
            progress(len(found))
    labels = utterances.labels.cpu()
    has_class = labels != NO_CLASS
    return torch.cat([found[number] for number in sorted(found)])[has_class], labels[has_class]


def errors(answers: Tensor, labels: Tensor) -> tuple[float, float]:
    """Frame error in percent, and that of the frames that are not silence."""
    wrong, speech = answers != labels, labels != SILENCE
    return 100 * float(wrong.double().mean()), 100 * float(wrong[speech].double().mean())


def score(
    net: nn.Module, utterances: Utterances, precision: Precision, progress: Callable[[int], None] | None
) -> Scores:
    """Tests a net on whole utterances."""
    logits, labels = logits_of(net, utterances, precision, progress)
    frame_error, speech_error = errors(logits.argmax(dim=1), labels)
    majority = 100 * (1 - float(labels.bincount().max()) / len(labels))
    return Scores(
        float(functional.cross_entropy(logits, labels)),
        {"test_frame_error": frame_error, "test_speech_error": speech_error, "majority_error": majority},
        len(utterances.lengths),
        {"logits": as_float16(logits), "labels": labels.numpy().astype(np.int16)},
    )
