"""What compiling costs before the first update: a net as a whole, or each shape of layer by itself.

    python benchmarks/compiling.py [--nets resnet-20 resnet-56 resnet-110]

Each figure is a process of its own. `cold`: nothing was compiled before; `after`: another net was, of another depth;
`warm`: the same net once more; `proof`: warm, the proof of the step included. Seconds of processor time, compilers
included, since those of a clock depend on who else is there; one thread, bf16.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile

from resnet_cli.tasks.cifar10 import Cifar10

NETS = ("resnet-20", "resnet-56", "resnet-110")


def main() -> None:
    """Prints a line for each net and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=NETS)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(f"{measure(*options.one):.1f}")
        return
    for net in options.nets:
        with tempfile.TemporaryDirectory() as folder:
            cold, warm, proof = (fresh(folder, net, "whole", what) for what in ("", "", "proof"))
        print(f"{net:12} whole      cold {cold:6}  warm {warm:6}  proof {proof:6}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, net in enumerate(options.nets):
            first, warm, proof = (fresh(folder, net, "layers", what) for what in ("", "", "proof"))
            name = "after" if number else "cold"
            print(f"{net:12} by layer   {name:6}{first:6}  warm {warm:6}  proof {proof:6}", flush=True)


def fresh(folder: str, net: str, way: str, what: str) -> str:
    """The seconds of a fresh process that keeps what it compiles in this folder."""
    settings = {"TORCHINDUCTOR_CACHE_DIR": folder, "TORCHINDUCTOR_COMPILE_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--one", net, way, what]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def measure(name: str, way: str, what: str) -> float:
    """Processor seconds from the net to the end of its first update."""
    import torch

    from resnet_cli.data import synthetic
    from resnet_cli.data.stream import TrainStream
    from resnet_cli.device.torch_device import prepare
    from resnet_cli.spec import Net
    from resnet_cli.train import graph_step
    from resnet_cli.train.proof import prove_net

    cpu, net, images = torch.device("cpu"), Net.model_validate(name), synthetic.load()
    prepare(cpu, "bf16")
    graph_step.MOST_LAYERS["cpu"] = 10_000 if way == "whole" else 0
    graph_step.obstacle(cpu)  # what the compiler itself takes to start
    began = seconds()
    if what == "proof":
        prove_net(net, "bf16", images)
    step = graph_step.make_step(Cifar10().make(net, 0), Cifar10.protocol, "bf16", cpu)
    stream = TrainStream(images, 0, Cifar10.protocol.batch_size)
    step.update(stream, 1, 0.1)
    return seconds() - began


def seconds() -> float:
    """Processor time of this process and of those it has started, so far."""
    used = [resource.getrusage(each) for each in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    main()
