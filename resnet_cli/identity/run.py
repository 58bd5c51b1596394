"""One training: everything that decides its result."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Self

from pydantic import NonNegativeInt, SerializeAsAny
from pydantic import model_validator as validates

from resnet_cli import tasks
from resnet_cli.identity.variant import Variant
from resnet_cli.spec import Frozen, Net, Protocol

if TYPE_CHECKING:
    from resnet_cli.tasks.task import Task


class RunSpec(Frozen):
    """One training: everything that decides its result. The name of its folder identifies it."""

    net: SerializeAsAny[Net]
    variant: Variant
    protocol: Protocol
    seed: NonNegativeInt

    @validates(mode="before")
    @classmethod
    def _read_net(cls, content: Any) -> Any:
        """Reads the net of a spec.json as the net type of the dataset's task, which may have more fields."""
        match content:
            case {"net": dict() as net, "variant": {"dataset": str() as dataset}}:
                return {**content, "net": tasks.task_of(dataset).net_type.model_validate(net)}
        return content

    @validates(mode="after")
    def _can_be_trained(self) -> Self:
        self.task.check(self.net)
        if self.variant.accumulate and self.protocol.batch_size % self.variant.accumulate:
            raise ValueError(
                f"accumulate {self.variant.accumulate}: does not divide the batch of {self.protocol.batch_size}"
            )
        return self

    @classmethod
    def of(cls, net: Net, variant: Variant, protocol: Protocol, seed: int) -> RunSpec:
        """The run of one net under an experiment's (unscaled) protocol."""
        if protocol.warmup and net.depth < protocol.warmup.from_depth:
            protocol = protocol.model_copy(update={"warmup": None})
        protocol = protocol.deviating(variant.deviations or ())
        protocol = protocol.tiny() if variant.tiny else protocol.scaled(variant.schedule)
        if net.times:
            protocol = protocol.scaled(net.times)
        return cls(net=net, variant=variant, protocol=protocol, seed=seed)

    @property
    def task(self) -> Task:
        """The task that the net learns."""
        return self.variant.task

    @property
    def source(self) -> RunSpec | None:
        """The run whose trained net this one starts from; None if it starts from scratch."""
        return self.task.source(self)

    @property
    def sources(self) -> tuple[RunSpec, ...]:
        """The source, the source's own source, and so on."""
        return (self.source, *self.source.sources) if self.source else ()

    @property
    def label(self) -> str:
        """Its variant in words, for titles; it mentions a protocol that is not the paper's."""
        usual = RunSpec.of(self.net, self.variant, self.task.protocol, self.seed)
        return self.variant.label if self.protocol == usual.protocol else self.variant.own_label

    @property
    def hash8(self) -> str:
        """Eight hex digits over the canonical spec without its seed.

        The canonical form leaves out None, so that a new optional field, None by default, does not change known ids.
        """
        content = self.model_dump(mode="json", exclude={"seed"}, exclude_none=True)
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]

    @property
    def run_id(self) -> str:
        """The name of the run's folder."""
        return f"{self.net.name}-{self.variant.dataset}-{self.hash8}-s{self.seed}"
