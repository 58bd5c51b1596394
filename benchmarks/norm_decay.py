"""The layers' responses in training, with and without weight decay on batch normalisation.

    python benchmarks/norm_decay.py [NET] [--updates 4000] [--every 1000] [--data-dir DIR] [--out FILE]

Trains NET on CIFAR-10 at rate 0.1 twice, with the same batches: with decay on every parameter, as runs do, and on all
but the scales and shifts of batch normalisation. After so many updates it prints the mean response of Figure 7, the
mean training error since the line before, and the test error with averaged statistics.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from torch import nn

from resnet_cli.analyses.responses import responses
from resnet_cli.device.torch_device import choose_device, prepare
from resnet_cli.errors import BadInputError
from resnet_cli.experiment import load_experiment
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.tasks import open_dataset
from resnet_cli.train.graph_step import FastStep

if TYPE_CHECKING:
    from resnet_cli.train.step import EagerStep


def main() -> None:
    """Trains and prints; with --out, appends each line to a CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", nargs="?", default="resnet-20")
    parser.add_argument("--updates", type=int, default=4000)
    parser.add_argument("--every", type=int, default=1000)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    try:
        for decays in (True, False):
            train(options, decays=decays)
    except (BadInputError, OSError, ValueError) as error:
        parser.error(str(error))


def train(options: argparse.Namespace, *, decays: bool) -> None:
    """One of the two trainings."""
    experiment, variant = load_experiment("table6"), Variant(precision=options.precision)
    run = RunSpec.of(experiment.task.parse(options.net), variant, experiment.protocol, seed=0)
    device, precision = choose_device(options.device), variant.precision
    prepare(device, precision)
    dataset = open_dataset(variant, options.data_dir).to(device)
    stream = run.task.stream(dataset, run)
    net = run.task.build(run.net, variant, run.seed, len(dataset.classes)).to(device)
    step = FastStep(net, run.protocol, precision, device)
    if not decays:
        spare_norms(step)
    wrong = 0.0
    for number in range(1, options.updates + 1):
        _, errors = step.update(stream, number, run.protocol.learning_rate)
        wrong += float(errors)
        if number % options.every == 0:
            averaged = run.task.averaged(net, dataset, precision)
            row = {
                "net": run.net.name,
                "decays_norms": decays,
                "iteration": number,
                "mean_response": responses(averaged, dataset, lambda _: None)["std"].mean(),
                "train_error": 100 * wrong / (run.protocol.batch_size * options.every),
                "test_error": run.task.test(averaged, dataset, precision).metrics["test_error"],
            }
            wrong = 0.0
            measured = pd.DataFrame([row])
            print(measured.to_string(index=False, header=False, float_format="{:.3f}".format), flush=True)
            if options.out:
                new = not options.out.exists()
                measured.to_csv(options.out, mode="a", header=new, index=False, float_format="%.3f")


def spare_norms(step: EagerStep) -> None:
    """Takes the scales and shifts of batch normalisation out of the weight decay."""
    of_norms = [
        parameter
        for module in step.net.modules()
        if isinstance(module, nn.BatchNorm2d)
        for parameter in module.parameters()
    ]
    (group,) = step.optimizer.param_groups
    spared = set(map(id, of_norms))
    group["params"] = [parameter for parameter in group["params"] if id(parameter) not in spared]
    step.optimizer.add_param_group({**group, "params": of_norms, "weight_decay": 0.0})


if __name__ == "__main__":
    main()
