"""Everything worth doing on a borrowed GPU, in one call that can be cut off and repeated.

    python benchmarks/on_gpu.py --data-dir DATA --results-dir RESULTS --out OUT [--minutes 8]
    python benchmarks/on_gpu.py --results-dir /tmp/results --out /tmp/out --device cpu --tiny    # a rehearsal

In this order: the GPU tests, `resnet bench` against the eager loop, with --photographs FOLDER the speed of ImageNet's
nets (each in the first call only), then at paper scale Figure 6, a look into its nets (Figure 7, backward signals),
Table 6 and the paper's arguments; cheap nets first, one seed of each before more seeds. Training is stopped with
SIGTERM when the minutes are over and goes on in the next call.
Logs, statuses and environments (no weights) are packed into OUT/results.tar.gz; a short table is printed last.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from publish import measured_files

START_SECONDS = 20.0  # with less time left, starting a command is not worth it


def main() -> None:
    """Runs the steps, packs what was measured, prints where each run stands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--results-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--jobs", default="6")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    deadline = time.monotonic() + 60 * options.minutes
    options.out.mkdir(parents=True, exist_ok=True)
    options.results_dir.mkdir(parents=True, exist_ok=True)

    tests_log = options.results_dir / "gpu-tests.log"
    try:
        if not tests_log.exists():
            with tests_log.open("w") as log:
                command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q"]
                run_until(deadline, subprocess.Popen(command, stdout=log, stderr=log))
        nets = ["resnet-8"] if options.tiny else [f"resnet-{depth}" for depth in (20, 32, 44, 56, 110)]
        measure(
            "bench.json", [*nets, "--against", "eager"], ("1", "1") if options.tiny else ("7", "200"), options, deadline
        )
        if not options.tiny:
            measure("bench-1202.json", ["resnet-1202"], ("3", "10"), options, deadline)
        speed = options.results_dir / "imagenet-speed.json"
        if options.photographs and not speed.exists():
            command = [sys.executable, str(Path(__file__).with_name("imagenet.py")), "--out", str(speed)]
            command += ["--dataset-root", str(options.photographs), "--device", options.device]
            command += ["--precision", options.precision, *(["--batch-size", "4"] if options.tiny else [])]
            run_until(deadline, subprocess.Popen(command))
        arguments = [(name, "3") for name in ("convergence", "construction", "single-layer", "longer")]
        for experiment, seeds in (("fig6", "1"), ("fig7", "1"), ("gradients", "1"), ("table6", "5"), *arguments):
            train(experiment, seeds, options, deadline)
    finally:
        pack(options.results_dir, options.out)
    print(*tests_log.read_text().splitlines()[-3:], sep="\n")
    subprocess.run(
        [sys.executable, "-m", "resnet_cli", "status", "--results-dir", str(options.results_dir)], check=False
    )


def measure(name: str, nets: list[str], turns: tuple[str, str], options: argparse.Namespace, deadline: float) -> None:
    """Measures updates of CIFAR-10's nets, if it was not done before."""
    path = options.results_dir / name
    if path.exists() and path.stat().st_size:
        return
    command = ["bench", *nets, "--rounds", turns[0], "--updates", turns[1], "--format", "json"]
    command += ["--device", options.device, "--precision", options.precision, "--data-dir", str(options.data_dir)]
    with path.open("w") as out:
        run_until(deadline, subprocess.Popen([sys.executable, "-m", "resnet_cli", *command], stdout=out))


def train(experiment: str, seeds: str, options: argparse.Namespace, deadline: float) -> None:
    """Trains an experiment until it is done or the time is over."""
    if deadline - time.monotonic() < START_SECONDS:
        return
    scale = ["--tiny"] if options.tiny else ["--precision", options.precision, "--data-dir", str(options.data_dir)]
    command = ["run", experiment, "--seeds", seeds, "--device", options.device, "--jobs", options.jobs, *scale]
    run_until(
        deadline,
        subprocess.Popen([sys.executable, "-m", "resnet_cli", *command, "--results-dir", str(options.results_dir)]),
    )


def run_until(deadline: float, process: subprocess.Popen[bytes]) -> None:
    """Waits for a process; at the deadline asks it to stop, and half a minute later makes it."""
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def pack(results: Path, out: Path) -> None:
    """Packs logs, tables and figures; weights and checkpoints stay."""
    with tarfile.open(out / "results.tar.gz", "w:gz") as archive:
        for path in [*measured_files(results), *results.glob("*.log"), *results.glob("*.json")]:
            archive.add(path, path.relative_to(results))


if __name__ == "__main__":
    main()
