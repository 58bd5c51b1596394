"""The same update as `step.py`, fast: compiled, in fewer passes over memory, and on CUDA one graph without a pause.

Equal to the plain step but for the last bits, since sums are taken in another order. Compiling takes from seconds to
a minute, so short runs go without.
"""

from __future__ import annotations

import gc
import logging
import warnings
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import torch

from resnet_cli.data.stream import TrainStream
from resnet_cli.errors import first_line
from resnet_cli.nets.loss import cross_entropy
from resnet_cli.nets.resnet import BatchNorm
from resnet_cli.train.fused_norm import allow_many_shapes, compile_options, fuse
from resnet_cli.train.step import EagerStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from resnet_cli.data import Stream
    from resnet_cli.names import Precision
    from resnet_cli.nets.loss import Loss
    from resnet_cli.spec import Protocol

# How a run makes its updates: the fast step, compiled or the plain one captured, or the plain one as it is.
StepName = Literal["compiled", "captured", "plain"]

# Updates; in fewer, a faster step saves less than compiling takes. On a CPU ResNet-20's update is 20 to 30 ms faster
# and compiled in 20 s. On CUDA the plain step waits for Python, 7 to 10 ms an update; that is calculated, not measured.
SHORTEST = {"cpu": 1_000, "cuda": 2_000}
# Normalisations of a net that is compiled as a whole, which takes a second a layer. Of a deeper one each shape of layer
# is compiled by itself: the same few for every depth. On CUDA that costs nothing, for a graph joins the launches.
MOST_LAYERS = {"cpu": 60, "cuda": 0}
WARM_UPS = 3  # updates before a CUDA graph is captured, in which libraries choose algorithms and take memory

_CAPTURING = Lock()  # between runs in threads of one process: nobody may wait for a device on which a graph is captured

# Torch as it is built for CUDA would say at each start that there is no CUDA here.
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)


@cache
def obstacle(device: torch.device) -> str | None:
    """What keeps steps from being compiled for this device, as one line; None if nothing does.

    It compiles a trifle to see: a C++ compiler, Python's headers, Triton are needed.
    """
    if device.type == "mps":
        return "torch.compile is not used on MPS"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.compile(lambda x: (x * 2).sum())(torch.ones(64, device=device))
    except Exception as error:  # noqa: BLE001  a missing compiler shows itself in as many ways as there are systems
        return f"torch.compile does not work here: {first_line(error)}"
    return None


def make_step(
    net: nn.Module,
    protocol: Protocol,
    precision: Precision,
    device: torch.device,
    accumulate: int = 1,
    loss: Loss = cross_entropy,
    *,
    is_alone: bool = True,
    is_compiled: bool = True,
) -> FastStep:
    """The fast step for this device: compiled, or on CUDA the plain one captured.

    The latter where there is an obstacle to compiling, or without `is_compiled`. Several ranks take no CUDA graph:
    their nets are large, so that launches cost them little, and what they send each other would have to be part of it.
    """
    make: type[FastStep] = FastStep
    if takes_a_graph(device, is_alone=is_alone):
        make = GraphStep if is_compiled and not obstacle(device) else PlainGraphStep
    return make(net, protocol, precision, device, accumulate, loss)


def takes_a_graph(device: torch.device, *, is_alone: bool) -> bool:
    """Whether the fast step is a CUDA graph, for which nothing need be compiled."""
    return device.type == "cuda" and is_alone


class FastStep(EagerStep):
    """The compiled step: forward and backward passes in generated code, the optimiser in one kernel."""

    def __init__(
        self,
        net: nn.Module,
        protocol: Protocol,
        precision: Precision,
        device: torch.device,
        accumulate: int = 1,
        loss: Loss = cross_entropy,
    ) -> None:
        super().__init__(net, protocol, precision, device, accumulate, loss)
        self.optimizer.param_groups[0]["fused"] = True
        self.counters: list[Tensor] = []
        self._compile()

    def _compile(self) -> None:
        net, device = self.net, self.device
        norms = [module for module in net.modules() if isinstance(module, BatchNorm)]
        self.counters = [norm.num_batches_tracked for norm in norms if norm.num_batches_tracked is not None]
        is_whole = len(norms) <= MOST_LAYERS.get(device.type, 0)
        allow_many_shapes()
        fuse(net, compiled_for=None if is_whole else device)
        if is_whole:
            self._forward = torch.compile(self._forward, **compile_options(device, is_whole=True))  # type: ignore[method-assign]

    @staticmethod
    def layout(device: torch.device, precision: Precision) -> torch.memory_format:  # noqa: ARG004
        """Channels last, everywhere."""
        return torch.channels_last

    def __call__(self, *batch_and_rate: Any) -> tuple[Tensor, ...]:
        """See `EagerStep`."""
        results = super().__call__(*batch_and_rate)
        if self.counters:
            torch._foreach_add_(self.counters, self.accumulate)
        return results


