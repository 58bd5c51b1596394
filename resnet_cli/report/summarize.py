"""The numbers of an experiment's runs, computed once. Tables, figures and claims only present them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from resnet_cli.analyses import analyses_for, analysis_of
from resnet_cli.errors import BadInputError
from resnet_cli.identity import RunSpec
from resnet_cli.report.ensemble import Ensemble, make_ensemble
from resnet_cli.report.logs import Logs, read_logs
from resnet_cli.report.paired import Pair, make_pair, single_pairs
from resnet_cli.runs.left_out import left_out
from resnet_cli.storage import run_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from resnet_cli.analyses.analysis import Analysis
    from resnet_cli.experiment import Experiment
    from resnet_cli.identity import Variant
    from resnet_cli.runs.left_out import LeftOut
    from resnet_cli.spec import Net, Protocol
    from resnet_cli.storage.store import Store
    from resnet_cli.tasks.task import Task

EARLY = 1 / 4  # of the schedule
REACH = "updates_to_reach"

COUNTED = "counted from the layers; nothing is trained"


def run_columns(task: Task) -> list[str]:
    """The columns of `Summary.runs`."""
    lead, *others = (metric.key for metric in task.metrics)
    measured = [lead, *others, f"best_{lead}", task.trained.key, f"early_{lead}", REACH]
    analysed = [key for analysis in analyses_for(task) for key in analysis.sums]
    counted = ["test_iterations", "test_images", "parameters", "run_id"]
    both = [metric.key for metric in task.averaged_metrics]
    return ["net", "family", "depth", "shortcut", "seed", *measured, *both, *analysed, *counted]


def averaged(task: Task) -> list[str]:
    """The metrics that have a mean and a standard deviation over runs."""
    looked_at = [number.key for analysis in analyses_for(task) for number in analysis.numbers]
    metrics = (*task.metrics, *task.averaged_metrics, task.trained)
    return [*(metric.key for metric in metrics), REACH, *looked_at]


@dataclass(frozen=True)
class Summary:
    """What an experiment's runs measured, at one variant.

    Attributes:
        experiment: The experiment.
        variant: Scale, data and precision.
        runs: One row per finished run, columns `run_columns`. Besides the experiment's own nets it has those that only
            a claim, a row or a panel names, since another experiment may have run them. The final metrics are those of
            the experiment's test; the best and the early ones are from the evaluations during training.
        unfinished: Net name and state of every run that was started and has no result.
        left_out: Folders with such runs that are not counted, because they were renamed, copied or damaged.
        ensembles: One for each ensemble that a row or a claim names.
        pairs: One for each two nets whose test errors a claim compares while one of them has a single run.
        finished: The runs of `runs`, by net, ordered by seed.
        logs: The logs of each run that has any.
    """

    experiment: Experiment
    variant: Variant
    runs: pd.DataFrame
    unfinished: tuple[tuple[str, str], ...]
    left_out: tuple[LeftOut, ...] = ()
    ensembles: tuple[Ensemble, ...] = ()
    pairs: tuple[Pair, ...] = ()
    finished: Mapping[Net, Sequence[RunSpec]] = field(default_factory=dict)
    logs: Mapping[RunSpec, Logs] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        """What the nets learn."""
        return self.experiment.task

    @cached_property
    def planned(self) -> dict[Net, RunSpec]:
        """The run of each net that the experiment names, with seed 0."""
        return planned(self.experiment, self.variant)

    @property
    def only_describes(self) -> bool:
        """Whether the experiment trains nothing; it is then always complete."""
        return not self.experiment.runs

    @property
    def scale(self) -> str:
        """Scale, data and precision in words; stated on every table and figure."""
        return COUNTED if self.only_describes else self.experiment.scale(self.variant)

    @property
    def is_paper(self) -> bool:
        """Whether its numbers may stand beside the paper's without a mark."""
        return self.only_describes or self.experiment.is_paper(self.variant)

    def in_words(self, key: str) -> str:
        """What a metric is called."""
        task = self.task
        words = {metric.key: metric.heading for metric in (*task.metrics, task.trained)}
        words |= {number.key: number.heading for analysis in analyses_for(task) for number in analysis.numbers}
        words[f"early_{task.metric.key}"] = f"{task.metric.heading}, mean over the first quarter"
        words[REACH] = f"updates to {self.experiment.reach or 0:g}% {task.trained.heading}"
        return words[key]

    @property
    def axis(self) -> str:
        """The last word of the metric's heading, without the name of the set: `error`."""
        return self.task.metric.heading.split()[-1]

    def sign(self, key: str) -> int:
        """1 if a lower value of the metric is better, -1 if a higher one is."""
        looked_at = (number for analysis in analyses_for(self.task) for number in analysis.numbers)
        is_higher = any(number.key == key and number.higher_is_better for number in looked_at)
        return -1 if is_higher or self.task.is_higher_better(key) else 1

    @cached_property
    def by_net(self) -> pd.DataFrame:
        """The number of finished runs of each net, means and standard deviations. Indexed by net name.

        Columns: n, the best of all evaluations of all runs, and for each metric of `averaged` the mean and, with the
        suffix `_std`, the standard deviation of the sample (n-1), NaN for a single run.
        """
        groups = self.runs.groupby("net", sort=False)
        best = f"best_{self.task.metric.key}"
        columns = {"n": groups.size(), best: groups[best].agg(self.task.metric.best)}
        for metric in averaged(self.task):
            values = groups[metric]
            columns |= {metric: values.mean(), f"{metric}_std": values.std(ddof=1)}
        for key in (each.key for each in self.task.averaged_metrics):  # older runs have none: no mean over some runs
            columns[key] = columns[key].where(groups[key].count() == columns["n"])
        return pd.DataFrame(columns)

    def values(self, net: Net, metric: str) -> list[float]:
        """One metric of a net's finished runs that have it, ordered by seed; in the metric's unit."""
        return [float(value) for value in self.runs.loc[self.runs["net"] == net.name, metric].dropna()]

    def nobody_reached(self, metric: str, nets: Sequence[Net]) -> bool:
        """Whether the metric counts updates to an error that no run of these nets reached: nothing was measured."""
        if metric != REACH:
            return False
        ends = {net: self.planned[net].protocol.iterations for net in nets}
        return not any(min(self.values(net, REACH), default=end) < end for net, end in ends.items())

    def ensemble(self, nets: Sequence[Net]) -> Ensemble:
        """The ensemble of these nets; a row or a claim must name it."""
        return next(ensemble for ensemble in self.ensembles if ensemble.nets == tuple(nets))

    @property
    def unfinished_text(self) -> str:
        """The unfinished runs in words, `plain-56 (2 running, 1 diverged)`; empty if there are none."""
        states: dict[str, Counter[str]] = {}
        for net, state in self.unfinished:
            states.setdefault(net, Counter())[state] += 1
        return ", ".join(
            f"{net} ({', '.join(f'{count} {state}' for state, count in counts.items())})"
            for net, counts in states.items()
        )


