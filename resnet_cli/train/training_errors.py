"""The training error of the updates so far: its effect on the learning rate, and its mean for the screen."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from resnet_cli.train import schedule

if TYPE_CHECKING:
    from resnet_cli.identity import RunSpec
    from resnet_cli.train.checkpoint import TrainState

REPORTED_UPDATES = 100  # the training error on the screen is the mean over as many updates


class TrainingErrors:
    """Keeps in the state what the learning rate depends on, so that a checkpoint has it too."""

    def __init__(self, run: RunSpec, state: TrainState) -> None:
        self.run = run
        self.state = state
        self.on_screen: deque[float] = deque(state.recent_errors, maxlen=REPORTED_UPDATES)

    @property
    def mean(self) -> float | None:
        """Over the last updates, in percent; None before the first."""
        return float(np.mean(self.on_screen)) if self.on_screen else None

    @property
    def is_warming(self) -> bool:
        """Whether the warm-up (ResNet-110's, section 4.2) still lasts."""
        return self.run.protocol.warmup is not None and self.state.warmup_ended_at is None

    @property
    def are_wanted(self) -> bool:
        """Whether the next update's rate depends on the error of the last one."""
        plateau = self.run.protocol.plateau
        return self.is_warming or (plateau is not None and self.state.iteration % plateau.window == 0)

    def rate(self, iteration: int) -> float:
        """The learning rate of an update."""
        return schedule.learning_rate(self.run.protocol, iteration, self.state.warmup_ended_at, self.state.rate_drops)

    def end_warmup(self) -> None:
        """Ends the warm-up with the last update, if the error has fallen far enough."""
        warmup = self.run.protocol.warmup
        if warmup and self.is_warming and schedule.warmup_is_over(warmup, self.state.recent_errors):
            self.state.warmup_ended_at = self.state.iteration

    def add(self, iteration: int, wrong: float) -> float:
        """Notes an update's wrong answers; returns its error in percent."""
        protocol, state = self.run.protocol, self.state
        error = self.run.task.trained.of(wrong, protocol.batch_size)
        self.on_screen.append(error)
        if protocol.warmup and self.is_warming:
            state.recent_errors = [*state.recent_errors, error][-protocol.warmup.window :]
        self._watch_plateau(iteration, wrong)
        return error

    def _watch_plateau(self, iteration: int, wrong: float) -> None:
        """At the end of a window, notes whether the rate is to drop (section 3.4)."""
        plateau, state = self.run.protocol.plateau, self.state
        if plateau is None:
            return
        state.window_wrong += wrong
        if iteration % plateau.window:
            return
        images = plateau.window * self.run.protocol.batch_size
        state.window_errors.append(100 * state.window_wrong / images)
        state.window_wrong = 0
        if len(state.rate_drops) < plateau.drops and schedule.has_plateaued(plateau, state.window_errors):
            state.rate_drops.append(iteration)
            state.window_errors.clear()
