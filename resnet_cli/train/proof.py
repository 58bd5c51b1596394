"""Checks that the fast step makes the plain one's updates here, with a run's own net, before the run uses it.

A compiled or captured step depends on the device, its driver, torch and a compiler: tests cannot cover all of them.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from resnet_cli.device.ranks import ALONE
from resnet_cli.device.versions import installed
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.nets import resnet as model
from resnet_cli.storage import run_folder
from resnet_cli.train import environment, fused_norm, graph_step, step
from resnet_cli.train.graph_step import make_step
from resnet_cli.train.step import EagerStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from resnet_cli.device.ranks import Ranks
    from resnet_cli.names import Precision
    from resnet_cli.spec import Net
    from resnet_cli.tasks.data import Data
    from resnet_cli.train.graph_step import StepName

# Shares of the run's first rate, at which rounding errors would grow so fast in a deep net that they could hide a
# fault. They differ, which reveals a captured rate; three updates also reveal a captured batch and lost momentum.
RATES = (0.1, 0.02, 0.05)
# How far the fast step may be from the plain one: for losses relatively; for weights, momentum and running statistics
# the norm of the difference over the norm of their change. These limits are what tests/train/test_graph_step.py allows
# a shallow net. The limit is this multiple of the effect of rounding in the plain step, if that is more; on CPUs the
# difference was up to 3.5 times that effect.
LOSS = {"fp32": 1e-3, "tf32": 0.02, "bf16": 0.02}
CHANGE = {"fp32": 0.01, "tf32": 0.05, "bf16": 0.05}
MULTIPLE = 4
# Relative change of every weight that simulates rounding. A deep net amplifies it as much as another order of sums:
# after three updates in float32 the weights' change of ResNet-8 differs by 0.1%, of plain-56 by 40%.
LAST_BITS = {"fp32": 2**-20, "tf32": 2**-11, "bf16": 2**-9}
PLATFORM = ("python", "torch", "cuda", "cudnn", "system", "device", "device_name", "threads", "precision", "step")
DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Proof:
    """The result of a comparison.

    Attributes:
        problem: What is wrong with the fast step here, as one line; None if it may be trusted.
        differences: Of the fast step from the plain one; see `CHANGE`. Empty if it failed.
        limits: How large they may be.
        seconds: Of all updates, compiling included.
    """

    problem: str | None
    differences: dict[str, float]
    limits: dict[str, float]
    seconds: float


def proven_step(
    run: RunSpec,
    dataset: Data,
    folder: Path,
    report: Callable[[str], None],
    between_updates: Callable[[], None],
    ranks: Ranks = ALONE,
    *,
    before: StepName | None = None,
) -> StepName:
    """The fastest step that a run may trust here: compiled, on CUDA the plain one captured, or the plain one.

    Args:
        run: Its net, precision and protocol are tried.
        dataset: The run's, on the device.
        folder: Where agreement is recorded.
        report: Called with lines: which step is tried, why a faster one is not used, and what there is to wait for.
        between_updates: See `obstacle`.
        ranks: Those of the run; only the first calls this, with its share of the batch.
        before: The step that the run was trained with so far: if the plain one was captured, it is kept.

    Raises:
        OSError: Agreement cannot be recorded.
    """
    is_graph = graph_step.takes_a_graph(dataset.device, is_alone=ranks.count == 1)
    goes_on = is_graph and before == "captured"
    problem = "as the run began" if goes_on else graph_step.obstacle(dataset.device)
    if problem is None:
        report("compiling its step; the first time this takes up to a minute")
        problem = obstacle(run, dataset, folder, report, between_updates, ranks, "compiled")
        if problem is None:
            return "compiled"
    if is_graph:
        report(f"uses the plain step as a CUDA graph: {problem}")
        problem = obstacle(run, dataset, folder, report, between_updates, ranks, "captured")
        if problem is None:
            return "captured"
    report(f"uses the plain step, which is slower: {problem}")
    return "plain"


def obstacle(
    run: RunSpec,
    dataset: Data,
    folder: Path,
    report: Callable[[str], None],
    between_updates: Callable[[], None],
    ranks: Ranks = ALONE,
    name: StepName = "compiled",
) -> str | None:
    """What keeps a run from trusting a fast step here, as one line; None if it agrees with the plain one.

    Agreement is recorded, one file for each net, step, device and version, and not checked again.

    Args:
        run: See `proven_step`.
        dataset: See `proven_step`.
        folder: See `proven_step`.
        report: Called with a line when there is something to wait for.
        between_updates: Called after each update of the plain step and of the fast one; may raise.
        ranks: See `proven_step`.
        name: The compiled step, or the plain one captured.

    Raises:
        OSError: The record cannot be written.
    """
    where = _circumstances(run, dataset, ranks, name)
    digest = hashlib.sha256(json.dumps(where, sort_keys=True).encode()).hexdigest()[:8]
    note = folder / f"{run.net.name}-{where['precision']}-{digest}.json"
    if note.exists():
        return None
    report("comparing its fast step with the plain one, once on this device")
    proof = prove(run, dataset, between_updates, ranks, name)
    if proof.problem is None:
        folder.mkdir(parents=True, exist_ok=True)
        run_folder.replace_file(note, (json.dumps({**where, **asdict(proof)}, indent=1) + "\n").encode())
    return proof.problem


def summary(proof: Proof) -> str:
    """In one line, for a person: what was found, and how far the steps are apart."""
    if proof.problem:
        return proof.problem
    apart = ", ".join(f"{name} {each:.1g}" for name, each in proof.differences.items() if name != "counters")
    return f"the fast step agrees with the plain one ({proof.seconds:.0f} s); relative differences: {apart}"


def prove(
    run: RunSpec,
    dataset: Data,
    between_updates: Callable[[], None] = lambda: None,
    ranks: Ranks = ALONE,
    name: StepName = "compiled",
) -> Proof:
    """Makes a few updates from the run's start by the plain step and by the fast one; leaves nothing behind."""
    began = time.perf_counter()
    precision = run.variant.precision
    plain, rounded, fast = (_Attempt(run, dataset, ranks) for _ in range(3))
    problem = None
    try:
        for _ in plain.updates(EagerStep):
            between_updates()
        for _ in rounded.updates(EagerStep, LAST_BITS[precision]):
            between_updates()
        updates = fast.updates(partial(make_step, is_alone=ranks.count == 1, is_compiled=name == "compiled"))
        while problem is None:
            try:
                next(updates)
            except StopIteration:
                break
            except Exception as error:  # noqa: BLE001  compilers and captures fail in as many ways as there are systems
                lines = [line.strip() for line in str(error).splitlines() if line.strip()]
                failure = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
                problem = f"the fast step fails here: {failure}"
            else:
                between_updates()
    finally:
        _let_go()
    if problem:
        return Proof(problem, {}, {}, round(time.perf_counter() - began, 2))
    differences, noise = plain.differences(fast), plain.differences(rounded)
    least = {name: (LOSS if name == "loss" else CHANGE)[precision] for name in noise} | {"counters": 0.0}
    limits = {name: max(least[name], MULTIPLE * each) for name, each in noise.items()}
    # "not ... <=" since NaN is not agreement.
    wrong = [name for name, each in differences.items() if not each <= limits[name]]
    if wrong:
        told = ", ".join(f"{name} by {differences[name]:.2g}, {limits[name]:.2g} allowed" for name in wrong)
        problem = f"the fast step differs from the plain one here: {told}"
    return Proof(problem, differences, limits, round(time.perf_counter() - began, 2))