def planned(experiment: Experiment, variant: Variant) -> dict[Net, RunSpec]:
    """The run of each net that an experiment names, with seed 0."""
    nets = dict.fromkeys([*experiment.nets, *experiment.nets_named()])
    return {net: RunSpec.of(net, variant, experiment.protocol, seed=0) for net in nets}


def averaging_window(protocol: Protocol, images: int) -> int:
    """Updates over which a running training metric is averaged: one epoch, or a tenth of the run if that is fewer.

    An epoch is one of the paper's training set: 391 updates of 128 of 50,000 images. The limit of a tenth
    keeps a short run's average near its end.
    """
    return max(1, min(math.ceil(images / protocol.batch_size), protocol.iterations // 10))


def window_in_words(summary: Summary, nets: Iterable[Net]) -> str:
    """`averaging_window` of these nets' runs, for captions and notes; if it differs, the first net's comes first."""
    windows: dict[str, list[str]] = {}
    for net in nets:
        window = averaging_window(summary.planned[net].protocol, summary.task.training_images)
        windows.setdefault("1 update" if window == 1 else f"{window:,} updates", []).append(net.name)
    (first, _), *others = windows.items()
    return first + "".join(f" ({', '.join(names)}: {window})" for window, names in others)


def summarize(store: Store, experiment: Experiment, variant: Variant) -> Summary:
    """Collects what the store has of an experiment: all replicates of each net, however many were asked for.

    A run that was trained but not tested over the experiment's views has no result.

    Raises:
        BadInputError: A finished run's files are incomplete.
    """
    measured: dict[Net, dict[RunSpec, dict[str, object]]] = {}
    unfinished, logs, ids = [], {}, set()
    for net, planned_run in planned(experiment, variant).items():
        measured[net] = {}
        ids.add(planned_run.run_id.removesuffix("-s0"))
        for run in store.replicates(planned_run):
            status = store.status(run)
            state = "interrupted" if status.is_stale else status.state
            logs[run] = read_logs(store, run, is_done=state == "done")
            record = measure(store, run, logs[run], experiment) if state == "done" else None
            if record:
                measured[net][run] = record
            elif state != "planned":
                missing = f"no {experiment.analysis}" if experiment.analysis else "not tested"
                unfinished.append((net.name, missing if state == "done" else state))
    finished = {net: list(runs) for net, runs in measured.items()}
    records = [record for runs in measured.values() for record in runs.values()]
    pairs = [] if variant.tiny else single_pairs(experiment, finished)
    numbers = dict.fromkeys(
        [*averaged(experiment.task), *(key for each in analyses_for(experiment.task) for key in each.sums)], "float"
    )
    return Summary(
        experiment,
        variant,
        pd.DataFrame(records, columns=run_columns(experiment.task)).astype(numbers),
        tuple(unfinished),
        tuple(each for each in left_out(store) if each.run_id.rpartition("-s")[0] in ids),
        tuple(make_ensemble(store, experiment, variant, nets, finished) for nets in experiment.ensembles),
        tuple(make_pair(store, nets, finished, experiment.test) for nets in pairs),
        finished,
        logs,
    )


def measure(store: Store, run: RunSpec, logs: Logs, experiment: Experiment | None = None) -> dict[str, object] | None:
    """A finished run's numbers; None if it has not been tested over the experiment's views, or not analysed."""
    task, lead = run.task, run.task.metric
    views, analysis = (experiment.test, experiment.analysis) if experiment else (task.views[0], None)
    if analysis and not store.is_done(run, analysis):
        return None
    evaluations, updates = logs.evaluations, logs.updates
    for log, name in ((evaluations, run_folder.EVAL_CSV), (updates, run_folder.TRAIN_CSV)):
        last = log["iteration"].iloc[-1] if len(log) else 0
        if last != run.protocol.iterations:
            raise BadInputError(
                f"{store.folder(run) / name}: ends at iteration {last} of {run.protocol.iterations}, though the run is "
                "done; remove the run's folder and run it again"
            )
    second: dict[str, float | None] = {}
    if views == task.views[0]:
        final = evaluations.iloc[-1]
        second = {metric.key: final.get(metric.key) for metric in task.averaged_metrics}
        values, images = [float(final[metric.key]) for metric in task.metrics], int(final["images"])
    elif result := store.test_result(run, views):
        values, images = [result.top1_error, result.top5_error], result.images
    else:
        return None
    early = evaluations["iteration"] <= EARLY * run.protocol.iterations
    window, reach = averaging_window(run.protocol, task.training_images), experiment.reach if experiment else None
    return {
        "net": run.net.name,
        "family": run.net.family,
        "depth": run.net.depth,
        "shortcut": run.net.shortcut,
        "seed": run.seed,
        **{metric.key: value for metric, value in zip(task.metrics, values, strict=True)},
        f"best_{lead.key}": float(evaluations[lead.key].agg(lead.best)),
        task.trained.key: final_value(updates[task.trained.key], window),
        **second,
        f"early_{lead.key}": float(evaluations[lead.key][early].mean()),
        REACH: updates_to_reach(updates[task.trained.key], window, reach),
        **(_analysed(store, run, analysis_of(analysis)) if analysis in task.analyses_of(run.net) else {}),
        "test_iterations": len(evaluations),
        "test_images": images,
        "parameters": task.parameters(run.net),
        "run_id": run.run_id,
    }


def final_value(log: pd.Series[float], window: int) -> float:
    """The final value of a metric of training: the mean over the last updates, on augmented batches."""
    return float(log.iloc[-window:].mean())


def updates_to_reach(errors: pd.Series[float], window: int, error: float | None) -> float | None:
    """Updates until a run's training error (trailing mean over `window` updates) is at most `error` (percent).

    A run that never reaches it counts with all its updates: it needs at least that many.
    """
    if error is None:
        return None
    below = (errors.rolling(window).mean() <= error).to_numpy()
    return float(below.argmax() + 1 if below.any() else len(errors))


def _analysed(store: Store, run: RunSpec, analysis: Analysis) -> dict[str, float]:
    """The numbers that sum up an analysis of a run's net.

    Raises:
        BadInputError: The file cannot be this analysis's: it has weights or layers that the run does not have, say.
    """
    table = store.analysis(run, analysis)
    if not analysis.is_right(table, run):
        raise BadInputError(
            f"{store.folder(run) / run_folder.analysis_file(analysis.name)}: not what an analysis of {run.net.name} "
            "writes; delete this file, and it is made again"
        )
    return analysis.sum_up(table)
