"""`resnet run --minutes` and `--estimate`: how long runs take, measured here before they start.

`--minutes` chooses the longest schedule that fits into the available time; an earlier call's choice is used again.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from resnet_cli.cli.answer import say
from resnet_cli.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console

    from resnet_cli.experiment import Experiment
    from resnet_cli.identity import RunSpec, Variant
    from resnet_cli.runs.fit import Due, Measured
    from resnet_cli.runs.settings import Settings
    from resnet_cli.storage.store import Store


def check_measured(
    minutes: float | None, schedule: float | None, launcher: str, ranks: int, *, tiny: bool, estimate: bool
) -> None:
    """Checks that the options allow a measurement before the runs start, if one is asked for.

    Raises:
        BadInputError: The time is not above 0, another option sets the schedule, or not this process alone trains.
    """
    if minutes is None and not estimate:
        return
    option = _option(minutes)
    if minutes is not None and not 0 < minutes < math.inf:
        raise BadInputError(f"{option}: must be above 0")
    if tiny or (minutes is not None and schedule is not None):
        other = "--tiny" if tiny else f"--schedule {schedule:g}"
        raise BadInputError(f"{option}: contradicts {other}; leave one of them out")
    if launcher != "local":
        raise BadInputError(f"{option}: measures this machine; leave it out with --launcher slurm")
    if ranks > 1:
        raise BadInputError(f"{option}: measures one process; leave it out under torchrun")


def _option(minutes: float | None) -> str:
    """The option that asks for a measurement, for messages."""
    return "--estimate" if minutes is None else f"--minutes {minutes:g}"


@dataclass(frozen=True)
class Forecast:
    """How long an experiment's runs take here, if `--minutes` or `--estimate` asks for it.

    Attributes:
        only: As in `plan`, and likewise `seeds`.
        minutes: The available time; None for as much as is needed.
        made: Makes the settings of the training.
        console: Where the measurement is printed.
        began: When the available time began, on the monotonic clock.
    """

    experiment: Experiment
    variant: Variant
    only: str | None
    seeds: int | None
    minutes: float | None
    estimate: bool
    store: Store
    made: Callable[[], Settings]
    console: Console
    began: float = field(default_factory=time.monotonic)

    def variant_to_train(self, *, keep: bool) -> Variant:
        """Measures and prints what is asked for; returns the variant, whose schedule `--minutes` chooses.

        Args:
            keep: Whether a choice may be saved.

        Raises:
            BadInputError: No schedule fits, the experiment is on photographs, or device or data cannot be used.
        """
        if self.minutes is not None:
            return self._fitting_variant(keep=keep)
        if self.estimate:
            self._say_estimate()
        return self.variant

    @cached_property
    def _settings(self) -> Settings:
        return self.made()

    def _fitting_variant(self, *, keep: bool) -> Variant:
        """The variant with the longest schedule with which all of the experiment fits into the minutes; prints why.

        It is measured once: the choice is saved beside the results, if `keep`, so that the same call finds its runs
        again.
        """
        from resnet_cli.storage.choices import CHOICES, Choice, keep_choice, kept_choice
        from resnet_cli.train.environment import device_name

        self._check()
        root, device = self.store.root, self._settings.place
        asked = Choice(
            experiment=self.experiment.name,
            depths=self.experiment.depths,
            only=self.only,
            seeds=self.seeds,
            minutes=self.minutes,
            device=device.type,
            device_name=device_name(device),
            variant=self.variant,
        )
        try:
            kept = kept_choice(root, asked)
        except BadInputError as error:
            say(self.console, f"{error}; measuring again")
            kept = None
        if kept:
            schedule = kept.variant.schedule
            say(self.console, f"{_option(self.minutes)}: schedule {schedule:g}, as saved in {root / CHOICES}.")
            return kept.variant
        chosen = asked.scheduled(self._longest_schedule())
        if keep:
            keep_choice(root, chosen)
        return chosen.variant

    def _say_estimate(self) -> None:
        """Measures the updates of the missing runs, and prints how long all of them take."""
        from resnet_cli.runs import fit
        from resnet_cli.runs.estimate import duration

        self._check()
        schedule = self.variant.schedule
        missing = self._due(schedule)
        if not missing:
            return
        measured = self._measure({schedule: missing})
        say(self.console, f"Milliseconds per update here{self._speeds(missing, measured)}.")
        time_needed = duration(fit.seconds_needed(missing, measured, self._settings.jobs))
        say(self.console, f"{len(missing)} runs: about {time_needed} here, longer if other programs need the machine.")

    def _check(self) -> None:
        from resnet_cli.device.torch_device import check_precision

        option, experiment, settings = _option(self.minutes), self.experiment, self._settings
        device = settings.place  # first, as it reports a device that is not available
        if not experiment.runs:
            raise BadInputError(f"{option}: {experiment.name} trains no net")
        if experiment.protocol.photos or not experiment.task.compiles:
            whose = f"{experiment.name} uses {experiment.task.title}"
            raise BadInputError(f"{option}: works only for images in memory, but {whose}; leave it out")
        check_precision(device, self.variant.precision)
        settings.check_data(self._runs(1.0))

    def _longest_schedule(self) -> float:
        from resnet_cli.runs import fit
        from resnet_cli.runs.estimate import duration

        due = {schedule: self._due(schedule) for schedule in fit.LADDER}
        measured = self._measure(due)
        seconds = {each: fit.seconds_needed(missing, measured, self._settings.jobs) for each, missing in due.items()}
        spent, option = time.monotonic() - self.began, _option(self.minutes)
        schedule = fit.choose(seconds, self._left)
        if schedule is None:
            shortest = min(seconds)
            enough = math.ceil((fit.MARGIN * seconds[shortest] + spent) / 60)
            raise BadInputError(
                f"{option}: too short for {self.experiment.name}: its shortest schedule, {shortest:g}, needs "
                f"--minutes {enough} here; or make fewer runs: --only, --seeds 1. "
                f"Milliseconds per update{self._speeds(due[shortest], measured)}"
            )
        if due[schedule]:
            say(self.console, f"Milliseconds per update here{self._speeds(due[schedule], measured)}.")
        longer = fit.next_longer(schedule)
        beyond = f"; {longer:g} would take {duration(seconds[longer])}" if longer else ""
        say(
            self.console,
            f"{option}: schedule {schedule:g}: about {duration(seconds[schedule])} after {duration(spent)} of "
            f"measuring, and {fit.MARGIN - 1:.0%} reserved for other programs{beyond}.",
        )
        return schedule

    @property
    def _left(self) -> float:
        """The seconds that are left after the measurement so far."""
        return 60 * (self.minutes or math.inf) - (time.monotonic() - self.began)

    def _runs(self, schedule: float) -> tuple[RunSpec, ...]:
        """The runs with this schedule."""
        from resnet_cli.runs.plan import plan

        variant = self.variant.model_copy(update={"schedule": schedule})
        return plan(self.experiment, variant, only=self.only, seeds=self.seeds)

    def _due(self, schedule: float) -> list[Due]:
        """What remains to be trained and tested with this schedule."""
        from resnet_cli.runs.fit import Due
        from resnet_cli.runs.one_run import wants_compiled

        after, store, settings = self.experiment.after_training, self.store, self._settings
        due = []
        for run in self._runs(schedule):
            if store.is_complete(run, after):
                continue
            status = store.status(run)
            left = 0.0 if status.state == "done" else max(0.0, 1 - status.iteration / run.protocol.iterations)
            due.append(Due(run, left, wants_compiled(run, store.folder(run), settings.place, settings), after))
        return due

    def _measure(self, due: Mapping[float, Sequence[Due]]) -> Measured:
        """Measures the plain step, and the compiled one if a schedule that takes it might fit."""
        from resnet_cli.runs import fit
        from resnet_cli.runs.measure import measure

        settings, runs = self._settings, self._runs(1.0)
        nets = fit.nets_to_measure(self.experiment.task, (run.net for run in runs))
        with self.console.status(f"measuring {', '.join(net.name for net in nets)}", spinner="line"):
            plain = measure(nets, runs[0], settings, is_compiled=False)
            best = plain.at_best(fit.MOST_GAIN.get(settings.place.type, 1.0))
            seconds = {
                schedule: fit.seconds_needed(missing, best, settings.jobs)
                for schedule, missing in due.items()
                if any(each.is_compiled for each in missing)
            }
            if fit.choose(seconds, self._left) is None:
                return plain
            compiled = measure(nets, runs[0], settings, is_compiled=True)
        return replace(compiled, speeds=plain.speeds + compiled.speeds)

    def _speeds(self, due: Sequence[Due], measured: Measured) -> str:
        """Each net's milliseconds per update and its step; nets that were not measured are estimated in proportion."""
        from resnet_cli.runs.estimate import speed_of

        words = {}
        for each in due:
            net, speeds = each.run.net, measured.of_step(is_compiled=each.is_compiled)
            speed, times = speed_of(each.run.task, net, speeds)
            estimated = "" if any(known.net == net for known in speeds) else "about "
            step = "compiled" if each.is_compiled else "plain"
            words[net] = f"{net.name} {estimated}{1e3 * times * speed.update:.3g} ({step})"
        beside = f", {self._settings.jobs} side by side" if self._settings.jobs > 1 else ""
        return f"{beside}: {', '.join(words.values())}"
