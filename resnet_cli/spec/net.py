"""The name of a net, and what it means."""

from __future__ import annotations

import re
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler
from pydantic import model_validator as validates

from resnet_cli.spec.frozen import DEEPEST, Frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Shortcut = Literal["A", "B", "C"]

NET_NAME = re.compile(r"(plain|resnet)-([0-9]{1,5})(?:-([ABC]))?(-single)?(?:-from-([0-9]{1,5})|-x([0-9]{1,2}))?")


class Net(Frozen):
    """A net. The paper's are named `plain-20`, `resnet-20` (option A), `resnet-20-B`; a task may have others.

    Three more kinds test the paper's arguments: `resnet-20-single`, `plain-56-from-20`, `plain-56-x3`.

    The experiment's task decides what a name in an experiment file means; see `naming`.

    Attributes:
        family: `plain` has no shortcuts (section 3.3).
        depth: Layers with weights.
        shortcut: Option A, B or C (section 3.3); None if the net has no such option.
        single: True if a shortcut spans one layer instead of two (section 3.2), else None.
        start: Depth of the trained plain net that it is made from, by identity layers (section 1); None: from scratch.
        times: The factor on the protocol's number of updates (section 4.1, footnote); None: 1.
    """

    family: str = Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")
    depth: int = Field(gt=0, le=DEEPEST)
    shortcut: Shortcut | None
    single: Literal[True] | None = None
    start: int | None = Field(None, gt=0, le=DEEPEST)
    times: int | None = Field(None, ge=2, le=20)

    @validates(mode="wrap")
    @classmethod
    def _parse(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Any:
        if not isinstance(value, str):
            return handler(value)
        meaning = _MEANING.get()
        return meaning(value) if meaning else handler(parsed(value))

    @validates(mode="after")
    def _plain_means_no_shortcut(self) -> Self:
        if self.family in ("plain", "resnet") and (self.family == "plain") != (self.shortcut is None):
            raise ValueError(f"{self.family}-{self.depth}: a plain net has no shortcut, a residual net has A, B or C")
        if self.single and self.family == "plain":
            raise ValueError(f"{self.name}: a plain net has no shortcut that could span a single layer")
        if self.start and (self.family != "plain" or self.start >= self.depth):
            raise ValueError(f"{self.name}: a plain net is made from a shallower plain net")
        return self

    @property
    def name(self) -> str:
        """The net's shortest name: it leaves out option A, the paper's choice in section 4.2."""
        return self._named(self.shortcut if self.shortcut in ("B", "C") else None)

    @property
    def full_name(self) -> str:
        """The name with its shortcut option spelled out."""
        return self._named(self.shortcut)

    def _named(self, shortcut: Shortcut | None) -> str:
        parts = [
            f"{self.family}-{self.depth}",
            shortcut or "",
            "single" if self.single else "",
            f"from-{self.start}" if self.start else "",
            f"x{self.times}" if self.times else "",
        ]
        return "-".join(filter(None, parts))


def parsed(name: str) -> dict[str, Any]:
    """The fields of one of the paper's nets by its name.

    Raises:
        ValueError: It is not the name of one of the paper's nets.
    """
    match = NET_NAME.fullmatch(name)
    if match is None or (match[1] == "plain" and match[3]):
        raise ValueError(f"'{name}' is not a net; write plain-20, resnet-20, resnet-20-B ...")
    return {
        "family": match[1],
        "depth": int(match[2]),
        "shortcut": None if match[1] == "plain" else match[3] or "A",
        "single": True if match[4] else None,
        "start": match[5] and int(match[5]),
        "times": match[6] and int(match[6]),
    }


_MEANING: ContextVar[Callable[[str], Net] | None] = ContextVar("meaning of a net's name", default=None)


@contextmanager
def naming(meaning: Callable[[str], Net]) -> Iterator[None]:
    """Within this context, `meaning` turns a net's name into the net; it raises ValueError for an unknown name."""
    token = _MEANING.set(meaning)
    try:
        yield
    finally:
        _MEANING.reset(token)
