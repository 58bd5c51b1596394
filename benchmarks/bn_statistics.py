"""The test error of a net with averaged statistics of batch normalisation, beside that with its running ones.

    python benchmarks/bn_statistics.py RUN [CHECKPOINT ...] [--batches 10 100] [--first] [--go-on 150 300]
        [--data-dir DIR] [--out FILE]

RUN is the folder of a run on CIFAR-10, CHECKPOINT a copy of its checkpoint.pt made while it trained; without one the
final weights are tested. Statistics are averaged, at weights that stay, over the batches of the next 10 updates, about
as many as PyTorch's running ones go back, and of the next 100; or with --first over those of seed 0's first updates,
which runs are tested with. With --go-on the final weights are trained on at rate 0.1 and tested after so many updates.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from resnet_cli.device.torch_device import choose_device, prepare
from resnet_cli.errors import BadInputError
from resnet_cli.evaluate.evaluate import with_averaged_statistics
from resnet_cli.identity import RunSpec
from resnet_cli.storage import run_folder
from resnet_cli.tasks import open_dataset
from resnet_cli.train import checkpoint
from resnet_cli.train.step import EagerStep
from resnet_cli.weights.trained import trained_net

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from resnet_cli.tasks.data import Data

BATCHES = [10, 100]
GOES_ON_AT = 20_000  # the update of the run whose batches --go-on continues with, as if it were there


def main() -> None:
    """Tests each net with each statistics, prints a line for it, and appends it to the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="*")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--first", action="store_true", help="the batches that runs are tested with")
    parser.add_argument("--go-on", type=int, nargs="+", default=[], metavar="UPDATES")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, help="a CSV; what it has already stays")
    options = parser.parse_args()
    try:
        measure(options)
    except (BadInputError, OSError) as error:
        parser.error(str(error))


def measure(options: argparse.Namespace) -> None:
    """Does what the options say."""
    run = run_on_cifar10(options.run)
    device, precision = choose_device(options.device), run.variant.precision
    prepare(device, precision)
    dataset = open_dataset(run.variant, options.data_dir).to(device)
    stream = run.task.stream(dataset, run.model_copy(update={"seed": 0}) if options.first else run)
    for net, iteration in nets(options, run, dataset):
        row = {
            "run": run.run_id,
            "iteration": iteration,
            "running": run.task.test(net, dataset, precision).metrics["test_error"],
        }
        for batches in options.batches:
            numbers = range(1, batches + 1) if options.first else range(iteration + 1, iteration + batches + 1)
            averaged = with_averaged_statistics(net, (stream.batch(each)[0] for each in numbers), device, precision)
            row[f"averaged_over_{batches}"] = run.task.test(averaged, dataset, precision).metrics["test_error"]
        measured = pd.DataFrame([row])
        print(measured.to_string(index=False, header=False, float_format="{:.2f}".format), flush=True)
        if options.out:
            new = not options.out.exists()
            measured.to_csv(options.out, mode="a", header=new, index=False, float_format="%.2f")


def run_on_cifar10(folder: Path) -> RunSpec:
    """The run of this folder."""
    run = RunSpec.model_validate_json((folder / run_folder.SPEC).read_bytes())
    if run.variant.dataset != "cifar10":
        raise BadInputError(f"{folder}: not a run on CIFAR-10")
    return run


def nets(options: argparse.Namespace, run: RunSpec, dataset: Data) -> Iterator[tuple[nn.Module, int]]:
    """The nets to test, on the dataset's device, and after how many updates each is."""
    if options.checkpoints:
        for path in options.checkpoints:
            net, iteration = net_at(path, run, options.run, len(dataset.classes))
            yield net.to(dataset.device), iteration
        return
    net, iteration = final_net(run, options.run)
    yield net.to(dataset.device), iteration
    step, stream = EagerStep(net, run.protocol, run.variant.precision, dataset.device), run.task.stream(dataset, run)
    for number in range(1, max(options.go_on, default=0) + 1):
        step.update(stream, GOES_ON_AT + number, run.protocol.learning_rate)
        if number in options.go_on:
            yield net, iteration + number


def final_net(run: RunSpec, folder: Path) -> tuple[nn.Module, int]:
    """A finished run's net, and after how many updates it is."""
    if run_folder.read_status(folder).state != "done":
        raise BadInputError(f"{folder}: not finished")
    return trained_net(run, folder), run.protocol.iterations


def net_at(path: Path, run: RunSpec, folder: Path, classes: int) -> tuple[nn.Module, int]:
    """The net in a copy of the run's checkpoint, and after how many updates it was made."""
    try:
        state = checkpoint.read(path)
    except BadInputError as error:
        raise BadInputError(f"{path}: {error}") from error
    log = (folder / run_folder.TRAIN_CSV).read_bytes()[: state.train_csv_bytes]
    if hashlib.sha256(log).hexdigest() != state.train_csv_sha256:
        raise BadInputError(f"{path}: not a checkpoint of {folder}")
    net = run.task.build(run.net, run.variant, run.seed, classes)
    net.load_state_dict(state.net)
    return net, state.iteration


if __name__ == "__main__":
    main()
