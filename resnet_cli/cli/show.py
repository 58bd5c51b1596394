"""`resnet show`: an experiment's question, protocol, nets and the paper's numbers. Trains nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_cli import complexity
from resnet_cli.cli import options
from resnet_cli.experiment import Experiment, load_experiment
from resnet_cli.runs.plan import plan
from resnet_cli.runs.store import Store
from resnet_cli.spec import Protocol, Variant

if TYPE_CHECKING:
    from rich.table import Table


def show(
    experiment: options.ExperimentName, *, depths: options.Depths = None, results_dir: options.ResultsDir = None
) -> None:
    """Show an experiment: the question, the protocol, every net with its exact size, and the paper's numbers."""
    from rich.console import Console
    from rich.markup import escape

    question = load_experiment(experiment, options.parse_depths(depths))
    store = Store.open(results_dir)
    console = Console()
    console.print(f"[bold]{escape(question.title)}[/]  (section {escape(question.section)})", highlight=False)
    console.print(question.question, markup=False, highlight=False)
    console.print(_protocol(question.protocol), markup=False, highlight=False)
    console.print(_nets(question, store))
    if question.claims:
        console.print("Claims:", highlight=False)
        for claim in question.claims:
            console.print(f"  - {claim.text}", markup=False, highlight=False)


def _protocol(protocol: Protocol) -> str:
    milestones = " and ".join(f"{milestone:,}" for milestone in protocol.milestones)
    text = (
        f"SGD, batch {protocol.batch_size}, lr {protocol.learning_rate:g}, a tenth of it after update {milestones}, "
        f"{protocol.iterations:,} updates in all; momentum {protocol.momentum:g}, "
        f"weight decay {protocol.weight_decay:g}."
    )
    warmup = protocol.warmup
    if warmup:
        text += (
            f" Nets of {warmup.from_depth} layers and more start at lr {warmup.learning_rate:g} until the training "
            f"error over {warmup.window} updates is below {warmup.until_train_error:g}%."
        )
    return text


def _nets(experiment: Experiment, store: Store) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    runs = plan(experiment, Variant(dataset=experiment.dataset))
    paper = {row.net.name: row for row in experiment.rows if row.net}
    table = Table("net", "parameters", "multiply-adds", "runs", "done", "paper's error (%)", box=SIMPLE_HEAD)
    for net in dict.fromkeys(run.net for run in runs):
        mine = [run for run in runs if run.net == net]
        row = paper.get(net.name)
        error = "" if row is None or row.error is None else f"{row.error:.2f}"
        if row and row.mean is not None and row.std is not None:
            error += f" ({row.mean:.2f} ± {row.std:.2f})"
        table.add_row(
            net.name,
            f"{complexity.parameters(net):,}",
            f"{complexity.multiply_adds(net):,}",
            str(len(mine)),
            str(sum(store.is_done_at_any_precision(run) for run in mine)),
            error,
        )
    for column in table.columns[1:]:
        column.justify = "right"
    return table
