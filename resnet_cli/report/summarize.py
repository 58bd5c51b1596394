"""The numbers of an experiment's runs, computed once. Tables, figures and claims only present them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from resnet_cli import complexity, run_folder
from resnet_cli.errors import BadInputError
from resnet_cli.experiment import BetterTogether
from resnet_cli.report.ensemble import Ensemble, make_ensemble
from resnet_cli.report.paired import Pair, make_pair, single_pairs
from resnet_cli.spec import RunSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from resnet_cli.experiment import Experiment
    from resnet_cli.runs.store import Store
    from resnet_cli.spec import Analysis, Benchmark, Net, Protocol, Variant

TRAINING_IMAGES: dict[Benchmark, int] = {"cifar10": 50_000, "imagenet": 1_281_167}
POINTS_PER_CURVE = 500
EARLY = 1 / 4  # of the schedule

COUNTED = "counted from the layers; nothing is trained"

# What a net is tested on has another name in each paper's section: CIFAR-10's test set, ImageNet's validation set.
TEST_ERROR: dict[Benchmark, str] = {"cifar10": "test error", "imagenet": "validation error"}

RUN_COLUMNS = [
    "net",
    "family",
    "depth",
    "shortcut",
    "seed",
    "test_error",
    "test_error_top5",
    "best_test_error",
    "train_error",
    "early_test_error",
    "updates_to_reach",
    "mean_response",
    "gradient_ratio",
    "gradient_ratio_start",
    "training_set_error",
    "start_error",
    "source_error",
    "test_iterations",
    "test_images",
    "parameters",
    "run_id",
]
AVERAGED = [
    "test_error",
    "test_error_top5",
    "train_error",
    "updates_to_reach",
    "mean_response",
    "gradient_ratio",
    "gradient_ratio_start",
    "training_set_error",
    "start_error",
]


@dataclass(frozen=True)
class Summary:
    """What an experiment's runs measured, at one variant.

    Attributes:
        experiment: What was asked.
        variant: At which scale, with which data and precision.
        runs: One row a finished run, columns `RUN_COLUMNS`; errors in percent. Besides the experiment's own nets it
            holds those that only a claim, a row or a panel names, for they may have run under another name. The final
            errors are of the experiment's test, the best and the early one of the evaluations during the training.
        unfinished: Net name and state of every run that was started and has no result.
        ensembles: One for each that a row or a claim names.
        pairs: One for each two nets whose test errors a claim compares while one of them has a single run.
    """

    experiment: Experiment
    variant: Variant
    runs: pd.DataFrame
    unfinished: tuple[tuple[str, str], ...]
    ensembles: tuple[Ensemble, ...] = ()
    pairs: tuple[Pair, ...] = ()

    @property
    def only_describes(self) -> bool:
        """Whether the experiment trains nothing; it is then always complete."""
        return not self.experiment.runs

    @property
    def scale(self) -> str:
        """Scale, data and precision in words; stands on everything made of it."""
        return COUNTED if self.only_describes else self.experiment.scale(self.variant)

    @property
    def is_paper(self) -> bool:
        """Whether its numbers may stand beside the paper's without a mark."""
        return self.only_describes or self.experiment.is_paper(self.variant)

    @property
    def test_error_in_words(self) -> str:
        """What the error of a net after its training is called."""
        return TEST_ERROR[self.experiment.benchmark]

    @cached_property
    def by_net(self) -> pd.DataFrame:
        """Over the finished runs of each net: their number, means and standard deviations. Indexed by net name.

        Columns n, best_test_error (of all evaluations of all runs), and of each of `AVERAGED` the mean and, with `_std`
        behind its name, the standard deviation: the sample's (n-1), NaN for a single run.
        """
        groups = self.runs.groupby("net", sort=False)
        columns = {"n": groups.size(), "best_test_error": groups["best_test_error"].min()}
        for metric in AVERAGED:
            values = groups[metric]
            columns |= {metric: values.mean(), f"{metric}_std": values.std(ddof=1)}
        return pd.DataFrame(columns)

    def values(self, net: Net, metric: str) -> list[float]:
        """One metric of a net's finished runs that have it, by seed. Percent."""
        return [float(value) for value in self.runs.loc[self.runs["net"] == net.name, metric].dropna()]

    def reached(self, nets: Sequence[Net]) -> bool:
        """Whether any run of these nets got to the training error that updates are counted to."""
        iterations = {
            net: RunSpec.of(net, self.variant, self.experiment.protocol, seed=0).protocol.iterations for net in nets
        }
        return any(min(self.values(net, "updates_to_reach"), default=end) < end for net, end in iterations.items())

    def ensemble(self, nets: Sequence[Net]) -> Ensemble:
        """The ensemble of these nets, which a row or a claim names."""
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


