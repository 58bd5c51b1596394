"""Compares two nets of one run each image by image, from their saved answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from resnet_cli.claims.significance import SignTest
from resnet_cli.errors import BadInputError
from resnet_cli.evaluate import scores
from resnet_cli.spec import Net

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from resnet_cli.experiment import Experiment
    from resnet_cli.identity import RunSpec
    from resnet_cli.storage.store import Store


@dataclass(frozen=True)
class Pair:
    """One run of each of two nets, on the same images.

    Attributes:
        nets: The two nets; a claim says that the first has the lower error.
        test: None if they cannot be compared.
        problem: Why they cannot be compared; empty if they can.
    """

    nets: tuple[Net, Net]
    test: SignTest | None
    problem: str = ""


def single_pairs(experiment: Experiment, finished: Mapping[Net, Sequence[RunSpec]]) -> list[tuple[Net, Net]]:
    """The pairs of nets that a claim about the test error compares while one of them has a single run; each once."""
    is_counted = experiment.task.metric.key in scores.TOP  # else single images are not judged
    claims = [claim for claim in experiment.claims if is_counted and claim.metric == experiment.task.metric.key]
    sides = dict.fromkeys(pair for claim in claims for pair in claim.pairs())
    pairs = [(left, right) for left, right in sides if isinstance(left, Net) and isinstance(right, Net)]
    return [pair for pair in pairs if min(len(finished[net]) for net in pair) == 1]


def make_pair(store: Store, nets: tuple[Net, Net], finished: Mapping[Net, Sequence[RunSpec]], views: str) -> Pair:
    """Compares the two runs with the lowest seed that both nets have; without one, those with each net's lowest seed.

    The comparison decides no verdict, so damaged answers are reported as a problem and are not an error.
    """
    seeds = [{run.seed for run in finished[net]} for net in nets]
    common = seeds[0] & seeds[1]
    runs = [
        next(run for run in finished[net] if run.seed == min(common or own))
        for net, own in zip(nets, seeds, strict=True)
    ]
    names = [f"{run.net.name} s{run.seed}" for run in runs]
    try:
        answers = [_answers(store, run, views) for run in runs]
    except BadInputError as error:
        return Pair(nets, None, str(error))
    saved = [answer for answer in answers if answer is not None]
    if len(saved) < len(runs):
        missing = [name for name, answer in zip(names, answers, strict=True) if answer is None]
        return Pair(nets, None, f"{', '.join(missing)} saved no labelled answers")
    (left, labels), (right, right_labels) = saved
    if not np.array_equal(labels, right_labels):
        return Pair(nets, None, f"{' and '.join(names)} were tested on different images")
    wrong = [scores.is_wrong(each, labels, 1) for each in (left, right)]
    return Pair(nets, SignTest.of(names[0], names[1], *wrong))


def _answers(store: Store, run: RunSpec, views: str) -> tuple[np.ndarray, np.ndarray] | None:
    """The scores behind the run's test error, and the labels; None if it saved none."""
    if views == run.task.views[0]:
        return store.predictions(run)
    return store.scores(run, views) if store.is_complete(run, views) else None
