"""Compares two results folders: errors and their differences, where logs diverge, and what else differs."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from resnet_cli.claims.significance import CONFIDENCE, Difference, Sample
from resnet_cli.errors import BadInputError
from resnet_cli.identity import RunSpec
from resnet_cli.report.logs import read_logs
from resnet_cli.report.summarize import measure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from resnet_cli.experiment import Experiment
    from resnet_cli.storage.store import Store
    from resnet_cli.tasks.metric import Metric

OF_NO_RESULT = ("started", "resumed")  # entries of an environment that do not describe it
MOST_NAMED = 8

COLUMNS = [
    "net",
    "scale",
    "metric",
    "n_a",
    "mean_a",
    "std_a",
    "n_b",
    "mean_b",
    "std_b",
    "difference",
    "low",
    "high",
    "excludes_zero",
    "run_a",
    "run_b",
]

Groups = dict[RunSpec, list[RunSpec]]  # finished runs that differ only in the seed, keyed by the spec with seed 0


@dataclass(frozen=True)
class FolderComparison:
    """What two results folders, A and B, have in common, and where they differ.

    Attributes:
        frame: One row per net and metric, columns `COLUMNS`; errors in percent. Standard deviations are the sample's,
            NaN for a single run. `difference` is B's mean minus A's; `low` and `high` are its 95% interval (Welch), NaN
            if a side has one run or both have the same errors, seed by seed. `run_a` and `run_b` are the runs' ids
            without the seed.
        logs: One row per seed that both have run: net, scale, seed, and `differs_from`, the first update at which the
            logs (train.csv and eval.csv) differ; NA if they are the same.
        environments: The fields that differ: field, and A's and B's values, a tuple each.
        metrics: The test metrics in `frame`, each once.
        trained: The keys of the metrics that are measured in training.
        only_a: The nets of which only A has finished runs, in words.
        only_b: The same for B.
    """

    frame: pd.DataFrame
    logs: pd.DataFrame
    environments: pd.DataFrame
    metrics: tuple[Metric, ...]
    trained: frozenset[str]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]

    @property
    def intervals(self) -> int:
        """The number of differences that have an interval."""
        return int(self.frame["low"].notna().sum())

    @property
    def excluding_zero(self) -> int:
        """The number of intervals that exclude 0."""
        return int(self.frame["excludes_zero"].sum())

    @property
    def expected_by_chance(self) -> float:
        """The number of intervals that would exclude 0 on average if there were no difference anywhere."""
        return (1 - CONFIDENCE) * self.intervals


def compare(
    a: Store, b: Store, experiment: Experiment | None = None, *, any_precision: bool = False
) -> FolderComparison:
    """Compares the nets of which both stores have finished runs.

    Args:
        a: One store.
        b: The other.
        experiment: Compare only its runs, tested as it says; None: every run, by its last evaluation.
        any_precision: Also compare runs of different precision.

    Raises:
        BadInputError: They have no net in common, or a finished run's files are incomplete.
    """
    in_a, in_b = _finished(a, experiment), _finished(b, experiment)
    pairs = [
        (one, other)
        for one, other in itertools.product(in_a, in_b)
        if one == other or (any_precision and _at_fp32(one) == _at_fp32(other))
    ]
    if not pairs:
        raise BadInputError(_nothing_in_common(a, b, in_a, in_b))
    pairs.sort(key=lambda pair: (pair[0].net.family, pair[0].net.depth, pair[0].net.name, _scale(*pair)))
    names = _names(pairs)
    errors = {
        (store, run): _errors(store, run, experiment)
        for store, groups, side in ((a, in_a, 0), (b, in_b, 1))
        for run in itertools.chain.from_iterable(groups[group] for group in {pair[side] for pair in pairs})
    }
    rows, logs = [], []
    for (one, other), name in zip(pairs, names, strict=True):
        head = {"net": name, "scale": _scale(one, other)}
        for metric in (one.task.metric.key, one.task.trained.key):
            values_a = {run.seed: errors[a, run][metric] for run in in_a[one]}
            values_b = {run.seed: errors[b, run][metric] for run in in_b[other]}
            rows.append(
                {**head, "metric": metric, **_difference(values_a, values_b), "run_a": _id(one), "run_b": _id(other)}
            )
        others = {run.seed: run for run in in_b[other]}
        for run in in_a[one]:
            if run.seed in others:
                update = _first_difference(a, run, b, others[run.seed])
                logs.append({**head, "seed": run.seed, "differs_from": update})
    tasks = [one.task for one, _ in pairs]
    common = set(itertools.chain.from_iterable(pairs))
    return FolderComparison(
        pd.DataFrame(rows, columns=COLUMNS),
        pd.DataFrame(logs, columns=["net", "scale", "seed", "differs_from"]).astype({"differs_from": "Int64"}),
        _environments(
            [a.environment(run) for one in {pair[0] for pair in pairs} for run in in_a[one]],
            [b.environment(run) for other in {pair[1] for pair in pairs} for run in in_b[other]],
        ),
        tuple(dict.fromkeys(task.metric for task in tasks)),
        frozenset(task.trained.key for task in tasks),
        tuple(_in_words(group, runs) for group, runs in in_a.items() if group not in common),
        tuple(_in_words(group, runs) for group, runs in in_b.items() if group not in common),
    )


def _finished(store: Store, experiment: Experiment | None) -> Groups:
    groups: Groups = {}
    for run in store.runs():
        if store.is_done(run, experiment.after_training if experiment else None) and _is_of(run, experiment):
            groups.setdefault(run.model_copy(update={"seed": 0}), []).append(run)
    return {group: sorted(runs, key=lambda run: run.seed) for group, runs in groups.items()}


def _is_of(run: RunSpec, experiment: Experiment | None) -> bool:
    if experiment is None:
        return True
    is_named = run.net in {*experiment.nets, *experiment.nets_named()} and experiment.suits(run.variant)
    return is_named and run == RunSpec.of(run.net, run.variant, experiment.protocol, run.seed)


def _at_fp32(run: RunSpec) -> RunSpec:
    return run.model_copy(update={"variant": run.variant.model_copy(update={"precision": "fp32"})})


def _scale(one: RunSpec, other: RunSpec) -> str:
    scale = one.variant.label
    precisions = (one.variant.precision, other.variant.precision)
    return scale if precisions[0] == precisions[1] else f"{scale} in A, {precisions[1]} in B"


def _id(group: RunSpec) -> str:
    return group.run_id.removesuffix("-s0")


def _names(pairs: Sequence[tuple[RunSpec, RunSpec]]) -> list[str]:
    """The nets' names, with the hash of the spec if two pairs differ only in their protocol."""
    heads = [(one.net, _scale(one, other)) for one, other in pairs]
    return [
        one.variant.task.short_name(one.net) + (f" ({one.hash8})" if heads.count(head) > 1 else "")
        for (one, _), head in zip(pairs, heads, strict=True)
    ]