@dataclass(frozen=True)
class LearningCurves:
    """A net's learning curves: mean over its runs, lowest and highest. Percent.

    Attributes:
        test: Test error at each evaluation; columns mean, low, high; indexed by iteration.
        train: Running training error, trailing mean over `averaging_window` updates; same columns and index.
        n: Runs behind them.
        unfinished: Whether these runs have not ended; they are shown only where no finished run is.
    """

    test: pd.DataFrame
    train: pd.DataFrame
    n: int
    unfinished: bool


def averaging_window(protocol: Protocol) -> int:
    """Updates over which a running training error is averaged: one epoch, or a tenth of the run if that is fewer.

    One epoch is taken as CIFAR-10's 50,000 images, so 391 updates of 128, or as ImageNet's 1,281,167, 5,005 updates of
    256. The tenth keeps a short run's average to its end.
    """
    images = TRAINING_IMAGES["imagenet" if protocol.photos else "cifar10"]
    return max(1, min(math.ceil(images / protocol.batch_size), protocol.iterations // 10))


def window_in_words(summary: Summary, nets: Iterable[Net]) -> str:
    """`averaging_window` of these nets' runs, as titles and notes say it; where it differs, the first net's first."""
    windows: dict[str, list[str]] = {}
    for net in nets:
        run = RunSpec.of(net, summary.variant, summary.experiment.protocol, seed=0)
        window = averaging_window(run.protocol)
        windows.setdefault("1 update" if window == 1 else f"{window:,} updates", []).append(net.name)
    (first, _), *others = windows.items()
    return first + "".join(f" ({', '.join(names)}: {window})" for window, names in others)


def final_training_error(log: pd.DataFrame, protocol: Protocol) -> float:
    """A run's training error: the mean over its last `averaging_window` updates, on augmented batches. Percent."""
    return float(log["train_error"].iloc[-averaging_window(protocol) :].mean())


def summarize(store: Store, experiment: Experiment, variant: Variant) -> Summary:
    """Gathers what the store holds of an experiment: all replicates of each net, however many were asked for.

    A run that was trained but not tested over the experiment's views has no result.

    Raises:
        BadInputError: A finished run's files are not whole.
    """
    measured: dict[Net, dict[RunSpec, dict[str, object]]] = {}
    unfinished = []
    for net in dict.fromkeys([*experiment.nets, *experiment.nets_named()]):
        measured[net] = {}
        for run in store.replicates(RunSpec.of(net, variant, experiment.protocol, seed=0)):
            state = _state(store, run)
            record = measure(store, run, experiment) if state == "done" else None
            if record:
                measured[net][run] = record
            elif state != "planned":
                missing = f"no {experiment.analysis}" if experiment.analysis else "not tested"
                unfinished.append((net.name, missing if state == "done" else state))
    named = [row.ensemble for row in experiment.rows if row.ensemble]
    named += [claim.nets for claim in experiment.claims if isinstance(claim, BetterTogether)]
    finished = {net: list(runs) for net, runs in measured.items()}
    records = [record for runs in measured.values() for record in runs.values()]
    pairs = [] if variant.tiny else single_pairs(experiment.claims, finished)
    return Summary(
        experiment,
        variant,
        pd.DataFrame(records, columns=RUN_COLUMNS).astype(dict.fromkeys([*AVERAGED, "source_error"], "float")),
        tuple(unfinished),
        tuple(make_ensemble(store, nets, finished, experiment.test) for nets in dict.fromkeys(named)),
        tuple(make_pair(store, nets, finished, experiment.test) for nets in pairs),
    )


def learning_curves(store: Store, experiment: Experiment, variant: Variant, net: Net) -> LearningCurves | None:
    """The learning curves of a net: of its finished runs, else of the others as far as all of them got.

    Returns:
        None if no run of this net has logged anything.
    """
    run = RunSpec.of(net, variant, experiment.protocol, seed=0)
    replicates = store.replicates(run)
    finished = [replicate for replicate in replicates if store.is_done(replicate)]
    evaluations, updates = [], []
    for replicate in finished or replicates:
        evaluations.append(_log(store, replicate, run_folder.EVAL_CSV, must_exist=bool(finished)))
        updates.append(_log(store, replicate, run_folder.TRAIN_CSV, must_exist=bool(finished)))
    window = averaging_window(run.protocol)
    test = _spread([log.set_index("iteration")["test_error"] for log in evaluations if len(log)])
    train = _spread([log.set_index("iteration")["train_error"].rolling(window).mean() for log in updates if len(log)])
    if test.empty and train.empty:
        return None
    # Neighbours of a trailing mean hardly differ: so many points are enough, and the last is always one of them.
    step = max(1, run.protocol.iterations // POINTS_PER_CURVE)
    n = sum(len(log) > 0 for log in updates)
    return LearningCurves(test, train.iloc[(len(train) - 1) % step :: step], n, unfinished=not finished)


def _state(store: Store, run: RunSpec) -> str:
    status = store.status(run)
    return "interrupted" if status.is_stale else status.state


def measure(store: Store, run: RunSpec, experiment: Experiment | None = None) -> dict[str, object] | None:
    """A finished run's numbers; None if it has not been tested over the experiment's views, or not analysed."""
    views, analysis = (experiment.test, experiment.analysis) if experiment else ("1-crop", None)
    if analysis and not store.is_done(run, analysis):
        return None
    names = (run_folder.EVAL_CSV, run_folder.TRAIN_CSV)
    evaluations, updates = (_log(store, run, name, must_exist=True) for name in names)
    for log, name in zip((evaluations, updates), names, strict=True):
        last = log["iteration"].iloc[-1] if len(log) else 0
        if last != run.protocol.iterations:
            raise BadInputError(
                f"{store.folder(run) / name}: ends at iteration {last} of {run.protocol.iterations}, though the run is "
                "done; remove the run's folder and run it again"
            )
    if views == "1-crop":
        last = evaluations.iloc[-1]
        top1, top5, images = float(last["test_error"]), float(last["test_error_top5"]), int(last["images"])
    elif result := store.test_result(run, views):
        top1, top5, images = result.top1_error, result.top5_error, result.images
    else:
        return None
    early = evaluations["iteration"] <= EARLY * run.protocol.iterations
    return {
        "net": run.net.name,
        "family": run.net.family,
        "depth": run.net.depth,
        "shortcut": run.net.shortcut,
        "seed": run.seed,
        "test_error": top1,
        "test_error_top5": top5,
        "best_test_error": float(evaluations["test_error"].min()),
        "train_error": final_training_error(updates, run.protocol),
        "early_test_error": float(evaluations["test_error"][early].mean()),
        "updates_to_reach": updates_to_reach(updates, run.protocol, experiment.reach if experiment else None),
        **_analysed(store, run, analysis),
        "test_iterations": len(evaluations),
        "test_images": images,
        "parameters": complexity.parameters(run.net, run.variant.benchmark),
        "run_id": run.run_id,
    }


def updates_to_reach(log: pd.DataFrame, protocol: Protocol, error: float | None) -> float | None:
    """Updates until a run's training error, the trailing mean over `averaging_window`, is at most this (percent).

    A run that never gets there counts with all its updates: it takes that many at least.
    """
    if error is None:
        return None
    below = log["train_error"].rolling(averaging_window(protocol)).mean() <= error
    return float(log["iteration"][below].iloc[0]) if below.any() else float(protocol.iterations)


def _analysed(store: Store, run: RunSpec, analysis: Analysis | None) -> dict[str, float]:
    """The numbers in which an analysis of a run's net is summed up."""
    if analysis is None:
        return {}
    table = store.analysis(run, analysis)
    check_analysis(table, store.folder(run) / run_folder.analysis_file(analysis), run)
    if analysis == "responses":
        return {"mean_response": float(table["std"].mean())}
    if analysis == "gradients":
        norms = {weights: table.loc[table["weights"] == weights, "norm"] for weights in ("start", "end")}
        ratios = {weights: float(each.iloc[0] / each.iloc[-1]) for weights, each in norms.items()}
        return {"gradient_ratio": ratios["end"], "gradient_ratio_start": ratios["start"]}
    errors = table.set_index("weights")["error"].to_dict()
    columns = {"end": "training_set_error", "start": "start_error", "source": "source_error"}
    return {columns[str(weights)]: error for weights, error in errors.items()}


def _log(store: Store, run: RunSpec, name: str, *, must_exist: bool) -> pd.DataFrame:
    try:
        log = (store.eval_log if name == run_folder.EVAL_CSV else store.train_log)(run)
        check_log(log, store.folder(run) / name, run.protocol.iterations)
    except BadInputError:
        if must_exist:
            raise
        # A run in progress may have no log yet, or half a line.
        return pd.DataFrame()
    return log


def check_log(log: pd.DataFrame, path: Path, iterations: int) -> None:
    """Looks for what no run writes: an iteration that does not rise, an error of 4,000%, a negative loss.

    Raises:
        BadInputError: There is such a value; the message names file, row and column.
    """
    log = log.astype(float)
    rise = log["iteration"].diff().fillna(log["iteration"])
    rises = (rise == 1) if path.name == run_folder.TRAIN_CSV else (rise > 0) & (log["iteration"] % 1 == 0)
    right = {"iteration": rises & (log["iteration"] <= iterations)}
    for column in log.columns.drop("iteration"):
        values = log[column]
        if "error" in column:
            right[column] = values.between(0, 100)
        elif column == "images":
            right[column] = (values >= 1) & (values % 1 == 0)
        else:  # a loss may be too great for a number, or none
            right[column] = ~(values < 0)
    for column, each in right.items():
        if not each.all():
            row = int((~each).to_numpy().argmax())
            raise BadInputError(
                f"{path}: row {row + 1}: {column} {log[column].iloc[row]:g}: no run writes that; restore the file, or "
                "remove the run's folder and run it again"
            )


def check_analysis(table: pd.DataFrame, path: Path, run: RunSpec) -> None:
    """Looks for what no analysis writes: other weights or layers than the run has, an error of 4,000%.

    Raises:
        BadInputError: There is such a row; the message names the file.
    """
    right = True
    if "layer" in table:
        of_each = (
            [table["layer"]] if "weights" not in table else [part["layer"] for _, part in table.groupby("weights")]
        )
        right = all(list(layers) == list(range(1, len(layers) + 1)) for layers in of_each)
    if "weights" in table:
        wanted = {"start", "end"} if "layer" in table else {"start", "end", "source"} if run.source else {"end"}
        right = right and set(table["weights"]) == wanted
    if "error" in table:
        right = right and bool(table["error"].between(0, 100).all()) and table["weights"].is_unique
    if not (right and len(table)):
        raise BadInputError(
            f"{path}: not what an analysis of {run.net.name} writes; delete this file, and it is made anew"
        )


def _spread(series: list[pd.Series[float]]) -> pd.DataFrame:
    together = pd.concat(series, axis=1).dropna() if series else pd.DataFrame()
    return pd.DataFrame({"mean": together.mean(axis=1), "low": together.min(axis=1), "high": together.max(axis=1)})
