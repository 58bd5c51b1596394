"""The learning rate as a pure function of the iteration and of what the training error did (sections 3.4 and 4.2)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resnet_cli.spec import Plateau, Protocol, Warmup


LONG_RUN_EPOCHS = 20
TEST_SHARE = 0.05  # of the arithmetic of a long run, for tests on the way
TESTS_AN_AVERAGE = 3  # tests of a long run, one of which is made with averaged statistics too


def learning_rate(protocol: Protocol, iteration: int, warmup_ended_at: int | None, drops: Sequence[int] = ()) -> float:
    """The rate of an update, counted from 1: at milestone 32,000, update 32,001 is the first at a tenth.

    Args:
        protocol: Rates and milestones.
        iteration: The update.
        warmup_ended_at: The last update of the warm-up; None while it lasts. Without a warm-up it has no meaning.
        drops: Updates after which the error had plateaued.
    """
    warming = protocol.warmup is not None and (warmup_ended_at is None or iteration <= warmup_ended_at)
    base = protocol.warmup.learning_rate if warming and protocol.warmup else protocol.learning_rate
    return base / 10.0 ** sum(iteration > milestone for milestone in (*protocol.milestones, *drops))


def warmup_is_over(warmup: Warmup, recent_errors: Sequence[float]) -> bool:
    """Whether the training error (percent, mean of the last `window` updates) has fallen below the threshold."""
    window = recent_errors[-warmup.window :]
    return len(window) == warmup.window and sum(window) / warmup.window < warmup.until_train_error


def epochs_between_tests(epochs: float, train_images: int, test_images: int) -> int:
    """Epochs between two tests during training: one, or in a long run so many that tests stay cheap.

    A test image costs a third of what a training image does. The 10,000 of section 4.2 would take 6.7% of a run's
    arithmetic if they were tested after each epoch.

    Args:
        epochs: Of the whole run.
        train_images: In an epoch.
        test_images: In a test.
    """
    if epochs < LONG_RUN_EPOCHS:
        return 1
    return math.ceil(test_images / (3 * train_images) / TEST_SHARE)


def epochs_between_averages(epochs: float, train_images: int, test_images: int) -> int:
    """Epochs between two tests with averaged statistics too: as between all tests, or in a long run more.

    Both kinds of tests together then take less than 5% of a run's time (docs/paper-scale.md). The arguments are those
    of `epochs_between_tests`.
    """
    rarely = 1 if epochs < LONG_RUN_EPOCHS else TESTS_AN_AVERAGE
    return rarely * epochs_between_tests(epochs, train_images, test_images)


def has_plateaued(plateau: Plateau, window_errors: Sequence[float]) -> bool:
    """Whether the last `patience` windows since the last drop were no real improvement on the best before (percent)."""
    best, waited = float("inf"), 0
    for error in window_errors:
        if error < best - plateau.improvement:
            best, waited = error, 0
        else:
            waited += 1
    return waited >= plateau.patience
