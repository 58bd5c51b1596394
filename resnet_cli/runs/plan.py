"""From an experiment to the runs it needs. Pure: reads nothing, writes nothing, imports no torch."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from resnet_cli.analyses import analysis_of
from resnet_cli.errors import BadInputError
from resnet_cli.identity import EnsembleSpec, RunSpec, Variant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resnet_cli.experiment import Experiment
    from resnet_cli.spec import Net
    from resnet_cli.tasks.task import Task


def plan(
    experiment: Experiment, variant: Variant, *, only: str | None = None, seeds: int | None = None
) -> tuple[RunSpec, ...]:
    """The runs that answer an experiment, each once, cheap nets first.

    Args:
        experiment: What is asked.
        variant: Dataset, scale and precision of every run.
        only: A glob over net names, with or without the option: `*-20`, `resnet-*`, `resnet-20-A`.
        seeds: Replicates of every net, in place of the file's numbers. A smoke run makes one, unless this is given
            or an ensemble has the net more than once.

    Raises:
        BadInputError: No net matches.
    """
    chosen = {net for net in experiment.nets if only is None or _matches(net, only, experiment.task)}
    if not chosen and experiment.runs:
        names = ", ".join(experiment.task.short_name(net) for net in experiment.nets)
        raise BadInputError(f"--only '{only}': matches no net of {experiment.name}; it has {names}")
    runs = {}
    for group in experiment.runs:
        for net in group.nets:
            if net not in chosen:
                continue
            fewest = runs_needed(experiment, experiment.fewest_seeds(net), tiny=variant.tiny)
            for seed in range(seeds or (fewest if variant.tiny else group.seeds)):
                run = RunSpec.of(net, variant, experiment.protocol, seed)
                for needed in (run, *run.sources):
                    runs[needed.run_id] = needed
    # All nets' first seeds come before any second one: an interrupted table has a number in each row early. A net
    # comes after those that it starts from.
    return tuple(sorted(runs.values(), key=lambda run: (run.seed, run.net.depth, len(run.sources), run.net.name)))


def plan_ensembles(experiment: Experiment, runs: Sequence[RunSpec]) -> tuple[EnsembleSpec, ...]:
    """The ensembles of an experiment whose nets must be tested as one, and are all among these runs."""
    if not experiment.task.joins_nets:
        return ()
    variants = {run.variant for run in runs if run.net in experiment.nets}  # a source run may have another task's
    found = (ensemble_of(experiment, variant, nets) for variant in variants for nets in experiment.ensembles)
    return tuple(ensemble for ensemble in found if set(ensemble.members) <= set(runs))


def ensemble_of(experiment: Experiment, variant: Variant, nets: Sequence[Net]) -> EnsembleSpec:
    """The ensemble of these nets: of each net the runs with seeds from 0, as many as the ensemble needs."""
    members = [
        RunSpec.of(net, variant, experiment.protocol, seed)
        for net, count in Counter(nets).items()
        for seed in range(runs_needed(experiment, count, tiny=variant.tiny))
    ]
    step = analysis_of(experiment.analysis).ensemble_step if experiment.analysis else ""
    return EnsembleSpec(members=tuple(members), step=step)


def runs_needed(experiment: Experiment, count: int, *, tiny: bool) -> int:
    """Runs needed of a net that an ensemble has `count` times. A smoke run's ensemble has at most two of a detector."""
    return min(2, count) if tiny and experiment.task.joins_nets else count


def _matches(net: Net, glob: str, task: Task) -> bool:
    return any(fnmatchcase(name, glob) for name in (net.name, net.full_name, task.short_name(net)))
