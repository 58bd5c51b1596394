"""The options that choose a variant, for every command that has them, and what they mean together."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from resnet_cli.cli.examples import DATA, SCALE
from resnet_cli.cli.labels import ValLabels
from resnet_cli.cli.options import (
    DatasetRoot,
    PrecisionOption,
    Schedule,
    Tiny,
    chosen_precision,
)
from resnet_cli.errors import BadInputError
from resnet_cli.names import DEVIATION_HELP, DatasetName, Deviation, Split

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from resnet_cli.experiment import Experiment
    from resnet_cli.identity import Variant
    from resnet_cli.storage.store import Store
    from resnet_cli.tasks.task import Task

At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="<slug>",
        rich_help_panel=SCALE,
        help="The scale of existing runs, as file names have it: schedule-0.02-bf16, tiny, paper. It replaces every "
        "other option that selects a scale.",
    ),
]
DatasetOption = Annotated[
    DatasetName | None,
    typer.Option("--dataset", rich_help_panel=DATA, help="A dataset in place of the experiment's."),
]
SplitOption = Annotated[
    Split | None,
    typer.Option(
        "--split", rich_help_panel=DATA, help="45k-5k: train on 45,000 images and test on the 5,000 held out."
    ),
]
Deviations = Annotated[
    list[str] | None,
    typer.Option("--deviation", rich_help_panel=SCALE, help=DEVIATION_HELP),
]
Accumulate = Annotated[
    int | None,
    typer.Option(
        "--accumulate",
        min=2,
        max=256,
        rich_help_panel=SCALE,
        help="Split each batch into this many parts, to save memory. Batch normalisation uses one part at a time.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of a command line that choose the variant; None for an option that is not given.

    Raises:
        BadInputError: `--at` is given together with another of these options.
    """

    at: At = None
    schedule: Schedule = None
    tiny: Tiny = False
    dataset: DatasetOption = None
    split: SplitOption = None
    precision: PrecisionOption = None
    dataset_root: DatasetRoot = None
    _val_labels: ValLabels = field(default=None, compare=False)  # `labels` has put it into the environment
    deviation: Deviations = None
    accumulate: Accumulate = None

    def __post_init__(self) -> None:
        if self.at is not None and replace(self, at=None) != Asked():
            raise BadInputError(f"--at {self.at}: selects the whole scale; leave out the other scale options")


