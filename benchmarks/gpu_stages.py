"""The stages of on_gpu.py, each a process of its own: `python benchmarks/gpu_stages.py STAGE ...`.

What a stage finds out goes line by line into RESULTS/stages/STAGE.json, at once, so that a cut loses nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib.util
import json
import queue
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from on_gpu import STAGES, pack

from resnet_cli.data import synthetic
from resnet_cli.data.stream import TrainStream
from resnet_cli.device.torch_device import choose_device, prepare
from resnet_cli.evaluate.evaluate import evaluate
from resnet_cli.experiment import load_experiment
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.runs.one_run import open_run_dataset, train_one
from resnet_cli.runs.plan import plan
from resnet_cli.runs.settings import Settings
from resnet_cli.runs.timing import count_kernels
from resnet_cli.spec import Net
from resnet_cli.storage.store import Store
from resnet_cli.tasks.cifar10 import Cifar10
from resnet_cli.train import fused_norm, graph_step, proof

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resnet_cli.data import Dataset
    from resnet_cli.names import Precision
    from resnet_cli.runs.settings import Notice
    from resnet_cli.storage.run_folder import Status
    from resnet_cli.tasks.data import Data
    from resnet_cli.train.step import EagerStep

PROTOCOL = Cifar10.protocol
PACKAGES = ("pydantic", "plotly", "typer", "rich", "pandas", "matplotlib", "scipy", "safetensors", "filelock", "triton")
# Ways to compile a normalisation on CUDA, the program's own first; the fastest is what `train` takes.
FORMS: dict[str, dict[str, Any] | None] = {
    "as it is": {},
    "sums split again": {"split_reductions": True},
    "sums split again, combined": {"split_reductions": True, "combo_kernels": True},
    "the plain step's graph": None,
}
FORM = "first.form.json"
SIDE_BY_SIDE = (1, 2, 4, 8)
FIRST = ("plain-20", "resnet-20", "plain-56", "resnet-56", "plain-32", "resnet-32", "plain-44", "resnet-44")
LAST = "resnet-1202"
DEEPEST_TINY = 32
LINE_SECONDS = 20.0


class Notes:
    """What a stage finds out, written at once."""

    def __init__(self, results: Path, stage: str) -> None:
        self.path = results / STAGES / f"{stage}.json"
        self.found: dict[str, str] = {}

    def add(self, name: str, value: object) -> None:
        """Writes it down, and to the log."""
        self.found[name] = str(value)
        print(f"{time.strftime('%H:%M:%S')} {name}: {value}", flush=True)
        self.path.write_text(json.dumps(self.found, indent=1))

    @contextlib.contextmanager
    def trying(self, name: str) -> Iterator[None]:
        """A part of the stage; what goes wrong in it is written down, and the next part begins."""
        began = time.perf_counter()
        try:
            yield
        except Exception as error:  # noqa: BLE001  one part must not take the others down
            text = " ".join(str(error).split())[:300]
            self.add(f"{name} FAILED", f"{type(error).__name__}: {text}")
        print(f"{name}: {time.perf_counter() - began:.1f} s", flush=True)


class Bench:
    """The device, its precision and the embedded images on it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.device = choose_device(options.device)
        self.precision: Precision = options.precision
        prepare(self.device, self.precision)
        if options.tiny:
            graph_step.MOST_LAYERS["cpu"] = 0  # each layer by itself, as on CUDA: what is compiled serves every net
        self.batch = 16 if options.tiny else PROTOCOL.batch_size
        self.images: Dataset = (synthetic.load(train=64, test=64) if options.tiny else synthetic.load()).to(self.device)
        self.small, self.deep = ("resnet-8", ["plain-8"]) if options.tiny else ("resnet-20", ["plain-56", "resnet-110"])
        self.updates = 4 if options.tiny else 500

    def step(self, name: str, seed: int = 0) -> EagerStep:
        """The fast step of a net."""
        return graph_step.make_step(
            Cifar10().make(Net.model_validate(name), seed), PROTOCOL, self.precision, self.device
        )

    def stream(self, seed: int = 0) -> TrainStream:
        """Its batches."""
        return TrainStream(self.images, seed, self.batch)

    def run(self, name: str, precision: Precision | None = None) -> RunSpec:
        """A run of a net on these images."""
        variant = Variant(dataset="synthetic", precision=precision or self.precision)
        run = RunSpec.of(Net.model_validate(name), variant, PROTOCOL, 0)
        return run.model_copy(update={"protocol": run.protocol.model_copy(update={"batch_size": self.batch})})

    def wait(self) -> None:
        """Until the device has done all."""
        wait_for(self.device)


