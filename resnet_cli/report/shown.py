"""Which of the variants that were run is shown where none is asked for. Imports no pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_cli.identity import Variant
from resnet_cli.runs.plan import plan

if TYPE_CHECKING:
    from resnet_cli.experiment import Experiment
    from resnet_cli.storage.store import Store


def variant_to_show(store: Store, experiment: Experiment) -> Variant:
    """The variant of an experiment with the most to show.

    Finished runs that are no smoke runs, on the experiment's own data, come first; of these the paper's scale if
    most nets have one there, then a variant in which every net has one, then the longest schedule. Paper scale if
    there is nothing at all.
    """

    def worth(variant: Variant) -> tuple[bool, bool, bool, bool, bool, float, int]:
        done = [store.is_done(run, experiment.after_training) for run in plan(experiment, variant, seeds=1)]
        own_data = variant.dataset == experiment.dataset
        most = variant.schedule == 1 and sum(done) > len(done) / 2
        return any(done), not variant.tiny, own_data, most, all(done), variant.schedule, sum(done)

    default = Variant(dataset=experiment.dataset)
    variants = dict.fromkeys(run.variant for run in store.runs() if experiment.suits(run.variant))
    return max([default, *variants], key=worth)
