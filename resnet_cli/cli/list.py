"""`resnet list`: the experiments, what is done, and how long the rest takes here."""

from __future__ import annotations

from resnet_cli.cli import options
from resnet_cli.cli.answer import say_commands
from resnet_cli.cli.paths import leading_to
from resnet_cli.shell import command


def list_experiments(*, results_dir: options.ResultsDir = None) -> None:
    """List the experiments: question, runs, runs done at the paper's scale, and the time that the rest takes here."""
    from rich.console import Console

    from resnet_cli.experiment import experiment_names, load_experiment
    from resnet_cli.identity import Variant
    from resnet_cli.report.terminal import Grid
    from resnet_cli.runs.estimate import duration, measured_speed, seconds_left
    from resnet_cli.runs.plan import plan
    from resnet_cli.storage.store import Store
    from resnet_cli.tasks import TASKS

    store = Store.open(results_dir)
    measured = {task: measured_speed(store, Variant(dataset=task.dataset)) for task in TASKS}
    rows = []
    for name in experiment_names():
        experiment = load_experiment(name)
        runs = plan(experiment, Variant(dataset=experiment.dataset))
        missing = [run for run in runs if not store.is_done_at_any_precision(run, experiment.after_training)]
        here = measured[experiment.task]
        left = duration(seconds_left(missing, store, here.speed)) if here else "unknown yet"
        done = len(runs) - len(missing)
        rows.append([name, experiment.question, str(len(runs)), str(done), left if missing else "-"])
    console = Console()
    headers = ["experiment", "question", "runs", "done", "time left here"]
    console.print(Grid(headers, rows, (0, 1), (1,), title="Experiments at paper scale"))
    here_too = leading_to(results_dir)
    steps = [
        command(*words, *here_too) for words in (("show", "table6"), ("run", "table6", "--tiny"), ("run", "table6"))
    ]
    say_commands(console, f"Next: {', '.join(steps)}")
    for task, here in measured.items():
        if here:
            console.print(f"The time of {task.title}'s nets is estimated from {here.basis}.", highlight=False)
    unknown = [task.title for task, here in measured.items() if not here]
    if unknown:
        console.print(
            f"Nothing was measured yet for {', '.join(unknown)}. Times are estimated from runs here; 50 updates "
            "or 30 seconds of a run are enough.",
            highlight=False,
        )
