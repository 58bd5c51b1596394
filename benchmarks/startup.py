"""How long the torch-free commands take, against `python -c "import typer"`, interleaved in one run.

python benchmarks/startup.py [--rounds 9]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "import typer": ["-c", "import typer"],
    "resnet --help": ["-m", "resnet_cli", "--help"],
    "resnet list": ["-m", "resnet_cli", "list"],
    "resnet show table6": ["-m", "resnet_cli", "show", "table6"],
    "resnet status": ["-m", "resnet_cli", "status"],
}


def main() -> None:
    """Prints the median time of each command and its ratio to the first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - began)
    baseline = statistics.median(seconds["import typer"])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"{name:20} {median:6.3f} s   {median / baseline:5.1f} x import typer")


if __name__ == "__main__":
    main()