def _in_words(group: RunSpec, runs: Sequence[RunSpec]) -> str:
    return f"{group.variant.task.short_name(group.net)} ({group.variant.label}; n = {len(runs)})"


def _nothing_in_common(a: Store, b: Store, in_a: Groups, in_b: Groups) -> str:
    """The message if nothing can be compared."""
    for store, groups in ((a, in_a), (b, in_b)):
        if not groups:
            return f"{store.root}: has no finished run to compare"
    reason = "no net with finished runs at the same scale and precision"
    if {_at_fp32(group) for group in in_a} & {_at_fp32(group) for group in in_b}:
        return f"{a.root} and {b.root}: {reason}; --any-precision compares across precisions"
    sides = (", ".join(list(map(_id, groups))[:MOST_NAMED]) for groups in (in_a, in_b))
    return f"{a.root} and {b.root}: {reason}; the first has {', the second '.join(sides)}"


def _errors(store: Store, run: RunSpec, experiment: Experiment | None) -> dict[str, float]:
    record = measure(store, run, read_logs(store, run), experiment)
    if record is None:  # its test was deleted after `_finished` counted it
        raise BadInputError(f"{store.folder(run)}: its test is incomplete; run it again")
    return {metric: float(str(record[metric])) for metric in (run.task.metric.key, run.task.trained.key)}


def _difference(values_a: dict[int, float], values_b: dict[int, float]) -> dict[str, Any]:
    """Means, standard deviations, and the difference with its interval; the arguments are errors by seed."""
    a, b = (pd.Series(list(values.values()), dtype=float) for values in (values_a, values_b))
    samples = Sample.of("A", list(a)), Sample.of("B", list(b))
    low, high = (math.nan, math.nan) if values_a == values_b else _interval(*samples)
    return {
        "n_a": len(a),
        "mean_a": a.mean(),
        "std_a": a.std(ddof=1),
        "n_b": len(b),
        "mean_b": b.mean(),
        "std_b": b.std(ddof=1),
        "difference": b.mean() - a.mean(),
        "low": low,
        "high": high,
        "excludes_zero": low > 0 or high < 0,
    }


def _interval(a: Sample, b: Sample) -> tuple[float, float]:
    """The 95% interval of B's mean minus A's (Welch's); NaN if a side has one run, or neither side varies."""
    if a.std is None or b.std is None or not (a.std or b.std):
        return math.nan, math.nan
    return Difference.between(b, a).interval


def _first_difference(a: Store, run: RunSpec, b: Store, other: RunSpec) -> int | None:
    """The first update at which the logs of two runs differ; None if they are the same.

    Logs have enough digits to restore a float32 exactly, so equal entries were equal to the bit.
    """
    updates = []
    for one, another in ((a.train_log(run), b.train_log(other)), (a.eval_log(run), b.eval_log(other))):
        columns = one.columns.intersection(another.columns)  # older logs have no averaged statistics
        # All updates that either log has.
        left, right = one[columns].set_index("iteration").align(another[columns].set_index("iteration"))
        same = (left == right) | (left.isna() & right.isna())  # a loss may be NaN
        updates += [int(update) for update in same.index[~same.all(axis=1)][:1]]
    return min(updates, default=None)


def _environments(of_a: Sequence[dict[str, Any]], of_b: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The fields in which the two sides' environments differ."""
    known: tuple[dict[str, set[str]], dict[str, set[str]]] = ({}, {})
    for values, environments in zip(known, (of_a, of_b), strict=True):
        for environment in itertools.chain.from_iterable(map(_parts, environments)):
            for field, value in environment.items():
                if field not in OF_NO_RESULT:
                    values.setdefault(field, set()).add(value if isinstance(value, str) else json.dumps(value))
    rows = [
        {"field": field, "a": tuple(sorted(known[0].get(field, ()))), "b": tuple(sorted(known[1].get(field, ())))}
        for field in dict.fromkeys([*known[0], *known[1]])
        if known[0].get(field) != known[1].get(field)
    ]
    return pd.DataFrame(rows, columns=["field", "a", "b"])


def _parts(environment: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A run's environment, and those in which it was resumed."""
    resumed = environment.get("resumed")
    for each in [environment, *(resumed if isinstance(resumed, list) else [])]:
        if isinstance(each, dict):
            yield each
