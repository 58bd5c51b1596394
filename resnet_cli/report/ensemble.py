"""Several nets' scores, averaged: what they err together, and each alone, on the same images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from resnet_cli.errors import BadInputError
from resnet_cli.evaluate import scores
from resnet_cli.storage import run_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from resnet_cli.identity import RunSpec
    from resnet_cli.spec import Net
    from resnet_cli.storage.store import Store


@dataclass(frozen=True)
class Ensemble:
    """The averaged scores of several runs (Table 5).

    Attributes:
        nets: Whose; one named twice is there with two seeds.
        missing: The tested runs it waits for, in words; empty if all are there.
        members: A name for each run, `resnet-50-B s0`; empty while one is missing.
        wrong: By metric, which images are answered wrongly: (members + 1, images) bool, the ensemble's own row last.
    """

    nets: tuple[Net, ...]
    missing: str
    members: tuple[str, ...]
    wrong: Mapping[str, np.ndarray]

    def error(self, metric: str) -> float:
        """The ensemble's error; percent."""
        return 100 * float(self.wrong[metric][-1].mean())

    def best_member(self, metric: str) -> int:
        """The place of the member that errs least on these images."""
        return int(self.wrong[metric][:-1].sum(axis=1).argmin())


def make_ensemble(
    store: Store, nets: tuple[Net, ...], finished: Mapping[Net, Sequence[RunSpec]], views: str
) -> Ensemble:
    """Averages the scores that finished runs gave over these views: of each net its first seeds, as many as it needs.

    Raises:
        BadInputError: Saved scores are damaged, or two runs were tested on different images.
    """
    runs: list[RunSpec] = []
    missing = []
    for net, needed in Counter(nets).items():
        saved = [run for run in finished[net] if (store.folder(run) / run_folder.scores_file(views)).exists()]
        runs += saved[:needed]
        if len(saved) < needed:
            missing.append(f"{net.name} ({len(saved)} of {needed})")
    if missing:
        return Ensemble(nets, ", ".join(missing), (), {})
    answers, labels = zip(*(store.scores(run, views) for run in runs), strict=True)
    for run, own in zip(runs, labels, strict=True):
        if not np.array_equal(own, labels[0]):
            raise BadInputError(
                f"{store.folder(run) / run_folder.scores_file(views)}: of other images than {runs[0].run_id}'s; test "
                "both again"
            )
    everyone = (*answers, scores.average(answers))
    wrong = {
        metric: np.stack([scores.is_wrong(each, labels[0], k) for each in everyone]) for metric, k in scores.TOP.items()
    }
    return Ensemble(nets, "", tuple(f"{run.net.name} s{run.seed}" for run in runs), wrong)
