"""A net's first updates on CIFAR-10, with the paper's settings or with others.

    python benchmarks/first_updates.py [NET] [--updates 4000] [--every 500] [--rate 0.1] [--precision bf16]
        [--no-norm-decay] [--data-dir DIR] [--out FILE]

Trains NET at a constant rate. With --no-norm-decay the scales and shifts of batch normalisation have no weight decay.
Every so many updates it prints the mean response of Figure 7, the mean training error since the line before, and the
test error with averaged statistics. All settings train with the same batches from the same start.
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
    parser.add_argument("--every", type=int, default=500)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--precision", default="bf16", choices=("fp32", "bf16"))
    parser.add_argument("--no-norm-decay", dest="decays_norms", action="store_false")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    try:
        train(options)
    except (BadInputError, OSError, ValueError) as error:
        parser.error(str(error))


def train(options: argparse.Namespace) -> None:
    """Trains one net with these options."""
    experiment, variant = load_experiment("table6"), Variant(precision=options.precision)
    run = RunSpec.of(experiment.task.parse(options.net), variant, experiment.protocol, seed=0)
    device, precision = choose_device(options.device), variant.precision
    prepare(device, precision)
    dataset = open_dataset(variant, options.data_dir).to(device)
    stream = run.task.stream(dataset, run)
    net = run.task.build(run.net, variant, run.seed, len(dataset.classes)).to(device)
    step = FastStep(net, run.protocol, precision, device)
    if not options.decays_norms:
        spare_norms(step)
    wrong = 0.0
    for number in range(1, options.updates + 1):
        _, errors = step.update(stream, number, options.rate)
        wrong += float(errors)
        if number % options.every == 0:
            averaged = run.task.averaged(net, dataset, precision)
            row = {
                "net": run.net.name,
                "precision": precision,
                "rate": options.rate,
                "decays_norms": options.decays_norms,
                "iteration": number,
                "mean_response": f"{responses(averaged, dataset, lambda _: None)['std'].mean():.3f}",
                "train_error": f"{100 * wrong / (run.protocol.batch_size * options.every):.2f}",
                "test_error": f"{run.task.test(averaged, dataset, precision).metrics['test_error']:.2f}",
            }
            wrong = 0.0
            measured = pd.DataFrame([row])
            print(measured.to_string(index=False, header=False), flush=True)
            if options.out:
                new = not options.out.exists()
                measured.to_csv(options.out, mode="a", header=new, index=False)


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