def scale_options(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the options that choose a variant, in place of its parameter `asked`, which gets their values.

    Args:
        without: The options that the command does not have, or defines itself.
    """
    every = inspect.signature(Asked, eval_str=True).parameters.values()
    shared = [each for each in every if each.name not in without]

    def with_options(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [each for parameter in own for each in (shared if parameter.name == "asked" else [parameter])]

        @functools.wraps(command)
        def ask(**given: Any) -> None:
            asked = Asked(**{each.name: given.pop(each.name) for each in shared})
            command(**given, asked=asked)

        # Typer reads the options from both.
        ask.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        ask.__annotations__ = {each.name: each.annotation for each in parameters}
        return ask

    return with_options


def wanted_variant(
    experiment: Experiment, asked: Asked, device: str = "auto", console: Console | None = None
) -> Variant:
    """The variant that these options ask for; the defaults are the paper's. A smoke run uses embedded data.

    The precision `auto` becomes one that fits the device; the console shows what a precision means there.

    Raises:
        BadInputError: The options contradict one another or the experiment, or a value is out of range.
    """
    from pydantic import ValidationError

    from resnet_cli.identity import Variant
    from resnet_cli.spec import first_problem
    from resnet_cli.tasks import TASKS

    own_data = asked.dataset in [task.dataset for task in TASKS] or asked.dataset_root is not None
    if asked.tiny and (asked.schedule is not None or own_data):
        raise BadInputError(
            "--tiny: has a schedule and data of its own; leave out --schedule, --dataset, --dataset-root"
        )
    if asked.schedule is not None and not 0 < asked.schedule <= 100:  # noqa: PLR2004  Variant's own bounds
        raise BadInputError(f"--schedule {asked.schedule:g}: must be above 0 and at most 100")
    dataset, source = asked.dataset or experiment.dataset, None
    if asked.tiny:
        dataset = experiment.task.embedded
    elif asked.dataset_root is not None:
        task = experiment.task
        check_takes_folder(task, experiment.name)
        if asked.dataset not in (None, task.dataset, task.folder):
            raise BadInputError(f"--dataset-root: names the data, and so does --dataset {asked.dataset}; leave one out")
        dataset, source = task.found_at(asked.dataset_root)
    elif dataset == experiment.task.folder:
        raise BadInputError("--dataset folder: give the folder with --dataset-root")
    if dataset not in experiment.task.datasets:
        own = f"{experiment.dataset} or {experiment.task.embedded}"
        raise BadInputError(f"--dataset {dataset}: {experiment.name} is about other nets; it takes {own}")
    try:
        variant = Variant(
            dataset=dataset,
            split=asked.split or "full",
            schedule=1.0 if asked.schedule is None else asked.schedule,
            tiny=asked.tiny,
            precision=chosen_precision(asked.precision, device, console) or "fp32",
            source=source,
            deviations=_deviations(asked.deviation or []),
            accumulate=asked.accumulate,
        )
    except ValidationError as error:
        option = "--deviation" if set(asked.deviation or ()) - set(experiment.task.deviations) else "--split"
        raise BadInputError(f"{option} {first_problem(error)}") from error
    if not experiment.suits(variant):
        batch = experiment.batch_size(variant)
        raise BadInputError(f"--accumulate {variant.accumulate}: does not divide the batch of {batch}")
    return variant


def _deviations(names: list[str]) -> tuple[Deviation, ...] | None:
    """The named deviations, sorted, each once; None if there are none.

    Raises:
        BadInputError: There is no deviation of this name.
    """
    known: tuple[Deviation, ...] = get_args(Deviation)
    for name in names:
        if name not in known:
            raise BadInputError(f"--deviation {name}: choose from {', '.join(known)}")
    return tuple(each for each in known if each in names) or None


def check_takes_folder(task: Task, what: str) -> None:
    """Checks that --dataset-root applies to this task.

    Raises:
        BadInputError: It does not.
    """
    from resnet_cli.tasks import titles

    if not task.takes_root:
        raise BadInputError(
            f"--dataset-root: only for {titles(lambda each: each.takes_root)}; {what} is on {task.title}"
        )


def over_ranks(experiment: Experiment, variant: Variant, ranks: int, *, sync_bn: bool) -> Variant:
    """The variant that several processes train together: what batch normalisation sees is part of a run's identity.

    Each process takes its share of a batch as parts: one, or with `--accumulate` several. Synchronised, batch
    normalisation sees the whole batch, and the run is the one that a single process trains without parts.

    Raises:
        BadInputError: The batch, or its parts, cannot be shared out among so many; the options contradict each other.
    """
    if ranks == 1:
        if sync_bn:
            raise BadInputError(
                "--sync-bn: is for several processes that train one net: torchrun -m resnet_cli run ..."
            )
        return variant
    batch, parts = experiment.batch_size(variant), variant.accumulate
    if batch % ranks:
        raise BadInputError(
            f"torchrun: {ranks} processes cannot share a batch of {batch} equally; the paper fixes the batch size"
        )
    if parts and (sync_bn or parts % ranks):
        what = "and --sync-bn contradict each other" if sync_bn else f"cannot be shared by {ranks} processes equally"
        raise BadInputError(f"--accumulate {parts}: {what}")
    return variant.model_copy(update={"accumulate": None if sync_bn else parts or ranks})


def shown_variant(store: Store, experiment: Experiment, asked: Asked) -> Variant:
    """The variant to present: the one asked for, or, if no option is given, the one with the most to show.

    Raises:
        BadInputError: There is no variant as asked for.
    """
    from resnet_cli.report.shown import variant_to_show

    if asked == Asked():
        return variant_to_show(store, experiment)
    if asked.at is None:
        return wanted_variant(experiment, asked)
    return _variant_at(asked.at, store, [experiment], f" of {experiment.name}")


def shown_variants(
    store: Store, experiments: Sequence[Experiment], asked: Asked
) -> Iterator[tuple[Experiment, Variant]]:
    """The experiments that these options apply to, each with the variant to present.

    Raises:
        BadInputError: `--at` names a variant that no experiment has.
    """
    if asked.at is not None:
        _variant_at(asked.at, store, experiments)
    for each in experiments:
        with contextlib.suppress(BadInputError):
            yield each, shown_variant(store, each, asked)


def _variant_at(at: str, store: Store, experiments: Sequence[Experiment], whose: str = "") -> Variant:
    """The variant with this slug, if a run of these experiments has it; the paper's own is `paper`."""
    there = {
        run.variant.slug.removeprefix("-") or "paper": run.variant
        for run in store.runs()
        if any(run.net in each.nets and each.suits(run.variant) for each in experiments)
    }
    if at not in there:
        raise BadInputError(f"--at {at}: {store.root} has {', '.join(sorted(there)) or 'no run'}{whose}")
    return there[at]