def wait_for(device: torch.device) -> None:
    """Until it has done all that was asked of it, on every stream."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def first(options: argparse.Namespace, notes: Notes) -> None:
    """What must be known before anything is trained."""
    with notes.trying("versions"):
        missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
        header = Path(sysconfig.get_path("include")) / "Python.h"
        notes.add(
            "python", f"{sys.version.split()[0]}, torch {torch.__version__}, packages missing: {missing or 'none'}"
        )
        notes.add(
            "compiler", f"gcc {shutil.which('gcc') or 'missing'}, Python.h {'there' if header.exists() else 'missing'}"
        )
    bench = Bench(options)
    if bench.device.type == "cuda":
        gib = torch.cuda.mem_get_info()[1] / 2**30
        notes.add("device", f"{torch.cuda.get_device_name()}, {gib:.0f} GiB, CUDA {torch.version.cuda}")
    with notes.trying("obstacle"):
        notes.add("obstacle to compiling", graph_step.obstacle(bench.device))
    with notes.trying("proof"):
        prove(bench, "resnet-8", notes)
        if bench.device.type == "cuda":
            notes.add("waits in three updates", waits(bench))
    with notes.trying("forms"):
        choose_form(bench, options.results_dir, notes)
    with notes.trying("resume"):
        notes.add("resumes with equal bits", resumes(bench))
    for name in (bench.small, *bench.deep):
        with notes.trying(f"proof of {name}"):
            prove(bench, name, notes)
    if not options.tiny:
        with notes.trying("proof in fp32"):
            prove(bench, bench.small, notes, "fp32")


def prove(bench: Bench, name: str, notes: Notes, precision: Precision | None = None) -> None:
    """The program's own proof of its fast step; the precision stays set."""
    if precision:
        prepare(bench.device, precision)
    run = bench.run(name, precision)
    notes.add(f"proof, {name}, {run.variant.precision}", proof.summary(proof.prove(run, bench.images)))


