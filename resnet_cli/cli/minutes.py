"""`resnet run --minutes` and `--estimate`: how long runs take, measured here before they start.

`--minutes` chooses the schedule that fits into the time there is; an earlier call's choice is kept.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resnet_cli.cli.answer import say
from resnet_cli.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from rich.console import Console

    from resnet_cli.experiment import Experiment
    from resnet_cli.identity import RunSpec, Variant
    from resnet_cli.runs.fit import Due, Measured
    from resnet_cli.runs.settings import Settings
    from resnet_cli.storage.choices import Choice
    from resnet_cli.storage.store import Store


@dataclass(frozen=True)
class Question:
    """An experiment, and what is asked of it beside the schedule."""

    experiment: Experiment
    variant: Variant
    only: str | None
    seeds: int | None
    minutes: float | None
    estimate: bool

    @property
    def option(self) -> str:
        """The option that asks for a measurement, for messages."""
        return "--estimate" if self.minutes is None else f"--minutes {self.minutes:g}"

    @property
    def seconds(self) -> float:
        """The time there is; without `--minutes` as much as is needed."""
        return math.inf if self.minutes is None else 60 * self.minutes

    def runs(self, schedule: float) -> tuple[RunSpec, ...]:
        """The runs that answer it with this schedule."""
        from resnet_cli.runs.plan import plan

        variant = self.variant.model_copy(update={"schedule": schedule})
        return plan(self.experiment, variant, only=self.only, seeds=self.seeds)


def check_measured(
    minutes: float | None, schedule: float | None, launcher: str, ranks: int, *, tiny: bool, estimate: bool
) -> None:
    """Whether runs may be measured before they start, if that is asked for.

    Raises:
        BadInputError: There is no time, or another option says the schedule, or it is not this process that trains.
    """
    if minutes is None and not estimate:
        return
    option = "--estimate" if minutes is None else f"--minutes {minutes:g}"
    if minutes is not None and not 0 < minutes < math.inf:
        raise BadInputError(f"{option}: must be above 0")
    if tiny or (minutes is not None and schedule is not None):
        other = "--tiny" if tiny else f"--schedule {schedule:g}"
        raise BadInputError(f"{option}: contradicts {other}; leave one of them out")
    if launcher != "local":
        raise BadInputError(f"{option}: measures this machine; leave it out with --launcher slurm")
    if ranks > 1:
        raise BadInputError(f"{option}: measures one process; leave it out under torchrun")


def measured_variant(
    question: Question, store: Store, made: Callable[[], Settings], console: Console, *, keep: bool
) -> Variant:
    """The variant to train, after what the options ask to be measured: `--minutes` chooses its schedule.

    Args:
        question: What is asked.
        store: The results.
        made: The settings of the training.
        console: Is told what was measured.
        keep: Whether a choice may be kept.

    Raises:
        BadInputError: No schedule fits, the experiment is on photographs, or device or data cannot be used.
    """
    if question.minutes is not None:
        return _fitting_variant(question, store, made(), console, keep=keep)
    if question.estimate:
        _say_estimate(question, store, made(), console)
    return question.variant


def _fitting_variant(question: Question, store: Store, settings: Settings, console: Console, *, keep: bool) -> Variant:
    """The variant with the longest schedule by which all of the experiment fits into the minutes; says why.

    It is measured once: the choice is kept beside the results if it may be, so that the same call finds its runs again.
    """
    from resnet_cli.device.torch_device import choose_device
    from resnet_cli.storage.choices import CHOICES, keep_choice, kept_choice

    began = time.monotonic()
    device = choose_device(settings.device)
    _check(question, settings, device)
    asked = _as_choice(question, device)
    try:
        kept = kept_choice(store.root, asked)
    except BadInputError as error:
        say(console, f"{error}; measuring anew")
        kept = None
    if kept:
        say(console, f"{question.option}: schedule {kept.variant.schedule:g}, as kept in {store.root / CHOICES}.")
        return kept.variant
    chosen = asked.scheduled(_choose(question, store, settings, device, console, began))
    if keep:
        keep_choice(store.root, chosen)
    return chosen.variant


def _say_estimate(question: Question, store: Store, settings: Settings, console: Console) -> None:
    """Measures the updates of the runs that are missing, and says how long all of them take."""
    from resnet_cli.device.torch_device import choose_device
    from resnet_cli.runs import fit
    from resnet_cli.runs.estimate import duration

    began, schedule = time.monotonic(), question.variant.schedule
    device = choose_device(settings.device)
    _check(question, settings, device)
    missing = _due(question, schedule, store, settings, device)
    if not missing:
        return
    measured = _measure(question, {schedule: missing}, settings, device, console, began)
    beside = f", {settings.jobs} side by side" if settings.jobs > 1 else ""
    say(console, f"Milliseconds an update here{beside}: {_speeds_in_words(missing, measured)}.")
    seconds = fit.seconds_needed(missing, measured, settings.jobs)
    say(console, f"{len(missing)} runs: about {duration(seconds)} here, longer if other programs need the machine.")


def _check(question: Question, settings: Settings, device: torch.device) -> None:
    """Whether the experiment's runs can be measured on this device, with this data.

    Raises:
        BadInputError: They cannot.
    """
    from resnet_cli.device.torch_device import prepare
    from resnet_cli.tasks import obstacle

    experiment = question.experiment
    if not experiment.runs:
        raise BadInputError(f"{question.option}: {experiment.name} trains no net")
    if experiment.protocol.photos:
        raise BadInputError(
            f"{question.option}: is for data in memory, and {experiment.name} has {experiment.task.title}'s; "
            "leave it out"
        )
    prepare(device, question.variant.precision)
    question.runs(1.0)  # says what is wrong with --only before anything is measured
    in_the_way = obstacle(question.variant, settings.data_dir, settings.dataset_root)
    if in_the_way:
        raise BadInputError(in_the_way)


def _as_choice(question: Question, device: torch.device) -> Choice:
    from resnet_cli.storage.choices import Choice
    from resnet_cli.train.environment import device_name

    return Choice(
        experiment=question.experiment.name,
        depths=question.experiment.depths,
        only=question.only,
        seeds=question.seeds,
        minutes=question.minutes,
        device=device.type,
        device_name=device_name(device),
        variant=question.variant,
    )


def _choose(
    question: Question, store: Store, settings: Settings, device: torch.device, console: Console, began: float
) -> float:
    from resnet_cli.runs import fit
    from resnet_cli.runs.estimate import duration

    due = {schedule: _due(question, schedule, store, settings, device) for schedule in fit.LADDER}
    measured = _measure(question, due, settings, device, console, began)
    seconds = {schedule: fit.seconds_needed(missing, measured, settings.jobs) for schedule, missing in due.items()}
    spent, beside = time.monotonic() - began, f", {settings.jobs} side by side" if settings.jobs > 1 else ""
    schedule = fit.choose(seconds, question.seconds - spent)
    if schedule is None:
        shortest = min(seconds)
        enough = math.ceil((fit.MARGIN * seconds[shortest] + spent) / 60)
        raise BadInputError(
            f"--minutes {question.minutes:g}: too short for {question.experiment.name}: its shortest schedule, "
            f"{shortest:g}, needs --minutes {enough} here; or make fewer runs: --only, --seeds 1. "
            f"Milliseconds an update{beside}: {_speeds_in_words(due[shortest], measured)}"
        )
    if due[schedule]:
        say(console, f"Milliseconds an update here{beside}: {_speeds_in_words(due[schedule], measured)}.")
    longer = fit.next_longer(schedule)
    beyond = f"; {longer:g} would take {duration(seconds[longer])}" if longer else ""
    say(
        console,
        f"--minutes {question.minutes:g}: schedule {schedule:g}: about {duration(seconds[schedule])} after "
        f"{duration(spent)} of measuring, and {fit.MARGIN - 1:.0%} for what else the machine does{beyond}.",
    )
    return schedule


def _due(question: Question, schedule: float, store: Store, settings: Settings, device: torch.device) -> list[Due]:
    """What is still to be made with this schedule."""
    from resnet_cli.runs.fit import Due
    from resnet_cli.runs.one_run import wants_compiled

    after = question.experiment.after_training
    due = []
    for run in question.runs(schedule):
        if store.is_complete(run, after):
            continue
        status = store.status(run)
        left = 0.0 if status.state == "done" else max(0.0, 1 - status.iteration / run.protocol.iterations)
        due.append(Due(run, left, wants_compiled(run, store.folder(run), device, settings), after))
    return due


def _measure(
    question: Question,
    due: dict[float, list[Due]],
    settings: Settings,
    device: torch.device,
    console: Console,
    began: float,
) -> Measured:
    """Measures the plain step, and the compiled one if a schedule that takes it might fit."""
    from resnet_cli.runs import fit
    from resnet_cli.runs.measure import measure

    like = question.runs(1.0)[0]
    nets = fit.nets_to_measure(question.experiment.task, (run.net for run in question.runs(1.0)))
    names = ", ".join(net.name for net in nets)
    with console.status(f"measuring {names}", spinner="line"):
        plain = measure(nets, like, settings, is_compiled=False)
        measured = fit.Measured(plain.speeds, plain.speeds, plain.start, plain.train_images, plain.test_images)
        best = measured.at_best(fit.MOST_GAIN.get(device.type, 1.0))
        left = question.seconds - (time.monotonic() - began)
        might_fit = any(
            any(each.is_compiled for each in missing)
            and fit.choose({schedule: fit.seconds_needed(missing, best, settings.jobs)}, left)
            for schedule, missing in due.items()
        )
        if not might_fit:
            return measured
        compiled = measure(nets, like, settings, is_compiled=True)
    if compiled.obstacle:
        return measured
    return fit.Measured(plain.speeds, compiled.speeds, compiled.start, plain.train_images, plain.test_images)


def _speeds_in_words(due: list[Due], measured: Measured) -> str:
    """Each net's milliseconds an update and its step; those that were not measured are in proportion."""
    from resnet_cli.runs.estimate import speed_of

    words = {}
    for each in due:
        speeds = measured.speeds(is_compiled=each.is_compiled)
        speed, times = speed_of(each.run.task, each.run.net, speeds)
        estimated = "" if any(known.net == each.run.net for known in speeds) else "about "
        step = "compiled" if each.is_compiled else "plain"
        words[each.run.net] = f"{each.run.net.name} {estimated}{1e3 * times * speed.update:.3g} ({step})"
    return ", ".join(words.values())
