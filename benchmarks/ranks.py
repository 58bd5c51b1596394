"""What several processes lose to one another: an update of each one's share, apart and together, turn by turn.

    torchrun --nproc-per-node=8 benchmarks/ranks.py [--nets resnet-50-B resnet-152-B] [--precision bf16] [--out FILE]

Apart, each process makes updates of its share for itself, all at the same time; together, gradients are averaged and
statistics put together. The ratio is the share of the time that goes into the nets. Images are random and lie on the
device: photographs are benchmarks/imagenet.py's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from functools import partial
from pathlib import Path

import torch

from resnet_cli.data import synthetic
from resnet_cli.device.ranks import Ranks
from resnet_cli.device.torch_device import choose_device, prepare
from resnet_cli.identity import Variant
from resnet_cli.spec import Net
from resnet_cli.tasks import TASKS, task_of
from resnet_cli.tasks.imagenet import BLOCKS
from resnet_cli.train.environment import describe
from resnet_cli.train.graph_step import make_step
from resnet_cli.train.step import EagerStep

SIDES = {"cifar10": 32, "imagenet": 224}


def main() -> None:
    """Measures; the first process prints a line for each net and writes them with the environment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=["resnet-20", "resnet-50-B"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=["fp32", "tf32", "bf16"], default="fp32")
    parser.add_argument("--batch-size", type=int, help="over all processes; by default the paper's")
    parser.add_argument("--updates", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="the compiled step")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    device, ranks = choose_device(options.device), Ranks.here()
    batches = [options.batch_size] if options.batch_size else [task.protocol.batch_size for task in TASKS]
    if ranks.count == 1 or any(batch % ranks.count for batch in batches):
        parser.error("takes torchrun with several processes, which share the batch equally")
    prepare(device, options.precision)
    ranks.check(device)
    ranks.connect(device)
    results = []
    for name in options.nets:
        result = measured(Net.model_validate(name), ranks, device, options)
        results.append({"net": name, **result})
        if ranks.is_first:
            ratio = result["apart_ms"] / result["together_ms"]
            print(name, *(f"{key} {value:.4g}" for key, value in result.items()), f"ratio {ratio:.3f}")
    if ranks.is_first and options.out:
        environment = describe(device, options.precision, synthetic.load(train=64, test=16), ranks=ranks.count)
        environment.pop("data")
        options.out.write_text(json.dumps({"environment": environment, "results": results}, indent=1) + "\n")
    ranks.disconnect()


def measured(net: Net, ranks: Ranks, device: torch.device, options: argparse.Namespace) -> dict[str, float]:
    """The whole batch, and milliseconds of an update apart and together: medians of rounds."""
    task = task_of("imagenet" if net.depth in BLOCKS else "cifar10")
    protocol, side = task.protocol, SIDES[task.name]
    share = (options.batch_size or protocol.batch_size) // ranks.count
    images = torch.randn(share, 3, side, side, device=device)
    labels = torch.zeros(share, dtype=torch.int64, device=device)
    make = partial(make_step, is_alone=False) if options.compile else EagerStep
    apart, together = (
        make(task.build(net, Variant(dataset=task.dataset), 0, 1_000), protocol, options.precision, device)
        for _ in range(2)
    )
    together.join(ranks, synchronized=False)
    rounds: dict[str, list[float]] = {"apart_ms": [], "together_ms": []}
    for number in range(options.rounds + 1):
        for step, found in zip((apart, together), rounds.values(), strict=True):
            ranks.any(True)  # all begin at once
            began = time.perf_counter()
            losses = [step(images, labels, 0.01)[0] for _ in range(options.updates)]
            losses[-1].item()  # waits for the device
            if number:  # the first compiles and warms up
                found.append(1e3 * (time.perf_counter() - began) / options.updates)
    return {"batch_size": share * ranks.count, **{key: statistics.median(found) for key, found in rounds.items()}}


if __name__ == "__main__":
    main()
