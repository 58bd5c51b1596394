"""Which variant is shown if the user asks for none. Imports no pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_cli.identity import Variant
from resnet_cli.runs.plan import plan

if TYPE_CHECKING:
    from resnet_cli.experiment import Experiment
    from resnet_cli.storage.store import Store


def variant_to_show(store: Store, experiment: Experiment) -> Variant:
    """The variant of an experiment with the most to show.

    The criteria, in this order: it has finished runs; they are no smoke runs; they use the experiment's own data; it is
    the paper's schedule, and more than half of the nets have a run; every net has a run; the longest schedule; the most
    nets with a run. Paper scale if there are no runs.
    """

    def worth(variant: Variant) -> tuple[bool, bool, bool, bool, bool, float, int]:
        done = [store.is_done(run, experiment.after_training) for run in plan(experiment, variant, seeds=1)]
        own_data = variant.dataset == experiment.dataset
        most = variant.schedule == 1 and sum(done) > len(done) / 2
        return any(done), not variant.tiny, own_data, most, all(done), variant.schedule, sum(done)

    default = Variant(dataset=experiment.dataset)
    variants = dict.fromkeys(run.variant for run in store.runs() if experiment.suits(run.variant))
    return max([default, *variants], key=worth)
