"""How fast a training update is here: its time, its memory, and the machine's limit."""

from __future__ import annotations

import gc
import resource
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from resnet_cli.data import synthetic
from resnet_cli.device.torch_device import prepare
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.runs.estimate import Speed
from resnet_cli.runs.processes import in_processes
from resnet_cli.runs.users_loop import PREFETCHED, SETTLE_SECONDS, EagerLoop
from resnet_cli.train.graph_step import make_step
from resnet_cli.train.step import EagerStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from resnet_cli.data import Dataset
    from resnet_cli.names import Precision
    from resnet_cli.spec import Net, Protocol
    from resnet_cli.tasks.task import Task

SPEED_SECONDS = 2.0  # of updates, and at least FEWEST_ROUNDS rounds, are enough to estimate a training's time
FEWEST_ROUNDS = 3
TESTED = 2_500  # images; a batch on CUDA
LAUNCH_SECONDS = 2.5e-6  # to launch a kernel inside a CUDA graph; assumed for the floor
KERNELS_A_LAYER = 9  # three convolutions, and three passes of normalisation forward and backward


@dataclass(frozen=True)
class Timing:
    """Milliseconds of an update over the rounds."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, rounds: list[float]) -> Timing:
        """The timing from the mean update of each round, in seconds."""
        return cls(*(round(1e3 * each, 4) for each in (statistics.median(rounds), min(rounds), max(rounds))))


@dataclass(frozen=True)
class Result:
    """What was measured of one net.

    Attributes:
        update: An update, making its batch included, as in a training.
        first_update_seconds: Time of the first update, compiling included.
        eager: The user's loop, its loader included; None if it was not asked for.
        ratio: Ratio of the two medians.
        floor: A lower bound on an update's milliseconds here: its arithmetic at the speed of a large matrix product,
            or on CUDA the launches of `KERNELS_A_LAYER`, if those take longer.
        kernels: Kernels that an update launches, on CUDA.
        peak_bytes: Peak memory: of the device on CUDA, else of a whole process that makes two updates.
        test_seconds: Time of one pass over 10,000 test images.
    """

    net: str
    update: Timing
    first_update_seconds: float
    images_per_second: float
    eager: Timing | None
    ratio: float | None
    floor: float
    kernels: int | None
    peak_bytes: int
    test_seconds: float


@dataclass(frozen=True)
class Plan:
    """How to measure.

    Attributes:
        dataset: The dataset, on the device.
        is_fast: Whether to measure the fast step, else the plain one.
        against_eager: Whether to measure the user's loop too.
        rounds: Rounds of each loop.
        updates: Updates in each round.
        task: The task that the nets and the loss are from.
        protocol: Its batch size and its optimiser's settings are used.
        parts: The number of parts in which a batch goes through the net.
    """

    dataset: Dataset
    precision: Precision
    is_fast: bool
    against_eager: bool
    rounds: int
    updates: int
    task: Task
    protocol: Protocol
    parts: int = 1


def measure(net: Net, plan: Plan, report: Callable[[str], None]) -> Result:
    """Measures one net; calls `report` with what is being done."""
    device = plan.dataset.device
    prepare(device, plan.precision)
    report("compiling" if plan.is_fast else "warming up")
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    ours = Ours(net, plan)
    began = time.perf_counter()
    ours.updates(1)
    first = time.perf_counter() - began
    ours.updates(2)
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    theirs = EagerLoop(net, plan) if plan.against_eager else None
    ours_rounds, their_rounds = [], []
    for number in range(plan.rounds):
        report(f"round {number + 1} of {plan.rounds}")
        if theirs:
            theirs.updates(PREFETCHED)
            their_rounds.append(theirs.updates(plan.updates))
            time.sleep(SETTLE_SECONDS)
        ours.updates(1)
        ours_rounds.append(ours.updates(plan.updates))
    kernels = count_kernels(lambda: ours.updates(1)) if device.type == "cuda" else None
    report("testing")
    test_seconds = ours.test_seconds()
    if theirs:
        theirs.close()
    if device.type != "cuda":
        report("measuring its memory")
        peak = peak_of_a_process(net, plan)
    mine = Timing.of(ours_rounds)
    eager = Timing.of(their_rounds) if theirs else None
    return Result(
        net=net.name,
        update=mine,
        first_update_seconds=round(first, 3),
        images_per_second=round(1e3 * plan.protocol.batch_size / mine.median, 1),
        eager=eager,
        ratio=round(eager.median / mine.median, 3) if eager else None,
        floor=round(1e3 * floor(net, plan, device), 4),
        kernels=kernels,
        peak_bytes=peak,
        test_seconds=round(test_seconds, 4),
    )


def speed(net: Net, plan: Plan) -> Speed:
    """Measures in some seconds what is needed to estimate a training's time; takes the mean update, as pauses count."""
    began = time.perf_counter()
    ours = Ours(net, plan)
    ours.updates(1)
    first = time.perf_counter() - began
    ours.updates(2)
    rounds: list[float] = []
    while len(rounds) < FEWEST_ROUNDS or sum(rounds) * plan.updates < SPEED_SECONDS:
        rounds.append(ours.updates(plan.updates))
    test = ours.test_seconds() * len(plan.dataset.test_labels) / 10_000
    began = time.perf_counter()
    Ours(net, plan).updates(1)
    return Speed(net, statistics.fmean(rounds), test, first, time.perf_counter() - began, plan.is_fast)


