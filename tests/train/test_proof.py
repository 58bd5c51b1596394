"""The fast step is trusted where it makes the plain one's updates, and nowhere else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch

from resnet_cli.device.torch_device import prepare
from resnet_cli.spec import Net
from resnet_cli.train import graph_step, proof
from resnet_cli.train.graph_step import FastStep, GraphStep, PlainGraphStep
from resnet_cli.train.proof import obstacle, prove, proven_step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from resnet_cli.data import Dataset, Stream
    from resnet_cli.identity import RunSpec
    from resnet_cli.names import Precision

pytestmark = pytest.mark.usefixtures("no_device")

PRECISIONS = ("fp32", "bf16")
CPU = torch.device("cpu")


class Recording(GraphStep):
    """A graph step that needs no device."""

    def _once(self, make: Callable[..., tuple[Tensor, Tensor]]) -> None:
        super()._once(make)
        if self.graph is not None:
            self.graph.again = lambda: super(Recording, self)._once(make)


class Captured(Recording, PlainGraphStep):
    """The plain step in such a graph."""


class WrongRate(Recording):
    """The rate stays what it was when the graph was captured."""

    def update(self, stream: Stream, iteration: int, learning_rate: float) -> tuple[Tensor, Tensor]:
        """Makes the update of this number."""
        if self.graph is not None:
            learning_rate = self.learning_rate
        return super().update(stream, iteration, learning_rate)


class StaleInput(Recording):
    """Each launch reads the batch that was there when it was captured."""

    def update(self, stream: Stream, iteration: int, learning_rate: float) -> tuple[Tensor, Tensor]:
        """Makes the update of this number, but of the first batch."""
        return super().update(stream, min(iteration, 1), learning_rate)


class NoMomentum(Recording):
    """Each update forgets the ones before."""

    def __call__(self, images: Tensor, labels: Tensor, learning_rate: float | Tensor) -> tuple[Tensor, Tensor]:
        """Makes one update."""
        for each in self.optimizer.state.values():
            each["momentum_buffer"].zero_()
        return super().__call__(images, labels, learning_rate)


class StatisticsNotRestored(Recording):
    """What the warm-up did to the running statistics stays."""

    def _capture(self, stream: Stream, inputs: tuple[Tensor, ...]) -> None:
        super()._capture(stream, inputs)
        momenta = [each["momentum_buffer"] for each in self.optimizer.state.values()]
        restored = [each.detach() for each in (*self.net.parameters(), *momenta, *self.counters)]
        before = [each.clone() for each in restored]
        for _ in range(graph_step.WARM_UPS):
            self._once(stream.make)
        for each, value in zip(restored, before, strict=True):
            each.copy_(value)


class FailingCapture(Recording):
    """The device refuses what is captured."""

    def _capture(self, stream: Stream, inputs: tuple[Tensor, ...]) -> None:  # noqa: ARG002
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCompile with `TORCH_USE_...`")


@pytest.fixture(params=PRECISIONS)
def run(request: pytest.FixtureRequest, run_spec: RunSpec) -> RunSpec:
    """The small run in each precision, at the paper's rate."""
    prepare(CPU, request.param)
    return run_in(request.param, run_spec)


def run_in(precision: Precision, run_spec: RunSpec, net: str = "resnet-8") -> RunSpec:
    """The small run in this precision, of this net."""
    variant = run_spec.variant.model_copy(update={"precision": precision})
    return run_spec.model_copy(update={"variant": variant, "net": Net.model_validate(net)})