def prove_net(net: Net, precision: Precision, dataset: Data, name: StepName = "compiled") -> Proof:
    """As `prove`, for a net with the paper's protocol, on any data of its task's format."""
    variant = Variant(precision=precision)
    return prove(RunSpec.of(net, variant, variant.task.protocol, 0), dataset, name=name)


class _Attempt:
    """A few updates by one of the steps, and what they made of the net: on the CPU, in float64."""

    def __init__(self, run: RunSpec, dataset: Data, ranks: Ranks) -> None:
        self.run = run
        self.dataset = dataset
        self.ranks = ranks
        self.losses: list[float] = []
        self.state: dict[str, list[Tensor]] = {}

    def updates(self, make: Callable[..., EagerStep], perturbation: float = 0.0) -> Iterator[int]:
        """Makes them, and stops after each."""
        _let_go()
        run, ranks = self.run, self.ranks
        net = run.task.build_for(run, len(self.dataset.classes))
        _perturb(net, perturbation)
        start = {name: _kept(tensor) for name, tensor in net.state_dict().items()}
        parts = (run.variant.accumulate or ranks.count) // ranks.count
        step = make(net, run.protocol, run.variant.precision, self.dataset.device, parts, run.task.loss())
        with contextlib.closing(run.task.stream(self.dataset, run, ranks.share)) as stream:
            for iteration, share in enumerate(RATES, 1):
                loss, _ = step.update(stream, iteration, share * run.protocol.learning_rate)
                self.losses.append(float(loss))
                yield iteration
        learned = dict(net.named_parameters())
        changes = {name: _kept(tensor) - start[name] for name, tensor in net.state_dict().items()}
        self.state = {
            "weights": [changes[name] for name, parameter in learned.items() if parameter.ndim > 1],
            "scales and shifts": [changes[name] for name, parameter in learned.items() if parameter.ndim == 1],
            "momentum": [_momentum(step, parameter) for parameter in learned.values()],
            "statistics": [change for name, change in changes.items() if "running" in name],
            "counters": [change for name, change in changes.items() if "num_batches" in name],
        }

    def differences(self, other: _Attempt) -> dict[str, float]:
        """How far the other attempt is from this one; see `CHANGE`."""
        losses = zip(self.losses, other.losses, strict=True)
        found = {"loss": max(abs(theirs - mine) / abs(mine) for mine, theirs in losses)}
        for name, mine in self.state.items():
            distance = math.hypot(*(float((b - a).norm()) for a, b in zip(mine, other.state[name], strict=True)))
            found[name] = distance / math.hypot(*(float(each.norm()) for each in mine))
        return found


