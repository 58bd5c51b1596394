"""`resnet show`: an experiment's question, protocol, nets and the paper's numbers. Trains nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_cli.cli import options

if TYPE_CHECKING:
    from resnet_cli.experiment import Experiment
    from resnet_cli.report.terminal import Grid
    from resnet_cli.runs.estimate import PastSpeed
    from resnet_cli.storage.store import Store


def show(
    name: options.ExperimentName, *, depths: options.Depths = None, results_dir: options.ResultsDir = None
) -> None:
    """Show an experiment: its question, its protocol, the size of each net, and the paper's numbers. Trains nothing."""
    from rich.console import Console
    from rich.markup import escape

    from resnet_cli.experiment import load_experiment
    from resnet_cli.identity import Variant
    from resnet_cli.runs.estimate import measured_speed
    from resnet_cli.storage.store import Store

    experiment = load_experiment(name, options.parse_depths(depths))
    store = Store.open(results_dir)
    console = Console()
    console.print(f"[bold]{escape(experiment.title)}[/]  (section {escape(experiment.section)})", highlight=False)
    console.print(experiment.question, markup=False, highlight=False)
    if experiment.runs:
        console.print(_protocol(experiment), markup=False, highlight=False)
        measured = measured_speed(store, Variant(dataset=experiment.dataset))
        console.print(_nets(experiment, store, measured))
        basis = (
            f"estimated from {measured.basis}" if measured else "unknown until 50 updates or 30 seconds have run here"
        )
        console.print(f"Time here at paper scale: {basis}.", highlight=False)
        for net in experiment.nets:
            if cost := experiment.task.cost(net, experiment.protocol):
                console.print(cost, markup=False, highlight=False)
    if experiment.architectures:
        from resnet_cli.report.summarize import summarize
        from resnet_cli.report.tables import make_table, rich_table

        console.print(rich_table(make_table(summarize(store, experiment, Variant(dataset=experiment.dataset)))))
    if experiment.claims:
        console.print("Claims:", highlight=False)
        for claim in experiment.claims:
            console.print(f"  - {claim.text}", markup=False, highlight=False)


def _protocol(experiment: Experiment) -> str:
    protocol = experiment.protocol
    steps = [f"update {milestone:,}" for milestone in protocol.milestones]
    plateau = protocol.plateau
    if plateau:
        steps.append(
            f"{plateau.patience} windows of {plateau.window:,} updates whose training error is not "
            f"{plateau.improvement:g} points below the best before (at most {plateau.drops} times)"
        )
    text = (
        f"SGD, batch {protocol.batch_size}, lr {protocol.learning_rate:g}, a tenth of it after {' and '.join(steps)}, "
        f"{protocol.iterations:,} updates in all; momentum {protocol.momentum:g}, "
        f"weight decay {protocol.weight_decay:g}."
    )
    warmup = protocol.warmup
    if warmup:
        text += (
            f" Nets of {warmup.from_depth} layers and more start at lr {warmup.learning_rate:g} until the training "
            f"error over {warmup.window} updates is below {warmup.until_train_error:g}%."
        )
    detector = protocol.detector
    if detector:
        shorter, longer = detector.sides
        text += (
            f" Biases at {protocol.bias_rate or 1:g} times the rate. Images of shorter side {shorter}, longer side at "
            f"most {longer}, or their mirrors; anchors of {', '.join(map(str, detector.anchors))}; "
            f"{detector.regions} regions per image, background from IoU {detector.negatives_from:g} on; all losses "
            "trained jointly."
        )
    photos = protocol.photos
    if photos:
        low, high = photos.shorter_side
        text += (
            f" Photographs: shorter side {low} to {high}, random crop of {photos.crop} or its mirror, mean subtracted "
            f"per {photos.mean}, colour PCA; tested by {experiment.test}."
        )
    return text


def _nets(experiment: Experiment, store: Store, measured: PastSpeed | None) -> Grid:
    from resnet_cli.identity import Variant
    from resnet_cli.report.terminal import Grid
    from resnet_cli.runs.estimate import duration
    from resnet_cli.runs.plan import plan

    metric = experiment.task.metric
    runs = plan(experiment, Variant(dataset=experiment.dataset))
    paper = {row.net.name: row for row in experiment.rows if row.net}
    time = ["time here"] if measured else []
    rows = []
    for net in dict.fromkeys(run.net for run in runs):
        mine = [run for run in runs if run.net == net]
        task, row = mine[0].task, paper.get(net.name)
        value = row.paper(metric) if row else None
        error = "" if value is None else f"{value:.{metric.digits}f}"
        if row and row.read_off:
            error += " (figure)"
        if row and row.mean is not None and row.std is not None:
            error += f" ({row.mean:.2f} ± {row.std:.2f})"
        if row and row.top5 is not None:
            error += f" / {row.top5:.2f}" if error else f"top-5 {row.top5:.2f}"
        cells = [
            task.short_name(net),
            f"{task.parameters(net):,}",
            f"{task.multiply_adds(net, mine[0].variant.dataset):,}",
            f"{sum(store.is_done_at_any_precision(run, experiment.after_training) for run in mine)} of {len(mine)}",
            *([duration(sum(map(task.work, mine)) / measured.speed)] if measured else []),
            error,
        ]
        rows.append(cells)
    told = f"paper's {metric.heading} ({metric.unit})"
    return Grid(["net", "parameters", "multiply-adds", "done", *time, told], rows)