class Ours:
    """A training as `resnet run` makes it, without its logs."""

    def __init__(self, net: Net, plan: Plan) -> None:
        self.plan = plan
        make, task, data = make_step if plan.is_fast else EagerStep, plan.task, plan.dataset
        run = RunSpec(net=net, variant=Variant(dataset=task.dataset), protocol=plan.protocol, seed=0)
        self.net = task.build(net, run.variant, 0, len(data.classes))
        self.step = make(self.net, plan.protocol, plan.precision, data.device, plan.parts, task.loss())
        self.stream = task.stream(data, run)
        self.iteration = 0

    def updates(self, count: int) -> float:
        """Makes `count` updates; returns the seconds per update."""
        began = time.perf_counter()
        for _ in range(count):
            self.iteration += 1
            loss, _ = self.step.update(self.stream, self.iteration, self.plan.protocol.learning_rate)
        loss.item()  # waits for the device
        return (time.perf_counter() - began) / count

    def test_seconds(self) -> float:
        """Seconds of a test on 10,000 images, estimated from some of them, after as many to warm up."""
        whole = self.plan.dataset
        some = replace(whole, test_images=whole.test_images[:TESTED], test_labels=whole.test_labels[:TESTED])
        for _ in range(2):
            began = time.perf_counter()
            self.plan.task.test(self.net, some, self.plan.precision)
            seconds = time.perf_counter() - began
        return seconds * 10_000 / len(some.test_labels)


def floor(net: Net, plan: Plan, device: torch.device) -> float:
    """A lower bound on an update's seconds: see `Result`. An update has three times a forward pass's arithmetic."""
    size = 8_192 if device.type == "cuda" else 2_048
    matrix = torch.randn(size, size, device=device, dtype=torch.bfloat16 if plan.precision == "bf16" else torch.float32)
    seconds = []
    for _ in range(7):
        began = time.perf_counter()
        (matrix @ matrix)[0, 0].item()
        seconds.append(time.perf_counter() - began)
    operations = 3 * 2 * plan.task.multiply_adds(net) * plan.protocol.batch_size
    arithmetic = operations / (2 * size**3) * min(seconds)
    launches = LAUNCH_SECONDS * KERNELS_A_LAYER * (net.depth + 1) if device.type == "cuda" else 0.0
    return max(arithmetic, launches)


def count_kernels(work: Callable[[], object]) -> int:
    """Kernels that a piece of work launches on CUDA."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        work()
        torch.cuda.synchronize()
    on_device = (each for each in recorded.events() or [] if each.device_type.name == "CUDA")
    return sum(not each.name.startswith(("Memcpy", "Memset")) for each in on_device)


def peak_of_a_process(net: Net, plan: Plan) -> int:
    """Peak resident bytes of a fresh process that makes two updates of this net on the CPU."""
    arguments = net, plan.precision, plan.is_fast, plan.task, plan.protocol
    name, advice = f"{net.name}: a process that trains it", "measure it on a machine with more memory"
    (peak,) = in_processes(_two_updates, [arguments], name, advice)
    return peak


def _two_updates(net: Net, precision: Precision, is_fast: bool, task: Task, protocol: Protocol) -> int:
    prepare(torch.device("cpu"), precision)
    few = synthetic.load(train=protocol.batch_size, test=1)
    plan = Plan(few, precision, is_fast, against_eager=False, rounds=0, updates=0, task=task, protocol=protocol)
    Ours(net, plan).updates(2)
    return _peak()


def _peak() -> int:
    """Peak resident bytes of this process. On Linux, getrusage starts from the parent's peak, so /proc is read."""
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