def waits(bench: Bench) -> str:
    """Whether the host waits for the device within an epoch."""
    step, stream = bench.step("resnet-8"), bench.stream()
    step.update(stream, 1, 0.1)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for iteration in (2, 3, 4):
            step.update(stream, iteration, 0.1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return "none"


def choose_form(bench: Bench, results: Path, notes: Notes) -> None:
    """Times the ways to compile a normalisation; the fastest is noted for the stages to come."""
    times = {}
    own, obstacle = dict(fused_norm.CUDA_OPTIONS), graph_step.obstacle
    for name, change in FORMS.items():
        with notes.trying(name):
            fused_norm.CUDA_OPTIONS.update(own)
            take(change)
            fused_norm._differentiable.cache_clear()  # noqa: SLF001  what was compiled another way
            torch._dynamo.reset()  # noqa: SLF001
            step, stream = bench.step(bench.small), bench.stream()
            began = time.perf_counter()
            step.update(stream, 1, 0.1)
            bench.wait()
            first_update = time.perf_counter() - began
            milliseconds = 1e3 * timed(bench, step, stream)
            kernels = None
            if bench.device.type == "cuda":
                kernels = count_kernels(partial(step.update, stream, 3, 0.1))
            times[name] = milliseconds
            notes.add(
                f"{bench.small}, {name}",
                f"{milliseconds:.3f} ms an update, {kernels} kernels, first update {first_update:.1f} s",
            )
    fused_norm.CUDA_OPTIONS.clear()
    fused_norm.CUDA_OPTIONS.update(own)
    graph_step.obstacle = obstacle
    if times:
        best = min(times, key=lambda name: times[name])
        (results / STAGES / FORM).write_text(json.dumps(FORMS[best]))
        notes.add("form taken", best)


def take_form(results: Path) -> None:
    """Makes updates in the form that stage `first` found fastest."""
    path = results / STAGES / FORM
    if path.exists():
        take(json.loads(path.read_text()))


def take(form: dict[str, Any] | None) -> None:
    """Compiles normalisations in this form; None: nothing is compiled."""
    if form is None:
        graph_step.obstacle = lambda _: "the graph of the plain step was faster"  # type: ignore[assignment]
    else:
        fused_norm.CUDA_OPTIONS.update(form)


def timed(bench: Bench, step: EagerStep, stream: TrainStream) -> float:
    """Seconds of an update, over many."""
    bench.wait()
    began = time.perf_counter()
    for iteration in range(2, 2 + bench.updates):
        step.update(stream, iteration, 0.1)
    bench.wait()
    return (time.perf_counter() - began) / bench.updates


def resumes(bench: Bench) -> bool:
    """Whether five updates, and two after a checkpoint of three, end with equal bits; and how long a test takes."""
    whole, stream = bench.step(bench.small), bench.stream()
    state: dict[str, Any] = {}
    for iteration in range(1, 6):
        whole.update(stream, iteration, 0.1)
        if iteration == 3:  # noqa: PLR2004
            state = copy.deepcopy({"net": whole.net.state_dict(), "optimizer": whole.optimizer.state_dict()})
    again = bench.step(bench.small)
    again.net.load_state_dict(state["net"])
    again.load_momentum(state["optimizer"])
    for iteration in (4, 5):
        again.update(stream, iteration, 0.1)
    evaluate(again.net, bench.images, bench.precision)
    pairs = zip(whole.net.state_dict().values(), again.net.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def bench(options: argparse.Namespace, notes: Notes) -> None:
    """Against the eager loop, then several nets side by side."""
    take_form(options.results_dir)
    here = Bench(options)
    names = ["resnet-8"] if options.tiny else ["resnet-20", "resnet-56", "resnet-110"]
    turns = ["--rounds", "1", "--updates", "1"] if options.tiny else ["--rounds", "2", "--updates", "100"]
    path = options.results_dir / STAGES / "bench.measured.json"
    command = ["bench", *names, "--against", "eager", "--format", "json", *turns, "--device", options.device]
    command += ["--results-dir", str(options.results_dir)]
    with notes.trying("against the eager loop"):
        with path.open("w") as out:
            subprocess.run(
                [sys.executable, "-m", "resnet_cli", *command, "--precision", options.precision], stdout=out, check=True
            )
        for name, each in json.loads(path.read_text())["nets"].items():
            notes.add(
                f"bench {name}",
                f"{each['update']['median']:.3f} ms, eager loop {each['eager']['median']:.2f} ms, "
                f"ratio {each['ratio']}, floor {each['floor']:.3f} ms, {each['kernels']} kernels, first update "
                f"{each['first_update_seconds']:.0f} s, {each['peak_bytes'] / 1e9:.2f} GB",
            )
    for name in [here.small] if options.tiny else ["resnet-20", "resnet-56"]:
        with notes.trying(f"side by side, {name}"):
            counts = SIDE_BY_SIDE[:2] if options.tiny else SIDE_BY_SIDE
            rates = {count: round(side_by_side(here, name, count), 1) for count in counts}
            notes.add(f"updates a second of {name} side by side", rates)


def on_a_stream(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """A CUDA stream of its own for what is done within."""
    if device.type == "cuda":
        return torch.cuda.stream(torch.cuda.Stream())  # type: ignore[no-untyped-call]
    return contextlib.nullcontext()


def side_by_side(bench: Bench, name: str, count: int) -> float:
    """Updates a second of so many nets in this process, a stream each, taken in turn."""
    nets = [(bench.step(name, seed), bench.stream(seed), on_a_stream(bench.device)) for seed in range(count)]
    bench.wait()  # the nets were copied on another stream
    rounds = max(2, bench.updates // count)
    for iteration in range(1, rounds + 2):
        if iteration == 2:  # noqa: PLR2004  the first compiles and captures
            bench.wait()
            began = time.perf_counter()
        for step, stream, place in nets:
            with place:
                step.update(stream, iteration, 0.1)
    bench.wait()
    return rounds * count / (time.perf_counter() - began)


def tests(options: argparse.Namespace, notes: Notes) -> None:
    """The tests that need the device and take seconds."""
    run_tests("gpu and not long", options, notes)


def run_tests(which: str, options: argparse.Namespace, notes: Notes) -> None:
    """Tests by their marks. Warnings of another version of torch fail nothing."""
    paths = ["tests/train/test_cuda.py"] if options.tiny else ["tests"]
    command = ["pytest", "-q", "-m", which, "-W", "default", "-p", "no:cacheprovider", *paths]
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-m", *command], cwd=root, capture_output=True, text=True, check=False)
    print(done.stdout[-20_000:], done.stderr[-5_000:], flush=True)
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    notes.add(f"tests, {which}", done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-300:])
    for number, line in enumerate(failed[:5]):
        notes.add(f"failed test {number + 1}", line[:150])
    none_collected = 5
    if done.returncode not in (0, none_collected):
        sys.exit(1)


def train(options: argparse.Namespace, notes: Notes) -> None:
    """Figure 6, several nets in threads of this process, a stream each; SIGTERM saves them all."""
    take_form(options.results_dir)
    device = choose_device(options.device)
    runs = [run for run in in_order(options) if run.net.name != LAST]
    jobs = best_jobs(options.results_dir)
    notes.add("side by side in one process", jobs)
    store = Store.open(options.results_dir)
    settings = Settings(options.device, options.data_dir, compiled=True if options.tiny else None)
    if options.tiny:
        graph_step.MOST_LAYERS["cpu"] = 0
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    dataset = open_run_dataset(runs[0], settings, print, stop.is_set)
    for run in runs:
        if not stop.is_set():
            prove_beforehand(run, dataset, store)
    waiting: queue.SimpleQueue[RunSpec] = queue.SimpleQueue()
    for run in runs:
        store.create_folder(run)
        waiting.put(run)
    writing = threading.Lock()

    def work() -> None:
        prepare(device, options.precision)  # a CPU's treatment of denormals is a thread's own
        with on_a_stream(device), contextlib.suppress(queue.Empty):
            while not stop.is_set():
                run = waiting.get_nowait()
                ending, message = train_one(run, store, lambda: dataset, settings, reporter(run), stop.is_set)
                with writing:
                    status = store.status(run)
                    error = "" if status.test_error is None else f", test error {status.test_error:.2f}%"
                    notes.add(f"{run.net.name} s{run.seed}", f"{ending}{error}, {status.train_seconds:.0f} s {message}")
                    pack(options.results_dir, options.out, "train")

    wait_for(device)  # the dataset was copied on another stream
    threads = [threading.Thread(target=work) for _ in range(min(jobs, len(runs)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if stop.is_set() or not all(store.is_done(run) for run in runs):
        sys.exit(1)


def prove_beforehand(run: RunSpec, dataset: Data, store: Store) -> None:
    """Has a run's step proven before any trains, since a proof waits for the device."""
    if proof.proven_step(run, dataset, store.proofs, print, lambda: None) == "captured":
        take(None)  # of all nets: a compiled step that failed would be tried again while others train


def in_order(options: argparse.Namespace) -> list[RunSpec]:
    """A seed of each net of Figure 6, the most telling first, then further seeds."""
    dataset = "synthetic" if options.tiny else "cifar10"
    variant = Variant(dataset=dataset, tiny=options.tiny, precision=options.precision)
    runs = plan(load_experiment("fig6"), variant, seeds=1 if options.tiny else 3)
    if options.tiny:
        runs = tuple(run for run in runs if run.net.depth <= DEEPEST_TINY)
    place = {name: number for number, name in enumerate(FIRST)}
    return sorted(runs, key=lambda run: (run.seed, place.get(run.net.name, len(place)), run.net.depth))


def best_jobs(results: Path) -> int:
    """How many side by side made most updates a second in stage `bench`; two, if it does not say."""
    path = results / STAGES / "bench.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    rates = next((found[name] for name in found if name.endswith("20 side by side")), None)
    if not rates:
        return 2
    counts = {int(count): float(rate) for count, rate in (each.split(":") for each in rates.strip("{}").split(","))}
    return max(counts, key=lambda count: counts[count])


def reporter(run: RunSpec) -> Callable[[Status | Notice], None]:
    """Tells now and then how far a run is."""
    told = 0.0

    def report(news: Status | Notice) -> None:
        nonlocal told
        text = getattr(news, "text", None)
        if text is None and time.monotonic() - told < LINE_SECONDS:
            return
        told = time.monotonic()
        print(f"{run.net.name}: {text or news}", flush=True)

    return report


def rest(options: argparse.Namespace, notes: Notes) -> None:
    """What takes minutes and is worth least: long tests, then 1202 layers."""
    run_tests("gpu and long", options, notes)
    if options.tiny:
        return
    take_form(options.results_dir)
    here = Bench(options)
    with notes.trying(LAST):
        step, stream = here.step(LAST), here.stream()
        began = time.perf_counter()
        step.update(stream, 1, 0.1)
        here.wait()
        first_update = time.perf_counter() - began
        here.updates = 10
        notes.add(LAST, f"{1e3 * timed(here, step, stream):.1f} ms an update, first update {first_update:.0f} s")


def main() -> None:
    """Does one stage."""
    stages = {"first": first, "bench": bench, "tests": tests, "train": train, "rest": rest}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=stages)
    for name in ("--results-dir", "--out", "--data-dir"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--precision", required=True)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    stages[options.stage](options, Notes(options.results_dir, options.stage))


if __name__ == "__main__":
    main()
