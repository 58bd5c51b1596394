"""`resnet bench`: how fast a training update is here, alone and beside a common eager loop."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from resnet_cli.cli import options
from resnet_cli.cli.answer import say
from resnet_cli.cli.examples import HARDWARE, OUTPUT, WHAT
from resnet_cli.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch
    from rich.console import Console
    from rich.status import Status

    from resnet_cli.data import Dataset
    from resnet_cli.names import Precision
    from resnet_cli.runs.timing import Plan, Result
    from resnet_cli.spec import Net
    from resnet_cli.storage.store import Store
    from resnet_cli.train.graph_step import StepName
    from resnet_cli.train.proof import Proof

DEFAULT_NETS = ("resnet-20", "resnet-56")


def bench(
    nets: Annotated[list[str] | None, typer.Argument(help="CIFAR-10's nets (default: resnet-20 resnet-56).")] = None,
    *,
    against: Annotated[
        Literal["eager"] | None,
        typer.Option(
            "--against",
            rich_help_panel=WHAT,
            help="eager: also measure a common eager loop, fp32 with a DataLoader of 4 workers.",
        ),
    ] = None,
    output: Annotated[
        Literal["rich", "json"], typer.Option("--format", rich_help_panel=OUTPUT, help="Format of the answer.")
    ] = "rich",
    precision: Annotated[
        options.PrecisionChoice,
        typer.Option(
            "--precision",
            rich_help_panel=HARDWARE,
            help="Precision of our step. auto: bf16 if the device has instructions for it, else fp32.",
        ),
    ] = "auto",
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile/--no-compile", rich_help_panel=HARDWARE, help="Measure our compiled step, or the plain one."
        ),
    ] = True,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, max=1000, rich_help_panel=WHAT, help="Measurements of each net.")
    ] = 5,
    updates: Annotated[
        int, typer.Option("--updates", min=1, max=10_000, rich_help_panel=WHAT, help="Updates in each measurement.")
    ] = 10,
    device: options.Device = "auto",
    data_dir: options.DataDir = None,
    results_dir: options.ResultsDir = None,
) -> None:
    """Measure a training update of 128 images: time, images per second, memory, distance to the machine's limit.

    With --against eager, both loops run in turn in one process. Their ratio is the result; times vary with the load.
    On a GPU with tensor cores the times are kept with the results, and `resnet run` prints what a precision saves.
    """
    from rich.console import Console

    chosen = [_net(name) for name in nets or DEFAULT_NETS]
    progress = Console(stderr=True)

    from resnet_cli.device.torch_device import choose_device, prepare
    from resnet_cli.runs import timing
    from resnet_cli.storage.store import Store
    from resnet_cli.tasks import task_of
    from resnet_cli.train import graph_step
    from resnet_cli.train.environment import describe
    from resnet_cli.train.proof import prove_net, summary

    task, place = task_of("cifar10"), choose_device(device)
    chosen_precision = options.chosen_precision(precision, device, progress)
    assert chosen_precision is not None
    prepare(place, chosen_precision)
    step: StepName = "compiled" if compiled else "plain"
    if compiled and (in_the_way := graph_step.obstacle(place)):
        say(progress, f"Measuring the plain step: {in_the_way}")
        step = "captured" if graph_step.takes_a_graph(place, is_alone=True) else "plain"
    dataset = _dataset(options.data_folder(data_dir)).to(place)
    plan = timing.Plan(
        dataset,
        chosen_precision,
        step != "plain",
        against is not None,
        rounds=rounds,
        updates=updates,
        task=task,
        protocol=task.protocol,
    )
    results = []
    proofs: dict[str, Proof] = {}
    for net in chosen:
        with progress.status(net.name, spinner="line") as status:

            def report(text: str, status: Status = status, net: Net = net) -> None:
                status.update(f"{net.name}: {text}")

            results.append(timing.measure(net, plan, report))
            if plan.is_fast:  # afterwards: it would compile the step before its first update is timed
                report("comparing its step with the plain one")
                proofs[net.name] = prove_net(net, plan.precision, dataset, step)
    right = [result for result in results if result.net not in proofs or proofs[result.net].problem is None]
    _note(right, chosen_precision, step, place, Store.open(results_dir), progress)
    if output == "json":
        content = {
            **describe(place, plan.precision, dataset, step=step),
            "batch_size": plan.protocol.batch_size,
            "rounds": rounds,
            "updates": updates,
            "nets": {result.net: asdict(result) for result in results},
            "proofs": {name: asdict(proof) for name, proof in proofs.items()},
            "seconds": estimates(results, dataset),
        }
        typer.echo(json.dumps(content, indent=1))
    else:
        console = Console()
        _print(results, plan, step, place, console)
        for name, proof in proofs.items():
            say(console, f"{name}: {summary(proof)}.")


def _note(
    results: Sequence[Result],
    precision: Precision,
    step: StepName,
    place: torch.device,
    store: Store,
    progress: Console,
) -> None:
    """Saves the times for the advice about precision, on devices that need it; on a full disk, only prints a line."""
    import torch

    from resnet_cli.runs import advice
    from resnet_cli.train.environment import device_name

    if not advice.has_tensor_cores(place):
        return
    for each in results:
        measured = advice.Measured(
            net=each.net,
            precision=precision,
            step=step,
            device_name=device_name(place),
            torch=torch.__version__,
            milliseconds=each.update.median,
        )
        try:
            advice.note(measured, store)
        except OSError as error:
            text = f"{store.speeds}: cannot be written: {error.strerror or error}; the times are not saved"
            progress.print(text, markup=False, highlight=False, soft_wrap=True)
            return


def _net(name: str) -> Net:
    from resnet_cli.spec import first_problem
    from resnet_cli.tasks import task_of

    try:
        return task_of("cifar10").net(name)
    except ValueError as error:
        raise BadInputError(first_problem(error)) from error


def _dataset(folder: Path) -> Dataset:
    """CIFAR-10 if it is there, else the embedded set, whose images have the same size."""
    from resnet_cli.data import Dataset
    from resnet_cli.identity import Variant
    from resnet_cli.tasks import open_dataset
    from resnet_cli.tasks.cifar10 import files as cifar10

    dataset = open_dataset(Variant(dataset="cifar10" if cifar10.is_there(folder) else "synthetic"), folder)
    assert isinstance(dataset, Dataset)
    return dataset


def estimates(results: Sequence[Result], dataset: Dataset) -> dict[str, float]:
    """Seconds for each experiment on CIFAR-10, all its runs at the paper's scale one after the other, tests included.

    The time of a net that was not measured is that of the measured net nearest in size, in proportion to the
    multiply-adds. Its first update, compiling included, is assumed as slow as the slowest measured one.
    """
    from resnet_cli.experiment import experiment_names, load_experiment
    from resnet_cli.identity import Variant
    from resnet_cli.runs.estimate import Speed, training_seconds
    from resnet_cli.runs.plan import plan as planned
    from resnet_cli.tasks import task_of

    task = task_of("cifar10")
    speeds = [Speed(task.net(result.net), result.update.median / 1e3, result.test_seconds) for result in results]
    train, test = len(dataset.train_labels), len(dataset.test_labels)
    beginning = max(result.first_update_seconds for result in results)
    times = {}
    for name in experiment_names():
        experiment = load_experiment(name)
        if experiment.dataset == task.dataset and experiment.runs:
            runs = planned(experiment, Variant())
            training = sum(training_seconds(run, speeds, train, test) for run in runs)
            times[name] = round(training + beginning * len({run.net for run in runs}), 1)
    return times


def _print(results: Sequence[Result], plan: Plan, step: StepName, place: torch.device, console: Console) -> None:
    from resnet_cli.report.terminal import Grid
    from resnet_cli.runs.estimate import duration

    title = f"An update of {plan.protocol.batch_size} images of {plan.dataset.name} on {place.type}"
    columns = ["net", "ms", "images/s", "floor ms", "GB", "test s"]
    beside = ["eager ms", "ratio"] if plan.against_eager else []
    kernels = ["kernels"] if place.type == "cuda" else []
    rows = []
    for result in results:
        row = [
            result.net,
            f"{result.update.median:.3g} ({result.update.lowest:.3g} to {result.update.highest:.3g})",
            f"{result.images_per_second:,.0f}",
            f"{result.floor:.3g}",
            f"{result.peak_bytes / 1e9:.2f}",
            f"{result.test_seconds:.2f}",
            *([str(result.kernels)] if kernels else []),
            *([f"{result.eager.median:.3g}", f"{result.ratio:.2f}"] if result.eager else []),
        ]
        rows.append(row)
    console.print(Grid([*columns, *kernels, *beside], rows, title=title))
    console.print(
        f"ms: the {step} step in {plan.precision}, making its batch included: median over {plan.rounds} rounds of "
        f"{plan.updates} updates (lowest to highest). floor: the time of its arithmetic at the speed of a large "
        "matrix product here, or of its kernel launches. GB: peak memory of a training (on CUDA, device memory). "
        "test: a test of 10,000 images.",
        highlight=False,
    )
    if plan.against_eager:
        console.print(
            "eager: a common eager loop (fp32, NCHW, DataLoader with 4 workers), measured in turn with ours. "
            "ratio: eager over ours.",
            highlight=False,
        )
    times = ", ".join(f"{name} {duration(seconds)}" for name, seconds in estimates(results, plan.dataset).items())
    console.print(f"At the paper's scale, one run after another: {times}.", highlight=False)