@torch.no_grad()
def _perturb(net: nn.Module, share: float) -> None:
    generator = torch.Generator().manual_seed(0)
    for parameter in net.parameters() if share else ():
        parameter.mul_(1 + share * torch.randn(parameter.shape, generator=generator))


def _kept(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().double().clone()


def _momentum(step: EagerStep, parameter: Tensor) -> Tensor:
    buffer = step.optimizer.state[parameter].get("momentum_buffer")
    return torch.zeros(parameter.shape, dtype=torch.float64) if buffer is None else _kept(buffer)


def _let_go() -> None:
    """Gives back the device memory of what went before: a graph's is held by cycles, and by torch's cache."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


def _circumstances(run: RunSpec, dataset: Data, ranks: Ranks, name: StepName) -> dict[str, Any]:
    """Everything that compiled code depends on: platform, this program's step, the net and its batches' shapes."""
    described = environment.describe(dataset.device, run.variant.precision, dataset, step=name)
    sources = [Path(str(module.__file__)) for module in (step, graph_step, fused_norm, model)]
    has_driver = dataset.device.type == "cuda" and DRIVER.is_file()
    return {
        **{key: described[key] for key in PLATFORM},
        "triton": installed("triton"),
        "driver": DRIVER.read_text(encoding="ascii", errors="replace").splitlines()[0] if has_driver else None,
        "code": hashlib.sha256(b"".join(each.read_bytes() for each in sources)).hexdigest()[:8],
        "net": run.net.name,
        "dataset": run.variant.dataset,  # which decides the size of the images
        "classes": len(dataset.classes),
        "crop": run.protocol.photos.crop if run.protocol.photos else None,
        "batch_size": run.protocol.batch_size,
        "accumulate": run.variant.accumulate,
        "ranks": ranks.count,
        "stride_3x3": run.variant.stride_3x3,
    }
