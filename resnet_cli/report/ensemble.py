"""Ensembles: several nets' saved scores, averaged, or nets that were tested as one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from resnet_cli.claims.significance import SignTest
from resnet_cli.errors import BadInputError
from resnet_cli.evaluate import scores
from resnet_cli.runs.plan import ensemble_of
from resnet_cli.storage import run_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from resnet_cli.experiment import Experiment
    from resnet_cli.identity import EnsembleSpec, RunSpec, Variant
    from resnet_cli.spec import Net
    from resnet_cli.storage.store import Store


@dataclass(frozen=True)
class Ensemble:
    """Several runs together (Tables 5 and 9).

    Attributes:
        nets: The members' nets; a net named twice takes part with two seeds.
        missing: What is missing, in words; empty if nothing is.
        members: A name for each run, `resnet-50-B s0`; empty while one is missing.
        numbers: The ensemble's metrics in percent, by key.
        wrong: By metric, which images are answered wrongly: (members + 1, images) bool; the ensemble is the last row.
            Empty if the task does not judge single images; then there is `by_class`.
        by_class: By metric, the value for each class: (members + 1, classes); the ensemble is the last row.
    """

    nets: tuple[Net, ...]
    missing: str
    members: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    wrong: Mapping[str, np.ndarray] = field(default_factory=dict)
    by_class: Mapping[str, np.ndarray] = field(default_factory=dict)

    def against_best(self, metric: str, sign: int) -> tuple[SignTest, float, tuple[str, float]]:
        """Compares the ensemble with the best of its members image by image, or class by class.

        Args:
            metric: One of `numbers`.
            sign: 1 if lower is better, -1 if higher is.

        Returns:
            The sign test, the ensemble's number, and the best member's name and number; in percent.
        """
        parts = self.by_class[metric] if self.by_class else 100.0 * self.wrong[metric]
        values = np.nanmean(parts, axis=1)
        best = int((sign * values[:-1]).argmin())
        names = "the ensemble", "the net"
        if self.by_class:
            test = SignTest.of_class_values(*names, parts[-1], parts[best], sign)
        else:
            test = SignTest.of(*names, self.wrong[metric][-1], self.wrong[metric][best])
        return test, float(values[-1]), (self.members[best], float(values[best]))


def make_ensemble(
    store: Store,
    experiment: Experiment,
    variant: Variant,
    nets: tuple[Net, ...],
    finished: Mapping[Net, Sequence[RunSpec]],
) -> Ensemble:
    """The ensemble of these nets: of each net its first finished seeds, as many as the ensemble needs.

    An ensemble that is tested as one net takes the first seeds, finished or not.

    Raises:
        BadInputError: Saved scores are damaged, or two runs were tested on different images.
    """
    if experiment.task.joins_nets:
        return _tested_as_one(store, ensemble_of(experiment, variant, nets), nets, finished)
    views = experiment.test
    runs: list[RunSpec] = []
    missing = []
    for net, needed in Counter(nets).items():
        saved = [run for run in finished[net] if (store.folder(run) / run_folder.scores_file(views)).exists()]
        runs += saved[:needed]
        if len(saved) < needed:
            missing.append(f"{net.name} ({len(saved)} of {needed})")
    if missing:
        return Ensemble(nets, f"tested runs of {', '.join(missing)}")
    answers, labels = zip(*(store.scores(run, views) for run in runs), strict=True)
    for run, own in zip(runs, labels, strict=True):
        if not np.array_equal(own, labels[0]):
            raise BadInputError(
                f"{store.folder(run) / run_folder.scores_file(views)}: not of the same images as {runs[0].run_id}'s; "
                "test both again"
            )
    everyone = (*answers, scores.average(answers))
    wrong = {
        metric: np.stack([scores.is_wrong(each, labels[0], k) for each in everyone]) for metric, k in scores.TOP.items()
    }
    numbers = {metric: 100 * float(each[-1].mean()) for metric, each in wrong.items()}
    return Ensemble(nets, "", _names(runs), numbers, wrong)


def _tested_as_one(
    store: Store, ensemble: EnsembleSpec, nets: tuple[Net, ...], finished: Mapping[Net, Sequence[RunSpec]]
) -> Ensemble:
    missing = [run for run in ensemble.members if run not in finished[run.net]]
    if missing:
        return Ensemble(nets, ", ".join(_names(missing)))
    result = store.ensemble_result(ensemble)
    if result is None:
        return Ensemble(nets, "its test; 'resnet run' with one rank does it")
    by_class = {key: np.array(values, float) for key, values in result.by_class.items()}
    return Ensemble(nets, "", _names(ensemble.members), result.numbers, by_class=by_class)


def _names(runs: Sequence[RunSpec]) -> tuple[str, ...]:
    return tuple(f"{run.net.name} s{run.seed}" for run in runs)