def with_step(step: type[GraphStep], monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this the fast step here."""
    monkeypatch.setattr(proof, "make_step", lambda *arguments, **_: step(*arguments))


@pytest.mark.parametrize(("step", "net"), [(Recording, "resnet-8"), (FastStep, "plain-32")])
def test_a_right_step_is_trusted(
    step: type[GraphStep], net: str, run: RunSpec, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both precisions; also of a deep plain net, in which rounding grows a thousandfold in three updates."""
    with_step(step, monkeypatch)
    found = prove(run_in(run.variant.precision, run, net), dataset)

    assert found.problem is None
    assert all(found.differences[name] <= limit for name, limit in found.limits.items())


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (WrongRate, "weights by "),
        (StaleInput, "loss by "),
        (NoMomentum, "momentum by "),
        (StatisticsNotRestored, "here: statistics by "),
        (FailingCapture, "the fast step fails here: RuntimeError: CUDA error: operation not permitted when stream is"),
    ],
)
def test_each_fault_is_caught(
    step: type[GraphStep], words: str, run: RunSpec, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both precisions, in one line that names what is wrong."""
    with_step(step, monkeypatch)
    problem = prove(run, dataset).problem

    assert problem is not None
    assert words in problem
    assert "\n" not in problem


def test_a_loss_that_is_no_number_is_no_agreement(
    run: RunSpec, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN compares with nothing."""

    class NotANumber(Recording):
        def update(self, stream: Stream, iteration: int, learning_rate: float) -> tuple[Tensor, Tensor]:
            loss, wrong = super().update(stream, iteration, learning_rate)
            return loss * torch.nan, wrong

    with_step(NotANumber, monkeypatch)

    assert "loss by nan" in str(prove(run, dataset).problem)


def test_agreement_is_noted_and_not_asked_again(
    run: RunSpec, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another seed trusts it too; another net, another precision and other threads ask for themselves."""
    said: list[str] = []

    def ask(each: RunSpec) -> str | None:
        return obstacle(each, dataset, tmp_path / "proofs", said.append, lambda: None)

    def check() -> list[str | None]:
        return [ask(run), ask(run), ask(run.model_copy(update={"seed": 9}))]

    with_step(Recording, monkeypatch)

    assert [None, None, None] == check()
    assert 1 == len(said)
    (note,) = (tmp_path / "proofs").iterdir()
    content = json.loads(note.read_text())
    assert (torch.__version__, "resnet-8", run.protocol.batch_size) == (
        content["torch"],
        content["net"],
        content["batch_size"],
    )

    with_step(StaleInput, monkeypatch)
    assert ask(run) is None
    assert ask(run_in(run.variant.precision, run, "plain-8")) is not None
    monkeypatch.setattr(torch, "get_num_threads", lambda: 99)
    assert ask(run) is not None
    assert [note] == list((tmp_path / "proofs").iterdir())


def test_disagreement_is_asked_again(
    run: RunSpec, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed for want of memory may not fail the next time."""
    with_step(FailingCapture, monkeypatch)

    assert obstacle(run, dataset, tmp_path, lambda _: None, lambda: None) is not None
    with_step(Recording, monkeypatch)
    assert obstacle(run, dataset, tmp_path, lambda _: None, lambda: None) is None


def test_it_can_be_stopped(run: RunSpec, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After any update, of the fast step too; nothing is noted, and it is not taken for a fault of the step."""
    with_step(Recording, monkeypatch)
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyError("stopped")

    with pytest.raises(KeyError, match="stopped"):
        obstacle(run, dataset, tmp_path / "proofs", lambda _: None, stop)

    assert not (tmp_path / "proofs").exists()


class CapturedWrongly(StaleInput, PlainGraphStep):
    """The plain step in a graph that reads the first batch again and again."""


@pytest.mark.parametrize(
    ("compiled", "captured", "expected", "told"),
    [
        (Recording, Captured, "compiled", "compiling its step;"),
        (
            FailingCapture,
            Captured,
            "captured",
            "uses the plain step as a CUDA graph: the fast step fails here: Runtime",
        ),
        (StaleInput, Captured, "captured", "uses the plain step as a CUDA graph: the fast step differs from the plain"),
        (FailingCapture, CapturedWrongly, "plain", "uses the plain step, which is slower: the fast step differs from"),
    ],
)
def test_a_failed_step_gives_way_to_the_next(
    compiled: type[GraphStep],
    captured: type[GraphStep],
    expected: str,
    told: str,
    run: RunSpec,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On CUDA: the compiled step to the captured plain one, which proves itself, and only this one to the plain one."""
    monkeypatch.setattr(graph_step, "obstacle", lambda _: None)
    monkeypatch.setattr(graph_step, "takes_a_graph", lambda *_, is_alone: is_alone)
    steps = {True: compiled, False: captured}
    monkeypatch.setattr(proof, "make_step", lambda *arguments, is_compiled, **_: steps[is_compiled](*arguments))
    said: list[str] = []
    found = proven_step(run, dataset, tmp_path, said.append, lambda: None)
    reasons = [line for line in said if not line.startswith("comparing")]

    assert expected == found
    assert reasons[-1].startswith(told)
    assert [expected] * (expected != "plain") == [json.loads(note.read_text())["step"] for note in tmp_path.iterdir()]


def test_a_failed_compilation_is_a_failed_step(
    run: RunSpec, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception of the compiler leads to the plain step in a graph, for which the compiler is not asked."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no room for cubin")

    monkeypatch.setattr(graph_step, "obstacle", lambda _: None)
    monkeypatch.setattr(graph_step, "takes_a_graph", lambda *_, is_alone: is_alone)
    monkeypatch.setattr(graph_step, "PlainGraphStep", Captured)
    monkeypatch.setattr(torch, "compile", fail)
    said: list[str] = []

    assert "captured" == proven_step(run, dataset, tmp_path, said.append, lambda: None)
    assert "uses the plain step as a CUDA graph: the fast step fails here: RuntimeError: no room for cubin" in said


def test_without_a_graph_only_the_plain_step_is_left(
    run: RunSpec, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU nothing is captured, also of a run that began so on CUDA."""
    monkeypatch.setattr(graph_step, "obstacle", lambda _: "no compiler here")
    said: list[str] = []

    assert "plain" == proven_step(run, dataset, tmp_path, said.append, lambda: None, before="captured")
    assert ["uses the plain step, which is slower: no compiler here"] == said
