"""From an experiment to the runs it needs. Pure: reads nothing, writes nothing, imports no torch."""

from __future__ import annotations

from fnmatch import fnmatchcase

from resnet_cli.errors import BadInputError
from resnet_cli.spec import Experiment, Net, RunSpec, Variant


def plan(
    experiment: Experiment,
    variant: Variant,
    *,
    only: str | None = None,
    seeds: int | None = None,
    depths: tuple[int, ...] | None = None,
) -> tuple[RunSpec, ...]:
    """The runs that answer an experiment, each once, cheap nets first.

    Args:
        experiment: What is asked.
        variant: Dataset, scale and precision of every run.
        only: A glob over net names, with or without the option: `*-20`, `resnet-*`, `resnet-20-A`.
        seeds: Replicates of every net, in place of the file's numbers. A smoke run makes one unless told otherwise.
        depths: The depths of a sweep, in place of the file's.

    Raises:
        BadInputError: No net matches, a depth is not 6n+2, or the experiment sweeps no depth.
    """
    if depths and not experiment.depths:
        raise BadInputError(f"--depths: {experiment.name} sweeps no depth; use it with 'depth', or choose by --only")
    try:
        pairs = experiment.nets_and_seeds(depths)
    except ValueError as error:
        raise BadInputError(f"--depths: {_last_line(error)}") from error
    chosen = [(net, count) for net, count in pairs if only is None or _matches(net, only)]
    if not chosen:
        names = ", ".join(dict.fromkeys(net.name for net, _ in pairs))
        raise BadInputError(f"--only '{only}': matches no net of {experiment.name}; it has {names}")
    runs = {}
    for net, count in chosen:
        for seed in range(seeds or (1 if variant.tiny else count)):
            run = RunSpec.of(net, variant, experiment.protocol, seed)
            runs[run.run_id] = run
    # All nets' first seeds come before any second one: an interrupted table has a number in each row early.
    return tuple(sorted(runs.values(), key=lambda run: (run.seed, run.net.depth, run.net.name)))


def _matches(net: Net, glob: str) -> bool:
    return fnmatchcase(net.name, glob) or fnmatchcase(net.full_name, glob)


def _last_line(error: ValueError) -> str:
    return str(error).strip().splitlines()[-1].strip()


def images_to_train(run: RunSpec) -> int:
    """Training images a run sees in all, over every epoch."""
    return run.protocol.iterations * run.protocol.batch_size
