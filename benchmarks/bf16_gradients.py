"""How far a net's gradients in bf16 are from those in fp32, beside how far those of two batches are apart.

    python benchmarks/bf16_gradients.py RUN [RUN ...] [--batches 50] [--go-on 100] [--data-dir DIR] [--out FILE]

RUN is the folder of a finished run on CIFAR-10. Its net is first trained on at rate 0.1, to be as a net in training is.
Then each batch's gradient is computed twice at the same weights: by the step of the runs in bf16, and by the plain step
in fp32. Printed are the mean cosine of the two; the mean squared difference in percent of the variance between batches;
and the difference that remains on average over batches, as a length relative to the true gradient's (0 where it is less
than chance explains).
"""

from __future__ import annotations

import argparse
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from bn_statistics import GOES_ON_AT, final_net, run_on_cifar10

from resnet_cli.device.torch_device import choose_device, prepare
from resnet_cli.errors import BadInputError
from resnet_cli.tasks import open_dataset
from resnet_cli.train.graph_step import FastStep
from resnet_cli.train.step import EagerStep

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_cli.data import Stream


def main() -> None:
    """Measures each run's net and prints a line for it; with --out, appends it to a CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--batches", type=int, default=50)
    parser.add_argument("--go-on", type=int, default=100, metavar="UPDATES")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    try:
        for folder in options.runs:
            measured = pd.DataFrame([measure(folder, options)])
            print(measured.to_string(index=False, header=False), flush=True)
            if options.out:
                measured.to_csv(options.out, mode="a", header=not options.out.exists(), index=False)
    except (BadInputError, OSError) as error:
        parser.error(str(error))


def measure(folder: Path, options: argparse.Namespace) -> dict[str, str]:
    """A row: the run, and how its gradients in both precisions compare."""
    run = run_on_cifar10(folder)
    device = choose_device(options.device)
    prepare(device, "bf16")
    dataset = open_dataset(run.variant, options.data_dir).to(device)
    stream = run.task.stream(dataset, run)
    net = final_net(run, folder)[0].to(device)
    exact = EagerStep(deepcopy(net), run.protocol, "fp32", device)
    rounded = FastStep(net, run.protocol, "bf16", device)
    for number in range(options.go_on):
        rounded.update(stream, GOES_ON_AT + number, run.protocol.learning_rate)
    exact.net.load_state_dict(net.state_dict())
    numbers = range(GOES_ON_AT + options.go_on, GOES_ON_AT + options.go_on + options.batches)
    gradients = torch.stack([gradient(exact, stream, number) for number in numbers])
    differences = torch.stack([gradient(rounded, stream, number) for number in numbers]) - gradients
    cosine = torch.cosine_similarity(gradients, gradients + differences, dim=1).mean()
    true = squared_mean(gradients)
    return {
        "run": run.run_id,
        "cosine": f"{cosine:.3f}",
        "noise_percent": f"{100 * differences.square().sum(dim=1).mean() / gradients.var(dim=0).sum():.1f}",
        "remains": f"{(squared_mean(differences).clamp(min=0) / true).sqrt():.3f}",
    }


def gradient(step: EagerStep, stream: Stream, number: int) -> Tensor:
    """Of the batch of this number at the step's weights, which stay; as one vector."""
    step.update(stream, number, learning_rate=0.0)
    return torch.cat([each.grad.flatten() for each in step.net.parameters() if each.grad is not None])


def squared_mean(vectors: Tensor) -> Tensor:
    """Of vectors drawn at random, (N, D): the squared length of their expectation, estimated without bias; 0-dim."""
    return vectors.mean(dim=0).square().sum() - vectors.var(dim=0).sum() / len(vectors)


if __name__ == "__main__":
    main()
