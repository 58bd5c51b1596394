"""The test error of a net with exact statistics of batch normalisation, beside that with its running ones.

    python benchmarks/bn_statistics.py RUN [CHECKPOINT ...] [--data-dir DIR] [--out FILE]

RUN is the folder of a run on CIFAR-10, CHECKPOINT a copy of its checkpoint.pt made while it trained; without one the
final weights are tested. Exact statistics are averages over batches as training sees them, at weights that stay.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import torch
from torch.optim.swa_utils import update_bn

from resnet_cli import run_folder
from resnet_cli.data import open_dataset
from resnet_cli.device import autocast, choose_device, prepare
from resnet_cli.evaluate.evaluate import evaluate
from resnet_cli.evaluate.trained import trained_net
from resnet_cli.model import build
from resnet_cli.spec import RunSpec
from resnet_cli.train import checkpoint

BATCHES = 100


def main() -> None:
    """Tests each net twice, prints a line for it, and writes them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="*")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, help="a CSV; what it has already stays")
    options = parser.parse_args()
    run = RunSpec.model_validate_json((options.run / run_folder.SPEC).read_bytes())
    device, precision = choose_device(options.device), run.variant.precision
    prepare(device, precision)
    dataset = open_dataset(run.variant, options.data_dir).to(device)
    stream = dataset.train_stream(run)
    rows = []
    for path in options.checkpoints or [None]:
        if path:
            state = checkpoint.read(path)
            net, iteration = build(run.net, run.variant, run.seed, len(dataset.classes)), state.iteration
            net.load_state_dict(state.net)
        else:
            net, iteration = trained_net(run, options.run), run.protocol.iterations
        net.to(device)
        running = evaluate(net, dataset, precision)
        with torch.no_grad(), autocast(device, precision):
            update_bn((stream.batch(iteration + number)[0] for number in range(1, BATCHES + 1)), net)
        exact = evaluate(net, dataset, precision)
        rows.append((run.net.name, run.seed, iteration, running.top1_error, exact.top1_error))
        print("{} seed {}, {:6,} updates: running {:5.2f}, exact {:5.2f}".format(*rows[-1]), flush=True)
    if options.out:
        measured = pd.DataFrame(rows, columns=["net", "seed", "iteration", "running", "exact"])
        measured.to_csv(options.out, mode="a", header=not options.out.exists(), index=False, float_format="%.2f")


if __name__ == "__main__":
    main()
