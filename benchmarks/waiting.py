"""How trainings share cores that are too few: one alone, beside others like it, and beside other programs.

    python benchmarks/waiting.py [--precision bf16] [--plain] [--others 0 1 2 3] [--beside programs] [--out FILE]

Three ways, turn by turn: `spin` is OpenMP's default; `sleep` is OMP_WAIT_POLICY=PASSIVE; `turns` is what the program
does (resnet_cli/device/turns.py). Each training makes updates of batch 128 with as many threads as there are cores. Its
fair share is the speed of one alone that spins, divided by the number of trainings. Beside programs, each of which
keeps one thread busy, it is that speed times the share of the cores that a scheduler gives to as many threads.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from resnet_cli.tasks.cifar10 import Cifar10

WAYS: dict[str, dict[str, str]] = {"spin": {}, "sleep": {"OMP_WAIT_POLICY": "PASSIVE"}, "turns": {}}
SETTLE_SECONDS = 6.0  # before a measurement, in which a training finds out that it is not alone
BUSY = "while True: pass"


def main() -> None:
    """Measures, and prints a line for each way and number of others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="resnet-20")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--plain", action="store_true", help="the plain step, not the compiled one")
    parser.add_argument("--ways", nargs="+", choices=[*WAYS], default=[*WAYS])
    parser.add_argument("--others", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--beside", choices=["trainings", "programs"], default="trainings")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--train", choices=[*WAYS], help=argparse.SUPPRESS)  # a process that is measured
    options = parser.parse_args()
    if options.train:
        train(options)
        return
    speeds: dict[tuple[str, int], list[list[float]]] = {}
    for _ in range(options.rounds):
        for others in sorted({0, *options.others}):
            for way in options.ways:
                speeds.setdefault((way, others), []).append(measure(way, others, options))
    alone = statistics.median(each[0] for each in speeds[options.ways[0], 0])
    cores, rows = os.cpu_count() or 1, []
    for (way, others), each in speeds.items():
        fair = alone / (1 + others) if options.beside == "trainings" else alone * min(1, cores / (cores + others))
        typical, lowest = statistics.median(map(statistics.mean, each)), min(map(min, each))
        row = {"way": way, "others": others, "images_per_second": typical, "share": typical / fair}
        rows.append({**row, "lowest_share": lowest / fair, "rounds": each})
        print(f"{way:6} beside {others} {options.beside}: {typical:6.0f} images/s, {typical / fair:.2f} of", end=" ")
        print(f"the fair share (the slowest {lowest / fair:.2f})")
    if options.out:
        about = {key: value for key, value in vars(options).items() if key not in ("out", "train")}
        options.out.write_text(json.dumps({**about, "cores": cores, "rows": rows}, indent=1) + "\n")


def measure(way: str, others: int, options: argparse.Namespace) -> list[float]:
    """Images a second of each training that takes this way."""
    command = [sys.executable, __file__, "--train", way, "--net", options.net, "--precision", options.precision]
    command += ["--seconds", str(options.seconds), *(["--plain"] if options.plain else [])]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "KMP_"))}
    trainings = 1 + (others if options.beside == "trainings" else 0)
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with contextlib.ExitStack() as stack:
        processes: list[Any] = []  # with both pipes, which are optional in the type
        for _ in range(trainings):
            processes.append(subprocess.Popen(command, env={**clean, **WAYS[way]}, **pipes))
            stack.callback(processes[-1].kill)
            processes[-1].stdout.readline()  # it has warmed up, alone, and waits
        for _ in range(1 + others - trainings):
            stack.callback(subprocess.Popen([sys.executable, "-c", BUSY]).kill)
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        return [float(process.stdout.readline()) for process in processes]


def train(options: argparse.Namespace) -> None:
    """Warms up, waits for a word, trains, tells its speed, and goes on so that others are not alone meanwhile."""
    from resnet_cli.data import synthetic
    from resnet_cli.device.torch_device import choose_device, prepare
    from resnet_cli.device.turns import Turns
    from resnet_cli.spec import Net
    from resnet_cli.train.graph_step import make_step
    from resnet_cli.train.step import EagerStep

    device, protocol = choose_device("cpu"), Cifar10().protocol
    prepare(device, options.precision)
    dataset = synthetic.load(train=protocol.batch_size, test=1)
    net = Cifar10().make(Net.model_validate(options.net), 0, len(dataset.classes))
    step = (EagerStep if options.plain else make_step)(net, protocol, options.precision, device)
    images, labels = dataset.normalize(dataset.train_images), dataset.train_labels
    turns = Turns(device, options.precision)

    def updates(seconds: float) -> float:
        began, count = time.monotonic(), 0
        while time.monotonic() - began < seconds:
            if options.train == "turns":
                turns.take()
            step(images, labels, 0.1)
            count += 1
        return protocol.batch_size * count / (time.monotonic() - began)

    updates(0.1)
    print("ready", flush=True)
    sys.stdin.readline()
    updates(SETTLE_SECONDS)
    print(updates(options.seconds), flush=True)
    updates(1e9)


if __name__ == "__main__":
    main()
