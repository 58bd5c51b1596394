"""Everything worth doing on a GPU that is lent for 15 minutes, in calls that can be cut off and repeated.

    python benchmarks/on_gpu.py --data-dir DATA --results-dir RESULTS --out OUT [--minutes 9]
    python benchmarks/on_gpu.py --results-dir /tmp/results --out /tmp/out --device cpu --tiny    # a rehearsal

Stages, in the order of what they are worth; each has its limit, is packed into OUT when it ends, and is not done again:

    first   is the fast step right here, which form of it is fastest, does it resume exactly (gpu_stages.py)
    bench   `resnet bench` of 20, 56 and 110 layers against the eager loop; nets side by side in one process
    tests   pytest -m "gpu and not long"
    train   Figure 6 at the paper's scale, a seed of each net, then more, several side by side; needs CIFAR-10
    rest    the tests that take minutes, and 1202 layers

Where a call takes less than the whole dataset, it travels in parts: --part FOLDER adds a folder's files to those of
earlier calls, and when there are --files of them, `python PARTS/--unpack DATA` makes the dataset of them. Results of
an earlier machine go on with --earlier FOLDER, where its OUT was copied. A table is printed last.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

from publish import measured_files

MOST_BYTES = 15_000_000  # of a packed file
TABLE_LINES = 25
STAGES = Path("stages")  # in the results folder
COMPILED = Path("compiled")  # there too
GRACE_SECONDS = 15.0  # from SIGTERM to SIGKILL; a training saves what it has
TINY_PATIENCE = 10  # a rehearsal's CPU may be busy, and its limits are not what is rehearsed
LEAST_SECONDS = 15.0  # with less time left, starting a stage is not worth it


@dataclass(frozen=True)
class Stage:
    """A part of the work: its name, and the most seconds it may take."""

    name: str
    seconds: float


PLAN = (Stage("first", 150), Stage("bench", 110), Stage("tests", 80), Stage("train", 1e9), Stage("rest", 1e9))


def main() -> None:
    """Does the stages that are not done, packs what each has measured, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--results-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--earlier", type=Path)
    parser.add_argument("--part", type=Path)
    parser.add_argument("--unpack", default="unpack.py")
    parser.add_argument("--files", type=int, default=0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--only", help="these stages, with commas between")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a stage must not outlive a call that is cut
    deadline = time.monotonic() + 60 * options.minutes
    results: Path = options.results_dir
    (results / STAGES).mkdir(parents=True, exist_ok=True)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.earlier:
        unpack_earlier(options.earlier, results)
    if options.part:
        join_parts(options)
    for stage in PLAN:
        if options.only and stage.name not in options.only.split(","):
            continue
        if stage.name == "train" and not options.tiny and not (options.data_dir / "cifar-10-batches-py").is_dir():
            note(results, stage, "no CIFAR-10 here yet", 0.0)
            break  # what is left of the time is for the training, in a later call
        left = deadline - time.monotonic() - GRACE_SECONDS
        if state_of(results, stage) != "done" and left > LEAST_SECONDS:
            do(stage, options, min(stage.seconds * (TINY_PATIENCE if options.tiny else 1), left))
    print(*table(results), sep="\n")


def unpack_earlier(folder: Path, results: Path) -> None:
    """Goes on from what an earlier machine has packed."""
    for path in sorted(folder.glob("*.tar.gz")):
        with tarfile.open(path) as archive:
            archive.extractall(results, filter="data")


def join_parts(options: argparse.Namespace) -> None:
    """Adds this call's part of the dataset; unpacks it when all are there."""
    parts = options.data_dir / "parts"
    shutil.copytree(options.part, parts, dirs_exist_ok=True)
    here = sum(path.is_file() for path in parts.rglob("*"))
    print(f"parts of the dataset: {here} files of {options.files}")
    if here >= options.files:
        subprocess.run([sys.executable, str(parts / options.unpack), str(options.data_dir)], check=True)
        shutil.rmtree(parts)


def do(stage: Stage, options: argparse.Namespace, seconds: float) -> None:
    """Does a stage in a process of its own, whose crash or hang ends nothing but itself."""
    results: Path = options.results_dir
    arguments = ["--results-dir", results, "--out", options.out, "--data-dir", options.data_dir]
    arguments += ["--device", options.device, "--precision", options.precision, *(["--tiny"] if options.tiny else [])]
    command = [sys.executable, "-u", Path(__file__).with_name("gpu_stages.py"), stage.name, *arguments]
    began = time.monotonic()
    state = "cut"
    print(f"{stage.name}: at most {seconds:.0f} s", flush=True)
    # One folder of compiled code for all stages and processes.
    environment = {"TORCHINDUCTOR_CACHE_DIR": str(results.absolute() / COMPILED), **os.environ}
    root = Path(__file__).parents[1]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    with (results / STAGES / f"{stage.name}.log").open("a") as log:
        process = subprocess.Popen(
            [str(each) for each in command], stdout=log, stderr=log, env=environment, process_group=0
        )
        try:
            state = "done" if process.wait(seconds) == 0 else "failed"
        except subprocess.TimeoutExpired:
            pass
        finally:
            end(process)
            note(results, stage, state, time.monotonic() - began)
            pack(results, options.out, stage.name)
            if stage == PLAN[0] and (results / COMPILED).is_dir():
                pack_compiled(results, options.out)
    print(f"{stage.name}: {state} after {time.monotonic() - began:.0f} s", flush=True)


def end(process: subprocess.Popen[bytes]) -> None:
    """Asks a stage and what it has started to stop; a moment later makes them."""
    for wish in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, wish)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)