class GraphStep(FastStep):
    """The compiled step as one CUDA graph: making the batch, forward, backward, SGD.

    Nothing waits for the device. A launch of the graph reads its inputs, rate included, from where they
    were when it was captured, and leaves its results in one place; they are copied in and out, in the device's order.
    """

    def __init__(
        self,
        net: nn.Module,
        protocol: Protocol,
        precision: Precision,
        device: torch.device,
        accumulate: int = 1,
        loss: Loss = cross_entropy,
    ) -> None:
        super().__init__(net, protocol, precision, device, accumulate, loss)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.learning_rate = 0.0
        self.rate = torch.zeros((), device=device)
        self.inputs: tuple[Tensor, ...] = ()
        self.results = torch.zeros(2, device=device)

    def update(self, stream: Stream, iteration: int, learning_rate: float) -> tuple[Tensor, Tensor]:
        """Makes the update of this number; see `EagerStep`."""
        inputs = stream.inputs(iteration)
        if self.graph is None:
            with _CAPTURING:
                self._capture(stream, inputs)
        if learning_rate != self.learning_rate:
            self.learning_rate = learning_rate
            self.rate.fill_(learning_rate)
        for mine, given in zip(self.inputs, inputs, strict=True):
            mine.copy_(given)
        assert self.graph is not None
        self.graph.replay()
        loss, wrong = self.results.clone().unbind()
        return loss, wrong

    def _capture(self, stream: Stream, inputs: tuple[Tensor, ...]) -> None:
        """Records an update. It warms up by some that are undone, so that the first one counted is the first."""
        gc.collect()  # a net before this one may still hold its graph's memory
        self.inputs = tuple(each.clone() for each in inputs)
        parameters = list(self.net.parameters())
        for parameter in parameters:
            # The optimiser makes its momentum in its first step, which must not be part of the graph.
            self.optimizer.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))
        momenta = [self.optimizer.state[parameter]["momentum_buffer"] for parameter in parameters]
        state = [each.detach() for each in (*parameters, *self.net.buffers(), *momenta)]
        before = [each.clone() for each in state]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        make = self._maker(stream)
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                self._once(make)
        torch.cuda.current_stream().wait_stream(side)
        self.optimizer.zero_grad(set_to_none=True)
        self.graph = torch.cuda.CUDAGraph()
        # Allocations of other threads, for their own graphs, do not concern this one.
        # A stream of its own: what is captured on one stream shares a workspace, and could not run side by side.
        with torch.cuda.graph(self.graph, stream=side, capture_error_mode="thread_local"):
            self._once(make)
        for each, value in zip(state, before, strict=True):
            each.copy_(value)

    def _maker(self, stream: Stream) -> Callable[..., tuple[Tensor, ...]]:
        """What makes a batch, in one kernel."""
        stream.make(*self.inputs)  # the training mean, which is computed once, is not to be part of the graph
        if isinstance(stream, TrainStream):
            return torch.compile(stream.make, **compile_options(self.device, is_whole=False))
        return stream.make

    def _once(self, make: Callable[..., tuple[Tensor, ...]]) -> None:
        """One update of the batch that is made of the inputs."""
        loss, wrong = self(*make(*self.inputs), self.rate)
        self.results[0] = loss
        self.results[1] = wrong


class PlainGraphStep(GraphStep):
    """The plain step as one CUDA graph, where nothing can be compiled: as many kernels, but none waits for Python."""

    def _compile(self) -> None:
        pass

    @staticmethod
    def layout(device: torch.device, precision: Precision) -> torch.memory_format:
        """The plain step's."""
        return EagerStep.layout(device, precision)

    def _maker(self, stream: Stream) -> Callable[..., tuple[Tensor, ...]]:
        stream.make(*self.inputs)
        return stream.make
