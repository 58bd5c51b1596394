"""How long the torch-free commands take, against `python -c "import typer, rich"`, interleaved in one run.

python benchmarks/startup.py [--rounds 20]

A ratio is the median over rounds of a command's time by the bare imports' time in the same round: of the clock, and of
the CPU's time, which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

BARE = "import typer, rich"
COMMANDS = {
    BARE: ["-c", BARE],
    "resnet --help": ["-m", "resnet_cli", "--help"],
    "resnet list": ["-m", "resnet_cli", "list"],
    "resnet show table6": ["-m", "resnet_cli", "show", "table6"],
    "resnet status": ["-m", "resnet_cli", "status"],
}


def main() -> None:
    """Prints the median times of each command and its ratios to the bare imports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds(arguments))
    print(f"{'':20}    clock  ratio      CPU  ratio")
    for name, each in times.items():
        words = []
        for kind in (0, 1):
            ratios = [mine[kind] / bare[kind] for mine, bare in zip(each, times[BARE], strict=True)]
            words.append(f"{statistics.median(one[kind] for one in each):6.3f} s {statistics.median(ratios):5.2f}x")
        print(f"{name:20} {'   '.join(words)}")


def seconds(arguments: list[str]) -> tuple[float, float]:
    """Seconds of the clock and of the CPU that Python takes for these arguments."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    clock, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