def note(results: Path, stage: Stage, state: str, seconds: float) -> None:
    """Writes down how a stage ended."""
    content = json.dumps({"state": state, "seconds": round(seconds, 1)})
    (results / STAGES / f"{stage.name}.state").write_text(content + "\n")


def state_of(results: Path, stage: Stage) -> str:
    """How it ended; empty if it was not begun."""
    path = results / STAGES / f"{stage.name}.state"
    return str(json.loads(path.read_text())["state"]) if path.exists() else ""


def pack(results: Path, out: Path, name: str) -> None:
    """Packs what a stage has written; of trainings logs, tables and figures, and apart what they need to go on."""
    files = [path for path in sorted((results / STAGES).iterdir()) if path.name.partition(".")[0] == name]
    with tarfile.open(out / f"{name}.tar.gz", "w:gz") as archive:
        for path in [*files, *(measured_files(results) if name == "train" else ())]:
            archive.add(path, path.relative_to(results))
    if name != "train":
        return
    size = 0
    with tarfile.open(out / "checkpoints.tar.gz", "w:gz") as archive:
        for path in sorted(results.glob("runs/*/checkpoint.pt"), key=lambda each: each.stat().st_size):
            size += path.stat().st_size
            if size < MOST_BYTES:
                archive.add(path, path.relative_to(results))


def pack_compiled(results: Path, out: Path) -> None:
    """Packs what the first stage has compiled, which serves every net, unless it is large: a fresh machine takes it."""
    path, part = out / "compiled.tar.gz", out / "compiled.part"
    with tarfile.open(part, "w:gz") as archive:
        archive.add(results / COMPILED, COMPILED)
    if part.stat().st_size < MOST_BYTES:
        part.replace(path)  # whole, or not at all: a call may be cut here
    part.unlink(missing_ok=True)


def table(results: Path) -> list[str]:
    """What was found, the most important last, in few lines."""
    lines = []
    for stage in PLAN:
        path = results / STAGES / f"{stage.name}.state"
        if path.exists():
            content = json.loads(path.read_text())
            lines.append(f"{stage.name:6} {content['state']}, {content['seconds']:.0f} s")
    rows = []
    for stage in PLAN:
        found = results / STAGES / f"{stage.name}.json"
        if found.exists():
            rows += [f"{name}: {value}"[:160] for name, value in json.loads(found.read_text()).items()]
    return [*lines, *rows[: TABLE_LINES - len(lines)]]


if __name__ == "__main__":
    main()
